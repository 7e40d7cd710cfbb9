"""Figures of numbers: fractions in bins, reliability diagrams, confusion, residuals.

All of them share a frame: colours, markers, grid, legend below; and are written whole.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.labels import Outlines
from morpheus_lite.runtime.atomic import atomic_write
from morpheus_lite.visualization.colours import class_colours

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe & Ito: apart for colour-blind readers; a marker each besides."""

MARKERS = "osD^vPX"
FONT, SMALL, LINE = 9, 8, 1.4


def series_style(k: int) -> dict[str, Any]:
    """Colour, marker and line of the k-th series of a figure."""
    style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)]}
    return style | {"markersize": 4, "linewidth": LINE}


def tidy(ax: Axes) -> None:
    """A light grid, no spines above and on the right, small ticks."""
    ax.grid(color="0.92", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=SMALL)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_fontsize(FONT)


def legend_below(figure: Figure, ax: Axes) -> None:
    """Draw the legend of the axes in two columns below the figure."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=SMALL, frameon=False, handlelength=2.5)


def save_figure(
    figure: Figure, path: str | Path, *, overwrite: bool = False, dpi: int = 200, kind: str = "png"
) -> Path:
    """Write a figure; the file appears under its name when it is whole."""
    # A file larger by a tenth takes a third of the time to pack.
    packing: dict[str, Any] = {"pil_kwargs": {"compress_level": 3}} if kind == "png" else {}
    with atomic_write(Path(path), overwrite=overwrite) as temporary:
        figure.savefig(temporary, format=kind, dpi=dpi, **packing)
    return Path(path)


_FEWEST = 3


def plot_fractions(binned: Any, ax: Axes, *, label: str = "", series: int = 0, offset: float = 0.0) -> None:
    """Draw completeness or purity against magnitude, with its interval.

    Parameters
    ----------
    binned : morpheus_lite.evaluation.metrics.Fractions
        ``completeness`` or ``binned_purity`` of the scores of `evaluate`.
    ax : matplotlib.axes.Axes
        Where.
    label : str
        Name in the legend.
    series : int
        Which colour and marker.
    offset : float
        Shift along x, so that the bars of several series stay apart.
    """
    middle = (binned.edges[1:] + binned.edges[:-1]) / 2 + offset
    shown = np.asarray(binned.n_tried) > 0
    low, high = binned.interval
    fraction = binned.fraction
    error = np.clip([fraction - low, high - fraction], 0, 1)[:, shown]
    ax.errorbar(middle[shown], fraction[shown], error, elinewidth=0.8, label=label, **series_style(series))


def plot_calibration(diagram: Any, ax: Axes, *, label: str = "", series: int = 0, shares: Axes | None = None) -> None:
    """Draw how often a probability came true, against the probability; a calibrated one lies on the diagonal.

    Parameters
    ----------
    diagram : morpheus_lite.evaluation.reliability.Reliability
        One of ``reliability`` of the scores of `evaluate`.
    ax : matplotlib.axes.Axes
        Where.
    label, series
        As in `plot_fractions`.
    shares : matplotlib.axes.Axes, optional
        Where to draw which share of the predictions lies in each bin.
    """
    if not ax.lines:
        ax.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", zorder=1)
    shown = diagram.weight > 0
    ax.plot(diagram.mean_confidence[shown], diagram.mean_outcome[shown], label=label, **series_style(series))
    ax.set(xlim=(0, 1), ylim=(0, 1.03))
    if shares is not None:
        edges = np.linspace(0, 1, len(diagram.weight) + 1)
        shares.stairs(diagram.weight / diagram.total, edges, color=COLOURS[series % len(COLOURS)], linewidth=LINE)


def plot_percentiles(
    magnitude: np.ndarray,
    value: np.ndarray,
    edges: Sequence[float] | np.ndarray,
    ax: Axes,
    *,
    label: str = "",
    series: int = 0,
    offset: float = 0.0,
) -> None:
    """Draw median and the percentiles 16 and 84 of a value in bins of magnitude; bins with fewer than three are left.

    Parameters
    ----------
    magnitude, value : numpy.ndarray
        float, shape ``(n,)``; values that are not finite do not count.
    edges : array_like of float
        Of the bins, ascending.
    ax : matplotlib.axes.Axes
        Where.
    label, series, offset
        As in `plot_fractions`.
    """
    middle: list[float] = []
    percentiles: list[np.ndarray] = []
    for start, stop in itertools.pairwise(edges):
        inside = value[(magnitude >= start) & (magnitude < stop) & np.isfinite(value)]
        if len(inside) >= _FEWEST:
            percentiles.append(np.percentile(inside, [16, 50, 84]))
            middle.append((start + stop) / 2 + offset)
    low, median, high = np.reshape(percentiles, (-1, 3)).T
    ax.errorbar(middle, median, [median - low, high - median], elinewidth=0.8, label=label, **series_style(series))


def plot_confusion_matrix(counts: np.ndarray, ax: Axes) -> None:
    """Draw a confusion matrix, each row normalised, with shares and counts.

    Parameters
    ----------
    counts : numpy.ndarray
        int, shape ``(4, 5)``: true class by class given, the last column what was missed.
    ax : matplotlib.axes.Axes
        Where.
    """
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(share):
        if counts[row, column]:
            ink = "white" if value > 0.55 else "black"
            text = f"{value:.2f}\n{counts[row, column]}"
            ax.text(column, row, text, ha="center", va="center", fontsize=7, color=ink)
    names = [name.replace("_", " ") for name in SOURCE_CLASSES]
    ax.set_yticks(range(len(names)), names, fontsize=SMALL)
    ax.set_xticks(range(counts.shape[1]), [*names, "missed"], fontsize=SMALL, rotation=35, ha="right")
    ax.tick_params(length=0)


def class_patches(palette: str, others: Mapping[str, Any], **style: Any) -> list[Patch]:
    """Entries of a legend: the source classes in the colours of a palette, and others in theirs."""
    colours = dict(zip(SOURCE_CLASSES, class_colours(palette), strict=True)) | dict(others)
    return [Patch(facecolor=colour, label=name.replace("_", " "), **style) for name, colour in colours.items()]


def draw_rings(outlines: Outlines, ax: Axes, *, scale: float = 1, corner: Any = 0, **style: Any) -> None:
    """Draw outlines as closed lines, of a map of ``scale`` pixels per step that begins at the pixel ``corner``."""
    rings = [scale * ring - 0.5 + corner for ring in np.split(outlines.vertices, outlines.starts[1:-1])]
    ax.add_collection(LineCollection([np.append(ring, ring[:1], axis=0) for ring in rings], **style), autolim=False)
