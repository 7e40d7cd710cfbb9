"""Export of a training run: a model that can be loaded by name or path."""

import logging
import shutil
from pathlib import Path

import keras
import numpy as np

from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.errors import InputError
from morpheus_lite.evaluation.calibration import Calibration, fit_temperature
from morpheus_lite.models.networks import build_onepass, network_weights
from morpheus_lite.models.registry import ModelInfo, read_info, save_model
from morpheus_lite.runtime.atomic import atomic_write
from morpheus_lite.simulation.observation import OWNED_SNR
from morpheus_lite.training.checkpoint import load_state, read_log
from morpheus_lite.training.config import TABLES, TrainingConfig
from morpheus_lite.training.observed import read_observed
from morpheus_lite.training.source_scores import Improvement, improvement
from morpheus_lite.training.targets import TrainingScene
from morpheus_lite.training.validation import has_class, predict_probability, validation_scenes

log = logging.getLogger(__name__)

BEST, TRAINING_LOG = "best.npz", "log.csv"
_PIXELS_A_SCENE = 20_000
_FEWEST_SOURCES = 20  # of each class, for a bias of its own


def export(
    config: TrainingConfig, run: str | Path, directory: str | Path, *, pixel_scale: float | None = None, card: str = ""
) -> ModelInfo:
    """Write the model of a run's best checkpoint, calibrated on what it was validated with.

    Parameters
    ----------
    config : TrainingConfig
        Configuration of the run.
    run : str or Path
        Directory of the run.
    directory : str or Path
        Directory of the model; the run's log goes there too.
    pixel_scale : float, optional
        Of the fields, in arcseconds.
    card : str
        Markdown; one is made from the configuration and the log if not given.

    Returns
    -------
    ModelInfo
        What was written.
    """
    run, directory = Path(run), Path(directory)
    groups, numbers = load_state(run / BEST)
    network = build_onepass(config.model)
    network.set_weights(groups["weights"])
    start = read_info(config.start) if config.start else None
    try:
        calibration = calibrate(config, network)
    except InputError as error:
        calibration = _calibration_of(start)
        kept = "it keeps that of its start" if start else "it has none"
        log.warning("%s cannot be calibrated, %s: %s", config.name, kept, error)
    # thresholds, calibration of sources, training ranges and the like of a model hold for those made from it
    settings = dict(start.settings) if start and config.images else {}
    step = int(numbers["step"])
    settings |= {"calibration": calibration.to_dict(), "step": step, "validation_loss": numbers["loss"]}
    info = ModelInfo(
        name=config.name,
        kind="onepass",
        description=_description(config),
        bands=config.model.bands,
        classes=CLASSES,
        network=config.model.to_dict(),
        pixel_scale=pixel_scale or (start.pixel_scale if start else None),
        licence="BSD-3-Clause",
        settings=settings,
    )
    card = card or make_card(config, info, run / TRAINING_LOG, improvement(run, step))
    info = save_model(directory, info, network_weights(network), card=card)
    with atomic_write(directory / "training_log.csv", overwrite=True) as temporary:
        shutil.copyfile(run / TRAINING_LOG, temporary)
    return info


def calibrate(config: TrainingConfig, network: keras.Model) -> Calibration:
    """Temperature and biases: from the held-out parts of images, else from validation fields under noise of their own.

    Here a pixel of a field is source from `morpheus_lite.simulation.observation.OWNED_SNR` on, as in every evaluation;
    training asks for somewhat fainter light (`morpheus_lite.training.targets.SOURCE_LEVEL`).

    Notes
    -----
    A few galaxies cannot say how often each class is right. Unless there are enough of every class, only the
    temperature and one bias, of sky against source, are fitted, on top of the calibration of the model that training
    started from. Where the class of a source is not known, the network's own is taken: only source or sky then tells.
    """
    rng = np.random.default_rng(config.seed)
    scenes = read_observed(config)[1] or validation_scenes(
        config.validation, seed=config.seed + 1, factor=config.model.factor
    )
    counts = np.sum([_n_sources(scene) for scene in scenes], axis=0)
    first = _calibration_of(read_info(config.start) if config.start else None)
    is_enough = config.start is None or counts.min() >= _FEWEST_SOURCES
    probability, truth = [], []
    for scene in scenes:
        given = predict_probability(network, scene.snr, scene.valid).reshape(-1, len(CLASSES))
        used = np.flatnonzero(scene.weight[..., 0].ravel() > 0)
        chosen = rng.choice(used, min(_PIXELS_A_SCENE, len(used)), replace=False)
        probability.append(given[chosen] if is_enough else first.apply(given[chosen]))
        truth.append(_truth(scene, given)[chosen])
    if is_enough:
        return fit_temperature(np.concatenate(probability), np.concatenate(truth), bias="classes")
    return first.then(fit_temperature(np.concatenate(probability), np.concatenate(truth), bias="sky"))


def _truth(scene: TrainingScene, given: np.ndarray) -> np.ndarray:
    """Class probabilities of every pixel: float, shape ``(pixel, class)``."""
    level = np.sqrt((np.where(scene.valid, scene.signal, 0) ** 2).sum(axis=2))
    sky = np.arange(len(CLASSES)) == BACKGROUND
    truth = np.where((level < OWNED_SNR)[..., None], sky, scene.target).reshape(-1, len(CLASSES))
    own = given * ~sky
    own /= np.maximum(own.sum(axis=1, keepdims=True), 1e-12)
    is_guess = ~has_class(scene).ravel() & (truth[:, BACKGROUND] < 0.5)
    return np.where(is_guess[:, None], own, truth)


def _n_sources(scene: TrainingScene) -> np.ndarray:
    """Sources of each class that can be seen: int64, shape ``(4,)``."""
    seen = np.unique(scene.owner[has_class(scene)])
    rows = seen[seen > 0] - 1
    return np.bincount(scene.soft[rows].argmax(axis=1), minlength=BACKGROUND)


def _calibration_of(info: ModelInfo | None) -> Calibration:
    return Calibration() if info is None else Calibration.from_dict(info.settings.get("calibration", {}))


def _description(config: TrainingConfig) -> str:
    if config.start and config.images:
        return f"{config.start}, fine-tuned on {len(config.images)} observed image(s)"
    return f"One-pass network trained on simulated fields ({config.name})"


def make_card(config: TrainingConfig, info: ModelInfo, log: Path, better: Improvement | None = None) -> str:
    """Markdown that says what a model was made of.

    Parameters
    ----------
    config : TrainingConfig
        Of the run.
    info : ModelInfo
        Of the model.
    log : Path
        The run's ``log.csv``; of a run that started from a model its first row is that model.
    better : Improvement, optional
        What became of the held-out sources.
    """
    rows = read_log(log)
    best = next(row for row in rows if int(row["step"]) == info.settings["step"])
    lines = [f"# {config.name}", "", f"{info.description}.", ""]
    lines += [f"- Bands: {', '.join(info.bands) or 'any'}", f"- Starts from: {config.start or 'random numbers'}"]
    lines += [f"- Simulated fields: {', '.join(config.fields) or 'none'}"]
    lines += [f"- Image: {image.name} (held out: {image.held_out})" for image in config.images]
    lines += [f"- Best of {rows[-1]['step']} steps: {best['step']}", ""]
    if config.start:
        lines += ["Scores on what was held out, before and after:", "", "| score | before | after |", "|---|---|---|"]
    else:
        lines += ["Scores on the validation fields:", "", "| score | |", "|---|---|"]
    shown = [rows[0], best] if config.start else [best]
    for key, name in TABLES["scores"].items():
        if key in best:
            lines.append(f"| {name} | {' | '.join(row[key] for row in shown)} |")
    lines += ["", "The step was chosen with these scores, so they are somewhat too good; test on other images."]
    if better is not None and config.start:
        said = "Each half of the held-out sources at the step that the other half chose:"
        lines += ["", said, "", "```text", str(better), "```"]
    return "\n".join(lines) + "\n"
