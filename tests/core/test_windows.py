"""Windows cover the image, and those of a region are those of the whole image that reach it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morpheus_lite.core.windows import Tiling, Window
from morpheus_lite.errors import InputError, OptionError


@st.composite
def tilings(draw):
    window = draw(st.integers(3, 12))
    margin = draw(st.integers(0, (window - 1) // 2))
    stride = draw(st.integers(1, window - 2 * margin))
    shape = tuple(draw(st.integers(window, 3 * window)) for _ in range(2))
    return Tiling(shape, window, stride, margin, draw(st.sampled_from(["classify", "leave"])))


def counted(tiling, region=None):
    """Windows that give each pixel a value, one by one."""
    windows, count = tiling.windows(region), np.zeros(tiling.shape, int)
    for k in range(len(windows)):
        kept = count[windows.y[k] : windows.y[k] + tiling.window, windows.x[k] : windows.x[k] + tiling.window]
        kept[windows.top[k] : windows.bottom[k], windows.left[k] : windows.right[k]] += 1
    return count


@given(tilings(), st.data())
def test_the_windows_of_a_region_give_it_all_of_its_values(tiling, data):
    y, x = (data.draw(st.integers(0, length - 1)) for length in tiling.shape)
    region = Window(
        y, x, data.draw(st.integers(1, tiling.shape[0] - y)), data.draw(st.integers(1, tiling.shape[1] - x))
    )
    np.testing.assert_array_equal(counted(tiling, region)[region.slices], counted(tiling)[region.slices])


@given(tilings())
def test_every_pixel_is_covered_but_the_border_left_on_purpose(tiling):
    border = tiling.margin if tiling.edges == "leave" else 0
    coverage = counted(tiling)
    height, width = tiling.shape
    assert coverage[border : height - border, border : width - border].min() >= 1
    if border:
        assert coverage[:border].max() == coverage[:, -border:].max() == 0


def test_published_coverage_is_900_inside():
    coverage = counted(Tiling((120, 130), 40, 1, 5, "leave"))
    assert coverage.max() == coverage[60, 60] == 900
    assert (coverage > 0).sum() == 110 * 120


def test_a_stride_that_leaves_holes_is_refused():
    with pytest.raises(OptionError, match=r"stride 31 leaves holes.*between 1 and 30"):
        Tiling((100, 100), 40, 31, 5)


def test_an_image_smaller_than_a_window_is_refused():
    with pytest.raises(InputError, match=r"39 x 100 px.*smaller than one window of 40 x 40"):
        Tiling((39, 100), 40, 1, 5)
