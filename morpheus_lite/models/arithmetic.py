"""Arithmetic of layers other than convolutions, on arrays: for Keras and for graphs alike."""

import numpy as np

EPSILON = 1e-3
"""Added to the variance by batch normalisation."""

_BICUBIC_A = -0.75
_BICUBIC_STEPS = 1024


def folded_operation(
    kernel: np.ndarray,
    bias: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of one convolution that does the work of a normalisation and the convolution after it, in inference.

    Parameters
    ----------
    kernel, bias : numpy.ndarray
        Of the convolution, ``(3, 3, band, q)`` and ``(q,)``.
    gamma, beta, mean, variance : numpy.ndarray
        Of the normalisation, ``(band,)``.

    Returns
    -------
    kernel, bias : numpy.ndarray
        float32.
    """
    kernel, bias, gamma, beta, mean, variance = (
        np.asarray(values, np.float64) for values in (kernel, bias, gamma, beta, mean, variance)
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    bias = bias + np.einsum("yxio,i->o", kernel, beta - mean * scale)
    return (kernel * scale[:, None]).astype(np.float32), bias.astype(np.float32)


def bicubic_matrix(size: int) -> np.ndarray:
    """Weights of aligned bicubic interpolation from ``size`` to ``2 size`` points.

    Parameters
    ----------
    size : int
        Number of points of the input.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(2 size, size)``; every row sums to 1.

    Notes
    -----
    Keys' cubic convolution kernel with a = -0.75. Points beyond the ends are those at the ends. TensorFlow rounds the
    fractional position to 1/1024, and so does this.
    """
    matrix = np.zeros((2 * size, size))
    position = np.arange(2 * size, dtype=np.float32) * np.float32((size - 1) / (2 * size - 1))
    left = np.floor(position).astype(int)
    fraction = np.rint((position - left) * _BICUBIC_STEPS) / _BICUBIC_STEPS
    for offset in (-1, 0, 1, 2):
        column = np.clip(left + offset, 0, size - 1)
        np.add.at(matrix, (np.arange(2 * size), column), _keys(np.abs(fraction - offset)))
    return matrix.astype(np.float32)


def _keys(distance: np.ndarray) -> np.ndarray:
    a, d = _BICUBIC_A, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
