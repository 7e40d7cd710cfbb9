"""The convolutional network of the paper, its score, and its weights on disk."""

from pathlib import Path

import numpy as np

from .sizes import FULL_LENGTH, Size


def build(n_samples: int = FULL_LENGTH):
    """The network for two channels of ``n_samples``: 2,803,618 parameters at full length.

    Layer for layer the table of the paper as the survey talk shows it. Relu after every layer but the last, maximum
    pooling and "valid" padding are our reading: the table leaves them open. The softmax is a layer of its own, so that
    `logits` can stop before it.
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


class Scorer:
    """A network as a detector: the log of the odds that there is a signal.

    The probability itself would not do as a statistic: in single precision it is exactly 1 for every loud signal, and
    a threshold cannot rank what is equal.
    """

    def __init__(self, model) -> None:
        import keras

        self.logits = keras.Model(model.inputs, model.get_layer("logits").output)

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Scores (n,) of data (n, n_samples, 2)."""
        logits = np.asarray(self.logits(data, training=False))
        return logits[:, 1] - logits[:, 0]


def weights_path(size: Size) -> Path:
    """Where this example keeps the trained weights of a size."""
    return Path(__file__).parent / "weights" / f"{size.name}.npz"


def save_weights(model, path: Path) -> None:
    """Write the weights in half precision, in the order of the layers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        np.savez_compressed(stream, **{f"w{i:02d}": w.astype(np.float16) for i, w in enumerate(model.get_weights())})


def load_weights(model, path: Path) -> None:
    """Read weights written by `save_weights` into a model of the same size."""
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}; train the network first: python -m emri train --size ...")
    with np.load(path) as stored:
        weights = [stored[name].astype(np.float32) for name in sorted(stored.files)]
    expected = [w.shape for w in model.get_weights()]
    if [w.shape for w in weights] != expected:
        raise ValueError(f"{path} holds {[w.shape for w in weights]}; this network needs {expected}")
    model.set_weights(weights)
