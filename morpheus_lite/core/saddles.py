"""Sources split at the saddles of their light, by the thresholds at which they fall apart."""

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from morpheus_lite.core.loops import stays_whole

_WITH_CORNERS = np.ones((3, 3), dtype=bool)
_IN_PLANE = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))]).astype(bool)
_MOST_VOXELS = 1 << 18
_MOST_MARKERS = 200
"""Places where pieces begin, beyond which levels are even in the light itself, and fewer lie low."""


def split_at_saddles(
    light: np.ndarray, own: np.ndarray, *, n_levels: int, min_area: int, contrast: float
) -> np.ndarray | None:
    """Pieces of the largest connected part of one source.

    Parameters
    ----------
    light : numpy.ndarray
        float64, shape ``(y, x)``: positive in the source.
    own : numpy.ndarray
        bool, shape ``(y, x)``: its pixels.
    n_levels : int
        Thresholds between the faintest and the brightest pixel.
    min_area : int
        Fewest pixels above a threshold from which a piece grows.
    contrast : float
        Least share of a piece in the light of the source.

    Returns
    -------
    numpy.ndarray or None
        int32, shape ``(y, x)``: numbers of the pieces, not all in use, 0 outside; None if the source is one piece.

    Notes
    -----
    Pixel by pixel those of `photutils.segmentation.deblend_sources`, in a fraction of its time: all levels are labelled
    at once, and where a piece is too faint to stay, its pixels alone are flooded again.
    """
    # Most sources have one peak.
    if stays_whole(light, own, _levels(light[own], n_levels)[0], min_area):
        return None
    part = _largest_part(own)
    levels, even = _levels(light[part], n_levels)
    if not len(levels):
        return None
    markers, n_markers = _markers(light, part, levels, min_area)
    if n_markers > _MOST_MARKERS:
        markers, n_markers = _markers(light, part, even, min_area)
    if n_markers < 2:
        return None
    pieces = _flood(light, part, markers, contrast)
    return pieces if np.count_nonzero(np.bincount(pieces.ravel())[1:]) > 1 else None


def _levels(values: np.ndarray, n_levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds between the smallest and the largest of positive values, even in the logarithm, and even ones."""
    low, high = values.min(), values.max()
    if not low < high:
        return values[:0], values[:0]
    even = np.linspace(low, high, n_levels + 2)[1:-1]
    return low * (high / low) ** ((even - low) / (high - low)), even


def _markers(light: np.ndarray, own: np.ndarray, levels: np.ndarray, min_area: int) -> tuple[np.ndarray, int]:
    """Places where pieces of a source begin: int32, 0 elsewhere, and their number.

    Each is as large as it can be without holding two parts above a higher level.
    """
    markers, n_markers = np.zeros(own.shape, np.int32), 0
    # All levels at once, as planes that do not touch; some at a time where the source is large.
    n_at_once = max(_MOST_VOXELS // own.size, 1)
    for first in range(0, len(levels), n_at_once):
        above = (light > levels[first : first + n_at_once, None, None]) & own
        parts, n_parts = ndimage.label(above, _IN_PLANE)
        if n_parts < 2:
            continue
        flat = parts.ravel()
        area = np.bincount(flat, minlength=n_parts + 1)
        pixel = np.zeros(n_parts + 1, dtype=np.int64)
        pixel[flat[::-1]] = np.arange(flat.size)[::-1]
        large = 1 + np.flatnonzero(area[1:] >= min_area)
        plane, pixel = np.divmod(pixel, own.size)
        starts = np.flatnonzero(np.diff(plane[large], prepend=-1))
        for names in np.split(large, starts[1:]):
            if len(names) < 2:
                continue
            parent = markers.ravel()[pixel[names]]
            several = np.bincount(parent, minlength=n_markers + 1) > 1
            if not several.any():
                continue
            is_child = np.zeros(n_parts + 1, dtype=bool)
            is_child[names[several[parent]]] = True
            kept = ~several
            kept[0] = False
            markers, n_markers = ndimage.label(kept[markers] | is_child[parts[plane[names[0]]]], _WITH_CORNERS)
    return markers, n_markers


def _flood(light: np.ndarray, own: np.ndarray, markers: np.ndarray, contrast: float) -> np.ndarray:
    """Watershed from markers; the faintest piece goes to its neighbours while it has too small a share of the light."""
    total = light[own].sum()
    pieces = watershed(-light, markers, mask=own, connectivity=_WITH_CORNERS)
    while True:
        flat = pieces.ravel()
        names = 1 + np.flatnonzero(np.bincount(flat)[1:])
        shares = np.bincount(flat, light.ravel())[names] / total
        if len(names) < 2 or not (shares < contrast).any():
            return pieces
        gone = pieces == names[shares.argmin()]
        pieces[gone] = 0
        box = _touched(light, gone, pieces)
        pieces[box] = watershed(-light[box], pieces[box], mask=own[box], connectivity=_WITH_CORNERS)


def _touched(light: np.ndarray, gone: np.ndarray, pieces: np.ndarray) -> tuple[slice, slice]:
    """The box that a flood of some pixels depends on: that around them, but all where neighbours are equally bright.

    Among equals, the order of a flood depends on all pixels.
    """
    (inner,) = ndimage.find_objects(gone.view(np.int8))
    box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in inner)
    beside = ndimage.binary_dilation(gone[box], _WITH_CORNERS) & (pieces[box] > 0)
    values, names = light[box][beside], pieces[box][beside]
    order = np.argsort(values)
    equal = np.diff(values[order]) == 0
    contested = (np.diff(names[order]) != 0)[equal].any()
    return (slice(None), slice(None)) if contested else (box[0], box[1])


def _largest_part(own: np.ndarray) -> np.ndarray:
    """Largest connected part of a source."""
    parts, n_parts = ndimage.label(own, _WITH_CORNERS)
    return own if n_parts < 2 else parts == np.bincount(parts.ravel())[1:].argmax() + 1
