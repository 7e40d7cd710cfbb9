"""Multi-threshold deblending: pieces by light, put back together where light and classes say so."""

import numpy as np
from scipy import ndimage
from skimage.measure import inertia_tensor_eigvals

from morpheus_lite.config.classify import DeblendingOptions
from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.saddles import split_at_saddles
from morpheus_lite.noise.detection_image import LightNoise, SourceNoise

LARGEST_BOX = 1 << 23
"""Pixels of the largest bounding box of a source that is split: its working memory is some 100 bytes per pixel."""

_LARGE_SCALE = 25  # pixels: what is narrower is no large-scale light
_WITH_CORNERS = np.ones((3, 3), dtype=bool)

_POINT, _DISK, _IRREGULAR = (CLASSES.index(name) for name in ("point_source", "disk", "irregular"))


def split_source(
    light: np.ndarray,
    own: np.ndarray,
    planes: np.ndarray | None,
    options: DeblendingOptions,
    *,
    noise: LightNoise,
    large: np.ndarray | None = None,
) -> np.ndarray | None:
    """Pieces of a source, from the pixels of its bounding box.

    Parameters
    ----------
    light : numpy.ndarray
        float64, shape ``(y, x)``: smoothed light.
    own : numpy.ndarray
        bool, shape ``(y, x)``: pixels of the source.
    planes : numpy.ndarray or None
        float32, shape ``(y, x, class)``: mean probabilities.
    options : DeblendingOptions
        When to split and when to join.
    noise : LightNoise
        Of the smoothed light in the empty sky.
    large : numpy.ndarray, optional
        int32, shape ``(y, x)``: number of the large object that a pixel is of, or 0: pieces whose peaks are of the same
        one are one source, those of different ones are not.

    Returns
    -------
    numpy.ndarray or None
        int32, shape ``(y, x)``: 1, 2, ... with the brightest first, every pixel of the box as the piece nearest to it;
        None if the source is one.
    """
    large = None if large is None or not large.any() else large
    # Levels begin at the noise: below, every wiggle of the sky would be a saddle.
    floor = noise.scatter if noise.scatter > 0 else np.finfo(np.float32).tiny
    coarse = np.maximum(light if large is None else _without_knots(light, large), floor)
    levels = {"n_levels": options.n_levels, "min_area": options.min_area}
    pieces = split_at_saddles(coarse, own, **levels, contrast=options.contrast)
    if pieces is None:
        return None
    pieces = pieces if large is None else _of_large_objects(pieces, light, large)
    joined = _join(_Pieces(pieces, light, planes, large), SourceNoise(light, own, noise), options)
    return nearest_piece(joined) if joined.max() > 1 else None


def nearest_piece(pieces: np.ndarray) -> np.ndarray:
    """Every pixel as the piece nearest to it."""
    if (pieces > 0).all():
        return pieces
    nearest = ndimage.distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
    return pieces[tuple(nearest)]


def _join(now: "_Pieces", noise: SourceNoise, options: DeblendingOptions) -> np.ndarray:
    """Pieces of one source after joining: int, 1, 2, ... with the most light first."""
    while len(now.peaks) > 2:
        saddles = now.saddles()
        # The highest saddle first, in units of the fainter peak.
        order = sorted(saddles, key=lambda pair: -saddles[pair] / max(min(now.peaks[list(pair)]), 1e-30))
        pair = next((one for one in order if _one_galaxy(now, one, saddles[one], noise, options)), None)
        if pair is None:
            break
        now.join(pair)
    rank = np.empty(len(now.peaks), dtype=np.int32)
    rank[0], rank[1 + np.argsort(-now.fluxes[1:], kind="stable")] = 0, np.arange(1, len(rank))
    return rank[now.pieces]


def _without_knots(light: np.ndarray, large: np.ndarray) -> np.ndarray:
    """The light with that of large objects on their own scale, where neither knots nor noise make peaks."""
    scale = ndimage.grey_opening(light, (_LARGE_SCALE, _LARGE_SCALE))
    return np.where(large > 0, ndimage.gaussian_filter(scale, _LARGE_SCALE / 4), light)


def _of_large_objects(pieces: np.ndarray, smooth: np.ndarray, large: np.ndarray) -> np.ndarray:
    """Pieces with all those of one large object as one."""
    names = np.unique(pieces[pieces > 0])
    numbers = _at_peaks(pieces, smooth, names, large)
    for number in np.unique(numbers[numbers > 0]).tolist():
        same = names[numbers == number]
        pieces = np.where(np.isin(pieces, same), same[0], pieces)
    return pieces


def _at_peaks(pieces: np.ndarray, smooth: np.ndarray, names: np.ndarray, large: np.ndarray) -> np.ndarray:
    """Number of the large object at the peak of each piece, 0 where it is of none."""
    return np.array([large[place] for place in ndimage.maximum_position(smooth, pieces, names)], dtype=np.int64)


class _Pieces:
    """Pieces 1, 2, ... of one source while they are joined.

    Parameters
    ----------
    pieces : numpy.ndarray
        int32, shape ``(y, x)``: any numbers, 0 outside of the source.
    smooth : numpy.ndarray
        float64, shape ``(y, x)``: the light.
    planes : numpy.ndarray or None
        float32, shape ``(y, x, class)``: mean probabilities.
    large : numpy.ndarray or None
        int32, shape ``(y, x)``: number of the large object that a pixel is of, or 0.

    Attributes
    ----------
    peaks, fluxes : numpy.ndarray
        float64, shape ``(piece + 1,)``: largest and summed light of each piece.
    kinds : numpy.ndarray or None
        float64, shape ``(piece + 1, class)``: light-weighted share of each source class; None if unknown.
    large : numpy.ndarray
        int64, shape ``(piece + 1,)``: large object that each is of, or 0.
    """

    def __init__(
        self, pieces: np.ndarray, smooth: np.ndarray, planes: np.ndarray | None, large: np.ndarray | None
    ) -> None:
        names = np.unique(pieces[pieces > 0])
        self.pieces = np.where(pieces > 0, np.searchsorted(names, pieces) + 1, 0)
        self.smooth, self.planes = smooth, planes
        self.peaks = np.full(len(names) + 1, -np.inf)
        np.maximum.at(self.peaks, self.pieces, smooth)
        self.large = np.zeros(len(self.peaks), dtype=np.int64)
        if large is not None:
            self.large[1:] = _at_peaks(self.pieces, smooth, np.arange(1, len(self.peaks)), large)
        self._boxes = [None, *ndimage.find_objects(self.pieces)]
        self._border = _border(self.pieces, smooth)
        self._weights = [smooth.ravel()]
        if planes is not None:
            weight = np.where(np.isfinite(planes[:, :, 0]), np.maximum(smooth, 0), 0)
            self._weights += [(weight * np.nan_to_num(planes[:, :, k])).ravel() for k in range(len(CLASSES) - 1)]
        self._add_up()

    def _add_up(self) -> None:
        """Sum the light of each piece anew: in the order of the pixels, whatever was joined before."""
        flat, n_pieces = self.pieces.ravel(), len(self.peaks)
        self.fluxes, *kinds = (np.bincount(flat, weight, n_pieces) for weight in self._weights)
        self.kinds = None
        if kinds:
            shares = np.stack(kinds, axis=1)
            self.kinds = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-30)

    def join(self, pair: tuple[int, int]) -> None:
        """Make one piece of two; those behind the second move up."""
        first, second = pair
        number = np.arange(len(self.peaks))
        number[second:] -= 1
        number[second] = first
        self.pieces = number[self.pieces]
        self._border = [(number[one], number[other], level) for one, other, level in self._border]
        self.peaks[first] = max(self.peaks[first], self.peaks[second])
        self.peaks = np.delete(self.peaks, second)
        self.large[first] = max(self.large[first], self.large[second])
        self.large = np.delete(self.large, second)
        boxes = self._boxes.pop(second), self._boxes[first]
        self._boxes[first] = tuple(
            slice(min(one.start, other.start), max(one.stop, other.stop)) for one, other in zip(*boxes, strict=True)
        )
        self._add_up()

    def saddles(self) -> dict[tuple[int, int], float]:
        """Highest light at which each two touching pieces meet: the fainter of the two pixels at their border."""
        found: dict[tuple[int, int], float] = {}
        n_pieces = len(self.peaks)
        for one, other, level in self._border:
            meet = one != other
            low, high = (function(one[meet], other[meet]) for function in (np.minimum, np.maximum))
            top = np.full(n_pieces * n_pieces, -np.inf)
            np.maximum.at(top, low * n_pieces + high, level[meet])
            for first, second in set(zip(low.tolist(), high.tolist(), strict=True)):
                found[first, second] = max(found.get((first, second), -np.inf), float(top[first * n_pieces + second]))
        return found

    def above(self, piece: int, saddle: float) -> tuple[np.ndarray, np.ndarray]:
        """Light of a piece above a level, and its classes where it is more than half as high as at its peak."""
        box = self._boxes[piece]
        above = np.where(self.pieces[box] == piece, np.maximum(self.smooth[box] - saddle, 0), 0)
        if self.planes is None:
            return above, np.zeros(0)
        # The light beneath is the galaxy's: what the piece is, its core says.
        kind = np.nan_to_num(self.planes[box][above > above.max() / 2, : len(CLASSES) - 1]).mean(axis=0)
        return above, kind / max(kind.sum(), 1e-9)


def _border(pieces: np.ndarray, smooth: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs of neighbouring pixels of two pieces, by direction: their pieces, and the fainter light."""
    found = []
    height, width = pieces.shape
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = np.s_[: height - dy, max(-dx, 0) : width - max(dx, 0)]
        other = np.s_[dy:, max(dx, 0) : width + min(dx, 0)]
        meet = (pieces[one] != pieces[other]) & (pieces[one] > 0) & (pieces[other] > 0)
        level = np.minimum(smooth[one][meet], smooth[other][meet])
        found.append((pieces[one][meet], pieces[other][meet], level))
    return found


def _one_galaxy(
    now: _Pieces, pair: tuple[int, int], saddle: float, noise: SourceNoise, options: DeblendingOptions
) -> bool:
    """True if two touching pieces are one source."""
    if now.large[list(pair)].all():
        return False  # those of one large object are joined already
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
    # Equals are neighbours, unless one is as long and thin as an arm.
    likeness = 0.0
    if _is_round(above > above.max() / 2):
        likeness = min((now.fluxes[faint] / now.fluxes[bright]) ** 2, 1.0) if now.fluxes[bright] else 1.0
    part = galaxy * (1 - likeness)
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
