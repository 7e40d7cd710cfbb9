"""Curve of growth: how much light lies within each radius of a source."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_EXACT = 5.0
_STEP = 0.25
_HALF = round(0.5 / _STEP)
_EXACT_RADII = np.arange(1, round(_EXACT / _STEP) + 1) * _STEP
_NEAR = int(np.ceil(_EXACT)) + 1


@dataclass(frozen=True, eq=False)
class CurveOfGrowth:
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
        reached = self.flux[: np.searchsorted(self.radii, below, side="right")] >= flux
        k = int(reached.argmax()) if len(reached) else 0
        if not flux > 0 or k == 0:
            return np.nan
        step = (flux - self.flux[k - 1]) / (self.flux[k] - self.flux[k - 1])
        return float(self.radii[k - 1] + step * _STEP)

    def flux_within(self, radius: float) -> float:
        """Light within a radius."""
        return _at(self.flux, radius)

    def radius_error(self, radius: float, share: float, whole: float, variance: Callable[[float], float]) -> float:
        """Error of a radius that holds a share of the light in an aperture, from the noise.

        Parameters
        ----------
        radius : float
            In pixels.
        share : float
            Of the light within ``whole``.
        whole : float
            Area of the aperture in pixels.
        variance : callable
            From an area in pixels to the variance of a sum over it.

        Notes
        -----
        The light inside counts by ``1 - share``, that outside by ``share``; the slope of the curve tells the radius.
        """
        step = max(1.0, 0.15 * radius)
        inner, outer = max(radius - step, 0.0), min(radius + step, float(self.radii[-1]))
        slope = (self.flux_within(outer) - self.flux_within(inner)) / (outer - inner) if outer > inner else np.nan
        if not slope > 0:
            return np.nan
        inside = min(_at(self.area, radius), whole)
        scatter = (1 - share) ** 2 * variance(inside) + share**2 * variance(max(whole - inside, 0.0))
        return math.sqrt(scatter) / slope

    def petrosian(self, eta: float = 0.2) -> float:
        """Petrosian radius: where the brightness at it is ``eta`` times the mean brightness within it.

        The brightness at a radius is the mean of a ring one pixel wide. NaN where the light does not fall
        that far.
        """
        radii, ratio, _ = self._brightness
        k = int((ratio <= eta).argmax()) if len(ratio) else 0
        if k == 0:
            return np.nan
        step = (ratio[k - 1] - eta) / (ratio[k - 1] - ratio[k])
        return float(radii[k - 1] + step * _STEP)

    def petrosian_error(self, radius: float, variance: Callable[[float], float]) -> float:
        """Error of the Petrosian radius, from the noise in the ring at it; ``variance`` as in `radius_error`."""
        radii, ratio, mean = self._brightness
        step = max(1.0, 0.15 * radius)
        first = float(radii[0])
        inner, outer = (
            _at(np.where(np.isfinite(ratio), ratio, 0), at - first) for at in (radius - step, radius + step)
        )
        fall = (inner - outer) / (min(radius + step, float(radii[-1])) - max(radius - step, first))
        ring = 2 * math.pi * radius
        scatter = math.sqrt(variance(ring)) / ring / _at(mean, radius - first)
        return scatter / fall if fall > 0 else np.nan

    @cached_property
    def _brightness(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Radii, brightness at each over the mean within it, and that mean."""
        if len(self.radii) < 4 * _HALF:
            return self.radii[:0], self.flux[:0], self.flux[:0]
        middle = slice(2 * _HALF, -_HALF)
        outer, inner = slice(3 * _HALF, None), slice(_HALF, -2 * _HALF)
        with np.errstate(invalid="ignore", divide="ignore"):
            ring = (self.flux[outer] - self.flux[inner]) / (self.area[outer] - self.area[inner])
            mean = self.flux[middle] / self.area[middle]
            return self.radii[middle], np.where(mean > 0, ring / mean, np.nan), mean


def _at(values: np.ndarray, radius: float) -> float:
    """Value at a radius, between values that are `_STEP` apart from radius 0 on; the last one beyond them."""
    if math.isnan(radius):
        return math.nan
    # Numpy's interpolation takes ten times as long for a single radius.
    place = min(max(radius / _STEP, 0.0), len(values) - 1.0)
    k = min(int(place), len(values) - 2)
    low, high = float(values[k]), float(values[k + 1])
    return low + (place - k) * (high - low)


def curve_of_growth(light: np.ndarray, y: float, x: float, largest: float) -> CurveOfGrowth:
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
    return curves_of_growth([light], [(y, x)], [largest])[0]


def curves_of_growth(
    lights: Sequence[np.ndarray], centres: Sequence[tuple[float, float]], largest: Sequence[float]
) -> list[CurveOfGrowth]:
    """Curves of growth of several sources, each as `curve_of_growth` gives it, in fewer calls of NumPy."""
    if not lights:
        return []
    distances = []
    for light, (y, x) in zip(lights, centres, strict=True):
        down, right = np.arange(light.shape[0]) - y, np.arange(light.shape[1]) - x
        distances.append(np.sqrt((down * down)[:, None] + right * right))
    growths = curves_by_distance(lights, distances, largest)
    for growth, *exact in zip(growths, *_exact_circles(lights, np.array(centres)), strict=True):
        n_exact = min(len(_EXACT_RADII) + 1, len(growth.radii))
        growth.flux[1:n_exact], growth.area[1:n_exact] = (values[: n_exact - 1] for values in exact)
    return growths


def curves_by_distance(
    lights: Sequence[np.ndarray], distances: Sequence[np.ndarray], largest: Sequence[float]
) -> list[CurveOfGrowth]:
    """Curves of growth along any measure of distance in pixels, such as an elliptical one."""
    lengths = [len(np.arange(0, max(far, 2) + _STEP / 2, _STEP)) for far in largest]
    n_radii, n_sources = max(lengths), len(lights)
    n_steps = n_radii + _HALF + 1
    away, values = (np.concatenate([plane.ravel() for plane in planes]) for planes in (distances, lights))
    # Circles grow by steps, and so does what lies wholly or partly within them: no need to sort. All that is too far
    # for the largest circle of a source goes to its last step.
    steps = np.ceil(away / _STEP)
    first = 0
    for k, (light, length) in enumerate(zip(lights, lengths, strict=True)):
        own = steps[first : first + light.size]
        np.minimum(own, length + _HALF, out=own)
        own += k * n_steps
        first += light.size
    steps = steps.astype(np.intp)
    sums = np.zeros((4, n_sources, n_radii + 2 * _HALF))
    for k, weights in enumerate((values, None, values * away, away)):
        found = np.bincount(steps, weights=weights, minlength=n_sources * n_steps).reshape(n_sources, n_steps)
        np.cumsum(found[:, :-1], axis=1, out=sums[k, :, _HALF:])
    # Wholly within is what lies half a pixel inside of the circle; what lies half a pixel outside is not within.
    whole, reached = sums[..., :n_radii], sums[..., 2 * _HALF :]
    partly = reached - whole
    radii = np.arange(n_radii) * _STEP
    within = whole[:2] + (radii + 0.5) * partly[:2] - partly[2:]
    within[..., 0] = 0.0
    return [
        CurveOfGrowth(radii[:length], flux[:length], area[:length])
        for length, flux, area in zip(lengths, *within, strict=True)
    ]


def _exact_circles(lights: Sequence[np.ndarray], centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Light and pixels within circles of `_EXACT_RADII`: float64, shape ``(source, radius)`` each.

    A pixel's overlap is the mixed difference over its corners of the area between the axes and a corner. Summing by
    parts moves the differences to the light, which is the same for all circles.
    """
    first = np.rint(centres).astype(int) - _NEAR
    side = 2 * _NEAR + 1
    change = np.zeros((len(lights), side + 1, side + 1))
    near = np.zeros((len(lights), side, side))
    for one, light, corner in zip(near, lights, first.tolist(), strict=True):
        inside = tuple(slice(max(at, 0), max(at + side, 0)) for at in corner)
        found = light[inside]
        top, left = (part.start - at for part, at in zip(inside, corner, strict=True))
        one[top : top + found.shape[0], left : left + found.shape[1]] = found
    change[:, :-1, :-1] = near
    change[:, 1:, :-1] -= near
    change[:, :-1, 1:] -= near
    change[:, 1:, 1:] += near
    # What lies outside of the image has no extent.
    ends = np.array([light.shape for light in lights])[..., None]
    corners = np.clip(first[..., None] + np.arange(side + 1), 0, ends) - 0.5 - centres[..., None]
    sign = np.sign(corners[:, 0, :, None]) * np.sign(corners[:, 1, None, :])
    area = _corner_areas(corners[:, 0], corners[:, 1])
    change *= sign
    flux = (area * change[:, None]).reshape(*area.shape[:2], -1).sum(axis=2)
    area = area[..., ::side, ::side] * sign[:, None, ::side, ::side]
    return flux, area[..., 1, 1] - area[..., 0, 1] - area[..., 1, 0] + area[..., 0, 0]


def _corner_areas(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Area of each circle of `_EXACT_RADII` in the rectangle between its centre and a corner.

    Parameters
    ----------
    down, right : numpy.ndarray
        float64, shape ``(source, corner)``: places of the corners along both axes as seen from the centre.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(source, radius, corner, corner)``.
    """
    radius = _EXACT_RADII[:, None]
    square = radius * radius
    tall, wide = (np.minimum(np.abs(side)[:, None], radius) for side in (down, right))
    below, beside = (
        0.5 * (side * np.sqrt(square - side**2) + square * np.arcsin(side / radius)) for side in (tall, wide)
    )
    area = below[..., None] + (beside - square * (np.pi / 4))[:, :, None]
    inner = (tall * tall)[..., None] + (wide * wide)[:, :, None] < square[..., None]
    np.copyto(area, tall[..., None] * wide[:, :, None], where=inner)
    return area
