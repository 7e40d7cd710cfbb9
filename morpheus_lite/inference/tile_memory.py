"""Memory of one-pass classification: side of the tiles, and how many fit at once."""

from typing import Protocol, runtime_checkable

import numpy as np

from morpheus_lite.core.classification import Classifier
from morpheus_lite.errors import OptionError
from morpheus_lite.runtime.resources import format_memory, usable_cores

TILE_SIDES = (1024, 768, 512)
"""Sides of the part of a tile that counts, of which a model takes the first that its memory allows. With 1,024 px and a
halo of 132 px, three quarters of the work are not in vain (the network trims its halo as it goes)."""

MEMORY_OF_A_TILE = 550e6
"""Bytes that a tile at work may take: two of them, and the libraries, fit into 2 GB."""

_BYTES_READ = 14
"""Bytes a pixel and band of a tile that is being prepared: data and S/N 4 each, validity of both 1 each, and what is at
work for one band."""

_BYTES_SYMMETRIES = 120
"""Bytes a pixel of the sums over the symmetries, beside S/N and validity turned: answers, entropies, logarithms."""


@runtime_checkable
class TileModel(Classifier, Protocol):
    """Interface of a model for one-pass classification."""

    @property
    def halo(self) -> int:
        """Pixels on each side of a tile that its border spoils."""

    @property
    def factor(self) -> int:
        """Tiles start at, and are as large as, multiples of this many pixels."""

    def bytes_per_pixel(self, n_bands: int, /) -> float:
        """Memory that a call of ``predict_inner`` takes for a pixel of a tile with its halo, at its peak."""

    def predict_inner(self, snr: np.ndarray, valid: np.ndarray, /) -> np.ndarray:
        """Probabilities ``(n, y, x, class)`` of S/N and validity ``(n, y + 2 halo, x + 2 halo, band)``."""

    def release(self) -> None:
        """Give back the memory that is kept for the next tile, if any is."""


def tile_side(model: TileModel, n_bands: int) -> int:
    """Side of the part of a tile that counts, for a model and this many bands: one of `TILE_SIDES`, in pixels."""
    n_bytes = _bytes_at_work(model, n_bands)
    fitting = (side for side in TILE_SIDES if n_bytes * _padded(side, model) ** 2 <= MEMORY_OF_A_TILE)
    return next(fitting, TILE_SIDES[-1])


def _bytes_at_work(model: TileModel, n_bands: int) -> float:
    """Bytes a pixel of a tile that the network is at work on: its own, S/N and validity."""
    return model.bytes_per_pixel(n_bands) + 5 * n_bands


def _padded(tile: int, model: TileModel) -> int:
    """Side of a tile with its halo."""
    return -(-tile // model.factor) * model.factor + 2 * model.halo


def workers_in(
    memory: float,
    model: TileModel,
    n_bands: int,
    *,
    has_rms: bool = False,
    uncertainty: bool = False,
    tile: int | None = None,
) -> int:
    """Number of tiles that fit at once in an amount of memory.

    Parameters
    ----------
    memory : float
        Bytes that may be used beside what the process holds already.
    model : TileModel
        The model.
    n_bands : int
        Bands of the model, or of the image where the model takes any.
    has_rms : bool
        Whether the image has RMS planes.
    uncertainty : bool
        Whether the network is asked eight times.
    tile : int
        As in `~morpheus_lite.inference.one_pass.OnePass`.

    Returns
    -------
    int
        At most the number of usable cores.

    Raises
    ------
    OptionError
        Not even one.
    """
    side = _padded(tile or tile_side(model, n_bands), model)
    reading = (_BYTES_READ + 8 * has_rms) * n_bands * side**2
    network = (_bytes_at_work(model, n_bands) + uncertainty * (5 * n_bands + _BYTES_SYMMETRIES)) * side**2
    fitting = int((memory - reading) / network)
    if fitting < 1:
        needed = reading + network
        raise OptionError(
            f"{format_memory(max(memory, 0))} of memory are left for the work, and {model.name} needs "
            f"{format_memory(needed)} for a tile of {side} px: allow {format_memory(needed - memory)} more (--memory)"
        )
    return min(fitting, usable_cores())
