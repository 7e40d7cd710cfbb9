"""A one-pass network made ready to predict: folded, calibrated, compiled once, NumPy in and out."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache, partial

import numpy as np

from morpheus_lite.errors import ModelError
from morpheus_lite.models.network_config import OnePassConfig, OnePassNetwork, peak_bytes, stage_margins
from morpheus_lite.models.registry import ModelInfo

_ROWS = 4  # rows of cells that are stretched at once: what is at work stays in the cache of a core

PredictTile = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class OnePassModel(ModelInfo):
    """A model that classifies a whole tile at once: its description, and how it is applied.

    Parameters
    ----------
    engine : str
        What runs the network, ``"openvino"`` or ``"tensorflow"``.
    halo : int
        Pixels on each side of a tile that its border spoils, if it starts at a multiple of ``factor``.
    factor : int
        Tiles start at, and are as large as, multiples of this.
    bytes_per_pixel : callable
        ``bytes_per_pixel(n_bands)``: memory that ``predict_inner`` takes for a pixel of a tile with its halo, about.
    predict : callable
        ``predict(snr, valid)``: float32 and bool ``(n, y, x, band)``, see `morpheus_lite.noise.background_mesh`, to
        calibrated probabilities, float32 ``(n, y, x, class)``. May be called from several threads.
    predict_inner : callable
        The same for all but the halo, ``(n, y - 2 halo, x - 2 halo, class)``, for less work.
    release : callable
        ``release()`` gives back the memory that is kept for the next tile, where the engine keeps any.
    """

    engine: str
    halo: int
    factor: int
    bytes_per_pixel: Callable[[int], float]
    predict: PredictTile
    predict_inner: PredictTile
    release: Callable[[], None]


def ready(info: ModelInfo, weights: Mapping[str, np.ndarray], *, engine: str, precision: str) -> OnePassModel:
    """A description and weights, as what `morpheus_lite.models.registry.load_model` returns.

    The network calculates in float32 or, with weights in float32, in bfloat16.

    Raises
    ------
    ModelError
        Bands of the model are not those of its network.
    """
    network = network_of(info, weights)

    make = partial(_run_by_openvino if engine == "openvino" else _run_by_tensorflow, network, precision)
    predict_inner, release = make(trimmed=True)
    return OnePassModel(
        **{f.name: getattr(info, f.name) for f in fields(ModelInfo)},
        engine=engine,
        halo=stage_margins(network.config)["input"],
        factor=network.config.factor,
        bytes_per_pixel=partial(peak_bytes, network.config),
        predict=_made_when_called(lambda: make(trimmed=False)[0]),
        predict_inner=predict_inner,
        release=release,
    )


def network_of(info: ModelInfo, weights: Mapping[str, np.ndarray]) -> OnePassNetwork:
    """The network of a model.

    Raises
    ------
    ModelError
        Bands of the model are not those of its network.
    """
    config = OnePassConfig.from_dict(info.network)
    if info.bands != config.bands:
        raise ModelError(f"{info.name}: bands {info.bands} of the model are not those of its network, {config.bands}")
    calibration = info.settings.get("calibration", {})
    return OnePassNetwork(config, weights, float(calibration.get("temperature", 1.0)), calibration.get("bias") or 0.0)


def stretched_cells(snr: np.ndarray, valid: np.ndarray, config: OnePassConfig) -> np.ndarray:
    """Make the input of the graph of a tile.

    Parameters
    ----------
    snr, valid : numpy.ndarray
        float32 and bool, ``(1, y, x, band)``; y and x multiples of the cell.
    config : OnePassConfig
        The network.

    Returns
    -------
    numpy.ndarray
        float32: for every position its values ``asinh(S/N / stretch)`` and validities, stretch by stretch, pixel by
        pixel; ``(1, y / cell, x / cell, channel)``, or ``(band, ...)`` for a network that looks at each band alone.

    Notes
    -----
    The inverse hyperbolic sine is written with a logarithm, for which NumPy has vector code on every processor.
    """
    cell, n_stretches = config.cell, len(config.stretches)
    _, height, width, n_bands = snr.shape
    rows, columns = height // cell, width // cell
    images, last = (1, cell * cell * n_bands) if config.bands else (n_bands, cell * cell)
    cells = np.empty((images, rows, columns, n_stretches + 1, last), np.float32)
    axes = (0, 2, 1, 3, 4) if config.bands else (4, 0, 2, 1, 3)
    for top in range(0, rows, _ROWS):
        part = slice(cell * top, cell * (top + _ROWS))
        shape = (-1, cell, columns, cell, n_bands)
        light, seen = (plane[0, part].reshape(shape).transpose(axes) for plane in (snr, valid))
        out = cells[:, top : top + _ROWS]
        light = np.ascontiguousarray(light).reshape((*out.shape[:3], last))
        seen = seen.reshape(light.shape)
        light = np.where(seen, light, np.float32(0))
        for i, stretch in enumerate(config.stretches):
            scaled = light * np.float32(1 / stretch)
            size = np.abs(scaled)
            size += np.sqrt(size * size + np.float32(1))
            out[:, :, :, i] = np.copysign(np.log(size, out=size), scaled)
        out[:, :, :, n_stretches] = seen
    return cells.reshape(images, rows, columns, -1)


def _made_when_called(make: Callable[[], PredictTile]) -> PredictTile:
    """A function that is made at its first call: classification never calls the untrimmed network."""
    made = cache(make)
    lock = threading.Lock()

    def predict(snr: np.ndarray, valid: np.ndarray) -> np.ndarray:
        with lock:
            ready_made = made()
        return ready_made(snr, valid)

    return predict


def _run_by_openvino(
    network: OnePassNetwork, precision: str, *, trimmed: bool
) -> tuple[PredictTile, Callable[[], None]]:
    from morpheus_lite.models.graph import tile_graph
    from morpheus_lite.models.openvino import CompiledGraph

    run = CompiledGraph(tile_graph(network, trimmed=trimmed), precision=precision)

    def predict(snr: np.ndarray, valid: np.ndarray) -> np.ndarray:
        tiles = [run(stretched_cells(snr[i : i + 1], valid[i : i + 1], network.config)) for i in range(len(snr))]
        return np.moveaxis(tiles[0] if len(tiles) == 1 else np.concatenate(tiles), 1, -1)

    return predict, run.release


def _run_by_tensorflow(
    network: OnePassNetwork, precision: str, *, trimmed: bool
) -> tuple[PredictTile, Callable[[], None]]:
    from morpheus_lite.models import tensorflow_tiles

    return tensorflow_tiles.compile_tiles(network, precision=precision, trimmed=trimmed), lambda: None
