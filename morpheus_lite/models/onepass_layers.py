"""The layers of one-pass networks that are no convolutions: stretches, cells of pixels, pooling over bands."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="morpheus_lite")
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

    def get_config(self) -> dict[str, Any]:
        """Configuration from which Keras makes the layer anew."""
        return {**super().get_config(), "stretches": self.stretches}


@keras.saving.register_keras_serializable(package="morpheus_lite")
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

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Fewer positions, more channels."""
        n, height, width, q = input_shape
        fewer = [None if length is None else length // self.side for length in (height, width)]
        return n, *fewer, q * self.side**2

    def get_config(self) -> dict[str, Any]:
        """Configuration from which Keras makes the layer anew."""
        return {**super().get_config(), "side": self.side}


@keras.saving.register_keras_serializable(package="morpheus_lite")
class Pixels(Cells):
    """The inverse of `Cells`."""

    def call(self, x: Any) -> Any:
        """Spread cells ``(n, y, x, side^2 q)`` over pixels ``(n, side y, side x, q)``."""
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
