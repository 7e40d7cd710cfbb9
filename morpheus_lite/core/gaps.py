"""Gaps: pixels without data, and what lies on both sides of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

_OPEN = np.inf
"""Width of a gap that goes on to the edge of the image."""
_STEPS = np.array([(1, 0), (0, 1), (1, 1), (1, -1)])
"""Rows and columns from pixel to pixel along a column, a row, and both diagonals."""
_REACH = 64
"""Pixels on each side of a gap within a source."""
ACROSS = (1, 0, 3, 2)
"""For each of these directions, the one at right angles."""


@dataclass(frozen=True, eq=False)
class Gaps:
    """Missing pixels, each with the nearest others along its column, its row and its diagonals.

    Parameters
    ----------
    y, x : numpy.ndarray
        int64, shape ``(pixel,)``: rows and columns of the missing pixels, in raster order.
    back, on : numpy.ndarray
        int64, shape ``(4, pixel)``: steps to the nearest other pixel up and down the column, left and right along the
        row, and up and down the diagonals; it may lie outside of the image.
    widths : numpy.ndarray
        float64, shape ``(4, pixel)``: of the gap, in pixels; infinite where it goes on to the edge of the image.
    """

    y: np.ndarray
    x: np.ndarray
    back: np.ndarray
    on: np.ndarray
    widths: np.ndarray

    @classmethod
    def of(cls, missing: np.ndarray, near: np.ndarray | None = None) -> "Gaps":
        """The gaps of a bool array ``(y, x)``; or those that lie ``near`` as a whole: most of an area is far."""
        y, x = np.nonzero(missing if near is None else missing & near)
        back, on = np.empty((2, len(_STEPS), len(y)), dtype=np.int64)
        widths = np.empty(back.shape)
        for k, (line, place) in enumerate(((x, y), (y, x), (y - x, y), (y + x, y))):
            order = np.lexsort((place, line))
            back[k, order], on[k, order] = _steps_to_ends(line[order], place[order])
            (dy, dx), is_closed = _STEPS[k], np.ones(len(y), dtype=bool)
            for steps in (-back[k], on[k]):
                end_y, end_x = y + steps * dy, x + steps * dx
                is_closed &= (end_y >= 0) & (end_y < missing.shape[0]) & (end_x >= 0) & (end_x < missing.shape[1])
                if near is not None:
                    is_closed[is_closed] = ~missing[end_y[is_closed], end_x[is_closed]]
            widths[k] = np.where(is_closed, (back[k] + on[k] - 1) * np.hypot(dy, dx), _OPEN)
        return cls(y, x, back, on, widths)

    def sides(self, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values of a plane before and after each pixel: shape ``(4, pixel)``; anything where the gap is open."""
        first, last = (
            plane[*(np.clip(i, 0, n - 1) for i, n in zip(at, plane.shape, strict=True))] for at in self._ends()
        )
        return first, last

    def straight(self, plane: np.ndarray, widths: np.ndarray | None = None) -> np.ndarray:
        """Values on the straight line from side to side along the narrowest ``widths``, or the mean of several."""
        widths = self.widths if widths is None else widths
        first, last = self.sides(plane)
        lines = (first * self.on + last * self.back) / (self.back + self.on)
        return np.average(lines, axis=0, weights=widths == widths.min(axis=0))

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the nearest other pixels before and after: int64, shape ``(2, 4, pixel)``."""
        place, steps = np.stack([self.y, self.x])[:, None], _STEPS.T[:, :, None]
        return place - self.back * steps, place + self.on * steps


def _steps_to_ends(line: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps to the ends of the runs of consecutive pixels, which are sorted by line and place."""
    starts = np.flatnonzero((np.diff(line, prepend=-(2**31)) != 0) | (np.diff(place, prepend=-2) != 1))
    counts = np.diff(starts, append=len(place))
    return place - np.repeat(place[starts] - 1, counts), np.repeat(place[starts] + counts, counts) - place


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
        With the source in the gap, and the straight line between its sides, along the row, the column or the diagonal,
        whichever is narrowest; those given where nothing is missing.
    """
    if not missing.any():
        return labels, light
    labels, light = labels.copy(), None if light is None else light.copy()
    near = ndimage.maximum_filter(labels > 0, 2 * _REACH + 1)
    # Where two bad columns and rows cross, the ends of the gaps are in gaps themselves.
    for _ in range(2):
        gaps = Gaps.of(missing & (labels == 0), near)
        first, last = gaps.sides(labels)
        widths = np.where((first == last) & (first > 0), gaps.widths, _OPEN)
        own = widths.min(axis=0) < _OPEN
        along = widths.argmin(axis=0)
        if light is not None:
            light[gaps.y[own], gaps.x[own]] = gaps.straight(light, widths)[own]
        labels[gaps.y[own], gaps.x[own]] = np.take_along_axis(first, along[None], axis=0)[0][own]
    return labels, light
