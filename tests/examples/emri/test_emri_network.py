"""The network: its size, its score, its weights on disk, and a training that can be interrupted."""

import json

import numpy as np
import pytest
from emri import bank, batches, convolution, evaluation, figures, head, network, power, templates, training
from emri.population import TRAINING
from emri.sizes import FULL, SCALED, Size

SMALL = Size("small", 2048)


@pytest.fixture(scope="module")
def signals() -> templates.Templates:
    return templates.build("cached", TRAINING, SMALL, 64, (9,))


@pytest.mark.parametrize(
    ("n_samples", "positions", "parameters"),
    [(262144, 1363, 2_803_618), (16384, 83, 182_178), (8192, 40, 94_114), (4096, 19, 51_106)],
)
def test_parameter_counts(n_samples, positions, parameters):
    model = network.build(n_samples)
    assert model.count_params() == parameters
    assert model.get_layer("features").output.shape[1:] == (positions, 16)


def test_layers_are_those_of_the_table():
    model = network.build(FULL.n_samples)
    kernels = {layer.name: tuple(layer.get_weights()[0].shape) for layer in model.layers if layer.get_weights()}
    assert kernels == {
        "conv1": (34, 2, 32), "conv2": (8, 32, 16), "conv3": (6, 16, 16),
        "dense1": (21808, 128), "dense2": (128, 32), "logits": (32, 2),
    }  # fmt: skip
    assert [layer.pool_size[0] for layer in model.layers if hasattr(layer, "pool_size")] == [8, 6, 4]


def test_one_step_at_full_size():
    """A loud signal and noise: after one step with a small rate the loss of the same data is lower."""
    model = training.compile_for(network.build(FULL.n_samples), rate=1e-5, steps=10)
    rng = np.random.default_rng(0)
    wave = np.sqrt(2) * np.sin(2 * np.pi * 3e-3 * FULL.times)
    data = batches.observe(rng, FULL, [None, np.stack([wave, wave]).astype(np.float32)], np.array([0.0, 400.0]))
    labels = np.array([0, 1], np.int32)
    before = model.train_on_batch(data, labels)[0]
    model.reset_metrics()
    assert model.test_on_batch(data, labels)[0] < before


def test_score_is_the_log_of_the_odds():
    model = network.build(SMALL.n_samples)
    data = np.random.default_rng(0).standard_normal((4, 2048, 2)).astype(np.float32)
    probability = np.asarray(model(data))
    assert convolution.Scorer(model.get_weights())(data) == pytest.approx(
        np.log(probability[:, 1] / probability[:, 0]), abs=1e-5
    )


def test_forward_pass_in_numpy_is_that_of_keras():
    import keras

    model = network.build(SMALL.n_samples)
    model.get_layer("conv1").set_weights([model.get_layer("conv1").get_weights()[0], np.linspace(-1, 1, 32)])
    data = np.random.default_rng(0).standard_normal((3, 2048, 2)).astype(np.float32)
    expected = keras.Model(model.inputs[0], model.get_layer("features").output)(data)
    assert convolution.features(model, data) == pytest.approx(np.asarray(expected), abs=1e-5)


def test_bank_hears_one_band_per_feature():
    """Each feature responds to a wave at the centre of its band more than to one elsewhere, and relu cuts little."""
    model = network.build(SMALL.n_samples)
    bank.open_bank(model)
    rng = np.random.default_rng(0)
    quiet = convolution.features(model, batches.observe(rng, SMALL, [None] * 32, np.zeros(32))).mean(axis=1)
    centres = (np.arange(bank.N_BANDS) + 0.5) / bank.N_BANDS / (2 * 30.0)
    waves = [np.sqrt(2) * np.stack([np.sin(2 * np.pi * f * SMALL.times)] * 2).astype(np.float32) for f in centres]
    loud = convolution.features(model, batches.observe(rng, SMALL, waves, np.full(16, 100.0))).mean(axis=1)
    response = (loud - quiet.mean(axis=0)) / quiet.std(axis=0)
    assert np.array_equal(response.argmax(axis=1), np.arange(bank.N_BANDS))
    assert response.diagonal().min() > 3
    assert quiet.min() > 1


def test_dense_layers_learn_from_mean_features(tmp_path, signals):
    model = network.build(SMALL.n_samples)
    bank.open_bank(model)
    options = {"seed": 4}
    features, labels = head.mean_features(model, SMALL, signals, 256, tmp_path, **options)
    again, _ = head.mean_features(model, SMALL, signals, 128, tmp_path, **options)
    np.testing.assert_array_equal(again, features[:128])
    assert labels.sum() == 128
    assert head.fit(model, features, labels, fresh=True, seed=0, epochs=30) > 0.7
    before = model.get_weights()
    rng = np.random.default_rng(8)
    data, truth = batches.training_batch(rng, SMALL, signals, 200)
    scores = convolution.Scorer(model.get_weights())(data)
    assert np.mean((scores > 0) == truth) > 0.7  # what was learnt from means works on data
    centre, spread = features.mean(axis=0), features.std(axis=0)
    head.write(head.read(model, centre, spread), model, centre, spread)
    for one, two in zip(before, model.get_weights(), strict=True):
        assert two == pytest.approx(one, rel=2e-3, abs=0.02)


def test_weights_round_trip_in_half_precision(tmp_path):
    model, other = network.build(SMALL.n_samples), network.build(SMALL.n_samples)
    network.save_weights(model, tmp_path / "w.npz")
    network.load_weights(other, tmp_path / "w.npz")
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        assert two == pytest.approx(one, rel=1e-3, abs=1e-6)
    with pytest.raises(ValueError, match="this network needs"):
        network.load_weights(network.build(4096), tmp_path / "w.npz")
    with pytest.raises(FileNotFoundError, match="train the network first"):
        network.load_weights(model, tmp_path / "none.npz")


def test_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path, signals):
    import keras

    options = {"steps": 4, "batch": 4, "save_every": 2}
    keras.utils.set_random_seed(1)
    whole = training.fit(SMALL, signals, tmp_path / "whole", **options)
    keras.utils.set_random_seed(1)
    training.fit(SMALL, signals, tmp_path / "parts", stop_at=2, **options)
    parts = training.fit(SMALL, signals, tmp_path / "parts", **options)
    for one, two in zip(whole.get_weights(), parts.get_weights(), strict=True):
        assert two == pytest.approx(one, abs=1e-6)
    history = json.loads((tmp_path / "parts" / "history.json").read_text())
    assert [entry["step"] for entry in history] == [2, 4]


def test_inflated_network_keeps_the_mean_of_the_first_dense_layer():
    small, large = network.build(SMALL.n_samples), network.build(8 * SMALL.n_samples)
    network.inflate(small, large, n_noise=64)
    kernels = [model.get_layer("dense1").get_weights() for model in (small, large)]
    means = [network.noise_features(model, 64, seed=1).reshape(-1) for model in (small, large)]
    inputs = [mean @ kernel + bias for mean, (kernel, bias) in zip(means, kernels, strict=True)]
    assert inputs[1] == pytest.approx(inputs[0], abs=0.05)


def test_evaluation_from_scores_to_figures(tmp_path, monkeypatch):
    """All groups on tiny data with the power detectors alone; a second run reads the stored scores."""
    size = Size("small", 2048)
    detectors = {"power, band": power.PowerDetector((1e-3, 8e-3)), "power": power.PowerDetector()}
    few = templates.build("cached", TRAINING, size, 64, (9,))
    monkeypatch.setattr(evaluation, "load_source", lambda source, size, n, progress=None: few)
    monkeypatch.setattr(evaluation.aak, "available", lambda: False)
    said = []
    options = {"n_noise": 2560, "n_signals": 64}
    result = evaluation.evaluate(detectors, size, tmp_path / "scores", progress=said.append, **options)
    assert any("group 3 is skipped" in line for line in said)
    assert list(result["skipped"]) == ["3"]
    again = evaluation.evaluate(detectors, size, tmp_path / "scores", **options)
    assert again == result
    taps = [
        cell["tap"]["0.01"]["value"] for cell in result["cells"] if cell["group"] == 4 and cell["detector"] == "power"
    ]
    assert len(taps) == 13
    assert taps[0] < 0.2
    assert taps[-1] == 1.0
    evaluation.write_result(result, tmp_path / "small.json")
    figures.draw_all(size, tmp_path, tmp_path / "figures")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "signal.png", "small-roc.png", "small-snr.png", "small-mass.png", "small-spin.png", "small-redshift.png",
    }  # fmt: skip


def test_trained_network_beats_the_power_detector():
    """A quick check of the stored weights; `python -m emri evaluate` is the measurement."""
    weights = network.read_weights(network.weights_path(SCALED))
    found = templates.build("found", TRAINING, SCALED, 64, (77,))
    rng, n = np.random.default_rng(0), 500
    noise = batches.observe(rng, SCALED, [None] * n, np.zeros(n))
    loud = batches.observe(rng, SCALED, [found[i % 64] for i in range(n)], np.full(n, 45.0))
    detectors = (convolution.Scorer(weights), power.PowerDetector())
    taps = [np.mean(detector(loud) > np.quantile(detector(noise), 0.98)) for detector in detectors]
    assert taps[0] > taps[1] + 0.1


def test_trained_network_at_full_size_tells_loud_signals_from_noise():
    score = convolution.Scorer(network.read_weights(network.weights_path(FULL)))
    signals, _ = templates.chunk(TRAINING, FULL, (78,), 0, 4)
    rng = np.random.default_rng(0)
    noise = score(batches.observe(rng, FULL, [None] * 8, np.zeros(8)))
    loud = score(batches.observe(rng, FULL, list(signals.astype(np.float32)), np.full(4, 110.0)))
    assert loud.min() > max(noise.max(), 0)


@pytest.mark.parametrize("size", [SCALED, FULL], ids=lambda size: size.name)
def test_stored_weights_are_those_of_the_table(size):
    weights = network.read_weights(network.weights_path(size))
    assert [w.shape for w in weights] == [w.shape for w in network.build(size.n_samples).get_weights()]
    card = json.loads(network.weights_path(size).with_suffix(".json").read_text())
    assert card["size"] == size.name
    assert card["seeds"]
