"""Segments: what the pixels of a source tell by themselves, its place, ellipse, fluxes, classes and flags."""

from collections.abc import Sequence
from enum import IntFlag
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import PixelFlag, SourceFlag
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelledPixels

Rows = dict[str, np.ndarray]
"""Columns of the catalogue by name: an array with a value per source each."""
_THINNEST = 1 / 12
"""Variance of a pixel's own width, in pixels squared."""


def measure_shapes(sources: LabelledPixels, light: np.ndarray, usable: np.ndarray) -> Rows:
    """Area, centroid, peak and ellipse of each source.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    light, usable : numpy.ndarray
        Detection image and where it may be used, shape ``(y, x)``.

    Returns
    -------
    dict
        Column name to float64 or int values, shape ``(source,)``, positions in pixels of the whole image. A source
        without positive light has the mean of its pixels as centroid, and NaN for its ellipse.

    Notes
    -----
    Moments of the positive light about the corner of the bounding box, so that they have the same bits in whatever
    piece of the image the source is measured. Ellipses thinner than a pixel are widened by 1/12 pixel squared along
    both axes until they are not, as SExtractor and photutils do.
    """
    flux, usable_pixels = sources.take(light), sources.take(usable)
    # Invalid pixels cannot be the brightest, unless a source has no others.
    peak = sources.brightest(np.where(usable_pixels, flux, -np.inf))
    shapes = {"area": sources.sizes, "x_peak": sources.column[peak], "y_peak": sources.row[peak]}
    weight = np.where(usable_pixels, np.maximum(flux, 0), 0).astype(np.float64)
    total = sources.sum(weight)
    corner = sources.boxes[:, :2]
    away, away_squared = [], []
    for axis, (name, place) in enumerate((("y_centroid", sources.row), ("x_centroid", sources.column))):
        inside = (place - sources.spread(corner[:, axis])).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = np.where(total > 0, sources.sum(weight * inside) / total, sources.sum(inside) / sources.sizes)
        shapes[name] = middle + corner[:, axis]
        away.append(inside - sources.spread(middle))
        away_squared.append(sources.sum(weight * away[axis] ** 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        yy, xx, xy = (moment / total for moment in (*away_squared, sources.sum(weight * away[0] * away[1])))
    return shapes | _ellipses(xx, yy, xy)


def _ellipses(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> Rows:
    """Ellipses of sources from their second central moments."""
    # One round is enough, but for rounding; NaN is never thin.
    wider = np.zeros(len(xx))
    while (thin := (xx + wider) * (yy + wider) - xy**2 < _THINNEST**2).any():
        wider[thin] += _THINNEST
    xx, yy = xx + wider, yy + wider
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    major = np.sqrt(middle + half)
    # The product of the eigenvalues is the determinant: their difference would lose digits.
    minor = np.sqrt((xx * yy - xy**2) / (middle + half))
    return {
        "semimajor_axis": major,
        "semiminor_axis": minor,
        "orientation": np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)) % 360,
        "ellipticity": 1 - minor / major,
    }


def measure_fluxes(sources: LabelledPixels, image: SkyImage) -> Rows:
    """Flux of each source in each band, and its error where the image has noise planes.

    Returns
    -------
    dict
        ``segment_flux_<band>`` and ``segment_fluxerr_<band>``: float64, shape ``(source,)``, in the units of the
        data; ``segment_covered_<band>``: share of the pixels that are valid. Flux sums the valid pixels, and is NaN
        without any. Errors add the RMS of those pixels in quadrature; pixels whose RMS is
        unknown (0) count as noisy as the source's others, and the error is NaN if all are unknown.
    """
    fluxes = {}
    for index, band in enumerate(image.bands):
        valid = sources.take(image.valid[:, :, index])
        covered = sources.sum(valid) / sources.sizes
        flux = sources.sum(np.where(valid, sources.take(image.data[:, :, index]), 0))
        fluxes[f"segment_covered_{band}"], fluxes[f"segment_flux_{band}"] = covered, np.where(covered > 0, flux, np.nan)
        if image.rms is None:
            continue
        rms = np.where(valid, sources.take(image.rms[:, :, index]), 0).astype(np.float64)
        n_known = sources.sum(rms > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            fluxes[f"segment_fluxerr_{band}"] = np.sqrt(sources.sum(rms**2) * sources.sum(valid) / n_known)
    return fluxes


_N = len(SOURCE_CLASSES)


def verdicts(share: np.ndarray, least: float) -> Rows:
    """Class of each source, and scores, from the shares of the classes ``(source, 4)``.

    Returns
    -------
    dict
        ``p_<class>``; ``morphology``: class with the largest share, `UNCERTAIN` below ``least``, empty if not known;
        ``class_confidence``: the largest share; ``entropy`` of the shares in units of its largest. NaN where nothing is
        known.
    """
    known, confidence = np.isfinite(share).all(axis=1), share.max(axis=1)
    top = np.array(SOURCE_CLASSES)[np.nan_to_num(share).argmax(axis=1)]
    terms = np.where(share > 0, share * np.log(np.where(share > 0, share, 1)), share)
    return {
        **{f"p_{name}": share[:, k] for k, name in enumerate(SOURCE_CLASSES)},
        "morphology": np.where(known, np.where(confidence >= least, top, UNCERTAIN), ""),
        "class_confidence": confidence,
        "entropy": np.abs(terms.sum(axis=1)) / np.log(_N),
    }


def measure_morphology(
    sources: LabelledPixels, maps: np.ndarray, light: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Share of each class in each source.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    maps : numpy.ndarray
        float32, shape ``(y, x, class)``: rank votes or mean probabilities, NaN where not classified.
    light, usable : numpy.ndarray
        Detection image and where it may be used, shape ``(y, x)``.

    Returns
    -------
    share : numpy.ndarray
        float64, shape ``(source, 4)``: they add to 1; NaN where no pixel of a source says anything for a source class.
    unweighted : numpy.ndarray
        bool, shape ``(source,)``: True where there was no positive light to weight with.

    Notes
    -----
    Share of class k, as in Hausen & Robertson (2020): ``q_k = s_k / sum_j s_j`` with
    ``s_k = sum_i f_i p_ki`` over the pixels i, light f, class map p. Sums below 0, which noise can make, count as
    0, so that shares are never negative; where none is positive, every pixel weighs the same.
    """
    known = sources.take(usable) & np.isfinite(sources.take(maps[:, :, 0]))
    weight = np.where(known, sources.take(light), 0).astype(np.float64)
    sums = _class_sums(sources, maps, weight)
    unweighted = sums.sum(axis=1) <= 0
    if unweighted.any():
        # A source without positive light counts each pixel alike.
        weight = np.where(sources.spread(unweighted), known, weight)
        sums = _class_sums(sources, maps, weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / sums.sum(axis=1, keepdims=True), unweighted


def measure_nature(sources: LabelledPixels, probability: np.ndarray, light: np.ndarray, usable: np.ndarray) -> Rows:
    """Measure the probability that each source is real, and how much of its light lies in pixels of a class.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    probability : numpy.ndarray
        float32, shape ``(y, x, class)``: mean probabilities, NaN where not classified.
    light, usable : numpy.ndarray
        Detection image and where it may be used, shape ``(y, x)``.

    Returns
    -------
    dict
        ``p_source, spheroid_pixel_fraction, disk_pixel_fraction``: float64, shape ``(source,)``, in [0, 1]; NaN where
        no pixel is known. Pixels weigh by their positive light; all the same in a source without any.
    """
    classes = sources.take(probability)
    known = sources.take(usable) & np.isfinite(classes[:, 0])
    weight = np.where(known, np.maximum(sources.take(light), 0), 0).astype(np.float64)
    weight = np.where(sources.spread(sources.sum(weight) <= 0), known, weight)
    top = np.nan_to_num(classes[:, :_N]).argmax(axis=1)
    real = np.where(known, 1 - np.nan_to_num(classes[:, BACKGROUND]), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = sources.sum(weight)
        nature = {"p_source": np.clip(sources.sum(weight * real) / total, 0, 1)}
        for name in ("spheroid", "disk"):
            nature[f"{name}_pixel_fraction"] = sources.sum(weight * (top == SOURCE_CLASSES.index(name))) / total
    return nature


def _class_sums(sources: LabelledPixels, maps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted sums of the class maps, not below 0: float64, shape ``(source, 4)``."""
    planes = (np.nan_to_num(sources.take(maps[:, :, k])) for k in range(_N))
    return np.maximum(np.stack([sources.sum(weight * plane) for plane in planes], axis=1), 0)


def holds_others(sources: LabelledPixels, light: np.ndarray, sigma: float) -> np.ndarray:
    """Tell which sources have places in them that look like stars: bool, shape ``(source,)``.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    light : numpy.ndarray
        Detection image, shape ``(y, x)``.
    sigma : float
        Noise of a pixel of it.

    Notes
    -----
    Wide ones of which three places or more stand out by half of the light around and ten times the noise. Of disks and
    irregular galaxies these are knots, of stars spikes; a smooth one is a halo, a ghost or a glow with stars in it.
    """
    found = np.zeros(len(sources), dtype=bool)
    boxes = sources.boxes
    height, width = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    wide = (np.maximum(height, width) >= _WIDE) & (height * width <= _LARGEST_BOX)
    own = sources.take(light)
    for k in np.flatnonzero(wide).tolist():
        here = np.s_[sources.starts[k] : sources.starts[k] + sources.sizes[k]]
        box = np.zeros((height[k], width[k]))
        box[sources.row[here] - boxes[k, 0], sources.column[here] - boxes[k, 1]] = own[here]
        box = ndimage.gaussian_filter(box, _SMOOTHING)
        around = ndimage.grey_opening(box, (_NARROW, _NARROW))
        stands_out = box - around > np.maximum(_CLEAR * sigma / (2 * np.sqrt(np.pi) * _SMOOTHING), around / 2)
        found[k] = ndimage.label(stands_out, _WITH_CORNERS)[1] >= _SEVERAL
    return found


_WIDE, _NARROW, _SMOOTHING, _LARGEST_BOX = 96, 9, 0.8, 1 << 22  # pixels
_CLEAR, _SEVERAL = 10.0, 3  # times the noise, and places
_WITH_CORNERS = np.ones((3, 3), dtype=bool)
# Pixels with the same largest value: two may meet by chance in whole numbers, four are a flat top.
_FLAT = 4
_HOLE = 0.75
"""Share of a source that has data where what is missing beside its peak is a hole, and not the edge of a band."""


class PixelMark(IntFlag):
    """Bits of a pixel that decide the flags of its source."""

    EDGE = 1
    INVALID = 2
    CONTACT = 4
    RARELY_SEEN = 8
    FIRST_BAND = 16
    """This bit and those above it: beside an invalid pixel of a source in the first band, in the second, ..."""


_MARKS = {
    SourceFlag.EDGE: PixelMark.EDGE,
    SourceFlag.INVALID_PIXELS: PixelMark.INVALID,
    SourceFlag.BLENDED: PixelMark.CONTACT,
    SourceFlag.LOW_COVERAGE: PixelMark.RARELY_SEEN,
}
"""Flags of sources with pixels of such a mark."""


class LabelledPiece(NamedTuple):
    """Piece of an image with its labels.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    image : SkyImage
        The same pixels; with the WCS of the whole image.
    maps : Classification
        Class maps of the same pixels.
    parents : numpy.ndarray
        int32, shape ``(y, x)``: labels before deblending.
    """

    labels: np.ndarray
    image: SkyImage
    maps: Classification
    parents: np.ndarray


def mark_pixels(piece: LabelledPiece, usual_coverage: int | None, filled: np.ndarray | None = None) -> np.ndarray:
    """Pixels whose place matters for the flags of their source.

    Parameters
    ----------
    piece : LabelledPiece
        The pixels.
    usual_coverage : int or None
        Largest coverage of the whole image; None takes that of the piece.
    filled : numpy.ndarray, optional
        int32, shape ``(y, x)``: the labels with the gaps of the sources filled; not given, every invalid pixel counts
        as one of a source.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(y, x)``: bits of `PixelMark`. Of a piece of an image, the outermost pixels count as its edge.
    """
    planes = {
        PixelMark.EDGE: _edge_pixels(piece.maps),
        PixelMark.INVALID: _beside(~piece.maps.valid),
        PixelMark.CONTACT: _contact_pixels(piece.labels),
        PixelMark.RARELY_SEEN: _rarely_seen(piece.maps, usual_coverage),
    }
    marks, valid = np.zeros(piece.labels.shape, dtype=np.int32), piece.image.valid
    for mark, plane in planes.items():
        marks[plane] |= int(mark)
    for index in range(valid.shape[2]):
        holes = ~valid[:, :, index] if filled is None else ~valid[:, :, index] & (filled > 0)
        marks[_beside(holes)] |= int(PixelMark.FIRST_BAND) << index
    return marks


def _beside(mask: np.ndarray) -> np.ndarray:
    return ndimage.binary_dilation(mask, _WITH_CORNERS) if mask.any() else mask


def flag_sources(sources: LabelledPixels, marks: np.ndarray, others: dict[SourceFlag, np.ndarray | bool]) -> np.ndarray:
    """Flags that follow from where a source lies.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    marks : numpy.ndarray
        int32, shape ``(y, x)``: what `mark_pixels` found.
    others : dict
        Flags that were found elsewhere: bool, shape ``(source,)``, or one value for all.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(source,)``: bits of `~morpheus_lite.core.flags.SourceFlag`.
    """
    found = np.zeros(len(sources), np.int32)
    bits = {flag: sources.any((marks & int(mark)) > 0) for flag, mark in _MARKS.items()} | others
    for flag, value in bits.items():
        found |= int(flag) * np.asarray(value, np.int32)
    return found


def find_saturated(
    sources: LabelledPixels,
    image: SkyImage,
    marks: np.ndarray,
    levels: Sequence[float | np.ndarray | None],
    faintest: Sequence[float],
) -> np.ndarray:
    """Find sources with saturated pixels, or with the traces of saturation.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    image : SkyImage
        The image.
    marks : numpy.ndarray
        int32, shape ``(y, x)``: what `mark_pixels` found.
    levels : sequence of (float, numpy.ndarray or None)
        Light of each band, or for each source in it, from which a pixel is saturated; None where nothing says.
    faintest : sequence of float
        For each band, the value below which a flat top or a hole is no sign of saturation.

    Returns
    -------
    numpy.ndarray
        bool, shape ``(source,)``: True where, in any band, a pixel reaches the level, four pixels share the
        largest value, or the brightest pixel lies beside invalid ones that are no more than a hole in it.
    """
    found = np.zeros(len(sources), dtype=bool)
    for index, (level, faint) in enumerate(zip(levels, faintest, strict=True)):
        valid = image.valid[:, :, index]
        light = np.where(sources.take(valid), sources.take(image.data[:, :, index]), -np.inf)
        peak = sources.brightest(light)
        largest = light[peak]
        flat = sources.sum(light == sources.spread(largest)) >= _FLAT
        beside = (marks[sources.y[peak], sources.x[peak]] & int(PixelMark.FIRST_BAND) << index) > 0
        beside &= sources.sum(sources.take(valid)) >= _HOLE * sources.sizes
        found |= (flat | beside) & (largest > faint) & np.isfinite(largest)
        if level is not None:
            found |= largest >= level
    return found


def _edge_pixels(classification: Classification) -> np.ndarray:
    """Pixels on the image's border, or beside valid pixels that no window classified (``edges="leave"``)."""
    unseen = ~classification.classified & classification.valid
    edge = ndimage.binary_dilation(unseen) if unseen.any() else unseen
    edge[[0, -1]] = edge[:, [0, -1]] = True
    return edge


def _contact_pixels(labels: np.ndarray) -> np.ndarray:
    """Pixels that share a side with a pixel of another source."""
    contact = np.zeros(labels.shape, dtype=bool)
    for first, second in (((slice(1, None), slice(None)), (slice(-1), slice(None))), (np.s_[:, 1:], np.s_[:, :-1])):
        touching = (labels[first] != labels[second]) & (labels[first] > 0) & (labels[second] > 0)
        contact[first] |= touching
        contact[second] |= touching
    return contact


def _rarely_seen(classification: Classification, usual_coverage: int | None) -> np.ndarray:
    """Pixels that fewer than half of the usual windows saw."""
    if classification.flags is not None:
        return (classification.flags & np.uint8(PixelFlag.LOW_COVERAGE)) > 0
    usual = classification.coverage.max(initial=0) if usual_coverage is None else usual_coverage
    return 2 * classification.coverage < usual
