"""Isophotal measurements: positions, second moments and fluxes of the segments."""

import numpy as np

from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.catalog.kernels import windowed
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelledPixels
from morpheus_lite.noise.correlated import CorrelatedNoise

# Half of a Gaussian's light lies within 1.1774 sigma.
_HALF_LIGHT = 1.1774
# Sigma: the window has fallen to 3e-4 there.
_REACH = 4.0
_NARROWEST = 1.0


def windowed_centroid(
    stamp: Stamp, light: np.ndarray, variance: np.ndarray, half_light_radius: float, noise: CorrelatedNoise
) -> tuple[np.ndarray, np.ndarray]:
    """Centroid under a Gaussian window, and its error.

    Parameters
    ----------
    stamp : Stamp
        The source and its surroundings.
    light, variance : numpy.ndarray
        float64, shape ``(y, x)``: of the band to measure in, its sky subtracted, and of its noise.
    half_light_radius : float
        In pixels: the window has the half-light radius of the source.
    noise : CorrelatedNoise
        Of that band.

    Returns
    -------
    place, error : numpy.ndarray
        float64, shape ``(2,)``: x and y in pixels of the stamp, and their errors; NaN where the window does not settle
        within a half-light radius of where it began.

    Notes
    -----
    The window moves to where ``sum(w f (x - x0)) = 0``, as SExtractor's XWIN_IMAGE; the error is
    ``2 sqrt(sum(w^2 var (x - x0)^2)) / sum(w f)`` times the factor of correlated noise for the window's area.
    """
    lost = np.full(2, np.nan), np.full(2, np.nan)
    if not np.isfinite(half_light_radius):
        return lost
    sigma = max(half_light_radius / _HALF_LIGHT, _NARROWEST)
    start = stamp.ellipse.x, stamp.ellipse.y
    reach = int(np.ceil(_REACH * sigma)) + 2
    left, top = (max(round(place) - reach, 0) for place in start)
    here = slice(top, top + 2 * reach + 1), slice(left, left + 2 * reach + 1)
    furthest = max(half_light_radius, _NARROWEST)
    found = windowed(light[here], variance[here], (start[0] - left, start[1] - top), sigma, furthest)
    if found is None:
        return lost
    place, spread, total, area = found
    return place + np.array([left, top]), 2 * np.sqrt(spread) / total * float(noise.factor(area))


_THINNEST = 1 / 12
"""Variance of a pixel's own width, in pixels squared."""


def measure_shapes(sources: LabelledPixels, light: np.ndarray, usable: np.ndarray) -> dict[str, np.ndarray]:
    """Area, centroid, peak and ellipse of each source.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    light, usable : numpy.ndarray
        Detection image and where it may be used, shape ``(y, x)``.

    Returns
    -------
    dict
        Column name to float64 or int values, shape ``(source,)``, positions in pixels of the whole image. A source
        without positive light has the mean of its pixels as centroid, and NaN for its ellipse.

    Notes
    -----
    Moments of the positive light about the corner of the bounding box, so that they have the same bits in whatever
    piece of the image the source is measured. Ellipses thinner than a pixel are widened by 1/12 pixel squared along
    both axes until they are not, as SExtractor and photutils do.
    """
    flux, usable_pixels = sources.take(light), sources.take(usable)
    # Invalid pixels cannot be the brightest, unless a source has no others.
    peak = sources.brightest(np.where(usable_pixels, flux, -np.inf))
    shapes = {"area": sources.sizes, "x_peak": sources.column[peak], "y_peak": sources.row[peak]}
    weight = np.where(usable_pixels, np.maximum(flux, 0), 0).astype(np.float64)
    total = sources.sum(weight)
    corner = sources.boxes[:, :2]
    away, away_squared = [], []
    for axis, (name, place) in enumerate((("y_centroid", sources.row), ("x_centroid", sources.column))):
        inside = (place - sources.spread(corner[:, axis])).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = np.where(total > 0, sources.sum(weight * inside) / total, sources.sum(inside) / sources.sizes)
        shapes[name] = middle + corner[:, axis]
        away.append(inside - sources.spread(middle))
        away_squared.append(sources.sum(weight * away[axis] ** 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        yy, xx, xy = (moment / total for moment in (*away_squared, sources.sum(weight * away[0] * away[1])))
    return shapes | _ellipses(xx, yy, xy)


def _ellipses(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> dict[str, np.ndarray]:
    """Ellipses of sources from their second central moments."""
    # One round is enough, but for rounding; NaN is never thin.
    wider = np.zeros(len(xx))
    while (thin := (xx + wider) * (yy + wider) - xy**2 < _THINNEST**2).any():
        wider[thin] += _THINNEST
    xx, yy = xx + wider, yy + wider
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    major = np.sqrt(middle + half)
    # The product of the eigenvalues is the determinant: their difference would lose digits.
    minor = np.sqrt((xx * yy - xy**2) / (middle + half))
    return {
        "semimajor_axis": major,
        "semiminor_axis": minor,
        "orientation": np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)) % 360,
        "ellipticity": 1 - minor / major,
    }


def measure_fluxes(sources: LabelledPixels, image: SkyImage) -> dict[str, np.ndarray]:
    """Flux of each source in each band, and its error where the image has noise planes.

    Returns
    -------
    dict
        ``segment_flux_<band>`` and ``segment_fluxerr_<band>``: float64, shape ``(source,)``, in the units of the
        data; ``segment_covered_<band>``: share of the pixels that are valid. Flux sums the valid pixels, and is NaN
        without any. Errors add the RMS of those pixels in quadrature; pixels whose RMS is
        unknown (0) count as noisy as the source's others, and the error is NaN if all are unknown.
    """
    fluxes = {}
    for index, band in enumerate(image.bands):
        valid = sources.take(image.valid[:, :, index])
        covered = sources.sum(valid) / sources.sizes
        flux = sources.sum(np.where(valid, sources.take(image.data[:, :, index]), 0))
        fluxes[f"segment_covered_{band}"], fluxes[f"segment_flux_{band}"] = covered, np.where(covered > 0, flux, np.nan)
        if image.rms is None:
            continue
        rms = np.where(valid, sources.take(image.rms[:, :, index]), 0).astype(np.float64)
        n_known = sources.sum(rms > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            fluxes[f"segment_fluxerr_{band}"] = np.sqrt(sources.sum(rms**2) * sources.sum(valid) / n_known)
    return fluxes
