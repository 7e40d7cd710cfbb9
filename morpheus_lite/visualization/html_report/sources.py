"""Segments and catalogue as the page holds them: runs of labelled pixels, outlines, and columns."""

from collections.abc import Sequence
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Column, QTable

from morpheus_lite.core.labels import trace_outlines
from morpheus_lite.io.zero_points import parse_unit

MAX_SPLIT = 8
"""Columns of vectors up to this length become one column an element; longer ones are left out."""

_SKY_UNITS = ("deg", "rad", "hourangle", "d", "mjd")


def label_runs(labels: np.ndarray, row_labels: np.ndarray) -> dict[str, np.ndarray]:
    """A label map as runs of pixels along the rows.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``; 0 and below is sky.
    row_labels : numpy.ndarray
        int, shape ``(n,)``: the label of each row of the table.

    Returns
    -------
    dict of str to numpy.ndarray
        ``row_start``: uint32, shape ``(y + 1,)``, index of the first run of each row, rows from the top of the
        picture; ``run_x`` and ``run_length``: uint16 or uint32; ``run_source``: uint32, row of the table plus 1,
        or ``n + 1`` for a label that the table does not hold.
    """
    index = _source_index(labels[::-1], row_labels)
    changes = np.ones(index.shape, bool)
    np.not_equal(index[:, 1:], index[:, :-1], out=changes[:, 1:])
    starts = np.flatnonzero(changes)
    lengths = np.diff(starts, append=index.size)
    source = index.ravel()[starts]
    kept = source > 0
    y, x = np.divmod(starts[kept], index.shape[1])
    small = np.uint16 if index.shape[1] <= 65535 else np.uint32
    return {
        "row_start": np.searchsorted(y, np.arange(index.shape[0] + 1)).astype(np.uint32),
        "run_x": x.astype(small),
        "run_length": lengths[kept].astype(small),
        "run_source": source[kept].astype(np.uint32),
    }


def _source_index(labels: np.ndarray, row_labels: np.ndarray) -> np.ndarray:
    """Row of the table plus 1 for every pixel: 0 on the sky, number of rows plus 1 where not in the table."""
    known, first = np.unique(row_labels, return_index=True)
    if not len(known):
        return (labels > 0).astype(np.uint32)
    place = np.minimum(np.searchsorted(known, labels), len(known) - 1)
    index = np.where(known[place] == labels, first[place] + 1, len(row_labels) + 1)
    return np.where(labels > 0, index, 0).astype(np.uint32)


def outline_arrays(labels: np.ndarray, row_labels: np.ndarray) -> dict[str, np.ndarray]:
    """Outlines of the segments for the page.

    Returns
    -------
    dict of str to numpy.ndarray
        ``ring_start``: uint32, shape ``(n_rings + 1,)``; ``ring_source``: uint32, as in `label_runs`; ``corner_u``
        and ``corner_v``: uint16 or uint32, corners counted from the left and from the top of the picture.
    """
    outlines = trace_outlines(labels)
    small = np.uint16 if max(labels.shape) <= 65535 else np.uint32
    return {
        "ring_start": outlines.starts.astype(np.uint32),
        "ring_source": _source_index(outlines.labels, row_labels).astype(np.uint32),
        "corner_u": outlines.vertices[:, 0].astype(small),
        "corner_v": (labels.shape[0] - outlines.vertices[:, 1]).astype(small),
    }


def table_columns(table: QTable) -> tuple[list[dict[str, Any]], dict[str, np.ndarray], list[str]]:
    """The columns of a table, whatever they are.

    Parameters
    ----------
    table : astropy.table.QTable
        Any table: plain, masked, with units, vectors, booleans, strings or sky positions.

    Returns
    -------
    columns : list of dict
        ``name``, ``unit``, ``description``, ``kind`` (``"float"``, ``"int"``, ``"bool"`` or ``"text"``); texts carry
        ``values`` (distinct ones) beside their codes.
    arrays : dict of str to numpy.ndarray
        One array a column, by the number of the column: float32 or float64 with NaN where masked, int32, uint8, or
        codes into ``values`` (int32). float64 is kept where float32 would show: angles, times, big numbers.
    left_out : list of str
        Columns that a flat table cannot show.
    """
    columns: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    left_out = []
    for name in table.colnames:
        parts = _flat_parts(name, table[name])
        if parts is None:
            left_out.append(name)
            continue
        for part_name, column in parts:
            described, array = _column(part_name, column)
            arrays[str(len(columns))] = array
            columns.append(described)
    return columns, arrays, left_out


def _flat_parts(name: str, column: Any) -> Sequence[tuple[str, Any]] | None:
    """The one-dimensional columns that a column consists of; None where they are too many or unknown."""
    if isinstance(column, SkyCoord):
        sky = column.icrs
        return [(f"{name}.ra", Column(sky.ra.deg, unit="deg")), (f"{name}.dec", Column(sky.dec.deg, unit="deg"))]
    shape: tuple[int, ...] = getattr(column, "shape", (len(column),))
    if len(shape) == 1:
        return [(name, column)]
    if len(shape) == 2 and shape[1] <= MAX_SPLIT:
        return [(f"{name}[{element}]", column[:, element]) for element in range(shape[1])]
    return None


def _column(name: str, column: Any) -> tuple[dict[str, Any], np.ndarray]:
    """One flat column: what the page says of it, and its array."""
    unit = getattr(column, "unit", None)
    description = getattr(getattr(column, "info", None), "description", None)
    about = {"name": name, "unit": unit_text(unit), "description": description or ""}
    mask = np.asarray(getattr(column, "mask", False))
    values = _values(column)
    if values.dtype.kind == "b" and not mask.any():
        return about | {"kind": "bool"}, values
    if values.dtype.kind in "iu" and not mask.any() and not (values.astype(np.int32) != values).any():
        return about | {"kind": "int"}, values.astype(np.int32)
    if values.dtype.kind in "bf" or (values.dtype.kind in "iu" and np.abs(values.astype(np.float64)).max() <= 2**53):
        values = np.where(mask, np.nan, values.astype(np.float64))
        return about | {"kind": "float"}, values if _needs_double(name, unit, values) else values.astype(np.float32)
    shown = [value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value) for value in values]
    texts = np.where(mask, "", np.array(shown, dtype=str))
    distinct, codes = np.unique(texts, return_inverse=True)
    return about | {"kind": "text", "values": distinct.tolist()}, codes.astype(np.int32)


def unit_text(unit: u.UnitBase | str | None) -> str:
    """A unit as people write it (``"electron s⁻¹"``); what is not a unit stays as it is, None is empty.

    Examples
    --------
    >>> unit_text("ELECTRONS/S"), unit_text("DN/mystery"), unit_text(None)
    ('e⁻ s⁻¹', 'DN/mystery', '')
    """
    if unit is None:
        return ""
    known = parse_unit(unit) if isinstance(unit, str) else unit
    return str(unit) if known is None else known.to_string("unicode")


def _values(column: Any) -> np.ndarray:
    """The bare array behind a Column, a Quantity, a masked one, or the texts of anything else."""
    column = getattr(column, "unmasked", column)
    return np.asarray(column) if isinstance(column, np.ndarray) else np.array([str(value) for value in column])


def _needs_double(name: str, unit: Any, values: np.ndarray) -> bool:
    finite = values[np.isfinite(values)]
    is_angle = unit is not None and str(unit) in _SKY_UNITS
    is_position = name.lower().split("_")[0] in ("ra", "dec", "time", "mjd")
    return is_angle or is_position or bool(len(finite) and np.abs(finite).max() > 1e6)
