"""A sheet of stamps: sources one by one, with their outlines and a bar of their class probabilities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.image import SkyImage, reference_band_of
from morpheus_lite.core.labels import check_labels, trace_outlines
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.visualization.colours import NO_CLASS, class_colours, field_rgb
from morpheus_lite.visualization.plots.figures import class_patches, draw_rings

ORDERS = ("brightest", "uncertain")
_SMALLEST = 20
LARGEST_STAMP = 200
"""Pixels along the side of the largest stamp."""

_CELL = 1.35
_INK = "#222222"


def choose_sources(
    table: QTable, n: int, *, order: str = "brightest", morphology: str | None = None, per_class: bool = False
) -> np.ndarray:
    """Rows of a catalogue worth looking at.

    Parameters
    ----------
    table : astropy.table.QTable
        Catalogue, from `measure`.
    n : int
        How many at most.
    order : {"brightest", "uncertain"}
        By the flux of the segment in the detection band, or by the entropy of the class probabilities, largest first.
    morphology : str, optional
        Only sources of this class.
    per_class : bool
        ``n`` of each class, in the order of ``SOURCE_CLASSES``.

    Returns
    -------
    numpy.ndarray
        int, shape ``(m,)``: row numbers. Sources without a value to order by come last.
    """
    if order not in ORDERS:
        raise OptionError(f"order {order!r}: choose one of {', '.join(ORDERS)}")
    if morphology is not None and morphology not in SOURCE_CLASSES:
        raise OptionError(f"morphology {morphology!r}: choose one of {', '.join(SOURCE_CLASSES)}")
    if per_class:
        parts = [choose_sources(table, n, order=order, morphology=name) for name in SOURCE_CLASSES]
        return np.concatenate(parts)
    value = np.asarray(table[_flux_column(table)] if order == "brightest" else table["entropy"], dtype=float)
    there = np.ones(len(table), bool) if morphology is None else np.asarray(table["morphology"]) == morphology
    ranked = np.argsort(-np.nan_to_num(value, nan=-np.inf), kind="stable")
    return ranked[there[ranked]][:n]


def plot_stamp(picture: np.ndarray, labels: np.ndarray, row: Any, ax: Axes, *, palette: str = "legible") -> None:
    """Draw one source, its outline in the colour of its class, and the outlines of its neighbours in grey.

    The side of the stamp is 2.5 times the extent of the source, between 20 and 200 px.

    Parameters
    ----------
    picture : numpy.ndarray
        float32, shape ``(y, x, 3)``: the field, as `field_rgb` makes it.
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    row : astropy.table.Row
        Of the catalogue.
    ax : matplotlib.axes.Axes
        Where.
    palette : {"legible", "paper"}
        Colours of the classes.
    """
    side = int(np.clip(2.5 * np.sqrt(_number(row["area"])), _SMALLEST, LARGEST_STAMP))
    x, y = (round(_number(row[name])) for name in ("x_centroid", "y_centroid"))
    left, top = x - side // 2, y - side // 2
    here = slice(max(top, 0), top + side), slice(max(left, 0), left + side)
    near, corner = labels[here], np.array([here[1].start, here[0].start])
    (x0, y0), (x1, y1) = corner - 0.5, corner + near.shape[::-1] - 0.5
    ax.imshow(picture[here], origin="lower", interpolation="nearest", extent=(x0, x1, y0, y1))
    outlines = trace_outlines(near)
    colour = dict(zip(SOURCE_CLASSES, class_colours(palette), strict=True)).get(str(row["morphology"]), NO_CLASS)
    colours = [colour if name == row["label"] else (0.6, 0.6, 0.6) for name in outlines.labels]
    draw_rings(outlines, ax, corner=corner, colors=colours, linewidths=0.8)
    ax.set(xlim=(left - 0.5, left + side - 0.5), ylim=(top - 0.5, top + side - 0.5), xticks=[], yticks=[])
    ax.set_facecolor("0.25")
    ax.set_aspect("equal", anchor="S")


def plot_stamp_sheet(
    image: SkyImage,
    labels: Any,
    table: QTable,
    *,
    rows: Sequence[int] | np.ndarray | None = None,
    n_columns: int = 8,
    palette: str = "legible",
) -> Figure:
    """Draw sources one by one, each above a bar of its class probabilities.

    Parameters
    ----------
    image : SkyImage
        The image, any number of bands.
    labels : array_like of int
        Its label map, shape ``(y, x)``.
    table : astropy.table.QTable
        Its catalogue, from `measure`.
    rows : array_like of int, optional
        Rows of the catalogue, such as `choose_sources` gives; None takes the 32 brightest.
    n_columns : int
        Stamps in a row.
    palette : {"legible", "paper"}
        Colours of the classes.

    Returns
    -------
    matplotlib.figure.Figure
        Above each stamp: label, and magnitude of the detection band where there is one; below all, what the colours of
        outlines and bars mean.
    """
    labels = check_labels(labels, image.shape)
    rows = choose_sources(table, 32) if rows is None else np.asarray(rows, dtype=int)
    if len(rows) and not (rows.min() >= -len(table) and rows.max() < len(table)):
        raise InputError(f"rows up to {rows.max()}: the catalogue has {len(table)}")
    n_rows = max(-(-len(rows) // n_columns), 1)
    figure = Figure(figsize=(_CELL * n_columns + 0.2, 1.35 * _CELL * n_rows + 0.5), layout="constrained")
    grid = figure.subplots(2 * n_rows, n_columns, squeeze=False, height_ratios=[10, 1] * n_rows)
    picture = field_rgb(image)
    for cell in range(n_rows * n_columns):
        upper, lower = grid[2 * (cell // n_columns) : 2 * (cell // n_columns) + 2, cell % n_columns]
        if cell >= len(rows):
            upper.set_axis_off()
            lower.set_axis_off()
            continue
        row = table[int(rows[cell])]
        plot_stamp(picture, labels, row, upper, palette=palette)
        upper.set_title(_title(row, table), fontsize=7, color=_INK, pad=2, parse_math=False)
        _plot_bar(lower, row, palette)
    patches = class_patches(palette, {UNCERTAIN: NO_CLASS})
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=8, frameon=False)
    return figure


def _plot_bar(ax: Axes, row: Any, palette: str) -> None:
    """The class probabilities side by side, adding to the width of the stamp."""
    shares = np.nan_to_num([_number(row[f"p_{name}"]) for name in SOURCE_CLASSES])
    ax.barh([0] * len(shares), shares, left=np.cumsum(shares) - shares, height=1, color=class_colours(palette))
    ax.set(xlim=(0, 1), ylim=(-0.5, 0.5), xticks=[], yticks=[])
    ax.spines[:].set_color("0.6")


def _title(row: Any, table: QTable) -> str:
    band = reference_band_of(table.meta)
    for kind in ("total", "kron"):
        name = f"{kind}_mag_{band}"
        if name in table.colnames and np.isfinite(_number(row[name])):
            return f"{row['label']}   {_number(row[name]):.2f} mag"
    return str(row["label"])


def _flux_column(table: QTable) -> str:
    found = [name for name in table.colnames if name.startswith("segment_flux_")]
    if (wanted := f"segment_flux_{reference_band_of(table.meta)}") in found:
        return wanted
    if not found:
        raise InputError("the table has no segment_flux column: expected a catalogue of this package")
    return found[0]


def _number(value: Any) -> float:
    return float(getattr(value, "value", value))
