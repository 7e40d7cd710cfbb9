"""Counts, the fractions they make, and how sure one is of them."""

from dataclasses import dataclass

import numpy as np
from astropy.stats import binom_conf_interval
from numpy.typing import ArrayLike

CONFIDENCE = 0.95
"""Two-sided coverage of the intervals."""


@dataclass(frozen=True, eq=False)
class Fractions:
    """A fraction of successes in each of a row of bins.

    Parameters
    ----------
    edges : numpy.ndarray
        float64, shape ``(n + 1,)``: bin ``i`` holds ``edges[i] <= value < edges[i + 1]``.
    n_tried, n_success : numpy.ndarray
        int64, shape ``(n,)``.
    """

    edges: np.ndarray
    n_tried: np.ndarray
    n_success: np.ndarray

    @property
    def fraction(self) -> np.ndarray:
        """float64, shape ``(n,)``: NaN in an empty bin."""
        with np.errstate(invalid="ignore"):
            return self.n_success / np.where(self.n_tried, self.n_tried, np.nan)

    @property
    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the Wilson interval in each bin, float64, shape ``(n,)``; NaN in an empty bin."""
        return wilson_interval(self.n_success, self.n_tried)


def wilson_interval(
    n_success: ArrayLike, n_tried: ArrayLike, *, confidence: float = CONFIDENCE
) -> tuple[np.ndarray, np.ndarray]:
    """Interval for a fraction, sensible down to no success, and to one try.

    Parameters
    ----------
    n_success, n_tried : array_like
        Counts, broadcast against each other.
    confidence : float
        Two-sided coverage.

    Returns
    -------
    low, high : numpy.ndarray
        float64, 0 to 1; NaN where nothing was tried.

    Notes
    -----
    Wilson 1927, J. Am. Stat. Assoc. 22, 209, equation for the score interval.

    Examples
    --------
    >>> low, high = wilson_interval(10, 10)
    >>> f"{low:.3f} {high:.3f}"
    '0.722 1.000'
    """
    success, tried = np.broadcast_arrays(n_success, n_tried)
    low, high = binom_conf_interval(success, np.maximum(tried, 1), confidence_level=confidence, interval="wilson")
    # Rounding must not leave the fraction itself outside.
    fraction = success / np.maximum(tried, 1)
    return np.where(tried > 0, np.minimum(low, fraction), np.nan), np.where(
        tried > 0, np.maximum(high, fraction), np.nan
    )


def binned_fractions(value: np.ndarray, success: np.ndarray, edges: ArrayLike) -> Fractions:
    """Fraction of successes in bins of a value.

    Parameters
    ----------
    value : numpy.ndarray
        float, shape ``(n,)``: a magnitude, say. NaN and values beyond the edges are in no bin.
    success : numpy.ndarray
        bool, shape ``(n,)``.
    edges : array_like
        float, ascending: bins are closed below and open above.
    """
    edges = np.asarray(edges, dtype=np.float64)
    n_bins = len(edges) - 1
    place = np.searchsorted(edges, value, side="right") - 1
    inside = (place >= 0) & (place < n_bins) & np.isfinite(value)
    tried = np.bincount(place[inside], minlength=n_bins)
    won = np.bincount(place[inside & np.asarray(success, dtype=bool)], minlength=n_bins)
    return Fractions(edges, tried, won)


def confusion_counts(
    truth: np.ndarray, predicted: np.ndarray, shape: tuple[int, int], weight: np.ndarray | None = None
) -> np.ndarray:
    """Count how often each true class was given each class.

    Parameters
    ----------
    truth, predicted : numpy.ndarray
        int, shape ``(n,)``: index of the class. Pairs with an index outside ``shape`` (-1, say) are not counted.
    shape : (int, int)
        Number of true classes, number of predicted ones.
    weight : numpy.ndarray, optional
        float, shape ``(n,)``.

    Returns
    -------
    numpy.ndarray
        shape ``shape``: rows are true classes; int64, or float64 with weights.
    """
    truth, predicted = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    known = (truth >= 0) & (truth < shape[0]) & (predicted >= 0) & (predicted < shape[1])
    cell = truth[known] * shape[1] + predicted[known]
    counted = None if weight is None else np.asarray(weight)[known]
    return np.bincount(cell, counted, minlength=shape[0] * shape[1]).reshape(shape)
