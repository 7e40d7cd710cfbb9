"""Networks that classify a whole tile in one pass: bands in units of their noise, several stretches, a U-Net.

They are translation-equivariant up to their pooling, and a pixel's result depends on the pixels within `halo` of it and
on no others; so tiles that are cut with that margin, on multiples of the pooling, fit together without seams.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import keras
from keras import layers, ops

from morpheus_lite.classes import CLASSES
from morpheus_lite.errors import ModelError
from morpheus_lite.model.blocks import KERNEL, block, upsample
from morpheus_lite.model.blocks import fold as fold_operation
from morpheus_lite.model.stages import Stage, check_fields, read_stage


@dataclass(frozen=True)
class OnePassConfig:
    """The shape of a one-pass network.

    Parameters
    ----------
    down : tuple of (int, int)
        (P, Q) of the stages of the way down, at the largest size first; each is followed by 2 x 2 max pooling.
    intermediate : (int, int)
        (P, Q) at the bottom.
    up : tuple of (int, int)
        (P, Q) of the way up, at the smallest size first, as many as ``down``.
    cell : int
        Side of the square of pixels whose values together are one position of the first stage (1: every pixel is one);
        the last convolution answers for each of its pixels. Halving the positions makes the network about twice as
        fast at equal width, and loses nothing but the sharing of weights between the pixels of a cell.
    bands : tuple of str
        Bands of the input, in their order; empty for a network that takes any number of bands in any order.
    stretches : tuple of float
        Every band is shown once for each: ``asinh(S/N / stretch)``.
    stem : (int, int)
        (P, Q) of the block that looks at each band alone before the bands are pooled; only without ``bands``.

    Raises
    ------
    ModelError
        The numbers do not make a network.
    """

    down: tuple[Stage, ...]
    intermediate: Stage
    up: tuple[Stage, ...]
    cell: int = 2
    bands: tuple[str, ...] = ()
    stretches: tuple[float, ...] = (1.0, 8.0, 64.0)
    stem: Stage = (1, 16)

    def __post_init__(self) -> None:
        for label in ("down", "up"):
            object.__setattr__(self, label, tuple(read_stage(s, label) for s in getattr(self, label)))
        for label in ("intermediate", "stem"):
            object.__setattr__(self, label, read_stage(getattr(self, label), label))
        object.__setattr__(self, "bands", tuple(self.bands))
        object.__setattr__(self, "stretches", tuple(float(s) for s in self.stretches))
        if not self.down or len(self.down) != len(self.up):
            raise ModelError(f"{len(self.down)} stages down and {len(self.up)} up: expected as many, at least one")
        if not self.stretches or min(self.stretches) <= 0:
            raise ModelError(f"stretches={self.stretches}: expected positive numbers, at least one")
        if isinstance(self.cell, bool) or not isinstance(self.cell, int) or self.cell < 1:
            raise ModelError(f"cell={self.cell!r}: expected a whole number of pixels, at least 1")

    @property
    def factor(self) -> int:
        """Tiles start at, and are as large as, multiples of this many pixels: ``cell * 2 ** len(down)``."""
        return self.cell * 2 ** len(self.down)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "OnePassConfig":
        """The configuration that `to_dict` wrote.

        Raises
        ------
        ModelError
            A field is missing, unknown or impossible.
        """
        known = {f.name for f in fields(cls)}
        check_fields(values, known, ("down", "intermediate", "up"), "one-pass configuration")
        return cls(**values)


def halo(config: OnePassConfig) -> int:
    """How far a pixel's influence reaches: pixels on each side of a tile that are spoilt by its border.

    Parameters
    ----------
    config : OnePassConfig
        The network.

    Returns
    -------
    int
        A multiple of ``config.factor``; a result does not depend on input farther away than this, in rows or in
        columns, if tiles start at multiples of ``config.factor``.
    """
    size = config.cell
    reach = 0 if config.bands else config.stem[0] * size
    for p, _ in config.down:
        reach += p * size
        size *= 2
    reach += config.intermediate[0] * size
    for p, _ in config.up:
        size //= 2
        reach += p * size
    reach += size  # the last convolution
    reach += config.factor - 1  # a pooled position stands for a block of pixels
    return -(-reach // config.factor) * config.factor


def multiply_adds(config: OnePassConfig, *, n_bands: int | None = None) -> float:
    """Multiply-adds of the convolutions per pixel of the image.

    Parameters
    ----------
    config : OnePassConfig
        The network.
    n_bands : int, optional
        How many bands the image has; needed where the network takes any number.
    """
    n_bands = len(config.bands) or n_bands or 1
    area, skips, total = 1 / config.cell**2, [], 0.0
    channels = (len(config.stretches) + 1) * config.cell**2
    if config.bands:
        channels *= n_bands
    else:
        total, channels = _cost(channels, config.stem) * n_bands * area, 2 * config.stem[1]
    for stage in config.down:
        total += _cost(channels, stage) * area
        channels = stage[1]
        skips.append(channels)
        area /= 4
    total += _cost(channels, config.intermediate) * area
    channels = config.intermediate[1]
    for stage in config.up:
        area *= 4
        total += _cost(channels + skips.pop(), stage) * area
        channels = stage[1]
    return total + _cost(channels, (1, len(CLASSES)))  # cell**2 answers at 1 / cell**2 positions


def build_onepass(config: OnePassConfig, *, folded: bool = False) -> keras.Model:
    """The network, with fresh weights.

    Parameters
    ----------
    config : OnePassConfig
        Its shape.
    folded : bool
        Without batch normalisation, for `fold`.

    Returns
    -------
    keras.Model
        From ``snr`` and ``valid``, both float32 ``(n, y, x, band)`` (see `morpheus_lite.normalization`), y and x
        multiples of ``config.factor``, to *logits* ``(n, y, x, class)``.
    """
    n_bands = len(config.bands) or None
    snr = keras.Input((None, None, n_bands), name="snr")
    valid = keras.Input((None, None, n_bands), name="valid")
    operation = _folded_block if folded else block
    if config.bands:
        x = Cells(config.cell, name="cells")(Stretch(config.stretches, name="stretch")([snr, valid]))
    else:
        x = BandsToBatch(name="bands_to_batch")([snr, valid])
        x = Stretch(config.stretches, name="stretch")([x[..., :1], x[..., 1:]])
        x = operation(Cells(config.cell, name="cells")(x), *config.stem, "stem")
        x = PoolBands(name="pool_bands")([x, layers.MaxPooling2D(config.cell, name="seen")(valid)])
    skips = []
    for i, (p, q) in enumerate(config.down):
        x = operation(x, p, q, f"down_{i}")
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"down_{i}_pool")(x)
    x = operation(x, *config.intermediate, "intermediate")
    for i, (p, q) in enumerate(config.up):
        x = upsample(x, "nearest", f"up_{i}_upsample")
        x = layers.Concatenate(name=f"up_{i}_concat")([x, skips.pop()])
        x = operation(x, p, q, f"up_{i}")
    x = layers.Conv2D(len(CLASSES) * config.cell**2, KERNEL, padding="same", name="final_conv")(x)
    return keras.Model([snr, valid], Pixels(config.cell, name="logits")(x), name="onepass")


def fold(model: keras.Model, config: OnePassConfig) -> keras.Model:
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
        Equal results, except within `halo` of the border of the input, where "same" padding differs.
    """
    folded = build_onepass(config, folded=True)
    for layer in folded.layers:
        if not isinstance(layer, layers.Conv2D):
            continue
        convolution = model.get_layer(layer.name)
        weights = convolution.get_weights()
        if layer.name.removesuffix("_conv") != "final":
            norm = model.get_layer(layer.name.removesuffix("_conv") + "_norm")
            weights = fold_operation(norm, convolution)
        layer.set_weights(weights)
    return folded


@keras.saving.register_keras_serializable(package="morpheus_lite")
class Stretch(layers.Layer):
    """S/N of each band at several stretches, and its validity, as channels; 0 where not valid.

    ``asinh(S/N / stretch)``, written with a logarithm: five times faster on a CPU than TensorFlow's asinh.
    """

    def __init__(self, stretches: Sequence[float], **options: Any) -> None:
        super().__init__(**options)
        self.stretches = tuple(stretches)

    def call(self, inputs: Sequence[Any]) -> Any:
        """From S/N and validity ``(n, y, x, band)`` to ``(n, y, x, (stretches + 1) bands)``."""
        snr, valid = inputs
        scaled = [snr / stretch for stretch in self.stretches]
        size = [ops.absolute(x) for x in scaled]
        asinh = [ops.sign(x) * ops.log(a + ops.sqrt(a * a + 1)) for x, a in zip(scaled, size, strict=True)]
        return ops.concatenate([*(x * valid for x in asinh), valid], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """What makes the layer anew."""
        return {**super().get_config(), "stretches": self.stretches}


@keras.saving.register_keras_serializable(package="morpheus_lite")
class Cells(layers.Layer):
    """The values of every square of ``side`` pixels as channels of one position."""

    def __init__(self, side: int, **options: Any) -> None:
        super().__init__(**options)
        self.side = side

    def call(self, x: Any) -> Any:
        """From ``(n, y, x, q)`` to ``(n, y / side, x / side, side^2 q)``."""
        shape, side, q = ops.shape(x), self.side, x.shape[-1]
        x = ops.reshape(x, (-1, shape[1] // side, side, shape[2] // side, side * q))
        x = ops.transpose(x, (0, 1, 3, 2, 4))
        return ops.reshape(x, (-1, shape[1] // side, shape[2] // side, side * side * q))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Fewer positions, more channels."""
        n, height, width, q = input_shape
        fewer = [None if length is None else length // self.side for length in (height, width)]
        return n, *fewer, q * self.side**2

    def get_config(self) -> dict[str, Any]:
        """What makes the layer anew."""
        return {**super().get_config(), "side": self.side}


@keras.saving.register_keras_serializable(package="morpheus_lite")
class Pixels(Cells):
    """The inverse of `Cells`."""

    def call(self, x: Any) -> Any:
        """From ``(n, y, x, side^2 q)`` to ``(n, side y, side x, q)``."""
        shape, side = ops.shape(x), self.side
        row = x.shape[-1] // side
        x = ops.reshape(x, (-1, shape[1], shape[2], side, row))
        x = ops.transpose(x, (0, 1, 3, 2, 4))
        return ops.reshape(x, (-1, shape[1] * side, shape[2] * side, row // side))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """More positions, fewer channels."""
        n, height, width, channels = input_shape
        more = [None if length is None else length * self.side for length in (height, width)]
        return n, *more, channels // self.side**2


@keras.saving.register_keras_serializable(package="morpheus_lite")
class BandsToBatch(layers.Layer):
    """Every band as an image of its own: ``(n, y, x, band)`` twice to ``(n band, y, x, 2)``."""

    def call(self, inputs: Sequence[Any]) -> Any:
        """Stack S/N and validity, and move the bands into the batch."""
        x = ops.stack(inputs, axis=-1)
        shape = ops.shape(x)
        x = ops.transpose(x, (0, 3, 1, 2, 4))
        return ops.reshape(x, (-1, shape[1], shape[2], 2))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Bands join the batch."""
        return None, *input_shape[0][1:3], 2


@keras.saving.register_keras_serializable(package="morpheus_lite")
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

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Twice the channels."""
        features, valid = input_shape
        return valid[0], valid[1], valid[2], 2 * features[-1]


def _folded_block(x: Any, p: int, q: int, name: str) -> Any:
    for i in range(p):
        x = layers.Conv2D(q, KERNEL, padding="same", activation="relu", name=f"{name}_{i}_conv")(x)
    return x


def _cost(channels: int, stage: Stage) -> float:
    p, q = stage
    return KERNEL * KERNEL * q * (channels + (p - 1) * q)
