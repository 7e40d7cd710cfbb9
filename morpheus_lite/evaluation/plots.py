"""Figures of scores: completeness and purity, reliability, confusion, residuals."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.evaluation.scores import Scores
from morpheus_lite.evaluation.summary import CLASS_MAGNITUDES
from morpheus_lite.visualization.plots import figures


def plot_detection(scores: Sequence[Scores], path: str | Path) -> Path:
    """Completeness against true magnitude, purity against measured magnitude.

    Parameters
    ----------
    scores : sequence of Scores
        One a tool, of the same fields.
    path : path
        PNG to write; replaced if it exists.
    """
    figure = Figure(figsize=(7.2, 3.2 + 0.2 * np.ceil(len(scores) / 2)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for k, one in enumerate(scores):
        offset = 0.06 * (k - (len(scores) - 1) / 2)
        label = f"{one.name}: {len(one.detections)} detections, purity {one.purity:.3f}"
        for binned, axes in ((one.completeness, left), (one.binned_purity, right), (one.faint_purity, right)):
            figures.plot_fractions(binned, axes, series=k, offset=offset, label=label)
    band, radius = scores[0].options.band or "", scores[0].options.radius
    left.set(xlabel=f"true magnitude {band}".strip(), ylabel="fraction", ylim=(-0.03, 1.03))
    left.set_title(f"completeness (one to one within {radius:g}″)", fontsize=figures.FONT)
    right.set(xlabel=f"magnitude in the segment {band}".strip())
    right.set_title("purity", fontsize=figures.FONT)
    for axes in (left, right):
        axes.set_xlim(*_shown_range(scores))
        figures.tidy(axes)
    if any(one.faint_purity.n_tried[0] for one in scores):
        faintest = scores[0].options.magnitudes[-1]
        right.set_xlim(right.get_xlim()[0], faintest + 1.1)
        right.axvline(faintest, color="0.6", linewidth=1)
        right.text(faintest + 0.05, 0.02, "fainter", fontsize=figures.SMALL, color="0.4")
    figures.legend_below(figure, left)
    return figures.save_figure(figure, path, overwrite=True)


def plot_reliability(
    scores: Sequence[Scores], path: str | Path, keys: Sequence[str] = ("pixels", "source_pixels", "sources")
) -> Path | None:
    """Reliability diagrams, one panel a kind of prediction; None, and no file, where no tool gives probabilities.

    Parameters
    ----------
    scores : sequence of Scores
        One a tool, of the same fields.
    path : path
        PNG to write; replaced if it exists.
    keys : sequence of str
        Which diagrams of `Scores.reliability`.
    """
    filled = [{key for key, diagram in one.reliability.items() if diagram.total > 0} for one in scores]
    keys = [key for key in keys if any(key in known for known in filled)]
    if not keys:
        return None
    figure = Figure(figsize=(2.7 * len(keys) + 0.6, 4.4), layout="constrained")
    grid = figure.subplots(2, len(keys), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1))
    for column, key in enumerate(keys):
        upper, lower = grid[:, column]
        for k, one in enumerate(scores):
            if key in filled[k]:
                figures.plot_calibration(one.reliability[key], upper, label=one.name, series=k, shares=lower)
                ece = f"{'ECE ' if k == 0 else ''}{one.reliability[key].error:.3f}"
                style = {"fontsize": figures.SMALL, "color": figures.series_style(k)["color"], "va": "bottom"}
                upper.text(0.24 * k + 0.14 * (k > 0), 1.02, ece, transform=upper.transAxes, **style)
        upper.set_title(key.replace("_", " "), fontsize=figures.FONT, pad=16)
        lower.set(xlabel="probability given", yscale="log")
        for axes in (upper, lower):
            figures.tidy(axes)
    grid[0, 0].set_ylabel("frequency")
    grid[1, 0].set_ylabel("share")
    figures.legend_below(figure, max(grid[0], key=lambda axes: len(axes.get_legend_handles_labels()[1])))
    return figures.save_figure(figure, path, overwrite=True)


def plot_confusion(scores: Scores, path: str | Path) -> Path | None:
    """Confusion of classes in bins of magnitude, each row normalised; None, and no file, without classes.

    Parameters
    ----------
    scores : Scores
        Of one tool.
    path : path
        PNG to write; replaced if it exists.
    """
    bins = list(itertools.pairwise(CLASS_MAGNITUDES))
    counts = [scores.confusion(*ends) for ends in bins]
    if not sum(one[:, : len(SOURCE_CLASSES)].sum() for one in counts):
        return None
    figure = Figure(figsize=(2.5 * len(counts) + 0.9, 2.7), layout="constrained")
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axes, one, (low, high) in zip(panels, counts, bins, strict=True):
        figures.plot_confusion_matrix(one, axes)
        right, judged = np.trace(one), one[:, : len(SOURCE_CLASSES)].sum()
        share = f"{right / judged:.0%} of {judged} right" if judged else "none matched"
        axes.set_title(f"{low:g} to {high:g} mag: {share}", fontsize=figures.FONT)
    panels[0].set_ylabel("true class", fontsize=figures.FONT)
    figure.supxlabel("class given", fontsize=figures.FONT)
    figure.suptitle(scores.name, fontsize=figures.FONT)
    return figures.save_figure(figure, path, overwrite=True)


def plot_residuals(scores: Sequence[Scores], path: str | Path) -> Path:
    """Flux in the segments over true flux, and segment over true segment, against true magnitude.

    Parameters
    ----------
    scores : sequence of Scores
        One a tool, of the same fields.
    path : path
        PNG to write; replaced if it exists.
    """
    figure = Figure(figsize=(7.2, 3.2 + 0.2 * np.ceil(len(scores) / 2)), layout="constrained")
    panels = figure.subplots(1, 2)
    edges = np.asarray(scores[0].options.magnitudes)
    for k, one in enumerate(scores):
        rows = one.truth_sources[one.truth_sources["match"] > 0]
        offset, bright = 0.06 * (k - (len(scores) - 1) / 2), np.asarray(rows["magnitude"])
        for axes, value in zip(panels, (np.asarray(rows["flux_residual"]) + 1, rows["area_ratio"]), strict=True):
            figures.plot_percentiles(bright, np.asarray(value), edges, axes, label=one.name, series=k, offset=offset)
    for axes, title in zip(panels, ("flux in the segment / true flux", "segment / true segment (pixels)"), strict=True):
        axes.axhline(1, color="0.6", linewidth=1, linestyle="--", zorder=1)
        axes.set_xlabel(f"true magnitude {scores[0].options.band or ''}".strip())
        axes.set_title(title, fontsize=figures.FONT)
        axes.set(xlim=_shown_range(scores), ylim=(0, 2.5))
        figures.tidy(axes)
    figures.legend_below(figure, panels[0])
    return figures.save_figure(figure, path, overwrite=True)


def _shown_range(scores: Sequence[Scores]) -> tuple[float, float]:
    """The magnitudes in which there are true sources, bin by bin."""
    binned = scores[0].completeness
    filled = np.flatnonzero(binned.n_tried)
    if len(filled) == 0:
        return float(binned.edges[0]), float(binned.edges[-1])
    return float(binned.edges[filled[0]]) - 0.1, float(binned.edges[filled[-1] + 1]) + 0.1
