"""Point spread functions drawn from a description of the telescope: no data files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.random import Generator

from morpheus_lite.errors import OptionError
from morpheus_lite.simulation.instruments import FILTERS, ROLLS, diffraction

OVERSAMPLING = 2
"""Samples per pixel along each axis at which everything is drawn before it is convolved."""

REACH = 256
"""Half the side, in pixels, of the square on which a PSF is drawn: the spikes of bright stars are long."""

FWHM_TO_SIGMA = 1 / 2.3548

HALO_RADIUS = 0.8
"""Half-light radius in arcsec of the halo of scattered light."""

VARIANTS = 12
"""How many PSFs (roll angle, aberrations, focus) a filter has; a field uses one of them."""


@dataclass(frozen=True, eq=False)
class Psf:
    """A point spread function with the pixel response in it.

    Parameters
    ----------
    image : numpy.ndarray
        float32, square of side ``2 * REACH * OVERSAMPLING``, sum 1, centred on the middle sample.
    fwhm : float
        Full width at half maximum in pixels.
    """

    image: np.ndarray
    fwhm: float
    _transforms: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def transform(self, n: int) -> np.ndarray:
        """Half-plane Fourier transform on ``n`` pixels per side, the centre at the origin, unit at zero frequency.

        Wings beyond ``n / 2`` pixels are tapered off, so that no square edge shows.
        """
        if n not in self._transforms:
            part = central_square(self.image, n * OVERSAMPLING)
            part = part * round_taper(part.shape[0], start=0.85)
            self._transforms[n] = scipy.fft.rfft2(scipy.fft.ifftshift(part / part.sum())).astype(np.complex64)
        return self._transforms[n]


def central_square(image: np.ndarray, side: int) -> np.ndarray:
    """The middle ``side`` samples of a square image along each axis, padded with zeros where it is smaller."""
    have = image.shape[0]
    if side <= have:
        start = have // 2 - side // 2
        return image[start : start + side, start : start + side]
    pad = side // 2 - have // 2
    return np.pad(image, (pad, side - have - pad))


def round_taper(side: int, *, start: float) -> np.ndarray:
    """float32 ``(side, side)``: 1 inside ``start`` of the inscribed circle, falling smoothly to 0 at its edge."""
    axis = (np.arange(side, dtype=np.float32) - side // 2) / (side / 2)
    radius = np.hypot(axis[:, None], axis[None, :])
    ramp = np.clip((1 - radius) / (1 - start), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def draw_profile(profile: Any, side: int, step: float, *, pixel: float) -> np.ndarray:
    """Image of a profile of GalSim seen through square pixels."""
    galsim = require_galsim()
    image = galsim.ImageF(side, side, scale=step)
    seen = galsim.Convolve(profile, galsim.Pixel(pixel))
    seen.drawImage(image, method="no_pixel", offset=galsim.PositionD(0.5, 0.5))
    return image.array


def cleaned(image: np.ndarray) -> np.ndarray:
    """The image without negative values, of sum 1, tapered to a circle: the corners of a square would show."""
    clean = (np.clip(image, 0, None) * round_taper(len(image), start=0.8)).astype(np.float32)
    clean /= clean.sum(dtype=np.float64)
    return clean


@lru_cache(maxsize=160)
def native_image(name: str, pixel_scale: float, variant: int) -> np.ndarray:
    """PSF of a filter of `FILTERS` on pixels of ``pixel_scale`` arcsec, before any matching: see `Psf.image`."""
    band = FILTERS[name]
    rng = np.random.default_rng([variant, 11])
    side, step = 2 * REACH * OVERSAMPLING, pixel_scale / OVERSAMPLING
    if band.telescope.seeing:
        # Kolmogorov turbulence: the seeing falls with the fifth root of the wavelength.
        fwhm = rng.uniform(*band.telescope.seeing) * band.wavelength**-0.2
        image = smooth_profile(rng.uniform(2.3, 4.5), side, step, fwhm=fwhm, pixel=pixel_scale)
    else:
        blurring = band.blur * rng.uniform(0.8, 1.2)
        halo_radius, share = HALO_RADIUS * rng.uniform(0.7, 1.4), band.halo * rng.uniform(0.5, 1.5)
        # Piston, tip and tilt (the first three terms) do not change the shape.
        terms = np.random.default_rng([variant, 7]).normal(0, band.telescope.aberration, 8)
        wavefront, roll = np.concatenate([np.zeros(3), terms]), np.pi * variant / VARIANTS
        smoothing = blurring, max(band.native_pixel, 0.6 * pixel_scale), 0.6 * pixel_scale
        image = diffraction(band, step=step, side=side, roll=roll, wavefront=wavefront, smoothing=smoothing)
        halo = smooth_profile(2.2, side, step, half_light_radius=halo_radius, pixel=pixel_scale)
        image = (1 - share) * image + share * halo
        image = roll_average(image, ROLLS[band.camera][variant % VARIANTS], np.random.default_rng([variant, 13]))
    clean = cleaned(image)
    # Kept in the cache, and shared by all fields.
    clean.flags.writeable = False
    return clean


def smooth_profile(beta: float, side: int, step: float, *, pixel: float, **size: float) -> np.ndarray:
    """Image of a Moffat profile of unit flux seen through square pixels, drawn by GalSim."""
    return draw_profile(require_galsim().Moffat(beta=beta, **size), side, step, pixel=pixel)


def roll_average(image: np.ndarray, rolls: int, rng: Generator) -> np.ndarray:
    """Mean of an image over ``rolls`` orientations of the telescope, the given one included.

    Deep images are made of visits at many roll angles; then the spikes of stars smear into a round halo.
    """
    middle = np.full(2, image.shape[0] // 2)
    turned = [image]
    for angle in rng.uniform(0, np.pi, rolls - 1):
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turned.append(scipy.ndimage.affine_transform(image, matrix, middle - matrix @ middle, order=1))
    return np.stack(turned).mean(axis=0, dtype=np.float32)


def width_of(image: np.ndarray) -> float:
    """FWHM in pixels of a PSF image, from the mean profile around its centre."""
    part = central_square(image, 64)
    y, x = np.indices(part.shape) - 32
    radius = np.hypot(x, y).ravel()
    order = np.argsort(radius)
    bins = np.round(radius[order] * 2).astype(int)
    counts = np.bincount(bins)
    means = (np.bincount(bins, values[order]) / np.maximum(counts, 1) for values in (part.ravel(), radius))
    profile, distance = (values[counts > 0] for values in means)
    first = int(np.argmax(profile < profile[0] / 2))
    inner, outer = profile[first - 1], profile[first]
    fraction = (inner - profile[0] / 2) / (inner - outer)
    return float(2 * (distance[first - 1] + fraction * (distance[first] - distance[first - 1])) / OVERSAMPLING)


def make_psfs(names: Sequence[str], pixel_scale: float, *, variant: int = 0, matched: float = 0.0) -> list[Psf]:
    """PSFs of several filters on one pixel grid.

    Parameters
    ----------
    names : sequence of str
        Filters of `FILTERS`.
    pixel_scale : float
        Arcseconds per pixel.
    variant : int, optional
        Which roll angle and aberrations, below `VARIANTS`; all filters of a field share it.
    matched : float, optional
        0 keeps each band's own width, 1 blurs every band to that of the widest, between is partly matched.

    Raises
    ------
    OptionError
        A filter is unknown.
    """
    unknown = [name for name in names if name not in FILTERS]
    if unknown:
        raise OptionError(f"unknown filter {', '.join(unknown)}; known are {', '.join(FILTERS)}")
    images = [native_image(name, float(pixel_scale), variant % VARIANTS) for name in names]
    widths = [width_of(image) for image in images]
    widest = max(widths)
    psfs = []
    for image, width in zip(images, widths, strict=True):
        goal = width + matched * (widest - width)
        # Widths of Gaussians add in squares.
        extra = np.sqrt(max(goal**2 - width**2, 0.0)) * FWHM_TO_SIGMA
        blurred = blur(image, extra * OVERSAMPLING).clip(0) if extra > 0.05 else image
        psfs.append(Psf(blurred, width_of(blurred)))
    return psfs


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """A square image convolved with a round Gaussian of ``sigma`` samples, by FFT."""
    side = image.shape[0]
    ky, kx = scipy.fft.fftfreq(side), scipy.fft.rfftfreq(side)
    gauss = np.exp(-2 * (np.pi * sigma) ** 2 * (ky[:, None] ** 2 + kx[None, :] ** 2)).astype(np.float32)
    return scipy.fft.irfft2(scipy.fft.rfft2(image) * gauss, s=image.shape)


def require_galsim():
    """The GalSim package.

    Raises
    ------
    OptionError
        GalSim is not installed.
    """
    try:
        import galsim
    except ImportError as error:
        raise OptionError(
            "simulating needs GalSim, which is not installed: pip install 'morpheus-lite[simulation]'"
        ) from error
    return galsim
