"""Index of a survey's finished images: where each lies, what it overlaps, where its rows are, and how many."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from morpheus_lite.survey.merge.healpix import COARSE, FINEST, Cell
from morpheus_lite.survey.state.tile_state import MARKER, SUMMARY, read_json, tile_directory

_READERS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One finished image.

    Parameters
    ----------
    name : str
        Of the image.
    directory : str
        Where its summary lies.
    catalogs : tuple of (str, str)
        Name of the tile, and path of its catalogue: several where the image was cut into tiles.
    marks : tuple of str
        sha256 of each catalogue.
    middle : tuple of float
        Direction of its middle as a unit vector; empty without a WCS.
    radius : float
        Of a circle around the middle that holds it, in radians.
    cells : mapping of int to int
        Sources in each HEALPix cell of order `COARSE`.
    schema : str
        Short name of the columns' names, types and units.
    mosaic : str
        The mosaic of tiles that it is a part of: each source of these is in one of them only. Empty if it is alone.
    region : (str, str)
        Tract and patch of the survey; empty without.
    """

    name: str
    directory: str
    catalogs: tuple[tuple[str, str], ...]
    marks: tuple[str, ...]
    middle: tuple[float, ...]
    radius: float
    cells: Mapping[int, int]
    schema: str
    mosaic: str = ""
    region: tuple[str, str] = ("", "")


@dataclass(frozen=True, eq=False)
class Index:
    """All finished images of a survey.

    Parameters
    ----------
    entries : tuple of Entry
        Those with a place on the sky, by name.
    unplaced : tuple of str
        Names of those without.
    """

    entries: tuple[Entry, ...]
    unplaced: tuple[str, ...]

    def neighbours(self, margin: float = 5e-5) -> list[list[int]]:
        """Find the entries that may overlap each entry, itself included; ``margin`` in radians."""
        if not self.entries:
            return []
        middles = np.array([entry.middle for entry in self.entries])
        radii = np.array([entry.radius for entry in self.entries])
        tree = KDTree(middles)
        largest = radii.max()
        near = tree.query_ball_point(middles, _chord(radii + largest + margin))
        found = []
        for k, candidates in enumerate(near):
            others = np.sort(np.array(candidates))
            apart = np.linalg.norm(middles[others] - middles[k], axis=1)
            found.append(others[apart <= _chord(radii[others] + radii[k] + margin)].tolist())
        return found

    def counts(self) -> Counter[int]:
        """Sources in each cell of order `COARSE`, duplicates included."""
        total: Counter[int] = Counter()
        for entry in self.entries:
            total.update(entry.cells)
        return total

    def members(self, cells: Sequence[Cell]) -> list[list[int]]:
        """Find the entries that have sources in each partition."""
        by_cell = defaultdict(list)
        for k, entry in enumerate(self.entries):
            for pixel in entry.cells:
                by_cell[pixel].append(k)
        pixels = np.array(sorted(by_cell))
        found = []
        for cell in cells:
            first, last = (edge >> (2 * (FINEST - COARSE)) for edge in cell.range)
            inside = pixels[np.searchsorted(pixels, first) : np.searchsorted(pixels, last)]
            found.append(sorted({k for pixel in inside.tolist() for k in by_cell[pixel]}))
        return found


def read_index(root: Path, names: Iterable[str], regions: Mapping[str, tuple[str, str]] | None = None) -> Index:
    """The index of the finished images among ``names``; ``regions`` has tract and patch of those that have any."""
    with ThreadPoolExecutor(_READERS) as pool:
        found = [one for one in pool.map(lambda name: read_entry(root, name), sorted(names), chunksize=64) if one]
    found = [replace(one, region=(regions or {}).get(one.name, one.region)) for one in found]
    placed = tuple(entry for entry in found if entry.middle)
    return Index(placed, tuple(entry.name for entry in found if not entry.middle))


def read_entry(root: Path, name: str) -> Entry | None:
    """The entry of one image; None if it is not finished."""
    directory = tile_directory(root, name)
    marker, summary = read_json(directory / MARKER), read_json(directory / SUMMARY)
    if marker is None or summary is None:
        return None
    product = marker["products"]["catalog"]
    catalogs = ((name, str(directory / product["file"])),)
    return make_entry(name, directory, catalogs, (product["sha256"],), summary, marker.get("mosaic") or "")


def make_entry(
    name: str,
    directory: Path,
    catalogs: tuple[tuple[str, str], ...],
    marks: tuple[str, ...],
    summary: Mapping[str, Any],
    mosaic: str = "",
) -> Entry:
    """An entry from an image's summary."""
    *middle, radius = summary["footprint"]["circle"] or (0.0,)
    cells = {int(pixel): count for pixel, count in summary["cells"].items()}
    return Entry(name, str(directory), catalogs, marks, tuple(middle), radius, cells, summary["schema"], mosaic)


def _chord(angle: np.ndarray) -> np.ndarray:
    """Distance of two unit vectors that are ``angle`` radians apart."""
    return 2 * np.sin(np.minimum(angle, np.pi) / 2)
