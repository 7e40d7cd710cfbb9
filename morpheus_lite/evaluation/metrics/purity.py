"""The threshold that gives a stated purity, measured on fields whose truth is known."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from morpheus_lite.errors import InputError
from morpheus_lite.evaluation.metrics.counts import wilson_interval


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what was measured with it.

    Parameters
    ----------
    threshold : float
        Detections with a score of at least this are kept.
    n_detected, n_matched : int
        How many that is, and how many of them are true sources.
    """

    threshold: float
    n_detected: int
    n_matched: int

    @property
    def purity(self) -> float:
        """Share of the detections kept that are true sources; NaN without detections."""
        return self.n_matched / self.n_detected if self.n_detected else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson interval of the purity."""
        low, high = wilson_interval(self.n_matched, self.n_detected)
        return float(low), float(high)


def purity_curve(score: np.ndarray, matched: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Purity of the detections that score at least as much as a threshold, for every threshold there is.

    Parameters
    ----------
    score : numpy.ndarray
        float, shape ``(n,)``: significance or probability of each detection; higher is surer. NaN is never kept.
    matched : numpy.ndarray
        bool, shape ``(n,)``: whether the detection is a true source.

    Returns
    -------
    threshold : numpy.ndarray
        float64, shape ``(k,)``: the distinct scores, descending.
    n_detected, n_matched : numpy.ndarray
        int64, shape ``(k,)``: kept at that threshold.
    """
    score, matched = np.asarray(score, dtype=np.float64), np.asarray(matched, dtype=bool)
    known = np.isfinite(score)
    order = np.argsort(-score[known], kind="stable")
    score, matched = score[known][order], matched[known][order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1) if len(score) else np.empty(0, np.int64)
    return score[last], last + 1, np.cumsum(matched)[last] if len(score) else np.empty(0, np.int64)


def purity_threshold(score: np.ndarray, matched: np.ndarray, purity: float = 0.98) -> OperatingPoint:
    """The lowest threshold on a score at which the detections kept have a purity, so that most are kept.

    Parameters
    ----------
    score, matched : numpy.ndarray
        As for `purity_curve`, from validation fields: the threshold chosen is to be judged on others.
    purity : float
        Share of true sources wanted, 0 to 1.

    Returns
    -------
    OperatingPoint

    Raises
    ------
    InputError
        No threshold reaches the purity.

    Examples
    --------
    >>> purity_threshold(np.array([9.0, 7.0, 5.0, 3.0]), np.array([True, True, False, True]), 0.7).threshold
    3.0
    >>> purity_threshold(np.array([9.0, 7.0, 5.0, 3.0]), np.array([True, True, False, True]), 0.8).threshold
    7.0
    """
    threshold, n_detected, n_matched = purity_curve(score, matched)
    enough = np.flatnonzero(n_matched >= purity * n_detected - 1e-9)
    if len(enough) == 0:
        best = (n_matched / n_detected).max() if len(threshold) else float("nan")
        raise InputError(
            f"no threshold gives a purity of {purity:g}: the best is {best:.3f}, among {len(threshold)} scores; "
            "ask for less, or use more fields or a better score"
        )
    lowest = enough[-1]
    return OperatingPoint(float(threshold[lowest]), int(n_detected[lowest]), int(n_matched[lowest]))


def sweep_purity(
    detect: Callable[[float], tuple[int, int]], thresholds: Iterable[float], purity: float = 0.98
) -> tuple[OperatingPoint, ...]:
    """Try thresholds from the lowest until a detector is pure enough.

    For a detector whose segments change with its threshold, so that it must run anew for each.

    Parameters
    ----------
    detect : callable
        Takes a threshold, returns how many sources it detects and how many of them are true.
    thresholds : iterable of float
        Those to try.
    purity : float
        Share of true sources wanted, 0 to 1.

    Returns
    -------
    tuple of OperatingPoint
        Those tried, ascending. The last is the only one that is pure enough; if it is not either, none is.
    """
    tried: list[OperatingPoint] = []
    for threshold in sorted(thresholds):
        tried.append(OperatingPoint(float(threshold), *detect(float(threshold))))
        if tried[-1].n_detected and tried[-1].purity >= purity - 1e-9:
            break
    return tuple(tried)
