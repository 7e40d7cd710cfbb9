"""Fingerprint of a tile's products: files, options, version, weights; and the differences between two of them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from morpheus_lite import __version__
from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.config.schema import changed, plain_values
from morpheus_lite.errors import InputError
from morpheus_lite.io.fitsfile import Location
from morpheus_lite.pipeline.plan import read_psf_files
from morpheus_lite.survey.tile import NOISE_PLANES, Tile

Facts = dict[str, Any]
"""What is known of a file without reading it: path, size, and time of change or ETag."""

_REMOTE_FACTS = ("ETag", "Content-MD5", "LastModified", "last_modified", "mtime", "md5Hash", "generation")


def tile_options(tile: Tile, options: ClassifyOptions) -> ClassifyOptions:
    """The options of one tile: those of the survey with its own on top."""
    return read_psf_files(changed(options, tile.options)) if tile.options else options


def option_values(options: ClassifyOptions) -> dict[str, Any]:
    """The options that products depend on, as plain values: what JSON would give back of them."""
    return plain_values(options, without=("none",))


def run_of(
    tile: Tile, options: ClassifyOptions, weights: Mapping[str, str], *, values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Everything that a tile's products depend on beside the content of its files, as plain values.

    The paths themselves are left out: a file that was renamed is the same file.

    Parameters
    ----------
    tile : Tile
        The tile.
    options : ClassifyOptions
        Of the survey.
    weights : mapping of str to str
        sha256 of the weights of every model that the survey uses.
    values : mapping, optional
        `option_values` of ``options``, for callers with many tiles.
    """
    if tile.options or values is None:
        options = tile_options(tile, options)
        values = option_values(options)
    reading = {key: value for key, value in tile.read_options.items() if key not in NOISE_PLANES}
    hdus = {role: str(Location("", location.ext)) for role, location in tile.locations.items()}
    left_out = [plane for plane in NOISE_PLANES if tile.read_options.get(plane) is False]
    return {
        "version": __version__,
        "weights": weights[options.model],
        "options": values,
        "reading": reading,
        "hdus": hdus,
        "left_out": left_out,
    }


def digest(value: Any) -> str:
    """A short name of plain values: the same for the same values, in any order of keys."""
    text = json.dumps(value, sort_keys=True, default=list, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def facts_of(location: Location) -> Facts:
    """Path, size and time of a file, without reading it.

    Times of change are only ever compared for equality, so that clocks may be wrong.

    Raises
    ------
    InputError
        There is no such file, or it cannot be reached.
    """
    if not location.is_remote:
        location.require_file()
        try:
            found = Path(location.path).stat()
        except OSError as error:
            raise InputError(f"{location.path} cannot be looked at: {error.strerror or error}") from error
        return {"path": location.path, "size": found.st_size, "mtime_ns": found.st_mtime_ns}
    info = _remote_info(location.path)
    known = {key: str(info[key]) for key in _REMOTE_FACTS if info.get(key) is not None}
    return {"path": location.path, "size": info.get("size"), **known}


def _remote_info(url: str) -> Mapping[str, Any]:
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
        return system.info(path, refresh=True) if url.startswith("s3") else system.info(path)
    # Every kind of store has its own exceptions.
    except Exception as error:
        raise InputError(f"{url} cannot be reached: {' '.join(str(error).split()) or type(error).__name__}") from error


def content_hash(location: Location) -> str:
    """sha256 of a file's content.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        with _opened(location) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except Exception as error:
        raise InputError(f"{location.path} cannot be read: {' '.join(str(error).split())}") from error


def _opened(location: Location) -> Any:
    if not location.is_remote:
        return Path(location.path).open("rb")
    import fsspec

    return fsspec.open(location.path, "rb").open()


def describe_inputs(tile: Tile) -> dict[str, Facts]:
    """Every file of a tile by its role, with size, time of change and sha256 of its content: reads all of them."""
    locations = tile.locations
    facts = {role: facts_of(location) for role, location in locations.items()}
    hashes = {location.path: content_hash(location) for location in locations.values()}
    return {role: {**known, "sha256": hashes[known["path"]]} for role, known in facts.items()}


def same_facts(known: Mapping[str, Facts], now: Mapping[str, Facts]) -> bool:
    """True if path, size and time of the files are unchanged."""
    return known.keys() == now.keys() and all(
        {key: value for key, value in known[role].items() if key != "sha256"} == now[role] for role in now
    )


def same_content(known: Mapping[str, Facts], now: Mapping[str, Facts]) -> bool:
    """True if the content of the files is unchanged."""
    return known.keys() == now.keys() and all(known[role].get("sha256") == now[role]["sha256"] for role in now)


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    """In words, what of a run has changed: ``options.stride was 5, is 3``."""
    for key in sorted(set(was) | set(now)):
        before, after = was.get(key), now.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from (f"{key}.{one}" for one in differences(before, after))
        elif digest(before) != digest(after):
            yield f"{key} was {_short(before)}, is {_short(after)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 24 else text[:12] + "..."
