"""An image that is cut: its pieces, which workers classify one by one, and where what belongs to it lies."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from morpheus_lite.core.large_objects import LargeObjects
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.core.windows import Window, tiles
from morpheus_lite.errors import reading
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.survey.state.tile_state import read_json

SIDE = 4096
"""Side of the pieces in pixels, about: a multiple of the model's own tiles, which would else be done twice."""

PIECES, NOISE, PREPARED, PLANE = "pieces", "noise.npz", "prepared.json", "labels.plane"
"""The directory of what is needed while a mosaic is worked on, and what lies there."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a mosaic.

    Parameters
    ----------
    name : str
        ``y2x0`` is the first piece of the third row.
    window : Window
        Its pixels.
    """

    name: str
    window: Window


@dataclass(frozen=True, eq=False)
class Prepared:
    """Properties of a whole mosaic that are measured before its pieces are classified.

    Parameters
    ----------
    model, sha256 : str
        Name of the model, and of its weights.
    inputs : mapping
        Its files, with the hashes of their content.
    outside : tuple of str
        In which respects it lies outside of what the model was trained on.
    grid : int
        Pixels that pieces start at multiples of.
    """

    model: str
    sha256: str
    inputs: Mapping[str, Any]
    outside: tuple[str, ...] = ()
    grid: int = 1

    @property
    def content(self) -> dict[str, str]:
        """The content of the files by their role."""
        return {role: facts["sha256"] for role, facts in self.inputs.items()}


def cut(shape: tuple[int, int], side: int, *, grid: int = 1) -> list[Piece]:
    """The pieces of an image: squares of ``side`` pixels from its first pixel on, and what is left at the far edges.

    The side is rounded down to a multiple of ``grid``, but not to 0.
    """
    side = max(side // grid, 1) * grid
    n_columns = math.ceil(shape[1] / side)
    windows = enumerate(tiles(shape, side))
    return [Piece(f"y{k // n_columns}x{k % n_columns}", window) for k, window in windows]


def piece_directory(directory: Path) -> Path:
    """Directory in which the pieces of a mosaic are made; ``directory`` is that of its products."""
    return directory / PIECES


def piece_product(directory: Path, name: str, piece: str) -> Path:
    """The class maps of a piece."""
    return directory / f"{name}_{piece}_morpheus.fits"


def read_prepared(directory: Path) -> Prepared:
    """Read the `Prepared` of the mosaic whose products lie in a directory.

    Raises
    ------
    OSError
        It is not there.
    """
    values = read_json(piece_directory(directory) / PREPARED)
    if values is None:
        raise OSError(f"{piece_directory(directory) / PREPARED} is gone; run the survey again")
    with reading(piece_directory(directory) / PREPARED):
        return Prepared(values["model"], values["sha256"], values["inputs"], tuple(values["outside"]), values["grid"])


_PLAIN = ("shape", "has_rms", "photons", "largest", "void")
"""Fields of a mesh that are numbers, or tuples of them."""


def save_noise(path: Path, noise: BackgroundMesh) -> None:
    """Write the noise of a mosaic for the workers."""
    arrays: dict[str, Any] = {name: value for name, value in vars(noise).items() if isinstance(value, np.ndarray)}
    arrays["rows"], arrays["columns"] = noise.centers
    if noise.large is not None:
        arrays |= {f"large_{name}": value for name, value in vars(noise.large).items()}
    plain = {name: getattr(noise, name) for name in _PLAIN} | {"psf": [vars(psf) for psf in noise.psf]}
    with path.open("wb") as file:
        np.savez(file, plain=np.array(json.dumps(plain, default=float)), **arrays)


def load_noise(path: Path) -> BackgroundMesh | None:
    """The noise that `save_noise` wrote; None if the model needs none."""
    if not path.is_file():
        return None
    with reading(path), np.load(path) as file:
        arrays: dict[str, Any] = dict(file)
    plain = json.loads(str(arrays.pop("plain")))
    centers = arrays.pop("rows"), arrays.pop("columns")
    large = {name: arrays.pop(name) for name in list(arrays) if name.startswith("large_")}
    arrays |= {name: plain[name] if plain[name] is None else tuple(plain[name]) for name in _PLAIN[:-1]}
    return BackgroundMesh(
        **arrays,
        centers=centers,
        void=tuple(map(tuple, plain["void"])),
        large=LargeObjects(**{name.removeprefix("large_"): one for name, one in large.items()}) if large else None,
        psf=tuple(MoffatPsf(**one) for one in plain["psf"]),
    )
