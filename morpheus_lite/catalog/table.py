"""Measuring sources: a label map, an image and class maps become a table."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.catalog.columns import build_table, catalogue_columns
from morpheus_lite.catalog.deblended_flux import share_light
from morpheus_lite.catalog.gain import find_gains
from morpheus_lite.catalog.photometry import BandNoise
from morpheus_lite.catalog.rows import RowSettings, measure_rows
from morpheus_lite.config.measure import MeasureOptions
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import check_labels
from morpheus_lite.core.sampling import sample_windows
from morpheus_lite.errors import InputError
from morpheus_lite.noise import background_mesh
from morpheus_lite.noise.band_stack import STACK, detection_image
from morpheus_lite.noise.correlated import CorrelatedNoise, noise_of_pieces

_STACKED = (
    "sum of {}, each over the noise of its sky, in each pixel of those valid there: places, shapes, Kron ellipses, "
    "half-light and Petrosian radii, concentration, asymmetry, Gini, M20, class weights; fluxes are of each band"
)


def measure(
    labels: Any,
    image: SkyImage,
    classification: Classification,
    *,
    band: str | None = None,
    parents: Any = None,
    maps: str = "vote",
    options: MeasureOptions | None = None,
    noise: dict[str, CorrelatedNoise] | None = None,
    workers: int = 1,
) -> QTable:
    """Catalogue of the sources of a label map.

    Parameters
    ----------
    labels : array_like of int
        Shape ``(y, x)``, 0 is sky: from `deblend`, `segment` or any other tool.
    image : SkyImage
        The image: light, noise, WCS and units.
    classification : Classification
        Class maps of the same pixels.
    band : str, optional
        Detection band, whose light gives positions, shapes, structure and weights; the other bands stand in where it
        has no data. None adds up all bands, each over the noise of its sky; with rank votes, as published, it takes
        F160W, or the first band of an image without it.
    parents : array_like of int, optional
        Label map before deblending, shape ``(y, x)``. None says that nothing was deblended.
    maps : {"vote", "probability"}
        Which class maps are summed to morphologies: rank votes, as published, or mean probabilities.
    options : MeasureOptions, optional
        What to measure; None takes everything, with 0.25, 0.5 and 1 arcsec (without a WCS 3, 5 and 10 pixels) as
        aperture radii. ``MeasureOptions.paper()`` stops at the segments, and is many times faster.
    noise : dict, optional
        Noise of each band, from `~morpheus_lite.catalog.measure_correlated_noise`. None measures it in this image;
        give it where the image is a piece of a larger one.
    workers : int
        Processes that share the sources (on Linux); the result does not depend on it.

    Returns
    -------
    astropy.table.QTable
        One row per source, ordered by ``label``; zero sources give zero rows. Each column has a description, and a
        unit where it has a dimension: ``label, x_centroid, y_centroid, x_peak, y_peak`` (0-based pixels),
        ``ra, dec`` (with a WCS), ``area, semimajor_axis, semiminor_axis, orientation, ellipticity``,
        ``x_centroid_win, y_centroid_win`` with ``..._err``, ``kron_radius, total_correction, half_light_radius``,
        ``r_petrosian, concentration, asymmetry, gini, m20``; for each band ``segment_flux_<band>, kron_flux_<band>,
        total_flux_<band>, aper_flux_<radius>_<band>`` with ``..._fluxerr_...`` and ``..._covered_...``,
        ``flags_<band>`` (`~morpheus_lite.core.flags.BandFlag`), and ``kron_mag_<band>,
        kron_magerr_<band>, kron_fnu_<band>, kron_fnuerr_<band>`` and the same of ``total`` where the zero-point
        is known; ``shared_flux_<band>`` and its error if asked for; ``p_<class>`` of the four
        source classes, ``p_<class>_err`` (with variance maps), ``p_source, entropy, bulge_fraction, disk_fraction,
        morphology, flags, parent_label, n_children``.
        ``meta`` holds the provenance of the class maps and the choices made here.

    Raises
    ------
    InputError
        Shapes that disagree, labels that are not whole numbers, a band that the image does not
        have, or a zero-point that is no number.
    OptionError
        Unknown ``maps``, votes asked of class maps without them, or apertures in arcsec without a WCS.

    Notes
    -----
    Centroids and ellipses are photutils' (flux-weighted, negative pixels left out). Invalid pixels never count.
    The formulae of ``p_<class>`` and its error are those of `~morpheus_lite.catalog.class_fractions`. A source without
    positive light in a band has the flag NEGATIVE_FLUX.

    Kron ellipses (about the centroid) and circles (about the windowed one) are the same pixels in every band, so that
    colours are consistent. Pixels of neighbours are replaced by those opposite the centre. What is not measured is
    NaN: a band without a valid pixel in a segment or aperture has no flux, error or magnitude there. Where some pixels
    are not valid, the flux is that of the others, ``<kind>_covered_<band>`` is their share, and ``flags_<band>`` says
    so; ``total_flux`` adds what is missing, as the detection image has it. Errors are those of the RMS planes, or of
    the scatter of the sky around the source, times the factor of `CorrelatedNoise` for the area. The noise of the
    source's own photons is added where the gain is known and the RMS planes do not hold it; ``meta["photon_noise"]``
    says so.
    ``total_flux`` is the Kron flux over the share of the light in the Kron ellipse, from a fit of Sersic profiles to
    the detection band (`~morpheus_lite.catalog.total_flux`). Beyond the segment, a row depends on the pixels within
    `MeasureOptions.margin` of its bounding box.
    """
    options = options or MeasureOptions()
    labels = check_labels(labels, image.shape)
    background = options.background_of(by_votes=maps == "vote")
    if classification.shape != image.shape:
        raise InputError(f"class maps of shape {classification.shape} do not fit an image of shape {image.shape}")
    for name, zero_point in zip(image.bands, image.zero_points, strict=True):
        if zero_point is not None and not np.isfinite(zero_point):
            raise InputError(f"zero-point {zero_point} of {name}: expected a finite AB magnitude, or None if unknown")
    options.check_image(image.name, image.bands, image.pixel_scale)
    seen = None
    if background is not None:
        seen = background_mesh.measure_background(image).with_background(background)
        if background == "mesh":
            seen = seen.less_sources(background_mesh.measure_background(image, labels))
        image = background_mesh.subtract(image, seen)
    pieces = [(image.cutout(window), labels[window.slices]) for window in sample_windows(image.shape)]
    settings = settings_of_rows(pieces, maps, options, band, noise=noise)
    settings = replace(settings, background=seen, workers=workers)
    before = None if parents is None else check_labels(parents, labels.shape)
    rows = measure_rows(labels, image, classification, settings, parents=before)
    if options.share_blends:
        gains = find_gains(image, options.gain)
        bands = [BandNoise(settings.noise[name], gain.value) for name, gain in zip(image.bands, gains, strict=True)]
        rows |= share_light(rows, labels, image, settings.detection, bands)
    with_errors = classification.variance is not None
    return finish_table(rows, image, settings, provenance=classification.provenance, with_errors=with_errors)


def settings_of_rows(
    pieces: Sequence[tuple[SkyImage, np.ndarray]],
    maps: str,
    options: MeasureOptions,
    band: str | None,
    *,
    noise: dict[str, CorrelatedNoise] | None = None,
) -> RowSettings:
    """Determine the settings of all rows of an image from pieces of it.

    Parameters
    ----------
    pieces : sequence of (SkyImage, numpy.ndarray)
        The image and its labels inside each of `~morpheus_lite.core.sampling.sample_windows`.
    maps, options, band, noise
        As in `measure`.
    """
    image = pieces[0][0]
    band = band or (image.detection_band if maps == "vote" else None)
    if noise is None:
        noise = noise_of_pieces(pieces) if options.photometry or band is None else {}
    return RowSettings(detection_image(pieces, noise, band), maps, options, noise)


def finish_table(
    rows: dict[str, np.ndarray],
    image: SkyImage,
    settings: RowSettings,
    *,
    provenance: dict[str, Any],
    with_errors: bool,
) -> QTable:
    """The catalogue from the rows of all sources: what needs all of them, or the sky, is added.

    Parameters
    ----------
    rows : dict
        What `measure_rows` found, ordered by label.
    image : SkyImage
        Bands, units, zero-points and WCS of the whole image; its pixels do not matter.
    settings : RowSettings
        How the rows were measured.
    provenance : dict
        Of the class maps.
    with_errors : bool
        Whether the class maps have variances.
    """
    values = rows | _sky_positions(image, rows["x_centroid"], rows["y_centroid"]) | _families(rows["parent_label"])
    child = int(SourceFlag.BLENDED | SourceFlag.DEBLEND_CHILD)
    values["flags"] = rows["flags"] | np.where(values["n_children"] > 1, child, 0).astype(np.int32)
    options, seen = settings.options, settings.background
    if seen is not None:
        levels = seen.background_at(rows["x_centroid"], rows["y_centroid"])
        for name, level in zip(image.bands, levels.T, strict=True):
            has_data = np.isfinite(rows[f"segment_flux_{name}"])
            values[f"background_{name}"] = np.where(has_data, level, np.nan)
    columns = catalogue_columns(image, options, with_errors=with_errors, with_background=seen is not None)
    detection = settings.detection
    meta = {**provenance, "detection_band": detection.name, "morphology_maps": settings.maps}
    if detection.name == STACK:
        names = [name for name, chosen in zip(image.bands, detection.chosen, strict=True) if chosen]
        meta |= {"reference_band": detection.band, "detection_image": _STACKED.format(", ".join(names))}
    meta["zero_points"] = {name: _zero_point_record(image, k) for k, name in enumerate(image.bands)}
    meta["background"] = options.background_of(by_votes=settings.maps == "vote") or "none"
    if options.photometry:
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


def _sky_positions(image: SkyImage, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    if image.wcs is None or image.pixel_scale is None:
        return {}
    if not len(x):
        return {"ra": x, "dec": y}
    place = image.wcs.celestial.pixel_to_world(x, y).icrs
    return {"ra": place.ra.deg, "dec": place.dec.deg}
