"""Deblending: sources with several peaks are split, and nothing is lost."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from morpheus_lite import DeblendingOptions, InputError, OptionError, SkyImage
from morpheus_lite.segmentation import deblending

deblend = partial(deblending.deblend, method="paper")
Y, X = np.mgrid[:80, :120]


def blobs(*centres, width=9.0):
    """Round blobs of light, each as bright as its place in the list is late."""
    return sum((n * np.exp(-((Y - y) ** 2 + (X - x) ** 2) / (2 * width**2)) for n, (y, x) in enumerate(centres, 2)))


def region(light, level=0.05):
    return (light > level).astype(np.int32)


def test_two_peaks_are_two_sources():
    light = blobs((40, 45), (40, 75))
    labels = region(light)
    pieces = deblend(labels, light)
    assert set(np.unique(pieces)) == {0, 2, 3}
    assert pieces[40, 75] == 2, "the brighter one comes first"
    assert pieces[40, 45] == 3
    np.testing.assert_array_equal(pieces > 0, labels > 0)
    assert labels.max() == 1, "the input is left alone"


@pytest.mark.parametrize(("distance", "n_expected"), [(3, 2), (4, 2), (20, 1)])
def test_close_peaks_stay_together(distance, n_expected):
    light = blobs((40, 55), (40, 65), width=3.5)
    pieces = deblend(region(light), light, options=DeblendingOptions(min_distance=distance))
    assert len(np.unique(pieces)) - 1 == n_expected


def test_an_enclosed_neighbour_is_not_swallowed():
    light = blobs((40, 35), (40, 85), width=14)
    labels = region(light)
    labels[30:50, 52:68] = 0
    labels[36:44, 56:64] = 7
    pieces = deblend(labels, light)
    np.testing.assert_array_equal(pieces == 7, labels == 7)
    assert (pieces[30:50, 52:68] > 0).all(), "enclosed sky goes to the pieces, as published"
    np.testing.assert_array_equal(pieces > 0, ndimage.binary_fill_holes(labels > 0))


def test_invalid_pixels_stay_out():
    light = blobs((40, 45), (40, 75)).astype(np.float32)
    labels = region(light)
    bad = np.zeros(light.shape, dtype=bool)
    bad[38:42, 58:62] = True
    labels[bad] = 0
    light[bad] = np.nan
    pieces = deblend(labels, light)
    assert len(np.unique(pieces)) == 3
    assert not pieces[bad].any()


def test_a_source_whose_peaks_all_lie_outside_of_it_survives():
    labels = np.zeros((80, 120), dtype=np.int32)
    labels[:60, :3] = labels[:3, :60] = 1
    light = np.where(labels > 0, -1.0, 0.0)
    light[0, 0] = 10
    np.testing.assert_array_equal(deblend(labels, light, options=DeblendingOptions(min_distance=5)), labels)


def test_no_more_than_twenty_pieces():
    centres = [(y, x) for y in range(10, 75, 10) for x in range(10, 115, 10)]
    light = blobs(*centres, width=2.5)
    pieces = deblend(np.ones(light.shape, np.int32), light, options=DeblendingOptions(min_distance=3))
    assert len(np.unique(pieces)) == 20


def test_detached_parts_are_kept():
    light = blobs((40, 25), (40, 55))
    labels = region(light)
    labels[5:9, 100:104] = 1
    pieces = deblend(labels, light)
    np.testing.assert_array_equal(pieces > 0, labels > 0)
    assert pieces[6, 102] == pieces[40, 55], "a part without a peak goes to the nearest piece"


@given(seed=st.integers(0, 2**32 - 1), min_distance=st.integers(1, 6))
def test_children_cover_their_parent_exactly(seed, min_distance):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (4, 5)), np.ones((9, 9), int))
    light = ndimage.gaussian_filter(rng.normal(size=labels.shape), 1.5)
    pieces = deblend(labels, light, options=DeblendingOptions(min_distance=min_distance))
    np.testing.assert_array_equal(pieces[labels > 0] > 0, True)
    for piece in np.unique(pieces[pieces > 0]):
        parents = np.unique(labels[(pieces == piece) & (labels > 0)])
        assert len(parents) <= 1, "a piece belongs to one parent"
    for parent in np.unique(labels[labels > 0]):
        kept = pieces[labels == parent] == parent
        assert kept.all() or not kept.any()
    # Only enclosed sky may be added.
    added = (pieces > 0) & (labels == 0)
    enclosed = np.zeros_like(added)
    for parent in np.unique(labels[labels > 0]):
        enclosed |= ndimage.binary_fill_holes(labels == parent)
    assert not (added & ~enclosed).any()


def test_the_band_is_chosen_by_name():
    one, other = blobs((40, 45), (40, 75)), blobs((40, 60))
    data = np.stack([other, one], axis=2).astype(np.float32)
    image = SkyImage(data, ("F814W", "F160W"), np.ones(data.shape, bool))
    labels = region(one)
    assert len(np.unique(deblend(labels, image))) == 3, "F160W unless told otherwise"
    assert len(np.unique(deblend(labels, image, band="f814w"))) == 2
    assert len(np.unique(deblend(labels, image.select(["F814W"])))) == 2, "else the first band"
    with pytest.raises(InputError, match="no band F105W"):
        deblend(labels, image, band="F105W")


def test_unsigned_light_does_not_wrap():
    light = (1000 * blobs((40, 45), (40, 75))).astype(np.uint16)
    assert len(np.unique(deblend(region(light, 50), light))) == 3


def test_impossible_options():
    with pytest.raises(OptionError, match="magic"):
        deblend(np.zeros((80, 120), int), blobs((40, 60)), method="magic")
    with pytest.raises(OptionError, match="min_distance 0: expected"):
        DeblendingOptions(min_distance=0)


@pytest.mark.parametrize(
    ("labels", "light"),
    [
        (np.zeros((80, 120)), blobs((40, 60))),
        (np.zeros((80, 119), int), blobs((40, 60))),
        (np.zeros((80, 120), int), np.zeros((80, 120, 4))),
    ],
)
def test_unusable_input(labels, light):
    with pytest.raises(InputError, match="expected"):
        deblend(labels, light)


def test_no_sources():
    assert not deblend(np.zeros((80, 120), int), blobs((40, 60))).any()
