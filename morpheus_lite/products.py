"""The products of one image: their names, and their writing from an image and class maps that are read by section."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.catalog import sextractor_columns
from morpheus_lite.classification import Classification
from morpheus_lite.display import hex_colours, save_summary
from morpheus_lite.image import SkyImage
from morpheus_lite.io import write_catalog, write_regions
from morpheus_lite.io.mapfile import MapFile
from morpheus_lite.io.source import ImageSource
from morpheus_lite.options import ClassifyOptions
from morpheus_lite.report import write_report
from morpheus_lite.tiling import Window

MAX_DRAWN = 2048**2
"""Images of more pixels are drawn from block means, which keeps the memory of a run apart from the image's size."""

BYTES_DRAWN = 160
"""Bytes of memory a pixel that a report takes, about."""


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


def product_paths(name: str, directory: Path, options: ClassifyOptions) -> dict[str, Path]:
    """Where the products of an image called ``name`` go."""
    files = {
        "maps": f"{name}_morpheus.fits",
        "catalog": f"{name}_catalog.{options.catalog_format}",
        "picture": f"{name}_summary.png",
        "regions": f"{name}_sources.reg",
        "report": f"{name}_report.html",
    }
    return {product: directory / files[product] for product in options.products}


def write_products(
    paths: dict[str, Path],
    source: ImageSource,
    maps: MapFile,
    table: QTable,
    options: ClassifyOptions,
    *,
    memory: float,
    run: dict[str, Any],
) -> None:
    """Write the products that have a path.

    Parameters
    ----------
    paths : dict
        Product name to path.
    source : ImageSource
        The image.
    maps : MapFile
        Its class maps, with the label map. The file may be the product itself.
    table : astropy.table.QTable
        The catalogue.
    options : ClassifyOptions
        Format and names of the columns of the catalogue; planes and compression of the maps.
    memory : float
        Bytes of memory that may be used.
    run : dict
        What the report tells of the run.
    """
    if "catalog" in paths:
        named = sextractor_columns(table) if options.columns == "sextractor" else table
        write_catalog(paths["catalog"], named)
    if "picture" in paths:
        drawn = overview(source, maps, table, MAX_DRAWN)
        save_summary(paths["picture"], drawn.image, drawn.classification, drawn.labels, drawn.table)
    fitting = max(MAX_DRAWN, int(memory / BYTES_DRAWN))
    if "regions" in paths:
        _write_regions(paths["regions"], source, maps, table, outlines=math.prod(source.shape) <= fitting)
    if "report" in paths:
        drawn = overview(source, maps, table, fitting)
        told = run if drawn.step == 1 else {**run, "pixels_of_the_image_in_one_of_this_page": drawn.step**2}
        write_report(paths["report"], drawn.image, drawn.classification, drawn.labels, drawn.table, run=told)
    if "maps" in paths and paths["maps"] != maps.path:
        maps.export(paths["maps"], options.planes, compress=options.compress)


def overview(source: ImageSource, maps: MapFile, table: QTable, max_pixels: int) -> Overview:
    """Image, class maps, labels and catalogue, reduced to at most ``max_pixels`` pixels, a band of rows at a time."""
    step = math.ceil(math.sqrt(math.prod(source.shape) / max_pixels))
    if step <= 1:
        return Overview(source.read(), maps.read(), maps.read_plane("SEGMENTATION"), table, 1)
    height, width = source.shape
    rows = step * max(1, 256 // step)
    bands = [Window(y, 0, min(rows, height - y), width) for y in range(0, height, rows)]
    images = [_image_blocks(source.read(band), step) for band in bands]
    classified = [_map_blocks(maps.read(band), step) for band in bands]
    columns = _middles(width, step)
    labels = [maps.read_plane("SEGMENTATION", band)[_middles(band.height, step)][:, columns] for band in bands]
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
    classification = Classification(**joined, wcs=wcs, provenance=maps.provenance)
    return Overview(image, classification, np.concatenate(labels), _reduced(table, step), step)


def _write_regions(path: Path, source: ImageSource, maps: MapFile, table: QTable, *, outlines: bool) -> None:
    wcs = source.wcs
    frame = "image" if wcs is None or not wcs.has_celestial else "sky"
    labels = maps.read_plane("SEGMENTATION") if outlines else None
    write_regions(path, table, labels=labels, wcs=wcs, frame=frame, colors=hex_colours("legible"))


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


def _middles(length: int, step: int) -> np.ndarray:
    """The pixels in the middle of the blocks along one axis."""
    return np.minimum(np.arange(0, length, step) + step // 2, length - 1)


_POSITIONS = ("x_centroid", "y_centroid")
_LENGTHS = ("semimajor_axis", "semiminor_axis")


def _reduced(table: QTable, step: int) -> QTable:
    """The catalogue with positions and lengths in blocks, as far as pictures use them."""
    table = table.copy(copy_data=True)
    for name in (*_POSITIONS, *_LENGTHS):
        if name in table.colnames:
            middle = (step - 1) / 2 if name in _POSITIONS else 0.0
            table[name] = (table[name] - middle * (getattr(table[name], "unit", None) or 1)) / step
    return table
