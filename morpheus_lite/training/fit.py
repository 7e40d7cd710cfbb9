"""The training loop: batches to weights, with checkpoints, validation and early stopping."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
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
from morpheus_lite.training.observed import read_observed
from morpheus_lite.training.source_scores import HELD_OUT, score_sources
from morpheus_lite.training.targets import TrainingScene
from morpheus_lite.training.validation import validate, validation_scenes

log = logging.getLogger(__name__)

STATE = "state.npz"
TRAINING = "training.json"

_NUMBERS = "step", "best", "since_best", "seconds"
"""Numbers of a run that its checkpoints hold."""

_Progress = Callable[[dict[str, Any]], None]


@dataclass(eq=False)
class Run:
    """A training run in progress: the network, one with the running mean of its weights, and where it stands."""

    config: TrainingConfig
    directory: Path
    model: keras.Model
    mean: keras.Model
    optimizer: keras.optimizers.Optimizer
    step: int = 0
    best: float = math.inf
    since_best: int = 0
    seconds: float = 0.0
    training_loss: float = math.nan

    @property
    def variables(self) -> dict[str, list[keras.Variable]]:
        """All that training changes, by the names it has in checkpoints."""
        return {"weights": self.model.weights, "mean": self.mean.weights, "optimizer": self.optimizer.variables}


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
    observed, held_out = read_observed(config)
    for patterns in filter(None, (config.fields, config.validation)):
        find_fields(patterns)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _record(config, directory)
    run = _start(config, directory)
    factor = config.model.factor
    simulated = validation_scenes(config.validation, seed=config.seed, factor=factor) if config.validation else []
    check = partial(_checkpoint, run, simulated, held_out, progress)
    if config.start and run.step == 0:
        check()  # what training has to beat
    take_step = _step_function(run)
    for stage in config.stages:
        last = min(stage.until or config.steps, config.steps)
        seed = config.seed * 1_000_003 + run.step
        source = batches(config.fields, stage, seed, observed=observed, simulated=config.simulated)
        with prefetched(source) as stream:
            while run.step < last and run.since_best < config.patience:
                _train_until(run, stream, take_step, min(run.step + config.checkpoint_every, last))
                check()
    run.mean.set_weights(load_state(directory / BEST)[0]["weights"])
    return run.mean


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
    model, mean = build_onepass(config.model), build_onepass(config.model)
    if config.start:
        _start_from(model, config.start)
    mean.set_weights(model.get_weights())
    optimizer = keras.optimizers.Adam(config.learning_rate, global_clipnorm=2.0)
    optimizer.build(model.trainable_variables)
    run = Run(config, directory, model, mean, optimizer)
    if (directory / STATE).exists():
        groups, numbers = load_state(directory / STATE)
        for name, variables in run.variables.items():
            for variable, value in zip(variables, groups[name], strict=True):
                variable.assign(value)
        for name in _NUMBERS:
            setattr(run, name, type(getattr(run, name))(numbers[name]))
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
        for mean, now in zip(run.mean.weights, model.weights, strict=True):
            mean.assign(keep * mean + (1 - keep) * now)
        return loss

    def take(batch: Batch) -> float:
        keep = min(decay, (1 + run.step) / (10 + run.step))  # short memory at first
        return float(step(*map(tf.convert_to_tensor, batch), tf.constant(keep, tf.float32)))

    return take


def _train_until(run: Run, stream: Iterator[Batch], take_step: Callable[[Batch], float], last: int) -> None:
    started, losses = time.monotonic(), []
    while run.step < last:
        run.optimizer.learning_rate = learning_rate(run.config, run.step)
        losses.append(take_step(next(stream)))
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"the loss became {losses[-1]} at step {run.step}; lower the learning rate")
        run.step += 1
        if run.step % 25 == 0:
            log.debug("step %d: loss %.4f", run.step, np.mean(losses[-25:]))
    run.training_loss = float(np.mean(losses))
    run.seconds += time.monotonic() - started


def _checkpoint(
    run: Run, simulated: Sequence[TrainingScene], held_out: Sequence[TrainingScene], progress: _Progress | None
) -> None:
    """Validate, save, log."""
    scores = _scores(run, simulated, held_out)
    better = scores["loss"] < run.best
    run.best, run.since_best = (scores["loss"], 0) if better else (run.best, run.since_best + 1)
    rate = learning_rate(run.config, run.step)
    row = {"step": run.step, "minutes": run.seconds / 60, "learning_rate": rate, "training_loss": run.training_loss}
    row |= scores
    # The state comes last: a run that is killed before writes the rows again.
    append_rows(run.directory / TRAINING_LOG, run.step, [row])
    if held_out:
        append_rows(run.directory / HELD_OUT, run.step, score_sources(run.mean, held_out))
    save_state(run.directory / STATE, run.variables, {name: getattr(run, name) for name in _NUMBERS})
    if better:
        save_state(run.directory / BEST, {"weights": run.mean.weights}, {"step": run.step, "loss": scores["loss"]})
    log.info("step %d: training loss %.4f, validation loss %.4f", run.step, run.training_loss, scores["loss"])
    if progress:
        progress(row)


def _scores(run: Run, simulated: Sequence[TrainingScene], held_out: Sequence[TrainingScene]) -> dict[str, float]:
    """Scores of the running mean of the weights, and the losses of both kinds of scenes where there are both."""
    loss = LOSSES[run.config.loss]
    if not (simulated and held_out):
        return validate(run.mean, simulated or held_out, loss)
    new, old = validate(run.mean, held_out, loss), validate(run.mean, simulated, loss)["loss"]
    mixed = run.config.simulated * old + (1 - run.config.simulated) * new["loss"]
    return new | {"loss": mixed, "loss_observed": new["loss"], "loss_simulated": old}
