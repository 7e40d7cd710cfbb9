"""Matching of detections and true sources, and the reasons for those that have no match."""

import numpy as np
from scipy.spatial import cKDTree

from morpheus_lite.evaluation.metrics.overlap import Overlap

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
    forth, back = pairs.partner(), pairs.swapped().partner()
    mutual = [(one, two, shared) for one, (two, shared) in forth.items() if back[two][0] == one]
    first, second, shared = (np.array(column) for column in zip(*mutual, strict=True)) if mutual else (np.empty(0),) * 3
    area_first, area_second = _areas(pairs.first, pairs.count), _areas(pairs.second, pairs.count)
    union = [area_first[int(one)] + area_second[int(two)] for one, two in zip(first, second, strict=True)]
    return first.astype(np.int32), second.astype(np.int32), shared / (np.array(union) - shared)


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
    forth, back = pairs.partner(), pairs.swapped().partner()
    area, area_detected = _areas(pairs.first, pairs.count), _areas(pairs.second, pairs.count)
    sky = dict(zip(*(column[pairs.first == 0].tolist() for column in (pairs.second, pairs.count)), strict=True))

    def fate_of_truth(one: int, matched: int, below: int) -> str:
        if matched > 0:
            return "matched"
        two, shared = forth.get(one, (below, 0))
        if two > 0 and back.get(two, (0, 0))[0] == one:
            return "displaced"
        return "blended" if two > 0 and shared >= MAJORITY * area.get(one, 0) else "undetected"

    def fate_of_detection(two: int, matched: int) -> str:
        if matched > 0:
            return "matched"
        if two not in back or sky.get(two, 0) > MAJORITY * area_detected[two]:
            return "spurious"
        return "displaced" if forth[back[two][0]][0] == two else "split"

    fates = [fate_of_truth(*row) for row in zip(truth.tolist(), truth_match.tolist(), under.tolist(), strict=True)]
    kinds = [fate_of_detection(*row) for row in zip(label.tolist(), match.tolist(), strict=True)]
    return np.array(fates, dtype="U10"), np.array(kinds, dtype="U10")


def _areas(labels: np.ndarray, count: np.ndarray) -> dict[int, int]:
    found, index = np.unique(labels, return_inverse=True)
    return dict(zip(found.tolist(), np.bincount(index, count).astype(int).tolist(), strict=True))
