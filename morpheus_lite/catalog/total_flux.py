"""Total light: how much of a source lies outside of its Kron ellipse, from the shape of its curve of growth."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import gammainc, gammaincinv

from morpheus_lite.catalog.curve_of_growth import curves_by_distance
from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.noise.correlated import CorrelatedNoise

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
_SERSIC_SIGMAS = np.geomspace(0.03, 40, 14)
_MOFFAT_SIGMAS = np.geomspace(0.2, 8, 8)
# Scale of a Moffat profile of exponent 1.5, in FWHM.
_WING_RADIUS = 0.652
_N_WINGS = 24
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
def profiles_behind(beta: float | None, wings: float = 0.0) -> Profiles:
    """Sersic profiles behind a Moffat PSF of this exponent, or a Gaussian for None.

    Parameters
    ----------
    beta : float or None
        Exponent of the core.
    wings : float
        Share of the light in a Moffat profile of exponent 1.5 and the same FWHM, which is missing from within a radius
        as ``1 / radius``: so is the light of a diffraction pattern.

    Notes
    -----
    All are written as sums of Gaussians (Hogg & Lang 2013), whose convolution adds their variances.
    """
    sizes = _SMALLEST * _STEP ** np.arange(_N_SIZES)
    psf, psf_weight = _moffat(beta)
    if wings:
        wide, wide_weight = _wings()
        psf, psf_weight = np.append(psf, wide), np.append((1 - wings) * psf_weight, wings * wide_weight)
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
    return _decompose(radii, within, _SERSIC_SIGMAS)


def _moffat(beta: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations, in units of the FWHM, and weights of the Gaussians of a Moffat profile."""
    if beta is None:
        return np.array([_SIGMA_OF_FWHM]), np.ones(1)
    core = 0.5 / np.sqrt(2 ** (1 / beta) - 1)
    radii = np.geomspace(0.05, 20, 200)
    return _decompose(radii, 1 - (1 + (radii / core) ** 2) ** (1 - beta), _MOFFAT_SIGMAS)


def _wings() -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations, in units of the FWHM, and weights of the Gaussians of a Moffat profile of exponent 1.5."""
    # Its light is that of Gaussians whose 1 / sigma^2 has a gamma distribution of shape 0.5: as many of equal light.
    middle = (np.arange(_N_WINGS) + 0.5) / _N_WINGS
    return _WING_RADIUS / np.sqrt(2 * gammaincinv(0.5, middle)), np.full(_N_WINGS, 1 / _N_WINGS)


def _decompose(radii: np.ndarray, within: np.ndarray, sigmas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians whose curves of growth add up to one that is given, and to all of the light."""
    from scipy.optimize import nnls

    basis = np.vstack([1 - np.exp(-0.5 * (radii[:, None] / sigmas) ** 2), np.full(len(sigmas), _WHOLE)])
    weights, _ = nnls(basis, np.append(within, _WHOLE), maxiter=5000)
    # Each Gaussian fewer saves time, and those left out hold 1e-4 of the light each, or less.
    used = weights > 1e-4
    return sigmas[used], weights[used] / weights[used].sum()


# The numbers below were chosen with tests/benchmarks/photometry.py, on other seeds than those of the tables in the
# docs.
# A Gaussian, and a Moffat profile of exponent 3: PSFs lie between.
_PSF_SHAPES = ((None, 0.0), (3.0, 0.0))
# Those of space telescopes, whose light is spread by diffraction: HST's and NIRCam's hold 0.4 to 0.9 in such wings.
_SPACE_SHAPES = ((None, 0.0), (None, 0.2), (None, 0.4))
# Point sources: share of the light within radii in FWHM, the mean of WFC3, ACS and NIRCam as morpheus_lite.simulation
# draws them, FWHM over the half-light radius that is seen, and how much cameras differ, of what is missing.
_STARS_FROM_SPACE = (
    (0.0, 0.6, 1.0, 1.3, 1.8, 2.4, 3.5, 4.7, 7.0, 10.0, 20.0),
    (0.01, 0.43, 0.67, 0.765, 0.85, 0.885, 0.917, 0.937, 0.958, 0.97, 0.985),
)
_FWHM_OF_STARS = 1.48
_DOUBT_OF_STARS = 0.2
STAR_REACH = 1.5
"""As far as the light of a point source is looked at, in Kron radii."""
# Strength of the wings before the light beyond the Kron ellipse is seen, and at most.
_USUAL_WINGS, _SPREAD_OF_WINGS, _STRONGEST_WINGS = 0.5, 0.5, 1.1
_SPACE_BANDS = re.compile(r"F\d{3,4}[A-Z]+\d?(-.*)?")
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


def is_from_space(bands: Sequence[str]) -> bool:
    """Tell whether all bands are filters of HST or JWST, by their names.

    Examples
    --------
    >>> is_from_space(["F160W", "F606W"]), is_from_space(["F444W"]), is_from_space(["DECAM-Z", "F160W"])
    (True, True, False)
    """
    return all(_SPACE_BANDS.fullmatch(band) for band in bands)


def correct_to_total(
    sources: Sequence[AnnularProfile | None],
    psf_fwhm: float | None,
    *,
    from_space: bool = False,
) -> list[ApertureCorrection]:
    """Share of each source's light outside of its Kron ellipse.

    Parameters
    ----------
    sources : sequence of (AnnularProfile or None)
        Light of the sources.
    psf_fwhm : float or None
        FWHM of the PSF in pixels; None tries widths up to that of the source.
    from_space : bool
        Whether the PSF is a diffraction pattern, with the wings of one.

    Returns
    -------
    list of ApertureCorrection
        NaN where there are no rings. Each depends on its own rings alone.

    Notes
    -----
    Light in ten elliptical rings out to 1.5 Kron ellipses is compared with Sersic profiles (n 0.5 to 5.6, sizes 0.12 to
    2.5 times the half-light radius that is seen) behind Gaussian and Moffat PSFs, or those of a
    space telescope. The factor is one over the mean share inside of the Kron ellipse, each profile weighing by its
    likelihood; its error holds the spread of the shares, a share of the correction, and a floor for the pixels that the
    ellipse cuts.
    """
    found = [ApertureCorrection()] * len(sources)
    known = [k for k, rings in enumerate(sources) if rings is not None]
    for first in range(0, len(known), _AT_ONCE):
        some = known[first : first + _AT_ONCE]
        share, weight = _shares([rings for k in some if (rings := sources[k]) is not None], psf_fwhm, from_space)
        mean = (weight * share).sum(axis=1)
        spread = np.sqrt((weight * (share - mean[:, None]) ** 2).sum(axis=1)) / mean**2
        factor = 1 / mean
        error = np.sqrt(spread**2 + _FLOOR**2 + (_DOUBT * (factor - 1)) ** 2)
        for k, *values in zip(some, factor.tolist(), error.tolist(), strict=True):
            found[k] = ApertureCorrection(*values)
    return found


def correct_point_source(kron: float, half_light_radius: float, beyond: float, error: float) -> ApertureCorrection:
    """Correction of a point source seen by a space telescope, as far as it shows the wings of a diffraction pattern.

    Parameters
    ----------
    kron : float
        Radius of the Kron ellipse in pixels, that of a circle of the same area.
    half_light_radius : float
        Circle with half of the Kron flux, in pixels.
    beyond, error : float
        Light between this and `STAR_REACH` times the radius, as a share of that within, and its noise.

    Notes
    -----
    The light beyond, compared with that of a diffraction pattern of this size, tells how strong the wings are: 0 for
    none, 1 for those of HST and JWST. Where noise hides it, a half is assumed, and the error says so.
    """
    distance = kron / (_FWHM_OF_STARS * half_light_radius)
    inside, reached = (float(share) for share in np.interp((distance, STAR_REACH * distance), *_STARS_FROM_SPACE))
    expected = (reached - inside) / inside
    precision = (expected / error) ** 2 if error > 0 else 0.0
    before = 1 / _SPREAD_OF_WINGS**2
    strength = (beyond / expected * precision + _USUAL_WINGS * before) / (precision + before)
    missing = min(max(strength, 0.0), _STRONGEST_WINGS) * (1 - inside)
    doubt = math.hypot((1 - inside) / math.sqrt(precision + before), _DOUBT_OF_STARS * missing)
    return ApertureCorrection(1 / (1 - missing), math.hypot(doubt, _FLOOR))


def _shares(sources: list[AnnularProfile], psf_fwhm: float | None, from_space: bool) -> tuple[np.ndarray, np.ndarray]:
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
    for shape in _SPACE_SHAPES if from_space else _PSF_SHAPES:
        profiles = profiles_behind(*shape)
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
