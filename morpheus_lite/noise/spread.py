"""Spread in one band: how much more light a source has around its centre than a star."""

import math

import numpy as np

from morpheus_lite.core.psf import MoffatPsf, moffat_radius

_DISK = 1 / 16
"""Scale length of the exponential disk that a star is compared with, in FWHM, as in SExtractor."""
_REACH = 1.5
"""Radius in FWHM within which light counts: beyond, there is little of a star."""
_PSF_ERROR = 0.03
"""Error of a FWHM: PSFs change over an image."""
_UNKNOWN_BETA = 3.0
"""Index of a PSF of which only the FWHM is given."""
_LEAST_SEEN = 0.7
"""Least share of a star, weighted by its own light, that lies on pixels with data and without neighbours."""
_SUBPIXELS = (np.arange(3) - 1) / 3


def spread_reach(psf: MoffatPsf) -> int:
    """Half the side, in whole pixels, of the windows that `excess_light` takes."""
    return math.ceil(_REACH * psf.fwhm) + 1


def excess_light(
    light: np.ndarray, variance: np.ndarray, used: np.ndarray, away: np.ndarray, psf: MoffatPsf, factor: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spread of sources times their flux, the flux, and the variance of the former.

    Parameters
    ----------
    light, variance : numpy.ndarray
        float64, shape ``(source, y, x)``: windows around the sources, and the noise of a pixel.
    used : numpy.ndarray
        bool, of the same shape: pixels with data that are no neighbour's.
    away : numpy.ndarray
        float64, shape ``(source, 2)``: row and column of each centre from the middle of its window.
    psf : MoffatPsf
        The PSF, whose width is known.
    factor : float
        Noise of sums, over that of independent pixels.

    Returns
    -------
    excess, flux, variance : numpy.ndarray
        float64, shape ``(source,)``; a flux of 0 where too little is seen, or it is negative.

    Notes
    -----
    SPREAD_MODEL of SExtractor (Desai et al. 2012, ApJ 757, 83; Bouy et al. 2013, A&A 554, A101):
    ``(G x) / (P x) - (G P) / (P P)``, with the light x, the PSF P, and G the PSF convolved with an exponential disk of
    1/16 FWHM. G is taken as P plus a share of its Laplacian, as if the disk were much smaller; with the whole disk,
    values are some 15 % smaller. The variance is that of the noise and of a FWHM that is off by 3 %.
    """
    star, curvature, wider = _profiles(psf, light.shape[1] // 2, away)
    weighted = star * used
    flux, power = _sums(weighted, light), np.maximum(_sums(weighted, star), 1e-30)
    # What a star has is taken off: its curvature.
    usual = _sums(weighted, curvature) / power
    kernel = used * 1.5 * (_DISK * psf.fwhm) ** 2 * (curvature - usual[:, None, None] * star)
    off = _PSF_ERROR * _sums(kernel, wider) / power
    flux = np.where(power >= _LEAST_SEEN * _sums(star, star), np.maximum(flux, 0), 0)
    total = factor**2 * _sums(kernel * kernel, variance) + (off * flux) ** 2
    return _sums(kernel, light), flux, np.where(total > 0, total, np.inf)


def _profiles(psf: MoffatPsf, half: int, away: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stars, their Laplacians, and what a wider PSF adds per logarithm of FWHM: float64 ``(source, y, x)`` each."""
    beta = psf.beta if math.isfinite(psf.beta) else _UNKNOWN_BETA
    radius = moffat_radius(psf.fwhm, beta)
    offset = np.arange(-half, half + 1.0)
    # Summed over pixels, as the PSF is fitted.
    y, x = (offset - one[:, None, None] + _SUBPIXELS[:, None] for one in away.T)
    square = (y[:, :, None, :, None] ** 2 + x[:, None, :, None, :] ** 2) / radius**2
    square = square.reshape(len(away), len(_SUBPIXELS) ** 2, len(offset), len(offset))
    star = np.exp(-beta * np.log1p(square))
    curvature = 4 * beta / radius**2 * star * (beta * square - 1) / (1 + square) ** 2
    wider = 2 * beta * square * star / (1 + square)
    return star.mean(axis=1), curvature.mean(axis=1), wider.mean(axis=1)


def _sums(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("kyx,kyx->k", first, second)
