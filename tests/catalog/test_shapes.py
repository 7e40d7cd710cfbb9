"""Positions and ellipses of sources against photutils, and the same in any frame."""

import numpy as np
import pytest
from photutils.segmentation import SegmentationImage, SourceCatalog
from scipy import ndimage

from morpheus_lite.catalog.segments import measure_shapes
from morpheus_lite.core.labels import LabelledPixels

SHAPES = ("x_centroid", "y_centroid", "semimajor_axis", "semiminor_axis", "orientation", "ellipticity")


@pytest.fixture
def field():
    rng = np.random.default_rng(0)
    light = rng.normal(size=(80, 90))
    for _ in range(15):
        y, x = rng.integers(0, 80), rng.integers(0, 90)
        light[y, x] += 400
    light = ndimage.gaussian_filter(light, (2, 1.5)).astype(np.float32)
    labels, _ = ndimage.label(light > 0.4)
    labels[3, 5], labels[7, 20:26] = labels.max() + 1, labels.max() + 2  # a single pixel, and one as thin
    return labels.astype(np.int32), light, rng.uniform(size=light.shape) > 0.02


def test_moments_are_those_of_photutils(field):
    labels, light, usable = field
    found = measure_shapes(LabelledPixels.gather(labels), light, usable)
    oracle = SourceCatalog(light.astype(float), SegmentationImage(labels), mask=~usable)
    for name in SHAPES:
        value = getattr(oracle, name)
        known = np.isfinite(oracle.x_centroid)
        np.testing.assert_allclose(found[name][known], getattr(value, "value", value)[known], rtol=1e-6, atol=1e-6)


def test_a_piece_gives_the_same_bits(field):
    labels, light, usable = field
    whole = measure_shapes(LabelledPixels.gather(labels), light, usable)
    origin = (8, 5)
    cut = np.s_[origin[0] :, origin[1] :]
    inside = np.where(
        np.isin(labels, np.unique(labels[: origin[0], :]).tolist() + np.unique(labels[:, :5]).tolist()), 0, labels
    )
    sources = LabelledPixels.gather(inside[cut], origin=origin)
    piece = measure_shapes(sources, light[cut], usable[cut])
    rows = np.isin(np.unique(labels[labels > 0]), sources.labels)
    assert rows.sum() > 3
    for name, values in piece.items():
        np.testing.assert_array_equal(values, whole[name][rows], err_msg=name)


def test_without_positive_light_the_middle_of_the_pixels_counts():
    labels = np.zeros((9, 9), np.int32)
    labels[2:5, 4:8] = 1
    shapes = measure_shapes(LabelledPixels.gather(labels), np.full((9, 9), -1.0), np.ones((9, 9), bool))
    assert (shapes["y_centroid"][0], shapes["x_centroid"][0]) == (3, 5.5)
    assert np.isnan(shapes["semimajor_axis"][0])
