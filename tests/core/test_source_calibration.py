"""Calibration of sources: what it does to probabilities, and which priors it takes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.source_calibration import CALIBRATION_KEY, SourceCalibration, calibration_of, shares_of_prior
from morpheus_lite.errors import InputError, OptionError

NOTHING = SourceCalibration(
    prior=(0.2, 0.5, 0.2, 0.1),
    snr=(5.0, 500.0),
    size=(2.0, 20.0),
    sharpness=((1.0, 0, 0),) * 4,
    bias=((0.0,) * 5,) * 4,
)
SHARE = np.array([[0.7, 0.2, 0.08, 0.02], [0.1, 0.3, 0.3, 0.3], [np.nan] * 4])
SNR, SIZE = np.array([50.0, 8.0, 30.0]), np.array([5.0, 3.0, 4.0])


def evidence(snr, size, *others):
    """One array of what is known of sources; what is not given is not known."""
    others = others or [np.full(len(snr), np.nan)] * 4
    return np.stack([snr, size, *others], axis=1)


def test_without_coefficients_nothing_changes():
    np.testing.assert_allclose(NOTHING.apply(SHARE, evidence(SNR, SIZE)), SHARE)


def test_coefficients_are_of_the_logarithms():
    # At the middle of both ranges, in the logarithm, only the constants count; at the ends all of u do.
    made = replace(NOTHING, sharpness=((2.0, 1.0, 0),) * 4, bias=((np.log(3), 0, 0, 0, 0), *NOTHING.bias[1:]))
    middle = made.apply(SHARE[:1], evidence([50.0], [np.sqrt(40.0)]))
    end = made.apply(SHARE[:1], evidence([500.0], [np.sqrt(40.0)]))
    for found, power in ((middle, 2), (end, 3)):
        expected = SHARE[0] ** power * [3, 1, 1, 1]
        np.testing.assert_allclose(found[0], expected / expected.sum())


def test_beyond_its_range_the_end_holds_and_no_light_is_the_faintest():
    made = replace(NOTHING, sharpness=((1.0, 0.4, 0.2),) * 4)
    share = np.repeat(SHARE[:1], 4, axis=0)
    found = made.apply(share, evidence([5.0, 0.1, np.nan, -3.0], np.full(4, 3.0)))
    np.testing.assert_array_equal(found[1:], found[:1].repeat(3, axis=0))
    far = made.apply(share[:2], evidence([500.0, 1e9], [20.0, 1e5]))
    np.testing.assert_array_equal(far[0], far[1])


def test_a_class_without_any_light_has_a_finite_probability():
    found = replace(NOTHING, sharpness=((0.5, 0, 0),) * 4).apply(np.eye(4)[:1], evidence(SNR[:1], SIZE[:1]))
    assert (found > 0).all()
    assert found[0, 0] > 0.99


def test_another_prior_is_bayes_theorem():
    new = {"spheroid": 1, "disk": 1, "irregular": 2, "point_source": 0}
    found = NOTHING.apply(SHARE, evidence(SNR, SIZE), prior=new)
    expected = SHARE * np.array([0.25, 0.25, 0.5, 0]) / NOTHING.prior
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True))
    same = dict(zip(SOURCE_CLASSES, NOTHING.prior, strict=True))
    np.testing.assert_allclose(NOTHING.apply(SHARE, evidence(SNR, SIZE), prior=same), SHARE)
    assert NOTHING.prior_record("equal") == dict.fromkeys(SOURCE_CLASSES, 0.25)
    assert NOTHING.prior_record() == same


def test_a_known_spread_has_coefficients_of_its_own():
    # Point sources gain by being as sharp as stars, and more where the error is small.
    star = (0.0, 0, 0, 2.0, 0.5, 0, 0)
    made = replace(NOTHING, spread_sharpness=((1.0, 0, 0, 0, 0),) * 4, spread_bias=(*((0.0,) * 7,) * 3, star))
    share = np.repeat(SHARE[1:2], 6, axis=0)
    error = np.array([0.003, 0.0003, 0.0003, 0.003, 0.003, np.nan])
    spread = np.array([0.0, 0.0, -0.01, 2, np.sqrt(8), np.nan]) * [1, 1, 1, 1, 0.003, 1]
    found = made.apply(share, evidence(np.full(6, 50.0), np.full(6, 5.0), *np.full((2, 6), np.nan), spread, error))
    odds = np.log(found[:, 3] / found[:, 1]) - np.log(share[0, 3] / share[0, 1])
    np.testing.assert_allclose(odds, [2, 2.5, 2.5, 0, 2 / np.e, 0], atol=1e-9)
    np.testing.assert_allclose(found[5], share[0])


def test_the_shape_counts_the_more_the_higher_the_signal_to_noise_ratio():
    # Wings make a spheroid, a centroid beside the peak an irregular.
    made = replace(NOTHING, bias=((0, 0, 0, 0.5, 0), (0.0,) * 5, (0, 0, 0, 0, 0.25), (0.0,) * 5))
    snr = np.array([110.0, 5000, np.sqrt(15 * 110), 15, 3, 110, 110, 110])
    extent = np.exp(1.2 + 0.26 * np.array([2.0, 2, 2, 2, 2, 20, 0, np.nan]))
    lopsidedness = 0.065 + 0.075 * np.array([1.0, 1, 1, 1, 1, 0, 99, np.nan])
    found = made.apply(
        SHARE[:1].repeat(8, axis=0), evidence(snr, np.full(8, 5.0), extent, lopsidedness, *np.full((2, 8), np.nan))
    )
    odds = np.log(found / found[:, 1:2]) - np.log(SHARE[0] / SHARE[0, 1])
    np.testing.assert_allclose(odds[:, 0], [1, 1, 0.5, 0, 0, 1.5, 0, 0], atol=1e-9)
    np.testing.assert_allclose(odds[:, 2], [0.25, 0.25, 0.125, 0, 0, 0, 0.75, 0], atol=1e-9)
    np.testing.assert_allclose(odds[:, 3], 0, atol=1e-9)


def test_it_survives_json():
    spread = {"spread_sharpness": ((1.0, 0, 0, 0, 0),) * 4, "spread_bias": ((0.5,) * 7,) * 4}
    made = replace(NOTHING, fitted={"n_sources": 3}, **spread)
    read = SourceCalibration.from_dict(json.loads(json.dumps(made.to_dict())))
    assert read == made
    assert read.fitted == made.fitted
    assert SourceCalibration.from_dict(made.record()) == made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prior", [0.2, 0.5, 0.2]),
        ("prior", [0.2, 0.5, 0.3, 0.0]),
        ("prior", [2, 5, 2, 1]),
        ("snr", [5.0, 5.0]),
        ("size", [0.0, 5.0]),
        ("sharpness", [[1.0]] * 4),
        ("bias", [[0.0] * 5] * 3),
        ("bias", [[0.0] * 3] * 4),
        ("bias", [[np.nan] * 5] * 4),
        ("bias", "many"),
        ("spread_bias", [[0.0] * 7] * 4),
        ("spread_sharpness", None),
        ("sharpness", None),
    ],
)
def test_a_damaged_record_is_refused(name, value):
    with pytest.raises(InputError, match="calibration of sources"):
        SourceCalibration.from_dict({**NOTHING.record(), name: value})


def test_a_prior_needs_a_calibration():
    record = {CALIBRATION_KEY: NOTHING.record()}
    assert calibration_of(record, "probability", "equal") == NOTHING
    assert calibration_of(record, "vote", None) is None
    assert calibration_of({}, "probability", None) is None
    for held, kind in ((record, "vote"), ({}, "probability")):
        with pytest.raises(OptionError, match="class_prior"):
            calibration_of(held, kind, "equal")


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        ("flat", "'flat'"),
        ({"spheroid": 1, "disk": 1}, "missing irregular, point_source"),
        (dict.fromkeys((*SOURCE_CLASSES, "star"), 1), "unknown star"),
        (dict.fromkeys(SOURCE_CLASSES, 0), "one above"),
        (dict.fromkeys(SOURCE_CLASSES, np.nan), "finite"),
        ({**dict.fromkeys(SOURCE_CLASSES, 1), "disk": -0.1}, "disk=-0.1"),
    ],
)
def test_bad_priors_are_refused(prior, said):
    with pytest.raises(OptionError, match=said):
        shares_of_prior(prior)
