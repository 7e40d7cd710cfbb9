"""A calibration of sources finds how probabilities were distorted, under the prior of the sky."""

from dataclasses import replace

import numpy as np
import pytest

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.source_calibration import EVIDENCE
from morpheus_lite.errors import InputError
from morpheus_lite.evaluation import make_result, make_truth
from morpheus_lite.evaluation.source_calibration import SourceSample, fit_sources, sample_sources, source_figures

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
    evidence = np.stack([np.exp(3 * u + 4), np.exp(v + 2), *np.full((4, n), np.nan)], axis=1)
    return SourceSample(given, evidence, true_class, np.arange(n) % 20, np.ones(n)), right


def with_evidence(sample, **values):
    """The sample with other values, by their names without ``class_``."""
    evidence = sample.evidence.copy()
    for name, value in values.items():
        evidence[:, [one.removeprefix("class_") for one in EVIDENCE].index(name)] = value
    return replace(sample, evidence=evidence)


def applied(calibration, sample):
    return calibration.apply(sample.share, sample.evidence)


def distance(calibration, sample, right):
    return np.abs(applied(calibration, sample) - right).mean()


def test_sources_are_sampled_as_the_catalogue_measures_them():
    labels, data = np.zeros((320, 320), np.int32), np.random.default_rng(5).normal(0, 0.1, (320, 320, 2))
    places = [(y, x) for y in (4, 80, 160, 240) for x in (80, 160, 240)]
    for number, (y, x) in enumerate(places, start=1):
        labels[y : y + 8, x : x + 8] = number
        data[y : y + 8, x : x + 8] += [number, 0.5 * number]
    soft = np.full((13, 5), 0.1)
    soft[np.arange(1, 13), np.arange(12) % 4] = 0.6
    soft[0] = np.eye(5)[4]
    sources = {"label": np.arange(1, 13), "x": [x + 3.5 for _, x in places], "y": [y + 3.5 for y, _ in places]}
    sources["class"] = np.arange(12) % 4
    image = SkyImage(data.astype(np.float32), ("A", "B"), np.ones(data.shape, bool))
    truth = make_truth(labels, sources, image=image, pixel_scale=0.1)
    result = make_result(labels, probability=soft[labels].astype(np.float32))
    sample = sample_sources(truth, result, field=7)
    sample = sample.take(np.argsort(sample.evidence[:, 0]))
    # Those in the first row lie in the margin.
    assert sample.true_class.tolist() == (np.arange(3, 12) % 4).tolist() and set(sample.field) == {7}
    np.testing.assert_allclose(sample.share, soft[4:, :4] / 0.9, rtol=1e-5)
    np.testing.assert_allclose(sample.evidence[:, 1], 8)
    np.testing.assert_allclose(sample.evidence[:, 0], np.arange(4, 13) * np.hypot(1, 0.5) * 8 / 0.1, rtol=0.08)
    binned = sample_sources(truth, replace(result, provenance={"binning": 2}))
    np.testing.assert_allclose(binned.evidence[:, 1], 4)
    with pytest.raises(InputError, match="an image and true classes"):
        sample_sources(replace(truth, image=None), result)


def test_a_distortion_is_undone():
    fitted = fit_sources(draw(3000, 1)[0])
    fresh, right = draw(3000, 2)
    assert np.abs(fresh.share - right).mean() > 0.04
    assert distance(fitted, fresh, right) < 0.015
    np.testing.assert_allclose(fitted.prior, PRIOR, atol=0.03)
    figures = source_figures(applied(fitted, fresh), fresh.hard)
    assert figures["ece"] < 0.02
    assert all(0.9 < ratio < 1.1 for ratio in figures["sum_over_true"].values())


def test_spread_tells_stars_where_it_is_known():
    def with_spread(seed):
        sample, _ = draw(3000, seed)
        rng = np.random.default_rng([seed, 1])
        error = np.exp(rng.uniform(-8, -5, 3000))
        width = np.where(sample.true_class == 3, 0, rng.exponential(0.01, 3000))
        known = rng.uniform(size=3000) < 0.7
        spread = np.where(known, width + error * rng.normal(size=3000), np.nan)
        return with_evidence(sample, spread=spread, spread_err=np.where(known, error, np.nan))

    fitted, fresh = fit_sources(with_spread(1)), with_spread(2)
    without = with_evidence(fresh, spread=np.nan)
    known, is_star = np.isfinite(fresh.evidence[:, 4]), fresh.true_class == 3
    sharper, blind = (applied(fitted, one)[:, 3] for one in (fresh, without))
    assert sharper[known & is_star].mean() > 0.55 > blind[known & is_star].mean() + 0.1
    assert sharper[known & ~is_star].mean() < 0.7 * blind[known & ~is_star].mean()
    np.testing.assert_array_equal(sharper[~known], blind[~known])
    assert sharper[known].sum() == pytest.approx(is_star[known].sum(), rel=0.1)
    assert fit_sources(draw(3000, 1)[0]).spread_bias == ()


def test_shapes_tell_spheroids_and_irregulars_of_bright_sources():
    def with_shape(seed):
        sample, _ = draw(3000, seed)
        rng = np.random.default_rng([seed, 2])
        extent = np.exp(1.2 + 0.26 * (rng.normal(size=3000) + 1.5 * (sample.true_class == 0)))
        lopsidedness = 0.065 + 0.075 * (rng.normal(size=3000) + 1.5 * (sample.true_class == 2))
        return with_evidence(sample, extent=extent, lopsidedness=lopsidedness)

    fitted, fresh = fit_sources(with_shape(1)), with_shape(2)
    hidden = with_evidence(fresh, extent=np.nan, lopsidedness=np.nan)
    seen, blind = (applied(fitted, one) for one in (fresh, hidden))
    snr, rows = fresh.evidence[:, 0], np.arange(3000)
    gain = np.log(seen / blind)[rows, fresh.true_class]
    assert gain[snr > 110].mean() > 0.1
    np.testing.assert_allclose(gain[snr < 15], 0, atol=1e-12)
    assert source_figures(seen, fresh.hard)["ece"] < 0.03


def test_figures_of_a_fit_are_of_fields_that_it_did_not_see():
    sample, right = draw(3000, 1)
    fitted = fit_sources(sample).fitted
    best = source_figures(right, sample.hard)["log_loss"]
    assert fitted["before"]["log_loss"] > fitted["after"]["log_loss"] > best
    assert (fitted["n_fields"], fitted["n_sources"]) == (20, 3000)


def test_weights_count_as_so_many_sources():
    sample, twice = draw(1000, 1)[0], draw(1000, 1)[0].take(np.repeat(np.arange(1000), 2))
    weighted, repeated = fit_sources(replace(sample, weight=np.full(1000, 2.0))), fit_sources(twice)
    np.testing.assert_allclose(weighted.sharpness, repeated.sharpness, atol=2e-3)
    np.testing.assert_allclose(weighted.bias, repeated.bias, atol=2e-3)
    for name in ("log_loss", "ece"):
        assert weighted.fitted["after"][name] == pytest.approx(repeated.fitted["after"][name], abs=1e-3)


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
