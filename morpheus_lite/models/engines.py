"""Engines that run networks: OpenVINO on a CPU, TensorFlow on a GPU or without OpenVINO; the choice, and tiles."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from morpheus_lite.config.classify import ENGINES
from morpheus_lite.core.loops import call_loop
from morpheus_lite.errors import OptionError
from morpheus_lite.models.network_config import OnePassConfig, OnePassNetwork

log = logging.getLogger(__name__)


def choose_engine(engine: str, device: str, precision: str = "float32") -> str:
    """The engine for a device and a precision; only where it may be TensorFlow is that imported, quietly.

    Parameters
    ----------
    engine : str
        One of `~morpheus_lite.config.classify.ENGINES`.
    device : str
        As in `morpheus_lite.models.registry.load_model`.
    precision : str
        One of `~morpheus_lite.config.classify.PRECISIONS`.

    Returns
    -------
    str
        ``"openvino"`` or ``"tensorflow"``.

    Raises
    ------
    OptionError
        There is no such engine or device, or the engine cannot do what is asked for.
    """
    if engine not in ENGINES:
        raise OptionError(f"engine {engine!r}: choose one of {', '.join(ENGINES)}")
    kind, _ = parse_device(device)
    if engine == "openvino":
        _require_openvino(kind, precision)
        return engine
    may_be_openvino = engine == "auto" and kind != "gpu" and _openvino_can(precision)
    if may_be_openvino and (kind == "cpu" or not _gpu_may_be_there()):
        return "openvino"
    has_gpu = bool(import_tensorflow_quietly().config.list_physical_devices("GPU"))
    return "openvino" if may_be_openvino and not has_gpu else "tensorflow"


def import_tensorflow_quietly() -> Any:
    """TensorFlow, imported and let look for devices without its start-up notes.

    They are written straight to file descriptor 2 before any of its settings counts, and tell users of a machine
    without a GPU that it has none.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what it says later is not for our users either
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import_module("keras")
        tensorflow = import_module("tensorflow")
        tensorflow.config.list_physical_devices()
        return tensorflow
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def parse_device(device: str) -> tuple[str, int]:
    """Kind of a device, ``"auto"``, ``"cpu"`` or ``"gpu"``, and its number.

    Raises
    ------
    OptionError
        It is none of these.
    """
    kind, _, number = device.lower().partition(":")
    if kind not in ("auto", "cpu", "gpu") or (number and (kind != "gpu" or not number.isdigit())):
        raise OptionError(f"device {device!r}: choose auto, cpu, gpu, or gpu:N")
    return kind, int(number or 0)


def warn_of_bfloat16() -> None:
    """Say that bfloat16 does not pay on this CPU, if that is so."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    if "amx_bf16" not in flags:
        log.warning("this processor has no AMX: bfloat16 will be slower here than float32")


def _require_openvino(kind: str, precision: str) -> None:
    if kind == "gpu":
        raise OptionError("engine 'openvino' runs on the CPU; for a GPU choose tensorflow, or auto")
    if not _openvino_is_there():
        raise OptionError("engine 'openvino' is not installed here: pip install openvino onnx, or choose tensorflow")
    if not _openvino_can(precision):
        raise OptionError(f"engine 'openvino' has no {precision} on this processor; choose float32, or tensorflow")


@cache
def _openvino_can(precision: str) -> bool:
    """True if OpenVINO is installed and has this precision on this processor."""
    if not _openvino_is_there():
        return False
    if precision == "float32":
        return True
    return "BF16" in prepared_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def prepared_openvino() -> Any:
    """The module, once it has looked up NumPy's functions: two threads that come to that first wait for ever.

    Its converter of models is not imported with it: that would report each use to a web service.
    """
    converter = "openvino.tools.ovc"
    is_kept_out = sys.modules.setdefault(converter, None) is None  # type: ignore[arg-type]
    try:
        openvino = import_module("openvino")
    finally:
        if is_kept_out:
            del sys.modules[converter]
    openvino.Type.f32.to_dtype()
    return openvino


@cache
def _openvino_is_there() -> bool:
    return all(find_spec(module) is not None for module in ("openvino", "onnx"))


def _gpu_may_be_there() -> bool:
    """True if the system has the device files of a GPU, so that it is worth asking TensorFlow."""
    devices = Path("/dev")
    nodes = (devices / "kfd", devices / "dxg", *devices.glob("nvidia[0-9]*"))  # ROCm, WSL, CUDA
    return any(node.exists() for node in nodes) or find_spec("tensorflow-plugins") is not None


_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


class CompiledGraph:
    """A graph that is ready to run; it may be called from several threads at once.

    Every call runs in one thread: with several calls at once all cores are as busy, and the result does not depend on
    how many there are. Which core that is, is left to the system, so that processes beside each other do not meet on
    the same one. Left to itself, OpenVINO would calculate in bfloat16 where the processor can.

    Parameters
    ----------
    graph : bytes
        An ONNX model with one input and one output.
    precision : {"float32", "bfloat16"}
        What it calculates in.

    Notes
    -----
    The graph is compiled for every shape of the input, and anew for every further call at the same time: 0.1 s, for
    which a network of fixed shape is a seventh faster (its input needs no copies). Those that are idle keep the memory
    of their maps for the next call of the same shape, and give it back before another shape is run.
    """

    def __init__(self, graph: bytes, *, precision: str = "float32") -> None:
        self._core = prepared_openvino().Core()
        self._model = self._core.read_model(graph)
        self._options = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self._lock = threading.Lock()
        self._idle: list[_Compiled] = []

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The output, a new array, for an input, float32."""
        return self.run(values.shape, lambda place: np.copyto(place, values))

    def run(self, shape: tuple[int, ...], write: Callable[[np.ndarray], object]) -> np.ndarray:
        """The output, a new array, for an input of this shape that is written, whole, where it is asked to be."""
        compiled = self._take(shape)
        if compiled.values is None:
            compiled.values = np.empty(shape, np.float32)
        write(compiled.values)
        result = compiled.request.infer([compiled.values], share_inputs=True)[0]
        with self._lock:
            self._idle.append(compiled)
        return result

    def release(self) -> None:
        """Give back the memory of the input and the maps."""
        with self._lock:
            for compiled in self._idle:
                compiled.release()

    def _take(self, shape: tuple[int, ...]) -> "_Compiled":
        with self._lock:
            fitting = [compiled for compiled in self._idle if compiled.shape == shape]
            for compiled in self._idle:
                if compiled.shape != shape:
                    compiled.release()
            if fitting:
                self._idle.remove(fitting[-1])
                return fitting[-1]
            self._model.reshape(list(shape))
            network = self._core.compile_model(self._model, "CPU", self._options)
            return _Compiled(shape, network, network.create_infer_request())


@dataclass(eq=False)
class _Compiled:
    shape: tuple[int, ...]
    network: Any
    request: Any
    values: np.ndarray | None = None
    """Input of the last call: the next one writes into the same memory, which a system is slow to give."""

    def release(self) -> None:
        self.values = None
        self.network.release_memory()


def cells_shape(shape: tuple[int, ...], config: OnePassConfig) -> tuple[int, ...]:
    """Shape of what `stretched_cells` makes of S/N of this shape."""
    _, height, width, n_bands = shape
    images, channels = (1, n_bands) if config.bands else (n_bands, 1)
    cell = config.cell
    return images, height // cell, width // cell, (len(config.stretches) + 1) * cell**2 * channels


def stretched_cells(snr: np.ndarray, valid: np.ndarray, config: OnePassConfig, place: np.ndarray) -> None:
    """Make the input of the graph of a tile.

    Parameters
    ----------
    snr, valid : numpy.ndarray
        float32 and bool, ``(1, y, x, band)``; y and x multiples of the cell.
    config : OnePassConfig
        The network.
    place : numpy.ndarray
        float32, of the shape that `cells_shape` gives, where it goes: for every position its values
        ``asinh(S/N / stretch)`` and validities, stretch by stretch, pixel by pixel; ``(1, y / cell, x / cell,
        channel)``, or ``(band, ...)`` for a network that looks at each band alone.
    """
    images, rows, columns, _ = place.shape
    sizes = images, rows, columns, config.cell, snr.shape[3] // images, len(config.stretches)
    # Steps from value to value along y, x and band, in whatever order they lie in memory.
    planes: tuple[np.ndarray, ...] = np.asarray(snr, np.float32), np.asarray(valid, bool)
    given = ((one, np.array(one.strides[1:]) // one.itemsize) for one in planes)
    call_loop("stretch_cells", *sizes, np.array(config.stretches, np.float32), *chain.from_iterable(given), place)


def run_by_openvino(
    network: OnePassNetwork, precision: str
) -> tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], Callable[[], None]]:
    """Prediction of tiles by a compiled graph, and what gives its memory back."""
    from morpheus_lite.models.graph import tile_graph

    graph = CompiledGraph(tile_graph(network), precision=precision)

    def predict(snr: np.ndarray, valid: np.ndarray) -> np.ndarray:
        tiles = []
        for tile, seen in zip(snr[:, None], valid[:, None], strict=True):
            write = partial(stretched_cells, tile, seen, network.config)
            tiles.append(graph.run(cells_shape(tile.shape, network.config), write))
        return np.moveaxis(tiles[0] if len(tiles) == 1 else np.concatenate(tiles), 1, -1)

    return predict, graph.release
