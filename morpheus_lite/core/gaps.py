"""Gaps: pixels without data, and what lies on both sides of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

_OPEN = np.iinfo(np.int32).max
"""Width of a gap that goes on to the edge of the image."""


@dataclass(frozen=True, eq=False)
class Gaps:
    """Missing pixels, each with the nearest others along its column and along its row.

    Parameters
    ----------
    y, x : numpy.ndarray
        int64, shape ``(pixel,)``: rows and columns of the missing pixels, in raster order.
    before, after : numpy.ndarray
        int64, shape ``(2, pixel)``: row of the nearest other pixel above and below, and column of those to the left
        and right; -1, or the length of the image, where there is none.
    widths : numpy.ndarray
        int64, shape ``(2, pixel)``: pixels of the gap along the column and along the row.
    """

    y: np.ndarray
    x: np.ndarray
    before: np.ndarray
    after: np.ndarray
    widths: np.ndarray

    @classmethod
    def of(cls, missing: np.ndarray) -> "Gaps":
        """The gaps of a bool array ``(y, x)``."""
        y, x = np.nonzero(missing)
        by_column = np.lexsort((y, x))
        ends = np.empty((2, 2, len(y)), dtype=np.int64)
        ends[:, 0, by_column] = _ends(x[by_column], y[by_column], missing.shape[0])
        ends[:, 1] = _ends(y, x, missing.shape[1])
        before, after = ends
        is_closed = (before >= 0) & (after < np.array(missing.shape)[:, None])
        return cls(y, x, before, after, np.where(is_closed, after - before - 1, _OPEN))

    def sides(self, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values of a plane before and after each pixel: shape ``(2, pixel)``; anything where the gap is open."""
        before, after = (np.clip(ends, 0, np.array(plane.shape)[:, None] - 1) for ends in (self.before, self.after))
        first, last = (np.stack([plane[y, self.x], plane[self.y, x]]) for y, x in (before, after))
        return first, last

    def straight(self, plane: np.ndarray, widths: np.ndarray | None = None) -> np.ndarray:
        """Values on the straight line from side to side along the narrower ``widths``, or the mean of both lines."""
        widths = self.widths if widths is None else widths
        first, last = self.sides(plane)
        place = np.stack([self.y, self.x])
        back, on = place - self.before, self.after - place
        lines = (first * on + last * back) / (back + on)
        return np.average(lines, axis=0, weights=widths == widths.min(axis=0))


def _ends(line: np.ndarray, place: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Places before and after the runs of consecutive pixels, which are sorted by line and place."""
    starts = np.flatnonzero(np.diff(line * (length + 1) + place, prepend=-2) != 1)
    counts = np.diff(starts, append=len(place))
    return np.repeat(place[starts] - 1, counts), np.repeat(place[starts] + counts, counts)


def fill_gaps(labels: np.ndarray, missing: np.ndarray, light: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
    """Sources and their light across their gaps: missing pixels with the same source on both sides.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``, 0 in missing pixels.
    missing : numpy.ndarray
        bool, shape ``(y, x)``.
    light : numpy.ndarray, optional
        float, shape ``(y, x)``.

    Returns
    -------
    labels, light : numpy.ndarray
        With the source in the gap, and the straight line between its sides, along the row or the column, whichever is
        narrower; those given where nothing is missing.
    """
    if not missing.any():
        return labels, light
    labels, light = labels.copy(), None if light is None else light.copy()
    # Where two bad columns and rows cross, the ends of the gaps are in gaps themselves.
    for _ in range(2):
        gaps = Gaps.of(missing & (labels == 0))
        first, last = gaps.sides(labels)
        widths = np.where((first == last) & (first > 0), gaps.widths, _OPEN)
        own = widths.min(axis=0) < _OPEN
        along = widths.argmin(axis=0)
        if light is not None:
            light[gaps.y[own], gaps.x[own]] = gaps.straight(light, widths)[own]
        labels[gaps.y[own], gaps.x[own]] = np.take_along_axis(first, along[None], axis=0)[0][own]
    return labels, light
