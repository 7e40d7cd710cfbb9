"""Noise of sums over pixels: measured in empty sky, where drizzling makes neighbours alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.loops import integral, median
from morpheus_lite.core.windows import sample_windows
from morpheus_lite.errors import expect
from morpheus_lite.runtime.resources import thread_map

_SIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_FEWEST = 60
_MOST = 20_000
_KEEP_OFF = 3
_ERROR = 1.17
"""Error of a scatter from the median absolute deviation of n values, times the root of n."""
_THREE_SIGMA = 0.99865
MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a Gaussian over its median absolute deviation."""
_COARSE = 0.05
"""Share of values that are one, from which the others are its steps."""
_RISE = 0.3
"""How much the logarithm of the factor may change with that of the side, before a square's own scatter counts."""


@dataclass(frozen=True)
class CorrelatedNoise:
    """Noise of sums over pixels of one band, compared with independent pixels.

    Parameters
    ----------
    sigma : float
        Scatter of single empty pixels, in data units; NaN where there was too little empty sky.
    sides : tuple of float
        Sides in pixels of the empty squares that were measured, ascending.
    factors : tuple of float
        Scatter of the sums in these squares, divided by the root of the summed variances of their pixels.
    slope : float
        Power of the side with which the factor grows beyond the largest square, in [0, 1].
    """

    sigma: float
    sides: tuple[float, ...] = (1.0,)
    factors: tuple[float, ...] = (1.0,)
    slope: float = 0.0

    def factor(self, area: np.ndarray | float) -> np.ndarray | float:
        """Factor on the noise of independent pixels for sums over ``area`` pixels: float64, shape of ``area``.

        Between the squares measured, a straight line in the logarithms of side and factor.
        """
        side = 0.5 * np.log(np.maximum(area, 1.0))
        sides, factors = self._logarithms
        beyond = np.maximum(side - sides[-1], 0)
        return np.exp(np.interp(side, sides, factors) + self.slope * beyond)

    @cached_property
    def _logarithms(self) -> tuple[np.ndarray, np.ndarray]:
        return np.log(self.sides), np.log(self.factors)


def measure_correlated_noise(image: SkyImage, labels: np.ndarray) -> dict[str, CorrelatedNoise]:
    """Noise of each band in the empty sky of an image.

    Parameters
    ----------
    image : SkyImage
        The image. Its RMS planes, where it has any, are what the factors refer to.
    labels : numpy.ndarray
        int32, shape ``(y, x)``: sources, which are left out with 3 pixels around them.

    Returns
    -------
    dict
        Band to `CorrelatedNoise`. It is a property of the whole image: measure it once, and hand it to every piece.

    Notes
    -----
    Squares of 1, 2, 3, ... 32 pixels per side are laid over the image; those without a source or an invalid pixel are
    empty. The scatter (from the median absolute deviation) of their sums, in units of the root of their summed
    variances, is 1 for independent pixels and a right RMS plane; it exceeds 1 where neighbours are correlated
    or the RMS plane is too low, and includes sources too faint to be detected. Sizes with fewer than 60 empty squares
    do not count; without any, the noise is taken as independent. Where few squares are empty, the factor follows
    that of the next smaller side. Of large images a sample is measured (`~morpheus_lite.core.windows.sample_windows`).
    """
    expect(image, SkyImage, "measure_correlated_noise")
    windows = sample_windows(image.shape)
    return noise_of_pieces([(image.cutout(window), labels[window.slices]) for window in windows])


def noise_of_pieces(
    pieces: Sequence[tuple[SkyImage, np.ndarray]], *, upper: bool = False
) -> dict[str, CorrelatedNoise]:
    """`measure_correlated_noise` of an image of which only these pieces are at hand.

    Parameters
    ----------
    pieces : sequence of (SkyImage, numpy.ndarray)
        The image and its labels inside each of `~morpheus_lite.core.windows.sample_windows`.
    upper : bool
        Whether the scatter is to tell how rare large values are, as in `scatter_of`.
    """
    images = [image for image, _ in pieces]
    covered = thread_map(lambda piece: ndimage.maximum_filter(piece[1] > 0, 2 * _KEEP_OFF + 1), pieces)
    fitted: dict[str, CorrelatedNoise] = {}
    before = None
    for index, band in enumerate(images[0].bands):
        light = _sum_up(index, images, covered, before)
        fitted[band], before = _fit(light, upper), light.sky
    return fitted


def _fit(light: "_Light", upper: bool) -> CorrelatedNoise:
    if len(light.pixels) < _FEWEST:
        return CorrelatedNoise(np.nan)
    sigma = scatter_of(light.pixels, upper=upper)
    if not sigma > 0:
        return CorrelatedNoise(np.nan)

    def seen(side: int) -> tuple[float, float, float]:
        pulls, n_apart = _pulls(light, sigma, side)
        factor = scatter_of(pulls, upper=upper) if len(pulls) >= _FEWEST else 0.0
        return float(side), factor, _ERROR / np.sqrt(n_apart)

    found = np.array(thread_map(seen, _SIDES))
    sides, factors, errors = found[(found[:, 1] > 0) & (found[:, 1] < np.inf)].T
    if not len(sides):
        return CorrelatedNoise(sigma)
    smooth = _filtered(sides, factors, errors)
    return CorrelatedNoise(sigma, tuple(sides.tolist()), tuple(smooth.tolist()), _slope(sides, smooth))


def scatter_of(values: np.ndarray, *, upper: bool = False) -> float:
    """Standard deviation of the bulk of some values: from the median absolute deviation, unless they are too coarse.

    Where many values are the median itself, as in counts, the deviation is 0 or a step of the data: then it is the
    standard deviation of all; or, if the ``upper`` one is asked for, one that tells how rare large values are, as the
    excesses of counts are larger than Gaussian ones.
    """
    middle = median(values)
    if np.count_nonzero(values == middle) <= _COARSE * len(values):
        return float(MAD_TO_SIGMA * median(values, middle))
    excess = (np.quantile(values, _THREE_SIGMA) - middle) / 3 if upper else 0.0
    return float(max(np.std(values), excess))


class _Sky:
    """Empty pixels ``(piece, y, x)``, and the empty squares there are: mostly the same in all bands."""

    def __init__(self, empty: np.ndarray) -> None:
        self.empty = empty
        self.squares = cache(partial(_empty_squares, np.stack(thread_map(integral, empty, empty))))


class _Light(NamedTuple):
    """One band of all pieces: its empty pixels, their light, and sums of light, and of variance if known.

    The sums are over rectangles from the first pixel of a piece on: float64, shape ``(piece, y + 1, x + 1)``.
    """

    sky: _Sky
    pixels: np.ndarray
    totals: list[np.ndarray]


def _sum_up(index: int, images: list[SkyImage], covered: list[np.ndarray], before: _Sky | None) -> _Light:
    def sums(image: SkyImage, covered: np.ndarray) -> tuple[np.ndarray, ...]:
        empty, light = image.valid[:, :, index] & ~covered, image.data[:, :, index]
        totals = [integral(light, empty)]
        if image.rms is not None:
            empty &= image.rms[:, :, index] > 0
            totals.append(integral(image.rms[:, :, index], empty, square=True))
        return empty, light[empty], *totals

    masks, pixels, *totals = zip(*thread_map(sums, images, covered), strict=True)
    empty = np.stack(masks)
    sky = before if before is not None and np.array_equal(before.empty, empty) else _Sky(empty)
    return _Light(sky, np.concatenate(pixels).astype(np.float64), [np.stack(one) for one in totals])


def _filtered(sides: np.ndarray, factors: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Factors made smooth: each is drawn to the one before by as much as it is less well known (a Kalman filter)."""
    smooth = np.log(factors)
    spread = errors[0] ** 2
    for k in range(1, len(sides)):
        spread += (_RISE * np.log(sides[k] / sides[k - 1])) ** 2
        gain = spread / (spread + errors[k] ** 2)
        smooth[k] = smooth[k - 1] + gain * (smooth[k] - smooth[k - 1])
        spread *= 1 - gain
    return np.exp(smooth)


def _slope(sides: np.ndarray, factors: np.ndarray) -> float:
    """Growth over the larger half of the squares; noise whose correlation ends has none."""
    last = slice(len(sides) // 2, None)
    if len(sides[last]) < 2:
        return 0.0
    # 0 for independent pixels; 1 for noise that is the same in all pixels of a square.
    return float(np.clip(np.polyfit(np.log(sides[last]), np.log(factors[last]), 1)[0], 0, 1))


def _pulls(light: _Light, sigma: float, side: int) -> tuple[np.ndarray, float]:
    """Sums in empty squares in units of independent noise, and how many squares apart from each other these are."""
    # Squares overlap by half along each axis: four times as many as fit side by side, and less scatter.
    step = max(side // 2, 1)
    places = light.sky.squares(side, step)
    n_apart = max(len(places) * (step / side) ** 2, 1.0)
    # Evenly thinned before they are summed: a million squares tell no more, and take their time.
    places = places[:: max(len(places) // _MOST, 1)]
    height, width = light.totals[0].shape[1:]
    row, column = np.divmod(places, -(-(width - side) // step))
    piece, row = np.divmod(row, -(-(height - side) // step))
    corner = (piece * height + step * row) * width + step * column
    ends = [corner + shift for shift in (side * width + side, side, side * width, 0)]
    sums, *variance = (a - b - c + d for a, b, c, d in ([total.take(at) for at in ends] for total in light.totals))
    return sums / (np.sqrt(variance[0]) if variance else sigma * side), min(n_apart, _MOST)


def _empty_squares(n_empty: np.ndarray, side: int, step: int) -> np.ndarray:
    """Numbers of the squares, of those that begin at every ``step``-th pixel, without a source: int64, row by row."""
    if min(n_empty.shape[1:]) <= side:
        return np.zeros(0, dtype=np.int64)
    begin, end = slice(None, -side, step), slice(side, None, step)
    tall = n_empty[:, end] - n_empty[:, begin]
    return np.flatnonzero(tall[:, :, end] - tall[:, :, begin] == side * side)
