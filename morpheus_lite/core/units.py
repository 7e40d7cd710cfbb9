"""Units of pixels, in the spellings that archives write."""

import math
import re
import warnings
from typing import Literal

from astropy import units as u

from morpheus_lite.core.facts import FACTS

AB_ZERO_FLUX = 3631.0
"""Flux density of AB magnitude 0, in Jy."""

UnitKind = Literal["flux density", "surface brightness", "rate", "counts", "magnitude"]
"""What pixels of a unit hold: ``"rate"`` is counts or electrons per time, ``"counts"`` their total."""

_COUNTS = (u.electron, u.ct, u.adu, u.DN, u.photon)
_PER_WAVELENGTH = (u.erg / u.s / u.cm**2 / u.AA, u.photon / u.s / u.cm**2 / u.AA)

_WORDS = {word: name for name, words in FACTS["units"].items() for word in words.split()}
_PHRASES = (
    (r"analog(ue)?[- ]to[- ]digital[- ]units?", "adu"),
    (r"(data|digital) numbers?", "DN"),
    (r"photo-electrons?", "electron"),
    (r"\b(?:square|sq\.?) *(arcsec\w*|pix\w*)", r"\1**2"),
    (r"\b(nano|micro|milli|kilo|mega)[- ](?=j|m)", r"\1"),
    (r"^ab[\s_-]+(?=\S)", ""),
    (r"\bper\b", "/"),
    # The charge of an electron, not the exponent of a number.
    (r"(?<![a-z0-9.])e-(?!\d)", "electron "),
)
_FACTOR = re.compile(
    r"^\(?(?P<base>\d+(?:\.\d*)?(?:e[+-]?\d+)?)(?:\s*(?:\*\*|\^)?\s*\(?(?P<power>(?<=[*^(])[+-]?\d+|(?<=10)[+-]\d+)\)?)?\)?"
    r"\s*[*x.]?\s*(?=[^\W\d])",
    re.IGNORECASE,
)
_PREFIXED = re.compile(
    r"^(?P<prefix>nano|micro|milli|kilo|mega|[numkµμ])?(?P<name>jy|janskys?|janskies|maggy|maggies|maggie|mgy)$",
    re.IGNORECASE,
)
_PREFIXES = {"nano": "n", "micro": "u", "milli": "m", "kilo": "k", "mega": "M", "µ": "u", "μ": "u"}
_NO_UNIT = ("", "none", "n/a", "unknown", "unitless", "dimensionless", "arbitrary", "relative", "normalized", "1")


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
    for pattern, spelling in _PHRASES:
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
    return (text or "").strip().strip("[]\"'").strip().lower() not in _NO_UNIT


def _word(word: str, text: str) -> str:
    if match := _PREFIXED.match(word):
        prefix, name = match["prefix"] or "", match["name"]
        if prefix == "M" and name.isupper() and not re.search(r"\bsr\b", text, re.IGNORECASE):
            raise ValueError(f"{word}: mega or milli")
        if prefix == "m" and name == "jy" and "/sr" in text:
            raise ValueError(f"{word}: milli, or mega in lower case")
        prefix = _PREFIXES.get(prefix.lower(), prefix if prefix == "M" else prefix.lower())
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
