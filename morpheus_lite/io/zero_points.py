"""AB zero-point of an image from what its header and unit say."""

import contextlib
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astropy import units as u

AB_ZERO_FLUX = 3631.0
"""Flux density of AB magnitude 0, in Jy."""

ZERO_POINT_KEYWORDS = (
    "ABZP",
    "ABMAGZP",
    "ABZPT",
    "MAGZERO",
    "MAGZPT",
    "MAGZP",
    "ZEROPNT",
    "ZEROPOINT",
    "PHOTZP",
    "ZPT",
)
"""Keywords taken as the AB magnitude of one data unit, the first found counts."""

_SPELLINGS = (
    (r"nano-?jansky", "nJy"),
    (r"micro-?jansky", "uJy"),
    (r"jansky", "Jy"),
    (r"(electron|count)s\b", r"\1"),
)
_PER_SECOND = ("/S", "S-1", "S**-1", "S^-1", "PER S", "CPS", "DN/SEC")


@dataclass(frozen=True)
class ZeroPoint:
    """An AB zero-point and where it comes from.

    Parameters
    ----------
    value : float
        AB magnitude of one data unit.
    source : str
        Keywords it was computed from.
    """

    value: float
    source: str


def zero_point(header: Mapping[str, Any], unit: str | None, pixel_area: float | None) -> ZeroPoint | None:
    """AB magnitude of one data unit.

    Parameters
    ----------
    header : mapping
        Keywords of the image.
    unit : str or None
        Unit of a pixel (BUNIT).
    pixel_area : float or None
        Area of a pixel in steradian, from the WCS; only used for units of surface brightness.

    Returns
    -------
    ZeroPoint or None
        None where header and unit do not tell.

    Notes
    -----
    In this order: a keyword of `ZERO_POINT_KEYWORDS`; a unit that is a flux density (nJy, Jy, nanomaggy,
    erg/s/cm2/A with PHOTPLAM) or a surface brightness (MJy/sr, with PIXAR_SR or the pixel's area); PHOTFNU;
    PHOTFLAM and PHOTPLAM, as -2.5 log10(PHOTFLAM) - 5 log10(PHOTPLAM) - 2.408 (STScI, ACS and WFC3 Data Handbooks).
    The last two are for counts per second; where the unit is a plain count, EXPTIME is needed as well.
    """
    for keyword in ZERO_POINT_KEYWORDS:
        value = _number(header, keyword)
        if value is not None:
            return ZeroPoint(value, keyword)
    return _from_unit(header, unit, pixel_area) or _from_sensitivity(header, unit)


def _from_unit(header: Mapping[str, Any], unit: str | None, pixel_area: float | None) -> ZeroPoint | None:
    parsed = parse_unit(unit)
    if parsed is None:
        return None
    source = f"BUNIT {unit}"
    if parsed.is_equivalent(u.MJy / u.sr):
        area = _number(header, "PIXAR_SR") or pixel_area
        if not area:
            return None
        parsed, source = parsed * u.Unit(area * u.sr), source + " and the area of a pixel"
    wavelength = _number(header, "PHOTPLAM")
    equivalencies = u.spectral_density(wavelength * u.AA) if wavelength else []
    if not parsed.is_equivalent(u.Jy, equivalencies):
        return None
    if not parsed.is_equivalent(u.Jy):
        source += " and PHOTPLAM"
    return _zero_point_of_flux((1 * parsed).to_value(u.Jy, equivalencies), source)


def _from_sensitivity(header: Mapping[str, Any], unit: str | None) -> ZeroPoint | None:
    sensitivity, wavelength = _number(header, "PHOTFLAM"), _number(header, "PHOTPLAM")
    flux = _number(header, "PHOTFNU")
    if sensitivity and wavelength and sensitivity > 0 and wavelength > 0:
        value = -2.5 * math.log10(sensitivity) - 5 * math.log10(wavelength) - 2.408
        found = ZeroPoint(value, "PHOTFLAM and PHOTPLAM")
    elif flux and flux > 0:
        found = ZeroPoint(2.5 * math.log10(AB_ZERO_FLUX / flux), "PHOTFNU")
    else:
        return None
    if not _is_plain_count(unit):
        return found
    exposure = _number(header, "EXPTIME")
    if not exposure or exposure <= 0:
        return None
    return ZeroPoint(found.value + 2.5 * math.log10(exposure), found.source + " and EXPTIME")


def _zero_point_of_flux(jansky: float, source: str) -> ZeroPoint:
    return ZeroPoint(2.5 * math.log10(AB_ZERO_FLUX / jansky), source)


def _is_plain_count(unit: str | None) -> bool:
    text = (unit or "").upper().replace(" ", "")
    counts = text.startswith(("ELECTRON", "COUNT", "DN", "ADU", "E-"))
    return counts and not any(rate in text for rate in _PER_SECOND)


def parse_unit(unit: str | None) -> u.UnitBase | None:
    """A unit as astropy knows it; None where it does not.

    Spellings of surveys are understood: ``nanomaggy``, ``10.0*nanoJansky``, ``ELECTRONS/S``.
    """
    if not unit or not unit.strip():
        return None
    known = unit.strip().lower()
    if known in ("nanomaggy", "nanomaggies", "nanomaggie", "nmgy"):
        return u.Unit(1e-9 * AB_ZERO_FLUX * u.Jy)
    for pattern, spelling in _SPELLINGS:
        known = re.sub(pattern, spelling, known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)
        for text in (unit.strip(), known):
            with contextlib.suppress(ValueError, TypeError):
                return u.Unit(text)
    return None


def _number(header: Mapping[str, Any], keyword: str) -> float | None:
    value = header.get(keyword)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
