"""Fields with label maps and sources: the truth, and the results of tools, from files or from arrays."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy import ndimage

from morpheus_lite.core.classes import BACKGROUND, CLASSES, SOURCE_CLASSES
from morpheus_lite.core.image import SkyImage, canonical_band
from morpheus_lite.errors import InputError
from morpheus_lite.evaluation.metrics import by_label, measure_segments, segment_means
from morpheus_lite.io import read_image
from morpheus_lite.io.fitsfile import Location, run_of_header
from morpheus_lite.io.source_tables import class_shares, find_column, open_hdus, read_rows, read_whole_numbers
from morpheus_lite.io.wcs import celestial_wcs

if TYPE_CHECKING:  # the simulator needs GalSim, an extra
    from morpheus_lite.simulation.field import Field
    from morpheus_lite.simulation.observation import Observation

_TRUTH_HDUS = ("OWNER", "TRUTH", "LABELS", "SEGMENTATION", "SEGMAP")
_LABEL_HDUS = ("SEGMENTATION", "LABELS", "SEGMAP")
SOURCE_HDUS = ("SOURCES", "CATALOG", "CATALOGUE")
VALID_HDUS = ("VALID",)
CATALOG_SUFFIXES = (".ecsv", ".fits", ".parquet", ".csv", ".cat")
RELEASE_MAPS = tuple(f"{name}.fits" for name in CLASSES)
"""Rank votes as the published package writes them, one file per class, beside its ``segmap.fits``."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Truth:
    """A field and what is really in it.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``: label of the source that owns the pixel, 0 for sky.
    sources : astropy.table.Table
        One row per source, whether or not it owns a pixel: ``label`` (int), ``x``, ``y`` (0-based pixels),
        ``magnitude_<band>`` (AB, total; as many bands as are known) and ``p_<class>`` for each of
        ``SOURCE_CLASSES`` (soft class, sums to 1; NaN where the class is not known).
    valid : numpy.ndarray
        bool, shape ``(y, x)``: where the truth is known and the image could be used.
    image : SkyImage or None
        The pixels that the tools were given; without it segments have no flux.
    pixel_scale : float or None
        Arcseconds per pixel.
    name : str
        What to call the field.
    """

    labels: np.ndarray
    sources: Table
    valid: np.ndarray
    image: SkyImage | None = None
    pixel_scale: float | None = None
    name: str = "truth"

    def __post_init__(self) -> None:
        for what, shape in (("valid", self.valid.shape), ("image", self.image.shape if self.image else None)):
            if shape is not None and shape != self.labels.shape:
                raise InputError(f"{self.name}: {what} has shape {shape}, the true labels {self.labels.shape}")
        missing = np.setdiff1d(self.labels[self.labels > 0], self.sources["label"])
        if len(missing):
            raise InputError(
                f"{self.name}: the label map holds {len(missing)} source(s) that the table does not list, such as "
                f"{missing[0]}; give the table that was made from this map"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.labels.shape

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands with a true magnitude."""
        return tuple(name.removeprefix("magnitude_") for name in self.sources.colnames if name.startswith("magnitude_"))

    @property
    def positions(self) -> np.ndarray:
        """float64, shape ``(n, 2)``: x and y of the sources in pixels."""
        return np.column_stack([self.sources["x"], self.sources["y"]]).astype(np.float64)

    @property
    def soft(self) -> np.ndarray:
        """float64, shape ``(n, 4)``: probability of each of ``SOURCE_CLASSES``; NaN where not known."""
        return np.column_stack([self.sources[f"p_{name}"] for name in SOURCE_CLASSES]).astype(np.float64)

    @property
    def source_class(self) -> np.ndarray:
        """int8, shape ``(n,)``: most probable class of each source, -1 where not known."""
        return top_class(self.soft)

    @property
    def pixel_class(self) -> np.ndarray:
        """int8, shape ``(y, x)``: index into ``CLASSES``; -1 where the class of the owner is not known."""
        return by_label(self.sources["label"], self.source_class, self.labels, np.int8(BACKGROUND))

    @property
    def has_classes(self) -> bool:
        """True if the class of any source is known."""
        return bool((self.source_class >= 0).any())

    def soft_of(self, labels: np.ndarray) -> np.ndarray:
        """Class probabilities of pixels with these labels: float32, with the classes last; NaN where not known."""
        padded = np.column_stack([self.soft, np.zeros(len(self.sources))]).astype(np.float32)
        sky = np.eye(len(CLASSES), dtype=np.float32)[BACKGROUND]
        return by_label(self.sources["label"], padded, labels, sky)

    def magnitude(self, band: str | None = None) -> np.ndarray:
        """float64, shape ``(n,)``: AB magnitude in a band (the first when None); NaN where there are none."""
        if band is None and not self.bands:
            return np.full(len(self.sources), np.nan)
        wanted = self.bands[0] if band is None else canonical_band(band)
        if wanted not in self.bands:
            raise InputError(
                f"{self.name} has no true magnitudes in {wanted}: it has {', '.join(self.bands) or 'none'}"
            )
        return np.asarray(self.sources[f"magnitude_{wanted}"], dtype=np.float64)


def top_class(shares: np.ndarray) -> np.ndarray:
    """Most probable class of each row of ``(n, class)``: int8, -1 where one is not known."""
    return np.where(np.isfinite(shares).all(axis=1), np.nan_to_num(shares).argmax(axis=1), -1).astype(np.int8)


def make_truth(
    labels: np.ndarray,
    sources: Table | Mapping[str, Any] | None = None,
    *,
    image: SkyImage | None = None,
    valid: np.ndarray | None = None,
    pixel_scale: float | None = None,
    name: str = "truth",
) -> Truth:
    """A `Truth` from a label map and whatever table describes its sources.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``; negative values count as sky.
    sources : table or mapping of columns, optional
        ``label`` (or id, NUMBER), ``x`` and ``y`` (or x_centroid, X_IMAGE, ...), ``magnitude_<band>`` (or
        ``mag_<band>``), ``p_<class>`` and/or ``class`` (or kind, morphology: a name or an index into ``CLASSES``).
        Without a table the sources are the segments, their magnitudes those of the image, their classes unknown.
    image : SkyImage, optional
        The field as the tools saw it.
    valid : numpy.ndarray, optional
        bool, shape ``(y, x)``; by default where the image is valid in any band.
    pixel_scale : float, optional
        Arcseconds per pixel; by default from the image's WCS.
    name : str
        What to call the field.
    """
    labels = np.maximum(labels, 0).astype(np.int32)
    known = np.ones(labels.shape, bool) if image is None else np.asarray(image.valid.any(axis=2))
    table = _measured(labels, image) if sources is None else _described(read_rows(sources, name), name)
    scale = pixel_scale or (image.pixel_scale if image is not None else None)
    return Truth(labels, table, known if valid is None else np.asarray(valid, dtype=bool), image, scale, name)


def truth_of_simulation(field: "Field", observation: "Observation", *, name: str = "simulated field") -> Truth:
    """The truth of a simulated field at the depth at which it was observed.

    Parameters
    ----------
    field : morpheus_lite.simulation.field.Field
        What is in the sky.
    observation : morpheus_lite.simulation.observation.Observation
        The image made of it; its label map holds the sources that stand out.
    name : str
        What to call the field.
    """
    rows = field.sources
    with np.errstate(divide="ignore"):
        magnitudes = observation.image.zero_points - 2.5 * np.log10(rows["flux"])
    columns = {"label": rows["id"], "x": rows["x"], "y": rows["y"], "soft": rows["soft"]}
    columns.update({f"magnitude_{band}": magnitudes[:, k] for k, band in enumerate(field.bands)})
    return make_truth(observation.labels, columns, image=observation.image, pixel_scale=field.pixel_scale, name=name)


def read_truth(path: str | Path, *, image: Any = None, name: str | None = None) -> Truth:
    """Read a truth file, such as `morpheus simulate` writes.

    Parameters
    ----------
    path : path
        FITS with a label map (HDU OWNER, TRUTH, LABELS or SEGMENTATION, else the only image of whole numbers), a
        table of its sources (HDU SOURCES, else the first table; optional), the image in its bands (optional), and
        a mask VALID (optional, 1 where the truth holds).
    image : anything `read_image` takes, optional
        The image, where it is not in the same file; by default ``NAME.fits`` beside ``NAME_truth.fits``.
    name : str, optional
        What to call the field; by default the file's name.
    """
    path = Path(path)
    labels = read_whole_numbers(str(path), _TRUTH_HDUS, "label map")
    with open_hdus(path) as hdus:
        table = _source_table(hdus)
        valid = [np.asarray(hdu.data) > 0 for hdu in hdus if hdu.name in VALID_HDUS]
        bands = [hdu.name for hdu in hdus if _is_band(hdu)]
        scale = hdus[0].header.get("PIXSCALE")
    if image is None:
        image = {band: f"{path}[{band}]" for band in bands} if bands else _image_of(path)
    found = read_image(image) if image is not None else None
    stem = name or path.name.split(".")[0].removesuffix("_truth")
    truth = make_truth(labels, table, image=found, pixel_scale=scale, name=stem)
    return replace(truth, valid=truth.valid & valid[0]) if valid else truth


def _image_of(path: Path) -> Path | None:
    """The image beside a truth file, as the simulator writes them."""
    stem, ending = path.name.split(".", 1)
    image = path.with_name(f"{stem.removesuffix('_truth')}.{ending}")
    return image if image != path and image.is_file() else None


def _is_band(hdu: Any) -> bool:
    """True if an HDU holds a band: a two-dimensional image of real numbers that is not named for something else."""
    if not hdu.is_image or len(hdu.shape) != 2 or not hdu.name or hdu.name == "PRIMARY":
        return False
    others = (*_TRUTH_HDUS, *VALID_HDUS, "FLAGS", "PIXEL_CLASS", "CLASS", "N", *(name.upper() for name in CLASSES))
    is_companion = hdu.name.endswith(("_RMS", "_WHT", "_DQ", "_ERR", "_MODEL", "_NOISELESS", "_TRUE", "_VAR", "_VOTE"))
    return hdu.name not in others and not is_companion and hdu.header.get("BITPIX", 0) < 0


def _source_table(hdus: Sequence[Any]) -> Table | None:
    tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
    named = [hdu for hdu in tables if hdu.name in SOURCE_HDUS]
    chosen = (named or tables)[:1]
    return Table.read(chosen[0]) if chosen else None


def _standard_columns(table: Table, name: str, *, required: bool = True) -> dict[str, np.ndarray]:
    """Columns ``label``, ``x`` and ``y`` of the table of any tool; positions that it lacks are NaN."""
    columns = {"label": np.asarray(find_column(table, "label", name), dtype=np.int32)}
    for axis in ("x", "y"):
        place = find_column(table, axis, name, required=required)
        columns[axis] = np.full(len(table), np.nan) if place is None else place
    return columns


def _described(table: Table, name: str) -> Table:
    """The table with the columns of `Truth.sources`."""
    columns: dict[str, Any] = {**_standard_columns(table, name)}
    for column in table.colnames:
        for prefix in ("magnitude_", "mag_"):
            if column.lower().startswith(prefix):
                columns["magnitude_" + canonical_band(column[len(prefix) :])] = np.asarray(table[column], np.float64)
    return _with_classes(columns, class_shares(table, name))


def _with_classes(columns: dict[str, Any], soft: np.ndarray | None) -> Table:
    soft = np.full((len(columns["label"]), len(SOURCE_CLASSES)), np.nan) if soft is None else soft
    return Table(columns | {f"p_{one}": soft[:, k] for k, one in enumerate(SOURCE_CLASSES)})


def _measured(labels: np.ndarray, image: SkyImage | None) -> Table:
    """Sources as measured from the segments themselves."""
    found = measure_segments(labels, None if image is None else image.data[:, :, 0])
    columns: dict[str, Any] = {"label": found.label, "x": found.x, "y": found.y}
    if image is not None:
        for k, (band, zero_point) in enumerate(zip(image.bands, image.zero_points, strict=True)):
            if zero_point is not None:
                flux = measure_segments(labels, image.data[:, :, k]).flux
                columns[f"magnitude_{band}"] = zero_point - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    return _with_classes(columns, None)


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
    table = Table(read_rows(sources, name), copy=True)
    for column, values in _standard_columns(table, name, required=False).items():
        table[column] = values
    if len(np.unique(table["label"])) != len(table):
        raise InputError(f"{name}: the catalogue lists a label twice; expected one row per source")
    orphans = np.setdiff1d(labels, np.append(np.asarray(table["label"]), 0))
    if len(orphans):
        _LOG.warning("%s: %d segments have no row in the catalogue and are left out", name, len(orphans))
        labels = np.where(np.isin(labels, orphans), 0, labels)
    return Result(labels, table, probability, name)


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
