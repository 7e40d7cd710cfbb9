"""Spread: how much wider than the stars of the image a source is."""

import math
from collections.abc import Sequence

import numpy as np

from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.catalog.photometry import BandNoise, Photometry
from morpheus_lite.noise.psf import StarProfile
from morpheus_lite.noise.spread import excess_light, spread_reach

_FURTHEST = 1.5
"""Pixels between both centroids beyond which the windowed one is that of something else."""


def measure_spread(
    stamps: Sequence[Stamp], light: Sequence[Photometry], stars: Sequence[StarProfile], bands: Sequence[BandNoise]
) -> np.ndarray:
    """Spread of sources and its error, of all bands whose PSF is known together.

    Parameters
    ----------
    stamps : sequence of Stamp
        The sources and their surroundings.
    light : sequence of Photometry
        Their centroids, in pixels of the whole image, and sky.
    stars : sequence of StarProfile
        Stars of each band, or nothing.
    bands : sequence of BandNoise
        Noise of each band.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(source, 2)``: spread and error; NaN where no band has a known PSF and light on enough pixels.

    Notes
    -----
    Of each band as `~morpheus_lite.noise.spread.excess_light` has it, less that of the stars. The bands are averaged by
    the inverse of their variances.
    """
    total, weight = np.zeros((2, len(stamps)))
    for index, star in enumerate(stars):
        if star.psf.is_known:
            excess, flux, variance = _in_band(stamps, light, index, star, bands[index])
            total += (excess - star.spread * flux) * flux / variance
            weight += flux**2 / variance
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0, [total / weight, weight**-0.5], np.nan).T


def _in_band(
    stamps: Sequence[Stamp], light: Sequence[Photometry], index: int, star: StarProfile, band: BandNoise
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spread times flux, flux, and variance of the former, in one band: float64, shape ``(source,)`` each."""
    half = spread_reach(star.psf)
    seen, noise, used = np.zeros((3, len(stamps), 2 * half + 1, 2 * half + 1))
    away = np.empty((len(stamps), 2))
    for k, (stamp, one) in enumerate(zip(stamps, light, strict=True)):
        y, x = _centre(stamp, one)
        middle = round(y), round(x)
        away[k] = y - middle[0], x - middle[1]
        sides = zip(middle, stamp.source_mask.shape, strict=True)
        there, here = zip(*(_overlap(at, half, length) for at, length in sides), strict=True)
        seen[k][here] = stamp.light[..., index][there] - one.background[index]
        noise[k][here] = stamp.variance[..., index][there]
        used[k][here] = stamp.usable[..., index][there] & ~stamp.neighbor_mask[there]
    if band.gain:
        noise += np.maximum(seen, 0) / band.gain
    factor = float(band.sky.factor(max(star.psf.fwhm**2, 1.0)))
    return excess_light(seen, noise, used, away, star.psf, factor)


def _centre(stamp: Stamp, light: Photometry) -> tuple[float, float]:
    """Row and column of a source in its stamp: the windowed centroid, unless that is far off."""
    ellipse = stamp.ellipse
    x, y = light.centroid - stamp.corner
    return (y, x) if math.hypot(y - ellipse.y, x - ellipse.x) < _FURTHEST else (ellipse.y, ellipse.x)


def _overlap(at: int, half: int, length: int) -> tuple[slice, slice]:
    """Part of an axis within a distance, and where it lies in a window of that half-width."""
    first, last = min(max(at - half, 0), length), max(min(at + half + 1, length), 0)
    last = max(first, last)
    return slice(first, last), slice(first - at + half, last - at + half)
