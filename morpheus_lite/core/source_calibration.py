"""Calibration of the class probabilities of sources, and the shares of the classes that it supposes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.errors import InputError, OptionError

SHARE_FLOOR = 1e-6
"""Shares of the light below this count as this, so that their logarithm is finite."""

EVIDENCE = "class_snr", "class_size", "class_extent", "class_lopsidedness", "spread", "spread_err"
"""What probabilities are calibrated by, beside themselves, as the rows of catalogues call it.

S/N; root of the area in pixels, as the network sees them; radius with 90 % of the light over that with 50 %, of the
profile that was fitted; distance of the windowed centroid from the other one, in half-light radii; and the spread with
its error (`~morpheus_lite.catalog.surroundings.measure_spread`).
"""

CALIBRATION_KEY = "source_calibration"
"""Key of a calibration in the settings of models and the provenance of class maps."""

EQUAL = "equal"
"""The prior under which all classes are equally frequent."""

N_TERMS = 3
"""Coefficients of a smooth function of S/N and size: a constant and a slope along each."""

N_SHAPE_TERMS = 2
"""Coefficients of the shape: one of the extent, one of the lopsidedness."""

N_SPREAD_TERMS = 2
"""Coefficients of the spread: how near it is to that of stars, and that again by how well it is known."""

_NEAR, _USUAL_ERROR = 8.0, 0.003
_SHAPE_SEEN = 15.0, 110.0
"""S/N at which the shape begins to count, and from which it does in full."""
_USUAL_EXTENT, _USUAL_LOPSIDEDNESS = (1.2, 0.26), (0.065, 0.075)
"""Median and scatter of both, the first as a logarithm."""
_ODDEST = 3.0
"""Scatters beyond which a shape counts as this."""

_Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class SourceCalibration:
    """Correction of the class probabilities of a source by its S/N, size, shape and spread.

    Parameters
    ----------
    prior : tuple of float
        Shares of the source classes, in their order, among the sources that it was fitted on: what the probabilities
        suppose of the sky. They add to 1.
    snr, size : (float, float)
        Range of both among these sources; beyond it, the value at its end is taken.
    sharpness : tuple of tuple of float
        For each class `N_TERMS` coefficients of the factor of its logarithm.
    bias : tuple of tuple of float
        For each class `N_TERMS` and `N_SHAPE_TERMS` coefficients of what is added to it.
    spread_sharpness, spread_bias : tuple of tuple of float
        The same for sources whose spread is known, with `N_SPREAD_TERMS` more for each class; empty where it does not
        count.
    fitted : dict
        What it was fitted on and how good it is.

    Notes
    -----
    ``softmax(sharpness(u, v) * log(q) + bias(u, v))``, with q the light-weighted means over the pixels, and u and v the
    logarithms of S/N and size, -1 and 1 at the ends of their ranges: the vector scaling of Guo et al. 2017, ICML, whose
    coefficients are linear in u and v. To the bias the shape adds terms: extent and lopsidedness, each less its median
    and over its scatter, times a weight that rises with the logarithm of S/N, from 0 at 15 to 1 at 110. A known spread
    t, in units of its error, adds the terms ``exp(-t^2 / 8)``, where t below 0 counts as 0, and this times the
    logarithm of the error, from -1 at .03 to 1 at .0003.
    """

    prior: tuple[float, ...]
    snr: tuple[float, float]
    size: tuple[float, float]
    sharpness: _Table
    bias: _Table
    spread_sharpness: _Table = ()
    spread_bias: _Table = ()
    fitted: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        n, counts = len(SOURCE_CLASSES), (N_TERMS, N_TERMS + N_SHAPE_TERMS)
        tables = list(zip((self.sharpness, self.bias), counts, strict=True))
        if self.spread_sharpness or self.spread_bias:
            more = (N_SPREAD_TERMS + count for count in counts)
            tables += zip((self.spread_sharpness, self.spread_bias), more, strict=True)
        shapes = all([len(row) for row in table] == [count] * n for table, count in tables)
        ranges = all(len(one) == 2 and 0 < one[0] < one[1] < math.inf for one in (self.snr, self.size))
        is_prior = len(self.prior) == n and min(self.prior, default=0) > 0 and abs(sum(self.prior) - 1) < 1e-3
        if not (shapes and ranges and is_prior and all(np.isfinite(table).all() for table, _ in tables)):
            raise InputError(
                f"calibration of sources: expected {n} shares above 0 that add to 1 (prior), two ranges (snr, size), "
                f"and for each class {counts[0]} and {counts[1]} finite coefficients (sharpness, bias), or also "
                f"{N_SPREAD_TERMS} more of each (spread_sharpness, spread_bias)"
            )

    def apply(
        self, share: np.ndarray, evidence: np.ndarray, *, prior: Mapping[str, float] | str | None = None
    ) -> np.ndarray:
        """Calibrated probabilities.

        Parameters
        ----------
        share : numpy.ndarray
            float64, shape ``(source, 4)``: light-weighted means of the class maps over the pixels. Rows with NaN stay.
        evidence : numpy.ndarray
            float64, shape ``(source, 6)``, see `EVIDENCE`; NaN where not known. A S/N that is not positive, or NaN,
            counts as the least.
        prior : mapping of str to float, or "equal", optional
            Shares of the classes in the sky, instead of those that it was fitted on.

        Returns
        -------
        numpy.ndarray
            float64, shape ``(source, 4)``; rows add to 1.

        Notes
        -----
        Another prior multiplies each probability by the ratio of both: Saerens et al. 2002, Neural Computation 14, 21;
        Paillassa et al. 2020, A&A 634, A48 (MaxiMask).
        """
        snr, size, extent, lopsidedness, spread, spread_err = evidence.T
        terms = linear_terms(scaled(snr, self.snr), scaled(size, self.size))
        shape = shape_terms(snr, extent, lopsidedness)
        logarithm = np.log(np.maximum(share, SHARE_FLOOR))

        def score_of(terms: np.ndarray, sharpness: _Table, bias: _Table) -> np.ndarray:
            return (terms @ np.transpose(sharpness)) * logarithm + np.hstack([terms, shape]) @ np.transpose(bias)

        score = score_of(terms, self.sharpness, self.bias)
        if self.spread_bias:
            more = np.hstack([terms, spread_terms(spread, spread_err)])
            better = score_of(more, self.spread_sharpness, self.spread_bias)
            score = np.where(np.isfinite(spread)[:, None], better, score)
        found = np.exp(score - score.max(axis=1, keepdims=True))
        if prior is not None:
            found *= shares_of_prior(prior) / self.prior
        return found / found.sum(axis=1, keepdims=True)

    def to_dict(self) -> dict[str, Any]:
        """As it is stored in a model's ``config.json``."""
        return {**self.record(), "fitted": self.fitted}

    def record(self) -> dict[str, Any]:
        """The numbers alone, as class maps record them."""
        return {name: np.array(value).tolist() for name, value in vars(self).items() if name != "fitted"}

    def prior_record(self, prior: Mapping[str, float] | str | None = None) -> dict[str, float]:
        """Shares of the classes that the probabilities suppose, with another prior or with its own, by name."""
        shares = np.array(self.prior) if prior is None else shares_of_prior(prior)
        return {name: round(float(one), 4) for name, one in zip(SOURCE_CLASSES, shares, strict=True)}

    @classmethod
    def from_dict(cls, stored: Any) -> "SourceCalibration":
        """The inverse of `to_dict` and `record`.

        Raises
        ------
        InputError
            A number is missing, or is none.
        """
        try:
            numbers = {one.name: _as_tuples(stored[one.name]) for one in fields(cls) if one.name != "fitted"}
            return cls(**numbers, fitted=dict(stored.get("fitted", {})))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"calibration of sources: {error!r}; expected what `to_dict` makes") from error


def _as_tuples(value: Any) -> Any:
    """Lists in lists of numbers as tuples of floats."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else float(value)


def calibration_of(
    record: Mapping[str, Any], kind: str, prior: Mapping[str, float] | str | None
) -> SourceCalibration | None:
    """The calibration of sources that a record holds, for the kind of class maps that are summed; None without one.

    Parameters
    ----------
    record : mapping
        Settings of a model, or provenance of class maps.
    kind : {"vote", "probability"}
        Rank votes are never calibrated.
    prior : mapping of str to float, or "equal", optional
        Prior that is asked for.

    Raises
    ------
    OptionError
        A prior is asked for, and nothing states the one that the probabilities suppose.
    InputError
        The record is damaged.
    """
    if kind == "probability" and CALIBRATION_KEY in record:
        return SourceCalibration.from_dict(record[CALIBRATION_KEY])
    if prior is not None:
        raise OptionError(
            "class_prior: these probabilities are rank votes, or their model has no calibration of sources, so the "
            "shares of the classes that they suppose are not known; leave it out, or take a model such as hst"
        )
    return None


def linear_terms(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Terms of a linear function, one per coefficient: float64, shape ``(source, N_TERMS)``."""
    return np.stack([np.ones_like(u), u, v], axis=1)


def shape_terms(snr: np.ndarray, extent: np.ndarray, lopsidedness: np.ndarray) -> np.ndarray:
    """Terms of extent and lopsidedness: float64, shape ``(source, N_SHAPE_TERMS)``; 0 where they are not known."""
    odd = np.stack([np.log(extent), lopsidedness], axis=1)
    usual, scatter = np.transpose([_USUAL_EXTENT, _USUAL_LOPSIDEDNESS])
    odd = np.clip((odd - usual) / scatter, -_ODDEST, _ODDEST)
    seen = (scaled(snr, _SHAPE_SEEN) + 1) / 2
    return np.where(np.isfinite(odd), odd, 0) * seen[:, None]


def spread_terms(spread: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Terms that a spread adds to `linear_terms`: float64, shape ``(source, 2)``; 0 where it is not known."""
    known = np.isfinite(spread)
    error = np.where(known, error, _USUAL_ERROR)
    near = np.exp(-(np.maximum(np.where(known, spread, np.inf) / error, 0) ** 2) / _NEAR)
    return np.stack([near, near * np.clip(np.log10(_USUAL_ERROR / error), -1, 1)], axis=1)


def scaled(value: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Logarithm of a quantity, -1 and 1 at the ends of its range and beyond."""
    low, high = np.log(ends)
    at = np.log(np.clip(np.nan_to_num(value, nan=ends[0]), *ends))
    return 2 * (at - low) / (high - low) - 1


def shares_of_prior(prior: Mapping[str, float] | str) -> np.ndarray:
    """Shares of the source classes of a prior, which add to 1: float64, shape ``(4,)``.

    Parameters
    ----------
    prior : mapping of str to float, or "equal"
        A number for every source class, in any unit; 0 for a class that does not occur.

    Raises
    ------
    OptionError
        A class is missing or unknown, or a number is negative or not finite, or all are 0.

    Examples
    --------
    >>> shares_of_prior({"spheroid": 1, "disk": 2, "irregular": 1, "point_source": 0})
    array([0.25, 0.5 , 0.25, 0.  ])
    """
    wanted = f"expected {EQUAL!r}, or a number for each of {', '.join(SOURCE_CLASSES)}"
    if isinstance(prior, str):
        if prior != EQUAL:
            raise OptionError(f"class_prior {prior!r}: {wanted}")
        return np.full(len(SOURCE_CLASSES), 1 / len(SOURCE_CLASSES))
    unknown, missing = (sorted(set(a) - set(b)) for a, b in ((prior, SOURCE_CLASSES), (SOURCE_CLASSES, prior)))
    if unknown or missing:
        faults = [f"{what} {', '.join(names)}" for what, names in (("unknown", unknown), ("missing", missing)) if names]
        raise OptionError(f"class_prior: {' and '.join(faults)}; {wanted}")
    shares = np.array([prior[name] for name in SOURCE_CLASSES], dtype=np.float64)
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        given = ", ".join(f"{name}={value:g}" for name, value in zip(SOURCE_CLASSES, shares, strict=True))
        raise OptionError(f"class_prior {given}: expected finite numbers of at least 0, and one above")
    return shares / shares.sum()
