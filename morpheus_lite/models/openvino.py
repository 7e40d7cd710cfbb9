"""Graphs run by OpenVINO on a CPU: NumPy in and out."""

from collections import deque
from collections.abc import Callable

import numpy as np
from openvino import Core

from morpheus_lite.runtime.resources import usable_cores

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def compiled(graph: bytes, *, precision: str = "float32") -> Callable[[np.ndarray], np.ndarray]:
    """A function that runs a graph.

    Parameters
    ----------
    graph : bytes
        An ONNX model with one input and one output.
    precision : {"float32", "bfloat16"}
        What it calculates in.

    Returns
    -------
    callable
        From a float32 array to a new one. It may be called from several threads at once.

    Notes
    -----
    Every call runs in one thread: with several calls at once all cores are as busy, and the result does not depend on
    how many there are. Which core that is, is left to the system, so that processes beside each other do not meet on
    the same one. Left to itself, OpenVINO would calculate in bfloat16 where the processor can.
    """
    core, n_cores = Core(), usable_cores()
    options = {
        "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": n_cores,
        "NUM_STREAMS": n_cores,
        "ENABLE_CPU_PINNING": False,
    }
    network = core.compile_model(core.read_model(graph), "CPU", options)
    idle: deque = deque()

    def run(values: np.ndarray) -> np.ndarray:
        try:
            request = idle.pop()
        except IndexError:
            request = network.create_infer_request()
        result = request.infer([values], share_inputs=True)[0]
        idle.append(request)
        return result

    return run
