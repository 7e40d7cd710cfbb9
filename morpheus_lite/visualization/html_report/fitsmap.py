"""Inputs of FitsMap, the viewer of mosaics that are too large for one page; and the call that makes the map."""

import csv
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from astropy.utils.masked import Masked
from PIL import Image

from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.errors import InputError, OptionError, OutputError
from morpheus_lite.io.regions import ELLIPSE_SCALE
from morpheus_lite.runtime.atomic import atomic_write, check_writable
from morpheus_lite.visualization.html_report.layers import class_entropy

_PLACES = {"x_centroid": "x", "y_centroid": "y", "ra": "ra", "dec": "dec"}
_ELLIPSE = {"semimajor_axis": "a", "semiminor_axis": "b", "orientation": "theta"}


@dataclass(frozen=True)
class FitsMapInputs:
    """The files that FitsMap makes a map of.

    Parameters
    ----------
    pictures : tuple of pathlib.Path
        PNG and FITS images of one shape.
    catalog : pathlib.Path or None
        Comma-separated catalogue with ``id, x, y`` (0-based pixels); None where there are no sources.
    wcs : pathlib.Path or None
        A FITS file with the WCS of all.
    stretches : dict
        Name of a FITS file to how it is stretched (keywords of `astropy.visualization.simple_norm`).
    title : str
        Title of the map.
    """

    pictures: tuple[Path, ...]
    catalog: Path | None
    wcs: Path | None
    stretches: dict[str, dict[str, Any]]
    title: str


def write_fitsmap_inputs(
    image: SkyImage,
    classification: Classification,
    table: QTable,
    directory: str | Path,
    *,
    overwrite: bool = False,
) -> FitsMapInputs:
    """Write what FitsMap needs: pictures of the field and of the classes, each band, the uncertainty, the catalogue.

    Parameters
    ----------
    image : SkyImage
        The image.
    classification : Classification
        Its class maps.
    table : astropy.table.QTable
        The catalogue, with ``label, x_centroid, y_centroid``; ellipses are drawn where it has ``semimajor_axis,
        semiminor_axis, orientation``. Sources without a finite position are left out, and so are columns of vectors.
    directory : path
        Where the files go; created when it does not exist.
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    FitsMapInputs
        The files, for `build_fitsmap`.

    Raises
    ------
    InputError
        The shapes disagree, or the catalogue lacks a column.
    OutputError
        A file exists and ``overwrite`` is False, or cannot be written.
    """
    from morpheus_lite.visualization.plots import colorize, field_rgb  # loads matplotlib

    if classification.shape != image.shape:
        raise InputError(f"class maps of shape {classification.shape} do not fit the image of shape {image.shape}")
    _check_columns(table)
    directory = Path(directory)
    bands = {f"{_file_name(band)}.fits": index for index, band in enumerate(image.bands)}
    names = ["field.png", "classes.png", *bands, "uncertainty.fits", "sources.cat"]
    check_writable([directory / name for name in names], overwrite)
    directory.mkdir(parents=True, exist_ok=True)
    _write_picture(directory / "field.png", field_rgb(image), overwrite)
    _write_picture(
        directory / "classes.png", colorize(classification, palette="legible", maps="probability"), overwrite
    )
    for name, index in bands.items():
        plane = np.where(image.valid[:, :, index], image.data[:, :, index], np.float32(np.nan))
        _write_plane(directory / name, plane, image, overwrite)
    _write_plane(directory / "uncertainty.fits", class_entropy(classification.probability), image, overwrite)
    n_sources = _write_catalog(directory / "sources.cat", table, overwrite)
    return FitsMapInputs(
        pictures=tuple(directory / name for name in names[:-1]),
        catalog=directory / "sources.cat" if n_sources else None,
        wcs=directory / "uncertainty.fits" if image.pixel_scale is not None else None,
        # FitsMap takes the whole mapping for the stretch of a FITS file that it does not name.
        stretches={name: {"stretch": "asinh", "min_percent": 1.0, "max_percent": 99.8} for name in bands}
        | {"uncertainty.fits": {"vmin": 0.0, "vmax": 1.0}},
        title=re.sub(r"[^\w .+-]", "_", image.name),
    )


def build_fitsmap(inputs: FitsMapInputs, directory: str | Path, *, n_processes: int = 0) -> Path:
    """Make the map: tiles and a page that a web server shows.

    Parameters
    ----------
    inputs : FitsMapInputs
        From `write_fitsmap_inputs`.
    directory : path
        Where the map goes; must not exist, or be empty: FitsMap keeps tiles that it finds.
    n_processes : int
        Processes for the tiles of an image; 0 for none beside this.

    Returns
    -------
    pathlib.Path
        ``index.html``. Browsers want it served: ``python -m http.server --directory DIRECTORY``.

    Raises
    ------
    OptionError
        FitsMap is not installed.
    OutputError
        The directory holds something.
    """
    try:
        convert = import_module("fitsmap.convert")
    except ImportError as error:
        raise OptionError("FitsMap is not installed: pip install fitsmap, or give it the files yourself") from error
    directory = Path(directory)
    if directory.exists() and any(directory.iterdir()):
        raise OutputError(f"{directory} is not empty, and FitsMap keeps tiles that it finds: choose another directory")
    files = [*inputs.pictures, *([inputs.catalog] if inputs.catalog else [])]
    convert.files_to_map(
        [str(path) for path in files],
        out_dir=str(directory),
        title=inputs.title,
        procs_per_task=n_processes,
        cat_wcs_fits_file=None if inputs.wcs is None else str(inputs.wcs),
        norm_kwargs=inputs.stretches,
        prefer_xy=True,
        catalog_starts_at_one=False,
    )
    return directory / "index.html"


def _check_columns(table: QTable) -> None:
    missing = [name for name in ("label", "x_centroid", "y_centroid") if name not in table.colnames]
    if missing:
        raise InputError(
            f"the catalogue has no column {', '.join(missing)}, which FitsMap needs to place the sources; "
            f"it has {', '.join(table.colnames)}"
        )


def _file_name(band: str) -> str:
    return "band_" + re.sub(r"[^\w+-]", "_", band)


def _write_picture(path: Path, rgb: np.ndarray, overwrite: bool) -> None:
    # FitsMap turns pictures upside down, so that their first row is the highest, as in any PNG.
    picture = Image.fromarray((np.clip(rgb[::-1], 0, 1) * 255 + 0.5).astype(np.uint8))
    with atomic_write(path, overwrite=overwrite) as partial:
        picture.save(partial, "PNG", compress_level=3)


def _write_plane(path: Path, plane: np.ndarray, image: SkyImage, overwrite: bool) -> None:
    header = None if image.wcs is None else image.wcs.to_header(relax=True)
    with atomic_write(path, overwrite=overwrite) as partial, partial.open("wb") as stream:
        fits.PrimaryHDU(plane.astype(np.float32), header=header).writeto(stream)


def _write_catalog(path: Path, table: QTable, overwrite: bool) -> int:
    """Write the sources with a position; how many they are."""
    columns = {"id": _texts(table["label"])}
    columns |= {short: _texts(table[name]) for name, short in (_PLACES | _ELLIPSE).items() if name in table.colnames}
    if set(_ELLIPSE) <= set(table.colnames):
        for name in ("a", "b"):
            columns[name] = [repr(ELLIPSE_SCALE * float(text)) for text in columns[name]]
    reserved = {*columns, "label", *_PLACES, *_ELLIPSE}
    for name in table.colnames:
        if name.lower() not in reserved and np.ndim(table[name]) == 1:
            columns[_safe(name)] = _texts(table[name])
    placed = [row for row in range(len(table)) if np.isfinite(float(columns["x"][row]) + float(columns["y"][row]))]
    with atomic_write(path, overwrite=overwrite) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([texts[row] for texts in columns.values()] for row in placed)
    return len(placed)


def _texts(column: Any) -> list[str]:
    """Cells without units, nothing in them that a line of the catalogue or a web page would take for its own."""
    values = getattr(column, "value", column)
    if isinstance(values, Masked):
        values = values.filled(np.nan)
    return [_safe(str(value)) if str(value) not in ("--", "") else "nan" for value in values]


def _safe(text: str) -> str:
    return re.sub(r"[^\w .:+-]", "_", text)
