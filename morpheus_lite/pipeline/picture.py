"""The picture's means over blocks, gathered from what is read and written while an image is classified."""

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
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.protocols import ImageReader, ImageView, MapStore
from morpheus_lite.core.windows import Window
from morpheus_lite.io.mapfile import MapFile
from morpheus_lite.pipeline.preview import Overview, middles, reduced

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
        As in `~morpheus_lite.io.mapfile.MapFile`.
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
