"""Metrics of sources: counts with intervals, overlap of label maps, matching, means over segments.

Arrays in, arrays out: nothing here knows of files, images or models.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.stats import binom_conf_interval
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from morpheus_lite.core.labels import LabelledPixels
from morpheus_lite.errors import InputError


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


def wilson_interval(n_success: ArrayLike, n_tried: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Interval of 95 % for a fraction, sensible down to no success, and to one try.

    Parameters
    ----------
    n_success, n_tried : array_like
        Counts, broadcast against each other.

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
    low, high = binom_conf_interval(success, np.maximum(tried, 1), confidence_level=0.95, interval="wilson")
    # Rounding must not leave the fraction itself outside.
    fraction = np.where(tried > 0, success / np.maximum(tried, 1), np.nan)
    return np.minimum(low, fraction), np.maximum(high, fraction)


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
    inside = np.asarray(value) < edges[-1]  # the last bin of NumPy's is closed above
    tried, won = (np.histogram(value[chosen], edges)[0] for chosen in (inside, inside & np.asarray(success, bool)))
    return Fractions(edges, tried, won)


def confusion_counts(truth: np.ndarray, predicted: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Count how often each true class was given each class.

    Parameters
    ----------
    truth, predicted : numpy.ndarray
        int, shape ``(n,)``: index of the class. Pairs with an index outside ``shape`` (-1, say) are not counted.
    shape : (int, int)
        Number of true classes, number of predicted ones.

    Returns
    -------
    numpy.ndarray
        int64, shape ``shape``: rows are true classes.
    """
    truth, predicted = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    known = (truth >= 0) & (truth < shape[0]) & (predicted >= 0) & (predicted < shape[1])
    cell = np.ravel_multi_index((truth[known], predicted[known]), shape)
    return np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)


@dataclass(frozen=True, eq=False)
class Overlap:
    """Number of pixels that each pair of labels of two maps shares; only pairs that meet, sky (0) included.

    Parameters
    ----------
    first, second : numpy.ndarray
        int32, shape ``(n_pairs,)``: label in either map, sorted by the first, then the second.
    count : numpy.ndarray
        int64, shape ``(n_pairs,)``: pixels in both.
    """

    first: np.ndarray
    second: np.ndarray
    count: np.ndarray

    @property
    def swapped(self) -> "Overlap":
        """The same counts seen from the second map."""
        order = np.lexsort((self.first, self.second))
        return Overlap(self.second[order], self.first[order], self.count[order])

    @property
    def partners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources of the first map, the one of the second that shares most pixels with each, and how many.

        Labels of the first that only meet sky are absent; of equal partners the lowest label is taken.
        """
        order = np.lexsort((self.second, -self.count, self.first))
        order = order[(self.first[order] > 0) & (self.second[order] > 0)]
        label, lead = np.unique(self.first[order], return_index=True)
        return label, self.second[order[lead]], self.count[order[lead]]

    @property
    def areas(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels of the first map, sky included, and their numbers of pixels."""
        label, index = np.unique(self.first, return_inverse=True)
        return label, np.bincount(index, self.count)


def overlap_areas(first: np.ndarray, second: np.ndarray, valid: np.ndarray | None = None) -> Overlap:
    """Pixels shared by every pair of labels of two maps.

    Parameters
    ----------
    first, second : numpy.ndarray
        int, shape ``(y, x)``; negative labels count as sky.
    valid : numpy.ndarray, optional
        bool, shape ``(y, x)``: pixels to count; all when None.
    """
    _same_shape(first, second, "the other label map")
    chosen = slice(None) if valid is None else valid
    one, two = (np.maximum(labels[chosen].ravel(), 0).astype(np.int64) for labels in (first, second))
    width = int(two.max(initial=0)) + 1
    pair, count = np.unique(one * width + two, return_counts=True)
    return Overlap((pair // width).astype(np.int32), (pair % width).astype(np.int32), count.astype(np.int64))


MAJORITY = 0.5
"""Share of a segment's pixels from which it is said to lie in another, or in the sky."""


def match_positions(first: np.ndarray, second: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match two lists of positions one to one, closest pairs first.

    Parameters
    ----------
    first, second : numpy.ndarray
        float, shape ``(n, 2)`` and ``(m, 2)``: positions in the same unit. Positions that are not finite match nothing.
    radius : float
        Largest distance of a pair, in that unit.

    Returns
    -------
    first_index, second_index : numpy.ndarray
        int64, shape ``(n_pairs,)``: rows that belong together; each row at most once.
    distance : numpy.ndarray
        float64, shape ``(n_pairs,)``, ascending.

    Notes
    -----
    The closest of all pairs is taken, both are struck off, and so on. The result does not depend on the order of
    the rows unless two pairs are exactly as close; then the lower rows win.
    """
    rows_first, rows_second = (np.flatnonzero(np.isfinite(points).all(axis=1)) for points in (first, second))
    if len(rows_first) == 0 or len(rows_second) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    trees = cKDTree(first[rows_first]), cKDTree(second[rows_second])
    near = trees[0].sparse_distance_matrix(trees[1], radius, output_type="ndarray")
    order = np.lexsort((near["j"], near["i"], near["v"]))
    free_first, free_second = np.ones(len(rows_first), bool), np.ones(len(rows_second), bool)
    chosen = []
    for pair in order:
        i, j = near["i"][pair], near["j"][pair]
        if free_first[i] and free_second[j]:
            free_first[i] = free_second[j] = False
            chosen.append(pair)
    taken = near[np.array(chosen, dtype=np.int64)]
    return rows_first[taken["i"]], rows_second[taken["j"]], taken["v"]


def chance_match_rate(n_positions: int, area: float, radius: float) -> float:
    """Probability that a position thrown at random has a true source within the radius.

    Parameters
    ----------
    n_positions : int
        True sources in the area.
    area, radius : float
        In the same unit, squared and not; the sources are taken as unclustered.

    Examples
    --------
    >>> f"{chance_match_rate(100, 3600.0, 0.3):.4f}"
    '0.0078'
    """
    return float(-np.expm1(-n_positions * np.pi * radius**2 / area)) if area > 0 else float("nan")


def match_overlap(pairs: Overlap) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match two label maps one to one: segments that share more pixels with each other than with any other.

    Parameters
    ----------
    pairs : Overlap
        Of the true and the detected label map.

    Returns
    -------
    first, second : numpy.ndarray
        int32, shape ``(n_pairs,)``: labels that belong together, ascending in the first.
    iou : numpy.ndarray
        float64, shape ``(n_pairs,)``: intersection over union of the two segments.
    """
    first, second, shared = pairs.partners
    union = by_label(*pairs.areas, first, 0) + by_label(*pairs.swapped.areas, second, 0) - shared
    mutual = by_label(*pairs.swapped.partners[:2], second, 0) == first
    return first[mutual], second[mutual], (shared / union)[mutual]


def classify_matches(
    pairs: Overlap, truth: np.ndarray, truth_match: np.ndarray, under: np.ndarray, label: np.ndarray, match: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Say what became of each true source and what each detection is.

    Parameters
    ----------
    pairs : Overlap
        Of the true and the detected label map.
    truth, truth_match, under : numpy.ndarray
        int, shape ``(n,)``: label of each true source, label of the detection matched to it (0 for none), and label
        of the detection on whose pixels its position lies (0 for none).
    label, match : numpy.ndarray
        int, shape ``(m,)``: label of each detection and of the true source matched to it (0 for none).

    Returns
    -------
    truth_fate : numpy.ndarray
        str, shape ``(n,)``: ``matched``; ``blended``, at least half of its pixels (or its position, if it has none)
        lie in a detection that is mostly another source; ``displaced``, detected, but the positions are too far
        apart; ``undetected``.
    fate : numpy.ndarray
        str, shape ``(m,)``: ``matched``; ``spurious``, more than half of it is sky; ``split``, a piece of a source
        whose largest part is another detection; ``displaced``, as above.
    """
    true_label, partner, shared = pairs.partners
    back = pairs.swapped.partners[:2]
    found = by_label(true_label, partner, truth, 0)
    covering = np.where(found > 0, found, under)
    is_hidden = by_label(true_label, shared, truth, 0) >= MAJORITY * by_label(*pairs.areas, truth, 0)
    is_own = by_label(*back, covering, 0) == truth
    truth_fate = np.select(
        [truth_match > 0, is_own, (covering > 0) & is_hidden], ["matched", "displaced", "blended"], "undetected"
    )
    source, sky = by_label(*back, label, 0), pairs.first == 0
    in_sky = by_label(pairs.second[sky], pairs.count[sky], label, 0)
    is_sky = (source == 0) | (in_sky > MAJORITY * by_label(*pairs.swapped.areas, label, 0))
    is_largest = by_label(true_label, partner, source, 0) == label
    fate = np.select([match > 0, is_sky, is_largest], ["matched", "spurious", "displaced"], "split")
    return truth_fate, fate


@dataclass(frozen=True, eq=False)
class Segments:
    """Area, flux and position of every segment of a label map.

    Parameters
    ----------
    label : numpy.ndarray
        int32, shape ``(n,)``: the labels, ascending, without 0 and without negative ones.
    area : numpy.ndarray
        int64, shape ``(n,)``: pixels.
    flux : numpy.ndarray
        float64, shape ``(n,)``: sum of the weights given, in their unit; the area when there were none.
    x, y : numpy.ndarray
        float64, shape ``(n,)``: 0-based position in pixels, the mean of the pixels weighted by their positive
        weight; the plain mean where no weight is positive.
    """

    label: np.ndarray
    area: np.ndarray
    flux: np.ndarray
    x: np.ndarray
    y: np.ndarray


def measure_segments(labels: np.ndarray, weight: np.ndarray | None = None) -> Segments:
    """Area, flux and position of every segment.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``; 0 and negative values are not sources.
    weight : numpy.ndarray, optional
        float, shape ``(y, x)``: the image. Pixels that are not finite count as 0.

    Returns
    -------
    Segments
    """
    pixels = LabelledPixels.gather(np.maximum(labels, 0))
    value = np.ones(len(pixels.y)) if weight is None else _finite(pixels.take(_same_shape(labels, weight, "weight")))
    positive = np.maximum(value, 0)
    positive[pixels.spread(pixels.sum(positive) <= 0)] = 1
    x, y = (pixels.sum(positive * place) / pixels.sum(positive) for place in (pixels.x, pixels.y))
    return Segments(pixels.labels.astype(np.int32), pixels.sizes, pixels.sum(value), x, y)


def segment_means(
    labels: np.ndarray, maps: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean of one or more maps over every segment.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``.
    maps : numpy.ndarray
        float, shape ``(y, x, k)``. Pixels with a value that is not finite are left out.
    weight : numpy.ndarray, optional
        float, shape ``(y, x)``; negative and non-finite weights count as 0, and a segment without positive
        weight is averaged plainly.

    Returns
    -------
    label : numpy.ndarray
        int32, shape ``(n,)``: as in `Segments`.
    mean : numpy.ndarray
        float64, shape ``(n, k)``; NaN for a segment without a finite value.
    """
    pixels = LabelledPixels.gather(np.maximum(labels, 0))
    values = pixels.take(_same_shape(labels, maps, "maps")).astype(np.float64)
    known = np.isfinite(values).all(axis=1)
    share = np.ones(len(pixels.y)) if weight is None else np.maximum(_finite(pixels.take(weight)), 0)
    share = share * known
    share = np.where(pixels.spread(pixels.sum(share) <= 0), known, share)
    values[~known] = 0
    sums = [pixels.sum(share * plane) for plane in values.T]
    with np.errstate(invalid="ignore"):
        return pixels.labels.astype(np.int32), np.stack(sums, axis=1) / pixels.sum(share)[:, None]


def by_label(label: np.ndarray, value: np.ndarray, wanted: np.ndarray, missing: Any) -> np.ndarray:
    """Values of labels, looked up for the labels wanted.

    Parameters
    ----------
    label : numpy.ndarray
        int, shape ``(n,)``, each once.
    value : numpy.ndarray
        shape ``(n,)`` or ``(n, k)``.
    wanted : numpy.ndarray
        int, any shape: a column of labels, or a label map to paint.
    missing : scalar or numpy.ndarray
        What labels get that are not there, of the shape of one value.

    Returns
    -------
    numpy.ndarray
        shape ``wanted.shape`` or ``(*wanted.shape, k)``.
    """
    label, value, wanted = np.asarray(label), np.asarray(value), np.asarray(wanted)
    if len(label) == 0:
        label, value = np.zeros(1, label.dtype), np.full((1, *value.shape[1:]), missing)
    order = np.argsort(label, kind="stable")
    row = order[np.searchsorted(label, wanted, sorter=order).clip(max=len(label) - 1)]
    there = (label[row] == wanted).reshape(*wanted.shape, *(1,) * (value.ndim - 1))
    return np.where(there, value[row], missing)


def _same_shape(labels: np.ndarray, other: np.ndarray, name: str) -> np.ndarray:
    if other.shape[:2] != labels.shape:
        raise InputError(
            f"{name} is {other.shape[0]} x {other.shape[1]} px (y, x), the label map {labels.shape[0]} x "
            f"{labels.shape[1]}; both must cover the same pixels"
        )
    return other


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values, nan=0, posinf=0, neginf=0).astype(np.float64)
