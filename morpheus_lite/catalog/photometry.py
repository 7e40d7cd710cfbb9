"""Fluxes of one source in every band, in its segment, its Kron ellipse and circles, with their errors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u

from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.catalog.kernels import call_kernel, with_step
from morpheus_lite.catalog.matched_apertures import MatchedApertures
from morpheus_lite.core.image import SkyImage
from morpheus_lite.io.zero_points import count_scale, kind_of_unit, parse_unit
from morpheus_lite.noise.correlated import CorrelatedNoise

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
    flux, spread, missing = np.empty((3, len(weights), light.shape[2]))
    whole = np.empty((len(weights), 1))
    sizes = len(weights), light.shape[0] * light.shape[1], light.shape[2]
    planes = weights, light, *with_step(variance), there
    call_kernel("weighted_sums", *sizes, *planes, flux, spread, missing, whole)
    # Whole less what is missing, and not the sum of what is there: a whole aperture keeps its area to the bit.
    areas = whole - missing
    areas[areas < _NOTHING * whole] = 0
    flux -= areas * background
    error = np.sqrt(spread * _noise_factors(areas, bands) ** 2 + _photons(flux, bands))
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
