"""The table of the catalogue: its columns with name, unit and meaning, and what needs all rows or the sky."""

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable

from morpheus_lite.catalog.matched_apertures import can_match
from morpheus_lite.catalog.photometry import find_gains
from morpheus_lite.catalog.segments import Rows
from morpheus_lite.catalog.stamps import LEAST_SNR
from morpheus_lite.catalog.surroundings import RowSettings
from morpheus_lite.catalog.total_flux import known_psfs, psfs_of_totals
from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.flags import BandFlag, SourceFlag, bits_in_words
from morpheus_lite.core.image import SkyImage
from morpheus_lite.io.zero_points import parse_unit
from morpheus_lite.noise.detection_image import STACK

COLUMNS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("columns.toml").read_text(encoding="utf-8"))
"""Columns in groups, with their meaning, unit and kind; their UCDs, and the names that SExtractor has for them."""


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
    unit: u.UnitBase | None = u.dimensionless_unscaled
    kind: str = "f8"


def columns_of(group: str, **words: Any) -> list[ColumnDefinition]:
    """The columns of a group of `COLUMNS`, with words in the place of ``{word}``."""
    columns = []
    for name, said in COLUMNS[group].items():
        kind = said.get("kind", "f8")
        unit = u.Unit(said.get("unit", "")) if "unit" in said or kind == "f8" else None
        noisy = f"; NaN below snr = {LEAST_SNR[name]:g}" if name in LEAST_SNR else ""
        columns.append(ColumnDefinition(name, said["about"].format(noisy=noisy, **words), unit, kind))
    return columns


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
    said = COLUMNS["light"]
    meanings = {f"segment_flux_{band}": said["segment"].format(band=band)}
    if not settings.photometry:
        ((name, meaning),) = meanings.items()
        noise = ColumnDefinition(f"segment_fluxerr_{band}", f"noise of {name}, pixels independent{note}", unit)
        errors = [noise] if image.rms is not None else []
        return [ColumnDefinition(name, meaning + note, unit), *errors, _covered(name), flags]
    zero_point = image.zero_points[index]
    note += "; not calibrated, no zero-point is known" if zero_point is None else f"; AB zero-point {zero_point:.4g}"
    meanings |= {f"{kind}_flux_{band}": said[kind].format(band=band) for kind in ("kron", "total")}
    for name in settings.aperture_names(image.pixel_scale):
        number, unit_name = (name[:-2], "pixels") if name.endswith("px") else (name, "arcsec")
        radius = f"{number.replace('p', '.')} {unit_name}"
        for kind in ("aper", "matched") if settings.matched else ("aper",):
            meanings[f"{kind}_flux_{name}_{band}"] = said[kind].format(band=band, radius=radius)
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
        meaning = said["shared"].format(band=band)
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


IN_ARCSEC = ("semimajor_axis", "semiminor_axis", "half_light_radius", "r_petrosian")
"""Sizes that are also told in arcsec."""


def catalogue_columns(image: SkyImage, settings: RowSettings) -> list[ColumnDefinition]:
    """Every column of an image's catalogue, in order.

    Parameters
    ----------
    image : SkyImage
        Its bands, their units and zero-points, and whether there are noise planes and a WCS, decide.
    settings : RowSettings
        How the rows were measured.
    """
    on_sky, options = image.pixel_scale is not None, settings.options
    sky = [*columns_of("sky"), *(columns_of("sky_errors") if options.photometry else ())] if on_sky else []
    extent = [*columns_of("shape"), *(columns_of("sky_shape") if on_sky else ())]
    if options.photometry:
        extent += [*columns_of("extent"), *(columns_of("structure") if options.structure else ())]
    in_arcsec = [
        ColumnDefinition(f"{one.name}_arcsec", f"{one.name}, by the mean side of a pixel on the sky", u.arcsec)
        for one in extent
        if on_sky and one.name in IN_ARCSEC
    ]
    light = []
    for index, band in enumerate(image.bands):
        light += light_columns(image, index, options)
        if settings.background is not None:
            meaning = f"background of one pixel at the centroid, subtracted in {band}"
            light.append(ColumnDefinition(f"background_{band}", meaning, light_unit(image.units[index])))
    meaning = "probability of {}, calibrated on sources" if settings.calibration else "light-weighted share of {}"
    shares = [ColumnDefinition(f"p_{name}", meaning.format(name)) for name in SOURCE_CLASSES]
    nature = columns_of("nature", uncertain=UNCERTAIN, least=options.min_class_confidence)
    verdict = columns_of("verdict", bits=bits_in_words(SourceFlag))
    return [*columns_of("place"), *sky, *extent, *in_arcsec, *light, *shares, *nature, *verdict]


def build_table(columns: list[ColumnDefinition], values: Rows, meta: dict[str, Any]) -> QTable:
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
    for pattern, ucd in COLUMNS["ucds"].items():
        if found := re.fullmatch(pattern, name):
            return found.expand(ucd)
    return None


def finish_table(rows: Rows, image: SkyImage, settings: RowSettings, *, provenance: dict[str, Any]) -> QTable:
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
    detection = settings.detection
    meta = {**provenance, "detection_band": detection.name, "morphology_maps": settings.maps}
    if settings.calibration is not None:
        meta["class_prior"] = settings.calibration.prior_record(options.class_prior)
    if detection.name == STACK:
        names = [name for name, chosen in zip(image.bands, detection.chosen, strict=True) if chosen]
        meta |= {
            "reference_band": detection.band,
            "detection_image": COLUMNS["statements"]["stacked"].format(", ".join(names)),
        }
    meta["zero_points"] = {name: _zero_point_record(image, k) for k, name in enumerate(image.bands)}
    if seen is not None and seen.psf:
        meta["psf"] = {name: psf.record() for name, psf in zip(image.bands, seen.psf, strict=True)}
    meta["background"] = options.background_of(by_votes=settings.maps == "vote") or "none"
    meta["flag_bits"] = {"flags": SourceFlag.explained(), "flags_<band>": BandFlag.explained()}
    if options.photometry:
        meta |= {"aperture_colours": _colours(image, settings)} if image.n_bands > 1 else {}
        meta |= {"kron_scale": options.kron_scale, "aperture_radii": list(options.aperture_names(image.pixel_scale))}
        gains = zip(image.bands, find_gains(image, options.gain), strict=True)
        psfs = psfs_of_totals(image, options, settings.background)
        meta["total_psf"] = {name: psf.record() for name, psf in zip(image.bands, psfs, strict=True)}
        meta |= {"psf_fwhm": options.psf_fwhm, "photon_noise": {name: gain.statement for name, gain in gains}}
    return build_table(catalogue_columns(image, settings), values, meta)


def _colours(image: SkyImage, settings: RowSettings) -> str:
    """Say which apertures give colours."""
    said = COLUMNS["statements"]
    if not settings.options.matched:
        return said["unmatched"]
    psfs = dict(zip(image.bands, known_psfs(image, settings.options, settings.background), strict=True))
    known = [band for band, psf in psfs.items() if can_match(psf)]
    others = [band for band in image.bands if band not in known]
    parts = ("matched", known), ("no_psf", others)
    return "; ".join(said[name].format(", ".join(bands)) for name, bands in parts if bands)


def _zero_point_record(image: SkyImage, index: int) -> dict[str, Any]:
    """AB magnitude of one data unit, the keywords it comes from, and their photometric system."""
    known = image.meta.get("bands", {}).get(image.bands[index], {})
    value = image.zero_points[index]
    return {
        "value": None if value is None else round(float(value), 4),
        "source": known.get("zero_point_source"),
        "system": known.get("zero_point_system"),
    }


def _families(origin: np.ndarray) -> Rows:
    """Parents of the sources, and how many pieces each was split into (0 if it was not)."""
    _, family, n_pieces = np.unique(origin, return_inverse=True, return_counts=True)
    return {"parent_label": origin, "n_children": np.where(n_pieces[family] > 1, n_pieces[family], 0)}


def _on_the_sky(image: SkyImage, rows: Rows) -> Rows:
    """Places, their errors, position angles and sizes on the sky; nothing without a WCS."""
    if image.wcs is None or (scale := image.pixel_scale) is None:
        return {}
    x, y, angle = rows["x_centroid"], rows["y_centroid"], np.deg2rad(rows["orientation"])
    wcs = image.wcs.celestial
    found = {f"{name}_arcsec": rows[name] * scale for name in IN_ARCSEC if name in rows}
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
