"""Spread: 0 for stars, SExtractor's SPREAD_MODEL for what is wider, NaN where no PSF is known."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage
from scipy.signal import fftconvolve

from morpheus_lite import Classification, SkyImage
from morpheus_lite.catalog import MeasureOptions, measure
from morpheus_lite.catalog.rows import classify_rows
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.psf import moffat_radius
from morpheus_lite.noise.psf import star_profiles

FWHM, BETA, SIDE = 3.2, 2.5, 160
OPTIONS = MeasureOptions(structure=False, aperture_radii=(3.0,), aperture_unit="pixel", psf=f"{FWHM}px,{BETA}")
PLACES = [(y + 0.3, x - 0.2) for y in (40, 80, 120) for x in (40, 80, 120)]


@cache
def stars(width, fwhm, beta):
    """Light of nine Moffat stars of flux 1, or of such stars convolved with a Gaussian, without noise."""
    light, half = np.zeros((SIDE, SIDE)), 19
    y, x = np.mgrid[: 10 * half, : 10 * half] / 5 - half - 0.4
    for y0, x0 in PLACES:
        square = (y - y0 % 1) ** 2 + (x - x0 % 1) ** 2
        star = (1 + square / moffat_radius(fwhm, beta) ** 2) ** -beta
        star = ndimage.gaussian_filter(star, 5 * width) if width else star
        corner = int(y0) - half, int(x0) - half
        star = star.reshape(2 * half, 5, 2 * half, 5).mean(axis=(1, 3))
        light[corner[0] : corner[0] + 2 * half, corner[1] : corner[1] + 2 * half] += star / star.sum()
    return light


def sources(width=0.0, flux=3000.0, seed=0, fwhm=FWHM, beta=BETA):
    """An image of them in noise of scatter 1, labels, and the light without noise."""
    light = flux * stars(width, fwhm, beta)
    labels = ndimage.label(light > 0.5)[0].astype(np.int32)
    data = light + np.random.default_rng(seed).normal(size=light.shape)
    return SkyImage(data[..., None].astype(np.float32), ("A",), np.ones((SIDE, SIDE, 1), bool)), labels, light


def maps(labels, kind=3):
    probability = np.where((labels > 0)[..., None], np.eye(5)[kind], np.eye(5)[4]).astype(np.float32)
    return Classification(probability, np.ones(labels.shape, np.int32), np.ones(labels.shape, bool))


def spread_model(light, at, half=6, fine=31):
    """SPREAD_MODEL by its definition, its disk drawn on subpixels, a quarter as large, so 16 times what it gives."""
    side = 2 * half + 1
    offset = (np.arange(fine * side) + 0.5) / fine - side / 2
    middle = [round(one) for one in at]
    y, x = (offset - (one - m) for one, m in zip(at, middle, strict=True))
    star = (1 + (y[:, None] ** 2 + x**2) / moffat_radius(FWHM, BETA) ** 2) ** -BETA
    disk = np.exp(-np.hypot(offset[:, None], offset) / (FWHM / 64))
    wide = fftconvolve(star, disk / disk.sum(), mode="same")
    star, wide = (one.reshape(side, fine, side, fine).mean(axis=(1, 3)) for one in (star, wide))
    seen = light[middle[0] - half : middle[0] + half + 1, middle[1] - half : middle[1] + half + 1]
    return 16 * ((wide * seen).sum() / (star * seen).sum() - (wide * star).sum() / (star * star).sum())


def test_stars_have_none_and_others_that_of_the_definition():
    star, labels, _ = sources()
    table = measure(labels, star, maps(labels), options=OPTIONS)
    pulls = table["spread"].value / table["spread_err"].value
    assert np.abs(pulls).max() < 3
    assert table["spread_err"].value.max() < 0.002
    wide, labels, light = sources(width=0.8)
    table = measure(labels, wide, maps(labels, 1), options=OPTIONS)
    expected = spread_model(light, PLACES[4])
    assert expected > 0.003
    np.testing.assert_allclose(np.median(table["spread"]), expected, rtol=0.1)


def test_errors_are_those_of_the_noise():
    # Of faint stars: of bright ones it is that of the width of the PSF.
    tables = [measure(labels, image, maps(labels), options=OPTIONS) for image, labels, _ in
              (sources(flux=120, seed=seed) for seed in range(8))]  # fmt: skip
    pulls = np.concatenate([table["spread"].value / table["spread_err"].value for table in tables])
    assert 0.75 < pulls.std() < 1.3 and abs(pulls.mean()) < 0.4


def test_it_is_measured_against_the_stars_of_the_image():
    # The crowd of stars, whatever their class.
    image, labels, _ = sources()
    table = measure(labels, image, maps(labels, 0), options=replace(OPTIONS, psf=None))
    assert np.abs(table["spread"] / table["spread_err"]).max() < 3
    # Too few for a crowd: those that are point sources; without any, nothing is known.
    few = np.where(labels < 4, labels, 0)
    image = replace(image, valid=image.valid & (ndimage.label(labels >= 4)[0] == 0)[..., None])
    table = measure(few, image, maps(few), options=replace(OPTIONS, psf=None))
    assert np.abs(table["spread"] / table["spread_err"]).max() < 3
    table = measure(few, image, maps(few, 0), options=replace(OPTIONS, psf=None))
    assert np.isnan(table["spread"]).all() and np.isnan(table["spread_err"]).all()


def test_pixels_of_neighbours_and_bad_ones_take_no_part():
    image, labels, _ = sources()
    plain = measure(labels, image, maps(labels), options=OPTIONS)
    y, x = PLACES[4]
    beside = labels.copy()
    beside[int(y) + 4 : int(y) + 7, int(x) : int(x) + 3] = 10
    data = image.data + 500 * (beside == 10)[..., None]
    one = measure(beside, replace(image, data=data.astype(np.float32)), maps(beside), options=OPTIONS)[4]
    assert abs(one["spread"] - plain["spread"][4]) < 2 * plain["spread_err"][4]
    hole = image.valid.copy()
    hole[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = False
    assert np.isnan(measure(labels, replace(image, valid=hole), maps(labels), options=OPTIONS)["spread"][4])


def test_a_psf_that_is_no_moffat_profile_still_has_stars_at_zero():
    stamps = [sources(fwhm=fwhm, beta=beta, seed=None)[2] for fwhm, beta in ((2.2, 4.0), (6.0, 1.8))]
    light = 0.8 * stamps[0] + 0.2 * stamps[1]
    noisy = light + np.random.default_rng(2).normal(size=light.shape)
    labels = ndimage.label(light > 0.5)[0].astype(np.int32)
    image = SkyImage(noisy[..., None].astype(np.float32), ("A",), np.ones((SIDE, SIDE, 1), bool))
    table = measure(labels, image, maps(labels), options=replace(OPTIONS, psf=None))
    assert np.abs(np.median(table["spread"] / table["spread_err"])) < 0.7


@pytest.mark.parametrize("chosen", [True, False])
def test_a_single_sharp_point_source_among_several_wider_ones_is_none(chosen):
    image, labels, _ = sources(flux=20000)
    sharp, _, _ = sources(flux=20000, fwhm=1.5, seed=1)
    data = np.where((labels == 1)[..., None], sharp.data, image.data)
    # Galaxies of a little more than one width, so that there is no crowd.
    assert labels.max() == 9
    (star,) = star_profiles([(data[:, :120], image.valid[:, :120], (labels[:, :120] > 0) & chosen)], 1)
    assert star.is_known
    assert star.fwhm == pytest.approx(FWHM, rel=0.05)


def test_sources_sharper_than_the_stars_are_the_stars():
    # The PSF was measured on compact galaxies, which are wider than five stars.
    n = 20
    spread = np.where(np.arange(n) < 5, -0.004, 0.0005 * (np.arange(n) % 3))
    rows = {"label": np.arange(n), "spread": spread, "spread_err": np.full(n, 5e-4), "class_snr": np.full(n, 100.0)}
    rows |= {f"p_{name}": np.full(n, share) for name, share in zip(SOURCE_CLASSES, (0.1, 0.6, 0.1, 0.2), strict=True)}
    settings = SimpleNamespace(options=OPTIONS, calibration=None, stars=("some",))
    np.testing.assert_allclose(classify_rows(rows, settings)["spread"], spread + 0.004)
    # Four are an accident, and so are faint ones, and a few beside many that are taken for stars.
    few = rows | {"spread": np.where(np.arange(n) == 4, 0, spread)}
    faint = rows | {"class_snr": np.full(n, 20.0)}
    stars = rows | {"p_disk": np.full(n, 0.1), "p_point_source": np.full(n, 0.7)}
    for other in (few, faint, stars):
        np.testing.assert_array_equal(classify_rows(other, settings)["spread"], other["spread"])


def test_stars_wider_than_what_is_looked_at_have_a_profile():
    image, labels, _ = sources(flux=1e5, fwhm=11.0, beta=4.0)
    (star,) = star_profiles([(image.data, image.valid, labels > 0)], 1)
    assert star.fwhm == pytest.approx(11, rel=0.15)
    assert abs(star.spread) < 0.002
