"""Apertures that see every band through one PSF, so that their colours are those of the source."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from morpheus_lite.core.psf import FWHM_PER_SIGMA, GAUSSIAN, MoffatPsf, moffat_radius

_FINEST = 2.0  # cycles per pixel: beyond, the pixel leaves nothing
_N_FREQUENCIES = 1500
_STEP = 0.1  # pixels
_REACH = 5.0  # FWHM of the widest PSF beyond the aperture


@dataclass(frozen=True, eq=False)
class MatchedApertures:
    """Weights of pixels around the centre of circular apertures, by their distance, in each band.

    Parameters
    ----------
    radii : numpy.ndarray
        float64, shape ``(step,)``: distances in pixels.
    weights : numpy.ndarray
        float64, shape ``(aperture, band, step)``; NaN in bands whose PSF is not known.
    """

    radii: np.ndarray
    weights: np.ndarray

    def at(self, distance: np.ndarray) -> np.ndarray:
        """Weights of pixels: float64, shape ``(aperture, band, y, x)`` of distances ``(y, x)``."""
        each = [[np.interp(distance, self.radii, one, right=0.0) for one in bands] for bands in self.weights]
        return np.array(each)


def can_match(psf: MoffatPsf) -> bool:
    """Tell whether width and index of a PSF are those of point sources."""
    return psf.is_known and bool(np.isfinite([psf.fwhm, psf.beta]).all())


def matched_apertures(radii: Sequence[float], psfs: Sequence[MoffatPsf]) -> MatchedApertures:
    """Apertures of these radii in pixels, on the common PSF of all bands whose PSF is known.

    Notes
    -----
    Adding up the pixels of a circle in a band that was convolved with the kernel that turns its PSF into the common one
    is adding up the pixels of the band by a circle that was convolved with the kernel.
    Kernels are ratios of the transforms of the PSFs; at each frequency the common PSF is the one that has least there,
    which is the widest, so no kernel amplifies noise.
    """
    known = [can_match(psf) for psf in psfs]
    widest = max((psf.fwhm for psf, one in zip(psfs, known, strict=True) if one), default=1.0)
    distances = np.arange(0, max(radii) + _REACH * widest, _STEP)
    weights = np.full((len(radii), len(psfs), len(distances)), np.nan)
    if not any(known):
        return MatchedApertures(distances, weights)
    frequencies = (np.arange(_N_FREQUENCIES) + 0.5) * _FINEST / _N_FREQUENCIES
    seen = {band: _log_transform(psfs[band], frequencies) for band in np.flatnonzero(known).tolist()}
    common = np.min(list(seen.values()), axis=0)
    # Square pixels, as round ones of the same variance: the exact circle without a kernel is a little sharper.
    pixel = np.exp(-2 * (np.pi * frequencies) ** 2 / 12)
    waves = (
        2 * np.pi * special.j0(2 * np.pi * np.outer(distances, frequencies)) * frequencies * _FINEST / _N_FREQUENCIES
    )
    for aperture, radius in enumerate(radii):
        circle = radius * special.j1(2 * np.pi * radius * frequencies) / frequencies * pixel
        for band, transform in seen.items():
            weights[aperture, band] = waves @ (circle * np.exp(common - transform))
    return MatchedApertures(distances, weights)


def _log_transform(psf: MoffatPsf, frequencies: np.ndarray) -> np.ndarray:
    """Logarithm of the Fourier transform of a Moffat profile of unit flux, at frequencies in cycles per pixel."""
    if psf.beta >= GAUSSIAN / 2:
        sigma = psf.fwhm / FWHM_PER_SIGMA
        return -2 * (np.pi * sigma * frequencies) ** 2
    order = psf.beta - 1
    at = 2 * np.pi * moffat_radius(psf.fwhm, psf.beta) * frequencies
    return np.log(2) - special.gammaln(order) + order * np.log(at / 2) + np.log(special.kve(order, at)) - at
