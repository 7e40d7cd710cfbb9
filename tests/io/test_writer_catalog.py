"""Catalogues in every format come back, and open with the tools people use."""

import warnings

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from pyarrow import parquet

from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io import read_catalog, write_catalog
from morpheus_lite.io.source_tables import find_column, read_rows
from morpheus_lite.io.tables import TABLE_FORMATS

META = {"version": "0.1", "model": "hausen2020", "options": {"stride": 3, "note": "naïve <b>\n"}, "none": None}


@pytest.fixture
def table() -> QTable:
    made = QTable(
        {
            "label": np.array([1, 2, 70_000], np.int32),
            "x_centroid": [1.5, 2.25, np.nan] * u.pix,
            "ra": [53.1, 53.2, 53.3] * u.deg,
            "segment_flux_F160W": [0.125, np.nan, -3.5] * u.nJy,
            "kron_flux_F160W": np.array([1, 2, 3], np.float32) * (u.electron / u.s),
            "kron_mag_F160W": [20.0, np.nan, 22.0] * u.mag,
            "morphology": ["disk", "point_source", "Ünknown"],
            "is_primary": [True, False, True],
            "flags": np.array([0, 17, 512], np.int64),
        },
        meta=META,
    )
    made["ra"].info.description = "right ascension (ICRS)"
    made["label"].description = "label in the segmentation map"
    return made


def columns_equal(one, two):
    one, two = (np.asarray(getattr(column, "value", column)) for column in (one, two))
    if one.dtype.kind == "f":
        np.testing.assert_array_equal(one, two)
    else:
        assert one.tolist() == two.tolist()


@pytest.mark.parametrize("suffix", TABLE_FORMATS)
def test_catalogues_come_back(suffix, table, tmp_path):
    table["morphology"] = ["disk", "point_source", "unknown"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = read_catalog(write_catalog(table, tmp_path / f"catalog{suffix}"))
    assert again.colnames == table.colnames
    for name in table.colnames:
        columns_equal(again[name], table[name])
    if suffix == ".csv":
        return
    assert again.meta == META
    for name in table.colnames:
        assert again[name].unit == table[name].unit, name
        assert again[name].info.description == table[name].info.description, name
        assert again[name].dtype.kind == table[name].dtype.kind, name
        assert again[name].dtype.isnative


@pytest.mark.parametrize("suffix", TABLE_FORMATS)
def test_catalogues_without_sources(suffix, table, tmp_path):
    again = read_catalog(write_catalog(table[:0], tmp_path / f"catalog{suffix}"))
    assert len(again) == 0
    assert again.colnames == table.colnames


@pytest.mark.parametrize("suffix", [".ecsv", ".parquet", ".vot", ".csv"])
def test_letters_beyond_ascii_are_kept(suffix, table, tmp_path):
    again = read_catalog(write_catalog(table, tmp_path / f"catalog{suffix}"))
    assert again["morphology"][2] == "Ünknown"


def test_letters_beyond_ascii_are_escaped_in_fits(table, tmp_path):
    again = read_catalog(write_catalog(table, tmp_path / "catalog.fits"))
    assert again["morphology"][2] == "\\xdcnknown"


@pytest.mark.parametrize("suffix", TABLE_FORMATS)
def test_the_same_catalogue_gives_the_same_bytes(suffix, table, tmp_path):
    one, two = (write_catalog(table, tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
    assert one == two


def test_the_table_is_not_changed(table, tmp_path):
    before, meta = table.copy(), dict(table.meta)
    for suffix in TABLE_FORMATS:
        write_catalog(table, tmp_path / f"catalog{suffix}")
    assert table.meta == meta
    assert (table["morphology"] == before["morphology"]).all()
    assert table.colnames == before.colnames


def test_parquet_opens_with_plain_pyarrow(table, tmp_path):
    path = write_catalog(table, tmp_path / "catalog.parquet")
    stored = parquet.read_table(path)
    assert stored["label"].to_pylist() == [1, 2, 70_000]
    assert stored["morphology"].to_pylist() == ["disk", "point_source", "Ünknown"]
    assert stored["is_primary"].type == pa.bool_()
    assert stored.schema.field("segment_flux_F160W").metadata[b"unit"] == b"nJy"
    assert stored.schema.field("ra").metadata == {b"unit": b"deg", b"description": b"right ascension (ICRS)"}


def test_parquet_of_astropy_is_read_without_pandas(tmp_path, monkeypatch):
    monkeypatch.setattr("astropy.io.misc.parquet.HAS_PANDAS", False)
    path = tmp_path / "catalog.parquet"
    Table(
        {
            "label": MaskedColumn([1, 2, 3], mask=[False, True, False]),
            "class": MaskedColumn(["disk", "", "Ünknown"], mask=[False, True, False]),
            "shape": np.arange(6.0).reshape(3, 2) * u.nJy,
            "empty": np.array([np.nan, 1, np.nan], np.float32),
        },
        meta={"made": {"by": "hand"}},
    ).write(path, format="parquet")
    again = read_catalog(path)
    assert again["label"].filled(-1).tolist() == [1, -1, 3]
    assert again["class"].filled("?").tolist() == ["disk", "?", "Ünknown"]
    assert again["shape"].unit == u.nJy and again["shape"].value.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert again["empty"].dtype == np.float32
    assert again.meta == {"made": {"by": "hand"}}
    assert find_column(read_rows(path, "it"), "label", "it").filled(-1).tolist() == [1, -1, 3]


def test_parquet_of_other_tools(tmp_path):
    path = tmp_path / "catalog.parquet"
    columns = {
        "id": pa.array([7, None, 9], pa.int32()),
        "flux": pa.array([1.5, None, np.nan], pa.float32()),
        "class": pa.array(["disk", None, "disk"]).dictionary_encode(),
        "blended": pa.array([True, None, False]),
        "pair": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int16(), 2)),
    }
    schema = pa.table(columns).schema
    schema = schema.set(1, schema.field("flux").with_metadata({"unit": "uJy", "description": "total"}))
    parquet.write_table(pa.table(columns, schema=schema), path)
    table = read_catalog(path)
    assert table["id"].filled(-1).tolist() == [7, -1, 9]
    np.testing.assert_array_equal(table["flux"].to_value(u.nJy), [1500, np.nan, np.nan])
    assert table["flux"].info.description == "total"
    assert table["class"].filled("").tolist() == ["disk", "", "disk"]
    assert table["blended"].mask.tolist() == [False, True, False]
    assert table["pair"].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_fits_opens_with_plain_astropy(table, tmp_path):
    from astropy.io import fits

    path = write_catalog(table, tmp_path / "catalog.fits")
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["MODEL"] == "hausen2020"
        header = hdus["CATALOG"].header
        assert header["TUNIT3"] == "deg"
        assert header["TCOMM3"] == "right ascension (ICRS)"
        assert hdus["CATALOG"].data["label"].tolist() == [1, 2, 70_000]


def test_votable_is_valid_and_opens_with_plain_astropy(table, tmp_path):
    path = write_catalog(table, tmp_path / "catalog.vot")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Table.read(path, format="votable")["ra"].unit == u.deg


@pytest.mark.parametrize("name", ["catalog.txt", "catalog", "catalog.fits.gz", "catalog.hdf5"])
def test_unknown_endings_are_refused(name, table, tmp_path):
    with pytest.raises(OptionError, match=r"a catalogue ends in .ecsv, .fits, .parquet, .vot, .xml, .csv, not in"):
        write_catalog(table, tmp_path / name)
    with pytest.raises(OptionError, match=r"a catalogue ends in"):
        read_catalog(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", TABLE_FORMATS)
def test_broken_catalogues(suffix, tmp_path):
    path = tmp_path / f"catalog{suffix}"
    with pytest.raises(InputError, match="no such file; expected a catalogue"):
        read_catalog(path)
    path.write_bytes(b"\x00\x01 broken")
    if suffix == ".csv":
        return
    with pytest.raises(InputError, match=r"cannot be read as a catalogue \("):
        read_catalog(path)


def test_big_catalogues_are_quick(tmp_path):
    rng = np.random.default_rng(0)
    big = QTable({f"c{k}": rng.normal(size=50_000) * u.nJy for k in range(20)})
    path = write_catalog(big, tmp_path / "catalog.parquet")
    again = read_catalog(path)
    np.testing.assert_array_equal(again["c7"].value, big["c7"].value)


@pytest.mark.parametrize("length", [55, 60])
@pytest.mark.parametrize("ending", ["ecsv", "fits", "csv", "parquet", "vot", "xml"])
def test_bands_with_long_names(ending, length, tmp_path):
    bands = ["A23456789_" * 10 + end for end in "YZ"]
    bands = [band[: length - 1] + band[-1] for band in bands]
    table = QTable({"label": [1, 2]})
    for number, band in enumerate(bands):
        for name in ("kron_flux", "aper_fluxerr_0p25arcsec"):
            table[f"{name}_{band}"] = [number + 1.5, 2.5] * u.nJy
            table[
                f"{name}_{band}"
            ].info.description = f"light in {band}, described in so many words that a card is too short"
    table.meta = {"zero_points": {band: {"value": 31.4} for band in bands}}
    back = read_catalog(write_catalog(table, tmp_path / f"c.{ending}"))
    assert back.colnames == table.colnames
    for name in table.colnames:
        np.testing.assert_array_equal(np.asarray(back[name]), np.asarray(table[name]))
        assert ending == "csv" or back[name].info.description == table[name].info.description
    assert ending == "csv" or back.meta["zero_points"] == table.meta["zero_points"]
