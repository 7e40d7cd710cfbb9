"""Splitting at saddles, against photutils."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from photutils.segmentation import SegmentationImage, deblend_sources
from scipy import ndimage

from morpheus_lite.core.saddles import split_at_saddles

SHAPE = (70, 90)
MIN_AREA = 5
Y, X = np.indices(SHAPE)


def blob(y, x, width, peak):
    return peak * np.exp(-((Y - y) ** 2 + (X - x) ** 2) / (2 * width**2))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_blobs=st.integers(1, 12),
    contrast=st.sampled_from([0.0, 0.001, 0.02, 0.2]),
    coarse=st.booleans(),
    n_levels=st.sampled_from([1, 5, 32]),
)
def test_pieces_are_those_of_photutils(seed, n_blobs, contrast, coarse, n_levels):
    """Pieces too faint to stay, equal pixels and the floor of the noise among them."""
    rng = np.random.default_rng(seed)
    blobs = zip(rng.uniform(8, 60, n_blobs), rng.uniform(8, 80, n_blobs), rng.uniform(1.5, 9, n_blobs), strict=True)
    light = sum(blob(y, x, width, rng.uniform(2, 80)) for y, x, width in blobs)
    light = ndimage.gaussian_filter(light + rng.normal(size=SHAPE), 1)
    light = np.maximum(np.round(light) if coarse else light, 1)
    parts, n_parts = ndimage.label(light > 2, np.ones((3, 3)))
    if not n_parts:
        return
    own = parts == np.bincount(parts[parts > 0]).argmax()
    found = split_at_saddles(light, own, n_levels=n_levels, min_area=MIN_AREA, contrast=contrast)
    segments = SegmentationImage(own.astype(np.int32))
    given_options = {"n_levels": n_levels, "contrast": contrast, "relabel": False, "progress_bar": False}
    expected = deblend_sources(light, segments, MIN_AREA, **given_options).data
    if found is None:
        assert len(np.unique(expected[own])) == 1
        return
    names = np.unique(found[own])
    np.testing.assert_array_equal(np.searchsorted(names, found[own]), np.unique(expected[own], return_inverse=True)[1])
    assert not found[~own].any()
