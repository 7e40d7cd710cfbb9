"""Measuring sources: a label map, an image and class maps become a table."""

from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.catalog.columns import build_table, catalogue_columns
from morpheus_lite.catalog.flagging import flag_sources
from morpheus_lite.catalog.light import measure_fluxes, measure_shapes
from morpheus_lite.catalog.morphology import Morphology, measure_morphology
from morpheus_lite.classes import SOURCE_CLASSES
from morpheus_lite.classification import Classification
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.image import SkyImage
from morpheus_lite.labels import LabelledPixels, check_labels


def measure(
    labels: Any,
    image: SkyImage,
    classification: Classification,
    *,
    band: str | None = None,
    parents: Any = None,
    maps: str = "vote",
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

    Returns
    -------
    astropy.table.QTable
        One row a source, ordered by ``label``; zero sources give zero rows. Each column has a description, and a
        unit where it has a dimension: ``label, x_centroid, y_centroid, x_peak, y_peak`` (0-based pixels),
        ``ra, dec`` (with a WCS), ``area, semimajor_axis, semiminor_axis, orientation, ellipticity``,
        ``segment_flux_<band>``, ``segment_fluxerr_<band>`` (with noise planes), ``p_<class>`` of the four source
        classes, ``p_<class>_err`` (with variance maps), ``morphology, flags, parent_label``. ``meta`` holds
        the provenance of the class maps and the choices made here.

    Raises
    ------
    InputError
        Shapes that disagree, labels that are not whole numbers, or a band that the image does not have.
    OptionError
        Unknown ``maps``, or votes asked of class maps without them.

    Notes
    -----
    Centroids and ellipses are photutils' (flux-weighted, negative pixels left out). Invalid pixels never count.
    The formulae of ``p_<class>`` and its error are those of `~morpheus_lite.catalog.morphology`. A source without
    positive light in a band has the flag NEGATIVE_FLUX.
    """
    labels = check_labels(labels, image.shape)
    if classification.shape != image.shape:
        raise InputError(f"class maps of shape {classification.shape} do not fit an image of shape {image.shape}")
    band = band or image.detection_band
    light, usable = (plane[:, :, image.index(band)] for plane in (image.data, image.valid))
    sources = LabelledPixels.gather(labels)
    morphology = measure_morphology(sources, _class_maps(classification, maps), classification.variance, light, usable)
    fluxes = measure_fluxes(sources, image)
    origin = _parent_labels(sources, parents)
    negative = np.any([fluxes[f"segment_flux_{name}"] <= 0 for name in image.bands], axis=0)
    values = {"label": sources.labels, **measure_shapes(labels, sources, light, usable), **fluxes}
    values |= _sky_positions(image, values["x_centroid"], values["y_centroid"])
    values |= _shares(morphology) | {"morphology": morphology.name, "parent_label": origin}
    values["flags"] = flag_sources(labels, sources, classification, origin, negative | morphology.unweighted)
    columns = catalogue_columns(image, with_errors=classification.variance is not None)
    meta = {**classification.provenance, "detection_band": image.bands[image.index(band)], "morphology_maps": maps}
    return build_table(columns, values, meta)


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
