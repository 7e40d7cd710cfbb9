"""One tile, in this process: products in place only when whole, every fault told, remote and compressed input."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from survey_inputs import BANDS, FAST, SHAPE, kept_model, served, sky, tile_wcs, write_tile

from morpheus_lite import read_catalog
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import OutputError
from morpheus_lite.io import open_image
from morpheus_lite.survey.jobs import Job
from morpheus_lite.survey.merge.footprint import Footprint, footprint_of
from morpheus_lite.survey.plan import survey_options
from morpheus_lite.survey.state import LOG, MARKER, SUMMARY, State, locked, run_of, tile_directory, tile_state
from morpheus_lite.survey.tile import Tile
from morpheus_lite.survey.work import process

OPTIONS = survey_options(FAST)


@pytest.fixture(scope="module")
def model():
    return kept_model("hausen2020")


@pytest.fixture
def work(tmp_path, model):
    """A function that makes a tile."""
    root = tmp_path / "out"
    with locked(root) as run:

        def make(tile, *, options=OPTIONS, state=State.MISSING, lock=run):
            made_of = run_of(tile, options, {"hausen2020": model.sha256})
            job = Job(tile, options, str(root), lock, made_of, state)
            return process(job, lambda job, image: model), tile_directory(root, tile.name)

        yield make


def tile_of(path, name="a", **reading):
    return Tile(name, str(path), reading)


def is_done(tile, directory, model, options=OPTIONS):
    run = run_of(tile, options, {"hausen2020": model.sha256})
    return tile_state(directory, tile, run, verify=True).state == State.DONE


def stray(directory):
    return [path.name for path in directory.parent.iterdir() if path.name.startswith(".")]


def test_products_log_summary_and_marker(work, model, tmp_path):
    tile = tile_of(write_tile(tmp_path / "a.fits"))
    outcome, directory = work(tile)
    assert (outcome.status, outcome.n_pixels, outcome.n_sources) == ("done", SHAPE[0] * SHAPE[1], 2)
    assert {path.name for path in directory.iterdir()} == {"a_catalog.parquet", LOG, SUMMARY, MARKER}
    assert is_done(tile, directory, model)
    summary = json.loads((directory / SUMMARY).read_text())
    assert summary["n_sources"] == sum(summary["classes"].values()) == 2
    assert sum(map(sum, summary["magnitudes"].values())) == 2
    assert all(20 < summary["depth"][band] < 35 for band in BANDS)
    assert summary["peak_memory"] > 1e8
    assert not stray(directory)


def test_all_products_when_asked(work, model, tmp_path):
    options = survey_options(replace(FAST, products=("maps", "catalog", "regions"), compress=True))
    tile = tile_of(write_tile(tmp_path / "a.fits"))
    _, directory = work(tile, options=options)
    assert {path.name for path in directory.glob("a_*")} == {"a_catalog.parquet", "a_morpheus.fits", "a_sources.reg"}
    assert is_done(tile, directory, model, options)
    # With fewer products, those of before are not left to be taken for new.
    _, directory = work(tile)
    assert {path.name for path in directory.glob("a_*")} == {"a_catalog.parquet"}


def bad_tiles(folder: Path) -> dict[str, tuple[Path, str]]:
    """Name -> (image, what the outcome must say)."""
    cut = write_tile(folder / "cut.fits")
    cut.write_bytes(cut.read_bytes()[:30000])
    (folder / "empty.fits").touch()
    return {
        "truncated": (cut, "truncated"),
        "absent": (folder / "absent.fits", "no such file"),
        "no FITS": (folder / "empty.fits", "empty"),
        "without one band": (write_tile(folder / "three.fits", bands=BANDS[:3]), "has no band F850LP"),
        "smaller than a window": (write_tile(folder / "small.fits", shape=(39, 50)), "smaller than one window"),
    }


@pytest.mark.parametrize("name", ["truncated", "absent", "no FITS", "without one band", "smaller than a window"])
def test_a_bad_tile_fails_with_its_reason(name, work, tmp_path):
    image, message = bad_tiles(tmp_path)[name]
    outcome, directory = work(tile_of(image))
    assert outcome.status == "failed"
    assert message in outcome.error
    assert outcome.kind == "InputError"
    assert message in outcome.tail, "the tail of the log says the same"
    assert not (directory / MARKER).exists()
    assert not stray(directory)


def test_a_tile_without_a_single_valid_pixel_has_an_empty_catalogue(work, model, tmp_path):
    path = tmp_path / "nan.fits"
    header = tile_wcs().to_header()
    nothing = np.full(SHAPE, np.nan, np.float32)
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(nothing, header, name=band) for band in BANDS)]).writeto(path)
    tile = tile_of(path)
    outcome, directory = work(tile)
    assert (outcome.status, outcome.n_sources) == ("done", 0)
    assert json.loads((directory / SUMMARY).read_text())["footprint"]["valid_share"] == 0
    assert is_done(tile, directory, model)


def test_a_tile_of_another_pixel_scale_is_done_and_its_scale_is_kept(work, tmp_path):
    outcome, directory = work(tile_of(write_tile(tmp_path / "a.fits", scale=0.2)))
    assert outcome.status == "done"
    footprint = Footprint.from_dict(json.loads((directory / SUMMARY).read_text())["footprint"])
    assert footprint.pixel_scale == pytest.approx(0.2, rel=1e-6)


def test_touched_and_renamed_inputs_are_read_and_not_classified_again(work, model, tmp_path):
    image = write_tile(tmp_path / "a.fits")
    _, directory = work(tile_of(image))
    before = (directory / "a_catalog.parquet").stat().st_mtime_ns
    os.utime(image, (0, 0))
    moved = tile_of(image.rename(tmp_path / "renamed.fits"))
    outcome, _ = work(moved, state=State.CHECK)
    assert outcome.status == "revalidated"
    assert (directory / "a_catalog.parquet").stat().st_mtime_ns == before
    assert is_done(moved, directory, model)


def test_an_input_written_again_is_classified_again(work, model, tmp_path):
    tile = tile_of(write_tile(tmp_path / "a.fits"))
    work(tile)
    write_tile(tmp_path / "a.fits", n_sources=1)
    outcome, directory = work(tile, state=State.CHECK)
    assert (outcome.status, outcome.n_sources) == ("done", 1)
    assert is_done(tile, directory, model)


def test_a_product_that_cannot_be_moved_leaves_the_tile_undone(work, tmp_path, monkeypatch):
    tile = tile_of(write_tile(tmp_path / "a.fits"))
    _, directory = work(tile)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("morpheus_lite.survey.work.write_json", full)
    with pytest.raises(OutputError, match="no space left on the disk"):
        work(tile)
    assert not (directory / MARKER).exists()
    assert not stray(directory)


def test_a_worker_of_a_run_that_was_replaced_puts_nothing_in_place(work, tmp_path):
    with pytest.raises(OutputError, match="does not see this run's lock"):
        work(tile_of(write_tile(tmp_path / "a.fits")), lock="another")


def test_a_worker_of_another_version_says_so(work, tmp_path, monkeypatch):
    monkeypatch.setattr("morpheus_lite.survey.work.__version__", "99.0")
    outcome, _ = work(tile_of(write_tile(tmp_path / "a.fits")))
    assert "has morpheus_lite 99.0" in outcome.error


def test_compressed_tiles_and_one_file_a_band(work, tmp_path):
    expected, directory = work(tile_of(write_tile(tmp_path / "a.fits")))
    table = read_catalog(directory / "a_catalog.parquet")
    header = tile_wcs().to_header()
    header["ABZP"] = 25.9
    paths = {}
    for band in BANDS:
        hdu = fits.CompImageHDU(sky(), header, compression_type="GZIP_2", quantize_level=0)
        paths[band] = str(tmp_path / f"{band}.fits.fz")
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(paths[band])
    outcome, directory = work(Tile("b", paths))
    assert outcome.n_sources == expected.n_sources
    other = read_catalog(directory / "b_catalog.parquet")
    for name in ("x_centroid", "ra", "kron_flux_F160W", "p_disk"):
        np.testing.assert_array_equal(other[name], table[name])


def test_a_tile_over_http(work, model, tmp_path):
    write_tile(tmp_path / "served" / "a.fits")
    with served(tmp_path / "served") as address:
        tile = tile_of(f"{address}/a.fits")
        outcome, directory = work(tile)
        assert (outcome.status, outcome.n_sources) == ("done", 2)
        assert is_done(tile, directory, model)
        with pytest.raises(Exception, match="absent"):
            work(tile_of(f"{address}/absent.fits", "b"))


def test_a_tile_in_a_bucket(work, model, tmp_path, monkeypatch):
    boto3, server = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    # Another test may have left a file system that has no credentials.
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    bucket.start()
    try:
        host, port = bucket.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        client = boto3.client("s3")
        client.create_bucket(Bucket="survey")
        client.upload_file(str(write_tile(tmp_path / "a.fits")), "survey", "images/a.fits")
        tile = tile_of("s3://survey/images/a.fits")
        outcome, directory = work(tile)
        assert (outcome.status, outcome.n_sources) == ("done", 2)
        assert is_done(tile, directory, model)
        client.upload_file(str(write_tile(tmp_path / "a.fits", n_sources=1)), "survey", "images/a.fits")
        assert tile_state(directory, tile, run_of(tile, OPTIONS, {"hausen2020": model.sha256})).state == State.CHECK
    finally:
        bucket.stop()


def test_footprints_know_their_holes_and_survive_json(tmp_path):
    header = tile_wcs().to_header()
    pixels = sky((400, 500))
    pixels[:, :200] = np.nan
    pixels[7, 300] = np.nan
    with open_image(fits.ImageHDU(pixels, header)) as source:
        found = footprint_of(source)
    found = Footprint.from_dict(json.loads(json.dumps(found.to_dict())))
    assert found.valid_share == pytest.approx(0.6, abs=0.01)
    x, y = np.array([350.0, 230, 100, -5, 490]), np.array([200.0, 200, 200, 200, 200])
    distance = found.edge_distance(*found.sky(x, y)) / found.pixel_scale
    np.testing.assert_allclose(distance, [150, 30, -np.inf, -np.inf, 9.5], atol=500 / 32)
    middle, radius = found.circle
    assert np.rad2deg(radius) * 3600 / 0.06 == pytest.approx(np.hypot(200, 250), rel=1e-3)
    assert np.linalg.norm(middle) == pytest.approx(1)


def test_footprint_of_a_full_tile_needs_no_map():
    with open_image(fits.ImageHDU(sky((200, 100)), tile_wcs().to_header())) as source:
        found = footprint_of(source)
    assert found.valid is None
    assert found.valid_share == pytest.approx(1)
    np.testing.assert_allclose(found.edge_distance(*found.sky(np.array([10.0]), np.array([50.0]))), [10.5 * 0.06])
    assert source.read(Window(0, 0, 1, 100)).shape == (1, 100)
