"""Choice of the library that runs a network: OpenVINO on a CPU, TensorFlow on a GPU or without OpenVINO."""

import logging
import os
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from morpheus_lite.config.classify import ENGINES
from morpheus_lite.errors import OptionError

log = logging.getLogger(__name__)


def first_choice(engine: str, device: str, precision: str = "float32") -> str:
    """The engine for a device and a precision, as far as can be said without starting TensorFlow.

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
        ``"openvino"``, or ``"tensorflow"``: then, and only then, TensorFlow is going to be imported.

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
    if engine != "auto":
        return engine
    wants_gpu = kind == "gpu" or (kind == "auto" and _gpu_may_be_there())
    return "tensorflow" if wants_gpu or not _openvino_can(precision) else "openvino"


def choose_engine(engine: str, device: str, precision: str = "float32") -> str:
    """The engine for a device and a precision; as `first_choice`, but TensorFlow is asked whether it sees the GPU."""
    chosen = first_choice(engine, device, precision)
    if (engine, parse_device(device)[0], chosen) != ("auto", "auto", "tensorflow") or not _openvino_can(precision):
        return chosen
    from morpheus_lite.models.tensorflow_engine import visible_gpus

    return "tensorflow" if visible_gpus() else "openvino"


def import_tensorflow_quietly(engine: str = "tensorflow", device: str = "auto", precision: str = "float32") -> None:
    """Import TensorFlow if it may run the network, and let it look for devices, without its start-up notes.

    They are written straight to file descriptor 2 before any of its settings counts, and tell users of a machine
    without a GPU that it has none.
    """
    if "tensorflow" in sys.modules or first_choice(engine, device, precision) != "tensorflow":
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what it says later is not for our users either
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import_module("keras")
        import_module("tensorflow").config.list_physical_devices()
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
    from openvino import Core

    return "BF16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _openvino_is_there() -> bool:
    return all(find_spec(module) is not None for module in ("openvino", "onnx"))


def _gpu_may_be_there() -> bool:
    """True if the system has the device files of a GPU, so that it is worth asking TensorFlow."""
    devices = Path("/dev")
    nodes = (devices / "kfd", devices / "dxg", *devices.glob("nvidia[0-9]*"))  # ROCm, WSL, CUDA
    return any(node.exists() for node in nodes) or find_spec("tensorflow-plugins") is not None
