"""Outlines cover their segments exactly, for any label map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as PolygonPath
from scipy import ndimage

from morpheus_lite.core.labels import trace_outlines
from morpheus_lite.errors import InputError

LABEL_MAPS = arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-1, 3))


def ring_area(ring: np.ndarray) -> float:
    x, y = ring.T.astype(float)
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


@settings(max_examples=150, deadline=None)
@given(LABEL_MAPS)
def test_areas_of_rings_sum_to_the_pixels_of_each_label(labels):
    outlines = trace_outlines(labels)
    assert np.all(np.diff(outlines.labels) >= 0)
    assert set(outlines.labels.tolist()) == {k for k in np.unique(labels).tolist() if k > 0}
    for label in np.unique(outlines.labels):
        rings = np.flatnonzero(outlines.labels == label)
        assert sum(ring_area(outlines.ring(i)) for i in rings) == (labels == label).sum()
        assert all((ring_area(outlines.ring(i)) < 0) == outlines.is_hole[i] for i in rings)


@settings(max_examples=150, deadline=None)
@given(LABEL_MAPS)
def test_one_outer_ring_for_each_eight_connected_part(labels):
    outlines = trace_outlines(labels)
    for label in np.unique(outlines.labels):
        n_parts = ndimage.label(labels == label, structure=np.ones((3, 3)))[1]
        assert ((outlines.labels == label) & ~outlines.is_hole).sum() == n_parts


@settings(max_examples=60, deadline=None)
@given(LABEL_MAPS)
def test_rings_turn_at_every_vertex_and_rasterise_back_to_the_labels(labels):
    outlines = trace_outlines(labels)
    y, x = np.indices(labels.shape)
    centres = np.stack([x.ravel() + 0.5, y.ravel() + 0.5], axis=1)
    painted = np.zeros(labels.shape, np.int32)
    for index, label in enumerate(outlines.labels):
        ring = outlines.ring(index)
        steps = np.roll(ring, -1, axis=0) - ring
        assert np.all((steps == 0).sum(axis=1) == 1)
        assert np.all((steps * np.roll(steps, 1, axis=0)).sum(axis=1) == 0)
        inside = PolygonPath(np.vstack([ring, ring[:1]]), closed=True).contains_points(centres).reshape(labels.shape)
        painted += np.where(inside, -label if outlines.is_hole[index] else label, 0)
    np.testing.assert_array_equal(painted, np.maximum(labels, 0))


def test_a_sky_without_sources_has_no_outline():
    outlines = trace_outlines(np.zeros((4, 5), np.int32))
    assert len(outlines.labels) == 0 and len(outlines.vertices) == 0 and outlines.starts.tolist() == [0]


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.zeros(3, np.int32)])
def test_what_is_not_a_label_map_is_refused(bad):
    with pytest.raises(InputError, match="two-dimensional array of integers"):
        trace_outlines(bad)
