"""The engines give the same probabilities, from the same weights, without one another."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from morpheus_lite.errors import OptionError
from morpheus_lite.models import engines
from morpheus_lite.models.network_config import HAUSEN2020, OnePassConfig
from morpheus_lite.models.networks import build_onepass, build_unet
from morpheus_lite.models.registry import MODEL_FAMILIES, list_models, load_model

BANDS = ("F160W", "F125W", "F606W")
CONFIG = OnePassConfig(down=((2, 4), (1, 6)), intermediate=(2, 8), up=((1, 6), (2, 4)), bands=BANDS)


@pytest.fixture
def openvino():
    pytest.importorskip("openvino")


def tile_for(model, n_bands=4, side=32, seed=0):
    """S/N and validity of a tile: noise, a source that is bright, missing pixels, a missing band."""
    rng = np.random.default_rng(seed)
    side += 2 * model.halo
    snr = rng.standard_normal((1, side, side, n_bands)).astype(np.float32)
    y, x = np.mgrid[:side, :side] - side / 2
    snr += 300 * np.exp(-np.hypot(y, x) / 1.5)[:, :, None].astype(np.float32)
    valid = rng.random(snr.shape) > 0.05
    valid[:, : side // 3, :, -1] = False
    return np.where(valid, snr, np.float32(0)), valid


@pytest.mark.parametrize("name", [info.name for info in list_models() if info.kind == "onepass"])
def test_one_pass_models_agree(name, openvino):
    fast, keras = (load_model(name, device="cpu", engine=engine) for engine in ("openvino", "tensorflow"))
    assert (fast.engine, keras.engine) == ("openvino", "tensorflow")
    for n_bands in (4,) if fast.bands else (1, 3):
        tile = tile_for(fast, n_bands)
        answer, expected = fast.predict_inner(*tile), keras.predict_inner(*tile)
        assert answer.shape == expected.shape == (1, 32, 32, 5) and answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)
        assert np.ptp(expected, axis=(1, 2)).max() > 0.5
    both = [np.concatenate([plane, plane[:, ::-1]]) for plane in tile]
    np.testing.assert_array_equal(fast.predict_inner(*both)[:1], answer)


@pytest.mark.parametrize("name", ["hst", "any"])
def test_tiles_that_are_shown_in_the_same_memory_do_not_meet(name, openvino):
    model = load_model(name, device="cpu", engine="openvino")
    tiles = [tile_for(model, seed=seed) for seed in (0, 1)]
    first, second = (model.predict_inner(*tile) for tile in tiles)
    kept = first.copy()
    np.testing.assert_array_equal(model.predict_inner(*tiles[1]), second)
    model.release()
    np.testing.assert_array_equal(model.predict_inner(*tiles[0]), kept)
    np.testing.assert_array_equal(first, kept)
    assert np.abs(first - second).max() > 0.1


def test_window_models_agree(openvino):
    fast, keras = (load_model("hausen2020", device="cpu", engine=engine) for engine in ("openvino", "tensorflow"))
    rng = np.random.default_rng(1)
    windows = rng.normal(0, 0.01, (48, 40, 40, 4)).astype(np.float32)
    windows[:, 15:25, 15:25] += rng.exponential(0.2, (48, 1, 1, 4)).astype(np.float32)
    batch = fast.prepare(windows, None)
    for one, other in ((fast.predict, keras.predict), (fast.predict_inner, keras.predict_inner)):
        answer = one(batch)
        np.testing.assert_allclose(answer, other(batch), rtol=0, atol=1e-5)
        order = rng.permutation(48)
        np.testing.assert_array_equal(one(batch[order]), answer[order])


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, bands=(), stem=(2, 5)), replace(CONFIG, cell=1)])
def test_the_names_and_shapes_of_weights_are_those_of_keras(config):
    network = build_onepass(config)
    assert config.weight_shapes() == {variable.path: tuple(variable.shape) for variable in network.variables}


def test_the_names_and_shapes_of_weights_of_windows_are_those_of_keras():
    network = build_unet(HAUSEN2020)
    assert HAUSEN2020.weight_shapes() == {variable.path: tuple(variable.shape) for variable in network.variables}


def test_every_kind_has_its_configuration():
    for info in list_models():
        assert MODEL_FAMILIES[info.kind].config.from_dict(info.network).weight_shapes()


def test_the_engine_follows_from_the_device(monkeypatch, openvino):
    monkeypatch.setattr(engines, "_gpu_may_be_there", lambda: False)
    assert engines.choose_engine("auto", "auto") == engines.choose_engine("auto", "cpu") == "openvino"
    assert engines.choose_engine("auto", "gpu:1") == engines.choose_engine("tensorflow", "cpu") == "tensorflow"
    monkeypatch.setattr(engines, "_gpu_may_be_there", lambda: True)
    assert engines.choose_engine("auto", "auto") == "openvino"  # TensorFlow sees no GPU here
    monkeypatch.setattr(engines, "_openvino_is_there", lambda: False)
    monkeypatch.setattr(engines, "_openvino_can", lambda precision: False)
    assert engines.choose_engine("auto", "cpu") == "tensorflow"
    with pytest.raises(OptionError, match="pip install openvino onnx"):
        engines.choose_engine("openvino", "cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "torch"}, "choose one of auto, openvino, tensorflow"),
        ({"engine": "openvino", "device": "gpu"}, "runs on the CPU"),
        ({"device": "tpu"}, "choose auto, cpu, gpu, or gpu:N"),
        ({"device": "gpu:99"}, "TensorFlow sees 0 GPU"),
    ],
)
def test_engines_and_devices_that_are_not_there(options, message):
    with pytest.raises(OptionError, match=message):
        load_model("hst", **options)


def test_a_model_loads_and_predicts_without_keras(openvino):
    code = (
        "import sys, numpy as np, morpheus_lite as ml\n"
        "rng = np.random.default_rng(0)\n"
        "for name in ('hst', 'any', 'hausen2020'):\n"
        "    image = ml.read_image(rng.normal(0, 0.01, (48, 48, 4)), bands=['F160W', 'F125W', 'F606W', 'F850LP'])\n"
        "    model = ml.load_model(name, device='cpu')\n"
        "    print(name, ml.classify(image, model).provenance['engine'])\n"
        "print(sorted({'keras', 'tensorflow'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:4] == ["hst openvino", "any openvino", "hausen2020 openvino", "[]"]


FIRST_CALLS = """
import os, sys, threading
sys.setswitchinterval(1e-6)
from morpheus_lite.models.engines import prepared_openvino
prepared_openvino()
from openvino import Type
barrier = threading.Barrier(2)
def first_call():
    barrier.wait()
    Type.f32.to_dtype()
threads = [threading.Thread(target=first_call, daemon=True) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join(10)
os._exit(any(thread.is_alive() for thread in threads))
"""


def test_two_threads_that_call_first_do_not_wait_for_each_other(openvino):
    # Two of three such processes hang where the module does not prepare for it.
    for _ in range(4):
        assert subprocess.run([sys.executable, "-c", FIRST_CALLS], timeout=60).returncode == 0
