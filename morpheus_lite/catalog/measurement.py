"""Measurement: a label map, an image and class maps become a catalogue."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.catalog.blended_totals import total_of_blends
from morpheus_lite.catalog.deblended_flux import share_light
from morpheus_lite.catalog.flags import mark_pixels
from morpheus_lite.catalog.rows import RowSettings, classify_rows, measure_rows, measure_sources
from morpheus_lite.catalog.table import finish_table
from morpheus_lite.config.classify import LARGEST_MARGIN, MeasureOptions
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage, pixel_scale_of
from morpheus_lite.core.labels import LabelledPixels, LabelMap, LabelStore, check_labels
from morpheus_lite.core.protocols import ImageReader, MapStore
from morpheus_lite.core.source_calibration import calibration_of
from morpheus_lite.core.windows import (
    SourceGroup,
    Window,
    block_side,
    grown,
    inside,
    pieces,
    sample_windows,
    source_groups,
    tiles,
)
from morpheus_lite.errors import InputError
from morpheus_lite.io.maps import MemoryMaps
from morpheus_lite.noise.background_mesh import BackgroundMesh, normalize
from morpheus_lite.noise.correlated import CorrelatedNoise, noise_of_pieces
from morpheus_lite.noise.detection_image import detection_image
from morpheus_lite.noise.overview import SubtractedImage, measure_image, measure_sections
from morpheus_lite.noise.psf import StarProfile, psf_windows, star_profiles
from morpheus_lite.runtime.resources import Workers, parallel_map

_LONGEST = 1024
"""Sources longer than this are gathered pixel by pixel where no stamp of them is needed."""

Rows = dict[str, np.ndarray]


def measure(
    labels: Any,
    image: SkyImage,
    classification: Classification,
    *,
    band: str | None = None,
    parents: Any = None,
    maps: str | None = None,
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
        Label map before deblending, shape ``(y, x)``. None takes the one that `deblend` made ``labels`` of; labels of
        other origin were not deblended then.
    maps : {"vote", "probability"}, optional
        Which class maps are summed to morphologies: rank votes, as published, or mean probabilities. None takes the
        votes where there are any.
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
        ``ra, dec`` with ``..._err`` (with a WCS), ``area, semimajor_axis, semiminor_axis, orientation, ellipticity``,
        ``snr, x_centroid_err, y_centroid_err``, ``x_centroid_win, y_centroid_win`` with ``..._err``, ``kron_radius``,
        and ``total_correction, half_light_radius, r_petrosian, concentration, asymmetry, gini, m20`` with ``..._err``;
        with a WCS ``sky_orientation``, and ``<size>_arcsec`` of axes and radii; for each band ``segment_flux_<band>,
        kron_flux_<band>, total_flux_<band>, aper_flux_<radius>_<band>`` with ``..._fluxerr_...`` and
        ``..._covered_...``, ``flags_<band>`` (`~morpheus_lite.core.flags.BandFlag`), and ``kron_mag_<band>,
        kron_magerr_<band>, kron_fnu_<band>, kron_fnuerr_<band>``, the same of ``total``, and magnitudes of the
        apertures, where the zero-point is known; ``shared_flux_<band>`` and its error if asked for; ``p_<class>`` of
        the four source classes, ``p_source, entropy,
        spheroid_pixel_fraction, disk_pixel_fraction, morphology, class_confidence, flags, parent_label, n_children``.
        ``meta`` holds the provenance of the class maps and the choices made here.

    Raises
    ------
    InputError
        Shapes that disagree, labels that are not whole numbers, a band that the image does not
        have, or a zero-point that is no number.
    OptionError
        Unknown ``maps``, votes asked of class maps without them, apertures in arcsec without a WCS, or a
        ``class_prior`` for probabilities that are not calibrated.

    Notes
    -----
    Centroids and ellipses are photutils' (flux-weighted, negative pixels left out). Invalid pixels never count.
    ``p_<class>`` are the shares of `~morpheus_lite.catalog.segments`; those of mean probabilities are calibrated
    where the model knows how (`~morpheus_lite.core.source_calibration.SourceCalibration`, in the provenance of the
    class maps), and ``meta["class_prior"]`` states the shares of the classes that they suppose. A source without
    positive light in a band has the flag NEGATIVE_FLUX.

    Kron ellipses (about the centroid) and circles (about the windowed one) are the same pixels in every band, so that
    colours are consistent. Pixels of neighbours are replaced by those opposite the centre. What is not measured is
    NaN: a band without a valid pixel in a segment or aperture has no flux, error or magnitude there. Where some pixels
    are not valid, the flux is that of the others, ``<kind>_covered_<band>`` is their share, and ``flags_<band>`` says
    so; ``total_flux`` adds what is missing, as the detection image has it. Errors are those of the RMS planes, or of
    the noise of the sky at the source, times the factor of `CorrelatedNoise` for the area. The noise of the
    source's own photons is added where the gain is known and the RMS planes do not hold it; ``meta["photon_noise"]``
    says so.
    ``total_flux`` is the Kron flux over the share of the light in the Kron ellipse, from a fit of Sersic profiles to
    the detection image behind the PSF of each band (`~morpheus_lite.catalog.total_flux`); of sources in the light of
    others, measured less models of these (`~morpheus_lite.catalog.blended_totals`). Beyond the segment, and these
    models, a row depends on the pixels within
    `MeasureOptions.margin` of its bounding box.
    """
    options = options or MeasureOptions()
    if options.background is None:
        options = replace(options, background=classification.provenance.get("background"))
    if parents is None and isinstance(labels, LabelMap):
        parents = labels.parents
    labels = check_labels(labels, image.shape)
    if classification.shape != image.shape:
        raise InputError(f"class maps of shape {classification.shape} do not fit an image of shape {image.shape}")
    for name, zero_point in zip(image.bands, image.zero_points, strict=True):
        if zero_point is not None and not np.isfinite(zero_point):
            raise InputError(f"zero-point {zero_point} of {name}: expected a finite AB magnitude, or None if unknown")
    options.check_image(image.name, image.bands, image.pixel_scale)
    found = LabelStore.of(labels)
    return measure_labels(
        found,
        found if parents is None else LabelStore.of(check_labels(parents, labels.shape)),
        image,
        MemoryMaps.of(classification),
        kind=maps or ("probability" if classification.vote is None else "vote"),
        options=options,
        band=band,
        noise=noise,
        tile=block_side(workers),
        workers=workers,
    )


def measure_labels(
    labels: LabelStore,
    parents: LabelStore,
    image: ImageReader,
    maps: MapStore,
    *,
    kind: str,
    options: MeasureOptions,
    band: str | None = None,
    noise: dict[str, CorrelatedNoise] | None = None,
    mesh: BackgroundMesh | None = None,
    tile: int,
    workers: Workers = 1,
    progress: Callable[[int, int], None] | None = None,
) -> QTable:
    """Measure the sources of a label map, some at a time: what `measure` does, for images of any size.

    Parameters
    ----------
    labels, parents : LabelStore
        The label map, and the one before deblending.
    image, maps : ImageReader, MapStore
        The image and its class maps.
    kind : {"vote", "probability"}
        Which class maps are summed to morphologies.
    options, band, noise
        As in `measure`.
    mesh : BackgroundMesh, optional
        Noise of the whole image and the background that ``options`` ask for, before sources are known; measured here
        if it is needed and not given.
    tile : int
        Side of a block in pixels; the result does not depend on it.
    workers : int or Executor
        Processes that share the sources.
    progress : callable, optional
        Called with (sources measured, sources in all).
    """
    measured = measure_all_rows(
        labels,
        parents,
        image,
        maps,
        kind=kind,
        options=options,
        band=band,
        noise=noise,
        mesh=mesh,
        tile=tile,
        workers=workers,
        progress=progress,
    )
    rows, head, settings = measured.values, measured.head, measured.settings
    if options.deblended_flux:
        rows |= share_light(rows, labels, measured.image, settings, tile=tile)
    if options.photometry:
        margins = _margins(labels, image, options)
        rows |= total_of_blends(rows, labels, measured.image, head, settings, margins, tile=tile, workers=workers)
    return finish_table(rows, head, settings, provenance=dict(maps.provenance))


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """Rows of all sources of an image, and what they were measured with.

    Parameters
    ----------
    values : dict
        As `~morpheus_lite.catalog.rows.measure_rows` gives them.
    image : ImageReader
        The image, less its background.
    head : SkyImage
        A single pixel that carries the metadata of the whole image.
    settings : RowSettings
        What holds for all rows.
    """

    values: Rows
    image: ImageReader
    head: SkyImage
    settings: RowSettings


def measure_all_rows(
    labels: LabelStore,
    parents: LabelStore,
    image: ImageReader,
    maps: MapStore,
    *,
    kind: str,
    options: MeasureOptions,
    band: str | None = None,
    noise: dict[str, CorrelatedNoise] | None = None,
    mesh: BackgroundMesh | None = None,
    tile: int,
    workers: Workers = 1,
    progress: Callable[[int, int], None] | None = None,
) -> MeasuredRows:
    """Measure what every source's own surroundings tell: `measure_labels` without what needs all rows together."""
    calibration = calibration_of(maps.provenance, kind, options.class_prior)
    background = options.background_of(by_votes=kind == "vote")
    stars: tuple[StarProfile, ...] = ()
    if background is None:
        mesh = None
    else:
        if mesh is None:
            head = _head(image)
            given = options.given_psfs(head.bands, head.pixel_scale)
            mesh = measure_image(image, background=background, given=given)
        if options.photometry:
            stars = _stars_of(image, mesh, maps, options)
        if background == "mesh":
            mesh = mesh.less_sources(measure_sections(image, labels=labels, steps=mesh.steps))
        image = SubtractedImage(image, mesh)
    sample = [(image.read(window), labels.read(window)) for window in sample_windows(image.shape)]
    band = band or (sample[0][0].detection_band if kind == "vote" else None)
    if noise is None:
        needed = options.photometry or band is None or calibration is not None
        noise = noise_of_pieces(sample) if needed else {}
    if calibration is not None and (missing := set(sample[0][0].bands) - set(noise)):
        names = ", ".join(sorted(missing))
        raise InputError(f"noise of {names} is missing: classes are calibrated by the S/N in all bands")
    detection = detection_image(sample, noise, band)
    settings = RowSettings(detection, kind, options, noise, background=mesh, calibration=calibration, stars=stars)
    rows = measure_groups(labels, parents, image, maps, settings, tile=tile, workers=workers, progress=progress)
    return MeasuredRows(classify_rows(rows, settings), image, _head(image), settings)


def _stars_of(
    image: ImageReader, mesh: BackgroundMesh, maps: MapStore, options: MeasureOptions
) -> tuple[StarProfile, ...]:
    """Looks of stars in each band: as it is given, or as they are in the image."""
    head = _head(image)

    def look(window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        probability = maps.read(window, ("mean",)).probability[..., : len(SOURCE_CLASSES)]
        is_point = probability[..., SOURCE_CLASSES.index("point_source")] > probability.sum(axis=2) / 2
        return *normalize(image.read(window), mesh, window=window), is_point

    given = options.given_psfs(head.bands, head.pixel_scale)
    if all(given):
        return tuple(StarProfile(psf) for psf in given if psf)
    found = star_profiles(map(look, psf_windows(image.shape)), head.n_bands)
    return tuple(StarProfile(psf) if psf else star for psf, star in zip(given, found, strict=True))


def measure_groups(
    labels: LabelStore,
    parents: LabelStore,
    image: ImageReader,
    maps: MapStore,
    settings: RowSettings,
    *,
    tile: int,
    workers: Workers = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Rows:
    """Rows of all sources, some of a tile's at a time.

    Parameters
    ----------
    labels, parents : LabelStore
        The label map, and the one before deblending.
    image, maps : ImageReader, MapStore
        The image and its class maps.
    settings : RowSettings
        What holds for all rows.
    tile : int
        Side of a tile in pixels; the result does not depend on it.
    workers : int
        Processes that share the groups.
    progress : callable, optional
        Called with (sources done, sources in all).

    Returns
    -------
    dict
        As `~morpheus_lite.catalog.rows.measure_rows` gives it.
    """
    settings = replace(settings, usual_coverage=_usual_coverage(maps, tile))
    sides = (labels.boxes[:, 2:] - labels.boxes[:, :2]).max(axis=1, initial=0)
    limit = settings.options.largest_side if settings.options.photometry else _LONGEST
    fits = np.flatnonzero(sides <= limit)
    margins = _margins(labels, image, settings.options)
    groups = [
        SourceGroup(group.window, fits[group.members])
        for group in source_groups(labels.boxes[fits], margins[fits], labels.shape, tile)
    ]
    if settings.options.photometry:
        # Loaded before processes fork: each of them would spend half a second on it.
        import_module("scipy.optimize")
    # Files that are open have one position, which forked processes would share: each opens them again.
    image.close()
    look = partial(_measure_group, labels=labels, parents=parents, image=image, maps=maps, settings=settings)
    found, done = [], 0
    for group, rows in zip(groups, parallel_map(look, groups, workers=workers), strict=True):
        found.append(rows)
        done += len(group.members)
        if progress:
            progress(done, len(labels.names))
    long = np.flatnonzero(sides > limit)
    found.extend(_measure_long(row, labels, parents, image, maps, settings, tile) for row in long.tolist())
    rows = {name: np.concatenate([part[name] for part in found]) for name in found[0]} if found else {}
    if not rows:
        corner = Window(0, 0, 1, 1)
        return look(SourceGroup(corner, fits))
    order = np.argsort(rows["label"], kind="stable")
    return {name: values[order] for name, values in rows.items()}


def _margins(labels: LabelStore, image: ImageReader, options: MeasureOptions) -> np.ndarray:
    """Pixels around each box that its row depends on: those beside it matter for the flags."""
    if not options.photometry:
        return np.ones(len(labels.names), dtype=np.int64)
    scale = pixel_scale_of(image.wcs)
    sides = (labels.boxes[:, 2:] - labels.boxes[:, :2]).tolist()
    return np.array([options.margin(height, width, scale) for height, width in sides], dtype=np.int64)


def _head(image: ImageReader) -> SkyImage:
    """A single pixel that carries the metadata of the whole image."""
    return replace(image.read(Window(0, 0, 1, 1)), wcs=image.wcs)


def _measure_group(
    group: SourceGroup,
    labels: LabelStore,
    parents: LabelStore,
    image: ImageReader,
    maps: MapStore,
    settings: RowSettings,
) -> Rows:
    # A box begins on its source: without the pixel around it, it would lie at the edge of the piece.
    window = grown(group.window, 1, labels.shape)
    return measure_rows(
        labels.read(window),
        replace(image.read(window), wcs=image.wcs),
        maps.read(window, _kinds(maps, settings)),
        settings,
        parents=parents.read(window),
        wanted=labels.names[group.members],
        origin=(window.y, window.x),
    )


def _measure_long(
    row: int,
    labels: LabelStore,
    parents: LabelStore,
    image: ImageReader,
    maps: MapStore,
    settings: RowSettings,
    tile: int,
) -> Rows:
    """The row of a source that is too long for a stamp, from its pixels one behind the other."""
    top, left, bottom, right = labels.boxes[row].tolist()
    name = labels.names[row]
    parts = []
    for part in pieces(Window(top, left, bottom - top, right - left), tile):
        around = grown(part, 1, labels.shape)
        near = labels.read(around)
        here = inside(part, around)
        y, x = np.nonzero(near[here] == name)
        if not len(y):
            continue
        seen, classes = replace(image.read(around), wcs=image.wcs), maps.read(around, _kinds(maps, settings))
        marks = mark_pixels(near, seen.valid, classes, usual_coverage=settings.usual_coverage)
        at = y + here[0].start, x + here[1].start
        place = np.stack([y + part.y, x + part.x])
        parts.append((place, _take(seen, at), _take_maps(classes, at), marks[at], parents.read(around)[at]))
    place = np.concatenate([part[0] for part in parts], axis=1)
    if np.ptp(place, axis=1).max() < settings.options.largest_side and settings.options.photometry:
        # What is known of a box before may be too much, where another source took pixels away.
        window = Window(top, left, bottom - top, right - left)
        group = SourceGroup(grown(window, LARGEST_MARGIN, labels.shape), np.array([row]))
        return _measure_group(group, labels, parents, image, maps, settings)
    order = np.lexsort((place[1], place[0]))
    seen, classes = _joined(parts, order)
    marks, before = (np.concatenate([part[k] for part in parts])[order][None] for k in (3, 4))
    strip = np.full((1, len(order)), name, dtype=np.int32)
    gathered = LabelledPixels.gather(strip)
    sources = replace(gathered, row=place[0][order], column=place[1][order])
    return measure_sources(sources, strip, seen, classes, marks, settings, parents=before)


def _kinds(maps: MapStore, settings: RowSettings) -> tuple[str, ...]:
    wanted = ("mean", "coverage", "flags", *(("vote",) if settings.maps == "vote" else ()))
    return tuple(kind for kind in maps.kinds if kind in wanted)


def _take(image: SkyImage, at: tuple[np.ndarray, np.ndarray]) -> SkyImage:
    """Some pixels of an image as one row."""
    rms = None if image.rms is None else image.rms[at][None]
    return replace(image, data=image.data[at][None], valid=image.valid[at][None], rms=rms)


def _take_maps(maps: Classification, at: tuple[np.ndarray, np.ndarray]) -> Classification:
    """Some pixels of class maps as one row."""
    planes = {name: plane[at][None] for name, plane in _planes(maps).items() if plane is not None}
    return replace(maps, **planes)


def _planes(maps: Classification) -> dict[str, np.ndarray | None]:
    return {name: getattr(maps, name) for name in ("probability", "coverage", "valid", "variance", "vote", "flags")}


def _joined(parts: list[tuple], order: np.ndarray) -> tuple[SkyImage, Classification]:
    """Rows of pixels one behind the other, in raster order."""
    images, maps = [part[1] for part in parts], [part[2] for part in parts]

    def join(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays, axis=1)[:, order]

    pixels = {name: join([getattr(image, name) for image in images]) for name in ("data", "valid")}
    if images[0].rms is not None:
        pixels["rms"] = join([image.rms for image in images])
    planes = {
        name: join([getattr(one, name) for one in maps])
        for name, plane in _planes(maps[0]).items()
        if plane is not None
    }
    return replace(images[0], **pixels), replace(maps[0], **planes)


def _usual_coverage(maps: MapStore, tile: int) -> int | None:
    """Largest coverage, where no flags tell which pixels were seen by few windows."""
    if "flags" in maps.kinds or "coverage" not in maps.kinds:
        return None if "flags" in maps.kinds else 1
    return max(int(maps.read_plane("N", window).max()) for window in tiles(maps.shape, tile))
