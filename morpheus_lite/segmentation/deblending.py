"""Deblending: split sources that hold more than one peak of light."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import check_labels
from morpheus_lite.core.sampling import sample_windows
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.noise.background_mesh import see_sky
from morpheus_lite.noise.band_stack import bits_of_bands
from morpheus_lite.noise.detection_image import band_scatter, make_detection_image
from morpheus_lite.segmentation.multithreshold import (
    LARGEST_BOX,
    MultithresholdOptions,
    Relight,
    is_broken,
    split_at_levels,
    unbroken,
)

DEBLENDING_METHODS = ("paper", "multithreshold")
_MOST_PEAKS = 20
_WITH_CORNERS = np.ones((3, 3), dtype=bool)


def deblend(
    labels: Any,
    image: SkyImage | np.ndarray,
    *,
    method: str = "paper",
    band: str | None = None,
    min_distance: int = 20,
    classification: Classification | None = None,
    options: MultithresholdOptions | None = None,
    background: str | float | None = None,
    workers: int = 1,
) -> np.ndarray:
    """Split blended sources of a label map.

    Parameters
    ----------
    labels : array_like of int
        Shape ``(y, x)``, 0 is sky: what `segment` returns, or any tool's segmentation map. Not changed.
    image : SkyImage or numpy.ndarray
        The image, or the light of one band, shape ``(y, x)``.
    method : {"paper", "multithreshold"}
        How sources are split; see Notes.
    band : str, optional
        The band whose light decides. None takes F160W, or the first band of an image without it, for ``"paper"``; and
        all bands added up in units of their noise for ``"multithreshold"``.
    min_distance : int
        For ``"paper"``: smallest distance between two peaks along either axis, in pixels. Peaks closer than this to the
        side of their source's bounding box do not count, so sources up to twice as wide stay whole.
    classification : Classification, optional
        For ``"multithreshold"``: class maps, which tell the clumps of one galaxy from its neighbours.
    options : MultithresholdOptions, optional
        For ``"multithreshold"``: when to split and when to join; None takes the defaults.
    background : {"mesh", "none"} or float, optional
        For ``"multithreshold"``: what is subtracted of a SkyImage, as in
        `~morpheus_lite.config.measure.MeasureOptions`.
    workers : int
        For ``"multithreshold"``: processes that share the sources (on Linux); the result does not depend on it.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(y, x)``. Sources that are not split keep their label; the pieces of one that is split
        have labels above the largest of the input. ``labels`` itself tells the parent: pass it to
        `~morpheus_lite.catalog.measure` as ``parents``.

    Raises
    ------
    InputError
        Labels that are not whole numbers or of another shape; a band that the image does not have; class
        maps of another shape.
    OptionError
        Unknown method, or a distance below one pixel.

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
    if method not in DEBLENDING_METHODS:
        raise OptionError(f"deblending method {method!r}: choose one of {', '.join(DEBLENDING_METHODS)}")
    if min_distance < 1:
        raise OptionError(f"min_distance {min_distance}: expected at least 1 pixel")
    light, usable = band_light(image, band)
    labels = check_labels(labels, light.shape)
    if method == "paper":
        return _split_at_peaks(labels, light, usable, min_distance)
    if classification is not None and classification.shape != labels.shape:
        raise InputError(f"class maps of shape {classification.shape} do not fit an image of shape {labels.shape}")
    options, relight = options or MultithresholdOptions(), None
    if isinstance(image, SkyImage):
        image = see_sky(image, "mesh" if background is None else background)
        seen = image if band is None else image.take([image.index(band)])
        scatter = band_scatter((seen.cutout(window), labels[window.slices]) for window in sample_windows(seen.shape))
        light = make_detection_image(seen, labels, scatter=scatter)
        relight = _unbroken_light(seen, scatter, options)
    light = light.astype(np.float64)
    return split_at_levels(labels, light, classification, options, relight=relight, workers=workers)


def _unbroken_light(image: SkyImage, scatter: tuple[float | None, ...], options: MultithresholdOptions) -> Relight:
    """Light for sources that lie across the edge of a band."""
    bands = bits_of_bands(image.valid)

    def relight(box: tuple[slice, slice], own: np.ndarray) -> np.ndarray | None:
        if not is_broken(bands[box], own):
            return None
        window = Window(box[0].start, box[1].start, *own.shape)
        return unbroken(image.cutout, window, own, options, scatter, image.shape)

    return relight


def band_light(image: SkyImage | np.ndarray, band: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Light (0 where not usable) and usable pixels of one band."""
    if isinstance(image, SkyImage):
        index = image.index(band or image.detection_band)
        plane, usable = image.data[:, :, index], image.valid[:, :, index]
    else:
        plane = np.asarray(image)
        if plane.ndim != 2:
            raise InputError(f"light of shape {plane.shape}: expected one band (y, x), or a SkyImage")
        usable = np.isfinite(plane)
    kind = plane.dtype if plane.dtype.kind == "f" else np.float64
    return np.where(usable, plane, 0).astype(kind, copy=False), usable


def _split_at_peaks(labels: np.ndarray, light: np.ndarray, usable: np.ndarray, min_distance: int) -> np.ndarray:
    split = labels.copy()
    largest = int(labels.max(initial=0))
    for _, box, pieces, n_peaks in peak_pieces(labels, light, usable, min_distance):
        split[box] = np.where(pieces > 0, pieces + largest, split[box])
        # Peaks outside of the source (a zero between negative pixels) use up a number, so that labels are
        # those of the published package.
        largest += n_peaks
    return split


def peak_pieces(
    labels: np.ndarray,
    light: np.ndarray,
    usable: np.ndarray,
    min_distance: int,
    *,
    wanted: np.ndarray | None = None,
) -> Iterator[tuple[int, tuple[slice, slice], np.ndarray, int]]:
    """The sources with several peaks, each with its pieces, as the method ``"paper"`` splits them.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    light, usable : numpy.ndarray
        Light of one band, 0 where it may not be used, and where it may, shape ``(y, x)``.
    min_distance : int
        Smallest distance between two peaks along either axis, in pixels.
    wanted : numpy.ndarray, optional
        int, shape ``(n,)``: the sources to split; the others are only neighbours. None for all.

    Yields
    ------
    label, box, pieces, n_peaks
        int; (slice, slice); int32 of the box's shape: 1, 2, ... up to the number of peaks, 0 where there is no piece.
        They depend on the pixels in the source's box alone.
    """
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        # Peaks nearer than min_distance to the box's sides do not count: smaller boxes have none.
        if box is None or not may_have_peaks([side.stop - side.start for side in box], min_distance):
            continue
        if wanted is not None and label not in wanted:
            continue
        own = labels[box] == label
        own_light = np.where(own, light[box], 0)
        peaks = peak_local_max(own_light, min_distance=min_distance, num_peaks=_MOST_PEAKS)
        if len(peaks) < 2:
            continue
        holes = ndimage.binary_fill_holes(own, _WITH_CORNERS) & (labels[box] == 0) & usable[box]
        yield label, box, _flood(own, holes, own_light, peaks), len(peaks)


def may_have_peaks(sides: Sequence[int], min_distance: int) -> bool:
    """True if a bounding box is large enough for two peaks, and not too large to be split."""
    return min(sides) > 2 * min_distance and sides[0] * sides[1] <= LARGEST_BOX


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
        nearest = ndimage.distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
        pieces[left] = pieces[tuple(nearest[:, left])]
    return pieces
