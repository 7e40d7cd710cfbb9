"""Curve of growth: how much light lies within each radius of a source."""

import math
from dataclasses import dataclass

import numpy as np

from morpheus_lite.catalog.kernels import call_kernel, distances

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
    radii, light = np.arange(0, max(largest, 2) + _STEP / 2, _STEP), np.ascontiguousarray(light, np.float64)
    n_exact, (flux, area) = min(_N_EXACT, len(radii) - 1), np.empty((2, len(radii)))
    call_kernel("growth", light.size, light, distances(light.shape, (y, x)), _STEP, _HALF, len(radii), flux, area)
    call_kernel("exact_growth", *light.shape, light, y, x, _STEP, n_exact, flux[1:], area[1:])
    return CurveOfGrowth(radii, flux, area)
