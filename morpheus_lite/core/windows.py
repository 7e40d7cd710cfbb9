"""Layout of windows on an image: pure functions of shapes, no pixels."""

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

    @property
    def starts(self) -> tuple[np.ndarray, np.ndarray]:
        """First rows and first columns of the windows, ascending."""
        rows, columns = (_starts(length, self.window, self.stride) for length in self.shape)
        return rows, columns

    def __len__(self) -> int:
        rows, columns = self.starts
        return len(rows) * len(columns)

    def __iter__(self) -> Iterator[Window]:
        rows, columns = self.starts
        for y in rows:
            for x in columns:
                yield Window(int(y), int(x), self.window, self.window)

    def kept(self, window: Window) -> tuple[slice, slice]:
        """The part of a window's prediction that counts, as an index into the prediction."""
        return (
            self._kept(window.y, self.shape[0]),
            self._kept(window.x, self.shape[1]),
        )

    def _kept(self, start: int, length: int) -> slice:
        classify = self.edges == "classify"
        first = 0 if classify and start == 0 else self.margin
        last = self.window if classify and start + self.window == length else self.window - self.margin
        return slice(first, last)

    def windows(self, region: Window | None = None) -> Windows:
        """The windows that give pixels of a region (the whole image if not given) a value, row by row."""
        region = region or Window(0, 0, *self.shape)
        y, top, bottom = self._along(self.shape[0], region.y, region.height)
        x, left, right = self._along(self.shape[1], region.x, region.width)
        n_rows, n_columns = len(y), len(x)
        return Windows(
            np.repeat(y, n_columns),
            np.tile(x, n_rows),
            np.repeat(top, n_columns),
            np.repeat(bottom, n_columns),
            np.tile(left, n_rows),
            np.tile(right, n_rows),
        )

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
        starts = _starts(length, self.window, self.stride)
        classify = self.edges == "classify"
        first = np.where(classify & (starts == 0), 0, self.margin)
        last = np.where(classify & (starts + self.window == length), self.window, self.window - self.margin)
        touching = (starts + first < start + size) & (starts + last > start)
        return starts[touching], first[touching], last[touching]

    def coverage(self) -> np.ndarray:
        """Number of windows that give each pixel a value: int32, shape ``(y, x)``, in closed form."""
        rows, columns = (self._coverage(length) for length in self.shape)
        return np.outer(rows, columns).astype(np.int32)

    def _coverage(self, length: int) -> np.ndarray:
        change = np.zeros(length + 1, dtype=np.int64)
        for start in _starts(length, self.window, self.stride):
            kept = self._kept(int(start), length)
            change[start + kept.start] += 1
            change[start + kept.stop] -= 1
        return np.cumsum(change)[:-1]


def tile_windows(shape: tuple[int, int], tile: int) -> Iterator[Window]:
    """The parts of the tiles that count: they cover an image once, and start at multiples of ``tile``."""
    for y in range(0, shape[0], tile):
        for x in range(0, shape[1], tile):
            yield Window(y, x, min(tile, shape[0] - y), min(tile, shape[1] - x))


def _starts(length: int, window: int, stride: int) -> np.ndarray:
    starts = np.arange(0, length - window + 1, stride)
    last = length - window
    return starts if starts[-1] == last else np.append(starts, last)
