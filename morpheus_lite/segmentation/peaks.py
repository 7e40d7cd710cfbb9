"""The published way of deblending: sources with several peaks of light, and a watershed from them."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from morpheus_lite.segmentation.multithreshold import LARGEST_BOX

_MOST_PEAKS = 20
_WITH_CORNERS = np.ones((3, 3), dtype=bool)


def peak_pieces(
    labels: np.ndarray,
    light: np.ndarray,
    usable: np.ndarray,
    min_distance: int,
    wanted: np.ndarray,
) -> Iterator[tuple[int, tuple[slice, slice], np.ndarray, int]]:
    """Find the sources with several peaks, each with its pieces.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    light, usable : numpy.ndarray
        Light of one band, 0 where it may not be used, and where it may, shape ``(y, x)``.
    min_distance : int
        Smallest distance between two peaks along either axis, in pixels.
    wanted : numpy.ndarray
        int, shape ``(n,)``: the sources to split; the others are only neighbours.

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
        if label not in wanted:
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
