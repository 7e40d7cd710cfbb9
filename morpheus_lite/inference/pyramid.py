"""Large objects as the network sees them in bins, and the rule by which this becomes one map with the finest level.

A network sees some hundred pixels around each one. A disk of a half-light radius of 50 px is a spheroid to it, and its
arms are sources. So each large object (`~morpheus_lite.noise.overview`) is seen a second time, in bins that bring its
half-light radius to 9 to 18, and in its surroundings a pixel takes the class of the bins where they hold a source. What
stands out from the large-scale light is a source of its own, and keeps what the finest level says.
"""

import numpy as np
from scipy import ndimage

from morpheus_lite.core.blocks import grown, inside
from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.large_objects import LargeObjects
from morpheus_lite.core.protocols import MapStore
from morpheus_lite.core.windows import Window, tile_windows
from morpheus_lite.inference.binned import BinnedBands

_SOURCE = 0.4  # probability of a source in a bin, from which its class counts
_SCALE = 25  # pixels (or bins of a wide PSF): what is narrower is not large-scale light
_OUTSTANDING = 2.0  # S/N of smoothed pixels, above the large-scale light
_CONTRAST = 1.0  # of the large-scale light: so much more has a compact source
_SHARP = 4.0  # the same of a source that the finest level takes for a disk or irregular, as it does knots
_CORE = 24.0  # pixels around the centre, which is that of the object itself
_TILES = (256, 512, 1024)
_COMPACT = [CLASSES.index(name) for name in ("spheroid", "point_source")]


class MergedMaps:
    """Writes class maps of bins into the maps of the image, where these are those of large objects.

    Parameters
    ----------
    maps : MapStore
        Of the image, filled at the finest level.
    binned : BinnedBands
        The image in bins.
    large : LargeObjects
        Its large objects.
    finest : int
        Pixels along each side of a bin of the finest level.
    within : Window, optional
        The only part of the image whose maps are to be written.
    """

    def __init__(
        self, maps: MapStore, binned: BinnedBands, large: LargeObjects, finest: int, within: Window | None
    ) -> None:
        self._maps, self._binned, self._large, self._finest = maps, binned, large, finest
        self._within = within or Window(0, 0, *maps.shape)
        self._chosen = np.concatenate([[False], large.binning == binned.factor])

    def write(self, window: Window, classification: Classification) -> None:
        """Merge the maps of a window of bins."""
        factor = self._binned.factor
        for part in self._binned.strips(window):
            pixels = _shared(self._binned.pixels(part), self._within)
            if pixels is None:
                continue
            numbers = self._large.at(pixels)
            numbers = np.where(self._chosen[numbers], numbers, 0)
            if not numbers.any():
                continue
            rows, columns = (
                np.arange(start, start + length) // factor - first
                for start, length, first in (
                    (pixels.y, pixels.height, window.y),
                    (pixels.x, pixels.width, window.x),
                )
            )
            coarse = classification.probability[rows][:, columns]
            fine = self._maps.read(pixels, ("mean",)).probability
            with np.errstate(invalid="ignore"):
                takes = (numbers > 0) & (1 - coarse[..., BACKGROUND] >= _SOURCE) & np.isfinite(fine[..., 0])
            takes &= ~self._stands_out(pixels, numbers, fine)
            merged = np.where(takes[:, :, None], coarse, fine)
            for k, name in enumerate(CLASSES):
                self._maps.write_plane(name.upper(), merged[:, :, k], pixels)
            doubt = {"entropy": classification.entropy, "tta_disagreement": classification.tta_disagreement}
            for kind, plane in doubt.items():
                if plane is not None and kind in self._maps.kinds:
                    before = self._maps.read_plane(kind.upper(), pixels)
                    self._maps.write_plane(kind.upper(), np.where(takes, plane[rows][:, columns], before), pixels)
            if "large_object" in self._maps.kinds:
                before = self._maps.read_plane("LARGE_OBJECT", pixels)
                self._maps.write_plane("LARGE_OBJECT", np.where(takes, numbers, before).astype(np.int32), pixels)

    def _stands_out(self, window: Window, numbers: np.ndarray, fine: np.ndarray) -> np.ndarray:
        """Pixels of sources of their own, in front of a large object or behind it."""
        unit = self._finest
        side = _SCALE * unit
        margin = 2 * side + 4 * unit
        around = grown(window, margin, self._binned.whole.shape)
        snr, valid = self._binned.whole.snr(around)
        light = snr.sum(axis=2) / np.sqrt(np.maximum(valid.sum(axis=2), 1))
        smooth = ndimage.gaussian_filter(light, float(unit), truncate=4.0)
        scale = np.maximum(ndimage.grey_opening(smooth, (side, side)), 0)
        here = inside(window, around)
        rise, scale = (smooth - scale)[here], scale[here]
        with np.errstate(invalid="ignore"):
            is_compact = fine[..., _COMPACT].sum(axis=2) > 0.5 * (1 - fine[..., BACKGROUND])
        found = (rise > _OUTSTANDING) & (rise > np.where(is_compact, _CONTRAST, _SHARP) * scale)
        rows, columns = np.arange(window.y, window.y + window.height), np.arange(window.x, window.x + window.width)
        for number in np.unique(numbers[numbers > 0]).tolist():
            center = self._large.centers[number - 1]
            near = np.hypot(rows[:, None] - center[0], columns - center[1]) < _CORE * unit
            found &= ~(near & (numbers == number))
        return found


def coarse_tiles(binned: BinnedBands, large: LargeObjects, halo: int, within: Window | None) -> list[Window]:
    """The tiles, in bins, that hold the large objects seen in these bins; of ``within``, those that touch it.

    Their side is that which makes the least work for the whole image, so it is the same for every part of it.
    """
    boxes = [binned.bins(box) for box in large.boxes(binned.factor)]
    tiles: dict[int, list[Window]] = {}
    for side in _TILES:
        tiles[side] = [tile for tile in tile_windows(binned.shape, side) if any(tile.touches(box) for box in boxes)]
    side = min(_TILES, key=lambda side: len(tiles[side]) * (side + 2 * halo) ** 2)
    part = None if within is None else binned.bins(within)
    return [tile for tile in tiles[side] if part is None or tile.touches(part)]


def _shared(one: Window, other: Window) -> Window | None:
    """The part of two windows that they share."""
    y, x = max(one.y, other.y), max(one.x, other.x)
    bottom = min(one.y + one.height, other.y + other.height)
    right = min(one.x + one.width, other.x + other.width)
    return Window(y, x, bottom - y, right - x) if bottom > y and right > x else None
