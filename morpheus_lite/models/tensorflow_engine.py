"""Devices that run networks, memory of GPUs, and precision."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from morpheus_lite.errors import OptionError
from morpheus_lite.models.engines import parse_device

log = logging.getLogger(__name__)


def use_device(device: str) -> None:
    """Let TensorFlow see the device that was asked for; of a GPU, only the memory that is needed is taken.

    Parameters
    ----------
    device : str
        ``"auto"``: all GPUs that there are, else the CPU; ``"cpu"``; ``"gpu"``: the first one; ``"gpu:1"``: the second.

    Raises
    ------
    OptionError
        There is no such device, or TensorFlow is at work on another one already.
    """
    kind, number = parse_device(device)
    gpus = visible_gpus()
    if kind == "gpu" and number >= len(gpus):
        raise OptionError(f"device {device!r}: TensorFlow sees {len(gpus)} GPU(s) here; choose another, or cpu")
    if not gpus:
        return
    wanted = {"auto": gpus, "cpu": [], "gpu": gpus[number:][:1]}[kind]
    try:
        for gpu in wanted:
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.config.set_visible_devices(wanted, "GPU")
    except RuntimeError as error:
        if kind != "auto" and tf.config.get_visible_devices("GPU") != wanted:
            raise OptionError(
                f"device {device!r}: TensorFlow is at work on another device in this process; choose it before the "
                "first model is loaded"
            ) from error
        log.debug("TensorFlow is running already: its devices stay as they are")


def visible_gpus() -> list:
    """The GPUs that TensorFlow sees."""
    return tf.config.list_physical_devices("GPU")


def has_gpu() -> bool:
    """True if networks run on a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))


@contextmanager
def layers_in(precision: str) -> Iterator[None]:
    """Layers that are made in this block calculate in ``"float32"``, or in ``"bfloat16"`` with weights in float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
