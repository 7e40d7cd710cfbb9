"""How the light of one source is arranged: Petrosian radius, concentration, asymmetry, Gini, M20."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from morpheus_lite.catalog.growth import grow, grow_by_distance
from morpheus_lite.catalog.stamps import Stamp

_EXTENT = 1.5
_SMOOTHING = 0.2
_STEPS = (1.0, 0.5, 0.25, 0.125, 0.0625)
_MOST_MOVES = 6
_AROUND = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)


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


def measure_structure(stamp: Stamp, band: int) -> Structure:
    """Arrangement of the light in one band of a stamp.

    Notes
    -----
    Definitions are those of Lotz, Primack & Madau (2004) and Conselice (2003) as statmorph
    (Rodriguez-Gomez et al. 2019) has them: Gini and M20 over the pixels brighter, after smoothing with 0.2 elliptical
    Petrosian radii, than the light at that radius; asymmetry about the centre that makes it smallest. Its
    noise term is the mean absolute difference of two pixels of noise, from the noise planes rather than from a
    patch of sky, so that it needs nothing far away.
    """
    light = stamp.light[:, :, band]
    y, x = stamp.ellipse.y, stamp.ellipse.x
    # Circles must stay inside of the stamp, or be cut by the edge of the image.
    largest = max(min(light.shape) / 2, 4.0)
    first = grow(light, y, x, largest).petrosian()
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
    light = stamp.light[:, :, band]
    inside = stamp.circle_overlap(stamp.ellipse.y, stamp.ellipse.x, radius) > 0.5
    total = np.abs(light[inside]).sum()
    best = (stamp.ellipse.y, stamp.ellipse.x)
    if not total > 0:
        return np.nan, best
    box = ndimage.find_objects(inside.astype(np.int8))[0]
    value = _difference(light, inside, box, *best)
    for step in _STEPS:
        for _ in range(_MOST_MOVES):
            tried = [(best[0] + step * dy, best[1] + step * dx) for dy, dx in _AROUND]
            values = [_difference(light, inside, box, *centre) for centre in tried]
            k = int(np.argmin(values))
            if not values[k] < value:
                break
            best, value = tried[k], values[k]
    return float((value - _noise_difference(stamp.variance[:, :, band][inside], best)) / total), best


def _turned(light: np.ndarray, box: tuple[slice, slice], y: float, x: float) -> np.ndarray:
    """The light turned by 180 degrees about a centre, inside a box; 0 where that comes from outside."""
    last_y, last_x = 2 * y - box[0].start, 2 * x - box[1].start
    height, width = (side.stop - side.start for side in box)
    whole_y, whole_x = int(np.floor(last_y)), int(np.floor(last_x))
    part_y, part_x = last_y - whole_y, last_x - whole_x
    padded = np.zeros((height + 1, width + 1))
    first_y, first_x = whole_y - height + 1, whole_x - width + 1
    rows = slice(max(first_y, 0), max(min(whole_y + 2, light.shape[0]), 0))
    columns = slice(max(first_x, 0), max(min(whole_x + 2, light.shape[1]), 0))
    found = light[rows, columns]
    top, left = rows.start - first_y, columns.start - first_x
    padded[top : top + found.shape[0], left : left + found.shape[1]] = found
    mixed = padded[:-1] * (1 - part_y) + padded[1:] * part_y
    mixed = mixed[:, :-1] * (1 - part_x) + mixed[:, 1:] * part_x
    return mixed[::-1, ::-1]


def _difference(light: np.ndarray, inside: np.ndarray, box: tuple[slice, slice], y: float, x: float) -> float:
    return float(np.abs(light[box] - _turned(light, box, y, x))[inside[box]].sum())


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
