"""Total light: how much of a source lies outside of its Kron ellipse, from the shape of its curve of growth."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import gammainc, gammaincinv

from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.psf import MoffatPsf, usual_psf
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.runtime.resources import thread_map

SERSIC_INDICES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
"""Indices of the profiles that are tried."""

_SIGMA_OF_FWHM = 1 / 2.35482
# Variance of a pixel's width: pixels blur as a Gaussian of this variance would.
_PIXEL = 1 / 12
PIXEL_FWHM = math.sqrt(_PIXEL) / _SIGMA_OF_FWHM
"""FWHM of such a Gaussian in pixels."""
# Ratio of neighbouring sizes. Twice as long steps put the total fluxes of bright sources off by up to 3 %.
_STEP = 1.105
_SMALLEST, _N_SIZES = 0.05, 83
SIZES = _SMALLEST * _STEP ** np.arange(_N_SIZES)
"""Half-light radii of the profiles before the PSF, in units of its FWHM."""
RADII = np.geomspace(0.1, 300, 81)
"""At which their curves of growth are known, in the same units."""
_SERSIC_SIGMAS = np.geomspace(0.03, 40, 14)
_MOFFAT_SIGMAS = np.geomspace(0.2, 8, 8)
# Scale of a Moffat profile of exponent 1.5, in FWHM.
_WING_RADIUS = 0.652
_N_WINGS = 24
# Weight of the condition that the Gaussians add up to all of the light.
_WHOLE = 30.0


@cache
def profiles_behind(beta: float | None, wings: float = 0.0) -> np.ndarray:
    """Curves of growth of Sersic profiles behind a Moffat PSF of unit FWHM and this exponent, or a Gaussian for None.

    Parameters
    ----------
    beta : float or None
        Exponent of the core.
    wings : float
        Share of the light in a Moffat profile of exponent 1.5 and the same FWHM, which is missing from within a radius
        as ``1 / radius``: so is the light of a diffraction pattern.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(radius, 2 * size * index)``: share of the light within each of `RADII`, of profiles of `SIZES`
        and `SERSIC_INDICES`; after the largest size, it is repeated.

    Notes
    -----
    All are written as sums of Gaussians (Hogg & Lang 2013), whose convolution adds their variances.
    """
    psf, psf_weight = _moffat(beta)
    if wings:
        wide, wide_weight = _wings()
        psf, psf_weight = np.append(psf, wide), np.append((1 - wings) * psf_weight, wings * wide_weight)
    shares = np.empty((len(RADII), 2 * len(SIZES), len(SERSIC_INDICES)))
    for k, index in enumerate(SERSIC_INDICES):
        sigma, weight = _sersic(index)
        both = np.outer(weight, psf_weight).ravel()
        for m, size in enumerate(SIZES):
            variance = np.add.outer((size * sigma) ** 2, psf**2).ravel()
            shares[:, m, k] = both @ (1 - np.exp(-0.5 * RADII**2 / variance[:, None]))
    shares[:, len(SIZES) :] = shares[:, [len(SIZES) - 1]]
    return shares.reshape(len(RADII), -1)


def effective_fwhm(fwhm: np.ndarray, axis_ratio: np.ndarray) -> np.ndarray:
    """FWHM in pixels, as it acts on ellipses of an axis ratio whose area is kept, pixels included: shape of both."""
    return np.hypot(fwhm, PIXEL_FWHM) * np.sqrt((axis_ratio + 1 / axis_ratio) / 2)


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
    radii = np.geomspace(0.05, 20, 200)
    return _decompose(radii, MoffatPsf(1.0, beta).enclosed(radii), _MOFFAT_SIGMAS)


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


@dataclass(frozen=True, eq=False)
class ProfileGrid:
    """Sizes and indices of the profiles in tables, and which of them are tried.

    Parameters
    ----------
    radii : numpy.ndarray
        float64, shape ``(radius,)``: of the rows of the tables, in FWHM, evenly spaced in the logarithm.
    smallest, step : float
        Smallest size in the tables, in FWHM, and the logarithm of the ratio of neighbours.
    n_sizes : int
        Sizes in the tables. A table has shape ``(radius, 2 * size * index)``; the largest size is repeated.
    tried : float
        Smallest size that is tried, in half-light radii that are seen.
    log_prior : numpy.ndarray
        float64, shape ``(size, index)``: of the profiles that are tried.
    """

    radii: np.ndarray
    smallest: float
    step: float
    n_sizes: int
    tried: float
    log_prior: np.ndarray


# The numbers below were chosen with tests/benchmarks/photometry.py, on other seeds than those of the tables in the
# docs.
# A Gaussian, and a Moffat profile of exponent 3: PSFs lie between.
_PSF_SHAPES = ((None, 0.0), (3.0, 0.0))
# Those of space telescopes, whose light is spread by diffraction: HST's and NIRCam's hold 0.4 to 0.9 in such wings.
_SPACE_SHAPES = ((None, 0.0), (None, 0.2), (None, 0.4))
# Logarithm of how much less likely it is that there are none.
_NO_WINGS = -2.0
# Indices of PSFs that are known, to the nearest of which the profiles are those of the tables.
_BETAS = (1.75, 2.0, 2.4, 2.9, 3.5, 4.5, 7.0)
# Point sources: share of the light within radii in FWHM, the mean of WFC3, ACS and NIRCam as morpheus_lite.simulation
# draws them, and how much cameras differ, of what is missing.
_STARS_FROM_SPACE = (
    (0.0, 0.6, 1.0, 1.3, 1.8, 2.4, 3.5, 4.7, 7.0, 10.0, 20.0),
    (0.01, 0.43, 0.67, 0.765, 0.85, 0.885, 0.917, 0.937, 0.958, 0.97, 0.985),
)
FWHM_OF_STARS = 1.48
"""FWHM of point sources over the half-light radius that is seen."""
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
# Of the correction: errors of what lies beyond the rings. The first is behind a PSF that is given, or that of a space
# telescope, whose wings are tried; the second behind one that is measured on stars, or not known, whose wings may be
# wider than any Moffat profile. The pulls of total fluxes are about 0.85 to 1.2 wide (docs/reference/catalogue.md).
_DOUBT, _DOUBT_OF_WINGS = 0.15, 0.5
# Error from pixels that the ellipse cuts, which no profile knows of.
_FLOOR = 0.003
# Prior: each step of 1 in the index above 1 is less likely by exp(-0.35). At low S/N the wings cannot be seen, and
# without it every faint source would get those of a de Vaucouleurs profile.
_STEEP = 0.35
_SMALL_FWHM = 1.0
_PARTS = np.arange(_N_RINGS) / (_N_RINGS - 1)
# Kron radii at which the profile is told beyond the rings.
_BEYOND = np.array([2.0, 3.0, 5.0, 8.0])
N_RADII = _N_RINGS + len(_BEYOND)
"""Radii at which a fitted profile is told."""
# Sizes that are tried, in half-light radii that are seen.
_TRIED = _SIZES[0] * _STEP ** np.arange(math.ceil(math.log(_SIZES[1] / _SIZES[0]) / math.log(_STEP)))
# Prior of each profile: concentrated ones are rarer, and most are as large as they look.
_LOG_PRIOR = -_STEEP * np.maximum(np.array(SERSIC_INDICES) - 1, 0) - 0.5 * (np.log(_TRIED / 0.8) / 0.7)[:, None] ** 2
_GRID = ProfileGrid(RADII, _SMALLEST, math.log(_STEP), _N_SIZES, _SIZES[0], _LOG_PRIOR)


class ApertureCorrection(NamedTuple):
    """Correction from Kron flux to total flux.

    Parameters
    ----------
    factor, error : float
        Total light over that in the Kron ellipse, and how uncertain it is.
    """

    factor: float
    error: float


def is_from_space(bands: Sequence[str]) -> bool:
    """Tell whether all bands are filters of HST or JWST, by their names.

    Examples
    --------
    >>> is_from_space(["F160W", "F606W"]), is_from_space(["F444W"]), is_from_space(["DECAM-Z", "F160W"])
    (True, True, False)
    """
    return all(_SPACE_BANDS.fullmatch(band) for band in bands)


def doubt_of_correction(psfs: Sequence[MoffatPsf], from_space: bool) -> float:
    """Error of the light beyond the Kron ellipse that the profiles do not tell, as a share of it."""
    known = from_space or all(psf.origin == "given" for psf in psfs)
    return _DOUBT if known else _DOUBT_OF_WINGS


def make_profiles(image: SkyImage, options: MeasureOptions, mesh: BackgroundMesh | None) -> None:
    """Make the curves of growth that sources will be compared with, once for all that come later."""
    from_space = options.psf_fwhm is None and is_from_space(image.bands)
    assumed = assumed_psfs(psfs_of_totals(image, options, mesh), 1.0, from_space)
    shapes = {shape for _, of_bands in assumed for shape, _ in of_bands}
    thread_map(lambda shape: profiles_behind(*shape), shapes)


def growth_extent(radii: np.ndarray, growth: np.ndarray) -> np.ndarray:
    """Radius with 90 % of the light over that with 50 %, of fitted profiles ``(source, N_RADII)``: ``(source,)``."""
    known = np.isfinite(growth).all(axis=1)
    found = np.full(len(growth), np.nan)
    for row in np.flatnonzero(known):
        half, most = np.interp((0.5, 0.9), np.append(0, growth[row]), np.append(0, radii[row]))
        found[row] = most / half
    return found


def correct_moffat(kron: float, psf: MoffatPsf) -> ApertureCorrection:
    """Correction of a point source behind a PSF that is known; ``kron`` is the radius of the Kron ellipse in pixels."""
    wide = MoffatPsf(float(effective_fwhm(np.array(psf.fwhm), np.array(1.0))), psf.beta)
    missing = 1 - float(wide.enclosed(kron))
    return ApertureCorrection(1 / (1 - missing), math.hypot(_DOUBT_OF_STARS * missing, _FLOOR))


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
    distance = kron / (FWHM_OF_STARS * half_light_radius)
    inside, reached = (float(share) for share in np.interp((distance, STAR_REACH * distance), *_STARS_FROM_SPACE))
    expected = (reached - inside) / inside
    precision = (expected / error) ** 2 if error > 0 else 0.0
    before = 1 / _SPREAD_OF_WINGS**2
    seen = beyond * expected / error**2 if error > 0 else 0.0
    strength = (seen + _USUAL_WINGS * before) / (precision + before)
    missing = min(max(strength, 0.0), _STRONGEST_WINGS) * (1 - inside)
    doubt = math.hypot((1 - inside) / math.sqrt(precision + before), _DOUBT_OF_STARS * missing)
    return ApertureCorrection(1 / (1 - missing), math.hypot(doubt, _FLOOR))


_Shape = tuple[float | None, float]


def assumed_psfs(
    psfs: Sequence[MoffatPsf], diameter: float, from_space: bool
) -> list[tuple[float, list[tuple[_Shape, float]]]]:
    """PSFs that are tried: how likely, and of each band, or of all of them, the shape and the FWHM."""
    shapes: Sequence[_Shape] = _SPACE_SHAPES if from_space else _PSF_SHAPES
    priors = [_NO_WINGS if from_space and not wings else 0.0 for _, wings in shapes]
    if not psfs or not all(math.isfinite(psf.fwhm) for psf in psfs):
        return [
            (prior, [(shape, part * diameter)])
            for prior, shape in zip(priors, shapes, strict=True)
            for part in _UNKNOWN_WIDTHS
        ]
    if not from_space and all(math.isfinite(psf.beta) for psf in psfs):
        return [(0.0, [(_shape_of(psf.beta), psf.fwhm) for psf in psfs])]
    return [(prior, [(shape, psf.fwhm) for psf in psfs]) for prior, shape in zip(priors, shapes, strict=True)]


def _shape_of(beta: float) -> _Shape:
    """The nearest of a few indices of which there are tables."""
    return (None if beta > 2 * max(_BETAS) else min(_BETAS, key=lambda known: abs(math.log(known / beta))), 0.0)


def known_psfs(image: SkyImage, options: MeasureOptions, mesh: BackgroundMesh | None) -> tuple[MoffatPsf, ...]:
    """PSF of each band as it is given or measured on stars; `MoffatPsf.is_known` tells where it is neither."""
    if mesh is not None and mesh.psf:
        return mesh.psf
    return tuple(one or MoffatPsf() for one in options.given_psfs(image.bands, image.pixel_scale))


def psfs_of_totals(image: SkyImage, options: MeasureOptions, mesh: BackgroundMesh | None) -> tuple[MoffatPsf, ...]:
    """PSF behind the profiles of total fluxes in each band.

    Returns
    -------
    tuple of MoffatPsf
        ``psf_fwhm`` for all bands, if it is given; else the PSF that is given or measured on stars; else what is usual
        for the filter. A band without any takes the mean width of those that have one; NaN where none has.
    """
    if options.psf_fwhm is not None:
        width = options.psf_fwhm_in_pixels(image.pixel_scale)
        return (MoffatPsf(float(width or "nan"), origin="given"),) * image.n_bands
    found = [
        psf if psf.is_known else usual_psf(band, image.pixel_scale)
        for band, psf in zip(image.bands, known_psfs(image, options, mesh), strict=True)
    ]
    widths = [psf.fwhm for psf in found if psf.origin != "unknown"]
    mean = sum(widths) / len(widths) if widths else float("nan")
    return tuple(replace(psf, fwhm=mean) if psf.origin == "unknown" else psf for psf in found)
