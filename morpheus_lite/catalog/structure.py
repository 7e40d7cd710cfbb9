"""How the light of one source is arranged: Petrosian radius, concentration, asymmetry, Gini, M20."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from morpheus_lite.catalog.growth import Growth, grow, grow_by_distance
from morpheus_lite.catalog.stamps import Stamp

_EXTENT = 1.5
_SMOOTHING = 0.2
_SMALLEST_REACH = 4.0
_STEPS = (1.0, 0.5, 0.25, 0.125, 0.0625)
_MOST_MOVES = 6
_REACH = 2 * math.ceil(_MOST_MOVES * sum(_STEPS)) + 2


@dataclass(frozen=True)
class Structure:
    """Arrangement of the light of one source in one band; NaN where it cannot be told.

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


def central_growth(stamp: Stamp, band: int) -> Growth:
    """Curve of growth about the centre of a stamp, as far as circles stay inside of it."""
    light = np.ascontiguousarray(stamp.light[:, :, band])
    return grow(light, stamp.ellipse.y, stamp.ellipse.x, max(min(light.shape) / 2, _SMALLEST_REACH))


def measure_structure(stamp: Stamp, band: int, central: Growth) -> Structure:
    """Arrangement of the light in one band of a stamp, from its curve of growth among others.

    Notes
    -----
    Definitions are those of Lotz, Primack & Madau (2004) and Conselice (2003) as statmorph
    (Rodriguez-Gomez et al. 2019) has them: Gini and M20 over the pixels brighter, after smoothing with 0.2 elliptical
    Petrosian radii, than the light at that radius; asymmetry about the centre that makes it smallest. Its
    noise term is the mean absolute difference of two pixels of noise, from the noise planes rather than from a
    patch of sky, so that it needs nothing far away.
    """
    light = np.ascontiguousarray(stamp.light[:, :, band])
    # Circles must stay inside of the stamp, or be cut by the edge of the image.
    largest = max(min(light.shape) / 2, _SMALLEST_REACH)
    first = central.petrosian()
    gini, m20 = _gini_and_m20(stamp, light, largest)
    if not np.isfinite(first):
        return Structure(gini=gini, m20=m20)
    asymmetry, centre = _asymmetry(stamp, band, _EXTENT * first)
    growth = grow(light, *centre, largest)
    radius = growth.petrosian()
    total = growth.flux_within(_EXTENT * radius) if np.isfinite(radius) else np.nan
    r20, r80 = (growth.radius_of(share * total, below=_EXTENT * radius) for share in (0.2, 0.8))
    concentration = 5 * np.log10(r80 / r20) if r20 > 0 else np.nan
    return Structure(radius, float(concentration), asymmetry, gini, m20)


def _asymmetry(stamp: Stamp, band: int, radius: float) -> tuple[float, tuple[float, float]]:
    """Asymmetry within a radius about the best centre, which a pattern search finds to 1/16 pixel, and that centre."""
    light = np.ascontiguousarray(stamp.light[:, :, band])
    inside = stamp.circle_overlap(stamp.ellipse.y, stamp.ellipse.x, radius) > 0.5
    total = np.abs(light[inside]).sum()
    best = (stamp.ellipse.y, stamp.ellipse.x)
    if not total > 0:
        return np.nan, best
    turn = _HalfTurn.about(best, light, inside)
    value = float(turn.differences(best, 0.0)[1, 1])
    for step in _STEPS:
        for _ in range(_MOST_MOVES):
            values = turn.differences(best, step)
            down, right = np.unravel_index(np.argmin(values), values.shape)
            if not values[down, right] < value:
                break
            best = best[0] + step * (int(down) - 1), best[1] + step * (int(right) - 1)
            value = float(values[down, right])
    return float((value - _noise_difference(stamp.variance[:, :, band][inside], best)) / total), best


@dataclass(frozen=True, eq=False)
class _HalfTurn:
    """Light compared with itself turned by 180 degrees about centres near a first one.

    Parameters
    ----------
    padded : numpy.ndarray
        float64: the light as far as any turn reaches, 0 outside.
    corner : (int, int)
        Row and column of the light that ``padded`` begins at.
    turned, inside : numpy.ndarray
        float64: light of a box, and 1 for the pixels to compare there, both read backwards.
    first : (int, int)
        Row and column of the light that the box begins at.
    """

    padded: np.ndarray
    corner: tuple[int, int]
    turned: np.ndarray
    inside: np.ndarray
    first: tuple[int, int]

    @classmethod
    def about(cls, centre: tuple[float, float], light: np.ndarray, inside: np.ndarray) -> "_HalfTurn":
        """For centres within all moves of the search."""
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        corner = tuple(
            int(np.floor(2 * place)) - side.stop + 1 - _REACH for place, side in zip(centre, box, strict=True)
        )
        padded = np.zeros([side.stop - side.start + 2 * _REACH + 1 for side in box])
        there = [
            slice(max(start, 0), max(min(start + length, end), 0))
            for start, length, end in zip(corner, padded.shape, light.shape, strict=True)
        ]
        found = light[tuple(there)]
        top, left = (side.start - start for side, start in zip(there, corner, strict=True))
        padded[top : top + found.shape[0], left : left + found.shape[1]] = found
        backwards = light[box][::-1, ::-1].copy(), inside[box][::-1, ::-1].astype(np.float64)
        return cls(padded, (corner[0], corner[1]), *backwards, (box[0].start, box[1].start))

    def differences(self, centre: tuple[float, float], step: float) -> np.ndarray:
        """Sums of the absolute differences about a centre and its eight neighbours at a distance.

        Returns
        -------
        numpy.ndarray
            float64, shape ``(3, 3)``: the centre in the middle. Between pixels the light is interpolated.
        """
        height, width = self.turned.shape
        (top, part_y), (left, part_x) = (
            self._places(place, step, first, length, corner)
            for place, first, length, corner in zip(centre, self.first, (height, width), self.corner, strict=True)
        )
        first, last = left[0], left[-1] + width + 1
        rows = np.stack([self.padded[start : start + height + 1, first:last] for start in top])
        part = part_y[:, None, None]
        rows = rows[:, :-1] * (1 - part) + rows[:, 1:] * part
        sums = np.empty((3, 3))
        for column, (start, part) in enumerate(zip(left - first, part_x, strict=True)):
            both = rows[:, :, start : start + width] * (1 - part)
            both += rows[:, :, start + 1 : start + width + 1] * part
            both -= self.turned
            np.abs(both, out=both)
            both *= self.inside
            sums[:, column] = both.reshape(3, -1).sum(axis=1)
        return sums

    @staticmethod
    def _places(place: float, step: float, first: int, length: int, corner: int) -> tuple[np.ndarray, np.ndarray]:
        """Along one axis: pixels of ``padded`` that three centres turn onto the box, and parts of pixels left."""
        last = 2 * (place + step * np.array([-1, 0, 1])) - first
        whole = np.floor(last)
        return whole.astype(int) - length + 1 - corner, last - whole


def _noise_difference(variance: np.ndarray, centre: tuple[float, float]) -> float:
    """Expected sum of |n - n'| over pixels of noise, n' interpolated between four."""
    shares = [(2 * place) % 1 for place in centre]
    kept = np.prod([(1 - share) ** 2 + share**2 for share in shares])
    return float(np.sqrt(2 / np.pi * (1 + kept)) * np.sqrt(variance).sum())


def _gini_and_m20(stamp: Stamp, light: np.ndarray, largest: float) -> tuple[float, float]:
    along, across = stamp.axes
    distance = np.hypot(along, across * stamp.ellipse.a / stamp.ellipse.b)
    growth = grow_by_distance(light, distance, largest)
    radius = growth.petrosian()
    if not np.isfinite(radius):
        return np.nan, np.nan
    ring = np.abs(distance - radius) <= 0.5
    smooth = ndimage.gaussian_filter(light, _SMOOTHING * radius, mode="constant")
    parts, n_parts = ndimage.label(smooth >= smooth[ring].mean()) if ring.any() else (None, 0)
    if parts is None or n_parts == 0:
        return np.nan, np.nan
    middle = parts.ravel()[int(np.argmax(np.where(distance <= radius, smooth, -np.inf)))]
    if middle == 0:
        return np.nan, np.nan
    segment = parts == middle
    return _gini(light[segment]), _m20(light, segment)


def _gini(values: np.ndarray) -> float:
    """Gini coefficient of absolute values (Lotz et al. 2004, equation 6)."""
    values = np.sort(np.abs(values))
    n = len(values)
    if n < 2 or not values.sum() > 0:
        return np.nan
    return float(((2 * np.arange(1, n + 1) - n - 1) * values).sum() / (values.mean() * n * (n - 1)))


def _m20(light: np.ndarray, segment: np.ndarray) -> float:
    y, x = np.nonzero(segment)
    values = light[segment]
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
