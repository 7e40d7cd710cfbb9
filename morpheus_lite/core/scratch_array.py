"""Whole numbers, read and written by window: what work by blocks must remember of every pixel."""

import os
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np

from morpheus_lite.core.windows import Window

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
