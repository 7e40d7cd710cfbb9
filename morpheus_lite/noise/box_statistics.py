"""Background and noise of one box of the mesh: what its pixels say, and what they cannot say."""

from typing import Any

import numpy as np
from astropy.stats import sigma_clipped_stats

from morpheus_lite.core.image import SkyImage

BOX = 128
"""Side of a mesh box in pixels: larger than nearly all galaxies, smaller than most steps in depth."""
_STEP = 2  # every second pixel of every second row: 4,096 values per box know its scatter to 1.5 %
_SPARSE, _FEWEST_SPARSE, _ALTERNATING = 8, 64, 0.5  # pixels; values; sigma between rows or columns that is no chance
_MIN_FRACTION = 0.2  # boxes with fewer valid pixels are filled from their neighbours
_CLIP = 2.5
_N_CLIPS = 6
_SIGMA_OF_CLIPPED = 0.982  # lower-half scatter of a Gaussian cut at +-2.5 sigma, in units of its sigma
STEEP = 2.0
"""Rise of the background across a box, in sigma, from which it is followed within the boxes: the noise of a box that is
less steep is right to 15 %."""
STEEP_SKY = 0.3
"""The same where the sources are left out."""
_N_PLANES = 6
_SETTLED = 0.01  # sigma across a box
_LOWER = 0.1587  # the quantile one sigma below the median
REACHES = (1.5, 0.75, 0.25)  # of the side of a source, around it: farther away there is little of its light
ABSURD = 1e6  # times the noise of the sky: a mark, such as the 1e16 of Euclid, and no noise
_FEWEST_REPEATS = 32  # sampled pixels: an area of at least 128 px
_BRIGHT = 5.0  # S/N of the pixels that show whether a noise plane holds the photons of the sources
_CELL = 16  # side, in sampled pixels, of the cell that such pixels are compared with
_LEAST_RISE = 0.1  # of the variance under them, below which the plane is taken to be the sky's
_MARK, _FEWEST_MARKS = 50.0, 8  # so many scatters below the median of a box, a value of so many pixels is no light
_MOST_SATURATED = 0.25  # of a box: the largest value there is, repeated, is the top of a star
_ALONE = 0.1
_SIDES_OF_SUMS = (4, 8, 16, 32)
_QUANTA = 1.5  # scatter of sums, in steps of the data, from which they are nearly Gaussian
_FLOATS = ("background", "sigma", "floor", "photons", "repeated", "level", "spread", "slope_y", "slope_x")
_COUNTS = ("n_repeated", "n_near", "n")
STATISTICS = np.dtype([(name, "f4") for name in _FLOATS] + [(name, "i4") for name in _COUNTS] + [("is_area", "?")])
"""What is measured in a box of the mesh, in one band.

``background`` in data units; ``sigma`` in data units, or those of the RMS plane; ``floor`` of the RMS plane's values,
their quantile 15.87 %; ``photons``: what a unit of light adds to the variance of the RMS plane; ``repeated``: the value
that most of ``n`` sampled pixels have, ``n_repeated`` of them, ``n_near`` the next smaller or larger; ``is_area``:
whether these lie side by side, with hardly any value next to theirs, or far below all others. ``level``, ``spread``:
background and sigma about a plane that rises by ``slope_y`` and ``slope_x`` per pixel. NaN where unknown.
"""
UNKNOWN_BOX = np.array((np.nan,) * len(_FLOATS) + (0,) * len(_COUNTS) + (False,), STATISTICS)


def rms_plane(image: SkyImage, part: tuple[slice | int, ...], has_rms: bool | None) -> np.ndarray | None:
    """Part of the RMS plane of a band, if it has one."""
    if image.rms is None or has_rms is False:
        return None
    rms = image.rms[part]
    return rms if has_rms or (rms > 0).any() else None


def box_statistics(
    strip: SkyImage, box: tuple[slice, slice, int], has_rms: bool | None, near: np.ndarray | None
) -> np.ndarray:
    """`STATISTICS` of one band in one box of a strip: a single value."""
    found = UNKNOWN_BOX.copy()
    for step in (1,) if _alternates(strip, box) else (_STEP, 1):
        sampled = slice(0, None, step), slice(box[1].start, box[1].stop, step), box[2]
        values = np.where(strip.valid[sampled], strip.data[sampled], np.float32(np.nan))
        if near is None:
            break
        values[_too_near(near[sampled[:2]], np.isfinite(values))] = np.nan
        if np.count_nonzero(np.isfinite(values)) > values.size / 2:
            break  # where there is little sky, every pixel of it counts
    rms = rms_plane(strip, sampled, has_rms)
    if rms is not None:
        known = (rms > 0) & np.isfinite(rms)
        if not known.any():
            return found
        found["floor"] = floor = _quantile(np.sort(rms[known]), _LOWER)
        values[~(known & (rms < ABSURD * floor))] = np.nan
    column = np.sort(values, axis=None)
    column = column[: np.searchsorted(column, np.nan)]  # NaN sorts last
    _note_area(column, values, found)
    part = box[0], slice(box[1].start, box[1].stop), box[2]
    _note_marks(strip.data[part], strip.valid[part], column, found)
    if found["is_area"]:
        values[values == found["repeated"]] = np.nan
        column = column[column != found["repeated"]]
    if len(column) < max(_MIN_FRACTION * values.size, 16):
        return found
    found["background"], found["sigma"] = _clipped_statistics(column)
    if np.isnan(found["sigma"]) and not found["is_area"]:
        usable = strip.valid[part] if near is None else strip.valid[part] & (near[part[:2]] <= len(REACHES))
        whole = np.where(usable, strip.data[part], np.float32(np.nan))
        found["background"], found["sigma"] = _statistics_of_sums(whole, found["background"])
        if rms is not None:
            found["sigma"] /= np.median(rms[np.isfinite(values)])
        return found
    if not found["sigma"] > 0:
        return found
    found["level"], found["spread"], found["slope_y"], found["slope_x"] = found["background"], found["sigma"], 0, 0
    # Half of a box lies as much above the other as half of the rise across the box.
    if _rise(values, found) > (STEEP if near is None else STEEP_SKY) / 2 / np.sqrt(1 + STEEP**2 / 12):
        _follow_slope(values, rms, step, found)
    if rms is not None:
        pulls = (values - found["background"]) / np.where(np.isfinite(values), rms, 1)
        found["photons"] = _photon_noise(values - found["background"], pulls, rms)
        found["sigma"] = _clipped_statistics(np.sort(pulls[np.isfinite(pulls)]))[1]
    return found


def _alternates(strip: SkyImage, box: tuple[slice, slice, int]) -> bool:
    """True if every second row or column of a box is brighter, as of detectors with two amplifiers."""
    middles, scatters = [], []
    for y, x in ((0, 0), (0, 1), (1, 0)):
        part = slice(y, None, _SPARSE), slice(box[1].start + x, box[1].stop, _SPARSE), box[2]
        column = np.sort(strip.data[part][strip.valid[part]])
        if len(column) < _FEWEST_SPARSE:
            return False
        middles.append(_quantile(column, 0.5))
        scatters.append(middles[-1] - _quantile(column, _LOWER))
    return bool(np.ptp(middles) > _ALTERNATING * min(scatters) > 0)


def _follow_slope(values: np.ndarray, rms: np.ndarray | None, step: int, found: np.ndarray) -> None:
    """Background and noise of a box about the plane that fits its sky, by least squares over the clipped values."""
    y, x = (step * np.arange(n) - (step * n - 1) / 2 for n in values.shape)
    middle, sigma = found["background"], found["sigma"]
    plane, slopes = np.zeros(values.shape, np.float32), np.zeros(2)
    # Sources tilt the plane and the plane decides what is clipped as a source: it settles in a few rounds.
    for _ in range(_N_PLANES):
        residual = values - plane
        sky = np.abs(residual - middle) < _CLIP * sigma
        weights = sky.sum(axis=1), sky.sum(axis=0)
        if min(map(np.count_nonzero, weights)) < 2:
            return
        residual = np.where(sky, residual - middle, 0)
        sums = residual.sum(axis=1), residual.sum(axis=0)
        away = [place - (count @ place) / count.sum() for count, place in zip(weights, (y, x), strict=True)]
        change = np.array([(one @ a) / (count @ (a * a)) for one, a, count in zip(sums, away, weights, strict=True)])
        slopes += change
        plane = (slopes[0] * y[:, None] + slopes[1] * x).astype(np.float32)
        flat = (values - plane)[np.isfinite(values)]
        middle, sigma = _clipped_statistics(np.sort(flat))
        if not sigma > 0 or np.abs(change).max() * BOX < _SETTLED * sigma:
            break
    found["slope_y"], found["slope_x"], found["level"], found["spread"] = *slopes, middle, sigma
    if rms is not None and sigma > 0:
        pulls = ((values - plane - middle) / rms)[np.isfinite(values)]
        found["spread"] = _clipped_statistics(np.sort(pulls))[1]


def _rise(values: np.ndarray, found: np.ndarray) -> float:
    """Difference of the means of the clipped values between the halves of a box, the larger one, in sigma."""
    middle, sigma = found["background"], found["sigma"]
    known = np.isfinite(values)
    # Clipped and not left out: a source in one half would else raise its mean.
    light = np.clip(values, middle - _CLIP * sigma, middle + _CLIP * sigma).astype(np.float64) - middle
    light[~known] = 0
    rises = []
    for axis in (0, 1):
        along, counts = light.sum(axis=axis), known.sum(axis=axis)
        half = len(along) // 2
        first, second = counts[:half].sum(), counts[half:].sum()
        if min(first, second) > 0:
            rises.append(along[half:].sum() / second - along[:half].sum() / first)
    return float(np.abs(rises).max(initial=0) / sigma)


def _too_near(near: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Pixels that do not count where there are enough that lie farther from the sources."""
    enough = _MIN_FRACTION * near.size
    reached = (step for step in range(len(REACHES)) if np.count_nonzero(usable & (near <= step)) >= enough)
    return near > next(reached, len(REACHES))


def _quantile(column: np.ndarray, share: float) -> np.ndarray:
    return column[int(share * len(column))]


def _note_area(column: np.ndarray, values: np.ndarray, found: np.ndarray) -> None:
    """Note which of a box's ``values``, ascending in ``column``, fills an area."""
    if not len(column):
        return
    # Few values are like the next one: the longest run of these is that of the most frequent value.
    alike = np.flatnonzero(column[1:] == column[:-1])
    runs = np.flatnonzero(np.append(True, alike[1:] != alike[:-1] + 1)) if len(alike) else alike
    lengths = np.append(runs[1:], len(alike)) - runs
    first, count = (int(alike[runs[lengths.argmax()]]), int(lengths.max()) + 1) if len(alike) else (0, 1)
    value, end = column[first], first + count
    # Noise fills the neighbouring values of a frequent value as well; a fill value stands alone.
    near = first - int(np.searchsorted(column, column[max(first - 1, 0)]))
    near += int(np.searchsorted(column, column[min(end, len(column) - 1)], side="right")) - end
    found["repeated"], found["n_repeated"], found["n_near"], found["n"] = value, count, near, len(column)
    share = count / column.size
    saturated = end == len(column) and share < _MOST_SATURATED
    if count >= _FEWEST_REPEATS and not saturated and stands_alone(count, near, len(column)):
        same = values == value
        beside = same[1:, 1:] & same[:-1, 1:] & same[1:, :-1]
        # Values of noise lie scattered; those of an area without data lie side by side, in squares of 2 x 2.
        together = np.count_nonzero(beside & same[:-1, :-1]) / max(int(np.count_nonzero(same[:-1, :-1])), 1)
        if share == 1 or together >= (1 + share) / 2:
            found["is_area"] = True


def _note_marks(data: np.ndarray, valid: np.ndarray, column: np.ndarray, found: np.ndarray) -> None:
    """Note the lowest value of all valid pixels of a box, where it is repeated far below its sampled values."""
    if not len(column) or found["is_area"]:
        return
    middle = _quantile(column, 0.5)
    far = _MARK * (middle - _quantile(column, _LOWER))
    # Mostly not even the lowest of all pixels is so low.
    if not far > 0 or middle - data.min() <= far:
        return
    pixels = data[valid]
    lowest = pixels.min()
    if middle - lowest > far:
        count = int(np.count_nonzero(pixels == lowest))
        if count >= _FEWEST_MARKS:
            found["repeated"], found["n_repeated"], found["n_near"] = lowest, count, 0
            found["n"], found["is_area"] = pixels.size, True


def stands_alone(count: int, near: int, n: int) -> bool:
    """True if the neighbouring values are rarer than Poisson's law, or any noise, allows beside so many."""
    return near < _ALONE * count * min(1.0, -np.log(count / n)) if count < n else True


def _statistics_of_sums(values: np.ndarray, background: np.ndarray) -> tuple[Any, Any]:
    """Background and noise of a pixel from sums over squares of pixels of a box ``(y, x)``, NaN where not valid.

    The smallest squares whose sums scatter by more than the steps of the data.
    """
    distinct = np.unique(values[np.isfinite(values)])
    if len(distinct) > 1:
        quantum = np.diff(distinct).min()
        for side in _SIDES_OF_SUMS:
            height, width = (length // side for length in values.shape)
            squares = values[: height * side, : width * side].reshape(height, side, width, side)
            sums = squares.sum(axis=(1, 3), dtype=np.float64)
            sums = sums[np.isfinite(sums)]
            if len(sums) < 16:
                break
            middle, _, scatter = sigma_clipped_stats(sums)
            if scatter >= _QUANTA * quantum:
                return middle / side**2, scatter / side
    return background, np.nan


def _photon_noise(light: np.ndarray, pulls: np.ndarray, rms: np.ndarray) -> float:
    """Variance that a unit of light adds to the RMS plane of a box; NaN where there is too little light.

    Bright pixels are compared with the sky in their own cell, so that depth does not count.
    """
    ratios, rises = [], []
    for y in range(0, light.shape[0], _CELL):
        for x in range(0, light.shape[1], _CELL):
            cell = np.s_[y : y + _CELL, x : x + _CELL]
            bright, sky = pulls[cell] > _BRIGHT, np.abs(pulls[cell]) < 2
            if not bright.any() or np.count_nonzero(sky) < 16:
                continue
            variance = rms[cell].astype(np.float64) ** 2
            level = np.median(variance[sky])
            # Variance above that of the sky beside the source. Per unit of light it is the inverse of the gain.
            rise = variance[bright] - level
            rises.append(rise / level)
            ratios.append(rise / light[cell][bright])
    if not ratios or np.median(np.concatenate(rises)) < _LEAST_RISE:
        return 0.0 if ratios else np.nan
    return float(np.median(np.concatenate(ratios)))


def _clipped_statistics(column: np.ndarray) -> tuple[Any, Any]:
    """Median and lower-half scatter of ascending values after clipping; the scatter NaN where there is none."""
    first, last = 0, len(column)
    for clip in range(_N_CLIPS):
        n = last - first
        # The column is sorted, so that median, quantile and clipping are look-ups: no copies, no partial sorts.
        median = column[first + n // 2]
        sigma = median - column[first + int(_LOWER * n)]
        if clip:
            sigma /= _SIGMA_OF_CLIPPED
        window = np.searchsorted(column, (median - _CLIP * sigma, median + _CLIP * sigma), side="right")
        if tuple(window) == (first, last) or window[1] - window[0] < 16:
            break
        first, last = int(window[0]), int(window[1])
    return median, sigma if sigma > 0 else np.float32(np.nan)
