"""The convolutional network of the paper, and its weights on disk."""

import hashlib
from pathlib import Path

import numpy as np

from . import convolution
from .sizes import FULL_LENGTH, Size

KERNELS = ((34, 2, 32), (8, 32, 16), (6, 16, 16))  # length, inputs, filters


def build(n_samples: int = FULL_LENGTH):
    """The network for two channels of ``n_samples``: 2,803,618 parameters at full length.

    Layer for layer the table of the paper as the survey talk shows it. Relu after every layer but the last, maximum
    pooling and "valid" padding are our reading: the table leaves them open. The softmax is a layer of its own, so that
    scores can be taken before it.
    """
    import keras  # here, so that signals and baselines do not wait for TensorFlow
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((n_samples, 2)),
            layers.Conv1D(32, 34, activation="relu", name="conv1"),
            layers.MaxPooling1D(8),
            layers.Conv1D(16, 8, activation="relu", name="conv2"),
            layers.MaxPooling1D(6),
            layers.Conv1D(16, 6, activation="relu", name="conv3"),
            layers.MaxPooling1D(4, name="features"),
            layers.Flatten(),
            layers.Dense(128, activation="relu", name="dense1"),
            layers.Dense(32, activation="relu", name="dense2"),
            layers.Dense(2, name="logits"),
            layers.Softmax(name="probability"),
        ],
        name="emri",
    )


def weights_path(size: Size) -> Path:
    """Where this example keeps the trained weights of a size."""
    return Path(__file__).parent / "weights" / f"{size.name}.npz"


def n_positions(n_samples: int) -> int:
    """Positions that are left after the convolutional part."""
    for (length, _, _), pool in zip(KERNELS, convolution.POOLS, strict=True):
        n_samples = (n_samples - length + 1) // pool
    return n_samples


def save_weights(weights: list[np.ndarray], path: Path) -> None:
    """Write kernels in half and biases in single precision, in the order of the layers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = [w.astype(np.float16 if w.ndim > 1 else np.float32) for w in weights]
    with path.open("wb") as stream:
        np.savez_compressed(stream, **{f"w{i:02d}": w for i, w in enumerate(stored)})


def read_weights(path: Path) -> list[np.ndarray]:
    """Kernels and biases written by `save_weights`, in single precision."""
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}; train the network first: python -m emri train --size ...")
    with np.load(path) as stored:
        return [stored[name].astype(np.float32) for name in sorted(stored.files)]


def digest(path: Path) -> str:
    """Short hash of a weights file; scores are kept under it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def limit_threads(n: int) -> None:
    """Let TensorFlow use ``n`` cores; to be called before it computes anything."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(n)
    tf.config.threading.set_inter_op_parallelism_threads(n)
