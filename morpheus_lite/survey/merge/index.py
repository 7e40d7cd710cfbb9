"""Index of a survey's finished images: where each lies, what it overlaps, where its rows are, and how many."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from morpheus_lite.errors import MorpheusError
from morpheus_lite.survey.merge.footprint import Footprint
from morpheus_lite.survey.merge.healpix import COARSE, FINEST, Cell
from morpheus_lite.survey.state import MARKER, SUMMARY, read_each, read_json, tile_directory


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One finished image.

    Parameters
    ----------
    name : str
        Of the image.
    directory : str
        Where its summary lies.
    catalog, mark : str
        Path of its catalogue, and its sha256.
    middle : tuple of float
        Direction of its middle as a unit vector; empty without a WCS.
    radius : float
        Of a circle around the middle that holds it, in radians.
    cells : mapping of int to int
        Sources in each HEALPix cell of order `COARSE`.
    schema : str
        Short name of the columns' names, types and units.
    mosaic : str
        The mosaic of tiles that it is a part of, or its own name: each source of a mosaic is in one of its tiles only.
    region : (str, str)
        Tract and patch of the survey; empty without.
    """

    name: str
    directory: str
    catalog: str
    mark: str
    middle: tuple[float, ...]
    radius: float
    cells: Mapping[int, int]
    schema: str
    mosaic: str
    region: tuple[str, str] = ("", "")

    def summary(self) -> dict[str, Any]:
        """Read the summary that its worker has written.

        Raises
        ------
        MorpheusError
            It is gone.
        """
        found = read_json(Path(self.directory) / SUMMARY)
        if found is None:
            raise MorpheusError(f"{self.name}: its summary is gone; run the survey again")
        return found

    def footprint(self) -> Footprint:
        """Read the footprint that the summary has."""
        return Footprint.from_dict(self.summary()["footprint"])


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
        """Find the entries that have sources in each partition; these follow each other on the sky."""
        starts = [cell.range[0] >> (2 * (FINEST - COARSE)) for cell in cells]
        found: list[set[int]] = [set() for _ in cells]
        for k, entry in enumerate(self.entries):
            for place in np.searchsorted(starts, list(entry.cells), side="right").tolist():
                found[place - 1].add(k)
        return [sorted(members) for members in found]


def read_index(root: Path, names: Iterable[str], regions: Mapping[str, tuple[str, str]] | None = None) -> Index:
    """The index of the finished images among ``names``; ``regions`` has tract and patch of those that have any."""
    found = [entry for entry in read_each(partial(_read_entry, root, regions=regions or {}), sorted(names)) if entry]
    return Index(tuple(one for one in found if one.middle), tuple(one.name for one in found if not one.middle))


def _read_entry(root: Path, name: str, regions: Mapping[str, tuple[str, str]]) -> Entry | None:
    """The entry of one image; None if it is not finished."""
    directory = tile_directory(root, name)
    marker, summary = read_json(directory / MARKER), read_json(directory / SUMMARY)
    if marker is None or summary is None:
        return None
    product = marker["products"]["catalog"]
    *middle, radius = summary["footprint"]["circle"] or (0.0,)
    return Entry(
        name,
        str(directory),
        str(directory / product["file"]),
        product["sha256"],
        tuple(middle),
        radius,
        {int(pixel): count for pixel, count in summary["cells"].items()},
        summary["schema"],
        marker.get("mosaic") or name,
        regions.get(name, ("", "")),
    )


def _chord(angle: np.ndarray) -> np.ndarray:
    """Distance of two unit vectors that are ``angle`` radians apart."""
    return 2 * np.sin(np.minimum(angle, np.pi) / 2)
