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


def spread_windows(stamp: Stamp, light: Photometry, stars: Sequence[StarProfile]) -> list[tuple[np.ndarray, ...]]:
    """Surroundings of the centre of a source in each band, as far as stars matter: nothing of bands without stars.

    Light less its sky, variance, and which pixels count, of shape ``(y, x)``; and where the centre is from the middle.
    """
    windows: list[tuple[np.ndarray, ...]] = []
    y, x = _centre(stamp, light)
    middle = round(y), round(x)
    for index, star in enumerate(stars):
        half = spread_reach(star.psf) if star.psf.is_known else 0
        seen, noise, used = np.zeros((3, 2 * half + 1, 2 * half + 1))
        sides = zip(middle, stamp.source_mask.shape, strict=True)
        there, here = zip(*(_overlap(at, half, length) for at, length in sides), strict=True)
        seen[here] = stamp.light[..., index][there] - light.background[index]
        noise[here] = stamp.variance[..., index][there]
        used[here] = stamp.usable[..., index][there] & ~stamp.neighbor_mask[there]
        windows.append((seen, noise, used, np.array([y - middle[0], x - middle[1]])))
    return windows


def measure_spread(
    windows: Sequence[Sequence[tuple[np.ndarray, ...]]], stars: Sequence[StarProfile], bands: Sequence[BandNoise]
) -> np.ndarray:
    """Spread of sources and its error, of all bands whose PSF is known together.

    Parameters
    ----------
    windows : sequence
        What `spread_windows` gives of each source.
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
    total, weight = np.zeros((2, len(windows)))
    for index, (star, band) in enumerate(zip(stars, bands, strict=False)):
        if star.psf.is_known:
            seen, noise, used, away = (np.stack(parts) for parts in zip(*(one[index] for one in windows), strict=True))
            if band.gain:
                noise += np.maximum(seen, 0) / band.gain
            factor = float(band.sky.factor(max(star.psf.fwhm**2, 1.0)))
            excess, flux, variance = excess_light(seen, noise, used, away, star.psf, factor)
            total += (excess - star.spread * flux) * flux / variance
            weight += flux**2 / variance
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0, [total / weight, weight**-0.5], np.nan).T


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
