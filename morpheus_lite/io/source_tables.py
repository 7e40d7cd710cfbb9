"""Label maps and source tables of any tool: FITS, ECSV, CSV, Parquet, SExtractor's catalogues."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.facts import FACTS
from morpheus_lite.core.labels import check_labels
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, reading
from morpheus_lite.io.fitsfile import Location, find_hdu, is_image, open_fits, read_section
from morpheus_lite.io.tables import TABLE_FORMATS, read_catalog
from morpheus_lite.io.wcs import celestial_wcs, check_alignment

ONE_BASED = ("xwin_image", "x_image", "ywin_image", "y_image")
"""SExtractor counts pixels from 1."""

LABEL_HDUS = ("SEGMENTATION", "SEGMAP", "SEGM", "SEG", "LABELS")
"""Names of HDUs that are taken for a segmentation map."""

_FITS = (".fits", ".fit", ".ldac")
_SUFFIXES = (*TABLE_FORMATS, ".cat", *_FITS[1:])


def read_rows(source: Table | Mapping[str, Any] | np.ndarray | str | Path, name: str) -> Table:
    """A table from a table, columns, a structured array or a file, the format told by its suffix."""
    if isinstance(source, Table):
        return source
    if not isinstance(source, str | Path):
        return Table(source)
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"{path}: unknown kind of catalogue {suffix!r}; expected one of {', '.join(_SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{name}: there is no catalogue {path}")
    if suffix in _FITS:
        with open_hdus(path) as hdus:
            # FITS_LDAC keeps the image's header in a table of its own, before the sources.
            tables = [hdu for hdu in hdus if type(hdu) is fits.BinTableHDU and hdu.name != "LDAC_IMHEAD"]
            if not tables:
                raise InputError(f"{path} holds no table")
            return Table.read(tables[0])
    if suffix in TABLE_FORMATS:
        return Table(read_catalog(path), copy=False)
    with reading(path):
        return Table.read(path, format="ascii.sextractor")


@contextmanager
def open_hdus(path: str | Path) -> Iterator[fits.HDUList]:
    """The HDUs of a FITS file, pixels read when asked for."""
    with open_fits(str(path), scaled=True) as hdus, reading(path):
        yield hdus


def read_labels(source: str, wcs: WCS | None = None) -> np.ndarray:
    """Read a segmentation map.

    Parameters
    ----------
    source : str
        FITS file, with ``[EXT]`` behind it where it is not clear which HDU: one named SEGMENTATION, SEGMAP or the
        like is taken by itself, else the only image there is.
    wcs : astropy.wcs.WCS, optional
        Of the image that the map is to fit.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(y, x)``, 0 is sky. Whole numbers that were stored as floats are taken as what they are.

    Raises
    ------
    InputError
        There is no such file or image, it does not hold whole numbers in two dimensions, or lies elsewhere on the sky.
    """
    plane = read_whole_numbers(source, LABEL_HDUS, "segmentation map", wcs)
    return check_labels(plane, plane.shape)


def read_whole_numbers(source: str, names: Sequence[str], what: str, wcs: WCS | None = None) -> np.ndarray:
    """Read a plane of whole numbers.

    Parameters
    ----------
    source : str
        FITS file, with ``[EXT]`` behind it where it is not clear which HDU.
    names : sequence of str
        An HDU named so, upper case, is taken by itself, the first of these names that there is; else the only image, or
        the only one of whole numbers.
    what : str
        What to call the plane in messages.
    wcs : astropy.wcs.WCS, optional
        Of the image that the plane is to fit.

    Returns
    -------
    numpy.ndarray
        int64, shape ``(y, x)``.

    Raises
    ------
    InputError
        There is no such file or image, it does not hold whole numbers in two dimensions, or lies elsewhere on the sky.
    """
    location = Location.parse(source)
    with reading(source), open_fits(location.path) as hdus:
        chosen = [number for number, hdu in enumerate(hdus) if is_image(hdu)]
        if location.ext is not None:
            chosen = [find_hdu(hdus, location.ext, location.path)]
        else:
            named = ([number for number in chosen if hdus[number].name.upper() == name] for name in names)
            chosen = next(filter(None, named), chosen)
        # A lone map of labels may be kept as float: numpy's default type is easily written.
        if len(chosen) > 1:
            chosen = [number for number in chosen if _is_whole(hdus[number].header)]
        if len(chosen) != 1:
            images = ", ".join(f"[{number}] {hdu.name}" for number, hdu in enumerate(hdus) if is_image(hdu)) or "none"
            raise InputError(
                f"{source}: it is not clear which image is the {what}; say so, as in FILE[1]. Its images: {images}"
            )
        number, shape = chosen[0], hdus[chosen[0]].shape
        if len(shape) < 2 or any(length != 1 for length in shape[:-2]):
            raise InputError(
                f"{source}: the {what} has shape {shape}; expected two dimensions, beside axes of length 1"
            )
        if wcs is not None and wcs.array_shape == shape[-2:]:
            own = celestial_wcs(hdus[number].header, shape[-2:], source, hdus)
            check_alignment([wcs, own], shape[-2:], ["the image", source])
        index = (0,) * (len(shape) - 2)
        plane = np.asarray(read_section(hdus[number], index, Window(0, 0, *shape[-2:])))
    if plane.dtype.kind == "f" and not (np.isfinite(plane).all() and (plane == np.rint(plane)).all()):
        raise InputError(f"{source}: the {what} holds {plane.dtype} values that are not whole numbers")
    if plane.dtype.kind in "fu" and (largest := np.abs(plane).max()) >= 2.0**63:
        raise InputError(f"{source}: the {what} holds {largest}, which does not fit a whole number of 64 bits")
    return plane.astype(np.int64)


def _is_whole(header: fits.Header) -> bool:
    return header["BITPIX"] > 0 and not header.get("BSCALE", 1) % 1


def find_column(table: Table, quantity: str, name: str, *, required: bool = True) -> np.ndarray | None:
    """A quantity of a table, whatever tool named it; positions are 0-based pixels.

    Parameters
    ----------
    table : astropy.table.Table
        The table.
    quantity : {"label", "x", "y", "class", "ra", "dec"}
        What is wanted.
    name : str
        What to call the table in messages.
    required : bool
        Whether its absence is an error.
    """
    lower, spellings = {column.lower(): column for column in table.colnames}, FACTS["columns"][quantity]
    for spelling in spellings:
        if spelling in lower:
            column = table[lower[spelling]]
            if quantity not in ("x", "y"):
                return np.asarray(column) if not hasattr(column, "mask") else column
            if column.dtype.kind not in "iufb" or column.ndim > 1:
                raise InputError(f"{name}: the column {lower[spelling]} is {column.dtype}; expected a number per row")
            return np.asarray(column, dtype=np.float64) - (1 if spelling in ONE_BASED else 0)
    if not required:
        return None
    raise InputError(f"{name}: there is no {quantity} ({', '.join(spellings)}); it has {', '.join(table.colnames)}")


def class_shares(table: Table, name: str) -> np.ndarray | None:
    """Class probabilities of the sources of a table.

    Parameters
    ----------
    table : astropy.table.Table
        With ``p_<class>`` for every source class, one column ``soft`` of them all, or a column of classes (names, or
        indices into ``CLASSES``).
    name : str
        What to call it in messages.

    Returns
    -------
    numpy.ndarray or None
        float64, shape ``(n, 4)``, sums to 1; NaN where not known. None when the table does not tell.
    """
    lower = {column.lower(): column for column in table.colnames}
    wanted = [f"p_{one}" for one in SOURCE_CLASSES]
    if all(one in lower for one in wanted):
        soft = np.column_stack([np.asarray(table[lower[one]], dtype=np.float64) for one in wanted])
        total = soft.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, soft / total, np.nan)
    if "soft" in lower and np.shape(table[lower["soft"]])[1:] == (len(SOURCE_CLASSES),):
        return np.asarray(table[lower["soft"]], dtype=np.float64)
    column = find_column(table, "class", name, required=False)
    return None if column is None else np.array([_one_hot(value, name) for value in column]).reshape(-1, 4)


def _one_hot(value: Any, name: str) -> np.ndarray:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        value = value.strip().lower().replace(" ", "_").replace("-", "_")
        known = value in SOURCE_CLASSES
        index = SOURCE_CLASSES.index(value) if known else -1
        if not known and value not in ("", "unknown", "--", "background", UNCERTAIN):
            raise InputError(f"{name}: unknown class {value!r}; expected one of {', '.join(SOURCE_CLASSES)}")
    else:
        index = -1 if np.ma.is_masked(value) else int(value)
    return np.eye(len(SOURCE_CLASSES))[index] if 0 <= index < len(SOURCE_CLASSES) else np.full(4, np.nan)
