"""Fit the calibration of the class probabilities of sources on fields whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from morpheus_lite.catalog.measurement import prepare_measurement
from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.labels import LabelStore
from morpheus_lite.core.source_calibration import (
    EVIDENCE,
    N_SHAPE_TERMS,
    SHARE_FLOOR,
    SourceCalibration,
    linear_terms,
    scaled,
    shape_terms,
    spread_terms,
)
from morpheus_lite.core.windows import BLOCK
from morpheus_lite.errors import InputError
from morpheus_lite.evaluation.calibration import read_pairs, softmax_loss
from morpheus_lite.evaluation.field import Result, Truth
from morpheus_lite.evaluation.metrics import match_positions
from morpheus_lite.evaluation.reliability import Weight, classwise_reliability, proper_scores, top_label_reliability
from morpheus_lite.evaluation.scores import EvaluationOptions
from morpheus_lite.io.maps import MemoryMaps

_FEWEST = 200
"""Sources that a calibration takes at least, and a tenth of them of every class."""

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Penalties that are tried: the log-likelihood that a coefficient off by 1 costs, constants apart."""

_MEASURED = MeasureOptions(structure=False, aperture_radii=(3.0,), aperture_unit="pixel")
_N_FOLDS = 5
_RANGE = 1.0, 99.0
_N_CLASSES = len(SOURCE_CLASSES)
_Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class SourceSample:
    """Detected sources whose true class is known.

    Parameters
    ----------
    share : numpy.ndarray
        float64, shape ``(source, 4)``: light-weighted means of the class maps, not calibrated.
    evidence : numpy.ndarray
        float64, shape ``(source, 6)``: see `~morpheus_lite.core.source_calibration.EVIDENCE`.
    true_class : numpy.ndarray
        int64, shape ``(source,)``: index into ``SOURCE_CLASSES``.
    field : numpy.ndarray
        int64, shape ``(source,)``: number of the field.
    weight : numpy.ndarray
        float64, shape ``(source,)``: how much each counts.
    """

    share: np.ndarray
    evidence: np.ndarray
    true_class: np.ndarray
    field: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.true_class)

    def take(self, rows: np.ndarray) -> "SourceSample":
        """Some of the sources."""
        return SourceSample(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @property
    def hard(self) -> np.ndarray:
        """float64, shape ``(source, 4)``: 1 for the true class."""
        return np.eye(_N_CLASSES)[self.true_class]


def join_samples(samples: Sequence[SourceSample]) -> SourceSample:
    """Several samples as one."""
    names = SourceSample.__dataclass_fields__
    return SourceSample(*(np.concatenate([getattr(one, name) for one in samples]) for name in names))


def sample_sources(
    truth: Truth, result: Result, *, field: int = 0, options: EvaluationOptions | None = None
) -> SourceSample:
    """The detected sources of a field, as the catalogue measures them, with their true classes.

    Parameters
    ----------
    truth : Truth
        The field, with its image.
    result : Result
        Segmentation map and class maps of a model.
    field : int
        Number of the field.
    options : EvaluationOptions, optional
        Match radius and margin; the radius is at least 1.5 pixels.

    Raises
    ------
    InputError
        There is no image, or no class maps, or no true class.
    """
    options = options or EvaluationOptions()
    if truth.image is None or result.probability is None or not truth.has_classes or result.shape != truth.shape:
        raise InputError(
            f"{result.name} ({result.shape}) cannot be calibrated on {truth.name} ({truth.shape}): expected class "
            "maps, an image and true classes of the same field"
        )
    labels = LabelStore.of(result.labels)
    classified = np.isfinite(result.probability[:, :, 0])
    binning = {name: result.provenance[name] for name in ("binning",) if name in result.provenance}
    maps = Classification(result.probability, classified.astype(np.int32), classified, provenance=binning)
    place = labels, labels, truth.image, MemoryMaps.of(maps)
    rows = prepare_measurement(*place, kind="probability", options=_MEASURED, tile=BLOCK).rows()
    height, width = truth.shape
    x, y = rows["x_centroid"], rows["y_centroid"]
    radius = max(options.radius / (truth.pixel_scale or 1.0), 1.5)
    true, own, _ = match_positions(truth.positions, np.column_stack([x, y]), radius)
    share = np.column_stack([rows[f"p_{name}"] for name in SOURCE_CLASSES])
    edge = options.margin
    inside = (x >= edge) & (x < width - edge) & (y >= edge) & (y < height - edge)
    kept = inside[own] & (truth.source_class[true] >= 0) & np.isfinite(share[own]).all(axis=1)
    true, own = true[kept], own[kept]
    true_class = truth.source_class[true].astype(int)
    evidence = np.column_stack([rows[name][own] for name in EVIDENCE])
    return SourceSample(share[own], evidence, true_class, np.full(len(own), field), np.ones(len(own)))


def calibrate_source_files(truths: Sequence[str | Path], results: Sequence[str | Path]) -> SourceCalibration:
    """Fit a calibration of sources from truth files and what a model said of them.

    Parameters
    ----------
    truths, results : sequence of path
        As in `~morpheus_lite.evaluation.calibrate_files`; with the images.
    """
    return fit_sources(
        join_samples([sample_sources(*pair, field=k) for k, pair in enumerate(read_pairs(truths, results))])
    )


def fit_sources(sample: SourceSample) -> SourceCalibration:
    """The calibration under which the true classes of sources are most likely.

    Parameters
    ----------
    sample : SourceSample
        Sources of fields that the model was not trained on, with the shares of the classes of the sky.

    Returns
    -------
    SourceCalibration
        Its ``prior`` has the shares of the classes. ``fitted`` holds the number of fields and sources, the penalty, and
        figures before and after, where each field is judged by a fit to others.

    Raises
    ------
    InputError
        There are too few sources in all, of a class, or of different fields.

    Notes
    -----
    Penalised maximum likelihood: the sum of ``-log p(true class)``, and a ridge that draws the coefficients to those
    that change nothing. Of several penalties, the one under which held-out fields are most likely is taken.
    """
    counts = np.bincount(sample.true_class, minlength=_N_CLASSES)
    n_fields = len(np.unique(sample.field))
    if counts.sum() < _FEWEST or counts.min() < _FEWEST / 10 or n_fields < _N_FOLDS:
        shown = ", ".join(f"{n} {name}" for name, n in zip(SOURCE_CLASSES, counts.tolist(), strict=True))
        raise InputError(
            f"{counts.sum()} sources ({shown}) in {n_fields} fields: a calibration of sources takes {_FEWEST}, "
            f"{_FEWEST // 10} of each class, in {_N_FOLDS} fields; use more fields"
        )
    parts = np.unique(sample.field, return_inverse=True)[1] % _N_FOLDS
    given = {penalty: _held_out(sample, parts, penalty) for penalty in PENALTIES}
    best = min(PENALTIES, key=lambda one: proper_scores(given[one], sample.hard, weight=sample.weight)[0])
    figures = {
        "n_fields": n_fields,
        "n_sources": len(sample),
        "penalty": best,
        "before": source_figures(sample.share, sample.hard, sample.weight),
        "after": source_figures(given[best], sample.hard, sample.weight),
    }
    return replace(_most_likely(sample, best), fitted=figures)


def _held_out(sample: SourceSample, parts: np.ndarray, penalty: float) -> np.ndarray:
    """Probabilities of all sources, each from a fit to the other parts."""
    given = np.empty_like(sample.share)
    for part in range(_N_FOLDS):
        rest, own = sample.take(parts != part), sample.take(parts == part)
        given[parts == part] = _most_likely(rest, penalty).apply(own.share, own.evidence)
    return given


def _most_likely(sample: SourceSample, penalty: float) -> SourceCalibration:
    snr, size, extent, lopsidedness, spread, spread_err = sample.evidence.T
    ends = _ends(snr), _ends(size)
    terms = linear_terms(scaled(snr, ends[0]), scaled(size, ends[1]))
    shape = shape_terms(snr, extent, lopsidedness)
    shares = np.maximum(sample.weight @ sample.hard, 0.5)  # of a part of a sample, which may lack a class
    prior = tuple((shares / shares.sum()).round(5).tolist())
    fitted = SourceCalibration(prior, *ends, *_fit_tables(sample, terms, shape, penalty))
    known = np.isfinite(spread)
    counts = np.bincount(sample.true_class[known], minlength=_N_CLASSES)
    if counts.sum() < _FEWEST or counts.min() < _FEWEST / 10:
        return fitted
    more = np.hstack([terms, spread_terms(spread, spread_err)])
    sharpness, bias = _fit_tables(sample.take(known), more[known], shape[known], penalty)
    return replace(fitted, spread_sharpness=sharpness, spread_bias=bias)


def _fit_tables(sample: SourceSample, terms: np.ndarray, shape: np.ndarray, penalty: float) -> tuple[_Table, _Table]:
    """Sharpness and bias of each class, in the coefficients of the terms ``(source, term)``, and of the shape."""
    n_terms = terms.shape[1]
    both = np.hstack([terms, shape])
    # The constants are nearly free: so the probabilities add up to the true numbers.
    stiffness = np.array([1e-3, 1.0, 1.0, 0.03, 0.03])[:n_terms]
    stiffness = np.tile([*stiffness, *stiffness, *(0.3,) * N_SHAPE_TERMS], _N_CLASSES)
    identity = np.zeros((_N_CLASSES, 2 * n_terms + N_SHAPE_TERMS))
    identity[:, 0] = 1
    logarithm, hard = np.log(np.maximum(sample.share, SHARE_FLOOR)), sample.hard
    columns = [np.hstack([terms * logarithm[:, [k]], both]) for k in range(_N_CLASSES)]

    def scores(values: np.ndarray) -> np.ndarray:
        return np.stack([one @ row for one, row in zip(columns, values.reshape(identity.shape), strict=True)], axis=1)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        off = values - identity.ravel()
        value, excess = softmax_loss(scores(values), hard, sample.weight)
        slope = np.concatenate([one.T @ own for one, own in zip(columns, excess.T, strict=True)])
        return value + penalty * (stiffness * off**2).sum(), slope + 2 * penalty * stiffness * off

    def curvature(values: np.ndarray) -> np.ndarray:
        p = softmax(scores(values), axis=1)
        weights = sample.weight[:, None, None] * (p[:, :, None] * np.eye(_N_CLASSES) - p[:, :, None] * p[:, None])
        rows = [[one.T @ (weights[:, [j], k] * two) for k, two in enumerate(columns)] for j, one in enumerate(columns)]
        return np.block(rows) + np.diag(2 * penalty * stiffness)

    found = minimize(loss, identity.ravel(), jac=True, hess=curvature, method="trust-exact")
    rows = found.x.reshape(identity.shape).round(4).tolist()
    return tuple(tuple(row[:n_terms]) for row in rows), tuple(tuple(row[n_terms:]) for row in rows)


def source_figures(probability: np.ndarray, hard: np.ndarray, weight: Weight = 1.0) -> dict[str, Any]:
    """Log loss, calibration error in all and of each class, and each probability summed over the true number."""
    errors = {
        name: round(one.error, 4)
        for name, one in zip(SOURCE_CLASSES, classwise_reliability(probability, hard, weight=weight), strict=True)
    }
    counted = np.broadcast_to(weight, len(hard))
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = (counted @ probability) / (counted @ hard)
    return {
        "log_loss": round(proper_scores(probability, hard, weight=weight)[0], 4),
        "ece": round(top_label_reliability(probability, hard, weight=weight).error, 4),
        "ece_by_class": errors,
        "sum_over_true": {name: round(float(value), 3) for name, value in zip(SOURCE_CLASSES, sums, strict=True)},
    }


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(np.maximum(values, 1e-3), _RANGE)
    return round(float(low), 4), round(float(max(high, low * 1.01)), 4)
