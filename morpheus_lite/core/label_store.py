"""A label map of which no more than a window is in memory: a plane of numbers, and what the numbers mean."""

from dataclasses import dataclass

import numpy as np

from morpheus_lite.core.scratch_array import ScratchPlane
from morpheus_lite.core.windows import Window


@dataclass(frozen=True, eq=False)
class StreamedLabels:
    """A label map on disk.

    Parameters
    ----------
    plane : ScratchPlane
        Numbers of the pixels.
    label : numpy.ndarray
        int32, shape ``(number + 1,)``: label that each number stands for; 0 for sky and for what is no source.
    boxes : numpy.ndarray
        int64, shape ``(source, 4)``: first row, first column, last row + 1, last column + 1 of the source with label
        ``names[i]``.
    names : numpy.ndarray
        int32, shape ``(source,)``: labels in use, ascending.
    """

    plane: ScratchPlane
    label: np.ndarray
    boxes: np.ndarray
    names: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.plane.shape

    def read(self, window: Window) -> np.ndarray:
        """Labels in a window: int32, shape of the window."""
        return self.label[self.plane.read(window)]
