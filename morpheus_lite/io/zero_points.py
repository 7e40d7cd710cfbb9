"""Units of pixels in the spellings that archives write, and the AB zero-point that header and unit tell."""

import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from astropy import units as u

from morpheus_lite.core.facts import FACTS
from morpheus_lite.errors import InputError, warn

AB_ZERO_FLUX = 3631.0
"""Flux density of AB magnitude 0, in Jy."""

UnitKind = Literal["flux density", "surface brightness", "rate", "counts", "magnitude"]
"""What pixels of a unit hold: ``"rate"`` is counts or electrons per time, ``"counts"`` their total."""

_COUNTS = (u.electron, u.ct, u.adu, u.DN, u.photon)
_PER_WAVELENGTH = (u.erg / u.s / u.cm**2 / u.AA, u.photon / u.s / u.cm**2 / u.AA)

_WORDS = {word: name for name, words in FACTS["units"].items() for word in words.split()}
_FACTOR = re.compile(
    r"^\(?(?P<base>\d+(?:\.\d*)?(?:e[+-]?\d+)?)(?:\s*(?:\*\*|\^)?\s*\(?(?P<power>(?<=[*^(])[+-]?\d+|(?<=10)[+-]\d+)\)?)?\)?"
    r"\s*[*x.]?\s*(?=[^\W\d])",
    re.IGNORECASE,
)
_PREFIXED = re.compile(
    r"^(?P<prefix>nano|micro|milli|kilo|mega|mu|[numkµμ])?(?P<name>jy|janskys?|janskies|maggy|maggies|maggie|mgy)$",
    re.IGNORECASE,
)


def parse_unit(text: str | None) -> u.UnitBase | None:
    """Return the unit that a text means, None where that is not known.

    Parameters
    ----------
    text : str or None
        As archives write it: ``"ELECTRONS/S"``, ``"counts per second"``, ``"10**(-20)*erg/s/cm**2/Angstrom"``, ...

    Returns
    -------
    astropy.units.UnitBase or None
        Per pixel: ``"Jy/pixel"`` is Jy. Nanomaggies are 3.631e-6 Jy. A spelling with two meanings, such as ``"MJY"``
        (mega or milli), is not known.

    Examples
    --------
    >>> parse_unit("ELECTRONS/S"), parse_unit("10.0*nanoJansky"), parse_unit("bananas")
    (Unit("electron / s"), Unit("10 nJy"), None)
    """
    if not states_unit(text):
        return None
    wanted = str(text).strip().strip("[]\"'").strip().replace("_", " ")
    for pattern, spelling in FACTS["unit_phrases"].items():
        wanted = re.sub(pattern, spelling, wanted, flags=re.IGNORECASE)
    try:
        factor = 1.0
        if match := _FACTOR.match(wanted):
            factor = float(match["base"]) ** int(match["power"] or 1)
            wanted = wanted[match.end() :]
        if not 0 < factor < math.inf:
            return None
        if re.fullmatch(r"\([^()]*\)", wanted):
            wanted = wanted[1:-1]
        known = re.sub(r"[^\W\d_]+", lambda word: _word(word[0], wanted), wanted.replace("^", "**"))
        with warnings.catch_warnings(action="ignore", category=u.UnitsWarning):
            unit = u.Unit(known)
        return _per_pixel(unit) if factor == 1 else _per_pixel(u.Unit(factor * unit))
    except (ValueError, TypeError, OverflowError):
        return None


def states_unit(text: str | None) -> bool:
    """Tell whether a text says anything of the unit, as ``"unitless"`` or ``""`` do not."""
    return (text or "").strip().strip("[]\"'").strip().lower() not in FACTS["no_unit"]["spellings"]


def _word(word: str, text: str) -> str:
    if match := _PREFIXED.match(word):
        prefix, name = match["prefix"] or "", match["name"]
        if prefix == "M" and name.isupper() and not re.search(r"\bsr\b", text, re.IGNORECASE):
            raise ValueError(f"{word}: mega or milli")
        if prefix == "m" and name == "jy" and "/sr" in text:
            raise ValueError(f"{word}: milli, or mega in lower case")
        prefix = FACTS["unit_prefixes"].get(prefix.lower(), prefix if prefix == "M" else prefix.lower())
        return prefix + ("Jy" if name.lower().startswith("j") else "mgy")
    return _WORDS.get(word.lower(), word)


def _per_pixel(unit: u.UnitBase) -> u.UnitBase:
    """Leave "per pixel" out, and write maggies as janskys."""
    if not isinstance(unit, u.UnitBase):
        return unit
    for base, power in zip(unit.bases, unit.powers, strict=True):
        if base == u.pix and power < 0:
            unit = unit / base**power
        elif base.is_equivalent(u.mgy):
            unit = unit * (base.to(u.mgy) * AB_ZERO_FLUX * u.Jy / base) ** power
    return u.Unit(unit)


def kind_of_unit(unit: u.UnitBase | None) -> UnitKind | None:
    """Return what pixels of a unit hold; None where the unit is none of the light of an image.

    Examples
    --------
    >>> kind_of_unit(parse_unit("MJy/sr")), kind_of_unit(parse_unit("DN/s")), kind_of_unit(u.K)
    ('surface brightness', 'rate', None)
    """
    if unit is None:
        return None
    if not isinstance(unit, u.UnitBase) or {u.mag, u.dex, u.dB} & set(unit.bases):
        return "magnitude"
    kinds: tuple[tuple[UnitKind, u.UnitBase, tuple[u.UnitBase, ...]], ...] = (
        ("flux density", unit, (u.Jy, *_PER_WAVELENGTH)),
        ("surface brightness", unit * u.sr, (u.Jy, *_PER_WAVELENGTH)),
        ("counts", unit, _COUNTS),
        ("rate", unit * u.s, _COUNTS),
    )
    return next((kind for kind, one, like in kinds if any(one.is_equivalent(other) for other in like)), None)


def count_scale(unit: u.UnitBase) -> float:
    """Return how many counts, or counts per second, one unit of counts or of a rate is."""
    return next(float(unit.to(one)) for base in _COUNTS for one in (base, base / u.s) if unit.is_equivalent(one))


_KEYWORDS = FACTS["keywords"]
ZERO_POINT_KEYWORDS = (*_KEYWORDS["ab"], *_KEYWORDS["stated"], *_KEYWORDS["unstated"])
"""Keywords of the magnitude of one data unit, the most trusted first."""

_TOLERANCE = 0.03  # mag; PHOTFLAM and PHOTFNU of one header differ by up to 0.01
_AREA_TOLERANCE = 0.05  # distortion makes the pixels of one JWST detector differ by a few per cent


@dataclass(frozen=True)
class ZeroPoint:
    """A zero-point and where it comes from.

    Parameters
    ----------
    value : float or None
        AB magnitude of one data unit; None where the header has a zero-point of another or an unknown system.
    source : str
        Keywords it was computed from.
    system : str
        Photometric system of the keywords: ``"AB"``, ``"Vega"``, ``"unknown"``, or what PHOTSYS says.
    """

    value: float | None
    source: str
    system: str = "AB"


def zero_point(
    header: Mapping[str, Any], unit: str | None, pixel_area: float | None, origin: str = "the image"
) -> ZeroPoint | None:
    """Find the AB magnitude of one data unit.

    Parameters
    ----------
    header : mapping
        Keywords of the image.
    unit : str or None
        Unit of a pixel (BUNIT).
    pixel_area : float or None
        Area of a pixel in steradian, from the WCS; only used for units of surface brightness.
    origin : str
        What to call the image in warnings.

    Returns
    -------
    ZeroPoint or None
        None where header and unit do not tell. Two sources that disagree, and zero-points that are not AB, give a
        warning.

    Raises
    ------
    InputError
        The pixels are magnitudes.

    Notes
    -----
    In this order:

    1. A unit that is a flux density (nJy, nanomaggy, erg/s/cm2/A with PHOTPLAM) or a surface brightness (MJy/sr, with
       the pixel's area by the WCS, else PIXAR_SR).
    2. A keyword of `ZERO_POINT_KEYWORDS`, if its system is AB; FLUXMAG0 (LSST: data units of AB magnitude 0).
    3. FPA.ZP (Pan-STARRS), PHOTFLAM and PHOTPLAM, as -2.5 log10(PHOTFLAM) - 5 log10(PHOTPLAM) - 2.408 (STScI, ACS and
       WFC3 Data Handbooks), PHOTFNU, PHOTMJSR (JWST). These are for one count per second: where the unit is a count,
       EXPTIME is needed as well.

    A keyword of (2) that is right for counts per second where the data are counts, or the other way round, by what (3)
    says, does not belong to the unit: then (3) counts. A zero-point of 0 or beyond +-90 is not set.
    """
    parsed = parse_unit(unit)
    kind = kind_of_unit(parsed)
    if kind == "magnitude":
        raise InputError(
            f"{origin}: the pixels are magnitudes (BUNIT {unit}), which cannot be added up; expected a unit that is "
            "linear in the light: convert the image to flux"
        )
    stated = [*_from_unit(header, unit, pixel_area, origin), *_from_keywords(header)]
    is_understood = parsed is not None or unit is None or not states_unit(unit)
    belonging, others = _from_sensitivity(header, parsed, pixel_area) if is_understood else ([], [])
    foreign = [one for one in stated if not _agree(one, belonging) and _agree(one, others)]
    found = [*(one for one in stated if one not in foreign), *belonging, *(foreign if belonging else ())]
    known = [one for one in found if one.value is not None]
    if known:
        for one in known[1:]:
            if not _agree(one, known[:1]):
                warn(
                    f"{origin}: {known[0].source} gives a zero-point of {known[0].value:.3f} AB, {one.source} one of "
                    f"{one.value:.3f}; the first is taken (--zero-point sets another)"
                )
        return known[0]
    if found:
        warn(
            f"{origin}: the photometric system of {found[0].source} is {found[0].system}, not AB; magnitudes are left "
            "out (--zero-point gives the AB magnitude of one data unit)"
        )
    elif foreign:
        warn(
            f"{origin}: {foreign[0].source} is the zero-point of one count per second, as {others[0].source} says, but "
            f"the data are in {unit} and there is no EXPTIME; the zero-point is not known (--zero-point gives it)"
        )
    elif not is_understood:
        warn(f"{origin}: BUNIT {unit} is not understood; the zero-point is not known (--zero-point gives it)")
    return found[0] if found else None


def _from_unit(
    header: Mapping[str, Any], unit: str | None, pixel_area: float | None, origin: str
) -> Iterator[ZeroPoint]:
    source = f"BUNIT {unit}"
    if unit is None and _number(header, "NMGY"):
        # Of SDSS frames, the nanomaggies of a count that the pixels were multiplied with.
        unit, source = "nanomaggy", "NMGY"
    parsed = parse_unit(unit)
    kind = kind_of_unit(parsed)
    if parsed is None:
        return
    if kind == "surface brightness":
        area, named = _pixel_area(header, pixel_area, origin)
        if area is None:
            return
        parsed, source = parsed * u.Unit(area * u.sr), f"{source} and {named}"
    elif kind != "flux density":
        return
    if parsed.is_equivalent(u.Jy):
        yield ZeroPoint(_magnitude(parsed.to(u.Jy)), source)
    elif wavelength := _positive(header, "PHOTPLAM"):
        jansky = parsed.to(u.Jy, equivalencies=u.spectral_density(wavelength * u.AA))
        yield ZeroPoint(_magnitude(jansky), f"{source} and PHOTPLAM")


def _pixel_area(header: Mapping[str, Any], area: float | None, origin: str) -> tuple[float | None, str]:
    stated = _positive(header, "PIXAR_SR")
    if not area:
        return stated, "PIXAR_SR"
    if stated and abs(stated / area - 1) > _AREA_TOLERANCE:
        warn(
            f"{origin}: PIXAR_SR = {stated:.4g} is {stated / area:.3g} times the area of a pixel by the WCS, "
            f"{area:.4g} sr; the WCS is taken"
        )
    return area, "the area of a pixel"


def _from_keywords(header: Mapping[str, Any]) -> Iterator[ZeroPoint]:
    for keyword in ZERO_POINT_KEYWORDS:
        value = _number(header, keyword)
        if value is None or value == 0 or abs(value) >= 90:
            continue
        system = _system(header, keyword)
        offset = next((name for name in _KEYWORDS["offset"] if _number(header, name) is not None), None)
        if system == "AB":
            yield ZeroPoint(value, keyword)
        elif offset is not None:
            yield ZeroPoint(value + float(header[offset]), f"{keyword} and {offset}")
        else:
            yield ZeroPoint(None, f"{keyword} = {value:g}", system)
    if flux := _positive(header, "FLUXMAG0"):
        yield ZeroPoint(2.5 * math.log10(flux), "FLUXMAG0")


def _system(header: Mapping[str, Any], keyword: str) -> str:
    stated = next((str(header[name]).strip() for name in _KEYWORDS["system"] if header.get(name)), "")
    camera = " ".join(str(header.get(name, "")) for name in ("TELESCOP", "INSTRUME", "SURVEY", "ORIGIN")).upper()
    if keyword in _KEYWORDS["ab"]:
        return "AB"
    for text in (stated, _comment(header, keyword)):
        if re.search(r"vega", text, re.IGNORECASE):
            return "Vega"
        if re.search(r"\bAB(mag)?\b", text, re.IGNORECASE):
            return "AB"
    if stated:
        return stated
    names = FACTS["names"]
    if re.fullmatch(names["vega_camera"], camera):
        return "Vega"
    return "unknown" if keyword in _KEYWORDS["unstated"] and not re.fullmatch(names["ab_camera"], camera) else "AB"


def _comment(header: Mapping[str, Any], keyword: str) -> str:
    for one in getattr(header, "maps", (header,)):
        if keyword in one:
            return str(one.comments[keyword]) if hasattr(one, "comments") else ""
    return ""


def _from_sensitivity(
    header: Mapping[str, Any], unit: u.UnitBase | None, pixel_area: float | None
) -> tuple[list[ZeroPoint], list[ZeroPoint]]:
    """Zero-points for data in counts per second or in counts: those that belong to the unit, and the others."""
    per_second = list(_of_one_count_per_second(header, pixel_area))
    exposure = _positive(header, "EXPTIME")
    total = [_shifted(one, exposure, " and EXPTIME") for one in per_second] if exposure else []
    kind = kind_of_unit(unit)
    if unit is None:
        # Without a unit: stacks of Pan-STARRS are counts, drizzled images of HST counts per second.
        kind = "counts" if any(one.source == "FPA.ZP" for one in per_second) else "rate"
    if kind not in ("rate", "counts"):
        return [], []
    found, others = (per_second, total) if kind == "rate" else (total, per_second)
    scale = 1.0 if unit is None else count_scale(unit)
    return [_shifted(one, 1 / scale) for one in found], others


def _of_one_count_per_second(header: Mapping[str, Any], pixel_area: float | None) -> Iterator[ZeroPoint]:
    value = _number(header, "FPA.ZP")
    if value:
        yield ZeroPoint(value, "FPA.ZP")
    sensitivity, wavelength = _positive(header, "PHOTFLAM"), _positive(header, "PHOTPLAM")
    if sensitivity and wavelength:
        value = -2.5 * math.log10(sensitivity) - 5 * math.log10(wavelength) - 2.408
        yield ZeroPoint(value, "PHOTFLAM and PHOTPLAM")
    if flux := _positive(header, "PHOTFNU"):
        yield ZeroPoint(_magnitude(flux), "PHOTFNU")
    brightness, area = _positive(header, "PHOTMJSR"), pixel_area or _positive(header, "PIXAR_SR")
    if brightness and area:
        yield ZeroPoint(_magnitude(brightness * 1e6 * area), "PHOTMJSR and the area of a pixel")


def _shifted(one: ZeroPoint, factor: float, why: str = "") -> ZeroPoint:
    assert one.value is not None
    return ZeroPoint(one.value + 2.5 * math.log10(factor), one.source + why)


def _agree(one: ZeroPoint, others: list[ZeroPoint]) -> bool:
    """True if a zero-point is one of these."""
    return any(
        one.value is not None and other.value is not None and abs(one.value - other.value) < _TOLERANCE
        for other in others
    )


def _magnitude(jansky: float) -> float:
    return 2.5 * math.log10(AB_ZERO_FLUX / jansky)


def _positive(header: Mapping[str, Any], keyword: str) -> float | None:
    value = _number(header, keyword)
    return value if value is not None and value > 0 else None


def _number(header: Mapping[str, Any], keyword: str) -> float | None:
    value = header.get(keyword)
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
