"""The stitcher gives what NumPy gives on the whole stack, in any order and any grouping, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morpheus_lite.core.windows import Window
from morpheus_lite.errors import ModelError
from morpheus_lite.inference.stitcher import Stitcher

SHAPE, SIDE, N_CLASSES = (11, 13), 4, 5


def predictions(n, seed):
    """Probabilities ``(n, y, x, class)`` and where they lie."""
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.full(N_CLASSES, 0.3), (n, SIDE, SIDE)).astype(np.float32)
    return values, rng.integers(0, SHAPE[0] - SIDE + 1, n), rng.integers(0, SHAPE[1] - SIDE + 1, n)


def collected(values, rows, columns):
    stitcher = Stitcher(SHAPE, N_CLASSES)
    stitcher.add(values, rows, columns)
    return stitcher


def stacked(values, rows, columns):
    """Every prediction on a map of its own, NaN elsewhere."""
    stack = np.full((len(values), *SHAPE, N_CLASSES), np.nan)
    for one, value, y, x in zip(stack, values, rows, columns, strict=True):
        one[y : y + SIDE, x : x + SIDE] = value
    return stack


def assert_same(one, other):
    for name, plane in vars(one).items():
        np.testing.assert_array_equal(plane, getattr(other, name))


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:Degrees of freedom")
@given(st.integers(1, 30), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_mean_and_variance_are_numpys(n, seed):
    given_ = predictions(n, seed)
    result, stack = collected(*given_).result(), stacked(*given_)
    np.testing.assert_allclose(result.mean, np.nanmean(stack, axis=0), atol=6e-8)
    np.testing.assert_allclose(result.variance, np.nanvar(stack, axis=0), atol=6e-8)
    np.testing.assert_array_equal(result.count, np.isfinite(stack[..., 0]).sum(axis=0))
    assert (result.variance[result.count > 0] >= 0).all()


@given(st.integers(1, 30), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_votes_are_counted(n, seed):
    given_ = predictions(n, seed)
    result, stack = collected(*given_).result(), stacked(*given_)
    seen = np.isfinite(stack[..., 0])
    winner = np.where(seen, np.nan_to_num(stack, nan=-1).argmax(axis=3), -1)
    votes = np.stack([(winner == k).sum(axis=0) for k in range(N_CLASSES)], axis=2)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(result.vote, votes / seen.sum(axis=0)[..., None], atol=1e-7)


@given(n=st.integers(2, 40), seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=30, deadline=None)
def test_order_and_grouping_change_nothing(n, seed, data):
    values, rows, columns = predictions(n, seed)
    expected = collected(values, rows, columns).result()
    order = np.array(data.draw(st.permutations(range(n))))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    grouped = Stitcher(SHAPE, N_CLASSES)
    for group in np.split(order, cuts):
        grouped.add(values[group], rows[group], columns[group])
    assert_same(grouped.result(), expected)


def test_seventy_thousand_values_do_not_wrap():
    rng = np.random.default_rng(3)
    stitcher = Stitcher((3, 2), 2)
    values = np.zeros((700, 3, 2, 2), np.float32)
    values[..., 0] = rng.uniform(0.9, 1, (700, 3, 2))
    values[:, 0, 0] = 1, 0
    values[..., 1] = 1 - values[..., 0]
    here = np.zeros(700, int)
    for _ in range(100):
        stitcher.add(values, here, here)
    result = stitcher.result()
    assert (result.count == 70_000).all()
    assert (result.mean[0, 0] == [1, 0]).all()
    assert (result.variance[0, 0] == 0).all()
    np.testing.assert_allclose(result.mean, values.mean(axis=0, dtype=np.float64), atol=6e-8)
    np.testing.assert_allclose(result.variance, values.astype(np.float64).var(axis=0), rtol=1e-6, atol=1e-11)
    assert (result.vote == [1, 0]).all()


def test_a_constant_has_no_variance():
    values = np.full((900, 1, 1, 1), np.float32(1 / 3))
    here = np.zeros(900, int)
    stitcher = Stitcher((1, 1), 1)
    stitcher.add(values, here, here)
    assert stitcher.result().mean[0, 0, 0] == np.float32(1 / 3)
    assert stitcher.result().variance[0, 0, 0] < 1e-12


def test_of_equal_classes_the_last_gets_the_vote():
    values = np.array([[0.4, 0.4, 0.2, 0, 0], [0.2, 0.1, 0.3, 0.1, 0.3], [0.2, 0.2, 0.2, 0.2, 0.2]], np.float32)
    stitcher = Stitcher((1, 3), 5)
    stitcher.add(values[None, None], np.array([0]), np.array([0]))
    np.testing.assert_array_equal(stitcher.result().vote[0].argmax(axis=1), [1, 4, 4])
    np.testing.assert_array_equal(stitcher.result().vote[0].sum(axis=1), 1)


def test_result_of_a_region_is_that_part_of_the_whole():
    stitcher, region = collected(*predictions(20, 5)), Window(2, 3, 5, 6)
    whole, part = stitcher.result(), stitcher.result(region)
    for name, plane in vars(part).items():
        np.testing.assert_array_equal(plane, getattr(whole, name)[region.slices])


def test_nothing_added_is_nan():
    result = Stitcher(SHAPE, N_CLASSES).result()
    for plane in (result.mean, result.variance, result.vote):
        assert np.isnan(plane).all()
    assert (result.count == 0).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.5, 1.5])
def test_what_is_no_probability_is_refused(wrong):
    values, rows, columns = predictions(3, 0)
    values[1, 2, 2, 3] = wrong
    with pytest.raises(ModelError, match="expected probabilities between 0 and 1"):
        collected(values, rows, columns)
