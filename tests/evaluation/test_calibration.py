"""Calibration: a known miscalibration is found and undone."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.evaluation.calibration import Calibration, fit_temperature
from morpheus_lite.evaluation.reliability import proper_scores, top_label_reliability


def softmax(score):
    exponential = np.exp(score - score.max(axis=1, keepdims=True))
    return exponential / exponential.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def world():
    """Logarithms of true probabilities, and one-hot outcomes drawn from them."""
    rng = np.random.default_rng(11)
    probability = rng.dirichlet([0.5, 0.5, 0.3, 0.2, 2.0], 60000)
    chosen = (rng.random((len(probability), 1)) > probability.cumsum(axis=1)).sum(axis=1).clip(max=4)
    return np.log(np.maximum(probability, 1e-6)), np.eye(5)[chosen]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_recovered(world, temperature):
    score, outcome = world
    said = softmax(score / temperature)  # the truth is this, raised to the power `temperature`
    fitted = fit_temperature(said, outcome)
    assert fitted.temperature == pytest.approx(1 / temperature, rel=0.03)
    before, after = (top_label_reliability(p, outcome).error for p in (said, fitted.apply(said)))
    assert after < 0.01 and (after < before / 3 or temperature == 1.0)
    assert proper_scores(fitted.apply(said), outcome)[0] == pytest.approx(fitted.fitted["log_loss_after"], rel=1e-3)


def test_soft_labels_and_weights_count(world):
    score, _ = world
    soft = softmax(score)
    assert fit_temperature(softmax(score / 1.7), soft).temperature == pytest.approx(1 / 1.7, rel=0.01)
    half = np.arange(len(score)) % 2 == 0
    said = np.where(half[:, None], softmax(score / 2), softmax(score * 2))
    assert fit_temperature(said, soft, weight=half.astype(float)).temperature == pytest.approx(0.5, rel=0.01)
    assert fit_temperature(said, soft, weight=1.0 - half).temperature == pytest.approx(2, rel=0.01)


def test_a_known_bias_is_recovered(world):
    score, outcome = world
    shift = np.array([0.0, 0.5, -0.5, 1.5, -1.5])
    said = softmax((score - shift) / 0.6)
    fitted = fit_temperature(said, outcome, bias="classes")
    assert fitted.temperature == pytest.approx(1 / 0.6, rel=0.03)
    # the score was shifted before the temperature, and the correction adds after it
    np.testing.assert_allclose(fitted.bias, shift, atol=0.06)
    plain = fit_temperature(said, outcome)
    errors = [top_label_reliability(c.apply(said), outcome).error for c in (plain, fitted)]
    assert errors[1] < 0.01 < errors[0]


def test_too_little_sky_in_training_is_made_up_for(world):
    score, outcome = world
    shift = np.array([0.0, 0.0, 0.0, 0.0, 1.3])
    said = softmax((score - shift) * 1.3)
    fitted = fit_temperature(said, outcome, bias="sky")
    assert fitted.temperature == pytest.approx(1.3, rel=0.03)
    np.testing.assert_allclose(fitted.bias, shift, atol=0.05)
    calibrated = fitted.apply(said)
    assert top_label_reliability(calibrated, outcome).error < 0.01 < top_label_reliability(said, outcome).error
    np.testing.assert_array_equal(calibrated[:, :4].argmax(axis=1), said[:, :4].argmax(axis=1))


@given(st.floats(0.1, 8), st.integers(0, 99))
def test_the_top_class_never_changes_with_the_temperature(temperature, seed):
    probability = np.random.default_rng(seed).dirichlet([0.3] * 5, (7, 9)).astype(np.float32)
    calibrated = Calibration(temperature).apply(probability)
    assert calibrated.shape == probability.shape and calibrated.dtype == np.float32
    np.testing.assert_allclose(calibrated.sum(axis=2), 1, atol=1e-6)
    chosen = calibrated.argmax(axis=2)
    top = np.take_along_axis(probability, chosen[..., None], axis=2)[..., 0]
    np.testing.assert_allclose(top, probability.max(axis=2), rtol=1e-5)


def test_blocks_and_missing_pixels_do_not_mix():
    rng = np.random.default_rng(0)
    probability = rng.dirichlet([1.0] * 5, (600, 700)).astype(np.float32)
    probability[3, 4] = np.nan
    probability[0, 0] = [1, 0, 0, 0, 0]
    whole = Calibration(1.7, (0.1, 0.0, -0.1, 0.2, -0.2)).apply(probability)
    assert np.isnan(whole[3, 4]).all() and np.isnan(whole).sum() == 5
    part = Calibration(1.7, (0.1, 0.0, -0.1, 0.2, -0.2)).apply(probability[500:510, 300:310])
    np.testing.assert_array_equal(whole[500:510, 300:310], part)
    assert np.isfinite(whole[0, 0]).all()


def test_identity_changes_nothing():
    probability = np.random.default_rng(0).dirichlet([1.0] * 5, 50)
    np.testing.assert_allclose(Calibration().apply(probability), probability, rtol=1e-12)


def test_it_survives_json(world):
    fitted = fit_temperature(softmax(world[0] * 1.4), world[1], bias="classes")
    stored = json.loads(json.dumps(fitted.to_dict()))
    assert Calibration.from_dict(stored) == fitted and Calibration.from_dict(stored).fitted == fitted.fitted
    assert Calibration.from_dict({}) == Calibration()


def test_truth_that_cannot_limit_it_is_refused():
    right = np.tile([0.9, 0.1], (20, 1))
    with pytest.raises(InputError, match="runs off"):
        fit_temperature(right, np.tile([1.0, 0.0], (20, 1)))
    with pytest.raises(InputError, match="runs off"):
        fit_temperature(right, np.tile([0.0, 1.0], (20, 1)))
    with pytest.raises(InputError, match="none of 2 rows"):
        fit_temperature(np.full((2, 2), np.nan), np.ones((2, 2)))
    with pytest.raises(InputError, match="expected both"):
        fit_temperature(np.ones((4, 4, 5)), np.ones((4, 4, 5)))
    with pytest.raises(OptionError, match="none, sky, classes"):
        fit_temperature(right, right, bias="yes")
    with pytest.raises(InputError, match="positive number"):
        Calibration(temperature=0.0)
    with pytest.raises(InputError, match="for 2 classes"):
        Calibration(1.0, (0.5, -0.5)).apply(np.ones((3, 5)))
