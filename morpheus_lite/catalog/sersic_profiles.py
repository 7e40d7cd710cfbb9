"""Light profiles behind a PSF: which share of the light of a Sersic galaxy lies within each radius."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.optimize import nnls
from scipy.special import gammainc, gammaincinv

SERSIC_INDICES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
"""Indices of the profiles that are tried."""

_SIGMA_OF_FWHM = 1 / 2.35482
# Variance of a pixel's width: pixels blur as a Gaussian of this variance would.
_PIXEL = 1 / 12
# Ratio of neighbouring sizes: likelihoods of faint sources change little over one step.
_STEP = 1.22
_SMALLEST, _N_SIZES = 0.05, 42
_RADII = np.geomspace(0.1, 300, 81)
_LOG_RADII = np.log(_RADII)
# Weight of the condition that the Gaussians add up to all of the light.
_WHOLE = 30.0


@dataclass(frozen=True, eq=False)
class Profiles:
    """Curves of growth of Sersic profiles behind one PSF of unit FWHM.

    Parameters
    ----------
    sizes : numpy.ndarray
        float64, shape ``(size,)``: half-light radii before the PSF, in units of its FWHM.
    shares : numpy.ndarray
        float64, shape ``(radius, 2 * size * index)``: share of the light within each of a fixed set of radii, of
        profiles with the indices of `SERSIC_INDICES`; after the largest size, it is repeated.
    """

    sizes: np.ndarray
    shares: np.ndarray

    def first_between(self, smallest: np.ndarray, largest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First of the sizes between two, and how many there are, at least one: int64, shape of both."""
        last = np.clip(np.searchsorted(self.sizes, largest), 1, len(self.sizes))
        first = np.minimum(np.searchsorted(self.sizes, smallest), last - 1)
        return first, last - first

    def within(self, radii: np.ndarray, first: np.ndarray, n_sizes: int) -> np.ndarray:
        """Shares within radii, of all profiles of some neighbouring sizes; radii in units of the FWHM.

        Parameters
        ----------
        radii : numpy.ndarray
            float64, shape ``(radius, ...)``.
        first : numpy.ndarray
            int64, shape ``(...)``: the smallest of the sizes.
        n_sizes : int
            How many sizes, at most all of them. Beyond the largest there is, it is repeated.

        Returns
        -------
        numpy.ndarray
            float64, shape ``(radius, ..., size, index)``.
        """
        place = np.interp(np.log(np.maximum(radii, _RADII[0])), _LOG_RADII, np.arange(len(_RADII)))
        below = np.minimum(place.astype(int), len(_RADII) - 2)
        part = (place - below)[..., None]
        # The shares of neighbouring sizes lie in one piece.
        n_indices = len(SERSIC_INDICES)
        near = sliding_window_view(self.shares, n_sizes * n_indices, axis=1)[:, ::n_indices]
        found = near[below, first] * (1 - part) + near[below + 1, first] * part
        # Below the smallest radius of the table the light is as good as even.
        found *= np.minimum(radii / _RADII[0], 1)[..., None] ** 2
        return found.reshape(*radii.shape, n_sizes, n_indices)


@cache
def profiles_behind(beta: float | None) -> Profiles:
    """Sersic profiles behind a Moffat PSF of this exponent, or a Gaussian for None.

    Notes
    -----
    Both are written as sums of Gaussians (Hogg & Lang 2013), whose convolution adds their variances.
    """
    sizes = _SMALLEST * _STEP ** np.arange(_N_SIZES)
    psf, psf_weight = _moffat(beta)
    shares = np.empty((len(_RADII), 2 * len(sizes), len(SERSIC_INDICES)))
    for k, index in enumerate(SERSIC_INDICES):
        sigma, weight = _sersic(index)
        both = np.outer(weight, psf_weight).ravel()
        for m, size in enumerate(sizes):
            variance = np.add.outer((size * sigma) ** 2, psf**2).ravel()
            shares[:, m, k] = both @ (1 - np.exp(-0.5 * _RADII**2 / variance[:, None]))
    shares[:, len(sizes) :] = shares[:, [len(sizes) - 1]]
    return Profiles(sizes, shares.reshape(len(_RADII), -1))


def effective_fwhm(fwhm: np.ndarray, axis_ratio: np.ndarray) -> np.ndarray:
    """FWHM in pixels, as it acts on ellipses of an axis ratio whose area is kept, pixels included: shape of both."""
    return np.hypot(fwhm, np.sqrt(_PIXEL) / _SIGMA_OF_FWHM) * np.sqrt((axis_ratio + 1 / axis_ratio) / 2)


def _sersic(index: float) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations, in half-light radii, and weights of the Gaussians of a Sersic profile."""
    # A Sersic profile of index 0.5 is a Gaussian.
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
    # Each Gaussian fewer saves time, and those left out hold 1e-4 of the light each, or less.
    used = weights > 1e-4
    return sigmas[used], weights[used] / weights[used].sum()
