"""All bands of an image as one plane, in units of their noise."""

import numpy as np
from astropy.stats import mad_std

from morpheus_lite.image import SkyImage


def significance(image: SkyImage, labels: np.ndarray) -> np.ndarray:
    """All bands added up, each in units of its own noise.

    Parameters
    ----------
    image : SkyImage
        The image; a band without RMS has the scatter of its pixels outside of ``labels``.
    labels : numpy.ndarray
        int32, shape ``(y, x)``.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(y, x)``: of scatter 1 where there is only independent noise; 0 where no band is valid.
    """
    total, n_used = np.zeros(image.shape), np.zeros(image.shape)
    for index in range(image.n_bands):
        usable = image.valid[:, :, index]
        sigma = _sigma(image, index, labels, usable)
        usable = usable & (sigma > 0)
        total += np.where(usable, image.data[:, :, index] / np.where(sigma > 0, sigma, 1), 0)
        n_used += usable
    return total / np.sqrt(np.maximum(n_used, 1))


def _sigma(image: SkyImage, index: int, labels: np.ndarray, usable: np.ndarray) -> np.ndarray:
    if image.rms is not None and (image.rms[:, :, index] > 0).any():
        return image.rms[:, :, index].astype(np.float64)
    empty = usable & (labels == 0)
    pixels = image.data[:, :, index][empty if empty.any() else usable]
    return np.full(image.shape, mad_std(pixels) if len(pixels) else 0.0)
