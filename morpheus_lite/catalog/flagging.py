"""Flags of sources: what a reader of the catalogue must know before trusting a row."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from morpheus_lite.classification import Classification
from morpheus_lite.flags import PixelFlag, SourceFlag
from morpheus_lite.image import SkyImage
from morpheus_lite.labels import LabelledPixels

_WITH_CORNERS = np.ones((3, 3), dtype=bool)
_FLAT = 4


def flag_sources(
    labels: np.ndarray,
    sources: LabelledPixels,
    classification: Classification,
    n_children: np.ndarray,
    others: dict[SourceFlag, np.ndarray | bool],
) -> np.ndarray:
    """Flags that follow from where a source lies.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    sources : LabelledPixels
        The pixels of ``labels``.
    classification : Classification
        Tells invalid, unclassified and rarely seen pixels.
    n_children : numpy.ndarray
        int, shape ``(source,)``: pieces that each source's parent was split into, 0 if it was not.
    others : dict
        Flags that were found elsewhere: bool, shape ``(source,)``, or one value for all.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(source,)``: bits of `~morpheus_lite.flags.SourceFlag`.
    """
    invalid = ndimage.binary_dilation(~classification.valid, _WITH_CORNERS)
    child = n_children > 1
    bits = {
        SourceFlag.EDGE: sources.any(_edge_pixels(classification)),
        SourceFlag.INVALID_PIXELS: sources.any(invalid),
        SourceFlag.BLENDED: sources.any(_contact_pixels(labels)) | child,
        SourceFlag.DEBLEND_CHILD: child,
        SourceFlag.LOW_COVERAGE: sources.any(_rarely_seen(classification)),
        **others,
    }
    return sum(
        (int(flag) * np.asarray(on, dtype=np.int32) for flag, on in bits.items()), np.zeros(len(sources), np.int32)
    )


def find_saturated(
    sources: LabelledPixels, image: SkyImage, levels: Sequence[float | None], faintest: Sequence[float]
) -> np.ndarray:
    """Which sources hold saturated pixels, or what saturation leaves behind.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    image : SkyImage
        The image.
    levels : sequence of (float or None)
        Data value of each band from which a pixel is saturated, None where nothing says.
    faintest : sequence of float
        For each band, the value below which a flat top or a hole is no sign of saturation.

    Returns
    -------
    numpy.ndarray
        bool, shape ``(source,)``: True where, in any band, a pixel reaches the level, four pixels share the
        largest value, or the brightest pixel lies beside invalid ones.
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
        beside = ndimage.binary_dilation(~valid, _WITH_CORNERS)[sources.y[peak], sources.x[peak]]
        found |= (flat | beside) & (largest > faint) & np.isfinite(largest)
        if level is not None:
            found |= largest >= level
    return found


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


def _rarely_seen(classification: Classification) -> np.ndarray:
    """Pixels that fewer than half of the usual windows saw."""
    if classification.flags is not None:
        return (classification.flags & np.uint8(PixelFlag.LOW_COVERAGE)) > 0
    return 2 * classification.coverage < classification.coverage.max(initial=0)
