"""Deblending: split sources that hold more than one peak of light."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelMap, LabelStore, ScratchArray, check_labels, fill_gaps
from morpheus_lite.core.protocols import ImageReader, MapStore
from morpheus_lite.core.windows import (
    SourceGroup,
    Window,
    block_side,
    grown,
    inside,
    pieces,
    sample_windows,
    source_groups,
)
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io.maps import MemoryMaps
from morpheus_lite.noise.detection_image import (
    LightNoise,
    band_scatter,
    bits_of_bands,
    light_noise,
    make_detection_image,
    unbroken_detection_image,
)
from morpheus_lite.noise.overview import see_sky
from morpheus_lite.runtime.resources import Workers, parallel_map, thread_map
from morpheus_lite.segmentation.multithreshold import LARGEST_BOX, DeblendingOptions, nearest_piece, split_source

DEBLENDING_METHODS = ("paper", "multithreshold")

_STRIP = 1024
_MOST_PEAKS = 20
_WITH_CORNERS = np.ones((3, 3), dtype=bool)


def deblend(
    labels: Any,
    image: SkyImage | np.ndarray,
    classification: Classification | None = None,
    *,
    method: str | None = None,
    band: str | None = None,
    options: DeblendingOptions | None = None,
    background: str | float | None = None,
    workers: int = 1,
) -> LabelMap:
    """Split blended sources of a label map.

    Parameters
    ----------
    labels : array_like of int
        Shape ``(y, x)``, 0 is sky: what `segment` returns, or any tool's segmentation map. Not changed.
    image : SkyImage or numpy.ndarray
        The image, or the light of one band, shape ``(y, x)``.
    classification : Classification, optional
        For ``"multithreshold"``: class maps, which tell the clumps of one galaxy from its neighbours. None takes those
        that `segment` made ``labels`` of.
    method : {"paper", "multithreshold"}, optional
        How sources are split; see Notes. None takes ``"paper"`` where the class maps have rank votes, else
        ``"multithreshold"``.
    band : str, optional
        The band whose light decides. None takes F160W, or the first band of an image without it, for ``"paper"``; and
        all bands added up in units of their noise for ``"multithreshold"``.
    options : DeblendingOptions, optional
        When to split and when to join; None takes the defaults.
    background : {"mesh", "none"} or float, optional
        What is subtracted of a SkyImage, as in `~morpheus_lite.config.classify.MeasureOptions`; None takes what the
        class maps were made with for ``"multithreshold"``, and nothing for ``"paper"``.
    workers : int
        For ``"multithreshold"``: processes that share the sources (on Linux); the result does not depend on it.

    Returns
    -------
    LabelMap
        int32, shape ``(y, x)``. Sources that are not split keep their label; the pieces of one that is split
        have labels above the largest of the input. It remembers ``labels``, which tell
        `~morpheus_lite.catalog.measure` the parents.

    Raises
    ------
    InputError
        Labels that are not whole numbers or of another shape; a band that the image does not have; class
        maps of another shape.
    OptionError
        Unknown method.

    Notes
    -----
    ``"paper"`` is the method of Hausen & Robertson (2020): the 20 highest local maxima at least
    ``min_distance`` apart, then a watershed of the inverted light. As in the published package, sky enclosed by
    a source that is split goes to the pieces; unlike there, an enclosed neighbour, invalid pixels, and
    a source all of whose peaks lie outside of it are left alone.

    ``"multithreshold"`` splits at the saddles of the smoothed light as SExtractor does (photutils' deblender), then
    joins touching pieces again: where the saddle is no deeper than the noise there allows, and where little of the
    light of the fainter stands out above it. With class maps, more may stand out where both are disk or irregular
    light: arms and clumps of one galaxy; and a star is never joined with a galaxy. The pieces of a source cover exactly
    its pixels. Where bands miss some of its pixels, the others are scaled by its colours: its light has no step there.

    Sources whose bounding box has more than `~morpheus_lite.segmentation.multithreshold.LARGEST_BOX` pixels stay whole.
    """
    if classification is None and isinstance(labels, LabelMap):
        classification = labels.classification
    if method is None:
        method = "multithreshold" if classification is None or classification.vote is None else "paper"
    if method not in DEBLENDING_METHODS:
        raise OptionError(f"deblending method {method!r}: choose one of {', '.join(DEBLENDING_METHODS)}")
    if background is None and method != "paper":
        background = "mesh" if classification is None else classification.provenance.get("background", "mesh")
    if not isinstance(image, SkyImage):
        seen = _image_of_light(image)
    else:
        seen = image if background is None else see_sky(image, background)
    seen = seen if band is None else seen.take([seen.index(band)])
    labels = check_labels(labels, seen.shape)
    if classification is not None and classification.shape != labels.shape:
        raise InputError(f"class maps of shape {classification.shape} do not fit an image of shape {labels.shape}")
    found, _ = split(
        LabelStore.of(labels),
        seen,
        None if classification is None else MemoryMaps.of(classification),
        method=method,
        options=options,
        tile=block_side(workers),
        workers=workers,
    )
    return LabelMap.of(found.read(), classification, parents=labels)


def _image_of_light(light: np.ndarray) -> SkyImage:
    """One band without a name, in units of its noise."""
    light = np.asarray(light)
    if light.ndim != 2:
        raise InputError(f"light of shape {light.shape}: expected one band (y, x), or a SkyImage")
    usable = np.isfinite(light)[:, :, None]
    kind = light.dtype if light.dtype.kind == "f" else np.float64
    data = np.where(usable, light[:, :, None], 0).astype(kind, copy=False)
    return SkyImage(data, ("1",), usable, rms=np.ones_like(data))


class Split(NamedTuple):
    """A source that is several: its label, its box in the window, its pieces there (0 outside), numbers it uses up."""

    label: int
    box: tuple[slice, slice]
    pieces: np.ndarray
    n_used: int


Splitter = Callable[[Window, np.ndarray, np.ndarray], Iterator[Split]]
"""Takes a window, the labels in it and the labels to be split, gives those that are several."""


@dataclass
class SplitBook:
    """Record of split sources, by the numbers that pieces are given as they are found, in any order.

    Parameters
    ----------
    before : numpy.ndarray
        int32, shape ``(number + 1,)``: label before deblending; 0 for sky, also for sky that became part of a piece.
    owner, piece : numpy.ndarray
        int32, shape ``(number + 1,)``: label that was split, and which of its pieces; 0 for other numbers.
    """

    before: np.ndarray
    owner: np.ndarray = field(init=False)
    piece: np.ndarray = field(init=False)
    used: dict[int, int] = field(default_factory=dict)
    boxes: dict[tuple[int, int], tuple[int, int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.owner, self.piece = np.zeros_like(self.before), np.zeros_like(self.before)

    def enter(self, split: Split, window: Window, numbers: np.ndarray) -> None:
        """Give the pixels of a split source new numbers, in place.

        Sky that two sources enclose, one inside the other, goes to the inner one, whose label is larger.
        """
        self.used[split.label] = split.n_used
        count = int(split.pieces.max())
        if not count:
            return
        here = numbers[split.box]
        own = (split.pieces > 0) & (self.before[here] == split.label)
        sky = (split.pieces > 0) & (self.before[here] == 0) & (self.owner[here] < split.label)
        first = len(self.before)
        here[own] = first + split.pieces[own] - 1
        here[sky] = first + count + split.pieces[sky] - 1
        numbered = np.arange(1, count + 1, dtype=np.int32)
        label = np.full(count, split.label, dtype=np.int32)
        self.before = np.concatenate([self.before, label, np.zeros_like(label)])
        self.owner = np.concatenate([self.owner, label, label])
        self.piece = np.concatenate([self.piece, numbered, numbered])
        top, left = window.y + split.box[0].start, window.x + split.box[1].start
        for number, box in enumerate(ndimage.find_objects(split.pieces), start=1):
            if box is not None:
                (y0, y1), (x0, x1) = ((side.start, side.stop) for side in box)
                self.boxes[split.label, number] = top + y0, left + x0, top + y1, left + x1

    def labels(self, parents: LabelStore) -> LabelStore:
        """The label map after deblending: pieces behind the labels that there were, in the order of their parents."""
        largest = int(parents.names.max(initial=0))
        offset = np.zeros(largest + 1, dtype=np.int64)
        for owner, n_used in self.used.items():
            offset[owner] = n_used
        offset = largest + np.cumsum(offset) - offset
        is_piece = self.piece > 0
        label = np.where(is_piece, offset[self.owner] + self.piece, self.before).astype(np.int32)
        split = np.unique([owner for owner, _ in self.boxes]).astype(np.int64)
        whole = ~np.isin(parents.names, split)
        names = np.array([offset[owner] + piece for owner, piece in self.boxes], dtype=np.int32)
        boxes = np.array(list(self.boxes.values()), dtype=np.int64).reshape(-1, 4)
        names, boxes = np.concatenate([parents.names[whole], names]), np.concatenate([parents.boxes[whole], boxes])
        order = np.argsort(names)
        return LabelStore(parents.plane, label, boxes[order], names[order])


def split(
    parents: LabelStore,
    image: ImageReader,
    maps: MapStore | None,
    *,
    method: str,
    options: DeblendingOptions | None = None,
    tile: int,
    workers: Workers = 1,
) -> tuple[LabelStore, LabelStore]:
    """Deblend the sources of a label map, some at a time: what `deblend` does, for images of any size.

    Parameters
    ----------
    parents : LabelStore
        The label map; its plane gets new numbers.
    image : ImageReader
        The image.
    maps : MapStore or None
        Its class maps.
    method, options
        As in `deblend`.
    tile : int
        Side of a tile in pixels; the result does not depend on it.
    workers : int or Executor
        Processes that share the groups of sources; the method ``"paper"``, where sources can take sky from each other,
        has one.

    Returns
    -------
    labels, parents : LabelStore
        The label map after deblending, and the one before as the plane's new numbers give it.
    """
    sides, options = parents.boxes[:, 2:] - parents.boxes[:, :2], options or DeblendingOptions()
    may = sides.prod(axis=1) <= LARGEST_BOX
    if method == "paper":
        # Peaks nearer than min_distance to the sides of a box do not count: smaller boxes have none.
        may &= sides.min(axis=1) > 2 * options.min_distance
        splitter: Splitter = partial(_at_peaks, image, options.min_distance)
    else:
        splitter = _ByLevels.of(parents, image, maps, options)
    book = SplitBook(parents.label)
    groups = list(source_groups(parents.boxes[may], 0, parents.shape, tile))
    look = partial(_look, book, parents.plane, splitter, parents.names[may])
    image.close()
    results = parallel_map(look, groups, workers=1 if method == "paper" else workers)
    for group, found in zip(groups, results, strict=True):
        numbers = parents.plane.read(group.window) if found else np.zeros(0)
        for one in found:
            book.enter(one, group.window, numbers)
        if found:
            parents.plane.write(group.window, numbers)
    before = LabelStore(parents.plane, book.before, parents.boxes, parents.names)
    return book.labels(parents), before


def _look(
    book: SplitBook, plane: ScratchArray, splitter: Splitter, names: np.ndarray, group: SourceGroup
) -> list[Split]:
    """The sources of a group that are several."""
    numbers = plane.read(group.window)
    # Where processes share the work, pieces of other groups may be newer than this one's book.
    labels = np.where(numbers < len(book.before), book.before[np.minimum(numbers, len(book.before) - 1)], 0)
    return list(splitter(group.window, labels, names[group.members]))


def _at_peaks(
    image: ImageReader, min_distance: int, window: Window, labels: np.ndarray, wanted: np.ndarray
) -> Iterator[Split]:
    """Sources with several peaks: their pieces depend on the pixels in their boxes alone."""
    piece = image.read(window)
    band = piece.index(piece.detection_band)
    usable = piece.valid[:, :, band]
    light = np.where(usable, piece.data[:, :, band], 0)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if label not in wanted:
            continue
        own = labels[box] == label
        own_light = np.where(own, light[box], 0)
        peaks = peak_local_max(own_light, min_distance=min_distance, num_peaks=_MOST_PEAKS)
        if len(peaks) > 1:
            holes = ndimage.binary_fill_holes(own, _WITH_CORNERS) & (labels[box] == 0) & usable[box]
            yield Split(label, box, _flood(own, holes, own_light, peaks), len(peaks))


def _flood(own: np.ndarray, holes: np.ndarray, light: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Pieces of one source, numbered as its peaks: int32; 0 outside, and everywhere if no peak is inside."""
    mask = own | holes
    markers = np.zeros(mask.shape, dtype=np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    markers[~mask] = 0
    pieces = watershed(-light, markers, mask=mask)
    left = own & (pieces == 0)
    if left.any() and markers.any():
        # A source in several parts, as other tools make them: a part without a peak goes to the nearest piece.
        pieces = np.where(left, nearest_piece(pieces), pieces)
    return pieces


@dataclass(frozen=True, eq=False)
class _ByLevels:
    """`Splitter` by the saddles of the smoothed light, for the sources of one image."""

    image: ImageReader
    maps: MapStore | None
    options: DeblendingOptions
    scatter: tuple[float | None, ...]
    noise: LightNoise

    @classmethod
    def of(
        cls, parents: LabelStore, image: ImageReader, maps: MapStore | None, options: DeblendingOptions
    ) -> "_ByLevels":
        """Measure the scatter of each band and the noise of the smoothed light in the empty sky."""

        def read(window: Window) -> tuple[SkyImage, tuple[slice, slice], np.ndarray]:
            around = grown(window, _reach(options), image.shape)
            return replace(image.read(around), wcs=None), inside(window, around), parents.read(window)

        sample = thread_map(read, sample_windows(parents.shape))
        scatter = band_scatter([(piece[here], labels) for piece, here, labels in sample])
        smooth = thread_map(lambda one: _smoothed(make_detection_image(one[0], scatter), options)[one[1]], sample)
        noise = light_noise(zip(smooth, (labels for *_, labels in sample), strict=True))
        return cls(image, maps, options, scatter, noise)

    def __call__(self, window: Window, labels: np.ndarray, wanted: np.ndarray) -> Iterator[Split]:
        smooth, bands = self._smooth(window)
        seen = None if self.maps is None else self.maps.read(window, ("mean", "large_object"))
        planes, large = (None, None) if seen is None else (seen.probability, seen.large_object)
        filled, _ = fill_gaps(labels, bands == 0)
        # Small numbers: boxes are listed up to the largest.
        local, on_source = np.zeros(filled.shape, np.int32), filled > 0
        own_labels = filled[on_source]
        place = np.searchsorted(wanted, own_labels)
        local[on_source] = np.where(wanted[np.minimum(place, len(wanted) - 1)] == own_labels, place + 1, 0)
        for number, (label, box) in enumerate(zip(wanted.tolist(), ndimage.find_objects(local), strict=True), start=1):
            own = local[box] == number
            if np.count_nonzero(own) < 2 * self.options.min_area:
                continue
            light, seen_in = smooth[box], bands[box][own]
            if (seen_in != seen_in[0]).any():
                light = self._unbroken(Window(window.y + box[0].start, window.x + box[1].start, *own.shape), own)
            classes, objects = (None if plane is None else plane[box] for plane in (planes, large))
            found = split_source(light, own, classes, self.options, noise=self.noise, large=objects)
            if found is not None:
                yield Split(label, box, np.where(labels[box] == label, found, 0), int(found.max()))

    def _unbroken(self, window: Window, own: np.ndarray) -> np.ndarray:
        """Smoothed light of the box of a source across the edge of a band, or a gap in all bands, without a step."""
        around = grown(window, _reach(self.options), self.image.shape)
        here = inside(window, around)
        mask = np.zeros(around.shape, dtype=bool)
        mask[here] = own
        piece = self.image.read(around)
        missing = np.asarray(~piece.valid.any(axis=2))
        _, light = fill_gaps(mask & ~missing, missing, unbroken_detection_image(piece, mask, self.scatter))
        return _smoothed(light, self.options)[here]

    def _smooth(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Smoothed light of a window, and its valid bands as bits; only strips of them are in memory at once."""
        around = grown(window, _reach(self.options), self.image.shape)
        light, bands = np.empty(around.shape), np.empty(around.shape, np.int32)
        for part in pieces(around, _STRIP):
            piece: SkyImage = self.image.read(part)
            light[inside(part, around)] = make_detection_image(piece, self.scatter)
            bands[inside(part, around)] = bits_of_bands(piece.valid)
        here = inside(window, around)
        return _smoothed(light, self.options)[here], bands[here]


def _smoothed(light: np.ndarray, options: DeblendingOptions) -> np.ndarray:
    """The light in which saddles are sought."""
    return ndimage.gaussian_filter(light, options.smoothing) if options.smoothing else light


def _reach(options: DeblendingOptions) -> int:
    """Pixels from which `_smoothed` draws on each side."""
    return int(4 * options.smoothing + 0.5)
