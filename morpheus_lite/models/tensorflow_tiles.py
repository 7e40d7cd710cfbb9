"""One-pass networks run by TensorFlow: built by Keras, folded, calibrated, compiled once."""

from collections.abc import Callable
from functools import cache

import numpy as np
import tensorflow as tf

from morpheus_lite.models.model_files import set_weights
from morpheus_lite.models.network_config import OnePassNetwork
from morpheus_lite.models.onepass import build_onepass, fold_network
from morpheus_lite.models.tensorflow_engine import layers_in


def compile_tiles(
    network: OnePassNetwork, *, precision: str, trimmed: bool
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function from S/N and validity of tiles to probabilities, as `OnePassModel` has it."""
    built = build_onepass(network.config)
    set_weights(built, network.weights, "weights")
    with layers_in(precision):
        folded = fold_network(built, network.config, trimmed=trimmed)
    shape = (None, None, None, folded.input_shape[0][-1])
    specification = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec(shape, tf.bool)]

    @tf.function(input_signature=specification)
    def probabilities(snr: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        logits = folded([snr, tf.cast(valid, tf.float32)], training=False)
        return tf.nn.softmax(logits / network.temperature + tf.constant(network.bias, tf.float32))

    traced = cache(probabilities.get_concrete_function)  # see `morpheus_lite.models.window_predictor.compiled`

    def predict(snr: np.ndarray, valid: np.ndarray) -> np.ndarray:
        return traced()(tf.constant(snr, tf.float32), tf.constant(valid, tf.bool)).numpy()

    return predict
