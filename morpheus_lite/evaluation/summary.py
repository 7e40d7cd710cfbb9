"""Scores as numbers to keep (JSON) and as tables to read (Markdown)."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from morpheus_lite.core.classes import CLASSES, SOURCE_CLASSES
from morpheus_lite.evaluation.metrics import Fractions
from morpheus_lite.evaluation.reliability import Reliability
from morpheus_lite.evaluation.scores import Scores

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
    found = []
    for low, high in itertools.pairwise(scores.options.magnitudes):
        inside = rows[(rows["magnitude"] >= low) & (rows["magnitude"] < high)]
        residuals = {name: _percentiles(inside[name]) for name in ("flux_residual", "area_ratio", "iou")}
        found.append({"magnitude": [low, high], "n": len(inside), **residuals})
    return found


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
    return [
        {
            "magnitude": [float(binned.edges[k]), float(binned.edges[k + 1])],
            "n": int(binned.n_tried[k]),
            "fraction": _number(binned.fraction[k]),
            "interval": [_number(low[k]), _number(high[k])],
        }
        for k in range(len(binned.n_tried))
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
    options = scores[0].options
    names = [one.name for one in scores]
    completeness = [[_percent(f, k) for k in range(len(f.n_tried))] for f in (one.completeness for one in scores)]
    bins = [f"{low:g}-{high:g}" for low, high in itertools.pairwise(options.magnitudes)]
    counted = [str(n) for n in scores[0].completeness.n_tried]
    kept = [k for k, n in enumerate(counted) if n != "0"]
    parts = [
        f"Completeness (%) by true magnitude, matched within {options.radius:g} arcsec one to one; "
        f"{len(scores[0].truth_sources)} true sources in {scores[0].n_fields} field(s).",
        _markdown(
            ["", *[bins[k] for k in kept]],
            [["true sources", *[counted[k] for k in kept]]]
            + [[name, *[row[k] for k in kept]] for name, row in zip(names, completeness, strict=True)],
        ),
        "Detections, and what became of them; pixels.",
        _markdown(
            ["", "detected", "purity", "spurious", "split", "blended", "IoU source", "IoU sky", "ECE pixels"],
            [_overview(one) for one in scores],
        ),
    ]
    judged = [one for one in scores if any(one.class_accuracy(CLASS_MAGNITUDES).n_tried)]
    if judged:
        edges = itertools.pairwise(CLASS_MAGNITUDES)
        parts += [
            "Right class (%) of the matched sources, by true magnitude; IoU of pixels by class.",
            _markdown(
                ["", *[f"{low:g}-{high:g}" for low, high in edges], *CLASSES[:-1]],
                [_class_row(one) for one in judged],
            ),
        ]
    for one in judged:
        parts += _calibration_tables(one)
    for one in scores:
        parts += _pull_tables(one)
    return "\n\n".join(parts) + "\n"


def _calibration_tables(scores: Scores) -> list[str]:
    """Classes per source beside guesses that know only the shares of the classes."""
    rows = [
        [
            _bin(one),
            str(one["n"]),
            *(f"{one[name]:.3f}" for name in ("accuracy", "majority", "log_loss", "shares_log_loss")),
            f"{one['ece']:.3f} ({one['chance_ece']:.3f})",
            *(f"{one['expected'][name]:.1f} / {one['true'][name]:.0f}" for name in SOURCE_CLASSES),
        ]
        for one in scores.class_baseline((-np.inf, *scores.options.magnitudes[1:-1], np.inf))
    ]
    if not rows:
        return []
    errors = ", ".join(
        f"{name} {scores.reliability[f'sources_{name}'].error:.3f}"
        for name in SOURCE_CLASSES
        if f"sources_{name}" in scores.reliability
    )
    head = ["", "n", "accuracy", "majority", "log loss", "of shares", "ECE (chance)", *SOURCE_CLASSES]
    title = "classes of the matched sources by true magnitude, beside the majority; probabilities summed / true number."
    total = f" ECE of each class: {errors}." if errors else ""
    return [f"{scores.name}: {title}{total}", _markdown(head, rows)]


def _pull_tables(scores: Scores) -> list[str]:
    """Total magnitudes against the truth."""
    rows = [
        [kind, _bin(one), str(one["n"]), f"{one['bias']:+.3f}", f"{one['median']:+.2f}", f"{one['width']:.2f}"]
        for kind, isolated in (("flags 0", True), ("blended or crowded", False))
        for one in scores.total_pulls(scores.options.magnitudes, isolated=isolated)
    ]
    if not rows:
        return []
    head = ["", "magnitude", "n", "bias (mag)", "pull", "width of the pulls"]
    return [f"{scores.name}: total magnitudes in {scores.options.band}.", _markdown(head, rows)]


def _bin(row: dict[str, Any]) -> str:
    low, high = row["magnitude"]
    known = math.isfinite(low), math.isfinite(high)
    texts = {(True, True): f"{low:g}-{high:g}", (False, True): f"< {high:g}", (True, False): f"> {low:g}"}
    return texts.get(known, "all")


def _overview(scores: Scores) -> list[str]:
    fates, ious = scores.fates(), scores.ious()
    diagram = scores.reliability.get("pixels")
    counts = [fates["detections"]["spurious"], fates["detections"]["split"], fates["truth"]["blended"]]
    shares = [ious["source"], ious["sky"], *([] if diagram is None else [diagram.error])]
    row = [scores.name, str(len(scores.detections)), _decimal(scores.purity), *map(str, counts), *map(_decimal, shares)]
    return row if diagram is not None else [*row, ""]


def _class_row(scores: Scores) -> list[str]:
    accuracy, ious = scores.class_accuracy(CLASS_MAGNITUDES), scores.ious()
    classes = [_decimal(ious[name]) if name in ious else "" for name in SOURCE_CLASSES]
    return [scores.name, *[_percent(accuracy, k) for k in range(len(accuracy.n_tried))], *classes]


def _percent(binned: Fractions, k: int) -> str:
    if not binned.n_tried[k]:
        return ""
    low, high = (100 * end[k] for end in binned.interval)
    return f"{100 * binned.fraction[k]:.0f} ({low:.0f}-{high:.0f})"


def _decimal(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else ""


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
