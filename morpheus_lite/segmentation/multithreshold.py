"""Multi-threshold deblending: pieces by light (photutils), put back together where light and classes say so."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from astropy.utils.exceptions import AstropyUserWarning
from scipy import ndimage
from skimage.measure import inertia_tensor_eigvals

from morpheus_lite.config.sources import MultithresholdOptions
from morpheus_lite.core.blocks import grown, inside
from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Window
from morpheus_lite.noise.detection_image import unbroken_detection_image
from morpheus_lite.noise.smoothed import LightNoise, SourceNoise

LARGEST_BOX = 1 << 23
"""Pixels of the largest bounding box of a source that is split: its working memory is some 100 bytes per pixel."""

_WITH_CORNERS = np.ones((3, 3), dtype=bool)
_IN_PLANE = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))]).astype(bool)
_MOST_VOXELS = 1 << 18
_POINT, _DISK, _IRREGULAR = (CLASSES.index(name) for name in ("point_source", "disk", "irregular"))


Relight = Callable[[tuple[slice, slice], np.ndarray], np.ndarray | None]
"""Takes the box of a source and its pixels in it, gives the smoothed light there as that source needs it, if other."""


def smoothed(light: np.ndarray, options: MultithresholdOptions) -> np.ndarray:
    """The light in which saddles are sought."""
    return ndimage.gaussian_filter(light, options.smoothing) if options.smoothing else light


def unbroken(
    read: Callable[[Window], SkyImage],
    window: Window,
    own: np.ndarray,
    options: MultithresholdOptions,
    scatter: tuple[float | None, ...],
    shape: tuple[int, int],
) -> np.ndarray:
    """Smoothed light of the box of a source that lies across the edge of a band, without a step there.

    Parameters
    ----------
    read : callable
        Gives the pixels of a window of the image.
    window : Window
        The box.
    own : numpy.ndarray
        bool, shape of the box: pixels of the source.
    options : MultithresholdOptions
        With the smoothing.
    scatter : tuple of (float or None)
        Of each band, as `~morpheus_lite.noise.detection_image.band_scatter` gives it.
    shape : (int, int)
        Height and width of the image.
    """
    around = grown(window, smoothing_reach(options), shape)
    here = inside(window, around)
    mask = np.zeros(around.shape, dtype=bool)
    mask[here] = own
    return smoothed(unbroken_detection_image(read(around), mask, scatter), options)[here]


def is_broken(bands: np.ndarray, own: np.ndarray) -> bool:
    """True if the valid bands, as bits of a number, are not the same in all pixels of a source."""
    numbers = bands[own]
    return bool((numbers != numbers[0]).any())


def smoothing_reach(options: MultithresholdOptions) -> int:
    """Pixels from which `smoothed` draws on each side."""
    return int(4 * options.smoothing + 0.5)


def split_sources(
    labels: np.ndarray,
    smooth: np.ndarray,
    planes: np.ndarray | None,
    options: MultithresholdOptions,
    *,
    noise: LightNoise,
    relight: Relight | None = None,
) -> Iterator[tuple[int, tuple[slice, slice], np.ndarray]]:
    """The sources that are several, each with its pieces.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    smooth : numpy.ndarray
        float64, shape ``(y, x)``: smoothed light.
    planes : numpy.ndarray or None
        float32, shape ``(y, x, class)``: mean probabilities.
    options : MultithresholdOptions
        When to split and when to join.
    noise : LightNoise
        Of the smoothed light in the empty sky.
    relight : callable, optional
        For sources that need another light.

    Yields
    ------
    label, box, pieces
        int; (slice, slice); int32 of the box's shape: 1, 2, ... with the brightest first, every pixel of the
        box as the piece nearest to it. A source's pieces depend on the pixels in its box alone.
    """
    # Levels begin at the noise: below, every wiggle of the sky would be a saddle.
    floor = noise.scatter if noise.scatter > 0 else np.finfo(np.float32).tiny
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or np.prod([side.stop - side.start for side in box]) > LARGEST_BOX:
            continue
        own = labels[box] == label
        if np.count_nonzero(own) < 2 * options.min_area:
            continue
        light = smooth[box] if relight is None or (other := relight(box, own)) is None else other
        pieces = _candidates(np.maximum(light, floor), own, options)
        if pieces is None:
            continue
        here = SourceNoise(light, own, noise)
        joined = _join(pieces, light, here, None if planes is None else planes[box], options)
        if joined.max() > 1:
            yield label, box, _nearest(joined)


def _candidates(light: np.ndarray, own: np.ndarray, options: MultithresholdOptions) -> np.ndarray | None:
    """Pieces of the largest connected part of one source before any are joined: int32, 0 outside; None if it is one."""
    part = _largest_part(own).astype(np.int32)
    if not _parts_somewhere(light, part > 0, options):
        return None
    from photutils.segmentation import SegmentationImage, deblend_sources

    with warnings.catch_warnings():
        # Said of sources with hundreds of candidate pieces, which it then splits at fewer levels.
        warnings.simplefilter("ignore", AstropyUserWarning)
        pieces = deblend_sources(
            light,
            SegmentationImage(part),
            options.min_area,
            n_levels=options.n_levels,
            contrast=options.contrast,
            relabel=False,
            progress_bar=False,
        ).data
    return pieces if pieces.max() > 1 else None


def _parts_somewhere(light: np.ndarray, own: np.ndarray, options: MultithresholdOptions) -> bool:
    """True if a source falls into two or more parts above any of the levels: most do not, and need no closer look."""
    values = light[own]
    low, high = values.min(), values.max()
    if not low < high:
        return False
    levels = low * (high / low) ** (np.arange(1, options.n_levels + 1) / (options.n_levels + 1))
    # All levels at once, as planes that do not touch; some at a time where the source is large.
    n_at_once = max(_MOST_VOXELS // own.size, 1)
    for first in range(0, len(levels), n_at_once):
        above = (light > levels[first : first + n_at_once, None, None]) & own
        parts, n_parts = ndimage.label(above, _IN_PLANE)
        if n_parts < 2:
            continue
        area = np.bincount(parts.ravel(), minlength=n_parts + 1)[1:]
        pixel = np.zeros(n_parts + 1, dtype=np.int64)
        pixel[parts.ravel()[::-1]] = np.arange(parts.size)[::-1]
        large = pixel[1:][area >= options.min_area] // own.size
        if len(large) != len(np.unique(large)):
            return True
    return False


def _largest_part(own: np.ndarray) -> np.ndarray:
    """Largest connected part of a source."""
    parts, n_parts = ndimage.label(own, _WITH_CORNERS)
    return own if n_parts < 2 else parts == np.bincount(parts.ravel())[1:].argmax() + 1


def _nearest(pieces: np.ndarray) -> np.ndarray:
    """Every pixel as the piece nearest to it."""
    if (pieces > 0).all():
        return pieces
    nearest = ndimage.distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
    return pieces[tuple(nearest)]


def _join(
    pieces: np.ndarray,
    smooth: np.ndarray,
    noise: SourceNoise,
    planes: np.ndarray | None,
    options: MultithresholdOptions,
) -> np.ndarray:
    """Pieces of one source after joining: int, 1, 2, ... with the most light first."""
    names = np.unique(pieces[pieces > 0])
    pieces = np.where(pieces > 0, np.searchsorted(names, pieces) + 1, 0)
    while pieces.max() > 1:
        saddles = _saddles(pieces, smooth)
        now = _Pieces.measure(pieces, smooth, planes)
        # The highest saddle first, in units of the fainter peak.
        order = sorted(saddles, key=lambda pair: -saddles[pair] / max(min(now.peaks[list(pair)]), 1e-30))
        pair = next((one for one in order if _one_galaxy(now, one, saddles[one], noise, options)), None)
        if pair is None:
            break
        pieces = np.where(pieces == pair[1], pair[0], pieces)
        pieces = np.where(pieces > pair[1], pieces - 1, pieces)
    fluxes = ndimage.sum_labels(smooth, pieces, np.arange(1, pieces.max() + 1))
    rank = np.empty(len(fluxes) + 1, dtype=np.int32)
    rank[0], rank[1 + np.argsort(-fluxes, kind="stable")] = 0, np.arange(1, len(fluxes) + 1)
    return rank[pieces]


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Pieces 1, 2, ... of one source: their light, its peaks and sums, and their classes if there are class maps."""

    pieces: np.ndarray
    smooth: np.ndarray
    planes: np.ndarray | None
    peaks: np.ndarray
    fluxes: np.ndarray
    kinds: np.ndarray | None
    boxes: list

    @classmethod
    def measure(cls, pieces: np.ndarray, smooth: np.ndarray, planes: np.ndarray | None) -> "_Pieces":
        index = np.arange(pieces.max() + 1)
        peaks, fluxes = (function(smooth, pieces, index) for function in (ndimage.maximum, ndimage.sum_labels))
        boxes = [None, *ndimage.find_objects(pieces)]
        return cls(pieces, smooth, planes, peaks, fluxes, _kinds(pieces, smooth, planes), boxes)

    def above(self, piece: int, saddle: float) -> tuple[np.ndarray, np.ndarray]:
        """Light of a piece above a level, and its classes where it is more than half as high as at its peak."""
        box = self.boxes[piece]
        above = np.where(self.pieces[box] == piece, np.maximum(self.smooth[box] - saddle, 0), 0)
        if self.planes is None:
            return above, np.zeros(0)
        # The light beneath is the galaxy's: what the piece is, its core says.
        kind = np.nan_to_num(self.planes[box][above > above.max() / 2, : len(CLASSES) - 1]).mean(axis=0)
        return above, kind / max(kind.sum(), 1e-9)


def _one_galaxy(
    now: _Pieces, pair: tuple[int, int], saddle: float, noise: SourceNoise, options: MultithresholdOptions
) -> bool:
    """True if two touching pieces are one source."""
    faint, bright = sorted(pair, key=lambda piece: now.fluxes[piece])
    peak = min(now.peaks[faint], now.peaks[bright])
    # A saddle no deeper than its noise separates nothing.
    if peak - saddle < options.min_saddle_depth * noise.at(saddle):
        return True
    if now.kinds is not None:
        stars = now.kinds[[faint, bright], _POINT] >= options.point_probability
        if stars[0] != stars[1]:
            return False
        if stars.all():
            # Diffraction spikes and bits of the halo of a star look like stars themselves.
            return bool(now.fluxes[faint] < options.max_spike_contrast * now.fluxes[bright])
    (above, kind), (_, other) = (now.above(piece, saddle) for piece in (faint, bright))
    # How surely both pieces are disk or irregular above the saddle: the less sure of the two decides.
    galaxy = 0.0 if now.kinds is None else min(one[_DISK] + one[_IRREGULAR] for one in (kind, other))
    likeness = (now.fluxes[faint] / now.fluxes[bright]) ** 2 if _is_round(above > above.max() / 2) else 0.0
    part = galaxy * (1 - likeness)  # equals are neighbours, unless one is as long and thin as an arm
    # From one share to the other on a logarithmic scale: 1 % for what may be two sources, 18 % for clumps.
    limit = options.merge_contrast ** (1 - part) * options.merge_contrast_structured**part
    if above.sum() < limit * now.fluxes[faint]:
        return True
    # A knot is narrow, and faint beside the piece that it lies on.
    minor = above.sum() < options.max_knot_contrast * now.fluxes[bright]
    return bool(
        minor
        and galaxy >= options.min_knot_probability
        and np.count_nonzero(above > above.max() / 2) <= options.max_knot_area
    )


def _is_round(area: np.ndarray) -> bool:
    """True if the pixels together are less than twice as long as they are wide."""
    if np.count_nonzero(area) < 2:
        return True
    minor, major = sorted(inertia_tensor_eigvals(area.astype(np.float64)))
    return bool(4 * minor > major)


def _saddles(pieces: np.ndarray, smooth: np.ndarray) -> dict[tuple[int, int], float]:
    """Highest light at which each two touching pieces meet: the fainter of the two pixels at their border."""
    found: dict[tuple[int, int], float] = {}
    height, width = pieces.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = np.s_[: height - dy, max(-dx, 0) : width - max(dx, 0)]
        other = np.s_[dy:, max(dx, 0) : width + min(dx, 0)]
        meet = (pieces[one] != pieces[other]) & (pieces[one] > 0) & (pieces[other] > 0)
        low, high = (np.where(meet, f(pieces[one], pieces[other]), 0)[meet] for f in (np.minimum, np.maximum))
        level = np.minimum(smooth[one], smooth[other])[meet]
        for first, second in set(zip(low.tolist(), high.tolist(), strict=True)):
            top = float(level[(low == first) & (high == second)].max())
            found[first, second] = max(found.get((first, second), -np.inf), top)
    return found


def _kinds(pieces: np.ndarray, smooth: np.ndarray, planes: np.ndarray | None) -> np.ndarray | None:
    """Light-weighted share of each source class in each piece: float64, shape ``(piece + 1, class)``; None unknown."""
    if planes is None:
        return None
    weight = np.where(np.isfinite(planes[:, :, 0]), np.maximum(smooth, 0), 0)
    index = np.arange(pieces.max() + 1)
    sums = [ndimage.sum_labels(weight * np.nan_to_num(planes[:, :, k]), pieces, index) for k in range(len(CLASSES) - 1)]
    kinds = np.stack(sums, axis=1)
    return kinds / np.maximum(kinds.sum(axis=1, keepdims=True), 1e-30)
