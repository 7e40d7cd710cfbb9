"""Windowed centroids: positions that do not depend on where the segment ends."""

import math

import numpy as np

from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.noise.correlated import CorrelatedNoise

# Half of a Gaussian's light lies within 1.1774 sigma.
_HALF_LIGHT = 1.1774
# Sigma: the window has fallen to 3e-4 there.
_REACH = 4.0
_NARROWEST = 1.0
_MOST_STEPS = 20
_SMALLEST_STEP = 1e-4


def windowed_centroid(
    stamp: Stamp, light: np.ndarray, variance: np.ndarray, half_light_radius: float, noise: CorrelatedNoise
) -> tuple[np.ndarray, np.ndarray]:
    """Centroid under a Gaussian window, and its error.

    Parameters
    ----------
    stamp : Stamp
        The source and its surroundings.
    light, variance : numpy.ndarray
        float64, shape ``(y, x)``: of the band to measure in, its sky subtracted, and of its noise.
    half_light_radius : float
        In pixels: the window has the half-light radius of the source.
    noise : CorrelatedNoise
        Of that band.

    Returns
    -------
    place, error : numpy.ndarray
        float64, shape ``(2,)``: x and y in pixels of the stamp, and their errors; NaN where the window does not settle
        within a half-light radius of where it began.

    Notes
    -----
    The window moves to where ``sum(w f (x - x0)) = 0``, as SExtractor's XWIN_IMAGE; the error is
    ``2 sqrt(sum(w^2 var (x - x0)^2)) / sum(w f)`` times the factor of correlated noise for the window's area.
    """
    lost = np.full(2, np.nan), np.full(2, np.nan)
    if not np.isfinite(half_light_radius):
        return lost
    sigma = max(half_light_radius / _HALF_LIGHT, _NARROWEST)
    start = stamp.ellipse.x, stamp.ellipse.y
    reach = int(np.ceil(_REACH * sigma)) + 2
    left, top = (max(round(place) - reach, 0) for place in start)
    here = slice(top, top + 2 * reach + 1), slice(left, left + 2 * reach + 1)
    light, variance = light[here], variance[here]
    height, width = light.shape
    # The window is a product of one along x and one along y: both at once.
    places = np.concatenate([np.arange(width), np.arange(height)])
    x, y = start[0] - left, start[1] - top
    for _ in range(_MOST_STEPS):
        window = _window(places, np.repeat((x, y), (width, height)), sigma)
        across, along = window[:, :width], window[:, width:]
        (total, right), (down, _) = (along @ light @ across.T).tolist()
        if not total > 0:
            return lost
        # Twice the mean: for a Gaussian source as wide as the window, this step lands on the centre at once.
        step = 2 * right / total, 2 * down / total
        x, y = x + step[0], y + step[1]
        if math.hypot(x + left - start[0], y + top - start[1]) > max(half_light_radius, _NARROWEST):
            return lost
        if max(abs(step[0]), abs(step[1])) < _SMALLEST_STEP:
            break
    spread = (along * along) @ variance @ (across * across).T
    scatter = np.sqrt([spread[0, 1], spread[1, 0]])
    area = float(along[0].sum() * across[0].sum())
    return np.array([x + left, y + top]), 2 * scatter / total * float(noise.factor(area))


def _window(places: np.ndarray, centre: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian, and the same times the distance from its centre: float64, shape ``(2, n)``."""
    window = np.empty((2, len(places)))
    away = places - centre
    np.exp(away * away * (-0.5 / sigma**2), out=window[0])
    np.multiply(window[0], away, out=window[1])
    return window
