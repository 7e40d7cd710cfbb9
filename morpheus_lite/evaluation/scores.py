"""Scores: how a result compares with the truth, kept so that fields add up and every figure can be derived."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from astropy.table import Table, vstack

from morpheus_lite.config.schema import check, option
from morpheus_lite.core.classes import BACKGROUND, CLASSES, SOURCE_CLASSES
from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.evaluation.metrics import Fractions, binned_fractions, confusion_counts
from morpheus_lite.evaluation.reliability import Reliability, chance_error, proper_scores, top_label_reliability

TRUTH_FATES = ("matched", "blended", "displaced", "undetected")
FATES = ("matched", "split", "displaced", "spurious")
NOT_MATCHED = len(SOURCE_CLASSES)
"""Column of the confusion matrix for true sources without a detection."""


@dataclass(frozen=True)
class EvaluationOptions:
    """Matching criteria and bins of an evaluation.

    Parameters
    ----------
    radius : float
        Largest distance of a detection from its true source, in arcseconds (in pixels where the pixel scale is not
        known).
    band : str or None
        Band of the magnitudes and of the light that weighs pixels; None takes F160W, else the first.
    magnitudes : tuple of float
        Edges of the magnitude bins, ascending.
    margin : int
        Pixels along the edges of the field in which sources do not count: where they are cut, they have no centre.
    """

    radius: float = option(0.3, above=0)
    band: str | None = None
    magnitudes: tuple[float, ...] = option((18, 20, 21, 22, 23, 24, 25, 26, 27, 28), length=(2, None))
    margin: int = option(16, low=0)

    def __post_init__(self) -> None:
        check(self)
        if not np.all(np.diff(self.magnitudes) > 0):
            raise OptionError(f"magnitude edges {self.magnitudes}: expected ascending ones")


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a result against the truth, in one field or several.

    Parameters
    ----------
    name : str
        The tool.
    options : EvaluationOptions
        What was asked.
    truth_sources : astropy.table.Table
        One row a true source in the scored area: ``field, label, x, y, magnitude, area``, ``match`` (label of its
        detection, 0 for none), ``distance`` (arcsec), ``fate`` (of ``TRUTH_FATES``), ``overlap_match``, ``iou``,
        ``true_class``, ``called_class`` (of the matched detection) and ``class_in_place`` (of the class maps over the
        true segment): index into ``CLASSES``, -1 unknown; ``flux_residual`` (flux in the segment over the true flux,
        minus 1) and ``area_ratio`` (segment over true segment); of the matched detection ``called_p_<class>``,
        ``flags`` (-1 unknown), ``total_residual`` (magnitude minus the true one) and ``total_pull`` (error of the total
        flux in units of the one stated).
    detections : astropy.table.Table
        One row a detection in the scored area: ``field, label, x, y, magnitude`` (of the flux in its segment),
        ``area``, ``match`` (label of the true source), ``fate`` (of ``FATES``), ``score_<name>`` where there are any.
    n_fields, n_pixels : int
        Fields, and pixels scored in them.
    chance_match : float
        Probability that a position at random has a true source within the radius.
    source_sky : numpy.ndarray
        int64, shape ``(2, 2)``: pixels by truth (sky, source) and label map (sky, source).
    source_sky_maps : numpy.ndarray or None
        The same for the class maps, source where the probability of sky is below one half; None without maps.
    pixel_classes : numpy.ndarray or None
        int64, shape ``(5, 5)``: pixels by true class and most probable class.
    reliability : dict
        Name to `~morpheus_lite.evaluation.reliability.Reliability`; empty without probabilities.
    """

    name: str
    options: EvaluationOptions
    truth_sources: Table
    detections: Table
    n_fields: int
    n_pixels: int
    chance_match: float
    source_sky: np.ndarray
    source_sky_maps: np.ndarray | None = None
    pixel_classes: np.ndarray | None = None
    reliability: dict[str, Reliability] = field(default_factory=dict)

    @property
    def completeness(self) -> Fractions:
        """Share of the true sources that are matched, in bins of true magnitude."""
        rows = self.truth_sources
        return binned_fractions(rows["magnitude"], rows["match"] > 0, self.options.magnitudes)

    @property
    def overlap_completeness(self) -> Fractions:
        """Share of the true sources with pixels whose segment a detection shares more than any other source."""
        rows = self.truth_sources[self.truth_sources["area"] > 0]
        return binned_fractions(rows["magnitude"], rows["overlap_match"] > 0, self.options.magnitudes)

    @property
    def purity(self) -> float:
        """Share of all detections that are matched to a true source; NaN without detections."""
        return float(np.mean(self.detections["match"] > 0)) if len(self.detections) else float("nan")

    @property
    def binned_purity(self) -> Fractions:
        """Share of the detections that are matched, in bins of the magnitude measured in their segments."""
        rows = self.detections
        return binned_fractions(rows["magnitude"], rows["match"] > 0, self.options.magnitudes)

    @property
    def faint_purity(self) -> Fractions:
        """The same for detections beyond the faintest bin, or without positive flux, as one bin."""
        rows = self.detections
        edge = self.options.magnitudes[-1]
        rest = rows[~(np.asarray(rows["magnitude"]) < edge)]
        return binned_fractions(np.full(len(rest), edge + 0.5), rest["match"] > 0, np.array([edge, edge + 1]))

    def fates(self) -> dict[str, dict[str, int]]:
        """Count the true sources and detections with each fate."""
        return {
            "truth": {fate: int(np.sum(self.truth_sources["fate"] == fate)) for fate in TRUTH_FATES},
            "detections": {fate: int(np.sum(self.detections["fate"] == fate)) for fate in FATES},
        }

    def confusion(self, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
        """Sources by true class (row) and class given (column; the last one is: not matched), in a magnitude range.

        Parameters
        ----------
        low, high : float
            Magnitudes: ``low <= magnitude < high``.

        Returns
        -------
        numpy.ndarray
            int64, shape ``(4, 5)``.
        """
        rows = self.truth_sources
        if np.isfinite([low, high]).any():
            ((_, rows),) = in_bins(rows, (low, high))
        given = np.where(rows["match"] > 0, rows["called_class"], NOT_MATCHED)
        return confusion_counts(rows["true_class"], given, (len(SOURCE_CLASSES), NOT_MATCHED + 1))

    def class_accuracy(self, edges: Sequence[float], *, column: str = "called_class") -> Fractions:
        """Share of the sources with a verdict that got the right class, in bins of true magnitude."""
        rows = self.truth_sources
        judged = (rows["true_class"] >= 0) & (rows[column] >= 0)
        if column == "called_class":
            judged &= rows["match"] > 0
        rows = rows[judged]
        return binned_fractions(rows["magnitude"], rows["true_class"] == rows[column], np.asarray(edges))

    def class_baseline(self, edges: Sequence[float]) -> list[dict[str, Any]]:
        """Compare classes with guesses that know only the shares of the classes, in bins of true magnitude.

        Returns
        -------
        list of dict
            For each bin its ``magnitude``, ``n`` matched sources whose class is known, ``accuracy`` and ``majority``
            (share of the most frequent class), ``log_loss`` and ``shares_log_loss`` (entropy of the shares), ``ece`` of
            the most probable class and ``chance_ece``, what right probabilities have on average in so few sources, and
            ``expected`` and ``true`` numbers of each class. Over all bins comes last, if there are several.
        """
        rows = self.truth_sources
        rows = rows[(rows["true_class"] >= 0) & (rows["match"] > 0) & np.isfinite(_called(rows)).all(axis=1)]
        bins = in_bins(rows, edges) + (in_bins(rows, (edges[0], edges[-1])) if len(edges) > 2 else [])
        return [{"magnitude": ends, **_judged(inside)} for ends, inside in bins if len(inside)]

    def total_pulls(self, edges: Sequence[float], *, isolated: bool) -> list[dict[str, Any]]:
        """Compare total magnitudes with the truth, in bins of true magnitude.

        Parameters
        ----------
        edges : sequence of float
            Of the bins.
        isolated : bool
            Sources without a flag, or those that are blended, children of a blend, or crowded.

        Returns
        -------
        list of dict
            For each bin its ``magnitude``, ``n``, ``bias`` (median, in mag), and ``median`` and ``width`` of the pulls
            (from the percentiles 16 and 84).
        """
        rows = self.truth_sources
        mixed = int(SourceFlag.BLENDED | SourceFlag.DEBLEND_CHILD | SourceFlag.CROWDED)
        flags = np.asarray(rows["flags"])
        chosen = (flags == 0) if isolated else (flags > 0) & ((flags & mixed) > 0)
        bins = in_bins(rows[chosen & np.isfinite(rows["total_pull"])], edges)
        return [{"magnitude": ends, **_pulls(inside)} for ends, inside in bins if len(inside)]

    def ious(self) -> dict[str, float]:
        """Intersection over union of pixels: ``source``, ``sky`` (label map), ``source_maps`` and each class (maps)."""
        found = {"source": iou_of(self.source_sky, 1), "sky": iou_of(self.source_sky, 0)}
        if self.source_sky_maps is not None:
            found["source_maps"] = iou_of(self.source_sky_maps, 1)
        if self.pixel_classes is not None:
            found.update({one: iou_of(self.pixel_classes, k) for k, one in enumerate(CLASSES) if k != BACKGROUND})
        return found


def in_bins(rows: Table, edges: Sequence[float]) -> list[tuple[list[float], Table]]:
    """Ends of each bin of magnitude, open above, and the rows in it."""
    bright = np.asarray(rows["magnitude"])
    ends = itertools.pairwise(map(float, edges))
    return [([low, high], rows[(bright >= low) & (bright < high)]) for low, high in ends]


def _called(rows: Table) -> np.ndarray:
    """Class probabilities of the matched detections: float64, shape ``(n, 4)``."""
    return np.column_stack([rows[f"called_p_{name}"] for name in SOURCE_CLASSES])


def _pulls(rows: Table) -> dict[str, float]:
    """Figures of `Scores.total_pulls`."""
    least, middle, most = np.percentile(rows["total_pull"], [16, 50, 84]).tolist()
    bias = float(np.nanmedian(rows["total_residual"]))
    return {"n": len(rows), "bias": bias, "median": middle, "width": (most - least) / 2}


def _judged(rows: Table) -> dict[str, Any]:
    """Figures of `Scores.class_baseline`."""
    given, hard = _called(rows), np.eye(len(SOURCE_CLASSES))[np.asarray(rows["true_class"])]
    shares = hard.mean(axis=0)
    return {
        "n": len(given),
        "accuracy": float((given.argmax(axis=1) == hard.argmax(axis=1)).mean()),
        "majority": float(shares.max()),
        "log_loss": proper_scores(given, hard)[0],
        "shares_log_loss": proper_scores(np.broadcast_to(shares, hard.shape), hard)[0],
        "ece": top_label_reliability(given, hard).error,
        "chance_ece": chance_error(given.max(axis=1)),
        "expected": dict(zip(SOURCE_CLASSES, given.sum(axis=0).tolist(), strict=True)),
        "true": dict(zip(SOURCE_CLASSES, hard.sum(axis=0).tolist(), strict=True)),
    }


def iou_of(counts: np.ndarray, index: int) -> float:
    """Intersection over union of one class of a square confusion matrix; NaN if neither side has it."""
    union = counts[index].sum() + counts[:, index].sum() - counts[index, index]
    return float(counts[index, index] / union) if union else float("nan")


def pool_scores(scores: Sequence[Scores], name: str | None = None) -> Scores:
    """The scores of one tool in several fields, as if they were one.

    Parameters
    ----------
    scores : sequence of Scores
        With the same options.
    name : str, optional
        What to call the tool; by default as in the first.

    Raises
    ------
    InputError
        Nothing to pool, or the options differ.
    """
    if not scores or any(one.options != scores[0].options for one in scores):
        options = {str(asdict(one.options)) for one in scores}
        raise InputError(f"{len(scores)} scores with {len(options)} sets of options; expected one or more, all alike")
    shared = [key for key in scores[0].reliability if all(key in one.reliability for one in scores)]
    pooled: dict[str, Any] = {
        "reliability": {key: reduce(add, [one.reliability[key] for one in scores]) for key in shared}
    }
    for table in ("truth_sources", "detections"):
        pooled[table] = vstack([getattr(one, table) for one in scores], metadata_conflicts="silent")
    for count in ("n_fields", "n_pixels", "source_sky", "source_sky_maps", "pixel_classes"):
        counts = [getattr(one, count) for one in scores]
        pooled[count] = None if any(one is None for one in counts) else reduce(add, counts)
    chance = sum(one.chance_match * one.n_pixels for one in scores) / max(pooled["n_pixels"], 1)
    return replace(scores[0], name=name or scores[0].name, chance_match=chance, **pooled)
