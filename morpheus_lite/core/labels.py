"""Label maps: which pixel belongs to which source. int32, shape ``(y, x)``; 0 is sky."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from morpheus_lite.core.classification import Classification
from morpheus_lite.errors import InputError


def check_labels(labels: Any, shape: tuple[int, int]) -> np.ndarray:
    """A label map as the rest of the package takes it.

    Parameters
    ----------
    labels : array_like of int
        Shape ``(y, x)``. Negative labels (unclassified, in maps of the published package) become sky.
    shape : (int, int)
        Height and width of the image that the labels belong to.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(y, x)``.

    Raises
    ------
    InputError
        Not whole numbers, another shape, or labels too large for int32.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"the label map holds {labels.dtype} values; expected whole numbers, 0 for sky (convert: .astype(int))"
        )
    if labels.shape != tuple(shape):
        raise InputError(f"the label map has shape {labels.shape}, the image {tuple(shape)}; expected the same (y, x)")
    largest = int(labels.max(initial=0))
    if largest > np.iinfo(np.int32).max:
        raise InputError(f"label {largest} does not fit int32; renumber the sources")
    return np.maximum(labels, 0).astype(np.int32)


class LabelMap(np.ndarray):
    """A label map that remembers what it was made of, so that `deblend` and `measure` need not be told again.

    It is an int32 array like any other. Whatever is made of it, such as a part, a copy or a mask, remembers nothing.

    Attributes
    ----------
    classification : Classification or None
        Class maps that the sources were found in.
    parents : numpy.ndarray or None
        int32, shape ``(y, x)``: the labels before deblending; None if nothing was deblended.
    """

    classification: Classification | None = None
    parents: np.ndarray | None = None

    @classmethod
    def of(
        cls, labels: np.ndarray, classification: Classification | None, parents: np.ndarray | None = None
    ) -> "LabelMap":
        """The same array, with what it was made of."""
        found = labels.view(cls)
        found.classification, found.parents = classification, parents
        return found

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        """Results of arithmetic are plain arrays and numbers."""
        return array[()] if return_scalar else np.asarray(array)


@dataclass(frozen=True, eq=False)
class LabelledPixels:
    """The pixels of every source, gathered once so that sums over sources need no loop.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the label map.
    labels : numpy.ndarray
        int32, shape ``(source,)``, ascending.
    y, x : numpy.ndarray
        int64, shape ``(n,)``: rows and columns of the labelled pixels, by source, in raster order within one.
    starts : numpy.ndarray
        int64, shape ``(source,)``: where each source begins in ``y`` and ``x``.
    row, column : numpy.ndarray
        int64, shape ``(n,)``: rows and columns of the pixels in the whole image, where the label map is a piece of one.
    """

    shape: tuple[int, int]
    labels: np.ndarray
    y: np.ndarray
    x: np.ndarray
    starts: np.ndarray
    row: np.ndarray
    column: np.ndarray

    @classmethod
    def gather(cls, labels: np.ndarray, *, origin: tuple[int, int] = (0, 0)) -> "LabelledPixels":
        """Sort the labelled pixels of a checked map, whose first pixel is ``origin`` of the whole image, by source."""
        flat = labels.ravel()
        pixels = np.flatnonzero(flat)
        pixels = pixels[np.argsort(flat[pixels], kind="stable")]
        names, starts = np.unique(flat[pixels], return_index=True)
        y, x = np.divmod(pixels, labels.shape[1])
        return cls(labels.shape, names, y, x, starts, y + origin[0], x + origin[1])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the whole image that the label map begins at."""
        return (int(self.row[0] - self.y[0]), int(self.column[0] - self.x[0])) if len(self) else (0, 0)

    @property
    def boxes(self) -> np.ndarray:
        """int64, shape ``(source, 4)``: first row, first column, last row + 1, last column + 1 in the whole image."""
        if not len(self):
            return np.zeros((0, 4), dtype=np.int64)
        first = [np.minimum.reduceat(place, self.starts) for place in (self.row, self.column)]
        last = [np.maximum.reduceat(place, self.starts) + 1 for place in (self.row, self.column)]
        return np.stack([*first, *last], axis=1)

    @property
    def sizes(self) -> np.ndarray:
        """int64, shape ``(source,)``: pixels of each source."""
        return np.diff(self.starts, append=len(self.y))

    def take(self, plane: np.ndarray) -> np.ndarray:
        """Values of a ``(y, x)`` array on the labelled pixels: shape ``(n,)``."""
        return plane[self.y, self.x]

    def spread(self, values: np.ndarray) -> np.ndarray:
        """One value per source, repeated for its pixels: shape ``(n,)``."""
        return np.repeat(values, self.sizes)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sums over each source of ``(n,)`` values: float64, shape ``(source,)``."""
        if not len(self):
            return np.zeros(0)
        return np.add.reduceat(np.asarray(values, dtype=np.float64), self.starts)

    def any(self, mask: np.ndarray) -> np.ndarray:
        """True where a ``(y, x)`` mask is True anywhere on a source: bool, shape ``(source,)``."""
        return self.sum(self.take(mask)) > 0

    def brightest(self, values: np.ndarray) -> np.ndarray:
        """Index in ``y`` and ``x`` of each source's largest value, the first in raster order: shape ``(source,)``."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        largest = self.spread(np.maximum.reduceat(values, self.starts))
        candidates = np.flatnonzero(values == largest)
        return candidates[np.searchsorted(candidates, self.starts)]
