"""The compiled loops over the pixels of one source, in NumPy: what tests compare them with."""

import math
from collections.abc import Sequence

import numpy as np
from photutils.geometry import circular_overlap_grid, elliptical_overlap_grid
from scipy import ndimage
from scipy.special import erf

from morpheus_lite.catalog.total_flux import ProfileGrid
from morpheus_lite.noise.detection_image import summed


def ellipse_overlap(
    shape: tuple[int, int], centre: tuple[float, float], a: float, b: float, theta: float = 0.0
) -> np.ndarray:
    """Share of each pixel inside an ellipse."""
    bottom, left = -0.5 - centre[0], -0.5 - centre[1]
    grid = left, left + shape[1], bottom, bottom + shape[0], *shape[::-1]
    return circular_overlap_grid(*grid, a, 1, 1) if a == b else elliptical_overlap_grid(*grid, a, b, theta, 1, 1)


def growth(
    light: np.ndarray, distance: np.ndarray, step: float, half: int, n_radii: int
) -> tuple[np.ndarray, np.ndarray]:
    """Light and pixels within radii ``step`` apart from 0 on, ``half`` steps being half a pixel."""
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
    shares = [ellipse_overlap(light.shape, (y, x), radius, radius) for radius in step * np.arange(1, n_radii + 1)]
    return np.array([(share * light).sum() for share in shares]), np.array([share.sum() for share in shares])


def weighted_sums(
    weights: np.ndarray, light: np.ndarray, variance: np.ndarray, there: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sums of light under weights, of its variance under their squares, of weights without light, and of all."""
    flux = np.einsum("ayx,yxb->ab", weights, light)
    spread = np.einsum("ayx,yxb->ab", weights**2, np.where(there, variance, 0))
    missing = np.einsum("ayx,yxb->ab", weights, (~there).astype(np.float64))
    return flux, spread, missing, weights.sum(axis=(1, 2))[:, None]


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
    """Mean of all profiles, by how well they fit light in rings."""
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
    """Centre about which the light in a circle differs least from itself turned, and the sum of these differences."""
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
    """Centroid (x, y) under a Gaussian window, the variance of the moments, the light under the window and its area."""
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
    """Sum of absolute differences without noise, if they are spread as the light is."""
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
    """Distance of each pixel along the major axis of ellipses of one centre: float64, shape ``(y, x)``."""
    cosine, sine = math.cos(theta), math.sin(theta)
    dy, dx = (np.arange(n) - at for n, at in zip(shape, centre, strict=True))
    dy = dy[:, None]
    along, across = dx * cosine + dy * sine, (dy * cosine - dx * sine) * ratio
    # A root is several times as fast as np.hypot.
    return np.sqrt(along * along + across * across) / unit


def mirror(
    light: np.ndarray, usable: np.ndarray, wanted: np.ndarray, centre: tuple[float, float], neighbor_mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The light with wanted pixels replaced by their opposites, and which pixels have light, if only for now 0."""
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


def open_stamp(
    labels: np.ndarray, label: int, usable: np.ndarray, light: np.ndarray, rms: np.ndarray | None, sigmas: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Pixels of a source and of others, variance as `pixel_variance` has it, and whether all pixels are usable."""
    light[~usable] = 0
    own = labels == label
    return own, ~own & (labels != 0), pixel_variance(rms, usable, sigmas), bool(usable.all())


def fill_stamp(
    light: np.ndarray,
    variance: np.ndarray,
    usable: np.ndarray,
    weights: np.ndarray,
    neighbor_mask: np.ndarray,
    centre: tuple[float, float],
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Light of each band and of the detection image, with that opposite the centre in the place of neighbours."""
    seen = np.asarray(usable.any(axis=2, keepdims=True))
    wanted = ~seen[:, :, 0] | neighbor_mask
    together, there = mirror(summed(weights, light)[:, :, None], seen, wanted, centre, neighbor_mask)
    noise = summed(weights**2, np.where(weights > 0, variance, 0))
    found = together[:, :, 0], noise, there[:, :, 0]
    return mirror(light, usable, neighbor_mask, centre, neighbor_mask), found


def gini_and_m20(
    light: np.ndarray, distance: np.ndarray, variance: np.ndarray, radius: float, sigma: float, doubt: float
) -> tuple[int, np.ndarray, np.ndarray]:
    """Gini coefficient and M20 of the pixels that belong together at an elliptical radius."""
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
