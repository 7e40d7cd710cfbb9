"""A mosaic that is cut: its pieces, what is known before they are classified, and their class maps as one."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS

from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.image import wcs_of_window
from morpheus_lite.core.labels import FilePixels, ScratchFile
from morpheus_lite.core.large_objects import LargeObjects
from morpheus_lite.core.protocols import MapStore
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.core.windows import Window, tiles
from morpheus_lite.errors import reading
from morpheus_lite.io.fitsfile import open_fits
from morpheus_lite.io.maps import export_maps
from morpheus_lite.noise.background_mesh import BackgroundMesh, SkyStep
from morpheus_lite.runtime.atomic import atomic_write
from morpheus_lite.survey.state import fingerprint_product, read_json

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
    run : str
        Short name of all that it depends on beside its files.
    model : str
        Name of the model.
    inputs : mapping
        Its files, with the hashes of their content.
    outside : tuple of str
        In which respects it lies outside of what the model was trained on.
    grid : int
        Pixels that pieces start at multiples of.
    """

    run: str
    model: str
    inputs: Mapping[str, Any]
    outside: tuple[str, ...] = ()
    grid: int = 1


def cut(shape: tuple[int, int], side: int, *, grid: int = 1) -> list[Piece]:
    """The pieces of an image: squares of ``side`` pixels from its first pixel on, and what is left at the far edges.

    The side is rounded down to a multiple of ``grid``, but not to 0.
    """
    side = max(side // grid, 1) * grid
    n_columns = math.ceil(shape[1] / side)
    windows = enumerate(tiles(shape, side))
    return [Piece(f"y{k // n_columns}x{k % n_columns}", window) for k, window in windows]


def read_prepared(place: Path) -> Prepared:
    """Read the `Prepared` of a mosaic.

    Raises
    ------
    OSError
        It is not there.
    """
    if (values := read_json(place / PREPARED)) is None:
        raise OSError(f"{place / PREPARED} is gone; run the survey again")
    with reading(place / PREPARED):
        return Prepared(**values)


def save_noise(path: Path, noise: BackgroundMesh) -> None:
    """Write the noise of a mosaic for the workers: arrays beside a text of JSON, in which their numbers stand."""
    arrays: list[np.ndarray] = []

    def plain(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return float(value)
        arrays.append(value)
        return {"array": len(arrays) - 1}

    text = json.dumps(asdict(noise), default=plain)
    with path.open("wb") as file:
        np.savez(file, *arrays, text=np.array(text))


def load_noise(path: Path) -> BackgroundMesh | None:
    """The noise that `save_noise` wrote; None if the model needs none."""
    if not path.is_file():
        return None
    with reading(path), np.load(path) as file:
        arrays: dict[str, Any] = dict(file)
        text = str(arrays.pop("text"))
        values = json.loads(text, object_hook=lambda one: arrays[f"arr_{one['array']}"] if "array" in one else one)
        values = {name: tuple(one) if isinstance(one, list) else one for name, one in values.items()}
        values["void"] = tuple(map(tuple, values["void"]))
        values["steps"] = tuple(SkyStep(*one) for one in values["steps"])
        values["psf"] = tuple(MoffatPsf(**one) for one in values["psf"])
        values["large"] = values["large"] and LargeObjects(**values["large"])
        return BackgroundMesh(**values)


_NOTHING = {"FLAGS": int(PixelFlag.INVALID | PixelFlag.NOT_CLASSIFIED)}
"""Value of a plane where there is no piece, where it is neither 0 nor NaN."""


class NamedPlane(ScratchFile):
    """A scratch plane that other processes can open by its path.

    Parameters
    ----------
    path : path
        The file.
    shape : (int, int)
        Height and width in pixels.
    """

    def __init__(self, path: str | Path, shape: tuple[int, int]) -> None:
        self.path = str(path)
        self._temporary = open(self.path, "r+b", buffering=0)  # noqa: PTH123, SIM115
        FilePixels.__init__(self, self._temporary.fileno(), shape, np.dtype(np.int32))

    @classmethod
    def create(cls, path: Path, shape: tuple[int, int]) -> "NamedPlane":
        """A new plane, 0 everywhere."""
        with path.open("wb") as file:
            file.truncate(shape[0] * shape[1] * np.dtype(np.int32).itemsize)
        return cls(path, shape)

    def __reduce__(self) -> tuple[type["NamedPlane"], tuple[str, tuple[int, int]]]:
        return NamedPlane, (self.path, self.shape)


class PieceMaps(MapStore):
    """Class maps that lie in one file for each piece, read and written by windows of the whole.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the whole.
    kinds : sequence of str
        Kinds of planes in every file.
    pieces : sequence of (Window, str)
        Where each piece lies, and its file, uncompressed.
    wcs : astropy.wcs.WCS or None
        Of the whole.
    provenance : mapping
        What the maps record.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        kinds: Sequence[str],
        pieces: Sequence[tuple[Window, str]],
        *,
        wcs: WCS | None,
        provenance: Mapping[str, Any],
    ) -> None:
        super().__init__(shape, kinds, wcs=wcs, provenance=provenance)
        self.pieces = tuple(pieces)
        self._starts: dict[str, dict[str, int]] = {}

    def __reduce__(self) -> tuple[Callable[..., "PieceMaps"], tuple]:
        return partial(PieceMaps, wcs=self.wcs, provenance=self.provenance), (self.shape, self.kinds, self.pieces)

    def read_plane(self, name: str, window: Window | None = None) -> np.ndarray:
        """A window of one plane, by the name of its HDU: shape ``(y, x)``, native byte order."""
        window = window or Window(0, 0, *self.shape)
        dtype = np.dtype(self._planes[name].dtype)
        # Between the tiles of a mosaic there may be nothing.
        blank = _NOTHING.get(name, np.nan if dtype.kind == "f" else 0)
        pixels = np.full(window.shape, blank, dtype)
        for plane, there, here in self._parts(name, window, "rb"):
            pixels[here] = plane.read(there)
        return pixels

    def write_plane(self, name: str, pixels: np.ndarray, window: Window | None = None) -> None:
        """Write a window of one plane, by the name of its HDU."""
        window = window or Window(0, 0, *self.shape)
        for plane, there, here in self._parts(name, window, "r+b"):
            plane.write(there, pixels[here])

    def _parts(self, name: str, window: Window, mode: str) -> Iterator[tuple[FilePixels, Window, tuple[slice, slice]]]:
        """A plane of each piece that a window touches, open while it is used; what of the window it has, and where."""
        for piece, path in self.pieces:
            if not piece.touches(window):
                continue
            if path not in self._starts:
                with open_fits(path) as hdus:
                    self._starts[path] = {hdu.name: hdu.fileinfo()["datLoc"] for hdu in hdus[1:]}
            dtype = np.dtype(self._planes[name].dtype).newbyteorder(">")
            with Path(path).open(mode, buffering=0) as file:
                pixels = FilePixels(file.fileno(), piece.shape, dtype, self._starts[path][name])
                shared = piece.intersection(window)
                yield pixels, shared.relative_to(piece), shared.relative_to(window).slices


def finish_piece(
    piece: tuple[Window, str], maps: PieceMaps, kinds: Sequence[str] | None, compress: bool
) -> dict[str, Any]:
    """Reduce a piece of maps to the planes that are wanted, compress it if that is, and describe the file."""
    window, path = piece
    if kinds is not None or compress:
        own, wcs = [(Window(0, 0, *window.shape), path)], wcs_of_window(maps.wcs, window)
        alone = PieceMaps(window.shape, maps.kinds, own, wcs=wcs, provenance=maps.provenance)
        with atomic_write(path, overwrite=True) as aside:
            export_maps(alone, aside, kinds, compress=compress)
    return fingerprint_product(Path(path))
