"""Reliability of probabilities: reliability diagrams, calibration error, proper scores."""

from dataclasses import dataclass

import numpy as np

from morpheus_lite.errors import InputError

N_BINS = 15
"""Bins of equal width of a reliability diagram, as in Guo et al. 2017."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Sums behind a reliability diagram, over bins of equal width between 0 and 1; they add over fields.

    Parameters
    ----------
    weight : numpy.ndarray
        float64, shape ``(n_bins,)``: weight of the predictions in each bin (their number, without weights).
    confidence, outcome : numpy.ndarray
        float64, shape ``(n_bins,)``: weighted sums of the probability given, and of what happened (0 to 1).
    """

    weight: np.ndarray
    confidence: np.ndarray
    outcome: np.ndarray

    @property
    def total(self) -> float:
        """Weight of all predictions."""
        return float(self.weight.sum())

    @property
    def mean_confidence(self) -> np.ndarray:
        """float64, shape ``(n_bins,)``; NaN in an empty bin."""
        return self.confidence / np.where(self.weight > 0, self.weight, np.nan)

    @property
    def mean_outcome(self) -> np.ndarray:
        """float64, shape ``(n_bins,)``; NaN in an empty bin."""
        return self.outcome / np.where(self.weight > 0, self.weight, np.nan)

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of probability and frequency, weighted by bin; NaN if empty."""
        return float(np.abs(self.confidence - self.outcome).sum() / self.total) if self.total > 0 else float("nan")

    @property
    def overconfidence(self) -> float:
        """Mean probability minus frequency over all predictions; NaN if empty."""
        return float((self.confidence - self.outcome).sum() / self.total) if self.total > 0 else float("nan")

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(self.weight + other.weight, self.confidence + other.confidence, self.outcome + other.outcome)


Weight = np.ndarray | float
"""How much each prediction counts: float, shape ``(n,)``, or one number for all."""


def reliability(confidence: np.ndarray, outcome: np.ndarray, *, weight: Weight = 1.0) -> Reliability:
    """Bin predictions by the probability they gave.

    Parameters
    ----------
    confidence : numpy.ndarray
        float, shape ``(n,)``, 0 to 1. NaN is left out.
    outcome : numpy.ndarray
        bool or float, shape ``(n,)``: whether it happened, or the true probability that it does (soft labels).
    weight : Weight
        How much each counts.

    Notes
    -----
    Guo et al. 2017, ICML, equations 2 to 5.
    """
    known = np.isfinite(confidence)
    value, happened = (np.asarray(one, dtype=np.float64)[known] for one in (confidence, outcome))
    share = np.broadcast_to(weight, known.shape)[known]
    place = _bin_of(value)
    return Reliability(*(np.bincount(place, share * what, minlength=N_BINS) for what in (1.0, value, happened)))


def top_label_reliability(probability: np.ndarray, truth: np.ndarray, *, weight: Weight = 1.0) -> Reliability:
    """Reliability of the most probable class.

    Parameters
    ----------
    probability : numpy.ndarray
        float, shape ``(n, class)``. Rows with NaN are left out.
    truth : numpy.ndarray
        float, shape ``(n, class)``: 1 for the true class and 0 for others, or soft labels that sum to 1.
    weight : Weight
        How much each row counts.
    """
    check_rows(probability, truth)
    top = probability.argmax(axis=1)[:, None]  # of rows with NaN: a NaN
    confidence, outcome = (np.take_along_axis(one, top, axis=1)[:, 0] for one in (probability, truth))
    return reliability(confidence, outcome, weight=weight)


def chance_error(confidence: np.ndarray) -> float:
    """Calibration error that right probabilities have on average, because outcomes are few.

    Parameters
    ----------
    confidence : numpy.ndarray
        float, shape ``(n,)``: probabilities of what did or did not happen, 0 to 1. NaN is left out.

    Notes
    -----
    In a bin the sum of outcomes scatters by ``sqrt(sum(p (1 - p)))`` about that of the probabilities; the mean distance
    of a Gaussian is ``sqrt(2 / pi)`` times that.
    """
    value = np.asarray(confidence, dtype=np.float64)
    value = value[np.isfinite(value)]
    variance = np.bincount(_bin_of(value), value * (1 - value), minlength=N_BINS)
    return float(np.sqrt(2 / np.pi * variance).sum() / len(value)) if len(value) else float("nan")


def classwise_reliability(
    probability: np.ndarray, truth: np.ndarray, *, weight: Weight = 1.0
) -> tuple[Reliability, ...]:
    """Reliability of the probability of each class, in the order of the classes; as `top_label_reliability`."""
    check_rows(probability, truth)
    return tuple(reliability(probability[:, k], truth[:, k], weight=weight) for k in range(probability.shape[1]))


def proper_scores(probability: np.ndarray, truth: np.ndarray, *, weight: Weight = 1.0) -> tuple[float, float]:
    """Logarithmic and Brier score of class probabilities: both lowest, on average, for the true probabilities.

    Parameters
    ----------
    probability, truth, weight : numpy.ndarray
        As for `top_label_reliability`.

    Returns
    -------
    log_loss : float
        Mean of ``-sum(truth * log(probability))``, in nats; probabilities below 1e-7 count as 1e-7.
    brier : float
        Mean of ``sum((probability - truth) ** 2)``, 0 to 2.
    """
    check_rows(probability, truth)
    known = np.isfinite(probability).all(axis=1)
    p, t = probability[known].astype(np.float64), truth[known].astype(np.float64)
    share = np.broadcast_to(weight, known.shape)[known]
    if share.sum() <= 0:
        return float("nan"), float("nan")
    log_loss = -(t * np.log(np.maximum(p, 1e-7))).sum(axis=1)
    return float(np.average(log_loss, weights=share)), float(np.average(((p - t) ** 2).sum(axis=1), weights=share))


def check_rows(probability: np.ndarray, truth: np.ndarray) -> None:
    """Raise an `InputError` unless both have the shape ``(n, class)``."""
    if probability.ndim != 2 or probability.shape != truth.shape:
        raise InputError(
            f"probabilities of shape {probability.shape} and truth of shape {truth.shape}; expected both (n, class): "
            "give maps as map.reshape(-1, class)"
        )


def _bin_of(value: np.ndarray) -> np.ndarray:
    return np.minimum((value * N_BINS).astype(np.int64), N_BINS - 1)
