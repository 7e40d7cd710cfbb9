"""Where and how exactly a network calculates."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import softmax
from test_onepass_network import random_network

from morpheus_lite.core.image import SkyImage
from morpheus_lite.errors import OptionError
from morpheus_lite.models.network_config import OnePassConfig, OnePassNetwork, stage_margins
from morpheus_lite.models.networks import network_weights
from morpheus_lite.models.registry import load_model
from morpheus_lite.models.tensorflow_engine import compile_tiles, use_device
from morpheus_lite.pipeline.classify import classify

CONFIG = OnePassConfig(
    down=((2, 4), (1, 6)), intermediate=(2, 8), up=((1, 6), (2, 4)), bands=("F160W", "F125W", "F606W")
)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_devices_that_are_always_there(device):
    use_device(device)


@pytest.mark.parametrize("device", ["tpu", "gpu:x", "cpu:1", "gpu:99", ""])
def test_devices_that_are_not(device):
    with pytest.raises(OptionError, match="device"):
        use_device(device)


def test_bfloat16_agrees_and_leaves_the_policy_of_keras_alone(engine, caplog):
    rng = np.random.default_rng(4)
    data = rng.normal(0, 1, (112, 96, 4)).astype(np.float32)
    rows, columns = np.mgrid[:112, :96]
    data += 60 * np.exp(-0.5 * ((rows - 50) ** 2 + (columns - 40) ** 2) / 9)[..., None].astype(np.float32)
    image = SkyImage(data, ("F160W", "F125W", "F606W", "F850LP"), np.ones(data.shape, bool))
    before = keras.config.dtype_policy().name
    exact, rough = (load_model("hst", precision=precision, engine=engine) for precision in ("float32", "bfloat16"))
    assert keras.config.dtype_policy().name == before
    flags = Path("/proc/cpuinfo")
    assert ("slower here than float32" in caplog.text) == (not flags.exists() or "amx_bf16" not in flags.read_text())
    a, b = (classify(image, model) for model in (exact, rough))
    side = rough.factor + 2 * rough.halo
    assert rough.predict_inner(*[np.zeros((1, side, side, 4), t) for t in (np.float32, bool)]).dtype == np.float32
    assert 0 < np.abs(a.probability - b.probability).max() < 0.1
    assert np.mean(a.top_class == b.top_class) > 0.99
    with pytest.raises(OptionError, match="float32 only"):
        load_model("hausen2020", precision="bfloat16")
    with pytest.raises(OptionError, match="choose one of float32, bfloat16"):
        load_model("hst", precision="float16")


@pytest.mark.parametrize("cell", [1, 2])
@pytest.mark.parametrize("bands", [(), CONFIG.bands])
def test_tiles_are_the_inside_of_the_whole_network(cell, bands):
    config = replace(CONFIG, cell=cell, bands=bands, stem=(1, 4))
    network, margin = random_network(config), stage_margins(config)["input"]
    assert margin % (2 * cell) == 0
    around = -(-margin // config.factor) * config.factor  # the whole network pools in squares that start at its corner
    side = 2 * around + 2 * config.factor
    rng = np.random.default_rng(1)
    snr = rng.normal(0, 5, (1, side, side, 3)).astype(np.float32)
    valid = (rng.random(snr.shape) > 0.1).astype(np.float32)
    whole = softmax(network.predict([snr * valid, valid], verbose=0), axis=-1)
    seen = (slice(None), *[slice(around - margin, side - around + margin)] * 2)
    predict = compile_tiles(OnePassNetwork(config, network_weights(network)), precision="float32")
    inner = predict((snr * valid)[seen], valid[seen] > 0)
    assert inner.shape == (1, 2 * config.factor, 2 * config.factor, 5)
    np.testing.assert_allclose(inner, whole[:, around:-around, around:-around], atol=1e-5)
