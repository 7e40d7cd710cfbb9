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

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.errors import ModelError
from morpheus_lite.models.graph import EPSILON, bicubic_matrix, folded_operation
from morpheus_lite.models.network_config import (
    KERNEL,
    OnePassConfig,
    UNetConfig,
    channel_order,
    stage_margins,
)

MOMENTUM = 0.99


def block(x: KerasTensor, p: int, q: int, name: str, *, folded: str | None = None) -> KerasTensor:
    """A block: ``p`` times batch normalisation, 3 x 3 convolution with ``q`` filters and a bias, ReLU.

    Parameters
    ----------
    x : keras.KerasTensor
        Shape ``(n, y, x, band)``.
    p, q : int
        Number of block operations, and of filters in each.
    name : str
        Prefix of the layers' names: those of operation ``i`` are ``<name>_<i>_norm`` and ``<name>_<i>_conv``.
    folded : {"valid", "same"}, optional
        For inference: no normalisation, since the weights of the convolution hold it (`fold`), which is exact where
        there is no padding; and the padding of the convolutions.

    Returns
    -------
    keras.KerasTensor
        Shape ``(n, y, x, q)``; without padding, ``2 p`` rows and columns less.
    """
    for i in range(p):
        if folded is None:
            x = layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f"{name}_{i}_norm")(x)
        x = layers.Conv2D(q, KERNEL, padding=folded or "same", activation="relu", name=f"{name}_{i}_conv")(x)
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
    return layers.UpSampling2D(2, interpolation=kind, name=name)(x)


class BicubicUpsampling(layers.Layer):
    """Bicubic interpolation to twice the size with the corners aligned, as TensorFlow 1 does it.

    Row ``i`` of the output lies at ``i (n - 1) / (2 n - 1)`` of the input's rows, so that first and last rows of input
    and output coincide. This is no option of today's ``keras.ops.image.resize`` (half-pixel centres). The
    interpolation is linear and separable, hence two products with fixed matrices.
    """

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Make the two matrices; the size must be known."""
        self._rows, self._columns = map(bicubic_matrix, input_shape[1:3])

    def call(self, x: KerasTensor) -> KerasTensor:
        """Interpolate along y, then along x."""
        height, width, channels = x.shape[1:]
        rows, columns = (ops.convert_to_tensor(m, dtype=x.dtype) for m in (self._rows, self._columns))
        x = ops.matmul(rows, ops.reshape(x, (-1, height, width * channels)))
        x = ops.matmul(columns, ops.reshape(x, (-1, width, channels)))
        return ops.reshape(x, (-1, 2 * height, 2 * width, channels))


class Stretch(layers.Layer):
    """S/N of each band at several stretches, and its validity, as channels; 0 where not valid.

    ``asinh(S/N / stretch)``, written with a logarithm: five times faster on a CPU than TensorFlow's asinh.
    """

    def __init__(self, stretches: Sequence[float], **options: Any) -> None:
        super().__init__(**options)
        self.stretches = tuple(stretches)

    def call(self, inputs: Sequence[Any]) -> Any:
        """Stretch S/N and validity ``(n, y, x, band)`` to ``(n, y, x, (stretches + 1) bands)``."""
        snr, valid = inputs
        scaled = [snr / stretch for stretch in self.stretches]
        size = [ops.absolute(x) for x in scaled]
        asinh = [ops.sign(x) * ops.log(a + ops.sqrt(a * a + 1)) for x, a in zip(scaled, size, strict=True)]
        return ops.concatenate([*(x * valid for x in asinh), valid], axis=-1)


class Cells(layers.Layer):
    """The values of every square of ``side`` pixels as channels of one position."""

    def __init__(self, side: int, **options: Any) -> None:
        super().__init__(**options)
        self.side = side

    def call(self, x: Any) -> Any:
        """Gather ``(n, y, x, q)`` in cells ``(n, y / side, x / side, side^2 q)``."""
        shape, side, q = ops.shape(x), self.side, x.shape[-1]
        x = ops.reshape(x, (-1, shape[1] // side, side, shape[2] // side, side * q))
        x = ops.transpose(x, (0, 1, 3, 2, 4))
        return ops.reshape(x, (-1, shape[1] // side, shape[2] // side, side * side * q))


class Pixels(Cells):
    """The inverse of `Cells`."""

    def call(self, x: Any) -> Any:
        """Spread cells ``(n, y, x, side^2 q)`` over pixels ``(n, side y, side x, q)``."""
        shape, side = ops.shape(x), self.side
        row = x.shape[-1] // side
        x = ops.reshape(x, (-1, shape[1], shape[2], side, row))
        x = ops.transpose(x, (0, 1, 3, 2, 4))
        return ops.reshape(x, (-1, shape[1] * side, shape[2] * side, row // side))


class BandsToBatch(layers.Layer):
    """Every band as an image of its own: ``(n, y, x, band)`` twice to ``(n band, y, x, 2)``."""

    def call(self, inputs: Sequence[Any]) -> Any:
        """Stack S/N and validity, and move the bands into the batch."""
        x = ops.stack(inputs, axis=-1)
        shape = ops.shape(x)
        x = ops.transpose(x, (0, 3, 1, 2, 4))
        return ops.reshape(x, (-1, shape[1], shape[2], 2))


class PoolBands(layers.Layer):
    """Mean and maximum over the valid bands: ``(n band, y, x, q)`` to ``(n, y, x, 2 q)``; 0 where no band is valid."""

    def call(self, inputs: Sequence[Any]) -> Any:
        """Undo `BandsToBatch` and pool."""
        x, valid = inputs
        shape, q = ops.shape(valid), x.shape[-1]
        x = ops.reshape(x, (shape[0], shape[3], shape[1], shape[2], q))
        weight = ops.expand_dims(ops.transpose(valid, (0, 3, 1, 2)), -1)
        x = x * weight  # never negative after ReLU, so the maximum needs no other mask
        mean = ops.sum(x, axis=1) / ops.maximum(ops.sum(weight, axis=1), 1)
        return ops.concatenate([mean, ops.max(x, axis=1)], axis=-1)


def build_unet(config: UNetConfig, *, trim: int = 0) -> keras.Model:
    """The network, with fresh weights.

    Parameters
    ----------
    config : UNetConfig
        Its shape.
    trim : int
        Border of the output that is not needed, in pixels; see `trim_unet`.

    Returns
    -------
    keras.Model
        From ``(n, y, x, band)`` to *logits* ``(n, y - 2 trim, x - 2 trim, class)``; softmax makes them probabilities.

    Raises
    ------
    ModelError
        The trim does not fit the configuration.

    Examples
    --------
    >>> from morpheus_lite.models.network_config import HAUSEN2020
    >>> build_unet(HAUSEN2020).output_shape
    (None, 40, 40, 5)
    """
    if trim and not config.last_reach <= trim < config.window / 2:
        raise ModelError(
            f"trim={trim}: expected 0, or at least {config.last_reach} px and less than half of {config.window} px"
        )
    inputs = keras.Input((config.window, config.window, config.n_bands), name="pixels")
    x, skips = inputs, []
    for i, (p, q) in enumerate(config.down):
        x = block(x, p, q, f"down_{i}")
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down_{i}_pool")(x)
    x = block(x, *config.intermediate, "intermediate")
    for i, (p, q) in enumerate(config.up):
        x = upsample(x, config.upsampling, f"up_{i}_upsample")
        x = layers.Concatenate(name=f"up_{i}_concat")([x, skips.pop()])
        if trim and not skips:
            x = layers.Cropping2D(trim - config.last_reach, name="trim")(x)
        x = block(x, p, q, f"up_{i}", folded="valid" if trim and not skips else None)
    logits = layers.Conv2D(config.n_classes, KERNEL, padding="valid" if trim else "same", name="final_conv")(x)
    return keras.Model(inputs, logits, name="unet")


def trim_unet(network: keras.Model, config: UNetConfig, trim: int) -> keras.Model:
    """The same network for inference, without a border of its output: less work for the same result inside.

    Parameters
    ----------
    network : keras.Model
        From `build_unet`.
    config : UNetConfig
        Its configuration.
    trim : int
        Border to leave out, in pixels: enough for the last stage and the last convolution to do without padding.

    Returns
    -------
    keras.Model
        From ``(n, window, window, band)`` to logits ``(n, window - 2 trim, window - 2 trim, class)``.

    Notes
    -----
    5 px of the published network's windows do not count: without them, 31 instead of 40.6 million multiply-adds.
    """
    trimmed = build_unet(config, trim=trim)
    _take_weights(trimmed, network)
    return trimmed


def _take_weights(network: keras.Model, source: keras.Model) -> None:
    """Give a network the weights of another, folded where it has no normalisation and the other has one."""
    there, own = ({layer.name: layer for layer in one.layers} for one in (source, network))
    for name, layer in own.items():
        norm = name.removesuffix("_conv") + "_norm"
        if layer.weights:
            is_folded = norm in there and norm not in own
            layer.set_weights(fold(there[norm], there[name]) if is_folded else there[name].get_weights())


def build_onepass(config: OnePassConfig, *, folded: bool = False) -> keras.Model:
    """The network, with fresh weights.

    Parameters
    ----------
    config : OnePassConfig
        Its shape.
    folded : bool
        For inference, see `fold_network`: without batch normalisation. What comes out is the tile without the margin
        ``stage_margins(config)["input"]`` on each side, and every stage works on no more of the margin than it has to.

    Returns
    -------
    keras.Model
        From ``snr`` and ``valid``, both float32 ``(n, y, x, band)`` (see `morpheus_lite.noise.background_mesh`), y and
        x multiples of ``config.factor``, to *logits* ``(n, y, x, class)``.
    """
    n_bands = len(config.bands) or None
    snr = keras.Input((None, None, n_bands), name="snr")
    valid = keras.Input((None, None, n_bands), name="valid")
    operation = partial(block, folded="same" if folded else None)
    margins = stage_margins(config)
    if not folded:
        margins = dict.fromkeys(margins, 0)
    stretch = Stretch(config.stretches, dtype="float32", name="stretch")  # S/N has more digits than bfloat16
    cells = Cells(config.cell, dtype="float32", name="cells")
    if config.bands:
        light, seen = snr, valid
    else:
        x = BandsToBatch(dtype="float32", name="bands_to_batch")([snr, valid])
        light, seen = x[..., :1], x[..., 1:]
    x = stretch([cells(light), cells(seen)]) if folded else cells(stretch([light, seen]))
    if not config.bands:
        x = operation(x, *config.stem, "stem")
        x = PoolBands(name="pool_bands")([x, layers.MaxPooling2D(config.cell, name="seen")(valid)])
    skips, size, margin = [], config.cell, margins["input"]
    for i, (p, q) in enumerate(config.down):
        x = operation(_cut(x, margin - margins[f"down_{i}"], size), p, q, f"down_{i}")
        margin = margins[f"down_{i}"]
        skips.append((x, margin))
        x = layers.MaxPooling2D(2, name=f"down_{i}_pool")(x)
        size *= 2
    x = operation(_cut(x, margin - margins["intermediate"], size), *config.intermediate, "intermediate")
    margin = margins["intermediate"]
    for i, (p, q) in enumerate(config.up):
        x = upsample(_cut(x, margin - margins[f"up_{i}"], size), "nearest", f"up_{i}_upsample")
        margin, size = margins[f"up_{i}"], size // 2
        skip, skip_margin = skips.pop()
        x = layers.Concatenate(name=f"up_{i}_concat")([x, _cut(skip, skip_margin - margin, size)])
        x = operation(x, p, q, f"up_{i}")
    x = layers.Conv2D(len(CLASSES) * config.cell**2, KERNEL, padding="same", name="final_conv")(x)
    x = Pixels(config.cell, dtype="float32", name="logits")(_cut(x, margin, size))
    return keras.Model([snr, valid], x, name="onepass")


def fold_network(model: keras.Model, config: OnePassConfig) -> keras.Model:
    """The same network with its batch normalisation folded into the convolutions, for inference.

    Parameters
    ----------
    model : keras.Model
        From `build_onepass`.
    config : OnePassConfig
        Its configuration.

    Returns
    -------
    keras.Model
        Equal results, without the margin.
    """
    folded = build_onepass(config, folded=True)
    _take_weights(folded, model)
    first = folded.get_layer("down_0_0_conv" if config.bands else "stem_0_conv")
    kernel, bias = first.get_weights()
    first.set_weights([kernel[:, :, channel_order(config)], bias])
    return folded


def _cut(x: Any, pixels: int, size: int) -> Any:
    """Without this many pixels on each side, of which a position has ``size``."""
    return layers.Cropping2D(pixels // size)(x) if pixels else x
