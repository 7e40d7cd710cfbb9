"""Compiled loops over the pixels of an image, and what loads such loops."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

_KINDS = {"i": ctypes.c_longlong, "d": ctypes.c_double, "p": ctypes.c_void_p}


def load_loops(module: str, signatures: Mapping[str, str], *, give_numbers: tuple[str, ...] = ()) -> Callable[..., Any]:
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
    callable
        Takes the name of a function and its arguments; arrays are handed on as they lie in memory.

    Raises
    ------
    ImportError
        The module is missing, cannot be loaded, or was built from an earlier source.
    """
    found = find_spec(module)
    if found is None or found.origin is None:
        raise _cannot_use(f"the compiled module {module} is missing")
    built, source = Path(found.origin), Path(found.origin).with_name(f"{module.rpartition('.')[2]}.c")
    if source.is_file() and source.stat().st_mtime > built.stat().st_mtime:
        raise _cannot_use(f"{built} is older than its source {source.name}")
    try:
        library = ctypes.CDLL(found.origin)
    except OSError as error:
        raise _cannot_use(f"{built} cannot be loaded ({error})") from error
    if lacking := [name for name in signatures if not hasattr(library, name)]:
        raise _cannot_use(f"{built} is from another version, without {', '.join(lacking)}")
    for name, kinds in signatures.items():
        function = getattr(library, name)
        function.argtypes = [_KINDS[kind] for kind in kinds]
        function.restype = ctypes.c_double if name in give_numbers else ctypes.c_longlong
    return partial(_call, library)


def _cannot_use(reason: str) -> ImportError:
    return ImportError(
        f"{reason}; morpheus_lite needs its compiled modules, built from its own version: install it again "
        "(wheels contain them; `pip install .`, or `pip install -e .` for a checkout, takes a C compiler)"
    )


def _call(library: ctypes.CDLL, name: str, *arguments: Any) -> Any:
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
call_loop = load_loops("morpheus_lite.core._loops", _SIGNATURES)
"""Call a compiled loop over the pixels of an image."""

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
    rows, fraction = (np.ascontiguousarray(one, np.float32) for one in (rows, fraction))
    plane = np.empty((len(rows), len(lower)), np.float32)
    call_loop("interpolate", *plane.shape, rows.shape[1], rows, lower, fraction, plane)
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
    made = [one if one.flags.c_contiguous else np.empty(one.shape, one.dtype) for one in out]
    # Compared as float32, the type of the data: a value that is not exact there would never be found.
    given = data.astype(np.float32, copy=False), valid, *rows, *places, np.array(voids, np.float32)
    *planes, void = (None if one is None else np.ascontiguousarray(one) for one in given)
    call_loop("less_mesh", *data.shape, rows[0].shape[1], *planes, len(voids), void, *made)
    for one, whole in zip(out, made, strict=True):
        if whole is not one:
            one[...] = whole


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
    plane, wanted = np.ascontiguousarray(plane, np.float32), np.ascontiguousarray(wanted, bool)
    call_loop("integrate", *plane.shape, plane, wanted, square, total)
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
    single, is_distance = values.dtype == np.float32, around is not None
    values = np.ascontiguousarray(values, np.float32 if single else np.float64)
    if not len(values):
        return values.dtype.type(np.nan)
    found, last, middle = np.empty(2), len(values) - 1, 0.0 if around is None else float(around)
    call_loop("two_of_rank", len(values), values, single, middle, is_distance, last // 2, found)
    return np.mean(found.astype(values.dtype)[: 1 + last % 2])


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
    """
    light, own = np.ascontiguousarray(light, np.float64), np.ascontiguousarray(own, bool)
    return bool(call_loop("stays_whole", *own.shape, light, own, len(levels), levels, min_area))
