"""Sky positions for a page without a WCS library: a coarse grid of directions, interpolated."""

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

WANTED_ERROR = 0.02
"""Grid nodes are added until the interpolation is this good, in pixels."""

_NODES = (5, 9, 17, 33, 65, 129, 257)


@dataclass(frozen=True, eq=False)
class SkyGrid:
    """Directions on the sky at the nodes of a regular grid over an image.

    Parameters
    ----------
    vectors : numpy.ndarray
        float64, shape ``(n, n, 3)``: ICRS unit vectors at the nodes, axes (y, x). The nodes span the image
        from edge to edge: pixel coordinates -0.5 to ``size - 0.5`` on both axes. NaN off the sky.
    max_error : float
        Largest error of linear interpolation between the nodes at test positions, in pixels.
    pixel_scale : float
        Side of a pixel in arcseconds at the centre of the image.
    """

    vectors: np.ndarray
    max_error: float
    pixel_scale: float


def sky_grid(wcs: WCS | None, shape: tuple[int, int]) -> SkyGrid | None:
    """The coarsest grid that gives positions to 0.02 px, or the finest there is.

    Parameters
    ----------
    wcs : astropy.wcs.WCS or None
        WCS of the image.
    shape : (int, int)
        Height and width of the image in pixels.

    Returns
    -------
    SkyGrid or None
        None without a celestial WCS. ``max_error`` says what was reached.

    Notes
    -----
    Unit vectors have neither a pole nor a jump at 24 h, so linear interpolation followed by normalisation works
    everywhere. Its error is measured, at the centres of the cells and at random positions, against the WCS itself.
    """
    if wcs is None or not wcs.has_celestial:
        return None
    wcs = wcs.celestial
    scale = _pixel_scale(wcs, shape)
    if not np.isfinite(scale) or scale <= 0:
        return None
    for n in _NODES:
        vectors = pixel_unit_vectors(wcs, *np.meshgrid(_nodes(n, shape[1]), _nodes(n, shape[0])))
        error = _interpolation_error(wcs, vectors, shape) * 206264.806 / scale
        if error < WANTED_ERROR:
            break
    return SkyGrid(vectors, error, scale) if np.isfinite(error) else None


def pixel_unit_vectors(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """ICRS unit vectors of 0-based pixel positions: float64, shape ``x.shape + (3,)``; NaN off the sky."""
    sky = wcs.pixel_to_world(x, y).icrs
    lon, lat = sky.ra.rad, sky.dec.rad
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def interpolate(vectors: np.ndarray, shape: tuple[int, int], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Unit vectors at pixel positions, as the page computes them: bilinear, then normalised."""
    n = len(vectors)
    column, row = (x + 0.5) / shape[1] * (n - 1), (y + 0.5) / shape[0] * (n - 1)
    i, j = (np.clip(np.floor(place).astype(int), 0, n - 2) for place in (column, row))
    s, t = (column - i)[..., None], (row - j)[..., None]
    low = vectors[j, i] * (1 - s) + vectors[j, i + 1] * s
    high = vectors[j + 1, i] * (1 - s) + vectors[j + 1, i + 1] * s
    mixed = low * (1 - t) + high * t
    return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)


def _nodes(n: int, size: int) -> np.ndarray:
    return np.linspace(-0.5, size - 0.5, n)


def _pixel_scale(wcs: WCS, shape: tuple[int, int]) -> float:
    """Arcseconds a pixel at the centre of the image, from three neighbouring positions."""
    x, y = (shape[1] - 1) / 2 + np.array([0, 1, 0]), (shape[0] - 1) / 2 + np.array([0, 0, 1])
    centre, right, up = pixel_unit_vectors(wcs, x, y)
    return float(np.sqrt(np.linalg.norm(np.cross(right - centre, up - centre))) * 206264.806)


def _interpolation_error(wcs: WCS, vectors: np.ndarray, shape: tuple[int, int]) -> float:
    """Largest distance between interpolated and true directions, in radians."""
    n = len(vectors)
    x, y = (0.5 * (_nodes(n, size)[1:] + _nodes(n, size)[:-1]) for size in (shape[1], shape[0]))
    rng = np.random.default_rng(0)
    x, y = (grid.ravel() for grid in np.meshgrid(x, y))
    x = np.append(x, rng.uniform(-0.5, shape[1] - 0.5, 500))
    y = np.append(y, rng.uniform(-0.5, shape[0] - 0.5, 500))
    distance = np.linalg.norm(interpolate(vectors, shape, x, y) - pixel_unit_vectors(wcs, x, y), axis=-1)
    return float(np.nanmax(distance)) if np.isfinite(distance).any() else np.inf
