"""Tile-compressed FITS image planes, compressed and written a row of tiles at a time."""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from morpheus_lite.core.windows import Window
from morpheus_lite.io.sections import FITS_BLOCK

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
    rows = [Window(y, 0, min(_TILE, shape[0] - y), shape[1]) for y in range(0, shape[0], _TILE)]
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
