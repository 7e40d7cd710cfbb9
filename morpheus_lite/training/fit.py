"""The training loop: batches to weights, with checkpoints, validation and early stopping."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from morpheus_lite.errors import OptionError, reading
from morpheus_lite.models.losses import LOSSES
from morpheus_lite.models.networks import build_onepass
from morpheus_lite.models.registry import load_weights
from morpheus_lite.runtime.atomic import atomic_write
from morpheus_lite.training.checkpoint import append_rows, load_state, save_state
from morpheus_lite.training.config import TrainingConfig
from morpheus_lite.training.dataset import Batch, batches, find_fields, prefetched
from morpheus_lite.training.export import BEST, TRAINING_LOG
from morpheus_lite.training.observed import read_observed, training_scenes
from morpheus_lite.training.source_scores import HELD_OUT, score_sources
from morpheus_lite.training.targets import TrainingScene
from morpheus_lite.training.validation import held_out_scenes, validate, validation_scenes

log = logging.getLogger(__name__)

STATE = "state.npz"
TRAINING = "training.json"

_Progress = Callable[[dict[str, Any]], None]


@dataclass(eq=False)
class Run:
    """A training run in progress: the network, its running mean, and where it stands."""

    config: TrainingConfig
    model: keras.Model
    mean: list[tf.Variable]
    optimizer: keras.optimizers.Optimizer
    step: int = 0
    best: float = math.inf
    since_best: int = 0
    seconds: float = 0.0
    recent: list[float] = field(default_factory=list)

    def mean_weights(self) -> list[np.ndarray]:
        """The running mean of all weights, in the order of ``model.get_weights()``."""
        return [variable.numpy() for variable in self.mean]


def train(config: TrainingConfig, directory: str | Path, *, progress: _Progress | None = None) -> keras.Model:
    """Train a network, or go on where an earlier run into the same directory stopped.

    Parameters
    ----------
    config : TrainingConfig
        What to train and how.
    directory : str or Path
        Where checkpoints (``state.npz``, ``best.npz``) and the log (``log.csv``) go.
    progress : callable, optional
        Called with the row of the log at each checkpoint; a run that starts from a model has one at step 0.

    Returns
    -------
    keras.Model
        The network with the weights (running mean) of the checkpoint with the least validation loss.

    Notes
    -----
    Patches after a resumption are drawn from a seed made of ``config.seed`` and the step, so a run that was interrupted
    is as good as one that was not, but not identical to it; nor are two runs on different hardware.

    Where there are both simulated fields and observed images to validate on, the validation loss is the mean of the
    two, weighted by ``config.simulated``, and all other scores are those of the images.
    """
    images = read_observed(config)
    for patterns in filter(None, (config.fields, config.validation)):
        find_fields(patterns)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _record(config, directory)
    run = _start(config, directory)
    factor = config.model.factor
    simulated = validation_scenes(config.validation, seed=config.seed, factor=factor) if config.validation else []
    check = partial(_checkpoint, run, directory, simulated, held_out_scenes(images), progress)
    if config.start and run.step == 0:
        check()  # what training has to beat
    take_step = _step_function(run)
    for stage in config.stages:
        last = min(stage.until or config.steps, config.steps)
        seed = config.seed * 1_000_003 + run.step
        source = batches(config.fields, stage, seed, observed=training_scenes(images), simulated=config.simulated)
        with prefetched(source) as stream:
            while run.step < last and run.since_best < config.patience:
                _train_until(run, stream, take_step, min(run.step + config.checkpoint_every, last))
                check()
    model = build_onepass(config.model)
    model.set_weights(load_state(directory / BEST)[0]["weights"])
    return model


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate at a step: a linear rise, then a cosine down to 1 %."""
    rise = min(1.0, (step + 1) / max(config.warmup, 1))
    fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step / config.steps, 1.0)))
    return config.learning_rate * rise * fall


def _record(config: TrainingConfig, directory: Path) -> None:
    """Write the configuration beside the checkpoints, and refuse checkpoints of another run."""
    path = directory / TRAINING
    now = json.loads(json.dumps(asdict(config) | {"digests": [_digest(image.corrections) for image in config.images]}))
    if (directory / STATE).exists() and path.exists():
        with reading(path):
            before = json.loads(path.read_text())
        names = [name for name in ("model", "start", "images", "fields", "digests") if name in before]
        others = [name for name in names if before[name] != now[name]]
        if others:
            what = "another network" if "model" in others else f"something else ({', '.join(others)})"
            raise OptionError(
                f"{directory} holds checkpoints of a run that trained {what}; use another directory, or delete {STATE} "
                "there"
            )
    with atomic_write(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(now, indent=2))


def _digest(path: str | None) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""


def _start(config: TrainingConfig, directory: Path) -> Run:
    keras.utils.set_random_seed(config.seed)
    model = build_onepass(config.model)
    if config.start:
        _start_from(model, config.start)
    optimizer = keras.optimizers.Adam(config.learning_rate, global_clipnorm=2.0)
    optimizer.build(model.trainable_variables)
    run = Run(config, model, [tf.Variable(w, trainable=False) for w in model.get_weights()], optimizer)
    if (directory / STATE).exists():
        groups, numbers = load_state(directory / STATE)
        model.set_weights(groups["weights"])
        for variable, value in zip(run.mean, groups["mean"], strict=True):
            variable.assign(value)
        for variable, value in zip(optimizer.variables, groups["optimizer"], strict=True):
            variable.assign(value)
        run.step, run.best = int(numbers["step"]), numbers["best"]
        run.since_best, run.seconds = int(numbers["since_best"]), numbers["seconds"]
        log.info("going on at step %d", run.step)
    return run


def _start_from(model: keras.Model, name_or_path: str) -> None:
    """Give a network the weights of another wherever name and shape agree."""
    arrays = load_weights(name_or_path)[1]
    same = [v for v in model.variables if v.path in arrays and arrays[v.path].shape == tuple(v.shape)]
    if not same:
        raise OptionError(f"start={name_or_path!r}: its network shares no array with the one to train")
    for variable in same:
        variable.assign(arrays[variable.path])
    log.info("%d of %d arrays start from %s", len(same), len(model.variables), name_or_path)


def _step_function(run: Run) -> Callable[[Batch], float]:
    loss_of, model, decay = LOSSES[run.config.loss], run.model, run.config.average

    @tf.function(reduce_retracing=True)
    def step(snr: tf.Tensor, valid: tf.Tensor, target: tf.Tensor, weight: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(model([snr, valid], training=True), target, weight)
        gradients = tape.gradient(loss, model.trainable_variables)
        run.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        for mean, now in zip(run.mean, model.weights, strict=True):
            mean.assign(keep * mean + (1 - keep) * now)
        return loss

    def take(batch: Batch) -> float:
        keep = min(decay, (1 + run.step) / (10 + run.step))  # short memory at first
        return float(step(*map(tf.convert_to_tensor, batch), tf.constant(keep, tf.float32)))

    return take


def _train_until(run: Run, stream: Iterator[Batch], take_step: Callable[[Batch], float], last: int) -> None:
    started = time.monotonic()
    run.recent.clear()
    while run.step < last:
        run.optimizer.learning_rate = learning_rate(run.config, run.step)
        loss = take_step(next(stream))
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss became {loss} at step {run.step}; lower the learning rate")
        run.recent.append(loss)
        run.step += 1
        if run.step % 25 == 0:
            log.debug("step %d: loss %.4f", run.step, np.mean(run.recent[-25:]))
    run.seconds += time.monotonic() - started


def _checkpoint(
    run: Run,
    directory: Path,
    simulated: Sequence[TrainingScene],
    held_out: Sequence[TrainingScene],
    progress: _Progress | None,
) -> None:
    """Validate, save, log."""
    model = build_onepass(run.config.model)
    model.set_weights(run.mean_weights())
    scores = _scores(run, model, simulated, held_out)
    better = scores["loss"] < run.best
    run.best, run.since_best = (scores["loss"], 0) if better else (run.best, run.since_best + 1)
    row = {
        "step": run.step,
        "minutes": run.seconds / 60,
        "learning_rate": learning_rate(run.config, run.step),
        "training_loss": float(np.mean(run.recent)) if run.recent else math.nan,
        **scores,
    }
    append_rows(directory / TRAINING_LOG, run.step, [row])  # before the state: a run killed here writes it again
    if held_out:
        append_rows(directory / HELD_OUT, run.step, score_sources(model, held_out))
    numbers = {"step": run.step, "best": run.best, "since_best": run.since_best, "seconds": run.seconds}
    groups = {"weights": run.model.get_weights(), "mean": run.mean_weights()}
    groups["optimizer"] = [np.asarray(v) for v in run.optimizer.variables]
    save_state(directory / STATE, groups, numbers)
    if better:
        save_state(directory / BEST, {"weights": run.mean_weights()}, {"step": run.step, "loss": scores["loss"]})
    log.info("step %d: training loss %.4f, validation loss %.4f", run.step, row["training_loss"], scores["loss"])
    if progress:
        progress(row)


def _scores(
    run: Run, model: keras.Model, simulated: Sequence[TrainingScene], held_out: Sequence[TrainingScene]
) -> dict[str, float]:
    """Scores of the running mean of the weights, and the losses of both kinds of scenes where there are both."""
    loss = LOSSES[run.config.loss]
    if not (simulated and held_out):
        return validate(model, simulated or held_out, loss)
    new, old = validate(model, held_out, loss), validate(model, simulated, loss)["loss"]
    mixed = run.config.simulated * old + (1 - run.config.simulated) * new["loss"]
    return new | {"loss": mixed, "loss_observed": new["loss"], "loss_simulated": old}
