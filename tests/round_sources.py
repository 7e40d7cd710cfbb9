"""A sky where the class of a round source is its size, which no network was ever told: for tests of training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.io import read_image

BANDS = ("F160W", "F125W", "F606W", "F850LP")
STEP, ROWS, COLUMNS = 24, 5, 10
SOURCE_KINDS = tuple(int(k) for k in np.random.default_rng(8).permutation(np.arange(ROWS * COLUMNS) % 4))
"""Index of the class of label 1, 2, ..."""


@dataclass(frozen=True, eq=False)
class Sky:
    """The files of the sky, and what a network would have made of it that takes everything for a disk."""

    path: Path
    labels_path: Path
    image: SkyImage
    labels: np.ndarray
    classification: Classification
    table: QTable


def make_sky(folder: Path) -> Sky:
    """Write ``image.fits`` and ``labels.fits``."""
    rng = np.random.default_rng(5)
    y, x = np.indices((ROWS * STEP, COLUMNS * STEP))
    rows, columns = (axis.ravel() for axis in np.indices((ROWS, COLUMNS)))
    at = np.stack([columns, rows], axis=1) * STEP + STEP / 2 + rng.uniform(-1, 1, (len(SOURCE_KINDS), 2))
    widths = 1.3 + 0.9 * np.array(SOURCE_KINDS)
    light = np.stack(
        [60 / s * np.exp(-0.5 * ((x - u) ** 2 + (y - v) ** 2) / s**2) for (u, v), s in zip(at, widths, strict=True)]
    )
    labels = np.where(light.max(axis=0) > 1.5, light.argmax(axis=0) + 1, 0).astype(np.int32)
    hdus = [fits.ImageHDU((light.sum(axis=0) + rng.standard_normal(x.shape)).astype("f4"), name=band) for band in BANDS]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / "image.fits")
    fits.writeto(folder / "labels.fits", labels)
    image = read_image(folder / "image.fits")
    probability = np.where(labels[..., None] > 0, np.eye(5)[1], np.eye(5)[4]).astype(np.float32)
    classification = Classification(probability, np.ones(labels.shape, np.int32), image.valid_in_all)
    table = QTable({"label": np.arange(1, len(SOURCE_KINDS) + 1, dtype=np.int32)})
    table["morphology"] = np.full(len(table), "disk")
    for name in SOURCE_CLASSES:
        table[f"p_{name}"] = np.full(len(table), float(name == "disk"))
    return Sky(folder / "image.fits", folder / "labels.fits", image, labels, classification, table)


def tiny_fine_tuning(monkeypatch) -> None:
    """Fine-tuning of seconds in place of minutes."""
    settings = {"steps": 30, "warmup": 3, "learning_rate": 1e-3, "average": 0.5, "checkpoint_every": 15, "patience": 4}
    stage = {"patch": 64, "batch": 4, "per_scene": 4, "pool": 12, "drop_bands": 0.0, "bright_snr": 20.0}
    monkeypatch.setattr("morpheus_lite.training.config.FINE_TUNING", settings)
    monkeypatch.setattr("morpheus_lite.training.config.FINE_TUNING_STAGE", stage)
