"""Segmentation: from class maps to a label map of sources against the sky."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.filters import sobel
from skimage.segmentation import watershed

from morpheus_lite.classes import BACKGROUND
from morpheus_lite.classification import Classification
from morpheus_lite.errors import OptionError

_SKY, _SOURCE = 1, 2


def segment(classification: Classification, *, method: str = "paper", threshold: float | None = None) -> np.ndarray:
    """Find sources in class maps.

    Parameters
    ----------
    classification : Classification
        Class maps; the method ``"paper"`` needs their rank votes.
    method : {"paper"}
        How sources are found; see Notes.
    threshold : float, optional
        Largest background value of a pixel that certainly belongs to a source, in [0, 1). None takes the
        method's own: 0 for ``"paper"``, which asks for unanimous votes against the background.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(y, x)``: 1, 2, ... in raster order of the sources' first pixels; 0 where there is
        sky or where the pixel was not classified. Sources touch along pixel sides, not only at corners.

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
    if method not in _METHODS:
        raise OptionError(f"segmentation method {method!r}: choose one of {', '.join(_METHODS)}")
    return _METHODS[method](classification, threshold)


def _segment_by_votes(classification: Classification, threshold: float | None) -> np.ndarray:
    threshold = 0.0 if threshold is None else threshold
    if not 0 <= threshold < 1:
        raise OptionError(f"threshold {threshold}: expected a background vote of at least 0 and below 1")
    if classification.vote is None:
        raise OptionError("method 'paper' counts rank votes, and these class maps have none; classify with votes")
    classified = classification.classified
    # Unclassified pixels count as vote 0 in the gradient, as in the published package: the order in which
    # pixels beside them are flooded depends on it.
    background = np.where(classified, classification.vote[:, :, BACKGROUND], np.float32(0))
    markers = np.zeros(classification.shape, dtype=np.int32)
    markers[classified & (background == 1)] = _SKY
    markers[classified & (background <= threshold)] = _SOURCE
    flooded = watershed(sobel(background), markers, mask=classified)
    labels, _ = ndimage.label(flooded == _SOURCE)
    return labels.astype(np.int32, copy=False)


_METHODS: dict[str, Callable[[Classification, float | None], np.ndarray]] = {"paper": _segment_by_votes}
