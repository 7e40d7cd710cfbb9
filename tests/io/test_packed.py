"""Tile-compressed planes that are read by section: unpacked once, whoever reads them, and never all in memory."""

import errno
import os
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.hdu.compressed import section

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.core.labels import FilePixels
from morpheus_lite.core.windows import Window, tiles
from morpheus_lite.io import fitsfile, open_image
from morpheus_lite.pipeline.classify import classify_file
from morpheus_lite.runtime.resources import parallel_map

FIELD = Path(__file__).parents[2] / "examples" / "data" / "demo_field.fits"
NUMBERS = ("label", "x_centroid", "y_centroid", "area", "total_flux_F160W", "p_disk", "flags")
SHAPE = 700, 1100
TILES = {"rows": (1, 1100), "three rows": (3, 1100), "squares": (100, 150), "high": (300, 64)}


def written(folder: Path, pixels: np.ndarray, tile: tuple[int, int]) -> Path:
    """The pixels as `fpack` compresses them."""
    path = folder / "packed.fits.fz"
    hdu = fits.CompImageHDU(pixels, tile_shape=tile, compression_type="RICE_1", quantize_level=16)
    hdu.writeto(path, overwrite=True)
    return path


@pytest.fixture
def unpacked_tiles(tmp_path, monkeypatch):
    """How often astropy has unpacked each tile of each HDU, in this process and in those forked from it."""
    log, unpack = tmp_path / "unpacked", section.decompress_image_data_section

    def counted(data, kind, header, table, image_header, first, last):
        found = [f"{table.name} {y} {x}\n" for y in range(first[0], last[0] + 1) for x in range(first[1], last[1] + 1)]
        with log.open("a") as file:
            file.write("".join(found))
        return unpack(data, kind, header, table, image_header, first, last)

    monkeypatch.setattr(section, "decompress_image_data_section", counted)

    class Tiles:
        def __call__(self) -> Counter:
            return Counter(log.read_text().splitlines())

        def clear(self) -> None:
            log.write_text("")

    return Tiles()


@pytest.mark.parametrize("tile", TILES.values(), ids=TILES)
def test_windows_are_those_of_the_whole_plane_and_no_tile_is_unpacked_twice(tmp_path, unpacked_tiles, tile):
    path = written(tmp_path, np.random.default_rng(1).normal(size=SHAPE).astype("f4"), tile)
    whole = fits.getdata(path)
    with open_image(path) as image:
        for window in (Window(695, 1090, 5, 10), Window(250, 60, 20, 400), *tiles(SHAPE, 300)):
            assert np.array_equal(image.read(window).data[..., 0], whole[window.slices])
            image.close()
    n_tiles = -(-SHAPE[0] // tile[0]) * -(-SHAPE[1] // tile[1])
    # Once by getdata, once here.
    assert set(unpacked_tiles().values()) == {2}
    assert len(unpacked_tiles()) == n_tiles


def test_processes_share_what_one_of_them_unpacked(tmp_path, unpacked_tiles):
    path = written(tmp_path, np.random.default_rng(1).normal(size=SHAPE).astype("f4"), (1, SHAPE[1]))
    with open_image(path) as image:
        image.read(Window(300, 0, 1, 1))
        image.close()
        rows = [Window(y, 0, 100, SHAPE[1]) for y in range(0, 700, 100)] * 3
        list(parallel_map(lambda window: image.read(window).data.sum(), rows, workers=2))
    # Two processes may unpack the same piece at the same time.
    assert max(unpacked_tiles().values()) <= 2


def test_a_run_unpacks_each_tile_once_and_its_products_are_those_of_the_plain_file(
    tmp_path, unpacked_tiles, monkeypatch
):
    monkeypatch.setattr(fitsfile, "_PIECE", (16, 100))
    plain, packed = fits.HDUList([fits.PrimaryHDU()]), fits.HDUList([fits.PrimaryHDU()])
    with fits.open(FIELD) as hdus:
        for hdu in hdus[1:]:
            plain.append(fits.ImageHDU(hdu.data, hdu.header, hdu.name))
            packed.append(fits.CompImageHDU(hdu.data, hdu.header, hdu.name, "GZIP_2", quantize_level=0))
    plain.writeto(tmp_path / "field.fits")
    packed.writeto(tmp_path / "field.fits.fz")
    unpacked_tiles.clear()
    options = ClassifyOptions(products=("maps", "catalog"))
    first = classify_file(tmp_path / "field.fits", tmp_path / "plain", options, workers=2)
    second = classify_file(tmp_path / "field.fits.fz", tmp_path / "packed", options, workers=2)
    assert len(unpacked_tiles()) == 8 * 256
    assert set(unpacked_tiles().values()) == {1}
    assert len(first.table) > 5
    assert all(np.array_equal(first.table[name], second.table[name], equal_nan=True) for name in NUMBERS)
    with fits.open(first.paths["maps"]) as one, fits.open(second.paths["maps"]) as other:
        assert all(np.array_equal(a.data, b.data) for a, b in zip(one[1:], other[1:], strict=True))


def test_memory_is_that_of_what_is_read(tmp_path):
    shape = 3000, 4000
    path = written(tmp_path, np.zeros(shape, "f4"), (1, shape[1]))
    with open_image(path) as image:
        image.read(Window(0, 0, 1, 1))
        tracemalloc.start()
        for window in tiles(shape, 250):
            image.read(window)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * shape[0] * shape[1] / 3


@pytest.mark.parametrize("where", ["file", "pixels"])
def test_without_room_pixels_are_unpacked_each_time(tmp_path, monkeypatch, caplog, where):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = written(tmp_path, np.random.default_rng(1).normal(size=SHAPE).astype("f4"), (1, SHAPE[1]))
    whole = fits.getdata(path)
    monkeypatch.setattr(*(os, "truncate") if where == "file" else (FilePixels, "write"), full)
    with open_image(path) as image:
        for window in tiles(SHAPE, 400):
            assert np.array_equal(image.read(window).data[..., 0], whole[window.slices])
    assert [record.message.count("TMPDIR") for record in caplog.records] == [1]


def test_a_file_that_was_written_again_is_read_again(tmp_path):
    with open_image(written(tmp_path, np.zeros((50, 50), "i2"), (1, 50))) as image:
        before = image.read().data.copy()
        image.close()
        os.utime(written(tmp_path, np.ones((50, 50), "i2"), (1, 50)), ns=(1, 1))
        assert not before.any()
        assert (image.read().data == 1).all()
