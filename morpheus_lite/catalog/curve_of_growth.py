"""Curve of growth: how much light lies within each radius of a source."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from morpheus_lite.catalog import kernels

_EXACT = 5.0
_STEP = 0.25
_HALF = round(0.5 / _STEP)
_N_EXACT = round(_EXACT / _STEP)


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
    growth = growth_by_distance(light, kernels.distances(light.shape, (y, x)), largest)
    n_exact = min(_N_EXACT, len(growth.radii) - 1)
    inner = slice(1, n_exact + 1)
    growth.flux[inner], growth.area[inner] = kernels.exact_growth(light, y, x, _STEP, n_exact)
    return growth


def growth_by_distance(light: np.ndarray, distance: np.ndarray, largest: float) -> CurveOfGrowth:
    """Curve of growth along any measure of distance in pixels, such as an elliptical one."""
    radii = np.arange(0, max(largest, 2) + _STEP / 2, _STEP)
    return CurveOfGrowth(radii, *kernels.growth(light, distance, _STEP, _HALF, len(radii)))
