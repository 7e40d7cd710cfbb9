"""Compiled loops: where the package was built with a compiler; NumPy does the same elsewhere."""

import ctypes
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

_KINDS = {"i": ctypes.c_longlong, "d": ctypes.c_double, "p": ctypes.c_void_p}


def load_loops(module: str, signatures: Mapping[str, str], *, give_numbers: tuple[str, ...] = ()) -> Any:
    """The functions of a compiled module.

    Parameters
    ----------
    module : str
        Name of the module.
    signatures : mapping of str to str
        Kinds of the arguments of each function: whole number, number, or array.
    give_numbers : tuple of str
        Those that return a float.

    Returns
    -------
    ctypes.CDLL or None
        None where the package was built without a compiler, or from an earlier source.
    """
    found = find_spec(module)
    if found is None or found.origin is None:
        return None
    built, source = Path(found.origin), Path(found.origin).with_name(f"{module.rpartition('.')[2]}.c")
    if source.is_file() and source.stat().st_mtime > built.stat().st_mtime:
        message = f"{built.name} is older than {source.name} and is not used, which is slow: pip install -e . builds it"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return None
    library = ctypes.CDLL(found.origin)
    if not all(hasattr(library, name) for name in signatures):
        return None
    for name, kinds in signatures.items():
        function = getattr(library, name)
        function.argtypes = [_KINDS[kind] for kind in kinds]
        function.restype = ctypes.c_double if name in give_numbers else ctypes.c_longlong
    return library


def call_loop(library: Any, name: str, *arguments: Any) -> Any:
    """Call a compiled function; arrays are handed on as they lie in memory."""
    return getattr(library, name)(*_addresses(*arguments))


_SIGNATURES = {
    "interpolate": "iiipppp",
    "less_mesh": "iiippppppippp",
    "stretch_cells": "iiiiiipppppp",
    "add_band": "ipppdpp",
    "integrate": "iippip",
    "two_of_rank": "ipidiip",
    "stays_whole": "iippipi",
    "read_rows": "iiiiip",
}
compiled_loops = load_loops("morpheus_lite.core._loops", _SIGNATURES)
"""Compiled loops over the pixels of an image."""


def _plain_addresses(*arguments: Any) -> list[Any]:
    return [one.ctypes.data if isinstance(one, np.ndarray) else one for one in arguments]


_addresses = _plain_addresses
if compiled_loops is not None:
    _addresses = import_module("morpheus_lite.core._loops").addresses


def interpolate_rows(rows: np.ndarray, lower: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Lines from column to column.

    Parameters
    ----------
    rows : numpy.ndarray
        float32, shape ``(y, column)``.
    lower : numpy.ndarray
        int64, shape ``(x,)``: the column before each place, ascending.
    fraction : numpy.ndarray
        float32, shape ``(x,)``: 0 to 1, how far it is to the next.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(y, x)``.
    """
    if compiled_loops is not None:
        rows, fraction = (np.ascontiguousarray(one, np.float32) for one in (rows, fraction))
        plane = np.empty((len(rows), len(lower)), np.float32)
        call_loop(compiled_loops, "interpolate", *plane.shape, rows.shape[1], rows, lower, fraction, plane)
        return plane
    plane = rows[:, lower]
    plane *= 1 - fraction
    other = rows[:, np.minimum(lower + 1, rows.shape[1] - 1)]
    other *= fraction
    plane += other
    return plane


def less_mesh(
    data: np.ndarray,
    valid: np.ndarray,
    rows: Sequence[Any],
    places: tuple[np.ndarray, np.ndarray],
    voids: Sequence[float],
    out: tuple[np.ndarray, np.ndarray],
) -> None:
    """Data less a mesh, and times another one.

    Parameters
    ----------
    data, valid : numpy.ndarray
        float32 and bool, shape ``(y, x)``.
    rows : sequence of numpy.ndarray or None
        Both meshes, the second one if there is one, as `interpolate_rows` takes them.
    places : (numpy.ndarray, numpy.ndarray)
        ``lower`` and ``fraction``, as there.
    voids : sequence of float
        Data that do not count as valid.
    out : (numpy.ndarray, numpy.ndarray)
        float32 and bool, shape ``(y, x)``, where the result goes, 0 where there is none, and where there is one.
    """
    light, usable = out
    if compiled_loops is not None and data.dtype == np.float32:
        made = [one if one.flags.c_contiguous else np.empty(one.shape, one.dtype) for one in out]
        # Compared as float32, the type of the data: a value that is not exact there would never be found.
        given = data, valid, *rows, *places, np.array(voids, np.float32)
        *planes, void = (None if one is None else np.ascontiguousarray(one) for one in given)
        call_loop(compiled_loops, "less_mesh", *data.shape, rows[0].shape[1], *planes, len(voids), void, *made)
        for one, whole in zip(out, made, strict=True):
            if whole is not one:
                one[...] = whole
        return
    found = np.where(valid & ~np.isin(data, np.array(voids, np.float32)), data, np.float32(np.nan))
    found -= interpolate_rows(rows[0], *places)
    if rows[1] is not None:
        found *= interpolate_rows(rows[1], *places)
    usable[...] = np.isfinite(found)
    light[...] = np.where(usable, found, 0)


def integral(plane: np.ndarray, wanted: np.ndarray, *, square: bool = False) -> np.ndarray:
    """Sums over the rectangles from the first pixel on: sums over any rectangle are differences of four of these.

    Parameters
    ----------
    plane : numpy.ndarray
        float32, shape ``(y, x)``.
    wanted : numpy.ndarray
        bool, shape ``(y, x)``: others count as 0.
    square : bool
        Whether the squares are summed.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(y + 1, x + 1)``.
    """
    total = np.empty((plane.shape[0] + 1, plane.shape[1] + 1))
    if compiled_loops is not None:
        plane, wanted = np.ascontiguousarray(plane, np.float32), np.ascontiguousarray(wanted, bool)
        call_loop(compiled_loops, "integrate", *plane.shape, plane, wanted, square, total)
        return total
    total[0] = total[:, 0] = 0
    inner = total[1:, 1:]
    np.cumsum(np.where(wanted, plane, np.float64(0)) ** (1 + square), axis=0, out=inner)
    np.cumsum(inner, axis=1, out=inner)
    return total


def median(values: np.ndarray, around: float | np.floating | None = None) -> np.floating:
    """Median of values, or of their distances from a number, in their own precision; NaN of none.

    Parameters
    ----------
    values : numpy.ndarray
        float32 or float64, shape ``(value,)``, without NaN.
    around : float, optional
        The number.
    """
    if compiled_loops is not None and values.dtype in (np.float32, np.float64) and len(values):
        values, found, last = np.ascontiguousarray(values), np.empty(2), len(values) - 1
        middle = 0.0 if around is None else float(around)
        single, is_distance = values.dtype == np.float32, around is not None
        call_loop(compiled_loops, "two_of_rank", len(values), values, single, middle, is_distance, last // 2, found)
        return np.mean(found.astype(values.dtype)[: 1 + last % 2])
    if around is None:
        return np.median(values)
    away = np.subtract(values, values.dtype.type(around))
    return np.median(np.abs(away, out=away), overwrite_input=True)


def stays_whole(light: np.ndarray, own: np.ndarray, levels: np.ndarray, min_area: int) -> bool:
    """Tell if a source is connected, and is never two parts or more above a level.

    Parameters
    ----------
    light : numpy.ndarray
        float64, shape ``(y, x)``.
    own : numpy.ndarray
        bool, shape ``(y, x)``: its pixels; neighbours touch by sides or corners.
    levels : numpy.ndarray
        float64, ascending.
    min_area : int
        Fewest pixels of a part.

    Returns
    -------
    bool
        False also where the package was built without a compiler: what the light then looks like is not known.
    """
    if compiled_loops is None:
        return False
    light, own = np.ascontiguousarray(light, np.float64), np.ascontiguousarray(own, bool)
    return bool(call_loop(compiled_loops, "stays_whole", *own.shape, light, own, len(levels), levels, min_area))
