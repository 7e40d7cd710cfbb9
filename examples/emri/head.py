"""The dense layers with the same weights at every position.

A signal lasts as long as the data, so the mean over positions of every feature already says most of what there is to
know, in 16 numbers, and dense layers that sum over positions act on nothing else. They learn from them in seconds, at
any length of the data, and are written back with equal weights at every position.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import convolution
from .batches import FAINT_SNR, training_batch
from .sizes import Size
from .templates import Templates, save

PART = 128  # samples in a file
EPOCHS = 60
RATE = 3e-3


def mean_features(
    convolutions: list[np.ndarray], size: Size, templates: Templates, n: int, folder: Path, *, seed: int,
    progress: Callable | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Mean features (n, 16) of training data and their labels (n,), read from a folder as far as they are there.

    Half of the data are noise only. Part ``k`` depends on the seed and on ``k`` alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    block = max(2, min(PART, 2**20 // size.n_samples))
    parts = []
    for part in range(-(-n // PART)):
        path = folder / f"{seed}-{part:04d}.npy"
        if not path.exists():
            rng, rows = np.random.default_rng([seed, part]), []
            for _ in range(PART // block):
                data, labels = training_batch(rng, size, templates, block, snr=FAINT_SNR)
                means = convolution.features(convolutions, data).mean(axis=1)
                rows.append(np.column_stack([means, labels]))
            save(path, np.concatenate(rows))
            if progress:
                progress(f"features of {(part + 1) * PART} of {n} samples")
        parts.append(np.load(path))
    table = np.concatenate(parts)[:n]
    return table[:, :-1], table[:, -1].astype(np.int32)


def build():
    """The dense layers as a model of 16 mean features, each in standard deviations from its mean in noise."""
    import keras

    hidden = [keras.layers.Dense(units, activation="relu") for units in (128, 32)]
    return keras.Sequential([keras.Input((16,)), *hidden, keras.layers.Dense(2)])


def fit(
    features: np.ndarray, labels: np.ndarray, *, start: list[np.ndarray] | None = None, seed: int, epochs: int = EPOCHS
) -> tuple[list[np.ndarray], float]:
    """Train the dense layers on standardised features; their weights, and the accuracy on a fifth they do not see.

    They begin with ``start`` where that is given, with random weights otherwise.
    """
    import keras

    keras.utils.set_random_seed(seed)
    model = build()
    if start is not None:
        model.set_weights(start)
    n_seen = len(features) - len(features) // 5
    schedule = keras.optimizers.schedules.CosineDecay(RATE, epochs * -(-n_seen // 128), alpha=0.01)
    model.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"],
    )  # fmt: skip
    model.fit(features[:n_seen], labels[:n_seen], batch_size=128, epochs=epochs, verbose=0)
    return model.get_weights(), float(model.evaluate(features[n_seen:], labels[n_seen:], verbose=0)[1])


def read(weights: list[np.ndarray], centre: np.ndarray, spread: np.ndarray) -> list[np.ndarray]:
    """A network's dense layers as they act on standardised mean features."""
    kernel, bias, *others = weights[convolution.N_CONVOLUTIONAL :]
    total = kernel.reshape(-1, len(centre), kernel.shape[1]).sum(axis=0)
    return [total * spread[:, None], bias + centre @ total, *others]


def write(dense: list[np.ndarray], centre: np.ndarray, spread: np.ndarray, n_positions: int) -> list[np.ndarray]:
    """The inverse of `read`: dense layers with the same weights at every position.

    They are rounded to the precision they will be stored in before the bias is fixed: a rounding error that is the
    same at every position would add up to a shift.
    """
    kernel = (dense[0] / spread[:, None] / n_positions).astype(np.float16).astype(np.float32)
    bias = dense[1] - n_positions * (centre @ kernel)
    return [np.tile(kernel, (n_positions, 1)), bias.astype(np.float32), *dense[2:]]
