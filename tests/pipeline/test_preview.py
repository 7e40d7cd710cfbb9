"""Close-ups of sources show the pixels around them, as the whole image does."""

import numpy as np
import pytest
from astropy.table import QTable

from morpheus_lite import SkyImage, open_image
from morpheus_lite.io.maps import MapFile
from morpheus_lite.pipeline.products import close_ups
from morpheus_lite.visualization.plots import plot_stamp_sheet

SHAPE, SIDE = (90, 70), 40


@pytest.fixture
def opened(tmp_path):
    """An image with one number for every pixel, its label map, and a catalogue with a source in a corner."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(*SHAPE, 2)).astype(np.float32)
    labels = rng.integers(0, 9, SHAPE).astype(np.int32)
    image = SkyImage(data, ("F160W", "F606W"), np.ones(data.shape, bool))
    table = QTable({"label": [1, 2], "x_centroid": [33.4, 1.0], "y_centroid": [50.2, 88.0], "area": [9, 9]})
    with open_image(image) as source:
        maps = MapFile(tmp_path / "maps", SHAPE, ("mean", "segmentation"), wcs=None, provenance={})
        maps.write_plane("SEGMENTATION", labels)
        yield source, maps, table, image, labels
        maps.close()


def test_close_ups_hold_the_pixels_around_the_sources(opened):
    source, maps, table, image, labels = opened
    shown = close_ups(source, maps, table, [1, 0], SIDE)
    assert shown.image.shape == shown.labels.shape == (2 * SIDE, SIDE)
    assert shown.table["label"].tolist() == [2, 1]
    np.testing.assert_allclose(shown.table["x_centroid"], [20, 20.4])
    np.testing.assert_allclose(shown.table["y_centroid"], [20, SIDE + 20.2])
    np.testing.assert_array_equal(shown.image.data[SIDE:], image.data[30:70, 13:53])
    np.testing.assert_array_equal(shown.labels[SIDE:], labels[30:70, 13:53])
    np.testing.assert_array_equal(shown.labels[:22, 19:SIDE], labels[68:90, :21])
    assert shown.image.valid[:22, 19:].all()
    assert not shown.image.valid[22:SIDE].any(), "the image ends there"
    assert not shown.image.valid[:SIDE, :19].any()
    assert table["x_centroid"][1] == 1, "the catalogue is left alone"


def test_no_sources_are_an_empty_sheet(opened, tmp_path):
    source, maps, table, *_ = opened
    shown = close_ups(source, maps, table, [], SIDE)
    assert shown.image.shape == (SIDE, SIDE)
    path = tmp_path / "stamps.png"
    plot_stamp_sheet(shown.image, shown.labels, shown.table, rows=[]).savefig(path)
    assert path.read_bytes().startswith(b"\x89PNG")
