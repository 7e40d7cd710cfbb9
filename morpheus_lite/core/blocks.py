"""Windows of the work by blocks: blocks that cover the image, and groups of sources with their surroundings."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from morpheus_lite.core.windows import Window

LARGEST_WHOLE = 1 << 21
"""Pixels of the largest image that is taken whole; of larger images about as many pixels are sampled."""
CELL = 128
"""Side of a sampled cell in pixels: 128 of them make a sample."""


def sample_windows(shape: tuple[int, int]) -> tuple[Window, ...]:
    """Choose windows in which to measure a number that holds for the whole image.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels.

    Returns
    -------
    tuple of Window
        The whole image up to `LARGEST_WHOLE` pixels; else cells of `CELL` pixels a side on an even grid, row by row.
        They depend on the shape alone, so the sample is the same for any size of the pieces that are read.

    Examples
    --------
    >>> len(sample_windows((1000, 1000))), len(sample_windows((12288, 12288)))
    (1, 121)
    """
    height, width = shape
    if height * width <= LARGEST_WHOLE:
        return (Window(0, 0, height, width),)
    wanted = LARGEST_WHOLE / CELL**2
    n_rows = _between(round((wanted * height / width) ** 0.5), height)
    n_columns = _between(int(wanted / n_rows), width)
    return tuple(
        Window(y, x, min(CELL, height), min(CELL, width))
        for y in _starts(height, n_rows)
        for x in _starts(width, n_columns)
    )


def _between(wanted: int, length: int) -> int:
    return max(1, min(wanted, length // CELL))


def _starts(length: int, count: int) -> list[int]:
    return [max((2 * k + 1) * length // (2 * count) - CELL // 2, 0) for k in range(count)]


BLOCK = 1024
"""Side of a block in pixels, if memory allows: no result depends on it."""


def block_side(workers: int) -> int:
    """Side of the blocks of an image in memory: smaller ones where processes share them."""
    return BLOCK if workers == 1 else BLOCK // 4


@dataclass(frozen=True, eq=False)
class SourceGroup:
    """Sources that are worked on together.

    Parameters
    ----------
    window : Window
        Holds all of their bounding boxes and margins, as far as the image reaches.
    members : numpy.ndarray
        int64, shape ``(n,)``: their rows in the list of boxes.
    """

    window: Window
    members: np.ndarray


def tiles(shape: tuple[int, int], side: int) -> Iterator[Window]:
    """Windows of ``side`` pixels that cover an image once, row by row."""
    for y in range(0, shape[0], side):
        for x in range(0, shape[1], side):
            yield Window(y, x, min(side, shape[0] - y), min(side, shape[1] - x))


def pieces(window: Window, side: int) -> Iterator[Window]:
    """Windows of ``side`` pixels that cover a window once, row by row."""
    for part in tiles(window.shape, side):
        yield Window(window.y + part.y, window.x + part.x, part.height, part.width)


def grown(window: Window, margin: int, shape: tuple[int, int]) -> Window:
    """A window with a margin on all sides, cut at the edge of the image."""
    top, left = max(window.y - margin, 0), max(window.x - margin, 0)
    bottom = min(window.y + window.height + margin, shape[0])
    right = min(window.x + window.width + margin, shape[1])
    return Window(top, left, bottom - top, right - left)


def inside(window: Window, larger: Window) -> tuple[slice, slice]:
    """Index of a window in the pixels of a larger one."""
    top, left = window.y - larger.y, window.x - larger.x
    return slice(top, top + window.height), slice(left, left + window.width)


def source_groups(
    boxes: np.ndarray, margins: np.ndarray | int, shape: tuple[int, int], side: int
) -> Iterator[SourceGroup]:
    """Sources by the tile that their bounding box begins in; those longer than half a tile each on its own.

    Parameters
    ----------
    boxes : numpy.ndarray
        int64, shape ``(source, 4)``: first row, first column, last row + 1, last column + 1.
    margins : numpy.ndarray or int
        Pixels around each box, shape ``(source,)``.
    shape : (int, int)
        Height and width of the image.
    side : int
        Side of a tile.
    """
    margins = np.broadcast_to(margins, len(boxes))[:, None]
    reach = np.concatenate([boxes[:, :2] - margins, boxes[:, 2:] + margins], axis=1)
    reach = np.clip(reach, 0, np.tile(shape, 2))
    long = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) > side // 2
    cell = (boxes[:, 0] // side) * (shape[1] // side + 1) + boxes[:, 1] // side
    # Long ones get a cell of their own, behind the others.
    cell = np.where(long, cell.max(initial=0) + 1 + np.arange(len(boxes)), cell)
    order = np.argsort(cell, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
        if len(members):
            top, left = reach[members, :2].min(axis=0).tolist()
            bottom, right = reach[members, 2:].max(axis=0).tolist()
            yield SourceGroup(Window(top, left, bottom - top, right - left), members)
