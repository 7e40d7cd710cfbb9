"""Masks that hide much of an image, which mostly means that a bit of theirs is no bad pixel."""

import warnings
from itertools import pairwise

import numpy as np
from scipy import ndimage

from morpheus_lite.core.windows import Window
from morpheus_lite.io.planes import Band, MaskPlane, OpenFiles

MOST_PIXELS = 0.3
"""Share of the pixels with data that a mask may hide without a warning."""
MOST_LIGHT = 0.5
"""Share of the significant light that a mask may hide without a warning."""

_N_BLOCKS, _BLOCK = 5, 128
"""An image is measured whole, a larger one in ``_N_BLOCKS`` x ``_N_BLOCKS`` blocks of ``_BLOCK`` px spread over it."""

_SIGNIFICANT, _BRIGHTEST, _FEWEST = 3.0, 50.0, 30
"""Light counts from and up to these multiples of the scatter of the pixels, where at least so many pixels have some."""


def warn_of_hidden_pixels(band: Band, files: OpenFiles) -> None:
    """Warn where a mask of a band hides much of its pixels, or most of its light.

    Parameters
    ----------
    band : Band
        The band.
    files : OpenFiles
        Files of its planes.
    """
    for mask in band.masks:
        pixels, light = _hidden(band, mask, files)
        if pixels > MOST_PIXELS or light > MOST_LIGHT:
            warnings.warn(
                f"{band.name}: the mask {mask} hides {pixels:.0%} of the pixels and {light:.0%} of the light; "
                f"{_set_bits(band, mask, files)}if that is not meant, choose the bits that make a pixel bad (dq_bits=, "
                "--dq-bits), or leave the mask out (dq=False, --dq none)",
                UserWarning,
                stacklevel=2,
            )


def _hidden(band: Band, mask: MaskPlane, files: OpenFiles) -> tuple[float, float]:
    """Shares of the pixels with data, and of their light, that a mask hides."""
    found = []
    for window in _blocks(band.data.shape):
        data = np.asarray(band.data.read(window, files), float)
        measured = np.isfinite(data) & (data != 0)
        if measured.any():
            # Cosmic rays, hot pixels and marks are not the light of the sky.
            smooth = ndimage.median_filter(np.where(measured, data, np.median(data[measured])), 3)
            found.append((smooth[measured], mask.read(window, files)[measured]))
    if not found:
        return 0.0, 0.0
    light, bad = (np.concatenate(part) for part in zip(*found, strict=True))
    light -= np.median(light)
    scatter = 1.4826 * np.median(np.abs(light))
    light = np.where(light > _SIGNIFICANT * scatter, np.minimum(light, _BRIGHTEST * scatter), 0)
    share = light[bad].sum() / light.sum() if np.count_nonzero(light) >= _FEWEST and light.any() else 0.0
    return float(bad.mean()), float(share)


def _set_bits(band: Band, mask: MaskPlane, files: OpenFiles) -> str:
    """Bits that hide pixels, the most frequent first."""
    shares = np.zeros(64)
    for window in _blocks(band.data.shape):
        values = mask.plane.read(window, files)
        if values.dtype.kind not in "iu":
            return ""
        wanted = np.uint64(2**64 - 1 if mask.bits.bad is None else mask.bits.bad & 2**64 - 1)
        values = values.astype(np.uint64) & wanted
        shares += [np.count_nonzero(values >> np.uint64(bit) & np.uint64(1)) / values.size for bit in range(64)]
    shares /= len(_blocks(band.data.shape))
    often = [int(bit) for bit in np.argsort(-shares, kind="stable")[:4] if shares[bit] > 0]
    return f"its bits are {', '.join(f'{mask.bits.named(1 << bit)} ({shares[bit]:.0%})' for bit in often)}; "


def _blocks(shape: tuple[int, int]) -> list[Window]:
    """The whole image in pieces, or blocks spread evenly where it is larger."""
    rows, columns = (_pieces(length) for length in shape)
    return [Window(y, x, height, width) for y, height in rows for x, width in columns]


def _pieces(length: int) -> list[tuple[int, int]]:
    if length <= _N_BLOCKS * _BLOCK:
        edges = [*range(0, length, _BLOCK), length]
        return [(start, stop - start) for start, stop in pairwise(edges)]
    return [(int(start), _BLOCK) for start in np.linspace(0, length - _BLOCK, _N_BLOCKS)]
