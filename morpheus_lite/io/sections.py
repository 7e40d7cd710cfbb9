"""FITS files of image planes, written by section: laid out in full and filled in any order, or compressed."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from morpheus_lite.core.labels import FilePixels, write_at
from morpheus_lite.core.windows import Window, row_blocks
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
        blocks = [(0, fits.PrimaryHDU(header=primary).header.tostring())]
        end = len(blocks[0][1])
        starts: dict[str, tuple[np.dtype, int]] = {}
        for name, dtype, cards in planes:
            pixels = np.broadcast_to(np.zeros((1, 1), dtype), shape)
            text = fits.ImageHDU(pixels, header=cards, name=name).header.tostring()
            blocks.append((end, text))
            stored, start = np.dtype(dtype).newbyteorder(">"), end + len(text)
            starts[name] = stored, start
            end = start + -(-shape[0] * shape[1] * stored.itemsize // FITS_BLOCK) * FITS_BLOCK
        self._file = path.open("w+b", buffering=0)
        try:
            _reserve(self._file, end)
            for start, text in blocks:
                write_at(self._file.fileno(), text.encode("ascii"), start)
        except BaseException:
            self._file.close()
            raise
        self._planes = {name: FilePixels(self._file.fileno(), shape, *one) for name, one in starts.items()}

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
        self._planes[name].write(window, pixels)

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
        return self._planes[name].read(window or Window(0, 0, *self.shape))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "SectionWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _reserve(file: BinaryIO, length: int) -> None:
    """Give the file its length, and the disk space for it where the file system can promise that."""

    file.truncate(length)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


_TILE = 256
"""Side of the tiles that are compressed one by one, in pixels."""

_LARGEST_OFFSET = 2**31 - 1


def write_compressed_plane(
    file: BinaryIO,
    name: str,
    dtype: str,
    cards: fits.Header,
    shape: tuple[int, int],
    read: Callable[[Window], np.ndarray],
) -> None:
    """Append one image plane to a FITS file, tile-compressed without loss (GZIP_2 for float32, RICE_1 for integers).

    Parameters
    ----------
    file : binary file
        Open for writing, at the end of what it holds: a whole number of FITS blocks.
    name, dtype, cards
        EXTNAME, dtype and further cards of the plane.
    shape : (int, int)
        Height and width in pixels.
    read : callable
        ``read(window)``: the pixels of a window of full width, shape ``(y, x)``. No more than `_TILE` rows are asked
        for at once, from the top down.

    Notes
    -----
    A compressed plane is a table with a row per tile, which says where its bytes lie. Every row
    of tiles is compressed by astropy as an image of its own; its bytes are appended, and the table and the header are
    filled in at the end.
    """
    start = file.tell()
    rows = list(row_blocks(shape, _TILE))
    n_tiles = len(rows) * -(-shape[1] // _TILE)
    # 32-bit offsets are what every reader knows; 64-bit ones only where the plane may need them.
    offsets = np.dtype(">i4" if 1.1 * shape[0] * shape[1] * np.dtype(dtype).itemsize < _LARGEST_OFFSET else ">i8")
    table = np.zeros((n_tiles, 2), offsets)
    done = heap = 0
    header = fits.Header()
    for band, descriptors, content in _compressed(rows, name, dtype, cards, read):
        if not done:
            header = band
            file.write(b" " * len(header.tostring()) + table.tobytes())
        table[done : done + len(descriptors)] = descriptors + np.array([0, heap])
        file.write(content)
        done, heap = done + len(descriptors), heap + len(content)
    file.write(bytes(-(table.nbytes + heap) % FITS_BLOCK))
    end = file.tell()
    letter = "P" if offsets.itemsize == 4 else "Q"
    header["TFORM1"] = f"1{letter}B({table[:, 0].max()})"
    header["NAXIS1"], header["NAXIS2"], header["PCOUNT"] = 2 * offsets.itemsize, n_tiles, heap
    header["ZNAXIS2"], header["ZTILE2"] = shape[0], min(_TILE, shape[0])
    file.seek(start)
    file.write(header.tostring().encode("ascii") + table.tobytes())
    file.seek(end)


def _compressed(
    rows: list[Window], name: str, dtype: str, cards: fits.Header, read: Callable[[Window], np.ndarray]
) -> Iterator[tuple[fits.Header, np.ndarray, bytes]]:
    """Compress each row of tiles: its header, the table ``(tile, 2)`` of lengths and offsets, and the bytes."""
    lossless = {"compression_type": "GZIP_2", "quantize_level": 0.0} if dtype == "f4" else {}
    for window in rows:
        pixels = np.ascontiguousarray(read(window), dtype=dtype)
        tile = tuple(min(_TILE, length) for length in pixels.shape)
        buffer = BytesIO()
        hdu = fits.CompImageHDU(pixels, cards, name, tile_shape=tile, **lossless)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
        stored = buffer.getvalue()
        with fits.open(BytesIO(stored), disable_image_compression=True) as hdus:
            header, first = hdus[1].header.copy(), hdus[1].fileinfo()["datLoc"]
        length = header["NAXIS1"] * header["NAXIS2"]
        table = np.frombuffer(stored[first : first + length], ">i4").reshape(-1, 2)
        yield header, table.astype(np.int64), stored[first + length : first + length + header["PCOUNT"]]
