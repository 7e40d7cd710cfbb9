"""Large galaxies are one source of the right class, for the shipped models."""

import numpy as np
import pytest

import morpheus_lite as ml
from morpheus_lite.models.registry import load_model
from tests.star_fields import galaxy, seen


@pytest.fixture(scope="module")
def model():
    return load_model("any")


def catalogue(light, model):
    image = seen(light)
    result = ml.classify(image, model)
    return ml.measure(ml.deblend(ml.segment(result), image), image, result), result


@pytest.mark.parametrize(("n", "radius"), [(1, 10), (1, 30), (1, 60), (1, 100), (4, 10), (4, 30), (4, 60)])
def test_smooth_galaxies_are_one_source_of_their_class(model, n, radius):
    table, result = catalogue(galaxy(max(256, 8 * radius), radius, n, 2), model)
    assert list(table["morphology"]) == ["disk" if n == 1 else "spheroid"]
    assert ("large_objects" in result.provenance) == (n * radius in (30, 60, 100, 240))
    if n == 1 and radius >= 60:
        # Sky left in the mesh took a fifth of the light at 100 px.
        light = galaxy(8 * radius, radius, n, 2).sum()
        assert float(table["kron_flux_1"][0]) > 0.85 * light


def test_satellites_stay_apart_and_knots_do_not(model):
    light = galaxy(560, 60, 1, 4)
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:560, :560]
    for _ in range(30):
        row, column = rng.uniform(180, 380, 2)
        knot = np.exp(-((y - row) ** 2 + (x - column) ** 2) / 18)
        light += rng.uniform(0.3, 0.8) * light[int(row), int(column)] * knot
    satellites = [(150, 300), (330, 440), (420, 200)]
    for row, column in satellites:
        light[row - 24 : row + 24, column - 24 : column + 24] += galaxy(48, 3, 4, 30, axis_ratio=0.9)
    table, _ = catalogue(light, model)
    places = np.stack([table["y_centroid"].value, table["x_centroid"].value], axis=1)
    assert len(table) == 4
    assert table["morphology"][np.argmax(table["area"])] == "disk"
    for satellite in satellites:
        assert np.hypot(*(places - satellite).T).min() < 2
