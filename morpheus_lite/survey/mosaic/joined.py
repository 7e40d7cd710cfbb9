"""Tiles on one pixel grid as one image: which tiles make a mosaic, and the mosaic, whose pixels lie in their files."""

import itertools
import json
import threading
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from astropy.wcs import WCS
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from morpheus_lite.core.image import SkyImage, match_bands
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError
from morpheus_lite.io import open_image
from morpheus_lite.io.fitsfile import Location
from morpheus_lite.io.image_reader import Band, ImageSource, OpenFiles
from morpheus_lite.io.wcs import header_of_wcs
from morpheus_lite.survey.state import digest, input_facts
from morpheus_lite.survey.tile import Tile

MOSAICS, MEMBERS = "mosaics", "tiles.json"
"""The directory of the mosaics' directories, and what lies in each of them: the names of its tiles."""

_MOST_FILES, _OF_ONE_IN_MEMORY = 256, 32
"""Files that are open at the same time, and as how many of them one counts that is in memory as a whole."""

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


class TileError(InputError):
    """A tile of a mosaic cannot be read.

    Parameters
    ----------
    message : str
        What is wrong.
    tile : str
        Name of the tile.
    """

    def __init__(self, message: str, tile: str) -> None:
        super().__init__(message)
        self.tile = tile

    def __reduce__(self) -> tuple[Any, ...]:
        return TileError, (str(self), self.tile)


@dataclass(frozen=True, eq=False)
class JoinedTile:
    """A tile of a mosaic: where it lies, in pixels of the mosaic, and its bands."""

    tile: Tile
    window: Window
    bands: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Mosaic(Tile):
    """Tiles on one pixel grid, as one image.

    A pixel that several tiles have is that of the tile in which it lies farthest from the edge, of those in which it is
    valid, band by band.

    Parameters
    ----------
    name, image, read_options, options
        As of `Tile`: the name follows from those of the tiles, there is no file, and the options are those of all.
    parts : tuple of JoinedTile
        The tiles, ordered by name.
    """

    parts: tuple[JoinedTile, ...] = ()

    @classmethod
    def of(cls, parts: Sequence[JoinedTile]) -> "Mosaic":
        """The mosaic of tiles, the windows of which lie in pixels of any common origin."""
        parts = sorted(parts, key=lambda part: part.tile.name)
        y, x = min(part.window.y for part in parts), min(part.window.x for part in parts)
        moved = (replace(one, window=one.window.relative_to(Window(y, x, 0, 0))) for one in parts)
        name = f"mosaic-{digest([part.tile.name for part in parts])[:12]}"
        return cls(name, "", options=parts[0].tile.options, parts=tuple(moved))

    def without(self, name: str) -> "Mosaic":
        """The mosaic of the other tiles."""
        return Mosaic.of([part for part in self.parts if part.tile.name != name])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        windows = [part.window for part in self.parts]
        return max(one.y + one.height for one in windows), max(one.x + one.width for one in windows)

    @property
    def locations(self) -> dict[str, Location]:
        """Every file of every tile by its role: ``NAME/image``, ``NAME/rms:F160W``, ..."""
        return {f"{one.tile.name}/{role}": at for one in self.parts for role, at in one.tile.locations.items()}

    def open(self) -> ImageSource:
        """Open the image."""
        tiles = _OpenTiles(self.parts)
        bands, wcs = tiles.whole(self)
        return MosaicSource(bands, wcs, self.name, tiles=tiles, origins=tuple(str(band.name) for band in bands))

    def directory(self, root: Path) -> Path:
        """Directory of what is made of it, below that of the survey."""
        return root / MOSAICS / self.name

    def owners(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Number of the tile that owns each pixel: the first of those in which it lies farthest from the edge.

        Parameters
        ----------
        y, x : numpy.ndarray
            int, shape ``(n,)``.

        Returns
        -------
        numpy.ndarray
            int64, shape ``(n,)``; -1 where there is no tile.
        """
        owner, deepest = np.full(len(y), -1), np.zeros(len(y), np.int64)
        for number, part in enumerate(self.parts):
            depth = np.minimum(*_depths(part.window, y, x))
            owner = np.where(depth > deepest, number, owner)
            deepest = np.maximum(depth, deepest)
        return owner

    def distances_without(self, y: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
        """Distance of pixels from the nearest tile without a band, for bands that some tiles lack and others have.

        Parameters
        ----------
        y, x : numpy.ndarray
            int, shape ``(n,)``.

        Returns
        -------
        dict
            Band to float64, shape ``(n,)``: pixels between the pixel and the tile, 0 inside.
        """
        found = {}
        for band in dict.fromkeys(band for part in self.parts for band in part.bands):
            lacking = [part.window for part in self.parts if band not in part.bands]
            if lacking:
                outside = [[np.maximum(1 - depth, 0) for depth in _depths(window, y, x)] for window in lacking]
                found[band] = np.min([np.hypot(*apart) for apart in outside], axis=0)
        return found


def _depths(window: Window, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and columns, from the nearer edge of a window: 1 for the outermost pixels, 0 and less outside."""
    rows = np.minimum(y - window.y + 1, window.y + window.height - y)
    return rows, np.minimum(x - window.x + 1, window.x + window.width - x)


@dataclass(frozen=True)
class _Blank:
    """A plane of which there are no pixels."""

    shape: tuple[int, int]

    def read(self, window: Window, files: OpenFiles) -> np.ndarray:
        return np.full(window.shape, np.nan, np.float32)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MosaicSource(ImageSource):
    """The image that the tiles of a mosaic make, read by section: only tiles that a section touches are opened.

    Parameters
    ----------
    tiles : _OpenTiles
        The tiles, as images.
    origins : tuple of str
        What each band is called in the tiles.
    """

    tiles: "_OpenTiles"
    origins: tuple[str, ...]

    def select(self, bands: Sequence[str]) -> Self:
        """The source with just these bands, in this order."""
        _, indices = match_bands(self.bands, bands, self.name)
        return replace(super().select(bands), origins=tuple(self.origins[i] for i in indices))

    def close(self) -> None:
        """Close the files."""
        self.tiles.close()

    def _read_into(self, window: Window, data: np.ndarray, valid: np.ndarray, rms: np.ndarray | None) -> None:
        depth = np.zeros(data.shape, np.int32)
        for number, part in enumerate(self.tiles.parts):
            wanted = [k for k, band in enumerate(self.origins) if band in part.bands]
            if not wanted or not part.window.touches(window):
                continue
            shared = part.window.intersection(window)
            there, here = shared.relative_to(part.window), shared.relative_to(window)
            piece = self.tiles.read(number, there, [self.origins[k] for k in wanted])
            inside = np.minimum(*_depths(part.window, *np.ogrid[shared.slices]))
            for i, k in enumerate(wanted):
                place = (*here.slices, k)
                take = piece.valid[:, :, i] & (inside > depth[place])
                depth[place][take] = inside[take]
                data[place][take], valid[place][take] = piece.data[:, :, i][take], True
                if rms is not None and piece.rms is not None:
                    rms[place][take] = piece.rms[:, :, i][take]


@lru_cache(maxsize=4096)
def _described(image: str, read_options: str, facts: str) -> ImageSource:
    """All but the WCS of a tile, from its fields as JSON: found out once by a process, until its files change.

    It takes longer than to open the files.
    """
    with open_image(json.loads(image), **json.loads(read_options)) as opened:
        return replace(opened, wcs=None)


class _OpenTiles:
    """The tiles of a mosaic as images, opened on first use, not too many of their files at the same time.

    Parameters
    ----------
    parts : sequence of JoinedTile
        The tiles.
    """

    def __init__(self, parts: Sequence[JoinedTile]) -> None:
        self.parts = parts
        self._images: dict[int, ImageSource] = {}
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _OpenTiles, (self.parts,)

    def read(self, number: int, window: Window, bands: Sequence[str]) -> SkyImage:
        """Bands of a tile in a window of it."""
        try:
            image = self._image(number)
            image = image.select(bands) if image.has_band_names else image
            return image.read(window)
        except InputError as error:
            raise TileError(str(error), self.parts[number].tile.name) from error

    def whole(self, mosaic: Mosaic) -> tuple[tuple[Band, ...], WCS]:
        """Bands and WCS of the whole."""
        # Bands in the order of a tile with all of them, if there is one.
        by_bands = sorted(range(len(self.parts)), key=lambda number: -len(self.parts[number].bands))
        names = dict.fromkeys(band for number in by_bands for band in self.parts[number].bands)
        bands = [replace(self._reference[name], data=_Blank(mosaic.shape), masks=()) for name in names]
        with self.parts[0].tile.open() as first:
            assert first.wcs is not None
            window = self.parts[0].window
            wcs = first.wcs.slice((slice(-window.y, None), slice(-window.x, None)))
            wcs.array_shape = mosaic.shape
        return tuple(bands), wcs

    @cached_property
    def _reference(self) -> Mapping[str, Band]:
        """Each band as the first tile with it has it: calibration, and the kinds and scales of noise planes."""
        found: dict[str, Band] = {}
        for number, part in enumerate(self.parts):
            if not found.keys() >= set(part.bands):
                found = {str(band.name): band for band in self._described(number).described} | found
        return found

    def _described(self, number: int) -> ImageSource:
        tile = self.parts[number].tile
        try:
            return _described(
                *(json.dumps(one, default=list) for one in (tile.image, tile.read_options, input_facts(tile)))
            )
        except InputError as error:
            raise TileError(str(error), tile.name) from error

    def _image(self, number: int) -> ImageSource:
        with self._lock:
            image = self._images.pop(number, None)
            if image is None:
                image, reference = self._described(number), self._reference
                # Whether a weight is relative, and to what, is told from the pixels: here once for all tiles.
                bands = (_scaled_as(band, reference[str(band.name)]) for band in image.described)
                image = replace(image, described=tuple(bands), files=OpenFiles())
            self._images[number] = image
            while len(self._images) > 1 and sum(map(self._n_files, self._images)) > _MOST_FILES:
                self._images.pop(next(iter(self._images))).close()
            return image

    def _n_files(self, number: int) -> int:
        """Files of a tile; those that are taken into memory as a whole count for many."""
        paths = {location.path for location in self.parts[number].tile.locations.values()}
        return sum(_OF_ONE_IN_MEMORY if path.endswith((".gz", ".zip", ".bz2")) else 1 for path in paths)

    def close(self) -> None:
        with self._lock:
            for image in self._images.values():
                image.close()
            self._images.clear()


def _scaled_as(band: Band, reference: Band) -> Band:
    noise = (replace(one, scale=other.scale) for one, other in zip(band.noise, reference.noise, strict=True))
    return replace(band, noise=tuple(noise))


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
