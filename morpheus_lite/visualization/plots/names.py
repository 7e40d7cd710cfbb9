"""Names of sources on a picture, placed so that none covers another."""

from itertools import product
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from morpheus_lite.visualization.plots.axes import HALO

_DIRECTIONS = ((1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7), (0, -1), (0.7, -0.7))


def plot_names(table: QTable, ax: Axes, *, n_most: int = 40, size: float = 7) -> int:
    """Write the labels of sources beside them.

    Parameters
    ----------
    table : astropy.table.QTable
        Catalogue: ``label, x_centroid, y_centroid, semimajor_axis, area``.
    ax : matplotlib.axes.Axes
        Where; its figure must have its final size and layout.
    n_most : int
        How many names at most; the largest sources go first.
    size : float
        Of the letters, in points.

    Returns
    -------
    int
        How many names found a place: next to their source, inside the axes, and over no other name or source's centre.
    """
    figure: Any = ax.get_figure(root=True)
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    frame = ax.get_window_extent(renderer)
    order = np.argsort(-np.asarray(table["area"]), kind="stable")[:n_most]
    x, y = (np.asarray(table[name]) for name in ("x_centroid", "y_centroid"))
    centres = ax.transData.transform(np.stack([x, y], axis=1))
    taken = [text.get_window_extent(renderer) for text in ax.texts]
    n_placed = 0
    for row in order:
        name = _name(ax, str(table["label"][row]), (x[row], y[row]), size)
        reach = _reach(ax, table, row)
        box = _place(name, reach, frame, taken, centres, renderer)
        if box is None:
            name.remove()
            continue
        taken.append(box)
        n_placed += 1
    return n_placed


def _name(ax: Axes, text: str, position: tuple[float, float], size: float) -> Annotation:
    return ax.annotate(
        text,
        position,
        xytext=(0, 0),
        textcoords="offset pixels",
        ha="center",
        va="center",
        fontsize=size,
        color="white",
        path_effects=[HALO],
        parse_math=False,
    )


def _reach(ax: Axes, table: QTable, row: int) -> float:
    """Pixels of the picture from the centre of a source to just outside of its bright part."""
    axis = float(np.nan_to_num(np.asarray(table["semimajor_axis"])[row], nan=1.0))
    origin, away = ax.transData.transform([(0, 0), (min(2 * axis, 15) + 1, 0)])
    return float(np.hypot(*(away - origin)))


def _place(
    name: Annotation, reach: float, frame: Bbox, taken: list[Bbox], centres: np.ndarray, renderer
) -> Bbox | None:
    """Move a name to the first free place around its source; None if there is none."""
    extent = name.get_window_extent(renderer)
    for stretch, (right, up) in product((1.0, 1.6), _DIRECTIONS):
        name.set_position((right * (stretch * reach + extent.width / 2), up * (stretch * reach + extent.height / 2)))
        box = name.get_window_extent(renderer).padded(1)
        inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if inside and not box.count_contains(centres) and not box.count_overlaps(taken):
            return box
    return None
