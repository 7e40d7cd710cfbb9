"""Label maps: arrays of labels, maps of any size that are read by window, outlines, and gaps in sources."""

import errno
import os
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from morpheus_lite.core.classification import Classification
from morpheus_lite.core.loops import call_loop
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, warn

_MOST_PARTS = 2
"""Separate areas of the only source of a label map: with more it looks like a mask."""


class ScratchMemory:
    """int32 pixels in memory.

    Parameters
    ----------
    pixels : numpy.ndarray
        int32, shape ``(y, x)``: the array that is written to.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.shape: tuple[int, int] = pixels.shape
        self._pixels = pixels

    def read(self, window: Window) -> np.ndarray:
        """Pixels of a window: int32, shape of the window; a copy."""
        return self._pixels[window.slices].copy()

    def write(self, window: Window, pixels: np.ndarray) -> None:
        """Write the pixels of a window."""
        self._pixels[window.slices] = pixels


def write_at(file: int, content: bytes | memoryview, start: int) -> None:
    """Write at a position of an open file; the system may take less than all of it at once."""
    left = memoryview(content)
    while left:
        count = os.pwrite(file, left, start)
        left, start = left[count:], start + count


class FilePixels:
    """Pixels of one plane in an open file, row after row. May be used from several threads.

    It is read and written, not mapped: mapped pages would count as memory of the process.

    Parameters
    ----------
    file : int
        Descriptor of the file.
    shape : (int, int)
        Height and width in pixels.
    dtype : numpy.dtype
        Of the pixels in the file.
    start : int
        Byte of the file at which the first pixel lies.
    """

    def __init__(self, file: int, shape: tuple[int, int], dtype: np.dtype, start: int = 0) -> None:
        self.shape, self._file, self._dtype, self._start = shape, file, dtype, start

    def read(self, window: Window) -> np.ndarray:
        """Pixels of a window: shape of the window, native byte order."""
        pixels = np.empty(window.shape, self._dtype)
        size, width = self._dtype.itemsize, self.shape[1]
        start = self._start + (window.y * width + window.x) * size
        n_rows, length = (1, pixels.size) if window.width == width else window.shape
        rows = map(int, (self._file, start, width * size, length * size, n_rows))
        if not call_loop("read_rows", *rows, pixels):
            raise OSError(errno.EIO, "the file is shorter than it was laid out, or cannot be read")
        return pixels.astype(self._dtype.newbyteorder("="), copy=False)

    def write(self, window: Window, pixels: np.ndarray) -> None:
        """Write the pixels of a window, converted to the dtype of the file."""
        pixels, width = np.ascontiguousarray(pixels, dtype=self._dtype), self.shape[1]
        # Whole rows of the file lie behind each other.
        step = max(window.height, 1) if window.width == width else 1
        for row in range(0, window.height, step):
            start = self._start + ((window.y + row) * width + window.x) * self._dtype.itemsize
            write_at(self._file, pixels[row : row + step].data.cast("B"), start)


ScratchArray = ScratchMemory | FilePixels
"""Pixels that are read and written by window."""


class ScratchFile(FilePixels, AbstractContextManager):
    """int32 pixels in a temporary file without a name, 0 where never written.

    The file disappears with the process, whatever ends it.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels.
    directory : path or None
        Where the file lies; None takes the system's directory for temporary files.

    Raises
    ------
    OSError
        There is no room or no permission.
    """

    def __init__(self, shape: tuple[int, int], directory: str | Path | None = None) -> None:
        self._temporary = tempfile.TemporaryFile(dir=directory, prefix=".morpheus-", buffering=0)  # noqa: SIM115
        os.truncate(self._temporary.fileno(), shape[0] * shape[1] * 4)
        super().__init__(self._temporary.fileno(), shape, np.dtype(np.int32))

    def close(self) -> None:
        """Give the disk space back."""
        self._temporary.close()

    def __exit__(self, *error: object) -> None:
        self.close()


def check_labels(labels: Any, shape: tuple[int, int]) -> np.ndarray:
    """A label map as the rest of the package takes it.

    Parameters
    ----------
    labels : array_like of int
        Shape ``(y, x)``. Negative labels (unclassified, in maps of the published package) become sky.
    shape : (int, int)
        Height and width of the image that the labels belong to.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(y, x)``.

    Raises
    ------
    InputError
        Not whole numbers, another shape, or labels too large for int32.

    Warns
    -----
    InputWarning
        It looks like a mask: one label for many areas.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise InputError(f"the label map holds {labels.dtype} values; expected whole numbers, 0 for sky (.astype(int))")
    if labels.shape != tuple(shape):
        raise InputError(f"the label map has shape {labels.shape}, the image {tuple(shape)}; expected the same (y, x)")
    largest = int(labels.max(initial=0))
    if largest > np.iinfo(np.int32).max:
        raise InputError(f"label {largest} does not fit int32; renumber the sources")
    if largest == 1 and (n_parts := ndimage.label(labels > 0, np.ones((3, 3)))[1]) > _MOST_PARTS:
        warn(
            f"the label map has one label for {n_parts} separate areas, which are taken for one source; if it is a "
            "mask, give each its own label (scipy.ndimage.label)"
        )
    return np.maximum(labels, 0).astype(np.int32)


class LabelMap(np.ndarray):
    """A label map that remembers what it was made of, so that `deblend` and `measure` need not be told again.

    It is an int32 array like any other. Whatever is made of it, such as a part, a copy or a mask, remembers nothing.

    Attributes
    ----------
    classification : Classification or None
        Class maps that the sources were found in.
    parents : numpy.ndarray or None
        int32, shape ``(y, x)``: the labels before deblending; None if nothing was deblended.
    """

    classification: Classification | None = None
    parents: np.ndarray | None = None

    @classmethod
    def of(
        cls, labels: np.ndarray, classification: Classification | None, parents: np.ndarray | None = None
    ) -> "LabelMap":
        """The same array, with what it was made of."""
        found = labels.view(cls)
        found.classification, found.parents = classification, parents
        return found

    def __reduce__(self) -> Any:
        """A pickled map remembers too, as one that is sent to another process."""
        return LabelMap.of, (np.asarray(self), self.classification, self.parents)

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        """Results of arithmetic are plain arrays and numbers."""
        return array[()] if return_scalar else np.asarray(array)


@dataclass(frozen=True, eq=False)
class LabelledPixels:
    """The pixels of every source, gathered once so that sums over sources need no loop.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the label map.
    labels : numpy.ndarray
        int32, shape ``(source,)``, ascending.
    y, x : numpy.ndarray
        int64, shape ``(n,)``: rows and columns of the labelled pixels, by source, in raster order within one.
    starts : numpy.ndarray
        int64, shape ``(source,)``: where each source begins in ``y`` and ``x``.
    row, column : numpy.ndarray
        int64, shape ``(n,)``: rows and columns of the pixels in the whole image, where the label map is a piece of one.
    """

    shape: tuple[int, int]
    labels: np.ndarray
    y: np.ndarray
    x: np.ndarray
    starts: np.ndarray
    row: np.ndarray
    column: np.ndarray

    @classmethod
    def gather(cls, labels: np.ndarray, *, origin: tuple[int, int] = (0, 0)) -> "LabelledPixels":
        """Sort the labelled pixels of a checked map, whose first pixel is ``origin`` of the whole image, by source."""
        flat = labels.ravel()
        pixels = np.flatnonzero(flat)
        pixels = pixels[np.argsort(flat[pixels], kind="stable")]
        names, starts = np.unique(flat[pixels], return_index=True)
        y, x = np.divmod(pixels, labels.shape[1])
        return cls(labels.shape, names, y, x, starts, y + origin[0], x + origin[1])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the whole image that the label map begins at."""
        return (int(self.row[0] - self.y[0]), int(self.column[0] - self.x[0])) if len(self) else (0, 0)

    @property
    def boxes(self) -> np.ndarray:
        """int64, shape ``(source, 4)``: first row, first column, last row + 1, last column + 1 in the whole image."""
        if not len(self):
            return np.zeros((0, 4), dtype=np.int64)
        first = [np.minimum.reduceat(place, self.starts) for place in (self.row, self.column)]
        last = [np.maximum.reduceat(place, self.starts) + 1 for place in (self.row, self.column)]
        return np.stack([*first, *last], axis=1)

    @property
    def sizes(self) -> np.ndarray:
        """int64, shape ``(source,)``: pixels of each source."""
        return np.diff(self.starts, append=len(self.y))

    def take(self, plane: np.ndarray) -> np.ndarray:
        """Values of a ``(y, x)`` array on the labelled pixels: shape ``(n,)``."""
        return plane[self.y, self.x]

    def spread(self, values: np.ndarray) -> np.ndarray:
        """One value per source, repeated for its pixels: shape ``(n,)``."""
        return np.repeat(values, self.sizes)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sums over each source of ``(n,)`` values: float64, shape ``(source,)``."""
        if not len(self):
            return np.zeros(0)
        return np.add.reduceat(np.asarray(values, dtype=np.float64), self.starts)

    def any(self, mask: np.ndarray) -> np.ndarray:
        """True where a ``(y, x)`` mask is True anywhere on a source: bool, shape ``(source,)``."""
        return self.sum(self.take(mask)) > 0

    def brightest(self, values: np.ndarray) -> np.ndarray:
        """Index in ``y`` and ``x`` of each source's largest value, the first in raster order: shape ``(source,)``."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        largest = self.spread(np.maximum.reduceat(values, self.starts))
        candidates = np.flatnonzero(values == largest)
        return candidates[np.searchsorted(candidates, self.starts)]


@dataclass(frozen=True, eq=False)
class LabelStore:
    """A label map whose labels change without a change of its pixels.

    Parameters
    ----------
    plane : ScratchArray
        Numbers of the pixels.
    label : numpy.ndarray
        int32, shape ``(number + 1,)``: label that each number stands for; 0 for sky and for what is not a source.
    boxes : numpy.ndarray
        int64, shape ``(source, 4)``: first row, first column, last row + 1, last column + 1 of the source with label
        ``names[i]``.
    names : numpy.ndarray
        int32, shape ``(source,)``: labels in use, ascending.
    """

    plane: ScratchArray
    label: np.ndarray
    boxes: np.ndarray
    names: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray) -> "LabelStore":
        """The store of a checked label map in memory, which stays as it is."""
        numbers = np.zeros(labels.shape, np.int32)
        on_source = labels > 0
        names, numbers[on_source] = np.unique(labels[on_source], return_inverse=True)
        numbers[on_source] += 1
        sides = [
            (rows.start, columns.start, rows.stop, columns.stop) for rows, columns in ndimage.find_objects(numbers)
        ]
        boxes = np.array(sides, dtype=np.int64).reshape(-1, 4)
        return cls(ScratchMemory(numbers), np.concatenate([[0], names]).astype(np.int32), boxes, names)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.plane.shape

    def read(self, window: Window | None = None) -> np.ndarray:
        """Labels in a window, or all of them: int32, shape of the window."""
        return self.label[self.plane.read(window or Window(0, 0, *self.shape))]


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
        # Areas are positive where a ring runs counter-clockwise (Green's theorem).
        is_hole=np.add.reduceat(start[:, 0] * _STEP[direction, 1], first) < 0,
    )


def _boundary_sides(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start corner (x, y), direction and label of every pixel side between a segment and something else.

    The segment lies on the left of each side.
    """
    padded = np.pad(np.maximum(labels, 0), 1)
    inside = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    corner_of_pixel = ((0, 0), (1, 0), (1, 1), (0, 1))
    sides = []
    for heading, (neighbour, corner) in enumerate(zip(neighbours, corner_of_pixel, strict=True)):
        y, x = np.nonzero((inside != neighbour) & (inside > 0))
        sides.append(np.stack([x + corner[0], y + corner[1], np.full(len(x), heading), inside[y, x]], axis=1))
    side = np.concatenate(sides)
    side = side[np.lexsort((side[:, 2], side[:, 0], side[:, 1], side[:, 3]))]
    return side[:, :2], side[:, 2], side[:, 3]


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
    """Number of the ring of each side, and the order that lists ring after ring in walking order."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components, depth_first_order  # takes long to import

    n_sides = len(following)
    ones, starts = np.ones(n_sides, np.int8), np.arange(n_sides + 1)
    _, ring = connected_components(csr_matrix((ones, following, starts)), directed=False)
    first = np.unique(ring, return_index=True)[1]
    # Where a ring closes, the next one is walked.
    path = np.where(following == first[ring], np.roll(first, -1)[ring], following)
    return ring, depth_first_order(csr_matrix((ones, path, starts)), 0, return_predecessors=False)


_OPEN = np.inf
"""Width of a gap that goes on to the edge of the image."""
_LINES = np.array([(1, 0), (0, 1), (1, 1), (1, -1)])
"""Rows and columns from pixel to pixel along a column, a row, and both diagonals."""
_NARROW = 6
"""Pixels across a gap in which the curvature beside it tells the light; beyond, the noise of the sides is blown up."""
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
        back, on = np.empty((2, len(_LINES), len(y)), dtype=np.int64)
        widths = np.empty(back.shape)
        for k, (line, place) in enumerate(((x, y), (y, x), (y - x, y), (y + x, y))):
            order = np.lexsort((place, line))
            back[k, order], on[k, order] = _steps_to_ends(line[order], place[order])
            (dy, dx), is_closed = _LINES[k], np.ones(len(y), dtype=bool)
            for steps in (-back[k], on[k]):
                end_y, end_x = y + steps * dy, x + steps * dx
                is_closed &= (end_y >= 0) & (end_y < missing.shape[0]) & (end_x >= 0) & (end_x < missing.shape[1])
                if near is not None:
                    is_closed[is_closed] = ~missing[end_y[is_closed], end_x[is_closed]]
            widths[k] = np.where(is_closed, (back[k] + on[k] - 1) * np.hypot(dy, dx), _OPEN)
        return cls(y, x, back, on, widths)

    def sides(self, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values of a plane before and after each pixel: shape ``(4, pixel)``; anything where the gap is open."""
        place, steps = np.stack([self.y, self.x])[:, None], _LINES.T[:, :, None]
        edge = np.array(plane.shape)[:, None, None] - 1
        first, last = (np.clip(at, 0, edge) for at in (place - self.back * steps, place + self.on * steps))
        return plane[*first], plane[*last]

    def straight(self, plane: np.ndarray, widths: np.ndarray | None = None) -> np.ndarray:
        """Values on the straight line from side to side along the narrowest ``widths``, or the mean of several."""
        widths = self.widths if widths is None else widths
        first, last = self.sides(plane)
        lines = (first * self.on + last * self.back) / (self.back + self.on)
        return np.average(lines, axis=0, weights=widths == widths.min(axis=0))

    def curved(self, plane: np.ndarray, widths: np.ndarray, floor: float) -> np.ndarray:
        """As `straight`; along a parabola in the logarithm where the two pixels on each side fall from above ``floor``.

        The core of a star is a parabola there, which the straight line cuts off.
        """
        values = self.straight(plane, widths)
        if not values.size or floor == np.inf:
            return values
        along = widths.argmin(axis=0)
        back, on = (np.take_along_axis(steps, along[None], axis=0)[0] for steps in (self.back, self.on))
        steps = np.stack([-back - 1, -back, on, on + 1], axis=1)
        light = plane[
            np.clip(self.y[:, None] + steps * _LINES[along, :1], 0, plane.shape[0] - 1),
            np.clip(self.x[:, None] + steps * _LINES[along, 1:], 0, plane.shape[1] - 1),
        ]
        falls = (light[:, 0] < light[:, 1]) & (light[:, 3] < light[:, 2])
        clear = np.flatnonzero(falls & (light > floor).all(axis=1) & (widths.min(axis=0) <= _NARROW))
        # Errors of logarithms are one over the S/N.
        weight = light[clear, :, None]
        powers = np.stack([steps[clear] ** power for power in range(3)], axis=2)
        solved = np.linalg.pinv(powers * weight) @ (np.log(light[clear, :, None]) * weight)
        values[clear] = np.maximum(values[clear], np.exp(solved[:, 0, 0]))
        return values


def _steps_to_ends(line: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps to the ends of the runs of consecutive pixels, which are sorted by line and place."""
    starts = np.flatnonzero((np.diff(line, prepend=-(2**31)) != 0) | (np.diff(place, prepend=-2) != 1))
    counts = np.diff(starts, append=len(place))
    return place - np.repeat(place[starts] - 1, counts), np.repeat(place[starts] + counts, counts) - place


def fill_gaps(
    labels: np.ndarray, missing: np.ndarray, light: np.ndarray | None = None, *, floor: float = np.inf
) -> tuple[np.ndarray, Any]:
    """Sources and their light across their gaps: missing pixels with the same source on both sides.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``, 0 in missing pixels.
    missing : numpy.ndarray
        bool, shape ``(y, x)``.
    light : numpy.ndarray, optional
        float, shape ``(y, x)``.
    floor : float
        Light of the sides above which it follows their curvature.

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
            light[gaps.y[own], gaps.x[own]] = gaps.curved(light, widths, floor)[own]
        labels[gaps.y[own], gaps.x[own]] = np.take_along_axis(first, along[None], axis=0)[0][own]
    return labels, light
