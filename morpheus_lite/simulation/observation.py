"""Observation of a noise-free field: an image as an archive would deliver it, with the truth at that depth.

Artefacts are saturated cores, bleeding, cosmic rays, hot pixels, trails and missing data. Functions that add them
change the arrays they are given, and draw all randomness from ``rng``.
"""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.random import Generator

from morpheus_lite.core.image import SkyImage
from morpheus_lite.errors import OptionError
from morpheus_lite.simulation.field import Field, reference_noise
from morpheus_lite.simulation.rendering import ZERO_POINT

OWNED_SNR = 1.0
"""A pixel belongs to its owner where the noise-free S/N of all bands together is above this."""


@dataclass(frozen=True)
class Conditions:
    """Observing conditions of a field. Tuples have one entry per band.

    Parameters
    ----------
    sigma : tuple of float
        Standard deviation of the noise in a pixel, nJy, correlated or not.
    correlation : tuple of float
        Sigma in pixels of the Gaussian that the white noise is smoothed with (drizzling, PSF-matching); 0 for white.
    offset : tuple of float
        Constant added to the sky, nJy per pixel.
    unevenness : tuple of float
        Amplitude of a smooth large-scale error of the sky, nJy per pixel.
    depth_step : tuple of float or None
        Factors on `sigma` on the far side of a straight line across the field; None for even depth.
    saturation : tuple of float
        nJy per pixel above which the detector gives wrong values; infinity for none.
    saturation_style : str
        What a saturated core looks like: ``"clip"``, ``"hole"``, ``"ring"`` or ``"invalid"``.
    bleed : float
        Length of the bleeding trails along columns, in units of the diameter of the saturated core.
    cosmic_rays, hot_pixels : float
        Expected number per million pixels and band.
    trails : float
        Probability of a satellite trail in each band.
    invalid : float
        Probability that part of the field has no data.
    rms_factor : tuple of float
        The RMS plane states the noise times this: real ones are off, PSF-matched ones by 2-3.
    photons : tuple of float
        Variance (nJy squared) that each nJy of light adds to the noise, and to the RMS plane; empty for none.
    """

    sigma: tuple[float, ...]
    correlation: tuple[float, ...]
    offset: tuple[float, ...]
    unevenness: tuple[float, ...]
    depth_step: tuple[float, ...] | None = None
    saturation: tuple[float, ...] = ()
    saturation_style: str = "clip"
    bleed: float = 0.0
    cosmic_rays: float = 0.0
    hot_pixels: float = 0.0
    trails: float = 0.0
    invalid: float = 0.0
    rms_factor: tuple[float, ...] = ()
    photons: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Observation:
    """A noisy image and what is really in it.

    Parameters
    ----------
    image : SkyImage
        nJy per pixel, with RMS planes; no WCS.
    labels : numpy.ndarray
        int32, shape ``(y, x)``: `Field.owner` where the source stands out at this depth (`OWNED_SNR`), else 0.
    signal : numpy.ndarray
        float32, shape ``(y, x)``: noise-free S/N of all bands together, ``sqrt(sum((flux / sigma) ** 2))``.
    sigma : numpy.ndarray
        float32, shape ``(y, x, band)``: true standard deviation of the sky's noise in a pixel, nJy.
    """

    image: SkyImage
    labels: np.ndarray
    signal: np.ndarray
    sigma: np.ndarray


def plain_conditions(field: Field, *, depth: float = 1.0) -> Conditions:
    """GOODS-S deep noise, white, times ``depth``, and nothing else wrong with the image."""
    # The reference is the noise per pixel of 0.06 arcsec; that of the background grows with the side of a pixel.
    sigma = depth * reference_noise(field.bands) * field.pixel_scale / 0.06
    zeros = (0.0,) * len(field.bands)
    return Conditions(sigma=tuple(float(value) for value in sigma), correlation=zeros, offset=zeros, unevenness=zeros)


def draw_conditions(rng: Generator, field: Field) -> Conditions:
    """Random conditions, wide enough to hold the deepest and the shallowest public images.

    Three of ten have noise and saturation only.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the randomness comes from.
    field : Field
        For its bands and pixel scale.
    """
    n = len(field.bands)
    # A tenth to five times the noise of GOODS-S deep.
    depth = 10 ** (rng.uniform(-1.0, 0.7) + rng.normal(0, 0.25, n))
    sigma = depth * reference_noise(field.bands) * field.pixel_scale / 0.06
    style = rng.choice(["white", "drizzled", "matched"], p=[0.3, 0.45, 0.25])
    correlation = {
        "white": np.zeros(n),
        "drizzled": rng.uniform(0.35, 0.9) * rng.uniform(0.8, 1.2, n),
        "matched": np.array(field.psf_fwhm) * rng.uniform(0.2, 0.45) * rng.uniform(0.7, 1.1, n),
    }[style]
    level = 10 ** rng.uniform(3.6, 5.2) * 10 ** rng.normal(0, 0.3, n)
    blemished = rng.uniform() > 0.3
    return Conditions(
        sigma=tuple(sigma),
        correlation=tuple(correlation),
        offset=tuple(sigma * rng.normal(0, 0.15, n)),
        unevenness=tuple(sigma * blemished * rng.exponential(0.15, n)),
        depth_step=tuple(10 ** rng.uniform(-0.5, 0.5, n)) if blemished and rng.uniform() < 0.35 else None,
        saturation=tuple(np.where(rng.uniform(size=n) < 0.25, np.inf, level)),
        saturation_style=str(rng.choice(["clip", "hole", "ring", "invalid"], p=[0.4, 0.2, 0.3, 0.1])),
        bleed=float(rng.exponential(1.0)) if rng.uniform() < 0.3 else 0.0,
        cosmic_rays=float(blemished * (rng.uniform() < 0.4) * 10 ** rng.uniform(0.5, 2.7)),
        hot_pixels=float(blemished * (rng.uniform() < 0.4) * 10 ** rng.uniform(0.5, 2.7)),
        trails=0.04 * blemished,
        invalid=0.2 * blemished,
        rms_factor=tuple(rng.choice([1.0, 2.3], p=[0.8, 0.2]) * 10 ** rng.normal(0, 0.06, n)),
        # The sky of a pixel holds 30 to 30,000 photons.
        photons=tuple(sigma / np.sqrt(10 ** rng.uniform(1.5, 4.5, n))) if rng.uniform() < 0.7 else (),
    )


def observe(field: Field, conditions: Conditions, rng: Generator) -> Observation:
    """One noisy realisation of a field, or of a cutout of one.

    Parameters
    ----------
    field : Field
        What is in the sky.
    conditions : Conditions
        How it is observed.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    Observation

    Raises
    ------
    OptionError
        The conditions are for another number of bands.
    """
    if len(conditions.sigma) != len(field.bands):
        raise OptionError(
            f"the conditions give the noise of {len(conditions.sigma)} band(s), the field has {len(field.bands)} "
            f"({', '.join(field.bands)})"
        )
    sigma = noise_level(field.shape, conditions, rng)
    spread = sigma
    if conditions.photons:
        spread = np.sqrt(sigma**2 + np.maximum(field.flux, 0) * np.array(conditions.photons, dtype=np.float32))
    data = field.flux + noise(field.shape, conditions.correlation, rng) * spread
    data += np.array(conditions.offset, dtype=np.float32)
    if any(conditions.unevenness):
        data += uneven_sky(field.shape, len(field.bands), rng) * np.array(conditions.unevenness, dtype=np.float32)
    valid = np.ones(data.shape, dtype=bool)
    if conditions.saturation:
        saturate(data, valid, np.array(conditions.saturation), conditions.saturation_style, conditions.bleed, rng)
    cosmic_rays(data, sigma, conditions.cosmic_rays, rng)
    hot_pixels(data, sigma, conditions.hot_pixels, rng)
    trails(data, sigma, conditions.trails, rng)
    invalid_areas(valid, conditions.invalid, rng)
    # Archives fill such pixels with 0: nothing may be learnt from the value.
    data[~valid] = 0
    ratio = field.flux / sigma
    signal = np.sqrt(np.einsum("yxb,yxb->yx", ratio, ratio))
    factor = np.array(conditions.rms_factor or 1.0, dtype=np.float32)
    image = SkyImage(
        data=data,
        bands=field.bands,
        valid=valid,
        rms=spread * factor,
        zero_points=(ZERO_POINT,) * len(field.bands),
        units=("nJy",) * len(field.bands),
        name="simulated field",
    )
    return Observation(image, np.where(signal > OWNED_SNR, field.owner, 0).astype(np.int32), signal, sigma)


def noise_level(shape: tuple[int, int], conditions: Conditions, rng: Generator) -> np.ndarray:
    """float32 ``(y, x, band)``: standard deviation of the noise, with the depth step where there is one."""
    sigma = np.broadcast_to(np.array(conditions.sigma, dtype=np.float32), (*shape, len(conditions.sigma)))
    if conditions.depth_step is None:
        return sigma
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.ogrid[-0.5 : 0.5 : shape[0] * 1j, -0.5 : 0.5 : shape[1] * 1j]
    far = x * np.cos(angle) + y * np.sin(angle) > rng.uniform(-0.3, 0.3)
    return np.where(far[..., None], sigma * np.array(conditions.depth_step, dtype=np.float32), sigma)


def noise(shape: tuple[int, int], correlation: tuple[float, ...], rng: Generator) -> np.ndarray:
    """float32 ``(y, x, band)`` Gaussian noise of unit variance, smoothed by ``correlation`` pixels in each band."""
    white = rng.standard_normal((len(correlation), *shape), dtype=np.float32)
    for plane, length in zip(white, correlation, strict=True):
        if length > 0.1:
            # Nine taps hold three sigma up to a length of 1.3 pixels.
            reach = 4 if length <= 1.3 else int(np.ceil(3 * length))
            kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / length) ** 2).astype(np.float32)
            # The variance of a pixel stays 1.
            kernel /= np.sqrt(np.square(kernel).sum())
            rows = scipy.ndimage.convolve1d(plane, kernel, axis=0, mode="wrap")
            scipy.ndimage.convolve1d(rows, kernel, axis=1, mode="wrap", output=plane)
    return np.ascontiguousarray(np.moveaxis(white, 0, -1))


def uneven_sky(shape: tuple[int, int], n_bands: int, rng: Generator) -> np.ndarray:
    """float32 ``(y, x, band)``: a smooth surface of amplitude about 1, a quadratic in both coordinates."""
    y, x = np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1])
    a, b, c, d, e = rng.normal(0, 0.6, (5, n_bands))
    # 0.33 is the mean of x * x: the surface keeps the mean level of the sky.
    along = (np.outer(x, a) + np.outer(x * x - 0.33, c)).astype(np.float32)
    up = (np.outer(y, b) + np.outer(y * y - 0.33, d)).astype(np.float32)
    tilt = np.outer(x, e).astype(np.float32)
    return up[:, None, :] + along[None] + y.astype(np.float32)[:, None, None] * tilt[None]


def class_map(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Class probabilities per pixel that follow from the truth.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``: row + 1 in ``sources``, 0 for sky.
    sources : numpy.ndarray
        `Field.sources`.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(y, x, 5)`` in the order of `morpheus_lite.core.classes.CLASSES`; sky is pure background.
    """
    table = np.zeros((len(sources) + 1, 5), dtype=np.float32)
    table[0, 4] = 1
    table[1:, :4] = sources["soft"]
    return table[labels]


def saturate(data: np.ndarray, valid: np.ndarray, level: np.ndarray, style: str, bleed: float, rng: Generator) -> None:
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


def ring(plane: np.ndarray, core: np.ndarray, top: float, rng: Generator) -> None:
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


def cosmic_rays(data: np.ndarray, sigma: np.ndarray, density: float, rng: Generator) -> None:
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


def hot_pixels(data: np.ndarray, sigma: np.ndarray, density: float, rng: Generator) -> None:
    """Add single wrong pixels, ``density`` per million pixels and band, one in four negative."""
    count = rng.poisson(density * 1e-6 * data.size)
    where = tuple(rng.integers(0, size, count) for size in data.shape)
    value = 10 ** rng.uniform(0.7, 2.3, count) * np.where(rng.uniform(size=count) < 0.25, -1, 1)
    data[where] += (value * sigma[where]).astype(np.float32)


def trails(data: np.ndarray, sigma: np.ndarray, probability: float, rng: Generator) -> None:
    """Add at most one straight trail a band, as of a satellite."""
    height, width, n_bands = data.shape
    for band in np.flatnonzero(rng.uniform(size=n_bands) < probability):
        angle, wide = rng.uniform(0, np.pi), rng.uniform(0.7, 3.0)
        y, x = np.ogrid[:height, :width]
        distance = (x - rng.uniform(0, width)) * np.sin(angle) - (y - rng.uniform(0, height)) * np.cos(angle)
        bright = 10 ** rng.uniform(0, 1.3)
        data[..., band] += (bright * np.exp(-0.5 * (distance / wide) ** 2) * sigma[..., band]).astype(np.float32)


def invalid_areas(valid: np.ndarray, probability: float, rng: Generator) -> None:
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
