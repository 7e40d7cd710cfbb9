"""Exact overlap of an ellipse with the pixels of an image."""

import math

import numpy as np


def ellipse_overlap(
    shape: tuple[int, int], centre: tuple[float, float], a: float, b: float, theta: float = 0.0
) -> np.ndarray:
    """Share of each pixel inside an ellipse.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image in pixels.
    centre : (float, float)
        Row and column of the centre, in pixels.
    a, b : float
        Semi-axes in pixels.
    theta : float
        Axis ``a``, counter-clockwise from the x axis, in radians.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(y, x)``; photutils computes it, in the box that the ellipse may reach.

    Examples
    --------
    >>> float(ellipse_overlap((9, 9), (4.0, 4.0), 3.0, 3.0).sum().round(9))
    28.274333882
    """
    from photutils.geometry import circular_overlap_grid, elliptical_overlap_grid

    share = np.zeros(shape)
    cosine, sine = math.cos(theta), math.sin(theta)
    reach = math.hypot(a * sine, b * cosine), math.hypot(a * cosine, b * sine)
    down, right = (_around(length, at, far) for length, at, far in zip(shape, centre, reach, strict=True))
    height, width = down.stop - down.start, right.stop - right.start
    if height and width:
        left, lower = right.start - 0.5 - centre[1], down.start - 0.5 - centre[0]
        grid = (left, left + width, lower, lower + height, width, height)
        if a == b:
            share[down, right] = circular_overlap_grid(*grid, a, 1, 1)
        else:
            share[down, right] = elliptical_overlap_grid(*grid, a, b, theta, 1, 1)
    return share


def _around(length: int, at: float, far: float) -> slice:
    """The pixels along one axis that an ellipse may reach."""
    first, last = math.floor(at - far + 0.5), math.ceil(at + far - 0.5)
    return slice(min(max(first, 0), length), max(min(last + 1, length), 0))
