"""Measurement of a label map on disk: the same rows as `~morpheus_lite.catalog.measure` gives."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from morpheus_lite.catalog.flags import mark_pixels
from morpheus_lite.catalog.rows import RowSettings, measure_rows, measure_sources
from morpheus_lite.config.measure import LARGEST_MARGIN, MeasureOptions
from morpheus_lite.core.blocks import SourceGroup, grown, inside, pieces, source_groups, tiles
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.label_store import StreamedLabels
from morpheus_lite.core.labels import LabelledPixels
from morpheus_lite.core.protocols import ImageDoor, MapDoor
from morpheus_lite.core.windows import Window
from morpheus_lite.runtime.processes import Workers, parallel_map

_LONGEST = 1024
"""Sources longer than this are gathered pixel by pixel where no stamp of them is needed."""

Rows = dict[str, np.ndarray]


def measure_groups(
    labels: StreamedLabels,
    parents: StreamedLabels,
    image: ImageDoor,
    maps: MapDoor,
    settings: RowSettings,
    *,
    tile: int,
    workers: Workers = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Rows:
    """Rows of all sources, some of a tile's at a time.

    Parameters
    ----------
    labels, parents : StreamedLabels
        The label map, and the one before deblending.
    image, maps : ImageDoor, MapDoor
        The image and its class maps.
    settings : RowSettings
        What holds for all rows.
    tile : int
        Side of a tile in pixels; the result does not depend on it.
    workers : int
        Processes that share the groups.
    progress : callable, optional
        Called with (sources done, sources in all).

    Returns
    -------
    dict
        As `~morpheus_lite.catalog.rows.measure_rows` gives it.
    """
    settings = replace(settings, usual_coverage=_usual_coverage(maps, tile))
    sides = (labels.boxes[:, 2:] - labels.boxes[:, :2]).max(axis=1, initial=0)
    limit = settings.options.largest_side if settings.options.photometry else _LONGEST
    fits = np.flatnonzero(sides <= limit)
    margins = _margins(labels, image, settings.options)
    groups = [
        SourceGroup(group.window, fits[group.members])
        for group in source_groups(labels.boxes[fits], margins[fits], labels.shape, tile)
    ]
    # Files that are open have one position, which forked processes would share: each opens them again.
    image.close()
    measure = partial(_measure_group, labels=labels, parents=parents, image=image, maps=maps, settings=settings)
    found, done = [], 0
    for group, rows in zip(groups, parallel_map(measure, groups, workers=workers), strict=True):
        found.append(rows)
        done += len(group.members)
        if progress:
            progress(done, len(labels.names))
    long = np.flatnonzero(sides > limit)
    found.extend(_measure_long(row, labels, parents, image, maps, settings, tile) for row in long.tolist())
    rows = {name: np.concatenate([part[name] for part in found]) for name in found[0]} if found else {}
    if not rows:
        corner = Window(0, 0, 1, 1)
        return measure(SourceGroup(corner, fits))
    order = np.argsort(rows["label"], kind="stable")
    return {name: values[order] for name, values in rows.items()}


def _margins(labels: StreamedLabels, image: ImageDoor, options: MeasureOptions) -> np.ndarray:
    """Pixels around each box that its row depends on: those beside it matter for the flags."""
    if not options.photometry:
        return np.ones(len(labels.names), dtype=np.int64)
    scale = _head(image).pixel_scale
    sides = (labels.boxes[:, 2:] - labels.boxes[:, :2]).tolist()
    return np.array([options.margin(height, width, scale) for height, width in sides], dtype=np.int64)


def _head(image: ImageDoor) -> SkyImage:
    """A single pixel that carries the metadata of the whole image."""
    return replace(image.read(Window(0, 0, 1, 1)), wcs=image.wcs)


def _measure_group(
    group: SourceGroup,
    labels: StreamedLabels,
    parents: StreamedLabels,
    image: ImageDoor,
    maps: MapDoor,
    settings: RowSettings,
) -> Rows:
    # A box begins on its source: without the pixel around it, it would lie at the edge of the piece.
    window = grown(group.window, 1, labels.shape)
    return measure_rows(
        labels.read(window),
        replace(image.read(window), wcs=image.wcs),
        maps.read(window, _kinds(maps, settings)),
        settings,
        parents=parents.read(window),
        wanted=labels.names[group.members],
        origin=(window.y, window.x),
    )


def _measure_long(
    row: int,
    labels: StreamedLabels,
    parents: StreamedLabels,
    image: ImageDoor,
    maps: MapDoor,
    settings: RowSettings,
    tile: int,
) -> Rows:
    """The row of a source that is too long for a stamp, from its pixels one behind the other."""
    top, left, bottom, right = labels.boxes[row].tolist()
    name = labels.names[row]
    parts = []
    for part in pieces(Window(top, left, bottom - top, right - left), tile):
        around = grown(part, 1, labels.shape)
        near = labels.read(around)
        here = inside(part, around)
        y, x = np.nonzero(near[here] == name)
        if not len(y):
            continue
        seen, classes = replace(image.read(around), wcs=image.wcs), maps.read(around, _kinds(maps, settings))
        marks = mark_pixels(near, seen.valid, classes, usual_coverage=settings.usual_coverage)
        at = y + here[0].start, x + here[1].start
        place = np.stack([y + part.y, x + part.x])
        parts.append((place, _take(seen, at), _take_maps(classes, at), marks[at], parents.read(around)[at]))
    place = np.concatenate([part[0] for part in parts], axis=1)
    if np.ptp(place, axis=1).max() < settings.options.largest_side and settings.options.photometry:
        # What is known of a box before may be too much, where another source took pixels away.
        window = Window(top, left, bottom - top, right - left)
        group = SourceGroup(grown(window, LARGEST_MARGIN, labels.shape), np.array([row]))
        return _measure_group(group, labels, parents, image, maps, settings)
    order = np.lexsort((place[1], place[0]))
    seen, classes = _joined(parts, order)
    marks, before = (np.concatenate([part[k] for part in parts])[order][None] for k in (3, 4))
    strip = np.full((1, len(order)), name, dtype=np.int32)
    gathered = LabelledPixels.gather(strip)
    sources = replace(gathered, row=place[0][order], column=place[1][order])
    return measure_sources(sources, strip, seen, classes, marks, settings, parents=before)


def _kinds(maps: MapDoor, settings: RowSettings) -> tuple[str, ...]:
    wanted = ("mean", "variance", "coverage", "flags", *(("vote",) if settings.maps == "vote" else ()))
    return tuple(kind for kind in maps.kinds if kind in wanted)


def _take(image: SkyImage, at: tuple[np.ndarray, np.ndarray]) -> SkyImage:
    """Some pixels of an image as one row."""
    rms = None if image.rms is None else image.rms[at][None]
    return replace(image, data=image.data[at][None], valid=image.valid[at][None], rms=rms)


def _take_maps(maps: Classification, at: tuple[np.ndarray, np.ndarray]) -> Classification:
    """Some pixels of class maps as one row."""
    planes = {name: plane[at][None] for name, plane in _planes(maps).items() if plane is not None}
    return replace(maps, **planes)


def _planes(maps: Classification) -> dict[str, np.ndarray | None]:
    return {name: getattr(maps, name) for name in ("probability", "coverage", "valid", "variance", "vote", "flags")}


def _joined(parts: list[tuple], order: np.ndarray) -> tuple[SkyImage, Classification]:
    """Rows of pixels one behind the other, in raster order."""
    images, maps = [part[1] for part in parts], [part[2] for part in parts]

    def join(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays, axis=1)[:, order]

    pixels = {name: join([getattr(image, name) for image in images]) for name in ("data", "valid")}
    if images[0].rms is not None:
        pixels["rms"] = join([image.rms for image in images])
    planes = {
        name: join([getattr(one, name) for one in maps])
        for name, plane in _planes(maps[0]).items()
        if plane is not None
    }
    return replace(images[0], **pixels), replace(maps[0], **planes)


def _usual_coverage(maps: MapDoor, tile: int) -> int | None:
    """Largest coverage, where no flags tell which pixels were seen by few windows."""
    if "flags" in maps.kinds or "coverage" not in maps.kinds:
        return None if "flags" in maps.kinds else 1
    return max(int(maps.read_plane("N", window).max()) for window in tiles(maps.shape, tile))
