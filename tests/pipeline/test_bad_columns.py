"""Bad columns and pixels do not change what a source is."""

import numpy as np
import pytest
from star_fields import galaxy, star_grid

import morpheus_lite as ml
from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.core.image import SkyImage

CELL, N = 48, 36


def classes(model: str, valid: np.ndarray, light: np.ndarray) -> list[str]:
    """Class of the source in the middle of each cell, by the light of its pixels."""
    data = light + np.random.default_rng(1).normal(size=light.shape)
    image = SkyImage(data[:, :, None].astype(np.float32), ("F160W",), valid[:, :, None])
    probability = np.nan_to_num(ml.classify(image, model).probability)
    found = []
    for y, x in np.ndindex(N // 6, 6):
        middle = np.s_[y * CELL + 16 : y * CELL + 33, x * CELL + 16 : x * CELL + 33]
        own = probability[middle] * np.where(valid[middle], np.maximum(data[middle], 0), 0)[..., None]
        found.append(CLASSES[np.delete(own.sum(axis=(0, 1)), BACKGROUND).argmax()])
    return found


@pytest.mark.parametrize(("model", "least"), [("hst", 34), ("any", 33)])
def test_spheroids_with_a_bad_column_stay_spheroids(model, least):
    rng = np.random.default_rng(3)
    cells = [galaxy(CELL, rng.uniform(3, 7), 4, rng.uniform(2, 10), 0.9) for _ in range(N)]
    light = np.block([cells[row * 6 : row * 6 + 6] for row in range(6)])
    valid = np.ones(light.shape, bool)
    for number, (y, x) in enumerate(np.ndindex(6, 6)):
        column = x * CELL + CELL // 2 + rng.integers(-2, 3)
        valid[y * CELL : (y + 1) * CELL, column : column + number % 3 + 1] = False
    # Not bridged: 27 and 25.
    assert classes(model, valid, light).count("spheroid") >= least


def found_stars(light: np.ndarray, valid: np.ndarray, model: str = "any"):
    """Catalogue and labels of an image with noise of 1."""
    data = light + np.random.default_rng(1).normal(size=light.shape)
    image = SkyImage(np.where(valid, data, np.nan)[:, :, None].astype(np.float32), ("F160W",), valid[:, :, None])
    maps = ml.classify(image, model)
    labels = ml.deblend(ml.segment(maps), image)
    return ml.measure(labels, image, maps), labels


@pytest.mark.parametrize("model", ["hst", "any"])
def test_bad_columns_through_stars_make_no_pairs(model):
    light = star_grid(3.0)
    valid = np.ones(light.shape, bool)
    for width, column in zip((1, 1, 2, 2, 3, 3), range(24, light.shape[1], 48), strict=True):
        valid[:, column - width // 2 : column - width // 2 + width] = False
    table, labels = found_stars(light, valid, model)
    x, y = (np.array(table[name], float) for name in ("x_centroid", "y_centroid"))
    assert len(set(zip(x // 48, y // 48, strict=True))) == len(table) >= 35, "one source per star"
    # Of a faint star, one half may be too faint for a source.
    assert np.median(np.abs(x % 48 - 24)) < 0.6
    assert max(np.abs(x % 48 - 24).max() / 2, np.abs(y % 48 - 24).max()) < 1
    assert not labels[~valid].any()
    assert (table["flags"] & ml.SourceFlag.INVALID_PIXELS > 0).all()
    assert np.count_nonzero(table["segment_covered_F160W"] < 1) >= 30
    assert (table["flags_F160W"] & ml.BandFlag.PARTLY_COVERED > 0).all()


@pytest.mark.parametrize("kind", ["saturated", "cross", "trail"])
def test_stars_with_holes_are_one_source_each(kind):
    light = star_grid(4.0)
    y, x = np.indices(light.shape) % 48 - 24
    missing = {
        "saturated": np.hypot(x, y) < 2.2,
        "cross": (x == 0) | (np.abs(y) < 1.5),
        "trail": np.abs(x - y) <= 2,
    }
    table, labels = found_stars(light, ~missing[kind])
    assert len(table) == 36
    assert not labels[missing[kind]].any()
    assert np.count_nonzero(table["segment_covered_F160W"] < 1) >= 30


def test_two_stars_beside_a_trail_are_two():
    y, x = np.mgrid[:192, :192]
    light = 400 * sum(np.exp(-((x % 96 - at) ** 2 + (y % 48 - 24) ** 2) / 4) for at in (42, 54))
    valid = np.abs(x % 96 - 48) > 2
    table, _ = found_stars(light, valid)
    assert len(table) == 16


@pytest.mark.parametrize("model", ["hst", "any"])
def test_stars_cut_by_a_slanted_edge_are_found(model):
    y, x = np.mgrid[:192, :192]
    # Along a diagonal, 3 px to 0.5 px inside of the edge of the data.
    places = [(24 + 24 * k, 24 + 24 * k + 40 - depth * np.sqrt(2)) for k, depth in enumerate((3, 2, 1, 0.5, 0.2))]
    stars = [60 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 3.4) for row, column in places]
    table, _ = found_stars(sum(stars), x - y < 40, model)
    assert len(table) == 5
    np.testing.assert_allclose(table["y_centroid_win"].value, [row for row, _ in places], atol=0.8)
    seen = [star[x - y < 40].sum() for star in stars]
    np.testing.assert_allclose(table["kron_flux_F160W"].value, seen, rtol=0.07)
    flags = [ml.decode_flags(bits) for bits in table["flags"]]
    # What is missing beside the peak is no hole in it.
    assert all("partly_covered" in bits and "saturated" not in bits for bits in flags)


@pytest.mark.parametrize("width", [5, 7])
def test_a_wide_slanted_trail_leaves_one_row_per_star(width):
    light = star_grid(4.0)
    y, x = np.indices(light.shape) % 48 - 24
    table, _ = found_stars(light, np.abs(x - y) > width / np.sqrt(2))
    places = {(int(row["x_centroid"].value) // 48, int(row["y_centroid"].value) // 48) for row in table}
    assert len(table) == len(places) == 36
    assert (table["flags"] & ml.SourceFlag.INVALID_PIXELS > 0).all()
