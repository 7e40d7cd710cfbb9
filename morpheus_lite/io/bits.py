"""Meaning of the bits of masks, from tables of cameras and from headers, and which of them make a pixel bad."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from morpheus_lite.errors import OptionError

ANY = "any"
"""The option for which every bit makes a pixel bad."""

BAD_NAMES = (
    "BAD", "SAT", "SATURATED", "CR", "EDGE", "NO_DATA", "UNMASKEDNAN",
    "DETECTOR", "FLAT", "DARK", "BLANK", "CTE", "LOW", "CONV.BAD",
)  # fmt: skip
"""Names of bits that mean a bad pixel, where a header names the bits.

The first are those of LSST and HSC that LSST's own pipelines leave out of detection and of the statistics of the sky
(BAD, SAT, EDGE, NO_DATA; ``statsMask`` of meas_algorithms' SourceDetectionTask) and of coadds (CR, UNMASKEDNAN).
DETECTED and DETECTED_NEGATIVE are the sources themselves; INTRP pixels were filled with sensible values; SUSPECT,
CROSSTALK, CLIPPED, REJECTED, SENSOR_EDGE, INEXACT_PSF, BRIGHT_OBJECT and the like tell how a pixel came about. The next
are those of Pan-STARRS (pixel_mask of the IPP), but its headers also hold the sum of all bad ones, MASK.VALUE.
"""

JWST = (
    "DO_NOT_USE", "SATURATED", "JUMP_DET", "DROPOUT", "OUTLIER", "PERSISTENCE", "AD_FLOOR", "CHARGELOSS",
    "UNRELIABLE_ERROR", "NON_SCIENCE", "DEAD", "HOT", "WARM", "LOW_QE", "RC", "TELEGRAPH", "NONLINEAR",
    "BAD_REF_PIXEL", "NO_FLAT_FIELD", "NO_GAIN_VALUE", "NO_LIN_CORR", "NO_SAT_CHECK", "UNRELIABLE_BIAS",
    "UNRELIABLE_DARK", "UNRELIABLE_SLOPE", "UNRELIABLE_FLAT", "OPEN", "ADJ_OPEN", "FLUX_ESTIMATED",
    "MSA_FAILED_OPEN", "OTHER_BAD_PIXEL", "REFERENCE_PIXEL",
)  # fmt: skip
"""Bits of DQ, from bit 0: only DO_NOT_USE says that a pixel is bad.

Source: jwst-pipeline.readthedocs.io, "Data Quality Flags", and ``dqflags.pixel`` of stdatamodels. Bit 7 was
RESERVED_4 and bit 28 UNRELIABLE_RESET in early versions.
"""

ROMAN = (
    "DO_NOT_USE", "SATURATED", "JUMP_DET", "DROPOUT", "GW_AFFECTED_DATA", "PERSISTENCE", "AD_FLOOR", "RESERVED_4",
    "UNRELIABLE_ERROR", "NON_SCIENCE", "DEAD", "HOT", "WARM", "LOW_QE", "RESERVED_14", "TELEGRAPH", "NONLINEAR",
    "BAD_REF_PIXEL", "NO_FLAT_FIELD", "NO_GAIN_VALUE", "NO_LIN_CORR", "NO_SAT_CHECK", "UNRELIABLE_BIAS",
    "UNRELIABLE_DARK", "UNRELIABLE_SLOPE", "UNRELIABLE_FLAT", "RESERVED_5", "RESERVED_6", "UNRELIABLE_RESET",
    "RESERVED_7", "OTHER_BAD_PIXEL", "REFERENCE_PIXEL",
)  # fmt: skip
"""Bits of DQ, from bit 0: ``dqflags.pixel`` of roman_datamodels, whose table leaves bit 14 out."""

HST = (
    "LOST", "FILLED", "BADPIX", "MASKED", "HOT", "CTE", "WARM", "BADCOL", "SATURATED", "BADREF", "TRAP", "ATODSAT",
    "CRDRIZ", "CRREJ", "CRMAX", "USER",
)  # fmt: skip
"""Bits of DQ, from bit 0, by the names of stginga's tables of ACS and WFC3.

Source: stsci.edu, "ACS Data Quality Flags", and the WFC3 Data Handbook, chapter 3. The cameras differ in a few: 32 is
an unstable pixel, 128 a bad bias of WFC3, 2048 a signal in the zeroth read of WFC3/IR.
"""

HST_GOOD = {("ACS", "WFC"): 80, ("ACS", "HRC"): 96, ("ACS", "SBC"): 0, ("WFC3", "UVIS"): 80, ("WFC3", "IR"): 528}
"""Bits of DQ that HST's own mosaics take for good, by instrument and detector, saturation apart.

``final_bits`` of drizzlepac's default parameters (pars/hap_pars/default_parameters): 16 hot and 64 warm pixels of
ACS/WFC and WFC3/UVIS; 32 and 64 of ACS/HRC; 16 hot pixels and 512 blobs of WFC3/IR. They also keep 256, full-well
saturation, whose charge has bled to the pixels around; here it is bad, so that the source gets its flag.
"""

DES = (
    "BPM", "SATURATE", "INTERP", "BADAMP", "CRAY", "STAR", "TRAIL", "EDGEBLEED", "SSXTALK", "EDGE", "STREAK",
    "SUSPECT", "FIXED", "NEAREDGE", "TAPEBUMP",
)  # fmt: skip
"""Bits of MSK, from bit 0: BADPIX_* in ``mask_bits.h`` of the DES data management; Morganson et al. 2018, table 9."""
DES_GOOD = ("INTERP", "STAR", "SSXTALK", "SUSPECT", "FIXED", "NEAREDGE", "TAPEBUMP")
"""Of these pixels the values can be used."""

LEGACY = (
    "NPRIMARY", "BRIGHT", "SATUR_G", "SATUR_R", "SATUR_Z", "ALLMASK_G", "ALLMASK_R", "ALLMASK_Z", "WISEM1",
    "WISEM2", "BAILOUT", "MEDIUM", "GALAXY", "CLUSTER", "SATUR_I", "ALLMASK_I",
)  # fmt: skip
"""Bits of MASKBITS, from bit 0 (legacysurvey.org/dr10/bitmasks; the same in DR8 and DR9 up to bit 13). Bad are
pixels that are saturated in an exposure or masked in all of them; the others tell which sources are near."""

EUCLID_INVALID = 1
"""The bit of VIS's FLG and NISP's DQ that says that a pixel is not to be used (Euclid data product description)."""


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
    names = _names_in(header)
    if names:
        bad = names.get("MASK.VALUE")
        return Bits(_sum(names, [one for one in names if one in BAD_NAMES]) if bad is None else bad, names)
    plane = re.split(r"[_\-. :]+", name.strip().upper())
    telescope, instrument, detector = (
        str(header.get(keyword, primary.get(keyword, ""))).strip().upper()
        for keyword in ("TELESCOP", "INSTRUME", "DETECTOR")
    )
    if "MSK" in plane:
        return _table(DES, [one for one in DES if one not in DES_GOOD])
    if "MASKBITS" in plane:
        return _table(LEGACY, [one for one in LEGACY if one.startswith(("SATUR", "ALLMASK"))])
    if not {"DQ", "FLG"} & set(plane):
        return Bits()
    if telescope in ("JWST", "ROMAN"):
        return _table(JWST if telescope == "JWST" else ROMAN, ["DO_NOT_USE"])
    if telescope == "EUCLID":
        return Bits(EUCLID_INVALID, {"INVALID": EUCLID_INVALID})
    good = HST_GOOD.get((instrument, detector)) if telescope == "HST" else None
    return Bits() if good is None else Bits(~good, _table(HST, []).names)


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
    total = 0
    for word in words:
        total |= _value(word, known.names, where)
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
    """Bits that a header names: MP_<NAME> = number (LSST, HSC), or MSKNAMnn and MSKVALnn (Pan-STARRS)."""
    names = {}
    for keyword in header:
        value = header[keyword]
        if keyword.upper().startswith("MP_") and isinstance(value, int) and 0 <= value < 64:
            names[keyword.upper().removeprefix("MP_")] = 1 << value
        elif keyword.startswith("MSKNAM") and isinstance(header.get("MSKVAL" + keyword[6:]), int):
            names[str(value).strip().upper()] = header["MSKVAL" + keyword[6:]]
    return names


def _sum(names: Mapping[str, int], chosen: Iterable[str]) -> int:
    total = 0
    for name in chosen:
        total |= names[name]
    return total


def _table(names: Sequence[str], bad: Iterable[str]) -> Bits:
    values = {name: 1 << number for number, name in enumerate(names)}
    return Bits(_sum(values, bad), values)
