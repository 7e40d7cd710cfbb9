"""Planes that are not what they seem: masks that hide much of an image, and weights that are only relative."""

from dataclasses import replace

import numpy as np
from scipy import ndimage

from morpheus_lite.core.windows import Window
from morpheus_lite.io.image_reader import Band, MaskPlane, NoisePlane, OpenFiles, read_noise

MOST_PIXELS = 0.3
"""Share of the pixels with data that a mask may hide without a warning."""
MOST_LIGHT = 0.5
"""Share of the significant light that a mask may hide without a warning."""

_N_BLOCKS = 5
"""An image is sampled in ``_N_BLOCKS`` x ``_N_BLOCKS`` blocks that are spread over it."""

_BLOCK, _WEIGHT_BLOCK = 128, 64
"""Side of the blocks in pixels: of masks, for which an image of 5 or less a side is measured whole, and of weights."""

_SIGNIFICANT, _BRIGHTEST, _FEWEST = 3.0, 50.0, 30
"""Light counts from and up to these multiples of the scatter of the pixels, where at least so many pixels have some."""


def warn_of_hidden_pixels(band: Band, files: OpenFiles) -> None:
    """Warn where a mask of a band hides much of its pixels, or most of its light, or a plane of noise much.

    Parameters
    ----------
    band : Band
        The band.
    files : OpenFiles
        Files of its planes.
    """
    for noise in band.noise:
        unusable = _unusable(band, noise, files)
        if unusable > MOST_PIXELS:
            warn(
                f"{band.name}: the {noise.kind} {noise.plane} is not positive and finite at {unusable:.0%} of the "
                "pixels with data, which are not used; give another plane, or leave it out (rms=False, weight=False)"
            )
    for mask in band.masks:
        pixels, light = _hidden(band, mask, files)
        if pixels > MOST_PIXELS or light > MOST_LIGHT:
            warn(
                f"{band.name}: the plane {mask} hides {pixels:.0%} of the pixels and {light:.0%} of the light; "
                f"{_set_bits(band, mask, files)}if that is not meant, choose the bits that make a pixel bad (dq_bits=, "
                "--dq-bits), or leave the mask out (dq=False, --dq none)"
            )


def _unusable(band: Band, noise: NoisePlane, files: OpenFiles) -> float:
    """Share of the pixels with data where a plane of noise cannot be used."""
    found = []
    for window in _blocks(band.data.shape):
        data = band.data.read(window, files)
        found.append(~read_noise(noise, window, files)[1][np.isfinite(data) & (data != 0)])
    bad = np.concatenate(found)
    return float(bad.mean()) if bad.size else 0.0


def _hidden(band: Band, mask: MaskPlane, files: OpenFiles) -> tuple[float, float]:
    """Shares of the pixels with data, and of their light, that a mask hides."""
    found = []
    for window in _blocks(band.data.shape):
        data = np.asarray(band.data.read(window, files), float)
        measured = np.isfinite(data) & (data != 0)
        if measured.any():
            # Cosmic rays, hot pixels and marks are not the light of the sky.
            smooth = ndimage.median_filter(np.where(measured, data, np.median(data[measured])), 3)
            found.append((smooth[measured], mask.read(window, files)[measured]))
    if not found:
        return 0.0, 0.0
    light, bad = (np.concatenate(part) for part in zip(*found, strict=True))
    light -= np.median(light)
    scatter = 1.4826 * np.median(np.abs(light))
    light = np.where(light > _SIGNIFICANT * scatter, np.minimum(light, _BRIGHTEST * scatter), 0)
    share = light[bad].sum() / light.sum() if np.count_nonzero(light) >= _FEWEST and light.any() else 0.0
    return float(bad.mean()), float(share)


def _set_bits(band: Band, mask: MaskPlane, files: OpenFiles) -> str:
    """Bits that hide pixels, the most frequent first."""
    shares = np.zeros(64)
    for window in _blocks(band.data.shape):
        values = mask.plane.read(window, files)
        if values.dtype.kind not in "iu":
            return ""
        wanted = np.uint64(2**64 - 1 if mask.bits.bad is None else mask.bits.bad & 2**64 - 1)
        values = values.astype(np.uint64) & wanted
        shares += [np.count_nonzero(values >> np.uint64(bit) & np.uint64(1)) / values.size for bit in range(64)]
    shares /= len(_blocks(band.data.shape))
    often = [int(bit) for bit in np.argsort(-shares, kind="stable")[:4] if shares[bit] > 0]
    return f"its bits are {', '.join(f'{mask.bits.named(1 << bit)} ({shares[bit]:.0%})' for bit in often)}; "


def _blocks(shape: tuple[int, int], side: int = _BLOCK) -> list[Window]:
    """The whole image in pieces, or blocks spread evenly where it is larger; those of weights are always spread."""
    rows, columns = (_starts(length, side) for length in shape)
    return [Window(y, x, min(side, shape[0] - y), min(side, shape[1] - x)) for y in rows for x in columns]


def _starts(length: int, side: int) -> list[int]:
    if side == _BLOCK and length <= _N_BLOCKS * side:
        return list(range(0, length, side))
    return sorted({int(start) for start in np.linspace(0, length - min(side, length), _N_BLOCKS)})


PULL_LIMITS = (0.2, 5.0)
"""Width of data * sqrt(weight) on blank sky, for a weight that is believed to be an inverse variance (ideally 1)."""


def with_weight_scale(band: Band, files: OpenFiles) -> Band:
    """The band with its weight maps taken as inverse variances, or scaled to the noise of the image.

    A map of exposure times (by its name or unit), or one whose inverse variance is off the measured noise by more
    than a factor of five, says only how the noise varies: the RMS is then s / sqrt(weight), where s makes it
    agree with the noise of the image. Other weights are taken as they are.

    Parameters
    ----------
    band : Band
        Its noise planes may be of kind ``"exposure"``.
    files : OpenFiles
        Files of its planes.

    Returns
    -------
    Band
        Noise planes of kind ``"exposure"`` have become ``"weight"`` with a scale.

    Notes
    -----
    s is the median over blocks of the scatter of data * sqrt(weight) about the block's median (1.4826 times the median
    absolute deviation), which sources hardly change; SExtractor calibrates its relative weights likewise.
    """
    if not any(noise.kind in ("weight", "exposure") for noise in band.noise):
        return band
    # Only the first gives the RMS; the others are only asked where they are positive.
    noise = tuple(
        _scaled(one, band, files) if k == 0 else replace(one, kind=one.kind.replace("exposure", "weight"))
        for k, one in enumerate(band.noise)
    )
    return replace(band, noise=noise, meta={**band.meta, "noise": [f"{one.kind} x {one.scale:.4g}" for one in noise]})


def _scaled(noise: NoisePlane, band: Band, files: OpenFiles) -> NoisePlane:
    if noise.kind not in ("weight", "exposure"):
        return noise
    width = pull_width(noise, band, files)
    if width is None:
        return replace(noise, kind="weight")
    believed = noise.kind == "weight" and PULL_LIMITS[0] <= width <= PULL_LIMITS[1]
    if not believed:
        warn(
            f"{band.name}: the weight {noise.plane} is not an inverse variance of the data (data * sqrt(weight) "
            f"scatters by {width:.3g} on the sky, not 1); it is taken as relative, and scaled to the image's noise"
        )
    return replace(noise, kind="weight", scale=1.0 if believed else width)


def pull_width(noise: NoisePlane, band: Band, files: OpenFiles) -> float | None:
    """Scatter of data * sqrt(weight) on the sky; None where too few pixels can be used."""
    widths = []
    for window in _blocks(band.data.shape, _WEIGHT_BLOCK):
        data = np.asarray(band.data.read(window, files), float)
        weight = np.asarray(noise.plane.read(window, files), float)
        usable = np.isfinite(data) & np.isfinite(weight) & (weight > 0)
        for mask in band.masks:
            usable &= ~mask.read(window, files)
        if usable.sum() >= _WEIGHT_BLOCK:
            pull = (data[usable] - np.median(data[usable])) * np.sqrt(weight[usable])
            widths.append(1.4826 * np.median(np.abs(pull - np.median(pull))))
    width = float(np.median(widths)) if widths else 0.0
    return width if np.isfinite(width) and width > 0 else None
