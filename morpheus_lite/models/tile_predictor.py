"""A one-pass network made ready to predict: folded, calibrated, compiled once, NumPy in and out."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache, partial

import keras
import numpy as np
import tensorflow as tf

from morpheus_lite.errors import ModelError
from morpheus_lite.models.devices import layers_in
from morpheus_lite.models.info import ModelInfo
from morpheus_lite.models.onepass import fold
from morpheus_lite.models.onepass_config import OnePassConfig, peak_bytes, stage_margins

PredictTile = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class OnePassModel(ModelInfo):
    """A model that classifies a whole tile at once: its description, its network, and how it is applied.

    Parameters
    ----------
    keras_network : keras.Model
        From S/N and validity to logits, for training further.
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
    """

    keras_network: keras.Model
    halo: int
    factor: int
    bytes_per_pixel: Callable[[int], float]
    predict: PredictTile
    predict_inner: PredictTile


def ready(info: ModelInfo, network: keras.Model, *, precision: str = "float32") -> OnePassModel:
    """A description and a network with its weights, as what `morpheus_lite.models.registry.load_model` returns.

    The network calculates in float32 or, with weights in float32, in bfloat16.

    Raises
    ------
    ModelError
        Bands of the model are not those of its network.
    """
    config = OnePassConfig.from_dict(info.network)
    if info.bands != config.bands:
        raise ModelError(f"{info.name}: bands {info.bands} of the model are not those of its network, {config.bands}")
    calibration = info.settings.get("calibration", {})
    temperature, bias = float(calibration.get("temperature", 1.0)), calibration.get("bias") or 0.0

    def predict(*, trimmed: bool) -> PredictTile:
        with layers_in(precision):
            return _compiled(fold(network, config, trimmed=trimmed), temperature, bias)

    return OnePassModel(
        **{f.name: getattr(info, f.name) for f in fields(ModelInfo)},
        keras_network=network,
        halo=stage_margins(config)["input"],
        factor=config.factor,
        bytes_per_pixel=partial(peak_bytes, config),
        predict=_made_when_called(partial(predict, trimmed=False)),
        predict_inner=predict(trimmed=True),
    )


def _made_when_called(make: Callable[[], PredictTile]) -> PredictTile:
    """A function that is made at its first call: classification never calls the untrimmed network."""
    made = cache(make)
    lock = threading.Lock()

    def predict(snr: np.ndarray, valid: np.ndarray) -> np.ndarray:
        with lock:
            ready_made = made()
        return ready_made(snr, valid)

    return predict


def _compiled(network: keras.Model, temperature: float, bias: float | list[float]) -> PredictTile:
    shape = (None, None, None, network.input_shape[0][-1])
    specification = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec(shape, tf.bool)]

    @tf.function(input_signature=specification)
    def probabilities(snr: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        logits = network([snr, tf.cast(valid, tf.float32)], training=False)
        return tf.nn.softmax(logits / temperature + tf.constant(bias, tf.float32))

    traced = cache(probabilities.get_concrete_function)  # see `morpheus_lite.models.window_predictor.compiled`

    def predict(snr: np.ndarray, valid: np.ndarray) -> np.ndarray:
        return traced()(tf.constant(snr, tf.float32), tf.constant(valid, tf.bool)).numpy()

    return predict
