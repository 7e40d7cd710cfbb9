"""Networks run by TensorFlow: built by Keras, compiled once, NumPy in and out; devices, memory of GPUs, precision."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import keras
import numpy as np
import tensorflow as tf

from morpheus_lite.errors import OptionError
from morpheus_lite.models.engines import parse_device
from morpheus_lite.models.network_config import OnePassNetwork, UNetConfig, stage_margins
from morpheus_lite.models.networks import build_onepass, build_unet, set_weights

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
    gpus = tf.config.list_physical_devices("GPU")
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


def has_gpu() -> bool:
    """True if networks run on a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))


_Predict = Callable[[np.ndarray], np.ndarray]


def compile_windows(config: UNetConfig, weights: Mapping[str, np.ndarray], margin: int) -> tuple[_Predict, _Predict]:
    """Functions that give the probabilities of a batch of windows, and of the windows without their margin.

    Returns
    -------
    callable, callable
        From float32 ``(n, y, x, band)`` to float32 ``(n, y, x, class)``, softmax over the last axis. They may be
        called from several threads at once.

    Notes
    -----
    Without XLA: it would save 7 % of the time of the published network, and cost 3.5 s of a core to compile.
    """
    network = build_unet(config)
    set_weights(network, weights, "weights")

    def probabilities(batch: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(network(batch, training=False))

    predict = _compiled(probabilities, [tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)])
    return predict, lambda batch: predict(batch)[:, margin : -margin or None, margin : -margin or None]


def _compiled(function: Callable[..., tf.Tensor], signature: Sequence[tf.TensorSpec]) -> Callable[..., np.ndarray]:
    """A function of tensors as one of arrays, traced when it is first called."""
    # Called directly, TensorFlow would take models that are loaded one after the other for one that is traced anew.
    traced = cache(tf.function(function, input_signature=signature).get_concrete_function)

    def predict(*arrays: np.ndarray) -> np.ndarray:
        tensors = (tf.constant(array, spec.dtype) for array, spec in zip(arrays, signature, strict=True))
        return traced()(*tensors).numpy()

    return predict


def one_thread_a_call() -> None:
    """Let every call of a network run in one thread, if TensorFlow has not started yet.

    How TensorFlow cuts a product of matrices, and so how its sums are rounded, depends on the number of threads it may
    use. With one thread per call and several calls at once, all cores are as busy, and the result does not depend on
    how many there are. Once TensorFlow has started (in a process that trains) the number stays as it is: results then
    agree to about 1e-6 for a window.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        log.debug("TensorFlow is running already: its number of threads stays as it is")


def compile_tiles(network: OnePassNetwork, *, precision: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function from S/N and validity of tiles to probabilities, as `OnePassModel` has it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")  # weights in float32
    try:
        built = build_onepass(network.config)
    finally:
        keras.config.set_dtype_policy(before)
    set_weights(built, network.weights, "weights")
    shape = (None, None, None, built.input_shape[0][-1])
    halo = stage_margins(network.config)["input"]
    missing = -halo % network.config.factor  # pooling begins at the corner of what the network sees
    around = [(0, 0), (missing, missing), (missing, missing), (0, 0)]
    inner = slice(halo + missing, -halo - missing)

    def probabilities(snr: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        planes = [tf.pad(plane, around) for plane in (snr, tf.cast(valid, tf.float32))]
        logits = built(planes, training=False)[:, inner, inner]
        return tf.nn.softmax(logits / network.temperature + tf.constant(network.bias, tf.float32))

    return _compiled(probabilities, [tf.TensorSpec(shape, tf.float32), tf.TensorSpec(shape, tf.bool)])
