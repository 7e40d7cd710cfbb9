"""Two label maps of the same pixels: which segments meet."""

from dataclasses import dataclass

import numpy as np

from morpheus_lite.errors import InputError


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

    def partner(self) -> dict[int, tuple[int, int]]:
        """Find the source of the second map that shares most pixels with each source of the first, and how many.

        Labels of the first that only meet sky are absent; of equal partners the lowest label is taken.
        """
        order = np.lexsort((self.second, -self.count, self.first))
        order = order[(self.first[order] > 0) & (self.second[order] > 0)]
        _, lead = np.unique(self.first[order], return_index=True)
        rows = order[lead]
        return {int(self.first[i]): (int(self.second[i]), int(self.count[i])) for i in rows}

    def swapped(self) -> "Overlap":
        """The same counts seen from the second map."""
        order = np.lexsort((self.first, self.second))
        return Overlap(self.second[order], self.first[order], self.count[order])


def overlap_areas(first: np.ndarray, second: np.ndarray, valid: np.ndarray | None = None) -> Overlap:
    """Pixels shared by every pair of labels of two maps.

    Parameters
    ----------
    first, second : numpy.ndarray
        int, shape ``(y, x)``; negative labels count as sky.
    valid : numpy.ndarray, optional
        bool, shape ``(y, x)``: pixels to count; all when None.
    """
    if first.shape != second.shape:
        raise InputError(f"label maps of shape {first.shape} and {second.shape}; both must cover the same pixels")
    chosen = slice(None) if valid is None else valid
    one, two = (np.maximum(labels[chosen].ravel(), 0).astype(np.int64) for labels in (first, second))
    width = int(two.max(initial=0)) + 1
    pair, count = np.unique(one * width + two, return_counts=True)
    return Overlap((pair // width).astype(np.int32), (pair % width).astype(np.int32), count.astype(np.int64))
