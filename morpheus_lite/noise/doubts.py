"""Doubts about an image: numbers out of range, pixels not linear in the light, a sky that the mesh does not follow."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from astropy.stats import mad_std
from scipy import ndimage

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.large_objects import BLOCK_SIDE
from morpheus_lite.core.protocols import ImageReader
from morpheus_lite.errors import InputError, warn
from morpheus_lite.noise.background_mesh import BackgroundMesh, normalize
from morpheus_lite.noise.psf import psf_windows
from morpheus_lite.runtime.resources import thread_map

_SMALLEST_NOISE, _LARGEST_LIGHT = 1e-36, 1e30  # data units
_LARGEST_LEVEL = 2.0**24  # of the sky, in units of its noise: there the steps of 32-bit floats are as large
_PULLS = 0.2, 5.0  # scatter of the sky over its RMS plane; drizzled pixels scatter by less than 1
_LARGEST_SNR = 1e12  # of blocks; the brightest stars of deep images reach 1e9
_ON_SOURCE, _ON_SKY, _FEWEST_CHANGES = 4.0, 1.0, 100  # S/N, and pixels
_COMPRESSED = 0.7
"""Noise on sources over that on the sky. Linear images have 0.93 and more, real ones 1.3 and more; after asinh with a
softening of 1 or 3 sigma 0.05 to 0.5, but for a cluster that fills its image (0.9); with one of 10 sigma 0.6 to 1.4.
"""
_FAR = 10.0  # times the scatter of blocks: light far from the sky
_FEWEST_LOW, _LOW = 8, 4  # blocks below the sky, and how many for each above it
_PART_OF_SKY, _FEWEST_BLOCKS, _QUANTILES = 32, 200, (0.1587, 0.5)  # blocks, and quantiles, of a part of the sky
_LONGEST_LAG = 3  # blocks
_LAGS = [
    (dy, dx)
    for dy in range(_LONGEST_LAG + 1)
    for dx in range(-_LONGEST_LAG, _LONGEST_LAG + 1)
    if max(dy, abs(dx)) > 1 and (dy, dx) > (0, 0)
]
_ALIKE, _RELIEF = 0.5, 0.5
"""Correlation of the lower sides of blocks 16 px apart, and amplitude in units of the noise of a pixel, from which the
sky is uneven. Noise has 0.07 and 0.17 at most, however its pixels are correlated, five deep fields of HST up to 0.4 and
0.4; fringes of 1 sigma and 30 px 0.8 and 0.6, and those make 23 sources of the sky beside 16 stars.
"""


def check_range(bands: Sequence[str], means: np.ndarray, has_rms: Sequence[bool], noise: BackgroundMesh) -> None:
    """Refuse numbers whose sums leave the range of 32-bit floats, and warn of planes that cannot be the noise.

    Parameters
    ----------
    bands : sequence of str
        Names.
    means : numpy.ndarray
        float32, shape ``(block y, block x, band)``: mean light of blocks, NaN where there is none.
    has_rms : sequence of bool
        Which bands have a plane of noise.
    noise : BackgroundMesh
        What is measured of the image.

    Raises
    ------
    InputError
        A band has such numbers, or light that only bad pixels have.
    """
    for b, band in enumerate(bands):
        with np.errstate(invalid="ignore"):
            highest = float(np.nanmax(np.abs(means[:, :, b]), initial=0.0))
        sigma = noise.sigma[:, :, b]
        lowest = float(np.min(sigma[sigma > 0], initial=1.0))
        if highest > _LARGEST_LIGHT or (not has_rms[b] and lowest < _SMALLEST_NOISE):
            what = f"light of {highest:.1g}" if highest > _LARGEST_LIGHT else f"a noise of {lowest:.1g}"
            raise InputError(
                f"band {band} has {what} per pixel; expected a noise above {_SMALLEST_NOISE:g} and light below "
                f"{_LARGEST_LIGHT:g}: multiply the image, and its noise plane, by a constant"
            )
        if not (sigma > 0).any():
            continue
        typical = float(np.median(sigma[sigma > 0]))
        if has_rms[b]:
            if not _PULLS[0] <= typical <= _PULLS[1]:
                warn(
                    f"band {band}: the scatter of the sky is {typical:.3g} times the given noise; is that the standard "
                    "deviation of this image, in its unit? The errors of fluxes follow it (--rms none: measure it)"
                )
            continue
        level = float(np.abs(noise.background[:, :, b]).max())
        if level > _LARGEST_LEVEL * typical:
            raise InputError(
                f"band {band} has a sky of {level:.3g} with a noise of {typical:.3g}, which 32-bit floats do not "
                "tell apart; subtract a constant from the image first"
            )
        above = float(np.nanmax(means[:, :, b], initial=0.0)) / typical
        if above > _LARGEST_SNR:
            raise InputError(
                f"band {band} has light of {above:.1g} times the noise of its sky: bad pixels that are not marked "
                "as such; set them to NaN, or give a mask (--dq)"
            )


def find_doubts(bands: Sequence[str], blocks: SkyImage, noise: BackgroundMesh) -> tuple[str, ...]:
    """Ways in which the image is unlike light on a sky."""
    x, y = _block_middles(blocks)
    background = noise.background_at(x, y).reshape(blocks.data.shape)

    def far(b: int) -> tuple[int, int]:
        light = band_light(blocks, b)
        away = light - background[..., b]
        if not np.isfinite(away).any():
            return 0, 0
        away -= np.nanmedian(away)
        least = _FAR * (block_scatter(light) or np.inf)
        return int(np.count_nonzero(away < -least)), int(np.count_nonzero(away > least))

    found = zip(bands, thread_map(far, range(len(bands))), strict=True)
    return tuple(
        f"band {band}: {low} places lie far below the sky, {high} above it; the image looks inverted (multiply it by "
        "-1), or bad pixels are not marked as such (--dq)"
        for band, (low, high) in found
        if low >= _FEWEST_LOW and low > _LOW * high
    )


def find_stretched(image: ImageReader, noise: BackgroundMesh) -> Iterator[str]:
    """Bands whose pixels are not linear in the light, one sentence for each.

    Notes
    -----
    Photons can only add to the noise of the sky. Where asinh, logarithm or root compress the light, the second
    differences along rows scatter less on sources than on the sky; flat tops of saturated stars do not count.
    """
    windows = psf_windows(image.shape)
    window = windows[len(windows) // 2]
    piece = image.read(window)
    snr, valid = normalize(piece, noise, window=window)
    for b, band in enumerate(piece.bands):
        usable = valid[:, :-2, b] & valid[:, 1:-1, b] & valid[:, 2:, b]
        level = (snr[:, :-2, b] + snr[:, 1:-1, b] + snr[:, 2:, b])[usable] / 3
        ratio = 0.0
        # Planes of noise may hold too much of the photons, and their lack hides how deep the image is where.
        for light in (snr[..., b], piece.data[..., b]):
            change = (light[:, :-2] - 2 * light[:, 1:-1] + light[:, 2:])[usable]
            bright, sky = change[(level > _ON_SOURCE) & (change != 0)], change[level < _ON_SKY]
            if min(len(bright), len(sky)) < _FEWEST_CHANGES:
                ratio = np.inf
                break
            ratio = max(ratio, float(mad_std(bright)) / max(float(mad_std(sky)), 1e-30))
        if ratio < _COMPRESSED:
            yield (
                f"band {band}: the noise on sources is {ratio:.2g} of that on the sky, as where asinh or a logarithm "
                "compressed the light; fluxes, shapes and classes need pixels that are linear in the light"
            )


def find_uneven(blocks: SkyImage, noise: BackgroundMesh) -> np.ndarray:
    """Parts of the image in which the sky does not follow the mesh: bool, shape ``(part y, part x, band)``."""
    if noise.floor is not None:
        noise = replace(noise, sigma=noise.sigma * np.where(noise.floor > 0, noise.floor, 1))
    background, sigma = (
        of(*_block_middles(blocks)).reshape(blocks.data.shape) for of in (noise.background_at, noise.sigma_at)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        away = (blocks.data - background) / sigma
    known = blocks.valid & np.isfinite(away)
    if noise.large is not None:
        known &= (noise.large.labels == 0)[..., None]
    bands = np.moveaxis(np.where(known, away, np.nan), 2, 0)
    uneven = np.stack(thread_map(_uneven_parts, np.ascontiguousarray(bands)), axis=-1)
    if noise.large is not None:
        # Light that is brightest at the edge of the data comes from beyond it: glow, or the halo of a star.
        inside = ndimage.binary_erosion(blocks.valid.any(axis=2), np.ones((5, 5)))
        y, x = (noise.large.centers // BLOCK_SIDE).astype(int).T
        y, x = np.nonzero(np.isin(noise.large.labels, np.flatnonzero(~inside[y, x]) + 1))
        uneven[tuple(at * parts // n for at, parts, n in zip((y, x), uneven.shape, blocks.shape, strict=False))] = True
    return uneven


def _uneven_parts(away: np.ndarray) -> np.ndarray:
    """Parts of a band, of its blocks in units of the noise of a pixel, in which the sky is uneven.

    Notes
    -----
    Sources are light: what lies below the median is sky. If that is the same 16 to 24 px farther along any direction,
    it is no noise.
    """
    n_parts = [max(n // _PART_OF_SKY, 1) for n in away.shape]
    if min(away.shape) <= 2 * _LONGEST_LAG:
        return np.zeros(n_parts, dtype=bool)
    part = np.ix_(*(np.arange(n) * parts // n for n, parts in zip(away.shape, n_parts, strict=True)))
    y, x = (np.searchsorted(along.ravel(), np.arange(parts)) for along, parts in zip(part, n_parts, strict=True))
    low, middle = np.full((2, *n_parts), np.nan)
    for i, strip in enumerate(np.split(away, y[1:])):
        for j, own in enumerate(np.split(strip, x[1:], axis=1)):
            own = own[np.isfinite(own)]
            if len(own) >= _FEWEST_BLOCKS:
                low[i, j], middle[i, j] = np.quantile(own, _QUANTILES)

    def mean(values: np.ndarray) -> np.ndarray:
        seen = np.isfinite(values)
        planes = np.where(seen, values, 0.0), seen.astype(float)
        sums, counts = (np.add.reduceat(np.add.reduceat(plane, x, axis=1), y, axis=0) for plane in planes)
        return np.where(counts >= _FEWEST_BLOCKS / 2, sums / np.maximum(counts, 1), np.nan)

    below = np.minimum(away - middle[part], 0)
    below -= mean(below)[part]
    alike = np.full(middle.shape, -np.inf)
    for dy, dx in _LAGS:
        height, width = below.shape[0] - dy, below.shape[1] - abs(dx)
        first = below[:height, max(-dx, 0) :][:, :width]
        other = below[dy:, max(dx, 0) :][:, :width]
        alike = np.fmax(alike, mean(first * other))
    with np.errstate(divide="ignore", invalid="ignore"):
        alike /= mean(below**2)
        return (alike > _ALIKE) & (np.sqrt(np.maximum(alike, 0)) * (middle - low) > _RELIEF)


def _block_middles(blocks: SkyImage) -> tuple[np.ndarray, np.ndarray]:
    """Places x and y in pixels of the middles of all blocks, in raster order."""
    y, x = np.indices(blocks.shape).reshape(2, -1) * BLOCK_SIDE + (BLOCK_SIDE - 1) / 2
    return x, y


def band_light(image: SkyImage, band: int) -> np.ndarray:
    """One band of an image, or of its blocks: float64, NaN where not valid."""
    return np.where(image.valid[..., band], image.data[..., band].astype(np.float64), np.nan)


def block_scatter(light: np.ndarray) -> float:
    """Scatter of a block, whatever the slopes and steps of the sky; 0 where there are too few."""
    change = np.diff(light, axis=1)
    return float(mad_std(change, ignore_nan=True)) / np.sqrt(2) if np.isfinite(change).any() else 0.0
