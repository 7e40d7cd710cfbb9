"""The columns of the catalogue: name, unit and meaning, in order."""

import re
from itertools import chain
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable

from morpheus_lite.catalog.light_columns import ColumnDefinition, background_column, extent_columns, light_columns
from morpheus_lite.config.measure import MeasureOptions
from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.flags import SourceFlag, bits_in_words
from morpheus_lite.core.image import SkyImage

_RATIO = u.dimensionless_unscaled
_PIXELS = "share of the light in pixels whose most probable source class is {}; no bulge-to-total ratio"

_PLACE = (
    ColumnDefinition("label", "i4", None, "number of the source in the segmentation map"),
    ColumnDefinition("x_centroid", "f8", u.pix, "centroid of the light in the detection image, 0 at the first column"),
    ColumnDefinition("y_centroid", "f8", u.pix, "centroid of the light in the detection image, 0 at the first row"),
    ColumnDefinition("x_peak", "i4", u.pix, "brightest pixel in the detection image, 0 at the first column"),
    ColumnDefinition("y_peak", "i4", u.pix, "brightest pixel in the detection image, 0 at the first row"),
)
_SKY = (
    ColumnDefinition("ra", "f8", u.deg, "right ascension of x_centroid, y_centroid, ICRS"),
    ColumnDefinition("dec", "f8", u.deg, "declination of x_centroid, y_centroid, ICRS"),
)
_SKY_ERRORS = (
    ColumnDefinition("ra_err", "f8", u.arcsec, "noise of ra, times cos(dec): an angle on the sky"),
    ColumnDefinition("dec_err", "f8", u.arcsec, "noise of dec"),
)
_SKY_SHAPE = (ColumnDefinition("sky_orientation", "f8", u.deg, "major axis, from north through east, 0 to 180"),)
_SHAPE = (
    ColumnDefinition("area", "f8", u.pix**2, "pixels of the source in the segmentation map"),
    ColumnDefinition("semimajor_axis", "f8", u.pix, "standard deviation of the light along the major axis"),
    ColumnDefinition("semiminor_axis", "f8", u.pix, "standard deviation of the light along the minor axis"),
    ColumnDefinition("orientation", "f8", u.deg, "major axis, counter-clockwise from the x axis"),
    ColumnDefinition("ellipticity", "f8", _RATIO, "1 - semiminor_axis / semimajor_axis"),
)
_VERDICT = (
    ColumnDefinition("flags", "i4", None, f"sum of the bits of SourceFlag: {bits_in_words(SourceFlag)}"),
    ColumnDefinition("parent_label", "i4", None, "label of the source before deblending"),
    ColumnDefinition("n_children", "i4", None, "pieces that the parent was split into; 0 if it was not"),
)
_NATURE = (
    ColumnDefinition("p_source", "f8", _RATIO, "light-weighted mean of 1 - P(background): how sure the source is real"),
    ColumnDefinition("entropy", "f8", _RATIO, "entropy of p_<class> over its largest: 0 one class, 1 all alike"),
    ColumnDefinition("spheroid_pixel_fraction", "f8", _RATIO, _PIXELS.format("spheroid")),
    ColumnDefinition("disk_pixel_fraction", "f8", _RATIO, _PIXELS.format("disk")),
)
IN_ARCSEC = ("semimajor_axis", "semiminor_axis", "half_light_radius", "r_petrosian")
"""Sizes that are also told in arcsec."""


def catalogue_columns(
    image: SkyImage, settings: MeasureOptions, *, calibrated: bool, with_background: bool = False
) -> list[ColumnDefinition]:
    """Every column of an image's catalogue, in order.

    Parameters
    ----------
    image : SkyImage
        Its bands, their units and zero-points, and whether there are noise planes and a WCS, decide.
    settings : MeasureOptions
        What is measured.
    calibrated : bool
        Whether the class probabilities are calibrated on sources.
    with_background : bool
        Whether a background was subtracted of the image.
    """
    on_sky = image.pixel_scale is not None
    sky = (*_SKY, *(_SKY_ERRORS if settings.photometry else ())) if on_sky else ()
    extent = [*_SHAPE, *(_SKY_SHAPE if on_sky else ()), *extent_columns(settings)]
    in_arcsec = [
        ColumnDefinition(f"{one.name}_arcsec", "f8", u.arcsec, f"{one.name}, by the mean side of a pixel on the sky")
        for one in extent
        if on_sky and one.name in IN_ARCSEC
    ]
    light = chain.from_iterable(
        [*light_columns(image, index, settings), *([background_column(image, index)] if with_background else [])]
        for index in range(image.n_bands)
    )
    meaning = "probability of {}, calibrated on sources" if calibrated else "light-weighted share of {}"
    shares = [ColumnDefinition(f"p_{name}", "f8", _RATIO, meaning.format(name)) for name in SOURCE_CLASSES]
    least = settings.min_class_confidence
    named = (
        ColumnDefinition(
            "morphology",
            "U12",
            None,
            f"class with the largest p_<class>; {UNCERTAIN} where that is below {least:g}, empty if nothing is known",
        ),
        ColumnDefinition("class_confidence", "f8", _RATIO, "largest p_<class>"),
    )
    return [*_PLACE, *sky, *extent, *in_arcsec, *light, *shares, *_NATURE, *named, *_VERDICT]


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
        if ucd := ucd_of(column.name):
            table[column.name].info.meta = {"ucd": ucd}
    return table


_SIZE = "phys.angSize"
_UCDS = {
    "label": "meta.id;meta.main",
    "parent_label": "meta.id.parent",
    "n_children": "meta.number",
    "(x|y)_(centroid|centroid_win|peak)": r"pos.cartesian.\1;instr.det",
    "(ra|dec)": r"pos.eq.\1;meta.main",
    "area": "phys.angArea",
    "semimajor_axis(_arcsec)?": f"{_SIZE}.smajAxis",
    "semiminor_axis(_arcsec)?": f"{_SIZE}.sminAxis",
    "(half_light_radius|r_petrosian)(_arcsec)?": _SIZE,
    "(sky_)?orientation": "pos.posAng",
    "ellipticity": "src.ellipticity",
    "snr": "stat.snr",
    "kron_radius|concentration|asymmetry|gini|m20": "src.morph.param",
    "(segment|kron|total|aper|shared)_flux_.*": "phot.flux",
    "(kron|total|aper)_mag_.*": "phot.mag",
    "(kron|total)_fnu_.*": "phot.flux.density",
    "(segment|kron|aper|shared)_covered_.*|[a-z]+_pixel_fraction": "stat.filling",
    "(local_)?background_.*": "instr.background",
    "flags(_.*)?": "meta.code.qual",
    "morphology": "src.morph.type",
    "p_[a-z_]+|class_confidence": "stat.probability",
}
_ERROR = re.compile(r"(.*)_err|([a-z]+_(?:flux|mag|fnu))err(_.*)")


def ucd_of(name: str) -> str | None:
    """Return the descriptor of a column; None where there is no fitting one.

    Examples
    --------
    >>> ucd_of("ra"), ucd_of("kron_fluxerr_F160W"), ucd_of("x_centroid_err")
    ('pos.eq.ra;meta.main', 'stat.error;phot.flux', 'stat.error;pos.cartesian.x;instr.det')
    """
    if error := _ERROR.fullmatch(name):
        of_what = ucd_of(error[1] or error[2] + error[3])
        # Of an error, only the quantity itself may be the main one.
        return None if of_what is None else f"stat.error;{of_what.removesuffix(';meta.main')}"
    for pattern, ucd in _UCDS.items():
        if found := re.fullmatch(pattern, name):
            return found.expand(ucd)
    return None
