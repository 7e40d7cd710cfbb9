"""Baseline and alarm rates against closed forms."""

import numpy as np
import pytest
from emri import alarms, batches, power, templates
from emri.population import TRAINING
from emri.power import PowerDetector
from emri.sizes import SCALED, STEP, Size

SMALL = Size("small", 2048)


@pytest.mark.parametrize(("snr", "whole", "two_fifths"), [(30, 0.07, 0.18), (40, 0.22, 0.56), (50, 0.55, 0.94)])
def test_expected_tap_of_the_power_detector(snr, whole, two_fifths):
    assert power.expected_tap(snr, 0.01, 524288) == pytest.approx(whole, abs=0.006)
    assert power.expected_tap(snr, 0.01, round(0.4 * 524288)) == pytest.approx(two_fifths, abs=0.006)


def test_expected_tap_is_kept_by_scaling():
    full = power.expected_tap(50.0, 0.01, 524288)
    assert power.expected_tap(50.0 * SCALED.snr_factor, 0.01, 16384) == pytest.approx(full, abs=0.02)


def test_measured_tap_of_the_power_detector_is_the_expected_one():
    size, rng, n = Size("tiny", 512), np.random.default_rng(0), 4000
    signal = rng.standard_normal((2, 512)).astype(np.float32)
    signal /= np.sqrt(np.mean(signal**2))
    detector = PowerDetector()
    noise = detector(batches.observe(rng, size, [None] * n, np.zeros(n)))
    loud = detector(batches.observe(rng, size, [signal] * n, np.full(n, 50.0)))
    assert np.mean(noise) == pytest.approx(1024, rel=0.01)
    rate = alarms.tap(noise, loud, 0.01)
    expected = power.expected_tap(50.0 * size.snr_factor, 0.01, 1024)
    assert rate.value == pytest.approx(expected, abs=0.06)  # the threshold alone is known to 10 % of the FAP


def test_bands_share_the_power():
    data = np.random.default_rng(0).standard_normal((3, 1024, 2)).astype(np.float32)
    low, high = PowerDetector((0.0, 0.008))(data), PowerDetector((0.008, 0.02))(data)
    edges = np.abs(np.fft.rfft(data, axis=1)[:, [0, -1]]) ** 2 / 1024  # counted twice in the bands
    assert low + high - edges.sum(axis=(1, 2)) == pytest.approx(PowerDetector()(data), rel=1e-5)


def test_band_is_where_the_signals_are():
    t = STEP * np.arange(2048)
    chirps = [np.sqrt(2) * np.stack([np.sin(2 * np.pi * f * t)] * 2) for f in np.linspace(3e-3, 5e-3, 21)]
    signals = templates.Templates((np.array(chirps, np.float16),), np.ones((21, 7)))
    low, high = power.choose_band(signals)
    assert 2.8e-3 < low < 3.4e-3
    assert 4.6e-3 < high < 5.2e-3


def test_real_templates_leave_most_of_the_band_empty():
    signals = templates.build("cached", TRAINING, SMALL, 64, (9,))
    low, high = power.choose_band(signals)
    assert 0 <= low < high < 0.0125


def test_intervals():
    low, high = alarms.wilson(np.array([0, 50, 100]), 100)
    assert low == pytest.approx([0.0, 0.4038, 0.9630], abs=1e-4)
    assert high == pytest.approx([0.0370, 0.5962, 1.0], abs=1e-4)


def test_same_scores_give_tap_equal_to_fap():
    rng = np.random.default_rng(0)
    noise, same = rng.standard_normal((2, 20000))
    for fap in (0.01, 0.1):
        rate = alarms.tap(noise, same, fap)
        assert rate.low * 0.85 < fap < rate.high * 1.15
    assert alarms.roc(noise, same)["tap"][-1] == 1


def test_one_sigma_bands_of_a_roc_hold_the_truth_two_times_of_three_or_more():
    """Of two Gaussians; more often, because a band is wider than either error alone."""
    from scipy.stats import norm

    held = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        curve = alarms.roc(rng.standard_normal(20000), 2 + rng.standard_normal(500))
        truth = norm.sf(norm.isf(curve["fap"]) - 2)
        held.append(np.mean((curve["low"] <= truth) & (truth <= curve["high"])))
        assert np.all(curve["low"] <= curve["tap"])
        assert np.all(curve["tap"] <= curve["high"])
        assert np.all(np.diff(curve["tap"]) >= 0)
        assert curve["fap"][0] == pytest.approx(10 / 20000)
    assert 0.68 < np.mean(held) < 0.9


def test_too_little_noise_for_a_fap_says_so():
    with pytest.raises(ValueError, match="it takes 1000 or more"):
        alarms.threshold(np.arange(999.0), 0.01)
