"""Curve of growth: how much light lies within each radius of a source."""

from dataclasses import dataclass

import numpy as np
from photutils.geometry import circular_overlap_grid

_EXACT = 5.0
_STEP = 0.25
_HALF = round(0.5 / _STEP)


@dataclass(frozen=True, eq=False)
class Growth:
    """Light within circles, or within ellipses of one shape.

    Parameters
    ----------
    radii : numpy.ndarray
        float64, shape ``(n,)``: radii (semi-major axes) in pixels, 0.25 apart, from 0.
    flux, area : numpy.ndarray
        float64, shape ``(n,)``: summed light, and pixels summed over.
    """

    radii: np.ndarray
    flux: np.ndarray
    area: np.ndarray

    def radius_of(self, flux: float, *, below: float = np.inf) -> float:
        """Smallest radius up to ``below`` that holds this much light; NaN where none does."""
        inside = self.radii <= below
        reached = np.flatnonzero(self.flux[inside] >= flux)
        if not flux > 0 or not len(reached) or reached[0] == 0:
            return np.nan
        k = reached[0]
        step = (flux - self.flux[k - 1]) / (self.flux[k] - self.flux[k - 1])
        return float(self.radii[k - 1] + step * _STEP)

    def flux_within(self, radius: float) -> float:
        """Light within a radius."""
        return float(np.interp(radius, self.radii, self.flux))

    def petrosian(self, eta: float = 0.2) -> float:
        """Petrosian radius: where the brightness at it is ``eta`` times the mean brightness within it.

        The brightness at a radius is the mean of a ring one pixel wide. NaN where the light does not fall
        that far.
        """
        if len(self.radii) < 4 * _HALF:
            return np.nan
        middle = slice(2 * _HALF, -_HALF)
        outer, inner = slice(3 * _HALF, None), slice(_HALF, -2 * _HALF)
        with np.errstate(invalid="ignore", divide="ignore"):
            ring = (self.flux[outer] - self.flux[inner]) / (self.area[outer] - self.area[inner])
            mean = self.flux[middle] / self.area[middle]
            ratio = np.where(mean > 0, ring / mean, np.nan)
        below = np.flatnonzero(ratio <= eta)
        if not len(below) or below[0] == 0:
            return np.nan
        k = below[0]
        step = (ratio[k - 1] - eta) / (ratio[k - 1] - ratio[k])
        return float(self.radii[middle][k - 1] + step * _STEP)


def grow(light: np.ndarray, y: float, x: float, largest: float) -> Growth:
    """Curve of growth in circles.

    Parameters
    ----------
    light : numpy.ndarray
        float64, shape ``(y, x)``.
    y, x : float
        Centre in pixels.
    largest : float
        Largest radius in pixels.

    Notes
    -----
    Overlaps of circles and pixels are exact below 5 pixels; beyond, a pixel is inside by the part of its radial extent
    that is, which is good to 1e-3 of a pixel's light.
    """
    rows, columns = np.ogrid[: light.shape[0], : light.shape[1]]
    growth = grow_by_distance(light, np.hypot(rows - y, columns - x), largest)
    reach = int(np.ceil(_EXACT)) + 1
    top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
    near = light[top : round(y) + reach + 1, left : round(x) + reach + 1]
    height, width = near.shape
    corners = (left - 0.5 - x, left + width - 0.5 - x, top - 0.5 - y, top + height - 0.5 - y)
    n_exact = min(int(_EXACT / _STEP) + 1, len(growth.radii))
    circles = [circular_overlap_grid(*corners, width, height, radius, 1, 1) for radius in growth.radii[1:n_exact]]
    shares = np.array(circles).reshape(n_exact - 1, -1)
    growth.flux[1:n_exact] = (shares * near.ravel()).sum(axis=1)
    growth.area[1:n_exact] = shares.sum(axis=1)
    return growth


def grow_by_distance(light: np.ndarray, distance: np.ndarray, largest: float) -> Growth:
    """Curve of growth along any measure of distance in pixels, such as an elliptical one."""
    radii = np.arange(0, max(largest, 2) + _STEP / 2, _STEP)
    near = distance <= radii[-1] + 1
    away, values = distance[near], light[near]
    # Circles grow by steps, and so does what lies wholly or partly within them: no need to sort.
    bins = np.ceil(away / _STEP).astype(np.intp)
    sums = [
        np.cumsum(np.bincount(bins, weights=weights, minlength=len(radii) + 2 * _HALF))
        for weights in (values, values * away, None, away)
    ]
    return Growth(radii, _within(radii, *sums[:2]), _within(radii, *sums[2:]))


def _within(radii: np.ndarray, total: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Sum of ``values * clip(radius - away + 0.5, 0, 1)`` for every radius, by the sums up to each step."""
    partly = np.arange(len(radii)) + _HALF
    whole = partly - 2 * _HALF
    below, moment_below = (np.where(whole >= 0, sums[np.maximum(whole, 0)], 0) for sums in (total, moment))
    flux = below + (radii + 0.5) * (total[partly] - below) - (moment[partly] - moment_below)
    flux[0] = 0.0
    return flux
