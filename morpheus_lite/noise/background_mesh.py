"""Local noise of an image, and the image in units of it: what one-pass networks see.

Every band is divided by its own per-pixel scatter, measured on a mesh that is fixed by the image's shape alone. The
mesh is measured once for the whole image (strip by strip if need be); then any part of the image is normalised by
itself with the same result, however the image is cut.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError

BOX = 128
"""Side of a mesh box in pixels: larger than nearly all galaxies, smaller than most steps in depth."""

_STEP = 2  # every second pixel of every second row: 4,096 values a box know its scatter to 1.5 %
_MIN_FRACTION = 0.2  # boxes with fewer valid pixels are filled from their neighbours
_CLIP = 2.5
_N_CLIPS = 6
_SIGMA_OF_CLIPPED = 0.982  # lower-half scatter of a Gaussian cut at +-2.5 sigma, in units of its sigma
_LOWER = 0.1587  # the quantile one sigma below the median


@dataclass(frozen=True, eq=False)
class NoiseMap:
    """Background and per-pixel noise of an image on a coarse mesh.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image the mesh belongs to.
    centers : (numpy.ndarray, numpy.ndarray)
        float64: rows and columns of the boxes' centres, ascending, 0-based.
    background, sigma : numpy.ndarray
        float32, shape ``(mesh y, mesh x, band)``: background and standard deviation of one pixel, in units of the
        data, or of the RMS plane where the image has one. ``sigma`` is 0 in a band that has no noise to measure
        (constant, or without valid pixels); such a band counts as missing.
    has_rms : tuple of bool, optional
        Which bands have an RMS plane, in the whole image. Not given, a band has one in those parts of the image in
        which the plane is not 0 throughout.
    """

    shape: tuple[int, int]
    centers: tuple[np.ndarray, np.ndarray]
    background: np.ndarray
    sigma: np.ndarray
    has_rms: tuple[bool, ...] | None = None


def measure_noise(image: SkyImage) -> NoiseMap:
    """Local background and noise of every band of an image.

    Parameters
    ----------
    image : SkyImage
        Any units; where it has an RMS plane, the plane gives the shape of the noise and only its level is measured
        (RMS planes of drizzled or PSF-matched images overstate the scatter of a pixel two to three times).

    Returns
    -------
    NoiseMap
        Identical to what `noise_from_rows` makes of `measure_row` for every strip of `strips`.

    Notes
    -----
    In every box the values are clipped repeatedly at 2.5 sigma about the median, sigma being the distance from the
    median down to the 15.87 % quantile: light of sources is positive and hardly reaches the lower half. Neighbouring
    boxes are then combined by a 3 x 3 median, so that a galaxy that fills one box does not raise it.
    """
    has_rms = None if image.rms is None else tuple(bool((image.rms[..., b] > 0).any()) for b in range(image.n_bands))
    rows = (measure_row(image.cutout(strip), image.shape, has_rms=has_rms) for strip in strips(image.shape))
    return noise_from_rows(image.shape, rows, has_rms=has_rms)


def strips(shape: tuple[int, int], *, width: int | None = None) -> tuple[Window, ...]:
    """The rows of mesh boxes of an image, as windows over its whole width, top to bottom.

    With a ``width`` in pixels every row is cut, left to right, into windows of whole boxes and about that width.
    """
    rows, columns = (_edges(length) for length in shape)
    step = len(columns) if width is None else max(1, width // BOX)
    cuts = [*columns[:-1:step].tolist(), shape[1]]
    return tuple(
        Window(int(a), left, int(b - a), right - left) for a, b in pairwise(rows) for left, right in pairwise(cuts)
    )


def measure_row(
    strip: SkyImage, shape: tuple[int, int], *, left: int = 0, has_rms: tuple[bool, ...] | None = None
) -> np.ndarray:
    """Background and noise in one row of boxes.

    Parameters
    ----------
    strip : SkyImage
        The image inside one window of `strips`.
    shape : (int, int)
        Height and width of the whole image.
    left : int
        First column of the strip in the image.
    has_rms : tuple of bool, optional
        As in `NoiseMap`.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(2, mesh x, band)``: background, sigma; NaN where a box has too few valid pixels.
    """
    columns, right = _edges(shape[1]), left + strip.shape[1]
    if left not in columns or right not in columns:
        raise InputError(f"a strip goes from column {left} to {right} of {shape[1]}: give strips as `strips` cuts them")
    columns = columns[(columns >= left) & (columns <= right)] - left
    row = np.empty((2, len(columns) - 1, strip.n_bands), np.float32)
    for i, (a, b) in enumerate(pairwise(columns)):
        part = (slice(0, None, _STEP), slice(int(a), int(b), _STEP))
        values = _whitened(strip, part, has_rms)
        row[:, i] = _clipped_statistics(values.reshape(-1, strip.n_bands).T)
    return row


def noise_from_rows(
    shape: tuple[int, int], rows: Iterable[np.ndarray], *, has_rms: tuple[bool, ...] | None = None
) -> NoiseMap:
    """The noise map from the statistics of its rows of boxes, top to bottom."""
    mesh = np.stack(list(rows), axis=1)
    rows_at, columns_at = ((edges[:-1] + edges[1:] - 1) / 2 for edges in map(_edges, shape))
    centers = rows_at, columns_at
    expected = (2, len(centers[0]), len(centers[1]))
    if mesh.shape[:3] != expected:
        raise InputError(f"rows of boxes have shape {mesh.shape[:3]}; an image of {shape} needs {expected}")
    background, sigma = (_smoothed(plane) for plane in mesh)
    return NoiseMap(shape, centers, np.nan_to_num(background), np.nan_to_num(sigma), has_rms)


def normalize(
    image: SkyImage,
    noise: NoiseMap,
    *,
    window: Window | None = None,
    out: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """An image in units of its own noise.

    Parameters
    ----------
    image : SkyImage
        The image, or the part of it inside ``window``.
    noise : NoiseMap
        Noise of the whole image.
    window : Window, optional
        Where ``image`` lies in the whole image; the whole image if not given.
    out : (numpy.ndarray, numpy.ndarray), optional
        Arrays to put S/N and validity in; new ones are made if not given.

    Returns
    -------
    snr : numpy.ndarray
        float32, shape ``(y, x, band)``: data minus background over noise; 0 where not valid.
    valid : numpy.ndarray
        bool, shape ``(y, x, band)``: valid, in a band whose noise is known there.

    Notes
    -----
    Bilinear between the centres of the boxes, constant beyond the outermost: a pixel's value depends on its position
    in the whole image and not on the window.
    """
    window = window or Window(0, 0, *noise.shape)
    if image.shape != window.shape:
        raise InputError(f"{image.name} is {image.shape} px, its window {window.shape}: expected the same")
    if image.n_bands != noise.sigma.shape[2]:
        raise InputError(f"{image.name} has {image.n_bands} bands, the noise map {noise.sigma.shape[2]}")
    snr, valid = out or (np.empty(image.data.shape, np.float32), np.empty(image.data.shape, bool))
    for b in range(image.n_bands):  # one band at a time: a tile of all of them is large
        if not np.any(noise.sigma[:, :, b] > 0):
            snr[:, :, b], valid[:, :, b] = 0, False
            continue
        plane = _whitened(image, np.s_[:, :, b : b + 1], noise.has_rms)[:, :, 0]
        plane -= interpolate_mesh(noise.background[:, :, b], noise.centers, window)
        plane *= interpolate_mesh(1 / noise.sigma[:, :, b], noise.centers, window)
        seen = np.isfinite(plane)
        plane[~seen] = 0
        snr[:, :, b], valid[:, :, b] = plane, seen
    return snr, valid


def interpolate_mesh(mesh: np.ndarray, centers: tuple[np.ndarray, np.ndarray], window: Window) -> np.ndarray:
    """A mesh plane, bilinearly interpolated to the pixels of a window: float32, shape ``(y, x)``."""
    lower, fraction = _positions(centers[0], window.y, window.height)
    upper = np.minimum(lower + 1, mesh.shape[0] - 1)
    fraction = fraction[:, None]
    rows = mesh[lower] * (1 - fraction) + mesh[upper] * fraction
    lower, fraction = _positions(centers[1], window.x, window.width)
    upper = np.minimum(lower + 1, mesh.shape[1] - 1)
    plane = rows[:, lower]
    plane *= 1 - fraction
    other = rows[:, upper]
    other *= fraction
    plane += other
    return plane


def _edges(length: int) -> np.ndarray:
    """Edges of the boxes along one axis; a rest shorter than half a box joins the last one."""
    n_boxes = max(1, (length + BOX // 2) // BOX)
    edges = np.arange(n_boxes + 1) * BOX
    edges[-1] = length
    return edges


def _positions(centers: np.ndarray, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    pixel = np.clip(np.arange(start, start + count, dtype=np.float64), centers[0], centers[-1])
    lower = np.clip(np.searchsorted(centers, pixel, side="right") - 1, 0, max(len(centers) - 2, 0))
    if len(centers) == 1:
        return lower, np.zeros(count, np.float32)
    step = centers[lower + 1] - centers[lower]
    return lower, ((pixel - centers[lower]) / step).astype(np.float32)


def _whitened(image: SkyImage, part: tuple[slice, ...], has_rms: tuple[bool, ...] | None) -> np.ndarray:
    """Part of the data over the RMS plane, if there is one; NaN where not valid."""
    whitened = np.where(image.valid[part], image.data[part], np.float32(np.nan))
    if image.rms is None:
        return whitened
    rms = image.rms[part]
    known = (rms > 0) & np.isfinite(rms)
    with_rms = (
        known.any(axis=(0, 1)) if has_rms is None else np.array(has_rms)[part[2] if len(part) > 2 else slice(None)]
    )
    rms = np.where(known, rms, np.float32(np.nan))
    rms[:, :, ~with_rms] = 1
    whitened /= rms
    return whitened


def _clipped_statistics(values: np.ndarray) -> np.ndarray:
    """Median and lower-half scatter of the clipped values, shape ``(2, band)``, of ``(band, value)``."""
    result = np.full((2, len(values)), np.nan, np.float32)
    for b, column in enumerate(np.sort(values, axis=1)):  # NaN sorts last
        count = len(column) - int(np.isnan(column).sum())
        if count < max(_MIN_FRACTION * len(column), 16):
            continue
        first, last = 0, count
        for clip in range(_N_CLIPS):
            n = last - first
            median = column[first + n // 2]
            sigma = median - column[first + int(_LOWER * n)]
            if clip:
                sigma /= _SIGMA_OF_CLIPPED
            window = np.searchsorted(column[:count], (median - _CLIP * sigma, median + _CLIP * sigma), side="right")
            if tuple(window) == (first, last) or window[1] - window[0] < 16:
                break
            first, last = int(window[0]), int(window[1])
        result[:, b] = median, sigma if sigma > 0 else np.nan
    return result


def _smoothed(mesh: np.ndarray) -> np.ndarray:
    """3 x 3 median of a mesh ``(y, x, band)`` over its finite values; holes filled from ever larger neighbourhoods."""
    result = mesh
    for _ in range(max(mesh.shape[:2]) + 1):
        padded = np.pad(result, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
        around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
        around = around.reshape(*mesh.shape, 9)
        empty = np.isnan(around).all(axis=-1)
        median = np.full(mesh.shape, np.nan, np.float32)
        median[~empty] = np.nanmedian(around[~empty], axis=-1)
        result = median if result is mesh else np.where(np.isnan(result), median, result)
        if _only_dead_bands(result):
            break
    return result.astype(np.float32)


def _only_dead_bands(mesh: np.ndarray) -> bool:
    """Whether every hole lies in a band that is nothing but holes."""
    holes = np.isnan(mesh)
    return bool((holes.any(axis=(0, 1)) == holes.all(axis=(0, 1))).all())
