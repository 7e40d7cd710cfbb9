"""Catalogues as ECSV, FITS, Parquet, VOTable or CSV, by the ending of the name."""

import io
import json
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.io.misc import yaml
from astropy.table import Column, MaskedColumn, QTable, Table, meta, serialize
from astropy.utils.exceptions import AstropyWarning

from morpheus_lite.core.facts import FACTS
from morpheus_lite.errors import InputError, OptionError, expect, reason_of
from morpheus_lite.io.fitsfile import RECORD, header_of_run, open_fits, plain, run_of_header
from morpheus_lite.runtime.atomic import atomic_write

if TYPE_CHECKING:
    import pyarrow as pa

TABLE_FORMATS: dict[str, str] = FACTS["catalogs"]
"""Endings that are understood, and what astropy calls their formats."""


_LONGEST_FITS_NAME = 68
"""Letters of a column's name that fit a card; longer names are cut, and whole in the card TLONGn."""


def catalog_format(path: str | Path) -> str:
    """Format of a catalogue, by the ending of its name.

    Raises
    ------
    OptionError
        The ending is none of `TABLE_FORMATS`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in TABLE_FORMATS:
        raise OptionError(f"{path}: a catalogue ends in {', '.join(TABLE_FORMATS)}, not in {suffix or 'nothing'}")
    return TABLE_FORMATS[suffix]


def write_catalog(table: Table, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a catalogue in the format that the ending of its name says.

    Units, descriptions and metadata are kept by ECSV, FITS, Parquet and VOTable; CSV has only the values.

    Parameters
    ----------
    table : astropy.table.QTable or Table
        The catalogue. It may have no rows.
    path : path
        ``*.ecsv``, ``*.fits``, ``*.parquet``, ``*.vot``, ``*.xml`` or ``*.csv``.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    OptionError
        The ending is not understood.
    OutputError
        The file exists, or cannot be written; nothing is left behind.
    """
    expect(table, Table, "write_catalog")
    path = Path(path)
    kind = catalog_format(path)
    plain_table = table.copy(copy_data=False)
    plain_table.meta = plain(table.meta)
    writers = {"fits": _write_fits, "parquet": _write_parquet, "votable": _write_votable}
    with atomic_write(path, overwrite=overwrite) as temporary:
        if kind in writers:
            with temporary.open("wb") as file:  # pyarrow takes paths of valid UTF-8 only
                writers[kind](plain_table, file)
        else:
            plain_table.write(temporary, format=kind)
    return path


def read_catalog(path: str | Path) -> QTable:
    """Read a catalogue back, with its units and metadata.

    Parameters
    ----------
    path : path
        As for `write_catalog`.

    Returns
    -------
    astropy.table.QTable
        The catalogue.

    Raises
    ------
    OptionError
        The ending is not understood.
    InputError
        There is no such file, or it is no catalogue of this format.
    """
    path = Path(path)
    kind = catalog_format(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a catalogue")
    readers = {"fits": _read_fits, "votable": _read_votable, "ascii.csv": _read_csv, "parquet": _read_parquet}
    try:
        with warnings.catch_warnings(action="ignore", category=AstropyWarning):
            table = readers.get(kind, partial(Table.read, format=kind))(path)
            for old, new in FACTS["renamed_columns"].items():
                if old in table.colnames and new not in table.colnames:
                    table.rename_column(old, new)
            return QTable(_tidy(table))
    # Each of the five readers has its own exceptions for a broken file.
    except Exception as error:
        raise InputError(f"{path} cannot be read as a catalogue ({kind}): {reason_of(error)}") from error


def _tidy(table: Table) -> Table:
    """Missing numbers as NaN, not as a mask that half of the functions would ignore; units as astropy has them."""
    for name in table.colnames:
        column = table[name]
        if column.unit is not None:
            # VOTable makes units of its own of those outside its standard, such as electron.
            column.unit = u.Unit(column.unit.to_string(), parse_strict="silent")
        if isinstance(column, MaskedColumn) and (column.dtype.kind == "f" or not np.any(column.mask)):
            table[name] = column.filled(np.nan) if column.dtype.kind == "f" else Column(column)
    return table


def _write_fits(table: Table, file: IO[bytes]) -> None:
    run = header_of_run(table.meta)
    table.meta = {}
    for name in [column.info.name for column in table.itercols() if column.dtype.kind == "U"]:
        # FITS text is ASCII: other letters are escaped.
        text = np.char.encode(table[name], "ascii", "backslashreplace") if len(table) else np.array([], "S1")
        table[name] = Column(text, description=table[name].info.description, meta=table[name].info.meta)
    names = list(table.colnames)
    for number, name in enumerate(names, 1):
        if len(name) > _LONGEST_FITS_NAME:
            table.rename_column(name, f"{name[: _LONGEST_FITS_NAME - 5]}_{number}")
    table = Table(table, copy=False)
    units = {column.name: column.unit for column in table.itercols() if _is_beyond_fits(column.unit)}
    for name in units:
        table[name].unit = None
    with warnings.catch_warnings(action="ignore", category=AstropyWarning):
        hdu = fits.table_to_hdu(table, name="CATALOG")
    for number, (name, column) in enumerate(zip(names, table.itercols(), strict=True), 1):
        if name != column.info.name:
            hdu.header[f"TLONG{number}"] = _ascii(name)
        if column.info.description:
            hdu.header[f"TCOMM{number}"] = _ascii(column.info.description)
        if ucd := (column.info.meta or {}).get("ucd"):
            hdu.header[f"TUCD{number}"] = ucd
    for line in _cards_of_units(units) if units else ():
        hdu.header.add_comment(line)
    fits.HDUList([fits.PrimaryHDU(header=run), hdu]).writeto(file)


def _is_beyond_fits(unit: u.UnitBase | None) -> bool:
    """Tell whether the FITS standard has no such unit, as it has no electrons."""
    try:
        return unit is not None and u.Unit(unit.to_string("fits"), format="fits") != unit
    except ValueError:
        return True


def _cards_of_units(units: Mapping[str, u.UnitBase]) -> list[str]:
    """Units of columns in the comments of astropy, whose reader warns of a TUNIT that is not of the standard."""
    kind, columns = "astropy.units.quantity.Quantity", {}
    for name, unit in units.items():
        value = serialize.SerializedColumn({"name": name})
        columns[name] = {"__class__": kind, "unit": unit, "value": value}
    text = yaml.dump({"datatype": [], "meta": {"__serialized_columns__": columns}})
    cards = []
    for line in text.splitlines():
        # A backslash in column 71 goes on in the next card.
        starts = range(0, max(len(line), 1), 70)
        cards += [line[first : first + 70] + "\\" * (first != starts[-1]) for first in starts]
    return ["--BEGIN-ASTROPY-SERIALIZED-COLUMNS--", *cards, "--END-ASTROPY-SERIALIZED-COLUMNS--"]


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def _read_fits(path: Path) -> Table:
    with open_fits(str(path)) as hdus:
        number = next((k for k, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU)), None)
        if number is None:
            raise ValueError("there is no table in it")
        run, header = run_of_header(hdus[0].header), hdus[number].header.copy()
        table = Table.read(hdus[number], mask_invalid=False)
    found = Table(meta=run)
    for k, column in enumerate(table.itercols(), 1):
        values = np.char.decode(column, "ascii") if column.dtype.kind == "S" else np.asarray(column)
        found[header.get(f"TLONG{k}", column.info.name)] = Column(
            values.astype(values.dtype.newbyteorder("="), copy=False),
            unit=_unit(header.get(f"TUNIT{k}")) or column.info.unit,
            description=header.get(f"TCOMM{k}"),
        )
    return found


def _unit(text: str | None) -> u.UnitBase | None:
    if not text:
        return None
    try:
        return u.Unit(text, format="fits")
    except ValueError:
        return u.Unit(text, parse_strict="silent")


def _read_csv(path: Path) -> Table:
    table = Table.read(path, format="ascii.csv")
    for name in table.colnames:
        if table[name].dtype.kind == "U" and set(table[name]) <= {"True", "False"} and len(table):
            table[name] = table[name] == "True"
    return table


def _write_parquet(table: Table, file: IO[bytes]) -> None:
    """Write units, descriptions and metadata as astropy does, and to each field of Arrow too, for other readers."""
    import pyarrow as pa
    from pyarrow import parquet

    table = Table(table, copy=False)
    record = {"table_meta_yaml": _yaml_of(table)}
    arrays, described = [], []
    for column in table.itercols():
        is_masked = isinstance(column, MaskedColumn)
        values = np.asarray(column.filled() if is_masked else column)
        mask = np.asarray(column.mask) if is_masked else None
        if values.dtype.kind == "U":
            record[f"table::len::{column.name}"] = str(values.dtype.itemsize // 4)
        if values.ndim == 1:
            arrays.append(pa.array(values, mask=mask))
        elif values.size:
            arrays.append(pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1]))
        else:
            arrays.append(pa.nulls(0, pa.list_(pa.from_numpy_dtype(values.dtype), max(values.shape[1], 1))))
        facts = {"unit": column.unit, "description": column.description, "ucd": (column.info.meta or {}).get("ucd")}
        facts = {key: str(value) for key, value in facts.items() if value is not None}
        described.append(pa.field(column.name, arrays[-1].type, metadata=facts))
    parquet.write_table(pa.table(arrays, schema=pa.schema(described, metadata=record)), file)


def _yaml_of(table: Table) -> str:
    """Describe a table in the YAML of astropy, columns as JSON: that is YAML as well, and takes no time."""
    cards = (json.dumps(plain(meta._get_col_attributes(column)), ensure_ascii=False) for column in table.itercols())
    head, *rest = meta.get_yaml_from_header({"cols": [], "meta": dict(table.meta)})
    return "\n".join([head.removesuffix(" []"), *(f"- {card}" for card in cards), *rest])


def _read_parquet(path: Path) -> Table:
    """Read a Parquet file of any tool; units, descriptions and metadata as astropy stores them, or as pyarrow fields.

    Astropy's own reader needs pandas.
    """
    from pyarrow import parquet

    with path.open("rb") as file:  # pyarrow takes paths of valid UTF-8 only
        return _table_of(parquet.read_table(file))


def _table_of(stored: "pa.Table") -> Table:
    record = (stored.schema.metadata or {}).get(b"table_meta_yaml")
    header = {} if record is None else meta.get_header_from_yaml(record.decode().split("\n"))
    described = {column["name"]: column for column in header.get("datatype", ())}
    table = Table(meta=header.get("meta", {}))
    for field in stored.schema:
        facts = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        facts |= described.get(field.name, {})
        values = _arrow_values(stored[field.name])
        kind = MaskedColumn if np.ma.isMaskedArray(values) else Column
        table[field.name] = kind(values, description=facts.get("description"))
        if facts.get("unit"):
            table[field.name].unit = _unit(str(facts["unit"]))
        if facts.get("ucd"):
            table[field.name].info.meta = {"ucd": facts["ucd"]}
    return Table(serialize._construct_mixins_from_columns(table), copy=False)


def _arrow_values(column: Any) -> np.ndarray:
    """A column of Arrow as an array: absent numbers are NaN where the type has one, else masked."""
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_fixed_size_list(column.type) and not column.null_count:
        flat = _arrow_values(compute.list_flatten(column))
        return flat.reshape(len(column), column.type.list_size)
    if column.null_count == 0 or pa.types.is_floating(column.type):
        values, absent = np.array(column.to_numpy()), None
    else:
        present, absent = column.drop_null().to_numpy(), column.is_null().to_numpy()
        values = np.full(len(column), "" if present.dtype.kind == "O" else np.zeros((), present.dtype), present.dtype)
        values[~absent] = present
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = values.astype(str)
    return values if absent is None else np.ma.array(values, mask=absent)


def votable_head(schema: "pa.Schema") -> bytes:
    """Describe the columns of a Parquet file as a VOTable without data, which TOPCAT looks for in it (VOParquet)."""
    head = io.BytesIO()
    _write_votable(_table_of(schema.empty_table()), head)
    return head.getvalue()


def _write_votable(table: Table, file: IO[bytes]) -> None:
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import CooSys, Info

    record = header_of_run(table.meta)
    table.meta = {}
    with warnings.catch_warnings(action="ignore", category=AstropyWarning):
        document = from_table(table)
        resource = document.resources[0]
        resource.infos.append(Info(name=RECORD, value=record[RECORD]))
        fields = resource.tables[0].fields
        on_sky = [field for field in fields if (field.ucd or "").startswith("pos.eq.")]
        if on_sky:
            resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS"))
        for field in on_sky:
            field.ref = "icrs"
        for field in [one for one in fields if one.datatype == "unicodeChar" and not len(table)]:
            field.arraysize = "*"  # no row says how long the texts are
        document.to_xml(file)


def _read_votable(path: Path) -> Table:
    from astropy.io.votable import parse

    document = parse(str(path))
    table = document.get_first_table().to_table(use_names_over_ids=True)
    for column in table.itercols():
        if column.info.description:
            # Long ones are written on several lines.
            column.info.description = " ".join(column.info.description.split())
    infos = {info.name: info.value for info in document.resources[0].infos}
    table.meta = run_of_header(infos)
    return table
