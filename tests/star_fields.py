"""Fields of stars and of smooth galaxies of known shapes, in noise of 1 per pixel."""

import numpy as np

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.psf import moffat_radius

_INSIDE_PIXEL = (np.arange(3) - 1) / 3
_CORE = 10  # pixels from a star within which its light is summed over the pixels


def star_grid(
    fwhm: float, beta: float | None = None, *, n: int = 6, step: int = 48, faintest: float = 40, brightest: float = 2000
) -> np.ndarray:
    """Light of ``n * n`` stars on a grid, off the pixels' centres; their peaks are even in the logarithm.

    Gaussian stars without ``beta``, else Moffat; summed over pixels.
    """
    rng = np.random.default_rng(5)
    size = n * step
    light = np.zeros((size, size))

    def profile(square: np.ndarray) -> np.ndarray:
        if beta is None:
            return np.exp(-4 * np.log(2) * square / fwhm**2)
        return (1 + square / moffat_radius(fwhm, beta) ** 2) ** -beta

    pixels = np.arange(size)
    # Brightness has nothing to do with the place.
    peaks = rng.permutation(np.geomspace(faintest, brightest, n * n))
    for k, peak in enumerate(peaks):
        row, column = (k // n + 0.5) * step + rng.uniform(-0.5, 0.5), (k % n + 0.5) * step + rng.uniform(-0.5, 0.5)
        star = profile((pixels[:, None] - row) ** 2 + (pixels - column) ** 2)
        core = np.s_[int(row) - _CORE : int(row) + _CORE, int(column) - _CORE : int(column) + _CORE]
        y, x = pixels[core[0], None] - row, pixels[core[1]] - column
        star[core] = np.mean(
            [profile((y + dy) ** 2 + (x + dx) ** 2) for dy in _INSIDE_PIXEL for dx in _INSIDE_PIXEL], 0
        )
        light += peak * star
    return light


def seen(light: np.ndarray, seed: int = 1, sigma: float = 1.0) -> SkyImage:
    """The light of one band ``(y, x)``, or of several ``(y, x, band)``, in noise."""
    light = light if light.ndim == 3 else light[:, :, None]
    data = light + np.random.default_rng(seed).normal(0, sigma, light.shape)
    names = tuple(str(band + 1) for band in range(light.shape[2]))
    return SkyImage(data.astype(np.float32), names, np.ones(light.shape, dtype=bool))


def galaxy(size: int, r_e: float, n: float, level: float, axis_ratio: float = 0.7) -> np.ndarray:
    """Light of a Sersic profile in the middle of a square, with this surface brightness at its half-light radius."""
    offset = np.arange(size) - size / 2 + 0.2
    along = np.cos(np.pi / 6) * offset + np.sin(np.pi / 6) * offset[:, None]
    across = np.cos(np.pi / 6) * offset[:, None] - np.sin(np.pi / 6) * offset
    # Softened as by a PSF of sigma 1 px, so that the centre of a steep profile is no point.
    radius = np.sqrt(along**2 * axis_ratio + across**2 / axis_ratio + 1.0)
    return level * np.exp(-(2 * n - 1 / 3) * ((radius / r_e) ** (1 / n) - 1))
