"""Fluxes of one source in every band, in its segment, its Kron ellipse and circles, with their errors."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u

from morpheus_lite.catalog.curve_of_growth import CurveOfGrowth, curve_of_growth
from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.catalog.kernels import weighted_sums, windowed
from morpheus_lite.catalog.matched_apertures import MatchedApertures
from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.image import SkyImage
from morpheus_lite.io.zero_points import count_scale, kind_of_unit, parse_unit
from morpheus_lite.noise.correlated import CorrelatedNoise
from morpheus_lite.noise.detection_image import summed

Measured = dict[str, Any]
"""What is measured of one source, by name: numbers and arrays."""

GAIN_KEYWORDS = ("EGAIN", "GAIN", "CCDGAIN", "ATODGAIN")
"""Keywords taken as electrons in a count, the first found counts."""


@dataclass(frozen=True)
class Gain:
    """Gain of one band, for the photon noise of sources.

    Parameters
    ----------
    value : float or None
        Electrons in one unit of data; None adds no photon noise.
    statement : str
        Where it comes from, or why there is none; in the catalogue's metadata.
    """

    value: float | None
    statement: str


def find_gains(image: SkyImage, option: float | Mapping[str, float] | None) -> list[Gain]:
    """Gain of each band.

    Parameters
    ----------
    image : SkyImage
        Units and headers of its bands.
    option : float, mapping of band to float, or None
        Electrons in one unit of data, which goes before what the header says.

    Returns
    -------
    list of Gain
        One per band. Without an option, RMS planes that came as such are taken to hold the photon noise, as the ERR
        planes of HST and JWST do; those made of weight maps, which do not, get it added.
    """
    gains = []
    for band, unit in zip(image.bands, image.units, strict=True):
        given = option.get(band) if isinstance(option, Mapping) else option
        known = image.meta.get("bands", {}).get(band, {})
        # The first plane gives the RMS; others may only tell which pixels are bad, as WHT beside ERR does.
        first = next(iter(known.get("noise", ())), "")
        if given is not None:
            gains.append(Gain(float(given), f"added: {given:g} electrons per unit of data, as given"))
        elif image.rms is not None and not str(first).startswith("weight"):
            gains.append(Gain(None, "as far as the RMS plane holds it"))
        else:
            gains.append(gain_of_header(known.get("header", {}), unit))
    return gains


def gain_of_header(header: Mapping[str, Any], unit: str | None) -> Gain:
    """Electrons in one unit of data, from unit, gain and exposure time.

    Examples
    --------
    >>> gain_of_header({"EXPTIME": 1200.0}, "ELECTRONS/S").value
    1200.0
    >>> gain_of_header({}, "nJy").value is None
    True
    """
    parsed = parse_unit(unit)
    if parsed is None or kind_of_unit(parsed) not in ("rate", "counts"):
        return Gain(None, f"not included: gain unknown for data in {unit or 'an unknown unit'}")
    value, source = count_scale(parsed), []
    if not {u.electron, u.photon} & set(parsed.bases):
        keyword = next((name for name in GAIN_KEYWORDS if _positive(header.get(name))), None)
        if keyword is None:
            return Gain(None, f"not included: data in {unit}, and the header has no GAIN")
        value, source = value * float(header[keyword]), [keyword]
    if kind_of_unit(parsed) == "rate":
        if not _positive(header.get("EXPTIME")):
            return Gain(None, f"not included: data in {unit}, and the header has no EXPTIME")
        value, source = value * float(header["EXPTIME"]), [*source, "EXPTIME"]
    return Gain(value, f"added: {value:g} electrons per unit of data, from {' and '.join([*source, 'BUNIT'])}")


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


# Ellipses, as in SExtractor and photutils.
_REACH = 6.0
_LARGEST_MOMENT = 4.0
_FEWEST_SKY = 50
# Kron ellipses: nearer, the wings of the source itself would count as sky.
_ANNULUS = 1.25
_NOTHING = 1e-9
"""Share of an aperture below which it is nothing but rounding."""


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


def band_noise(
    image: SkyImage, noise: Mapping[str, CorrelatedNoise], option: float | Mapping[str, float] | None
) -> list[BandNoise]:
    """Noise of each band of an image, with its gain as `find_gains` has it."""
    gains = find_gains(image, option)
    return [BandNoise(noise[band], gain.value) for band, gain in zip(image.bands, gains, strict=True)]


def measure_photometry(
    stamp: Stamp,
    detection: CorrelatedNoise,
    bands: Sequence[BandNoise],
    radii: Sequence[float],
    options: MeasureOptions,
    *,
    central: CurveOfGrowth | None = None,
) -> Measured:
    """Measure the light of one stamp.

    Parameters
    ----------
    stamp : Stamp
        The source and its surroundings.
    detection : CorrelatedNoise
        Noise of the detection image, whose light gives the Kron ellipse and the half-light radius.
    bands : sequence of BandNoise
        Of each band.
    radii : sequence of float
        Radii of the circles in pixels.
    options : MeasureOptions
        Kron parameters, local background.
    central : CurveOfGrowth, optional
        Curve of growth of the detection image about the centre, where it is known already.

    Returns
    -------
    dict
        In the names of the catalogue where it has one:

        - ``flux, fluxerr, covered``: float64, shape ``(aperture, band)``: segment, Kron ellipse, then the circles; in
          data units, of what is covered, NaN where nothing is; and the share of the pixels that has data.
        - ``light_covered``: float64, shape ``(band + 1,)``: share of the light in the Kron ellipse, as the detection
          image has it, that lies on pixels with data in each band, and in any.
        - ``kron_radius``, and ``kron_hidden``: share of the Kron ellipse on pixels of other sources.
        - ``half_light_radius, half_light_radius_err``: in pixels, of the detection image.
        - ``snr``: light of the segment over its noise, in the detection image.
        - ``centroid_err``: float64, shape ``(2,)``: noise of the centre of the ellipse along x and y, in pixels.
        - ``centroid_win, centroid_win_err``: the same of the windowed centroid, in pixels of the stamp.
        - ``background``: float64, shape ``(band + 1,)``: sky that was subtracted per pixel, in each band and in the
          detection image.
        - ``wings_error``: float64, shape ``(band,)``: error of the light of neighbours that was subtracted in the Kron
          ellipse.
    """
    moment = kron_radius(stamp, options.kron_min_radius)
    scale = options.kron_scale * moment
    kron = stamp.ellipse_overlap(scale)
    background = local_background(stamp, scale) if options.local_background else np.zeros(stamp.light.shape[2] + 1)
    light = stamp.detection - background[-1]
    reach = scale * stamp.ellipse.a
    if central is None or options.local_background or central.radii[-1] < reach:
        central = curve_of_growth(light, stamp.ellipse.y, stamp.ellipse.x, reach)
    # As far as half a step beyond the ellipse: a circle may hold half of the light only there.
    half_light = central.radius_of((kron * light).sum() / 2, below=max(reach, 2.0) + central.radii[1] / 2)
    half_light_error = central.radius_error(half_light, 0.5, float(kron.sum()), variance_of_sums(stamp, detection))
    variance = stamp.detection_variance
    if any(band.gain for band in bands):
        variance = variance + summed(stamp.weights**2, _photons(stamp.light - background[:-1], bands))
    centroid, centroid_error = windowed_centroid(stamp, light, variance, half_light, detection)
    x, y = centroid if np.isfinite(centroid).all() else (stamp.ellipse.x, stamp.ellipse.y)
    weights = np.stack([kron, *(stamp.circle_overlap(y, x, radius) for radius in radii)])
    segment = stamp.source_mask[None].astype(np.float64)
    sums = zip(
        sum_light(stamp.light, stamp.variance, segment, 0.0, bands, stamp.usable),
        sum_light(stamp.light, stamp.variance, weights, background[:-1], bands, stamp.covered),
        strict=True,
    )
    flux, error, covered = (np.concatenate(pair) for pair in sums)
    return _isophotal(stamp, light, detection) | {
        "flux": flux,
        "fluxerr": error,
        "covered": covered,
        "light_covered": _light_covered(stamp, kron * light, covered[1]),
        "kron_radius": moment,
        "kron_hidden": float((kron * stamp.neighbor_mask).sum() / kron.sum()),
        "half_light_radius": half_light,
        "half_light_radius_err": half_light_error,
        "centroid_win": centroid,
        "centroid_win_err": centroid_error,
        "background": background,
        "wings_error": _doubt_of_wings(stamp, kron),
    }


def _isophotal(stamp: Stamp, light: np.ndarray, noise: CorrelatedNoise) -> dict[str, Any]:
    """Signal-to-noise ratio of the segment, and the noise of its light-weighted centre along x and y."""
    y, x = np.nonzero(stamp.source_mask)
    own, variance = light[y, x], stamp.detection_variance[y, x]
    factor = float(noise.factor(len(y)))
    scatter = factor * math.sqrt(variance.sum())
    # Light below 0 takes no part in the centre.
    total = np.maximum(own, 0).sum()
    away = np.stack([x - stamp.ellipse.x, y - stamp.ellipse.y])
    error = factor * np.sqrt((away**2 * variance).sum(axis=1)) / total if total > 0 else np.full(2, np.nan)
    return {"snr": float(own.sum()) / scatter if scatter > 0 else np.nan, "centroid_err": error}


def _doubt_of_wings(stamp: Stamp, kron: np.ndarray) -> np.ndarray:
    """Error of the light of neighbours that was subtracted in the Kron ellipse: float64, shape ``(band,)``."""
    if stamp.wings is None:
        return np.zeros(stamp.light.shape[2])
    return stamp.wings_error * np.einsum("yx,yxb->b", kron * ~stamp.neighbor_mask, stamp.wings)


def variance_of_sums(stamp: Stamp, noise: CorrelatedNoise) -> Callable[[float], float]:
    """Function from an area in pixels to the variance of a sum over it, in the detection image near a source."""
    pixel = float(stamp.detection_variance[stamp.source_mask].mean())
    return lambda area: pixel * area * float(noise.factor(area)) ** 2


def kron_radius(stamp: Stamp, smallest: float) -> float:
    """First moment of the light in an ellipse of 6 times the source's own, in units of it (Kron 1980).

    Between ``smallest`` and 4: below, the ellipse would cut off light; a moment above is one of noise.
    """
    radius = stamp.elliptical_radius
    light = np.where(radius <= _REACH, stamp.detection, 0)
    total, moment = light.sum(), (light * radius).sum()
    if total <= 0 or moment <= 0:
        return smallest
    return float(min(max(moment / total, smallest), max(_LARGEST_MOMENT, smallest)))


def sum_light(
    light: np.ndarray,
    variance: np.ndarray,
    weights: np.ndarray,
    background: np.ndarray | float,
    bands: Sequence[BandNoise],
    there: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted sums of light less the sky, their errors, and shares covered: float64, shape ``(aperture, band)``.

    Parameters
    ----------
    light, variance : numpy.ndarray
        float64, shape ``(y, x, band)``; light is 0 where there is none.
    weights : numpy.ndarray
        float64, shape ``(aperture, y, x)``.
    background : numpy.ndarray or float
        Of one pixel, in each band.
    bands : sequence of BandNoise
        Noise of each band.
    there : numpy.ndarray
        bool, shape ``(y, x, band)``: where there is light.
    """
    flux, variance, missing, whole = weighted_sums(weights, light, variance, there)
    # Whole less what is missing, and not the sum of what is there: a whole aperture keeps its area to the bit.
    areas = whole - missing
    areas[areas < _NOTHING * whole] = 0
    flux -= areas * background
    error = np.sqrt(variance * _noise_factors(areas, bands) ** 2 + _photons(flux, bands))
    # Not measured is not 0.
    flux, error = (np.where(areas > 0, values, np.nan) for values in (flux, error))
    return flux, error, np.divide(areas, whole, out=np.full(areas.shape, np.nan), where=whole > 0)


def matched_sums(
    stamp: Stamp,
    apertures: MatchedApertures,
    centroid: np.ndarray,
    background: np.ndarray,
    bands: Sequence[BandNoise],
) -> tuple[np.ndarray, np.ndarray]:
    """Light on the common PSF less the sky, and its error: float64, shape ``(aperture, band)``; NaN where not whole.

    The apertures are about the windowed centroid (x, y) in the stamp, about the centre of the ellipse if that is NaN.
    """
    x, y = centroid if np.isfinite(centroid).all() else (stamp.ellipse.x, stamp.ellipse.y)
    down, right = (np.arange(n) - at for n, at in zip(stamp.source_mask.shape, (y, x), strict=True))
    weights = apertures.at(np.hypot(down[:, None], right))
    areas = weights.sum(axis=(2, 3))
    flux = np.einsum("abyx,yxb->ab", weights, stamp.light) - areas * background
    factors = _noise_factors(np.nan_to_num(areas), bands)
    variance = np.einsum("abyx,yxb->ab", weights**2, stamp.variance) * factors**2 + _photons(flux, bands)
    # Light that is missing would be missing by other shares in every band.
    whole = ~np.einsum("abyx,yxb->ab", weights != 0, ~stamp.covered)
    return np.where(whole, flux, np.nan), np.where(whole, np.sqrt(variance), np.nan)


def _noise_factors(areas: np.ndarray, bands: Sequence[BandNoise]) -> np.ndarray:
    """Noise of sums over areas ``(aperture, band)``, over that of independent pixels."""
    return np.stack([band.sky.factor(area) for band, area in zip(bands, areas.T, strict=True)], axis=1)


def _photons(flux: np.ndarray, bands: Sequence[BandNoise]) -> np.ndarray:
    """Variance of the photons that a flux is made of: shape of ``flux``, ``(..., band)``."""
    return np.maximum(flux, 0) * np.array([1 / band.gain if band.gain else 0.0 for band in bands])


def _light_covered(stamp: Stamp, light: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Share of light in the pixels with data in each band, and in any: float64, shape ``(band + 1,)``.

    Where the light is not positive, the share of the pixels.
    """
    covered = np.append(covered, covered.max())
    if (covered == 1).all() or not light.sum() > 0:
        return covered
    there = np.concatenate([stamp.covered, stamp.usable.any(axis=2, keepdims=True)], axis=2)
    shares = np.einsum("yx,yxb->b", light, there.astype(np.float64)) / light.sum()
    return np.where((covered > 0) & (covered < 1), np.clip(shares, 0, 1), covered)


def local_background(stamp: Stamp, scale: float) -> np.ndarray:
    """Median of the sky outside 1.25 Kron ellipses, clipped at 3 sigma; 0 where there is too little of it.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(band + 1,)``: of each band, and of the detection image.
    """
    around = ~stamp.source_mask & ~stamp.neighbor_mask & (stamp.elliptical_radius > _ANNULUS * scale)
    usable = stamp.usable[around]
    usable = np.column_stack([usable, usable.any(axis=1)])
    values = np.where(usable, np.column_stack([stamp.light[around], stamp.detection[around]]), np.nan)
    known = usable.sum(axis=0) >= _FEWEST_SKY
    values = values[:, known]
    for _ in range(3):
        middle = np.nanmedian(values, axis=0)
        # 1.4826 makes the median absolute deviation the sigma of a Gaussian.
        scatter = 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
        values = np.where(np.abs(values - middle) <= 3 * scatter, values, np.nan)
    background = np.zeros(len(known))
    background[known] = np.nanmedian(values, axis=0)
    return background


# Half of a Gaussian's light lies within 1.1774 sigma.
_HALF_LIGHT = 1.1774
# Sigma: the window has fallen to 3e-4 there.
_WINDOW_REACH = 4.0
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
    reach = int(np.ceil(_WINDOW_REACH * sigma)) + 2
    left, top = (max(round(place) - reach, 0) for place in start)
    here = slice(top, top + 2 * reach + 1), slice(left, left + 2 * reach + 1)
    furthest = max(half_light_radius, _NARROWEST)
    found = windowed(light[here], variance[here], (start[0] - left, start[1] - top), sigma, furthest)
    if found is None:
        return lost
    place, spread, total, area = found
    return place + np.array([left, top]), 2 * np.sqrt(spread) / total * float(noise.factor(area))
