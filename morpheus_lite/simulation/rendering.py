"""One source to a stamp: drawn in Fourier space, convolved with the PSF of each band, put on the canvas."""

from collections.abc import Sequence

import numpy as np
import scipy.fft
from scipy.special import gamma

from morpheus_lite.simulation.galaxies import DRAWN
from morpheus_lite.simulation.grid import Grid
from morpheus_lite.simulation.populations import Source, magnitude_at
from morpheus_lite.simulation.psf import OVERSAMPLING, REACH, Psf, round_taper

STAMP_SIDES = (32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 768, 1024)
"""Sides of stamps in pixels: few, so that the transform of the PSF is computed once for each."""

FAINT_BRIGHTNESS = 30.5
"""Surface brightness (AB mag per arcsec2) down to which a source is drawn."""

ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""


def profile_radius(source: Source, brightest: float) -> float:
    """Semi-major axis (arcsec) at which a Sersic profile of magnitude ``brightest`` fades below the limit."""
    index = {"spheroid": source.sersic}.get(source.kind, max(source.sersic, 1.0))
    # Flux of a Sersic profile over its surface brightness at the half-light radius, solved for where it meets the
    # limit.
    b = 2 * index - 1 / 3 + 0.009876 / index
    area = 2 * np.pi * source.radius**2 * source.axis_ratio * index * np.exp(b) * b ** (-2 * index) * gamma(2 * index)
    above = (FAINT_BRIGHTNESS - brightest - 2.5 * np.log10(area)) / (2.5 / np.log(10))
    reach = source.radius * max(1 + above / b, 0.5) ** index
    return float(np.clip(reach, 2.0 * source.radius, 14 * source.radius)) * (1.4 if source.kind == "irregular" else 1)


def point_radius(flux: np.ndarray, psfs: Sequence[Psf], pixel_scale: float) -> int:
    """Pixels from its centre at which a point source of ``flux`` nJy in each band fades below the limit."""
    limit = 10 ** (-0.4 * (FAINT_BRIGHTNESS - ZERO_POINT)) * pixel_scale**2
    middle = REACH * OVERSAMPLING
    reach = 16
    for total, psf in zip(flux, psfs, strict=True):
        row = np.maximum(psf.image[middle], psf.image[:, middle])[middle:] * OVERSAMPLING**2 * total
        bright = np.flatnonzero(row > 3 * limit)
        reach = max(reach, int(bright[-1]) // OVERSAMPLING + 2 if bright.size else 0)
    return reach


def choose_side(wanted: float) -> int:
    """The smallest stamp at least ``wanted`` pixels wide, or the largest there is."""
    return next((side for side in STAMP_SIDES if side >= wanted), STAMP_SIDES[-1])


def render(
    source: Source, position: tuple[float, float], psfs: Sequence[Psf], wavelengths: np.ndarray, pixel_scale: float
) -> tuple[np.ndarray, tuple[int, int]]:
    """Stamp of one source as the telescope sees it, without noise.

    Parameters
    ----------
    source : Source
        What to draw.
    position : tuple of float
        x and y of its centre in pixels of the field, 0-based.
    psfs : sequence of Psf
        One per band.
    wavelengths : numpy.ndarray
        Micron, one per band.
    pixel_scale : float
        Arcsec per pixel.

    Returns
    -------
    stamp : numpy.ndarray
        float32, shape ``(n, n, band)``, nJy per pixel; the sum over pixels is the flux of the source.
    corner : tuple of int
        Row and column in the field of the stamp's first pixel.
    """
    magnitudes = np.array([magnitude_at(source, wavelength) for wavelength in wavelengths])
    flux = 10 ** (-0.4 * (magnitudes - ZERO_POINT))
    if source.kind == "point_source":
        half = 1.0 * point_radius(flux, psfs, pixel_scale)
    else:
        # The PSF carries light beyond the profile: four widths of it are added.
        half = profile_radius(source, magnitudes.min()) / pixel_scale + 4 * max(psf.fwhm for psf in psfs)
    grid = Grid(choose_side(2 * half), pixel_scale)
    x, y = position
    # The stamp begins at a whole pixel; the rest of the shift is a phase in Fourier space.
    column, row = round(x), round(y)
    moved = grid.shift((x - column) * pixel_scale, (y - row) * pixel_scale)
    if source.kind == "point_source":
        planes = np.broadcast_to(moved, (wavelengths.size, *moved.shape))
    else:
        planes = DRAWN[source.kind](source, grid, wavelengths) * moved
    stamp = np.empty((grid.n, grid.n, wavelengths.size), dtype=np.float32)
    taper = round_taper(grid.n, start=0.75)
    for band, (plane, psf) in enumerate(zip(planes, psfs, strict=True)):
        seen = scipy.fft.irfft2(plane * psf.transform(grid.n), s=(grid.side, grid.side))
        seen = scipy.fft.fftshift(seen)[::OVERSAMPLING, ::OVERSAMPLING].clip(0) * taper
        # What clipping and taper took is put back: the flux is that of the catalogue.
        stamp[..., band] = seen * (flux[band] / seen.sum())
    return stamp, (row - grid.n // 2, column - grid.n // 2)
