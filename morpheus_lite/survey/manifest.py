"""Tiles of a survey from images, directories, globs, or a manifest in TOML, CSV or ECSV."""

import csv
import glob
import logging
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from morpheus_lite.config.classify import NOT_IN_SURVEYS, SURVEY_OPTIONS, ReadOptions
from morpheus_lite.config.schema import declared, read_values
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io.bands import is_companion
from morpheus_lite.io.fitsfile import RECORD, Location
from morpheus_lite.io.tables import read_catalog
from morpheus_lite.io.untrusted import read_toml
from morpheus_lite.survey.tile import NOISE_PLANES, Paths, Tile, check_names

MANIFESTS = (".toml", ".csv", ".ecsv")
"""Endings of manifests."""

IMAGES = (".fits", ".fit", ".fts", ".fits.fz", ".fits.gz", ".fz")
"""Endings of the files that a directory's tiles are."""

log = logging.getLogger(__name__)

_NOT_PER_TILE = {*NOT_IN_SURVEYS, "products"}
_READING = {one.path[0]: one for one in declared(ReadOptions())}
_REGION = ("tract", "patch")
_KNOWN = {"name", "image", *_REGION, *_READING}
_OF_BAND = re.compile(rf"(image|{'|'.join(NOISE_PLANES)}|zero_point)_(.+)")


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
        stems = {Location.parse(file).stem for file in files}
        images = [file for file in files if not _is_aside(file, stems)]
        if len(images) < len(files):
            aside = [Path(file).name for file in files if file not in set(images)]
            more = ", ..." if len(aside) > 4 else ""
            log.warning(
                "%s: left aside, as planes or products by their names or headers, %d of %d files: %s%s (name a file to "
                "have it as a tile)", path, len(aside), len(files), ", ".join(aside[:4]), more
            )  # fmt: skip
        if not images:
            left = f" and are not planes or products; {len(files)} of these are left aside" if files else ""
            raise InputError(f"{path} holds no images; expected files that end in {', '.join(IMAGES)}{left}")
        return map(_whole_file, images)
    if "://" not in source and not Path(Location.parse(source).path).exists() and glob.has_magic(source):
        if images := sorted(glob.glob(source, recursive=True)):  # noqa: PTH207  (absolute patterns too)
            return map(_whole_file, images)
        raise InputError(f"{source} matches no file")
    Location.parse(source).require_file()
    return [_whole_file(source)]


def _is_aside(path: str, others: Collection[str]) -> bool:
    """True if a file is a plane beside an image (``*_wht.fits``), or a product of a run."""
    if is_companion(Location.parse(path).stem, others):
        return True
    if not Path(path).is_file():  # whoever opens a pipe waits for ever
        return False
    with suppress(OSError), Path(path).open("rb") as file:
        for block in iter(lambda: file.read(2880), b""):
            keywords = {block[start : start + 8] for start in range(0, len(block), 80)}
            if RECORD.encode() in keywords or b"END     " in keywords or not block.isascii():
                return RECORD.encode() in keywords
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
            nested = _nested(entry) if is_table else entry
            tiles.append(_tile(nested, path.parent.absolute(), texts=is_table))
        except (InputError, OptionError) as error:
            raise type(error)(f"{path}, tile {entry.get('name') or number}: {error}") from error
    return check_names(tiles, str(path))


def _toml_entries(path: Path) -> list[dict[str, Any]]:
    content = read_toml(path)
    entries, defaults = content.pop("tile", []), content.pop("defaults", {})
    if content or not isinstance(entries, list) or not all(isinstance(one, dict) for one in (defaults, *entries)):
        others = ", ".join(sorted(content)) or "these"
        raise InputError(f"{path}: expected [[tile]] entries and at most one [defaults] table, not {others}")
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
    columns = (table[name].tolist() for name in table.colnames)
    return [dict(zip(table.colnames, values, strict=True)) for values in zip(*columns, strict=True)]


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a nested entry: the column ``rms_F160W`` is the item ``F160W`` of ``rms``."""
    entry: dict[str, Any] = {}
    for column, value in row.items():
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue
        of_band = None if column in _READING else _OF_BAND.match(column)
        key, band = of_band.groups() if of_band else (column, "")
        key = "zero_points" if key == "zero_point" else key
        if band:
            entry.setdefault(key, {})[band] = value
        elif key in _KNOWN:
            entry[key] = value
        else:
            entry.setdefault("options", {})[key] = value
    return entry


def _tile(entry: Mapping[str, Any], directory: Path, *, texts: bool) -> Tile:
    if unknown := sorted(set(entry) - _KNOWN - {"options"}):
        raise InputError(
            f"{', '.join(unknown)} is unknown; expected name, image or image_<BAND>, {', '.join(NOISE_PLANES)} (or "
            "<plane>_<BAND>), bands, zero_point, or an option of morpheus classify"
        )
    if not entry.get("image"):
        raise InputError("there is no image; give image, or image_<BAND> for each band")
    image = _placed(entry["image"], directory)
    reading = {key: entry[key] for key in _READING if key in entry}
    reading |= {plane: _placed(reading[plane], directory) for plane in NOISE_PLANES if plane in reading}
    # A tile checks what it is given.
    plain = {key for key, value in reading.items() if texts and isinstance(value, str | Mapping)} - {*NOISE_PLANES}
    reading |= {key: _READING[key].plain(reading[key]) for key in plain}
    options: dict[str, Any] = {}
    own = read_values(SURVEY_OPTIONS, entry["options"], texts=texts) if "options" in entry else {}
    for path, value in own.items():
        if path[0] in _NOT_PER_TILE:
            raise OptionError(f"option {path[0]}: it is one for the whole survey, and not a tile's own")
        (options.setdefault(path[0], {}) if len(path) > 1 else options)[path[-1]] = value
    region = {key: str(entry[key]) for key in _REGION if key in entry}
    return Tile(str(entry.get("name") or _default_name(image)), image, reading, options, **region)


def _placed(paths: Any, directory: Path) -> Any:
    """Relative paths seen from the manifest; URLs, and what is no path (False leaves a plane out), as they are."""
    if isinstance(paths, Mapping):
        return {str(band): _placed(path, directory) for band, path in paths.items()}
    if paths is False or (isinstance(paths, str) and paths.lower() in ("false", "none")):
        return False
    if not isinstance(paths, str):
        raise InputError(f"{paths!r} came where a path was expected")
    # Paths of 100,000 tiles: joining them as texts takes a tenth of the time.
    return paths if "://" in paths else os.path.normpath(os.path.join(directory, paths))  # noqa: PTH118


def _default_name(image: Paths) -> str:
    if isinstance(image, str):
        return Location.parse(image).stem
    raise InputError("a tile with one file per band needs a name")
