"""Results of a tool: label map, catalogue and, if it makes them, class maps."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from scipy import ndimage

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.errors import InputError
from morpheus_lite.evaluation.metrics import by_label, measure_segments, segment_means
from morpheus_lite.io.fitsfile import Location, run_of_header
from morpheus_lite.io.source_tables import class_shares, find_column, open_hdus, read_rows, read_whole_numbers
from morpheus_lite.io.wcs import celestial_wcs

_LABEL_HDUS = ("SEGMENTATION", "LABELS", "SEGMAP")
CATALOG_SUFFIXES = (".ecsv", ".fits", ".parquet", ".csv", ".cat")
RELEASE_MAPS = tuple(f"{name}.fits" for name in CLASSES)
"""Rank votes as the published package writes them, one file per class, beside its ``segmap.fits``."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Result:
    """Result of a tool for one field.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``: label of the detection that owns the pixel, 0 for sky.
    sources : astropy.table.Table
        One row a detection: ``label``, ``x``, ``y`` (0-based pixels; NaN to have them measured), ``p_<class>`` for
        each source class where the tool gives classes, and any columns of the tool's own.
    probability : numpy.ndarray or None
        float32, shape ``(y, x, class)`` in the order of ``CLASSES``; NaN where not classified.
    name : str
        What to call the tool.
    wcs : astropy.wcs.WCS or None
        Of the label map, where its file has one.
    provenance : dict
        Record of the run that made the class maps; empty where none is known.
    """

    labels: np.ndarray
    sources: Table
    probability: np.ndarray | None = None
    name: str = "result"
    wcs: WCS | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.labels.shape

    @property
    def shares(self) -> np.ndarray | None:
        """float64, shape ``(n, 4)``: the tool's own class probabilities of its sources; None if it gives none."""
        return class_shares(self.sources, self.name)

    def keep(self, chosen: np.ndarray) -> "Result":
        """The result with some of its detections only; the pixels of the others become sky.

        Parameters
        ----------
        chosen : numpy.ndarray
            bool, shape ``(n,)``: rows of ``sources`` to keep.
        """
        kept = self.sources[np.asarray(chosen, dtype=bool)]
        labels = np.where(np.isin(self.labels, np.asarray(kept["label"])), self.labels, 0)
        return replace(self, labels=labels, sources=kept)

    def source_scores(self) -> dict[str, np.ndarray]:
        """Confidence of each detection, from the class maps.

        Returns
        -------
        dict
            ``mean_source`` and ``peak_source``: mean and largest probability over the segment that a pixel is not
            sky; ``log_odds``: sum over the segment of the logarithm of its odds. float64, shape ``(n,)``; empty
            without class maps.
        """
        if self.probability is None:
            return {}
        source = 1 - self.probability[:, :, -1].astype(np.float64)
        odds = np.log(np.clip(source, 1e-6, 1) / np.clip(1 - source, 1e-6, 1))
        found = measure_segments(self.labels)
        _, means = segment_means(self.labels, np.stack([source, odds], axis=2))
        peak = np.asarray(ndimage.maximum(np.nan_to_num(source), self.labels, found.label))
        scores = {"mean_source": means[:, 0], "peak_source": peak, "log_odds": means[:, 1] * found.area}
        return {key: by_label(found.label, value, self.sources["label"], 0.0) for key, value in scores.items()}


def make_result(
    labels: np.ndarray,
    sources: Table | Mapping[str, Any] | str | Path | None = None,
    *,
    probability: np.ndarray | None = None,
    name: str = "result",
) -> Result:
    """A `Result` from a label map and, if there is one, the tool's catalogue.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``; negative values (unclassified, in maps of the published package) count as sky.
    sources : table, mapping of columns or path, optional
        ``label`` (or id, NUMBER), and if it has them ``x``, ``y``, ``p_<class>`` or ``class``. Where it leaves out
        segments of the map, these count as not detected; without it every segment is a detection.
    probability : numpy.ndarray, optional
        float, shape ``(y, x, class)`` in the order of ``CLASSES``.
    name : str
        What to call the tool.
    """
    labels = np.maximum(labels, 0).astype(np.int32)
    if probability is not None and probability.shape != (*labels.shape, len(CLASSES)):
        raise InputError(
            f"{name}: class maps of shape {probability.shape}, labels of shape {labels.shape}; expected "
            f"(y, x, {len(CLASSES)}) of the same field"
        )
    if sources is None:
        found = measure_segments(labels)
        nan = np.full(len(found.label), np.nan)
        return Result(labels, Table({"label": found.label, "x": nan, "y": nan}), probability, name)
    table = _standard(read_rows(sources, name), name)
    orphans = np.setdiff1d(labels, np.append(np.asarray(table["label"]), 0))
    if len(orphans):
        _LOG.warning("%s: %d segments have no row in the catalogue and are left out", name, len(orphans))
        labels = np.where(np.isin(labels, orphans), 0, labels)
    return Result(labels, table, probability, name)


def _standard(table: Table, name: str) -> Table:
    """The tool's table with ``label``, ``x`` and ``y`` put right."""
    table = Table(table, copy=True)
    label = np.asarray(find_column(table, "label", name), dtype=np.int32)
    if len(np.unique(label)) != len(label):
        raise InputError(f"{name}: the catalogue lists a label twice; expected one row per source")
    x, y = (find_column(table, axis, name, required=False) for axis in ("x", "y"))
    nan = np.full(len(table), np.nan)
    table["label"], table["x"], table["y"] = label, nan if x is None else x, nan if y is None else y
    return table


def read_result(path: str | Path, *, name: str | None = None) -> Result:
    """Read what a tool wrote.

    Parameters
    ----------
    path : path
        The products of `morpheus classify` (the FITS file or its directory), a label map of any tool (SExtractor's
        SEGMENTATION check image, photutils', ...), or the output directory of the published package.
        ``MAP,CATALOGUE`` names a catalogue too: ECSV, FITS (also FITS_LDAC), Parquet, CSV, or SExtractor's ASCII_HEAD
        (``.cat``). By default it is ``<name>_catalog.*`` beside ``<name>_morpheus.fits``, or the file named as the map
        with another suffix.
    name : str, optional
        What to call the tool; by default the name of the map or directory.
    """
    text, catalog = str(path), ""
    if not Path(text).exists() and "," in text:
        text, _, catalog = text.rpartition(",")
    where = Path(Location.parse(text).path)
    if where.is_dir() and (where / "segmap.fits").is_file():
        return _read_release(where, catalog or None, name or where.name)
    mapped = _map_in(where) if where.is_dir() else where
    labels = read_whole_numbers(text if mapped == where else str(mapped), _LABEL_HDUS, "label map")
    with open_hdus(mapped) as hdus:
        planes = {hdu.name.lower(): hdu for hdu in hdus if getattr(hdu, "is_image", False)}
        complete = all(one in planes for one in CLASSES)
        maps = [np.asarray(planes[one].data, dtype=np.float32) for one in CLASSES] if complete else None
        provenance = run_of_header(hdus[0].header)
        headers = (hdu.header for hdu in planes.values() if hdu.shape == labels.shape and "CTYPE1" in hdu.header)
        wcs = next((celestial_wcs(header, labels.shape, str(mapped)) for header in headers), None)
    stem = mapped.name.split(".")[0]
    result = make_result(
        labels,
        catalog or _catalog_of(mapped),
        probability=None if maps is None else np.stack(maps, axis=2),
        name=name or stem.removesuffix("_morpheus"),
    )
    return replace(result, wcs=wcs, provenance=provenance)


def _map_in(directory: Path) -> Path:
    """The one file of maps in a directory of products."""
    candidates = sorted(directory.glob("*_morpheus.fits*")) or sorted(directory.glob("*.fits"))
    if len(candidates) != 1:
        have = ", ".join(one.name for one in candidates[:5]) or "none"
        raise InputError(f"{directory}: expected one FITS file with a label map, found {have}; name the file itself")
    return candidates[0]


def _catalog_of(path: Path) -> Path | None:
    stem = path.name.split(".")[0]
    stems = (f"{stem.removesuffix('_morpheus')}_catalog", stem)
    beside = [path.with_name(one + suffix) for one in stems for suffix in CATALOG_SUFFIXES]
    return next((one for one in beside if one != path and one.is_file()), None)


def _read_release(directory: Path, catalog: str | None, name: str) -> Result:
    labels = read_whole_numbers(str(directory / "segmap.fits"), _LABEL_HDUS, "label map")
    maps = []
    for file in RELEASE_MAPS:
        if not (directory / file).is_file():
            return make_result(labels, catalog, name=name)
        with open_hdus(directory / file) as hdus:
            maps.append(np.asarray(next(hdu.data for hdu in hdus if hdu.data is not None), dtype=np.float32))
    votes = np.stack(maps, axis=2)
    votes[votes.sum(axis=2) <= 0] = np.nan  # where no window counted, every vote is 0
    return make_result(labels, catalog, probability=votes, name=name)
