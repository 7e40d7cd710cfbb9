"""Validation of a network on fields it was not trained on, in a few seconds."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add

import keras
import numpy as np
from scipy import ndimage
from scipy.special import softmax

from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES
from morpheus_lite.evaluation.reliability import top_label_reliability
from morpheus_lite.models.losses import Loss
from morpheus_lite.simulation import Field
from morpheus_lite.training.dataset import draw_training_scene, find_fields
from morpheus_lite.training.targets import TrainingScene, pad_scene, sum_by_owner

BRIGHT = 40.0
"""Total S/N above which the class of a source is scored."""

_FAINT = (8.0, 40.0)
_N_FIELDS = 36  # at most, evenly spread over the sorted paths


def validation_scenes(patterns: Sequence[str], *, seed: int, factor: int = 1) -> list[TrainingScene]:
    """Validation fields, every other one at the depth of GOODS-S deep and the rest at random, always the same.

    Parameters
    ----------
    patterns : sequence of str
        Glob patterns of field files.
    seed : int
        Seed of noise and conditions.
    factor : int
        Of the pooling of the network: scenes get sides that are multiples of it, without data beyond the field.
    """
    scenes = []
    paths = find_fields(patterns)
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(_N_FIELDS, len(paths))).round().astype(int))
    for i, path in enumerate(paths[k] for k in chosen):
        field = Field.load(path)
        scene = draw_training_scene(np.random.default_rng([seed, i]), field, style="free" if i % 2 else "deep")
        scene = pad_scene(scene, [(0, -length % factor) for length in scene.owner.shape])
        scenes.append(replace(scene, magnitude=np.asarray(field.sources["h_mag"])))
    return scenes


def validate(model: keras.Model, scenes: Sequence[TrainingScene], loss: Loss) -> dict[str, float]:
    """Score a network on scenes of sides that are multiples of its pooling.

    Returns
    -------
    dict
        Columns of the log, fractions 0-1, NaN where nothing could be scored: ``loss``, that of training; ``iou``, of
        source pixels, at a probability of one half; ``ece``, calibration error of the most probable class, over pixels;
        ``recall_<class>``, share of sources with S/N > `BRIGHT` whose flux-weighted class is right; ``right_<H>``, the
        same in bins of H magnitude, whatever their S/N; ``completeness``, share of sources with a total S/N of 8 to 40
        of which some pixel is called source; ``spurious_per_Mpx``, regions called source without one of S/N > 3.
    """
    losses, counts, diagrams, sources = zip(*(_score_scene(model, scene, loss) for scene in scenes), strict=True)
    right, kind, magnitude, bright, faint, found = map(np.concatenate, zip(*sources, strict=True))
    common, either, spurious = np.sum(counts, axis=0).tolist()
    n_pixels = sum(scene.owner.size for scene in scenes)
    bins = {"H<23": (0, 23), "23-24": (23, 24), "24-25": (24, 25)}
    return {
        "loss": float(np.mean(losses)),
        "iou": common / max(either, 1),
        "ece": reduce(add, diagrams).error,
        **{f"recall_{name}": _share(right[bright & (kind == k)]) for k, name in enumerate(SOURCE_CLASSES)},
        **{f"right_{name}": _share(right[(magnitude >= a) & (magnitude < b)]) for name, (a, b) in bins.items()},
        "completeness": _share(found[faint]),
        "spurious_per_Mpx": spurious / n_pixels * 1e6,
    }


def predict_probability(model: keras.Model, snr: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Class probabilities of one image whose sides are multiples of the pooling: float32 ``(y, x, class)``."""
    logits = np.asarray(model([snr[None], valid[None].astype(np.float32)], training=False))[0]
    return softmax(logits, axis=-1)


def has_class(scene: TrainingScene) -> np.ndarray:
    """bool, shape ``(y, x)``: pixels that count and whose class, sky included, is known."""
    return (scene.weight[..., 0] > 0) & ((scene.target[..., BACKGROUND] > 0.5) | (scene.weight[..., 1] > 0))


def _score_scene(model: keras.Model, scene: TrainingScene, loss: Loss) -> tuple:
    """Loss, counts of pixels and of spurious regions, reliability diagram, and what `_source_scores` gives."""
    probability = predict_probability(model, scene.snr, scene.valid)
    logits = np.log(np.maximum(probability, 1e-9))
    used = scene.weight[..., 0] > 0
    source, said = scene.target[..., BACKGROUND] < 0.5, probability[..., BACKGROUND] < 0.5
    counts = (source & said & used).sum(), ((source | said) & used).sum(), _n_spurious(scene, said, used)
    diagram = top_label_reliability(probability[has_class(scene)], scene.target[has_class(scene)])
    value = float(loss(logits[None], scene.target[None], scene.weight[None]))
    return value, counts, diagram, _source_scores(scene, probability, said)


def _source_scores(scene: TrainingScene, probability: np.ndarray, said: np.ndarray) -> tuple[np.ndarray, ...]:
    n = len(scene.soft)
    counts = (scene.target[..., BACKGROUND] < 0.5) & (scene.weight[..., 0] > 0)
    owner = np.where(counts, scene.owner, 0).ravel()
    flux = np.where(scene.valid, scene.signal, 0).sum(axis=2).ravel()
    given = probability[..., :BACKGROUND].reshape(-1, BACKGROUND)
    given = given / given.sum(axis=1, keepdims=True)
    mean = [sum_by_owner(owner, flux * given[:, k], n) for k in range(BACKGROUND)]
    top, kind = np.argmax(mean, axis=0), np.where(scene.has_class, scene.soft.argmax(axis=1), -1)
    seen = sum_by_owner(owner, np.ones_like(owner), n) > 0
    total = np.sqrt(scene.power.sum(axis=1))
    found = sum_by_owner(owner, said, n) > 0
    faint = seen & (total >= _FAINT[0]) & (total < _FAINT[1])
    magnitude = np.where(seen & (total > _FAINT[0]), scene.magnitude, np.nan)
    return top == kind, kind, magnitude, seen & (total >= BRIGHT), faint, found


def _n_spurious(scene: TrainingScene, said: np.ndarray, used: np.ndarray) -> int:
    regions, n_regions = ndimage.label(said & used)
    total = np.concatenate([[0.0], np.sqrt(scene.power.sum(axis=1))])
    best = ndimage.maximum(total[scene.owner], regions, index=np.arange(1, n_regions + 1)) if n_regions else []
    return int(np.sum(np.asarray(best) <= 3))


def _share(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
