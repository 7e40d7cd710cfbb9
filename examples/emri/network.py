"""The convolutional network of the paper, its weights on disk, and the same network for longer data."""

import hashlib
from pathlib import Path

import numpy as np

from . import convolution
from .sizes import FULL_LENGTH, SCALED, Size


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


def save_weights(model, path: Path) -> None:
    """Write kernels in half and biases in single precision, in the order of the layers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = [w.astype(np.float16) if w.ndim > 1 else w for w in model.get_weights()]
    with path.open("wb") as stream:
        np.savez_compressed(stream, **{f"w{i:02d}": w for i, w in enumerate(stored)})


def read_weights(path: Path) -> list[np.ndarray]:
    """Kernels and biases written by `save_weights`, in single precision."""
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}; train the network first: python -m emri train --size ...")
    with np.load(path) as stored:
        return [stored[name].astype(np.float32) for name in sorted(stored.files)]


def load_weights(model, path: Path) -> None:
    """Read weights written by `save_weights` into a model of the same size."""
    weights = read_weights(path)
    expected = [w.shape for w in model.get_weights()]
    if [w.shape for w in weights] != expected:
        raise ValueError(f"{path} holds {[w.shape for w in weights]}; this network needs {expected}")
    model.set_weights(weights)


def digest(path: Path) -> str:
    """Short hash of a weights file; scores are kept under it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def limit_threads(n: int) -> None:
    """Let TensorFlow use ``n`` cores; to be called before it computes anything."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(n)
    tf.config.threading.set_inter_op_parallelism_threads(n)


def inflate_scaled(model) -> None:
    """Start a network of any length from the stored weights of the scaled one: see `inflate`."""
    small = build(SCALED.n_samples)
    load_weights(small, weights_path(SCALED))
    inflate(small, model)


def inflate(small, large, *, n_noise: int = 32, seed: int = 0) -> None:
    """Set the weights of a network for longer data from one for shorter data.

    The convolutions are taken as they are. The first dense layer sums features over positions: the large one gets the
    small one's weights averaged over positions and repeated, divided by the root of the ratio of lengths. Signals of
    equal difficulty are weaker per sample in longer data by just that much in power, and to the lowest order a feature
    responds to power, so its sum stays as significant as it was; the bias makes up for the features' mean in noise.
    """
    for name in ("conv1", "conv2", "conv3", "dense2", "logits"):
        large.get_layer(name).set_weights(small.get_layer(name).get_weights())
    kernel, bias = small.get_layer("dense1").get_weights()
    n_features = small.get_layer("features").output.shape[2]
    n_small, n_large = (model.get_layer("features").output.shape[1] for model in (small, large))
    by_position = kernel.reshape(n_small, n_features, -1)
    mean_kernel = by_position.mean(axis=0)
    scale = np.sqrt(n_small / n_large)
    features = noise_features(small, n_noise, seed)
    shift = np.einsum("pf,pfu->u", features, by_position) - scale * n_large * features.mean(axis=0) @ mean_kernel
    inflated = np.broadcast_to(mean_kernel * scale, (n_large, *mean_kernel.shape)).reshape(n_large * n_features, -1)
    large.get_layer("dense1").set_weights([inflated, bias + shift])


def noise_features(model, n: int, seed: int) -> np.ndarray:
    """Mean output of the convolutional part on noise alone, shape (positions, features)."""
    shape = (n, *model.input_shape[1:])
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return convolution.features(model, noise).mean(axis=0)
