"""The PSF of an image, measured on its stars: those sources that are as sharp as one another, however bright.

It is measured once for the whole image, in windows that its shape alone decides, so every piece of it has the same.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from morpheus_lite.core.protocols import ImageReader
from morpheus_lite.core.psf import FWHM_PER_SIGMA, GAUSSIAN, MoffatPsf, moffat_radius
from morpheus_lite.core.windows import Window, even_windows
from morpheus_lite.errors import InputError
from morpheus_lite.noise.background_mesh import BackgroundMesh, normalize
from morpheus_lite.runtime.resources import thread_map

_WHOLE = 1024  # side of the largest image that is looked at as a whole
_CELL, _N_CELLS = 352, 3
_BRIGHT = 20.0  # S/N of the pixel at the peak
_BRIGHTER = 100.0  # where there are enough such stars: an error of the sky makes fainter ones narrow
_N_CANDIDATES = 100
_HALF = 16  # of the stamps, in pixels: 33 px per side
_NEAR = 7  # pixels around a peak in which nothing is brighter
_WIDEST = 6.0  # sigma that a stamp is large enough for
_SHARPEST = 0.3  # sigma of a hot pixel, at most
_ROUND = 0.25  # ellipticity of stars, at most: (a^2 - b^2) / (a^2 + b^2)
_SAMPLED = 0.9  # sigma from which on the pixels do not tell in the shape
_SPREAD = 1.1  # how much wider than the sharpest the stars may be: PSFs change over a field
_FEWEST = 5
_DENSER = 2.5  # how many times as many stars there are as sources that are wider by one more such step
_SHARPER = 0.1  # of the stars: so many sources may be sharper still, or one
_N_FITTED = 10
_LEAST_BETA = 1.5  # index of the wings: PSFs have 1.7 and more, a crowd of concentrated galaxies less
_CORE_ERROR = 0.03  # of the light: PSFs are no Moffat profiles
_SUBPIXELS = (np.arange(3) - 1) / 3
_N_STEPS = 15
_OF_MODEL = 1e3  # S/N of the peak of a model: brighter, the rings of a diffraction pattern count for more than its core


def psf_windows(shape: tuple[int, int]) -> tuple[Window, ...]:
    """Choose the windows in which the PSF of an image is measured; they depend on its shape alone.

    Images of up to 1024 px per side as a whole; of larger ones 352 px per side nine times, evenly spread.
    """
    if max(shape) <= _WHOLE:
        return (Window(0, 0, *shape),)
    return even_windows(shape, _CELL, (_N_CELLS, _N_CELLS))


def measure_psf(image: ImageReader, noise: BackgroundMesh) -> tuple[MoffatPsf, ...]:
    """Measure the PSF of every band of an image.

    Parameters
    ----------
    image : ImageReader
        The image, read in the windows of `psf_windows`.
    noise : BackgroundMesh
        Of the whole image, in its bands.

    Returns
    -------
    tuple of MoffatPsf
        One per band.

    Notes
    -----
    Peaks of S/N 20 and up, smooth and not beside invalid pixels, have their widths measured by adaptive moments. The
    stars are the sharpest round sources, if five or more are within 10 % of one width and few are a little wider, as
    galaxies would be; FWHM and index are those of the Moffat profile, summed over pixels, that fits the brightest 10 of
    them best. Without such stars the width of the sharpest sources is an upper limit.
    """

    def seen(window: Window) -> tuple[np.ndarray, np.ndarray]:
        return normalize(image.read(window), noise, window=window)

    return psf_of_pieces(thread_map(seen, psf_windows(image.shape)), noise.sigma.shape[2])


def with_psf(
    noise: BackgroundMesh, image: ImageReader, given: Sequence[MoffatPsf | None] | None = None
) -> BackgroundMesh:
    """The noise of an image with the PSF of every band: the one that is given, or else measured."""
    given = given or (None,) * noise.sigma.shape[2]
    measured = measure_psf(image, noise) if any(one is None for one in given) else given
    psf = (new or old for new, old in zip(given, measured, strict=True))
    return replace(noise, psf=tuple(one or MoffatPsf() for one in psf))


def psf_of_pieces(pieces: Iterable[tuple[np.ndarray, np.ndarray]], n_bands: int) -> tuple[MoffatPsf, ...]:
    """The PSF of every band, from S/N and validity ``(y, x, band)`` of pieces of an image."""
    return tuple(_psf(stamps) for stamps in _of_bands(((*piece, None) for piece in pieces), n_bands))


def star_profiles(pieces: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], n_bands: int) -> tuple[MoffatPsf, ...]:
    """The PSF of the stars in every band.

    Parameters
    ----------
    pieces : iterable of (numpy.ndarray, numpy.ndarray, numpy.ndarray)
        S/N and validity ``(y, x, band)`` of pieces of an image, and bool ``(y, x)``: what a network calls point
        sources.
    n_bands : int
        How many bands.

    Returns
    -------
    tuple of MoffatPsf
        Of the stars of `measure_psf`, or where these are too few, of the sharpest of the point sources.
    """
    return tuple(_star_profile(stamps) for stamps in _of_bands(pieces, n_bands))


def psf_of_star(light: np.ndarray) -> MoffatPsf:
    """The PSF of an image ``(y, x)`` of one star without sky, or of a model of the PSF.

    Raises
    ------
    InputError
        There is no star in it.
    """
    light = np.where(np.isfinite(light), light, 0).astype(np.float64)
    for factor in (1, 3, 9):
        side = [length // factor * factor for length in light.shape]
        binned = light[: side[0], : side[1]].reshape(side[0] // factor, factor, side[1] // factor, factor).sum((1, 3))
        if not binned.size or not binned.max() > 0:
            break
        y, x = np.unravel_index(binned.argmax(), binned.shape)
        stamp = np.pad(binned, _HALF, constant_values=np.nan)[y : y + 2 * _HALF + 1, x : x + 2 * _HALF + 1]
        # As bright as a star whose noise does not count.
        stamp = stamp / binned.max() * _OF_MODEL
        places, sigma, _ = _adaptive_moments(stamp[None])
        if _SHARPEST < sigma[0] < _WIDEST:
            fwhm, beta = _fit_moffat(stamp[None], places, float(sigma[0]))
            return MoffatPsf(factor * fwhm, beta, origin="given")
    raise InputError("expected the image of one star")


@dataclass(frozen=True, eq=False)
class _Stamps:
    """Bright peaks: light around them, its scatter being 1, NaN where not valid; that of the peak; and chosen ones."""

    light: np.ndarray
    peak: np.ndarray
    chosen: np.ndarray

    @classmethod
    def joined(cls, parts: list["_Stamps"]) -> "_Stamps":
        light, peak, chosen = (
            np.concatenate([getattr(p, name) for p in parts]) for name in ("light", "peak", "chosen")
        )
        # Stable, so that equal peaks are always taken in the same order.
        brightest = np.argsort(-peak, kind="stable")[:_N_CANDIDATES]
        return cls(light[brightest], peak[brightest], chosen[brightest])


def _of_bands(pieces: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | None]], n_bands: int) -> Iterator[_Stamps]:
    """Brightest peaks of every band in pieces of S/N, validity and chosen pixels, as `_candidates` takes them."""

    def stamps(piece: tuple[np.ndarray, np.ndarray, np.ndarray | None]) -> list[_Stamps]:
        snr, valid, chosen = piece
        return [_candidates(snr[..., band], valid[..., band], chosen) for band in range(n_bands)]

    # While a piece is read, peaks of those before are looked for.
    return map(_Stamps.joined, map(list, zip(*thread_map(stamps, pieces), strict=True)))


def _candidates(snr: np.ndarray, valid: np.ndarray, chosen: np.ndarray | None = None) -> _Stamps:
    """Peaks of one band in one piece, the brightest first, and which of them lie on chosen pixels ``(y, x)``."""
    light = np.where(valid, snr, np.float32(0))
    y, x = _peaks(light)
    inner = (np.minimum(y, x) > 2) & (y < light.shape[0] - 3) & (x < light.shape[1] - 3)
    y, x = y[inner], x[inner]
    order = np.argsort(-light[y, x], kind="stable")
    padded = np.pad(np.where(valid, snr, np.float32(np.nan)), _HALF, constant_values=np.nan)
    kept: list[np.ndarray] = []
    on_chosen: list[bool] = []
    for k in order:
        if len(kept) == _N_CANDIDATES:
            break
        stamp = padded[y[k] : y[k] + 2 * _HALF + 1, x[k] : x[k] + 2 * _HALF + 1]
        if np.isfinite(stamp[_HALF - 3 : _HALF + 4, _HALF - 3 : _HALF + 4]).all() and _is_smooth(stamp):
            kept.append(stamp.astype(np.float64))
            on_chosen.append(chosen is not None and bool(chosen[y[k], x[k]]))
    stamps = np.array(kept).reshape(-1, 2 * _HALF + 1, 2 * _HALF + 1)
    return _Stamps(stamps, stamps[:, _HALF, _HALF], np.array(on_chosen, dtype=bool))


def _peaks(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of bright pixels than which none within `_NEAR` rows and columns is brighter."""
    y, x = np.nonzero(light > _BRIGHT)
    rows = np.lib.stride_tricks.sliding_window_view(
        np.pad(light, _NEAR, constant_values=-np.inf), 2 * _NEAR + 1, axis=1
    )
    for down in sorted(range(-_NEAR, _NEAR + 1), key=abs):  # their own row leaves few
        highest = rows[y + down + _NEAR, x].max(axis=1) <= light[y, x]
        y, x = y[highest], x[highest]
    return y, x


def _is_smooth(stamp: np.ndarray) -> bool:
    """True if a peak's neighbours share its light, as those of a hot pixel or a cosmic ray do not."""
    middle = stamp[_HALF - 1 : _HALF + 2, _HALF - 1 : _HALF + 2]
    around = middle[[0, 2, 1, 1], [1, 1, 0, 2]]
    return bool(around.mean() > 0.15 * middle[1, 1] and around.min() > 0.03 * middle[1, 1])


def _star_profile(stamps: _Stamps) -> MoffatPsf:
    places, sigma, _, usable = _measured(stamps)
    stars = _stars(stamps, sigma, usable)
    if not len(stars):
        stars = np.flatnonzero(usable & stamps.chosen & (stamps.peak > _BRIGHT))
        stars = stars[_sharpest(sigma[stars])]
    return _moffat_of(stamps, places, sigma, stars) if len(stars) else MoffatPsf()


def _sharpest(widths: np.ndarray) -> np.ndarray:
    """Mask of the sharpest sources of one width; a single one that is sharper than several others is none."""
    order = np.sort(widths)
    count = np.searchsorted(order, order * _SPREAD, side="right") - np.arange(len(order))
    first = order[int(len(order) > 3 and count[0] == 1 and count[1] > 2)] if len(order) else np.inf
    return (widths >= first) & (widths <= _SPREAD * first)


def _measured(stamps: _Stamps) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places and widths of sources, which of them are measured, and which of these are as round as stars."""
    places, sigma, ellipticity = _adaptive_moments(stamps.light)
    good = np.isfinite(sigma) & (sigma > _SHARPEST) & (sigma < _WIDEST)
    good &= np.hypot(*places.T) < _NEAR / 2
    # Of a star narrower than its pixels the shape is that of the pixels.
    return places, sigma, good, good & (ellipticity < _ROUND * np.maximum(1, (_SAMPLED / sigma) ** 2))


def _stars(stamps: _Stamps, sigma: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Indices of the sharpest crowd of sources, of bright ones if there are enough."""
    for least in (_BRIGHTER, _BRIGHT):
        bright = np.flatnonzero(usable & (stamps.peak > least))
        stars = bright[_crowd(sigma[bright])]
        if len(stars):
            break
    return stars


def _psf(stamps: _Stamps) -> MoffatPsf:
    places, sigma, good, usable = _measured(stamps)
    stars = _stars(stamps, sigma, usable)
    psf = _moffat_of(stamps, places, sigma, stars) if len(stars) else MoffatPsf()
    if psf.is_known or np.count_nonzero(good) < _FEWEST:
        return psf
    sharp = float(np.percentile(sigma[good], 15))
    return MoffatPsf(float(FWHM_PER_SIGMA * np.sqrt(max(sharp**2 - 1 / 12, 0.01))), origin="sources")


def _moffat_of(stamps: _Stamps, places: np.ndarray, sigma: np.ndarray, stars: np.ndarray) -> MoffatPsf:
    """The PSF that fits the brightest of some stars, and the spread of all; unknown if they look like galaxies."""
    fitted = stars[:_N_FITTED]
    fwhm, beta = _fit_moffat(stamps.light[fitted], places[fitted], float(np.median(sigma[stars])))
    if beta < _LEAST_BETA:
        return MoffatPsf()
    psf = MoffatPsf(fwhm, beta, len(stars), "stars")
    half = min(spread_reach(psf), _HALF)
    middle = slice(_HALF - half, _HALF + half + 1)
    light = stamps.light[stars, middle, middle]
    seen = np.isfinite(light)
    excess, flux, _ = excess_light(np.where(seen, light, 0), np.ones(light.shape), seen, places[stars], psf)
    spreads = excess[flux > 0] / flux[flux > 0]
    return replace(psf, spread=float(np.median(spreads)) if len(spreads) else math.nan)


def _crowd(widths: np.ndarray) -> np.ndarray:
    """Mask of the sharpest crowd of sources of one width."""
    order = np.sort(widths)
    sharper = np.arange(len(order))
    count = np.searchsorted(order, order * _SPREAD, side="right") - sharper
    beyond = np.searchsorted(order, order * _SPREAD**2, side="right") - sharper - count
    # Galaxies have all widths, from that of the PSF up: no crowd of theirs ends as suddenly as that of the stars.
    is_crowd = (count >= _FEWEST) & (count >= _DENSER * beyond) & (sharper <= np.maximum(_SHARPER * count, 1))
    if not is_crowd.any():
        return np.zeros(len(widths), dtype=bool)
    first = order[is_crowd.argmax()]
    return (widths >= first) & (widths <= first * _SPREAD)


def _adaptive_moments(light: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places from the centre (y, x), widths (sigma, NaN where there is none) and ellipticities of sources in stamps.

    Notes
    -----
    Second moments weighted with the Gaussian that has these moments (Bernstein & Jarvis 2002), for which they are
    those of the source; of a Moffat profile it sees the core.
    """
    n, half = len(light), light.shape[1] // 2
    values = np.nan_to_num(light)
    offset = np.arange(-half, half + 1.0)
    y, x = offset[:, None], offset[None, :]
    place = np.zeros((n, 2))
    covariance = np.broadcast_to(np.eye(2) * 1.5**2, (n, 2, 2)).copy()
    alive = np.ones(n, dtype=bool)
    for _ in range(_N_STEPS):
        inverse = np.linalg.inv(covariance)
        dy, dx = y - place[:, 0, None, None], x - place[:, 1, None, None]
        yy, yx, xx = (inverse[:, i, j, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))
        weighted = values * np.exp(-0.5 * (yy * dy * dy + 2 * yx * dy * dx + xx * dx * dx))
        total = weighted.sum(axis=(1, 2))
        alive &= total > 0
        scale = np.where(alive, total, 1)[:, None, None]
        weighted /= scale
        # Moments along one axis need the sums over the other only.
        down, right = dy[:, :, 0], dx[:, 0, :]
        rows, columns, across = weighted.sum(axis=2), weighted.sum(axis=1), (weighted * dx).sum(axis=2)
        shift = np.stack([(rows * down).sum(axis=1), (columns * right).sum(axis=1)], axis=1)
        moments = np.empty((n, 2, 2))
        for i, j, product in ((0, 0, rows * down**2), (0, 1, across * down), (1, 1, columns * right**2)):
            moments[:, i, j] = moments[:, j, i] = product.sum(axis=1) - shift[:, i] * shift[:, j]
        # A Gaussian seen through itself has half of its moments.
        eigenvalues = np.linalg.eigvalsh(moments)
        alive &= (eigenvalues[:, 0] > 0.01) & (eigenvalues[:, 1] < half**2) & (np.abs(place).max(axis=1) < half)
        place[alive] += 2 * shift[alive]
        covariance[alive] = 2 * moments[alive]
    trace, determinant = covariance[:, 0, 0] + covariance[:, 1, 1], np.linalg.det(covariance)
    ellipticity = np.sqrt(np.maximum(1 - 4 * determinant / np.maximum(trace, 1e-9) ** 2, 0))
    return place, np.where(alive, np.maximum(determinant, 0) ** 0.25, np.nan), ellipticity


def _fit_moffat(light: np.ndarray, places: np.ndarray, sigma: float) -> tuple[float, float]:
    """FWHM and index of the Moffat profile, summed over pixels, of stars in stamps."""
    from scipy.optimize import least_squares  # half a second to import

    half = int(np.clip(np.ceil(3.5 * FWHM_PER_SIGMA * sigma), 6, _HALF))
    middle = slice(_HALF - half, _HALF + half + 1)
    light = light[:, middle, middle]
    offset = np.arange(-half, half + 1.0)
    known = np.isfinite(light)
    values = np.where(known, light, 0)
    weights = known / np.sqrt(1 + (_CORE_ERROR * values) ** 2)
    squares = [
        (offset[:, None] + dy - places[:, 0, None, None]) ** 2 + (offset + dx - places[:, 1, None, None]) ** 2
        for dy in _SUBPIXELS
        for dx in _SUBPIXELS
    ]

    def misses(parameters: np.ndarray) -> np.ndarray:
        fwhm, beta = np.exp(parameters[0]), 1 + np.exp(parameters[1])
        radius = moffat_radius(fwhm, beta)
        model = sum(np.exp(-beta * np.log1p(square / radius**2)) for square in squares) / len(squares)
        return np.concatenate([_best_scaled(*star) for star in zip(values, model, weights, strict=True)], axis=None)

    start = np.log([max(FWHM_PER_SIGMA * sigma * 0.95, 0.8), 2.0])
    bounds = np.log([[0.5, 0.1], [2 * half, GAUSSIAN - 1]])
    start = np.clip(start, bounds[0] + 1e-3, bounds[1] - 1e-3)
    found = least_squares(misses, start, bounds=bounds, loss="soft_l1", f_scale=3.0, max_nfev=30)
    return float(np.exp(found.x[0])), float(1 + np.exp(found.x[1]))


def _best_scaled(values: np.ndarray, model: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Residuals of a star, over their errors, from the model with the flux and the level of sky that fit best."""
    m, v = (model * weights).ravel(), (values * weights).ravel()
    basis = np.stack([m, weights.ravel()], axis=1)
    factors = np.linalg.solve(basis.T @ basis + 1e-12 * np.eye(2), basis.T @ v)
    return v - basis @ factors


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
    star, curvature, wider = _shapes(psf, light.shape[1] // 2, away)
    weighted = star * used
    flux, power = _sums(weighted, light), np.maximum(_sums(weighted, star), 1e-30)
    # What a star has is taken off: its curvature.
    usual = _sums(weighted, curvature) / power
    kernel = used * 1.5 * (_DISK * psf.fwhm) ** 2 * (curvature - usual[:, None, None] * star)
    off = _PSF_ERROR * _sums(kernel, wider) / power
    flux = np.where(power >= _LEAST_SEEN * _sums(star, star), np.maximum(flux, 0), 0)
    total = factor**2 * _sums(kernel * kernel, variance) + (off * flux) ** 2
    return _sums(kernel, light), flux, np.where(total > 0, total, np.inf)


def _shapes(psf: MoffatPsf, half: int, away: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
