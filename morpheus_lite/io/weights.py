"""Weight maps: inverse variances, or only proportional to them."""

import warnings
from dataclasses import replace

import numpy as np

from morpheus_lite.core.windows import Window
from morpheus_lite.io.planes import Band, NoisePlane, OpenFiles

PULL_LIMITS = (0.2, 5.0)
"""Width of data * sqrt(weight) on blank sky, for a weight that is believed to be an inverse variance (ideally 1)."""

_N_BLOCKS, _BLOCK = 5, 64
"""The width is measured in ``_N_BLOCKS`` x ``_N_BLOCKS`` blocks of ``_BLOCK`` px spread over the image."""


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
        warnings.warn(
            f"{band.name}: the weight {noise.plane} is not an inverse variance of the data (data * sqrt(weight) "
            f"scatters by {width:.3g} on the sky, not 1); it is taken as relative, and scaled to the image's noise",
            UserWarning,
            stacklevel=2,
        )
    return replace(noise, kind="weight", scale=1.0 if believed else width)


def pull_width(noise: NoisePlane, band: Band, files: OpenFiles) -> float | None:
    """Scatter of data * sqrt(weight) on the sky; None where too few pixels can be used."""
    widths = []
    for window in _blocks(band.data.shape):
        data = np.asarray(band.data.read(window, files), float)
        weight = np.asarray(noise.plane.read(window, files), float)
        usable = np.isfinite(data) & np.isfinite(weight) & (weight > 0)
        for mask in band.masks:
            usable &= ~mask.read(window, files)
        if usable.sum() >= _BLOCK:
            pull = (data[usable] - np.median(data[usable])) * np.sqrt(weight[usable])
            widths.append(1.4826 * np.median(np.abs(pull - np.median(pull))))
    width = float(np.median(widths)) if widths else 0.0
    return width if np.isfinite(width) and width > 0 else None


def _blocks(shape: tuple[int, int]) -> list[Window]:
    height, width = (min(_BLOCK, length) for length in shape)
    rows, columns = (
        sorted({int(start) for start in np.linspace(0, length - size, _N_BLOCKS)})
        for length, size in zip(shape, (height, width), strict=True)
    )
    return [Window(y, x, height, width) for y in rows for x in columns]
