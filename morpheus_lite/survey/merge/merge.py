"""One catalogue of all tiles: every source once, in partitions of the sky, in the layout of HATS."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from morpheus_lite import __version__
from morpheus_lite.errors import MorpheusError, reason_of
from morpheus_lite.io.tables import votable_head
from morpheus_lite.runtime.atomic import temporary_path
from morpheus_lite.survey.merge.coverage import write_coverage
from morpheus_lite.survey.merge.healpix import FINEST, POSITION, make_partitions, write_layout
from morpheus_lite.survey.merge.index import Index
from morpheus_lite.survey.merge.partition import (
    MARGIN_CATALOG,
    MARGIN_PARTS,
    ORIGIN_COLUMNS,
    PartitionJob,
    join_margin,
    make_partition,
)
from morpheus_lite.survey.state import beside, digest, read_json, write_json

if TYPE_CHECKING:
    from distributed import Client

CATALOG, MERGE_RECORD = "catalog", "merge.json"
"""The directory of the merged catalogue, and what is kept there of its making."""

LARGEST_PARTITION = 1_000_000
"""Rows of a partition, before duplicates are removed."""


@dataclass(frozen=True, eq=False)
class Merged:
    """The merged catalogue.

    Parameters
    ----------
    path : pathlib.Path
        Its directory.
    n_rows, n_duplicates : int
        Sources in it, and rows of tiles that are left out because another tile's row of the source is there.
    cut : list of dict
        Sources that are larger than the overlap of their tiles: tile, position, and overlap needed in arcseconds.
    unplaced : tuple of str
        Tiles that are left out because they have no WCS.
    """

    path: Path
    n_rows: int
    n_duplicates: int
    cut: list[dict[str, Any]] = field(default_factory=list)
    unplaced: tuple[str, ...] = ()


def merge(root: Path, index: Index, client: "Client", *, largest: int = LARGEST_PARTITION) -> Merged:
    """Merge the catalogues of all finished tiles.

    Parameters
    ----------
    root : path
        Output directory of the survey.
    index : Index
        What is finished; there is at least one source in it.
    client : distributed.Client
        Where partitions are made, one task each.
    largest : int
        Rows of a partition at most, as far as the cells of the sky allow.

    Returns
    -------
    Merged
        Where it is and what it holds.

    Raises
    ------
    MorpheusError
        A partition cannot be made; the merged catalogue of before is as it was.
    """
    place, fingerprint = root / CATALOG, _fingerprint(index, largest)
    with beside(place) as aside:
        jobs = _jobs(index, aside, largest)
        made = _gathered(client, make_partition, jobs, key="merge")
        n_duplicates, cut = sum(number for number, _ in made), [one for _, cut in made for one in cut]
        cells, schema = jobs[0].cells, jobs[0].schema
        n_rows = write_layout(aside, root.name, cells, schema)
        if near := sorted(int(one.name) for one in (aside / MARGIN_PARTS).glob("*")):
            _gathered(client, partial(join_margin, place=aside, cells=cells), near, key="margin")
            names = f"{root.name}_{MARGIN_CATALOG}", [cells[number] for number in near]
            write_layout(aside / MARGIN_CATALOG, *names, schema, margin_of="..")
            shutil.rmtree(aside / MARGIN_PARTS)
        write_coverage(aside, index.entries, client)
        record: dict[str, Any] = {"n_rows": n_rows, "n_duplicates": n_duplicates, "cut": cut}
        write_json(aside / MERGE_RECORD, {"fingerprint": fingerprint, **record})
        _replace(aside, place)
    return Merged(place, **record, unplaced=index.unplaced)


def merged_before(root: Path, index: Index, *, largest: int = LARGEST_PARTITION) -> Merged | None:
    """The merged catalogue of before, if none of the tiles has changed since."""
    before = read_json(root / CATALOG / MERGE_RECORD) or {}
    if before.pop("fingerprint", None) != _fingerprint(index, largest):
        return None
    return Merged(root / CATALOG, **before, unplaced=index.unplaced)


def _fingerprint(index: Index, largest: int) -> str:
    made_of = [(entry.name, entry.mark, entry.mosaic, entry.region) for entry in index.entries]
    return digest([__version__, largest, made_of])


def _gathered(client: "Client", work: Callable[[Any], Any], jobs: Sequence[Any], *, key: str) -> list[Any]:
    futures = client.map(work, jobs, pure=False, retries=2, key=key)
    try:
        return client.gather(futures)
    except MorpheusError:
        raise
    # Whatever else a worker may raise, or die of.
    except Exception as error:
        why = reason_of(error)
        raise MorpheusError(f"the catalogues cannot be merged ({why}); the tiles are as they were") from error


def _replace(aside: Path, place: Path) -> None:
    old = temporary_path(place)
    if place.exists():
        place.rename(old)
    aside.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _jobs(index: Index, aside: Path, largest: int) -> list[PartitionJob]:
    cells = make_partitions(index.counts(), largest)
    entries, neighbours, schema = index.entries, index.neighbours(), _common_schema(index)
    jobs = []
    for n, members in enumerate(index.members(cells)):
        overlaps = tuple((entries[k], tuple(entries[other] for other in neighbours[k])) for k in members)
        jobs.append(PartitionJob(n, tuple(cells), overlaps, aside, schema))
    return jobs


_ADDED = (
    (POSITION, "int64", "pos.healpix", f"HEALPix cell of the position, order {FINEST}, nested"),
    ("source_id", "int64", "meta.id;meta.main", "name of the source: HEALPix cell of its peak, order 29, nested"),
    ("tile", "string", "meta.id;obs.field", "tile that the row is from"),
    ("is_primary", "bool", "meta.code", "whether the row is the one of this source that counts"),
    ("is_inner", "bool", "meta.code", "whether the tile owns the place of its peak; else the owner has no such row"),
    ("n_tiles", "int16", "meta.number", "how many tiles, or mosaics of tiles, have a row of the source"),
    ("tract", "string", "meta.id;obs.field", "tract of the tile"),
    ("patch", "string", "meta.id;obs.field", "patch of the tile"),
    ("label", "int64", "meta.id", "label of the source in its tile, or mosaic of tiles"),
)
"""Columns in front of those of the tiles: name, type, UCD, description."""


def _common_schema(index: Index) -> pa.Schema:
    """All columns of all tiles, with their units, and those that merging adds in front."""
    # A table without rows does not know the type of its texts.
    kinds = {entry.schema: entry for entry in index.entries if entry.cells}
    schemas = [parquet.read_schema(kinds[kind].catalog).remove_metadata() for kind in sorted(kinds)]
    without = {name for k, name in enumerate(ORIGIN_COLUMNS[1:]) if not any(one.region[k] for one in index.entries)}
    added = [row for row in _ADDED if row[0] not in without]
    front = [pa.field(name, kind, metadata={"description": text, "ucd": ucd}) for name, kind, ucd, text in added]
    taken = {one.name for one in front}
    fields = [one for one in pa.unify_schemas(schemas, promote_options="permissive") if one.name not in taken]
    schema = pa.schema([*front, *fields])
    record = json.dumps({"software": "morpheus_lite", "version": __version__})
    head = {"IVOA.VOTable-Parquet.version": "1.0", "IVOA.VOTable-Parquet.content": votable_head(schema)}
    return schema.with_metadata({"morpheus": record, **head})
