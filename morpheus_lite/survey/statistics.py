"""Statistics of a finished tile: counts, magnitudes, depth, times; small enough for 100,000 tiles."""

import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import psutil
from astropy.table import QTable

from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.core.image import reference_band_of
from morpheus_lite.survey.merge.healpix import count_coarse, finest_cells
from morpheus_lite.survey.state import digest

BRIGHTEST, FAINTEST = 14, 32
"""Magnitudes that the histograms begin and end at, in steps of one."""

_APERTURE = re.compile(r"^aper_fluxerr_(?P<radius>[0-9p]+(px)?)_(?P<band>.+)$")

_NAMES = (*SOURCE_CLASSES, UNCERTAIN)


def table_statistics(table: QTable, zero_points: Mapping[str, float | None]) -> dict[str, Any]:
    """Counts, magnitudes and depth of a catalogue, and what merging asks of it.

    Parameters
    ----------
    table : astropy.table.QTable
        From `~morpheus_lite.catalog.measure`.
    zero_points : mapping
        AB magnitude of one data unit by band; None where unknown.

    Returns
    -------
    dict
        ``n_sources``; ``classes``: sources of each class; ``magnitudes``: sources in each bin of one magnitude from
        `BRIGHTEST`, by class, in the detection band (none without a zero-point); ``depth``: AB magnitude of
        5 sigma in the middle aperture by band, ``noise``: one sigma of it in data units; ``n_cut``: sources that
        the edge cuts; ``cells``: sources in each cell of the sky; ``schema``: a digest of the columns.
    """
    columns = [(name, str(table[name].dtype), str(getattr(table[name], "unit", ""))) for name in table.colnames]
    on_sky = "ra" in table.colnames
    kinds = np.asarray(table["morphology"], dtype=str)
    noise = _aperture_noise(table)
    return {
        "n_sources": len(table),
        "classes": {name: int((kinds == name).sum()) for name in _NAMES},
        "magnitudes": _magnitudes(table, kinds),
        "noise": noise,
        "depth": {band: _magnitude(5 * sigma, zero_points.get(band)) for band, sigma in noise.items()},
        "n_cut": int(np.count_nonzero(np.asarray(table["flags"]) & int(SourceFlag.EDGE))),
        "cells": count_coarse(finest_cells(_values(table, "ra"), _values(table, "dec"))) if on_sky else {},
        "schema": digest(columns),
    }


def _magnitudes(table: QTable, kinds: np.ndarray) -> dict[str, list[int]]:
    column = f"kron_mag_{reference_band_of(table.meta)}"
    if column not in table.colnames:
        return {}
    magnitude = _values(table, column)
    bins = np.arange(BRIGHTEST, FAINTEST + 1)
    return {name: np.histogram(magnitude[kinds == name], bins)[0].tolist() for name in _NAMES}


def _aperture_noise(table: QTable) -> dict[str, float]:
    """Median error of the flux in the middle one of the apertures, by band, in data units."""
    columns: dict[str, list[str]] = defaultdict(list)
    for match in filter(None, map(_APERTURE.match, table.colnames)):
        columns[match["band"]].append(match[0])
    found = {}
    for band, names in columns.items():
        errors = _values(table, names[len(names) // 2])
        errors = errors[np.isfinite(errors) & (errors > 0)]
        if len(errors):
            found[band] = float(np.median(errors))
    return found


def _values(table: QTable, name: str) -> np.ndarray:
    return np.asarray(getattr(table[name], "value", table[name]), dtype=float)


def _magnitude(flux: float, zero_point: float | None) -> float | None:
    return None if zero_point is None else float(zero_point - 2.5 * np.log10(flux))


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
