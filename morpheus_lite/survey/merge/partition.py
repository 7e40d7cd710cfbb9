"""One partition of the merged catalogue: the sources of a cell of the sky, each once, as a worker makes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.errors import MorpheusError, reading
from morpheus_lite.runtime.atomic import temporary_path
from morpheus_lite.survey.merge.duplicates import CutSource, Detections, cut_sources, flag_primary
from morpheus_lite.survey.merge.footprint import Footprint, Footprints
from morpheus_lite.survey.merge.healpix import Cell, finest_cells
from morpheus_lite.survey.state.tile_state import SUMMARY, read_json

if TYPE_CHECKING:
    import pyarrow as pa

POSITION = "_healpix_29"
"""Column that partitions are sorted by: the HEALPix cell of the position, as HATS calls it."""

ROW_GROUP = 25_000
"""Rows that a reader who wants a part of the sky has to read at least."""

_NEEDED = ("ra", "dec", "x_peak", "y_peak", "semimajor_axis", "area", "flags")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One image, as far as a partition needs it.

    Parameters
    ----------
    name, directory : str
        What it is called, and where its summary lies.
    catalogs : tuple of (str, str)
        Tile name and path of its catalogues.
    mosaic : str
        The mosaic that it is a part of, or its own name: rows of one mosaic are never one source.
    region : (str, str)
        Tract and patch of the survey; empty without.
    """

    name: str
    directory: str
    catalogs: tuple[tuple[str, str], ...]
    mosaic: str
    region: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True, eq=False)
class PartitionJob:
    """Task of making one partition.

    Parameters
    ----------
    cell : Cell
        Which part of the sky.
    parts : tuple of Part
        Images with sources in it, and those that overlap these.
    members : tuple of (int, tuple of int)
        Numbers of the former, and of all images that overlap each.
    path : str
        The file to write.
    schema : pyarrow.Schema
        Its columns.
    """

    cell: Cell
    parts: tuple[Part, ...]
    members: tuple[tuple[int, tuple[int, ...]], ...]
    path: str
    schema: Any


@dataclass(frozen=True, eq=False)
class Partition:
    """Outcome of a partition: rows, rows left out because another tile has the source, and sources too large."""

    cell: Cell
    n_rows: int
    n_duplicates: int
    cut: tuple[tuple[str, CutSource], ...] = ()


def make_partition(job: PartitionJob) -> Partition:
    """Write one partition: the primary sources in its cell, sorted by place.

    Raises
    ------
    MorpheusError
        Two sources have the same name, which cannot be unless two tiles show the same pixels under different names.
    """
    import pyarrow as pa
    from pyarrow import parquet

    loaded = _Loaded(job.parts)
    tables, cut, n_duplicates = [], [], 0
    for member, overlapping in job.members:
        part = job.parts[member]
        table, added, here = _rows_inside(job, loaded, member)
        if not len(here):
            continue
        mosaics: dict[str, list[int]] = {part.mosaic: [member]}
        for k in overlapping:
            if k != member:
                mosaics.setdefault(job.parts[k].mosaic, []).append(k)
        footprints = {name: Footprints(tuple(map(loaded.footprint, ks))) for name, ks in mosaics.items()}
        detections = {name: Detections.joined(list(map(loaded.detections, ks))) for name, ks in mosaics.items()}
        owned, own = flag_primary(part.mosaic, detections, footprints), loaded.detections(member)
        keep = here[owned.is_primary[here]]
        n_duplicates += len(here) - len(keep)
        inside = np.zeros(len(own), bool)
        inside[keep] = True
        cut += [(part.name, one) for one in cut_sources(part.mosaic, own, inside, footprints)]
        decided = {"is_primary": owned.is_primary, "is_inner": owned.is_inner, "n_tiles": owned.n_seen.astype(np.int16)}
        added |= {name: values[: len(own)] for name, values in decided.items()}
        added |= {name: np.repeat(value, len(own)) for name, value in zip(("tract", "patch"), part.region, strict=True)}
        tables.append(_with_columns(table, added).take(pa.array(keep)))
    merged = pa.concat_tables([job.schema.empty_table(), *(_in_schema(one, job.schema) for one in tables)])
    merged = merged.sort_by([(POSITION, "ascending"), ("source_id", "ascending")])
    identifiers = merged["source_id"].to_numpy()
    if len(np.unique(identifiers)) != len(identifiers):
        raise MorpheusError(f"two sources in {job.cell} have the same place; do two tiles show the same pixels?")
    path = temporary_path(Path(job.path))
    parquet.write_table(merged, path, row_group_size=ROW_GROUP, compression="zstd")
    path.replace(job.path)
    return Partition(job.cell, merged.num_rows, n_duplicates, tuple(cut))


class _Loaded:
    """Catalogues and footprints of the images of a partition, each read once."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._tables: dict[int, Any] = {}
        self._footprints: dict[int, Footprint] = {}
        self._detections: dict[int, Detections] = {}

    def footprint(self, k: int) -> Footprint:
        if k not in self._footprints:
            summary = read_json(Path(self._parts[k].directory) / SUMMARY)
            if summary is None:
                raise MorpheusError(f"{self._parts[k].name}: its summary is gone; run the survey again")
            self._footprints[k] = Footprint.from_dict(summary["footprint"])
        return self._footprints[k]

    def detections(self, k: int) -> Detections:
        if k not in self._detections:
            columns = self._columns(k, _NEEDED)
            self._detections[k] = detections_of(columns, self.footprint(k))
        return self._detections[k]

    def _columns(self, k: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        read = [_read_table(path, list(names)) for _, path in self._parts[k].catalogs]
        return {name: np.concatenate([table[name].to_numpy() for table in read]) for name in names}


def _read_table(path: str | Path, columns: list[str] | None = None) -> "pa.Table":
    from pyarrow import parquet

    with reading(path):
        return parquet.read_table(path, columns=columns)


def detections_of(columns: Mapping[str, np.ndarray], footprint: Footprint) -> Detections:
    """Get the positions of a catalogue's sources from its columns."""
    scale = footprint.pixel_scale
    peak = footprint.sky(columns["x_peak"].astype(float), columns["y_peak"].astype(float))
    radius = np.sqrt(columns["area"] / np.pi)
    extent = np.where(np.isfinite(columns["semimajor_axis"]), columns["semimajor_axis"], radius / 2)
    is_cut = (columns["flags"] & int(SourceFlag.EDGE)) > 0
    return Detections(columns["ra"], columns["dec"], *peak, extent * scale, radius * scale, is_cut, scale)


def _rows_inside(job: PartitionJob, loaded: _Loaded, member: int) -> tuple["pa.Table", dict[str, Any], np.ndarray]:
    """All rows of an image, the columns that come to them, and which of them lie in the partition."""
    import pyarrow as pa

    part = job.parts[member]
    read = [(name, _read_table(path).replace_schema_metadata()) for name, path in part.catalogs]
    read = [(name, one) for name, one in read if one.num_rows] or read[:1]
    table = pa.concat_tables([one for _, one in read], promote_options="default")
    found = loaded.detections(member)
    position = finest_cells(found.ra, found.dec)
    first, last = job.cell.range
    added = {
        POSITION: position,
        "source_id": finest_cells(found.ra_peak, found.dec_peak),
        "tile": np.repeat([name for name, _ in read], [one.num_rows for _, one in read]),
    }
    return table, added, np.flatnonzero((position >= first) & (position < last))


def _with_columns(table: "pa.Table", added: Mapping[str, np.ndarray]) -> "pa.Table":
    import pyarrow as pa

    for name, values in added.items():
        table = table.append_column(name, pa.array(values))
    return table


def _in_schema(table: "pa.Table", schema: "pa.Schema") -> "pa.Table":
    """A table with the columns of a schema, null where it has none."""
    import pyarrow as pa

    columns = [
        table[one.name].cast(one.type) if one.name in table.column_names else pa.nulls(len(table), one.type)
        for one in schema
    ]
    return pa.table(columns, schema=schema)
