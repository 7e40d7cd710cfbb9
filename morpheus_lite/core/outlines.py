"""Outlines of segments: the closed polygons that run along the pixel sides of a label map."""

from dataclasses import dataclass

import numpy as np

from morpheus_lite.errors import InputError

_STEP = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""(x, y) of one step East, North, West and South; the directions are numbered 0 to 3 in this order."""


@dataclass(frozen=True, eq=False)
class Outlines:
    """Closed polygons of a label map, one or more for each label.

    Parameters
    ----------
    vertices : numpy.ndarray
        int32, shape ``(n, 2)``: (x, y) of the pixel corners where an outline turns. Corner ``k`` lies at pixel
        coordinate ``k - 0.5``, so pixel 0 spans corners 0 to 1.
    starts : numpy.ndarray
        int64, shape ``(n_rings + 1,)``: ring ``i`` is ``vertices[starts[i]:starts[i + 1]]``; it is not closed by
        repeating its first vertex.
    labels : numpy.ndarray
        int32, shape ``(n_rings,)``, ascending: the label each ring belongs to.
    is_hole : numpy.ndarray
        bool, shape ``(n_rings,)``: whether the ring bounds a hole. Outer rings run counter-clockwise in
        (x, y), holes clockwise.
    """

    vertices: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    is_hole: np.ndarray

    def ring(self, index: int) -> np.ndarray:
        """Corners of one ring: int32, shape ``(n, 2)``."""
        return self.vertices[self.starts[index] : self.starts[index + 1]]


def trace_outlines(labels: np.ndarray) -> Outlines:
    """Follow the boundary of every segment of a label map.

    Parts of a segment that touch at a corner only are one part, as with 8-connected segments.

    Parameters
    ----------
    labels : numpy.ndarray
        Integers, shape ``(y, x)``; 0 and below is sky.

    Returns
    -------
    Outlines
        Rings ordered by label. The areas of a label's rings (holes negative) sum to its number of pixels.

    Examples
    --------
    >>> trace_outlines(np.array([[0, 7, 7]])).ring(0).tolist()
    [[1, 0], [3, 0], [3, 1], [1, 1]]
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise InputError(f"a label map is a two-dimensional array of integers, not {labels.dtype} {labels.shape}")
    start, direction, label = _boundary_sides(labels)
    if not len(label):
        return Outlines(np.zeros((0, 2), np.int32), np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, bool))
    following = _following_sides(start, direction, label, labels.shape[1] + 1)
    ring, order = _rings(following)
    start, direction, label, ring = start[order], direction[order], label[order], ring[order]
    first = np.flatnonzero(np.diff(ring, prepend=-1))
    before = np.arange(len(ring)) - 1
    before[first] = np.append(first[1:], len(ring)) - 1
    is_corner = direction != direction[before]
    starts = np.append(0, np.cumsum(np.add.reduceat(is_corner, first)))
    return Outlines(
        vertices=start[is_corner].astype(np.int32),
        starts=starts.astype(np.int64),
        labels=label[first].astype(np.int32),
        is_hole=_signed_areas(start, direction, first) < 0,
    )


def _boundary_sides(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start corner (x, y), direction and label of every pixel side between a segment and something else.

    The segment lies on the left of each side.
    """
    padded = np.pad(np.maximum(labels, 0), 1)
    inside = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    corner_of_pixel = ((0, 0), (1, 0), (1, 1), (0, 1))
    starts: list[np.ndarray] = []
    directions: list[np.ndarray] = []
    side_labels: list[np.ndarray] = []
    for heading, (neighbour, corner) in enumerate(zip(neighbours, corner_of_pixel, strict=True)):
        y, x = np.nonzero((inside != neighbour) & (inside > 0))
        starts.append(np.stack([x + corner[0], y + corner[1]], axis=1))
        directions.append(np.full(len(x), heading))
        side_labels.append(inside[y, x])
    start, direction, label = (np.concatenate(parts) for parts in (starts, directions, side_labels))
    order = np.lexsort((direction, start[:, 0], start[:, 1], label))
    return start[order], direction[order], label[order]


def _following_sides(start: np.ndarray, direction: np.ndarray, label: np.ndarray, n_columns: int) -> np.ndarray:
    """Index of the side that continues each side: right turn before straight on before left turn.

    Turning right where there is a choice joins pixels that touch at a corner.
    """
    rank = np.cumsum(np.diff(label, prepend=label[0]) != 0)
    n_corners = n_columns * (start[:, 1].max() + 2)
    end = start + _STEP[direction]
    key = (rank * n_corners + start[:, 1] * n_columns + start[:, 0]) * 4 + direction
    base = (rank * n_corners + end[:, 1] * n_columns + end[:, 0]) * 4
    following = np.full(len(key), -1)
    for turn in (1, 0, -1):  # the last that exists wins
        wanted = base + (direction + turn) % 4
        index = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        found = key[index] == wanted
        following[found] = index[found]
    return following


def _rings(following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ring (smallest index on it) of each side, and the order that lists ring after ring in walking order.

    Notes
    -----
    Pointer doubling: after k rounds each side knows the smallest index, or the number of sides, over the next
    2**k sides; no Python loop runs over sides.
    """
    ring, jump = np.arange(len(following)), following
    while True:
        merged = np.minimum(ring, ring[jump])
        if np.array_equal(merged, ring):
            break
        ring, jump = merged, jump[jump]
    is_last = ring == following
    jump = np.where(is_last, np.arange(len(following)), following)
    remaining = (~is_last).astype(np.int64)
    while (step := remaining[jump]).any():
        remaining, jump = remaining + step, jump[jump]
    return ring, np.lexsort((-remaining, ring))


def _signed_areas(start: np.ndarray, direction: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Area enclosed by each ring in pixels, positive when it runs counter-clockwise (Green's theorem)."""
    return np.add.reduceat(start[:, 0] * _STEP[direction, 1], first)
