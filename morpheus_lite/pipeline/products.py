"""The products of one image: their names, and their writing from an image and class maps that are read by section."""

import math
import os
from pathlib import Path
from typing import Any

from astropy.table import QTable

from morpheus_lite.catalog import sextractor_columns
from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.core.protocols import MapStore
from morpheus_lite.errors import OptionError
from morpheus_lite.io import write_catalog, write_regions
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.maps import export_maps
from morpheus_lite.pipeline.picture import PictureBlocks, close_ups, overview

MAX_DRAWN = 2048**2
"""Images of more pixels are drawn from block means, which keeps the memory of a run apart from the image's size."""

N_STAMPS = 32
"""How many of the brightest sources are on the sheet of stamps."""

BYTES_DRAWN = 160
"""Bytes of memory a pixel that a report takes, about."""


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
    """
    if "catalog" in paths:
        named = sextractor_columns(table) if options.columns == "sextractor" else table
        write_catalog(named, paths["catalog"])
    if "picture" in paths:
        from morpheus_lite.visualization.plots import save_summary

        drawn = (blocks or PictureBlocks(source.shape)).drawn(source, maps, table)
        save_summary(drawn.image, drawn.classification, drawn.labels, drawn.table, paths["picture"], step=drawn.step)
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


def _write_stamps(path: Path, source: ImageSource, maps: MapStore, table: QTable) -> None:
    from morpheus_lite.visualization.plots import LARGEST_STAMP, choose_sources, save_stamp_sheet

    rows = [row for row in choose_sources(table, N_STAMPS) if math.isfinite(float(table["x_centroid"].value[row]))]
    shown = close_ups(source, maps, table, rows, LARGEST_STAMP)
    save_stamp_sheet(shown.image, shown.labels, shown.table, path, rows=range(len(rows)))


def _write_regions(path: Path, source: ImageSource, maps: MapStore, table: QTable, *, outlines: bool) -> None:
    from morpheus_lite.visualization.plots import hex_colours

    wcs = source.wcs
    frame = "image" if wcs is None or not wcs.has_celestial else "sky"
    labels = maps.read_plane("SEGMENTATION") if outlines else None
    write_regions(table, path, labels=labels, wcs=wcs, frame=frame, colors=hex_colours("legible"))
