"""Meaning of the bits of masks, from headers and from what `FACTS` say of cameras, and which make a pixel bad."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

from morpheus_lite.core.facts import FACTS
from morpheus_lite.errors import OptionError, warn

ANY = "any"
"""The option for which every bit makes a pixel bad."""


@dataclass(frozen=True)
class Bits:
    """Bits of a mask that make a pixel bad.

    Parameters
    ----------
    bad : int or None
        Sum of the bits; None where anything but 0 is bad. Negative where all but some bits are bad, as in ``~4``.
    names : mapping of str to int
        Values of the bits that have names.
    """

    bad: int | None = None
    names: Mapping[str, int] = field(default_factory=dict)

    def named(self, value: int) -> str:
        """Name of one bit in messages."""
        return next((f"{value} {name}" for name, own in self.names.items() if own == value), str(value))


def bits_of(name: str, header: Mapping[str, Any], primary: Mapping[str, Any]) -> Bits:
    """Look up the meaning of the bits of a mask.

    Parameters
    ----------
    name : str
        EXTNAME of the mask.
    header, primary : mapping
        Of the mask, and the primary one of its file.

    Returns
    -------
    Bits
        By the names of bits in the mask's header, else by the camera, else anything but 0 is bad.

    Examples
    --------
    >>> bits_of("MASK", {"MP_BAD": 0, "MP_SAT": 1, "MP_DETECTED": 5}, {}).bad
    3
    >>> bits_of("DQ", {}, {"TELESCOP": "JWST"}).bad
    1
    """
    if names := _names_in(header):
        known = [value for one, value in names.items() if one in FACTS["bad_bits"]]
        bad = names.get("MASK.VALUE", reduce(or_, known, 0))
        if not bad:
            warn(
                f"{name or 'the mask'}: no bit of {', '.join(names)} is known to make a pixel bad, so none does; "
                "choose them (dq_bits=, --dq-bits)"
            )
        return Bits(bad, names)
    parts = set(re.split(r"[_\-. :]+", name.strip().upper()))
    telescope, instrument, detector = (
        str(header.get(keyword, primary.get(keyword, ""))).strip().upper()
        for keyword in ("TELESCOP", "INSTRUME", "DETECTOR")
    )
    for mask in FACTS["masks"]:
        if not parts.isdisjoint(mask["planes"]) and mask.get("telescope", telescope) == telescope:
            values = {bit: 1 << number for number, bit in enumerate(mask["bits"])}
            if "bad" in mask:
                return Bits(sum(values[bit] for bit in mask["bad"]), values)
            if (good := mask["good"].get(f"{instrument} {detector}")) is not None:
                return Bits(~good, values)
    return Bits()


def chosen_bits(option: Any, known: Bits, where: str) -> Bits:
    """The bits that an option asks for.

    Parameters
    ----------
    option : int, str or sequence of these
        Values or names of bits, alone or joined by ``,``, ``+`` or ``|``, with ``~`` in front for all others; or
        ``"any"``.
    known : Bits
        What is known of the mask: the names.
    where : str
        What to call the mask in messages.

    Raises
    ------
    OptionError
        A name that the mask does not have, or neither number nor name.

    Examples
    --------
    >>> mask = Bits(1, {"BAD": 1, "SAT": 2})
    >>> [chosen_bits(text, mask, "mask").bad for text in ("SAT", "1,SAT", "12", "~SAT", "any")]
    [2, 3, 12, -3, None]
    """
    parts = option if isinstance(option, Sequence) and not isinstance(option, str) else [option]
    text = ",".join(map(str, parts)).strip()
    if text.lower() == ANY:
        return Bits(None, known.names)
    words = [word for word in re.split(r"[,+|()\s]+", text.removeprefix("~")) if word]
    if not words or any(isinstance(part, bool | float) for part in parts):
        raise OptionError(f"dq_bits={option!r}: expected values or names of bits, such as 1,16 or SAT,CR, or any")
    total = reduce(or_, (_value(word, known.names, where) for word in words))
    return Bits(~total if text.startswith("~") else total, known.names)


def _value(word: str, names: Mapping[str, int], where: str) -> int:
    value = {name.upper(): value for name, value in names.items()}.get(word.upper())
    if value is None:
        try:
            value = int(word, 0)
        except ValueError:
            value = -1
    if not 0 <= value < 2**64:
        known = f"it has {', '.join(names)}" if names else "the names of its bits are not known: give their values"
        raise OptionError(f"dq_bits: {where} has no bit {word}; {known}")
    return value


def _names_in(header: Mapping[str, Any]) -> dict[str, int]:
    """Bits that a header names.

    MP_<NAME> = number (LSST, HSC, SPHEREx), MSKNAMnn and MSKVALnn (Pan-STARRS), or MSKNnnnn and MSKMnnnn (lsst.images).
    """
    names = {}
    for keyword in header:
        value = header[keyword]
        if keyword.upper().startswith("MP_") and isinstance(value, int) and 0 <= value < 64:
            names[keyword.upper().removeprefix("MP_")] = 1 << value
        elif keyword.startswith("MSKN"):
            bit = header.get(keyword.replace("MSKNAM", "MSKVAL").replace("MSKN", "MSKM"))
            if isinstance(bit, int):
                names[str(value).strip().upper()] = bit
    return names
