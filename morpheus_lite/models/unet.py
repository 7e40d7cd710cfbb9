"""The U-Net of Hausen & Robertson (2020), and others of its shape."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import keras
from keras import layers

from morpheus_lite.errors import ModelError
from morpheus_lite.models.blocks import KERNEL, UPSAMPLING, block, fold, upsample
from morpheus_lite.models.stages import Stage, check_fields, positive, read_stage, sequence


@dataclass(frozen=True)
class UNetConfig:
    """The shape of a U-Net: one (P, Q) a stage, P block operations with Q filters each.

    Parameters
    ----------
    down : tuple of (int, int)
        Stages of the way down, at full size first; each is followed by 2 x 2 max pooling.
    intermediate : (int, int)
        The stage at the bottom.
    up : tuple of (int, int)
        Stages of the way up, at the smallest size first, as many as ``down``; each starts with upsampling
        by 2 and the output of the stage of the same size on the way down.
    n_bands : int
        Bands of the input.
    n_classes : int
        Classes of the output.
    window : int
        Side of the input in pixels, a multiple of ``2 ** len(down)``.
    upsampling : {"bicubic_aligned", "bilinear", "nearest"}
        How maps grow on the way up.

    Raises
    ------
    ModelError
        The numbers do not make a network.
    """

    down: tuple[Stage, ...]
    intermediate: Stage
    up: tuple[Stage, ...]
    n_bands: int
    n_classes: int
    window: int
    upsampling: str = "bicubic_aligned"

    def __post_init__(self) -> None:
        for label in ("down", "up"):
            object.__setattr__(self, label, tuple(read_stage(s, label) for s in sequence(getattr(self, label), label)))
        object.__setattr__(self, "intermediate", read_stage(self.intermediate, "intermediate"))
        if not self.down or len(self.down) != len(self.up):
            raise ModelError(
                f"{len(self.down)} stage(s) down and {len(self.up)} up: expected the same number, at least one"
            )
        for label in ("n_bands", "n_classes", "window"):
            positive(getattr(self, label), label)
        if self.window % self.factor:
            raise ModelError(
                f"window={self.window}: {len(self.down)} stages of pooling need a multiple of {self.factor} px"
            )
        if self.upsampling not in UPSAMPLING:
            raise ModelError(f"upsampling={self.upsampling!r}: expected one of {', '.join(UPSAMPLING)}")

    @property
    def factor(self) -> int:
        """Side of the block of pixels that becomes one at the bottom: ``2 ** len(down)``."""
        return 2 ** len(self.down)

    @property
    def last_reach(self) -> int:
        """How far the last stage and the last convolution look, in pixels: P + 1."""
        return self.up[-1][0] + 1

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "UNetConfig":
        """The configuration that `to_dict` wrote.

        Raises
        ------
        ModelError
            A field is missing, unknown or impossible.
        """
        known = {f.name for f in fields(cls)}
        check_fields(values, known, known - {"upsampling"}, "U-Net configuration")
        return cls(**values)


HAUSEN2020 = UNetConfig(
    down=((4, 8), (4, 16), (4, 32)),
    intermediate=(1, 16),
    up=((2, 8), (2, 16), (2, 32)),
    n_bands=4,
    n_classes=5,
    window=40,
)
"""The published network: 75,421 trainable parameters."""


def build_unet(config: UNetConfig, *, shape: tuple[int, int] | None = None, trim: int = 0) -> keras.Model:
    """The network, with fresh weights.

    Parameters
    ----------
    config : UNetConfig
        Its shape.
    shape : (int, int), optional
        Height and width of the input, each a multiple of ``config.factor``; the configuration's window if
        not given. The weights do not depend on it.
    trim : int
        Border of the output that is not needed, in pixels; see `trim_unet`.

    Returns
    -------
    keras.Model
        From ``(n, y, x, band)`` to *logits* ``(n, y - 2 trim, x - 2 trim, class)``; softmax makes them probabilities.

    Raises
    ------
    ModelError
        The shape or the trim does not fit the configuration.

    Examples
    --------
    >>> build_unet(HAUSEN2020).output_shape
    (None, 40, 40, 5)
    """
    height, width = shape or (config.window, config.window)
    _check_size(config, height, width, trim)
    inputs = keras.Input((height, width, config.n_bands), name="pixels")
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
        x = block(x, p, q, f"up_{i}", folded=bool(trim) and not skips)
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
    names = {layer.name for layer in trimmed.layers}
    for layer in trimmed.layers:
        original = network.get_layer(layer.name) if layer.weights else layer
        norm = layer.name.removesuffix("_conv") + "_norm"
        was_normalised = any(other.name == norm for other in network.layers)
        folded = was_normalised and norm not in names
        layer.set_weights(fold(network.get_layer(norm), original) if folded else original.get_weights())
    return trimmed


def _check_size(config: UNetConfig, height: int, width: int, trim: int) -> None:
    if height % config.factor or width % config.factor or min(height, width) < config.factor:
        raise ModelError(f"input of {height} x {width} px: both must be multiples of {config.factor} px")
    if trim and not config.last_reach <= trim < min(height, width) / 2:
        raise ModelError(
            f"trim={trim}: expected 0, or at least {config.last_reach} px and less than half of {height} x {width} px"
        )
