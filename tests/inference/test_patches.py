"""Windows are copied and standardised exactly as published; invalid values stay where they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from morpheus_lite.inference.patches import gather
from morpheus_lite.models.preprocessing import standardize


def published(window):
    """The standardisation of Hausen & Robertson (2020), of one window ``(band, y, x)``."""
    return (window - window.mean()) / max(window.std(), 1 / np.sqrt(window.size))


def sky(n=6, size=40, n_bands=4, seed=1, scale=1.0):
    rng = np.random.default_rng(seed)
    return (scale * rng.normal(0.1, 1, (n, size, size, n_bands))).astype(np.float32)


@given(st.integers(5, 20), st.integers(5, 20), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_gathered_windows_are_slices(height, width, size, n_bands, seed):
    rng = np.random.default_rng(seed)
    data = np.moveaxis(rng.normal(size=(n_bands, height, width)).astype(np.float32), 0, -1)  # as it is read
    rows, columns = (rng.integers(0, length - size + 1, 7) for length in (height, width))
    windows = gather(data, rows, columns, size)
    assert windows.flags.c_contiguous
    assert windows.dtype == np.float32
    for window, y, x in zip(windows, rows, columns, strict=True):
        np.testing.assert_array_equal(window, data[y : y + size, x : x + size])


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1.0, 1e4])
def test_standardised_as_published_to_the_last_bit(scale):
    windows = sky(scale=scale)
    expected = [published(np.ascontiguousarray(np.moveaxis(window, 2, 0))) for window in windows]
    expected = np.moveaxis(np.array(expected).astype(np.float32), 1, 3)
    np.testing.assert_array_equal(standardize(windows), expected)
    np.testing.assert_array_equal(standardize(windows, np.ones(windows.shape, bool)), expected)


def test_floor_of_the_divisor_keeps_blank_sky_faint():
    faint = sky(scale=1e-4)
    assert standardize(faint).std() == pytest.approx(1e-4 / 0.0125, rel=0.02)
    assert standardize(sky()).std() == pytest.approx(1, rel=1e-3)


@given(st.floats(-100, 100, width=32))
@settings(max_examples=20)
def test_a_constant_added_to_all_bands_changes_nothing_but_rounding(constant):
    windows = sky(2)
    np.testing.assert_allclose(standardize(windows + np.float32(constant)), standardize(windows), atol=1e-3)


def test_windows_do_not_know_each_other():
    windows = sky(12)
    np.testing.assert_array_equal(standardize(windows)[[7]], standardize(windows[[7]]))
    valid = np.ones(windows.shape, bool)
    valid[3, :9] = False
    others = [i for i in range(12) if i != 3]
    np.testing.assert_array_equal(standardize(windows, valid)[others], standardize(windows)[others])


@given(hnp.arrays(bool, (3, 8, 8, 2), elements=st.booleans()), st.sampled_from([np.nan, np.inf, 1e30, -7.0]))
@settings(max_examples=50)
def test_what_an_invalid_value_is_does_not_matter(valid, junk):
    windows = sky(3, 8, 2)
    result = standardize(np.where(valid, windows, np.float32(junk)), valid)
    np.testing.assert_array_equal(result, standardize(np.where(valid, windows, np.float32(0)), valid))
    assert np.isfinite(result).all()


def test_statistics_are_those_of_the_valid_values_and_holes_have_the_local_colour():
    window = sky(1)[0] + np.array([0, 1, 2, 3], np.float32)
    valid = np.ones(window.shape, bool)
    valid[10:20, 5:25] = False
    valid[30:, 30:, 2] = False
    result = standardize(window[None], valid[None])[0]
    good = window[valid].astype(np.float64)
    np.testing.assert_allclose(result[valid], (good - good.mean()) / good.std(), atol=1e-5)
    for band in range(4):
        colour = (window[valid[..., band], band].mean() - good.mean()) / good.std()
        np.testing.assert_allclose(result[~valid[..., band], band], colour, atol=1e-4)


def test_a_band_without_valid_values_is_the_mean_and_a_window_without_any_is_zero():
    windows = sky(2)
    valid = np.ones(windows.shape, bool)
    valid[0, ..., 1] = False
    valid[1] = False
    result = standardize(windows, valid)
    assert (result[0, ..., 1] == 0).all()
    assert result[0, ..., 0].std() > 0.9
    assert (result[1] == 0).all()
