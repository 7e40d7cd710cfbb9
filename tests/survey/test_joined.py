"""Tiles on one pixel grid: files of their own, and the rows of the whole image."""

import json
import os
import pickle

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from pyarrow import parquet
from survey_inputs import BANDS, FAST, keeping_models, kept_model, tile_wcs

from morpheus_lite import (
    ClassifyOptions,
    ClusterOptions,
    RunOptions,
    Tile,
    classify_file,
    classify_survey,
    read_catalog,
)
from morpheus_lite.cli import main
from morpheus_lite.core.windows import Window
from morpheus_lite.io import open_image
from morpheus_lite.survey.mosaic import joined
from morpheus_lite.survey.mosaic.joined import MEMBERS, MOSAICS, Look, join

HERE = ClusterOptions(workers=0)
SIDE, STEP = 256, 176
OPTIONS = ClassifyOptions(model="hst", products=("maps", "catalog"), catalog_format="parquet")
GRID = [(y, x) for y in range(0, 3 * STEP, STEP) for x in range(0, 3 * STEP, STEP)]
WHOLE = (2 * STEP + SIDE,) * 2


@pytest.fixture(scope="module", autouse=True)
def models_are_loaded_once():
    with keeping_models():
        yield


def planes(shape, seed=3, n_sources=40):
    """Sources of several sizes and noise, by band."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    light = np.zeros(shape)
    for _ in range(n_sources):
        at, size = rng.uniform(8, np.array(shape) - 8), rng.uniform(1.5, 6)
        light += rng.uniform(0.05, 1) * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * size**2))
    # A slope of the sky: each tile by itself would see another.
    return {band: (light + x * 1e-5 + rng.normal(0, 0.01, shape)).astype(np.float32) for band in BANDS}


def write_window(path, pixels, window, bands=BANDS, scale=0.06):
    """A window of an image as a file of its own."""
    hdus = [fits.PrimaryHDU()]
    for band in bands:
        header = tile_wcs((window.y, window.x), scale).to_header()
        header["ABZP"] = 25.9
        hdus.append(fits.ImageHDU(pixels[band][window.slices], header, name=band))
    path.parent.mkdir(exist_ok=True)
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


@pytest.fixture(scope="module")
def field():
    return planes(WHOLE)


@pytest.fixture(scope="module")
def whole(field, tmp_path_factory):
    """The rows of the whole image, by the place of the brightest pixel."""
    place = tmp_path_factory.mktemp("whole")
    path = write_window(place / "whole.fits", field, Window(0, 0, *WHOLE))
    return classify_file(path, place, OPTIONS, model=kept_model("hst"))


@pytest.fixture(scope="module")
def finished(field, tmp_path_factory):
    """Nine overlapping tiles, and a survey of them that is cut into pieces."""
    place = tmp_path_factory.mktemp("tiles")
    images = [write_window(place / "in" / f"t{y}_{x}.fits", field, Window(y, x, SIDE, SIDE)) for y, x in GRID]
    result = classify_survey(images, place / "out", OPTIONS, cluster=HERE, run=RunOptions(tile_size=400))
    assert not result.failed
    return images, place / "out", result


def merged_of(root):
    return parquet.read_table(root / "catalog" / "dataset", partitioning=None)


def assert_rows_of_the_whole(merged, table):
    """Every column but those of places in pixels, row by row."""
    assert merged.num_rows == len(table) > 25
    merged = merged.sort_by("label")
    for name in table.colnames:
        values = np.asarray(table[name])
        if name.startswith(("x_", "y_")) and not name.endswith("_err"):
            continue
        if name in ("ra", "dec"):
            np.testing.assert_allclose(merged[name].to_numpy(), values, rtol=0, atol=1e-11)
        else:
            np.testing.assert_array_equal(merged[name].to_numpy(zero_copy_only=False), values, err_msg=name)


def test_tiles_on_one_grid_have_the_rows_of_the_whole(finished, whole):
    images, root, result = finished
    assert sorted(one.name for one in result.outcomes) == sorted(path.stem for path in images)
    assert_rows_of_the_whole(merged_of(root), whole.table)


def test_each_tile_has_its_maps_and_the_sources_that_it_owns(finished, whole):
    images, root, _ = finished
    with fits.open(whole.paths["maps"]) as expected:
        for path, (y, x) in zip(images, GRID, strict=True):
            directory = root / "tiles" / path.stem
            table = read_catalog(directory / f"{path.stem}_catalog.parquet")
            with fits.open(directory / f"{path.stem}_morpheus.fits") as found:
                assert [hdu.name for hdu in found] == [hdu.name for hdu in expected]
                for hdu in found[1:]:
                    here = Window(y, x, SIDE, SIDE).slices
                    np.testing.assert_array_equal(hdu.data, expected[hdu.name].data[here], err_msg=hdu.name)
                labels = found["SEGMENTATION"].data
            y, x = (table[name].value.astype(int) for name in ("y_peak", "x_peak"))
            np.testing.assert_array_equal(labels[y, x], table["label"])
            with open_image(path) as image:
                sky = image.wcs.pixel_to_world(table["x_centroid"].value, table["y_centroid"].value)
            np.testing.assert_allclose(sky.ra.deg, table["ra"].value, atol=1e-9)
    assert sum(len(read_catalog(one)) for one in root.glob("tiles/*/*.parquet")) == len(whole.table)


@pytest.fixture
def small(field, tmp_path):
    """Three small tiles in a row, and one far away that lies on their grid, too."""
    places = {"a": (0, 0), "b": (0, 44), "c": (0, 88), "far": (200, 200)}
    return [write_window(tmp_path / "in" / f"{name}.fits", field, Window(*at, 60, 64)) for name, at in places.items()]


def outcomes(*arguments, **options):
    result = classify_survey(*arguments, FAST, cluster=HERE, **options)
    return {one.name: one.status for one in result.outcomes}


def test_what_hangs_together_is_done_again_together(field, small, tmp_path):
    root = tmp_path / "out"
    assert outcomes(small, root) == dict.fromkeys(["a", "b", "c", "far"], "done")
    (mosaic,) = (root / MOSAICS).iterdir()
    assert json.loads((mosaic / MEMBERS).read_text()) == {"tiles": ["a", "b", "c"]}
    assert outcomes(small, root) == {}
    os.utime(small[1], (0, 0))
    assert outcomes(small, root) == {"b": "revalidated"}
    assert outcomes(small, root) == {}
    write_window(small[1], {band: pixels * 2 for band, pixels in field.items()}, Window(0, 44, 60, 64))
    assert outcomes(small, root) == dict.fromkeys(["a", "b", "c"], "done")
    # One tile less, or more, is another image.
    assert outcomes(small[1:], root) == dict.fromkeys(["b", "c"], "done")
    (mosaic,) = (root / MOSAICS).iterdir()
    assert json.loads((mosaic / MEMBERS).read_text()) == {"tiles": ["b", "c"]}
    assert outcomes(small[1:], root, run=RunOptions(noise="tile")) == dict.fromkeys(["b", "c"], "done")
    assert outcomes(small, root) == dict.fromkeys(["a", "b", "c"], "done")


def test_each_tile_for_itself(small, tmp_path, capsys):
    arguments = ["batch", *map(str, small[:2]), "-o", str(tmp_path / "out"), "-m", "hausen2020", "--stride", "30"]
    arguments += ["-w", "0", "--products", "catalog", "--noise", "tile"]
    assert main(arguments) == 0
    assert "2 of 2 tiles are done, 2 of them now" in capsys.readouterr().out
    assert not (tmp_path / "out" / MOSAICS).exists()
    alone = classify_file(small[0], tmp_path / "alone", FAST, model=kept_model("hausen2020")).table
    table = read_catalog(tmp_path / "out" / "tiles" / "a" / "a_catalog.parquet")
    np.testing.assert_array_equal(table["kron_flux_F160W"], alone["kron_flux_F160W"])


def write_bins(path, field, window):
    """A window of an image in bins of 2 x 2 pixels, as a file of its own."""
    hdus = [fits.PrimaryHDU()]
    for band in BANDS:
        header = tile_wcs((window.y, window.x)).slice((slice(None, None, 2),) * 2).to_header()
        header["ABZP"] = 25.9
        pixels = field[band][window.slices]
        pixels = pixels.reshape(pixels.shape[0] // 2, 2, -1, 2).sum(axis=(1, 3))
        hdus.append(fits.ImageHDU(pixels, header, name=band))
    fits.HDUList(hdus).writeto(path)
    return path


def test_bands_that_a_tile_lacks_and_another_tiling(field, tmp_path):
    two, side, step = BANDS[:2], 200, 150
    windows = [Window(y, x, side, side) for y in (0, step) for x in (0, step)]
    lacking = {"t3"}
    images = [
        write_window(tmp_path / "in" / f"t{k}.fits", field, window, two if f"t{k}" in lacking else BANDS)
        for k, window in enumerate(windows)
    ]
    # The same sky in larger pixels, beyond the others on the left.
    other = write_bins(tmp_path / "in" / "other.fits", field, Window(60, 230, 200, 200))
    blanked = {band: pixels[: step + side, : step + side].copy() for band, pixels in field.items()}
    for band in BANDS[2:]:
        blanked[band][side:, side:] = np.nan
        # Where the tile that lacks the band overlaps others, these have it.
        blanked[band][step:side, side:] = field[band][step:side, side : step + side]
    path = write_window(tmp_path / "whole.fits", blanked, Window(0, 0, step + side, step + side))
    with fits.open(path) as hdus:
        assert np.isnan(hdus["F606W"].data).sum() == (side + step - side) ** 2
    expected = classify_file(path, tmp_path / "whole", OPTIONS, model=kept_model("hst")).table
    result = classify_survey([*images, other], tmp_path / "out", OPTIONS, cluster=HERE)
    assert not result.failed
    rows = [read_catalog(one) for one in sorted((tmp_path / "out" / "tiles").glob("t*/*.parquet"))]
    here = sorted((row for table in rows for row in table), key=lambda row: row["label"])
    assert [row["label"] for row in here] == expected["label"].tolist()
    np.testing.assert_array_equal(
        [u.Quantity(row["kron_flux_F160W"]).value for row in here], expected["kron_flux_F160W"].value
    )
    np.testing.assert_array_equal([row["flags_F606W"] for row in here], expected["flags_F606W"])
    y, x = (expected[f"{axis}_peak"].value for axis in "yx")
    apart = np.hypot(np.maximum(step - y, 0), np.maximum(step - x, 0))
    found = [u.Quantity(row["no_data_distance_F606W"]).value for row in here]
    np.testing.assert_array_equal(found, apart)
    assert (np.array([row["flags_F606W"] for row in here]) > 0).any() and (apart == 0).any() and (apart > 100).any()
    assert "no_data_distance_F160W" not in rows[0].colnames
    assert_every_source_once(merged_of(tmp_path / "out"), expected)


AREAS = (-0.5, -0.5, 350), (229.5, 59.5, 200)
"""Left, bottom and side of the mosaic and of the other image."""


def assert_every_source_once(merged, expected):
    """Of the sources that two tilings have there is one row each, which says why it is the one."""
    names = ("tile", "ra", "dec", "n_tiles", "is_primary", "is_inner", "no_data_distance_F606W")
    tile, ra, dec, n_tiles, is_primary, is_inner, apart = (
        merged[name].to_numpy(zero_copy_only=False) for name in names
    )
    x, y = tile_wcs((0, 0)).wcs_world2pix(ra, dec, 0)
    bright = expected["snr"] > 30
    near = np.hypot(x - expected["x_centroid"].value[bright, None], y - expected["y_centroid"].value[bright, None])
    assert bright.sum() > 10
    np.testing.assert_array_equal((near < 4).sum(axis=1), 1)
    # The sky belongs to the image in which it lies deeper; rows of sources that both have say so.
    depths = [np.min([x - left, left + side - x, y - top, top + side - y], axis=0) for left, top, side in AREAS]
    np.testing.assert_array_equal(tile == "other", depths[1] > depths[0])
    np.testing.assert_array_equal(n_tiles, 1 + (np.min(depths, axis=0) > 0))
    assert (n_tiles == 2).sum() > 3 and is_primary.all() and is_inner.all()
    assert (np.isnan(apart) == (tile == "other")).all()


def test_a_tile_that_cannot_be_read_is_left_out_and_the_others_are_done(small, tmp_path, monkeypatch):
    real = joined._OpenTiles.read

    def read(self, number, window, bands):
        if self.parts[number].tile.name == "b":
            raise pickle.loads(pickle.dumps(joined.TileError("the pixels cannot be read", "b")))
        return real(self, number, window, bands)

    monkeypatch.setattr(joined._OpenTiles, "read", read)
    result = classify_survey(small[:3], tmp_path / "out", FAST, cluster=HERE, run=RunOptions(retries=0))
    assert {one.name: one.status for one in result.outcomes} == {"a": "done", "b": "failed", "c": "done"}
    assert (result.failed[0].error, result.failed[0].kind) == ("the pixels cannot be read", "InputError")


def look_at(path):
    with open_image(path) as image:
        return Look.of(image)


def test_which_tiles_are_joined(field, tmp_path):
    small = {band: pixels[:200, :200] for band, pixels in field.items()}
    places = {"a": (0, 0), "b": (0, 40), "c": (60, 0), "corner": (160, 100), "far": (100, 160)}
    paths = {name: write_window(tmp_path / f"{name}.fits", small, Window(*at, 40, 40)) for name, at in places.items()}
    paths["other_scale"] = write_window(tmp_path / "other_scale.fits", small, Window(0, 0, 60, 60), scale=0.05)
    paths["other_units"] = write_window(tmp_path / "other_units.fits", small, Window(20, 20, 60, 60))
    for band in BANDS:
        fits.setval(paths["other_units"], "ABZP", value=30.0, extname=band)
    paths["between"] = write_window(tmp_path / "between.fits", small, Window(20, 20, 60, 60))
    for band in BANDS:
        crpix = fits.getval(paths["between"], "CRPIX1", extname=band)
        fits.setval(paths["between"], "CRPIX1", value=crpix + 0.4, extname=band)
    tiles = {name: (Tile(name, str(path)), look_at(path)) for name, path in paths.items()}
    (mosaic,) = join(tiles)
    assert {part.tile.name: (part.window.y, part.window.x) for part in mosaic.parts} == {"a": (0, 0), "b": (0, 40)}
    tiles["again"] = (Tile("again", str(paths["a"])), tiles["a"][1])  # a second image of the same place
    y, x = tiles["a"][1].corner
    tiles["bridge"] = (Tile("bridge", str(paths["a"])), Look((30, 40), tiles["a"][1].grid, (y + 35, x), {}))
    (mosaic,) = join(tiles)
    assert [part.tile.name for part in mosaic.parts] == ["a", "b", "bridge", "c"]
    assert mosaic.shape == (100, 80)
    assert [one.name for one in join(dict(reversed(tiles.items())))] == [mosaic.name]


def test_pixels_of_the_mosaic_are_those_of_the_tile_in_which_they_lie_deepest(field, tmp_path):
    places = {"a": Window(5, 9, 50, 50), "b": Window(5, 39, 50, 50)}
    values = {"a": 1.0, "b": 2.0}
    paths = {}
    for name, window in places.items():
        pixels = {band: np.full(WHOLE, values[name], np.float32) for band in BANDS}
        if name == "a":
            pixels["F606W"][20:30, 45:50] = np.nan
        paths[name] = write_window(tmp_path / f"{name}.fits", pixels, window)
    (mosaic,) = join({name: (Tile(name, str(path)), look_at(path)) for name, path in paths.items()})
    with pickle.loads(pickle.dumps(mosaic.open())) as image:
        found = image.read()
        chosen = image.select(["F606W"]).read(Window(15, 30, 12, 20))
        np.testing.assert_allclose(image.wcs.pixel_to_world_values(3, 7), tile_wcs((5, 9)).pixel_to_world_values(3, 7))
    assert found.shape == (50, 80) and found.bands == BANDS
    expected = np.where(np.arange(80) < 40, 1.0, 2.0)
    np.testing.assert_array_equal(found.data[25, :, 0], expected)
    # Where the deeper one has no valid pixel it is the other's.
    assert (found.data[15:25, 36:40, 2] == 2).all() and (found.data[15:25, 36:40, 0] == 1).all()
    np.testing.assert_array_equal(chosen.data[..., 0], found.data[15:27, 30:50, 2])
    y, x = np.array([25, 25, 0, 60]), np.array([39, 40, 79, 0])
    assert mosaic.owners(y, x).tolist() == [0, 1, 1, -1]
