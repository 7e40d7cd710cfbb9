"""Detection in class maps that are read by section, as `~morpheus_lite.segmentation.detection.segment` does it."""

from dataclasses import replace

import numpy as np

from morpheus_lite.core.blocks import grown, inside, source_groups, tiles
from morpheus_lite.core.label_store import StreamedLabels
from morpheus_lite.core.protocols import ImageDoor, MapDoor
from morpheus_lite.core.sampling import sample_windows
from morpheus_lite.core.scratch_array import ScratchPlane
from morpheus_lite.errors import OptionError
from morpheus_lite.noise.detection_image import (
    band_scatter,
    make_detection_image,
    noise_of_light,
    signal_to_noise,
    to_fixed_point,
)
from morpheus_lite.segmentation.connected_components import Components, ComponentTable
from morpheus_lite.segmentation.detection import DetectionOptions, flood, uncertain_pixels

_FLOODED = -1
"""Number of pixels that a flood gave to a source, until they are labelled."""


def detect(
    maps: MapDoor,
    image: ImageDoor,
    plane: ScratchPlane,
    *,
    method: str,
    threshold: float | None = None,
    options: DetectionOptions | None = None,
    tile: int,
) -> StreamedLabels:
    """Find sources in class maps, tile by tile.

    Parameters
    ----------
    maps : MapDoor
        Class maps.
    image : ImageDoor
        The image, for a smallest significance.
    plane : ScratchPlane
        Where the labels are kept.
    method, threshold, options
        As in `~morpheus_lite.segmentation.detection.segment`.
    tile : int
        Side of a tile in pixels; the result does not depend on it.

    Returns
    -------
    StreamedLabels
        Those that `segment` gives for the whole image.
    """
    if method == "paper":
        table = _by_votes(maps, plane, 0.0 if threshold is None else threshold, tile)
    else:
        options = options or DetectionOptions()
        if threshold is not None:
            options = replace(options, core=1 - threshold, wings=min(options.wings, 1 - threshold))
        table = _by_probability(maps, plane, options, tile)
        if options.min_significance > 0:
            table = table.keep(_significances(image, plane, table, tile) >= options.min_significance)
    names = np.arange(1, len(table.area) + 1, dtype=np.int32)
    return StreamedLabels(plane, table.component, table.boxes, names)


def _by_probability(maps: MapDoor, plane: ScratchPlane, options: DetectionOptions, tile: int) -> ComponentTable:
    components = Components(maps.shape, min_area=options.min_area)
    for window in tiles(maps.shape, tile):
        # Pixels that were not classified are NaN, and above no threshold.
        source = 1 - maps.read_plane("BACKGROUND", window)
        plane.write(window, components.add(window, source >= options.wings, source >= options.core))
    table = components.table()
    return table.keep(table.has_core & (table.area >= options.min_area))


def _by_votes(maps: MapDoor, plane: ScratchPlane, threshold: float, tile: int) -> ComponentTable:
    if "vote" not in maps.kinds:
        raise OptionError("method 'paper' counts rank votes, and these class maps have none; classify with votes")
    regions = Components(maps.shape)
    for window in tiles(maps.shape, tile):
        uncertain = uncertain_pixels(maps.read_plane("BACKGROUND_VOTE", window), threshold)
        plane.write(window, regions.add(window, uncertain, uncertain))
    _flood_regions(maps, plane, regions.table(), tile)
    sources = Components(maps.shape)
    for window in tiles(maps.shape, tile):
        certain = maps.read_plane("BACKGROUND_VOTE", window) <= threshold
        source = certain | (plane.read(window) == _FLOODED)
        plane.write(window, sources.add(window, source, source))
    return sources.table()


def _flood_regions(maps: MapDoor, plane: ScratchPlane, regions: ComponentTable, tile: int) -> None:
    """Mark the uncertain pixels that belong to sources, some whole regions at a time."""
    for group in source_groups(regions.boxes, 0, maps.shape, tile):
        # Certain pixels beside the region flood it, and the gradient on these draws on one more.
        around = grown(group.window, 2, maps.shape)
        here = inside(group.window, around)
        numbers = plane.read(group.window)
        uncertain = np.zeros(around.shape, dtype=bool)
        uncertain[here] = np.isin(regions.component[np.maximum(numbers, 0)], group.members + 1)
        flooded = flood(maps.read_plane("BACKGROUND_VOTE", around), uncertain)[here]
        plane.write(group.window, np.where(uncertain[here], np.where(flooded, _FLOODED, 0), numbers))


def _significances(image: ImageDoor, plane: ScratchPlane, table: ComponentTable, tile: int) -> np.ndarray:
    """Signal-to-noise ratio of each component's light: float64, shape ``(component,)``."""
    windows = sample_windows(plane.shape)
    scatter = band_scatter((image.read(window), table.component[plane.read(window)]) for window in windows)
    sample = []
    for window in windows:
        piece, labels = image.read(window), table.component[plane.read(window)]
        sample.append((make_detection_image(piece, labels, scatter=scatter), piece.valid, labels))
    noise = noise_of_light(sample)
    sums = np.zeros(len(table.area) + 1)
    for window in tiles(plane.shape, tile):
        labels = table.component[plane.read(window)]
        if labels.any():
            light = to_fixed_point(make_detection_image(image.read(window), labels, scatter=scatter))
            sums += np.bincount(labels.ravel(), weights=light.ravel(), minlength=len(sums))
    return signal_to_noise(sums[1:], table.area, noise)
