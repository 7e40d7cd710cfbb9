"""The story of a catalogue whose image is never in memory as a whole: detect, deblend, write the labels, measure."""

import logging
from pathlib import Path

from astropy.table import QTable

from morpheus_lite.catalog.measurement import measure_labels
from morpheus_lite.config.classify import DEBLENDING_OF
from morpheus_lite.config.measure import LARGEST_MARGIN, MeasureOptions
from morpheus_lite.core.blocks import BLOCK, tiles
from morpheus_lite.core.label_store import LabelStore
from morpheus_lite.core.protocols import ImageReader, MapStore
from morpheus_lite.core.scratch_array import ScratchFile
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.noise.subtracted import SubtractedImage, measure_sections
from morpheus_lite.runtime.processes import Workers
from morpheus_lite.runtime.resources import Progress
from morpheus_lite.segmentation.deblending import split
from morpheus_lite.segmentation.detection import DETECTION_METHODS, DetectionOptions, detect
from morpheus_lite.segmentation.multithreshold import MultithresholdOptions

_SMALLEST_TILE = 128
_PLANES_OF = {"mean": 5, "variance": 5, "vote": 5}
_BYTES_OF_BAND = 18  # data, RMS and validity, and again where they are taken
_BYTES_OF_PIXEL = 75  # labels before and after, marks, and what is at work

log = logging.getLogger(__name__)


def catalogue_sections(
    image: ImageReader,
    maps: MapStore,
    *,
    method: str = "probability",
    detection: DetectionOptions | None = None,
    deblending: MultithresholdOptions | None = None,
    measuring: MeasureOptions | None = None,
    band: str | None = None,
    noise: BackgroundMesh | None = None,
    tile: int | None = None,
    memory: int | None = None,
    workers: Workers = 1,
    scratch: str | Path | None = None,
    plane: ScratchFile | None = None,
    progress: Progress | None = None,
) -> QTable:
    """Label map and catalogue of an image that is read by section.

    Parameters
    ----------
    image : ImageReader
        The image, such as an `~morpheus_lite.io.ImageSource`.
    maps : MapStore
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
    band : str, optional
        Detection band, which gives positions and shapes; None adds up all bands, each over the noise of its sky, for
        ``"probability"``, and takes F160W, or the first band of an image without it, for ``"paper"``.
    noise : BackgroundMesh, optional
        From `~morpheus_lite.noise.subtracted.measure_sections`, with the background of ``measuring``; measured here if
        it is needed and not given.
    tile : int, optional
        Side of the tiles that the work is done in, in pixels. The result does not depend on it. None takes what
        ``memory`` allows.
    memory : int, optional
        Bytes that all workers together may take for pixels; None does not care.
    workers : int or Executor
        Processes that share the sources (on Linux), or where else the work is done. The result does not depend on it.
    scratch : path, optional
        Directory of a temporary file with 4 bytes per pixel; None takes the system's.
    plane : ScratchFile, optional
        The temporary file itself, where the workers cannot inherit one; it is closed in the end.
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
    Memory holds a tile with the surroundings of its sources for every worker, or the pixels of the largest source (some
    100 bytes for each pixel of its bounding box while it is deblended, up to
    `~morpheus_lite.segmentation.multithreshold.LARGEST_BOX` pixels), and some hundred bytes for every source.
    """
    if method not in DETECTION_METHODS:
        raise OptionError(f"segmentation method {method!r}: choose one of {', '.join(DETECTION_METHODS)}")
    if image.shape != maps.shape:
        raise InputError(f"class maps of shape {maps.shape} do not fit an image of shape {image.shape}")
    tile = block_side_in(image, maps, memory, workers if isinstance(workers, int) else 1) if tile is None else tile
    if tile < 1:
        raise OptionError(f"tile={tile}: expected a positive number of pixels")
    measuring = measuring or MeasureOptions()
    background = measuring.background_of(by_votes=method == "paper")
    sky: ImageReader = image
    if background is not None:
        noise = noise or measure_sections(image, background=background)
        sky = SubtractedImage(image, noise, sky_noise=True)
    with plane or ScratchFile(image.shape, scratch) as plane:
        parents = detect(maps, sky, plane, method=method, options=detection, tile=tile)
        log.info("%d sources before deblending", len(parents.names))
        labels, parents = split(parents, sky, maps, method=DEBLENDING_OF[method], options=deblending, tile=tile)
        log.info("%d sources after deblending", len(labels.names))
        write_labels(labels, maps, tile)
        return measure_labels(
            labels,
            parents,
            image,
            maps,
            kind="vote" if method == "paper" else "probability",
            options=measuring,
            band=band,
            mesh=noise,
            tile=tile,
            workers=workers,
            progress=progress,
        )


def block_side_in(image: ImageReader, maps: MapStore, memory: int | None, workers: int = 1) -> int:
    """Side of the tiles that a memory budget allows, in pixels.

    Raises
    ------
    OptionError
        The budget is too small for the smallest tiles.
    """
    if memory is None:
        return BLOCK
    n_planes = sum(_PLANES_OF.get(kind, 1) for kind in maps.kinds)
    n_bytes = _BYTES_OF_BAND * image.read(Window(0, 0, 1, 1)).n_bands + 4 * n_planes + _BYTES_OF_PIXEL
    # A group reaches half a tile beyond its own, and the largest margin on all sides.
    side = int(((memory / max(workers, 1) / n_bytes) ** 0.5 - 2 * LARGEST_MARGIN) / 1.5)
    if side < _SMALLEST_TILE:
        least = n_bytes * max(workers, 1) * (1.5 * _SMALLEST_TILE + 2 * LARGEST_MARGIN) ** 2
        raise OptionError(
            f"a memory of {memory / 1e6:.0f} MB for labels and catalogue with {workers} worker(s): expected at least "
            f"{least / 1e6:.0f} MB; allow more, or take fewer workers"
        )
    return min(side, BLOCK)


def write_labels(labels: LabelStore, maps: MapStore, tile: int) -> None:
    """Write a label map into the plane of the class maps that is for it."""
    if "segmentation" in maps.kinds:
        for window in tiles(labels.shape, tile):
            maps.write_plane("SEGMENTATION", labels.read(window), window)
