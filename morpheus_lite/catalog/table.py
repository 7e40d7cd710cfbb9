"""The table of the catalogue: its columns with name, unit and meaning, and what needs all rows or the sky."""

import re
from dataclasses import dataclass
from itertools import chain
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable

from morpheus_lite.catalog.matched_apertures import can_match
from morpheus_lite.catalog.nonparametric import LEAST_SNR
from morpheus_lite.catalog.photometry import find_gains
from morpheus_lite.catalog.surroundings import RowSettings
from morpheus_lite.catalog.total_flux import known_psfs, psfs_of_totals
from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.flags import BandFlag, SourceFlag, bits_in_words
from morpheus_lite.core.image import SkyImage
from morpheus_lite.io.zero_points import parse_unit
from morpheus_lite.noise.detection_image import STACK

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
    ColumnDefinition(
        "spread", "f8", _RATIO, "how much wider than stars, as SPREAD_MODEL: 0 for stars; NaN where no PSF is known"
    ),
    ColumnDefinition("spread_err", "f8", _RATIO, "noise of spread, and of a FWHM that is off by 3 %"),
    ColumnDefinition("x_centroid_err", "f8", u.pix, "noise of x_centroid"),
    ColumnDefinition("y_centroid_err", "f8", u.pix, "noise of y_centroid"),
    ColumnDefinition("x_centroid_win", "f8", u.pix, "centroid under a Gaussian as wide as the source, first column 0"),
    ColumnDefinition("y_centroid_win", "f8", u.pix, "centroid under a Gaussian as wide as the source, first row 0"),
    ColumnDefinition("x_centroid_win_err", "f8", u.pix, "noise of x_centroid_win"),
    ColumnDefinition("y_centroid_win_err", "f8", u.pix, "noise of y_centroid_win"),
    ColumnDefinition("kron_radius", "f8", _RATIO, "first moment of the light, in units of the semi-axes"),
    ColumnDefinition(
        "total_correction", "f8", _RATIO, "all of the light over that in the Kron ellipse, in the detection image"
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
        f"all of the light in {band}: kron_flux_{band} less the light of neighbours, corrected by its profile and the "
        "PSF of the band, what has no data added"
    )
    for name in settings.aperture_names(image.pixel_scale):
        number, unit_name = (name[:-2], "pixels") if name.endswith("px") else (name, "arcsec")
        radius = f"{number.replace('p', '.')} {unit_name}"
        pairs[f"aper_flux_{name}_{band}"] = f"light within a radius of {radius} in {band}"
        if settings.matched:
            pairs[f"matched_flux_{name}_{band}"] = (
                f"light in {band} within a radius of {radius}, on the PSF that all bands have in common"
            )
    columns = []
    for name, meaning in pairs.items():
        columns.append(ColumnDefinition(name, "f8", unit, meaning + note))
        error = name.replace("_flux_", "_fluxerr_")
        doubt = ", and of profile, PSF and blending" if name.startswith("total_") else ""
        columns.append(ColumnDefinition(error, "f8", unit, f"noise of {name}, correlated as the sky is{doubt}{note}"))
        if not name.startswith(("total_", "matched_")):
            columns.append(_covered(name))
        if name.startswith(("aper_", "matched_")) and zero_point is not None:
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
    "kron_radius|spread|concentration|asymmetry|gini|m20": "src.morph.param",
    "(segment|kron|total|aper|matched|shared)_flux_.*": "phot.flux",
    "(kron|total|aper|matched)_mag_.*": "phot.mag",
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


_STACKED = (
    "sum of {}, each over the noise of its sky, in each pixel of those valid there: places, shapes, Kron ellipses, "
    "half-light and Petrosian radii, concentration, asymmetry, Gini, M20, class weights; fluxes are of each band"
)

_UNMATCHED = (
    "not matched: every band keeps its own PSF, so that circular apertures hold less of the light in bands with a "
    "wider PSF, and their colours are off by that; colours of total fluxes suffer least, and match_psf adds apertures "
    "on one PSF"
)
_MATCHED = "matched_flux is on the PSF that {} have in common; aper_flux is on that of each band"
_NO_PSF = "matched_flux is NaN in {}, whose PSF (FWHM and index) is neither given nor measured on stars"


def finish_table(
    rows: dict[str, np.ndarray],
    image: SkyImage,
    settings: RowSettings,
    *,
    provenance: dict[str, Any],
) -> QTable:
    """The catalogue from the rows of all sources: what needs all of them, or the sky, is added.

    Parameters
    ----------
    rows : dict
        What `~morpheus_lite.catalog.rows.measure_rows` found, ordered by label.
    image : SkyImage
        Bands, units, zero-points and WCS of the whole image; its pixels do not matter.
    settings : RowSettings
        How the rows were measured.
    provenance : dict
        Of the class maps.
    """
    values = rows | _on_the_sky(image, rows) | _families(rows["parent_label"])
    child = int(SourceFlag.BLENDED | SourceFlag.DEBLEND_CHILD)
    values["flags"] = rows["flags"] | np.where(values["n_children"] > 1, child, 0).astype(np.int32)
    options, seen = settings.options, settings.background
    if seen is not None:
        levels = seen.background_at(rows["x_centroid"], rows["y_centroid"])
        for name, level in zip(image.bands, levels.T, strict=True):
            has_data = np.isfinite(rows[f"segment_flux_{name}"])
            values[f"background_{name}"] = np.where(has_data, level, np.nan)
    columns = catalogue_columns(
        image, options, calibrated=settings.calibration is not None, with_background=seen is not None
    )
    detection = settings.detection
    meta = {**provenance, "detection_band": detection.name, "morphology_maps": settings.maps}
    if settings.calibration is not None:
        meta["class_prior"] = settings.calibration.prior_record(options.class_prior)
    if detection.name == STACK:
        names = [name for name, chosen in zip(image.bands, detection.chosen, strict=True) if chosen]
        meta |= {"reference_band": detection.band, "detection_image": _STACKED.format(", ".join(names))}
    meta["zero_points"] = {name: _zero_point_record(image, k) for k, name in enumerate(image.bands)}
    if settings.background is not None and settings.background.psf:
        meta["psf"] = {name: psf.record() for name, psf in zip(image.bands, settings.background.psf, strict=True)}
    meta["background"] = options.background_of(by_votes=settings.maps == "vote") or "none"
    meta["flag_bits"] = {"flags": SourceFlag.explained(), "flags_<band>": BandFlag.explained()}
    if options.photometry:
        meta |= {"aperture_colours": _colours(image, settings)} if image.n_bands > 1 else {}
        meta |= {"kron_scale": options.kron_scale, "aperture_radii": list(options.aperture_names(image.pixel_scale))}
        gains = zip(image.bands, find_gains(image, options.gain), strict=True)
        psfs = psfs_of_totals(image, options, settings.background)
        meta["total_psf"] = {name: psf.record() for name, psf in zip(image.bands, psfs, strict=True)}
        meta |= {"psf_fwhm": options.psf_fwhm, "photon_noise": {name: gain.statement for name, gain in gains}}
    return build_table(columns, values, meta)


def _colours(image: SkyImage, settings: RowSettings) -> str:
    """Say which apertures give colours."""
    if not settings.options.matched:
        return _UNMATCHED
    psfs = dict(zip(image.bands, known_psfs(image, settings.options, settings.background), strict=True))
    known = [band for band, psf in psfs.items() if can_match(psf)]
    others = [band for band in image.bands if band not in known]
    parts = [_MATCHED.format(", ".join(known))] * bool(known) + [_NO_PSF.format(", ".join(others))] * bool(others)
    return "; ".join(parts)


def _zero_point_record(image: SkyImage, index: int) -> dict[str, Any]:
    """AB magnitude of one data unit, the keywords it comes from, and their photometric system."""
    known = image.meta.get("bands", {}).get(image.bands[index], {})
    value = image.zero_points[index]
    return {
        "value": None if value is None else round(float(value), 4),
        "source": known.get("zero_point_source"),
        "system": known.get("zero_point_system"),
    }


def _families(origin: np.ndarray) -> dict[str, np.ndarray]:
    """Parents of the sources, and how many pieces each was split into (0 if it was not)."""
    _, family, n_pieces = np.unique(origin, return_inverse=True, return_counts=True)
    return {"parent_label": origin, "n_children": np.where(n_pieces[family] > 1, n_pieces[family], 0)}


def _on_the_sky(image: SkyImage, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Places, their errors, position angles and sizes on the sky; nothing without a WCS."""
    if image.wcs is None or (scale := image.pixel_scale) is None:
        return {}
    x, y, angle = rows["x_centroid"], rows["y_centroid"], np.deg2rad(rows["orientation"])
    wcs = image.wcs.celestial
    found = {f"{name}_arcsec": rows[name] * scale for name in IN_ARCSEC if name in rows}
    if not len(x):
        errors = {"ra_err": x, "dec_err": x} if "x_centroid_err" in rows else {}
        return found | {"ra": x, "dec": y, "sky_orientation": angle} | errors
    place = wcs.pixel_to_world(x, y).icrs
    # One pixel along each axis: arcsec to the east and to the north.
    steps = [place.spherical_offsets_to(wcs.pixel_to_world(x + dx, y + dy).icrs) for dx, dy in ((1, 0), (0, 1))]
    east, north = (np.stack([step[k].arcsec for step in steps]) for k in (0, 1))
    turn = np.stack([np.cos(angle), np.sin(angle)])
    major = np.rad2deg(np.arctan2((east * turn).sum(axis=0), (north * turn).sum(axis=0))) % 180
    found |= {"ra": place.ra.deg, "dec": place.dec.deg, "sky_orientation": major}
    if "x_centroid_err" in rows:
        error = np.stack([rows["x_centroid_err"], rows["y_centroid_err"]])
        found |= {
            name: np.sqrt(((axis * error) ** 2).sum(axis=0)) for name, axis in (("ra_err", east), ("dec_err", north))
        }
    return found
