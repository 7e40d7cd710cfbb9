"""Objects too large for a network that sees an image pixel by pixel: where they are, and how coarse it sees them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from morpheus_lite.core.windows import Window

BLOCK_SIDE = 8
"""Pixels along each side of the blocks that large objects are made of."""


@dataclass(frozen=True, eq=False)
class LargeObjects:
    """Large objects of an image, on a grid of blocks that starts at its first pixel.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(block y, block x)``: 1, 2, ... in the surroundings of an object, 0 elsewhere.
    binning : numpy.ndarray
        int64, shape ``(object,)``: pixels along each side of the bins in which the network sees it.
    centers : numpy.ndarray
        float64, shape ``(object, 2)``: brightest place of its large-scale light, y and x in pixels.
    radii : numpy.ndarray
        float64, shape ``(object,)``: half-light radius in pixels.
    """

    labels: np.ndarray
    binning: np.ndarray
    centers: np.ndarray
    radii: np.ndarray

    def record(self) -> list[dict[str, Any]]:
        """Make the plain values that headers and catalogues keep."""
        columns = zip(self.centers.tolist(), self.radii.tolist(), self.binning.tolist(), strict=True)
        return [{"x": x, "y": y, "radius": round(radius, 1), "binning": bins} for (y, x), radius, bins in columns]

    def at(self, window: Window) -> np.ndarray:
        """Object of every pixel of a window: int32, shape ``(y, x)``."""
        rows, columns = (
            np.arange(start, start + length) // BLOCK_SIDE
            for start, length in ((window.y, window.height), (window.x, window.width))
        )
        return self.labels[rows][:, columns]

    def boxes(self, binning: int) -> list[Window]:
        """Bounding boxes, in pixels, of the objects that are seen in such bins; they may reach beyond the image."""
        found = []
        for number in (np.flatnonzero(self.binning == binning) + 1).tolist():
            rows, columns = (np.flatnonzero((self.labels == number).any(axis=axis)) for axis in (1, 0))
            y, x = int(rows[0]) * BLOCK_SIDE, int(columns[0]) * BLOCK_SIDE
            found.append(Window(y, x, int(rows[-1] + 1) * BLOCK_SIDE - y, int(columns[-1] + 1) * BLOCK_SIDE - x))
        return found
