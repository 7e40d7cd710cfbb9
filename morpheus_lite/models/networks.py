"""The networks, built by Keras: U-Nets that see windows, and networks that classify a whole tile in one pass.

A *block operation* is batch normalisation, then a 3 x 3 convolution with Q filters and a bias, then ReLU. A *block*
is P block operations with Q filters each. (P, Q) is how Hausen & Robertson (2020) describe every stage of their
network, so these are the names used here.

One-pass networks see bands in units of their noise, at several stretches. They are translation-equivariant up to their
pooling, and a pixel's result depends on the pixels within `halo` of it and on no others; so tiles that are cut with
that margin, on multiples of the pooling, fit together without seams.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # read once, when Keras is first imported

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import KerasTensor, layers, ops

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.models.graph import EPSILON, bicubic_matrix
from morpheus_lite.models.model_files import check_weights
from morpheus_lite.models.network_config import KERNEL, OnePassConfig, UNetConfig

MOMENTUM = 0.99


def block(x: KerasTensor, p: int, q: int, name: str) -> KerasTensor:
    """A block: ``p`` times batch normalisation, 3 x 3 convolution with ``q`` filters and a bias, ReLU.

    Parameters
    ----------
    x : keras.KerasTensor
        Shape ``(n, y, x, band)``.
    p, q : int
        Number of block operations, and of filters in each.
    name : str
        Prefix of the layers' names: those of operation ``i`` are ``<name>_<i>_norm`` and ``<name>_<i>_conv``.

    Returns
    -------
    keras.KerasTensor
        Shape ``(n, y, x, q)``.
    """
    for i in range(p):
        x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_{i}_norm")(x)
        x = layers.Conv2D(q, KERNEL, padding="same", activation="relu", name=f"{name}_{i}_conv")(x)
    return x


def bicubic_upsampling(x: KerasTensor) -> KerasTensor:
    """Bicubic interpolation to twice the size, which must be known, with the corners aligned, as TensorFlow 1 does it.

    Row ``i`` of the output lies at ``i (n - 1) / (2 n - 1)`` of the input's rows, so that first and last rows of input
    and output coincide. This is no option of today's ``keras.ops.image.resize`` (half-pixel centres). The
    interpolation is linear and separable, hence two products with fixed matrices: along y, then along x.
    """
    height, width, channels = x.shape[1:]
    rows, columns = (ops.convert_to_tensor(bicubic_matrix(length), dtype=x.dtype) for length in (height, width))
    x = ops.matmul(rows, ops.reshape(x, (-1, height, width * channels)))
    x = ops.matmul(columns, ops.reshape(x, (-1, width, channels)))
    return ops.reshape(x, (-1, 2 * height, 2 * width, channels))


def stretched(inputs: Sequence[Any], stretches: Sequence[float]) -> Any:
    """S/N and validity ``(n, y, x, band)`` as channels ``(n, y, x, (stretches + 1) bands)``; 0 where not valid.

    ``asinh(S/N / stretch)``, written with a logarithm: five times faster on a CPU than TensorFlow's asinh.
    """
    snr, valid = inputs
    scaled = [snr / stretch for stretch in stretches]
    size = [ops.absolute(x) for x in scaled]
    asinh = [ops.sign(x) * ops.log(a + ops.sqrt(a * a + 1)) for x, a in zip(scaled, size, strict=True)]
    return ops.concatenate([*(x * valid for x in asinh), valid], axis=-1)


def to_cells(x: Any, side: int) -> Any:
    """Gather the values of squares of ``side`` pixels: ``(n, y, x, q)`` to ``(n, y / side, x / side, side^2 q)``."""
    return tf.nn.space_to_depth(x, side) if side > 1 else x


def to_pixels(x: Any, side: int) -> Any:
    """The inverse of `to_cells`."""
    return tf.nn.depth_to_space(x, side) if side > 1 else x


def bands_to_batch(inputs: Sequence[Any]) -> Any:
    """Every band as an image of its own: S/N and validity ``(n, y, x, band)`` to ``(n band, y, x, 2)``."""
    x = ops.stack(inputs, axis=-1)
    shape = ops.shape(x)
    return ops.reshape(ops.transpose(x, (0, 3, 1, 2, 4)), (-1, shape[1], shape[2], 2))


def pool_bands(inputs: Sequence[Any]) -> Any:
    """Mean and maximum over the valid bands: ``(n band, y, x, q)`` to ``(n, y, x, 2 q)``; 0 where no band is valid."""
    x, valid = inputs
    shape, q = ops.shape(valid), x.shape[-1]
    x = ops.reshape(x, (shape[0], shape[3], shape[1], shape[2], q))
    weight = ops.expand_dims(ops.transpose(valid, (0, 3, 1, 2)), -1)
    x = x * weight  # never negative after ReLU, so the maximum needs no other mask
    mean = ops.sum(x, axis=1) / ops.maximum(ops.sum(weight, axis=1), 1)
    return ops.concatenate([mean, ops.max(x, axis=1)], axis=-1)


def build_unet(config: UNetConfig) -> keras.Model:
    """The network, with fresh weights.

    Parameters
    ----------
    config : UNetConfig
        Its shape.

    Returns
    -------
    keras.Model
        From ``(n, y, x, band)`` to *logits* ``(n, y, x, class)``; softmax makes them probabilities.

    Examples
    --------
    >>> from morpheus_lite.models.network_config import HAUSEN2020
    >>> build_unet(HAUSEN2020).output_shape
    (None, 40, 40, 5)
    """
    inputs = keras.Input((config.window, config.window, config.n_bands), name="pixels")
    x = u_net(inputs, config, lambda name: layers.Lambda(bicubic_upsampling, name=name))
    logits = layers.Conv2D(config.n_classes, KERNEL, padding="same", name="final_conv")(x)
    return keras.Model(inputs, logits, name="unet")


def u_net(x: KerasTensor, config: UNetConfig | OnePassConfig, upsampling: Callable[..., layers.Layer]) -> KerasTensor:
    """All stages: each on the way up sees the one below it, upsampled, and that of its size on the way down."""
    skips = []
    for i, (p, q) in enumerate(config.down):
        x = block(x, p, q, f"down_{i}")
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down_{i}_pool")(x)
    x = block(x, *config.intermediate, "intermediate")
    for i, (p, q) in enumerate(config.up):
        x = upsampling(name=f"up_{i}_upsample")(x)
        x = layers.Concatenate(name=f"up_{i}_concat")([x, skips.pop()])
        x = block(x, p, q, f"up_{i}")
    return x


def build_onepass(config: OnePassConfig) -> keras.Model:
    """The network, with fresh weights.

    Parameters
    ----------
    config : OnePassConfig
        Its shape.

    Returns
    -------
    keras.Model
        From ``snr`` and ``valid``, both float32 ``(n, y, x, band)`` (see `morpheus_lite.noise.background_mesh`), y and
        x multiples of ``config.factor``, to *logits* ``(n, y, x, class)``.
    """
    n_bands = len(config.bands) or None
    snr = keras.Input((None, None, n_bands), name="snr")
    valid = keras.Input((None, None, n_bands), name="valid")
    light, seen = snr, valid
    # float32: S/N has more digits than bfloat16.
    if not config.bands:
        x = layers.Lambda(bands_to_batch, dtype="float32", name="bands_to_batch")([snr, valid])
        light, seen = x[..., :1], x[..., 1:]
    stretches, side = {"stretches": config.stretches}, {"side": config.cell}
    x = layers.Lambda(stretched, arguments=stretches, dtype="float32", name="stretch")([light, seen])
    x = layers.Lambda(to_cells, arguments=side, dtype="float32", name="cells")(x)
    if not config.bands:
        x = block(x, *config.stem, "stem")
        seen = layers.MaxPooling2D(config.cell, name="seen")(valid)
        x = layers.Lambda(pool_bands, name="pool_bands")([x, seen])
    x = u_net(x, config, lambda name: layers.UpSampling2D(2, interpolation="nearest", name=name))
    x = layers.Conv2D(len(CLASSES) * config.cell**2, KERNEL, padding="same", name="final_conv")(x)
    x = layers.Lambda(to_pixels, arguments=side, dtype="float32", name="logits")(x)
    return keras.Model([snr, valid], x, name="onepass")


def network_weights(network: keras.Model) -> dict[str, np.ndarray]:
    """The weights of a network by name, ``<layer>/<variable>``: what `pack_weights` takes."""
    return {variable.path: np.asarray(variable) for variable in network.variables}


def set_weights(network: keras.Model, arrays: Mapping[str, np.ndarray], origin: str) -> None:
    """Give a network its weights.

    Parameters
    ----------
    network : keras.Model
        The network.
    arrays : mapping of str to numpy.ndarray
        By the names of `network_weights`; all of them, and no others.
    origin : str
        What to call them in messages.

    Raises
    ------
    ModelError
        A name is missing or unknown, or a shape is not the network's.
    """
    check_weights(arrays, {variable.path: tuple(variable.shape) for variable in network.variables}, origin)
    for variable in network.variables:
        variable.assign(arrays[variable.path])
