"""Truth of a field: label map, sources and classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from morpheus_lite.core.classes import BACKGROUND, CLASSES, SOURCE_CLASSES
from morpheus_lite.core.image import SkyImage, canonical_band
from morpheus_lite.errors import InputError
from morpheus_lite.evaluation.metrics import by_label, measure_segments
from morpheus_lite.io import read_image
from morpheus_lite.io.source_tables import class_shares, find_column, open_hdus, read_rows, read_whole_numbers

if TYPE_CHECKING:  # the simulator needs GalSim, an extra
    from morpheus_lite.simulation.field import Field
    from morpheus_lite.simulation.observation import Observation

_LABEL_HDUS = ("OWNER", "TRUTH", "LABELS", "SEGMENTATION", "SEGMAP")
SOURCE_HDUS = ("SOURCES", "CATALOG", "CATALOGUE")
VALID_HDUS = ("VALID",)


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
    table = _measured(labels, image) if sources is None else _standard(read_rows(sources, name), name)
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
    labels = read_whole_numbers(str(path), _LABEL_HDUS, "label map")
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
    others = (*_LABEL_HDUS, *VALID_HDUS, "FLAGS", "PIXEL_CLASS", "CLASS", "N", *(name.upper() for name in CLASSES))
    is_companion = hdu.name.endswith(("_RMS", "_WHT", "_DQ", "_ERR", "_MODEL", "_NOISELESS", "_TRUE", "_VAR", "_VOTE"))
    return hdu.name not in others and not is_companion and hdu.header.get("BITPIX", 0) < 0


def _source_table(hdus: Sequence[Any]) -> Table | None:
    tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
    named = [hdu for hdu in tables if hdu.name in SOURCE_HDUS]
    chosen = (named or tables)[:1]
    return Table.read(chosen[0]) if chosen else None


def _standard(table: Table, name: str) -> Table:
    """The table with the columns of `Truth.sources`."""
    columns: dict[str, Any] = {
        "label": np.asarray(find_column(table, "label", name), dtype=np.int32),
        "x": find_column(table, "x", name),
        "y": find_column(table, "y", name),
    }
    for column in table.colnames:
        for prefix in ("magnitude_", "mag_"):
            if column.lower().startswith(prefix):
                columns["magnitude_" + canonical_band(column[len(prefix) :])] = np.asarray(table[column], np.float64)
    soft = class_shares(table, name)
    soft = np.full((len(table), len(SOURCE_CLASSES)), np.nan) if soft is None else soft
    columns.update({f"p_{one}": soft[:, k] for k, one in enumerate(SOURCE_CLASSES)})
    return Table(columns)


def _measured(labels: np.ndarray, image: SkyImage | None) -> Table:
    """Sources as measured from the segments themselves."""
    found = measure_segments(labels, None if image is None else image.data[:, :, 0])
    columns: dict[str, Any] = {"label": found.label, "x": found.x, "y": found.y}
    if image is not None:
        for k, (band, zero_point) in enumerate(zip(image.bands, image.zero_points, strict=True)):
            if zero_point is not None:
                flux = measure_segments(labels, image.data[:, :, k]).flux
                columns[f"magnitude_{band}"] = zero_point - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    columns.update({f"p_{one}": np.full(len(found.label), np.nan) for one in SOURCE_CLASSES})
    return Table(columns)
