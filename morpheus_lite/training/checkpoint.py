"""State of a training run on disk: written whole or not at all, and read back to go on."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morpheus_lite.errors import InputError, reason_of
from morpheus_lite.runtime.atomic import atomic_write


def save_state(path: Path, groups: Mapping[str, Sequence[Any]], numbers: Mapping[str, float]) -> None:
    """Write lists of arrays or variables, and some numbers: a ``.npz`` file, replaced when the new one is whole."""
    arrays = {f"{name}/{i}": np.asarray(array) for name, group in groups.items() for i, array in enumerate(group)}
    arrays |= {f"number/{name}": np.asarray(value, np.float64) for name, value in numbers.items()}
    with atomic_write(path, overwrite=True) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)


def load_state(path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, float]]:
    """Read what `save_state` wrote.

    Raises
    ------
    InputError
        The file is not a checkpoint.
    """
    groups: dict[str, list[np.ndarray]] = {}
    numbers: dict[str, float] = {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            for key, array in stored.items():
                name, last = key.split("/")
                if name == "number":
                    numbers[last] = float(array)
                else:
                    groups.setdefault(name, []).append(array)
    except Exception as error:
        raise InputError(
            f"{path}: not a checkpoint of a training run ({reason_of(error)}); delete it to start afresh"
        ) from error
    return groups, numbers


def append_rows(path: Path, step: int, new: Sequence[Mapping[str, Any]]) -> None:
    """Add the rows of a step to a log, a CSV file; those that a killed run wrote of it and of later steps go."""
    rows = [one for one in read_log(path) if float(one["step"]) < step] if path.exists() else []
    for row in new:
        texts = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
        rows.append({"step": step} | texts)
    with atomic_write(path, overwrite=True) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(dict.fromkeys(key for one in rows for key in one)))
        writer.writeheader()
        writer.writerows(rows)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of a log.

    Raises
    ------
    InputError
        It cannot be read, or has no steps.
    """
    try:
        with path.open(newline="") as handle:
            rows: list[dict[str, Any]] = list(csv.DictReader(handle))
            for row in rows:
                float(row["step"])
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: not the log of a training run ({error}); delete it to start afresh") from error
    return rows
