"""Total fluxes of blends, crowded sources and stars."""

import numpy as np
import pytest
from test_photometry import WHITE, gaussian, maps_of, sky

from morpheus_lite import SourceFlag
from morpheus_lite.catalog import MeasureOptions, measure
from morpheus_lite.catalog.blended_totals import total_of_blends
from morpheus_lite.catalog.total_flux import correct_point_source, is_from_space


def rows(snr, segment, total, flags, **more):
    n = len(snr)
    values = {
        "snr": snr,
        "flags": flags,
        "parent_label": np.arange(1, n + 1),
        "segment_flux_H": segment,
        "segment_fluxerr_H": segment / snr,
        "segment_covered_H": np.ones(n),
        "shared_flux_H": segment,
        "shared_fluxerr_H": segment / snr,
        "total_flux_H": total,
        "total_fluxerr_H": 0.1 * total,
    }
    return values | more


def test_a_crowded_source_grows_as_the_isolated_ones():
    n = 21
    snr, segment = np.full(n, 20.0), np.full(n, 100.0)
    total = np.full(n, 180.0)
    total[-1] = 500.0
    flags = np.zeros(n, int)
    flags[-1] = int(SourceFlag.CROWDED)
    found = total_of_blends(rows(snr, segment, total, flags), ["H"], [25.0])
    np.testing.assert_array_equal(found["total_flux_H"][:-1], total[:-1])
    np.testing.assert_array_equal(found["total_fluxerr_H"][:-1], 0.1 * total[:-1])
    assert found["total_flux_H"][-1] == pytest.approx(180)
    assert found["total_mag_H"][-1] == pytest.approx(25 - 2.5 * np.log10(180))
    assert 20 < found["total_fluxerr_H"][-1] < 60


def test_without_enough_isolated_sources_the_growth_is_that_of_simulated_fields():
    flags = np.array([int(SourceFlag.CROWDED)] * 2)
    found = total_of_blends(rows(np.full(2, 20.0), np.full(2, 100.0), np.array([150.0, 900.0]), flags), ["H"], [None])
    assert found["total_flux_H"][0] == 150, "what is not too much stays"
    assert found["total_flux_H"][1] == pytest.approx(100 * (1.05 + 9.4 / 20))
    assert "total_mag_H" not in found


def test_a_source_that_a_band_covers_in_part_is_left_alone():
    flags = np.array([int(SourceFlag.CROWDED)])
    part = {"segment_covered_H": np.array([0.5])}
    found = total_of_blends(rows(np.array([20.0]), np.array([100.0]), np.array([900.0]), flags, **part), ["H"], [None])
    assert found["total_flux_H"][0] == 900


def test_a_faint_source_beside_a_bright_one():
    shape = (120, 120)
    rng = np.random.default_rng(5)
    y, x = np.indices(shape)
    bright = 400 * np.exp(-np.hypot(x - 50, y - 60) / 4)
    faint = gaussian(shape, 60, 80, 1.8, 600)
    labels = np.where(np.hypot(x - 80, y - 60) < 5, 2, np.where(np.hypot(x - 50, y - 60) < 23, 1, 0)).astype(np.int32)
    image = sky(bright + faint + rng.normal(size=shape))
    table = measure(labels, image, maps_of(shape), noise=WHITE, options=MeasureOptions(background="none"))
    flux, error = (float(table[f"total_{kind}_F160W"][1]) for kind in ("flux", "fluxerr"))
    assert abs(flux - 600) < 3 * error
    assert error < 200
    assert float(table["total_flux_F160W"][0]) == pytest.approx(400 * 2 * np.pi * 16, rel=0.1)


@pytest.mark.parametrize(("radius", "share", "beyond"), [(6, 0.849, 0.048), (8, 0.872, 0.045), (12, 0.911, 0.028)])
def test_stars_from_space_have_the_wings_that_they_show(radius, share, beyond):
    # HST's WFC3 in F160W, 0.06 arcsec per pixel: FWHM 3.18 px, half of the Kron flux within 2.15 px.
    seen = correct_point_source(radius, 2.15, beyond, 0.001)
    assert 1 / seen.factor == pytest.approx(share, abs=0.02)
    assert abs(1 / seen.factor - share) < 1.5 * seen.error
    none = correct_point_source(radius, 2.15, 0.0, 0.001)
    assert none.factor == pytest.approx(1, abs=0.005)
    hidden = correct_point_source(radius, 2.15, 0.0, 1.0)
    assert 1 < hidden.factor < seen.factor
    assert hidden.error > (1 - share) / 4


@pytest.mark.parametrize(
    ("bands", "expected"),
    [(("F160W", "F606W"), True), (("F444W",), True), (("F850LP",), True), (("G", "R"), False), (("1",), False)],
)
def test_filters_of_space_telescopes(bands, expected):
    assert is_from_space(bands) == expected
