"""Training of all layers, with noise made on the fly, that can be stopped at any time and goes on where it was.

The dense layers see the mean of every feature over positions (`head`), in standard deviations from its mean in noise.
Both are followed as the convolutions change, and the gradient knows that they are: a common shift or gain of a feature
changes nothing. Without that, a shift of all positions by a hundredth of their spread, which says nothing about
signals, would drown everything else at full length.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from . import convolution, head
from .batches import FAINT_SNR, amplitude, pair, turn
from .sizes import Size
from .templates import Templates

MEMORY = 0.95  # of the running mean and variance of features in noise
WARM_UP = 0.05  # of the steps
FLOOR = 1e-4  # of the features' mean variance: a feature that noise never moves is no reason to divide by zero
VALIDATION_SEED, STATISTICS_SEED = 5, 7
VALIDATION_SNRS = (40.0, 50.0)


@dataclass
class State:
    """A network in training: convolutions, dense layers on standardised mean features, and what standard means."""

    convolutions: list[np.ndarray]
    dense: list[np.ndarray]
    centre: np.ndarray
    variance: np.ndarray
    step: int = 0
    moments: list[np.ndarray] = field(default_factory=list)  # of the optimizers
    history: list[dict] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write everything, whole or not at all."""
        arrays = {
            f"{name}{i:02d}": array
            for name in ("convolutions", "dense", "moments")
            for i, array in enumerate(getattr(self, name))
        }
        with path.with_suffix(".partial").open("wb") as stream:
            np.savez(
                stream, centre=self.centre, variance=self.variance, step=self.step, history=json.dumps(self.history),
                **arrays,
            )  # fmt: skip
        path.with_suffix(".partial").replace(path)

    @classmethod
    def load(cls, path: Path) -> "State":
        """Read what `save` wrote."""
        with np.load(path) as stored:
            lists = {
                name: [stored[key] for key in sorted(stored.files) if key.startswith(name)]
                for name in ("convolutions", "dense", "moments")
            }
            history = json.loads(str(stored["history"]))
            return cls(**lists, centre=stored["centre"], variance=stored["variance"], step=int(stored["step"]),
                       history=history)  # fmt: skip

    @property
    def spread(self) -> np.ndarray:
        """What a standard deviation of a feature is."""
        return np.sqrt(self.variance + FLOOR * self.variance.mean())

    def weights(self, n_positions: int) -> list[np.ndarray]:
        """The network's weights."""
        return [*self.convolutions, *head.write(self.dense, self.centre, self.spread, n_positions)]


def noise_statistics(convolutions: list[np.ndarray], size: Size, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (16,) of mean features in noise."""
    streams = (np.random.default_rng([STATISTICS_SEED, i]) for i in range(n))
    data = (rng.standard_normal((size.n_samples, 2), dtype=np.float32) for rng in streams)
    means = np.stack([convolution.forward(sample, convolutions)[-1].output.mean(axis=0) for sample in data])
    return means.mean(axis=0), means.var(axis=0, ddof=1)


def validate(
    state: State, size: Size, templates: Templates, n: int, run: Callable[..., Iterator]
) -> dict[str, float | dict]:
    """Loss and TAP at a FAP of 1 % on ``n`` samples of noise, the same without and with signals of some SNRs.

    The samples are always the same, so that networks can be compared on fewer of them.
    """

    def means(i: int) -> np.ndarray:
        rng = np.random.default_rng([VALIDATION_SEED, i])
        noise = rng.standard_normal((2, size.n_samples), dtype=np.float32)
        signal = turn(templates[i % len(templates)], rng.uniform(0, 2 * np.pi))
        data = [noise, *(noise + amplitude(size, snr) * signal for snr in VALIDATION_SNRS)]
        return np.stack([convolution.forward(one.T, state.convolutions)[-1].output.mean(axis=0) for one in data])

    features = np.stack(list(run(means, range(n)))).transpose(1, 0, 2)
    here = replace(state, centre=features[0].mean(axis=0), variance=features[0].var(axis=0))
    scores = score((features - here.centre) / here.spread, state.dense)
    threshold, signed = np.quantile(scores[0], 0.99), np.stack([scores[0], -scores[1]])
    return {
        "validation_loss": float(np.mean(np.logaddexp(0, signed))),
        "tap": {
            f"{snr:g}": float(np.mean(values > threshold))
            for snr, values in zip(VALIDATION_SNRS, scores[1:], strict=True)
        },
    }


def score(features: np.ndarray, dense: list[np.ndarray]) -> np.ndarray:
    """Log of the odds that there is a signal, from standardised features (..., 16)."""
    for i, (kernel, bias) in enumerate(zip(dense[::2], dense[1::2], strict=True)):
        features = (np.maximum(features, 0) if i else features) @ kernel + bias
    return features[..., 1] - features[..., 0]


class Learner:
    """The weights of a state as Keras variables, with an optimizer for the convolutions and one for the dense layers.

    Learning rates rise over the first steps and fall to a hundredth along a cosine.
    """

    def __init__(self, state: State, rates: tuple[float, float], steps: int) -> None:
        import keras

        self.state = state
        self.convolutions = [keras.Variable(array) for array in state.convolutions]
        self.model = head.build()
        self.model.set_weights(state.dense)
        self.cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        warm = max(1, round(WARM_UP * steps))
        self.optimizers = []
        for rate, variables in zip(rates, (self.convolutions, self.model.trainable_variables), strict=True):
            schedule = keras.optimizers.schedules.CosineDecay(
                rate / 100, max(1, steps - warm), alpha=0.01, warmup_target=rate, warmup_steps=warm
            )
            self.optimizers.append(keras.optimizers.Adam(schedule, beta_2=0.99))
            self.optimizers[-1].build(variables)
        self.moments = [variable for optimizer in self.optimizers for variable in optimizer.variables]
        for variable, value in zip(self.moments, state.moments or self.moments, strict=True):
            variable.assign(value)

    def gradient(self, features: np.ndarray, labels: np.ndarray) -> tuple[float, list, np.ndarray]:
        """Loss, and its gradient for the dense layers and for mean features whose even rows are of noise."""
        import tensorflow as tf

        noise, memory = features[labels == 0], MEMORY ** (len(features) / 16)
        self.state.centre = memory * self.state.centre + (1 - memory) * noise.mean(axis=0)
        self.state.variance = memory * self.state.variance + (1 - memory) * noise.var(axis=0, ddof=1)
        watched, floor = tf.constant(features), np.float32(FLOOR * self.state.variance.mean())
        with tf.GradientTape() as tape:
            tape.watch(watched)
            noise = tf.boolean_mask(watched, labels == 0)
            mean, deviation = tf.reduce_mean(noise, axis=0), tf.sqrt(tf.math.reduce_variance(noise, axis=0) + floor)
            # Values from the running statistics, gradients as if from the batch's own.
            centre = tf.constant(self.state.centre, tf.float32) + mean - tf.stop_gradient(mean)
            spread = tf.constant(self.state.spread, tf.float32) * deviation / tf.stop_gradient(deviation)
            loss = self.cross_entropy(labels, self.model((watched - centre) / spread))
        to_dense, to_features = tape.gradient(loss, [self.model.trainable_variables, watched])
        return float(loss), to_dense, to_features.numpy()

    def update(self, to_convolutions: list, to_dense: list) -> None:
        """One step of both optimizers."""
        self.optimizers[0].apply(to_convolutions, self.convolutions)
        self.optimizers[1].apply(to_dense, self.model.trainable_variables)
        self.state.convolutions = [variable.numpy() for variable in self.convolutions]
        self.state.dense, self.state.moments = self.model.get_weights(), [variable.numpy() for variable in self.moments]
        self.state.step += 1


def fit(
    size: Size, templates: Templates, path: Path, *, steps: int, pairs: int, rates: tuple[float, float], seed: int,
    start: Callable[[], State], validation: tuple[Templates, int], snr: tuple[float, float] = FAINT_SNR,
    save_every: int = 100, stop_at: int | None = None, threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> State:  # fmt: skip
    """Train until ``steps`` steps are done, counting those of earlier, interrupted calls.

    The data of a step depend on the seed and on the step's number alone, so an interrupted training and one in one go
    see the same data.

    Parameters
    ----------
    size, templates
        Data to train on.
    path : Path
        Of the checkpoint.
    steps, pairs, seed
        Length of the training, pairs of samples in a step, seed of the data.
    rates : (float, float)
        Highest learning rates of convolutions and of dense layers.
    start : callable
        Makes the state of a new training.
    validation : (Templates, int)
        Signals and number of samples to measure the network on at every checkpoint.
    snr : (float, float)
        Range of the signals' quoted SNRs.
    save_every : int
        Steps between checkpoints.
    stop_at : int, optional
        Stop, with a checkpoint, at this step.
    threads : int, optional
        Samples that are worked on at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state = State.load(path) if path.exists() else start()
    learner, labels, last = Learner(state, rates, steps), np.arange(2 * pairs) % 2, min(steps, stop_at or steps)

    def forward(rng: np.random.Generator) -> list[list[convolution.Layer]]:
        return [convolution.forward(data, state.convolutions) for data in pair(rng, size, templates, snr)]

    def backward(layers: list[convolution.Layer], to_mean: np.ndarray) -> list[np.ndarray]:
        return convolution.backward(layers, state.convolutions, to_mean / len(layers[-1].output))

    with ThreadPoolExecutor(threads) as pool:

        def checkpoint(losses: list[float]) -> None:
            entry = {"step": state.step, "samples": 2 * pairs * state.step}
            entry |= {"loss": float(np.mean(losses))} if losses else {}
            state.history.append(entry | validate(state, size, *validation, pool.map))
            state.save(path)
            if progress:
                progress(f"step {state.step} of {steps}: {json.dumps(state.history[-1])}")

        losses: list[float] = []
        if not state.history:
            checkpoint(losses)
        while state.step < last:
            streams = [np.random.default_rng([seed, state.step, i]) for i in range(pairs)]
            tapes = [layers for two in pool.map(forward, streams) for layers in two]
            features = np.stack([layers[-1].output.mean(axis=0) for layers in tapes])
            loss, to_dense, to_features = learner.gradient(features, labels)
            gradients = pool.map(backward, tapes, to_features)
            learner.update([np.sum(parts, axis=0) for parts in zip(*gradients, strict=True)], to_dense)
            losses.append(loss)
            if state.step % save_every == 0 or state.step == last:
                checkpoint(losses)
                losses = []
    return state
