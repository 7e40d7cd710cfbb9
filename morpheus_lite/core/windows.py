"""Windows of an image: of a network, of the work by blocks, and around groups of sources. Pure functions of shapes."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from morpheus_lite.errors import InputError, OptionError

EDGES = ("classify", "leave")


@dataclass(frozen=True, order=True)
class Window:
    """A rectangle of pixels: rows ``y`` to ``y + height``, columns ``x`` to ``x + width``."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the window in an array whose first axes are ``(y, x)``."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.height, self.width

    def touches(self, other: "Window") -> bool:
        """True if it shares a pixel with another window."""
        rows = self.y < other.y + other.height and other.y < self.y + self.height
        return rows and self.x < other.x + other.width and other.x < self.x + self.width

    def intersection(self, other: "Window") -> "Window":
        """The pixels that it shares with a window that it touches."""
        y, x = max(self.y, other.y), max(self.x, other.x)
        bottom = min(self.y + self.height, other.y + other.height)
        return Window(y, x, bottom - y, min(self.x + self.width, other.x + other.width) - x)

    def relative_to(self, origin: "Window") -> "Window":
        """The same, in pixels of another window."""
        return Window(self.y - origin.y, self.x - origin.x, self.height, self.width)


@dataclass(frozen=True, eq=False)
class Windows:
    """Many windows of one size, as arrays: where each starts, and which part of its prediction counts.

    Parameters
    ----------
    y, x : numpy.ndarray
        int64, shape ``(n,)``: first row and first column of each window.
    top, bottom, left, right : numpy.ndarray
        int64, shape ``(n,)``: rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of its prediction count.
    """

    y: np.ndarray
    x: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    left: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, which: np.ndarray | slice) -> "Windows":
        """Some of the windows: by index, mask or slice."""
        return Windows(*(getattr(self, f.name)[which] for f in fields(self)))


@dataclass(frozen=True)
class Tiling:
    """Square windows at a fixed stride over an image, and the part of each that counts.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image, in pixels.
    window : int
        Side of a window.
    stride : int
        Step between windows; the last window of a row or column shifts back to the image's edge.
    margin : int
        Border of a window's prediction that is dropped, except where ``edges`` says otherwise.
    edges : {"classify", "leave"}
        ``"classify"`` keeps the margin where a window touches the edge of the image, so that every pixel
        gets a value; ``"leave"`` drops it there too, as the published package does.

    Raises
    ------
    InputError
        The image is smaller than a window.
    OptionError
        The stride would leave holes between the kept parts of neighbouring windows.
    """

    shape: tuple[int, int]
    window: int
    stride: int = 1
    margin: int = 0
    edges: str = "classify"

    def __post_init__(self) -> None:
        inner = self.window - 2 * self.margin
        if self.edges not in EDGES:
            raise OptionError(f"edges={self.edges!r}: expected one of {', '.join(EDGES)}")
        if inner < 1:
            raise OptionError(f"a margin of {self.margin} px leaves nothing of a window of {self.window} px")
        if not 1 <= self.stride <= inner:
            raise OptionError(
                f"stride {self.stride} leaves holes: {inner} of the {self.window} px of a window count, "
                f"so the stride must be between 1 and {inner}"
            )
        if min(self.shape) < self.window:
            raise InputError(
                f"the image is {self.shape[0]} x {self.shape[1]} px (y, x), smaller than one window of "
                f"{self.window} x {self.window} px; pad it, or use a larger cutout"
            )

    def windows(self, region: Window | None = None) -> Windows:
        """The windows that give pixels of a region (the whole image if not given) a value, row by row."""
        region = region or Window(0, 0, *self.shape)
        rows = np.stack(self._along(self.shape[0], region.y, region.height))
        columns = np.stack(self._along(self.shape[1], region.x, region.width))
        y, top, bottom = np.repeat(rows, columns.shape[1], axis=1)
        x, left, right = np.tile(columns, rows.shape[1])
        return Windows(y, x, top, bottom, left, right)

    def reach(self, region: Window) -> Window:
        """The pixels that must be there to classify a region: all that the windows of the region see.

        Raises
        ------
        OptionError
            No window gives any pixel of the region a value (it lies in the border that ``edges="leave"`` leaves).
        """
        y, x = (
            self._along(length, start, size)[0]
            for length, start, size in zip(self.shape, (region.y, region.x), region.shape, strict=True)
        )
        if not len(y) or not len(x):
            raise OptionError(f"no window gives a pixel of {region} a value; choose a region off the image's border")
        return Window(int(y[0]), int(x[0]), int(y[-1] - y[0]) + self.window, int(x[-1] - x[0]) + self.window)

    def _along(self, length: int, start: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Along one axis: starts of the windows that give pixels ``start`` to ``start + size`` a value; kept parts."""
        starts = np.append(np.arange(0, length - self.window, self.stride), length - self.window)
        classify = self.edges == "classify"
        first = np.where(classify & (starts == 0), 0, self.margin)
        last = np.where(classify & (starts + self.window == length), self.window, self.window - self.margin)
        touching = (starts + first < start + size) & (starts + last > start)
        return starts[touching], first[touching], last[touching]


LARGEST_WHOLE = 1 << 21
"""Pixels of the largest image that is taken whole; of larger images about as many pixels are sampled."""
CELL = 128
"""Side of a sampled cell in pixels: 128 of them make a sample."""


def sample_windows(shape: tuple[int, int]) -> tuple[Window, ...]:
    """Choose windows in which to measure a number that holds for the whole image.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels.

    Returns
    -------
    tuple of Window
        The whole image up to `LARGEST_WHOLE` pixels; else cells of `CELL` pixels per side on an even grid, row by row.
        They depend on the shape alone, so the sample is the same for any size of the pieces that are read.

    Examples
    --------
    >>> len(sample_windows((1000, 1000))), len(sample_windows((12288, 12288)))
    (1, 121)
    """
    height, width = shape
    if height * width <= LARGEST_WHOLE:
        return (Window(0, 0, height, width),)
    wanted = LARGEST_WHOLE / CELL**2
    n_rows = max(1, min(round((wanted * height / width) ** 0.5), height // CELL))
    return even_windows(shape, CELL, (n_rows, int(wanted / n_rows)))


def even_windows(shape: tuple[int, int], side: int, most: tuple[int, int]) -> tuple[Window, ...]:
    """Choose windows of ``side`` pixels on an even grid, row by row, at most so many along each axis."""
    sides = [min(side, length) for length in shape]
    counts = [max(1, min(wanted, length // side)) for wanted, length in zip(most, shape, strict=True)]
    rows, columns = (
        [(2 * k + 1) * length // (2 * count) - own // 2 for k in range(count)]
        for length, count, own in zip(shape, counts, sides, strict=True)
    )
    return tuple(Window(y, x, *sides) for y in rows for x in columns)


BLOCK = 1024
"""Side of a block in pixels, if memory allows: no result depends on it."""


def block_side(workers: int) -> int:
    """Side of the blocks of an image in memory: smaller ones where processes share them."""
    return BLOCK if workers == 1 else BLOCK // 4


@dataclass(frozen=True, eq=False)
class SourceGroup:
    """Sources that are worked on together.

    Parameters
    ----------
    window : Window
        Holds all of their bounding boxes and margins, as far as the image reaches.
    members : numpy.ndarray
        int64, shape ``(n,)``: their rows in the list of boxes.
    """

    window: Window
    members: np.ndarray


def tiles(shape: tuple[int, int], side: int) -> Iterator[Window]:
    """Windows of ``side`` pixels that cover an image once, row by row."""
    return pieces(Window(0, 0, *shape), side)


def block_sums(plane: np.ndarray, first: tuple[int, int], step: int) -> np.ndarray:
    """Sums over blocks of a plane ``(y, x, ...)`` that begins at a pixel of the image: float32, or int32 of bool.

    One row and column of all blocks at a time is several times as fast as `numpy.add.reduceat`.
    """
    if plane.dtype == bool:
        plane = plane.view(np.uint8)  # blocks are less than 256 pixels long
    for axis in (0, 1):
        before, take = first[axis] % step, (slice(None),) * axis
        shape = list(plane.shape)
        shape[axis] = -(-(before + shape[axis]) // step)
        # The sums lie in memory as the plane does, and are added up in its order.
        total = np.zeros_like(plane, np.int32 if axis and plane.dtype == np.uint8 else None, shape=shape)
        for k in range(step):
            part, skipped = plane[(*take, slice((k - before) % step, None, step))], int(k < before)
            total[(*take, slice(skipped, skipped + part.shape[axis]))] += part
        plane = total
    return plane


def block_mean(plane: np.ndarray, step: int) -> np.ndarray:
    """Mean over blocks of pixels of a plane ``(y, x, ...)``, NaN left out: float32, NaN where a block has no other."""
    if step == 1:
        return plane
    finite = np.isfinite(plane)
    total, count = (block_sums(one, (0, 0), step) for one in (np.where(finite, plane, np.float32(0)), finite))
    return np.where(count > 0, np.divide(total, np.maximum(count, 1), dtype=np.float32), np.float32(np.nan))


def row_blocks(shape: tuple[int, int], n_rows: int = 256) -> Iterator[Window]:
    """Windows of full width that cover an image once, from the top down."""
    return pieces(Window(0, 0, *shape), (n_rows, shape[1]))


def pieces(window: Window, side: int | tuple[int, int]) -> Iterator[Window]:
    """Windows of ``side`` pixels, or of a height and a width, that cover a window once, row by row."""
    height, width = side if isinstance(side, tuple) else (side, side)
    for y in range(0, window.height, height):
        for x in range(0, window.width, width):
            yield Window(window.y + y, window.x + x, min(height, window.height - y), min(width, window.width - x))


def grown(window: Window, margin: int, shape: tuple[int, int]) -> Window:
    """A window with a margin on all sides, cut at the edge of the image."""
    top, left = max(window.y - margin, 0), max(window.x - margin, 0)
    bottom = min(window.y + window.height + margin, shape[0])
    right = min(window.x + window.width + margin, shape[1])
    return Window(top, left, bottom - top, right - left)


def inside(window: Window, larger: Window) -> tuple[slice, slice]:
    """Index of a window in the pixels of a larger one."""
    return window.relative_to(larger).slices


def source_groups(
    boxes: np.ndarray, margins: np.ndarray | int, shape: tuple[int, int], side: int
) -> Iterator[SourceGroup]:
    """Sources by the tile that their bounding box begins in; those longer than half a tile each on its own.

    Parameters
    ----------
    boxes : numpy.ndarray
        int64, shape ``(source, 4)``: first row, first column, last row + 1, last column + 1.
    margins : numpy.ndarray or int
        Pixels around each box, shape ``(source,)``.
    shape : (int, int)
        Height and width of the image.
    side : int
        Side of a tile.
    """
    margins = np.broadcast_to(margins, len(boxes))[:, None]
    reach = np.concatenate([boxes[:, :2] - margins, boxes[:, 2:] + margins], axis=1)
    reach = np.clip(reach, 0, np.tile(shape, 2))
    long = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) > side // 2
    cell = (boxes[:, 0] // side) * (shape[1] // side + 1) + boxes[:, 1] // side
    # Long ones get a cell of their own, behind the others.
    cell = np.where(long, cell.max(initial=0) + 1 + np.arange(len(boxes)), cell)
    order = np.argsort(cell, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
        if len(members):
            top, left = reach[members, :2].min(axis=0).tolist()
            bottom, right = reach[members, 2:].max(axis=0).tolist()
            yield SourceGroup(Window(top, left, bottom - top, right - left), members)
