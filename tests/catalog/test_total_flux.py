"""Total fluxes, and the photon noise of sources, against truth."""

from dataclasses import replace

import galsim
import numpy as np
import pytest
from astropy.io import fits
from test_photometry import WHITE, gaussian, maps_of, sky

from morpheus_lite import OptionError, read_image
from morpheus_lite.catalog import CorrelatedNoise, MeasureOptions, measure
from morpheus_lite.catalog.photometry import find_gains, gain_of_header
from morpheus_lite.catalog.total_flux import (
    RADII,
    SERSIC_INDICES,
    SIZES,
    correct_moffat,
    doubt_of_correction,
    growth_extent,
    profiles_behind,
    psfs_of_totals,
)
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.simulation.products import field_wcs

FWHM = 3.0
SIDE = 121
LIGHT = MeasureOptions(structure=False, aperture_radii=(5.0,), aperture_unit="pixel", psf_fwhm=FWHM)


def galaxies(index, radius, flux, *, n=5, seed=3):
    """Galaxies of one kind in noise of scatter 1, side by side, and their labels."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(SIDE, n * SIDE))
    labels = np.zeros(data.shape, dtype=np.int32)
    for k in range(n):
        profile = galsim.Sersic(index, half_light_radius=radius, flux=flux).shear(q=0.7, beta=k * galsim.radians)
        stamp = galsim.Convolve(profile, galsim.Gaussian(fwhm=FWHM)).drawImage(galsim.ImageD(SIDE, SIDE), scale=1).array
        here = slice(k * SIDE, (k + 1) * SIDE)
        data[:, here] += stamp
        labels[:, here][stamp > 1] = k + 1
    return data, labels


def measured(data, labels, options=LIGHT, **known):
    image = sky(data, **known)
    return measure(labels, image, maps_of(data.shape), options=options, noise=WHITE)


@pytest.mark.parametrize(("index", "radius"), [(0.5, 4), (1, 2), (1, 6), (2, 4), (2, 5), (4, 3), (4, 6)])
@pytest.mark.parametrize("psf_fwhm", [FWHM, None])
def test_total_flux_of_every_profile(index, radius, psf_fwhm):
    flux = 30_000.0
    table = measured(*galaxies(index, radius, flux), replace(LIGHT, psf_fwhm=psf_fwhm))
    total = np.asarray(table["total_flux_F160W"])
    assert np.median(total) / flux == pytest.approx(1, abs=0.015 if psf_fwhm else 0.04)
    pulls = (total - flux) / np.asarray(table["total_fluxerr_F160W"])
    assert np.abs(np.median(pulls)) < 2.5
    if index == 4:
        assert np.median(table["kron_flux_F160W"]) < 0.93 * flux


def test_the_correction_links_kron_and_total_in_every_band():
    data, labels = galaxies(4, 4, 20_000.0, n=2)
    image = sky(data)
    both = replace(
        image,
        data=np.concatenate([image.data, 3 * image.data], axis=2),
        valid=np.repeat(image.valid, 2, axis=2),
        rms=np.concatenate([image.rms, 3 * image.rms], axis=2),
        bands=("F160W", "F606W"),
        zero_points=(25.0, None),
        units=(None, None),
    )
    noise = {"F160W": CorrelatedNoise(1.0), "F606W": CorrelatedNoise(3.0)}
    table = measure(labels, both, maps_of(data.shape), options=LIGHT, noise=noise)
    for band in both.bands:
        ratio = np.asarray(table[f"total_flux_{band}"]) / np.asarray(table[f"kron_flux_{band}"])
        np.testing.assert_allclose(ratio, table["total_correction"])
    magnitude = 25 - 2.5 * np.log10(np.asarray(table["total_flux_F160W"]))
    np.testing.assert_allclose(table["total_mag_F160W"].value, magnitude)
    assert "total_mag_F606W" not in table.colnames


def test_the_noise_of_one_band_is_no_error_of_another():
    """A band as deep as nothing else has errors of a few per cent where the detection band sees next to nothing."""
    light, labels = galaxies(1, 2, 150.0)
    rng = np.random.default_rng(12)
    profile = galaxies(1, 2, 150.0)[0] - galaxies(1, 2, 1e-9)[0]
    labels[profile > 0.5] = 1 + np.nonzero(profile > 0.5)[1] // SIDE
    image = sky(light)
    both = replace(
        image,
        data=np.stack([light, profile + 0.01 * rng.normal(size=light.shape)], axis=2).astype(np.float32),
        valid=np.repeat(image.valid, 2, axis=2),
        rms=np.stack([np.ones(light.shape), np.full(light.shape, 0.01)], axis=2).astype(np.float32),
        bands=("SHALLOW", "DEEP"),
        zero_points=(None, None),
        units=(None, None),
    )
    noise = {"SHALLOW": CorrelatedNoise(1.0), "DEEP": CorrelatedNoise(0.01)}
    table = measure(labels, both, maps_of(light.shape), band="SHALLOW", options=LIGHT, noise=noise)
    share = {band: np.asarray(table[f"total_fluxerr_{band}"]) / 150.0 for band in both.bands}
    kron = np.asarray(table["kron_fluxerr_SHALLOW"] * table["total_correction"]) / 150.0
    assert (kron > 0.05).all() and (share["SHALLOW"] > kron).all()
    assert (share["DEEP"] < np.hypot(0.03, 1.1 * np.asarray(table["total_correction_err"]))).all()


def test_the_wings_of_a_psf_are_known_where_it_is_given_or_from_space():
    given, stars = (MoffatPsf(3.0, 2.5, 9, origin) for origin in ("given", "stars"))
    assert doubt_of_correction([stars, given], from_space=True) == doubt_of_correction([given], from_space=False)
    assert doubt_of_correction([stars, given], from_space=False) > 3 * doubt_of_correction([given], from_space=False)
    assert doubt_of_correction([MoffatPsf()], from_space=False) == doubt_of_correction([stars], from_space=False)


@pytest.mark.parametrize(("index", "radius"), [(1, 2), (2, 3)])
def test_every_band_is_corrected_by_its_own_psf(index, radius):
    psfs, flux = {"WIDE": (4.5, 2.2), "SHARP": (2.0, 3.5)}, 30_000.0
    rng = np.random.default_rng(8)
    planes = []
    for fwhm, beta in psfs.values():
        profile = galsim.Sersic(index, half_light_radius=radius, flux=flux)
        seen = galsim.Convolve(profile, galsim.Moffat(beta=beta, fwhm=fwhm)).drawImage(
            galsim.ImageD(SIDE, SIDE), scale=1
        )
        planes.append(np.tile(seen.array, (1, 5)))
    light = np.stack(planes, axis=2)
    labels = np.zeros(light.shape[:2], np.int32)
    for k in range(5):
        here = slice(k * SIDE, (k + 1) * SIDE)
        labels[:, here][light[:, here].sum(axis=2) > 3] = k + 1
    image = replace(
        sky(light[..., 0]),
        data=(light + rng.normal(size=light.shape)).astype(np.float32),
        valid=np.ones(light.shape, bool),
        rms=np.ones(light.shape, np.float32),
        bands=tuple(psfs),
        zero_points=(25.0, 25.0),
        units=(None, None),
    )
    noise = {band: CorrelatedNoise(1.0) for band in image.bands}
    options = replace(
        LIGHT, psf_fwhm=None, psf={band: f"{fwhm}px,{beta}" for band, (fwhm, beta) in psfs.items()}, background="none"
    )
    table = measure(labels, image, maps_of(labels.shape), options=options, noise=noise)
    for band in image.bands:
        assert np.median(table[f"total_flux_{band}"]) == pytest.approx(flux, rel=0.02)
    kron = [np.median(table[f"kron_flux_{band}"]) for band in image.bands]
    assert kron[1] / kron[0] > 1.03
    assert table.meta["total_psf"]["SHARP"] == {"fwhm": 2.0, "beta": 3.5, "n_stars": 0, "origin": "given"}


def test_the_psf_of_a_filter_stands_in_for_one_that_is_not_known():
    image = sky(np.zeros((60, 60)), rms=None, wcs=field_wcs((60, 60), 0.06))
    (psf,) = psfs_of_totals(image, MeasureOptions(), None)
    assert (psf.fwhm, psf.origin) == (pytest.approx(3), "filter")
    assert psfs_of_totals(image, MeasureOptions(psf_fwhm=0.12), None)[0].fwhm == pytest.approx(2)
    assert psfs_of_totals(image, MeasureOptions(psf="2.5px,3"), None)[0].origin == "given"
    two = {"bands": ("F160W", "K"), "zero_points": (None, None), "units": (None, None)}
    both = replace(image, data=np.zeros((60, 60, 2)), valid=np.ones((60, 60, 2), bool), **two)
    assert [psf.fwhm for psf in psfs_of_totals(both, MeasureOptions(), None)] == pytest.approx([3, 3])
    ground = replace(image, bands=("K",))
    assert np.isnan(psfs_of_totals(ground, MeasureOptions(), None)[0].fwhm)


def test_stars_of_a_known_psf_grow_as_it_does():
    psf = MoffatPsf(4.0, 2.2, origin="given")
    found = correct_moffat(8.0, psf)
    assert 1 / found.factor == pytest.approx(float(psf.enclosed(8.0)), abs=0.01)
    assert 0.1 * (found.factor - 1) < found.error < 0.3 * (found.factor - 1)


def test_light_that_is_no_source_gives_no_nonsense():
    table = measured(np.full((60, 60), -1.0), np.pad(np.ones((8, 8), np.int32), 26))
    assert not table["total_flux_F160W"] > 0


@pytest.mark.parametrize("beta", [None, 3.5])
def test_profiles_are_those_of_galsim(beta):
    psf = galsim.Gaussian(fwhm=1) if beta is None else galsim.Moffat(beta=beta, fwhm=1)
    y, x = np.indices((401, 401)) - 200
    for index, size in ((1.0, 1.5), (4.0, 2.0)):
        drawn = galsim.Convolve(galsim.Sersic(index, half_light_radius=size), psf)
        pixels = drawn.drawImage(galsim.ImageD(401, 401), scale=0.1, method="no_pixel").array
        radii = np.array([0.7, 2.0, 6.0])
        expected = [pixels[np.hypot(y, x) < 10 * radius].sum() for radius in radii]
        table = profiles_behind(beta).reshape(len(RADII), -1, len(SERSIC_INDICES))[
            :, : len(SIZES), SERSIC_INDICES.index(index)
        ]
        growth = [np.interp(np.log(size), np.log(SIZES), shares) for shares in table]
        found = np.interp(np.log(radii), np.log(RADII), growth)
        np.testing.assert_allclose(found, expected, atol=0.015)


def test_photons_of_the_source_count():
    rng = np.random.default_rng(4)
    n, side, flux, gain = 100, 40, 4000.0, 0.5
    truth = np.tile(gaussian((side, side), 19.5, 19.5, 2.0, flux), (10, 10))
    data = rng.poisson(truth * gain) / gain + rng.normal(size=truth.shape)
    y, x = np.indices(truth.shape) % side
    row, column = np.indices(truth.shape) // side
    labels = np.where(np.hypot(y - 19.5, x - 19.5) < 6, 10 * row + column + 1, 0).astype(np.int32)
    table = measured(data, labels, replace(LIGHT, gain=gain))
    for name in ("kron", "segment", "aper"):
        column = f"{name}_flux_5px_F160W" if name == "aper" else f"{name}_flux_F160W"
        value = np.asarray(table[column])
        pulls = (value - value.mean()) / np.asarray(table[column.replace("_flux_", "_fluxerr_")])
        assert len(value) == n
        assert pulls.std() == pytest.approx(1, abs=0.2)
    pulls = (np.asarray(table["x_centroid_win"]) % side - 19.5) / np.asarray(table["x_centroid_win_err"])
    assert pulls.std() == pytest.approx(1, abs=0.25)
    assert table.meta["photon_noise"] == {"F160W": "added: 0.5 electrons per unit of data, as given"}
    without = measured(data, labels)
    assert np.all(without["kron_fluxerr_F160W"] < 0.5 * table["kron_fluxerr_F160W"])
    assert without.meta["photon_noise"] == {"F160W": "as far as the RMS plane holds it"}


@pytest.mark.parametrize(
    ("header", "unit", "gain"),
    [
        ({"EXPTIME": 1000.0, "CCDGAIN": 2.5}, "ELECTRONS/S", 1000.0),
        ({"EXPTIME": 1000.0}, "electrons", 1.0),
        ({"GAIN": 2.0}, "ADU", 2.0),
        ({"EGAIN": 1.5, "GAIN": 2.0, "EXPTIME": 10}, "counts / s", 15.0),
        ({"GAIN": 2.0}, "DN/s", None),
        ({"GAIN": 0}, "ADU", None),
        ({"GAIN": "2"}, "ADU", None),
        ({"GAIN": 2.0}, None, None),
        ({"GAIN": 2.0, "EXPTIME": 5.0}, "nJy", None),
    ],
)
def test_gain_of_headers(header, unit, gain):
    found = gain_of_header(header, unit)
    assert found.value == gain
    assert found.statement.startswith("added" if gain else "not included")


def test_gain_is_read_from_files_but_not_added_to_rms_planes(tmp_path):
    rng = np.random.default_rng(1)
    header = fits.Header({"FILTER": "F160W", "BUNIT": "ELECTRONS/S", "EXPTIME": 500.0})
    science = fits.ImageHDU(rng.normal(size=(40, 40)).astype(np.float32), header, name="SCI")
    noise = fits.ImageHDU(np.ones((40, 40), np.float32), name="ERR")
    fits.HDUList([fits.PrimaryHDU(), science]).writeto(tmp_path / "plain.fits")
    fits.HDUList([fits.PrimaryHDU(), science, noise]).writeto(tmp_path / "err.fits")
    assert find_gains(read_image(tmp_path / "plain.fits"), None)[0].value == 500
    assert find_gains(read_image(tmp_path / "err.fits"), None)[0].value is None
    assert find_gains(read_image(tmp_path / "err.fits"), {"F160W": 3.0})[0].value == 3


@pytest.mark.parametrize("wrong", [{"psf_fwhm": 0}, {"psf_fwhm": np.nan}, {"gain": -1}, {"gain": {"F160W": 0.0}}])
def test_impossible_options(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        MeasureOptions(**wrong)


def test_extent_is_the_ratio_of_two_radii_of_the_profile():
    radii = np.geomspace(0.3, 12, 60)
    disk, gaussian = 1 - (1 + radii) * np.exp(-radii), 1 - np.exp(-(radii**2) / 2)
    growth = np.stack([disk, gaussian, np.full(60, np.nan)])
    # Half of the light of an exponential disk lies within 1.678 scale lengths, 90 % within 3.890.
    expected = 3.890 / 1.678, np.sqrt(np.log(10) / np.log(2)), np.nan
    np.testing.assert_allclose(growth_extent(np.tile(radii, (3, 1)), growth), expected, rtol=0.01)
    assert growth_extent(np.empty((0, 60)), np.empty((0, 60))).shape == (0,)
