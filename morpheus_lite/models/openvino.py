"""Graphs run by OpenVINO on a CPU: NumPy in and out."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from openvino import Core, Type

# OpenVINO looks up NumPy's functions once: two threads that come to it first, and at the same time, wait for each other
# for ever.
Type.f32.to_dtype()

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
        self._core = Core()
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
        compiled = self._take(values.shape)
        result = compiled.request.infer([values], share_inputs=True)[0]
        with self._lock:
            self._idle.append(compiled)
        return result

    def release(self) -> None:
        """Give back the memory of the maps."""
        with self._lock:
            for compiled in self._idle:
                compiled.network.release_memory()

    def _take(self, shape: tuple[int, ...]) -> "_Compiled":
        with self._lock:
            fitting = [compiled for compiled in self._idle if compiled.shape == shape]
            for compiled in self._idle:
                if compiled.shape != shape:
                    compiled.network.release_memory()
            if fitting:
                self._idle.remove(fitting[-1])
                return fitting[-1]
            self._model.reshape(list(shape))
            network = self._core.compile_model(self._model, "CPU", self._options)
            return _Compiled(shape, network, network.create_infer_request())


@dataclass(frozen=True, eq=False)
class _Compiled:
    shape: tuple[int, ...]
    network: Any
    request: Any
