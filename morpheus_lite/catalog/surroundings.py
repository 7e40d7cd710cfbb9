"""Photometry and structure of sources with their surroundings, one stamp at a time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from morpheus_lite.catalog.curve_of_growth import curve_of_growth
from morpheus_lite.catalog.cutouts import Ellipse, Neighbors, Stamp, cut_stamp
from morpheus_lite.catalog.matched_apertures import matched_apertures
from morpheus_lite.catalog.photometry import BandNoise, Measured, band_noise, matched_sums
from morpheus_lite.catalog.segments import Rows, measure_shapes
from morpheus_lite.catalog.stamps import STRUCTURE, StampMeasurer
from morpheus_lite.catalog.total_flux import (
    FWHM_OF_STARS,
    N_RADII,
    STAR_REACH,
    ApertureCorrection,
    correct_moffat,
    correct_point_source,
    is_from_space,
    known_psfs,
    psfs_of_totals,
)
from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelledPixels
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.core.source_calibration import SourceCalibration
from morpheus_lite.core.windows import Window, grown, inside
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.noise.correlated import CorrelatedNoise
from morpheus_lite.noise.detection_image import DetectionImage
from morpheus_lite.noise.psf import excess_light, spread_reach

_FURTHEST = 1.5
"""Pixels between both centroids beyond which the windowed one is that of something else."""


def spread_windows(stamp: Stamp, light: Measured, stars: Sequence[MoffatPsf]) -> list[tuple[np.ndarray, ...]]:
    """Surroundings of the centre of a source in each band, as far as stars matter: nothing of bands without stars.

    Light less its sky, variance, and which pixels count, of shape ``(y, x)``; and where the centre is from the middle.
    """
    windows: list[tuple[np.ndarray, ...]] = []
    y, x = _centre(stamp, light)
    middle = Window(round(y), round(x), 1, 1)
    for index, star in enumerate(stars):
        half = spread_reach(star) if star.is_star else 0
        seen, noise, used = np.zeros((3, 2 * half + 1, 2 * half + 1))
        part = grown(middle, half, stamp.source_mask.shape)
        there, here = part.slices, inside(part, Window(middle.y - half, middle.x - half, *seen.shape))
        seen[here] = stamp.light[..., index][there] - light["background"][index]
        noise[here] = stamp.variance[..., index][there]
        used[here] = stamp.usable[..., index][there] & ~stamp.neighbor_mask[there]
        windows.append((seen, noise, used, np.array([y - middle.y, x - middle.x])))
    return windows


def measure_spread(
    windows: Sequence[Sequence[tuple[np.ndarray, ...]]], stars: Sequence[MoffatPsf], bands: Sequence[BandNoise]
) -> np.ndarray:
    """Spread of sources and its error, of all bands whose PSF is known together.

    Parameters
    ----------
    windows : sequence
        What `spread_windows` gives of each source.
    stars : sequence of MoffatPsf
        Of the stars of each band, or nothing.
    bands : sequence of BandNoise
        Noise of each band.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(source, 2)``: spread and error; NaN where no band has a known PSF and light on enough pixels.

    Notes
    -----
    Of each band as `~morpheus_lite.noise.psf.excess_light` has it, less that of the stars. The bands are averaged by
    the inverse of their variances.
    """
    total, weight = np.zeros((2, len(windows)))
    for index, (star, band) in enumerate(zip(stars, bands, strict=False)):
        if star.is_star:
            seen, noise, used, away = (np.stack(parts) for parts in zip(*(one[index] for one in windows), strict=True))
            if band.gain:
                noise += np.maximum(seen, 0) / band.gain
            factor = float(band.sky.factor(max(star.fwhm**2, 1.0)))
            excess, flux, variance = excess_light(seen, noise, used, away, star, factor)
            total += (excess - star.spread * flux) * flux / variance
            weight += flux**2 / variance
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0, [total / weight, weight**-0.5], np.nan).T


def _centre(stamp: Stamp, light: Measured) -> tuple[float, float]:
    """Row and column of a source in its stamp: the windowed centroid, unless that is far off."""
    ellipse = stamp.ellipse
    x, y = light["centroid_win"] - stamp.corner
    return (y, x) if math.hypot(y - ellipse.y, x - ellipse.x) < _FURTHEST else (ellipse.y, ellipse.x)


NANOJANSKY_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy (to 1e-4; Oke & Gunn 1983)."""

_AT_ONCE = 64
"""Sources whose spread is measured at a time."""
_LEAST_COVERED = 0.1
"""Smallest share of the light of a source that tells how bright the rest is."""
_FAINTEST_STAR = 30.0
"""Signal-to-noise ratio in a band from which the size of a point source is that of its PSF."""
_COLOUR_GRADIENT = 0.2
"""How far the brightness of what is not covered may be off."""
# Errors of total fluxes beyond ellipse and fit, of galaxies: a share of the flux, because they are no Sersic profiles;
# and a rise of the variance of the noise, times the share of the band in the noise of the detection image, which
# ellipse and correction follow. Both make the pulls of isolated sources in simulated fields 0.85 to 1.2 wide
# (`python tests/benchmarks/total_fluxes.py`).
_DOUBT, _FOLLOWED = 0.025, 0.7
_MAGNITUDE = 2.5 / np.log(10)


def _correct_point(
    stamp: Stamp, light: Measured, size: float, psfs: Sequence[MoffatPsf], from_space: bool
) -> list[ApertureCorrection]:
    """Correction of a point source in each band, by the growth of its PSF; that of its profile where none is known.

    From space, the light itself tells it, in bands bright enough.
    """
    unknown = [(math.nan, math.nan)] * len(psfs)
    fitted = [ApertureCorrection(*one) for one in light.get("corrections", unknown)]
    if not from_space:
        return [correct_moffat(size, psf) if psf.is_known else one for psf, one in zip(psfs, fitted, strict=True)]
    found = []
    for index, (psf, correction) in enumerate(zip(psfs, fitted, strict=True)):
        if math.isfinite(psf.fwhm):
            correction = correct_point_source(size, psf.fwhm / FWHM_OF_STARS, 0.0, math.inf)
        flux, error, sky = light["flux"][1, index], light["fluxerr"][1, index], light["background"][index]
        if flux > _FAINTEST_STAR * error:
            plane = np.ascontiguousarray(stamp.light[:, :, index]) - sky
            growth = curve_of_growth(plane, stamp.ellipse.y, stamp.ellipse.x, STAR_REACH * size)
            radius, within = growth.radius_of(flux / 2), growth.flux_within(size)
            if radius > 0 and within > 0:
                beyond = growth.flux_within(STAR_REACH * size) / within - 1
                # The ring has 1.25 times the area of the circle.
                noise = math.sqrt(STAR_REACH**2 - 1) * error / within
                correction = correct_point_source(size, radius, beyond, noise)
        found.append(correction)
    return found


@dataclass(frozen=True, eq=False)
class RowSettings:
    """Settings of all rows of one catalogue.

    Parameters
    ----------
    detection : DetectionImage
        How the bands become the one that places, shapes and weights come from.
    maps : {"vote", "probability"}
        Which class maps are summed to morphologies.
    options : MeasureOptions
        What to measure.
    noise : dict
        Noise of each band of the whole image; not needed without photometry.
    usual_coverage : int, optional
        Largest coverage of the whole image; None takes that of the class maps at hand.
    background : BackgroundMesh, optional
        Whose background was subtracted of the image; None where nothing was.
    calibration : SourceCalibration, optional
        Of the class probabilities; None leaves them as they are summed.
    stars : tuple of MoffatPsf
        Of the stars in each band, for the spread; empty where nothing says.
    """

    detection: DetectionImage
    maps: str
    options: MeasureOptions
    noise: dict[str, CorrelatedNoise]
    usual_coverage: int | None = None
    background: BackgroundMesh | None = None
    calibration: SourceCalibration | None = None
    stars: tuple[MoffatPsf, ...] = ()


def box_sides(sources: LabelledPixels) -> np.ndarray:
    """Longer side of each source's bounding box: int64, shape ``(source,)``."""
    boxes = sources.boxes
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)


def measure_surroundings(
    labels: np.ndarray,
    sources: LabelledPixels,
    image: SkyImage,
    shapes: Rows,
    settings: RowSettings,
    *,
    neighbors: Neighbors | None = None,
) -> Rows:
    """Photometry and structure of every source.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    sources : LabelledPixels
        The pixels of ``labels``.
    image : SkyImage
        The image, or a piece of it; with the WCS of the whole image.
    shapes : dict
        Centroid and ellipse of each source, as `~morpheus_lite.catalog.segments.measure_shapes` gives them, and
        ``is_point``, True for point sources, whose total fluxes are those of the PSF.
    settings : RowSettings
        What holds for all rows.
    neighbors : Neighbors, optional
        Models of the light of other sources, which are subtracted.

    Returns
    -------
    dict
        Column name to float64 values, shape ``(source,)``; NaN for sources that are too large.

    Notes
    -----
    The row of a source depends on the pixels of its bounding box and `MeasureOptions.margin` around it, and on
    ``settings``; on nothing else.
    """
    options, detection, mesh, stars = settings.options, settings.detection, settings.background, settings.stars
    scale, origin = image.pixel_scale, sources.origin
    radii = options.aperture_radii_in_pixels(scale)
    bands = band_noise(image, settings.noise, options.gain)
    psfs = psfs_of_totals(image, options, mesh)
    from_space = options.psf_fwhm is None and is_from_space(image.bands)
    matched = matched_apertures(radii, known_psfs(image, options, mesh)) if options.matched else None
    boxes = sources.boxes
    heights, widths = (boxes[:, 2:] - boxes[:, :2]).T
    margins = options.margins(heights, widths, scale).tolist()
    sigmas = sky_noise(image, shapes, settings)
    measure_stamp = StampMeasurer(detection.noise, bands, radii, options, psfs, from_space)

    def look(row: int) -> tuple[Measured, list[tuple[np.ndarray, ...]]]:
        top, left, bottom, right = boxes[row].tolist()
        box = Window(top - origin[0], left - origin[1], bottom - top, right - left)
        own = int(sources.labels[row]), grown(box, margins[row], labels.shape), _ellipse(shapes, row)
        stamp = cut_stamp(labels, image, sigmas[row], detection, *own, origin=origin, neighbors=neighbors)
        if neighbors is not None:
            stamp = replace(stamp, ellipse=_ellipse_without_neighbors(stamp))
        light = measure_stamp(stamp)
        if matched is not None:
            light["matched"] = matched_sums(stamp, matched, light["centroid_win"], light["background"][:-1], bands)
        light["centroid_win"] += stamp.corner
        size = options.kron_scale * light["kron_radius"] * math.sqrt(stamp.ellipse.a * stamp.ellipse.b)
        if shapes["is_point"][row]:
            light["corrections"] = _correct_point(stamp, light, size, psfs, from_space)
        return light | {"kron_scale_radius": size}, spread_windows(stamp, light, stars)

    fitting = np.flatnonzero(box_sides(sources) <= options.largest_side)
    found: list[Measured] = [{} for _ in boxes]
    spread = np.full((len(boxes), 2), np.nan)
    for rows in (fitting[first : first + _AT_ONCE] for first in range(0, len(fitting), _AT_ONCE)):
        around = []
        for row in rows.tolist():
            found[row], windows = look(row)
            around.append(windows)
        spread[rows] = measure_spread(around, stars, bands)
    # All bands that are added up are as noisy as each other.
    followed = detection.chosen / max(np.count_nonzero(detection.chosen), 1)
    values = _columns(found, image, options, ~shapes["is_point"], followed)
    return values | {"spread": spread[:, 0], "spread_err": spread[:, 1]}


def sky_noise(image: SkyImage, shapes: Rows, settings: RowSettings) -> np.ndarray:
    """Noise of a pixel of the sky at each source, in data units: float64, shape ``(source, band)``."""
    x, y, mesh = shapes["x_centroid"], shapes["y_centroid"], settings.background
    sigmas = np.tile([settings.noise[band].sigma for band in image.bands], (len(x), 1))
    if mesh is None:
        return sigmas
    # Of bands with an RMS plane, the mesh is in units of it.
    in_rms = (mesh.has_rms or (True,) * image.n_bands) if image.rms is not None else (False,) * image.n_bands
    near = mesh.sigma_at(x, y)
    return np.where((near > 0) & ~np.array(in_rms, dtype=bool), near, sigmas)


def _ellipse(shapes: Rows, row: int) -> Ellipse:
    """The ellipse of a row; a small circle where there was no positive light to measure one."""
    a, b, angle = (float(shapes[name][row]) for name in ("semimajor_axis", "semiminor_axis", "orientation"))
    if not (all(map(math.isfinite, (a, b, angle))) and b > 0):
        # Half of the radius of a circle with the area of the segment.
        a = b = max(math.sqrt(shapes["area"][row] / math.pi) / 2, 1.0)
        angle = 0.0
    return Ellipse(float(shapes["y_centroid"][row]), float(shapes["x_centroid"][row]), a, b, math.radians(angle))


def _ellipse_without_neighbors(stamp: Stamp) -> Ellipse:
    """The ellipse of a source, measured again in its segment when the light of its neighbours is out."""
    own = LabelledPixels.gather(stamp.source_mask.astype(np.int32))
    found = _ellipse(measure_shapes(own, stamp.detection, np.asarray(stamp.usable.any(axis=2))), 0)
    return replace(found, y=stamp.ellipse.y, x=stamp.ellipse.x)


_NUMBERS = (
    *("kron_radius", "kron_hidden", "kron_scale_radius", "half_light_radius", "half_light_radius_err", "snr"),
    *("total_correction", "total_correction_err", *STRUCTURE),
)
"""Columns of one number per source."""


def _columns(
    found: list[Measured], image: SkyImage, options: MeasureOptions, is_galaxy: np.ndarray, followed: np.ndarray
) -> Rows:
    """Values of all sources by column name; ``followed`` is the share of each band in the detection image's noise."""
    names, n_bands = options.aperture_names(image.pixel_scale), image.n_bands
    kinds = ("segment_{}", "kron_{}", *(f"aper_{{}}_{name}" for name in names))

    def each(name: str, *shape: int) -> np.ndarray:
        """Values of all sources, of this shape each; NaN where not measured."""
        nothing = np.full(shape, np.nan)
        return np.array([one.get(name, nothing) for one in found], dtype=np.float64).reshape(len(found), *shape)

    flux, error, covered = (each(name, len(kinds), n_bands) for name in ("flux", "fluxerr", "covered"))
    light = np.stack([flux, error])
    values = {name: each(name) for name in _NUMBERS}
    values |= {name: each(name, N_RADII) for name in ("growth_radii", "growth")}
    for name in ("centroid_err", "centroid_win", "centroid_win_err"):
        values[f"x_{name}"], values[f"y_{name}"] = each(name, 2).T
    corrections, wings = each("corrections", n_bands, 2), each("wings_error", n_bands)
    shares, background = (each(name, n_bands + 1) for name in ("light_covered", "background"))
    if options.matched:
        matched = each("matched", 2, len(names), n_bands)
    risen = error[:, 1] * np.sqrt(1 + _FOLLOWED * is_galaxy[:, None] * followed)
    totals = _totals(np.stack([flux[:, 1], risen]), corrections, shares, wings, (_DOUBT * is_galaxy)[:, None])
    for index, band in enumerate(image.bands):
        zero_point = image.zero_points[index]
        measured = {kind: light[:, :, k, index] for k, kind in enumerate(kinds)} | {"total_{}": totals[:, :, index]}
        values |= {f"{kind}_{band}".format("covered"): covered[:, part, index] for part, kind in enumerate(kinds)}
        if options.matched:
            measured |= {f"matched_{{}}_{name}": matched[:, :, part, index].T for part, name in enumerate(names)}
        for kind, (one_flux, one_error) in measured.items():
            name = f"{kind}_{band}"
            values |= {name.format("flux"): one_flux, name.format("fluxerr"): one_error}
            if zero_point is not None and kind != "segment_{}":
                values |= calibrated(one_flux, one_error, float(zero_point), name)
        local = np.where(np.isfinite(flux[:, 1, index]), background[:, index], np.nan)
        values[f"local_background_{band}"] = local
    return values


def _totals(
    kron: np.ndarray, corrections: np.ndarray, shares: np.ndarray, wings: np.ndarray, doubt_of_profile: np.ndarray
) -> np.ndarray:
    """Total fluxes and their errors ``(2, source, band)``, from those of the Kron ellipses and the corrections.

    Of a band that covers part of the light, the rest is as bright as the detection image says; NaN where that part is
    too small to tell. What no band has seen may be as wrong as it is bright.
    """
    (flux, error), (factor, doubt) = kron, np.moveaxis(corrections, 2, 0)
    # Point sources have the errors of their PSF; of all others the profile is known less well than the fit says.
    doubt = np.hypot(doubt, doubt_of_profile * factor)
    covered, seen = shares[:, :-1], shares[:, -1:]
    share = np.where(covered >= _LEAST_COVERED, covered, np.nan)
    factor, doubt = factor / share, doubt / share
    # Missing in this band: good to the colour gradient. Missing in all bands: as wrong as it is bright.
    guess = np.hypot(_COLOUR_GRADIENT * (1 - share), 1 - seen) * factor
    variance = (factor * error) ** 2 + (doubt * flux) ** 2 + (guess * flux) ** 2 + (factor * wings) ** 2
    return np.stack([factor * flux, np.sqrt(variance)])


def calibrated(flux: np.ndarray, error: np.ndarray, zero_point: float, name: str) -> Rows:
    """AB magnitude and nJy of fluxes, under ``name`` with ``mag`` and so on; no magnitude where not positive."""
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = np.where(flux > 0, zero_point - 2.5 * np.log10(np.where(flux > 0, flux, np.nan)), np.nan)
        magnitude_error = np.where(flux > 0, _MAGNITUDE * error / flux, np.nan)
    factor = 10 ** (-0.4 * (zero_point - NANOJANSKY_ZERO_POINT))
    return {
        name.format("mag"): magnitude,
        name.format("magerr"): magnitude_error,
        name.format("fnu"): flux * factor,
        name.format("fnuerr"): error * factor,
    }
