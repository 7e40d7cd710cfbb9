"""An image as a network sees it at a coarser sampling: whole bins of pixels, in units of their noise.

The bins lie on a grid that starts at the image's first pixel, so that a pixel is in the same bin however the image is
cut or read.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.large_objects import LargeObjects
from morpheus_lite.core.protocols import MapStore
from morpheus_lite.core.windows import Window, block_sums, even_windows, grown, inside, pieces, tiles
from morpheus_lite.inference.network_input import NetworkInput, flags_of, sky_scatter

_STRIP = 1 << 21  # pixels that are read at once
_SAMPLE = 1 << 22  # pixels that the noise of bins is measured in
_CELL = 128  # bins


class BinnedBands:
    """A `NetworkInput` whose pixels are bins of those of another.

    Parameters
    ----------
    whole : NetworkInput
        The image.
    factor : int
        Pixels along each side of a bin. Bins at the far edges may be cut.

    Attributes
    ----------
    sigma : numpy.ndarray
        float32, shape ``(band,)``: scatter of the bins where pixels scatter by 1 and are independent; 1 unless
        `measured`.

    Notes
    -----
    A bin has the sum of the S/N of its valid pixels over the root of their number, and over ``sigma``: it scatters by
    1, however many of its pixels are valid.
    """

    def __init__(self, whole: NetworkInput, factor: int) -> None:
        self.whole, self.factor, self.bands, self.present = whole, factor, whole.bands, whole.present
        self.sigma = np.ones(len(whole.bands), np.float32)

    @classmethod
    def measured(cls, whole: NetworkInput, factor: int) -> "BinnedBands":
        """Bins whose noise is measured on a sample of them: neighbouring pixels are often correlated."""
        made = cls(whole, factor)
        made.sigma = sky_scatter(map(made.snr, made.sample()))
        return made

    def sample(self) -> tuple[Window, ...]:
        """Windows in which the noise is measured: all of a small image, cells on an even grid of a large one."""
        height, width = self.shape
        if height * width * self.factor**2 <= _SAMPLE:
            return (Window(0, 0, height, width),)
        most = max(1, math.isqrt(_SAMPLE) // (_CELL * self.factor))
        return even_windows(self.shape, _CELL, (most, most))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in bins."""
        height, width = (-(-length // self.factor) for length in self.whole.shape)
        return height, width

    def snr(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """S/N and validity of a window of bins: float32 and bool, shape ``(y, x, band)``."""
        data = np.empty((*window.shape, len(self.bands)), np.float32)
        valid = np.empty(data.shape, bool)
        for part in self.strips(window):
            rows = slice(part.y - window.y, part.y - window.y + part.height)
            snr, usable = self.whole.snr(self.pixels(part))
            total, count = (block_sums(one, (0, 0), self.factor) for one in (snr, usable.astype(np.float32)))
            valid[rows] = count > 0
            data[rows] = total / np.sqrt(np.maximum(count, 1)) / self.sigma
        return data, valid

    def strips(self, window: Window) -> Iterator[Window]:
        """The parts that a window of bins is worked on in, to save memory."""
        n_rows = max(1, _STRIP // (window.width * self.factor**2))
        return pieces(window, (n_rows, window.width))

    def pixels(self, window: Window) -> Window:
        """The pixels of a window of bins."""
        (y, x), (height, width) = (window.y * self.factor, window.x * self.factor), self.whole.shape
        bottom, right = (window.y + window.height) * self.factor, (window.x + window.width) * self.factor
        return Window(y, x, min(bottom, height) - y, min(right, width) - x)

    def bins(self, window: Window) -> Window:
        """The bins that touch a window of pixels."""
        y, x = window.y // self.factor, window.x // self.factor
        bottom, right = -(-(window.y + window.height) // self.factor), -(-(window.x + window.width) // self.factor)
        return Window(y, x, bottom - y, right - x)


@dataclass(frozen=True, eq=False)
class ExpandedMaps:
    """Writes class maps of a binned image into those of the image: each pixel has the values of its bin.

    Parameters
    ----------
    maps : MapStore
        Of the image.
    binned : BinnedBands
        The binned image.
    """

    maps: MapStore
    binned: BinnedBands

    def write(self, window: Window, classification: Classification) -> None:
        """Write the maps of a window of bins; pixels without data in any band stay without value."""
        binned = self.binned
        for part in binned.strips(window):
            pixels = binned.pixels(part)
            rows = np.repeat(np.arange(part.height), binned.factor)[: pixels.height] + part.y - window.y
            columns = np.repeat(np.arange(part.width), binned.factor)[: pixels.width]
            classified, flags = flags_of(binned.whole.snr(pixels)[1][:, :, binned.present])
            planes = {}
            for name in ("probability", "entropy", "tta_disagreement"):
                plane = getattr(classification, name)
                if plane is not None:
                    planes[name] = plane[rows][:, columns]
                    planes[name][~classified] = np.nan
            expanded = replace(
                classification, **planes, coverage=classified.astype(np.int32), valid=classified, flags=flags
            )
            self.maps.write(pixels, expanded)


_SOURCE = 0.4  # probability of a source in a bin, from which its class counts
_SCALE = 25  # pixels (or bins of a wide PSF): what is narrower is not large-scale light
_OUTSTANDING = 2.0  # S/N of smoothed pixels, above the large-scale light
_CONTRAST = 1.0  # of the large-scale light: so much more has a compact source
_SHARP = 4.0  # the same of a source that the finest level takes for a disk or irregular, as it does knots
_CORE = 24.0  # pixels around the centre, which is that of the object itself
_TILES = (256, 512, 1024)
_COMPACT = [CLASSES.index("spheroid"), CLASSES.index("point_source")]


@dataclass(frozen=True, eq=False)
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

    maps: MapStore
    binned: BinnedBands
    large: LargeObjects
    finest: int
    within: Window | None

    def write(self, window: Window, classification: Classification) -> None:
        """Merge the maps of a window of bins."""
        factor, within = self.binned.factor, self.within or Window(0, 0, *self.maps.shape)
        chosen = np.concatenate([[False], self.large.binning == factor])
        for part in self.binned.strips(window):
            pixels = self.binned.pixels(part)
            if not pixels.touches(within):
                continue
            pixels = pixels.intersection(within)
            numbers = self.large.at(pixels)
            numbers = np.where(chosen[numbers], numbers, 0)
            if not numbers.any():
                continue
            rows = np.arange(pixels.y, pixels.y + pixels.height) // factor - window.y
            columns = np.arange(pixels.x, pixels.x + pixels.width) // factor - window.x
            coarse = classification.probability[rows][:, columns]
            fine = self.maps.read(pixels, ("mean",)).probability
            with np.errstate(invalid="ignore"):
                takes = (numbers > 0) & (1 - coarse[..., BACKGROUND] >= _SOURCE) & np.isfinite(fine[..., 0])
            # A compact source in front of a large object, or behind it, keeps its own class.
            takes &= ~self._stands_out(pixels, numbers, fine)
            merged = np.where(takes[:, :, None], coarse, fine)
            for k, name in enumerate(CLASSES):
                self.maps.write_plane(name.upper(), merged[:, :, k], pixels)
            taken = {"large_object": numbers}
            for kind in ("entropy", "tta_disagreement"):
                if (plane := getattr(classification, kind)) is not None:
                    taken[kind] = plane[rows][:, columns]
            for kind in taken.keys() & set(self.maps.kinds):
                before = self.maps.read_plane(kind.upper(), pixels)
                self.maps.write_plane(kind.upper(), np.where(takes, taken[kind], before), pixels)

    def _stands_out(self, window: Window, numbers: np.ndarray, fine: np.ndarray) -> np.ndarray:
        """Pixels of sources of their own, in front of a large object or behind it."""
        unit = self.finest
        side = _SCALE * unit
        margin = 2 * side + 4 * unit
        around = grown(window, margin, self.binned.whole.shape)
        snr, valid = self.binned.whole.snr(around)
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
            center = self.large.centers[number - 1]
            near = np.hypot(rows[:, None] - center[0], columns - center[1]) < _CORE * unit
            found &= ~(near & (numbers == number))
        return found


def coarse_tiles(binned: BinnedBands, large: LargeObjects, halo: int, within: Window | None) -> list[Window]:
    """The tiles, in bins, that hold the large objects seen in these bins; of ``within``, those that touch it.

    Their side is that which makes the least work for the whole image, so it is the same for every part of it.
    """
    boxes = [binned.bins(box) for box in large.boxes(binned.factor)]
    chosen: dict[int, list[Window]] = {}
    for side in _TILES:
        chosen[side] = [tile for tile in tiles(binned.shape, side) if any(tile.touches(box) for box in boxes)]
    side = min(_TILES, key=lambda side: len(chosen[side]) * (side + 2 * halo) ** 2)
    part = None if within is None else binned.bins(within)
    return [tile for tile in chosen[side] if part is None or tile.touches(part)]
