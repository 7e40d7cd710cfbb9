"""The rows of a catalogue, before they are a table: everything that a source's own surroundings tell."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from morpheus_lite.catalog.segments import (
    LabelledPiece,
    Rows,
    find_saturated,
    flag_sources,
    holds_others,
    mark_pixels,
    measure_fluxes,
    measure_morphology,
    measure_nature,
    measure_shapes,
    verdicts,
)
from morpheus_lite.catalog.surroundings import RowSettings, box_sides, measure_surroundings, sky_noise
from morpheus_lite.catalog.total_flux import growth_extent
from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.classes import SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import BandFlag, SourceFlag
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelledPixels, fill_gaps
from morpheus_lite.core.protocols import ImageReader
from morpheus_lite.core.source_calibration import EVIDENCE
from morpheus_lite.core.windows import Window
from morpheus_lite.runtime.resources import counted

_BRIGHT = 20.0
"""Signal-to-noise ratio of a pixel from which a flat top or a hole at the peak means saturation."""
_TELLING, _SHARPER, _FEWEST = 30.0, 3.0, 5
"""S/N from which a spread tells, errors below the stars' that are too sharp, and how many sources tell so."""
_POINT = 0.75
"""Probability from which a point source is measured as one."""

log = logging.getLogger(__name__)


def head_of(image: ImageReader) -> SkyImage:
    """A single pixel that carries the metadata of the whole image."""
    return replace(image.read(Window(0, 0, 1, 1)), wcs=image.wcs)


def measure_rows(piece: LabelledPiece, settings: RowSettings, *, wanted: np.ndarray, origin: tuple[int, int]) -> Rows:
    """Rows of some sources of an image, from the piece of it that they lie in.

    Parameters
    ----------
    piece : LabelledPiece
        The piece.
    settings : RowSettings
        What holds for all rows.
    wanted : numpy.ndarray
        int, shape ``(n,)``: the sources to measure; the others are only neighbours.
    origin : (int, int)
        Row and column of the whole image that the piece begins at.

    Returns
    -------
    dict
        Column name to values, shape ``(source,)``, ordered by label, in pixels of the whole image.

    Notes
    -----
    A row has the same bits for the whole image and for any piece that holds the source's bounding box and
    `MeasureOptions.margin` around it (one pixel without photometry), where the image does not end before.
    """
    filled, _ = fill_gaps(piece.labels, np.asarray(~piece.image.valid.any(axis=2)))
    own = np.where(np.isin(filled, wanted), filled, 0)
    sources = LabelledPixels.gather(own, origin=origin)
    return measure_sources(sources, piece, mark_pixels(piece, settings.usual_coverage, filled), settings)


def measure_sources(sources: LabelledPixels, piece: LabelledPiece, marks: np.ndarray, settings: RowSettings) -> Rows:
    """Rows of sources whose pixels are gathered; only those that fit into a stamp need the pixels around."""
    (labels, image, classification, parents), options = piece, settings.options
    light, usable = settings.detection.of_sources(sources, image)
    maps = classification.probability if classification.vote is None or settings.maps != "vote" else classification.vote
    share, unweighted = measure_morphology(sources, maps, light, usable)
    # Light in gaps of a source gives it place and shape, and no flux.
    _, shining = fill_gaps(labels, np.asarray(~image.valid.any(axis=2)), light)
    values: dict[str, Any] = {"label": sources.labels, **measure_shapes(sources, shining, usable | (shining != light))}
    values["area"] = sources.sum(sources.take(labels) > 0).astype(np.int64)
    fluxes = measure_fluxes(sources, image)
    negative = np.any([fluxes[f"segment_flux_{name}"] <= 0 for name in image.bands], axis=0)
    others: dict[SourceFlag, Any] = {
        SourceFlag.NEGATIVE_FLUX: negative | unweighted,
        SourceFlag.OUTSIDE_DOMAIN: options.outside_domain or bool(classification.provenance.get("domain")),
    }
    if settings.background is not None:
        others[SourceFlag.OUTSIDE_DOMAIN] |= settings.background.uneven_at(values["x_centroid"], values["y_centroid"])
        values["holds_others"] = holds_others(sources, light, settings.detection.sigma)
    # Without knowing the noise, equal pixels may be those of a faint source in whole numbers.
    faintest = [np.inf] * image.n_bands
    if options.photometry:
        # Before calibration: another prior of the classes changes no flux.
        values["is_point"] = share[:, SOURCE_CLASSES.index("point_source")] >= _POINT
        values |= measure_surroundings(labels, sources, image, values, settings)
        faintest = [np.nan_to_num(_BRIGHT * settings.noise[name].sigma, nan=np.inf) for name in image.bands]
        others[SourceFlag.CROWDED] = values["kron_hidden"] > 0
        others[SourceFlag.TOO_LARGE] = box_sides(sources) > options.largest_side
        fluxes = {name: values for name, values in fluxes.items() if not name.startswith("segment_fluxerr_")}
    levels = _saturation(values, image, settings)
    others[SourceFlag.SATURATED] = find_saturated(sources, image, marks, levels, faintest)
    for name in ("spread", "spread_err") if options.photometry else ():
        # A star without its peak is wide.
        values[name] = np.where(others[SourceFlag.SATURATED], np.nan, values[name])
    if set(image.bands) <= set(settings.noise):
        values |= _evidence(values, fluxes, image, classification, settings)
    values |= fluxes | verdicts(share, 0) | measure_nature(sources, classification.probability, light, usable)
    of_bands = {f"flags_{band}": _flags_of_band(values, band, image, options) for band in image.bands}
    partly = [(flags & int(BandFlag.PARTLY_COVERED)) > 0 for flags in of_bands.values()]
    others[SourceFlag.PARTLY_COVERED] = np.any(partly, axis=0)
    return (
        values
        | of_bands
        | {"parent_label": _parent_labels(sources, parents), "flags": flag_sources(sources, marks, others)}
    )


def classify_rows(rows: Rows, settings: RowSettings) -> Rows:
    """Rows of all sources with their spreads beside the stars', and their classes, calibrated if that is known.

    Notes
    -----
    Nothing is sharper than a star. Where five sources or more are, by more than three errors, and not too few of those
    that are taken for stars, the image has so few bright stars that its PSF was measured on compact galaxies: the
    median of these sources is the spread of the stars.
    """
    options, calibration = settings.options, settings.calibration
    share = np.stack([rows[f"p_{name}"] for name in SOURCE_CLASSES], axis=1)
    found = dict(rows)
    if settings.stars and "class_snr" in rows:
        pull = rows["spread"] / rows["spread_err"]
        bright = rows["class_snr"] > _TELLING
        sharper = bright & (pull < -_SHARPER)
        is_star = share.argmax(axis=1) == SOURCE_CLASSES.index("point_source")
        taken = np.count_nonzero(bright & is_star & (np.abs(pull) <= _SHARPER))
        if np.count_nonzero(sharper) >= max(_FEWEST, taken / 2):
            found["spread"] = rows["spread"] - np.median(rows["spread"][sharper])
    if calibration is not None:
        nothing = np.full(len(rows["label"]), np.nan)
        evidence = np.stack([found.get(name, nothing) for name in EVIDENCE], axis=1)
        share = calibration.apply(share, evidence, prior=options.class_prior)
    found |= verdicts(share, options.min_class_confidence)
    if "holds_others" in rows:
        hiding = rows["holds_others"] & np.isin(found["morphology"], ("spheroid", UNCERTAIN))
        found["flags"] = np.where(hiding, rows["flags"] | int(SourceFlag.OUTSIDE_DOMAIN), rows["flags"])
        if hiding.any():
            log.warning(
                "places that look like stars, and are no rows, lie in %s (no disks), the first at x = %.0f, y = %.0f "
                "px: the halo or ghost of a star, or a glow; flagged as outside_domain",
                counted(int(hiding.sum()), "large source"),
                *(rows[f"{axis}_centroid"][hiding][0] for axis in "xy"),
            )
    return found


def _saturation(values: Rows, image: SkyImage, settings: RowSettings) -> list[float | np.ndarray | None]:
    """Light of each band from which a pixel is saturated: for each source, where a background was subtracted."""
    levels: list[Any] = settings.options.saturation_levels(image)
    if settings.background is None:
        return levels
    background = settings.background.background_at(values["x_centroid"], values["y_centroid"])
    return [level if level is None else level - background[:, index] for index, level in enumerate(levels)]


def _evidence(
    values: Rows, fluxes: Rows, image: SkyImage, classification: Classification, settings: RowSettings
) -> Rows:
    """S/N of each source, its size in pixels as the network sees them, and its shape where photometry tells it.

    The S/N is that of all bands together; light that is not positive, or whose noise is not known, counts as 0.
    """
    area, power = values["area"], np.zeros(len(values["area"]))
    for band, sigma in zip(image.bands, sky_noise(image, values, settings).T, strict=True):
        covered = np.maximum(area * fluxes[f"segment_covered_{band}"], 1)
        noise = sigma * np.sqrt(covered) * settings.noise[band].factor(covered)
        with np.errstate(invalid="ignore", divide="ignore"):
            snr = fluxes[f"segment_flux_{band}"] / noise
        power += np.where(np.isfinite(snr), np.maximum(snr, 0), 0) ** 2
    size = np.sqrt(area) / float(classification.provenance.get("binning", 1))
    found = {"class_snr": np.sqrt(power), "class_size": size}
    if settings.options.photometry:
        away = (values[f"{axis}_centroid_win"] - values[f"{axis}_centroid"] for axis in "xy")
        with np.errstate(invalid="ignore", divide="ignore"):
            found["class_lopsidedness"] = np.hypot(*away) / values["half_light_radius"]
        found["class_extent"] = growth_extent(values["growth_radii"], values["growth"])
    return found


def _flags_of_band(values: Rows, band: str, image: SkyImage, options: MeasureOptions) -> np.ndarray:
    """Bits of `BandFlag` that follow from what of the segment and of the apertures of each source has data."""
    kinds = [f"segment_covered_{band}"]
    if options.photometry:
        names = options.aperture_names(image.pixel_scale)
        kinds += [f"kron_covered_{band}", *(f"aper_covered_{name}_{band}" for name in names)]
    covered = np.array([values[kind] for kind in kinds])
    nothing, partly = (covered == 0).any(axis=0), ((covered > 0) & (covered < 1)).any(axis=0)
    return (int(BandFlag.NO_DATA) * nothing + int(BandFlag.PARTLY_COVERED) * partly).astype(np.int32)


def _parent_labels(sources: LabelledPixels, parents: np.ndarray) -> np.ndarray:
    """Label before deblending of each source: the largest on its pixels (holes filled since then are sky there)."""
    if not len(sources):
        return sources.labels
    found = np.maximum.reduceat(sources.take(parents), sources.starts)
    return np.where(found > 0, found, sources.labels)
