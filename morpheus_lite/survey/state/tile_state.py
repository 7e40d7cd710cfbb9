"""State of tiles: a marker beside the products of each, written last, with all that the products depend on."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.errors import InputError
from morpheus_lite.runtime.atomic import atomic_write
from morpheus_lite.survey.state.fingerprint import differences, digest, facts_of, option_values, run_of, same_facts
from morpheus_lite.survey.tile import TILES, Tile

MARKER, SUMMARY, LOG = "done.json", "summary.json", "log.txt"
"""What lies in the directory of a tile beside the products."""

_READERS = 16
_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


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


def read_each(read: Callable[[_Item], _Found], items: Iterable[_Item]) -> list[_Found]:
    """Read something small of each of many tiles, several at the same time: storage answers slowly."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read, items))


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


def read_states(
    root: Path, tiles: Sequence[Tile], options: ClassifyOptions, weights: Mapping[str, str], *, verify: bool = False
) -> list[TileState]:
    """State of every tile.

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

    Returns
    -------
    list of TileState
        One per tile.
    """
    try:
        present = {entry.name for entry in os.scandir(root / TILES)}
    except OSError:
        present = set()
    missing, values = TileState(State.MISSING), option_values(options)

    def state(tile: Tile) -> TileState:
        if tile.name not in present:
            return missing
        run = run_of(tile, options, weights, values=values)
        return tile_state(tile_directory(root, tile.name), tile, run, verify=verify)

    if not present:
        return [missing] * len(tiles)
    return read_each(state, tiles)


def tile_state(directory: Path, tile: Tile, run: Mapping[str, Any], *, verify: bool = False) -> TileState:
    """State of one tile, as `read_states`; ``run`` comes from `~morpheus_lite.survey.state.fingerprint.run_of`."""
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
        now = {role: facts_of(location) for role, location in tile.locations.items()}
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
    known = {tile.name for tile in tiles}
    try:
        entries = [entry.name for entry in os.scandir(root / TILES) if entry.name not in known]
    except OSError:
        return []
    return sorted(name for name in entries if not name.startswith(".") and (root / TILES / name / MARKER).is_file())


def log_tail(path: Path, n_lines: int = 12) -> str:
    """The last lines of a log; empty without one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-n_lines:])
