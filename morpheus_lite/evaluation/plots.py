"""Figures of scores: completeness and purity, reliability, confusion, residuals."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from morpheus_lite.atomic import written_whole
from morpheus_lite.classes import SOURCE_CLASSES
from morpheus_lite.evaluation.scores import Scores
from morpheus_lite.metrics import Fractions, Reliability

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe & Ito: apart for colour-blind readers; a marker each besides."""

MARKERS = "osD^vPX"
_STYLE = {"font": 9, "small": 8, "line": 1.4}


def plot_detection(scores: Sequence[Scores], path: str | Path, *, overwrite: bool = False) -> Path:
    """Completeness against true magnitude, purity against measured magnitude.

    Parameters
    ----------
    scores : sequence of Scores
        One a tool, of the same fields.
    path : path
        PNG to write.
    overwrite : bool
        Replace a file that exists.
    """
    figure = Figure(figsize=(7.2, 3.2 + 0.2 * np.ceil(len(scores) / 2)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for k, one in enumerate(scores):
        offset = 0.06 * (k - (len(scores) - 1) / 2)
        label = f"{one.name}: {len(one.detections)} detections, purity {one.purity:.3f}"
        _plot_fractions(left, one.completeness, k, offset, label)
        _plot_fractions(right, one.binned_purity, k, offset, label)
        _plot_fractions(right, one.faint_purity, k, offset, label)
    band = scores[0].options.band or ""
    radius = scores[0].options.radius
    left.set(xlabel=f"true magnitude {band}".strip(), ylabel="fraction", ylim=(-0.03, 1.03))
    left.set_title(f"completeness (one to one within {radius:g}″)", fontsize=_STYLE["font"])
    right.set(xlabel=f"magnitude in the segment {band}".strip())
    right.set_title("purity", fontsize=_STYLE["font"])
    for axes in (left, right):
        axes.set_xlim(*_shown_range(scores))
        _tidy(axes)
    if any(one.faint_purity.n_tried[0] for one in scores):
        faintest = scores[0].options.magnitudes[-1]
        right.set_xlim(right.get_xlim()[0], faintest + 1.1)
        right.axvline(faintest, color="0.6", linewidth=1)
        right.text(faintest + 0.05, 0.02, "fainter", fontsize=_STYLE["small"], color="0.4")
    _legend_below(figure, left)
    return _save(figure, path, overwrite)


def plot_reliability(
    scores: Sequence[Scores],
    path: str | Path,
    *,
    keys: Sequence[str] = ("pixels", "source_pixels", "sources"),
    overwrite: bool = False,
) -> Path | None:
    """Reliability diagrams, one panel a kind of prediction; None, and no file, where no tool gives probabilities.

    Parameters
    ----------
    scores : sequence of Scores
        One a tool, of the same fields.
    path : path
        PNG to write.
    keys : sequence of str
        Which diagrams of `Scores.reliability`.
    overwrite : bool
        Replace a file that exists.
    """
    filled = [{key for key, diagram in one.reliability.items() if diagram.total > 0} for one in scores]
    keys = [key for key in keys if any(key in known for known in filled)]
    if not keys:
        return None
    figure = Figure(figsize=(2.7 * len(keys) + 0.6, 4.4), layout="constrained")
    grid = figure.subplots(2, len(keys), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 1))
    for column, key in enumerate(keys):
        upper, lower = grid[:, column]
        upper.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", zorder=1)
        for k, one in enumerate(scores):
            if key in filled[k]:
                _plot_diagram(upper, lower, one.reliability[key], k, one.name)
                ece = f"{'ECE ' if k == 0 else ''}{one.reliability[key].error:.3f}"
                place = {"transform": upper.transAxes, "fontsize": _STYLE["small"], "va": "bottom"}
                upper.text(0.24 * k + 0.14 * (k > 0), 1.02, ece, color=COLOURS[k % len(COLOURS)], **place)
        upper.set_title(key.replace("_", " "), fontsize=_STYLE["font"], pad=16)
        upper.set(xlim=(0, 1), ylim=(0, 1.03))
        lower.set(xlabel="probability given", yscale="log")
        for axes in (upper, lower):
            _tidy(axes)
    grid[0, 0].set_ylabel("frequency")
    grid[1, 0].set_ylabel("share")
    _legend_below(figure, max(grid[0], key=lambda axes: len(axes.get_legend_handles_labels()[1])))
    return _save(figure, path, overwrite)


def plot_confusion(
    scores: Scores, path: str | Path, *, edges: Sequence[float] = (18, 23, 24, 25), overwrite: bool = False
) -> Path | None:
    """Confusion of classes in bins of magnitude, each row normalised; None, and no file, without classes.

    Parameters
    ----------
    scores : Scores
        Of one tool.
    path : path
        PNG to write.
    edges : sequence of float
        Edges of the magnitude bins, ascending.
    overwrite : bool
        Replace a file that exists.
    """
    counts = [scores.confusion(low, high) for low, high in itertools.pairwise(edges)]
    if not sum(one[:, : len(SOURCE_CLASSES)].sum() for one in counts):
        return None
    figure = Figure(figsize=(2.5 * len(counts) + 0.9, 2.7), layout="constrained")
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axes, one, low, high in zip(panels, counts, edges[:-1], edges[1:], strict=True):
        _plot_matrix(axes, one)
        right, judged = np.trace(one), one[:, : len(SOURCE_CLASSES)].sum()
        share = f"{right / judged:.0%} of {judged} right" if judged else "none matched"
        axes.set_title(f"{low:g} to {high:g} mag: {share}", fontsize=_STYLE["font"])
    panels[0].set_ylabel("true class", fontsize=_STYLE["font"])
    figure.supxlabel("class given", fontsize=_STYLE["font"])
    figure.suptitle(scores.name, fontsize=_STYLE["font"])
    return _save(figure, path, overwrite)


def plot_residuals(scores: Sequence[Scores], path: str | Path, *, overwrite: bool = False) -> Path:
    """Flux in the segments over true flux, and segment over true segment, against true magnitude.

    Parameters
    ----------
    scores : sequence of Scores
        One a tool, of the same fields.
    path : path
        PNG to write.
    overwrite : bool
        Replace a file that exists.
    """
    figure = Figure(figsize=(7.2, 3.2 + 0.2 * np.ceil(len(scores) / 2)), layout="constrained")
    panels = figure.subplots(1, 2)
    edges = np.asarray(scores[0].options.magnitudes)
    for k, one in enumerate(scores):
        rows = one.truth_sources[one.truth_sources["match"] > 0]
        offset = 0.06 * (k - (len(scores) - 1) / 2)
        for axes, value in zip(panels, (np.asarray(rows["flux_residual"]) + 1, rows["area_ratio"]), strict=True):
            _plot_percentiles(axes, np.asarray(rows["magnitude"]), np.asarray(value), edges, k, offset, one.name)
    for axes, title in zip(panels, ("flux in the segment / true flux", "segment / true segment (pixels)"), strict=True):
        axes.axhline(1, color="0.6", linewidth=1, linestyle="--", zorder=1)
        axes.set_xlabel(f"true magnitude {scores[0].options.band or ''}".strip())
        axes.set_title(title, fontsize=_STYLE["font"])
        axes.set(xlim=_shown_range(scores), ylim=(0, 2.5))
        _tidy(axes)
    _legend_below(figure, panels[0])
    return _save(figure, path, overwrite)


def _plot_fractions(axes: Axes, binned: Fractions, k: int, offset: float, label: str) -> None:
    middle = (binned.edges[1:] + binned.edges[:-1]) / 2 + offset
    shown = binned.n_tried > 0
    low, high = binned.interval
    fraction = binned.fraction
    axes.errorbar(
        middle[shown],
        fraction[shown],
        np.clip([fraction - low, high - fraction], 0, 1)[:, shown],
        color=COLOURS[k % len(COLOURS)],
        marker=MARKERS[k % len(MARKERS)],
        markersize=4,
        linewidth=_STYLE["line"],
        elinewidth=0.8,
        label=label,
    )


def _plot_percentiles(
    axes: Axes, magnitude: np.ndarray, value: np.ndarray, edges: np.ndarray, k: int, offset: float, label: str
) -> None:
    middle: list[float] = []
    percentiles: list[np.ndarray] = []
    for start, stop in itertools.pairwise(edges):
        inside = value[(magnitude >= start) & (magnitude < stop) & np.isfinite(value)]
        if len(inside) >= 3:
            percentiles.append(np.percentile(inside, [16, 50, 84]))
            middle.append((start + stop) / 2 + offset)
    low, median, high = np.reshape(percentiles, (-1, 3)).T
    axes.errorbar(
        middle,
        median,
        [median - low, high - median],
        color=COLOURS[k % len(COLOURS)],
        marker=MARKERS[k % len(MARKERS)],
        markersize=4,
        linewidth=_STYLE["line"],
        elinewidth=0.8,
        label=label,
    )


def _plot_diagram(upper: Axes, lower: Axes, diagram: Reliability, k: int, name: str) -> None:
    shown = diagram.weight > 0
    colour = COLOURS[k % len(COLOURS)]
    upper.plot(
        diagram.mean_confidence[shown],
        diagram.mean_outcome[shown],
        marker=MARKERS[k % len(MARKERS)],
        markersize=4,
        label=name,
        color=colour,
        linewidth=_STYLE["line"],
    )
    edges = np.linspace(0, 1, len(diagram.weight) + 1)
    lower.stairs(diagram.weight / diagram.total, edges, color=colour, linewidth=_STYLE["line"])


def _plot_matrix(axes: Axes, counts: np.ndarray) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(share):
        if counts[row, column]:
            ink = "white" if value > 0.55 else "black"
            text = f"{value:.2f}\n{counts[row, column]}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=ink)
    names = [name.replace("_", " ") for name in SOURCE_CLASSES]
    axes.set_yticks(range(len(names)), names, fontsize=_STYLE["small"])
    axes.set_xticks(range(counts.shape[1]), [*names, "missed"], fontsize=_STYLE["small"], rotation=35, ha="right")
    axes.tick_params(length=0)


def _shown_range(scores: Sequence[Scores]) -> tuple[float, float]:
    """The magnitudes in which there are true sources, bin by bin."""
    binned = scores[0].completeness
    filled = np.flatnonzero(binned.n_tried)
    if len(filled) == 0:
        return float(binned.edges[0]), float(binned.edges[-1])
    return float(binned.edges[filled[0]]) - 0.1, float(binned.edges[filled[-1] + 1]) + 0.1


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2, fontsize=_STYLE["small"], frameon=False, handlelength=2.5
    )


def _tidy(axes: Axes) -> None:
    axes.grid(color="0.92", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=_STYLE["small"])
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(_STYLE["font"])


def _save(figure: Figure, path: str | Path, overwrite: bool) -> Path:
    FigureCanvasAgg(figure)
    with written_whole(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=200, format="png")
    return Path(path)
