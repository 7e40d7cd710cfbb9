"""Where windows lie on an image: pure functions of shapes, no pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

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

    def coverage(self) -> np.ndarray:
        """How many windows give each pixel a value: int32, shape ``(y, x)``, in closed form."""
        rows, columns = (self._coverage(length) for length in self.shape)
        return np.outer(rows, columns).astype(np.int32)

    def _coverage(self, length: int) -> np.ndarray:
        change = np.zeros(length + 1, dtype=np.int64)
        for start in _starts(length, self.window, self.stride):
            kept = self._kept(int(start), length)
            change[start + kept.start] += 1
            change[start + kept.stop] -= 1
        return np.cumsum(change)[:-1]


def _starts(length: int, window: int, stride: int) -> np.ndarray:
    starts = np.arange(0, length - window + 1, stride)
    last = length - window
    return starts if starts[-1] == last else np.append(starts, last)
