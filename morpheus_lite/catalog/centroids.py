"""Windowed centroids: positions that do not depend on where the segment ends."""

import numpy as np

from morpheus_lite.catalog.stamps import Stamp
from morpheus_lite.skynoise import CorrelatedNoise

_HALF_LIGHT = 1.1774
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
    start = np.array([stamp.ellipse.x, stamp.ellipse.y])
    reach = int(np.ceil(_REACH * sigma)) + 2
    left, top = (max(int(np.rint(place)) - reach, 0) for place in start)
    here = slice(top, top + 2 * reach + 1), slice(left, left + 2 * reach + 1)
    light, variance = light[here], variance[here]
    y, x = (np.arange(length, dtype=np.float64) for length in light.shape)
    corner = np.array([left, top])
    place = start - corner
    for _ in range(_MOST_STEPS):
        # The window is a product of one along x and one along y.
        across, along = (np.exp(-0.5 * ((axis - at) / sigma) ** 2) for axis, at in zip((x, y), place, strict=True))
        away = x - place[0], y - place[1]
        columns = light @ across
        total = along @ columns
        if not total > 0:
            return lost
        step = 2 * np.array([along @ (light @ (across * away[0])), (along * away[1]) @ columns]) / total
        place = place + step
        if np.hypot(*(place + corner - start)) > max(half_light_radius, _NARROWEST):
            return lost
        if np.abs(step).max() < _SMALLEST_STEP:
            break
    spread = variance @ np.stack([(across * away[0]) ** 2, across**2], axis=1)
    scatter = np.sqrt([along**2 @ spread[:, 0], (along * away[1]) ** 2 @ spread[:, 1]])
    return place + corner, 2 * scatter / total * float(noise.factor(along.sum() * across.sum()))
