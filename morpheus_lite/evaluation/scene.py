"""A truth and a result of one field, side by side, and look-ups in both."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table

from morpheus_lite.errors import InputError
from morpheus_lite.evaluation.result import Result
from morpheus_lite.evaluation.scores import EvaluationOptions
from morpheus_lite.evaluation.truth import Truth

PREFERRED_BAND = "F160W"
_SAME_PLACE = 1.0
"""Pixels that the corners of two maps of one field may be apart on the sky."""
_ENOUGH = 10
"""True sources from which on segments by chance can be told from others."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A truth and a result of one field, with what scoring needs of both."""

    truth: Truth
    result: Result
    options: EvaluationOptions
    band: str | None
    light: np.ndarray | None
    """float32, shape ``(y, x)``: the image in that band, 0 where invalid; None without an image."""
    zero_point: float | None
    scored: np.ndarray
    """bool, shape ``(y, x)``: pixels that count."""
    scale: float
    """Arcseconds per pixel, 1 where not known."""


def make_scene(truth: Truth, result: Result, options: EvaluationOptions) -> Scene:
    """Check that truth and result cover the same pixels, and choose the band and the pixels that count."""
    if truth.shape != result.shape:
        raise InputError(
            f"{result.name} covers {result.shape[0]} x {result.shape[1]} px (y, x), the truth {truth.name} "
            f"{truth.shape[0]} x {truth.shape[1]}; score a result of the same field, not resampled or cut"
        )
    _refuse_another_field(truth, result)
    known = truth.bands or (truth.image.bands if truth.image is not None else ())
    band = options.band or (PREFERRED_BAND if PREFERRED_BAND in known else next(iter(known), None))
    light = zero_point = None
    if truth.image is not None and band is not None:
        k = truth.image.index(band)
        light, zero_point = truth.image.data[:, :, k], truth.image.zero_points[k]
    scored = truth.valid.copy()
    if options.margin:
        frame = np.zeros_like(scored)
        frame[options.margin : -options.margin, options.margin : -options.margin] = True
        scored &= frame
    return Scene(truth, result, options, band, light, zero_point, scored, truth.pixel_scale or 1.0)


def _refuse_another_field(truth: Truth, result: Result) -> None:
    """Refuse a result that lies elsewhere on the sky, or whose segments hold true sources by chance alone."""
    theirs = None if truth.image is None or truth.image.wcs is None else truth.image.wcs
    height, width = truth.shape
    if theirs is not None and theirs.has_celestial and result.wcs is not None:
        x, y = np.array([0, width - 1, 0, width - 1]), np.array([0, 0, height - 1, height - 1])
        places = (wcs.pixel_to_world(x, y).icrs for wcs in (theirs.celestial, result.wcs))
        away = next(places).separation(next(places)).arcsec.max() / (truth.pixel_scale or 1.0)
        if not away < _SAME_PLACE:
            raise InputError(
                f"{result.name} lies {away:.1f} px from the truth {truth.name} on the sky, by their WCS; score a "
                "result of the same field"
            )
    rows, columns, inside = pixel_of(truth.shape, truth.sources)
    own = inside & (truth.labels[rows, columns] == np.asarray(truth.sources["label"]))
    n, chance = int(own.sum()), float((result.labels > 0).mean())
    hits = int((result.labels[rows, columns] > 0)[own].sum())
    if n >= _ENOUGH and 0 < chance < 1 and hits <= n * chance + 2 * np.sqrt(n * chance * (1 - chance)):
        raise InputError(
            f"{result.name} has a segment at {hits} of {n} true sources of {truth.name}, no more than by chance "
            f"({n * chance:.0f}): it seems to be of another field; score each result with its own truth"
        )


def by_label(label: np.ndarray, value: np.ndarray, wanted: np.ndarray, missing: Any) -> np.ndarray:
    """Values kept by ascending label, looked up for the labels wanted."""
    wanted = np.asarray(wanted)
    if len(label) == 0:
        return np.full((len(wanted), *value.shape[1:]), missing, dtype=np.result_type(value, missing))
    place = np.searchsorted(label, wanted).clip(max=len(label) - 1)
    there = (label[place] == wanted).reshape(-1, *(1,) * (value.ndim - 1))
    return np.where(there, value[place], missing)


def pixel_of(shape: tuple[int, int], rows: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and column of the pixel of each position (clipped), and whether it lies in the field."""
    x, y = (np.round(np.nan_to_num(np.asarray(rows[axis], np.float64), nan=-9)) for axis in ("x", "y"))
    inside = (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0])
    return y.clip(0, shape[0] - 1).astype(int), x.clip(0, shape[1] - 1).astype(int), inside


def rows_inside(scored: np.ndarray, rows: Table) -> np.ndarray:
    at_row, at_column, within = pixel_of(scored.shape, rows)
    return within & scored[at_row, at_column]
