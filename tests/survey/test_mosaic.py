"""One mosaic, whole or cut, in this process or on workers, interrupted or not: the same maps, labels and rows."""

import json
import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from distributed import Client
from pyarrow import parquet
from survey_inputs import BANDS, keeping_models, kept_model, tile_wcs

from morpheus_lite import ClassifyOptions, ClusterOptions, RunOptions, classify_file, classify_survey, read_catalog
from morpheus_lite.core.large_objects import LargeObjects
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.core.windows import Window
from morpheus_lite.io import open_image
from morpheus_lite.io.maps import MemoryMaps
from morpheus_lite.noise.background_mesh import SkyStep
from morpheus_lite.noise.overview import measure_sections
from morpheus_lite.survey import work
from morpheus_lite.survey.jobs import ClusterExecutor
from morpheus_lite.survey.mosaic.pieces import PIECES, NamedPlane, PieceMaps, cut, load_noise, save_noise
from morpheus_lite.survey.state import MARKER, tile_directory

HERE = ClusterOptions(workers=0)
OPTIONS = ClassifyOptions(model="hausen2020", stride=15, products=("maps", "catalog"), catalog_format="parquet")


def write_mosaic(path, shape, n_sources, seed=5):
    """Round sources of several sizes, some on the seams, and a hole without data."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    light = np.zeros(shape)
    for _ in range(n_sources):
        at, size = rng.uniform(0, shape), rng.uniform(1.5, 5)
        light += rng.uniform(0.1, 1) * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * size**2))
    header = tile_wcs().to_header()
    header["ABZP"] = 25.9
    hdus = [fits.PrimaryHDU()]
    for band in BANDS:
        pixels = (light + rng.normal(0, 0.01, shape)).astype(np.float32)
        pixels[shape[0] // 2 : shape[0] // 2 + 8, 20:40] = np.nan
        hdus.append(fits.ImageHDU(pixels, header, name=band))
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.fixture(scope="module", autouse=True)
def models_are_loaded_once():
    with keeping_models():
        yield


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    return write_mosaic(tmp_path_factory.mktemp("mosaic") / "field.fits", (130, 150), 14)


@pytest.fixture(scope="module")
def whole(mosaic, tmp_path_factory):
    """The products of the whole image."""
    return classify_file(mosaic, tmp_path_factory.mktemp("whole"), OPTIONS, model=kept_model("hausen2020"))


def assert_same_rows(table, expected):
    assert len(table) == len(expected) > 5
    assert table.colnames == expected.colnames
    for name in expected.colnames:
        np.testing.assert_array_equal(table[name], expected[name], err_msg=name)


def assert_same_maps(directory, whole, side, shape):
    """The planes of the pieces are those of the whole, pixel for pixel."""
    with fits.open(whole.paths["maps"]) as expected:
        pieces = cut(shape, side)
        assert len(list(directory.glob("*_morpheus.fits"))) == len(pieces)
        for piece in pieces:
            with fits.open(directory / f"field_{piece.name}_morpheus.fits") as found:
                assert [hdu.name for hdu in found] == [hdu.name for hdu in expected]
                for hdu in found[1:]:
                    np.testing.assert_array_equal(hdu.data, expected[hdu.name].data[piece.window.slices])
                ra = [hdus["DISK"].header["CRPIX1"] for hdus in (found, expected)]
                assert ra[0] == ra[1] - piece.window.x


@pytest.mark.parametrize("side", [73])
def test_cut_or_whole_the_answer_is_the_same(mosaic, whole, tmp_path, side):
    seen = []
    result = classify_survey(
        mosaic,
        tmp_path,
        OPTIONS,
        cluster=HERE,
        run=RunOptions(tile_size=side),
        progress=lambda done, total: seen.append((done, total)),
    )
    n_pieces = len(cut((130, 150), side))
    assert [one.status for one in result.outcomes] == ["done"]
    assert seen[-1] == (n_pieces + 1, n_pieces + 1)
    directory = tile_directory(tmp_path, "field")
    assert_same_rows(read_catalog(directory / "field_catalog.parquet"), whole.table)
    assert_same_maps(directory, whole, side, (130, 150))
    assert not (directory / PIECES).exists()
    merged = parquet.read_table(result.merged.path / "dataset", partitioning=None)
    assert sorted(merged["label"].to_pylist()) == whole.table["label"].tolist()
    assert not classify_survey(mosaic, tmp_path, OPTIONS, cluster=HERE, run=RunOptions(tile_size=50)).outcomes


def test_a_one_pass_model_gives_the_same_as_well(tmp_path):
    path = write_mosaic(tmp_path / "field.fits", (1040, 500), 30)
    options = ClassifyOptions(model="hst", products=("maps", "catalog"), catalog_format="parquet")
    whole = classify_file(path, tmp_path / "whole", options, model=kept_model("hst"))
    classify_survey(path, tmp_path / "out", options, cluster=HERE, run=RunOptions(tile_size=1024))
    directory = tile_directory(tmp_path / "out", "field")
    assert_same_rows(read_catalog(directory / "field_catalog.parquet"), whole.table)
    assert_same_maps(directory, whole, 1024, (1040, 500))


def test_interrupted_and_resumed_it_does_only_what_is_missing(mosaic, whole, tmp_path, monkeypatch):
    made, real = [], work.load_noise

    def counted(path):
        made.append(path)
        if len(made) == 4:
            raise KeyError("a fault that comes and goes")
        return real(path)

    monkeypatch.setattr(work, "load_noise", counted)
    run = RunOptions(tile_size=73, retries=0)
    result = classify_survey(mosaic, tmp_path, OPTIONS, cluster=HERE, run=run)
    assert "piece field:" in result.failed[0].error
    assert "KeyError" in result.failed[0].tail
    directory = tile_directory(tmp_path, "field")
    assert not (directory / MARKER).exists()
    assert len(list((directory / PIECES).glob("y*.json"))) == 5
    result = classify_survey(mosaic, tmp_path, OPTIONS, cluster=HERE, run=run)
    assert not result.failed
    assert len(made) == 6 + 1
    assert_same_rows(read_catalog(directory / "field_catalog.parquet"), whole.table)


def test_compressed_maps_with_some_planes_and_pictures(mosaic, tmp_path):
    options = replace(OPTIONS, compress=True, planes=("mean", "segmentation"), products=("maps", "catalog", "regions"))
    classify_survey(mosaic, tmp_path, options, cluster=HERE, run=RunOptions(tile_size=73))
    directory = tile_directory(tmp_path, "field")
    with fits.open(directory / "field_y1x2_morpheus.fits") as hdus:
        assert {type(hdu) for hdu in hdus[1:]} == {fits.CompImageHDU}
        assert [hdu.name for hdu in hdus[1:]][-1] == "SEGMENTATION"
        assert len(hdus) == 7
    assert (directory / "field_sources.reg").read_text().count("\n") > 5
    products = json.loads((directory / MARKER).read_text())["products"]
    assert {"catalog", "regions", "maps y0x0"} <= set(products)


def test_without_maps_only_the_catalogue_is_left(mosaic, tmp_path):
    options = replace(OPTIONS, products=("catalog",))
    classify_survey(mosaic, tmp_path, options, cluster=HERE, run=RunOptions(tile_size=73))
    assert not list(tile_directory(tmp_path, "field").glob("*.fits"))


def test_a_mosaic_that_cannot_be_classified_is_told(mosaic, tmp_path):
    with fits.open(mosaic) as hdus:
        fits.HDUList(hdus[:4]).writeto(tmp_path / "three.fits")
    result = classify_survey(tmp_path / "three.fits", tmp_path, OPTIONS, cluster=HERE, run=RunOptions(tile_size=73))
    assert "has no band F850LP" in result.failed[0].error


def test_how_it_is_cut():
    pieces = cut((170, 210), 97)
    assert [piece.name for piece in pieces] == ["y0x0", "y0x1", "y0x2", "y1x0", "y1x1", "y1x2"]
    assert pieces[-1].window == Window(97, 194, 73, 16)
    # Pieces begin at multiples of the model's tiles, and have one of them at least.
    assert [piece.window.x for piece in cut((9, 2000), 1000, grid=768)] == [0, 768, 1536]
    assert cut((9, 2000), 2000, grid=768)[1].window.x == 1536


def test_maps_of_pieces_are_those_of_the_whole_and_travel(tmp_path):
    from morpheus_lite.io.maps import MapFile

    rng = np.random.default_rng(0)
    shape, kinds = (50, 70), ("mean", "coverage", "segmentation", "flags")
    whole = MemoryMaps(shape, kinds)
    files = []
    for piece in cut(shape, 32):
        path = tmp_path / f"{piece.name}.fits"
        with MapFile(path, piece.window.shape, kinds, wcs=None, provenance={}) as maps:
            for name in ("SPHEROID", "BACKGROUND", "N", "FLAGS"):
                pixels = rng.integers(0, 9, piece.window.shape).astype(maps.read_plane(name).dtype)
                maps.write_plane(name, pixels)
                whole.write_plane(name, pixels, piece.window)
        files.append((piece.window, str(path)))
    maps = pickle.loads(pickle.dumps(PieceMaps(shape, kinds, files, wcs=None, provenance={"model": "x"})))
    window = Window(20, 25, 27, 41)
    found, expected = maps.read(window), whole.read(window)
    for name in ("probability", "coverage", "flags", "valid"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    labels = rng.integers(0, 99, window.shape).astype(np.int32)
    maps.write_plane("SEGMENTATION", labels, window)
    np.testing.assert_array_equal(maps.read_plane("SEGMENTATION", window), labels)
    assert maps.read_plane("SEGMENTATION").sum() == labels.sum()


def test_a_named_plane_is_the_same_for_whoever_opens_it(tmp_path):
    plane = NamedPlane.create(tmp_path / "plane", (9, 11))
    other = pickle.loads(pickle.dumps(plane))
    window = Window(2, 3, 4, 5)
    plane.write(window, np.arange(20, dtype=np.int32).reshape(4, 5))
    np.testing.assert_array_equal(other.read(window), np.arange(20).reshape(4, 5))
    assert other.read(Window(0, 0, 9, 11)).sum() == 190
    plane.close()
    other.close()


def wait_and_negate(number):
    time.sleep(0.3)
    return -number


def test_work_with_a_time_limit_is_spread_by_a_client_of_its_own():
    with Client(processes=False, n_workers=1, dashboard_address=None, set_as_default=False) as client:
        assert list(ClusterExecutor(client, seconds=60).map(wait_and_negate, [1, 2])) == [-1, -2]


def test_noise_survives_its_file(mosaic, tmp_path):
    with open_image(mosaic) as image:
        psf = (MoffatPsf(3.0, 2.5, 9, "stars"), MoffatPsf(), MoffatPsf(2.0, origin="given"), MoffatPsf())
        large = LargeObjects(np.eye(3, dtype=np.int32), np.array([4]), np.array([[9.5, 7.5]]), np.array([50.0]))
        steps = SkyStep(2, 1, 30, 0.5), SkyStep(0, 0, 9, -1.0)
        noise = measure_sections(image, steps=steps)
        noise = replace(noise, void=((0.0, -99.0), (), (5.0,), ()), psf=psf, large=large, doubts=("dim",))
    save_noise(tmp_path / "noise.npz", noise)
    found = load_noise(tmp_path / "noise.npz")
    for name in ("shape", "has_rms", "photons", "largest", "void", "steps", "doubts"):
        assert getattr(found, name) == getattr(noise, name)
    for name in ("background", "sigma"):
        np.testing.assert_array_equal(getattr(found, name), getattr(noise, name))
    assert [psf.record() for psf in found.psf] == [psf.record() for psf in noise.psf]
    assert found.large.record() == large.record() and found.large.boxes(4) == large.boxes(4)
    assert load_noise(tmp_path / "absent.npz") is None
