"""Pictures of a whole image: block means of all of it, read by section or gathered while it is classified.

Close-ups of some sources belong to them, for the report.
"""

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable
from astropy.wcs import WCS

from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import ImageView, SkyImage
from morpheus_lite.core.protocols import ImageReader, MapStore
from morpheus_lite.core.windows import Window
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.maps import MapFile


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
    count = _block_sums(image.valid.astype(np.float32), (0, 0), step)
    total = _block_sums(np.where(image.valid, image.data, np.float32(0)), (0, 0), step)
    return replace(image, data=total / np.maximum(count, 1), valid=count > 0, rms=None)


def _map_blocks(maps: Classification, step: int) -> Classification:
    """Means over the classified pixels of each block; flags of its first pixel."""
    classified = maps.classified[..., None]
    count = _block_sums(classified.astype(np.float32), (0, 0), step)
    count[count == 0] = np.nan

    def mean(plane: np.ndarray | None) -> Any:
        return None if plane is None else _block_sums(np.where(classified, plane, np.float32(0)), (0, 0), step) / count

    return replace(
        maps,
        probability=mean(maps.probability),
        variance=mean(maps.variance),
        vote=mean(maps.vote),
        coverage=maps.coverage[::step, ::step],
        valid=maps.valid[::step, ::step],
        flags=None if maps.flags is None else maps.flags[::step, ::step],
    )


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


_MOST_ROWS = 2000
_MOST_COLUMNS = 1280
"""Blocks along an image that a picture shows: once to twice as many as it has dots there."""


def picture_step(shape: tuple[int, int]) -> int:
    """Side in pixels of the blocks that a picture of an image is drawn from: a power of two.

    Examples
    --------
    >>> picture_step((1000, 1000)), picture_step((4096, 4096)), picture_step((500, 4000))
    (1, 4, 2)
    """
    height, width = shape
    # Panels of wide images lie one above the other, and each is as wide as the picture.
    n_columns = _MOST_ROWS if width > 1.8 * height else _MOST_COLUMNS
    return 1 << max(math.ceil(math.log2(max(height / _MOST_ROWS, width / n_columns))), 0)


class PictureBlocks:
    """Means over blocks of an image and its class maps, and the labels in the middle of the blocks.

    Windows may be added from several threads, in any order. As blocks are a power of two pixels wide, tiles are whole
    blocks, and the sums do not depend on the order.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.step = shape, picture_step(shape)
        self._lock = threading.Lock()
        self._planes: dict[str, dict[str, np.ndarray]] = {}
        self._n_seen: Counter[str] = Counter()
        self._image: SkyImage | None = None

    def add_image(self, window: Window, image: SkyImage) -> None:
        """Add a window of the image."""
        self._image = self._image or image
        self._add("image", window, light=np.where(image.valid, image.data, np.float32(0)), valid=image.valid)

    def add_maps(self, window: Window, maps: Classification) -> None:
        """Add a window of the class maps: the rank votes if there are any, else the mean probabilities."""
        classified = maps.classified
        planes = maps.probability if maps.vote is None else maps.vote
        name = "probability" if maps.vote is None else "vote"
        shown = np.where(classified[:, :, None], planes, np.float32(0))
        self._add("maps", window, **{name: shown, "classified": classified})

    def add_labels(self, window: Window, labels: np.ndarray) -> None:
        """Add a window of the label map."""
        with self._lock:
            plane = self._plane("labels", "labels", labels)
            rows, columns = (
                middles(length, self.step) - first
                for length, first in zip(self.shape, (window.y, window.x), strict=True)
            )
            inside = [(place >= 0) & (place < side) for place, side in zip((rows, columns), window.shape, strict=True)]
            plane[np.ix_(*inside)] = labels[np.ix_(rows[inside[0]], columns[inside[1]])]
            self._n_seen["labels"] += math.prod(window.shape)

    def drawn(self, image: ImageReader, maps: MapStore, table: QTable) -> Overview:
        """Planes that the picture is drawn from; those that were not added are read."""
        self._read_missing(image, maps)
        head = self._image
        assert head is not None
        wcs = image.wcs
        if wcs is not None:
            wcs = wcs.slice((slice(None, None, self.step), slice(None, None, self.step)))
        light, n_valid = self._planes["image"]["light"], self._planes["image"]["valid"]
        seen = replace(head, data=light / np.maximum(n_valid, 1), valid=n_valid > 0, rms=None, wcs=wcs)
        counts = self._planes["maps"]
        n_classified = counts["classified"]
        with np.errstate(invalid="ignore"):
            shown = counts["vote" if "vote" in counts else "probability"] / n_classified[:, :, None]
        known = n_classified > 0
        classes = Classification(
            shown,
            known.astype(np.int32),
            known,
            vote=shown if "vote" in counts else None,
            wcs=wcs,
            provenance=dict(maps.provenance),
        )
        return Overview(seen, classes, self._planes["labels"]["labels"], reduced(table, self.step), self.step)

    def _add(self, kind: str, window: Window, **planes: np.ndarray) -> None:
        first = window.y // self.step, window.x // self.step
        sums = {name: _block_sums(plane, (window.y, window.x), self.step) for name, plane in planes.items()}
        with self._lock:
            for name, part in sums.items():
                whole = self._plane(kind, name, part)
                whole[first[0] : first[0] + part.shape[0], first[1] : first[1] + part.shape[1]] += part
            self._n_seen[kind] += math.prod(window.shape)

    def _plane(self, kind: str, name: str, like: np.ndarray) -> np.ndarray:
        """The sums of one name, which are made when the first come."""
        planes = self._planes.setdefault(kind, {})
        if name not in planes:
            blocks = [-(-length // self.step) for length in self.shape]
            planes[name] = np.zeros((*blocks, *like.shape[2:]), like.dtype)
        return planes[name]

    def _read_missing(self, image: ImageReader, maps: MapStore) -> None:
        missing = [kind for kind in ("image", "maps", "labels") if self._n_seen[kind] != math.prod(self.shape)]
        for kind in missing:
            self._planes.pop(kind, None)
            self._n_seen[kind] = 0
        height, width = self.shape
        n_rows = self.step * max(1, 256 // self.step)
        for y in range(0, height, n_rows) if missing else ():
            window = Window(y, 0, min(n_rows, height - y), width)
            if "image" in missing:
                self.add_image(window, image.read(window))
            if "maps" in missing:
                shown = tuple(kind for kind in maps.kinds if kind in ("mean", "vote", "coverage", "flags"))
                self.add_maps(window, maps.read(window, shown))
            if "labels" in missing:
                self.add_labels(window, maps.read_plane("SEGMENTATION", window))


@dataclass(frozen=True, eq=False)
class PicturedImage(ImageView):
    """An image each of whose pixels is read once, seen by the blocks of a picture as it is read.

    Parameters
    ----------
    image : ImageReader
        The image.
    blocks : PictureBlocks or None
        What sees it; None where there is no picture.
    """

    blocks: PictureBlocks | None

    def read(self, window: Window, /) -> SkyImage:
        """The pixels of a window."""
        seen = self.image.read(window)
        if self.blocks is not None:
            self.blocks.add_image(window, seen)
        return seen


class PicturedMaps(MapFile):
    """Class maps in a file, seen by the blocks of a picture as they are written.

    Parameters
    ----------
    path, shape, kinds, wcs, provenance
        As in `~morpheus_lite.io.maps.MapFile`.
    blocks : PictureBlocks or None
        What sees them; None where there is no picture.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        kinds: Sequence[str],
        *,
        wcs: WCS | None,
        provenance: Mapping[str, Any],
        blocks: PictureBlocks | None,
    ) -> None:
        super().__init__(path, shape, kinds, wcs=wcs, provenance=provenance)
        self._blocks = blocks

    def write(self, window: Window, classification: Classification) -> None:
        """Write the maps of a window."""
        super().write(window, classification)
        if self._blocks is not None:
            self._blocks.add_maps(window, classification)

    def write_plane(self, name: str, pixels: np.ndarray, window: Window | None = None) -> None:
        """Write a window of one plane, by the name of its HDU."""
        super().write_plane(name, pixels, window)
        if self._blocks is not None and name == "SEGMENTATION":
            self._blocks.add_labels(window or Window(0, 0, *self.shape), pixels)


def _block_sums(plane: np.ndarray, first: tuple[int, int], step: int) -> np.ndarray:
    """Sums over blocks of a plane ``(y, x, ...)`` that begins at a pixel of the image: float32, or int32 of bool.

    One row and column of all blocks at a time is several times as fast as `numpy.add.reduceat`.
    """
    for axis in (0, 1):
        plane = np.moveaxis(plane, axis, 0)
        before = first[axis] % step
        total = np.zeros(
            (-(-(before + len(plane)) // step), *plane.shape[1:]), np.int32 if plane.dtype == bool else plane.dtype
        )
        for k in range(step):
            part = plane[(k - before) % step :: step]
            skipped = int(k < before)
            total[skipped : skipped + len(part)] += part
        plane = np.moveaxis(total, 0, axis)
    return plane
