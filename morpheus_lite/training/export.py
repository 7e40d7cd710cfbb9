"""From the directory of a training run to a model that can be loaded by name or path."""

import json
import logging
import shutil
from pathlib import Path

import keras
import numpy as np

from morpheus_lite.calibration import Calibration, fit_temperature
from morpheus_lite.classes import BACKGROUND, CLASSES
from morpheus_lite.errors import InputError
from morpheus_lite.model.info import ModelInfo
from morpheus_lite.model.onepass import build_onepass, halo
from morpheus_lite.model.weights import network_weights
from morpheus_lite.pretrained import save_model
from morpheus_lite.simulation.observation import DETECTION
from morpheus_lite.training.checkpoint import load_state
from morpheus_lite.training.config import TrainingConfig
from morpheus_lite.training.validation import ValidationScene, predict_probability, validation_scenes

logger = logging.getLogger(__name__)

BEST, LOG = "best.npz", "log.csv"
_PIXELS_A_SCENE = 20_000
KIND = "onepass"


def export(
    config: TrainingConfig,
    run: str | Path,
    directory: str | Path,
    *,
    description: str = "",
    pixel_scale: float | None = None,
    card: str = "",
    overwrite: bool = False,
) -> ModelInfo:
    """Write the model of a run's best checkpoint, calibrated on the validation fields.

    Parameters
    ----------
    config : TrainingConfig
        Configuration of the run.
    run : str or Path
        Directory of the run.
    directory : str or Path
        Directory of the model; the run's log goes there too.
    description : str
        One line.
    pixel_scale : float, optional
        Of the fields, in arcseconds.
    card : str
        Markdown.
    overwrite : bool
        Whether files that exist may be replaced.

    Returns
    -------
    ModelInfo
        What was written.
    """
    run, directory = Path(run), Path(directory)
    groups, numbers = load_state(run / BEST)
    network = build_onepass(config.model)
    network.set_weights(groups["weights"])
    try:
        calibration = calibrate(config, network)
    except InputError as error:
        logger.warning("%s is not calibrated: %s", config.name, error)
        calibration = Calibration()
    info = ModelInfo(
        name=config.name,
        kind=KIND,
        description=description or f"One-pass network trained on simulated fields ({config.name})",
        bands=config.model.bands,
        classes=CLASSES,
        network=json.loads(json.dumps(config.model.to_dict())),
        pixel_scale=pixel_scale,
        licence="BSD-3-Clause",
        settings={
            "halo": halo(config.model),
            "factor": config.model.factor,
            "calibration": calibration.to_dict(),
            "step": int(numbers["step"]),
            "validation_loss": numbers["loss"],
        },
    )
    info = save_model(directory, info, network_weights(network), card=card, overwrite=overwrite)
    shutil.copyfile(run / LOG, directory / "training_log.csv")
    return info


def calibrate(config: TrainingConfig, network: keras.Model) -> Calibration:
    """Temperature and class biases, from pixels of the validation fields under noise of their own.

    Here a pixel is source from `morpheus_lite.simulation.observation.DETECTION` on, as in every evaluation; training
    asks for somewhat fainter light (`morpheus_lite.training.targets.SOURCE_LEVEL`).
    """
    rng = np.random.default_rng(config.seed)
    probability, truth = [], []
    for item in validation_scenes(config.validation, seed=config.seed + 1):
        given = predict_probability(network, item.scene.snr, item.scene.valid)
        used = np.flatnonzero(item.weight[..., 0].ravel() > 0)
        chosen = rng.choice(used, min(_PIXELS_A_SCENE, len(used)), replace=False)
        probability.append(given.reshape(-1, len(CLASSES))[chosen])
        truth.append(_truth(item).reshape(-1, len(CLASSES))[chosen])
    return fit_temperature(np.concatenate(probability), np.concatenate(truth), bias="classes")


def _truth(item: ValidationScene) -> np.ndarray:
    level = np.sqrt((np.where(item.scene.valid, item.scene.signal, 0) ** 2).sum(axis=2))
    sky = np.arange(len(CLASSES)) == BACKGROUND
    return np.where((level < DETECTION)[..., None], sky, item.target)
