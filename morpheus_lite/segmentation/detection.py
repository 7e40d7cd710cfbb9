"""Detection: from class maps to a label map of sources against the sky."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.filters import sobel
from skimage.segmentation import watershed

from morpheus_lite.config.classify import DetectionOptions
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import ACROSS, Gaps, LabelMap, LabelStore, ScratchArray, ScratchMemory
from morpheus_lite.core.protocols import ImageReader, MapStore
from morpheus_lite.core.windows import Window, block_side, grown, inside, sample_windows, source_groups, tiles
from morpheus_lite.errors import InputError, OptionError, expect
from morpheus_lite.io.maps import MemoryMaps
from morpheus_lite.noise.detection_image import (
    band_scatter,
    make_detection_image,
    noise_of_light,
    signal_to_noise,
    to_fixed_point,
)
from morpheus_lite.noise.overview import see_sky
from morpheus_lite.runtime.resources import results_ahead, run_each, thread_map


@dataclass(frozen=True, eq=False)
class ComponentTable:
    """Components after joining.

    Parameters
    ----------
    component : numpy.ndarray
        int32, shape ``(number + 1,)``: component that each number given to a tile belongs to, from 1, in raster
        order of the components' first pixels; 0 for 0.
    area : numpy.ndarray
        int64, shape ``(component,)``: pixels.
    has_core : numpy.ndarray
        bool, shape ``(component,)``: whether any pixel was core.
    boxes : numpy.ndarray
        int64, shape ``(component, 4)``: first row, first column, last row + 1, last column + 1.
    """

    component: np.ndarray
    area: np.ndarray
    has_core: np.ndarray
    boxes: np.ndarray

    def keep(self, chosen: np.ndarray) -> "ComponentTable":
        """Keep the components where ``chosen`` is True, renumbered in the same order; the others become 0."""
        number = np.concatenate([[0], np.where(chosen, np.cumsum(chosen), 0)]).astype(np.int32)
        return ComponentTable(number[self.component], self.area[chosen], self.has_core[chosen], self.boxes[chosen])


class Components:
    """Joins the components of tiles that are added row by row of tiles, left to right.

    Pixels belong together where they share a side. What is kept in memory is a few numbers a component and the last
    row of pixels.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    min_area : int
        Components smaller than this, or without a core, may be dropped as soon as a tile holds them whole.
    """

    def __init__(self, shape: tuple[int, int], *, min_area: int = 1) -> None:
        self._width = shape[1]
        self._min_area = min_area
        self._count = 0
        self._above = np.zeros(shape[1], dtype=np.int32)
        self._left = np.zeros(0, dtype=np.int32)
        self._pairs: list[np.ndarray] = []
        self._facts: list[np.ndarray] = []

    def add(self, window: Window, mask: np.ndarray, core: np.ndarray, bridges: np.ndarray | None = None) -> np.ndarray:
        """Label one tile.

        Parameters
        ----------
        window : Window
            Where the tile lies.
        mask, core : numpy.ndarray
            bool, shape of the window: pixels of components, and those that count as core.
        bridges : numpy.ndarray, optional
            bool, shape of the window: pixels that are of no component, and join those on their sides.

        Returns
        -------
        numpy.ndarray
            int32, shape of the window: numbers, which `table` translates.
        """
        labels, count = ndimage.label(mask if bridges is None else mask | bridges)
        y, x = np.nonzero(labels if bridges is None else np.where(bridges, 0, labels))
        row, column = y + window.y, x + window.x
        pixels = 1, row * self._width + column, core[y, x], row, column, row + 1, column + 1
        facts = _joined(pixels, labels[y, x] - 1, count)
        keep = (facts[_AREA] >= self._min_area) & (facts[_CORE] > 0)
        for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            keep[side[side > 0] - 1] = True
        numbers = np.concatenate([[0], np.where(keep, np.cumsum(keep) + self._count, 0)]).astype(np.int32)
        labels = numbers[labels]
        self._facts.append(facts[:, keep])
        self._count += int(np.count_nonzero(keep))
        self._join(self._above[window.slices[1]], labels[0])
        if window.x > 0:
            self._join(self._left, labels[:, 0])
        self._above[window.slices[1]] = labels[-1]
        self._left = labels[:, -1].copy()
        return labels if bridges is None else np.where(bridges, 0, labels)

    def _join(self, one: np.ndarray, other: np.ndarray) -> None:
        touching = (one > 0) & (other > 0)
        if touching.any():
            self._pairs.append(np.unique(np.stack([one[touching], other[touching]], axis=1), axis=0))

    def table(self) -> ComponentTable:
        """The components of all tiles added."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        facts = np.concatenate([np.zeros((len(_JOINS), 0), np.int64), *self._facts], axis=1)
        pairs = np.concatenate(self._pairs) - 1 if self._pairs else np.zeros((0, 2), dtype=np.int64)
        graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(self._count, self._count))
        n_found, group = connected_components(graph, directed=False) if self._count else (0, np.zeros(0, np.int64))
        joined = _joined(facts, group, n_found)
        order = np.argsort(joined[_FIRST])
        rank = np.empty(n_found, dtype=np.int64)
        rank[order] = np.arange(1, n_found + 1)
        joined = joined[:, order]
        component = np.concatenate([[0], rank[group]]).astype(np.int32)
        return ComponentTable(component, joined[_AREA], joined[_CORE] > 0, np.ascontiguousarray(joined[_BOX].T))


_FAR = np.iinfo(np.int64).max
_JOINS = ((np.add, 0), (np.minimum, _FAR), (np.maximum, 0), *[(np.minimum, _FAR)] * 2, *[(np.maximum, 0)] * 2)
"""How facts of a component follow from those of its parts, and of none: area, first pixel, core, and box."""
_AREA, _FIRST, _CORE, _BOX = 0, 1, 2, slice(3, None)


def _joined(facts: Iterable[Any], group: np.ndarray, count: int) -> np.ndarray:
    """Facts of groups of pixels or parts: int64, shape ``(fact, group)``."""
    joined = np.empty((len(_JOINS), count), np.int64)
    for row, values, (join, nothing) in zip(joined, facts, _JOINS, strict=True):
        row[:] = nothing
        join.at(row, group, values)
    return joined


_WIDE, _WIDEST_GAP = 5, 16
"""How many times as wide as it is long a gap in a source may be, and the most pixels."""

DETECTION_METHODS = ("paper", "probability")

_SKY, _SOURCE = 1, 2
_FLOODED = -1
"""Number of pixels that a flood gave to a source, until they are labelled."""


def segment(
    classification: Classification,
    image: SkyImage | None = None,
    *,
    method: str | None = None,
    threshold: float | None = None,
    options: DetectionOptions | None = None,
    background: str | float | None = None,
) -> LabelMap:
    """Find sources in class maps.

    Parameters
    ----------
    classification : Classification
        Class maps; the method ``"paper"`` needs their rank votes.
    image : SkyImage, optional
        For ``"probability"`` with a smallest significance: the image and its noise. None takes the image that
        `classify` made the maps of; maps that were read from a file need it.
    method : {"paper", "probability"}, optional
        How sources are found; see Notes. None takes ``"paper"`` where there are rank votes, else ``"probability"``.
    threshold : float, optional
        Largest background value of a pixel that certainly belongs to a source, in [0, 1). None takes the
        method's own: 0 for ``"paper"``, which asks for unanimous votes against the background, and
        1 - ``seed_threshold`` for ``"probability"``.
    options : DetectionOptions, optional
        For ``"probability"``: thresholds and smallest size; None takes those of the model, which the maps record.
    background : {"mesh", "none"} or float, optional
        What is subtracted of the image, as in `~morpheus_lite.config.classify.MeasureOptions`; None takes what the
        class maps were made with.

    Returns
    -------
    LabelMap
        int32, shape ``(y, x)``: 1, 2, ... in raster order of the sources' first pixels; 0 where there is
        sky or where the pixel was not classified. Sources touch along pixel sides, not only at corners. It remembers
        the class maps.

    Raises
    ------
    OptionError
        Unknown method, threshold out of range, or class maps without the planes that the method needs.

    Notes
    -----
    ``"paper"`` is the method of Hausen & Robertson (2020, section 5): pixels whose windows all voted for
    background are sky, those whose background vote is at most ``threshold`` are source, and a watershed on
    the Sobel gradient of the background vote gives the pixels between to one or the other. Pixels that
    no flood reaches (an island without any certain pixel) are sky here; the published package makes them a
    source.

    ``"probability"`` takes the mean probability of being source, 1 - background: pixels of at least ``threshold`` that
    are connected with one of at least ``seed_threshold``, ``min_area`` of them or more. Sources that touch
    are for `~morpheus_lite.segmentation.deblending.deblend` to split. Parts on both sides of a gap, as of a bad column,
    are one source; the gap itself stays 0.

    Examples
    --------
    >>> import numpy as np
    >>> from morpheus_lite import Classification
    >>> vote = np.zeros((32, 32, 5), dtype=np.float32)
    >>> vote[..., 4] = 1
    >>> vote[10:15, 8:14] = 1, 0, 0, 0, 0
    >>> everywhere = np.ones((32, 32), dtype=bool)
    >>> maps = Classification(probability=vote, coverage=everywhere.astype(np.int32), valid=everywhere, vote=vote)
    >>> labels = segment(maps)
    >>> int(labels.max()), int((labels == 1).sum())
    (1, 30)
    """
    expect(classification, Classification, "segment")
    image = classification.image if image is None else image
    if image is not None and image.shape != classification.shape:
        raise InputError(f"an image of shape {image.shape} does not fit class maps of shape {classification.shape}")
    method = method or ("probability" if classification.vote is None else "paper")
    options = options or DetectionOptions(**classification.provenance.get("detection", {}))
    if image is not None and method != "paper" and options.min_snr > 0:
        image = see_sky(
            image, classification.provenance.get("background", "mesh") if background is None else background
        )
    labels = detect(
        MemoryMaps.of(classification),
        image,
        ScratchMemory(np.zeros(classification.shape, np.int32)),
        method=method,
        threshold=threshold,
        options=options,
        tile=block_side(workers=1),
    )
    return LabelMap.of(labels.read(), classification)


def detect(
    maps: MapStore,
    image: ImageReader | None,
    plane: ScratchArray,
    *,
    method: str,
    threshold: float | None = None,
    options: DetectionOptions | None = None,
    tile: int,
    threads: int = 1,
) -> LabelStore:
    """Find sources in class maps, block by block: what `segment` does, for maps of any size.

    Parameters
    ----------
    maps : MapStore
        Class maps.
    image : ImageReader or None
        The image, for a smallest significance.
    plane : ScratchArray
        Where the labels are kept; 0 everywhere.
    method, threshold, options
        As in `segment`.
    tile : int
        Side of a block in pixels; the result does not depend on it.
    threads : int
        Blocks at the same time.

    Returns
    -------
    LabelStore
        The label map, in ``plane``.
    """
    if method not in DETECTION_METHODS:
        raise OptionError(f"segmentation method {method!r}: choose one of {', '.join(DETECTION_METHODS)}")
    if threshold is not None and not 0 <= threshold < 1:
        raise OptionError(f"threshold {threshold}: expected a background value of at least 0 and below 1")
    if method == "paper":
        table = _by_votes(maps, plane, 0.0 if threshold is None else threshold, tile)
    else:
        options = options or DetectionOptions()
        if threshold is not None:
            options = replace(options, seed_threshold=1 - threshold, threshold=min(options.threshold, 1 - threshold))
        if options.min_snr > 0 and image is None:
            raise OptionError("min_snr compares light with its noise: give the image")
        table = _by_probability(maps, plane, options, tile, threads)
        if options.min_snr > 0 and image is not None:
            table = table.keep(_significances(image, plane, table, tile, threads) >= options.min_snr)
    names = np.arange(1, len(table.area) + 1, dtype=np.int32)
    return LabelStore(plane, table.component, table.boxes, names)


def _by_probability(
    maps: MapStore, plane: ScratchArray, options: DetectionOptions, tile: int, threads: int
) -> ComponentTable:
    def seen(window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        around = grown(window, 2 * _WIDEST_GAP + 1, maps.shape)
        here = inside(window, around)
        # Pixels that were not classified are NaN, and above no threshold: sky, or gaps in sources.
        source = 1 - maps.read_plane("BACKGROUND", around)
        mask = source >= options.threshold
        bridges = _bridges(mask, np.isnan(source))
        return mask[here], source[here] >= options.seed_threshold, None if bridges is None else bridges[here]

    components, windows = Components(maps.shape, min_area=options.min_area), list(tiles(maps.shape, tile))
    for window, masks in zip(windows, results_ahead(seen, windows, threads=threads), strict=True):
        plane.write(window, components.add(window, *masks))
    table = components.table()
    return table.keep(table.has_core & (table.area >= options.min_area))


def _bridges(mask: np.ndarray, unknown: np.ndarray) -> np.ndarray | None:
    """Unknown pixels in gaps that one source goes across; None where nothing is unknown.

    Gaps of bad columns and pixels, and wider ones such as trails, as far as a source is seen along them on both sides
    for a fifth of their width. Two sources on both sides are for deblending to tell, by the light.
    """
    if not unknown.any():
        return None
    bridges = np.zeros_like(mask)
    if not mask.any():
        return bridges
    gaps = Gaps.of(unknown, ndimage.maximum_filter(mask, 2 * _WIDEST_GAP + 1))
    first, last = gaps.sides(mask)
    for widths, is_source, across in zip(gaps.widths, first & last, ACROSS, strict=True):
        width = np.zeros(mask.shape)
        width[gaps.y, gaps.x] = np.where(is_source & (widths <= _WIDEST_GAP), widths, 0)
        # Runs of such pixels along the gap are gaps between the others.
        runs = Gaps.of(width > 0)
        long = runs.back[across] + runs.on[across] - 1
        wide = width[runs.y, runs.x]
        kept = wide <= _WIDE * long
        bridges[runs.y[kept], runs.x[kept]] = True
    return bridges


def _by_votes(maps: MapStore, plane: ScratchArray, threshold: float, tile: int) -> ComponentTable:
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


def _flood_regions(maps: MapStore, plane: ScratchArray, regions: ComponentTable, tile: int) -> None:
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


def _significances(
    image: ImageReader, plane: ScratchArray, table: ComponentTable, tile: int, threads: int
) -> np.ndarray:
    """Signal-to-noise ratio of each component's light: float64, shape ``(component,)``."""

    def seen(window: Window) -> tuple[SkyImage, np.ndarray]:
        return image.read(window), table.component[plane.read(window)]

    sample = thread_map(seen, sample_windows(plane.shape))
    scatter = band_scatter(sample)

    def light_of(piece: SkyImage, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return make_detection_image(piece, scatter), piece.valid, labels

    noise = noise_of_light(thread_map(light_of, *zip(*sample, strict=True)))
    del sample
    sums, lock = np.zeros(len(table.area) + 1), threading.Lock()

    def add(window: Window) -> None:
        labels = table.component[plane.read(window)]
        if labels.any():
            light = to_fixed_point(make_detection_image(image.read(window), scatter))
            found = np.bincount(labels.ravel(), weights=light.ravel(), minlength=len(sums))
            with lock:
                sums[:] += found

    run_each(add, tiles(plane.shape, tile), threads=threads)
    return signal_to_noise(sums[1:], table.area, noise)


def uncertain_pixels(background: np.ndarray, threshold: float) -> np.ndarray:
    """Pixels that are neither certainly sky nor certainly source: bool, shape ``(y, x)``."""
    return (background > threshold) & (background != 1)


def flood(background: np.ndarray, uncertain: np.ndarray) -> np.ndarray:
    """Assign uncertain pixels to sources by a watershed from the certain ones beside them.

    Parameters
    ----------
    background : numpy.ndarray
        float32, shape ``(y, x)``: background vote, NaN where not classified.
    uncertain : numpy.ndarray
        bool, shape ``(y, x)``: the pixels to decide on: one or more whole connected regions of uncertain pixels.
        The two pixels around a region count, others do not.

    Returns
    -------
    numpy.ndarray
        bool, shape ``(y, x)``: uncertain pixels that a flood from a source reached first.

    Notes
    -----
    The flood rises along the Sobel gradient of the background vote. Where certain pixels of the same gradient compete,
    the first in raster order goes first: skimage's own order among equals depends on every other pixel of the image.
    So each region is decided on by itself, as floods do not cross certain pixels.
    """
    certain = np.isfinite(background) & ~uncertain & ndimage.binary_dilation(uncertain)
    markers = np.where(background == 1, np.int32(_SKY), np.int32(_SOURCE))
    markers[~certain] = 0
    # Unclassified pixels count as vote 0 in the gradient, as in the published package: the order in which
    # pixels beside them are flooded depends on it.
    gradient = sobel(np.nan_to_num(background, nan=0.0))
    flooded = watershed(_in_raster_order(gradient, markers), markers, mask=uncertain | certain)
    return uncertain & (flooded == _SOURCE)


def _in_raster_order(gradient: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """The gradient as ranks that no two markers share: float64, shape ``(y, x)``."""
    _, rank = np.unique(gradient, return_inverse=True)
    first = np.flatnonzero(markers)
    ranks = rank.ravel() * float(len(first) + 1) + len(first)
    ranks[first] -= np.arange(len(first), 0, -1)
    return ranks.reshape(gradient.shape)
