"""Previews of an image that is read by section: block means of all of it, and close-ups of some sources."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.protocols import MapStore
from morpheus_lite.core.windows import Window
from morpheus_lite.io.image_reader import ImageSource


@dataclass(frozen=True, eq=False)
class Overview:
    """An image and what was found in it, reduced to what can be drawn.

    Parameters
    ----------
    image : SkyImage
        Means over blocks of ``step`` x ``step`` pixels.
    classification : Classification
        The same of the class maps.
    labels : numpy.ndarray
        int32, shape ``(y, x)``: the label in the middle of each block.
    table : astropy.table.QTable
        The catalogue, with positions and lengths in blocks.
    step : int
        1 where nothing was reduced.
    """

    image: SkyImage
    classification: Classification
    labels: np.ndarray
    table: QTable
    step: int


def overview(source: ImageSource, maps: MapStore, table: QTable, max_pixels: int) -> Overview:
    """Image, class maps, labels and catalogue, reduced to at most ``max_pixels`` pixels, a band of rows at a time."""
    step = math.ceil(math.sqrt(math.prod(source.shape) / max_pixels))
    if step <= 1:
        return Overview(source.read(), maps.read(), maps.read_plane("SEGMENTATION"), table, 1)
    height, width = source.shape
    rows = step * max(1, 256 // step)
    bands = [Window(y, 0, min(rows, height - y), width) for y in range(0, height, rows)]
    images = [_image_blocks(source.read(band), step) for band in bands]
    classified = [_map_blocks(maps.read(band), step) for band in bands]
    columns = middles(width, step)
    labels = [maps.read_plane("SEGMENTATION", band)[middles(band.height, step)][:, columns] for band in bands]
    wcs = None if source.wcs is None else source.wcs.slice((slice(None, None, step), slice(None, None, step)))
    image = replace(
        images[0],
        data=np.concatenate([part.data for part in images]),
        valid=np.concatenate([part.valid for part in images]),
        wcs=wcs,
    )
    names = ("probability", "coverage", "valid", "variance", "vote", "flags")
    joined: dict[str, Any] = {
        name: None if getattr(classified[0], name) is None else np.concatenate([getattr(c, name) for c in classified])
        for name in names
    }
    classification = Classification(**joined, wcs=wcs, provenance=dict(maps.provenance))
    return Overview(image, classification, np.concatenate(labels), reduced(table, step), step)


@dataclass(frozen=True, eq=False)
class CloseUps:
    """The surroundings of some sources at full resolution, one below the other in one image.

    Parameters
    ----------
    image : SkyImage
        Squares of pixels; invalid where they reach beyond the image.
    labels : numpy.ndarray
        int32, shape ``(y, x)``: the label map of the same pixels.
    table : astropy.table.QTable
        The rows of these sources, with positions in the squares.
    """

    image: SkyImage
    labels: np.ndarray
    table: QTable


def close_ups(
    source: ImageSource, maps: MapStore, table: QTable, rows: Sequence[int] | np.ndarray, side: int
) -> CloseUps:
    """Squares of ``side`` pixels around the sources in some rows of a catalogue, and none but them in memory."""
    table = table[np.asarray(rows, dtype=int)].copy(copy_data=True)
    height = side * max(len(table), 1)
    pixel = source.read(Window(0, 0, 1, 1))
    data = np.zeros((height, side, source.n_bands), pixel.data.dtype)
    valid, labels = np.zeros(data.shape, bool), np.zeros((height, side), np.int32)
    for k in range(len(table)):
        top, left = (round(_plain(table[name][k])) - side // 2 for name in ("y_centroid", "x_centroid"))
        bottom, right = min(top + side, source.shape[0]), min(left + side, source.shape[1])
        window = Window(max(top, 0), max(left, 0), bottom - max(top, 0), right - max(left, 0))
        place = Window(k * side + window.y - top, window.x - left, *window.shape)
        seen = source.read(window)
        data[place.slices], valid[place.slices] = seen.data, seen.valid
        labels[place.slices] = maps.read_plane("SEGMENTATION", window)
        for name, start in (("y_centroid", top - k * side), ("x_centroid", left)):
            table[name][k] -= start * (getattr(table[name], "unit", None) or 1)
    return CloseUps(replace(pixel, data=data, valid=valid, rms=None, wcs=None), labels, table)


def _plain(value: Any) -> float:
    return float(getattr(value, "value", value))


def _image_blocks(image: SkyImage, step: int) -> SkyImage:
    """Means of the valid pixels of each block."""
    count = _block_sums(image.valid.astype(np.float32), step)
    total = _block_sums(np.where(image.valid, image.data, np.float32(0)), step)
    return replace(image, data=total / np.maximum(count, 1), valid=count > 0, rms=None)


def _map_blocks(maps: Classification, step: int) -> Classification:
    """Means over the classified pixels of each block; flags of its first pixel."""
    classified = maps.classified[..., None]
    count = _block_sums(classified.astype(np.float32), step)
    count[count == 0] = np.nan

    def mean(plane: np.ndarray | None) -> Any:
        return None if plane is None else _block_sums(np.where(classified, plane, np.float32(0)), step) / count

    return replace(
        maps,
        probability=mean(maps.probability),
        variance=mean(maps.variance),
        vote=mean(maps.vote),
        coverage=maps.coverage[::step, ::step],
        valid=maps.valid[::step, ::step],
        flags=None if maps.flags is None else maps.flags[::step, ::step],
    )


def _block_sums(array: np.ndarray, step: int) -> np.ndarray:
    """Sums over blocks of an array ``(y, x, ...)``; blocks at the far edges may be smaller."""
    for axis in (0, 1):
        array = np.add.reduceat(array, np.arange(0, array.shape[axis], step), axis=axis)
    return array


def middles(length: int, step: int) -> np.ndarray:
    """The pixels in the middle of the blocks along one axis."""
    return np.minimum(np.arange(0, length, step) + step // 2, length - 1)


_POSITIONS = ("x_centroid", "y_centroid")
_LENGTHS = ("semimajor_axis", "semiminor_axis")


def reduced(table: QTable, step: int) -> QTable:
    """The catalogue with positions and lengths in blocks, as far as pictures use them."""
    table = table.copy(copy_data=True)
    for name in (*_POSITIONS, *_LENGTHS):
        if name in table.colnames:
            middle = (step - 1) / 2 if name in _POSITIONS else 0.0
            table[name] = (table[name] - middle * (getattr(table[name], "unit", None) or 1)) / step
    return table
