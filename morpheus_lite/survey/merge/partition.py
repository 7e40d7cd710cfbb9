"""One partition of the merged catalogue: the sources of a cell of the sky, each once, as a worker makes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.errors import MorpheusError, reading
from morpheus_lite.runtime.atomic import temporary_path
from morpheus_lite.survey.merge.duplicates import DETECTION, Detections, cut_sources, flag_primary
from morpheus_lite.survey.merge.footprint import Footprint, Footprints
from morpheus_lite.survey.merge.healpix import POSITION, Cell, cells_beside, finest_cells, partition_path
from morpheus_lite.survey.merge.index import Entry

ROW_GROUP = 25_000
"""Rows that a reader who wants a part of the sky has to read at least."""

MARGIN_CATALOG, MARGIN_PARTS = "margin", "margin_parts"
"""Directories, in that of the catalogue, of its margin, and of what that is made of."""

ORIGIN_COLUMNS = ("tile", "tract", "patch")
"""Columns that say where in the survey a row is from."""

_NEEDED = ("ra", "dec", "x_peak", "y_peak", "semimajor_axis", "area", "flags")


@dataclass(frozen=True, slots=True, eq=False)
class PartitionJob:
    """Task of making one partition.

    Parameters
    ----------
    number : int
        Which of the partitions.
    cells : tuple of Cell
        The parts of the sky that all partitions are.
    members : tuple of (Entry, tuple of Entry)
        Images with sources in it, and all images that overlap each.
    place : pathlib.Path
        Directory of the catalogue.
    schema : pyarrow.Schema
        Its columns.
    """

    number: int
    cells: tuple[Cell, ...]
    members: tuple[tuple[Entry, tuple[Entry, ...]], ...]
    place: Path
    schema: Any

    @property
    def cell(self) -> Cell:
        """Part of the sky."""
        return self.cells[self.number]


def make_partition(job: PartitionJob) -> tuple[int, list[dict[str, Any]]]:
    """Write one partition: the primary sources in its cell, sorted by place.

    Returns
    -------
    n_duplicates : int
        Rows that are left out because another tile's row of the source is there.
    cut : list of dict
        Sources that are larger than the overlap of their tiles: ``tile``, and as `cut_sources` gives them.

    Raises
    ------
    MorpheusError
        Two sources have the same name, which cannot be unless two tiles show the same pixels under different names.
    """
    footprint, (first, last) = cache(Entry.footprint), job.cell.range
    detections_of = cache(lambda entry: read_detections(entry, footprint(entry)))
    tables, cut, n_duplicates = [job.schema.empty_table()], [], 0
    for image, overlapping in job.members:
        own = detections_of(image)
        position = finest_cells(own.ra, own.dec)
        here = (position >= first) & (position < last)
        if not here.any():
            continue
        mosaics = {image.mosaic: [image]}  # its rows come first
        for other in overlapping:
            if other is not image:
                mosaics.setdefault(other.mosaic, []).append(other)
        footprints = {name: Footprints(tuple(map(footprint, ones))) for name, ones in mosaics.items()}
        joined = {name: np.concatenate([*map(detections_of, ones)]) for name, ones in mosaics.items()}
        detections = {name: rows.view(Detections) for name, rows in joined.items()}
        owned = (column[: len(own)] for column in flag_primary(image.mosaic, detections, footprints))
        is_primary, is_inner, n_seen = owned
        keep = here & is_primary
        n_duplicates += int(here.sum() - keep.sum())
        cut += [{"tile": image.name, **one} for one in cut_sources(image.mosaic, own, keep, footprints)]
        table = _read_table(image.catalog)
        added = {
            POSITION: position,
            "source_id": finest_cells(own.ra_peak, own.dec_peak),
            "is_primary": is_primary,
            "is_inner": is_inner,
            "n_tiles": n_seen,
            **{name: [one] * len(own) for name, one in zip(ORIGIN_COLUMNS, (image.name, *image.region), strict=True)},
        }
        columns = dict(zip(table.column_names, table.columns, strict=True)) | added
        tables.append(pa.table(columns).filter(pa.array(keep)))
    merged = pa.concat_tables(tables, promote_options="permissive").select(job.schema.names).cast(job.schema)
    merged = merged.sort_by([(POSITION, "ascending"), ("source_id", "ascending")])
    identifiers = merged["source_id"].to_numpy()
    if len(np.unique(identifiers)) != len(identifiers):
        raise MorpheusError(f"two sources in {job.cell} have the same place; do two tiles show the same pixels?")
    _write_rows(merged, partition_path(job.place, job.cell))
    beside = cells_beside(merged[POSITION].to_numpy(), job.cells)
    for number in np.setdiff1d(beside, [-1, job.number]).tolist():
        rows = pa.array((beside == number).any(axis=0))
        _write_rows(merged.filter(rows), job.place / MARGIN_PARTS / str(number) / f"{job.number}.parquet")
    return n_duplicates, cut


def join_margin(number: int, place: Path, cells: Sequence[Cell]) -> None:
    """Write the margin of a partition: the rows of others that `make_partition` found to be near."""
    parts = [_read_table(str(path)) for path in sorted((place / MARGIN_PARTS / str(number)).glob("[!.]*"))]
    _write_rows(pa.concat_tables(parts).sort_by(POSITION), partition_path(place / MARGIN_CATALOG, cells[number]))


def _write_rows(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = temporary_path(path)
    parquet.write_table(table, aside, row_group_size=ROW_GROUP, compression="zstd")
    aside.replace(path)


def _read_table(path: str, columns: list[str] | None = None) -> pa.Table:
    with reading(path):
        return parquet.read_table(path, columns=columns)


def read_detections(entry: Entry, footprint: Footprint) -> Detections:
    """Positions and extents of the sources of an image, from its catalogue."""
    table = _read_table(entry.catalog, list(_NEEDED))
    columns = {name: table[name].to_numpy() for name in _NEEDED}
    scale = footprint.pixel_scale
    peak = footprint.sky(columns["x_peak"].astype(float), columns["y_peak"].astype(float))
    radius = np.sqrt(columns["area"] / np.pi)
    extent = np.where(np.isfinite(columns["semimajor_axis"]), columns["semimajor_axis"], radius / 2)
    is_cut = (columns["flags"] & int(SourceFlag.EDGE)) > 0
    scales = np.full(len(radius), scale)
    found = columns["ra"], columns["dec"], *peak, extent * scale, radius * scale, scales, is_cut
    return np.rec.fromarrays(found, dtype=DETECTION)
