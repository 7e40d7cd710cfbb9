"""The table of the catalogue: its columns with name, unit and meaning, and what needs all rows or the sky."""

import re
from typing import Any, NamedTuple

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


class ColumnDefinition(NamedTuple):
    """One column of the catalogue.

    Parameters
    ----------
    name : str
        Name in the table.
    description : str
        Meaning, in one line.
    unit : astropy.units.UnitBase or None
        None for names, labels and bit fields, and for light in an unknown unit.
    kind : str
        NumPy type of the values.
    """

    name: str
    description: str
    unit: u.UnitBase | None = _RATIO
    kind: str = "f8"


_EXTENT = (
    ColumnDefinition("snr", "light of the segment over its noise, in the detection image"),
    ColumnDefinition("spread", "how much wider than stars, as SPREAD_MODEL: 0 for stars; NaN where no PSF is known"),
    ColumnDefinition("spread_err", "noise of spread, and of a FWHM that is off by 3 %"),
    ColumnDefinition("x_centroid_err", "noise of x_centroid", u.pix),
    ColumnDefinition("y_centroid_err", "noise of y_centroid", u.pix),
    ColumnDefinition("x_centroid_win", "centroid under a Gaussian as wide as the source, first column 0", u.pix),
    ColumnDefinition("y_centroid_win", "centroid under a Gaussian as wide as the source, first row 0", u.pix),
    ColumnDefinition("x_centroid_win_err", "noise of x_centroid_win", u.pix),
    ColumnDefinition("y_centroid_win_err", "noise of y_centroid_win", u.pix),
    ColumnDefinition("kron_radius", "first moment of the light, in units of the semi-axes"),
    ColumnDefinition("total_correction", "all of the light over that in the Kron ellipse, in the detection image"),
    ColumnDefinition("total_correction_err", "uncertainty of total_correction"),
    ColumnDefinition("half_light_radius", "circle with half of the Kron flux of the detection image", u.pix),
    ColumnDefinition("half_light_radius_err", "noise of half_light_radius", u.pix),
)
_NOISY = {name: f"; NaN below snr = {least:g}" for name, least in LEAST_SNR.items()}
_MEANINGS = {
    "r_petrosian": "circular Petrosian radius, eta = 0.2",
    "concentration": "5 log10(r80 / r20) within 1.5 r_petrosian",
    "asymmetry": "light not alike after half a turn, noise taken off, 1.5 r_petrosian",
    "gini": "Gini coefficient of the light; 1 if one pixel has it all",
    "m20": "log10 of the second moment of the brightest 20 % relative to the whole",
}
_STRUCTURE = tuple(
    ColumnDefinition(f"{name}{kind}", text, u.pix if name == "r_petrosian" else _RATIO)
    for name, meaning in _MEANINGS.items()
    for kind, text in (("", meaning + _NOISY.get(name, "")), ("_err", f"noise of {name}"))
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


def light_columns(image: SkyImage, index: int, settings: MeasureOptions) -> list[ColumnDefinition]:
    """Columns of the light in one band."""
    band, unit = image.bands[index], light_unit(image.units[index])
    note = "" if unit is not None else "; in the unit of the image, which does not state it"
    bits = f"sum of the bits of BandFlag: {bits_in_words(BandFlag)}; in {band}"
    flags = ColumnDefinition(f"flags_{band}", bits, None, "i4")
    meanings = {f"segment_flux_{band}": f"sum of the valid pixels in {band}"}
    if not settings.photometry:
        ((name, meaning),) = meanings.items()
        noise = ColumnDefinition(f"segment_fluxerr_{band}", f"noise of {name}, pixels independent{note}", unit)
        errors = [noise] if image.rms is not None else []
        return [ColumnDefinition(name, meaning + note, unit), *errors, _covered(name), flags]
    zero_point = image.zero_points[index]
    note += "; not calibrated, no zero-point is known" if zero_point is None else f"; AB zero-point {zero_point:.4g}"
    meanings[f"kron_flux_{band}"] = f"light in the Kron ellipse in {band}, as measured"
    meanings[f"total_flux_{band}"] = (
        f"all of the light in {band}: kron_flux_{band} less the light of neighbours, corrected by its profile and the "
        "PSF of the band, what has no data added"
    )
    for name in settings.aperture_names(image.pixel_scale):
        number, unit_name = (name[:-2], "pixels") if name.endswith("px") else (name, "arcsec")
        radius = f"{number.replace('p', '.')} {unit_name}"
        meanings[f"aper_flux_{name}_{band}"] = f"light within a radius of {radius} in {band}"
        if settings.matched:
            meanings[f"matched_flux_{name}_{band}"] = (
                f"light in {band} within a radius of {radius}, on the PSF that all bands have in common"
            )
    columns = []
    for name, meaning in meanings.items():
        doubt = ", and of profile, PSF and blending" if name.startswith("total_") else ""
        columns += _with_error(name, meaning + note, f"noise of {name}, correlated as the sky is{doubt}{note}", unit)
        if not name.startswith(("total_", "matched_")):
            columns.append(_covered(name))
        if name.startswith(("aper_", "matched_")) and zero_point is not None:
            columns += _magnitudes(name)
    if settings.deblended_flux:
        name = f"shared_flux_{band}"
        meaning = f"light of the segment in {band}, blended pixels shared between the pieces of their parent"
        columns += [*_with_error(name, meaning + note, f"noise of {name}{note}", unit), _covered(name)]
    if settings.local_background:
        columns.append(ColumnDefinition(f"local_background_{band}", f"sky subtracted, a pixel{note}", unit))
    columns.append(flags)
    for kind in ("kron", "total") if zero_point is not None else ():
        flux, fnu = f"{kind}_flux_{band}", f"{kind}_fnu_{band}"
        columns += [*_magnitudes(flux), *_with_error(fnu, f"flux density of {flux}", f"noise of {fnu}", u.nJy)]
    return columns


def _with_error(name: str, meaning: str, noise: str, unit: u.UnitBase | None) -> list[ColumnDefinition]:
    error = re.sub("_(flux|mag|fnu)_", r"_\1err_", name, count=1)
    return [ColumnDefinition(name, meaning, unit), ColumnDefinition(error, noise, unit)]


def _covered(name: str) -> ColumnDefinition:
    meaning = f"share of the pixels of {name} that have data; {name} is that of these, and NaN where it is 0"
    return ColumnDefinition(name.replace("_flux_", "_covered_"), meaning)


def _magnitudes(flux: str) -> list[ColumnDefinition]:
    magnitude = flux.replace("_flux_", "_mag_")
    meaning = f"AB magnitude of {flux}; NaN if not positive"
    return _with_error(magnitude, meaning, f"error of {magnitude}, that of {flux}", u.mag)


_PIXELS = "share of the light in pixels whose most probable source class is {}; no bulge-to-total ratio"

_PLACE = (
    ColumnDefinition("label", "number of the source in the segmentation map", None, "i4"),
    ColumnDefinition("x_centroid", "centroid of the light in the detection image, 0 at the first column", u.pix),
    ColumnDefinition("y_centroid", "centroid of the light in the detection image, 0 at the first row", u.pix),
    ColumnDefinition("x_peak", "brightest pixel in the detection image, 0 at the first column", u.pix, "i4"),
    ColumnDefinition("y_peak", "brightest pixel in the detection image, 0 at the first row", u.pix, "i4"),
)
_SKY = (
    ColumnDefinition("ra", "right ascension of x_centroid, y_centroid, ICRS", u.deg),
    ColumnDefinition("dec", "declination of x_centroid, y_centroid, ICRS", u.deg),
)
_SKY_ERRORS = (
    ColumnDefinition("ra_err", "noise of ra, times cos(dec): an angle on the sky", u.arcsec),
    ColumnDefinition("dec_err", "noise of dec", u.arcsec),
)
_SKY_SHAPE = (ColumnDefinition("sky_orientation", "major axis, from north through east, 0 to 180", u.deg),)
_SHAPE = (
    ColumnDefinition("area", "pixels of the source in the segmentation map", u.pix**2),
    ColumnDefinition("semimajor_axis", "standard deviation of the light along the major axis", u.pix),
    ColumnDefinition("semiminor_axis", "standard deviation of the light along the minor axis", u.pix),
    ColumnDefinition("orientation", "major axis, counter-clockwise from the x axis", u.deg),
    ColumnDefinition("ellipticity", "1 - semiminor_axis / semimajor_axis"),
)
_VERDICT = (
    ColumnDefinition("flags", f"sum of the bits of SourceFlag: {bits_in_words(SourceFlag)}", None, "i4"),
    ColumnDefinition("parent_label", "label of the source before deblending", None, "i4"),
    ColumnDefinition("n_children", "pieces that the parent was split into; 0 if it was not", None, "i4"),
)
_NATURE = (
    ColumnDefinition("p_source", "light-weighted mean of 1 - P(background): how sure the source is real"),
    ColumnDefinition("entropy", "entropy of p_<class> over its largest: 0 one class, 1 all alike"),
    ColumnDefinition("spheroid_pixel_fraction", _PIXELS.format("spheroid")),
    ColumnDefinition("disk_pixel_fraction", _PIXELS.format("disk")),
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
    extent = [*_SHAPE, *(_SKY_SHAPE if on_sky else ())]
    if settings.photometry:
        extent += [*_EXTENT, *(_STRUCTURE if settings.structure else ())]
    in_arcsec = [
        ColumnDefinition(f"{one.name}_arcsec", f"{one.name}, by the mean side of a pixel on the sky", u.arcsec)
        for one in extent
        if on_sky and one.name in IN_ARCSEC
    ]
    light = []
    for index, band in enumerate(image.bands):
        light += light_columns(image, index, settings)
        if with_background:
            meaning = f"background of one pixel at the centroid, subtracted in {band}"
            light.append(ColumnDefinition(f"background_{band}", meaning, light_unit(image.units[index])))
    meaning = "probability of {}, calibrated on sources" if calibrated else "light-weighted share of {}"
    shares = [ColumnDefinition(f"p_{name}", meaning.format(name)) for name in SOURCE_CLASSES]
    least = settings.min_class_confidence
    meaning = f"class with the largest p_<class>; {UNCERTAIN} where that is below {least:g}, empty if nothing is known"
    shares += [*_NATURE, ColumnDefinition("morphology", meaning, None, "U12")]
    shares.append(ColumnDefinition("class_confidence", "largest p_<class>"))
    return [*_PLACE, *sky, *extent, *in_arcsec, *light, *shares, *_VERDICT]


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
