"""The report of a survey: totals, figures of every tile, outliers, failures; as plain values, and as an HTML page."""

import html
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from astropy.stats import mad_std

from morpheus_lite import __version__
from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.runtime.atomic import atomic_write
from morpheus_lite.survey.jobs import Outcome
from morpheus_lite.survey.merge.footprint import Footprint
from morpheus_lite.survey.merge.merge import Merged
from morpheus_lite.survey.plan import SurveyPlan
from morpheus_lite.survey.state import SUMMARY, read_each, read_json, tile_directory
from morpheus_lite.survey.statistics import BRIGHTEST, FAINTEST
from morpheus_lite.visualization.colours import hex_colours
from morpheus_lite.visualization.html_report.page import script_json

FEWEST = 8
"""Tiles below which none stands out."""

FAR = 5.0
"""Tiles further than this from the median, in units of the scatter, stand out."""

_FIGURES = ("bands", "depth", "n_sources", "classes", "magnitudes", "n_cut", "peak_memory", "host")


def summarise_survey(
    plan: SurveyPlan, outcomes: Sequence[Outcome], merged: Merged | None, seconds: float
) -> dict[str, Any]:
    """A survey as plain values: what ``report.json`` holds.

    Parameters
    ----------
    plan : SurveyPlan
        What there was to do.
    outcomes : sequence of Outcome
        Of the tiles that were worked on.
    merged : Merged or None
        The merged catalogue.
    seconds : float
        Wall-clock time of the run.
    """
    found = read_each(lambda tile: tile_figures(plan.root, tile.name), plan.tiles)
    tiles = [figures for figures in found if figures]
    mark_outliers(tiles)
    failed = [one for one in outcomes if one.status == "failed"]
    return {
        "software": f"morpheus_lite {__version__}",
        "made": time.strftime("%Y-%m-%d %H:%M:%S"),
        "totals": {
            "tiles": len(plan.tiles),
            "done": len(tiles),
            "done_now": len(outcomes) - len(failed),
            "failed": len(failed),
            "n_pixels": sum(one["n_pixels"] for one in tiles),
            "n_sources": sum(one["n_sources"] for one in tiles),
            "seconds": round(seconds, 1),
            "tile_seconds": round(sum(one["seconds"] for one in tiles), 1),
        },
        "classes": _added(one["classes"] for one in tiles),
        "magnitudes": {"brightest": BRIGHTEST, "faintest": FAINTEST, **_added(one.pop("magnitudes") for one in tiles)},
        "merged": None if merged is None else _merged(merged),
        "failed": [{"tile": one.name, "error": one.error, "kind": one.kind, "log": one.tail} for one in failed],
        "warned": [{"tile": one.name, "warnings": list(one.doubts)} for one in outcomes if one.doubts],
        "unrecognized_tiles": list(plan.unrecognized_tiles),
        "outliers": [one["name"] for one in tiles if one["outlier"]],
        "tiles": tiles,
    }


def _merged(merged: Merged) -> dict[str, Any]:
    return {
        "n_rows": merged.n_rows,
        "n_duplicates": merged.n_duplicates,
        "larger_than_overlap": merged.cut,
        "overlap_needed_arcsec": max((one["needed"] for one in merged.cut), default=0.0),
        "without_wcs": list(merged.unplaced),
    }


def tile_figures(root: Path, name: str) -> dict[str, Any] | None:
    """Figures of one finished tile; None if it is not finished."""
    summary = read_json(tile_directory(root, name) / SUMMARY)
    if summary is None:
        return None
    footprint = Footprint.from_dict(summary["footprint"])
    height, width = footprint.shape
    seconds = sum(summary["seconds"].values()) - summary["seconds"].get("loading", 0.0)
    return {
        "name": name,
        "n_pixels": height * width,
        "valid_share": round(footprint.valid_share, 4),
        **_place(footprint),
        **{figure: summary[figure] for figure in _FIGURES},
        "seconds": round(seconds, 2),
        "stages": {stage: round(one, 2) for stage, one in summary["seconds"].items()},
    }


def _place(footprint: Footprint) -> dict[str, Any]:
    if footprint.wcs is None:
        return {"corners": None, "pixel_scale": None, "area": None}
    height, width = footprint.shape
    x, y = np.array([-0.5, width - 0.5, width - 0.5, -0.5]), np.array([-0.5, -0.5, height - 0.5, height - 0.5])
    ra, dec = footprint.sky(x, y)
    area = height * width * footprint.valid_share * footprint.pixel_scale**2 / 3600
    corners = [[round(float(a), 6), round(float(d), 6)] for a, d in zip(ra, dec, strict=True)]
    return {"corners": corners, "pixel_scale": round(footprint.pixel_scale, 6), "area": area}


def mark_outliers(tiles: list[dict[str, Any]]) -> None:
    """Say of each tile in which respect it stands out from the others: adds ``outlier``, a list of sentences."""
    for one in tiles:
        one["outlier"] = []
    if len(tiles) > 1:
        _mark_bands(tiles)
    if len(tiles) < FEWEST:
        return
    pixels = np.array([max(one["n_pixels"], 1) / 1e6 for one in tiles])
    counts = np.array([one["n_sources"] for one in tiles], dtype=float)
    size = np.array([one["area"] or n for one, n in zip(tiles, pixels, strict=True)])
    bands = sorted({band for one in tiles for band in one["depth"]})
    # What, its values, the scatter below which a difference does not matter, and the noise of each value.
    checks: list[tuple[str, Any, float, Any]] = [
        *((f"depth in {band}", [one["depth"].get(band) for one in tiles], 0.1, 0.0) for band in bands),
        ("pixel scale in arcsec", [one["pixel_scale"] for one in tiles], 0.002, 0.0),
        ("seconds per megapixel", [one["seconds"] for one in tiles] / pixels, 1.0, 0.0),
        ("sources per unit of area", counts / size, 0.0, np.sqrt(np.maximum(counts, 1)) / size),
    ]
    for name in SOURCE_CLASSES:
        share = np.array([one["classes"][name] for one in tiles]) / np.maximum(counts, 1)
        noise = np.sqrt(np.maximum(share * (1 - share), 0.05) / np.maximum(counts, 1))
        checks.append((f"share of {name.replace('_', ' ')}", np.where(counts > 0, share, np.nan), 0.0, noise))
    for what, values, floor, noise in checks:
        value = np.array(values, dtype=float)
        known = np.isfinite(value)
        if known.sum() < FEWEST:
            continue
        middle, scatter = np.median(value[known]), mad_std(value[known])
        far = known & (np.abs(value - middle) > FAR * np.hypot(max(scatter, floor), noise))
        for k in np.flatnonzero(far).tolist():
            tiles[k]["outlier"].append(f"{what}: {value[k]:.4g}, others {middle:.4g}")


def _mark_bands(tiles: list[dict[str, Any]]) -> None:
    """A tile whose file ends between two bands, or was never given one, looks whole by itself."""
    ((usual, _),) = Counter(tuple(sorted(one["bands"])) for one in tiles).most_common(1)
    for one in tiles:
        if lacking := sorted(set(usual) - set(one["bands"])):
            one["outlier"].append(f"without {', '.join(lacking)}, which others have")
        if further := sorted(set(one["bands"]) - set(usual)):
            one["outlier"].append(f"with {', '.join(further)}, which others have not")


def _added(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums of counts, or of lists of counts, key by key."""
    total: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            added = np.asarray(value) + np.asarray(total.get(key, 0))
            total[key] = added.tolist()
    return total


TEMPLATE = "survey.html"


def write_page(path: Path, survey: Mapping[str, Any], *, title: str) -> Path:
    """Write the report; it needs nothing beside itself, and no network.

    Parameters
    ----------
    path : path
        The file; replaced if it exists.
    survey : mapping
        From `~morpheus_lite.survey.report.survey_report.summarise_survey`.
    title : str
        Name of the survey.
    """
    folder = resources.files(__package__)
    page = folder.joinpath(TEMPLATE).read_text(encoding="utf-8")
    for mark, text in {
        "{{title}}": html.escape(title),
        "{{script}}": folder.joinpath("survey.js").read_text(encoding="utf-8"),
        "{{data}}": script_json({**survey, "colours": hex_colours("legible") | {UNCERTAIN: "#bbbbbb"}}),
    }.items():
        page = page.replace(mark, text)
    with atomic_write(path, overwrite=True) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
