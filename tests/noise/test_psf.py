"""The PSF of an image, from its stars."""

from dataclasses import replace

import numpy as np
import pytest

from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.noise.background_mesh import measure_background
from morpheus_lite.noise.psf import measure_psf, psf_of_star, psf_windows
from tests.star_fields import seen, star_grid


def psf_of(image):
    return measure_psf(image, measure_background(image))


@pytest.mark.parametrize("beta", [1.7, 2.5, 5.0, None])
@pytest.mark.parametrize("fwhm", [2.0, 3.5, 5.0, 7.0])
def test_width_and_wings_are_those_of_the_stars(fwhm, beta):
    (psf,) = psf_of(seen(star_grid(fwhm, beta)))
    assert psf.origin == "stars" and psf.is_known and psf.n_stars >= 12
    assert psf.fwhm == pytest.approx(fwhm, rel=0.02)
    assert psf.beta > 30 if beta is None else psf.beta == pytest.approx(beta, rel=0.05)


def test_each_band_has_its_own():
    sharp, wide = psf_of(seen(np.stack([star_grid(2.2, 3.0), star_grid(5.0, 3.0)], axis=2)))
    assert (sharp.fwhm, wide.fwhm) == pytest.approx((2.2, 5.0), rel=0.02)


def test_galaxies_are_no_stars():
    # Widths of every size, as galaxies have them: what is the sharpest among them is no PSF.
    step, n = 48, 6
    y, x = np.mgrid[: n * step, : n * step]
    light = np.zeros(x.shape)
    for k, fwhm in enumerate(np.random.default_rng(0).permutation(np.geomspace(4, 12, n * n))):
        square = (y - (k // n + 0.5) * step) ** 2 + (x - (k % n + 0.5) * step) ** 2
        light += 300 * np.exp(-4 * np.log(2) * square / fwhm**2)
    (psf,) = psf_of(seen(light))
    assert psf.origin == "sources" and not psf.is_known
    assert 3.8 < psf.fwhm < 6


def test_a_crowd_with_wider_wings_than_any_psf_is_one_of_galaxies():
    (psf,) = psf_of(seen(star_grid(3.5, 1.25)))
    assert psf.origin == "sources" and not psf.is_known
    assert 3 < psf.fwhm < 5


def test_few_stars_among_galaxies_are_found():
    light = star_grid(3.0, 3.0, n=6)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    rng = np.random.default_rng(3)
    for fwhm in np.geomspace(4.5, 14, 24):
        at = rng.uniform(10, light.shape[0] - 10, 2)
        light += 200 * np.exp(-4 * np.log(2) * ((y - at[0]) ** 2 + (x - at[1]) ** 2) / fwhm**2)
    (psf,) = psf_of(seen(light))
    assert psf.is_known
    assert psf.fwhm == pytest.approx(3.0, rel=0.03)


def test_hot_pixels_saturated_stars_and_holes_do_not_count():
    light = star_grid(4.0, 2.5)
    rng = np.random.default_rng(2)
    light[tuple(rng.integers(0, light.shape[0], (2, 60)))] += 5000
    image = seen(np.minimum(light, 1200))
    valid = image.valid.copy()
    valid[70:76, :] = False
    (psf,) = psf_of(replace(image, valid=valid, data=np.where(valid, image.data, 0)))
    assert psf.fwhm == pytest.approx(4.0, rel=0.03)
    assert psf.beta == pytest.approx(2.5, rel=0.06)


def test_noise_alone_has_no_psf():
    (psf,) = psf_of(seen(np.zeros((200, 200))))
    assert psf == MoffatPsf() or np.isnan(psf.fwhm)
    assert psf.origin == "unknown" and not psf.is_known


def test_windows_depend_on_the_shape_alone():
    assert [window.shape for window in psf_windows((1024, 900))] == [(1024, 900)]
    large = psf_windows((4000, 5000))
    assert len(large) == 9 and all(window.shape == (352, 352) for window in large)
    assert max(window.y + 352 for window in large) <= 4000 and max(window.x + 352 for window in large) <= 5000
    assert all(window.height == 100 for window in psf_windows((100, 9000)))
    for shape in ((1040, 500), (1025, 1025), (1100, 353), (9000, 703), (1, 1025)):
        windows = psf_windows(shape)
        seen = np.zeros(shape, int)
        for window in windows:
            assert window.y >= 0 and window.x >= 0
            seen[window.slices] += 1
        assert seen.max() == 1 and seen.sum() == sum(window.height * window.width for window in windows)


@pytest.mark.parametrize("beta", [2.0, 4.0])
def test_enclosed_light_is_that_of_the_profile(beta):
    psf = MoffatPsf(4.0, beta, origin="given")
    y, x = np.mgrid[-400:401, -400:401] / 4
    radius = np.hypot(x, y)
    profile = (1 + (radius / (2.0 / np.sqrt(2 ** (1 / beta) - 1))) ** 2) ** -beta
    inside = profile[radius < 6].sum() / (profile[radius < 80].sum() / psf.enclosed(80))
    assert float(psf.enclosed(6)) == pytest.approx(inside, rel=5e-3)


def test_a_record_holds_plain_values():
    assert MoffatPsf(3.25, 2.5, 12, "stars").record() == {"fwhm": 3.25, "beta": 2.5, "n_stars": 12, "origin": "stars"}
    assert MoffatPsf().record() == {"fwhm": None, "beta": None, "n_stars": 0, "origin": "unknown"}


@pytest.mark.parametrize(
    ("text", "unit", "scale", "fwhm", "beta"),
    [
        ("0.18,2.5", "arcsec", 0.06, 3.0, 2.5),
        ("3.1px", "arcsec", 0.06, 3.1, np.nan),
        (0.12, "arcsec", 0.03, 4.0, np.nan),
        (4, "arcsec", None, 4.0, np.nan),
        ("4,1.7", "pixel", 0.06, 4.0, 1.7),
        ("0.3arcsec", "pixel", 0.1, 3.0, np.nan),
    ],
)
def test_given_psfs_are_read(text, unit, scale, fwhm, beta):
    psf = MoffatPsf.parse(text, unit, scale)
    np.testing.assert_allclose((psf.fwhm, psf.beta), (fwhm, beta))
    assert psf.is_known and psf.origin == "given"


@pytest.mark.parametrize("text", ["0", "-1", "wide", "3,1", "3,", ",2", "1e999", "0.1arcsec", "nan", "3px,inf", ""])
def test_bad_psfs_are_refused(text):
    with pytest.raises(OptionError, match="psf"):
        MoffatPsf.parse(text, "arcsec", None)


@pytest.mark.parametrize(("fwhm", "beta"), [(2.5, 2.0), (5.0, 4.0), (20.0, 3.0)])
def test_the_psf_of_a_model_is_its_own(fwhm, beta):
    model = star_grid(fwhm, beta, n=1, step=201)
    psf = psf_of_star(model / model.sum())
    assert (psf.fwhm, psf.beta) == pytest.approx((fwhm, beta), rel=0.02)


def test_an_image_without_a_star_is_no_psf():
    with pytest.raises(InputError, match="one star"):
        psf_of_star(np.zeros((30, 30)))
