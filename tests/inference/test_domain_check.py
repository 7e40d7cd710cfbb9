"""The domain guard measures what the network sees, and speaks up outside the ranges only."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.wcs import WCS
from scipy import ndimage
from star_fields import galaxy, seen, star_grid

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.errors import InputError
from morpheus_lite.inference.domain_check import DomainCheck, check_domain, measure_domain, middle
from morpheus_lite.io import open_image
from morpheus_lite.models.registry import read_info
from morpheus_lite.noise.overview import measure_image

RANGES = read_info("any").settings["domain"]


def check(image: SkyImage, ranges=RANGES, **options) -> DomainCheck:
    """The check of an image for a model that takes any bands."""
    source = open_image(image)
    return check_domain(source, (), measure_image(source, **options), ranges)


def measured(image: SkyImage) -> dict:
    source = open_image(image)
    return measure_domain(source, (), measure_image(source))


def sky(*, correlation: float = 0.0, n_bands: int = 2, side: int = 300) -> SkyImage:
    """Noise and fifty point sources."""
    rng = np.random.default_rng(3)
    data = rng.standard_normal((side, side, n_bands))
    if correlation:
        data = ndimage.gaussian_filter(data, (correlation, correlation, 0), mode="wrap")
        data /= data.std()
    y, x = np.indices((side, side))
    for x0, y0 in rng.uniform(15, side - 15, (50, 2)):
        data += 300 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * 1.2**2))[..., None]
    bands = ("F160W", "F606W")[:n_bands]
    return SkyImage(data.astype(np.float32), bands, np.ones(data.shape, bool), zero_points=(25.0,) * n_bands)


@pytest.mark.parametrize(
    ("fwhm", "factor"), [(2.4, 1), (3.4, 1), (5.0, 2), (7.0, 3)], ids=["narrow", "wide", "binned by 2", "binned by 3"]
)
def test_the_psf_is_that_which_the_network_sees(fwhm, factor):
    found = check(seen(star_grid(fwhm, 4.0)))
    assert found.measured["psf_fwhm"] == pytest.approx((fwhm / factor,), rel=0.03)
    assert found.measured["psf_beta"] == pytest.approx((4.0,), rel=0.15)
    assert (found.outside, found.notes) == ((), ())


@pytest.mark.parametrize(("beta", "shown", "far"), [(1.9, 3.5, False), (3.0, 3.0, False), (1.4, 1.4, True)])
def test_wings_that_are_taken_out_are_not_seen(beta, shown, far):
    found = check(seen(star_grid(2.8, beta)), given=[MoffatPsf(2.8, beta, origin="given")])
    assert found.measured["psf_beta"] == (shown,)
    assert bool(found.outside) == far
    assert not far or "index of the PSF's wings, as the network sees it: 1.4, trained on 2.5 to 100" in found.outside


def test_a_wide_band_beside_a_narrow_one_is_seen_as_it_is():
    # Binned by 3, the narrow one would be undersampled.
    light = np.stack([star_grid(2.0, 4.0), star_grid(8.0, 4.0)], axis=-1)
    found = check(seen(light))
    assert found.measured["psf_fwhm"] == pytest.approx((2.0, 8.0), rel=0.05)
    assert [sentence.split(":")[0] for sentence in found.outside] == [
        "FWHM of the PSF in pixels, as the network sees it"
    ]


def test_an_upper_limit_of_the_psf_is_only_noted():
    light = np.zeros((384, 384))
    for y, x in np.ndindex(4, 2):
        y, x = 48 + 96 * y, 96 + 192 * x
        light[y - 40 : y + 40, x - 40 : x + 40] += galaxy(80, 6.0, 1.0, 20.0)
    found = check(seen(light))
    assert "psf_fwhm" not in found.measured and found.outside == ()
    assert [note for note in found.notes if "at most" in note and "--psf gives it" in note]


def test_crowding_is_a_reason_for_distrust():
    crowded = star_grid(3.0, 3.5, n=36, step=8, faintest=20, brightest=2000)
    for light, far in ((crowded, True), (star_grid(3.0, 3.5), False)):
        found = check(seen(light), {"covered": (0.0, 0.25)})
        assert bool(found.outside) == far
        assert (found.measured["covered"][0] > 0.4) == far


def test_large_objects_have_the_size_of_their_bins():
    source = open_image(seen(galaxy(1024, 90.0, 1.0, 6.0)))
    noise = measure_image(source)
    assert noise.large is not None and noise.large.radii.max() > 60
    found = check_domain(source, (), noise, RANGES)
    assert 6 < found.measured["size"][0] <= 18
    assert not [sentence for sentence in found.outside if "half-light" in sentence]
    # Were they not seen in bins, it would be said.
    large = replace(noise.large, binning=np.ones_like(noise.large.binning))
    found = check_domain(source, (), replace(noise, large=large), RANGES)
    assert [sentence for sentence in found.outside if "half-light radius of the largest object" in sentence]


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.2])
def test_correlation_of_the_noise(correlation):
    for value in measured(sky(correlation=correlation))["noise_correlation"]:
        assert value == pytest.approx(correlation, rel=0.1, abs=0.01)


def test_each_range_that_is_left_is_told():
    ranges = {"psf_fwhm": (1.5, 6.0), "noise_correlation": (0.0, 0.9), "n_bands": (1, 1), "pixel_scale": (0.03, 0.2)}
    found = check(sky(correlation=1.2), ranges)
    assert found.outside == ()
    assert len(found.notes) == 2
    assert found.notes[0].startswith("correlation length of the noise in pixels, as the network sees it: 1.")
    assert found.notes[0].endswith("trained on 0 to 0.9")
    assert found.notes[1] == "number of bands: 2, trained on 1 to 1"
    assert check(sky(n_bands=1), ranges).outside == ()


@pytest.mark.parametrize(("scale", "far", "near"), [(0.02, 0, 1), (0.06, 0, 0), (0.3, 0, 1), (0.6, 1, 0), (0.01, 1, 0)])
def test_by_little_is_a_note_and_by_far_a_reason_for_distrust(scale, far, near):
    image = replace(sky(n_bands=1), wcs=WCS(naxis=2))
    image.wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    image.wcs.wcs.cdelt = -scale / 3600, scale / 3600
    found = check(image, {"pixel_scale": (0.025, 0.25)})
    assert (len(found.outside), len(found.notes)) == (far, near)


def test_what_cannot_be_measured_is_not_judged():
    blank = SkyImage(np.zeros((64, 64, 1), np.float32), ("1",), np.zeros((64, 64, 1), bool))
    assert check(blank, {"psf_fwhm": (1.5, 6.0), "sky_noise": (20, 30)}).outside == ()
    noise = np.random.default_rng(0).standard_normal((64, 64, 1)).astype(np.float32)
    assert "psf_fwhm" not in measured(SkyImage(noise, ("1",), np.ones(noise.shape, bool)))


def test_unknown_quantity():
    with pytest.raises(InputError, match=r"unknown colour; expected pixel_scale"):
        check(sky(), {"colour": (0, 1)})


def test_the_middle_depends_on_the_shape_alone():
    assert middle((5000, 700)).shape == (768, 700)
    assert middle((5000, 700)).slices == (slice(2116, 2884), slice(0, 700))
