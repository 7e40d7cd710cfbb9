"""Label maps: arrays of labels, and maps of any size that are read by window."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from scipy import ndimage

from morpheus_lite.core.classification import Classification
from morpheus_lite.core.protocols import ScratchArray
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError

_DTYPE = np.dtype(np.int32)


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


class ScratchFile:
    """int32 pixels in a temporary file without a name, 0 where never written.

    The file disappears with the process, whatever ends it. It is read and written, not mapped: mapped pages would
    count as memory of the process. May be used from several threads.

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
        self.shape = shape
        self._file = tempfile.TemporaryFile(dir=directory, prefix=".morpheus-", buffering=0)  # noqa: SIM115
        os.truncate(self._file.fileno(), shape[0] * shape[1] * _DTYPE.itemsize)

    def read(self, window: Window) -> np.ndarray:
        """Pixels of a window: int32, shape of the window."""
        pixels = np.empty(window.shape, _DTYPE)
        for rows, start in self._runs(window):
            part = pixels[rows].reshape(-1).data.cast("B")
            while len(part):
                count = os.preadv(self._file.fileno(), [part], start)
                if not count:
                    raise OSError(f"the temporary file of {self.shape} pixels is shorter than it was made")
                part, start = part[count:], start + count
        return pixels

    def write(self, window: Window, pixels: np.ndarray) -> None:
        """Write the pixels of a window."""
        pixels = np.ascontiguousarray(pixels, dtype=_DTYPE)
        for rows, start in self._runs(window):
            part = pixels[rows].reshape(-1).data.cast("B")
            while len(part):
                written = os.pwrite(self._file.fileno(), part, start)
                part, start = part[written:], start + written

    def _runs(self, window: Window) -> list[tuple[slice, int]]:
        """Rows of a window that lie behind each other in the file, and where they begin."""
        width, size = self.shape[1], _DTYPE.itemsize
        if window.width == width:
            return [(slice(None), window.y * width * size)]
        rows = range(window.height)
        return [(slice(row, row + 1), ((window.y + row) * width + window.x) * size) for row in rows]

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def __enter__(self) -> "ScratchFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"the label map holds {labels.dtype} values; expected whole numbers, 0 for sky (convert: .astype(int))"
        )
    if labels.shape != tuple(shape):
        raise InputError(f"the label map has shape {labels.shape}, the image {tuple(shape)}; expected the same (y, x)")
    largest = int(labels.max(initial=0))
    if largest > np.iinfo(np.int32).max:
        raise InputError(f"label {largest} does not fit int32; renumber the sources")
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
        int32, shape ``(number + 1,)``: label that each number stands for; 0 for sky and for what is no source.
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
