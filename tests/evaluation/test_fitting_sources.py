"""A calibration of sources finds how probabilities were distorted, under the prior of the sky."""

from dataclasses import replace

import numpy as np
import pytest

from morpheus_lite.errors import InputError
from morpheus_lite.evaluation.source_calibration import SourceSample, fit_sources, source_figures

PRIOR = np.array([0.2, 0.5, 0.2, 0.1])


def draw(n, seed):
    """Sources whose probabilities are distorted by S/N, and the right ones."""
    rng = np.random.default_rng(seed)
    true_class, u, v = rng.choice(4, n, p=PRIOR), rng.uniform(-1, 1, n), rng.uniform(-1, 1, n)
    clarity = 1.5 + u
    light = rng.normal(size=(n, 4))
    light[np.arange(n), true_class] += clarity
    likelihood = np.exp(light * clarity[:, None])
    right = likelihood * PRIOR
    right /= right.sum(axis=1, keepdims=True)
    given = right ** (1.6 + 0.4 * u)[:, None] * np.array([1.5, 0.7, 1, 1])
    given /= given.sum(axis=1, keepdims=True)
    return SourceSample(given, np.exp(3 * u + 4), np.exp(v + 2), true_class, np.arange(n) % 20), right


def distance(calibration, sample, right):
    return np.abs(calibration.apply(sample.share, sample.snr, sample.size) - right).mean()


def test_a_distortion_is_undone():
    fitted = fit_sources(draw(3000, 1)[0])
    fresh, right = draw(3000, 2)
    assert np.abs(fresh.share - right).mean() > 0.04
    assert distance(fitted, fresh, right) < 0.015
    np.testing.assert_allclose(fitted.prior, PRIOR, atol=0.03)
    figures = source_figures(fitted.apply(fresh.share, fresh.snr, fresh.size), fresh.hard)
    assert figures["ece"] < 0.02
    assert all(0.9 < ratio < 1.1 for ratio in figures["sum_over_true"].values())


def test_figures_of_a_fit_are_of_fields_that_it_did_not_see():
    sample, right = draw(3000, 1)
    fitted = fit_sources(sample).fitted
    best = source_figures(right, sample.hard)["log_loss"]
    assert fitted["before"]["log_loss"] > fitted["after"]["log_loss"] > best
    assert (fitted["n_fields"], fitted["n_sources"]) == (20, 3000)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": slice(0, 150)}, "150 sources"),
        ({"true_class": np.zeros(1000, int)}, "0 disk"),
        ({"field": np.zeros(1000, int)}, "in 1 fields"),
    ],
)
def test_too_few_sources_are_refused(change, said):
    sample = draw(1000, 1)[0]
    sample = sample.take(change.pop("rows", slice(None)))
    with pytest.raises(InputError, match=said):
        fit_sources(replace(sample, **change))
