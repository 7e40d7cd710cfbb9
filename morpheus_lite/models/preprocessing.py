"""Windows of pixels, prepared for a network."""

from collections.abc import Callable

import numpy as np


def standardize(windows: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Standardise each window on its own, jointly over all its pixels and bands.

    Parameters
    ----------
    windows : numpy.ndarray
        float, shape ``(n, y, x, band)``, in the units the network was trained on.
    valid : numpy.ndarray, optional
        bool, of the same shape: True where a value may be used. None means everywhere. Each window should hold at
        least one value that may be used; one that does not becomes all 0.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(n, y, x, band)``: ``(x - mean) / max(std, 1 / sqrt(N))``, N being the number of values of
        a window.

    Notes
    -----
    Hausen & Robertson (2020); the floor of the divisor is in units of the image and keeps blank sky from being
    blown up to unit variance. Sums run in single precision, band by band, as in the published package: windows without
    invalid values come out the same to the last bit.

    With invalid values, mean and standard deviation are those of the valid ones, the floor stays as it is, and each
    invalid value becomes the mean of the window's valid values in its band: the network then sees a featureless patch
    of the local colour, where 0 or NaN would make an edge. Where a band has no valid value in the window, it is the
    mean of all bands, that is 0 after standardisation. A window without invalid values gives the same numbers with
    ``valid`` as without.
    """
    n, height, width, n_bands = windows.shape
    if valid is not None:
        windows = np.where(valid, windows, np.float32(0))
    values = np.moveaxis(windows, 3, 1).reshape(n, -1).astype(np.float32, copy=False)
    values = values - values.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.square(values).mean(axis=1, keepdims=True)).astype(np.float64)
    holed = np.zeros(n, bool) if valid is None else ~valid.all(axis=(1, 2, 3))
    if valid is not None and holed.any():
        by_band = (-1, n_bands, height * width)
        usable = np.moveaxis(valid[holed], 3, 1).reshape(by_band)
        with_holes = np.moveaxis(windows[holed], 3, 1).reshape(by_band)
        values[holed], deviation[holed] = _centred_with_holes(with_holes, usable)
    # In double precision for the floor's sake; for the rest it is the single-precision quotient.
    standardized = values / np.maximum(deviation, values.shape[1] ** -0.5)
    standardized = standardized.astype(np.float32).reshape(n, n_bands, height, width)
    return np.ascontiguousarray(np.moveaxis(standardized, 1, 3))


PREPARATIONS: dict[str, Callable[[np.ndarray, np.ndarray | None], np.ndarray]] = {"standardize": standardize}
"""Ways to prepare windows, by the name a model's configuration gives them."""


def _centred_with_holes(windows: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows ``(n, band, pixel)``, 0 in holes, minus their mean, holes filled, as ``(n, value)``; their deviation."""
    values = windows.astype(np.float64)
    in_band = valid.sum(axis=2, keepdims=True)
    in_all = np.maximum(in_band.sum(axis=1, keepdims=True), 1)
    mean = values.sum(axis=(1, 2), keepdims=True) / in_all
    colour = np.where(in_band > 0, values.sum(axis=2, keepdims=True) / np.maximum(in_band, 1), mean)
    centred = np.where(valid, values, colour) - mean
    deviation = np.sqrt(np.where(valid, np.square(centred), 0.0).sum(axis=(1, 2), keepdims=True) / in_all)
    return centred.reshape(len(windows), -1), deviation[:, :, 0]
