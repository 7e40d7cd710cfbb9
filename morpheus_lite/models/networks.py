"""The pieces a network is made of: block operation, block, upsampling.

A *block operation* is batch normalisation, then a 3 x 3 convolution with Q filters and a bias, then ReLU. A *block*
is P block operations with Q filters each. (P, Q) is how Hausen & Robertson (2020) describe every stage of their
network, so these are the names used here.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # read once, when Keras is first imported

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from morpheus_lite.models.graph import EPSILON, bicubic_matrix, folded_operation
from morpheus_lite.models.network_config import KERNEL, UPSAMPLING

MOMENTUM = 0.99


def block_operation(x: KerasTensor, q: int, name: str, *, folded: bool = False) -> KerasTensor:
    """Batch normalisation, 3 x 3 convolution with ``q`` filters, "same" padding and a bias, ReLU.

    Parameters
    ----------
    x : keras.KerasTensor
        Shape ``(n, y, x, band)``.
    q : int
        Number of filters.
    name : str
        Prefix of the layers' names: ``<name>_norm``, ``<name>_conv``.
    folded : bool
        For inference: no normalisation, since the weights of the convolution hold it (`fold`), and no padding, since
        only then is that exact.

    Returns
    -------
    keras.KerasTensor
        Shape ``(n, y, x, q)``; folded, two rows and two columns less.
    """
    if not folded:
        x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_norm")(x)
    padding = "valid" if folded else "same"
    return layers.Conv2D(q, KERNEL, padding=padding, activation="relu", name=f"{name}_conv")(x)


def block(x: KerasTensor, p: int, q: int, name: str, *, folded: bool = False) -> KerasTensor:
    """A block: ``p`` block operations with ``q`` filters each.

    Parameters
    ----------
    x : keras.KerasTensor
        Shape ``(n, y, x, band)``.
    p, q : int
        Number of block operations, and of filters in each.
    name : str
        Prefix of the layers' names: operation ``i`` is ``<name>_<i>``.
    folded : bool
        As in `block_operation`.

    Returns
    -------
    keras.KerasTensor
        Shape ``(n, y, x, q)``; folded, ``2 p`` rows and columns less.
    """
    for i in range(p):
        x = block_operation(x, q, f"{name}_{i}", folded=folded)
    return x


def fold(norm: layers.BatchNormalization, convolution: layers.Conv2D) -> list[np.ndarray]:
    """Weights of one convolution that does the work of a normalisation and a convolution, as in inference.

    Parameters
    ----------
    norm : keras.layers.BatchNormalization
        The normalisation.
    convolution : keras.layers.Conv2D
        The convolution after it.

    Returns
    -------
    list of numpy.ndarray
        Kernel, float32 ``(3, 3, band, q)``, and bias, float32 ``(q,)``. Equal to the two up to rounding wherever the
        convolution sees no padding (zeros *after* the normalisation).
    """
    return list(folded_operation(*convolution.get_weights(), *norm.get_weights()))


def upsample(x: KerasTensor, kind: str, name: str) -> KerasTensor:
    """Twice as many rows and columns.

    Parameters
    ----------
    x : keras.KerasTensor
        Shape ``(n, y, x, band)``.
    kind : {"bicubic_aligned", "bilinear", "nearest"}
        ``"bicubic_aligned"`` is that of the published network (`BicubicUpsampling`) and needs a fixed size;
        the others take any size.
    name : str
        Name of the layer.

    Returns
    -------
    keras.KerasTensor
        Shape ``(n, 2 y, 2 x, band)``.
    """
    if kind == "bicubic_aligned":
        return BicubicUpsampling(name=name)(x)
    if kind not in UPSAMPLING:
        raise ValueError(f"upsampling {kind!r}: expected one of {', '.join(UPSAMPLING)}")
    return layers.UpSampling2D(2, interpolation=kind, name=name)(x)


@keras.saving.register_keras_serializable(package="morpheus_lite")
class BicubicUpsampling(layers.Layer):
    """Bicubic interpolation to twice the size with the corners aligned, as TensorFlow 1 does it.

    Row ``i`` of the output lies at ``i (n - 1) / (2 n - 1)`` of the input's rows, so that first and last rows of input
    and output coincide. This is no option of today's ``keras.ops.image.resize`` (half-pixel centres). The
    interpolation is linear and separable, hence two products with fixed matrices.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the two matrices; the size must be known."""
        height, width = input_shape[1:3]
        if height is None or width is None:
            raise ValueError(
                f"{self.name}: input of shape {input_shape}; bicubic upsampling needs a fixed height and width"
            )
        self._rows, self._columns = bicubic_matrix(height), bicubic_matrix(width)

    def call(self, x: KerasTensor) -> KerasTensor:
        """Interpolate along y, then along x."""
        height, width, channels = x.shape[1:]
        rows, columns = (ops.convert_to_tensor(m, dtype=x.dtype) for m in (self._rows, self._columns))
        x = ops.matmul(rows, ops.reshape(x, (-1, height, width * channels)))
        x = ops.matmul(columns, ops.reshape(x, (-1, width, channels)))
        return ops.reshape(x, (-1, 2 * height, 2 * width, channels))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Twice as many rows and columns."""
        n, height, width, channels = input_shape
        return n, 2 * height, 2 * width, channels
