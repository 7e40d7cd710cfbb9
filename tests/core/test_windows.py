"""Windows cover the image, and the closed form of the coverage is what counting gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morpheus_lite.core.windows import Tiling
from morpheus_lite.errors import InputError, OptionError


@st.composite
def tilings(draw):
    window = draw(st.integers(3, 12))
    margin = draw(st.integers(0, (window - 1) // 2))
    stride = draw(st.integers(1, window - 2 * margin))
    shape = tuple(draw(st.integers(window, 3 * window)) for _ in range(2))
    return Tiling(shape, window, stride, margin, draw(st.sampled_from(["classify", "leave"])))


@given(tilings())
def test_coverage_equals_counting(tiling):
    counted = np.zeros(tiling.shape, dtype=int)
    for window in tiling:
        kept = tiling.kept(window)
        counted[window.slices][kept] += 1
    np.testing.assert_array_equal(tiling.coverage(), counted)
    assert len(list(tiling)) == len(tiling)


@given(tilings())
def test_every_pixel_is_covered_but_the_border_left_on_purpose(tiling):
    border = tiling.margin if tiling.edges == "leave" else 0
    coverage = tiling.coverage()
    height, width = tiling.shape
    assert coverage[border : height - border, border : width - border].min() >= 1
    if border:
        assert coverage[:border].max() == coverage[:, -border:].max() == 0


def test_published_coverage_is_900_inside():
    coverage = Tiling((120, 130), 40, 1, 5, "leave").coverage()
    assert coverage.dtype == np.int32
    assert coverage.max() == coverage[60, 60] == 900
    assert (coverage > 0).sum() == 110 * 120


def test_a_stride_that_leaves_holes_is_refused():
    with pytest.raises(OptionError, match=r"stride 31 leaves holes.*between 1 and 30"):
        Tiling((100, 100), 40, 31, 5)


def test_an_image_smaller_than_a_window_is_refused():
    with pytest.raises(InputError, match=r"39 x 100 px.*smaller than one window of 40 x 40"):
        Tiling((39, 100), 40, 1, 5)
