"""Artefacts of real images: saturated cores, bleeding, cosmic rays, hot pixels, trails, missing data.

Every function changes the arrays it is given, and draws all randomness from ``rng``.
"""

import numpy as np
import scipy.ndimage


def saturate(
    data: np.ndarray, valid: np.ndarray, level: np.ndarray, style: str, bleed: float, rng: np.random.Generator
) -> None:
    """Spoil pixels above the saturation level of their band.

    Parameters
    ----------
    data, valid : numpy.ndarray
        float32 and bool, shape ``(y, x, band)``; changed in place.
    level : numpy.ndarray
        Saturation level of each band in the units of the data.
    style : {"clip", "hole", "ring", "invalid"}
        Flat top; core of wrong low values; alternating bright and negative rings (drizzled, PSF-matched data);
        or no valid data in the core.
    bleed : float
        Length of the trails along columns in units of the core's diameter, 0 for none.
    rng : numpy.random.Generator
        Where the randomness comes from.
    """
    for band in np.flatnonzero(np.isfinite(level)):
        plane, top = data[..., band], level[band]
        if plane.max() <= top:
            continue
        core = plane > top
        if bleed > 0:
            core |= bled(core, bleed)
        if style == "invalid":
            valid[..., band] &= ~scipy.ndimage.binary_dilation(core)
            continue
        # Saturated pixels stay near one level, but do not all have the same value.
        wrong = top * (1 + 0.05 * rng.standard_normal(plane.shape, dtype=np.float32))
        if style == "hole":
            inner = scipy.ndimage.binary_erosion(core)
            wrong[inner] = top * rng.uniform(-0.02, 0.3)
        plane[core] = wrong[core]
        if style == "ring":
            ring(plane, core, top, rng)


def ring(plane: np.ndarray, core: np.ndarray, top: float, rng: np.random.Generator) -> None:
    """Add the bright and dark ringing that resampling and PSF-matching leave around saturated cores, in place.

    In PSF-matched deep fields it reaches about ten pixels and a few per cent of the peak, of both signs; at times in
    the square that the matching kernel covers.
    """
    square = rng.uniform() < 0.4
    far = scipy.ndimage.distance_transform_cdt(~core) if square else scipy.ndimage.distance_transform_edt(~core)
    where, wide = rng.uniform(2, 9), rng.uniform(1.5, 4)
    grain = scipy.ndimage.gaussian_filter(rng.standard_normal(plane.shape, dtype=np.float32), rng.uniform(0.5, 1.2))
    period, phase = rng.uniform(2.5, 5.0), rng.uniform(0, 6.3)
    if square:  # a kernel is a square of pixels, and ends sharply; what it leaves is stronger on one side
        rows, columns = np.nonzero(core)
        y, x = np.arange(plane.shape[0])[:, None], np.arange(plane.shape[1])
        waves = np.cos(2 * np.pi * x / period + phase) * np.cos(2 * np.pi * y / period + phase) - rng.uniform(-0.3, 0.8)
        lean = rng.normal(0, 0.1, 2)
        fade = (far < where + wide) * (1 + np.tanh(lean[0] * (y - rows.mean()) + lean[1] * (x - columns.mean())))
    else:
        waves = np.cos(2 * np.pi * far / period + phase)
        fade = np.exp(-0.5 * ((far - where) / wide) ** 2)
    near = np.nonzero(far < where + 3 * wide)
    pattern = grain / grain.std() + rng.uniform(0, 1.5) * waves
    plane[near] += (top * 10 ** rng.uniform(-2.7, -1.2) * fade * pattern)[near]


def bled(core: np.ndarray, length: float) -> np.ndarray:
    """Pixels that charge from the saturated core reaches along its columns."""
    widest = core.sum(axis=0)
    # Only the columns through the middle of the core hold enough charge to bleed.
    columns = np.flatnonzero(widest > 0.6 * widest.max())
    reach = np.zeros_like(core)
    for column in columns:
        rows = np.flatnonzero(core[:, column])
        extra = int(length * len(rows))
        reach[max(rows[0] - extra, 0) : rows[-1] + extra + 1, column] = True
    return reach


def cosmic_rays(data: np.ndarray, sigma: np.ndarray, density: float, rng: np.random.Generator) -> None:
    """Add short sharp streaks, ``density`` per million pixels and band, each in one band only."""
    height, width, n_bands = data.shape
    for _ in range(rng.poisson(density * 1e-6 * data.size)):
        length, angle = 1 + rng.exponential(4.0), rng.uniform(0, np.pi)
        y0, x0, band = rng.uniform(0, height), rng.uniform(0, width), rng.integers(n_bands)
        # Steps of half a pixel leave no gap in the streak.
        t = np.arange(0, length, 0.5)
        y = np.round(y0 + t * np.sin(angle)).astype(int)
        x = np.round(x0 + t * np.cos(angle)).astype(int)
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        y, x = y[inside], x[inside]
        # 6 to 300 sigma, uneven along the streak: each pixel takes its own charge.
        bright = 10 ** rng.uniform(0.8, 2.5) * rng.uniform(0.5, 1, y.size)
        data[y, x, band] += (bright * sigma[y, x, band]).astype(np.float32)


def hot_pixels(data: np.ndarray, sigma: np.ndarray, density: float, rng: np.random.Generator) -> None:
    """Add single wrong pixels, ``density`` per million pixels and band, one in four negative."""
    count = rng.poisson(density * 1e-6 * data.size)
    where = tuple(rng.integers(0, size, count) for size in data.shape)
    value = 10 ** rng.uniform(0.7, 2.3, count) * np.where(rng.uniform(size=count) < 0.25, -1, 1)
    data[where] += (value * sigma[where]).astype(np.float32)


def trails(data: np.ndarray, sigma: np.ndarray, probability: float, rng: np.random.Generator) -> None:
    """Add at most one straight trail a band, as of a satellite."""
    height, width, n_bands = data.shape
    for band in np.flatnonzero(rng.uniform(size=n_bands) < probability):
        angle, wide = rng.uniform(0, np.pi), rng.uniform(0.7, 3.0)
        y, x = np.ogrid[:height, :width]
        distance = (x - rng.uniform(0, width)) * np.sin(angle) - (y - rng.uniform(0, height)) * np.cos(angle)
        bright = 10 ** rng.uniform(0, 1.3)
        data[..., band] += (bright * np.exp(-0.5 * (distance / wide) ** 2) * sigma[..., band]).astype(np.float32)


def invalid_areas(valid: np.ndarray, probability: float, rng: np.random.Generator) -> None:
    """Mark, with a probability, a strip along an edge, a few columns, or scattered pixels as without data."""
    if rng.uniform() >= probability:
        return
    height, width, n_bands = valid.shape
    bands = np.flatnonzero(rng.uniform(size=n_bands) < rng.choice([0.3, 1.0]))
    style = rng.integers(3)
    for band in bands:
        if style == 0:
            cut = int(rng.uniform(0.03, 0.3) * width)
            side = valid[:, :cut, band] if rng.uniform() < 0.5 else valid[:cut, :, band]
            side[...] = False
        elif style == 1:
            column = rng.integers(0, width)
            valid[:, column : column + rng.integers(1, 4), band] = False
        else:
            valid[..., band] &= rng.uniform(size=(height, width)) > 10 ** rng.uniform(-4, -2)
