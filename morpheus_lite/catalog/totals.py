"""Total light: how much of a source lies outside of its Kron ellipse, from the shape of its curve of growth."""

from dataclasses import dataclass

import numpy as np

from morpheus_lite.catalog.growth import grow_by_distance
from morpheus_lite.catalog.profiles import SERSIC_INDICES, effective_fwhm, profiles_behind
from morpheus_lite.catalog.stamps import Stamp
from morpheus_lite.skynoise import CorrelatedNoise

_PSF_SHAPES = (None, 3.0)
_UNKNOWN_WIDTHS = (0.2, 0.4, 0.6, 0.8)
_SIZES = 0.12, 2.5
_N_RINGS = 10
_INNERMOST = 1.5
_REACH = 1.5
_RING_FLOOR = 0.01
_DOUBT = 0.15
_FLOOR = 0.003
_STEEP = 0.35
_SMALL_FWHM = 1.0


@dataclass(frozen=True)
class Correction:
    """What turns a Kron flux into a total.

    Parameters
    ----------
    factor, error : float
        Total light over that in the Kron ellipse, and how uncertain it is.
    """

    factor: float = np.nan
    error: float = np.nan


def correct_to_total(
    stamp: Stamp,
    light: np.ndarray,
    band: int,
    scale: float,
    half_light_radius: float,
    noise: CorrelatedNoise,
    psf_fwhm: float | None,
) -> Correction:
    """Share of a source's light outside of its Kron ellipse.

    Parameters
    ----------
    stamp : Stamp
        The source and its surroundings.
    light : numpy.ndarray
        float64, shape ``(y, x)``: detection band, its sky subtracted.
    band : int
        Index of the detection band.
    scale : float
        Semi-axes of the Kron ellipse in units of the source's own.
    half_light_radius : float
        Circle with half of the Kron flux, in pixels.
    noise : CorrelatedNoise
        Of the band.
    psf_fwhm : float or None
        FWHM of the PSF in pixels; None tries widths up to that of the source.

    Returns
    -------
    Correction
        NaN where there is no half-light radius.

    Notes
    -----
    Light in ten elliptical rings out to 1.5 Kron ellipses is compared with Sersic profiles (n 0.5 to 5.6, sizes 0.12 to
    2.5 times the half-light radius that is seen) behind Gaussian and Moffat PSFs. The factor is one over the mean share
    inside of the Kron ellipse, each profile weighing by its likelihood; its error holds the spread of the shares, a
    tenth of the correction, and 0.002 for the pixels that the ellipse cuts.
    """
    if not half_light_radius > 0:
        return Correction()
    ellipse = stamp.ellipse
    ratio, size = ellipse.b / ellipse.a, np.sqrt(ellipse.a * ellipse.b)
    along, across = stamp.axes
    distance = np.hypot(along * np.sqrt(ratio), across / np.sqrt(ratio))
    kron = scale * size
    wanted = max(_REACH * kron, 3 * half_light_radius)
    reach = max(min(wanted, _inside(distance)), 2 * _INNERMOST)
    growth = grow_by_distance(light, distance, reach)
    inner = min(max(_INNERMOST, half_light_radius / 2), reach / 2)
    edges = np.append(0, np.geomspace(inner, reach, _N_RINGS))
    rings, areas = (np.diff(np.interp(edges, growth.radii, one)) for one in (growth.flux, growth.area))
    pixel = stamp.variance[:, :, band][distance <= reach].mean()
    variance = areas * pixel * noise.factor(areas) ** 2 + (_RING_FLOOR * rings) ** 2
    share, weight = _shares(rings, variance, edges, kron, half_light_radius, ratio, psf_fwhm)
    mean = float(weight @ share)
    spread = float(np.sqrt(weight @ (share - mean) ** 2)) / mean**2
    factor = 1 / mean
    return Correction(factor, float(np.sqrt(spread**2 + _FLOOR**2 + (_DOUBT * (factor - 1)) ** 2)))


def _inside(distance: np.ndarray) -> float:
    """Largest ellipse that is whole in the stamp."""
    return float(min(distance[0].min(), distance[-1].min(), distance[:, 0].min(), distance[:, -1].min()))


def _shares(
    rings: np.ndarray,
    variance: np.ndarray,
    edges: np.ndarray,
    kron: float,
    half_light_radius: float,
    ratio: float,
    psf_fwhm: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Share of every profile inside of the Kron ellipse, and how likely the profile is: float64, shape ``(n,)``."""
    widths = [psf_fwhm] if psf_fwhm else [2 * part * half_light_radius for part in _UNKNOWN_WIDTHS]
    fwhm = np.array([effective_fwhm(max(width, _SMALL_FWHM), ratio) for width in widths])
    low, high = (size * half_light_radius / fwhm for size in _SIZES)
    shares, likelihoods = [], []
    for beta in _PSF_SHAPES:
        sizes, chosen, within = profiles_behind(beta).within(np.append(edges, kron) / fwhm[:, None], low, high)
        expected = np.diff(within[..., :-1], axis=-1)
        likelihood = _log_likelihood(rings, variance, expected, sizes * fwhm[:, None] / half_light_radius)
        shares.append(within[:, chosen, -1].ravel())
        likelihoods.append(likelihood[:, chosen].ravel())
    share, likelihood = np.concatenate(shares), np.concatenate(likelihoods)
    weight = np.exp(likelihood - likelihood.max())
    return share, weight / weight.sum()


def _log_likelihood(rings: np.ndarray, variance: np.ndarray, expected: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Logarithm of the probability of each profile, its flux at its best: float64, shape ``(index, width, size)``."""
    spread = 1 / (expected**2 @ (1 / variance))
    flux = expected @ (rings / variance) * spread
    found = 0.5 * flux**2 / spread + 0.5 * np.log(spread) - np.log(np.maximum(flux, 1e-30))
    found = found + _log_prior(sizes)
    # Where no profile has positive light, all are alike.
    return np.where(flux > 0, found, -np.inf) if (flux > 0).any() else np.zeros_like(flux)


def _log_prior(sizes: np.ndarray) -> np.ndarray:
    """Concentrated profiles are rarer, and most are as large as they look: float64, shape ``(index, width, size)``."""
    steep = np.maximum(np.array(SERSIC_INDICES)[:, None, None] - 1, 0)
    return -_STEEP * steep - 0.5 * (np.log(sizes / 0.8) / 0.7) ** 2
