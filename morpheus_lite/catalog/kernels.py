"""The loops over the pixels of one source, in C where the package was built with a compiler, and in NumPy.

`measure_stamp` of _kernels.c calls the loops of a whole row: functions here without a call are what they do, in NumPy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.special import erf

from morpheus_lite.core.loops import call_loop, load_loops
from morpheus_lite.noise.detection_image import summed

_SIGNATURES = {
    "overlap": "iidddddp",
    "growth": "ippdiipp",
    "exact_growth": "iipdddipp",
    "weighted_sums": "iiipppippppp",
    "fit_profiles": "iippppippipdpiiiipdddppp",
    "best_centre": "iippp",
    "windowed": "iippddppp",
    "without_noise": "ippppid",
    "distances": "iiddddddp",
    "open_stamp": "iiipipppppp",
    "fill_stamp": "iiippippipddpppp",
    "gini_and_m20": "iipppdddpp",
    "measure_stamp": "ppiiippipipppppppdppp",
}


compiled = load_loops("morpheus_lite.catalog._kernels", _SIGNATURES, give_numbers=("best_centre", "without_noise"))
"""The compiled loops; None where the package was built without a compiler, and NumPy does the work."""


def _doubles(*arrays: np.ndarray) -> list[np.ndarray]:
    return [np.ascontiguousarray(one, dtype=np.float64) for one in arrays]


def call_kernel(name: str, *arguments: Any) -> Any:
    """Call a compiled loop; arrays are C-contiguous, of the types that it takes."""
    return call_loop(compiled, name, *arguments)


def ellipse_overlap(
    shape: tuple[int, int], centre: tuple[float, float], a: float, b: float, theta: float = 0.0
) -> np.ndarray:
    """Share of each pixel inside an ellipse.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image in pixels.
    centre : (float, float)
        Row and column of the centre, in pixels.
    a, b : float
        Semi-axes in pixels.
    theta : float
        Axis ``a``, counter-clockwise from the x axis, in radians.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(y, x)``.

    Examples
    --------
    >>> float(ellipse_overlap((9, 9), (4.0, 4.0), 3.0, 3.0).sum().round(9))
    28.274333882
    """
    if compiled is not None:
        share = np.empty(shape)
        call_kernel("overlap", *shape, *centre, a, b, theta, share)
        return share
    from photutils.geometry import circular_overlap_grid, elliptical_overlap_grid

    bottom, left = -0.5 - centre[0], -0.5 - centre[1]
    grid = left, left + shape[1], bottom, bottom + shape[0], *shape[::-1]
    return circular_overlap_grid(*grid, a, 1, 1) if a == b else elliptical_overlap_grid(*grid, a, b, theta, 1, 1)


def growth(
    light: np.ndarray, distance: np.ndarray, step: float, half: int, n_radii: int
) -> tuple[np.ndarray, np.ndarray]:
    """Light and pixels within radii ``step`` apart from 0 on, ``half`` steps being half a pixel.

    A pixel is inside by the part of its radial extent that is.
    """
    if compiled is not None:
        light, distance = _doubles(light, distance)
        flux, area = np.empty((2, n_radii))
        call_kernel("growth", light.size, light, distance, step, half, n_radii, flux, area)
        return flux, area
    order = np.argsort(distance, axis=None)
    away, values = distance.ravel()[order], light.ravel()[order]
    sums = np.cumsum(np.pad([values, np.ones_like(values), values * away, away], ((0, 0), (1, 0))), axis=1)
    radii = np.arange(n_radii) * step
    # Wholly within is what lies half a pixel inside of the circle; what lies half a pixel outside is not within.
    whole, reached = (sums[:, np.searchsorted(away, radii + edge, side="right")] for edge in (-0.5, 0.5))
    partly = reached - whole
    within = whole[:2] + (radii + 0.5) * partly[:2] - partly[2:]
    within[:, 0] = 0.0
    return within[0], within[1]


def exact_growth(light: np.ndarray, y: float, x: float, step: float, n_radii: int) -> tuple[np.ndarray, np.ndarray]:
    """Light and pixels within small circles, ``step`` apart from ``step`` on."""
    if compiled is not None:
        (light,), (flux, area) = _doubles(light), np.empty((2, n_radii))
        call_kernel("exact_growth", *light.shape, light, y, x, step, n_radii, flux, area)
        return flux, area
    shares = [ellipse_overlap(light.shape, (y, x), radius, radius) for radius in step * np.arange(1, n_radii + 1)]
    return np.array([(share * light).sum() for share in shares]), np.array([share.sum() for share in shares])


def weighted_sums(
    weights: np.ndarray, light: np.ndarray, variance: np.ndarray, there: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sums of light under weights, of its variance under their squares, and of weights.

    Parameters
    ----------
    weights : numpy.ndarray
        float64, shape ``(aperture, y, x)``.
    light, variance : numpy.ndarray
        float64, shape ``(y, x, band)``.
    there : numpy.ndarray
        bool, shape ``(y, x, band)``: where there is light.

    Returns
    -------
    flux, variance, missing, area : numpy.ndarray
        float64, shape ``(aperture, band)``; missing are the weights of pixels without light, area, of shape
        ``(aperture, 1)``, all of them.
    """
    # Unlike a matrix product, einsum starts no threads, several in each worker process.
    flux = np.einsum("ayx,yxb->ab", weights, light)
    spread = np.einsum("ayx,yxb->ab", weights**2, np.where(there, variance, 0))
    missing = np.einsum("ayx,yxb->ab", weights, (~there).astype(np.float64))
    return flux, spread, missing, weights.sum(axis=(1, 2))[:, None]


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


def fit_profiles(
    tables: Sequence[Sequence[np.ndarray]],
    fwhm: np.ndarray,
    prior: np.ndarray,
    mixture: np.ndarray,
    rings: tuple[np.ndarray, np.ndarray],
    radii: np.ndarray,
    size: float,
    grid: ProfileGrid,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of all profiles, by how well they fit light in rings.

    Parameters
    ----------
    tables : sequence of sequence of numpy.ndarray
        Growth of profiles behind each PSF that is assumed, in each band.
    fwhm : numpy.ndarray
        float64, shape ``(assumption, band)``: their widths in pixels.
    prior : numpy.ndarray
        float64, shape ``(assumption,)``: logarithm.
    mixture : numpy.ndarray
        float64, shape ``(band,)``: share of each band in the light of the rings.
    rings : (numpy.ndarray, numpy.ndarray)
        float64, shape ``(ring,)``: light and its variance.
    radii : numpy.ndarray
        float64: in pixels; the rings lie between the first of them.
    size : float
        Half-light radius that is seen, in pixels.
    grid : ProfileGrid
        Of the tables.

    Returns
    -------
    mean, variance : numpy.ndarray
        float64, shape ``(1 + band,)``: share of the light within the last radius, of the mixture and of each band.
    growth : numpy.ndarray
        float64: mean share of the light within the other radii.
    """
    n_assumed, n_bands = fwhm.shape
    n_tried, n_indices = grid.log_prior.shape
    flux, variance = rings
    shares = np.empty((n_assumed, len(radii) + n_bands, n_tried, n_indices))
    likelihood = np.empty((n_assumed, n_tried, n_indices))
    precision, pull = (values[:, None, None] for values in (1 / variance, flux / variance))
    for one, of_bands in enumerate(tables):
        each = [
            _within(table, radii / width, size / width, grid) for table, width in zip(of_bands, fwhm[one], strict=True)
        ]
        together = each[0] if n_bands == 1 else sum(part * one for part, one in zip(mixture, each, strict=True))
        shares[one, : len(radii)], shares[one, len(radii) :] = together, [band[-1] for band in each]
        expected = np.diff(together[: len(flux) + 1], axis=0)
        square = (expected * expected * precision).sum(axis=0)
        best = (expected * pull).sum(axis=0) / square
        # The flux is marginalised over, with a prior of 1 / flux.
        found = 0.5 * best**2 * square - 0.5 * np.log(square) - np.log(np.maximum(best, 1e-30)) + grid.log_prior
        likelihood[one] = np.where(best > 0, prior[one] + found, -np.inf)
    # The largest is subtracted so that the exponentials do not underflow all together. Where no profile has positive
    # light, all are alike.
    largest = likelihood.max()
    weight = np.exp(likelihood - largest) if np.isfinite(largest) else np.ones_like(likelihood)
    weight = (weight / weight.sum())[:, None]
    mean = (weight * shares).sum(axis=(0, 2, 3))
    spread = (weight * (shares - mean[:, None, None]) ** 2).sum(axis=(0, 2, 3))
    last = len(radii) - 1
    return mean[last:], spread[last:], mean[:last]


def _within(table: np.ndarray, radii: np.ndarray, size: float, grid: ProfileGrid) -> np.ndarray:
    """Shares within radii of the profiles that are tried: float64, shape ``(radius, size, index)``."""
    place = np.interp(np.log(np.maximum(radii, grid.radii[0])), np.log(grid.radii), np.arange(len(grid.radii)))
    at = min(max(math.log(grid.tried * size / grid.smallest) / grid.step, 0.0), grid.n_sizes - 1.0)
    n_tried, n_indices = grid.log_prior.shape
    places = np.meshgrid(place, at + np.arange(n_tried), indexing="ij")
    planes = np.moveaxis(table.reshape(len(table), -1, n_indices), 2, 0)
    found = np.stack([ndimage.map_coordinates(plane, places, order=1) for plane in planes], axis=2)
    # Below the smallest radius of the table the light is as good as even.
    return found * np.minimum(radii / grid.radii[0], 1)[:, None, None] ** 2


_STEPS = (1.0, 0.5, 0.25, 0.125, 0.0625)
_MOST_MOVES = 6
_MIDDLE = 4


def best_centre(
    light: np.ndarray, circle: np.ndarray, centre: tuple[float, float]
) -> tuple[tuple[float, float], float]:
    """Centre about which the light in a circle differs least from itself turned, and the sum of these differences.

    A pattern search that begins at ``centre`` finds it to 1/16 pixel. Between pixels the light is interpolated; outside
    it is 0. The pixels of the circle are ``circle``: bool, shape ``(y, x)``.
    """
    own, places = light[circle], np.stack(np.nonzero(circle))

    def difference(y: float, x: float) -> float:
        turned = 2 * np.array([[y], [x]]) - places
        return float(np.abs(ndimage.map_coordinates(light, turned, order=1, mode="grid-constant") - own).sum())

    (y, x), value = centre, math.inf
    for step in _STEPS:
        for _ in range(_MOST_MOVES):
            values = [difference(y + step * down, x + step * right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
            # The centre again, at the new step: equal up to rounding, and never allowed to rise.
            value = min(value, values[_MIDDLE])
            where = int(np.argmin(values))
            if not values[where] < value:
                break
            y, x, value = y + step * (where // 3 - 1), x + step * (where % 3 - 1), values[where]
    return (y, x), value


_MOST_STEPS = 20
_SMALLEST_STEP = 1e-4


def windowed(
    light: np.ndarray, variance: np.ndarray, place: tuple[float, float], sigma: float, furthest: float
) -> tuple[np.ndarray, np.ndarray, float, float] | None:
    """Centroid (x, y) under a Gaussian window, the variance of the moments, the light under the window and its area.

    None where the window does not settle within a distance.
    """
    centre, pixels = np.array(place), np.indices(light.shape)[::-1]
    for _ in range(_MOST_STEPS):
        away = pixels - centre[:, None, None]
        window = np.exp((away**2).sum(axis=0) * (-0.5 / sigma**2))
        total = float((window * light).sum())
        if not total > 0:
            return None
        # Twice the mean: for a Gaussian source as wide as the window, this step lands on the centre at once.
        step = 2 * (away * window * light).sum(axis=(1, 2)) / total
        centre = centre + step
        if np.hypot(*(centre - place)) > furthest:
            return None
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    return centre, ((away * window) ** 2 * variance).sum(axis=(1, 2)), total, float(window.sum())


def without_noise(found: float, sigma: np.ndarray, ring: np.ndarray, means: np.ndarray, shares: np.ndarray) -> float:
    """Sum of absolute differences without noise, if they are spread as the light is.

    Parameters
    ----------
    found : float
        The sum with noise.
    sigma : numpy.ndarray
        float64, shape ``(pixel,)``: noise of each difference.
    ring : numpy.ndarray
        int64, shape ``(pixel,)``: the ring that each lies in.
    means : numpy.ndarray
        float64, shape ``(ring,)``: mean light of the rings, up to 16 of them; differences are in proportion to it.
    shares : numpy.ndarray
        float64: shares of the light that are tried, from 0 on; in between, the sums are as good as straight.

    Notes
    -----
    Noise adds ``sqrt(2 / pi) sigma`` to a difference of 0, and nothing to one far larger than it. A sum below that of
    the noise alone is told by what it lacks.
    """
    size = shares[:, None] * means[ring]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(sigma > 0, size / sigma, np.inf)
    sums = (np.sqrt(2 / np.pi) * sigma * np.exp(-0.5 * ratio**2) + size * erf(ratio / np.sqrt(2))).sum(axis=1)
    if found <= sums[0]:
        return found - float(sums[0])
    return float(np.interp(found, sums, shares) * means[ring].sum())


def distances(
    shape: tuple[int, int], centre: tuple[float, float], theta: float = 0.0, ratio: float = 1.0, unit: float = 1.0
) -> np.ndarray:
    """Distance of each pixel along the major axis of ellipses of one centre: float64, shape ``(y, x)``.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image in pixels.
    centre : (float, float)
        Row and column of the centre, in pixels.
    theta : float
        Major axis, counter-clockwise from the x axis, in radians.
    ratio : float
        Major over minor axis.
    unit : float
        In pixels.
    """
    cosine, sine = math.cos(theta), math.sin(theta)
    if compiled is not None:
        found = np.empty(shape)
        call_kernel("distances", *shape, *centre, cosine, sine, ratio, unit, found)
        return found
    dy, dx = (np.arange(n) - at for n, at in zip(shape, centre, strict=True))
    dy = dy[:, None]
    along, across = dx * cosine + dy * sine, (dy * cosine - dx * sine) * ratio
    # A root is several times as fast as np.hypot.
    return np.sqrt(along * along + across * across) / unit


def mirror(
    light: np.ndarray, usable: np.ndarray, wanted: np.ndarray, centre: tuple[float, float], neighbor_mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The light with wanted pixels replaced by their opposites, and which pixels have light, if only for now 0.

    Parameters
    ----------
    light, usable : numpy.ndarray
        float64 and bool, shape ``(y, x, band)``; the light is 0 where it is not usable.
    wanted : numpy.ndarray
        bool, shape ``(y, x)``: what to replace; by 0 where the opposite is not usable, a neighbour's or outside.
    centre : (float, float)
        Row and column of what pixels are opposite of.
    neighbor_mask : numpy.ndarray
        bool, shape ``(y, x)``: pixels of other sources.

    Returns
    -------
    light, covered : numpy.ndarray
        float64 and bool, shape ``(y, x, band)``. A pixel to replace is not covered if it is not usable and nothing
        replaces it, or if its opposite is the source's or the sky's and not usable.
    """
    if not wanted.any():
        return light, usable
    y, x = np.nonzero(wanted)
    opposite = [np.rint(2 * at - place).astype(int) for at, place in zip(centre, (y, x), strict=True)]
    inside = np.all([(place >= 0) & (place < n) for place, n in zip(opposite, wanted.shape, strict=True)], axis=0)
    # What lies outside is not taken; its place only has to be one.
    opposite_y, opposite_x = (np.where(inside, place, 0) for place in opposite)
    inside &= ~neighbor_mask[opposite_y, opposite_x]
    taken, there = inside[:, None], usable[opposite_y, opposite_x]
    filled, covered = light.copy(), usable.copy()
    filled[y, x] = np.where(taken & there, light[opposite_y, opposite_x], 0)
    covered[y, x] = np.where(taken, there, usable[y, x])
    return filled, covered


def open_stamp(
    labels: np.ndarray, label: int, usable: np.ndarray, light: np.ndarray, rms: np.ndarray | None, sigmas: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Pixels of a source and of others, variance as `pixel_variance` has it, and whether all pixels are usable.

    Light, which is float64 and C-contiguous, becomes 0 in place where it is not usable.
    """
    if compiled is None:
        light[~usable] = 0
        own = labels == label
        return own, ~own & (labels != 0), pixel_variance(rms, usable, sigmas), bool(usable.all())
    own, other = np.empty((2, *labels.shape), dtype=bool)
    variance = None if rms is None else rms.astype(np.float64, order="C")
    labels, usable = np.ascontiguousarray(labels, np.intc), np.ascontiguousarray(usable)
    whole = call_kernel("open_stamp", *light.shape, labels, label, usable, light, variance, sigmas, own, other)
    return own, other, np.broadcast_to(sigmas**2, light.shape) if variance is None else variance, bool(whole)


def pixel_variance(rms: np.ndarray | None, usable: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Variance of each pixel ``(y, x, band)``; unknown ones as the mean of the known, else that of the sky."""
    if rms is None:
        return np.broadcast_to(sigmas**2, usable.shape)
    variance = np.where(usable, rms, 0).astype(np.float64, order="C") ** 2
    known = variance > 0
    if not known.all():
        for index, sigma in enumerate(sigmas):
            plane, there = variance[:, :, index], known[:, :, index]
            plane[~there] = plane[there].mean() if there.any() else sigma**2
    return variance


def fill_stamp(
    light: np.ndarray,
    variance: np.ndarray,
    usable: np.ndarray,
    weights: np.ndarray,
    neighbor_mask: np.ndarray,
    centre: tuple[float, float],
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Light of each band and of the detection image, with that opposite the centre in the place of neighbours.

    Parameters
    ----------
    light, variance, usable, weights : numpy.ndarray
        float64, ``usable`` bool, shape ``(y, x, band)``; the light is 0 where it is not usable.
    neighbor_mask : numpy.ndarray
        bool, shape ``(y, x)``: pixels of other sources.
    centre : (float, float)
        Row and column of the source.

    Returns
    -------
    bands : (numpy.ndarray, numpy.ndarray)
        Light and where there is some, as `mirror` has them: shape ``(y, x, band)``.
    detection : (numpy.ndarray, numpy.ndarray, numpy.ndarray)
        Light, its variance, and where there is some, shape ``(y, x)``. Pixels that no band covers are filled too.
    """
    if compiled is None:
        seen = np.asarray(usable.any(axis=2, keepdims=True))
        wanted = ~seen[:, :, 0] | neighbor_mask
        together, there = mirror(summed(weights, light)[:, :, None], seen, wanted, centre, neighbor_mask)
        noise = summed(weights**2, np.where(weights > 0, variance, 0))
        found = together[:, :, 0], noise, there[:, :, 0]
        return mirror(light, usable, neighbor_mask, centre, neighbor_mask), found
    filled, usable = light.copy(), np.ascontiguousarray(usable)
    planes, (covered, there) = (
        np.empty((2, *light.shape[:2])),
        (np.empty(n, bool) for n in (light.shape, light.shape[:2])),
    )
    given = filled, *with_step(variance), usable, *with_step(weights), neighbor_mask, *centre
    call_kernel("fill_stamp", *light.shape, *given, covered, *planes, there)
    return (filled, covered), (*planes, there)


def with_step(planes: np.ndarray) -> tuple[np.ndarray, int]:
    """Planes ``(y, x, band)`` one behind the other, and how far it is from pixel to pixel: 0 where all are alike."""
    alike = planes.strides[:2] == (0, 0)
    return np.ascontiguousarray(planes[0, 0] if alike else planes), 0 if alike else planes.shape[2]


def gini_and_m20(
    light: np.ndarray, distance: np.ndarray, variance: np.ndarray, radius: float, sigma: float, doubt: float
) -> tuple[int, np.ndarray, np.ndarray]:
    """Gini coefficient and M20 of the pixels that belong together at an elliptical radius.

    Parameters
    ----------
    light, distance, variance : numpy.ndarray
        float64, shape ``(y, x)``: light, distance from the centre in pixels, noise.
    radius : float
        In pixels: the pixels are those brighter, after smoothing, than the light there.
    sigma : float
        Of the Gaussian that the light is smoothed with.
    doubt : float
        By which share the brightness at the radius may be higher.

    Returns
    -------
    n_pixels : int
        How many there are; 0 where it cannot be told.
    gini : numpy.ndarray
        float64, shape ``(3,)``: Gini coefficient of absolute values (Lotz et al. 2004, equation 6), its variance if the
        noise of pixels is independent, and the coefficient of the pixels that are brighter by the doubt.
    m20 : numpy.ndarray
        float64, shape ``(4,)``: M20, its variance likewise, its scatter from one pixel more or less, and M20 of the
        pixels that are brighter by the doubt.
    """
    gini, m20, n_pixels = np.full((2, 2), np.nan), np.full((2, 3), np.nan), 0
    if (ring := np.abs(distance - radius) <= 0.5).any():
        smooth = ndimage.gaussian_filter(light, sigma, mode="constant")
        level = smooth[ring].mean()
        parts, _ = ndimage.label(smooth >= level)
        middle = parts.ravel()[int(np.argmax(np.where(distance <= radius, smooth, -np.inf)))]
        own = (parts == middle) & (middle > 0)
        n_pixels = int(np.count_nonzero(own))
        for row, chosen in enumerate((own, own & (smooth >= level * (1 + doubt)))):
            if chosen.any():
                gini[row] = _gini(light[chosen], variance[chosen])
                m20[row] = _m20(light[chosen], variance[chosen], *np.nonzero(chosen))
    return n_pixels, gini.ravel()[:3], m20.ravel()[:4]


def _gini(values: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """Gini coefficient and its variance."""
    size = np.abs(values)
    n, total = len(values), size.sum()
    if n < 2 or not total > 0:
        return np.nan, np.nan
    rank = np.empty(n)
    rank[np.argsort(size, kind="stable")] = (2 * np.arange(1, n + 1) - n - 1) / (n - 1)
    gini = float((rank * size).sum() / total)
    return gini, float((((rank - gini) / total) ** 2 * variance).sum())


def _m20(values: np.ndarray, variance: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[float, float, float]:
    """M20, its variance, and its scatter from one pixel more or less."""
    total, unknown = values.sum(), (np.nan, np.nan, np.nan)
    if not total > 0:
        return unknown
    # The light-weighted mean is the centre that makes the second moment smallest.
    away = (y - (y * values).sum() / total) ** 2 + (x - (x * values).sum() / total) ** 2
    moment = values * away
    order = np.argsort(values, kind="stable")[::-1]
    n_bright = int(np.count_nonzero(np.cumsum(values[order]) <= 0.2 * total))
    brightest, last = order[:n_bright], order[n_bright - 1]
    whole, core = moment.sum(), moment[brightest].sum()
    if not n_bright or not whole > 0 or not core > 0:
        return unknown
    slopes = -away / whole + 0.2 * away[last] / core
    slopes[brightest] += (away[brightest] - away[last]) / core
    # One pixel more or less: even chances within its share.
    step = math.log10(1 + moment[last] / core) / math.sqrt(12)
    return math.log10(core / whole), float((slopes**2 * variance).sum()) / math.log(10) ** 2, step
