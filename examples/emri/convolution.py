"""The convolutional part of the network, forwards and backwards, and the network as a detector.

A convolution followed by a pool of ``p`` positions is one matrix product: a row holds the samples that all ``p``
positions see, the matrix the kernel at its ``p`` offsets. Maximum, bias and relu may change places. Backwards, only
the largest of the positions in a pool passes a gradient on, so that an eighth or a sixth of the products is enough.
Keras does them all: a sample of full length takes it three times as long.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numba import njit, uintp

POOLS = (8, 6, 4)  # one follows each convolution
N_CONVOLUTIONAL = 2 * len(POOLS)  # arrays of weights: kernels and biases
ROWS = 512  # of a matrix product: what it makes stays in the processor's cache


@dataclass
class Layer:
    """What the forward pass of a layer leaves for the backward pass."""

    inputs: np.ndarray  # flat
    output: np.ndarray  # (positions, n_out), after relu
    where: np.ndarray  # (positions, n_out), which position of the pool was largest


def at_offsets(kernel: np.ndarray, pool: int) -> np.ndarray:
    """Matrix ((length + pool - 1) * n_in, pool * n_out) of a kernel (length, n_in, n_out) at ``pool`` offsets."""
    length, n_in, n_out = kernel.shape
    matrix = np.zeros((length + pool - 1, n_in, pool, n_out), np.float32)
    for offset in range(pool):
        matrix[offset : offset + length, :, offset] = kernel
    return matrix.reshape((length + pool - 1) * n_in, pool * n_out)


@njit(nogil=True, fastmath=True, cache=True)
def pool_products(products, pool, output, where):
    """Maximum and its place over the ``pool`` offsets of every row of products."""
    n_out = output.shape[1]
    for p in range(products.shape[0]):
        for f in range(n_out):
            best, place = products[p, f], 0
            for offset in range(1, pool):
                value = products[p, offset * n_out + f]
                if value > best:
                    best, place = value, offset
            output[p, f] = best
            where[p, f] = place


@njit(nogil=True, fastmath=True, cache=True)
def push_back(inputs, gradient, where, stride, pool, kernel, to_kernel, to_bias, to_inputs):
    """Add the gradient of an output (positions, n_out) to those of the kernel (n_out, width), bias and flat inputs."""
    width = kernel.shape[1]
    for p in range(gradient.shape[0]):
        for f in range(gradient.shape[1]):
            value = gradient[p, f]
            if value != 0:
                at = uintp((p * pool + where[p, f]) * stride)  # unsigned: a negative index would forbid vector code
                to_bias[f] += value
                for k in range(width):
                    to_kernel[f, k] += value * inputs[at + uintp(k)]
                if to_inputs.size:
                    for k in range(width):
                        to_inputs[at + uintp(k)] += value * kernel[f, k]


def forward(data: np.ndarray, weights: list[np.ndarray]) -> list[Layer]:
    """Layers of one sample (n_samples, 2), with the kernels and biases of the three convolutions in turn."""
    layers = []
    for kernel, bias, pool in zip(weights[::2], weights[1::2], POOLS, strict=True):
        length, n_in, n_out = kernel.shape
        inputs, matrix = np.ascontiguousarray(data).reshape(-1), at_offsets(kernel, pool)
        n_positions = (len(data) - length + 1) // pool
        seen = np.lib.stride_tricks.sliding_window_view(inputs, len(matrix))[:: pool * n_in][:n_positions]
        output, where = np.empty((n_positions, n_out), np.float32), np.empty((n_positions, n_out), np.uint8)
        for first in range(0, n_positions, ROWS):
            rows = slice(first, first + ROWS)
            pool_products(np.ascontiguousarray(seen[rows]) @ matrix, pool, output[rows], where[rows])
        data = np.maximum(output + bias, 0, out=output)
        layers.append(Layer(inputs, output, where))
    return layers


def backward(layers: list[Layer], weights: list[np.ndarray], gradient: np.ndarray) -> list[np.ndarray]:
    """Gradient of the weights, from that of the last layer's output (positions, n_out)."""
    gradients = []
    for i in reversed(range(len(layers))):
        layer, kernel, pool = layers[i], weights[2 * i], POOLS[i]
        flat = np.ascontiguousarray(kernel.reshape(-1, kernel.shape[2]).T)
        to_kernel, to_bias = np.zeros_like(flat), np.zeros_like(weights[2 * i + 1])
        to_inputs = np.zeros(len(layer.inputs) if i else 0, np.float32)  # of the data no gradient is wanted
        passed = np.where(layer.output > 0, gradient, np.float32(0))
        push_back(layer.inputs, passed, layer.where, kernel.shape[1], pool, flat, to_kernel, to_bias, to_inputs)
        gradients[:0] = [to_kernel.T.reshape(kernel.shape), to_bias]
        gradient = to_inputs.reshape(layers[i - 1].output.shape) if i else None
    return gradients


def features(convolutions: list[np.ndarray], data: np.ndarray) -> np.ndarray:
    """Output (n, positions, 16) of the convolutional part on data (n, n_samples, 2)."""
    return np.stack([forward(sample, convolutions)[-1].output for sample in data])


def digest(weights: list[np.ndarray]) -> str:
    """Short hash of weights; what was computed with them is kept under it."""
    return hashlib.sha256(b"".join(w.tobytes() for w in weights)).hexdigest()[:8]


class Scorer:
    """A network as a detector: the log of the odds that there is a signal.

    The probability itself would not do as a statistic: in single precision it is exactly 1 for every loud signal, and
    a threshold cannot rank what is equal.
    """

    def __init__(self, weights: list[np.ndarray]) -> None:
        """Weights of a network, kernels and biases in the order of its layers."""
        self.convolutions, dense = weights[:N_CONVOLUTIONAL], weights[N_CONVOLUTIONAL:]
        self.dense = list(zip(dense[::2], dense[1::2], strict=True))

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Scores (n,) of data (n, n_samples, 2)."""
        data = features(self.convolutions, data).reshape(len(data), -1)
        for i, (kernel, bias) in enumerate(self.dense):
            data = (np.maximum(data, 0) if i else data) @ kernel + bias
        return data[:, 1] - data[:, 0]
