"""DS9 region files: the ellipses or the outlines of a catalogue's sources, in sky or image coordinates."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from astropy.table import QTable, Table
from astropy.wcs import WCS

from morpheus_lite.core.labels import trace_outlines
from morpheus_lite.errors import InputError, OptionError, expect
from morpheus_lite.runtime.atomic import atomic_write, check_writable

ELLIPSE_SCALE = 3.0
"""Semi-axes of the ellipses drawn, in units of the table's: a Gaussian holds 99 % of its light inside."""

_DEGREE = 180 / np.pi


def write_regions(
    table: QTable,
    path: str | Path,
    *,
    labels: np.ndarray | None = None,
    wcs: WCS | None = None,
    frame: str = "sky",
    scale: float = ELLIPSE_SCALE,
    colors: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the sources of a catalogue as a DS9 region file.

    Parameters
    ----------
    table : astropy.table.QTable
        The catalogue: ``label``; for ellipses ``x_centroid, y_centroid, semimajor_axis, semiminor_axis`` in
        pixels and ``orientation`` in degrees, counter-clockwise from the x axis. Positions are 0-based.
    path : path
        The file, usually ``*.reg``.
    labels : numpy.ndarray, optional
        int, shape ``(y, x)``: the segmentation map. With it the outer outline of each segment is written as a
        polygon; without it, ellipses. Labels that the table does not hold are left out.
    wcs : astropy.wcs.WCS, optional
        WCS of the image; needed for ``frame="sky"``.
    frame : {"sky", "image"}
        ICRS degrees, or DS9's image coordinates (1-based pixels).
    scale : float
        Ellipses are drawn with semi-axes of ``scale`` times the table's.
    colors : mapping, optional
        Colour (a name or ``#rrggbb``) of each value of the table's ``morphology`` column.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    InputError
        A column is missing, or the sky is asked for without a celestial WCS.
    OptionError
        The frame is neither of the two, or the scale is not positive.
    OutputError
        The file exists and ``overwrite`` is False.

    Notes
    -----
    Every region carries its label as text and its morphology as a tag, so that DS9 can select a class as a group.
    Sources without a finite position or size are left out. On the sky an ellipse is the image of the pixel ellipse
    under the WCS linearised at its centre; its angle is the position angle plus 90 degrees, DS9's convention.
    """
    expect(table, Table, "write_regions")
    check_writable([path], overwrite)
    _check(table, wcs, frame, scale)
    if labels is None:
        shapes = _ellipses(table, wcs if frame == "sky" else None, scale)
    else:
        shapes = _polygons(np.asarray(labels), table, wcs if frame == "sky" else None)
    properties = _properties(table, colors or {})
    lines = ["# Region file format: DS9 version 4.1", "icrs" if frame == "sky" else "image"]
    lines += [f"{shape} # {properties[row]}" for row, shape in shapes]
    with atomic_write(path, overwrite=overwrite) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Path(path)


def _check(table: QTable, wcs: WCS | None, frame: str, scale: float) -> None:
    if frame not in ("sky", "image"):
        raise OptionError(f"frame {frame!r}: choose 'sky' (ICRS) or 'image' (pixels)")
    if not (np.isfinite(scale) and scale > 0):
        raise OptionError(f"scale {scale!r}: the ellipses need a positive number")
    if frame == "sky" and (wcs is None or not wcs.has_celestial):
        raise InputError("regions on the sky need a celestial WCS, and the image has none: use frame='image'")
    if "label" not in table.colnames:
        raise InputError(f"the catalogue has no column label: it has {', '.join(table.colnames)}")


def _ellipses(table: QTable, wcs: WCS | None, scale: float) -> Iterator[tuple[int, str]]:
    """Row and DS9 text of every ellipse; in pixels without a WCS."""
    x, y, major, minor = (_plain(table, name) for name in _ELLIPSE_COLUMNS[:4])
    angle = _plain(table, "orientation", "deg")
    major, minor = major * scale, minor * scale
    usable = np.isfinite(x) & np.isfinite(y) & np.isfinite(angle) & (major > 0) & (minor > 0)
    rows = np.flatnonzero(usable)
    x, y, major, minor, angle = (column[rows] for column in (x, y, major, minor, angle))
    if wcs is None:
        text, ellipses = "ellipse({:.4f},{:.4f},{:.4f},{:.4f},{:.3f})", (x + 1, y + 1, major, minor, angle)
    else:
        text = 'ellipse({:.8f},{:.8f},{:.5f}",{:.5f}",{:.3f})'
        ellipses = (*_world(wcs, x, y), *_sky_ellipses(wcs, x, y, major, minor, angle))
    for row, *values in zip(rows, *ellipses, strict=True):
        yield row, text.format(*values)


_ELLIPSE_COLUMNS = ("x_centroid", "y_centroid", "semimajor_axis", "semiminor_axis", "orientation")


def _plain(table: QTable, name: str, unit: str | None = None) -> np.ndarray:
    """A column as float64 in a unit, NaN where masked."""
    if name not in table.colnames:
        raise InputError(
            f"ellipses need the columns {', '.join(_ELLIPSE_COLUMNS)}, and the catalogue has no {name}; "
            "give labels to write outlines instead"
        )
    column = table[name].astype(np.float64)
    if hasattr(column, "filled"):
        column = column.filled(np.nan)
    if unit is not None and column.unit is not None:
        column = column.to(unit)
    return np.asarray(column.value)


def _sky_ellipses(
    wcs: WCS, x: np.ndarray, y: np.ndarray, major: np.ndarray, minor: np.ndarray, angle: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Semi-axes in arcsec and DS9 angle in degrees of pixel ellipses, under the WCS linearised at their centres."""
    cosine, sine = np.cos(angle / _DEGREE), np.sin(angle / _DEGREE)
    axes = np.array([[cosine * major, -sine * minor], [sine * major, cosine * minor]]).transpose(2, 0, 1)
    axes_on_sky = _jacobian(wcs, x, y) @ axes
    left, lengths, _ = np.linalg.svd(axes_on_sky)
    east, north = left[:, 0, 0], left[:, 1, 0]
    position_angle = np.arctan2(east, north) * _DEGREE
    return 3600 * lengths[:, 0], 3600 * lengths[:, 1], (position_angle + 90) % 180


def _jacobian(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Degrees towards East and North for one pixel along x and y: shape ``(n, 2, 2)``."""

    def offsets(dx: float, dy: float) -> np.ndarray:
        ahead = wcs.celestial.pixel_to_world(x + dx, y + dy).icrs
        return np.stack([angle.deg for angle in here.spherical_offsets_to(ahead)], axis=-1)

    here = wcs.celestial.pixel_to_world(x, y).icrs
    return np.stack([offsets(0.5, 0) - offsets(-0.5, 0), offsets(0, 0.5) - offsets(0, -0.5)], axis=-1)


def _world(wcs: WCS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ICRS right ascension and declination in degrees of 0-based pixel positions."""
    sky = wcs.celestial.pixel_to_world(x, y).icrs
    return np.atleast_1d(sky.ra.deg), np.atleast_1d(sky.dec.deg)


def _polygons(labels: np.ndarray, table: QTable, wcs: WCS | None) -> Iterator[tuple[int, str]]:
    """Row and DS9 text of every outer outline, in the order of the labels."""
    outlines = trace_outlines(labels)
    row_of = {int(label): row for row, label in enumerate(table["label"])}
    corners = outlines.vertices - 0.5
    if wcs is None:
        first, second, decimals = corners[:, 0] + 1, corners[:, 1] + 1, 1
    else:
        (first, second), decimals = _world(wcs, corners[:, 0], corners[:, 1]), 8
    numbers = [f"{a:.{decimals}f},{b:.{decimals}f}" for a, b in zip(first, second, strict=True)]
    for index, label in enumerate(outlines.labels.tolist()):
        # A hole is not written: DS9 excludes the inside of "-polygon" from every region, a neighbour in it too.
        if label in row_of and not outlines.is_hole[index]:
            yield row_of[label], f"polygon({','.join(numbers[outlines.starts[index] : outlines.starts[index + 1]])})"


def _properties(table: QTable, colors: Mapping[str, str]) -> list[str]:
    """Text, tag and colour of every row."""
    morphology = table["morphology"] if "morphology" in table.colnames else [""] * len(table)
    lines = []
    for label, kind in zip(table["label"], morphology, strict=True):
        tag = re.sub(r"[^\w .+-]", "", str(kind))
        parts = [f"text={{{int(label)}}}"]
        if tag:
            parts.append(f"tag={{{tag}}}")
        if str(kind) in colors:
            parts.append(f"color={colors[str(kind)]}")
        lines.append(" ".join(parts))
    return lines
