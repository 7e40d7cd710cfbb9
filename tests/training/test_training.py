"""Training: what a network should answer, patches, checkpoints, and that it learns."""

import csv
from dataclasses import asdict, replace

import numpy as np
import pytest

from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.models.network_config import OnePassConfig
from morpheus_lite.models.registry import load_model, load_weights
from morpheus_lite.simulation import HST_BANDS, Field
from morpheus_lite.training import TrainingConfig, read_config
from morpheus_lite.training.checkpoint import load_state, save_state
from morpheus_lite.training.config import SamplingConfig
from morpheus_lite.training.curves import save_training_curves
from morpheus_lite.training.dataset import (
    STYLES,
    batches,
    correlated_scatter,
    draw_patch,
    draw_style,
    draw_training_scene,
    find_fields,
    prefetched,
)
from morpheus_lite.training.export import export
from morpheus_lite.training.fit import learning_rate, train
from morpheus_lite.training.targets import SOURCE_LEVEL, Labelling, make_training_scene, targets
from morpheus_lite.training.validation import validation_scenes

TOML = """
name = "tiny"
fields = ["train_*.npz"]
validation = ["valid_*.npz"]
steps = 40
warmup = 5
checkpoint_every = 20
learning_rate = 5e-3
average = 0.9
[[stages]]
until = 20
patch = 16
batch = 8
per_scene = 8
pool = 24
[[stages]]
patch = 32
batch = 4
per_scene = 8
pool = 24
[model]
down = [[1, 8], [1, 8]]
intermediate = [1, 8]
up = [[1, 8], [1, 8]]
bands = ["F160W", "F125W", "F606W", "F850LP"]
"""


def gaussian_field(seed, *, side=96, n_sources=10):
    """A field of round sources, whose class is their size."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side))
    dtype = [("x", "f4"), ("y", "f4"), ("soft", "f4", (4,)), ("h_mag", "f4")]
    sources = np.zeros(n_sources, dtype)
    light = np.zeros((n_sources, side, side), np.float32)
    for i, row in enumerate(sources):
        kind = i % 4
        row["x"], row["y"] = rng.uniform(0, side, 2)
        row["soft"], row["h_mag"] = np.eye(4)[kind], 21 + 0.4 * i
        sigma = 1.5 + 1.2 * kind
        profile = np.exp(-0.5 * ((y - row["y"]) ** 2 + (x - row["x"]) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
        light[i] = 10 ** (-0.4 * (row["h_mag"] - 31.4)) * profile
    owner = np.where(light.max(axis=0) > 0.01, light.argmax(axis=0) + 1, 0).astype(np.int32)
    flux = np.repeat(light.sum(axis=0)[..., None], 4, axis=2)
    return Field(flux, HST_BANDS, 0.06, (3.0, 2.9, 1.6, 1.7), owner, sources, seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Configuration and fields of a tiny run."""
    path = tmp_path_factory.mktemp("run")
    for i in range(3):
        gaussian_field(i).save(path / f"train_{i}.npz")
    gaussian_field(10).save(path / "valid_0.npz")
    (path / "tiny.toml").write_text(TOML)
    return path


def test_targets_follow_owner_and_depth():
    field = gaussian_field(1)
    signal = field.flux / np.array([2.0, 1.0, 0.5, 1.0], np.float32)
    position = np.stack([field.sources["y"], field.sources["x"]], axis=1)
    ones = np.ones(field.flux.shape, bool)
    labelling = Labelling.of(field.owner, field.sources["soft"])
    scene = make_training_scene(np.zeros_like(signal), ones, signal, position, labelling)
    whole = (slice(0, 96), slice(0, 96))
    target, weight = targets(scene, whole, np.ones(4, bool))
    level = np.sqrt((signal**2).sum(axis=2))
    source = target[..., BACKGROUND] == 0
    np.testing.assert_array_equal(source, (field.owner > 0) & (level >= SOURCE_LEVEL))
    np.testing.assert_allclose(target.sum(axis=-1), 1)
    kind = target[..., :BACKGROUND].argmax(axis=-1)[source]
    np.testing.assert_array_equal(kind, field.sources["soft"].argmax(axis=1)[field.owner[source] - 1])
    assert not weight[~source][:, 1].any() and (weight[source][:, 1] > 0).all()
    fewer, _ = targets(scene, whole, np.array([True, False, False, False]))
    assert 0 < (fewer[..., BACKGROUND] == 0).sum() < source.sum()
    none, weight = targets(scene, whole, np.zeros(4, bool))
    assert (none[..., BACKGROUND] == 1).all() and not weight.any()


def test_sources_too_faint_to_see_are_not_asked_for():
    field = gaussian_field(2)
    faint = Field(field.flux, HST_BANDS, 0.06, field.psf_fwhm, field.owner, field.sources)
    signal = faint.flux * np.float32(0.5 / np.sqrt((faint.flux**2).sum()))  # total S/N of everything is 0.5
    scene = make_training_scene(
        signal,
        np.ones(signal.shape, bool),
        40 * signal / signal.max() * (signal > 0.9 * signal.max()),
        np.zeros((10, 2)),
        Labelling.of(faint.owner, faint.sources["soft"]),
    )
    scene = replace(scene, power=np.zeros_like(scene.power))
    target, weight = targets(scene, (slice(0, 96), slice(0, 96)), np.ones(4, bool))
    source = target[..., BACKGROUND] == 0
    assert source.any() and not weight[source][:, 0].any()


def test_noise_of_a_scene_is_one_and_conditions_reach_all_styles():
    field = gaussian_field(3)
    for style in STYLES:
        conditions = draw_style(np.random.default_rng(4), field, style)
        assert len(conditions.sigma) == 4 and min(conditions.sigma) > 0
        scene = draw_training_scene(np.random.default_rng(4), field, style=style)
        sky = (field.owner == 0) & scene.valid.all(axis=2)
        low, high = np.percentile(scene.snr[sky], [16, 84])  # robust: there may be cosmic rays
        assert 1.7 < high - low < 2.6


def test_correlation_hides_noise():
    rng = np.random.default_rng(0)
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(rng.standard_normal((600, 600)), 1.3)
    np.testing.assert_allclose(correlated_scatter(np.array([0.0, 1.3])), [1, smooth.std()], rtol=0.02)


def test_patches_drop_bands_and_are_repeatable():
    scene = draw_training_scene(np.random.default_rng(1), gaussian_field(1))
    sampling = SamplingConfig(patch=32, drop_bands=1.0)
    one, two = (draw_patch(np.random.default_rng(5), scene, sampling) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    snr, valid, target, weight = one
    assert snr.shape == valid.shape == (32, 32, 4)
    assert target.shape == (32, 32, len(CLASSES)) and weight.shape == (32, 32, 2)
    dropped = ~valid.any(axis=(0, 1))
    assert 1 <= dropped.sum() < 4 and not snr[..., dropped].any()


def test_patches_that_the_edge_of_an_image_crosses_count_what_lies_inside():
    scene = draw_training_scene(np.random.default_rng(1), gaussian_field(1))
    sampling = SamplingConfig(patch=32, drop_bands=0.0, edges=1.0)
    corners = 0
    for seed in range(30):
        snr, valid, _, weight = draw_patch(np.random.default_rng(seed), scene, sampling)
        outside = ~valid.any(axis=2)
        rows, columns = outside.all(axis=1), outside.all(axis=0)
        assert 0.03 < outside.mean() < 0.76
        np.testing.assert_array_equal(outside, rows[:, None] | columns)
        assert not snr[outside].any() and not weight[outside].any() and weight[~outside].any()
        corners += rows.any() and columns.any()
    assert 0 < corners < 20


def test_batches_do_not_depend_on_the_thread_that_makes_them(folder):
    sampling = SamplingConfig(patch=32, batch=3, per_scene=4, pool=8)
    plain = batches([str(folder / "train_*.npz")], sampling, seed=7)
    with prefetched(batches([str(folder / "train_*.npz")], sampling, seed=7)) as ahead:
        for _ in range(4):
            np.testing.assert_array_equal(next(plain).snr, next(ahead).snr)


def test_an_error_in_the_thread_reaches_the_loop(tmp_path):
    with (
        prefetched(batches([str(tmp_path / "*.npz")], SamplingConfig(), seed=1)) as stream,
        pytest.raises(InputError, match="no fields match"),
    ):
        next(stream)


def test_training_learns_stops_and_goes_on(folder, tmp_path):
    config = read_config(folder / "tiny.toml")
    rows = []
    train(replace(config, steps=20), tmp_path, progress=rows.append)
    before = load_state(tmp_path / "state.npz")
    model = train(config, tmp_path, progress=rows.append)
    assert before[1]["step"] == 20 and [row["step"] for row in rows] == [20, 40]
    assert rows[1]["loss"] < rows[0]["loss"] < 3
    with (tmp_path / "log.csv").open() as handle:
        logged = list(csv.DictReader(handle))
    assert [int(row["step"]) for row in logged] == [20, 40]
    best = load_state(tmp_path / "best.npz")[0]["weights"]
    for a, b in zip(model.get_weights(), best, strict=True):
        np.testing.assert_array_equal(a, b)
    wider = replace(config, model=replace(config.model, intermediate=(1, 16)))
    with pytest.raises(OptionError, match="another network"):
        train(wider, tmp_path)


def test_validation_is_always_the_same(folder):
    one, two = (validation_scenes([str(folder / "valid_*.npz")], seed=3) for _ in range(2))
    np.testing.assert_array_equal(one[0].snr, two[0].snr)


def test_checkpoints_round_trip_and_a_damaged_one_is_named(tmp_path):
    path = tmp_path / "state.npz"
    save_state(path, {"weights": [np.arange(3), np.eye(2)], "mean": []}, {"step": 7})
    groups, numbers = load_state(path)
    np.testing.assert_array_equal(groups["weights"][1], np.eye(2))
    assert numbers == {"step": 7.0} and [p.name for p in tmp_path.iterdir()] == ["state.npz"]
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="not a checkpoint"):
        load_state(path)


def test_learning_rate_rises_and_falls(folder):
    config = read_config(folder / "tiny.toml")
    rates = [learning_rate(config, step) for step in range(config.steps + 1)]
    assert max(rates) <= config.learning_rate and np.argmax(rates) in (4, 5)
    assert rates[0] == pytest.approx(rates[4] / 5, rel=0.1) and rates[-1] == pytest.approx(config.learning_rate / 100)


def test_configuration_is_checked(tmp_path, folder):
    config = read_config(folder / "tiny.toml")
    assert config.fields == (str(folder / "train_*.npz"),)
    assert config.model == OnePassConfig(((1, 8), (1, 8)), (1, 8), ((1, 8), (1, 8)), bands=HST_BANDS)
    assert TrainingConfig.from_dict(asdict(config) | {"model": config.model.to_dict(), "stages": [{}]}).name == "tiny"
    with pytest.raises(OptionError, match="multiple of 8"):
        replace(config, stages=(SamplingConfig(patch=36),))
    with pytest.raises(OptionError, match="rising"):
        replace(config, stages=(SamplingConfig(until=10), SamplingConfig(until=20)))
    with pytest.raises(OptionError, match="loss"):
        replace(config, loss="hinge")
    for text, message in (("name = 1 2", "expected a TOML"), ("name = 'x'\nspeed = 3", "unknown speed")):
        path = tmp_path / "bad.toml"
        path.write_text(text)
        with pytest.raises((InputError, OptionError), match=message):
            read_config(path)
    with pytest.raises(InputError, match="no fields match"):
        find_fields([str(tmp_path / "none_*.npz")])


def test_a_run_becomes_a_model_that_loads(folder, tmp_path):
    config = replace(read_config(folder / "tiny.toml"), steps=4, checkpoint_every=4)
    train(config, tmp_path / "run")
    info = export(config, tmp_path / "run", tmp_path / "model", card="# tiny\n")
    model = load_model(tmp_path / "model")
    assert (model.sha256, model.bands, model.factor) == (info.sha256, HST_BANDS, 8)
    side = 64 + 2 * model.halo
    snr = np.random.default_rng(0).standard_normal((1, side, side, 4)).astype(np.float32)
    probability = model.predict_inner(snr, np.ones(snr.shape, bool))
    np.testing.assert_allclose(probability.sum(axis=-1), 1, atol=1e-5)
    again = replace(config, steps=1, start=str(tmp_path / "model"), learning_rate=1e-9, average=0.0)
    weights = train(again, tmp_path / "again").get_weights()
    kernel = load_weights(tmp_path / "model")[1]["final_conv/kernel"]
    assert any(w.shape == kernel.shape and np.allclose(w, kernel, atol=1e-6) for w in weights)


def test_curves_are_drawn_from_the_log(tmp_path):
    (tmp_path / "log.csv").write_text("step,training_loss,loss,iou\n10,1.5,1.4,0.5\n20,1.0,1.1,0.7\n")
    save_training_curves(tmp_path / "log.csv", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="not the log of a training run"):
        save_training_curves(tmp_path / "none.csv", tmp_path / "curves.png")
