"""The case of a number: which file, how it is broken, and how it is read."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .mutations import mutations_for, unchanged
from .samples import Sample

_WEIGHTS = {"image": 0.56, "maps": 0.06, "labels": 0.04, "catalog": 0.16, "rows": 0.03, "model": 0.03}
"""Shares of the kinds; the rest is divided equally."""


@dataclass(frozen=True)
class Case:
    """A broken file.

    Parameters
    ----------
    kind : str
        How it is read: a key of `targets.TARGETS`.
    name : str
        Its name, in the directory of the case.
    how : str
        Which mutation it went through.
    """

    kind: str
    name: str
    how: str


def case_of(seed: int, number: int, samples: Sequence[Sample], folder: Path, only: str = "") -> Case:
    """Make the files of a case, of one kind or name or any, in an empty folder; seed and number decide."""
    rng = np.random.default_rng([seed, number])
    kinds = sorted({sample.kind for sample in samples})
    rest = (1 - sum(_WEIGHTS.values())) / sum(kind not in _WEIGHTS for kind in kinds)
    kind = str(rng.choice(kinds, p=[_WEIGHTS.get(kind, rest) for kind in kinds]))
    kind = only or kind
    among = [sample for sample in samples if kind in (sample.kind, next(iter(sample.files))[: len(kind)])]
    sample = among[int(rng.integers(len(among)))]
    kind, name = sample.kind, next(iter(sample.files))
    ways = mutations_for(name)
    way = ways[int(rng.integers(len(ways)))] if rng.random() > 0.01 else unchanged
    files = {**sample.files, name: way(sample.files[name], rng)}
    if kind == "model" and "weights.npz" in files:
        files["config.json"] = _with_checksum(files["config.json"], files["weights.npz"], rng)
    for one, content in files.items():
        (folder / one).parent.mkdir(parents=True, exist_ok=True)
        (folder / one).write_bytes(content)
    return Case(kind, name, way.__name__)


def _with_checksum(config: bytes, weights: bytes, rng: np.random.Generator) -> bytes:
    """The checksum is right for most: behind it lies more to be broken."""
    try:
        values = json.loads(config)
        if rng.random() < 0.95 and isinstance(values, dict) and values.get("sha256") == "":
            values["sha256"] = hashlib.sha256(weights).hexdigest()
        return json.dumps(values).encode()
    except (ValueError, RecursionError):
        return config
