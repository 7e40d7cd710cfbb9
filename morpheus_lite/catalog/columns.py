"""The columns of the catalogue: name, unit and meaning, in order."""

from dataclasses import dataclass
from itertools import chain
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable

from morpheus_lite.classes import SOURCE_CLASSES
from morpheus_lite.image import SkyImage

_RATIO = u.dimensionless_unscaled


@dataclass(frozen=True)
class ColumnDefinition:
    """One column of the catalogue.

    Parameters
    ----------
    name : str
        Name in the table.
    kind : str
        NumPy type of the values.
    unit : astropy.units.UnitBase or None
        None for names, labels and bit fields, and for light in an unknown unit.
    description : str
        Meaning, in one line.
    """

    name: str
    kind: str
    unit: u.UnitBase | None
    description: str


_PLACE = (
    ColumnDefinition("label", "i4", None, "number of the source in the segmentation map"),
    ColumnDefinition("x_centroid", "f8", u.pix, "centroid of the light in the detection band, 0 at the first column"),
    ColumnDefinition("y_centroid", "f8", u.pix, "centroid of the light in the detection band, 0 at the first row"),
    ColumnDefinition("x_peak", "i4", u.pix, "brightest pixel in the detection band, 0 at the first column"),
    ColumnDefinition("y_peak", "i4", u.pix, "brightest pixel in the detection band, 0 at the first row"),
)
_SKY = (
    ColumnDefinition("ra", "f8", u.deg, "right ascension of the centroid, ICRS"),
    ColumnDefinition("dec", "f8", u.deg, "declination of the centroid, ICRS"),
)
_SHAPE = (
    ColumnDefinition("area", "f8", u.pix**2, "pixels of the source in the segmentation map"),
    ColumnDefinition("semimajor_axis", "f8", u.pix, "standard deviation of the light along the major axis"),
    ColumnDefinition("semiminor_axis", "f8", u.pix, "standard deviation of the light along the minor axis"),
    ColumnDefinition("orientation", "f8", u.deg, "major axis, counter-clockwise from the x axis"),
    ColumnDefinition("ellipticity", "f8", _RATIO, "1 - semiminor_axis / semimajor_axis"),
)
_VERDICT = (
    ColumnDefinition("morphology", "U12", None, "class with the largest p_<class>; empty if nothing is known"),
    ColumnDefinition("flags", "i4", None, "sum of the bits of SourceFlag; read them with decode_flags"),
    ColumnDefinition("parent_label", "i4", None, "label of the source before deblending"),
)


def light_unit(text: str | None) -> u.UnitBase | None:
    """The unit of a band: FITS spelling, or what HST headers write; None where unknown.

    Examples
    --------
    >>> light_unit("ELECTRONS/S")
    Unit("electron / s")
    """
    if not text or not text.strip():
        return None
    for spelling in (text, text.lower().replace("electrons", "electron").replace("counts", "ct").replace("sec", "s")):
        try:
            return u.Unit(spelling)
        except ValueError:
            continue
    return u.Unit(text, parse_strict="silent")


def catalogue_columns(image: SkyImage, *, with_errors: bool) -> list[ColumnDefinition]:
    """Every column of an image's catalogue, in order.

    Parameters
    ----------
    image : SkyImage
        Its bands, their units, and whether there are noise planes and a WCS, decide.
    with_errors : bool
        Whether the class maps have variances.
    """
    sky = _SKY if image.pixel_scale is not None else ()
    fluxes = (
        _flux_columns(band, text, image.rms is not None) for band, text in zip(image.bands, image.units, strict=True)
    )
    shares = [ColumnDefinition(f"p_{name}", "f8", _RATIO, f"light-weighted share of {name}") for name in SOURCE_CLASSES]
    errors = [
        ColumnDefinition(f"p_{name}_err", "f8", _RATIO, f"scatter of p_{name} between windows, fully correlated")
        for name in SOURCE_CLASSES
        if with_errors
    ]
    return [*_PLACE, *sky, *_SHAPE, *chain.from_iterable(fluxes), *shares, *errors, *_VERDICT]


def _flux_columns(band: str, text: str | None, with_noise: bool) -> list[ColumnDefinition]:
    unit = light_unit(text)
    known = "" if unit is not None else "; in the unit of the image, which does not state it"
    flux = ColumnDefinition(f"segment_flux_{band}", "f8", unit, f"sum of the valid pixels in {band}{known}")
    error = ColumnDefinition(
        f"segment_fluxerr_{band}", "f8", unit, f"noise of segment_flux_{band}, pixels independent{known}"
    )
    return [flux, error] if with_noise else [flux]


def build_table(columns: list[ColumnDefinition], values: dict[str, np.ndarray], meta: dict[str, Any]) -> QTable:
    """The table with exactly these columns; as many rows as the arrays are long, none included."""
    table = QTable(meta=meta)
    for column in columns:
        array = np.asarray(values[column.name], dtype=column.kind)
        if column.unit is None:
            table[column.name] = Column(array, description=column.description)
        else:
            table[column.name] = u.Quantity(array, column.unit, dtype=array.dtype)
            table[column.name].info.description = column.description
    return table
