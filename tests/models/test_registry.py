"""Models are found by name or directory, checked, and loaded without executing anything in them."""

import hashlib
import importlib.util
import json
import pickle
import shutil
import zipfile
from dataclasses import asdict, replace
from importlib.resources import files

import numpy as np
import pytest

import morpheus_lite as ml
from morpheus_lite.errors import ModelError, OutputError
from morpheus_lite.models.model_files import pack_weights, unpack_weights
from morpheus_lite.models.registry import (
    ModelInfo,
    choose_model,
    list_models,
    load_model,
    load_weights,
    read_card,
    save_model,
)


@pytest.fixture(scope="module")
def model():
    return load_model("hausen2020")


@pytest.fixture
def copy(tmp_path):
    """A copy of the published model that may be damaged."""
    target = tmp_path / "copy"
    target.mkdir()
    for entry in files("morpheus_lite._weights").joinpath("hausen2020").iterdir():
        if entry.is_file():
            (target / entry.name).write_bytes(entry.read_bytes())
    return target


def reconfigure(folder, **changes):
    """Change fields of the configuration; None removes one."""
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def reweigh(folder, content):
    """Replace the weights, with the checksum that fits."""
    (folder / "weights.npz").write_bytes(content)
    reconfigure(folder, sha256=hashlib.sha256(content).hexdigest())


def test_published_model_is_listed_and_described():
    info = {info.name: info for info in list_models()}["hausen2020"]
    assert info.bands == ("F160W", "F125W", "F606W", "F850LP")
    assert info.classes == ml.CLASSES
    assert (info.window, info.margin, info.pixel_scale, info.unit) == (40, 5, 0.06, "electron / s")
    assert 1 <= info.stride <= 30
    json.dumps(asdict(info))


def test_loaded_model_predicts_probabilities(model):
    windows = np.random.default_rng(0).normal(0, 0.01, (3, 40, 40, 4)).astype(np.float32)
    batch = model.prepare(windows, None)
    full, inner = model.predict(batch), model.predict_inner(batch)
    assert full.shape == (3, 40, 40, 5)
    assert full.dtype == np.float32
    np.testing.assert_allclose(full.sum(axis=3), 1, atol=1e-5)
    np.testing.assert_allclose(inner, full[:, 5:-5, 5:-5], atol=2e-5)
    assert full[..., 4].mean() > 0.99  # noise is background


def test_weights_are_small_and_hold_nothing_of_the_optimiser():
    content = files("morpheus_lite._weights").joinpath("hausen2020", "weights.npz").read_bytes()
    arrays = unpack_weights(content, "weights")
    assert len(content) < 350_000
    assert sum(array.size for array in arrays.values()) == 76_181
    assert not [name for name in arrays if "adam" in name.lower() or "power" in name.lower()]
    assert {array.dtype.str for array in arrays.values()} == {"<f4"}


def test_card_and_licence_are_there():
    card = read_card("hausen2020")
    for word in ("F160W", "0.06", "electron", "Kartaltepe", "stride", "MIT"):
        assert word in card
    licence = files("morpheus_lite._weights").joinpath("hausen2020", "LICENSE-morpheus").read_text()
    assert "Copyright (c) 2018 morpheus-project" in licence


def test_a_directory_is_as_good_as_a_name(model, copy):
    for path in (copy, str(copy)):
        assert load_model(path).sha256 == model.sha256


def test_unknown_name_lists_what_there_is():
    with pytest.raises(ModelError, match=r"no model 'hausen2021': expected one of .*hausen2020.*, or a directory"):
        load_model("hausen2021")


@pytest.mark.parametrize("name", ["config.json", "weights.npz"])
def test_incomplete_directory(copy, name):
    (copy / name).unlink()
    with pytest.raises(ModelError, match=f"not a complete model: cannot read {name}"):
        load_model(copy)


def test_wrong_checksum(copy):
    content = bytearray((copy / "weights.npz").read_bytes())
    content[5000] ^= 1
    (copy / "weights.npz").write_bytes(bytes(content))
    with pytest.raises(ModelError, match=r"is not what config.json promises: sha256 [0-9a-f]{12}\.\.\., expected"):
        load_model(copy)


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"not a zip file"])
def test_damaged_archive_with_a_matching_checksum(copy, damage):
    reweigh(copy, damage((copy / "weights.npz").read_bytes()))
    with pytest.raises(ModelError, match="not a weights archive, or is damaged"):
        load_model(copy)


def test_missing_unknown_and_misshapen_arrays(copy):
    arrays = unpack_weights((copy / "weights.npz").read_bytes(), "weights")
    kernel = arrays.pop("final_conv/kernel")
    reweigh(copy, pack_weights({**arrays, "extra": np.zeros(3)}))
    with pytest.raises(ModelError, match=r"1 array.s. missing .final_conv/kernel., 1 unknown .extra."):
        load_model(copy)
    reweigh(copy, pack_weights({**arrays, "final_conv/kernel": kernel[..., :4]}))
    with pytest.raises(ModelError, match=r"final_conv/kernel has shape .3, 3, 32, 4., the network needs .3, 3, 32, 5."):
        load_model(copy)


def test_pickled_objects_are_not_executed(copy, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path = copy / "weights.npz"
    with zipfile.ZipFile(path, "a") as archive, archive.open("trap.npy", "w") as handle:
        np.lib.format.write_array(handle, np.array([Trap()], dtype=object), allow_pickle=True)
    reweigh(copy, path.read_bytes())
    with pytest.raises(ModelError, match="not a weights archive, or is damaged"):
        load_model(copy)
    reweigh(copy, pickle.dumps(Trap()))
    with pytest.raises(ModelError, match="not a weights archive, or is damaged"):
        load_model(copy)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "transformer"}, "of kind 'transformer'; this version supports .*unet"),
        ({"bands": None}, "config.json: missing bands; expected"),
        ({"colour": "red"}, "config.json: unknown colour; expected"),
        ({"bands": "HJVZ"}, "bands 'HJVZ' is of the wrong kind: expected texts, in a list"),
        ({"network": []}, r"network \[\] is of the wrong kind: expected a table"),
        ({"bands": ["F160W"]}, "window, bands and classes of the model are not those of its network"),
        ({"preprocessing": "magic"}, "preprocessing 'magic' is unknown; expected one of standardize"),
        ({"margin": "wide"}, "margin 'wide' is of the wrong kind: expected a whole number"),
        ({"network": {"down": [[4, 8]]}}, "U-Net configuration: missing"),
    ],
)
def test_configurations_that_make_no_model(copy, changes, message):
    reconfigure(copy, **changes)
    with pytest.raises(ModelError, match=message):
        load_model(copy)


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[1]", r"config.json = \[1\]: expected a table")])
def test_configurations_that_are_none(copy, text, message):
    (copy / "config.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        load_model(copy)


def test_saved_model_loads_and_is_the_same_bytes(model, copy, tmp_path):
    info, weights = load_weights("hausen2020")
    saved = save_model(tmp_path / "one", replace(info, name="mine"), weights, card="# Mine\n")
    assert saved.sha256 == model.sha256
    assert (tmp_path / "one" / "weights.npz").read_bytes() == (copy / "weights.npz").read_bytes()
    loaded = load_model(tmp_path / "one")
    assert loaded.name == "mine"
    assert read_card(tmp_path / "one") == "# Mine\n"
    assert ModelInfo.from_json((tmp_path / "one" / "config.json").read_bytes(), "config").bands == info.bands
    batch = np.random.default_rng(1).normal(size=(2, 40, 40, 4)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(batch), model.predict(batch))


def test_saving_overwrites_only_when_asked(tmp_path):
    info = ModelInfo(name="m", kind="unet", description="", bands=(), classes=(), network={})
    save_model(tmp_path / "m", info, {"a": np.zeros(2)})
    with pytest.raises(OutputError, match="exist"):
        save_model(tmp_path / "m", info, {"a": np.ones(2)})
    assert save_model(tmp_path / "m", info, {"a": np.ones(2)}, overwrite=True).sha256
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["config.json", "weights.npz"]


def test_packing_is_reproducible_and_knows_no_order():
    arrays = {"b": np.arange(6.0).reshape(2, 3), "a": np.ones(4, ">f4")}
    assert pack_weights(arrays) == pack_weights(dict(reversed(arrays.items())))
    for name, array in unpack_weights(pack_weights(arrays), "test").items():
        np.testing.assert_array_equal(array, arrays[name])


@pytest.fixture
def convert():
    script = files("morpheus_lite._weights").joinpath("hausen2020", "convert.py")
    if not script.is_file():
        pytest.skip("the conversion is in the source tree only")
    specification = importlib.util.spec_from_file_location("convert", str(script))
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_conversion_names_every_variable(convert):
    names = {
        "downconv-2/conv-3/batch_normalization/moving_mean": "down_2_3_norm/moving_mean",
        "upconv-0/conv-1/conv/bias": "up_0_1_conv/bias",
        "intermediate-conv/batch_normalization/beta": "intermediate_0_norm/beta",
        "final_conv/conv/kernel": "final_conv/kernel",
    }
    assert {name: convert.renamed(name) for name in names} == names


def test_conversion_refuses_another_wheel(convert, tmp_path):
    wheel = tmp_path / "morpheus_astro-0.5.1-py3-none-any.whl"
    wheel.write_bytes(b"something else")
    with pytest.raises(SystemExit, match=r"is not morpheus_astro.*: sha256"):
        convert.checked(wheel)


def test_description_in_the_script_is_that_of_the_model(convert, model):
    written = ModelInfo.from_json(replace(convert.INFO, sha256=model.sha256).to_json(), "script")
    assert asdict(written) == asdict(load_weights("hausen2020")[0])


def test_shipped_directories_hold_what_a_model_needs():
    for info in list_models():
        folder = files("morpheus_lite._weights").joinpath(info.name)
        assert {"config.json", "weights.npz", "card.md"} <= {entry.name for entry in folder.iterdir()}


def test_copy_of_a_package_in_a_zip_would_do(tmp_path, copy):
    """Nothing needs a real path: a model is read through importlib.resources."""
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", copy)
    folder = zipfile.Path(archive)
    info = ModelInfo.from_json(folder.joinpath("config.json").read_bytes(), "config")
    assert hashlib.sha256(folder.joinpath("weights.npz").read_bytes()).hexdigest() == info.sha256


def test_the_model_that_suits_an_image():
    assert choose_model(["F606W", "F160W"], 0.06) == "hst"
    assert choose_model(["F160W"], None) == "hst"
    assert choose_model(["F160W"], 0.03) == choose_model(["F814W"], 0.06) == choose_model(["1", "2"], None) == "any"
