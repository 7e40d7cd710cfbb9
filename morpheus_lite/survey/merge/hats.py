"""The layout of HATS: partitions of the sky as Parquet files that lsdb, and any reader of Parquet, understands."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from morpheus_lite import __version__
from morpheus_lite.survey.merge.healpix import FINEST, Cell
from morpheus_lite.survey.merge.partition import POSITION

if TYPE_CHECKING:
    import pyarrow as pa


def partition_path(place: Path, cell: Cell) -> Path:
    """Path of a partition in a catalogue."""
    directory = cell.pixel // 10_000 * 10_000
    return place / "dataset" / f"Norder={cell.order}" / f"Dir={directory}" / f"Npix={cell.pixel}.parquet"


def write_layout(place: Path, name: str, cells: Sequence[Cell], schema: "pa.Schema") -> int:
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

    Returns
    -------
    int
        Rows of all partitions.
    """
    from pyarrow import parquet

    collected = []
    for cell in cells:
        path = partition_path(place, cell)
        metadata = parquet.read_metadata(path)
        metadata.set_file_path(str(path.relative_to(place / "dataset")))
        collected.append(metadata)
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
    text = "".join(f"{key}={value}\n" for key, value in properties.items())
    for file in ("hats.properties", "properties"):
        (place / file).write_text(text)
    return sum(counts)
