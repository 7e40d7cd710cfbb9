"""Windows of pixels, gathered from an image."""

import numpy as np


def gather(data: np.ndarray, rows: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
    """Copy square windows out of an image.

    Parameters
    ----------
    data : numpy.ndarray
        Shape ``(y, x, band)``.
    rows, columns : numpy.ndarray
        int, shape ``(n,)``: first row and first column of each window.
    size : int
        Side of a window, in pixels.

    Returns
    -------
    numpy.ndarray
        Shape ``(n, size, size, band)``, contiguous, of the dtype of the data.
    """
    windows = np.lib.stride_tricks.sliding_window_view(data, (size, size, data.shape[2]))
    return np.ascontiguousarray(windows[rows, columns, 0])  # sums depend on the order in memory
