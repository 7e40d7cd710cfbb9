"""Means over blocks of pixels, for pictures of what is too large to be shown pixel by pixel."""

import numpy as np


def block_mean(plane: np.ndarray, step: int) -> np.ndarray:
    """Mean over blocks of ``step`` by ``step`` pixels, not counting NaN.

    Parameters
    ----------
    plane : numpy.ndarray
        float32, shape ``(y, x, ...)``.
    step : int
        Side of the blocks; the last ones are smaller where the shape is not a multiple of it.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(ceil(y / step), ceil(x / step), ...)``; NaN where a block holds only NaN.
    """
    if step == 1:
        return plane
    shape = *(-(-size // step) for size in plane.shape[:2]), *plane.shape[2:]
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for first, second in np.ndindex(step, step):
        part = plane[first::step, second::step]
        finite = np.isfinite(part)
        here = tuple(slice(size) for size in part.shape)
        total[here] += np.where(finite, part, np.float32(0))
        count[here] += finite
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan))
