"""The summary of a run as one figure: the field, the class map with its legend, outlines and names."""

from pathlib import Path
from typing import Any

from astropy.table import QTable
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.errors import OutputError
from morpheus_lite.runtime.atomic import atomic_write, check_writable
from morpheus_lite.visualization.plots.axes import (
    greyed,
    outline_width,
    plot_class_map,
    plot_names,
    plot_outlines,
    plot_scale_bar,
    show_picture,
    shown_maps,
)
from morpheus_lite.visualization.plots.colours import NO_CLASS, class_colours, field_rgb

_PANEL = 4.4
_INK = "#222222"


def plot_classification(
    image: SkyImage,
    classification: Classification,
    labels: Any,
    table: QTable,
    *,
    palette: str = "legible",
    step: int = 1,
    figure: Figure | None = None,
) -> Figure:
    """Draw field, class map and outlines side by side, or one above the other if they are wide.

    Parameters
    ----------
    image : SkyImage
        The image, any number of bands.
    classification : Classification
        Its class maps.
    labels : array_like of int
        Its label map, shape ``(y, x)``.
    table : astropy.table.QTable
        Its catalogue, from `measure`.
    palette : {"legible", "paper"}
        Colours of the classes.
    step : int
        Pixels of the sky's image along a side of one that is drawn: outlines are as thin as for all of its pixels.
    figure : matplotlib.figure.Figure, optional
        An empty figure to draw on; None makes one that belongs to no window and no pyplot state.

    Returns
    -------
    matplotlib.figure.Figure
        With axes in right ascension and declination if the image has a WCS, in pixels if not.
    """
    height, width = image.shape
    wide = width > 1.8 * height
    if figure is None:
        figure = Figure(figsize=_size(height / width, wide))
    if not isinstance(figure.canvas, FigureCanvasAgg):
        FigureCanvasAgg(figure)
    projection = image.wcs.celestial if image.wcs is not None and image.pixel_scale is not None else None
    panels = _panels(figure, wide, projection)
    colours = field_rgb(image)
    show_picture(colours, panels[0])
    plot_scale_bar(image, panels[0])
    plot_class_map(classification, panels[1], palette=palette)
    show_picture(greyed(colours), panels[2])
    thin = outline_width(step * max(image.shape))
    plot_outlines(labels, table, panels[2], palette=palette, line_width=thin)
    titles = ("field", f"class map ({_MEANING[shown_maps(classification)]})", f"{len(table)} sources")
    for number, (ax, title) in enumerate(zip(panels, titles, strict=True)):
        ax.set_title(title, fontsize=10, color=_INK, loc="left")
        _trim(ax, celestial=projection is not None, inner=not wide and number > 0)
    _legend(figure, palette)
    figure.suptitle(
        _title(image, classification),
        x=0.01,
        y=1 - _EDGE / figure.get_size_inches()[1],
        ha="left",
        va="top",
        fontsize=11,
        color=_INK,
        parse_math=False,
    )
    panels[2].apply_aspect()
    plot_names(table, panels[2])
    return figure


def save_summary(
    image: SkyImage,
    classification: Classification,
    labels: Any,
    table: QTable,
    path: str | Path,
    *,
    palette: str = "legible",
    step: int = 1,
    dpi: int = 160,
    overwrite: bool = False,
) -> Path:
    """Write the figure of `plot_classification` to a file.

    Parameters
    ----------
    image, classification, labels, table, palette, step
        As in `plot_classification`.
    path : path
        Where; the suffix says the format: ``.png``, ``.pdf``, ``.svg``.
    dpi : int
        Dots per inch of a PNG.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    pathlib.Path
        The file, which appears under its name when it is whole.

    Raises
    ------
    OutputError
        The file exists, has a suffix that is no picture's, or cannot be written.
    """
    path = Path(path)
    check_writable([path], overwrite)
    kind = path.suffix.lower().lstrip(".")
    if kind not in FigureCanvasAgg.get_supported_filetypes():
        raise OutputError(f"{path}: {path.suffix or 'no suffix'} is no picture format; expected .png, .pdf or .svg")
    figure = plot_classification(image, classification, labels, table, palette=palette, step=step)
    with atomic_write(path, overwrite=overwrite) as partial:
        figure.savefig(partial, format=kind, dpi=dpi)
    return path


_MEANING = {"vote": "rank votes", "probability": "mean probabilities"}


# Margins in inches. An automatic layout would draw the whole figure twice before it is drawn.
_LEFT, _TOP, _BOTTOM, _EDGE = 0.85, 0.6, 0.75, 0.08
_BETWEEN, _ABOVE = 0.12, 0.6


def _size(aspect: float, wide: bool) -> tuple[float, float]:
    if wide:
        width = 2 * _PANEL
        return width, 3 * (width - _LEFT - _EDGE) * aspect + 2 * _ABOVE + _TOP + _BOTTOM
    width = 3 * _PANEL
    panel = (width - _LEFT - _EDGE - 2 * _BETWEEN) / 3
    return width, min(panel * aspect, width) + _TOP + _BOTTOM


def _panels(figure: Figure, wide: bool, projection: Any) -> Any:
    """Three axes, one above the other or side by side, with room for ticks, titles and legend."""
    width, height = figure.get_size_inches()
    grid = figure.add_gridspec(*((3, 1) if wide else (1, 3)))
    grid.update(
        left=_LEFT / width,
        right=1 - _EDGE / width,
        top=1 - _TOP / height,
        bottom=_BOTTOM / height,
        # As shares of a panel.
        wspace=3 * _BETWEEN / (width - _LEFT - _EDGE - 2 * _BETWEEN),
        hspace=3 * _ABOVE / max(height - _TOP - _BOTTOM - 2 * _ABOVE, _ABOVE),
    )
    return grid.subplots(subplot_kw={"projection": projection})


def _title(image: SkyImage, classification: Classification) -> str:
    model = classification.provenance.get("model")
    return "   ".join([image.title, "+".join(image.bands), *([f"model {model}"] if model else [])])


def _trim(ax: Any, *, celestial: bool, inner: bool) -> None:
    """Small ticks; the vertical axis is named only once in a row of panels."""
    if not celestial:
        ax.tick_params(labelsize=7, colors=_INK, labelleft=not inner)
        ax.set_xlabel("x (px)", fontsize=8)
        ax.set_ylabel("" if inner else "y (px)", fontsize=8)
        return
    longitude, latitude = ax.coords
    for axis, name in ((longitude, "RA"), (latitude, "Dec")):
        axis.set_axislabel(name, fontsize=8, minpad=0.6)
        axis.set_ticklabel(size=7, exclude_overlapping=True)
        axis.tick_params(color="white", direction="in", length=3)
    if inner:
        latitude.set_axislabel("")
        latitude.set_ticklabel_visible(False)


def _legend(figure: Figure, palette: str) -> None:
    colours = [*class_colours(palette), NO_CLASS, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)]
    names = [*(name.replace("_", " ") for name in SOURCE_CLASSES), UNCERTAIN, "undecided pixel", "background"]
    patches = [
        Patch(facecolor=colour, edgecolor="#666666", linewidth=0.5, label=name)
        for colour, name in zip(colours, names, strict=True)
    ]
    figure.legend(
        handles=patches,
        loc="lower center",
        ncols=7,
        fontsize=8,
        frameon=False,
        handlelength=1.2,
        labelcolor=_INK,
    )
