"""The network's forward pass in NumPy: the same numbers as Keras, about four times as fast on one core.

A convolution followed by a pool of ``p`` positions is one matrix product: a row holds the samples that all ``p``
positions see, the matrix the kernel at its ``p`` offsets. Maximum, bias and relu may change places. Measuring alarm
rates takes tens of thousands of forward passes, and at full length nothing else is as expensive.
"""

import hashlib

import numpy as np

LAYERS = (("conv1", 8), ("conv2", 6), ("conv3", 4))  # and the pool that follows each
ROWS = 512  # of a matrix product: what it makes stays in the processor's cache


def at_offsets(kernel: np.ndarray, pool: int) -> np.ndarray:
    """Matrix ((length + pool - 1) * n_in, pool * n_out) of a kernel (length, n_in, n_out) at ``pool`` offsets."""
    length, n_in, n_out = kernel.shape
    matrix = np.zeros((length + pool - 1, n_in, pool, n_out), np.float32)
    for offset in range(pool):
        matrix[offset : offset + length, :, offset] = kernel
    return matrix.reshape((length + pool - 1) * n_in, pool * n_out)


def maximum(product: np.ndarray, pool: int) -> np.ndarray:
    """Maximum over the offsets of a row, by halves: long stretches are compared faster than short ones."""
    while pool % 2 == 0:
        pool //= 2
        half = product.shape[1] // 2
        product = np.maximum(product[:, :half], product[:, half:])
    return product.reshape(len(product), pool, -1).max(axis=1)


def convolve_and_pool(data: np.ndarray, kernel: np.ndarray, bias: np.ndarray, pool: int) -> np.ndarray:
    """Convolution ("valid"), relu and maximum pooling.

    Parameters
    ----------
    data : (n, length, n_in) float32 array
    kernel : (k, n_in, n_out) array
    bias : (n_out,) array
    pool : int

    Returns
    -------
    (n, (length - k + 1) // pool, n_out) float32 array
    """
    n, length, n_in = data.shape
    matrix, n_out = at_offsets(kernel, pool), kernel.shape[2]
    n_positions = (length - kernel.shape[0] + 1) // pool
    result = np.empty((n, n_positions, n_out), np.float32)
    for sample, pooled in zip(np.ascontiguousarray(data), result, strict=True):
        seen = np.lib.stride_tricks.sliding_window_view(sample.reshape(-1), len(matrix))[:: pool * n_in][:n_positions]
        for first in range(0, n_positions, ROWS):
            product = np.ascontiguousarray(seen[first : first + ROWS]) @ matrix
            pooled[first : first + ROWS] = maximum(product, pool)
    return np.maximum(result + bias, 0, out=result)


def features(model, data: np.ndarray) -> np.ndarray:
    """Output (n, positions, 16) of the convolutional part of a network on data (n, n_samples, 2)."""
    for name, pool in LAYERS:
        data = convolve_and_pool(data, *model.get_layer(name).get_weights(), pool)
    return data


def digest(model) -> str:
    """Short hash of the convolutional part's weights; features are kept under it."""
    weights = [w for name, _ in LAYERS for w in model.get_layer(name).get_weights()]
    return hashlib.sha256(b"".join(w.tobytes() for w in weights)).hexdigest()[:8]


class Scorer:
    """A network as a detector: the log of the odds that there is a signal.

    The probability itself would not do as a statistic: in single precision it is exactly 1 for every loud signal, and
    a threshold cannot rank what is equal.
    """

    def __init__(self, weights: list[np.ndarray]) -> None:
        """Weights of a network, kernels and biases in the order of its layers."""
        pairs = list(zip(weights[::2], weights[1::2], strict=True))
        self.convolutions = [(*pair, pool) for pair, (_, pool) in zip(pairs, LAYERS, strict=False)]
        self.dense = pairs[len(LAYERS) :]

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Scores (n,) of data (n, n_samples, 2)."""
        for kernel, bias, pool in self.convolutions:
            data = convolve_and_pool(data, kernel, bias, pool)
        data = data.reshape(len(data), -1)
        for i, (kernel, bias) in enumerate(self.dense):
            data = (np.maximum(data, 0) if i else data) @ kernel + bias
        return data[:, 1] - data[:, 0]
