"""The domain guard measures what it says, and speaks up outside the ranges only."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.wcs import WCS
from scipy import ndimage
from scipy.stats import norm

from morpheus_lite.core.image import SkyImage
from morpheus_lite.errors import InputError
from morpheus_lite.inference.domain_check import check_domain, gaussian_widths, measure_domain, middle

FWHM = 2.3548


def sky(*, correlation: float = 0.0, psf: float = 1.2, n_bands: int = 2, side: int = 300) -> SkyImage:
    """Noise and fifty point sources; ``psf`` is the sigma of a Gaussian in pixels."""
    rng = np.random.default_rng(3)
    data = rng.standard_normal((side, side, n_bands))
    if correlation:
        data = ndimage.gaussian_filter(data, (correlation, correlation, 0), mode="wrap")
        data /= data.std()
    y, x = np.indices((side, side))
    for x0, y0 in rng.uniform(15, side - 15, (50, 2)):
        data += 300 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * psf**2))[..., None]
    bands = ("F160W", "F606W")[:n_bands]
    return SkyImage(data.astype(np.float32), bands, np.ones(data.shape, bool), zero_points=(25.0,) * n_bands)


@pytest.mark.parametrize("psf", [0.8, 1.2, 2.0])
def test_width_of_the_psf(psf):
    for value in measure_domain(sky(psf=psf))["psf_fwhm"]:
        assert value == pytest.approx(FWHM * psf, rel=0.12)


def test_gaussians_are_fitted_whatever_their_place_and_holes():
    sigma, place = np.array([0.7, 1.3, 2.9]), np.array([[0.3, -0.4], [0.0, 0.0], [-0.8, 1.1]])
    edges = np.arange(-5, 7) - 0.5
    shares = [np.diff(norm.cdf(edges, at[:, None], sigma[:, None]), axis=1) for at in place.T]
    light = np.array([900.0, 4000.0, 90.0])[:, None, None] * shares[0][:, :, None] * shares[1][:, None]
    valid = np.ones(light.shape, bool)
    valid[:, 4:6, 7] = False
    light[~valid] = 1e5
    np.testing.assert_allclose(gaussian_widths(light, valid), sigma, rtol=1e-6)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.2])
def test_correlation_of_the_noise(correlation):
    for value in measure_domain(sky(correlation=correlation))["noise_correlation"]:
        assert value == pytest.approx(correlation, rel=0.1, abs=0.01)


def test_each_range_that_is_left_is_told():
    ranges = {"psf_fwhm": (1.5, 6.0), "noise_correlation": (0.0, 0.9), "n_bands": (1, 1), "pixel_scale": (0.03, 0.2)}
    check = check_domain(sky(correlation=1.2), ranges)
    assert check.outside == ()
    assert len(check.notes) == 2
    assert check.notes[0].startswith("correlation length of the noise in pixels: 1.")
    assert check.notes[0].endswith("trained on 0 to 0.9")
    assert check.notes[1] == "number of bands: 2, trained on 1 to 1"
    assert check_domain(sky(n_bands=1), ranges).outside == ()


@pytest.mark.parametrize(("scale", "far", "near"), [(0.02, 0, 1), (0.06, 0, 0), (0.3, 0, 1), (0.6, 1, 0), (0.01, 1, 0)])
def test_by_little_is_a_note_and_by_far_a_reason_for_distrust(scale, far, near):
    image = replace(sky(n_bands=1), wcs=WCS(naxis=2))
    image.wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    image.wcs.wcs.cdelt = -scale / 3600, scale / 3600
    check = check_domain(image, {"pixel_scale": (0.025, 0.25)})
    assert (len(check.outside), len(check.notes)) == (far, near)


def test_what_cannot_be_measured_is_not_judged():
    blank = SkyImage(np.zeros((64, 64, 1), np.float32), ("1",), np.zeros((64, 64, 1), bool))
    assert check_domain(blank, {"psf_fwhm": (1.5, 6.0), "sky_noise": (20, 30)}).outside == ()
    noise = np.random.default_rng(0).standard_normal((64, 64, 1)).astype(np.float32)
    assert "psf_fwhm" not in measure_domain(SkyImage(noise, ("1",), np.ones(noise.shape, bool)))


def test_hot_pixels_are_no_stars():
    image = sky(n_bands=1)
    rng = np.random.default_rng(1)
    image.data[rng.integers(20, 280, 60), rng.integers(20, 280, 60), 0] = 900
    assert measure_domain(image)["psf_fwhm"][0] == pytest.approx(FWHM * 1.2, rel=0.12)


def test_unknown_quantity():
    with pytest.raises(InputError, match=r"unknown colour; expected pixel_scale"):
        check_domain(sky(), {"colour": (0, 1)})


def test_the_middle_depends_on_the_shape_alone():
    assert middle((5000, 700)).shape == (768, 700)
    assert middle((5000, 700)).slices == (slice(2116, 2884), slice(0, 700))
