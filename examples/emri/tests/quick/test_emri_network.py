"""The network: its size, its score, its weights on disk, and a training that can be interrupted."""

import json

import numpy as np
import pytest

pytest.importorskip("numba", reason="the example's own requirements are not installed: make emri")
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


def test_score_is_the_log_of_the_odds():
    model = network.build(SMALL.n_samples)
    data = np.random.default_rng(0).standard_normal((4, 2048, 2)).astype(np.float32)
    probability = np.asarray(model(data))
    assert convolution.Scorer(model.get_weights())(data) == pytest.approx(
        np.log(probability[:, 1] / probability[:, 0]), abs=1e-5
    )


def test_convolutions_and_their_gradient_are_those_of_keras():
    import keras
    import tensorflow as tf

    model = network.build(SMALL.n_samples)
    model.get_layer("conv1").set_weights([model.get_layer("conv1").get_weights()[0], np.linspace(-1, 1, 32)])
    convolutions = model.get_weights()[: convolution.N_CONVOLUTIONAL]
    rng = np.random.default_rng(0)
    data = rng.standard_normal((2048, 2)).astype(np.float32)
    n_positions = network.n_positions(2048)
    weighting = rng.standard_normal((n_positions, 16)).astype(np.float32)
    part = keras.Model(model.inputs[0], model.get_layer("features").output)
    with tf.GradientTape() as tape:
        expected = part(data[None])[0]
        total = tf.reduce_sum(expected * weighting)
    layers = convolution.forward(data, convolutions)
    assert layers[-1].output == pytest.approx(np.asarray(expected), abs=1e-5)
    gradients = convolution.backward(layers, convolutions, weighting)
    for ours, theirs in zip(gradients, tape.gradient(total, part.trainable_variables), strict=True):
        assert ours == pytest.approx(np.asarray(theirs), abs=1e-5 * float(np.abs(theirs).max()))


def test_bank_hears_one_band_per_feature():
    """Each feature responds to a wave at the centre of its band more than to one elsewhere, and relu cuts little."""
    model = network.build(SMALL.n_samples)
    bank.open_bank(model)
    convolutions = model.get_weights()[: convolution.N_CONVOLUTIONAL]
    rng = np.random.default_rng(0)
    quiet = convolution.features(convolutions, batches.observe(rng, SMALL, [None] * 32, np.zeros(32))).mean(axis=1)
    centres = (np.arange(bank.N_BANDS) + 0.5) / bank.N_BANDS / (2 * 30.0)
    waves = [np.sqrt(2) * np.stack([np.sin(2 * np.pi * f * SMALL.times)] * 2).astype(np.float32) for f in centres]
    loud = convolution.features(convolutions, batches.observe(rng, SMALL, waves, np.full(16, 100.0))).mean(axis=1)
    response = (loud - quiet.mean(axis=0)) / quiet.std(axis=0)
    assert np.array_equal(response.argmax(axis=1), np.arange(bank.N_BANDS))
    assert response.diagonal().min() > 3
    assert quiet.min() > 1


def test_dense_layers_learn_from_mean_features(tmp_path, signals):
    model = network.build(SMALL.n_samples)
    bank.open_bank(model)
    convolutions = model.get_weights()[: convolution.N_CONVOLUTIONAL]
    options = {"seed": 4}
    features, labels = head.mean_features(convolutions, SMALL, signals, 256, tmp_path, **options)
    again, _ = head.mean_features(convolutions, SMALL, signals, 128, tmp_path, **options)
    np.testing.assert_array_equal(again, features[:128])
    assert labels.sum() == 128
    noise = features[labels == 0]
    centre, spread = noise.mean(axis=0), noise.std(axis=0)
    dense, accuracy = head.fit((features - centre) / spread, labels, seed=0, epochs=30)
    assert accuracy > 0.65
    weights = [*convolutions, *head.write(dense, centre, spread, network.n_positions(2048))]
    data, truth = batches.training_batch(np.random.default_rng(8), SMALL, signals, 200, snr=(50, 120))
    scores = convolution.Scorer(weights)(data)
    assert np.mean((scores > 0) == truth) > 0.7  # what was learnt from means works on data
    for one, two in zip(dense, head.read(weights, centre, spread), strict=True):
        assert two == pytest.approx(one, rel=2e-3, abs=0.02)
    means = convolution.features(convolutions, data).mean(axis=1)
    assert training.score((means - centre) / spread, dense) == pytest.approx(scores, abs=0.05)


def test_weights_round_trip_in_half_precision(tmp_path):
    weights = network.build(SMALL.n_samples).get_weights()
    network.save_weights(weights, tmp_path / "w.npz")
    for one, two in zip(weights, network.read_weights(tmp_path / "w.npz"), strict=True):
        assert two == pytest.approx(one, rel=1e-3, abs=1e-6)
    with pytest.raises(FileNotFoundError, match="train the network first"):
        network.read_weights(tmp_path / "none.npz")


@pytest.fixture
def begin():
    """A training's start with random convolutions; always the same."""
    import keras

    def start() -> training.State:
        keras.utils.set_random_seed(1)
        convolutions = network.build(SMALL.n_samples).get_weights()[: convolution.N_CONVOLUTIONAL]
        centre, variance = training.noise_statistics(convolutions, SMALL, 64)
        return training.State(convolutions, head.build().get_weights(), centre, variance)

    return start


def test_training_lowers_the_loss_and_goes_on_where_it_was(tmp_path, signals, begin):
    options = {
        "steps": 20, "pairs": 4, "rates": (1e-3, 1e-2), "seed": 0, "snr": (60.0, 120.0), "start": begin,
        "validation": (signals, 64), "save_every": 10,
    }  # fmt: skip
    whole = training.fit(SMALL, signals, tmp_path / "whole.npz", **options)
    training.fit(SMALL, signals, tmp_path / "parts.npz", stop_at=10, **options, threads=1)
    parts = training.fit(SMALL, signals, tmp_path / "parts.npz", **options)
    for one, two in zip(whole.convolutions + whole.dense, parts.convolutions + parts.dense, strict=True):
        assert two == pytest.approx(one, abs=1e-6)
    assert [entry["samples"] for entry in parts.history] == [0, 80, 160]
    losses = [entry["validation_loss"] for entry in parts.history]
    assert losses[2] < losses[0] - 0.05
    changes = [np.abs(one - two).max() for one, two in zip(begin().convolutions, whole.convolutions, strict=True)]
    assert min(changes) > 0  # every layer


def test_a_common_shift_of_a_feature_passes_no_gradient(begin):
    learner, labels = training.Learner(begin(), (1e-3, 1e-3), 10), np.arange(16) % 2
    features = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    _, _, to_features = learner.gradient(features, labels)
    assert to_features.sum(axis=0) == pytest.approx(np.zeros(16), abs=1e-5 * float(np.abs(to_features).max()))


def test_positions_are_those_of_the_table():
    assert [network.n_positions(n) for n in (262144, 16384, 8192, 4096)] == [1363, 83, 40, 19]


def test_evaluation_from_scores_to_figures(tmp_path, monkeypatch):
    """All groups on tiny data with the power detectors alone; a second run reads the stored scores."""
    size = Size("small", 2048)
    detectors = {"power, band": power.PowerDetector((1e-3, 8e-3)), "power": power.PowerDetector()}
    few = templates.build("cached", TRAINING, size, 64, (9,))
    monkeypatch.setattr(evaluation, "load_source", lambda source, size, n, progress=None: few)
    monkeypatch.setattr(evaluation.aak, "available", lambda: False)
    said = []
    options = {"n_noise": 2560, "n_signals": dict.fromkeys(range(1, 8), 64)}
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


@pytest.mark.parametrize("size", [SCALED, FULL], ids=lambda size: size.name)
def test_stored_weights_are_those_of_the_table(size):
    weights = network.read_weights(network.weights_path(size))
    assert [w.shape for w in weights] == [w.shape for w in network.build(size.n_samples).get_weights()]
    card = json.loads(network.weights_path(size).with_suffix(".json").read_text())
    assert card["size"] == size.name
    assert card["seeds"]
