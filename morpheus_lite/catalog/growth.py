"""Curve of growth: how much light lies within each radius of a source."""

from dataclasses import dataclass

import numpy as np

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
    down, right = np.arange(light.shape[0]) - y, np.arange(light.shape[1]) - x
    growth = grow_by_distance(light, np.sqrt((down * down)[:, None] + right * right), largest)
    n_exact = min(int(_EXACT / _STEP) + 1, len(growth.radii))
    growth.flux[1:n_exact], growth.area[1:n_exact] = _exact_circles(light, y, x, growth.radii[1:n_exact])
    return growth


def grow_by_distance(light: np.ndarray, distance: np.ndarray, largest: float) -> Growth:
    """Curve of growth along any measure of distance in pixels, such as an elliptical one."""
    radii = np.arange(0, max(largest, 2) + _STEP / 2, _STEP)
    n_radii = len(radii)
    away, values = distance.ravel(), light.ravel()
    # Circles grow by steps, and so does what lies wholly or partly within them: no need to sort. All that is too far
    # for the largest circle goes to the last step.
    steps = np.minimum(np.ceil(away / _STEP), n_radii + _HALF).astype(np.intp)
    sums = np.zeros((4, n_radii + 2 * _HALF))
    for k, weights in enumerate((values, None, values * away, away)):
        found = np.bincount(steps, weights=weights, minlength=n_radii + _HALF)
        np.cumsum(found[: n_radii + _HALF], out=sums[k, _HALF:])
    # Wholly within is what lies half a pixel inside of the circle; what lies half a pixel outside is not within.
    whole, reached = sums[:, :n_radii], sums[:, 2 * _HALF :]
    partly = reached - whole
    within = whole[:2] + (radii + 0.5) * partly[:2] - partly[2:]
    within[:, 0] = 0.0
    return Growth(radii, within[0], within[1])


def _exact_circles(light: np.ndarray, y: float, x: float, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Light and pixels within circles: float64, shape ``(radius,)`` each.

    A pixel's overlap is the mixed difference over its corners of the area between the axes and a corner. Summing by
    parts moves the differences to the light, which is the same for all circles.
    """
    reach = int(np.ceil(_EXACT)) + 1
    top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
    near = light[top : round(y) + reach + 1, left : round(x) + reach + 1]
    height, width = near.shape
    down, right = np.arange(height + 1) + (top - 0.5 - y), np.arange(width + 1) + (left - 0.5 - x)
    area = _corner_areas(down, right, radii)
    sign = np.sign(down)[:, None] * np.sign(right)
    change = np.zeros((height + 1, width + 1))
    change[:-1, :-1] = near
    change[1:, :-1] -= near
    change[:-1, 1:] -= near
    change[1:, 1:] += near
    flux = area.reshape(len(radii), -1) @ (sign * change).ravel()
    ends = area[:, :: max(height, 1), :: max(width, 1)] * sign[:: max(height, 1), :: max(width, 1)]
    return flux, ends[:, -1, -1] - ends[:, 0, -1] - ends[:, -1, 0] + ends[:, 0, 0]


def _corner_areas(down: np.ndarray, right: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Area of each circle in the rectangle between its centre and a corner.

    Parameters
    ----------
    down, right : numpy.ndarray
        float64, shapes ``(y,)`` and ``(x,)``: corners as seen from the centre.
    radii : numpy.ndarray
        float64, shape ``(radius,)``.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(radius, y, x)``.
    """
    radius = radii[:, None]
    square = radius * radius
    tall, wide = (np.minimum(np.abs(side), radius) for side in (down, right))
    below, beside = (
        0.5 * (side * np.sqrt(square - side * side) + square * np.arcsin(side / radius)) for side in (tall, wide)
    )
    area = below[:, :, None] + (beside - square * (np.pi / 4))[:, None]
    inner = (tall * tall)[:, :, None] + (wide * wide)[:, None] < square[:, :, None]
    np.copyto(area, tall[:, :, None] * wide[:, None], where=inner)
    return area
