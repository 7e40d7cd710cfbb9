"""Train the dense layers alone, on what the convolutions say on average.

A signal lasts as long as the data, so the mean over positions of every feature already says most of what there is to
know, in 16 numbers. They are computed once per sample and kept; the dense layers then learn from them in seconds, at
any length of the data, and are written back with equal weights at every position. A training of all layers starts from
there.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import convolution
from .batches import training_batch
from .sizes import Size
from .templates import Templates, save

PART = 128  # samples in a file
EPOCHS = 60
RATE = 3e-3


def mean_features(
    model, size: Size, templates: Templates, n: int, folder: Path, *, seed: int, progress: Callable | None = None
) -> tuple[np.ndarray, np.ndarray]:
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
                data, labels = training_batch(rng, size, templates, block)
                rows.append(np.column_stack([convolution.features(model, data).mean(axis=1), labels]))
            save(path, np.concatenate(rows))
            if progress:
                progress(f"features of {(part + 1) * PART} of {n} samples")
        parts.append(np.load(path))
    table = np.concatenate(parts)[:n]
    return table[:, :-1], table[:, -1].astype(np.int32)


def fit(model, features: np.ndarray, labels: np.ndarray, *, fresh: bool, seed: int, epochs: int = EPOCHS) -> float:
    """Train the dense layers of a model on mean features; the accuracy on a fifth of them that it does not see.

    Parameters
    ----------
    model : keras.Model
        Its dense layers are replaced.
    features, labels
        From `mean_features`.
    fresh : bool
        Begin with random weights instead of with the model's own, averaged over positions.
    """
    import keras

    keras.utils.set_random_seed(seed)
    noise = features[labels == 0]
    centre, spread = noise.mean(axis=0), noise.std(axis=0)
    head = keras.Sequential(
        [
            keras.Input((features.shape[1],)),
            *(keras.layers.Dense(units, activation="relu") for units in (128, 32)),
            keras.layers.Dense(2),
        ]
    )
    if not fresh:
        head.set_weights(read(model, centre, spread))
    standard, n_seen = (features - centre) / spread, len(features) - len(features) // 5
    schedule = keras.optimizers.schedules.CosineDecay(RATE, epochs * -(-n_seen // 128), alpha=0.01)
    head.compile(
        keras.optimizers.AdamW(schedule, weight_decay=1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"],
    )  # fmt: skip
    head.fit(standard[:n_seen], labels[:n_seen], batch_size=128, epochs=epochs, verbose=0)
    write(head.get_weights(), model, centre, spread)
    return float(head.evaluate(standard[n_seen:], labels[n_seen:], verbose=0)[1])


def read(model, centre: np.ndarray, spread: np.ndarray) -> list[np.ndarray]:
    """Weights of a model's dense layers as they act on standardised mean features."""
    kernel, bias = model.get_layer("dense1").get_weights()
    total = kernel.reshape(-1, len(centre), kernel.shape[1]).sum(axis=0)
    others = [weights for name in ("dense2", "logits") for weights in model.get_layer(name).get_weights()]
    return [total * spread[:, None], bias + centre @ total, *others]


def write(weights: list[np.ndarray], model, centre: np.ndarray, spread: np.ndarray) -> None:
    """The inverse of `read`: the same weights at every position.

    They are rounded to the precision they will be stored in before the bias is fixed: a rounding error that is the
    same at every position would add up to a shift.
    """
    n_positions = model.get_layer("features").output.shape[1]
    kernel = (weights[0] / spread[:, None] / n_positions).astype(np.float16).astype(np.float32)
    bias = weights[1] - n_positions * (centre @ kernel)
    model.get_layer("dense1").set_weights([np.tile(kernel, (n_positions, 1)), bias])
    model.get_layer("dense2").set_weights(weights[2:4])
    model.get_layer("logits").set_weights(weights[4:6])
