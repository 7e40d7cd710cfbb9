"""HEALPix cells: names of places on the sky, and the partitions of a catalogue in the layout of HATS.

LSDB, and any reader of Parquet, understands it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from morpheus_lite import __version__

POSITION = "_healpix_29"
"""Column that partitions are sorted by: the HEALPix cell of the position, as HATS calls it."""

FINEST = 29
"""Order whose cells name sources: 0.4 milliarcseconds a side."""

COARSE = 8
"""Order of the cells that a tile's sources are counted in: 14 arcminutes a side. No partition is smaller."""

MARGIN = 20.0
"""Arcseconds around a partition within which its margin has all rows of others."""

_SMALL = 12
"""Order of the cells that margins consist of: 51 arcseconds a side, and nowhere narrower than `MARGIN`."""


@dataclass(frozen=True, order=True)
class Cell:
    """A HEALPix cell, nested scheme."""

    order: int
    pixel: int

    @property
    def range(self) -> tuple[int, int]:
        """First of the cells of order `FINEST` inside, and one past the last."""
        shift = 2 * (FINEST - self.order)
        return self.pixel << shift, (self.pixel + 1) << shift


def finest_cells(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Cell of order `FINEST` of ICRS positions in degrees: int64, shape ``(n,)``."""
    from astropy import units as u
    from astropy_healpix import lonlat_to_healpix

    if not len(ra):
        return np.zeros(0, dtype=np.int64)
    cells = lonlat_to_healpix(np.asarray(ra) * u.deg, np.asarray(dec) * u.deg, 2**FINEST, order="nested")
    return np.asarray(cells, dtype=np.int64)


def count_coarse(cells: np.ndarray) -> dict[int, int]:
    """Count the finest cells in each cell of order `COARSE`."""
    pixels, counts = np.unique(cells >> (2 * (FINEST - COARSE)), return_counts=True)
    return dict(zip(pixels.tolist(), counts.tolist(), strict=True))


def make_partitions(counts: Mapping[int, int], largest: int) -> list[Cell]:
    """Cells that hold no more than ``largest`` sources each, as large as that allows, in the order of the sky.

    Parameters
    ----------
    counts : mapping of int to int
        Sources in each cell of order `COARSE`, which is not divided further.
    largest : int
        Sources of a partition.
    """
    pixels = np.array(sorted(counts))
    before = np.concatenate([[0], np.cumsum([counts[pixel] for pixel in pixels.tolist()])])

    def divided(cell: Cell) -> list[Cell]:
        inside = np.array([cell.pixel, cell.pixel + 1]) << (2 * (COARSE - cell.order))
        first, last = before[np.searchsorted(pixels, inside)].tolist()
        if first == last or cell.order == COARSE or last - first <= largest:
            return [cell] if first < last else []
        return [part for k in range(4) for part in divided(Cell(cell.order + 1, 4 * cell.pixel + k))]

    return [part for base in range(12) for part in divided(Cell(0, base))]


def partition_path(place: Path, cell: Cell) -> Path:
    """Path of a partition in a catalogue."""
    directory = cell.pixel // 10_000 * 10_000
    return place / "dataset" / f"Norder={cell.order}" / f"Dir={directory}" / f"Npix={cell.pixel}.parquet"


def cells_beside(cells: np.ndarray, partitions: Sequence[Cell]) -> np.ndarray:
    """Number the partitions that positions lie in, or close enough to for the margin.

    Parameters
    ----------
    cells : numpy.ndarray
        int64, shape ``(n,)``: the positions' cells of order `FINEST`.
    partitions : sequence of Cell
        In the order of the sky.

    Returns
    -------
    numpy.ndarray
        int, shape ``(9, n)``: numbers of partitions, each as often as there are small cells of it around; -1 for none.
    """
    from astropy_healpix import neighbours

    size, (firsts, ends) = 4 ** (FINEST - _SMALL), np.array([cell.range for cell in partitions]).T
    small, back = np.unique(cells // size, return_inverse=True)
    around = np.concatenate([small[None], neighbours(small, 2**_SMALL, order="nested")])
    number = np.searchsorted(firsts, around * size, side="right") - 1
    inside = (around >= 0) & (number >= 0) & (around * size < ends[number])
    return np.where(inside, number, -1)[:, back]


def write_layout(
    place: Path, name: str, cells: Sequence[Cell], schema: pa.Schema, *, margin_of: str | None = None
) -> int:
    """Write the files that tell what there is, beside the partitions that lie in place already.

    Parameters
    ----------
    place : path
        The catalogue.
    name : str
        What it is called.
    cells : sequence of Cell
        Its partitions, in the order of the sky.
    schema : pyarrow.Schema
        Its columns.
    margin_of : str, optional
        Path of the catalogue of which this one is the margin, as seen from here.

    Returns
    -------
    int
        Rows of all partitions.
    """
    paths = [partition_path(place, cell) for cell in cells]
    collected = [parquet.read_metadata(path) for path in paths]
    for path, metadata in zip(paths, collected, strict=True):
        metadata.set_file_path(str(path.relative_to(place / "dataset")))
    parquet.write_metadata(schema, place / "dataset" / "_common_metadata")
    parquet.write_metadata(schema, place / "dataset" / "_metadata", metadata_collector=collected)
    counts = [metadata.num_rows for metadata in collected]
    lines = [f"{cell.order},{cell.pixel},{count}" for cell, count in zip(cells, counts, strict=True)]
    (place / "partition_info.csv").write_text("\n".join(["Norder,Npix,num_rows", *lines]) + "\n")
    properties = {
        "obs_collection": name,
        "dataproduct_type": "object",
        "hats_nrows": sum(counts),
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": POSITION,
        "hats_col_healpix_order": FINEST,
        "hats_npix_suffix": ".parquet",
        "hats_order": max(cell.order for cell in cells),
        "hats_builder": f"morpheus_lite {__version__}",
    }
    if margin_of is not None:
        margin = {"hats_primary_table_url": margin_of, "hats_margin_threshold": MARGIN}
        properties |= {"dataproduct_type": "margin", **margin}
    text = "".join(f"{key}={value}\n" for key, value in properties.items())
    for file in ("hats.properties", "properties"):
        (place / file).write_text(text)
    return sum(counts)
