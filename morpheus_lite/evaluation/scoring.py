"""Score a result against the truth of the same field."""

from dataclasses import replace

import numpy as np
from astropy.table import Table

from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES
from morpheus_lite.evaluation.metrics import (
    Reliability,
    chance_match_rate,
    classify_matches,
    classwise_reliability,
    match_overlap,
    match_positions,
    measure_segments,
    overlap_areas,
    segment_means,
    top_label_reliability,
)
from morpheus_lite.evaluation.pixels import is_source, map_reliability, pixel_classes, source_sky
from morpheus_lite.evaluation.result import Result
from morpheus_lite.evaluation.scene import Scene, by_label, make_scene, pixel_of, rows_inside
from morpheus_lite.evaluation.scores import EvaluationOptions, Scores
from morpheus_lite.evaluation.truth import Truth


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
    detections = _detections(scene)
    truth_row, row, distance = match_positions(
        truth.positions, np.column_stack([detections["x"], detections["y"]]), scene.options.radius / scene.scale
    )
    sources = _truth_sources(scene)
    sources["match"][truth_row] = detections["label"][row]
    sources["distance"][truth_row] = distance * scene.scale
    detections["match"][row] = sources["label"][truth_row]
    _overlaps(scene, sources, detections)
    shares = _shares(scene, detections)
    _compare_matched(scene, sources, detections, shares, (truth_row, row))
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
        chance_match=chance_match_rate(len(sources), n_pixels * scene.scale**2, scene.options.radius),
        source_sky=source_sky(scene, result.labels > 0),
        source_sky_maps=None if result.probability is None else source_sky(scene, is_source(result.probability)),
        pixel_classes=pixel_classes(scene),
        reliability=diagrams,
    )


def _truth_sources(scene: Scene) -> Table:
    """The table of `Scores.truth_sources`, nothing matched yet."""
    truth, n = scene.truth, len(scene.truth.sources)
    segments = measure_segments(truth.labels, scene.light)
    columns = {
        "field": np.full(n, truth.name),
        "label": np.asarray(truth.sources["label"]),
        "x": np.asarray(truth.sources["x"], np.float64),
        "y": np.asarray(truth.sources["y"], np.float64),
        "magnitude": truth.magnitude(scene.band if truth.bands else None),
        "area": by_label(segments.label, segments.area, truth.sources["label"], 0),
        "match": np.zeros(n, np.int32),
        "distance": np.full(n, np.nan),
        "fate": np.full(n, "undetected", "U10"),
        "overlap_match": np.zeros(n, np.int32),
        "iou": np.zeros(n),
        "true_class": truth.source_class,
        "called_class": np.full(n, -1, np.int8),
        "class_in_place": _classes_in_place(scene),
        "flux_residual": np.full(n, np.nan),
        "area_ratio": np.full(n, np.nan),
        "flags": np.full(n, -1, np.int32),
        "total_residual": np.full(n, np.nan),
        "total_pull": np.full(n, np.nan),
    }
    return Table(columns | {f"called_p_{name}": np.full(n, np.nan) for name in SOURCE_CLASSES})


def _detections(scene: Scene) -> Table:
    """The table of `Scores.detections`, nothing matched yet; ``flux`` in the unit of the image."""
    result = scene.result
    segments = measure_segments(result.labels, scene.light)
    label = np.asarray(result.sources["label"])
    flux = by_label(segments.label, segments.flux, label, np.nan)
    x, y = (
        np.where(np.isfinite(given), given, by_label(segments.label, measured, label, np.nan))
        for given, measured in ((result.sources["x"], segments.x), (result.sources["y"], segments.y))
    )
    columns = {
        "field": np.full(len(label), scene.truth.name),
        "label": label,
        "x": x,
        "y": y,
        "magnitude": _magnitudes(flux, scene),
        "flux": flux if scene.light is not None else np.full(len(label), np.nan),
        "area": by_label(segments.label, segments.area, label, 0),
        "match": np.zeros(len(label), np.int32),
        "fate": np.full(len(label), "spurious", "U10"),
    }
    columns.update({f"score_{key}": value for key, value in result.source_scores().items()})
    for name in result.sources.colnames:
        if name.startswith("score_"):
            columns[name] = np.asarray(result.sources[name], np.float64)
    return Table(columns)


def _magnitudes(flux: np.ndarray, scene: Scene) -> np.ndarray:
    if scene.zero_point is None or scene.light is None:
        return np.full(len(flux), np.nan)
    with np.errstate(invalid="ignore"):
        return scene.zero_point - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))


def _overlaps(scene: Scene, sources: Table, detections: Table) -> None:
    """Fill in who overlaps whom, and the fates."""
    pairs = overlap_areas(scene.truth.labels, scene.result.labels, scene.truth.valid)
    one, two, iou = match_overlap(pairs)
    sources["overlap_match"] = by_label(one, two, sources["label"], 0)
    sources["iou"] = by_label(one, iou, sources["label"], 0.0)
    rows, columns, within = pixel_of(scene.truth.shape, sources)
    under = np.where(within, scene.result.labels[rows, columns], 0)
    sources["fate"], detections["fate"] = classify_matches(
        pairs,
        np.asarray(sources["label"]),
        np.asarray(sources["match"]),
        under,
        np.asarray(detections["label"]),
        np.asarray(detections["match"]),
    )


def _compare_matched(
    scene: Scene,
    sources: Table,
    detections: Table,
    shares: np.ndarray | None,
    pairs: tuple[np.ndarray, np.ndarray],
) -> None:
    """Fill in class, flux and area of the matched detections: ``pairs`` are rows of both that belong together."""
    truth_row, row = pairs
    if shares is not None:
        called = np.where(np.isfinite(shares).all(axis=1), np.nan_to_num(shares).argmax(axis=1), -1)
        sources["called_class"][truth_row] = called[row]
        for k, name in enumerate(SOURCE_CLASSES):
            sources[f"called_p_{name}"][truth_row] = shares[row, k]
    _compare_totals(scene, sources, truth_row, row)
    if scene.zero_point is not None:
        true_flux = 10 ** (-0.4 * (np.asarray(sources["magnitude"])[truth_row] - scene.zero_point))
        sources["flux_residual"][truth_row] = np.asarray(detections["flux"])[row] / true_flux - 1
    area = np.asarray(sources["area"], np.float64)[truth_row]
    sources["area_ratio"][truth_row] = np.asarray(detections["area"])[row] / np.where(area > 0, area, np.nan)


def _compare_totals(scene: Scene, sources: Table, truth_row: np.ndarray, row: np.ndarray) -> None:
    """Fill in the flags of the matched detections, and how far their total fluxes are off, where the tool gives any."""
    given = scene.result.sources
    if "flags" in given.colnames:
        sources["flags"][truth_row] = np.asarray(given["flags"])[row]
    names = [f"total_{kind}_{scene.band}" for kind in ("fnu", "fnuerr")]
    if not all(name in given.colnames for name in names):
        return
    flux, error = (np.asarray(given[name], np.float64)[row] for name in names)
    # The zero-point of nJy.
    true_flux = 10 ** (-0.4 * (np.asarray(sources["magnitude"])[truth_row] - 31.4))
    with np.errstate(invalid="ignore", divide="ignore"):
        sources["total_residual"][truth_row] = -2.5 * np.log10(np.where(flux > 0, flux / true_flux, np.nan))
        sources["total_pull"][truth_row] = (flux - true_flux) / error


def _shares(scene: Scene, detections: Table) -> np.ndarray | None:
    """Class probabilities of the detections: the tool's own, else from its maps; float64, shape ``(n, 4)``."""
    own = scene.result.shares
    if own is not None or scene.result.probability is None:
        return own
    found = measure_segments(scene.result.labels).label
    return by_label(
        found, _mean_shares(scene, scene.result.probability, scene.result.labels), detections["label"], np.nan
    )


def _classes_in_place(scene: Scene) -> np.ndarray:
    label = np.asarray(scene.truth.sources["label"])
    if scene.result.probability is None:
        return np.full(len(label), -1, np.int8)
    shares = _mean_shares(scene, scene.result.probability, scene.truth.labels)
    known = np.isfinite(shares).all(axis=1)
    best = np.where(known, np.nan_to_num(shares).argmax(axis=1), -1).astype(np.int8)
    return by_label(measure_segments(scene.truth.labels).label, best, label, np.int8(-1))


def _mean_shares(scene: Scene, maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    means = segment_means(labels, maps[:, :, :BACKGROUND], scene.light)
    with np.errstate(invalid="ignore", divide="ignore"):
        return means / means.sum(axis=1, keepdims=True)


def _source_reliability(
    scene: Scene, sources: Table, shares: np.ndarray | None, pairs: tuple[np.ndarray, np.ndarray]
) -> dict[str, Reliability]:
    """Diagrams of the classes of matched sources in the scored area."""
    truth_row, row = pairs
    if shares is None or not scene.truth.has_classes:
        return {}
    soft = scene.truth.soft[truth_row]
    counted = rows_inside(scene.scored, sources)[truth_row] & np.isfinite(soft).all(axis=1)
    p, soft = shares[row][counted], soft[counted]
    hard = np.eye(soft.shape[1])[soft.argmax(axis=1)]
    classwise = classwise_reliability(p, hard)
    return {
        "sources": top_label_reliability(p, soft),
        "sources_hard": top_label_reliability(p, hard),
        **{f"sources_{name}": one for name, one in zip(SOURCE_CLASSES, classwise, strict=True)},
    }
