"""The picture is drawn from means over blocks, which are gathered while an image is classified."""

import numpy as np
import pytest
from astropy.table import QTable

from morpheus_lite import Classification, SkyImage, open_image
from morpheus_lite.core.image import ImageView
from morpheus_lite.core.windows import Window, tiles
from morpheus_lite.io.maps import MapFile, MemoryMaps
from morpheus_lite.noise.overview import measure_image
from morpheus_lite.pipeline.products import PictureBlocks, picture_step

SHAPE = (70, 2700)  # wide, so that blocks are two pixels per side
BANDS = ("F160W", "F606W")


@pytest.fixture(scope="module")
def scene():
    """An image with holes, class maps and labels of it."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(*SHAPE, 2)).astype(np.float32)
    valid = rng.random(data.shape) > 0.2
    valid[:8, :8] = False
    probability = rng.dirichlet(np.ones(5), SHAPE).astype(np.float32)
    classified = valid.any(axis=2)
    probability[~classified] = np.nan
    maps = Classification(probability, classified.astype(np.int32), classified)
    labels = rng.integers(0, 99, SHAPE).astype(np.int32)
    table = QTable({"label": [3], "x_centroid": [10.5], "y_centroid": [20.5], "semimajor_axis": [4.0]})
    return SkyImage(data, BANDS, valid), maps, labels, table


class ReadOnce(ImageView):
    """An image that may not be read."""

    def read(self, window, /):
        raise AssertionError("read again")


@pytest.mark.parametrize(
    ("shape", "step"), [((640, 640), 1), ((1280, 1281), 2), ((4096, 4096), 4), ((300, 5000), 4), ((4100, 100), 4)]
)
def test_side_of_the_blocks(shape, step):
    assert picture_step(shape) == step


@pytest.mark.parametrize("side", [16, 64, 37, 5000])
def test_blocks_are_means_whatever_the_tiles(scene, side):
    image, maps, labels, table = scene
    blocks = PictureBlocks(SHAPE)
    for window in reversed(list(tiles(SHAPE, side))):
        blocks.add_image(window, image.cutout(window))
        part = {name: getattr(maps, name)[window.slices] for name in ("probability", "coverage", "valid")}
        blocks.add_maps(window, Classification(**part))
    stored = MemoryMaps(SHAPE, ("mean", "coverage", "segmentation"))  # of the maps it has nothing but labels
    stored.write_plane("SEGMENTATION", labels)
    drawn = blocks.drawn(ReadOnce(image), stored, table)
    assert drawn.step == 2
    assert drawn.image.shape == drawn.classification.shape == drawn.labels.shape == (35, 1350)
    light, valid = (plane.reshape(35, 2, 1350, 2, 2) for plane in (image.data, image.valid))
    counts = valid.sum(axis=(1, 3))
    expected = np.where(valid, light, 0).sum(axis=(1, 3)) / np.maximum(counts, 1)
    np.testing.assert_allclose(drawn.image.data, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(drawn.image.valid, counts > 0)
    of_blocks = np.nanmean(maps.probability[8:].reshape(31, 2, 1350, 2, 5), axis=(1, 3))
    np.testing.assert_allclose(drawn.classification.probability[4:], of_blocks, rtol=1e-5)
    assert np.isnan(drawn.classification.probability[:4, :4]).all()
    np.testing.assert_array_equal(drawn.labels, labels[1::2, 1::2])
    assert drawn.table["x_centroid"][0] == 5 and drawn.table["semimajor_axis"][0] == 2
    assert table["x_centroid"][0] == 10.5, "the catalogue is left alone"


def test_what_was_not_seen_is_read(scene, tmp_path):
    image, maps, labels, table = scene
    stored = MemoryMaps(SHAPE, ("mean", "coverage", "segmentation"))
    everywhere = Window(0, 0, *SHAPE)
    stored.write(everywhere, maps)
    stored.write_plane("SEGMENTATION", labels, everywhere)
    read = PictureBlocks(SHAPE).drawn(image, stored, table)
    blocks = PictureBlocks(SHAPE)
    with open_image(image) as source:
        measure_image(source, on_read=blocks.add_image)
    path = tmp_path / "maps"
    with MapFile(path, SHAPE, ("mean", "coverage"), wcs=None, provenance={}) as file:
        file.on_write = blocks.add_maps
        file.write(everywhere, maps)
    of_a_part = PictureBlocks(SHAPE)  # all is read again
    of_a_part.add_image(Window(0, 0, 32, 32), image[:32, :32])
    for gathered in (blocks.drawn(ReadOnce(image), stored, table), of_a_part.drawn(image, stored, table)):
        np.testing.assert_array_equal(gathered.image.data, read.image.data)
        np.testing.assert_array_equal(gathered.classification.probability, read.classification.probability)
        np.testing.assert_array_equal(gathered.labels, read.labels)
