"""Scores of pixels: source against sky, classes, and the reliability of class maps."""

import numpy as np

from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.evaluation.metrics import (
    Reliability,
    classwise_reliability,
    confusion_counts,
    reliability,
    top_label_reliability,
)
from morpheus_lite.evaluation.scene import Scene

_ROWS = 512
"""Rows of class maps worked on at once."""


def map_reliability(scene: Scene) -> dict[str, Reliability]:
    """Diagrams of the class maps, block of rows by block of rows."""
    maps = scene.result.probability
    if maps is None:
        return {}
    total: dict[str, Reliability] = {}
    for first in range(0, scene.truth.shape[0], _ROWS):
        for key, diagram in _block_reliability(scene, maps, slice(first, first + _ROWS)).items():
            total[key] = total[key] + diagram if key in total else diagram
    return total


def _block_reliability(scene: Scene, maps: np.ndarray, rows: slice) -> dict[str, Reliability]:
    chosen = scene.scored[rows]
    p = maps[rows][chosen].astype(np.float64)
    owned = scene.truth.labels[rows][chosen] > 0
    diagrams = {"source": reliability(1 - p[:, BACKGROUND], owned)}
    if not scene.truth.has_classes:
        return diagrams
    soft = scene.truth.soft_pixels(rows)[chosen].astype(np.float64)
    known = np.isfinite(soft).all(axis=1)
    p, soft = p[known], soft[known]
    hard = np.eye(len(CLASSES))[soft.argmax(axis=1)]
    # Chosen by what the model says alone: chosen by the truth, even true probabilities would look wrong.
    shown = p[:, BACKGROUND] < 0.5
    diagrams["pixels"] = top_label_reliability(p, soft)
    diagrams["pixels_hard"] = top_label_reliability(p, hard)
    diagrams["source_pixels"] = top_label_reliability(p[shown], soft[shown])
    diagrams["source_pixels_hard"] = top_label_reliability(p[shown], hard[shown])
    classwise = classwise_reliability(p, soft)
    return diagrams | {f"pixels_{name}": one for name, one in zip(CLASSES, classwise, strict=True)}


def is_source(probability: np.ndarray) -> np.ndarray:
    """bool, shape ``(y, x)``: where sky is less probable than not; pixels without a value are sky."""
    return np.nan_to_num(probability[:, :, BACKGROUND], nan=1.0) < 0.5


def source_sky(scene: Scene, found: np.ndarray) -> np.ndarray:
    """Pixels by truth and by a mask of sources: int64, shape ``(2, 2)``, sky first."""
    chosen = scene.scored
    return confusion_counts(scene.truth.labels[chosen] > 0, found[chosen], (2, 2))


def pixel_classes(scene: Scene) -> np.ndarray | None:
    """Pixels by true and most probable class: int64, shape ``(5, 5)``; None without class maps or true classes."""
    if scene.result.probability is None or not scene.truth.has_classes:
        return None
    chosen = scene.scored & np.isfinite(scene.result.probability).all(axis=2)
    top = scene.result.probability[chosen].argmax(axis=1)
    return confusion_counts(scene.truth.pixel_class[chosen], top, (len(CLASSES), len(CLASSES)))
