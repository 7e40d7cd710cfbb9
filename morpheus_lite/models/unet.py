"""The U-Net of Hausen & Robertson (2020), and others of its shape."""

import keras
from keras import layers

from morpheus_lite.errors import ModelError
from morpheus_lite.models.network_config import KERNEL, UNetConfig
from morpheus_lite.models.networks import block, fold, upsample


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
    >>> from morpheus_lite.models.network_config import HAUSEN2020
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
