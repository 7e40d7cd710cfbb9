"""Matching, overlap, counts, reliability: against closed forms, brute force and hand-made cases."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from morpheus_lite.errors import InputError
from morpheus_lite.evaluation import make_truth, metrics
from morpheus_lite.evaluation import reliability as calibration_metrics

LABELS = hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-1, 5))


def two_maps():
    """Pairs of label maps of one shape."""
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
    return shapes.flatmap(
        lambda shape: st.tuples(*[hnp.arrays(np.int32, shape, elements=st.integers(0, 4)) for _ in range(2)])
    )


# -- positions ---------------------------------------------------------------------------------------------------------


def test_each_row_matches_once_and_the_closest_pair_wins():
    truth = np.array([[0.0, 0.0], [1.0, 0.0], [50.0, 50.0], [np.nan, 0.0]])
    found = np.array([[0.6, 0.0], [0.9, 0.0], [52.0, 50.0], [0.05, np.nan]])
    i, j, distance = metrics.match_positions(truth, found, 1.0)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == [(1, 1), (0, 0)]
    np.testing.assert_allclose(distance, [0.1, 0.6])


@pytest.mark.parametrize("shapes", [(0, 3), (3, 0), (0, 0)])
def test_nothing_matches_nothing(shapes):
    i, j, distance = metrics.match_positions(*(np.zeros((n, 2)) for n in shapes), 1.0)
    assert len(i) == len(j) == len(distance) == 0


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 1000))
def test_matching_is_stable_and_symmetric(n, m, seed):
    """No two rows left apart, or given worse partners, are closer to each other than to their partners."""
    rng = np.random.default_rng(seed)
    first, second = rng.uniform(0, 4, (n, 2)), rng.uniform(0, 4, (m, 2))
    i, j, distance = metrics.match_positions(first, second, 1.0)
    assert len(set(i)) == len(i) and len(set(j)) == len(j) and (distance <= 1.0).all()
    near_i, near_j = dict(zip(i, distance, strict=True)), dict(zip(j, distance, strict=True))
    for a, b in itertools.product(range(n), range(m)):
        apart = np.hypot(*(first[a] - second[b]))
        assert apart > 1.0 or apart >= min(near_i.get(a, np.inf), near_j.get(b, np.inf)) - 1e-12
    back_j, back_i, _ = metrics.match_positions(second, first, 1.0)
    assert set(zip(i, j, strict=True)) == set(zip(back_i, back_j, strict=True))


def test_chance_matches_are_as_rare_as_the_closed_form_says():
    rng = np.random.default_rng(1)
    truth, thrown = rng.uniform(0, 60, (300, 2)), rng.uniform(1, 59, (20000, 2))
    nearest = np.array([np.hypot(*(truth - point).T).min() for point in thrown[:4000]])
    expected = metrics.chance_match_rate(300, 3600.0, 0.5)
    assert np.mean(nearest < 0.5) == pytest.approx(expected, abs=0.015)


# -- label maps --------------------------------------------------------------------------------------------------------


@given(LABELS)
def test_segments_agree_with_a_loop(labels):
    weight = np.random.default_rng(0).normal(size=labels.shape)
    found = metrics.measure_segments(labels, weight)
    assert found.label.tolist() == sorted(set(labels[labels > 0].tolist()))
    for k, label in enumerate(found.label):
        inside = labels == label
        assert found.area[k] == inside.sum()
        assert found.flux[k] == pytest.approx(weight[inside].sum())
        share = np.where(inside, np.maximum(weight, 0), 0)
        share = share if share.sum() > 0 else inside
        rows, columns = np.indices(labels.shape)
        assert found.x[k] == pytest.approx((share * columns).sum() / share.sum())
        assert found.y[k] == pytest.approx((share * rows).sum() / share.sum())


def test_means_weigh_by_positive_flux_and_skip_pixels_without_value():
    labels = np.array([[1, 1, 1, 2, 2, 3]])
    maps = np.array([[[0.2], [0.8], [np.nan], [0.5], [0.1], [np.nan]]])
    weight = np.array([[1.0, 3.0, 100.0, -1.0, np.nan, 1.0]])
    label, means = metrics.segment_means(labels, maps, weight)
    assert label.tolist() == [1, 2, 3]
    means = means[:, 0]
    np.testing.assert_allclose(means[:2], [0.65, 0.3])
    assert np.isnan(means[2])


def test_painting_and_averaging_are_inverse():
    labels = np.array([[0, 9, 9], [-1, 4, 0]])
    painted = metrics.by_label(np.array([9, 4, 70]), np.array([[0.1, 0.9], [1, 0], [5, 5]]), labels, np.zeros(2))
    np.testing.assert_allclose(metrics.segment_means(labels, painted)[1], [[1, 0], [0.1, 0.9]])
    assert painted[0, 0].tolist() == [0, 0] and painted[1, 0].tolist() == [0, 0]
    assert metrics.by_label(np.array([], int), np.array([], np.int8), labels, np.int8(4)).tolist() == [[4] * 3] * 2
    with pytest.raises(InputError, match="does not list, such as 9"):
        make_truth(labels, {"label": [4], "x": [1.0], "y": [1.0]})


def test_maps_of_different_shape_are_refused():
    with pytest.raises(InputError, match="same pixels"):
        metrics.overlap_areas(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(InputError, match="3 x 2 px"):
        metrics.measure_segments(np.zeros((2, 3), int), np.zeros((3, 2)))


@given(two_maps())
def test_overlap_counts_every_pixel(maps):
    first, second = maps
    pairs = metrics.overlap_areas(first, second)
    assert pairs.count.sum() == first.size and (pairs.count > 0).all()
    for one, two, count in zip(pairs.first, pairs.second, pairs.count, strict=True):
        assert count == np.count_nonzero((first == one) & (second == two))
    for one, two, count in zip(*pairs.partners, strict=True):
        shared = [np.count_nonzero((first == one) & (second == other)) for other in range(1, 5)]
        assert count == max(shared) and two == 1 + int(np.argmax(shared))


def fates():
    """A field with one source of each fate: truth map, detected map, and the matches by position."""
    truth, found = np.zeros((2, 20, 60), np.int32)
    truth[5:15, 2:12] = found[5:15, 3:12] = 1  # matched
    truth[5:15, 15:22], truth[5:15, 22:26] = 2, 3  # 3 is blended into the detection of 2
    found[5:15, 15:26] = 2
    truth[5:15, 30:45] = 4  # cut in two; no piece close to the centre
    found[5:15, 30:39], found[5:15, 39:45] = 3, 4
    found[1:4, 50:55] = 5  # on sky
    truth[10:12, 50:55] = 5  # not detected
    return truth, found, {1: 1, 2: 2}


def test_every_source_and_every_detection_has_its_fate():
    truth, found, match = fates()
    labels = np.arange(1, 7)  # 6 is too faint for a pixel of its own, and lies under detection 3
    back = {two: one for one, two in match.items()}
    what, is_what = metrics.classify_matches(
        metrics.overlap_areas(truth, found),
        labels,
        np.array([match.get(k, 0) for k in labels]),
        np.array([1, 2, 2, 3, 0, 3]),
        np.arange(1, 6),
        np.array([back.get(k, 0) for k in range(1, 6)]),
    )
    assert what.tolist() == ["matched", "matched", "blended", "displaced", "undetected", "blended"]
    assert is_what.tolist() == ["matched", "matched", "displaced", "split", "spurious"]


def test_overlap_matches_only_mutual_partners():
    truth, found, _ = fates()
    one, two, iou = metrics.match_overlap(metrics.overlap_areas(truth, found))
    assert one.tolist() == [1, 2, 4] and two.tolist() == [1, 2, 3]
    np.testing.assert_allclose(iou, [90 / 100, 70 / 110, 90 / 150])
    empty = metrics.match_overlap(metrics.overlap_areas(truth, truth * 0))
    assert [len(column) for column in empty] == [0, 0, 0]


# -- counts ------------------------------------------------------------------------------------------------------------


def test_wilson_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(3)
    for fraction in (0.02, 0.5, 0.9):
        low, high = metrics.wilson_interval(rng.binomial(60, fraction, 20000), 60)
        assert np.mean((low <= fraction) & (fraction <= high)) == pytest.approx(0.95, abs=0.025)
    assert np.isnan(metrics.wilson_interval(0, 0)[0])


def test_bins_are_closed_below_and_open_above():
    binned = metrics.binned_fractions(
        np.array([20.0, 20.5, 21.0, 22.0, 19.9, np.nan]), np.array([True, False, True, True, True, True]), [20, 21, 22]
    )
    assert binned.n_tried.tolist() == [2, 1] and binned.n_success.tolist() == [1, 1]
    assert binned.fraction.tolist() == [0.5, 1.0]
    assert np.isnan(metrics.binned_fractions(np.array([]), np.array([], bool), [0, 1]).fraction).all()


def test_confusion_counts_rows_of_truth():
    truth, predicted = np.array([0, 0, 1, 1, -1, 1]), np.array([0, 1, 1, 2, 0, 5])
    assert metrics.confusion_counts(truth, predicted, (2, 3)).tolist() == [[1, 1, 0], [0, 1, 1]]


# -- probabilities -----------------------------------------------------------------------------------------------------


def drawn(n=40000, n_classes=4, seed=5, concentration=0.7):
    """True probabilities and one-hot outcomes drawn from them."""
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet([concentration] * n_classes, n)
    chosen = (rng.random((n, 1)) > probability.cumsum(axis=1)).sum(axis=1).clip(max=n_classes - 1)
    return probability, np.eye(n_classes)[chosen]


def test_true_probabilities_have_no_calibration_error():
    probability, outcome = drawn()
    assert calibration_metrics.top_label_reliability(probability, outcome).error < 0.01
    assert all(one.error < 0.01 for one in calibration_metrics.classwise_reliability(probability, outcome))
    assert calibration_metrics.top_label_reliability(probability, probability).error == pytest.approx(0, abs=1e-12)


def test_the_error_of_chance_is_that_of_right_probabilities():
    errors = []
    for seed in range(60):
        probability, outcome = drawn(400, seed=seed)
        errors.append(calibration_metrics.top_label_reliability(probability, outcome).error)
    assert calibration_metrics.chance_error(probability.max(axis=1)) == pytest.approx(np.mean(errors), rel=0.08)
    assert np.isnan(calibration_metrics.chance_error(np.array([np.nan])))


def test_overconfidence_is_measured_as_it_is():
    confidence, outcome = np.full(1000, 0.9), np.arange(1000) < 700
    diagram = calibration_metrics.reliability(confidence, outcome)
    assert diagram.error == pytest.approx(0.2) and diagram.overconfidence == pytest.approx(0.2)
    weighted = calibration_metrics.reliability(confidence, outcome, weight=np.where(outcome, 1.0, 0.0))
    assert weighted.overconfidence == pytest.approx(-0.1)
    assert np.isnan(calibration_metrics.reliability(np.array([np.nan]), np.array([1])).error)


def test_diagrams_of_parts_add_up():
    probability, outcome = drawn(2000)
    whole = calibration_metrics.top_label_reliability(probability, outcome)
    parts = calibration_metrics.top_label_reliability(
        probability[:700], outcome[:700]
    ) + calibration_metrics.top_label_reliability(probability[700:], outcome[700:])
    np.testing.assert_allclose(parts.confidence, whole.confidence)
    assert parts.error == pytest.approx(whole.error) and parts.total == 2000


def test_proper_scores_prefer_the_truth():
    probability, outcome = drawn()
    sharper = probability**2 / (probability**2).sum(axis=1, keepdims=True)
    for true, wrong in zip(
        calibration_metrics.proper_scores(probability, outcome),
        calibration_metrics.proper_scores(sharper, outcome),
        strict=True,
    ):
        assert true < wrong
    assert calibration_metrics.proper_scores(outcome, outcome) == (pytest.approx(0, abs=1e-6), 0)
    with pytest.raises(InputError, match="expected both"):
        calibration_metrics.proper_scores(probability, outcome[:, :2])
