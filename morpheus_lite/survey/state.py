"""State of a survey: fingerprints of tiles, markers beside their products, and the lock of the directory."""

import hashlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from morpheus_lite import __version__
from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.config.schema import changed, plain_values
from morpheus_lite.errors import InputError, OutputError, reading, reason_of
from morpheus_lite.io.fitsfile import Location
from morpheus_lite.pipeline.plan import read_psf_files
from morpheus_lite.runtime.atomic import atomic_write, temporary_path
from morpheus_lite.runtime.resources import thread_map
from morpheus_lite.survey.tile import NOISE_PLANES, TILES, Tile

Facts = dict[str, Any]
"""What is known of a file without reading it: path, size, and time of change or ETag."""

_REMOTE_FACTS = ("ETag", "Content-MD5", "LastModified", "last_modified", "mtime", "md5Hash", "generation")


def tile_options(tile: Tile, options: ClassifyOptions) -> ClassifyOptions:
    """The options of one tile: those of the survey with its own on top."""
    return read_psf_files(changed(options, tile.options)) if tile.options else options


def run_of(
    tile: Tile, options: ClassifyOptions, weights: Mapping[str, str], values: Mapping[str, Any] | None = None
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
        ``options`` as plain values, without those that products do not depend on, for callers with many tiles.
    """
    options = tile_options(tile, options)
    if tile.options or values is None:
        values = plain_values(options, without=("none",))
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
        raise InputError(f"{url} cannot be reached: {reason_of(error)}") from error


def content_hash(location: Location) -> str:
    """sha256 of a file's content.

    Raises
    ------
    InputError
        It cannot be read.
    """
    with reading(location.path):
        opened = import_module("fsspec").open if location.is_remote else open
        with opened(location.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def input_facts(tile: Tile) -> dict[str, Facts]:
    """Every file of a tile by its role, with size and time of change."""
    return {role: facts_of(location) for role, location in tile.locations.items()}


def describe_inputs(tile: Tile, facts: Mapping[str, Facts] | None = None) -> dict[str, Facts]:
    """The same, or ``facts`` of a moment ago, with the sha256 of the content: reads all files."""
    facts, hashes = facts or input_facts(tile), {one.path: content_hash(one) for one in tile.locations.values()}
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


MARKER, SUMMARY, LOG = "done.json", "summary.json", "log.txt"
"""What lies in the directory of a tile beside the products."""

read_each = partial(thread_map, threads=16)
"""Read something small of each of many tiles, several at the same time: storage answers slowly."""


class State(StrEnum):
    """State of a tile."""

    DONE = "done"
    """Nothing."""
    CHECK = "check"
    """Its files look different: read them, and classify it again if their content is."""
    STALE = "stale"
    """Its products were made of other files or options, by another version, or have changed: classify it again."""
    MISSING = "missing"
    """Classify it."""


@dataclass(frozen=True, slots=True)
class TileState:
    """State of one tile.

    Parameters
    ----------
    state : State
        What is to do.
    reason : str
        Why it is not done, or what to know although it is.
    mosaic : str or None
        The mosaic that it was classified as a part of, empty if it lies alone; None if it was classified by itself.
    """

    state: State
    reason: str = ""
    mosaic: str | None = None


def tile_directory(root: Path, name: str) -> Path:
    """Directory of the products of a tile."""
    return root / TILES / name


def fingerprint_product(path: Path) -> dict[str, Any]:
    """File name, size and sha256 of a product, which are on the disk when this returns."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "size": path.stat().st_size, "sha256": sha256}


def write_json(path: Path, value: Any) -> None:
    """Write plain values, whole and on the disk, or not at all."""
    with atomic_write(path, overwrite=True) as temporary, temporary.open("w") as file:
        json.dump(value, file, separators=(",", ":"), default=list)
        file.flush()
        os.fsync(file.fileno())


def read_json(path: Path) -> dict[str, Any] | None:
    """Plain values that `write_json` wrote; None where there are none that can be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_marker(directory: Path) -> dict[str, Any] | None:
    """The marker in a tile's directory: ``run, digest, inputs, products``; None if there is no whole one."""
    marker = read_json(directory / MARKER) or {}
    try:
        files = [(one["file"], one["size"], one["sha256"]) for one in marker["products"].values()]
        whole = all(isinstance(one, dict) for one in (marker["run"], *marker["inputs"].values())) and marker["digest"]
    except (KeyError, TypeError, AttributeError):
        return None
    return marker if whole and all(list(map(type, one)) == [str, int, str] for one in files) else None


def write_marker(
    directory: Path,
    run: Mapping[str, Any],
    inputs: Mapping[str, Any],
    products: Mapping[str, Any],
    *,
    mosaic: str | None = None,
) -> None:
    """Mark a tile as done; its products lie in the directory."""
    marker = {"run": run, "digest": digest(run), "inputs": inputs, "products": products, "mosaic": mosaic}
    write_json(directory / MARKER, marker)


@contextmanager
def beside(directory: Path) -> Iterator[Path]:
    """A directory to make products in, which is gone in the end."""
    aside = temporary_path(directory)
    aside.mkdir()
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def read_states(
    root: Path, tiles: Sequence[Tile], options: ClassifyOptions, weights: Mapping[str, str], *, verify: bool = False
) -> dict[str, TileState]:
    """State of every tile, by its name.

    Parameters
    ----------
    root : path
        Output directory of the survey.
    tiles : sequence of Tile
        The tiles.
    options : ClassifyOptions
        Of the survey.
    weights : mapping of str to str
        sha256 of the weights of every model used.
    verify : bool
        Read the products, and compare their checksums; without it only their sizes are looked at.
    """
    present, values = _directories(root), plain_values(options, without=("none",))

    def state(tile: Tile) -> TileState:
        return tile_state(tile.directory(root), tile, run_of(tile, options, weights, values), verify=verify)

    found = [tile for tile in tiles if tile.name in present]
    known = dict(zip((tile.name for tile in found), read_each(state, found), strict=True))
    return {tile.name: known.get(tile.name) or TileState(State.MISSING) for tile in tiles}


def tile_state(directory: Path, tile: Tile, run: Mapping[str, Any], *, verify: bool = False) -> TileState:
    """State of one tile, as `read_states`; ``run`` comes from `~morpheus_lite.survey.state.run_of`."""
    marker = read_marker(directory)
    if marker is None:
        return TileState(State.MISSING)
    # Nearly always they are equal, which costs less to see than a digest.
    if marker["run"] != run and marker["digest"] != digest(run):
        return TileState(State.STALE, "; ".join(differences(marker["run"], run)))
    for product in marker["products"].values():
        if problem := _product_problem(directory / product["file"], product, verify):
            return TileState(State.STALE, problem)
    try:
        now = input_facts(tile)
    except InputError as error:
        return TileState(State.DONE, f"the input is gone: {error}", marker.get("mosaic"))
    if same_facts(marker["inputs"], now):
        return TileState(State.DONE, mosaic=marker.get("mosaic"))
    if marker["inputs"].keys() != now.keys():
        return TileState(State.STALE, "the planes are others than they were")
    if any(marker["inputs"][role].get("size") != now[role]["size"] for role in now):
        return TileState(State.STALE, "the size of an input has changed")
    return TileState(State.CHECK, "an input was renamed, or written again", marker.get("mosaic"))


def _product_problem(path: Path, product: Mapping[str, Any], verify: bool) -> str:
    try:
        size = path.stat().st_size
    except (OSError, ValueError):
        return f"{path.name} is gone"
    if size != product["size"]:
        return f"{path.name} has another size"
    return f"{path.name} is damaged" if verify and fingerprint_product(path)["sha256"] != product["sha256"] else ""


def unrecognized_tiles(root: Path, tiles: Iterable[Tile]) -> list[str]:
    """Names of tile directories with products that belong to no tile of the survey: they are left alone."""
    others = _directories(root) - {tile.name for tile in tiles}
    return sorted(name for name in others if not name.startswith(".") and (root / TILES / name / MARKER).is_file())


def _directories(root: Path) -> set[str]:
    return {entry.name for entry in os.scandir(root / TILES)} if (root / TILES).is_dir() else set()


def log_tail(path: Path, n_lines: int = 12) -> str:
    """The last lines of a log; empty without one."""
    with suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-n_lines:])
    return ""


LOCK = "survey.lock"
"""The file that the operating system locks."""
HOLDER = "survey.lock.json"
"""Which run holds the lock: its name, machine, process and start."""


@contextmanager
def locked(directory: Path) -> Iterator[str]:
    """Hold the lock of an output directory.

    The operating system releases it when the process ends, even if it is killed. A holder on another machine is
    respected: whether its process lives cannot be seen from here.

    Yields
    ------
    str
        Name of this run: workers compare it with the holder before they put products in place.

    Raises
    ------
    OutputError
        Another run works in the directory, or it cannot be written.
    """
    from filelock import FileLock, Timeout  # comes with the extra `batch`

    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK, blocking=False).acquire()
    except Timeout:
        raise _in_use(directory, _holder(directory)) from None
    except (OSError, NotImplementedError) as error:
        raise OutputError(f"nothing can be written in {directory}: {error}") from error
    with lock:
        holder = _holder(directory)
        if holder.get("host") not in (None, socket.gethostname()):
            raise _in_use(directory, holder)
        run = secrets.token_hex(8)
        content = {"run": run, "host": socket.gethostname(), "pid": os.getpid(), "since": time.ctime()}
        (directory / HOLDER).write_text(json.dumps(content), encoding="utf-8")
        try:
            yield run
        finally:
            with suppress(OSError):
                (directory / HOLDER).unlink()


def holds(directory: Path, run: str) -> bool:
    """True if the run of a worker still holds the lock of the directory."""
    return _holder(directory).get("run") == run


def _holder(directory: Path) -> dict[str, Any]:
    return read_json(directory / HOLDER) or {}


def _in_use(directory: Path, holder: dict[str, Any]) -> OutputError:
    who = f" (process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')})" if holder else ""
    return OutputError(
        f"{directory} is in use by another run{who}; wait for it to end, or choose another directory. "
        f"If that run has ended, remove {directory / HOLDER}"
    )
