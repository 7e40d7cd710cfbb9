"""An image as a network sees it without the wings of its PSF."""

from collections.abc import Sequence

import numpy as np
import scipy.fft

from morpheus_lite.core.psf import MoffatPsf, moffat_radius
from morpheus_lite.core.windows import Window, grown, inside
from morpheus_lite.inference.network_input import NetworkInput, sky_scatter
from morpheus_lite.noise.psf import psf_windows

WINGED = 2.75
"""Index of a Moffat profile below which its wings are taken out: with wider ones, networks take stars for spheroids."""

_WANTED = 3.5  # index of the profile that is left, of equal FWHM
_WIDEST_TRIED = 1.7  # index
_HALF = 32  # pixels of the kernel on each side of its centre
_NOISE = 0.01  # of the light, at frequencies that the PSF hardly passes: what is weaker is not restored
_OVERSAMPLING = 5


def has_wings(psf: MoffatPsf) -> bool:
    """True if the index of a PSF is known, and below `WINGED`."""
    return psf.is_known and psf.beta < WINGED


def seen_beta(psf: MoffatPsf) -> float:
    """Index of the PSF that a network sees: what is left without its wings, where they are none wider than tried."""
    return _WANTED if has_wings(psf) and psf.beta >= _WIDEST_TRIED else psf.beta


def wing_kernel(fwhm: float, beta: float) -> np.ndarray:
    """Kernel that turns a Moffat profile into one of the same FWHM with hardly any wings.

    Parameters
    ----------
    fwhm : float
        In pixels.
    beta : float
        Index of the profile.

    Returns
    -------
    numpy.ndarray
        float64, square with the centre in the middle, sum 1.

    Notes
    -----
    The quotient of the two transfer functions, damped as by Wiener where that of the PSF is below a hundredth. Wide
    wings take more from middle frequencies than from high ones, so the noise does not grow.
    """
    side = 4 * _HALF
    seen, wanted = (scipy.fft.rfft2(scipy.fft.ifftshift(_moffat(fwhm, one, side))) for one in (beta, _WANTED))
    kernel = scipy.fft.fftshift(scipy.fft.irfft2(wanted * np.conj(seen) / (np.abs(seen) ** 2 + _NOISE**2)))
    middle = slice(side // 2 - _HALF, side // 2 + _HALF + 1)
    kernel = kernel[middle, middle]
    return kernel / kernel.sum()


class WinglessBands:
    """A `NetworkInput` without the wings of the PSFs of another.

    Parameters
    ----------
    whole : NetworkInput
        The image, or its bins.
    psfs : sequence of MoffatPsf
        Of its bands, in its pixels.

    Attributes
    ----------
    sigma : numpy.ndarray
        float32, shape ``(band,)``: scatter of the sky after convolution where it was 1 before; 1 unless `measured`.

    Notes
    -----
    Invalid pixels count as sky. A pixel depends on those within 32 of it.
    """

    def __init__(self, whole: NetworkInput, psfs: Sequence[MoffatPsf]) -> None:
        self.whole, self.bands, self.present = whole, whole.bands, whole.present
        self.kernels = {i: wing_kernel(psf.fwhm, psf.beta) for i, psf in enumerate(psfs) if has_wings(psf)}
        self.sigma = np.ones(len(whole.bands), np.float32)

    @classmethod
    def measured(cls, whole: NetworkInput, psfs: Sequence[MoffatPsf]) -> "WinglessBands":
        """Bands whose noise is measured on parts of them: neighbouring pixels are often correlated."""
        made = cls(whole, psfs)
        made.sigma = sky_scatter(map(made.snr, psf_windows(whole.shape)))
        return made

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.whole.shape

    def snr(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """S/N and validity of a window: float32 and bool, shape ``(y, x, band)``."""
        around = grown(window, _HALF, self.shape)
        light, valid = self.whole.snr(around)
        here = inside(window, around)
        snr = light[here].copy()
        # It takes long to import, and few images have such wings.
        from scipy.signal import fftconvolve

        for band, kernel in self.kernels.items():
            plane = np.where(valid[..., band], light[..., band], np.float32(0))
            snr[..., band] = fftconvolve(plane, kernel, mode="same")[here] / self.sigma[band]
        return np.where(valid[here], snr, 0).astype(np.float32, copy=False), valid[here]


def _moffat(fwhm: float, beta: float, side: int) -> np.ndarray:
    """A profile ``(side, side)`` around its pixel ``side // 2``, summed over the pixels, sum 1."""
    inside = (np.arange(side * _OVERSAMPLING) + 0.5) / _OVERSAMPLING - side // 2 - 0.5
    square = (inside[:, None] ** 2 + inside**2) / moffat_radius(fwhm, beta) ** 2
    fine = ((1 + square) ** -beta).reshape(side, _OVERSAMPLING, side, _OVERSAMPLING)
    profile = fine.sum(axis=(1, 3))
    return profile / profile.sum()
