"""Score a result against the truth of the same field: sources, and pixels block of rows by block of rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
from astropy.table import Table

from morpheus_lite.core.classes import BACKGROUND, CLASSES, SOURCE_CLASSES
from morpheus_lite.errors import InputError
from morpheus_lite.evaluation import metrics
from morpheus_lite.evaluation.field import Result, Truth, top_class
from morpheus_lite.evaluation.reliability import Reliability, classwise_reliability, reliability, top_label_reliability
from morpheus_lite.evaluation.scores import EvaluationOptions, Scores

PREFERRED_BAND = "F160W"
_SAME_PLACE = 1.0
"""Pixels that the corners of two maps of one field may be apart on the sky."""
_NANOJANSKY = 31.4
"""AB magnitude of 1 nJy."""
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
    zero_point: float
    """AB magnitude of one unit of it, NaN where not known."""
    scored: np.ndarray
    """bool, shape ``(y, x)``: pixels that count."""
    scale: float
    """Arcseconds per pixel, 1 where not known."""


def evaluate(truth: Truth, result: Result, *, options: EvaluationOptions | None = None) -> Scores:
    """Compare what a tool found with what is there.

    Parameters
    ----------
    truth : Truth
        The field.
    result : Result
        What a tool found in it: a label map at least; positions, classes and class maps are scored where given.
    options : EvaluationOptions, optional
        Match radius, magnitude bins, band, margin.

    Returns
    -------
    Scores

    Raises
    ------
    InputError
        Result and truth are not of the same shape, or the band is not known.

    Notes
    -----
    Sources are matched one to one by position, closest pairs first, over the whole field; those whose position lies on
    an invalid pixel or in the margin are then left out. Positions that the tool does not give are the centroids of the
    light in its segments. Magnitudes of detections are those of the light in their segments, measured here for every
    tool alike. The class of a detection is the largest of its ``p_<class>``; where the tool gives only class maps,
    these are averaged over its segment with the light as weight, as Hausen & Robertson (2020) do.
    """
    scene = make_scene(truth, result, options or EvaluationOptions())
    detections, shares = _detections(scene), _called_shares(scene)
    truth_row, row, distance = metrics.match_positions(
        truth.positions, np.column_stack([detections["x"], detections["y"]]), scene.options.radius / scene.scale
    )
    sources = _truth_sources(scene, detections, shares, (truth_row, row))
    sources["distance"][truth_row] = distance * scene.scale
    detections["match"][row] = sources["label"][truth_row]
    _add_overlaps(scene, sources, detections)
    diagrams = map_reliability(scene) | _source_reliability(scene, sources, shares, (truth_row, row))
    n_pixels = int(scene.scored.sum())
    sources, detections = (rows[rows_inside(scene.scored, rows)] for rows in (sources, detections))
    return Scores(
        name=result.name,
        options=replace(scene.options, band=scene.band),
        truth_sources=sources,
        detections=detections,
        n_fields=1,
        n_pixels=n_pixels,
        chance_match=metrics.chance_match_rate(len(sources), n_pixels * scene.scale**2, scene.options.radius),
        source_sky=source_sky(scene, result.labels > 0),
        source_sky_maps=None if result.probability is None else source_sky(scene, is_source(result.probability)),
        pixel_classes=pixel_classes(scene),
        reliability=diagrams,
    )


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
    light, zero_point = None, np.nan
    if truth.image is not None and band is not None:
        k = truth.image.index(band)
        light, stated = truth.image.data[:, :, k], truth.image.zero_points[k]
        zero_point = np.nan if stated is None else stated
    scored = truth.valid.copy()
    if options.margin:
        frame = np.zeros_like(scored)
        frame[options.margin : -options.margin, options.margin : -options.margin] = True
        scored &= frame
    return Scene(truth, result, options, band, light, zero_point, scored, truth.pixel_scale or 1.0)


def _refuse_another_field(truth: Truth, result: Result) -> None:
    """Refuse a result that lies elsewhere on the sky, or whose segments hold true sources by chance alone."""
    theirs = None if truth.image is None else truth.image.wcs
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


def pixel_of(shape: tuple[int, int], rows: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and column of the pixel of each position (clipped), and whether it lies in the field."""
    x, y = (np.round(np.nan_to_num(np.asarray(rows[axis], np.float64), nan=-9)) for axis in ("x", "y"))
    inside = (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0])
    return y.clip(0, shape[0] - 1).astype(int), x.clip(0, shape[1] - 1).astype(int), inside


def rows_inside(scored: np.ndarray, rows: Table) -> np.ndarray:
    at_row, at_column, within = pixel_of(scored.shape, rows)
    return within & scored[at_row, at_column]


def _truth_sources(scene: Scene, detections: Table, shares: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> Table:
    """The table of `Scores.truth_sources`, but for overlaps; ``pairs`` are rows of both tables that belong together."""
    truth, given, (truth_row, row) = scene.truth, scene.result.sources, pairs
    n, label = len(truth.sources), np.asarray(truth.sources["label"])
    segments = metrics.measure_segments(truth.labels, scene.light)
    area = metrics.by_label(segments.label, segments.area, label, 0)
    magnitude = truth.magnitude(scene.band if truth.bands else None)

    def matched(values: np.ndarray, missing: float = np.nan) -> np.ndarray:
        """Values of detections, for the true sources that they are matched to."""
        values = np.asarray(values)
        column = np.full(n, missing, np.result_type(values, missing))
        column[truth_row] = values[row]
        return column

    def of_tool(name: str, missing: float = np.nan) -> np.ndarray:
        """A column of the tool, where it has it."""
        return np.asarray(given[name], np.float64) if name in given.colnames else np.full(len(given), missing)

    flux, error = (matched(of_tool(f"total_{kind}_{scene.band}")) for kind in ("fnu", "fnuerr"))
    true_flux = 10 ** (-0.4 * (magnitude - _NANOJANSKY))
    with np.errstate(invalid="ignore", divide="ignore"):
        total_residual = -2.5 * np.log10(np.where(flux > 0, flux / true_flux, np.nan))
        total_pull = (flux - true_flux) / error
    columns = {
        "field": np.full(n, truth.name),
        "label": label,
        "x": np.asarray(truth.sources["x"], np.float64),
        "y": np.asarray(truth.sources["y"], np.float64),
        "magnitude": magnitude,
        "area": area,
        "match": matched(detections["label"], 0),
        "distance": np.full(n, np.nan),
        "fate": np.full(n, "undetected", "U10"),
        "overlap_match": np.zeros(n, np.int32),
        "iou": np.zeros(n),
        "true_class": truth.source_class,
        "called_class": matched(top_class(shares), -1),
        "class_in_place": top_class(_mean_shares(scene, truth.labels, label)),
        "flux_residual": matched(detections["flux"]) / 10 ** (-0.4 * (magnitude - scene.zero_point)) - 1,
        "area_ratio": matched(detections["area"]) / np.where(area > 0, area, np.nan),
        "flags": matched(of_tool("flags", -1).astype(np.int32), -1),
        "total_residual": total_residual,
        "total_pull": total_pull,
    }
    return Table(columns | {f"called_p_{name}": matched(shares[:, k]) for k, name in enumerate(SOURCE_CLASSES)})


def _detections(scene: Scene) -> Table:
    """The table of `Scores.detections`, nothing matched yet; ``flux`` in the unit of the image."""
    is_lit = scene.light is not None
    result = scene.result
    segments = metrics.measure_segments(result.labels, scene.light)
    label = np.asarray(result.sources["label"])
    flux = metrics.by_label(segments.label, segments.flux, label, np.nan) * (1 if is_lit else np.nan)
    x, y = (
        np.where(np.isfinite(given), given, metrics.by_label(segments.label, measured, label, np.nan))
        for given, measured in ((result.sources["x"], segments.x), (result.sources["y"], segments.y))
    )
    columns = {
        "field": np.full(len(label), scene.truth.name),
        "label": label,
        "x": x,
        "y": y,
        "magnitude": scene.zero_point - 2.5 * np.log10(np.where(flux > 0, flux, np.nan)),
        "flux": flux,
        "area": metrics.by_label(segments.label, segments.area, label, 0),
        "match": np.zeros(len(label), np.int32),
        "fate": np.full(len(label), "spurious", "U10"),
    }
    scores = {f"score_{key}": value for key, value in result.source_scores().items()}
    own = [name for name in result.sources.colnames if name.startswith("score_")]
    return Table(columns | scores | {name: np.asarray(result.sources[name], np.float64) for name in own})


def _add_overlaps(scene: Scene, sources: Table, detections: Table) -> None:
    """Fill in who overlaps whom, and the fates."""
    pairs = metrics.overlap_areas(scene.truth.labels, scene.result.labels, scene.truth.valid)
    one, two, iou = metrics.match_overlap(pairs)
    sources["overlap_match"] = metrics.by_label(one, two, sources["label"], 0)
    sources["iou"] = metrics.by_label(one, iou, sources["label"], 0.0)
    rows, columns, within = pixel_of(scene.truth.shape, sources)
    under = np.where(within, scene.result.labels[rows, columns], 0)
    (true, match), (label, true_match) = (
        map(np.asarray, (rows["label"], rows["match"])) for rows in (sources, detections)
    )
    sources["fate"], detections["fate"] = metrics.classify_matches(pairs, true, match, under, label, true_match)


def _called_shares(scene: Scene) -> np.ndarray:
    """Class probabilities of the detections: the tool's own, else from its maps; float64, shape ``(n, 4)``."""
    own, result = scene.result.shares, scene.result
    return _mean_shares(scene, result.labels, result.sources["label"]) if own is None else own


def _mean_shares(scene: Scene, labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Means of the class maps but for sky over segments, scaled to a sum of 1: ``(n, 4)``, NaN without maps."""
    if scene.result.probability is None:
        return np.full((len(wanted), len(SOURCE_CLASSES)), np.nan)
    label, means = metrics.segment_means(labels, scene.result.probability[:, :, :BACKGROUND], scene.light)
    with np.errstate(invalid="ignore", divide="ignore"):
        return metrics.by_label(label, means / means.sum(axis=1, keepdims=True), wanted, np.nan)


def _source_reliability(
    scene: Scene, sources: Table, shares: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]
) -> dict[str, Reliability]:
    """Diagrams of the classes of matched sources in the scored area."""
    truth_row, row = pairs
    gives_classes = scene.result.probability is not None or scene.result.shares is not None
    if not gives_classes or not scene.truth.has_classes:
        return {}
    soft = scene.truth.soft[truth_row]
    counted = rows_inside(scene.scored, sources)[truth_row] & np.isfinite(soft).all(axis=1)
    p, soft = shares[row][counted], soft[counted]
    return _diagrams("sources", p, soft) | _classwise("sources", p, _hard(soft), SOURCE_CLASSES)


def _hard(soft: np.ndarray) -> np.ndarray:
    """1 for the most probable class of each row, and 0 for others."""
    return np.eye(soft.shape[1])[soft.argmax(axis=1)]


def _diagrams(name: str, p: np.ndarray, soft: np.ndarray) -> dict[str, Reliability]:
    """Reliability of the most probable class against soft and hard labels."""
    return {name: top_label_reliability(p, soft), f"{name}_hard": top_label_reliability(p, _hard(soft))}


def _classwise(name: str, p: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> dict[str, Reliability]:
    diagrams = classwise_reliability(p, truth)
    return {f"{name}_{kind}": diagram for kind, diagram in zip(classes, diagrams, strict=True)}


_ROWS = 512
"""Rows of class maps worked on at once."""


def map_reliability(scene: Scene) -> dict[str, Reliability]:
    """Diagrams of the class maps, block of rows by block of rows."""
    maps = scene.result.probability
    if maps is None:
        return {}
    blocks = [_block_reliability(scene, maps, slice(y, y + _ROWS)) for y in range(0, len(maps), _ROWS)]
    return {key: reduce(add, [diagrams[key] for diagrams in blocks]) for key in blocks[0]}


def _block_reliability(scene: Scene, maps: np.ndarray, rows: slice) -> dict[str, Reliability]:
    chosen = scene.scored[rows]
    p = maps[rows][chosen].astype(np.float64)
    labels = scene.truth.labels[rows][chosen]
    diagrams = {"source": reliability(1 - p[:, BACKGROUND], labels > 0)}
    if not scene.truth.has_classes:
        return diagrams
    soft = scene.truth.soft_of(labels).astype(np.float64)
    known = np.isfinite(soft).all(axis=1)
    p, soft = p[known], soft[known]
    # Chosen by what the model says alone: chosen by the truth, even true probabilities would look wrong.
    shown = p[:, BACKGROUND] < 0.5
    diagrams |= _diagrams("pixels", p, soft) | _diagrams("source_pixels", p[shown], soft[shown])
    return diagrams | _classwise("pixels", p, soft, CLASSES)


def is_source(probability: np.ndarray) -> np.ndarray:
    """bool, shape ``(y, x)``: where sky is less probable than not; pixels without a value are sky."""
    return np.nan_to_num(probability[:, :, BACKGROUND], nan=1.0) < 0.5


def source_sky(scene: Scene, found: np.ndarray) -> np.ndarray:
    """Pixels by truth and by a mask of sources: int64, shape ``(2, 2)``, sky first."""
    chosen = scene.scored
    return metrics.confusion_counts(scene.truth.labels[chosen] > 0, found[chosen], (2, 2))


def pixel_classes(scene: Scene) -> np.ndarray | None:
    """Pixels by true and most probable class: int64, shape ``(5, 5)``; None without class maps or true classes."""
    if scene.result.probability is None or not scene.truth.has_classes:
        return None
    chosen = scene.scored & np.isfinite(scene.result.probability).all(axis=2)
    top = scene.result.probability[chosen].argmax(axis=1)
    return metrics.confusion_counts(scene.truth.pixel_class[chosen], top, (len(CLASSES), len(CLASSES)))
