"""Measurement: a label map, an image and class maps become a catalogue."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.catalog.cutouts import Neighbors, find_neighbors
from morpheus_lite.catalog.deblended_flux import share_light
from morpheus_lite.catalog.rows import classify_rows, head_of, measure_rows, measure_sources
from morpheus_lite.catalog.segments import LabelledPiece, Rows, mark_pixels
from morpheus_lite.catalog.surroundings import RowSettings, calibrated, measure_surroundings
from morpheus_lite.catalog.table import finish_table
from morpheus_lite.catalog.total_flux import make_profiles
from morpheus_lite.config.classify import LARGEST_MARGIN, MeasureOptions
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.core.image import SkyImage, pixel_scale_of
from morpheus_lite.core.labels import LabelledPixels, LabelMap, LabelStore, check_labels
from morpheus_lite.core.protocols import ImageReader, MapStore
from morpheus_lite.core.psf import MoffatPsf
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
from morpheus_lite.errors import InputError, OptionError, expect
from morpheus_lite.io.maps import MemoryMaps
from morpheus_lite.noise.background_mesh import BackgroundMesh, normalize
from morpheus_lite.noise.correlated import CorrelatedNoise, noise_of_pieces
from morpheus_lite.noise.detection_image import detection_image
from morpheus_lite.noise.overview import SubtractedImage, measure_image, measure_sections
from morpheus_lite.noise.psf import psf_windows, star_profiles
from morpheus_lite.runtime.resources import Workers, parallel_map, thread_map

_LONGEST = 1024
"""Sources longer than this are gathered pixel by pixel where no stamp of them is needed."""
_SHAPE = "label", "x_centroid", "y_centroid", "semimajor_axis", "semiminor_axis", "orientation", "area", "is_point"
# Errors of blended and crowded sources beyond those of isolated ones, of the flux: a constant, one over S/N, and one
# times the share of the Kron ellipse that lies on others. They make pulls 0.8 to 1.5 wide in fields of both simulators.
_DOUBT = 0.01, 2.0, 0.8


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
        have, or a zero-point that is not a number.
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
    others, measured less models of these (`~morpheus_lite.catalog.cutouts.Neighbors`). Beyond the segment, and these
    models, a row depends on the pixels within
    `MeasureOptions.margin` of its bounding box.
    """
    expect(image, SkyImage, "measure")
    expect(classification, Classification, "measure")
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
    measurement = prepare_measurement(
        found,
        found if parents is None else LabelStore.of(check_labels(parents, labels.shape)),
        image,
        MemoryMaps.of(classification),
        kind=maps or ("probability" if classification.vote is None else "vote"),
        options=options,
        band=band,
        noise=noise,
        tile=block_side(workers),
    )
    return measurement.table(workers=workers)


def prepare_measurement(
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
) -> "Measurement":
    """Measure what holds for all sources of an image of any size: noise, background, stars.

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
    """
    if kind not in ("vote", "probability"):
        raise OptionError(f"maps={kind!r}: expected 'vote' or 'probability'")
    if kind == "vote" and kind not in maps.kinds:
        raise OptionError("these class maps have no rank votes; take the mean probabilities with maps='probability'")
    calibration = calibration_of(maps.provenance, kind, options.class_prior)
    background = options.background_of(by_votes=kind == "vote")
    stars: tuple[MoffatPsf, ...] = ()
    if background is None:
        mesh = None
    else:
        if mesh is None:
            head = head_of(image)
            given = options.given_psfs(head.bands, head.pixel_scale)
            mesh = measure_image(image, background=background, given=given)
        if options.photometry:
            stars = _stars_of(image, mesh, maps, options)
        if background == "mesh":
            mesh = mesh.less_sources(measure_sections(image, labels=labels, steps=mesh.steps))
        image = SubtractedImage(image, mesh)
    sample = thread_map(lambda window: (image.read(window), labels.read(window)), sample_windows(image.shape))
    band = band or (sample[0][0].detection_band if kind == "vote" else None)
    if noise is None:
        needed = options.photometry or band is None or calibration is not None
        noise = noise_of_pieces(sample) if needed else {}
    if calibration is not None and (missing := set(sample[0][0].bands) - set(noise)):
        names = ", ".join(sorted(missing))
        raise InputError(f"noise of {names} is missing: classes are calibrated by the S/N in all bands")
    detection, coverage = detection_image(sample, noise, band), _usual_coverage(maps, tile)
    settings = RowSettings(detection, kind, options, noise, coverage, mesh, calibration, stars)
    return Measurement(labels, parents, image, maps, settings, tile)


def _stars_of(
    image: ImageReader, mesh: BackgroundMesh, maps: MapStore, options: MeasureOptions
) -> tuple[MoffatPsf, ...]:
    """PSF of the stars in each band: as it is given, or as they are in the image."""
    head = head_of(image)
    given = options.given_psfs(head.bands, head.pixel_scale)
    if all(given):
        return tuple(psf for psf in given if psf)

    def look(window: Window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        probability = maps.read(window, ("mean",)).probability[..., : len(SOURCE_CLASSES)]
        is_point = probability[..., SOURCE_CLASSES.index("point_source")] > probability.sum(axis=2) / 2
        return *normalize(image.read(window), mesh, window=window), is_point

    if mesh.psf and all(psf.is_known for psf in mesh.psf) and mesh.large is None:
        found = mesh.psf
    else:
        found = star_profiles(thread_map(look, psf_windows(image.shape)), head.n_bands)
    return tuple(psf or star for psf, star in zip(given, found, strict=True))


@dataclass(frozen=True, eq=False)
class Measurement:
    """Sources of an image, and what they are measured with.

    Parameters
    ----------
    labels, parents : LabelStore
        The label map, and the one before deblending.
    image : ImageReader
        The image, less its background.
    maps : MapStore
        Its class maps.
    settings : RowSettings
        What holds for all rows.
    tile : int
        Side of a block in pixels.
    """

    labels: LabelStore
    parents: LabelStore
    image: ImageReader
    maps: MapStore
    settings: RowSettings
    tile: int

    def table(self, *, workers: Workers = 1, progress: Callable[[int, int], None] | None = None) -> QTable:
        """The catalogue.

        Parameters
        ----------
        workers : int or Executor
            Processes that share the sources; the result does not depend on it.
        progress : callable, optional
            Called with (sources measured, sources in all).
        """
        rows, options = self.rows(workers=workers, progress=progress), self.settings.options
        if options.deblended_flux:
            rows |= share_light(rows, self.labels, self.image, self.settings)
        if options.photometry:
            rows |= self._totals_of_blends(rows, workers)
        return finish_table(rows, head_of(self.image), self.settings, provenance=dict(self.maps.provenance))

    def rows(self, *, workers: Workers = 1, progress: Callable[[int, int], None] | None = None) -> Rows:
        """Rows of all sources, as `~morpheus_lite.catalog.rows.measure_rows` gives them."""
        labels, options = self.labels, self.settings.options
        sides = (labels.boxes[:, 2:] - labels.boxes[:, :2]).max(axis=1, initial=0)
        limit = options.largest_side if options.photometry else _LONGEST
        fits = np.flatnonzero(sides <= limit)
        groups = [
            SourceGroup(group.window, fits[group.members])
            for group in source_groups(labels.boxes[fits], self._margins()[fits], labels.shape, self.tile)
        ]
        if options.photometry:
            # Made before processes fork: each of them would spend half a second on it.
            make_profiles(head_of(self.image), options, self.settings.background)
        # Files that are open have one position, which forked processes would share: each opens them again.
        self.image.close()
        found, done = [], 0
        for group, rows in zip(groups, parallel_map(self._group, groups, workers=workers), strict=True):
            found.append(rows)
            done += len(group.members)
            if progress:
                progress(done, len(labels.names))
        found.extend(map(self._long, np.flatnonzero(sides > limit).tolist()))
        # Without sources, columns without rows.
        found = found or [self._group(SourceGroup(Window(0, 0, 1, 1), fits))]
        together = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
        order = np.argsort(together["label"], kind="stable")
        return classify_rows({name: values[order] for name, values in together.items()}, self.settings)

    def _totals_of_blends(self, rows: Rows, workers: Workers) -> Rows:
        """Total fluxes and their errors, magnitudes: those of sources in the light of others put right.

        The Kron ellipse of a faint source beside a bright one is filled with the light of the bright one. So every
        source that others give 1 % of its light or more is measured again, less their models: ellipses with the
        profiles that were fitted to them. Its error holds a share of what was subtracted, and grows with the share of
        its ellipse that others hide.
        """
        head, labels = head_of(self.image), self.labels
        neighbors = find_neighbors(rows, head.bands, [self.settings.noise[band].sigma for band in head.bands])
        chosen = np.flatnonzero(np.isin(rows["label"], list(neighbors.of)))
        at = np.searchsorted(labels.names, rows["label"][chosen])
        groups = list(source_groups(labels.boxes[at], self._margins()[at], labels.shape, self.tile))
        self.image.close()
        shapes = {name: rows[name] for name in _SHAPE}
        look = partial(self._again, shapes=shapes, chosen=chosen, neighbors=neighbors)
        names = [f"total_{kind}_{band}" for band in head.bands for kind in ("flux", "fluxerr")]
        found = {name: rows[name].copy() for name in (*names, "kron_hidden")}
        for group, again in zip(groups, parallel_map(look, groups, workers=workers), strict=True):
            members = np.sort(chosen[group.members])
            found["kron_hidden"][members] = again["kron_hidden"]
            for flux, error in zip(names[::2], names[1::2], strict=True):
                right = np.isfinite(again[flux])
                found[flux][members] = np.where(right, again[flux], found[flux][members])
                # Where nothing is left, the light may be all that of the neighbours.
                found[error][members] = np.where(right, again[error], np.abs(found[flux][members]))
        # What is not known of blended and crowded sources.
        snr = rows["snr"]
        _, family, n_pieces = np.unique(rows["parent_label"], return_inverse=True, return_counts=True)
        mixed = (n_pieces[family] > 1) | ((rows["flags"] & int(SourceFlag.BLENDED | SourceFlag.CROWDED)) > 0)
        least = np.hypot(_DOUBT[0], _DOUBT[1] / np.where(snr > 0, snr, np.inf))
        doubt = mixed * np.hypot(least, _DOUBT[2] * found["kron_hidden"])
        for flux, error, zero_point in zip(names[::2], names[1::2], head.zero_points, strict=True):
            found[error] = np.hypot(found[error], doubt * np.abs(found[flux]))
            if zero_point is not None:
                found |= calibrated(found[flux], found[error], float(zero_point), flux.replace("_flux_", "_{}_", 1))
        return found

    def _again(self, group: SourceGroup, shapes: Rows, chosen: np.ndarray, neighbors: Neighbors) -> Rows:
        """Total fluxes of some sources, ordered by label, without the light of their neighbours."""
        window = grown(group.window, 1, self.labels.shape)
        near, image = self.labels.read(window), replace(self.image.read(window), wcs=self.image.wcs)
        own = {name: values[np.sort(chosen[group.members])] for name, values in shapes.items()}
        sources = LabelledPixels.gather(np.where(np.isin(near, own["label"]), near, 0), origin=(window.y, window.x))
        alone = replace(self.settings, options=replace(self.settings.options, structure=False), stars=())
        return measure_surroundings(near, sources, image, own, alone, neighbors=neighbors)

    def _margins(self) -> np.ndarray:
        """Pixels around each box that its row depends on: those beside it matter for the flags."""
        if not self.settings.options.photometry:
            return np.ones(len(self.labels.names), dtype=np.int64)
        scale = pixel_scale_of(self.image.wcs)
        heights, widths = (self.labels.boxes[:, 2:] - self.labels.boxes[:, :2]).T
        return self.settings.options.margins(heights, widths, scale)

    def _read(self, window: Window) -> LabelledPiece:
        """The piece in a window."""
        wanted = ("mean", "coverage", "flags", *(("vote",) if self.settings.maps == "vote" else ()))
        maps = self.maps.read(window, tuple(kind for kind in self.maps.kinds if kind in wanted))
        image = replace(self.image.read(window), wcs=self.image.wcs)
        return LabelledPiece(self.labels.read(window), image, maps, self.parents.read(window))

    def _group(self, group: SourceGroup) -> Rows:
        # A box begins on its source: without the pixel around it, it would lie at the edge of the piece.
        window = grown(group.window, 1, self.labels.shape)
        wanted, origin = self.labels.names[group.members], (window.y, window.x)
        return measure_rows(self._read(window), self.settings, wanted=wanted, origin=origin)

    def _long(self, row: int) -> Rows:
        """The row of a source that is too long for a stamp, from its pixels one behind the other."""
        top, left, bottom, right = self.labels.boxes[row].tolist()
        box, name, parts = Window(top, left, bottom - top, right - left), self.labels.names[row], []
        for part in pieces(box, self.tile):
            around = grown(part, 1, self.labels.shape)
            here = inside(part, around)
            near = self._read(around)
            y, x = np.nonzero(near.labels[here] == name)
            if len(y):
                marks = mark_pixels(near, self.settings.usual_coverage)
                at = y + here[0].start, x + here[1].start
                place = np.stack([y + part.y, x + part.x])
                parts.append((place, _take(near.image, at), _take(near.maps, at), marks[at], near.parents[at]))
        places, images, classes, marks_there, before = zip(*parts, strict=True)
        place = np.concatenate(places, axis=1)
        options = self.settings.options
        if np.ptp(place, axis=1).max() < options.largest_side and options.photometry:
            # What is known of a box before may be too much, where another source took pixels away.
            return self._group(SourceGroup(grown(box, LARGEST_MARGIN, self.labels.shape), np.array([row])))
        order = np.lexsort((place[1], place[0]))
        marks, parents = (np.concatenate(one)[order][None] for one in (marks_there, before))
        strip = np.full((1, len(order)), name, dtype=np.int32)
        sources = replace(LabelledPixels.gather(strip), row=place[0][order], column=place[1][order])
        piece = LabelledPiece(strip, _joined(images, order), _joined(classes, order), parents)
        return measure_sources(sources, piece, marks, self.settings)


def _planes(whole: Any) -> dict[str, np.ndarray]:
    """Planes of an image or of class maps, by name."""
    names = "data", "valid", "rms", "probability", "coverage", "variance", "vote", "flags"
    return {name: plane for name in names if (plane := getattr(whole, name, None)) is not None}


def _take(whole: Any, at: tuple[np.ndarray, np.ndarray]) -> Any:
    """Some pixels of an image or of class maps as one row."""
    return replace(whole, **{name: plane[at][None] for name, plane in _planes(whole).items()})


def _joined(parts: Sequence[Any], order: np.ndarray) -> Any:
    """Rows of pixels one behind the other, in an order."""
    planes = zip(*(_planes(part).items() for part in parts), strict=True)
    joined = {pairs[0][0]: np.concatenate([plane for _, plane in pairs], axis=1)[:, order] for pairs in planes}
    return replace(parts[0], **joined)


def _usual_coverage(maps: MapStore, tile: int) -> int | None:
    """Largest coverage, where no flags tell which pixels were seen by few windows."""
    if "flags" in maps.kinds or "coverage" not in maps.kinds:
        return None if "flags" in maps.kinds else 1
    return max(int(maps.read_plane("N", window).max()) for window in tiles(maps.shape, tile))
