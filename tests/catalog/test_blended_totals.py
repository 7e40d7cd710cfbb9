"""Total fluxes of blends, crowded sources and stars."""

import numpy as np
import pytest
from test_photometry import WHITE, gaussian, maps_of, sky

from morpheus_lite.catalog import MeasureOptions, measure
from morpheus_lite.catalog.cutouts import find_neighbors
from morpheus_lite.catalog.total_flux import correct_point_source, is_from_space


def models(**more):
    """A bright round exponential disk of 10,000 at (30, 40), a faint source at (30, 60), and one far away."""
    radii = np.geomspace(1, 80, 14)
    disk = 1 - (1 + radii / 4) * np.exp(-radii / 4)
    values = {
        "label": np.array([1, 2, 3]),
        "snr": np.array([500.0, 15.0, 15.0]),
        "y_centroid": np.array([30.0, 30.0, 400.0]),
        "x_centroid": np.array([40.0, 60.0, 400.0]),
        "semimajor_axis": np.full(3, 4.0),
        "semiminor_axis": np.full(3, 4.0),
        "orientation": np.zeros(3),
        "growth_radii": np.tile(radii, (3, 1)),
        "growth": np.tile(disk, (3, 1)),
        "kron_scale_radius": np.array([14.0, 8.0, 8.0]),
        "segment_flux_H": np.array([10_000.0, 60.0, 60.0]),
        "kron_fluxerr_H": np.full(3, 5.0),
        "total_flux_H": np.array([10_000.0, 400.0, 100.0]),
    }
    return find_neighbors(values | more, ["H"], [1.0])


def test_whose_light_reaches_whom():
    found = models()
    assert set(found.of) == {2}, "the faint one gives nothing to the bright one, and the third is far"
    assert found.of[2].tolist() == [0]
    assert found.flux[1] == pytest.approx(60 * (1.05 + 9.4 / 15)), "no more than its own light grows to"
    assert models(x_centroid=np.array([40.0, 160.0, 400.0])).of == {}


def test_the_light_of_a_model_is_that_of_its_profile():
    found = models()
    own, wings = found.light(2, (61, 81), (0, 0))
    y, x = np.indices((61, 81))
    distance = np.hypot(y - 30, x - 40)
    disk = 10_000 / (2 * np.pi * 16) * np.exp(-distance / 4)
    ring = (distance > 4) & (distance < 20)
    np.testing.assert_allclose(wings[ring, 0], disk[ring], rtol=0.15)
    assert wings.sum() == pytest.approx(10_000, rel=0.03)
    assert own[30, 60, 0] == own.max()


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
    assert abs(flux - 600) < 2 * error
    assert error < 120
    assert float(table["total_flux_F160W"][0]) == pytest.approx(400 * 2 * np.pi * 16, rel=0.1)


def test_errors_grow_with_the_share_of_the_ellipse_that_others_hide():
    shape, errors = (80, 120), []
    noise = np.random.default_rng(6).normal(size=shape)
    for apart in (40, 11, 8):
        places = [60 - apart / 2, 60 + apart / 2]
        light = sum(gaussian(shape, 40, at, 2.0, 4000) for at in places)
        y, x = np.indices(shape)
        near = [np.hypot(x - at, y - 40) for at in places]
        labels = np.where(np.minimum(*near) < 7, np.where(near[0] <= near[1], 1, 2), 0).astype(np.int32)
        image = sky(light + noise)
        table = measure(labels, image, maps_of(shape), noise=WHITE, options=MeasureOptions(background="none"))
        flux, error = (np.asarray(table[f"total_{kind}_F160W"]) for kind in ("flux", "fluxerr"))
        assert (np.abs(flux - 4000) < 2 * error).all()
        errors.append(error.max() / 4000)
    assert errors[0] < 0.06 < errors[1] < errors[2] < 0.4


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
