"""Exact overlap of an ellipse with the pixels of an image."""

import math

import numpy as np

_NOTHING = 1e-10
"""Share of a pixel that is rounding."""
_DOWN, _RIGHT = np.array([[-0.5, -0.5, 0.5, 0.5, -0.5], [-0.5, 0.5, 0.5, -0.5, -0.5]])[:, :, None]
"""Corners of a pixel, the first again at the end."""


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
        float64, shape ``(y, x)``: exactly 0 outside, exactly 1 inside.

    Notes
    -----
    Scaled so that the ellipse is the unit circle, a pixel is a parallelogram. Its area inside of the circle is the sum
    over its sides of the area between the side and the centre, signed; only pixels near the edge need it.

    Examples
    --------
    >>> float(ellipse_overlap((9, 9), (4.0, 4.0), 3.0, 3.0).sum().round(9))
    28.274333882
    """
    share = np.zeros(shape)
    cosine, sine = math.cos(theta), math.sin(theta)
    reach = math.hypot(a * sine, b * cosine), math.hypot(a * cosine, b * sine)
    box = tuple(_around(length, at, far) for length, at, far in zip(shape, centre, reach, strict=True))
    dy, dx = (np.arange(side.start, side.stop) - at for side, at in zip(box, centre, strict=True))
    if len(dy) and len(dx):
        share[box] = _circle(dy, dx, a) if a == b else _ellipse(dy[:, None], dx, a, b, cosine, sine)
    return share


def _around(length: int, at: float, far: float) -> slice:
    """The pixels along one axis that an ellipse may reach."""
    first, last = math.floor(at - far + 0.5), math.ceil(at + far - 0.5)
    return slice(min(max(first, 0), length), max(min(last + 1, length), 0))


def _circle(dy: np.ndarray, dx: np.ndarray, radius: float) -> np.ndarray:
    """Shares of pixels whose centres lie at distances from that of a circle.

    The mixed difference over the corners of each pixel of the area between the axes and a corner.
    """
    square = radius * radius
    down, right = (np.append(place - 0.5, place[-1] + 0.5) for place in (dy, dx))
    tall, wide = (np.minimum(np.abs(side), radius) for side in (down, right))
    below, beside = (
        0.5 * (side * np.sqrt(square - side * side) + square * np.arcsin(side / radius)) for side in (tall, wide)
    )
    inner = (tall * tall)[:, None] + wide * wide < square
    area = np.where(inner, tall[:, None] * wide, below[:, None] + (beside - square * (math.pi / 4)))
    area *= np.sign(down)[:, None] * np.sign(right)
    return _clean(area[1:, 1:] - area[:-1, 1:] - area[1:, :-1] + area[:-1, :-1])


def _ellipse(dy: np.ndarray, dx: np.ndarray, a: float, b: float, cosine: float, sine: float) -> np.ndarray:
    along, across = dx * (cosine / a) + dy * (sine / a), dy * (cosine / b) - dx * (sine / b)
    square = along * along + across * across
    # Half of a pixel's diagonal, where it is longest after scaling.
    reach = math.sqrt(0.5) / min(a, b)
    inside = (square < (1 - reach) ** 2) if reach < 1 else np.zeros(square.shape, dtype=bool)
    share = inside.astype(np.float64)
    y, x = np.nonzero((square < (1 + reach) ** 2) & ~inside)
    u = along[y, x] + (_RIGHT * (cosine / a) + _DOWN * (sine / a))
    v = across[y, x] + (_DOWN * (cosine / b) - _RIGHT * (sine / b))
    share[y, x] = _clean(_beside(u[:-1], v[:-1], u[1:], v[1:]).sum(axis=0) * (a * b))
    return share


def _clean(share: np.ndarray) -> np.ndarray:
    """Shares without the rounding of nothing and all."""
    return np.where(share < _NOTHING, 0.0, np.where(share > 1 - _NOTHING, 1.0, share))


def _beside(u: np.ndarray, v: np.ndarray, to_u: np.ndarray, to_v: np.ndarray) -> np.ndarray:
    """Area of the unit circle in the triangle of its centre and a side, positive where the side runs anticlockwise."""
    du, dv = to_u - u, to_v - v
    length = du * du + dv * dv
    middle = -(u * du + v * dv) / length
    half = np.sqrt(np.maximum(middle * middle - (u * u + v * v - 1) / length, 0))
    # From first to last, as shares of the side, it is inside of the circle.
    first, last = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
    enter_u, enter_v = u + first * du, v + first * dv
    leave_u, leave_v = u + last * du, v + last * dv
    sectors = np.arctan2(u * enter_v - v * enter_u, u * enter_u + v * enter_v)
    sectors += np.arctan2(leave_u * to_v - leave_v * to_u, leave_u * to_u + leave_v * to_v)
    return 0.5 * ((last - first) * (u * dv - v * du) + sectors)
