"""Measuring sources: a label map, an image and class maps become a table."""

from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.catalog.columns import build_table, catalogue_columns
from morpheus_lite.catalog.flagging import find_saturated, flag_sources
from morpheus_lite.catalog.light import measure_fluxes, measure_shapes
from morpheus_lite.catalog.morphology import Morphology, measure_morphology, measure_nature
from morpheus_lite.catalog.noise import CorrelatedNoise, measure_noise
from morpheus_lite.catalog.settings import MeasureOptions
from morpheus_lite.catalog.surroundings import box_sides, measure_surroundings
from morpheus_lite.classes import SOURCE_CLASSES
from morpheus_lite.classification import Classification
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.flags import SourceFlag
from morpheus_lite.image import SkyImage
from morpheus_lite.labels import LabelledPixels, check_labels

_BRIGHT = 20.0
"""Signal-to-noise ratio of a pixel from which a flat top or a hole at the peak means saturation."""


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
        Detection band, whose light gives positions, shapes and weights; None takes F160W, or the first band
        of an image without it.
    parents : array_like of int, optional
        Label map before deblending, shape ``(y, x)``. None says that nothing was deblended.
    maps : {"vote", "probability"}
        Which class maps are summed to morphologies: rank votes, as published, or mean probabilities.
    options : MeasureOptions, optional
        What to measure; None takes everything, with 0.25, 0.5 and 1 arcsec (without a WCS 3, 5 and 10 pixels) as
        aperture radii. ``MeasureOptions.paper()`` stops at the segments, and is many times faster.
    noise : dict, optional
        Noise of each band, from `~morpheus_lite.catalog.measure_noise`. None measures it in this image; give it
        where the image is a piece of a larger one.

    Returns
    -------
    astropy.table.QTable
        One row a source, ordered by ``label``; zero sources give zero rows. Each column has a description, and a
        unit where it has a dimension: ``label, x_centroid, y_centroid, x_peak, y_peak`` (0-based pixels),
        ``ra, dec`` (with a WCS), ``area, semimajor_axis, semiminor_axis, orientation, ellipticity``,
        ``x_centroid_win, y_centroid_win`` with ``..._err``, ``kron_radius, half_light_radius``, ``r_petrosian,
        concentration, asymmetry, gini, m20``; for each band ``segment_flux_<band>, kron_flux_<band>,
        aper_flux_<radius>_<band>`` with ``..._fluxerr_...``, and ``kron_mag_<band>, kron_magerr_<band>,
        kron_fnu_<band>, kron_fnuerr_<band>`` where the zero-point is known; ``p_<class>`` of the four source
        classes, ``p_<class>_err`` (with variance maps), ``p_source, entropy, bulge_fraction, disk_fraction,
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
    The formulae of ``p_<class>`` and its error are those of `~morpheus_lite.catalog.morphology`. A source without
    positive light in a band has the flag NEGATIVE_FLUX.

    Kron ellipses (about the centroid) and circles (about the windowed one) are the same pixels in every band, so that
    colours are consistent. Pixels of
    neighbours and invalid ones are replaced by those opposite the centre. Errors are those of the RMS planes, or of the
    scatter of the sky around the source, times the factor of `CorrelatedNoise` for the area; they hold the noise
    of the source's own photons only if the RMS planes do. Beyond the segment, a row depends on the pixels within
    `MeasureOptions.margin` of its bounding box.
    """
    options = options or MeasureOptions()
    labels = check_labels(labels, image.shape)
    if classification.shape != image.shape:
        raise InputError(f"class maps of shape {classification.shape} do not fit an image of shape {image.shape}")
    for name, zero_point in zip(image.bands, image.zero_points, strict=True):
        if zero_point is not None and not np.isfinite(zero_point):
            raise InputError(f"zero-point {zero_point} of {name}: expected a finite AB magnitude, or None if unknown")
    band = band or image.detection_band
    light, usable = (plane[:, :, image.index(band)] for plane in (image.data, image.valid))
    sources = LabelledPixels.gather(labels)
    morphology = measure_morphology(sources, _class_maps(classification, maps), classification.variance, light, usable)
    values: dict[str, Any] = {"label": sources.labels, **measure_shapes(labels, sources, light, usable)}
    values |= _light(labels, sources, image, image.index(band), values, noise, options)
    values |= _sky_positions(image, values["x_centroid"], values["y_centroid"])
    values |= _shares(morphology) | measure_nature(sources, classification.probability, light, usable)
    values |= {"morphology": morphology.name, "entropy": morphology.entropy}
    values |= _families(_parent_labels(sources, parents))
    others: dict[SourceFlag, Any] = values.pop("found")
    others[SourceFlag.NEGATIVE_FLUX] |= morphology.unweighted
    values["flags"] = flag_sources(labels, sources, classification, values["n_children"], others)
    columns = catalogue_columns(image, options, with_errors=classification.variance is not None)
    meta = {**classification.provenance, "detection_band": image.bands[image.index(band)], "morphology_maps": maps}
    if options.photometry:
        meta |= {"kron_scale": options.kron_scale, "aperture_radii": list(options.aperture_names(image.pixel_scale))}
    return build_table(columns, values, meta)


def _light(
    labels: np.ndarray,
    sources: LabelledPixels,
    image: SkyImage,
    detection: int,
    shapes: dict[str, np.ndarray],
    noise: dict[str, CorrelatedNoise] | None,
    options: MeasureOptions,
) -> dict[str, Any]:
    """Fluxes, sizes and structure by column name; ``found`` holds the flags that come with them."""
    values: dict[str, Any] = measure_fluxes(sources, image)
    found: dict[SourceFlag, Any] = {
        SourceFlag.NEGATIVE_FLUX: np.any([values[f"segment_flux_{name}"] <= 0 for name in image.bands], axis=0),
        SourceFlag.OUTSIDE_DOMAIN: options.outside_domain,
    }
    # Without knowing the noise, equal pixels may be those of a faint source in whole numbers.
    faintest = [np.inf] * image.n_bands
    if options.photometry:
        noise = noise or measure_noise(image, labels)
        segment_fluxes = {name: value for name, value in values.items() if name.startswith("segment_flux_")}
        values |= measure_surroundings(labels, sources, image, detection, shapes, noise, options) | segment_fluxes
        faintest = [np.nan_to_num(_BRIGHT * noise[name].sigma, nan=np.inf) for name in image.bands]
        found[SourceFlag.CROWDED] = values.pop("crowded")
        found[SourceFlag.TOO_LARGE] = box_sides(labels, sources) > options.largest_side
    found[SourceFlag.SATURATED] = find_saturated(sources, image, options.saturation_levels(image), faintest)
    return values | {"found": found}


def _families(origin: np.ndarray) -> dict[str, np.ndarray]:
    """Parents of the sources, and how many pieces each was split into (0 if it was not)."""
    _, family, n_pieces = np.unique(origin, return_inverse=True, return_counts=True)
    return {"parent_label": origin, "n_children": np.where(n_pieces[family] > 1, n_pieces[family], 0)}


def _class_maps(classification: Classification, maps: str) -> np.ndarray:
    if maps not in ("vote", "probability"):
        raise OptionError(f"maps={maps!r}: expected 'vote' or 'probability'")
    chosen = getattr(classification, maps)
    if chosen is None:
        raise OptionError("these class maps have no rank votes; take the mean probabilities with maps='probability'")
    return chosen


def _parent_labels(sources: LabelledPixels, parents: Any) -> np.ndarray:
    """Label before deblending of each source: the largest on its pixels (holes filled since then are sky there)."""
    if parents is None or not len(sources):
        return sources.labels
    before = sources.take(check_labels(parents, sources.shape))
    found = np.maximum.reduceat(before, sources.starts)
    return np.where(found > 0, found, sources.labels)


def _sky_positions(image: SkyImage, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    if image.wcs is None or image.pixel_scale is None:
        return {}
    if not len(x):
        return {"ra": x, "dec": y}
    place = image.wcs.celestial.pixel_to_world(x, y).icrs
    return {"ra": place.ra.deg, "dec": place.dec.deg}


def _shares(morphology: Morphology) -> dict[str, np.ndarray]:
    shares = {f"p_{name}": morphology.share[:, k] for k, name in enumerate(SOURCE_CLASSES)}
    if morphology.error is not None:
        shares |= {f"p_{name}_err": morphology.error[:, k] for k, name in enumerate(SOURCE_CLASSES)}
    return shares
