"""The frame that all figures of numbers share: colours, markers, grid, legend below, written whole."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from morpheus_lite.runtime.atomic import atomic_write

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe & Ito: apart for colour-blind readers; a marker each besides."""

MARKERS = "osD^vPX"
FONT, SMALL, LINE = 9, 8, 1.4


def series_style(k: int) -> dict[str, Any]:
    """Colour, marker and line of the k-th series of a figure."""
    return {
        "color": COLOURS[k % len(COLOURS)],
        "marker": MARKERS[k % len(MARKERS)],
        "markersize": 4,
        "linewidth": LINE,
    }


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


def save_figure(figure: Figure, path: str | Path, *, overwrite: bool = False, dpi: int = 200) -> Path:
    """Write a figure as PNG; the file appears under its name when it is whole."""
    FigureCanvasAgg(figure)
    with atomic_write(Path(path), overwrite=overwrite) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png")
    return Path(path)
