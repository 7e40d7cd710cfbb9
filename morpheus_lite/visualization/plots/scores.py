"""Drawings of scores on one pair of axes: fractions in bins, reliability diagrams, confusion, residuals."""

import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.visualization.plots.frames import COLOURS, LINE, SMALL, series_style

_FEWEST = 3


class BinnedFractions(Protocol):
    """Successes among trials in bins, as `Scores.completeness` and `Scores.binned_purity` hold them."""

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins."""

    @property
    def n_tried(self) -> np.ndarray:
        """Trials in each bin."""

    @property
    def fraction(self) -> np.ndarray:
        """Share of successes in each bin."""

    @property
    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bound of each share."""


class Diagram(Protocol):
    """A reliability diagram, as `Scores.reliability` holds them."""

    @property
    def weight(self) -> np.ndarray:
        """Predictions in each bin, or their weight."""

    @property
    def mean_confidence(self) -> np.ndarray:
        """Mean probability that was given in each bin."""

    @property
    def mean_outcome(self) -> np.ndarray:
        """Fraction of cases in each bin that came true."""

    @property
    def total(self) -> float:
        """Sum of the weights."""


def plot_fractions(binned: BinnedFractions, ax: Axes, *, label: str = "", series: int = 0, offset: float = 0.0) -> None:
    """Draw completeness or purity against magnitude, with its interval.

    Parameters
    ----------
    binned : BinnedFractions
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


def plot_calibration(
    diagram: Diagram, ax: Axes, *, label: str = "", series: int = 0, shares: Axes | None = None
) -> None:
    """Draw how often a probability came true, against the probability; a calibrated one lies on the diagonal.

    Parameters
    ----------
    diagram : Diagram
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
