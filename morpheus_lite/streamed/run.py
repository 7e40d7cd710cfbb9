"""The story of a catalogue whose image is never in memory as a whole: detect, deblend, write the labels, measure."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from astropy.table import QTable

from morpheus_lite.catalog.rows import RowSettings
from morpheus_lite.catalog.settings import MeasureOptions
from morpheus_lite.catalog.table import finish_table
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.multithreshold import MultithresholdOptions
from morpheus_lite.options import DEBLENDING_OF
from morpheus_lite.sampling import sample_windows
from morpheus_lite.segmentation import DETECTION_METHODS, DetectionOptions
from morpheus_lite.skynoise import noise_of_pieces
from morpheus_lite.streamed.detection import detect
from morpheus_lite.streamed.doors import ImageDoor, MapDoor
from morpheus_lite.streamed.labels import StreamedLabels
from morpheus_lite.streamed.measuring import measure_groups
from morpheus_lite.streamed.plane import ScratchPlane
from morpheus_lite.streamed.splitting import split
from morpheus_lite.streamed.windows import tiles
from morpheus_lite.tiling import Window

TILE = 1024
"""Side of a tile in pixels, if memory allows."""

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def catalogue_sections(
    image: ImageDoor,
    maps: MapDoor,
    *,
    method: str = "probability",
    detection: DetectionOptions | None = None,
    deblending: MultithresholdOptions | None = None,
    measuring: MeasureOptions | None = None,
    tile: int = TILE,
    scratch: str | Path | None = None,
    progress: Progress | None = None,
) -> QTable:
    """Label map and catalogue of an image that is read by section.

    Parameters
    ----------
    image : ImageDoor
        The image, such as an `~morpheus_lite.io.ImageSource`.
    maps : MapDoor
        Its class maps, such as a `~morpheus_lite.io.mapfile.MapFile`; the label map is written into their plane
        ``SEGMENTATION``, if there is one.
    method : {"probability", "paper"}
        How sources are found; deblending goes with it.
    detection : DetectionOptions, optional
        For ``"probability"``.
    deblending : MultithresholdOptions, optional
        For ``"probability"``.
    measuring : MeasureOptions, optional
        What to measure.
    tile : int
        Side of the tiles that the work is done in, in pixels. The result does not depend on it, the memory does.
    scratch : path, optional
        Directory of a temporary file with 4 bytes a pixel; None takes the system's.
    progress : callable, optional
        Called with (sources measured, sources in all).

    Returns
    -------
    astropy.table.QTable
        The catalogue: the rows and labels that `~morpheus_lite.segment`, `~morpheus_lite.deblend` and
        `~morpheus_lite.measure` give for the whole image in memory, bit for bit.

    Raises
    ------
    InputError
        The class maps have another shape than the image.
    OptionError
        Unknown method, or class maps without the planes that it needs.

    Notes
    -----
    Memory holds a tile with the surroundings of its sources, or the pixels of the largest source, and some
    hundred bytes for every source.
    """
    if method not in DETECTION_METHODS:
        raise OptionError(f"segmentation method {method!r}: choose one of {', '.join(DETECTION_METHODS)}")
    if image.shape != maps.shape:
        raise InputError(f"class maps of shape {maps.shape} do not fit an image of shape {image.shape}")
    if tile < 1:
        raise OptionError(f"tile={tile}: expected a positive number of pixels")
    with ScratchPlane(image.shape, scratch) as plane:
        parents = detect(maps, image, plane, method=method, options=detection, tile=tile)
        log.info("%d sources before deblending", len(parents.names))
        labels, parents = split(parents, image, maps, method=DEBLENDING_OF[method], options=deblending, tile=tile)
        log.info("%d sources after deblending", len(labels.names))
        write_labels(labels, maps, tile)
        settings = _settings(image, labels, method, measuring or MeasureOptions())
        rows = measure_groups(labels, parents, image, maps, settings, tile=tile, progress=progress)
    head = replace(image.read(Window(0, 0, 1, 1)), wcs=image.wcs)
    with_errors = "variance" in maps.kinds
    return finish_table(rows, head, settings, provenance=dict(maps.provenance), with_errors=with_errors)


def write_labels(labels: StreamedLabels, maps: MapDoor, tile: int) -> None:
    """Write a label map into the plane of the class maps that is for it."""
    if "segmentation" in maps.kinds:
        for window in tiles(labels.shape, tile):
            maps.write_plane("SEGMENTATION", labels.read(window), window)


def _settings(image: ImageDoor, labels: StreamedLabels, method: str, options: MeasureOptions) -> RowSettings:
    noise = {}
    if options.photometry:
        noise = noise_of_pieces([(image.read(w), labels.read(w)) for w in sample_windows(image.shape)])
    band = image.read(Window(0, 0, 1, 1)).detection_band
    return RowSettings(band, "vote" if method == "paper" else "probability", options, noise)
