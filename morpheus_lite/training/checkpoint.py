"""State of a training run on disk: written whole or not at all, and read back to go on."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from morpheus_lite.errors import InputError, reason_of
from morpheus_lite.runtime.atomic import written_whole


def save_state(path: Path, groups: Mapping[str, Sequence[np.ndarray]], numbers: Mapping[str, float]) -> None:
    """Write lists of arrays and some numbers.

    Parameters
    ----------
    path : Path
        A ``.npz`` file; replaced only when the new one is whole.
    groups : mapping of str to sequence of numpy.ndarray
        Arrays, in order.
    numbers : mapping of str to float
        Numbers.
    """
    arrays = {f"{name}/{i}": np.asarray(array) for name, group in groups.items() for i, array in enumerate(group)}
    arrays |= {f"number/{name}": np.asarray(value, np.float64) for name, value in numbers.items()}
    with written_whole(path, overwrite=True) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)


def load_state(path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, float]]:
    """What `save_state` wrote.

    Raises
    ------
    InputError
        The file is no checkpoint.
    """
    groups: dict[str, dict[int, np.ndarray]] = {}
    numbers: dict[str, float] = {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            for key in stored.files:
                name, _, last = key.partition("/")
                if name == "number":
                    numbers[last] = float(stored[key])
                else:
                    groups.setdefault(name, {})[int(last)] = stored[key]
    except Exception as error:
        raise InputError(
            f"{path}: no checkpoint of a training run ({reason_of(error)}); delete it to start afresh"
        ) from error
    return {name: [group[i] for i in sorted(group)] for name, group in groups.items()}, numbers


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a CSV file, with a header if it is new."""
    new = not path.exists()
    with path.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
