"""The products of one image: their names, and their writing from an image and class maps that are read by section.

Pictures are drawn from block means, which are read or gathered while the image is classified, and from close-ups.
"""

import math
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage, wcs_of_blocks
from morpheus_lite.core.protocols import ImageReader, MapStore
from morpheus_lite.core.windows import Window, block_sums, row_blocks
from morpheus_lite.errors import OptionError
from morpheus_lite.io import write_catalog, write_regions
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.maps import export_maps
from morpheus_lite.runtime.resources import Start
from morpheus_lite.visualization.colours import hex_colours


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
    return PictureBlocks(source.shape, step, ("probability", "vote", "variance")).drawn(source, maps, table)


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
    """Means over blocks of an image and its class maps, gathered as these are read and written, or read afterwards.

    Windows may be added from several threads, in any order. As blocks are a power of two pixels wide, tiles are whole
    blocks, and the sums do not depend on the order.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    step : int, optional
        Side of a block in pixels; what `picture_step` says if not given.
    planes : sequence of str, optional
        Class maps to keep of those that there are; the rank votes, or else the mean probabilities, if not given.
    """

    def __init__(self, shape: tuple[int, int], step: int | None = None, planes: Sequence[str] = ()) -> None:
        self.shape, self.step, self.planes = shape, step or picture_step(shape), planes
        self._lock = threading.Lock()
        self._planes: dict[str, dict[str, np.ndarray]] = {}
        self._n_seen: Counter[str] = Counter()
        self._image: SkyImage | None = None

    def add_image(self, window: Window, image: SkyImage) -> None:
        """Add a window of the image."""
        self._image = self._image or image
        light = image.data if image.valid.all() else np.where(image.valid, image.data, np.float32(0))
        self._add("image", window, light=light, valid=image.valid)

    def add_maps(self, window: Window, maps: Classification) -> None:
        """Add a window of the class maps."""
        classified = maps.classified
        names = self.planes or ["probability" if maps.vote is None else "vote"]
        planes = {name: plane for name in names if (plane := getattr(maps, name)) is not None}
        if not classified.all():
            planes = {name: np.where(classified[:, :, None], plane, np.float32(0)) for name, plane in planes.items()}
        self._add("maps", window, classified=classified, **planes)

    def drawn(self, image: ImageReader, maps: MapStore, table: QTable) -> Overview:
        """Planes that the picture is drawn from; the labels, and what was not added, are read."""
        rows = list(row_blocks(self.shape, self.step * max(1, 256 // self.step)))
        if self._forgets_part("image"):
            for window in rows:
                self.add_image(window, image.read(window))
        if self._forgets_part("maps"):
            wanted = ("mean", "vote", "coverage", "flags", *self.planes)
            shown = tuple(kind for kind in maps.kinds if kind in wanted)
            for window in rows:
                self.add_maps(window, maps.read(window, shown))
        columns = middles(self.shape[1], self.step)
        read = (maps.read_plane("SEGMENTATION", window) for window in rows)
        labels = np.concatenate([part[np.ix_(middles(len(part), self.step), columns)] for part in read])
        head = self._image
        assert head is not None
        wcs = None if image.wcs is None else wcs_of_blocks(image.wcs, self.step)
        light, n_valid = self._planes["image"]["light"], self._planes["image"]["valid"]
        data = np.divide(light, np.maximum(n_valid, 1), dtype=np.float32)
        seen = replace(head, data=data, valid=n_valid > 0, rms=None, wcs=wcs)
        counts = self._planes["maps"]
        n_classified = counts["classified"]
        with np.errstate(invalid="ignore"):
            means = {
                name: np.divide(counts[name], n_classified[:, :, None], dtype=np.float32)
                for name in counts
                if name != "classified"
            }
        known = n_classified > 0
        mean = means.pop("probability", means.get("vote"))
        planes = {"mean": mean, "coverage": known.astype(np.int32), **means}
        classes = Classification.of_planes(planes, wcs=wcs, provenance=maps.provenance)
        return Overview(seen, classes, labels, reduced(table, self.step), self.step)

    def _add(self, kind: str, window: Window, **planes: np.ndarray) -> None:
        first = window.y // self.step, window.x // self.step
        sums = {name: block_sums(plane, (window.y, window.x), self.step) for name, plane in planes.items()}
        with self._lock:
            planes = self._planes.setdefault(kind, {})
            for name, part in sums.items():
                if name not in planes:
                    blocks = [-(-length // self.step) for length in self.shape]
                    planes[name] = np.zeros((*blocks, *part.shape[2:]), part.dtype)
                planes[name][first[0] : first[0] + part.shape[0], first[1] : first[1] + part.shape[1]] += part
            self._n_seen[kind] += math.prod(window.shape)

    def _forgets_part(self, kind: str) -> bool:
        """Forget the windows that were added if some were not, so that all are read; say whether."""
        if self._n_seen[kind] == math.prod(self.shape):
            return False
        self._planes.pop(kind, None)
        self._n_seen[kind] = 0
        return True


@cache
def prepare_drawing() -> None:
    """Do all that can be done before there is anything to draw, once: it takes as long as drawing."""
    from morpheus_lite.visualization.plots.summary import warm_up

    warm_up()


MAX_DRAWN = 2048**2
"""Images of more pixels are drawn from block means, which keeps the memory of a run apart from the image's size."""

N_STAMPS = 32
"""How many of the brightest sources are on the sheet of stamps."""

BYTES_DRAWN = 160
"""Bytes of memory per pixel that a report takes, about."""

LONGEST_PRODUCT_NAME = 200
"""Bytes of the first part of a product's name; file systems allow 255 for the whole."""


def product_paths(name: str, directory: Path, options: ClassifyOptions) -> dict[str, Path]:
    """Paths of the products of an image called ``name``.

    Raises
    ------
    OptionError
        No file can have such a name.
    """
    if not name or Path(name).name != name or "\0" in name or len(os.fsencode(name)) > LONGEST_PRODUCT_NAME:
        raise OptionError(
            f"name {name[:60]!r}: expected the first part of a file name, "
            f"at most {LONGEST_PRODUCT_NAME} bytes and no directory"
        )
    files = {
        "maps": f"{name}_morpheus.fits",
        "catalog": f"{name}_catalog.{options.catalog_format}",
        "picture": f"{name}_summary.png",
        "stamps": f"{name}_stamps.png",
        "regions": f"{name}_sources.reg",
        "report": f"{name}_report.html",
    }
    return {product: directory / files[product] for product in options.products}


def write_products(
    paths: dict[str, Path],
    source: ImageSource,
    maps: MapStore,
    table: QTable | None,
    options: ClassifyOptions,
    *,
    memory: float,
    run: dict[str, Any],
    blocks: PictureBlocks | None = None,
    start: Start = partial,
) -> None:
    """Write the products that have a path.

    Parameters
    ----------
    paths : dict
        Product name to path.
    source : ImageSource
        The image.
    maps : MapStore
        Its class maps, with the label map. Their file may be the product itself.
    table : astropy.table.QTable or None
        The catalogue; None if no product tells of sources.
    options : ClassifyOptions
        Format and names of the columns of the catalogue; planes and compression of the maps.
    memory : float
        Bytes of memory that may be used.
    run : dict
        What the report tells of the run.
    blocks : PictureBlocks, optional
        What the picture is drawn from; what it has not seen is read.
    start : callable
        Starts to draw the picture, as a process does that `~morpheus_lite.runtime.resources.process_beside` forked.
    """

    waiting = None
    if "picture" in paths:
        drawn = (blocks or PictureBlocks(source.shape)).drawn(source, maps, table)
        waiting = start(_write_picture, paths["picture"], drawn)
    if "catalog" in paths:
        from morpheus_lite.catalog import sextractor_columns

        named = sextractor_columns(table) if options.columns == "sextractor" else table
        write_catalog(named, paths["catalog"], overwrite=True)
    if waiting is not None:
        waiting()
    if "stamps" in paths:
        _write_stamps(paths["stamps"], source, maps, table)
    fitting = max(MAX_DRAWN, int(memory / BYTES_DRAWN))
    if "regions" in paths:
        _write_regions(paths["regions"], source, maps, table, outlines=math.prod(source.shape) <= fitting)
    if "report" in paths:
        from morpheus_lite.visualization.html_report import write_report

        drawn = overview(source, maps, table, fitting)
        reduced = drawn.step > 1
        told = {**run, "pixels_of_the_image_in_one_of_this_page": drawn.step**2} if reduced else run
        write_report(
            drawn.image, drawn.classification, drawn.labels, drawn.table, paths["report"], is_reduced=reduced, run=told
        )
    if "maps" in paths and not paths["maps"].exists():
        export_maps(maps, paths["maps"], options.planes, compress=options.compress)


def _write_picture(path: Path, drawn: Overview) -> None:
    from morpheus_lite.visualization.plots import save_summary

    shown = drawn.image, drawn.classification, drawn.labels, drawn.table
    # What a process that died left is written over.
    save_summary(*shown, path, step=drawn.step, overwrite=True)


def _write_stamps(path: Path, source: ImageSource, maps: MapStore, table: QTable) -> None:
    from morpheus_lite.visualization.plots import LARGEST_STAMP, choose_sources, plot_stamp_sheet
    from morpheus_lite.visualization.plots.figures import save_figure

    rows = [row for row in choose_sources(table, N_STAMPS) if math.isfinite(float(table["x_centroid"].value[row]))]
    shown = close_ups(source, maps, table, rows, LARGEST_STAMP)
    save_figure(plot_stamp_sheet(shown.image, shown.labels, shown.table, rows=range(len(rows))), path, dpi=160)


def _write_regions(path: Path, source: ImageSource, maps: MapStore, table: QTable, *, outlines: bool) -> None:
    wcs = source.wcs
    frame = "image" if wcs is None or not wcs.has_celestial else "sky"
    labels = maps.read_plane("SEGMENTATION") if outlines else None
    write_regions(table, path, labels=labels, wcs=wcs, frame=frame, colors=hex_colours("legible"))
