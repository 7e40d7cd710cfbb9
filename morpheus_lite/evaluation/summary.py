"""Scores as numbers to keep (JSON) and as tables to read (Markdown)."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.evaluation.metrics import Fractions
from morpheus_lite.evaluation.reliability import Reliability
from morpheus_lite.evaluation.scores import Scores, in_bins

CLASS_MAGNITUDES = (18.0, 23.0, 24.0, 25.0)
"""Bins in which the right classes are counted: beyond the last, most sources are too faint to tell."""


def summarise(scores: Scores) -> dict[str, Any]:
    """Every figure of some scores, as plain numbers; what cannot be known is None.

    Parameters
    ----------
    scores : Scores
        Of one field or several.

    Returns
    -------
    dict
        Ready for JSON: ``sources`` (completeness, purity, fates), ``segments`` (flux and area residuals), ``pixels``
        (IoU, confusion), ``photometry`` (bias and pulls of total fluxes), ``classes`` (accuracy, confusion and the
        majority baseline by magnitude), ``calibration`` (ECE, diagrams).
    """
    return {
        "name": scores.name,
        "options": asdict(scores.options),
        "n_fields": scores.n_fields,
        "n_pixels": scores.n_pixels,
        "sources": _sources(scores),
        "segments": _segments(scores),
        "photometry": {
            "isolated": scores.total_pulls(scores.options.magnitudes, isolated=True),
            "blended_or_crowded": scores.total_pulls(scores.options.magnitudes, isolated=False),
        },
        "pixels": {
            "iou": {key: _number(value) for key, value in scores.ious().items()},
            "truth_by_label_map": scores.source_sky.tolist(),
            "truth_by_class": None if scores.pixel_classes is None else scores.pixel_classes.tolist(),
        },
        "classes": _classes(scores),
        "calibration": {key: _reliability(diagram) for key, diagram in scores.reliability.items()},
    }


def _sources(scores: Scores) -> dict[str, Any]:
    per_million = 1e6 / max(scores.n_pixels, 1)
    fates = scores.fates()
    return {
        "n_true": len(scores.truth_sources),
        "n_detected": len(scores.detections),
        "n_matched": int(np.sum(scores.truth_sources["match"] > 0)),
        "chance_match": _number(scores.chance_match),
        "completeness": _fractions(scores.completeness),
        "completeness_by_overlap": _fractions(scores.overlap_completeness),
        "purity": _number(scores.purity),
        "purity_by_measured_magnitude": _fractions(scores.binned_purity),
        "purity_fainter": _fractions(scores.faint_purity)[0],
        "fates": fates,
        "spurious_per_million_pixels": _number(fates["detections"]["spurious"] * per_million),
    }


def _segments(scores: Scores) -> list[dict[str, Any]]:
    """Median and central 68 % of the residuals, in bins of true magnitude."""
    rows = scores.truth_sources[scores.truth_sources["match"] > 0]
    names = ("flux_residual", "area_ratio", "iou")
    return [
        {"magnitude": ends, "n": len(inside)} | {name: _percentiles(inside[name]) for name in names}
        for ends, inside in in_bins(rows, scores.options.magnitudes)
    ]


def _classes(scores: Scores) -> dict[str, Any] | None:
    rows = scores.truth_sources
    if not len(rows) or not (rows["true_class"] >= 0).any():
        return None
    edges = scores.options.magnitudes
    return {
        "rows": list(SOURCE_CLASSES),
        "columns": [*SOURCE_CLASSES, "not matched"],
        "accuracy": _fractions(scores.class_accuracy(CLASS_MAGNITUDES)),
        "baseline": scores.class_baseline(edges),
        "accuracy_in_true_segments": _fractions(scores.class_accuracy(CLASS_MAGNITUDES, column="class_in_place")),
        "confusion": [
            {"magnitude": [low, high], "counts": scores.confusion(low, high).tolist()}
            for low, high in itertools.pairwise(edges)
        ],
    }


def _fractions(binned: Fractions) -> list[dict[str, Any]]:
    low, high = binned.interval
    ends, tried = itertools.pairwise(binned.edges.tolist()), binned.n_tried.tolist()
    return [
        {"magnitude": list(bin_ends), "n": n, "fraction": _number(share), "interval": [_number(least), _number(most)]}
        for bin_ends, n, share, least, most in zip(ends, tried, binned.fraction, low, high, strict=True)
    ]


def _reliability(diagram: Reliability) -> dict[str, Any]:
    return {
        "ece": _number(diagram.error),
        "overconfidence": _number(diagram.overconfidence),
        "weight": [*map(_number, diagram.weight)],
        "mean_probability": [*map(_number, diagram.mean_confidence)],
        "frequency": [*map(_number, diagram.mean_outcome)],
    }


def _percentiles(values: np.ndarray) -> list[float | None]:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return [_number(value) for value in np.percentile(known, [16, 50, 84])] if len(known) else [None] * 3


def _number(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None


def format_scores(scores: Sequence[Scores]) -> str:
    """The main figures of several tools side by side, as Markdown tables.

    Parameters
    ----------
    scores : sequence of Scores
        Of the same fields, with the same options.
    """
    options, first = scores[0].options, scores[0].completeness
    bins = [f"{low:g}-{high:g}" for low, high in itertools.pairwise(options.magnitudes)]
    kept = np.flatnonzero(first.n_tried).tolist()
    parts = _table(
        f"Completeness (%) by true magnitude, matched within {options.radius:g} arcsec one to one; "
        f"{len(scores[0].truth_sources)} true sources in {scores[0].n_fields} field(s).",
        [bins[k] for k in kept],
        [
            ["true sources", *first.n_tried[kept].tolist()],
            *([one.name, *_percents(one.completeness, kept)] for one in scores),
        ],
    )
    parts += _table(
        "Detections, and what became of them; pixels.",
        ["detected", "purity", "spurious", "split", "blended", "IoU source", "IoU sky", "ECE pixels"],
        map(_overview, scores),
    )
    judged = [one for one in scores if any(one.class_accuracy(CLASS_MAGNITUDES).n_tried)]
    parts += _table(
        "Right class (%) of the matched sources, by true magnitude; IoU of pixels by class.",
        [*(f"{low:g}-{high:g}" for low, high in itertools.pairwise(CLASS_MAGNITUDES)), *SOURCE_CLASSES],
        map(_class_row, judged),
    )
    for one in judged:
        parts += _calibration_table(one)
    for one in scores:
        parts += _pull_table(one)
    return "\n\n".join(parts) + "\n"


def _overview(scores: Scores) -> list[Any]:
    fates, ious, diagram = scores.fates(), scores.ious(), scores.reliability.get("pixels")
    counts = fates["detections"]["spurious"], fates["detections"]["split"], fates["truth"]["blended"]
    error = None if diagram is None else diagram.error
    return [scores.name, len(scores.detections), scores.purity, *counts, ious["source"], ious["sky"], error]


def _class_row(scores: Scores) -> list[Any]:
    accuracy, ious = scores.class_accuracy(CLASS_MAGNITUDES), scores.ious()
    return [scores.name, *_percents(accuracy, range(len(accuracy.n_tried))), *map(ious.get, SOURCE_CLASSES)]


def _calibration_table(scores: Scores) -> list[str]:
    """Classes per source beside guesses that know only the shares of the classes."""
    rows = [
        [
            *(_bin(one), one["n"], one["accuracy"], one["majority"], one["log_loss"], one["shares_log_loss"]),
            f"{one['ece']:.3f} ({one['chance_ece']:.3f})",
            *(f"{one['expected'][name]:.1f} / {one['true'][name]:.0f}" for name in SOURCE_CLASSES),
        ]
        for one in scores.class_baseline((-np.inf, *scores.options.magnitudes[1:-1], np.inf))
    ]
    diagrams = {name: scores.reliability.get(f"sources_{name}") for name in SOURCE_CLASSES}
    errors = ", ".join(f"{name} {one.error:.3f}" for name, one in diagrams.items() if one is not None)
    title = (
        "classes of the matched sources by true magnitude. Majority: accuracy if all had the most frequent class. "
        "Of shares: log loss if all had the shares of the classes as probabilities. For each class: sum of the "
        "probabilities / true number."
    )
    total = f" ECE of each class: {errors}." if errors else ""
    head = ["n", "accuracy", "majority", "log loss", "of shares", "ECE (chance)", *SOURCE_CLASSES]
    return _table(f"{scores.name}: {title}{total}", head, rows)


def _pull_table(scores: Scores) -> list[str]:
    """Total magnitudes against the truth."""
    rows = [
        [kind, _bin(one), one["n"], f"{one['bias']:+.3f}", f"{one['median']:+.2f}", f"{one['width']:.2f}"]
        for kind, isolated in (("flags 0", True), ("blended or crowded", False))
        for one in scores.total_pulls(scores.options.magnitudes, isolated=isolated)
    ]
    head = ["magnitude", "n", "bias (mag)", "pull", "width of the pulls"]
    return _table(f"{scores.name}: total magnitudes in {scores.options.band}.", head, rows)


def _bin(row: dict[str, Any]) -> str:
    low, high = row["magnitude"]
    known = math.isfinite(low), math.isfinite(high)
    texts = {(True, True): f"{low:g}-{high:g}", (False, True): f"< {high:g}", (True, False): f"> {low:g}"}
    return texts.get(known, "all")


def _percents(binned: Fractions, bins: Iterable[int]) -> list[str]:
    """Fractions with their intervals, empty where nothing was tried."""
    low, high = binned.interval
    texts = [f"{100 * f:.0f} ({100 * a:.0f}-{100 * b:.0f})" for f, a, b in zip(binned.fraction, low, high, strict=True)]
    return [texts[k] if binned.n_tried[k] else "" for k in bins]


def _table(title: str, head: list[str], rows: Iterable[list[Any]]) -> list[str]:
    """A title and a Markdown table whose first column has no name; nothing where there are no rows."""
    texts = [[_cell(value) for value in row] for row in rows]
    lines = [["", *head], ["---"] + ["---:"] * len(head), *texts]
    return [title, "\n".join("| " + " | ".join(line) + " |" for line in lines)] if texts else []


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
