"""Nonparametric structure of one source: Petrosian radius, concentration, asymmetry, Gini, M20."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import erf

from morpheus_lite.catalog.curve_of_growth import CurveOfGrowth, curves_by_distance, curves_of_growth
from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.catalog.photometry import variance_of_sums
from morpheus_lite.noise.correlated import CorrelatedNoise

LEAST_SNR = {"concentration": 20.0, "asymmetry": 20.0, "gini": 30.0, "m20": 50.0}
"""Signal-to-noise ratio of the segment below which a quantity is that of the noise more than of the source.

Above, the pulls against values without noise are off by at most half of their width, and 0.8 to 1.6 wide, those of M20
up to 2.2 (`python tests/benchmarks/structure.py --seed 3`).
"""

_EXTENT = 1.5
# Of the Petrosian radius, as Lotz et al. (2004) have it.
_SMOOTHING = 0.2
_SMALLEST_REACH = 4.0
_STEPS = (1.0, 0.5, 0.25, 0.125, 0.0625)
_MOST_MOVES = 6
_STEEPNESS = 3.0
"""Fall of the logarithm of the brightness with that of the radius, at the Petrosian radius of an exponential disk."""
_MOST_DOUBT = 1.0
_CENTRING = 0.01
"""Error of an asymmetry from the steps of the search for its centre."""
_RINGS = 12
"""Rings that the light profile is measured in, to tell where noise adds to the differences of a source."""
_SHARES = np.append(0.0, np.geomspace(0.003, 3, 16))
_MIDDLE = 4
_SIDES = ndimage.generate_binary_structure(2, 1)
_AT_ONCE = 512
_REACH = 2 * math.ceil(_MOST_MOVES * sum(_STEPS)) + 2


@dataclass(frozen=True)
class Structure:
    """Arrangement of the light of one source; NaN where it cannot be told.

    Parameters
    ----------
    r_petrosian : float
        Circular Petrosian radius in pixels, where the brightness is 0.2 of the mean within.
    concentration : float
        ``5 log10(r80 / r20)``, of the light within 1.5 Petrosian radii.
    asymmetry : float
        Difference from the source turned by 180 degrees, within 1.5 Petrosian radii, less what the noise gives.
    gini : float
        Inequality of the pixels' light: 0 if all are alike, 1 if one has all.
    m20 : float
        log10 of the second moment of the brightest pixels with 20 % of the light, relative to that of all.
    r_petrosian_err, concentration_err, asymmetry_err, gini_err, m20_err : float
        What the noise makes of them, to first order.
    """

    r_petrosian: float = np.nan
    r_petrosian_err: float = np.nan
    concentration: float = np.nan
    concentration_err: float = np.nan
    asymmetry: float = np.nan
    asymmetry_err: float = np.nan
    gini: float = np.nan
    gini_err: float = np.nan
    m20: float = np.nan
    m20_err: float = np.nan


def central_curves(stamps: Sequence[Stamp]) -> list[CurveOfGrowth]:
    """Curve of growth about the centre of each stamp, as far as circles stay inside of it."""
    lights = [np.ascontiguousarray(stamp.detection) for stamp in stamps]
    return curves_of_growth(
        lights, [(stamp.ellipse.y, stamp.ellipse.x) for stamp in stamps], list(map(_largest, lights))
    )


def measure_structure(
    stamps: Sequence[Stamp], centrals: Sequence[CurveOfGrowth], noise: CorrelatedNoise
) -> list[Structure]:
    """Arrangement of the light in the detection image of each stamp, from its curve of growth among others.

    Parameters
    ----------
    stamps : sequence of Stamp
        The sources and their surroundings.
    centrals : sequence of CurveOfGrowth
        From `central_curves`.
    noise : CorrelatedNoise
        Of the detection image, for the errors.

    Notes
    -----
    Definitions are those of Lotz, Primack & Madau (2004) and Conselice (2003) as statmorph
    (Rodriguez-Gomez et al. 2019) has them: Gini and M20 over the pixels brighter, after smoothing with 0.2 elliptical
    Petrosian radii, than the light at that radius; asymmetry about the centre that makes it smallest. Its
    noise term is the mean absolute difference of two pixels of noise, from the noise planes rather than from a
    patch of sky, so that it needs nothing far away; pixels of neighbours, which hold their opposites, have none. Where
    a source differs from itself, noise adds less than that, by how much depends on where it does: the asymmetry is
    the mean of both extremes, and its error holds half of their difference.
    """
    lights = [np.ascontiguousarray(stamp.detection) for stamp in stamps]
    firsts = [central.petrosian() for central in centrals]
    asymmetries = [
        _asymmetry(stamp, light, _EXTENT * first) if np.isfinite(first) else None
        for stamp, light, first in zip(stamps, lights, firsts, strict=True)
    ]
    known = [k for k, found in enumerate(asymmetries) if found]
    centres = [found[1] for found in asymmetries if found]
    some = [lights[k] for k in known]
    growths = dict(zip(known, curves_of_growth(some, centres, list(map(_largest, some))), strict=True))
    structures = []
    for k, (found, spread) in enumerate(zip(asymmetries, _gini_and_m20(stamps, lights, noise), strict=True)):
        radii = _concentration(growths[k], variance_of_sums(stamps[k], noise)) if k in growths else {}
        structures.append(Structure(**radii, **(found[0] if found else {}), **spread))
    return structures


def _concentration(growth: CurveOfGrowth, variance: Callable[[float], float]) -> dict[str, float]:
    """Petrosian radius, and ``5 log10(r80 / r20)`` of the light within 1.5 of it, with errors."""
    radius = growth.petrosian()
    if not np.isfinite(radius):
        return {}
    largest = _EXTENT * radius
    total = growth.flux_within(largest)
    r20, r80 = (growth.radius_of(share * total, below=largest) for share in (0.2, 0.8))
    found = {"r_petrosian": radius, "r_petrosian_err": growth.petrosian_error(radius, variance)}
    if not r20 > 0:
        return found
    whole = math.pi * largest**2
    errors = (growth.radius_error(at, share, whole, variance) / at for at, share in ((r20, 0.2), (r80, 0.8)))
    scale = 5 / math.log(10)
    return found | {"concentration": scale * math.log(r80 / r20), "concentration_err": scale * math.hypot(*errors)}


def _largest(light: np.ndarray) -> float:
    """Largest circle: it must stay inside of the stamp, or be cut by the edge of the image."""
    return max(min(light.shape) / 2, _SMALLEST_REACH)


def _asymmetry(stamp: Stamp, light: np.ndarray, radius: float) -> tuple[dict[str, float], tuple[float, float]]:
    """Asymmetry within a radius about the best centre, which a pattern search finds to 1/16 pixel, and that centre."""
    best = (stamp.ellipse.y, stamp.ellipse.x)
    inside = np.nonzero(stamp.circle_overlap(*best, radius) > 0.5)
    total = light[inside].sum()
    if not total > 0:
        return {}, best
    turn = _HalfTurn.about(best, light, inside)
    value = np.inf
    for step in _STEPS:
        for _ in range(_MOST_MOVES):
            values = turn.differences(best, step)
            # The centre again, at the new step: equal up to rounding, and never allowed to rise.
            value = min(value, values[_MIDDLE])
            where = int(values.argmin())
            if not values[where] < value:
                break
            best = best[0] + step * (where // 3 - 1), best[1] + step * (where % 3 - 1)
            value = values[where]
    sigma, scatter = _noise_difference(_own_variance(stamp, inside), best)
    # Differences in a few pixels feel less of the noise than those all over, and both occur.
    least = value - np.sqrt(2 / np.pi) * sigma.sum()
    most = _spread_differences(value, sigma, _profile(light[inside], stamp.elliptical_radius[inside]))
    error = math.hypot(scatter / total, (most - least) / 2 / total, _CENTRING)
    return {"asymmetry": (least + most) / 2 / total, "asymmetry_err": error}, best


def _profile(light: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Mean light of the ring that each pixel lies in, not below 0: float64, shape of ``light``."""
    ring = (_RINGS * distance / distance.max()).astype(int)
    n_pixels = np.bincount(ring)
    return np.maximum(np.bincount(ring, light) / np.maximum(n_pixels, 1), 0)[ring]


def _spread_differences(found: float, sigma: np.ndarray, profile: np.ndarray) -> float:
    """Sum of absolute differences without noise, if they are spread as the light is.

    Parameters
    ----------
    found : float
        Sum of the absolute values of differences with noise.
    sigma, profile : numpy.ndarray
        float64, shape ``(pixel,)``: noise of each difference, and what the differences are in proportion to.

    Notes
    -----
    Noise adds ``sqrt(2 / pi) sigma`` to a difference of 0, and nothing to one far larger than it. A sum below that of
    the noise alone is told by what it lacks.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size = _SHARES[:, None] * profile
        ratio = np.where(sigma > 0, size / sigma, np.inf)
        folded = np.sqrt(2 / np.pi) * sigma * np.exp(-0.5 * ratio**2) + size * erf(ratio / np.sqrt(2))
    expected = folded.sum(axis=1)
    if found <= expected[0]:
        return found - float(expected[0])
    return float(np.interp(found, expected, _SHARES) * profile.sum())


def _own_variance(stamp: Stamp, inside: tuple[np.ndarray, ...]) -> np.ndarray:
    """Variance of pixels, 0 of those that are a neighbour's or opposite one: there the light is its own mirror."""
    variance = stamp.detection_variance[inside]
    if not stamp.neighbor_mask.any():
        return variance
    turned = [
        np.clip(np.rint(2 * centre - place).astype(int), 0, length - 1)
        for centre, place, length in zip(
            (stamp.ellipse.y, stamp.ellipse.x), inside, stamp.neighbor_mask.shape, strict=True
        )
    ]
    return np.where(stamp.neighbor_mask[inside] | stamp.neighbor_mask[tuple(turned)], 0, variance)


@dataclass(frozen=True, eq=False)
class _HalfTurn:
    """Light compared with itself turned by 180 degrees about centres near a first one.

    Parameters
    ----------
    padded : numpy.ndarray
        float64, flat: the light as far as any turn reaches, 0 outside.
    width : int
        Pixels in a row of ``padded``.
    places : numpy.ndarray
        int64, shape ``(pixel,)``: where in ``padded`` the pixels to compare are turned to about the corner (0, 0).
    values : numpy.ndarray
        float64, shape ``(pixel,)``: light of these pixels.
    """

    padded: np.ndarray
    width: int
    places: np.ndarray
    values: np.ndarray

    @classmethod
    def about(cls, centre: tuple[float, float], light: np.ndarray, inside: tuple[np.ndarray, ...]) -> "_HalfTurn":
        """Prepare the comparison for all centres that the search can reach."""
        box = [(int(place.min()), int(place.max()) + 1) for place in inside]
        corner = [math.floor(2 * at) - last + 1 - _REACH for at, (_, last) in zip(centre, box, strict=True)]
        padded = np.zeros([last - first + 2 * _REACH + 1 for first, last in box])
        there = [
            slice(max(start, 0), max(min(start + length, end), 0))
            for start, length, end in zip(corner, padded.shape, light.shape, strict=True)
        ]
        found = light[tuple(there)]
        top, left = (side.start - start for side, start in zip(there, corner, strict=True))
        padded[top : top + found.shape[0], left : left + found.shape[1]] = found
        width = padded.shape[1]
        places = (-corner[0] - inside[0]) * width - corner[1] - inside[1]
        return cls(padded.ravel(), width, places, light[inside])

    def differences(self, centre: tuple[float, float], step: float) -> np.ndarray:
        """Sums of the absolute differences about a centre and its eight neighbours at a distance.

        Returns
        -------
        numpy.ndarray
            float64, shape ``(9,)``: row by row, the centre in the middle. Between pixels the light is interpolated.
        """
        (top, down), (left, right) = (_neighbours(place, step) for place in centre)
        first = top * self.width + left
        shift = [[first + y * self.width + x] for y in range(down.shape[1]) for x in range(right.shape[1])]
        corners = self.padded.take(self.places + np.array(shift))
        weights = (down[:, None, :, None] * right[:, None]).reshape(len(down) * len(right), -1)
        turned = np.empty((len(weights), len(self.values)))
        # Products this small are not worth the threads that BLAS would start, several in each worker process.
        for first in range(0, len(self.values), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            np.matmul(weights, corners[:, some], out=turned[:, some])
        turned -= self.values
        return np.abs(turned, out=turned).sum(axis=1)


def _neighbours(place: float, step: float) -> tuple[int, np.ndarray]:
    """Image of pixel 0 under a rotation by 180 degrees about a centre and its two neighbours, along one axis.

    Returns
    -------
    first, weights
        int, and float64 of shape ``(3, n)``: share of each of the pixels from ``first`` on, for each centre.
    """
    turned = [2 * (place + step * side) for side in (-1, 0, 1)]
    whole = [math.floor(at) for at in turned]
    weights = np.zeros((3, whole[2] - whole[0] + 2))
    for k, (at, pixel) in enumerate(zip(turned, whole, strict=True)):
        weights[k, pixel - whole[0]] = 1 - (at - pixel)
        weights[k, pixel - whole[0] + 1] = at - pixel
    return whole[0], weights


def _noise_difference(variance: np.ndarray, centre: tuple[float, float]) -> tuple[np.ndarray, float]:
    """Scatter of n - n' for pixels of noise, n' interpolated between four, and of the sum of |n - n'|."""
    shares = [(2 * place) % 1 for place in centre]
    # Interpolation between pixels makes the turned noise smaller.
    kept = 1 + float(np.prod([(1 - share) ** 2 + share**2 for share in shares]))
    # Each pair comes twice; the variance of |x| is 1 - 2 / pi of that of x.
    return np.sqrt(kept * variance), math.sqrt(2 * (1 - 2 / math.pi) * kept * variance.sum())


def _gini_and_m20(
    stamps: Sequence[Stamp], lights: Sequence[np.ndarray], noise: CorrelatedNoise
) -> list[dict[str, float]]:
    """Gini coefficient and M20 of each stamp, with errors."""
    distances = [stamp.elliptical_radius * stamp.ellipse.a for stamp in stamps]
    growths = curves_by_distance(lights, distances, list(map(_largest, lights)))
    radii = [growth.petrosian() for growth in growths]
    doubts = [
        _STEEPNESS * growth.petrosian_error(radius, variance_of_sums(stamp, noise)) / radius
        for growth, radius, stamp in zip(growths, radii, stamps, strict=True)
    ]
    return [_spread(*one, noise) for one in zip(lights, distances, radii, doubts, stamps, strict=True)]


def _spread(
    light: np.ndarray, distance: np.ndarray, radius: float, doubt: float, stamp: Stamp, noise: CorrelatedNoise
) -> dict[str, float]:
    """Gini coefficient and M20 of the pixels that belong together at the elliptical Petrosian radius.

    Errors hold the noise, and the share by which the brightness at that radius is in doubt; that of M20 also that
    whole pixels hold the brightest 20 % of the light.
    """
    if not np.isfinite(radius):
        return {}
    ring = np.abs(distance - radius) <= 0.5
    smooth = _smoothed(light, _SMOOTHING * radius)
    parts, n_parts = ndimage.label(smooth >= smooth[ring].mean(), _SIDES) if ring.any() else (None, 0)
    if parts is None or n_parts == 0:
        return {}
    middle = parts.ravel()[int(np.argmax(np.where(distance <= radius, smooth, -np.inf)))]
    if middle == 0:
        return {}
    own = parts == middle
    level, inside = smooth[ring].mean(), np.nonzero(own)
    (gini, gini_slopes), (m20, m20_slopes, step) = _gini(light[inside]), _m20(light[inside], *inside)
    scatter = np.sqrt(stamp.detection_variance[inside]) * noise.factor(len(inside[0]))
    errors = [float(np.sqrt(((slopes * scatter) ** 2).sum())) for slopes in (gini_slopes, m20_slopes)]
    # The same with the brightness at the edge of these pixels higher by its error.
    higher = np.nonzero(own & (smooth >= level * (1 + min(doubt, _MOST_DOUBT))))
    moved = (_gini(light[higher])[0], _m20(light[higher], *higher)[0]) if len(higher[0]) else (np.nan, np.nan)
    return {
        "gini": gini,
        "gini_err": math.hypot(errors[0], moved[0] - gini),
        "m20": m20,
        "m20_err": math.hypot(errors[1], moved[1] - m20, step),
    }


def _smoothed(light: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth as ``ndimage.gaussian_filter`` does with zeros outside; the kernel is made once for both axes."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 / sigma**2 * np.arange(-reach, reach + 1) ** 2)
    # Two passes in one dimension are a Gaussian in two.
    kernel /= kernel.sum()
    for axis in (0, 1):
        light = ndimage.correlate1d(light, kernel, axis, mode="constant")
    return light


_UNKNOWN = np.nan, np.array([np.nan])
"""What is not known, and its slopes."""


def _gini(values: np.ndarray) -> tuple[float, np.ndarray]:
    """Gini coefficient of absolute values (Lotz et al. 2004, equation 6), and its slope by each of them."""
    size = np.abs(values)
    n, total = len(values), size.sum()
    if n < 2 or not total > 0:
        return _UNKNOWN
    order = np.argsort(size, kind="stable")
    rank = np.empty(n)
    rank[order] = (2 * np.arange(1, n + 1) - n - 1) / (n - 1)
    gini = float((rank[order] * size[order]).sum() / total)
    return gini, (rank - gini) / total


def _m20(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray, float]:
    """M20, its slope by each of the values, and its scatter from one pixel more or less."""
    total = values.sum()
    if not total > 0:
        return *_UNKNOWN, np.nan
    # The light-weighted mean is the centre that makes the second moment smallest.
    away = (y - (y * values).sum() / total) ** 2 + (x - (x * values).sum() / total) ** 2
    moment = values * away
    order = np.argsort(values)[::-1]
    n_bright = int(np.count_nonzero(np.cumsum(values[order]) <= 0.2 * total))
    brightest = order[:n_bright]
    whole, core = moment.sum(), moment[brightest].sum()
    if not n_bright or not whole > 0 or not core > 0:
        return *_UNKNOWN, np.nan
    slopes = -away / whole + 0.2 * away[order[n_bright - 1]] / core
    slopes[brightest] += (away[brightest] - away[order[n_bright - 1]]) / core
    # One pixel more or less: even chances within its share.
    step = math.log10(1 + moment[order[n_bright - 1]] / core) / math.sqrt(12)
    return float(np.log10(core / whole)), slopes / math.log(10), step
