"""Flags of sources: what a reader of the catalogue must know before trusting a row."""

import numpy as np
from scipy import ndimage

from morpheus_lite.classification import Classification
from morpheus_lite.flags import PixelFlag, SourceFlag
from morpheus_lite.labels import LabelledPixels

_WITH_CORNERS = np.ones((3, 3), dtype=bool)


def flag_sources(
    labels: np.ndarray,
    sources: LabelledPixels,
    classification: Classification,
    parents: np.ndarray,
    negative: np.ndarray,
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
    parents : numpy.ndarray
        int32, shape ``(source,)``: label of each source's parent.
    negative : numpy.ndarray
        bool, shape ``(source,)``: True where the flux is not positive in a band.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(source,)``: bits of `~morpheus_lite.flags.SourceFlag`.
    """
    invalid = ndimage.binary_dilation(~classification.valid, _WITH_CORNERS)
    _, family, n_children = np.unique(parents, return_inverse=True, return_counts=True)
    child = n_children[family] > 1
    bits = {
        SourceFlag.EDGE: sources.any(_edge_pixels(classification)),
        SourceFlag.INVALID_PIXELS: sources.any(invalid),
        SourceFlag.BLENDED: sources.any(_contact_pixels(labels)) | child,
        SourceFlag.DEBLEND_CHILD: child,
        SourceFlag.NEGATIVE_FLUX: negative,
        SourceFlag.LOW_COVERAGE: sources.any(_rarely_seen(classification)),
    }
    return sum((int(flag) * on.astype(np.int32) for flag, on in bits.items()), np.zeros(len(sources), np.int32))


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
