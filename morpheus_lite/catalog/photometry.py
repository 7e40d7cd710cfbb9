"""Fluxes of one source in every band, in its segment, its Kron ellipse and circles, with their errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from morpheus_lite.catalog.centroids import windowed_centroid
from morpheus_lite.catalog.curve_of_growth import Growth, grow
from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.config.measure import MeasureOptions
from morpheus_lite.noise.correlated import CorrelatedNoise

_REACH = 6.0
_LARGEST_MOMENT = 4.0
_FEWEST_SKY = 50
_ANNULUS = 1.25


@dataclass(frozen=True)
class BandNoise:
    """Noise of sums in one band.

    Parameters
    ----------
    sky : CorrelatedNoise
        Of the sky.
    gain : float, optional
        Electrons in one unit of data; None leaves the photons of the source out.
    """

    sky: CorrelatedNoise
    gain: float | None = None

    def with_photons(self, variance: np.ndarray, light: np.ndarray) -> np.ndarray:
        """Variance of pixels with this light: shape of both."""
        return variance if self.gain is None else variance + np.maximum(light, 0) / self.gain


@dataclass(frozen=True, eq=False)
class Photometry:
    """Light of one source.

    Parameters
    ----------
    flux, error : numpy.ndarray
        float64, shape ``(aperture, band)``: segment, Kron ellipse, then the circles; in data units.
    kron_radius : float
        First moment of the light in units of the source's own semi-axes.
    half_light_radius : float
        Radius in pixels of the circle with half of the Kron flux of the detection band.
    centroid, centroid_error : numpy.ndarray
        float64, shape ``(2,)``: windowed centroid, x and y in pixels of the stamp, and its error.
    background : numpy.ndarray
        float64, shape ``(band,)``: sky that was subtracted, a pixel.
    crowded : bool
        Whether another source lies inside the Kron ellipse.
    """

    flux: np.ndarray
    error: np.ndarray
    kron_radius: float
    half_light_radius: float
    centroid: np.ndarray
    centroid_error: np.ndarray
    background: np.ndarray
    crowded: bool


def measure_photometry(
    stamp: Stamp,
    detection: int,
    bands: Sequence[BandNoise],
    radii: Sequence[float],
    options: MeasureOptions,
    *,
    central: Growth | None = None,
) -> Photometry:
    """Measure one stamp.

    Parameters
    ----------
    stamp : Stamp
        The source and its surroundings.
    detection : int
        Index of the detection band, whose light gives the Kron ellipse and the half-light radius.
    bands : sequence of BandNoise
        Of each band.
    radii : sequence of float
        Radii of the circles in pixels.
    options : MeasureOptions
        Kron parameters, local background.
    central : Growth, optional
        Curve of growth of the detection band about the centre, where it is known already.
    """
    moment = kron_radius(stamp, detection, options.kron_minimum)
    scale = options.kron_scale * moment
    kron = stamp.ellipse_overlap(scale)
    background = _background(stamp, scale) if options.local_background else np.zeros(stamp.light.shape[2])
    light = stamp.light[:, :, detection] - background[detection]
    reach = scale * stamp.ellipse.a
    if central is None or options.local_background or central.radii[-1] < reach:
        central = grow(light, stamp.ellipse.y, stamp.ellipse.x, reach)
    half_light = central.radius_of((kron * light).sum() / 2, below=max(reach, 2.0) + central.radii[1] / 2)
    variance = bands[detection].with_photons(stamp.variance[:, :, detection], light)
    sky = bands[detection].sky
    centroid, centroid_error = windowed_centroid(stamp, light, variance, half_light, sky)
    x, y = centroid if np.isfinite(centroid).all() else (stamp.ellipse.x, stamp.ellipse.y)
    weights = np.stack([kron, *(stamp.circle_overlap(y, x, radius) for radius in radii)])
    flux, error = _sums(stamp, weights, background, bands)
    own_flux, own_error = _segment_sums(stamp, bands)
    crowded = bool((stamp.foreign & (kron > 0)).any())
    flux, error = np.vstack([own_flux, flux]), np.vstack([own_error, error])
    return Photometry(flux, error, moment, half_light, centroid, centroid_error, background, crowded)


def kron_radius(stamp: Stamp, detection: int, smallest: float) -> float:
    """First moment of the light in an ellipse of 6 times the source's own, in units of it (Kron 1980).

    Between ``smallest`` and 4: below, the ellipse would cut off light; a moment above is one of noise.
    """
    radius = stamp.elliptical_radius
    inside = radius <= _REACH
    light = stamp.light[:, :, detection][inside]
    total, moment = light.sum(), (radius[inside] * light).sum()
    if total <= 0 or moment <= 0:
        return smallest
    return float(min(max(moment / total, smallest), max(_LARGEST_MOMENT, smallest)))


def _sums(
    stamp: Stamp, weights: np.ndarray, background: np.ndarray, bands: Sequence[BandNoise]
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted sums of light less the sky, and their errors: float64, shape ``(aperture, band)``."""
    n_bands = stamp.light.shape[2]
    flat = weights.reshape(len(weights), -1)
    areas = flat.sum(axis=1)
    # Unlike a matrix product, einsum starts no threads, several in each worker process.
    flux = np.einsum("ap,pb->ab", flat, stamp.light.reshape(-1, n_bands)) - areas[:, None] * background
    variance = np.einsum("ap,pb->ab", flat * flat, stamp.variance.reshape(-1, n_bands))
    variance *= np.stack([band.sky.factor(areas) for band in bands], axis=1) ** 2
    return flux, np.sqrt(variance + _photons(flux, bands))


def _photons(flux: np.ndarray, bands: Sequence[BandNoise]) -> np.ndarray:
    """Variance of the photons that a flux is made of: shape of ``flux``, ``(..., band)``."""
    return np.maximum(flux, 0) * np.array([1 / band.gain if band.gain else 0.0 for band in bands])


def _segment_sums(stamp: Stamp, bands: Sequence[BandNoise]) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the valid pixels of the segment; error NaN where there are none."""
    own = np.nonzero(stamp.own)
    usable = stamp.usable[own]
    n_pixels = usable.sum(axis=0)
    factors = np.array([band.sky.factor(n) for band, n in zip(bands, n_pixels, strict=True)])
    flux = (usable * stamp.light[own]).sum(axis=0)
    error = np.sqrt((usable * stamp.variance[own]).sum(axis=0) * factors**2 + _photons(flux, bands))
    return flux, np.where(n_pixels > 0, error, np.nan)


def _background(stamp: Stamp, scale: float) -> np.ndarray:
    """Median of the sky outside 1.25 Kron ellipses, clipped at 3 sigma; 0 where there is too little of it."""
    around = stamp.sky & (stamp.elliptical_radius > _ANNULUS * scale)
    if np.count_nonzero(around) < _FEWEST_SKY:
        return np.zeros(stamp.light.shape[2])
    values = stamp.light[around]
    for _ in range(3):
        middle = np.nanmedian(values, axis=0)
        scatter = 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
        values = np.where(np.abs(values - middle) <= 3 * scatter, values, np.nan)
    return np.nanmedian(values, axis=0)
