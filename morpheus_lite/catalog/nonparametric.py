"""Nonparametric structure of one source: Petrosian radius, concentration, asymmetry, Gini, M20."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from morpheus_lite.catalog.curve_of_growth import CurveOfGrowth, curves_by_distance, curves_of_growth
from morpheus_lite.catalog.cutouts import Stamp

_EXTENT = 1.5
# Of the Petrosian radius, as Lotz et al. (2004) have it.
_SMOOTHING = 0.2
_SMALLEST_REACH = 4.0
_STEPS = (1.0, 0.5, 0.25, 0.125, 0.0625)
_MOST_MOVES = 6
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
    """

    r_petrosian: float = np.nan
    concentration: float = np.nan
    asymmetry: float = np.nan
    gini: float = np.nan
    m20: float = np.nan


def central_curves(stamps: Sequence[Stamp]) -> list[CurveOfGrowth]:
    """Curve of growth about the centre of each stamp, as far as circles stay inside of it."""
    lights = [np.ascontiguousarray(stamp.detection) for stamp in stamps]
    return curves_of_growth(
        lights, [(stamp.ellipse.y, stamp.ellipse.x) for stamp in stamps], list(map(_largest, lights))
    )


def measure_structure(stamps: Sequence[Stamp], centrals: Sequence[CurveOfGrowth]) -> list[Structure]:
    """Arrangement of the light in the detection image of each stamp, from its curve of growth among others.

    Notes
    -----
    Definitions are those of Lotz, Primack & Madau (2004) and Conselice (2003) as statmorph
    (Rodriguez-Gomez et al. 2019) has them: Gini and M20 over the pixels brighter, after smoothing with 0.2 elliptical
    Petrosian radii, than the light at that radius; asymmetry about the centre that makes it smallest. Its
    noise term is the mean absolute difference of two pixels of noise, from the noise planes rather than from a
    patch of sky, so that it needs nothing far away.
    """
    lights = [np.ascontiguousarray(stamp.detection) for stamp in stamps]
    firsts = [central.petrosian() for central in centrals]
    asymmetries = [
        _asymmetry(stamp, light, stamp.detection_variance, _EXTENT * first) if np.isfinite(first) else None
        for stamp, light, first in zip(stamps, lights, firsts, strict=True)
    ]
    known = [k for k, found in enumerate(asymmetries) if found]
    centres = [found[1] for found in asymmetries if found]
    some = [lights[k] for k in known]
    growths = dict(zip(known, curves_of_growth(some, centres, list(map(_largest, some))), strict=True))
    structures = []
    for k, (found, *spread) in enumerate(zip(asymmetries, *_gini_and_m20(stamps, lights), strict=True)):
        radius, concentration = _concentration(growths[k]) if k in growths else (np.nan, np.nan)
        structures.append(Structure(radius, concentration, found[0] if found else np.nan, *spread))
    return structures


def _concentration(growth: CurveOfGrowth) -> tuple[float, float]:
    """Petrosian radius, and ``5 log10(r80 / r20)`` of the light within 1.5 of it."""
    radius = growth.petrosian()
    total = growth.flux_within(_EXTENT * radius) if np.isfinite(radius) else np.nan
    r20, r80 = (growth.radius_of(share * total, below=_EXTENT * radius) for share in (0.2, 0.8))
    return radius, 5 * math.log10(r80 / r20) if r20 > 0 else np.nan


def _largest(light: np.ndarray) -> float:
    """Largest circle: it must stay inside of the stamp, or be cut by the edge of the image."""
    return max(min(light.shape) / 2, _SMALLEST_REACH)


def _asymmetry(
    stamp: Stamp, light: np.ndarray, variance: np.ndarray, radius: float
) -> tuple[float, tuple[float, float]]:
    """Asymmetry within a radius about the best centre, which a pattern search finds to 1/16 pixel, and that centre."""
    best = (stamp.ellipse.y, stamp.ellipse.x)
    inside = np.nonzero(stamp.circle_overlap(*best, radius) > 0.5)
    total = np.abs(light[inside]).sum()
    if not total > 0:
        return np.nan, best
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
    return float((value - _noise_difference(variance[inside], best)) / total), best


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


def _noise_difference(variance: np.ndarray, centre: tuple[float, float]) -> float:
    """Expected sum of |n - n'| over pixels of noise, n' interpolated between four."""
    shares = [(2 * place) % 1 for place in centre]
    # Interpolation between pixels makes the turned noise smaller.
    kept = np.prod([(1 - share) ** 2 + share**2 for share in shares])
    return float(np.sqrt(2 / np.pi * (1 + kept)) * np.sqrt(variance).sum())


def _gini_and_m20(stamps: Sequence[Stamp], lights: Sequence[np.ndarray]) -> tuple[list[float], list[float]]:
    """Gini coefficient and M20 of each stamp."""
    distances = [stamp.elliptical_radius * stamp.ellipse.a for stamp in stamps]
    growths = curves_by_distance(lights, distances, list(map(_largest, lights)))
    radii = [growth.petrosian() for growth in growths]
    pairs = list(map(_spread, lights, distances, radii))
    return [gini for gini, _ in pairs], [m20 for _, m20 in pairs]


def _spread(light: np.ndarray, distance: np.ndarray, radius: float) -> tuple[float, float]:
    """Gini coefficient and M20 of the pixels that belong together at the elliptical Petrosian radius."""
    if not np.isfinite(radius):
        return np.nan, np.nan
    ring = np.abs(distance - radius) <= 0.5
    smooth = _smoothed(light, _SMOOTHING * radius)
    parts, n_parts = ndimage.label(smooth >= smooth[ring].mean(), _SIDES) if ring.any() else (None, 0)
    if parts is None or n_parts == 0:
        return np.nan, np.nan
    middle = parts.ravel()[int(np.argmax(np.where(distance <= radius, smooth, -np.inf)))]
    if middle == 0:
        return np.nan, np.nan
    segment = np.nonzero(parts == middle)
    return _gini(light[segment]), _m20(light[segment], *segment)


def _smoothed(light: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth as ``ndimage.gaussian_filter`` does with zeros outside; the kernel is made once for both axes."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 / sigma**2 * np.arange(-reach, reach + 1) ** 2)
    # Two passes in one dimension are a Gaussian in two.
    kernel /= kernel.sum()
    for axis in (0, 1):
        light = ndimage.correlate1d(light, kernel, axis, mode="constant")
    return light


def _gini(values: np.ndarray) -> float:
    """Gini coefficient of absolute values (Lotz et al. 2004, equation 6)."""
    values = np.sort(np.abs(values))
    n = len(values)
    if n < 2 or not values.sum() > 0:
        return np.nan
    return float(((2 * np.arange(1, n + 1) - n - 1) * values).sum() / (values.mean() * n * (n - 1)))


def _m20(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> float:
    total = values.sum()
    if not total > 0:
        return np.nan
    # The light-weighted mean is the centre that makes the second moment smallest.
    moment = values * ((y - (y * values).sum() / total) ** 2 + (x - (x * values).sum() / total) ** 2)
    order = np.argsort(values)[::-1]
    brightest = order[np.cumsum(values[order]) <= 0.2 * total]
    if not len(brightest) or not moment.sum() > 0 or not moment[brightest].sum() > 0:
        return np.nan
    return float(np.log10(moment[brightest].sum() / moment.sum()))
