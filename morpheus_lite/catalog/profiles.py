"""Light profiles behind a PSF: which share of the light of a Sersic galaxy lies within each radius."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import nnls
from scipy.special import gammainc, gammaincinv

SERSIC_INDICES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
"""Indices of the profiles that are tried."""

_SIGMA_OF_FWHM = 1 / 2.35482
_PIXEL = 1 / 12
_STEP = 1.22
_SMALLEST, _N_SIZES = 0.05, 42
_RADII = np.geomspace(0.1, 300, 81)
_LOG_RADII = np.log(_RADII)
_WHOLE = 30.0


@dataclass(frozen=True, eq=False)
class Profiles:
    """Curves of growth of Sersic profiles behind one PSF of unit FWHM.

    Parameters
    ----------
    sizes : numpy.ndarray
        float64, shape ``(size,)``: half-light radii before the PSF, in units of its FWHM.
    shares : numpy.ndarray
        float64, shape ``(index, size, radius)``: share of the light within each of a fixed set of radii, of profiles
        with the indices of `SERSIC_INDICES`.
    """

    sizes: np.ndarray
    shares: np.ndarray

    def within(
        self, radii: np.ndarray, smallest: np.ndarray, largest: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shares within radii, of the profiles between two sizes; all in units of the FWHM, of which there are several.

        Parameters
        ----------
        radii : numpy.ndarray
            float64, shape ``(width, radius)``.
        smallest, largest : numpy.ndarray
            float64, shape ``(width,)``.

        Returns
        -------
        sizes : numpy.ndarray
            float64, shape ``(width, size)``: half-light radii of the profiles chosen, at least one for each width.
        chosen : numpy.ndarray
            bool, shape ``(width, size)``: False where there are fewer profiles than for another width.
        shares : numpy.ndarray
            float64, shape ``(index, width, size, radius)``.
        """
        first, last = np.searchsorted(self.sizes, smallest), np.searchsorted(self.sizes, largest)
        last = np.clip(last, 1, len(self.sizes))
        first = np.minimum(first, last - 1)
        which = first[:, None] + np.arange((last - first).max())
        chosen = which < last[:, None]
        which = np.minimum(which, len(self.sizes) - 1)
        place = np.interp(np.log(np.maximum(radii, _RADII[0])), _LOG_RADII, np.arange(len(_RADII)))
        below = np.minimum(place.astype(int), len(_RADII) - 2)
        part = (place - below)[:, None]
        at = which[:, :, None], below[:, None]
        found = self.shares[:, at[0], at[1]] * (1 - part) + self.shares[:, at[0], at[1] + 1] * part
        # Below the smallest radius of the table the light is as good as even.
        return self.sizes[which], chosen, found * np.minimum(radii / _RADII[0], 1)[:, None] ** 2


@cache
def profiles_behind(beta: float | None) -> Profiles:
    """Sersic profiles behind a Moffat PSF of this exponent, or a Gaussian for None.

    Notes
    -----
    Both are written as sums of Gaussians (Hogg & Lang 2013), whose convolution adds their variances.
    """
    sizes = _SMALLEST * _STEP ** np.arange(_N_SIZES)
    psf, psf_weight = _moffat(beta)
    shares = np.empty((len(SERSIC_INDICES), len(sizes), len(_RADII)))
    for k, index in enumerate(SERSIC_INDICES):
        sigma, weight = _sersic(index)
        both = np.outer(weight, psf_weight).ravel()
        for m, size in enumerate(sizes):
            variance = np.add.outer((size * sigma) ** 2, psf**2).ravel()
            shares[k, m] = both @ (1 - np.exp(-0.5 * _RADII**2 / variance[:, None]))
    return Profiles(sizes, shares)


def effective_fwhm(fwhm: float, axis_ratio: float) -> float:
    """FWHM in pixels, as it acts on ellipses of an axis ratio whose area is kept, pixels included."""
    return float(np.hypot(fwhm, np.sqrt(_PIXEL) / _SIGMA_OF_FWHM) * np.sqrt((axis_ratio + 1 / axis_ratio) / 2))


def _sersic(index: float) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations, in half-light radii, and weights of the Gaussians of a Sersic profile."""
    if index == 0.5:
        return np.array([1 / np.sqrt(2 * np.log(2))]), np.ones(1)
    radii = np.geomspace(0.03, 60, 200)
    within = gammainc(2 * index, gammaincinv(2 * index, 0.5) * radii ** (1 / index))
    return _decompose(radii, within, np.geomspace(0.03, 40, 14))


def _moffat(beta: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations, in units of the FWHM, and weights of the Gaussians of a Moffat profile."""
    if beta is None:
        return np.array([_SIGMA_OF_FWHM]), np.ones(1)
    core = 0.5 / np.sqrt(2 ** (1 / beta) - 1)
    radii = np.geomspace(0.05, 20, 200)
    return _decompose(radii, 1 - (1 + (radii / core) ** 2) ** (1 - beta), np.geomspace(0.2, 8, 8))


def _decompose(radii: np.ndarray, within: np.ndarray, sigmas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians whose curves of growth add up to one that is given, and to all of the light."""
    basis = np.vstack([1 - np.exp(-0.5 * (radii[:, None] / sigmas) ** 2), np.full(len(sigmas), _WHOLE)])
    weights, _ = nnls(basis, np.append(within, _WHOLE), maxiter=5000)
    used = weights > 1e-4
    return sigmas[used], weights[used] / weights[used].sum()
