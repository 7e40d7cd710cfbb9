"""A FITS file of image planes, written and read back by section: laid out in full first, then filled in any order."""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from morpheus_lite.core.windows import Window
from morpheus_lite.errors import OptionError

FITS_BLOCK = 2880
"""FITS headers and data come in blocks of this many bytes."""


class SectionWriter:
    """A FITS file with an empty primary HDU and one image HDU a plane, all of one shape.

    Sections may be written, and read back, from several threads at once. The whole file is reserved on the disk when it
    is opened, so that a disk that is too small is noticed before the work starts. Pixels that are never written read
    as 0.

    Parameters
    ----------
    path : path
        The file to write; replaced if it exists.
    primary : astropy.io.fits.Header
        Cards of the primary header.
    planes : sequence of (str, dtype, astropy.io.fits.Header)
        Name, dtype and further cards of each plane.
    shape : (int, int)
        Height and width in pixels.

    Raises
    ------
    OSError
        There is no room or no permission.
    """

    def __init__(
        self,
        path: Path,
        primary: fits.Header,
        planes: Sequence[tuple[str, np.dtype, fits.Header]],
        shape: tuple[int, int],
    ) -> None:
        self.shape = shape
        self._dtypes = {name: np.dtype(dtype).newbyteorder(">") for name, dtype, _ in planes}
        self._starts: dict[str, int] = {}
        blocks = [(0, fits.PrimaryHDU(header=primary).header.tostring())]
        end = len(blocks[0][1])
        for name, dtype, cards in planes:
            text = plane_header(name, dtype, shape, cards).tostring()
            blocks.append((end, text))
            self._starts[name] = end + len(text)
            n_bytes = shape[0] * shape[1] * self._dtypes[name].itemsize
            end = self._starts[name] + -(-n_bytes // FITS_BLOCK) * FITS_BLOCK
        self._file = path.open("w+b", buffering=0)
        try:
            _reserve(self._file, end)
            for start, text in blocks:
                _write_all(self._file.fileno(), text.encode("ascii"), start)
        except BaseException:
            self._file.close()
            raise

    def write(self, name: str, pixels: np.ndarray, window: Window | None = None) -> None:
        """Write a part of a plane.

        Parameters
        ----------
        name : str
            The plane.
        pixels : numpy.ndarray
            Shape ``(y, x)`` of the window; converted to the plane's dtype.
        window : Window or None
            Where they belong; None for the whole plane.

        Raises
        ------
        OptionError
            The pixels do not have the shape of the window.
        """
        window = window or Window(0, 0, *self.shape)
        if pixels.shape != window.shape:
            raise OptionError(f"{name}: pixels of shape {pixels.shape} do not fill {window}")
        dtype = self._dtypes[name]
        pixels = np.ascontiguousarray(pixels, dtype=dtype)
        for row, step, start in self._runs(name, window):
            _write_all(self._file.fileno(), pixels[row : row + step].data.cast("B"), start)

    def read(self, name: str, window: Window | None = None) -> np.ndarray:
        """Read a part of a plane back.

        Parameters
        ----------
        name : str
            The plane.
        window : Window or None
            Which part; None for the whole plane.

        Returns
        -------
        numpy.ndarray
            Shape ``(y, x)`` of the window, the plane's dtype in the machine's own byte order.
        """
        window = window or Window(0, 0, *self.shape)
        dtype = self._dtypes[name]
        pixels = np.empty(window.shape, dtype)
        for row, step, start in self._runs(name, window):
            _read_all(self._file.fileno(), pixels[row : row + step].data.cast("B"), start)
        return pixels.astype(dtype.newbyteorder("="))

    def _runs(self, name: str, window: Window) -> Iterator[tuple[int, int, int]]:
        """Rows of a window that lie together in the file: the first, how many, and where in the file."""
        width, n_bytes = self.shape[1], self._dtypes[name].itemsize
        # Rows of the file that are written as a whole need one call for many of them.
        step = max(1, (1 << 22) // (width * n_bytes)) if window.width == width else 1
        for row in range(0, window.height, step):
            yield row, step, self._starts[name] + ((window.y + row) * width + window.x) * n_bytes

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "SectionWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def plane_header(name: str, dtype: np.dtype, shape: tuple[int, int], cards: fits.Header) -> fits.Header:
    """Header of an image HDU without its pixels."""
    pixel = np.zeros((1, 1), np.dtype(dtype))
    hdu = fits.ImageHDU(np.broadcast_to(pixel, shape), header=cards, name=name)
    return hdu.header


def _write_all(file: int, content: bytes | memoryview, start: int) -> None:
    """Write at a position of a file; the system may take less than all of it at once."""
    view = memoryview(content)
    while view:
        written = os.pwrite(file, view, start)
        view, start = view[written:], start + written


def _read_all(file: int, view: memoryview, start: int) -> None:
    while view:
        part = os.pread(file, min(len(view), 1 << 22), start)
        if not part:
            raise OSError(errno.EIO, "the file is shorter than it was laid out")
        view[: len(part)] = part
        view, start = view[len(part) :], start + len(part)


def _reserve(file: BinaryIO, length: int) -> None:
    """Give the file its length, and the disk space for it where the file system can promise that."""

    file.truncate(length)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
