"""The table of a catalogue: the rows of all sources, with their places in the sky, their families, and the record."""

from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.catalog.columns import IN_ARCSEC, build_table, catalogue_columns
from morpheus_lite.catalog.photometry import find_gains
from morpheus_lite.catalog.rows import RowSettings
from morpheus_lite.core.flags import BandFlag, SourceFlag
from morpheus_lite.core.image import SkyImage
from morpheus_lite.noise.detection_image import STACK

_STACKED = (
    "sum of {}, each over the noise of its sky, in each pixel of those valid there: places, shapes, Kron ellipses, "
    "half-light and Petrosian radii, concentration, asymmetry, Gini, M20, class weights; fluxes are of each band"
)

_UNMATCHED = (
    "not matched: every band keeps its own PSF, so that circular apertures hold less of the light in bands with a "
    "wider PSF, and their colours are off by that; colours of total fluxes suffer least"
)


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
        meta |= {"aperture_colours": _UNMATCHED} if image.n_bands > 1 else {}
        meta |= {"kron_scale": options.kron_scale, "aperture_radii": list(options.aperture_names(image.pixel_scale))}
        gains = zip(image.bands, find_gains(image, options.gain), strict=True)
        meta |= {"psf_fwhm": options.psf_fwhm, "photon_noise": {name: gain.statement for name, gain in gains}}
    return build_table(columns, values, meta)


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
