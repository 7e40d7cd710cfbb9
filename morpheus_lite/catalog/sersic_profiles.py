"""Light profiles behind a PSF: which share of the light of a Sersic galaxy lies within each radius."""

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
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
SERSIC_SIGMAS = np.geomspace(0.03, 40, 14)
MOFFAT_SIGMAS = np.geomspace(0.2, 8, 8)
# As `sersic_weights` and `moffat_weights` give them: a table, as scipy.optimize takes half a second to import.
# fmt: off
SERSIC_WEIGHTS = MappingProxyType(
    {
        0.7: (
            0.0, 0.0, 0.0, 0.0, 0.03033374975469979, 0.04527183325128871, 0.764186528352401, 0.16020788864161062,
            0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        ),
        1.0: (
            0.0, 0.0, 0.0028560295090092674, 0.004679370602880713, 0.04507971153640173, 0.15453992151041596,
            0.46731375526834995, 0.3234118674146761, 0.0, 0.0021193441582662204, 0.0, 0.0, 0.0, 0.0,
        ),
        1.4: (
            0.0005392948113222832, 0.001038033438452056, 0.0056365330476471605, 0.01958871431555227,
            0.06762890493597588, 0.18058318104293558, 0.33710872950571763, 0.30658435935667083,
            0.08032159339369675, 0.0006770985973992505, 0.00029355755463031407, 0.0, 0.0, 0.0,
        ),
        2.0: (
            0.002486462077856243, 0.0032669514067635258, 0.014199587818917848, 0.036603359252743085,
            0.08962109668819526, 0.17535675633279982, 0.25883740054012394, 0.2518493412541654, 0.13515175803367616,
            0.030612337033177204, 0.0020149495615815003, 0.0, 0.0, 0.0,
        ),
        2.8: (
            0.008441866605961273, 0.00573985995829938, 0.027573497215838523, 0.05072905275145005,
            0.10138730371817405, 0.1597062586152451, 0.20861601898872426, 0.20599302355174906, 0.1455297288607614,
            0.0663211914998469, 0.017563209765815376, 0.0022647543168766533, 0.0001342341512578842, 0.0,
        ),
        4.0: (
            0.024275848647240594, 0.00436791125998967, 0.04762319224821087, 0.05795364032700443,
            0.10648868179178911, 0.13869937489521705, 0.1698302899576668, 0.16686752912802158, 0.1368798310476595,
            0.08661189170518671, 0.04203870033219758, 0.014390267849606005, 0.003387324964668153,
            0.000585515845541997,
        ),
        5.6: (
            0.050865653786228704, 0.0, 0.06323036799699044, 0.06193543826601103, 0.10282573856981077,
            0.120475341798662, 0.14063450723838342, 0.1382387676442899, 0.1218906772434443, 0.09167045534902103,
            0.05763259181213909, 0.03230044020776035, 0.010645069550713896, 0.007654950536545142,
        ),
    }
)
MOFFAT_WEIGHTS = MappingProxyType(
    {
        3.0: (
            0.0, 0.2673304011432452, 0.5501916247714418, 0.14227472121111456, 0.039062091789623735, 0.0,
            0.0010023846780497809, 0.0001387764065249485,
        ),
    }
)
# fmt: on
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
    return _used(SERSIC_SIGMAS, np.array(SERSIC_WEIGHTS[index]))


def _moffat(beta: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations, in units of the FWHM, and weights of the Gaussians of a Moffat profile."""
    if beta is None:
        return np.array([_SIGMA_OF_FWHM]), np.ones(1)
    known = MOFFAT_WEIGHTS.get(beta)
    return _used(MOFFAT_SIGMAS, moffat_weights(beta) if known is None else np.array(known))


def _used(sigmas: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return sigmas[weights > 0], weights[weights > 0]


def sersic_weights(index: float) -> np.ndarray:
    """Weights of Gaussians of `SERSIC_SIGMAS`, in half-light radii, that add up to a Sersic profile."""
    radii = np.geomspace(0.03, 60, 200)
    within = gammainc(2 * index, gammaincinv(2 * index, 0.5) * radii ** (1 / index))
    return _decompose(radii, within, SERSIC_SIGMAS)


def moffat_weights(beta: float) -> np.ndarray:
    """Weights of Gaussians of `MOFFAT_SIGMAS`, in units of the FWHM, that add up to a Moffat profile."""
    core = 0.5 / np.sqrt(2 ** (1 / beta) - 1)
    radii = np.geomspace(0.05, 20, 200)
    return _decompose(radii, 1 - (1 + (radii / core) ** 2) ** (1 - beta), MOFFAT_SIGMAS)


def _decompose(radii: np.ndarray, within: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Weights of Gaussians whose curves of growth add up to one that is given, and to all of the light."""
    from scipy.optimize import nnls

    basis = np.vstack([1 - np.exp(-0.5 * (radii[:, None] / sigmas) ** 2), np.full(len(sigmas), _WHOLE)])
    weights, _ = nnls(basis, np.append(within, _WHOLE), maxiter=5000)
    # Each Gaussian fewer saves time, and those left out hold 1e-4 of the light each, or less.
    used = weights > 1e-4
    return np.where(used, weights, 0) / weights[used].sum()
