"""Networks that classify a whole tile in one pass: bands in units of their noise, several stretches, a U-Net.

They are translation-equivariant up to their pooling, and a pixel's result depends on the pixels within `halo` of it and
on no others; so tiles that are cut with that margin, on multiples of the pooling, fit together without seams.
"""

from typing import Any

import keras
from keras import layers

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.models.network_config import KERNEL, OnePassConfig, channel_order, stage_margins
from morpheus_lite.models.networks import block, upsample
from morpheus_lite.models.networks import fold as fold_operation
from morpheus_lite.models.onepass_layers import BandsToBatch, Cells, Pixels, PoolBands, Stretch


def build_onepass(config: OnePassConfig, *, folded: bool = False, trimmed: bool = False) -> keras.Model:
    """The network, with fresh weights.

    Parameters
    ----------
    config : OnePassConfig
        Its shape.
    folded : bool
        Without batch normalisation, for `fold_network`.
    trimmed : bool
        What comes out is the tile without the margin ``stage_margins(config)["input"]`` on each side, and every
        stage works on no more of the margin than it has to.

    Returns
    -------
    keras.Model
        From ``snr`` and ``valid``, both float32 ``(n, y, x, band)`` (see `morpheus_lite.noise.background_mesh`), y and
        x multiples of ``config.factor``, to *logits* ``(n, y, x, class)``.
    """
    n_bands = len(config.bands) or None
    snr = keras.Input((None, None, n_bands), name="snr")
    valid = keras.Input((None, None, n_bands), name="valid")
    operation = _folded_block if folded else block
    margins = stage_margins(config)
    if not trimmed:
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


def fold_network(model: keras.Model, config: OnePassConfig, *, trimmed: bool = False) -> keras.Model:
    """The same network with its batch normalisation folded into the convolutions, for inference.

    Parameters
    ----------
    model : keras.Model
        From `build_onepass`.
    config : OnePassConfig
        Its configuration.
    trimmed : bool
        As in `build_onepass`: for tiles with a margin.

    Returns
    -------
    keras.Model
        Equal results, except within `halo` of the border of the input, where "same" padding differs.
    """
    folded = build_onepass(config, folded=True, trimmed=trimmed)
    for layer in folded.layers:
        if not isinstance(layer, layers.Conv2D):
            continue
        convolution = model.get_layer(layer.name)
        weights = convolution.get_weights()
        if layer.name.removesuffix("_conv") != "final":
            norm = model.get_layer(layer.name.removesuffix("_conv") + "_norm")
            weights = fold_operation(norm, convolution)
        if layer.name == ("down_0_0_conv" if config.bands else "stem_0_conv"):
            weights[0] = weights[0][:, :, channel_order(config)]
        layer.set_weights(weights)
    return folded


def _cut(x: Any, pixels: int, size: int) -> Any:
    """Without this many pixels on each side, of which a position has ``size``."""
    return layers.Cropping2D(pixels // size)(x) if pixels else x


def _folded_block(x: Any, p: int, q: int, name: str) -> Any:
    for i in range(p):
        x = layers.Conv2D(q, KERNEL, padding="same", activation="relu", name=f"{name}_{i}_conv")(x)
    return x
