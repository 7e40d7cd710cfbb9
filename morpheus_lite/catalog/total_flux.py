"""Total light: how much of a source lies outside of its Kron ellipse, from the shape of its curve of growth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from morpheus_lite.catalog.curve_of_growth import curves_by_distance
from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.catalog.sersic_profiles import SERSIC_INDICES, effective_fwhm, profiles_behind
from morpheus_lite.noise.correlated import CorrelatedNoise

# The numbers below were chosen with tests/benchmarks/photometry.py, on other seeds than those of the tables in the
# docs.
# A Gaussian, and a Moffat profile of exponent 3: PSFs lie between.
_PSF_SHAPES = (None, 3.0)
# Of the diameter that holds half of the light, where the width of the PSF is not known.
_UNKNOWN_WIDTHS = (0.2, 0.4, 0.6, 0.8)
_SIZES = 0.12, 2.5
_N_RINGS = 10
# Smallest ring in pixels: within a smaller one, pixels and centroid decide more than the profile.
_INNERMOST = 1.5
_REACH = 1.5
# Of the light in a ring: no galaxy is a Sersic profile to better than 1 %. It keeps bright sources from certainty.
_RING_FLOOR = 0.01
# Of the correction: errors of what lies beyond the rings. The pulls of total fluxes are 0.7 to 1.3 wide
# (docs/reference/catalogue.md).
_DOUBT = 0.15
# Error from pixels that the ellipse cuts, which no profile knows of.
_FLOOR = 0.003
# Prior: each step of 1 in the index above 1 is less likely by exp(-0.35). At low S/N the wings cannot be seen, and
# without it every faint source would get those of a de Vaucouleurs profile.
_STEEP = 0.35
_SMALL_FWHM = 1.0
_PARTS = np.arange(_N_RINGS) / (_N_RINGS - 1)
_NUMBERS = ("half_light_radius", "kron", "ratio")
_MOST_SIZES = 16
"""Sizes of the table of profiles that fit between the two of ``_SIZES``, at most."""
_AT_ONCE = 8
"""Sources that are fitted at a time: their profiles stay in the cache of a processor."""


@dataclass(frozen=True)
class ApertureCorrection:
    """Correction from Kron flux to total flux.

    Parameters
    ----------
    factor, error : float
        Total light over that in the Kron ellipse, and how uncertain it is.
    """

    factor: float = np.nan
    error: float = np.nan


@dataclass(frozen=True, eq=False)
class AnnularProfile:
    """Light of one source in elliptical rings, from the centre outwards.

    Parameters
    ----------
    edges : numpy.ndarray
        float64, shape ``(ring + 1,)``: radii between which the rings lie, those of circles of the same area, in pixels.
    flux, variance : numpy.ndarray
        float64, shape ``(ring,)``.
    kron : float
        Radius of the Kron ellipse, measured likewise.
    half_light_radius : float
        Circle with half of the Kron flux, in pixels.
    ratio : float
        Minor over major axis.
    """

    edges: np.ndarray
    flux: np.ndarray
    variance: np.ndarray
    kron: float
    half_light_radius: float
    ratio: float


def measure_annular_profiles(
    stamps: Sequence[Stamp],
    lights: Sequence[np.ndarray],
    scales: Sequence[float],
    half_light_radii: Sequence[float],
    noise: CorrelatedNoise,
) -> list[AnnularProfile | None]:
    """Light of sources in ten rings each, out to 1.5 Kron ellipses or as far as they are whole.

    Parameters
    ----------
    stamps : sequence of Stamp
        The sources and their surroundings.
    lights : sequence of numpy.ndarray
        float64, shape ``(y, x)``: detection image of each, its sky subtracted.
    scales : sequence of float
        Semi-axes of each Kron ellipse in units of the source's own.
    half_light_radii : sequence of float
        Circle with half of the Kron flux, in pixels.
    noise : CorrelatedNoise
        Of the detection image.

    Returns
    -------
    list of (AnnularProfile or None)
        None where there is no half-light radius.
    """
    known = [k for k, radius in enumerate(half_light_radii) if radius > 0]
    if not known:
        return [None] * len(stamps)
    distances, radii, reaches = [], [], []
    for k in known:
        size = math.sqrt(stamps[k].ellipse.a * stamps[k].ellipse.b)
        distances.append(stamps[k].elliptical_radius * size)
        radii.append((scales[k] * size, half_light_radii[k]))
        wanted = max(_REACH * radii[-1][0], 3 * radii[-1][1])
        reaches.append(max(min(wanted, _inside(distances[-1])), 2 * _INNERMOST))
    growths = curves_by_distance([lights[k] for k in known], distances, reaches)
    kron, half_light = np.array(radii).T
    reach = np.array(reaches)
    inner = np.minimum(np.maximum(_INNERMOST, half_light / 2), reach / 2)
    edges = np.zeros((len(known), _N_RINGS + 1))
    # Rings widen outwards by a constant factor, as the light falls.
    edges[:, 1:] = inner[:, None] * (reach / inner)[:, None] ** _PARTS
    inside = [
        [np.interp(at, one.radii, part) for part in (one.flux, one.area)]
        for at, one in zip(edges, growths, strict=True)
    ]
    flux, area = np.diff(inside, axis=2).swapaxes(0, 1)
    pixel = [
        stamps[k].detection_variance[far <= end].mean() for k, far, end in zip(known, distances, reaches, strict=True)
    ]
    variance = area * np.array(pixel)[:, None] * noise.factor(area) ** 2 + (_RING_FLOOR * flux) ** 2
    ratio = [stamps[k].ellipse.b / stamps[k].ellipse.a for k in known]
    found = dict(zip(known, map(AnnularProfile, edges, flux, variance, kron, half_light, ratio), strict=True))
    return [found.get(k) for k in range(len(stamps))]


def _inside(distance: np.ndarray) -> float:
    """Largest ellipse that is whole in the stamp."""
    return float(min(distance[0].min(), distance[-1].min(), distance[:, 0].min(), distance[:, -1].min()))


def correct_to_total(sources: Sequence[AnnularProfile | None], psf_fwhm: float | None) -> list[ApertureCorrection]:
    """Share of each source's light outside of its Kron ellipse.

    Parameters
    ----------
    sources : sequence of (AnnularProfile or None)
        Light of the sources.
    psf_fwhm : float or None
        FWHM of the PSF in pixels; None tries widths up to that of the source.

    Returns
    -------
    list of ApertureCorrection
        NaN where there are no rings. Each depends on its own rings alone.

    Notes
    -----
    Light in ten elliptical rings out to 1.5 Kron ellipses is compared with Sersic profiles (n 0.5 to 5.6, sizes 0.12 to
    2.5 times the half-light radius that is seen) behind Gaussian and Moffat PSFs. The factor is one over the mean share
    inside of the Kron ellipse, each profile weighing by its likelihood; its error holds the spread of the shares, a
    share of the correction, and a floor for the pixels that the ellipse cuts.
    """
    found = [ApertureCorrection()] * len(sources)
    known = [k for k, rings in enumerate(sources) if rings is not None]
    for first in range(0, len(known), _AT_ONCE):
        some = known[first : first + _AT_ONCE]
        share, weight = _shares([rings for k in some if (rings := sources[k]) is not None], psf_fwhm)
        mean = (weight * share).sum(axis=1)
        spread = np.sqrt((weight * (share - mean[:, None]) ** 2).sum(axis=1)) / mean**2
        factor = 1 / mean
        error = np.sqrt(spread**2 + _FLOOR**2 + (_DOUBT * (factor - 1)) ** 2)
        for k, *values in zip(some, factor.tolist(), error.tolist(), strict=True):
            found[k] = ApertureCorrection(*values)
    return found


def _shares(sources: list[AnnularProfile], psf_fwhm: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Share of every profile inside the Kron ellipse, and how likely it is: float64, shape ``(source, profile)``."""
    size, kron, ratio = (np.array([getattr(one, name) for one in sources]) for name in _NUMBERS)
    widths = np.full((1, len(sources)), psf_fwhm) if psf_fwhm else np.outer(_UNKNOWN_WIDTHS, 2 * size)
    fwhm = effective_fwhm(np.maximum(widths, _SMALL_FWHM), ratio)
    radii = np.column_stack([*(one.edges for one in sources)])
    radii = np.vstack([radii, kron])[:, None] / fwhm
    # Rings come first: what is summed over them is added one after the other.
    flux, variance = (np.stack([getattr(one, name) for one in sources], axis=1) for name in ("flux", "variance"))
    low, high = (part * size / fwhm for part in _SIZES)
    shares, likelihoods = [], []
    for beta in _PSF_SHAPES:
        profiles = profiles_behind(beta)
        first, n_chosen = profiles.first_between(low, high)
        within = profiles.within(radii, first, _MOST_SIZES)
        which = np.arange(_MOST_SIZES)
        sizes = profiles.sizes[np.minimum(first[..., None] + which, len(profiles.sizes) - 1)]
        prior = _log_prior(sizes * (fwhm / size)[..., None])
        chosen = (which < n_chosen[..., None])[..., None]
        likelihoods.append(_log_likelihood(flux, variance, np.diff(within[:-1], axis=0), prior, chosen))
        shares.append(within[-1])
    share, likelihood = (_by_source(one) for one in (shares, likelihoods))
    # The largest is subtracted so that the exponentials do not underflow all together.
    weight = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    return share, weight / weight.sum(axis=1, keepdims=True)


def _by_source(parts: list[np.ndarray]) -> np.ndarray:
    """Arrays of shape ``(width, source, size, index)`` as one of shape ``(source, profile)``."""
    both = np.stack(parts)
    return np.ascontiguousarray(np.moveaxis(both, 2, 0)).reshape(both.shape[2], -1)


def _log_likelihood(
    flux: np.ndarray, variance: np.ndarray, expected: np.ndarray, prior: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """Logarithm of the probability of each profile, its flux at its best, ``-inf`` of those that are not tried.

    Parameters
    ----------
    flux, variance : numpy.ndarray
        float64, shape ``(ring, source)``.
    expected : numpy.ndarray
        float64, shape ``(ring, width, source, size, index)``: light of each profile in each ring.
    prior, chosen : numpy.ndarray
        float64 and bool, shape ``(width, source, size, index)`` or ``(width, source, size, 1)``.
    """
    precision, pull = (values[:, None, :, None, None] for values in (1 / variance, flux / variance))
    spread = 1 / (expected * expected * precision).sum(axis=0)
    best = (expected * pull).sum(axis=0) * spread
    # The flux is marginalised over, with a prior of 1 / flux.
    found = 0.5 * best**2 / spread + 0.5 * np.log(spread) - np.log(np.maximum(best, 1e-30)) + prior
    positive = (best > 0) & chosen
    # Where no profile has positive light, all are alike.
    some = positive.any(axis=(0, 2, 3), keepdims=True)
    return np.where(positive, found, np.where(some | ~chosen, -np.inf, 0.0))


def _log_prior(sizes: np.ndarray) -> np.ndarray:
    """Concentrated profiles are rarer, and most are as large as they look: float64, shape ``(..., size, index)``."""
    steep = np.maximum(np.array(SERSIC_INDICES) - 1, 0)
    return -_STEEP * steep - 0.5 * (np.log(sizes / 0.8) / 0.7)[..., None] ** 2
