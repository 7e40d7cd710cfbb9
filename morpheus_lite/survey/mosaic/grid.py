"""Tiles of a survey that lie on one pixel grid of the sky, beside each other: these are joined to mosaics."""

import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from morpheus_lite.core.windows import Window
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.wcs import header_of_wcs
from morpheus_lite.survey.mosaic.joined import JoinedTile, Mosaic
from morpheus_lite.survey.state import digest
from morpheus_lite.survey.tile import Tile

LARGEST_SIDE = 50_000
"""Side of the largest mosaic in pixels: its label map takes 10 GB on the disk, and its catalogue, which one process
holds, a few GB of memory. More tiles than that on one grid make several mosaics."""

_SAME_PIXEL = 1e-3
"""Pixels that two grids may lie apart and still be one."""

_SAME_PLACE = 0.5
"""Share of the smaller one of two tiles from which on they are two images of one place, and not one image."""

_CELL = 1024
"""Side of the cells, in pixels, in which tiles are looked up."""


_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Facts about a tile after a look at its headers.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels.
    grid : str
        Short name of its celestial WCS without the place of the first pixel; empty if it cannot share one.
    corner : (float, float)
        Place of the first pixel, y and x, in pixels from the reference point of the WCS.
    bands : mapping of str to sequence
        AB zero-point, unit and kinds of noise planes of each band.
    """

    shape: tuple[int, int]
    grid: str
    corner: tuple[float, float]
    bands: Mapping[str, Sequence[Any]]

    @classmethod
    def of(cls, image: ImageSource) -> "Look":
        """Look at an image that is open."""
        grid, corner = _grid_of(image)
        bands = {
            str(band.name): [band.zero_point, band.unit, [noise.kind for noise in band.noise]]
            for band in image.described
        }
        return cls(image.shape, grid, corner, bands)


def _grid_of(image: ImageSource) -> tuple[str, tuple[float, float]]:
    wcs = image.wcs
    # Tables of distortion belong to the pixels of one file.
    tables = ("cpdis1", "cpdis2", "det2im1", "det2im2")
    if wcs is None or not wcs.has_celestial or any(getattr(wcs, name) is not None for name in tables):
        return "", (0.0, 0.0)
    cards = {key: value for key, value in header_of_wcs(wcs).items() if key not in ("CRPIX1", "CRPIX2")}
    x, y = (1 - wcs.wcs.crpix).tolist()
    return digest(cards), (y, x)


def join(tiles: Mapping[str, tuple[Tile, Look]]) -> list[Mosaic]:
    """The mosaics that tiles make: those that overlap or touch, on one pixel grid, with the same options and units.

    Tiles of which one covers most of another (other epochs, other reductions) are not parts of one mosaic.

    Parameters
    ----------
    tiles : mapping of str to (Tile, Look)
        By name.

    Returns
    -------
    list of Mosaic
        Of two tiles or more each; tiles that lie apart, or on grids of their own, are in none.
    """
    placed = [tiles[name] for name in sorted(tiles) if tiles[name][1].grid]
    return [
        Mosaic.of(one)
        for on_one_grid in _grouped(placed, [digest([look.grid, dict(tile.options)]) for tile, look in placed])
        for field_ in _fields(on_one_grid)
        for group in _touching(field_.parts)
        for one in _split(group)
        if len(one) > 1
    ]


@dataclass
class _Field:
    """Tiles whose pixels and units agree, each at a place of its own."""

    corner: tuple[float, float]
    bands: dict[str, Sequence[Any]] = field(default_factory=dict)
    parts: list[JoinedTile] = field(default_factory=list)
    _windows: dict[tuple[int, int], list[Window]] = field(default_factory=lambda: defaultdict(list))

    def takes(self, tile: Tile, look: Look) -> bool:
        """Add a tile, unless its pixels lie between those of the others, its units are others, or one is there."""
        y, x = (here - there for here, there in zip(look.corner, self.corner, strict=True))
        agree = all(list(self.bands[band]) == list(facts) for band, facts in look.bands.items() if band in self.bands)
        if not agree or max(abs(y - round(y)), abs(x - round(x))) > _SAME_PIXEL:
            return False
        window = Window(round(y), round(x), *look.shape)
        cells = list(_cells(window))
        if any(_is_same_place(window, other) for cell in cells for other in self._windows.get(cell, ())):
            return False
        for cell in cells:
            self._windows[cell].append(window)
        self.bands = {**look.bands, **self.bands}
        self.parts.append(JoinedTile(tile, window, tuple(look.bands)))
        return True


def _cells(window: Window) -> Iterator[tuple[int, int]]:
    bottom, right = window.y + window.height - 1, window.x + window.width - 1
    rows = range(window.y // _CELL, bottom // _CELL + 1)
    return itertools.product(rows, range(window.x // _CELL, right // _CELL + 1))


def _is_same_place(one: Window, other: Window) -> bool:
    if not one.touches(other):
        return False
    shared, smaller = one.intersection(other), min(one.height * one.width, other.height * other.width)
    return shared.height * shared.width > _SAME_PLACE * smaller


def _fields(tiles: Iterable[tuple[Tile, Look]]) -> list[_Field]:
    found: list[_Field] = []
    for tile, look in tiles:
        if not any(one.takes(tile, look) for one in found):
            found.append(_Field(look.corner))
            found[-1].takes(tile, look)
    return found


def _touching(parts: Sequence[JoinedTile]) -> list[list[JoinedTile]]:
    """Tiles that hang together, each sharing a pixel or a side with another."""
    starts = np.array([(part.window.y, part.window.x) for part in parts], float)
    sides = np.array([part.window.shape for part in parts], float)
    pairs = KDTree(starts + sides / 2).query_pairs(sides.max(), p=np.inf, output_type="ndarray")
    one, other = pairs.T
    apart = np.maximum(starts[one], starts[other]) - np.minimum(starts[one] + sides[one], starts[other] + sides[other])
    # Corners that meet do not count.
    near = (apart <= 0).all(axis=1) & (apart < 0).any(axis=1)
    graph = coo_array((np.ones(near.sum()), (one[near], other[near])), shape=(len(parts),) * 2)
    _, group = connected_components(graph, directed=False)
    return _grouped(parts, group.tolist())


def _split(parts: Sequence[JoinedTile]) -> list[list[JoinedTile]]:
    """Tiles that would make too large a mosaic, in squares."""
    y, x = (min(getattr(part.window, axis) for part in parts) for axis in "yx")
    squares = [((one.window.y - y) // LARGEST_SIDE, (one.window.x - x) // LARGEST_SIDE) for one in parts]
    return _grouped(parts, squares)


def _grouped(items: Iterable[_Item], keys: Iterable[Hashable]) -> list[list[_Item]]:
    """Items with the same key, in the order of the first of each."""
    found: dict[Hashable, list[_Item]] = defaultdict(list)
    for key, item in zip(keys, items, strict=True):
        found[key].append(item)
    return list(found.values())
