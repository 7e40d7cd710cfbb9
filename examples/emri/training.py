"""Training with noise made on the fly, that can be stopped at any time and goes on where it was."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import network
from .batches import training_batch
from .sizes import Size
from .templates import Templates

REPORT_EVERY = 50  # steps


def compile_for(model, *, rate: float, steps: int):
    """Adam with a learning rate that falls to a hundredth along a cosine, and the cross-entropy of two classes."""
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(rate, max(steps, 1), alpha=0.01)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def resume(folder: Path, size: Size, *, rate: float, steps: int, start: Callable | None = None):
    """The model as the last checkpoint left it, or a new one.

    Parameters
    ----------
    folder : Path
        Where checkpoints are.
    start : callable, optional
        ``model -> None``: sets the weights a new model begins with, in place of random ones.
    """
    import keras

    checkpoint = folder / "checkpoint.keras"
    if checkpoint.exists():
        return keras.models.load_model(checkpoint)
    model = network.build(size.n_samples)
    if start is not None:
        start(model)
    return compile_for(model, rate=rate, steps=steps)


def save_checkpoint(model, folder: Path, history: list[dict]) -> None:
    """Write the model with its optimizer and the history, each under a temporary name first."""
    model.save(folder / "partial.keras")
    (folder / "partial.json").write_text(json.dumps(history), encoding="utf-8")
    (folder / "partial.json").replace(folder / "history.json")
    (folder / "partial.keras").replace(folder / "checkpoint.keras")


def fit(
    size: Size, templates: Templates, folder: Path, *, steps: int, batch: int = 64, rate: float = 1e-3, seed: int = 0,
    save_every: int = 500, stop_at: int | None = None, start: Callable | None = None,
    progress: Callable[[str], None] | None = None,
):  # fmt: skip
    """Train until ``steps`` steps are done, counting those of earlier, interrupted calls.

    The batch of a step depends on the seed and on the step's number alone, so an interrupted training and one in one
    go see the same data.

    Parameters
    ----------
    size, templates
        Data to train on.
    folder : Path
        For checkpoints and the history of the loss.
    steps, batch, rate, seed
        Length and size of the training, initial learning rate, seed of the batches.
    save_every : int
        Steps between checkpoints.
    stop_at : int, optional
        Stop, with a checkpoint, at this step.
    start : callable, optional
        See `resume`.

    Returns
    -------
    keras.Model
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = resume(folder, size, rate=rate, steps=steps, start=start)
    done = int(model.optimizer.iterations.numpy())
    log = folder / "history.json"
    history = json.loads(log.read_text(encoding="utf-8")) if done and log.exists() else []
    last = min(steps, stop_at or steps)
    recent = []
    for step in range(done, last):
        data, labels = training_batch(np.random.default_rng([seed, step]), size, templates, batch)
        recent.append(model.train_on_batch(data, labels))
        model.reset_metrics()
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == last:
            loss, accuracy = np.mean(recent, axis=0)
            recent = []
            history.append({"step": step + 1, "loss": float(loss), "accuracy": float(accuracy)})
            if progress:
                progress(f"step {step + 1} of {steps}: loss {loss:.4f}, accuracy {accuracy:.3f}")
        if (step + 1) % save_every == 0 or step + 1 == last:
            save_checkpoint(model, folder, history)
    return model
