"""Fit a calibration on fields whose truth is known, and say what it changes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from morpheus_lite.core.classes import BACKGROUND
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.evaluation.calibration import Calibration, fit_temperature
from morpheus_lite.evaluation.metrics import proper_scores, top_label_reliability
from morpheus_lite.evaluation.result import Result, read_result
from morpheus_lite.evaluation.truth import Truth, read_truth

N_PIXELS = 400_000
"""Pixels drawn from each field, half of them where there is a source or the model sees one."""


def calibrate_files(
    truths: Sequence[str | Path],
    results: Sequence[str | Path],
    *,
    bias: str = "sky",
    n_pixels: int = N_PIXELS,
    seed: int = 0,
) -> Calibration:
    """Fit a calibration from truth files and what a model said of them.

    Parameters
    ----------
    truths, results : sequence of path
        Truth files, and as many products with class maps, in the same order: see `read_truth` and `read_result`.
        The fields must not be ones that the model was trained on.
    bias, n_pixels, seed
        As in `calibrate_results`.
    """
    if len(truths) != len(results) or not truths:
        raise OptionError(
            f"{len(truths)} truth file(s) and {len(results)} result(s): expected as many of both, one or more"
        )
    pairs = ((read_truth(one), read_result(two)) for one, two in zip(truths, results, strict=True))
    return calibrate_results(pairs, bias=bias, n_pixels=n_pixels, seed=seed)


def calibrate_results(
    pairs: Iterable[tuple[Truth, Result]], *, bias: str = "sky", n_pixels: int = N_PIXELS, seed: int = 0
) -> Calibration:
    """Fit a calibration to fields whose truth is known.

    Parameters
    ----------
    pairs : iterable of (Truth, Result)
        Fields with class maps of one model.
    bias : {"none", "sky", "classes"}
        What to fit beside the temperature: see `fit_temperature`. With ``"classes"`` the pixels of large galaxies, of
        which a field has few, decide on the classes of small ones; prefer ``"sky"`` unless there are many fields.
    n_pixels : int
        Pixels drawn from each field, with weights that make up for drawing more sources than there are.
    seed : int
        Which pixels are drawn.

    Returns
    -------
    Calibration
        Its ``fitted`` holds the number of fields and pixels, and log loss, Brier score and ECE (of all pixels, and of
        source pixels) before and after.

    Raises
    ------
    InputError
        A result has no class maps, or a truth has no classes, or they do not limit the temperature.
    """
    rng = np.random.default_rng(seed)
    samples = [sample_pixels(truth, result, n_pixels=n_pixels, rng=rng) for truth, result in pairs]
    if not samples:
        raise InputError("no field to calibrate on came; expected one or more")
    probability, soft, weight = (np.concatenate(parts) for parts in zip(*samples, strict=True))
    calibration = fit_temperature(probability, soft, weight=weight, bias=bias)
    figures = {
        "n_fields": len(samples),
        "n_pixels": len(weight),
        "before": _figures(probability, soft, weight),
        "after": _figures(calibration.apply(probability), soft, weight),
    }
    return replace(calibration, fitted=figures)


def sample_pixels(
    truth: Truth, result: Result, *, n_pixels: int = N_PIXELS, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of a field to calibrate on: half from sources (true or seen), half from the rest.

    Parameters
    ----------
    truth, result : Truth, Result
        The field and the class maps.
    n_pixels : int
        How many at most.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    probability, soft : numpy.ndarray
        float32, shape ``(n, class)``: what the model said, and the true probabilities.
    weight : numpy.ndarray
        float64, shape ``(n,)``: pixels of the field that each stands for.
    """
    if result.probability is None or not truth.has_classes or result.shape != truth.shape:
        raise InputError(
            f"{result.name} ({result.shape}) cannot be calibrated on {truth.name} ({truth.shape}): expected class maps "
            "and true classes of the same field"
        )
    known = truth.valid & (truth.pixel_class >= 0) & np.isfinite(result.probability).all(axis=2)
    shown = known & ((truth.labels > 0) | (result.probability[:, :, BACKGROUND] < 0.5))
    chosen, weights = [], []
    for stratum in (shown, known & ~shown):
        pixels = np.flatnonzero(stratum)
        taken = pixels if len(pixels) <= n_pixels // 2 else rng.choice(pixels, n_pixels // 2, replace=False)
        chosen.append(taken)
        weights.append(np.full(len(taken), len(pixels) / max(len(taken), 1)))
    rows, columns = np.divmod(np.concatenate(chosen), truth.shape[1])
    # Labels, not maps, are gathered first: the soft truth of a whole field would not be small.
    order = np.argsort(np.asarray(truth.sources["label"]))
    label = truth.labels[rows, columns]
    row = order[np.searchsorted(np.asarray(truth.sources["label"])[order], label).clip(max=max(len(order) - 1, 0))]
    soft = np.zeros((len(label), result.probability.shape[2]), np.float32)
    soft[:, :BACKGROUND] = np.where((label > 0)[:, None], truth.soft[row], 0)
    soft[:, BACKGROUND] = label == 0
    return result.probability[rows, columns], soft, np.concatenate(weights)


def _figures(probability: np.ndarray, soft: np.ndarray, weight: np.ndarray) -> dict[str, Any]:
    log_loss, brier = proper_scores(probability, soft, weight=weight)
    shown = probability[:, BACKGROUND] < 0.5
    values = {
        "log_loss": log_loss,
        "brier": brier,
        "ece_pixels": top_label_reliability(probability, soft, weight=weight).error,
        "ece_source_pixels": top_label_reliability(probability[shown], soft[shown], weight=weight[shown]).error,
    }
    return {key: round(value, 5) for key, value in values.items()}
