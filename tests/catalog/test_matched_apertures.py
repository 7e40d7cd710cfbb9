"""Aperture fluxes on one PSF, and the colours that they give."""

from dataclasses import replace

import galsim
import numpy as np
import pytest
from test_photometry import maps_of, sky

from morpheus_lite.catalog import CorrelatedNoise, MeasureOptions, measure
from morpheus_lite.catalog.matched_apertures import matched_apertures
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.simulation.products import field_wcs

SIDE = 61
PSFS = {"F160W": (3.1, 2.5), "F606W": (1.6, 3.5)}
"""FWHM in pixels, and index."""
COLOUR = 1.2
OPTIONS = MeasureOptions(structure=False, aperture_radii=(0.25, 0.5), background="none")


def field():
    """Galaxies and stars of one colour behind the PSF of each band, and their labels."""
    rng = np.random.default_rng(3)
    sources = [(1, 2.0), (1, 4.0), (2, 2.5), (4, 2.0), (None, 0), (None, 0)]
    planes = []
    for band, (fwhm, beta) in PSFS.items():
        flux = 4000 * (10 ** (-0.4 * COLOUR) if band == "F606W" else 1)
        psf, stamps = galsim.Moffat(beta=beta, fwhm=fwhm, flux=flux), []
        for k, (index, radius) in enumerate(sources):
            whole = psf if index is None else galsim.Convolve(psf, galsim.Sersic(index, half_light_radius=radius))
            stamps.append(whole.drawImage(galsim.ImageD(SIDE, SIDE), scale=1, offset=(0.1 * k, 0.3)).array)
        planes.append(np.hstack(stamps))
    data = np.stack(planes, axis=2)
    labels = np.zeros(data.shape[:2], np.int32)
    for k in range(len(sources)):
        here = slice(k * SIDE, (k + 1) * SIDE)
        labels[:, here][data[:, here, 0] > 3] = k + 1
    one = sky(data[..., 0], wcs=field_wcs(labels.shape, 0.06))
    image = replace(
        one,
        data=(data + rng.normal(0, 0.3, data.shape)).astype(np.float32),
        valid=np.ones(data.shape, bool),
        rms=np.full(data.shape, 0.3, np.float32),
        bands=tuple(PSFS),
        zero_points=(25.0, 25.0),
        units=(None, None),
    )
    return image, labels


def measured(options):
    image, labels = field()
    noise = {band: CorrelatedNoise(0.3) for band in image.bands}
    return measure(labels, image, maps_of(labels.shape), options=options, noise=noise)


def colours(table, kind, radius):
    return np.asarray(table[f"{kind}_mag_{radius}_F606W"]) - np.asarray(table[f"{kind}_mag_{radius}_F160W"])


def test_colours_of_apertures_are_true_on_one_psf():
    given = {band: f"{fwhm}px,{beta}" for band, (fwhm, beta) in PSFS.items()}
    table = measured(replace(OPTIONS, psf=given))
    for radius in ("0p25", "0p5"):
        np.testing.assert_allclose(colours(table, "matched", radius), COLOUR, atol=0.03)
        error = np.asarray(table[f"matched_fluxerr_{radius}_F606W"])
        assert np.all((error > 0) & (error < np.asarray(table[f"aper_fluxerr_{radius}_F606W"])))
    assert np.median(colours(table, "aper", "0p25")) < COLOUR - 0.1
    np.testing.assert_allclose(table["matched_flux_0p5_F160W"], table["aper_flux_0p5_F160W"], rtol=0.005)
    assert table.meta["aperture_colours"].startswith("matched_flux is on the PSF that F160W, F606W")


def test_a_band_without_a_psf_is_said():
    table = measured(replace(OPTIONS, psf={"F606W": "1.6px,3.5"}, match_psf=True))
    assert np.isnan(table["matched_flux_0p5_F160W"]).all()
    assert np.isfinite(table["matched_flux_0p5_F606W"]).all()
    assert "matched_flux is NaN in F160W" in table.meta["aperture_colours"]
    plain = measured(OPTIONS)
    assert not [name for name in plain.colnames if name.startswith("matched_")]
    assert plain.meta["aperture_colours"].startswith("not matched")


@pytest.mark.parametrize("beta", [2.5, 100.0])
def test_matched_weights_are_the_circle_convolved(beta):
    wide, sharp = MoffatPsf(4.0, beta, origin="given"), MoffatPsf(2.0, beta, origin="given")
    found = matched_apertures([5.0], [wide, sharp])
    y, x = np.indices((129, 129)) - 64
    weights = found.at(np.hypot(y, x))[0]
    circle = np.hypot(y, x) < 5
    assert weights[0].sum() == pytest.approx(np.pi * 25, rel=0.01)
    assert weights[1].sum() == pytest.approx(np.pi * 25, rel=0.03)
    assert np.abs(weights[0][circle & (np.hypot(y, x) < 3.5)] - 1).max() < 0.02
    # A star through the sharp PSF gives what the circle holds of it through the wide one.
    star = galsim.Convolve(galsim.Moffat(beta=min(beta, 50), fwhm=2.0), galsim.Pixel(1))
    light = star.drawImage(galsim.ImageD(129, 129), scale=1, method="no_pixel").array
    assert (weights[1] * light).sum() == pytest.approx(float(wide.enclosed(5.0)), abs=0.015)
