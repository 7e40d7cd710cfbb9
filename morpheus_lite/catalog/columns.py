"""The columns of the catalogue: name, unit and meaning, in order."""

import re
from dataclasses import dataclass
from itertools import chain
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable

from morpheus_lite.catalog.nonparametric import LEAST_SNR
from morpheus_lite.config.measure import MeasureOptions
from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.flags import BandFlag, SourceFlag, bits_in_words
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.units import parse_unit

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


_EXTENT = (
    ColumnDefinition("snr", "f8", _RATIO, "light of the segment over its noise, in the detection image"),
    ColumnDefinition("x_centroid_err", "f8", u.pix, "noise of x_centroid"),
    ColumnDefinition("y_centroid_err", "f8", u.pix, "noise of y_centroid"),
    ColumnDefinition("x_centroid_win", "f8", u.pix, "centroid under a Gaussian as wide as the source, first column 0"),
    ColumnDefinition("y_centroid_win", "f8", u.pix, "centroid under a Gaussian as wide as the source, first row 0"),
    ColumnDefinition("x_centroid_win_err", "f8", u.pix, "noise of x_centroid_win"),
    ColumnDefinition("y_centroid_win_err", "f8", u.pix, "noise of y_centroid_win"),
    ColumnDefinition("kron_radius", "f8", _RATIO, "first moment of the light, in units of the semi-axes"),
    ColumnDefinition(
        "total_correction", "f8", _RATIO, "all of the light over that in the Kron ellipse, by its profile"
    ),
    ColumnDefinition("total_correction_err", "f8", _RATIO, "uncertainty of total_correction"),
    ColumnDefinition("half_light_radius", "f8", u.pix, "circle with half of the Kron flux of the detection image"),
    ColumnDefinition("half_light_radius_err", "f8", u.pix, "noise of half_light_radius"),
)
_NOISY = {name: f"; NaN below snr = {least:g}" for name, least in LEAST_SNR.items()}
_STRUCTURE = (
    ColumnDefinition("r_petrosian", "f8", u.pix, "circular Petrosian radius, eta = 0.2"),
    ColumnDefinition("r_petrosian_err", "f8", u.pix, "noise of r_petrosian"),
    ColumnDefinition(
        "concentration", "f8", _RATIO, f"5 log10(r80 / r20) within 1.5 r_petrosian{_NOISY['concentration']}"
    ),
    ColumnDefinition("concentration_err", "f8", _RATIO, "noise of concentration"),
    ColumnDefinition(
        "asymmetry",
        "f8",
        _RATIO,
        f"light not alike after half a turn, noise taken off, 1.5 r_petrosian{_NOISY['asymmetry']}",
    ),
    ColumnDefinition("asymmetry_err", "f8", _RATIO, "noise of asymmetry"),
    ColumnDefinition("gini", "f8", _RATIO, f"Gini coefficient of the light; 1 if one pixel has it all{_NOISY['gini']}"),
    ColumnDefinition("gini_err", "f8", _RATIO, "noise of gini"),
    ColumnDefinition(
        "m20", "f8", _RATIO, f"log10 of the second moment of the brightest 20 % relative to the whole{_NOISY['m20']}"
    ),
    ColumnDefinition("m20_err", "f8", _RATIO, "noise of m20"),
)


def light_unit(text: str | None) -> u.UnitBase | None:
    """The unit of a band: FITS spelling, or what HST headers write; None where unknown.

    Examples
    --------
    >>> light_unit("ELECTRONS/S")
    Unit("electron / s")
    """
    known = parse_unit(text)
    return u.Unit(text, parse_strict="silent") if known is None and text and text.strip() else known


def extent_columns(settings: MeasureOptions) -> list[ColumnDefinition]:
    """Columns of size and structure, from the detection image."""
    if not settings.photometry:
        return []
    return [*_EXTENT, *(_STRUCTURE if settings.structure else ())]


def light_columns(image: SkyImage, index: int, settings: MeasureOptions) -> list[ColumnDefinition]:
    """Columns of the light in one band."""
    band, unit = image.bands[index], light_unit(image.units[index])
    note = "" if unit is not None else "; in the unit of the image, which does not state it"
    flags = ColumnDefinition(
        f"flags_{band}", "i4", None, f"sum of the bits of BandFlag: {bits_in_words(BandFlag)}; in {band}"
    )
    if not settings.photometry:
        noise = f"noise of segment_flux_{band}, pixels independent{note}"
        columns = [ColumnDefinition(f"segment_flux_{band}", "f8", unit, f"sum of the valid pixels in {band}{note}")]
        errors = [ColumnDefinition(f"segment_fluxerr_{band}", "f8", unit, noise)] * (image.rms is not None)
        return [*columns, *errors, _covered(f"segment_flux_{band}"), flags]
    zero_point = image.zero_points[index]
    note += "; not calibrated, no zero-point is known" if zero_point is None else f"; AB zero-point {zero_point:.4g}"
    pairs = {f"segment_flux_{band}": f"sum of the valid pixels in {band}"}
    pairs[f"kron_flux_{band}"] = f"light in the Kron ellipse in {band}, as measured"
    pairs[f"total_flux_{band}"] = (
        f"all of the light in {band}: kron_flux_{band} times total_correction (of stars seen from space, that of "
        "the band), what has no data added; of blended and crowded sources no more than their own share, grown"
    )
    for name in settings.aperture_names(image.pixel_scale):
        number, unit_name = (name[:-2], "pixels") if name.endswith("px") else (name, "arcsec")
        radius = f"{number.replace('p', '.')} {unit_name}"
        pairs[f"aper_flux_{name}_{band}"] = f"light within a radius of {radius} in {band}"
    columns = []
    for name, meaning in pairs.items():
        columns.append(ColumnDefinition(name, "f8", unit, meaning + note))
        error = name.replace("_flux_", "_fluxerr_")
        doubt = ", and of profile, PSF and blending" if name.startswith("total_") else ""
        columns.append(ColumnDefinition(error, "f8", unit, f"noise of {name}, correlated as the sky is{doubt}{note}"))
        if not name.startswith("total_"):
            columns.append(_covered(name))
        if name.startswith("aper_") and zero_point is not None:
            columns += _magnitude_columns(name)
    if settings.deblended_flux:
        meaning = f"light of the segment in {band}, blended pixels shared between the pieces of their parent"
        columns.append(ColumnDefinition(f"shared_flux_{band}", "f8", unit, meaning + note))
        columns.append(ColumnDefinition(f"shared_fluxerr_{band}", "f8", unit, f"noise of shared_flux_{band}{note}"))
        columns.append(_covered(f"shared_flux_{band}"))
    if settings.local_background:
        columns.append(ColumnDefinition(f"local_background_{band}", "f8", unit, f"sky subtracted, a pixel{note}"))
    columns.append(flags)
    if zero_point is None:
        return columns
    return columns + _calibrated_columns("kron", band) + _calibrated_columns("total", band)


def _covered(name: str) -> ColumnDefinition:
    meaning = f"share of the pixels of {name} that have data; {name} is that of these, and NaN where it is 0"
    return ColumnDefinition(name.replace("_flux_", "_covered_"), "f8", _RATIO, meaning)


def background_column(image: SkyImage, index: int) -> ColumnDefinition:
    """Column of the background in one band."""
    band, unit = image.bands[index], light_unit(image.units[index])
    return ColumnDefinition(
        f"background_{band}", "f8", unit, f"background of one pixel at the centroid, subtracted in {band}"
    )


def _calibrated_columns(kind: str, band: str) -> list[ColumnDefinition]:
    flux = f"{kind}_flux_{band}"
    return [
        *_magnitude_columns(flux),
        ColumnDefinition(f"{kind}_fnu_{band}", "f8", u.nJy, f"flux density of {flux}"),
        ColumnDefinition(f"{kind}_fnuerr_{band}", "f8", u.nJy, f"noise of {kind}_fnu_{band}"),
    ]


def _magnitude_columns(flux: str) -> list[ColumnDefinition]:
    magnitude, error = (flux.replace("_flux_", f"_{kind}_") for kind in ("mag", "magerr"))
    return [
        ColumnDefinition(magnitude, "f8", u.mag, f"AB magnitude of {flux}; NaN if not positive"),
        ColumnDefinition(error, "f8", u.mag, f"error of {magnitude}, that of {flux}"),
    ]


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
