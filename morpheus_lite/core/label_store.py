"""A label map that is read by window: an array of numbers, and what the numbers mean."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from morpheus_lite.core.protocols import ScratchArray
from morpheus_lite.core.scratch_array import ScratchMemory
from morpheus_lite.core.windows import Window


@dataclass(frozen=True, eq=False)
class LabelStore:
    """A label map whose labels change without a change of its pixels.

    Parameters
    ----------
    plane : ScratchArray
        Numbers of the pixels.
    label : numpy.ndarray
        int32, shape ``(number + 1,)``: label that each number stands for; 0 for sky and for what is no source.
    boxes : numpy.ndarray
        int64, shape ``(source, 4)``: first row, first column, last row + 1, last column + 1 of the source with label
        ``names[i]``.
    names : numpy.ndarray
        int32, shape ``(source,)``: labels in use, ascending.
    """

    plane: ScratchArray
    label: np.ndarray
    boxes: np.ndarray
    names: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray) -> "LabelStore":
        """The store of a checked label map in memory, which stays as it is."""
        numbers = np.zeros(labels.shape, np.int32)
        on_source = labels > 0
        names, numbers[on_source] = np.unique(labels[on_source], return_inverse=True)
        numbers[on_source] += 1
        sides = [
            (rows.start, columns.start, rows.stop, columns.stop) for rows, columns in ndimage.find_objects(numbers)
        ]
        boxes = np.array(sides, dtype=np.int64).reshape(-1, 4)
        return cls(ScratchMemory(numbers), np.concatenate([[0], names]).astype(np.int32), boxes, names)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.plane.shape

    def read(self, window: Window | None = None) -> np.ndarray:
        """Labels in a window, or all of them: int32, shape of the window."""
        return self.label[self.plane.read(window or Window(0, 0, *self.shape))]
