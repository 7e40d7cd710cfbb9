"""Flags of sources: what a reader of the catalogue must know before trusting a row."""

from collections.abc import Sequence
from enum import IntFlag

import numpy as np
from scipy import ndimage

from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import BandFlag, PixelFlag, SourceFlag
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelledPixels

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
    """This bit and those above it: beside an invalid pixel of the first band, of the second, ..."""


def mark_pixels(
    labels: np.ndarray, valid: np.ndarray, classification: Classification, *, usual_coverage: int | None = None
) -> np.ndarray:
    """Pixels whose place matters for the flags of their source.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    valid : numpy.ndarray
        bool, shape ``(y, x, band)``.
    classification : Classification
        Tells invalid, unclassified and rarely seen pixels.
    usual_coverage : int, optional
        Largest coverage of the whole image, where these are pieces of it.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(y, x)``: bits of `PixelMark`. Of a piece of an image, the outermost pixels count as its edge.
    """
    planes = {
        PixelMark.EDGE: _edge_pixels(classification),
        PixelMark.INVALID: _beside(~classification.valid),
        PixelMark.CONTACT: _contact_pixels(labels),
        PixelMark.RARELY_SEEN: _rarely_seen(classification, usual_coverage),
    }
    marks = np.zeros(labels.shape, dtype=np.int32)
    for mark, plane in planes.items():
        marks[plane] |= int(mark)
    for index in range(valid.shape[2]):
        marks[_beside(~valid[:, :, index])] |= int(PixelMark.FIRST_BAND) << index
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
    taken = sources.take(marks)

    def on(mark: PixelMark) -> np.ndarray:
        return sources.sum((taken & int(mark)) > 0) > 0

    bits = {
        SourceFlag.EDGE: on(PixelMark.EDGE),
        SourceFlag.INVALID_PIXELS: on(PixelMark.INVALID),
        SourceFlag.BLENDED: on(PixelMark.CONTACT),
        SourceFlag.LOW_COVERAGE: on(PixelMark.RARELY_SEEN),
        **others,
    }
    return sum(
        (int(flag) * np.asarray(value, dtype=np.int32) for flag, value in bits.items()),
        np.zeros(len(sources), np.int32),
    )


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
    if not len(sources):
        return found
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


def flag_bands(covered: np.ndarray) -> np.ndarray:
    """Flags of one band that follow from what of the segment and of the apertures of each source has data.

    Parameters
    ----------
    covered : numpy.ndarray
        float64, shape ``(kind, source)``: shares; NaN where not measured.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(source,)``: bits of `~morpheus_lite.core.flags.BandFlag`.
    """
    nothing, partly = (covered == 0).any(axis=0), ((covered > 0) & (covered < 1)).any(axis=0)
    return (int(BandFlag.NO_DATA) * nothing + int(BandFlag.PARTLY_COVERED) * partly).astype(np.int32)


def _edge_pixels(classification: Classification) -> np.ndarray:
    """Pixels on the image's border, or beside valid pixels that no window classified (``edges="leave"``)."""
    unseen = ~classification.classified & classification.valid
    return ndimage.binary_dilation(np.pad(unseen, 1, constant_values=True))[1:-1, 1:-1]


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
