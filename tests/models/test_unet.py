"""The network is the published one, for any (P, Q), bands and classes."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from morpheus_lite.errors import ModelError
from morpheus_lite.inference.sliding_window import BATCH
from morpheus_lite.models.graph import bicubic_matrix
from morpheus_lite.models.network_config import HAUSEN2020, UNetConfig
from morpheus_lite.models.networks import bicubic_upsampling, block, build_unet, network_weights
from morpheus_lite.models.tensorflow_engine import compile_windows


def shaken(network, seed=0):
    """The network with weights that are not those of the start, so that every one of them matters."""
    rng = np.random.default_rng(seed)
    for variable in network.variables:
        low, high = (0.5, 1.5) if "variance" in variable.path or "gamma" in variable.path else (-0.3, 0.3)
        variable.assign(rng.uniform(low, high, variable.shape).astype(np.float32))
    return network


@pytest.fixture(scope="module")
def published():
    return shaken(build_unet(HAUSEN2020))


def test_published_network_has_75421_trainable_parameters(published):
    assert sum(int(np.prod(variable.shape)) for variable in published.trainable_variables) == 75_421
    assert published.count_params() == 76_181


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("down_0_3_conv", (40, 40, 8)),
        ("down_1_3_conv", (20, 20, 16)),
        ("down_2_3_conv", (10, 10, 32)),
        ("intermediate_0_conv", (5, 5, 16)),
        ("up_0_concat", (10, 10, 48)),
        ("up_0_1_conv", (10, 10, 8)),
        ("up_1_concat", (20, 20, 24)),
        ("up_1_1_conv", (20, 20, 16)),
        ("up_2_concat", (40, 40, 24)),
        ("up_2_1_conv", (40, 40, 32)),
        ("final_conv", (40, 40, 5)),
    ],
)
def test_stages_are_those_of_the_paper(published, layer, shape):
    assert published.get_layer(layer).output.shape[1:] == shape


def test_a_block_operation_is_normalisation_convolution_relu():
    inputs = keras.Input((6, 7, 3))
    network = shaken(keras.Model(inputs, block(inputs, 1, 4, "one")))
    x = np.random.default_rng(1).normal(size=(2, 6, 7, 3)).astype(np.float32)
    norm, convolution = network.get_layer("one_0_norm"), network.get_layer("one_0_conv")
    assert norm.momentum == 0.99
    gamma, beta, mean, variance = norm.get_weights()
    normed = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    kernel, bias = convolution.get_weights()
    padded = np.pad(normed, [(0, 0), (1, 1), (1, 1), (0, 0)])
    expected = sum(padded[:, i : i + 6, j : j + 7] @ kernel[i, j] for i in range(3) for j in range(3)) + bias
    np.testing.assert_allclose(network(x, training=False), np.maximum(expected, 0), atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(1, 3), (5, 5), (10, 10), (20, 20), (7, 13), (64, 9)])
def test_upsampling_is_tensorflows_aligned_bicubic(height, width):
    x = np.random.default_rng(2).normal(size=(2, height, width, 3)).astype(np.float32)
    expected = tf.raw_ops.ResizeBicubic(images=x, size=(2 * height, 2 * width), align_corners=True)
    np.testing.assert_allclose(bicubic_upsampling(x), expected, atol=2e-6)


@given(st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_upsampling_keeps_constants_and_corners(size):
    matrix = bicubic_matrix(size)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    assert matrix[0, 0] == matrix[-1, -1] == 1


def test_a_window_does_not_know_its_neighbours_in_the_batch(published):
    rng = np.random.default_rng(4)
    batch = rng.normal(size=(BATCH, 40, 40, 4)).astype(np.float32)
    predict, _ = compile_windows(HAUSEN2020, network_weights(published), 5)
    expected = predict(batch)
    for _ in range(3):
        order = rng.permutation(BATCH)
        np.testing.assert_array_equal(predict(batch[order]), expected[order])


def test_predictions_are_probabilities(published):
    predict, _ = compile_windows(HAUSEN2020, network_weights(published), 5)
    values = predict(np.random.default_rng(5).normal(size=(3, 40, 40, 4)))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.sum(axis=3), 1, atol=1e-5)
    assert values.min() >= 0


@given(
    levels=st.integers(1, 3),
    bands=st.integers(1, 6),
    classes=st.integers(2, 7),
    factor=st.integers(1, 3),
)
@settings(max_examples=8, deadline=None)
def test_any_number_of_bands_classes_and_stages(levels, bands, classes, factor):
    window = factor * 2**levels
    config = UNetConfig(((1, 2),) * levels, (1, 3), ((1, 2),) * levels, bands, classes, window)
    assert UNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert build_unet(config).output_shape == (None, window, window, classes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"down": ((4, 8), (4, 16))}, "2 stage.s. down and 3 up"),
        ({"down": ()}, "0 stage.s. down"),
        ({"down": 4}, "down 4 is of the wrong kind: expected whole numbers, at least 1, at most 4096"),
        (
            {"intermediate": (1, 0)},
            r"intermediate \(1, 0\): expected .* at least 1, at most 4096, in a list of 2",
        ),
        ({"intermediate": (1, 2, 3)}, r"intermediate \(1, 2, 3\): expected .* in a list of 2"),
        ({"up": ((2, 8), (2, 1.5), (2, 32))}, r"up \(\(2, 8\), \(2, 1.5\), \(2, 32\)\) is of the wrong kind"),
        ({"n_bands": 0}, "n_bands 0: expected a whole number, at least 1"),
        ({"n_classes": True}, "n_classes True is of the wrong kind"),
        ({"down": ((2**40, 8), (4, 16), (4, 32))}, "down .* expected whole numbers, at least 1, at most 4096"),
        ({"down": ((4, 8),) * 11, "up": ((2, 8),) * 11}, "down .* expected whole numbers"),
        ({"window": 100_000}, "window 100000: expected a whole number, at least 1, at most 1024"),
        ({"window": 44}, "window=44: 3 stages of pooling need a multiple of 8 px"),
        ({"upsampling": "magic"}, "upsampling 'magic': choose one of bicubic_aligned"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ModelError, match=message):
        replace(HAUSEN2020, **change)


def test_unknown_and_missing_fields_are_named():
    values = HAUSEN2020.to_dict()
    del values["up"]
    with pytest.raises(ModelError, match="missing up and unknown colour; expected down"):
        UNetConfig.from_dict({**values, "colour": "red"})
