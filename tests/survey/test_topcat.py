"""The merged catalogue in TOPCAT and STILTS: what a partition says of its columns, and what they read of it."""

import csv
import io
import shutil
import subprocess

import numpy as np
import pytest
from astropy import units as u
from astropy.io import votable
from astropy.io.votable.ucd import check_ucd
from pyarrow import parquet
from survey_catalogs import grid, survey, truth
from test_merge import merged_table

from morpheus_lite.io import read_catalog, write_catalog


@pytest.fixture(scope="module")
def partition(tmp_path_factory):
    """A partition of the catalogue of four tiles."""
    root = tmp_path_factory.mktemp("merged")
    tiles = grid(2, 300, 60)
    survey(root, tiles, *truth(60, 540, seed=1))
    found, _ = merged_table(root, [one[0] for one in tiles])
    return next(found.path.glob("dataset/Norder=*/**/*.parquet"))


def facts_of(partition):
    """Unit and UCD of each column, from the fields of Parquet."""
    fields = parquet.read_schema(partition)
    return {one.name: tuple((one.metadata or {}).get(key, b"").decode() for key in (b"unit", b"ucd")) for one in fields}


def test_a_partition_describes_its_columns_to_the_virtual_observatory(partition):
    metadata = parquet.read_schema(partition).metadata
    assert metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    head = votable.parse(io.BytesIO(metadata[b"IVOA.VOTable-Parquet.content"]))
    fields = {one.name: one for one in head.get_first_table().fields}
    expected = facts_of(partition)
    assert list(fields) == list(expected) and fields["ra"].ref == "icrs"
    assert {name: str(one.ucd or "") for name, one in fields.items()} == {
        name: ucd for name, (_, ucd) in expected.items()
    }
    assert fields["ra"].unit == u.deg and u.Unit(str(fields["kron_flux_H"].unit)) == u.electron / u.s
    assert all(check_ucd(ucd, check_controlled_vocabulary=True) for _, ucd in expected.values() if ucd)
    assert [name for name, (_, ucd) in expected.items() if ucd == "meta.id;meta.main"] == ["source_id"]
    assert {one.arraysize for one in fields.values() if one.datatype == "unicodeChar"} == {"*"}


def stilts(path, *steps):
    """What STILTS reads of a table, as rows of text."""
    command = ["stilts", "tpipe", f"in={path}", *(f"cmd={step}" for step in steps), "ofmt=csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(csv.reader(io.StringIO(done.stdout)))[1:]


@pytest.mark.skipif(shutil.which("stilts") is None, reason="STILTS needs Java; where it is installed it is tried")
@pytest.mark.parametrize("kind", ["vot", "fits", "parquet"])
def test_stilts_reads_names_units_descriptors_and_rows(kind, partition, tmp_path):
    formats = subprocess.run(["stilts", "tpipe", "help=ifmt"], capture_output=True, text=True).stdout
    if kind == "parquet" and kind not in formats:
        pytest.skip("this STILTS was built without Parquet")
    table = read_catalog(partition)
    path = partition if kind == "parquet" else write_catalog(table, tmp_path / f"partition.{kind}")
    expected = facts_of(partition)
    found = {name: (unit, ucd) for name, unit, ucd in stilts(path, "meta name units ucd")}
    assert {name: ucd for name, (_, ucd) in found.items()} == {name: ucd for name, (_, ucd) in expected.items()}
    assert list(found) == list(expected) and found["ra"][0] == found["dec"][0] == "deg"
    if kind == "fits":  # whose standard has no electrons: such units stand in comments
        assert found["kron_flux_H"][0] == ""
    else:
        assert u.Unit(found["kron_flux_H"][0]) == u.electron / u.s
    rows = stilts(path, "keepcols 'source_id ra dec is_primary tile'")
    assert [int(row[0]) for row in rows] == table["source_id"].tolist()
    np.testing.assert_allclose(
        [[float(one) for one in row[1:3]] for row in rows], np.stack([table["ra"], table["dec"]], 1).value, atol=1e-9
    )
    assert {row[3] for row in rows} == {"true"} and [row[4].strip() for row in rows] == table["tile"].tolist()
