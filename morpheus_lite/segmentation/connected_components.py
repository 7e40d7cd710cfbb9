"""Connected components of a mask that arrives tile by tile: labelled where they are, joined across the seams."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from morpheus_lite.core.windows import Window


@dataclass(frozen=True, eq=False)
class ComponentTable:
    """Components after joining.

    Parameters
    ----------
    component : numpy.ndarray
        int32, shape ``(number + 1,)``: component that each number given to a tile belongs to, from 1, in raster
        order of the components' first pixels; 0 for 0.
    area : numpy.ndarray
        int64, shape ``(component,)``: pixels.
    has_core : numpy.ndarray
        bool, shape ``(component,)``: whether any pixel was core.
    boxes : numpy.ndarray
        int64, shape ``(component, 4)``: first row, first column, last row + 1, last column + 1.
    """

    component: np.ndarray
    area: np.ndarray
    has_core: np.ndarray
    boxes: np.ndarray

    def keep(self, chosen: np.ndarray) -> "ComponentTable":
        """Keep the components where ``chosen`` is True, renumbered in the same order; the others become 0."""
        number = np.concatenate([[0], np.where(chosen, np.cumsum(chosen), 0)]).astype(np.int32)
        return ComponentTable(number[self.component], self.area[chosen], self.has_core[chosen], self.boxes[chosen])


class Components:
    """Joins the components of tiles that are added row by row of tiles, left to right.

    Pixels belong together where they share a side. What is kept in memory is a few numbers a component and the last
    row of pixels.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image.
    min_area : int
        Components smaller than this, or without a core, may be dropped as soon as a tile holds them whole.
    """

    def __init__(self, shape: tuple[int, int], *, min_area: int = 1) -> None:
        self._width = shape[1]
        self._min_area = min_area
        self._count = 0
        self._above = np.zeros(shape[1], dtype=np.int32)
        self._left = np.zeros(0, dtype=np.int32)
        self._pairs: list[np.ndarray] = []
        self._facts: list[np.ndarray] = []

    def add(self, window: Window, mask: np.ndarray, core: np.ndarray) -> np.ndarray:
        """Label one tile.

        Parameters
        ----------
        window : Window
            Where the tile lies.
        mask, core : numpy.ndarray
            bool, shape of the window: pixels of components, and those that count as core.

        Returns
        -------
        numpy.ndarray
            int32, shape of the window: numbers, which `table` translates.
        """
        labels, count = ndimage.label(mask)
        facts = _facts(labels, count, core, window, self._width)
        keep = (facts["area"] >= self._min_area) & facts["has_core"]
        for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            keep[side[side > 0] - 1] = True
        numbers = np.concatenate([[0], np.where(keep, np.cumsum(keep) + self._count, 0)]).astype(np.int32)
        labels = numbers[labels]
        self._facts.append(facts[keep])
        self._count += int(np.count_nonzero(keep))
        self._join(self._above[window.slices[1]], labels[0])
        if window.x > 0:
            self._join(self._left, labels[:, 0])
        self._above[window.slices[1]] = labels[-1]
        self._left = labels[:, -1].copy()
        return labels

    def _join(self, one: np.ndarray, other: np.ndarray) -> None:
        touching = (one > 0) & (other > 0)
        if touching.any():
            self._pairs.append(np.unique(np.stack([one[touching], other[touching]], axis=1), axis=0))

    def table(self) -> ComponentTable:
        """The components of all tiles added."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        facts = np.concatenate(self._facts) if self._facts else np.zeros(0, _FACTS)
        pairs = np.concatenate(self._pairs) - 1 if self._pairs else np.zeros((0, 2), dtype=np.int64)
        graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(self._count, self._count))
        n_found, group = connected_components(graph, directed=False) if self._count else (0, np.zeros(0, np.int64))
        first = np.full(n_found, np.iinfo(np.int64).max)
        np.minimum.at(first, group, facts["first"])
        rank = np.empty(n_found, dtype=np.int64)
        rank[np.argsort(first)] = np.arange(n_found)
        group = rank[group]
        area, has_core = np.zeros(n_found, dtype=np.int64), np.zeros(n_found, dtype=bool)
        np.add.at(area, group, facts["area"])
        np.logical_or.at(has_core, group, facts["has_core"])
        boxes = np.empty((n_found, 4), dtype=np.int64)
        for side, (join, start) in enumerate(_SIDES):
            boxes[:, side] = start
            join.at(boxes[:, side], group, facts["box"][:, side])
        return ComponentTable(np.concatenate([[0], group + 1]).astype(np.int32), area, has_core, boxes)


_FACTS = np.dtype([("area", "i8"), ("first", "i8"), ("has_core", "?"), ("box", "i8", 4)])
_FAR = np.iinfo(np.int64).max
_SIDES = ((np.minimum, _FAR), (np.minimum, _FAR), (np.maximum, 0), (np.maximum, 0))


def _facts(labels: np.ndarray, count: int, core: np.ndarray, window: Window, width: int) -> np.ndarray:
    facts = np.zeros(count, _FACTS)
    if not count:
        return facts
    pixels = np.flatnonzero(labels)
    which = labels.ravel()[pixels] - 1
    row, column = np.divmod(pixels, window.width)
    row, column = row + window.y, column + window.x
    facts["area"] = np.bincount(which, minlength=count)
    facts["has_core"] = np.bincount(which, weights=core.ravel()[pixels], minlength=count) > 0
    first, last = np.full(count, _FAR), np.zeros(count, dtype=np.int64)
    np.minimum.at(first, which, row * width + column)
    facts["first"] = first
    for side, place in ((0, row), (1, column)):
        first, last = np.full(count, _FAR), np.zeros(count, dtype=np.int64)
        np.minimum.at(first, which, place)
        np.maximum.at(last, which, place + 1)
        facts["box"][:, side], facts["box"][:, side + 2] = first, last
    return facts
