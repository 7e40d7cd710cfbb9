"""Field, class map with its legend, outlines, names, scale bar: each on axes, and in one figure that sums up a run."""

from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable
from astropy.wcs import WCS
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import check_labels, trace_outlines
from morpheus_lite.core.windows import block_mean
from morpheus_lite.errors import OutputError
from morpheus_lite.runtime.atomic import check_writable
from morpheus_lite.runtime.resources import counted
from morpheus_lite.visualization.colours import NO_CLASS, class_colours, colorize, field_rgb
from morpheus_lite.visualization.plots.figures import class_patches, draw_rings, save_figure

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
    projection = image.wcs.celestial if image.wcs is not None and image.pixel_scale is not None else None
    panels = _panels(figure, wide, projection)
    colours = field_rgb(image)
    show_picture(colours, panels[0])
    plot_scale_bar(image, panels[0])
    plot_class_map(classification, panels[1], palette=palette)
    # The mean of the colours, dimmed, is a ground for outlines.
    show_picture(np.repeat(0.85 * colours.mean(axis=2, keepdims=True), 3, axis=2), panels[2])
    thin = outline_width(step * max(image.shape))
    plot_outlines(labels, table, panels[2], palette=palette, line_width=thin)
    titles = ("field", f"class map ({_MEANING[shown_maps(classification)]})", counted(len(table), "source"))
    for number, (ax, title) in enumerate(zip(panels, titles, strict=True)):
        ax.set_title(title, fontsize=10, color=_INK, loc="left")
        _trim(ax, celestial=projection is not None, inner=not wide and number > 0)
    _legend(figure, palette)
    corner = {"x": 0.01, "y": 1 - _EDGE / figure.get_size_inches()[1], "ha": "left", "va": "top"}
    figure.suptitle(_title(image, classification), **corner, fontsize=11, color=_INK, parse_math=False)
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
        The file exists, has a suffix that is not a picture's, or cannot be written.
    """
    path = Path(path)
    check_writable([path], overwrite)
    kind = path.suffix.lower().lstrip(".")
    if kind not in FigureCanvasAgg.get_supported_filetypes():
        raise OutputError(f"{path}: {path.suffix or 'no suffix'} is not a picture format; expected .png, .pdf or .svg")
    figure = plot_classification(image, classification, labels, table, palette=palette, step=step)
    return save_figure(figure, path, overwrite=overwrite, dpi=dpi, kind=kind)


def warm_up() -> None:
    """Draw empty panels, for nobody: the first ones of a process take half a second more, for fonts and grammars."""
    wcs, figure = WCS(naxis=2), Figure()
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [-1e-5, 1e-5]
    for panel in _panels(figure, False, wcs):
        _trim(panel, celestial=True, inner=False)
    _legend(figure, "legible")
    figure.savefig(BytesIO(), format="png")


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
    style = {"fontsize": 8, "frameon": False, "handlelength": 1.2, "labelcolor": _INK}
    others = {UNCERTAIN: NO_CLASS, "undecided pixel": "white", "background": "black"}
    patches = class_patches(palette, others, edgecolor="#666666", linewidth=0.5)
    figure.legend(handles=patches, loc="lower center", ncols=7, **style)


HALO = withStroke(linewidth=2.2, foreground="black", alpha=0.8)
_MOST_PIXELS = 2000
_BAR_LENGTHS = np.outer(10.0 ** np.arange(-1, 6), [1, 2, 5]).ravel()


def plot_field(image: SkyImage, ax: Axes) -> None:
    """Draw the field in colour.

    Parameters
    ----------
    image : SkyImage
        The image, any number of bands.
    ax : matplotlib.axes.Axes
        Where; plain axes or WCSAxes.
    """
    show_picture(field_rgb(image), ax)


def plot_class_map(
    classification: Classification, ax: Axes, *, palette: str = "legible", maps: str | None = None
) -> None:
    """Draw the class maps in colour, as `colorize` makes them.

    Parameters
    ----------
    classification : Classification
        Class maps.
    ax : matplotlib.axes.Axes
        Where; plain axes or WCSAxes.
    palette : {"legible", "paper"}
        Colours of the classes.
    maps : {"vote", "probability"}, optional
        Which maps; None takes rank votes if there are any.
    """
    show_picture(colorize(classification, palette=palette, maps=maps or shown_maps(classification)), ax)


def shown_maps(classification: Classification) -> str:
    """Class maps that pictures show by default: rank votes if there are any."""
    return "probability" if classification.vote is None else "vote"


def plot_outlines(
    labels: Any, table: QTable, ax: Axes, *, palette: str = "legible", line_width: float | None = None
) -> None:
    """Draw the outline of every source in the colour of its class.

    Parameters
    ----------
    labels : array_like of int
        Label map, shape ``(y, x)``.
    table : astropy.table.QTable
        Catalogue with the columns ``label`` and ``morphology``; sources that it does not hold are grey.
    ax : matplotlib.axes.Axes
        Where; plain axes or WCSAxes.
    palette : {"legible", "paper"}
        Colours of the classes.
    line_width : float, optional
        In points; None takes 0.9, thinner for images above 1,000 px.
    """
    labels = check_labels(labels, np.shape(labels))
    step = _step(labels.shape)
    outlines = trace_outlines(labels[::step, ::step])
    kinds = dict(zip(table["label"].tolist(), map(str, table["morphology"]), strict=True))
    colour_of = dict(zip(SOURCE_CLASSES, class_colours(palette), strict=True))
    colours = [colour_of.get(kinds.get(label, ""), NO_CLASS) for label in outlines.labels.tolist()]
    width = line_width or outline_width(max(labels.shape))
    draw_rings(outlines, ax, scale=step, colors=colours, linewidths=width, joinstyle="miter")


def outline_width(side: int) -> float:
    """Width in points of the outlines on an image whose longer side has so many pixels."""
    return float(np.clip(900 / side, 0.35, 0.9))


def plot_scale_bar(image: SkyImage, ax: Axes) -> None:
    """Draw a bar of a round length, in arcseconds or arcminutes with a WCS, in pixels without one."""
    height, width = image.shape
    scale = image.pixel_scale or 1.0
    length = _BAR_LENGTHS[max(int(np.searchsorted(_BAR_LENGTHS, 0.25 * width * scale)) - 1, 0)]
    pixels = length / scale
    angle = f"{length:g}″" if length < 60 else f"{length / 60:.3g}′"
    name = f"{length:g} px" if image.pixel_scale is None else angle
    x, y = 0.04 * width, 0.05 * height
    ax.plot([x, x + pixels], [y, y], color="white", linewidth=2, path_effects=[HALO], solid_capstyle="butt")
    _write(ax, name, (x + pixels / 2, y), xytext=(0, 3), textcoords="offset points", va="bottom", fontsize=8)


def _write(ax: Axes, text: str, position: tuple[float, float], **options: Any) -> Annotation:
    """White letters with a dark edge, centred on a position of the image."""
    style: dict[str, Any] = {"ha": "center", "color": "white", "path_effects": [HALO], "parse_math": False}
    return ax.annotate(text, position, **style | options)


def show_picture(picture: np.ndarray, ax: Axes) -> None:
    """Draw colours, float32 of shape ``(y, x, 3)``, with the first row at the bottom."""
    height, width = picture.shape[:2]
    step = _step((height, width))
    # Bytes, and opaque: of floats, matplotlib makes copies of eight times the size.
    small = np.full((*(-(-side // step) for side in (height, width)), 4), 255, np.uint8)
    small[..., :3] = np.rint(255 * block_mean(picture, step))
    extent = (-0.5, small.shape[1] * step - 0.5, -0.5, small.shape[0] * step - 0.5)
    ax.imshow(
        small, origin="lower", extent=extent, interpolation="nearest" if max(height, width) < 300 else "antialiased"
    )
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(-0.5, height - 0.5)


def _step(shape: tuple[int, ...]) -> int:
    """Number of image pixels per pixel of the picture, along each axis."""
    return -(-max(shape) // _MOST_PIXELS)


_DIRECTIONS = ((1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7), (0, -1), (0.7, -0.7))


def plot_names(table: QTable, ax: Axes) -> int:
    """Write the labels of sources beside them: of 40 at most, the largest first.

    Parameters
    ----------
    table : astropy.table.QTable
        Catalogue: ``label, x_centroid, y_centroid, semimajor_axis, area``.
    ax : matplotlib.axes.Axes
        Where; its figure must have its final size and layout.

    Returns
    -------
    int
        How many names found a place: next to their source, inside the axes, and over no other name or source's centre.
    """
    figure: Any = ax.get_figure(root=True)
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    frame = ax.get_window_extent(renderer)
    order = np.argsort(-np.asarray(table["area"]), kind="stable")[:40]
    x, y = (np.asarray(table[name]) for name in ("x_centroid", "y_centroid"))
    centres = ax.transData.transform(np.stack([x, y], axis=1))
    taken = [text.get_window_extent(renderer) for text in ax.texts]
    n_placed = 0
    for row in order:
        # WCSAxes know where they are only when they have been drawn; a place outside of them is never taken.
        where = {"xytext": (0, 0), "textcoords": "offset pixels", "va": "center", "annotation_clip": False}
        name = _write(ax, str(table["label"][row]), (x[row], y[row]), fontsize=7, **where)
        reach = _reach(ax, table, row)
        box = _place(name, reach, frame, taken, centres, renderer)
        if box is None:
            name.remove()
            continue
        taken.append(box)
        n_placed += 1
    return n_placed


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
