"""Images and class maps in a notebook: a thumbnail with a few facts, and plots on axes of their own."""

import base64
import io
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any, cast

import numpy as np
from astropy.wcs import WCS
from matplotlib.axes import Axes
from PIL import Image

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.visualization.colours import colorize, field_rgb, hex_colours
from morpheus_lite.visualization.plots.figures import class_patches
from morpheus_lite.visualization.plots.summary import plot_class_map, plot_field, plot_scale_bar, shown_maps

_THUMBNAIL = 200
"""Pixels along the longer side of a thumbnail."""


def image_html(image: SkyImage) -> str:
    """An image as HTML: thumbnail, shape, bands, units, zero-points, noise."""
    step = _step(image.shape)
    small = replace(
        image, data=image.data[::step, ::step], valid=image.valid[::step, ::step], rms=None, wcs=None, meta={}
    )
    facts = {
        "Size": _size(image.shape, image.pixel_scale),
        "Bands": ", ".join(image.bands),
        "Units": ", ".join(unit or "not stated" for unit in image.units),
        "AB zero-points": ", ".join("unknown" if one is None else f"{one:.3f}" for one in image.zero_points),
        "Noise": "measured from the image" if image.rms is None else "RMS planes",
        "Valid": f"{np.count_nonzero(image.valid) / max(image.valid.size, 1):.1%} of the pixels",
    }
    return card_html(f"SkyImage {image.title}", facts, _png(field_rgb(small)))


def classification_html(result: Classification) -> str:
    """Class maps as HTML: thumbnail, model, share of each class."""
    step = _step(result.shape)
    kind = shown_maps(result)
    top = result.top_class[result.classified]
    shares = np.bincount(top, minlength=len(SOURCE_CLASSES) + 1) / max(len(top), 1)
    facts = {
        "Size": _size(result.shape, None),
        "Model": str(result.provenance.get("model", "unknown")),
        "Classified": f"{result.classified.mean():.1%} of the pixels",
    }
    colours = hex_colours("legible")
    facts |= {name.replace("_", " "): f"{share:.1%}" for name, share in zip(SOURCE_CLASSES, shares, strict=False)}
    marks = {name.replace("_", " "): colours[name] for name in SOURCE_CLASSES}
    small = replace(
        result, **{kind: getattr(result, kind)[::step, ::step], "coverage": result.coverage[::step, ::step]}
    )
    return card_html("Classification", facts, _png(colorize(small, palette="legible", maps=kind)), marks)


def card_html(
    title: str,
    facts: Mapping[str, str],
    png: bytes | None,
    marks: Mapping[str, str] | None = None,
    *,
    width: int = _THUMBNAIL,
) -> str:
    """Facts beside a picture, as HTML that takes the colours of the page it stands in.

    Parameters
    ----------
    title : str
        Heading.
    facts : mapping of str to str
        Rows.
    png : bytes or None
        The picture.
    marks : mapping of str to str, optional
        Colour of a square before a row, ``#rrggbb``.
    width : int
        Largest width of the picture, px.
    """
    rows = []
    for name, value in facts.items():
        colour = (marks or {}).get(name)
        mark = f'<span style="color:{colour}">&#9632;</span> ' if colour else ""
        cells = f"<th style='text-align:left;padding:0 1em 0 0'>{mark}{escape(name)}</th>"
        rows.append(f"<tr>{cells}<td style='text-align:left;padding:0'>{escape(value)}</td></tr>")
    data = "" if png is None else base64.b64encode(png).decode()
    picture = f"<img alt='' style='max-width:min({width}px,100%)' src='data:image/png;base64,{data}'>" if data else ""
    return (
        "<div style='display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start'>"
        f"{picture}<div><strong>{escape(title)}</strong><table style='border:0'>{''.join(rows)}</table></div></div>"
    )


def plot_image(image: SkyImage, ax: Axes | None = None) -> Axes:
    """Draw an image in colour, with a scale bar; see `SkyImage.plot`."""
    ax = ax or _new_axes(image.wcs, image.shape)
    plot_field(image, ax)
    plot_scale_bar(image, ax)
    return ax


def plot_result(result: Classification, ax: Axes | None = None) -> Axes:
    """Draw class maps in colour, with a legend; see `Classification.plot`."""
    ax = ax or _new_axes(result.wcs, result.shape)
    plot_class_map(result, ax)
    handles = class_patches("legible", {"background": "black"})
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small")
    return ax


def _new_axes(wcs: WCS | None, shape: tuple[int, int]) -> Any:
    """Axes of a new figure of pyplot, so that a notebook shows it."""
    import matplotlib.pyplot as plt

    projection = wcs.celestial if wcs is not None and wcs.has_celestial else None
    side = 5.0
    height = float(np.clip(side * shape[0] / shape[1], 2, 10))
    _, ax = plt.subplots(figsize=(side + 1, height), layout="constrained", subplot_kw={"projection": projection})
    if projection is not None:
        for axis, name in zip(cast(Any, ax).coords, ("RA", "Dec"), strict=True):
            axis.set_axislabel(name, minpad=0.6)
            axis.set_ticklabel(exclude_overlapping=True)
    else:
        ax.set(xlabel="x (px)", ylabel="y (px)")
    return ax


def _size(shape: tuple[int, int], scale: float | None) -> str:
    return f"{shape[0]:,} x {shape[1]:,} px" + ("" if scale is None else f' of {scale:.3g}"')


def _step(shape: tuple[int, int]) -> int:
    return -(-max(shape) // (2 * _THUMBNAIL))


def _png(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    pixels = np.rint(255 * np.clip(np.nan_to_num(rgb[::-1]), 0, 1)).astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    picture.save(buffer, "PNG")
    return buffer.getvalue()
