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
_REACH = 8
"""Pixels beside turned light, for centres up to 2.5 pixels from the first one."""


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
    known = [k for k, first in enumerate(firsts) if np.isfinite(first)]
    found = _asymmetries([stamps[k] for k in known], [lights[k] for k in known], [_EXTENT * firsts[k] for k in known])
    asymmetries = dict(zip(known, found, strict=True))
    some, centres = [lights[k] for k in known], [centre for _, centre in found]
    growths = dict(zip(known, curves_of_growth(some, centres, list(map(_largest, some))), strict=True))
    structures = []
    for k, spread in enumerate(_gini_and_m20(stamps, lights, noise)):
        radii = _concentration(growths[k], variance_of_sums(stamps[k], noise)) if k in growths else {}
        structures.append(Structure(**radii, **(asymmetries[k][0] if k in asymmetries else {}), **spread))
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


_Centre = tuple[float, float]


def _asymmetries(
    stamps: Sequence[Stamp], lights: Sequence[np.ndarray], radii: Sequence[float]
) -> list[tuple[dict[str, float], _Centre]]:
    """Asymmetry of each source within a radius about its best centre, and that centre."""
    centres = [(stamp.ellipse.y, stamp.ellipse.x) for stamp in stamps]
    circles = [
        np.nonzero(stamp.circle_overlap(*centre, radius) > 0.5)
        for stamp, centre, radius in zip(stamps, centres, radii, strict=True)
    ]
    totals = [float(light[circle].sum()) for light, circle in zip(lights, circles, strict=True)]
    found: list[tuple[dict[str, float], _Centre]] = [({}, centre) for centre in centres]
    known = [k for k, total in enumerate(totals) if total > 0]
    if not known:
        return found
    best, values = zip(*(_best_centre(centres[k], lights[k], circles[k]) for k in known), strict=True)
    pixels = _Pixels.of([circles[k][0] for k in known])
    variance, distance, light = (
        np.concatenate(parts)
        for parts in (
            [_own_variance(stamps[k], circles[k]) for k in known],
            [stamps[k].elliptical_radius[circles[k]] for k in known],
            [lights[k][circles[k]] for k in known],
        )
    )
    sigma, scatters = _noise_differences(variance, np.array(best), pixels)
    # Differences in a few pixels feel less of the noise than those all over, and both occur.
    least = np.array(values) - np.sqrt(2 / np.pi) * pixels.sums(sigma)
    most = _spread_differences(np.array(values), sigma, _profiles(light, distance, pixels), pixels)
    for k, centre, scatter, low, high in zip(
        known, best, scatters.tolist(), least.tolist(), most.tolist(), strict=True
    ):
        error = math.hypot(scatter / totals[k], (high - low) / 2 / totals[k], _CENTRING)
        found[k] = {"asymmetry": (low + high) / 2 / totals[k], "asymmetry_err": error}, centre
    return found


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Pixels of several sources, one source behind the other.

    Parameters
    ----------
    sizes, starts : numpy.ndarray
        int64, shape ``(source,)``: pixels of each source, and the first of them.
    """

    sizes: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[np.ndarray]) -> "_Pixels":
        """Pixels of sources from one value of each."""
        sizes = np.array(list(map(len, parts)))
        return cls(sizes, np.cumsum(sizes) - sizes)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of sources as values of their pixels: shape ``(pixel,)`` of ``(source,)``."""
        return np.repeat(values, self.sizes)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the pixels of each source: shape ``(source,)`` of ``(pixel,)``."""
        return np.add.reduceat(values, self.starts)


def _profiles(light: np.ndarray, distance: np.ndarray, pixels: _Pixels) -> np.ndarray:
    """Mean light of the ring that each pixel lies in, not below 0: float64, shape of ``light``."""
    farthest = pixels.spread(np.maximum.reduceat(distance, pixels.starts))
    ring = (_RINGS * distance / farthest).astype(int)
    ring += pixels.spread((_RINGS + 1) * np.arange(len(pixels.starts)))
    n_pixels = np.bincount(ring)
    return np.maximum(np.bincount(ring, light) / np.maximum(n_pixels, 1), 0)[ring]


def _spread_differences(found: np.ndarray, sigma: np.ndarray, profile: np.ndarray, pixels: _Pixels) -> np.ndarray:
    """Sums of absolute differences without noise, if they are spread as the light is.

    Parameters
    ----------
    found : numpy.ndarray
        float64, shape ``(source,)``: sums of the absolute values of differences with noise.
    sigma, profile : numpy.ndarray
        float64, shape ``(pixel,)``: noise of each difference, and what the differences are in proportion to.
    pixels : _Pixels
        The pixels of each source.

    Notes
    -----
    Noise adds ``sqrt(2 / pi) sigma`` to a difference of 0, and nothing to one far larger than it. A sum below that of
    the noise alone is told by what it lacks.
    """

    def expected(step: np.ndarray) -> np.ndarray:
        """Sums with noise of differences that are a share of the profile."""
        size = pixels.spread(_SHARES[step]) * profile
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(sigma > 0, size / sigma, np.inf)
            return pixels.sums(np.sqrt(2 / np.pi) * sigma * np.exp(-0.5 * ratio**2) + size * erf(ratio / np.sqrt(2)))

    # The sums grow with the share: four halvings find the two shares that a sum lies between.
    low, high = np.zeros(len(found), dtype=int), np.full(len(found), len(_SHARES) - 1)
    noise = below = expected(low)
    above = expected(high)
    while (high - low > 1).any():
        middle = (low + high) // 2
        at = expected(middle)
        less = found < at
        low, below = np.where(less, low, middle), np.where(less, below, at)
        high, above = np.where(less, middle, high), np.where(less, at, above)
    part = np.zeros(len(found))
    np.divide(found - below, above - below, out=part, where=above > below)
    share = _SHARES[low] + np.clip(part, 0, 1) * (_SHARES[high] - _SHARES[low])
    return np.where(found <= noise, found - noise, share * pixels.sums(profile))


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


def _best_centre(centre: _Centre, light: np.ndarray, circle: tuple[np.ndarray, ...]) -> tuple[_Centre, float]:
    """Centre about which the light in a circle differs least from itself turned, and the sum of these differences.

    A pattern search that begins at ``centre`` finds it to 1/16 pixel.
    """
    turn, value = _HalfTurn.about(centre, light, circle), math.inf
    for step in _STEPS:
        for _ in range(_MOST_MOVES):
            values = turn.differences(centre, step).ravel()
            # The centre again, at the new step: equal up to rounding, and never allowed to rise.
            value = min(value, float(values[_MIDDLE]))
            where = int(values.argmin())
            if not values[where] < value:
                break
            centre = centre[0] + step * (where // 3 - 1), centre[1] + step * (where % 3 - 1)
            value = float(values[where])
            if not turn.reaches(centre):
                turn = _HalfTurn.about(centre, light, circle)
    return centre, value


@dataclass(frozen=True, eq=False)
class _HalfTurn:
    """Light of one source compared with itself turned by 180 degrees about centres near a first one.

    Parameters
    ----------
    turned : numpy.ndarray
        float64, flat: the light turned, row by row, as far as any centre reaches, 0 outside of the stamp.
    width : int
        Pixels in a row of it.
    middle : (int, int)
        Pixel that pixel 0 of the stamp is turned to about the first centre, rounded down.
    light, mask : numpy.ndarray
        float64, flat: the box of the pixels to compare in rows as wide as those of ``turned``, and 1 for these pixels.
    """

    turned: np.ndarray
    width: int
    middle: tuple[int, int]
    light: np.ndarray
    mask: np.ndarray

    @classmethod
    def about(cls, centre: _Centre, light: np.ndarray, circle: tuple[np.ndarray, ...]) -> "_HalfTurn":
        """Prepare the comparison for centres near this one."""
        box = [(int(place.min()), int(place.max()) + 1) for place in circle]
        height, width = (last - first + 2 * _REACH + 1 for first, last in box)
        middle = math.floor(2 * centre[0]), math.floor(2 * centre[1])
        # One row more than is compared: slices that begin in the last one end in it.
        padded = np.zeros((height + 1, width))
        corner = [at - last + 1 - _REACH for at, (_, last) in zip(middle, box, strict=True)]
        there = [
            slice(max(first, 0), max(min(first + length, end), 0))
            for first, length, end in zip(corner, (height, width), light.shape, strict=True)
        ]
        near = light[there[0], there[1]]
        down, beside = (side.start - first for side, first in zip(there, corner, strict=True))
        padded[down + 1 : down + 1 + near.shape[0], beside : beside + near.shape[1]] = near
        own, mask = np.zeros((2, box[0][1] - box[0][0], width))
        at = circle[0] - box[0][0], circle[1] - box[1][0]
        own[at], mask[at] = light[circle], 1
        return cls(np.ascontiguousarray(padded[::-1, ::-1]).ravel(), width, middle, own.ravel(), mask.ravel())

    def differences(self, centre: _Centre, step: float) -> np.ndarray:
        """Sums of the absolute differences about a centre and its eight neighbours at a distance.

        Returns
        -------
        numpy.ndarray
            float64, shape ``(3, 3)``: the centre in the middle. Between pixels the light is interpolated.
        """
        width, n_pixels = self.width, len(self.light)
        down, right = (
            [self._shift(place + step * side, axis) for side in (-1, 0, 1)] for axis, place in enumerate(centre)
        )
        # Turned by whole pixels, slices of the light are that about any centre: no pixel has to be looked up. Whole
        # rows, with what lies beside the box, are one piece of memory.
        first, last = width * (down[2][0] - 1), width * down[0][0] + n_pixels
        across = np.empty((3, last - first))
        for out, (column, part) in zip(across, right, strict=True):
            near = self.turned[first + column : last + column]
            np.subtract(self.turned[first + column - 1 : last + column - 1], near, out=out)
            out *= part
            out += near
        found = np.empty((3, 3, n_pixels))
        for out, (row, part) in zip(found, down, strict=True):
            start = width * row - first
            near = across[:, start : start + n_pixels]
            np.subtract(across[:, start - width : start - width + n_pixels], near, out=out)
            out *= part
            out += near
        found -= self.light
        # Unlike a matrix product, einsum starts no threads, several in each worker process.
        return np.einsum("yxp,p->yx", np.abs(found, out=found), self.mask)

    def reaches(self, centre: _Centre) -> bool:
        """Tell whether the light is there for a centre and its neighbours at a pixel's distance."""
        return all(abs(2 * place - at) <= _REACH - 3 for place, at in zip(centre, self.middle, strict=True))

    def _shift(self, place: float, axis: int) -> tuple[int, float]:
        """First pixel of the turned light about a centre along an axis, and the part to take of the pixel before."""
        turned = 2 * place
        whole = math.floor(turned)
        return _REACH + 1 - whole + self.middle[axis], turned - whole


def _noise_differences(variance: np.ndarray, centres: np.ndarray, pixels: _Pixels) -> tuple[np.ndarray, np.ndarray]:
    """Scatter of n - n' for pixels of noise, n' interpolated between four, and of the sums of |n - n'|."""
    shares = (2 * centres) % 1
    # Interpolation between pixels makes the turned noise smaller.
    kept = 1 + ((1 - shares) ** 2 + shares**2).prod(axis=1)
    # Each pair comes twice; the variance of |x| is 1 - 2 / pi of that of x.
    scatter = np.sqrt(2 * (1 - 2 / math.pi) * kept * pixels.sums(variance))
    return np.sqrt(pixels.spread(kept) * variance), scatter


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
    if not ring.any():
        return {}
    smooth = _smoothed(light, _SMOOTHING * radius)
    level = smooth[ring].mean()
    parts, _ = ndimage.label(smooth >= level, _SIDES)
    middle = parts.ravel()[int(np.argmax(np.where(distance <= radius, smooth, -np.inf)))]
    if middle == 0:
        return {}
    own = parts == middle
    inside = np.nonzero(own)
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
