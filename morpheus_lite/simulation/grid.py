"""The oversampled grid on which one source is drawn, and the elements of a drawing on it."""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.random import Generator

from morpheus_lite.simulation.psf import OVERSAMPLING, blur, require_galsim


@dataclass(frozen=True)
class Grid:
    """A square stamp and its finer sampling.

    Parameters
    ----------
    n : int
        Side of the stamp in pixels, even.
    pixel_scale : float
        Arcsec per pixel.
    """

    n: int
    pixel_scale: float

    @property
    def side(self) -> int:
        """Samples along a side."""
        return self.n * OVERSAMPLING

    @property
    def step(self) -> float:
        """Arcsec per sample."""
        return self.pixel_scale / OVERSAMPLING

    @property
    def axis(self) -> np.ndarray:
        """float32 positions of the samples along an axis in arcsec, 0 at the centre of the stamp."""
        return ((np.arange(self.side) - self.side // 2) * self.step).astype(np.float32)

    def rotated(self, angle: float, x: float = 0.0, y: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (arcsec) along and across a direction, from a point at ``(x, y)`` arcsec off the centre."""
        dx, dy = self.axis[None, :] - np.float32(x), self.axis[:, None] - np.float32(y)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return dx * cosine + dy * sine, dy * cosine - dx * sine

    def transform(self, image: np.ndarray) -> np.ndarray:
        """Half-plane Fourier transform of an image on this grid, centre at the origin, scaled to unit flux."""
        centred = scipy.fft.ifftshift(image, axes=(-2, -1)).astype(np.float32)
        return scipy.fft.rfft2(centred) / np.complex64(image.sum(dtype=np.float64))

    def shift(self, x: float, y: float) -> np.ndarray:
        """Factor in Fourier space that moves an image by ``(x, y)`` arcsec."""
        fx = scipy.fft.rfftfreq(self.side, self.step)
        fy = scipy.fft.fftfreq(self.side, self.step)
        in_y, in_x = np.exp(-2j * np.pi * fy * y), np.exp(-2j * np.pi * fx * x)
        return in_y.astype(np.complex64)[:, None] * in_x.astype(np.complex64)[None, :]


def sersic_transform(
    grid: Grid, *, index: float, radius: float, axis_ratio: float, angle: float, x: float = 0.0, y: float = 0.0
) -> np.ndarray:
    """Fourier transform of a Sersic profile of unit flux: exact at the cusp, drawn by GalSim.

    Parameters
    ----------
    grid : Grid
        Where.
    index : float
        Sersic index, rounded to 0.1 below 2 and to 0.25 above, because each new value costs GalSim a table.
    radius : float
        Half-light semi-major axis in arcsec.
    axis_ratio, angle : float
        Minor over major axis; position angle in radians from the x axis.
    x, y : float, optional
        Offset from the centre in arcsec.
    """
    galsim = require_galsim()
    step = 0.1 if index < 2 else 0.25
    index = float(np.clip(round(index / step) * step, 0.3, 6.0))
    profile = galsim.Sersic(n=index, half_light_radius=radius * np.sqrt(axis_ratio))
    profile = profile.shear(q=axis_ratio, beta=angle * galsim.radians).shift(x, y)
    scale = 2 * np.pi / (grid.side * grid.step)
    full = profile.drawKImage(galsim.ImageCF(grid.side, grid.side, scale=scale)).array
    half = np.empty((grid.side, grid.side // 2 + 1), dtype=np.complex64)
    half[:, :-1] = full[:, grid.side // 2 :]
    half[:, -1] = full[:, 0]
    return scipy.fft.ifftshift(half, axes=0)


def gaussians(grid: Grid, x: np.ndarray, y: np.ndarray, sigma: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Image of round Gaussians at ``(x, y)`` arcsec with widths and fluxes, none narrower than 0.7 samples."""
    sigma = np.maximum(sigma, 0.7 * grid.step).astype(np.float32)[:, None]
    in_x = np.exp(-0.5 * ((grid.axis[None, :] - x[:, None].astype(np.float32)) / sigma) ** 2)
    in_y = np.exp(-0.5 * ((grid.axis[None, :] - y[:, None].astype(np.float32)) / sigma) ** 2)
    weight = (flux[:, None] / sigma**2).astype(np.float32)
    return (in_y * weight).T @ in_x


def random_texture(grid: Grid, rng: Generator, length: float) -> np.ndarray:
    """Gaussian random field of mean 0 and variance 1, smooth on ``length`` arcsec."""
    field = blur(rng.standard_normal((grid.side, grid.side), dtype=np.float32), max(length / grid.step, 0.7))
    return field / field.std()


def tint(slope: float, wavelengths: np.ndarray) -> np.ndarray:
    """Relative brightness of a component in each band: ``(wavelength / 1.54 micron) ** -slope``; positive is blue.

    Shape ``(band, 1, 1)``.
    """
    return ((wavelengths / 1.537) ** -slope).astype(np.float32)[:, None, None]
