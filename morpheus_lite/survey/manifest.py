"""Tiles of a survey from images, directories, globs, or a manifest in TOML, CSV or ECSV."""

import csv
import glob
import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io import naming
from morpheus_lite.io.location import Location
from morpheus_lite.io.run_header import RECORD
from morpheus_lite.io.tables import read_catalog
from morpheus_lite.io.untrusted import read_toml
from morpheus_lite.survey.tile import NOISE_PLANES, READING, Paths, Tile, check_names

MANIFESTS = (".toml", ".csv", ".ecsv")
"""Endings of manifests."""

IMAGES = (".fits", ".fit", ".fts", ".fits.fz", ".fits.gz", ".fz")
"""Endings of the files that a directory's tiles are."""

log = logging.getLogger(__name__)

_OPTIONS = {f.name for f in fields(ClassifyOptions)} - {"overwrite", "products"}
_PREFIXES = ("image", *NOISE_PLANES, "zero_point")


def read_tiles(source: Any) -> list[Tile]:
    """The tiles of a survey.

    Parameters
    ----------
    source : path, Tile, or sequence of these
        An image (path or URL), a directory of images, a glob, a manifest, or a sequence of these. Every image file is a
        tile with all bands in it, called as the file without its endings. In a directory, planes beside images
        (``*_wht``, ``*_rms``, ``*_exp``, ``*_dq``, ``*_seg``, ...) and products of earlier runs are left aside. Tiles
        with one file per band, or with RMS, weight or flag planes of their own, need a manifest.

    Returns
    -------
    list of Tile
        In the order given; those of directories and globs sorted by path.

    Raises
    ------
    InputError
        There is no such file, no tile, a manifest that cannot be understood, or two tiles have the same name.
    OptionError
        An option of a manifest is unknown or impossible.

    Examples
    --------
    >>> [tile.name for tile in read_tiles(["s3://survey/a_12.fits", "s3://survey/a_13.fits"])]
    ['a_12', 'a_13']
    """
    sources = [source] if isinstance(source, str | os.PathLike | Tile) else list(source)
    tiles = [tile for one in sources for tile in ([one] if isinstance(one, Tile) else _tiles_of(os.fspath(one)))]
    return check_names(tiles, ", ".join(str(one) for one in sources[:3]) or "the list of images")


def _tiles_of(source: str) -> Iterable[Tile]:
    path = Path(source)
    if source.lower().endswith(MANIFESTS):
        return read_manifest(path)
    if path.is_dir():
        files = sorted(str(entry) for entry in path.iterdir() if entry.name.lower().endswith(IMAGES))
        images = [file for file in files if not _is_aside(file)]
        if len(images) < len(files):
            aside = [Path(file).name for file in files if file not in set(images)]
            more = ", ..." if len(aside) > 4 else ""
            log.warning(
                "%s: %d files are planes or products by their names or headers, and left aside: %s%s (name a file to "
                "have it as a tile)", path, len(aside), ", ".join(aside[:4]), more
            )  # fmt: skip
        if not images:
            left = f" and are not planes or products; {len(files)} of these are left aside" if files else ""
            raise InputError(f"{path} holds no images; expected files that end in {', '.join(IMAGES)}{left}")
        return map(_whole_file, images)
    if "://" not in source and not Path(Location.parse(source).path).exists() and glob.has_magic(source):
        images = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  (absolute patterns too)
        if not images:
            raise InputError(f"{source} matches no file")
        return map(_whole_file, images)
    Location.parse(source).require_file()
    return [_whole_file(source)]


def _is_aside(path: str) -> bool:
    """True if a file is a plane beside an image (``*_wht.fits``), or a product of a run."""
    if naming.is_companion(Location.parse(path).stem):
        return True
    try:
        with Path(path).open("rb") as file:
            for block in iter(lambda: file.read(2880), b""):
                keywords = {block[start : start + 8] for start in range(0, len(block), 80)}
                if RECORD.encode() in keywords:
                    return True
                if b"END     " in keywords or not block.isascii():
                    return False
    except OSError:
        pass
    return False


def _whole_file(path: str) -> Tile:
    return Tile(Location.parse(path).stem, _placed(path, Path.cwd()))


def read_manifest(path: str | Path) -> list[Tile]:
    """The tiles that a manifest lists.

    Parameters
    ----------
    path : path
        ``*.toml``, ``*.csv`` or ``*.ecsv``, as the page on surveys describes them. Relative paths begin at the
        manifest's directory.

    Returns
    -------
    list of Tile
        In the manifest's order.

    Raises
    ------
    InputError
        It cannot be read, or an entry is not understood.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a manifest")
    is_table = path.suffix.lower() != ".toml"
    entries = _rows(path) if is_table else _toml_entries(path)
    tiles = []
    for number, entry in enumerate(entries, 1):
        try:
            tiles.append(_tile(_nested(entry) if is_table else entry, path.parent.absolute()))
        except (InputError, OptionError) as error:
            raise type(error)(f"{path}, tile {entry.get('name') or number}: {error}") from error
    return check_names(tiles, str(path))


def _toml_entries(path: Path) -> list[dict[str, Any]]:
    content = read_toml(path)
    unknown = sorted(set(content) - {"tile", "defaults"})
    entries, defaults = content.get("tile", []), content.get("defaults", {})
    tables = isinstance(entries, list) and all(isinstance(one, dict) for one in (defaults, *entries))
    if unknown or not tables:
        raise InputError(
            f"{path}: expected [[tile]] entries and at most one [defaults] table, not {', '.join(unknown) or 'these'}"
        )
    return [{**defaults, **entry} for entry in entries]


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    if path.suffix.lower() == ".csv":
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not valid CSV: {error}") from error
        for number, row in enumerate(rows, 2):
            if None in row or None in row.values():
                raise InputError(f"{path}, line {number}: more or fewer fields than there are columns")
        return rows
    table = read_catalog(path)
    columns = [table[name].tolist() for name in table.colnames]
    return [dict(zip(table.colnames, values, strict=True)) for values in zip(*columns, strict=True)]


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a nested entry: the column ``rms_F160W`` is the item ``F160W`` of ``rms``."""
    entry: dict[str, Any] = {}
    for column, value in row.items():
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue
        key, _, band = _split(column)
        if key == "zero_point":
            key, value = "zero_points", _number(column, value)
        if band:
            entry.setdefault(key, {})[band] = value
        elif key in _OPTIONS:
            entry.setdefault("options", {})[key] = _option(value)
        else:
            entry[key] = value.split() if key == "bands" else value
    return entry


def _number(column: str, value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(f"{column} = {value}: expected a number") from None


def _split(column: str) -> tuple[str, str, str]:
    for prefix in _PREFIXES:
        if column.startswith(f"{prefix}_") and column not in READING:
            return prefix, "_", column.removeprefix(f"{prefix}_")
    return column, "", ""


def _option(value: Any) -> Any:
    """A value of a table as TOML would give it: CSV knows only text."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    return int(value) if value.lstrip("+-").isdigit() else value


def _tile(entry: Mapping[str, Any], directory: Path) -> Tile:
    known = {"name", "image", "options", *READING}
    unknown = sorted(set(entry) - known)
    if unknown:
        raise InputError(
            f"{', '.join(unknown)} is unknown; expected name, image or image_<BAND>, {', '.join(NOISE_PLANES)} (or "
            "<plane>_<BAND>), bands, zero_point, or an option of morpheus classify"
        )
    if not entry.get("image"):
        raise InputError("there is no image; give image, or image_<BAND> for each band")
    options = entry.get("options", {})
    if not isinstance(options, Mapping):
        raise OptionError(f"options = {options!r}: expected a table, such as {{stride = 5}}")
    strange = sorted(set(options) - _OPTIONS)
    if strange:
        raise OptionError(f"option {', '.join(strange)} is unknown; expected some of {', '.join(sorted(_OPTIONS))}")
    image = _placed(entry["image"], directory)
    reading = {key: entry[key] for key in READING if key in entry}
    reading |= {plane: _placed(reading[plane], directory) for plane in NOISE_PLANES if plane in reading}
    if "bands" in reading:
        reading["bands"] = _words(reading["bands"])
    return Tile(str(entry.get("name") or _default_name(image)), image, reading, dict(options))


def _placed(paths: Any, directory: Path) -> Any:
    """Relative paths seen from the manifest; URLs, and what is no path (False leaves a plane out), as they are."""
    if isinstance(paths, Mapping):
        return {str(band): _placed(path, directory) for band, path in paths.items()}
    if paths is False or (isinstance(paths, str) and paths.lower() in ("false", "none")):
        return False
    if not isinstance(paths, str):
        raise InputError(f"{paths!r} came where a path was expected")
    return paths if "://" in paths else os.path.normpath(directory / paths)


def _words(value: Any) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InputError(f"bands = {value!r}: expected a list of names")
    return [str(word) for word in value]


def _default_name(image: Paths) -> str:
    if isinstance(image, str):
        return Location.parse(image).stem
    raise InputError("a tile with one file per band needs a name")
