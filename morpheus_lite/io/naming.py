"""What an HDU is - science, noise, weight, mask - and of which band: pure functions of names and headers."""

import re
from collections.abc import Mapping, Sequence

from morpheus_lite.core.image import canonical_band

_WORDS = {
    "science": ("SCI", "SCIENCE", "DATA", "IMAGE", "IMG", "PRIMARY", "COMPRESSED_IMAGE", "SIGNAL", "FLUX"),
    "rms": ("RMS", "ERR", "ERROR", "SIGMA", "STD", "STDDEV", "UNCERT", "UNCERTAINTY", "NOISE"),
    "variance": ("VAR", "VARIANCE"),
    "weight": ("WHT", "WEIGHT", "WGT", "IVAR", "INVVAR", "IVM"),
    "exposure": ("EXP", "EXPTIME", "EXPMAP", "EXPOSURE", "COVERAGE"),
    "mask": ("DQ", "MASK", "BADPIX", "BPM", "FLAG", "FLAGS", "QUALITY"),
    "other": (
        "CTX", "CON", "CONTEXT", "NSCI", "NIMG", "SEG", "SEGM", "SEGMAP", "SEGMENTATION", "PSF", "BKG", "BACKGROUND",
        "MODEL", "RESIDUAL", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "HDRTAB", "TIME", "SAMP", "D2IMARR", "WCSDVARR",
    ),
}  # fmt: skip
_ROLE = {word: role for role, words in _WORDS.items() for word in words}
_NOT_A_FILTER = re.compile(r"^(CLEAR.*|N/?A|NONE|NULL|UNKNOWN|OPEN|BLANK|)$")

NOISE_ROLES = ("rms", "variance", "weight", "exposure")
"""Roles that tell the noise, the most trusted first."""


def role_of(name: str) -> tuple[str, str | None]:
    """What a name of an HDU says of its role and band.

    Parameters
    ----------
    name : str
        EXTNAME; may be empty.

    Returns
    -------
    role : {"science", "rms", "variance", "weight", "exposure", "mask", "other"}
        What the pixels are; ``"science"`` where the name does not say.
    band : str or None
        Canonical name of the band, None where the name does not say.

    Examples
    --------
    >>> role_of("F160W_RMS"), role_of("ERR"), role_of("h")
    (('rms', 'F160W'), ('rms', None), ('science', 'F160W'))
    """
    name = name.strip().upper()
    if not name or name in _ROLE:
        return _ROLE.get(name, "science"), None
    parts = re.split(r"[_\-. :]+", name)
    if len(parts) > 1:
        for word, band in ((parts[-1], parts[:-1]), (parts[0], parts[1:])):
            if word in _ROLE:
                return _ROLE[word], canonical_band("_".join(band))
    return "science", canonical_band(name)


def filter_of(header: Mapping) -> str | None:
    """Band that a header names: FILTER, else FILTER1 and FILTER2 without the clear one, FILTNAM1/2, or BAND.

    Returns
    -------
    str or None
        Canonical name; two filters in the beam are joined by ``+``.
    """
    for keywords in (("FILTER",), ("FILTER1", "FILTER2"), ("FILTNAM1", "FILTNAM2"), ("BAND",)):
        values = [value for value in (_filter(header, keyword) for keyword in keywords) if value]
        if values:
            return "+".join(canonical_band(value) for value in values)
    return None


def plane_filters(header: Mapping, n_planes: int) -> tuple[str, ...] | None:
    """Bands of the planes of a cube: FILTER1..n, BAND1..n, or a list of n names in FILTER, BANDS or EXTNAME.

    Returns
    -------
    tuple of str or None
        Canonical names; None where the header does not name every plane.
    """
    for keyword in ("FILTER", "BAND", "FILT"):
        values = [_filter(header, f"{keyword}{number}") for number in range(1, n_planes + 1)]
        if all(values):
            return tuple(canonical_band(str(value)) for value in values)
    for keyword in ("FILTER", "FILTERS", "BAND", "BANDS", "EXTNAME"):
        value = header.get(keyword)
        parts = [part for part in re.split(r"[,;|/ ]+", value.strip()) if part] if isinstance(value, str) else []
        if len(parts) == n_planes:
            return tuple(canonical_band(part) for part in parts)
    return None


def _filter(header: Mapping, keyword: str) -> str | None:
    # WFPC2 keeps the number of the filter wheel's slot in FILTER1: only text can be a name.
    value = header.get(keyword)
    if not isinstance(value, str) or _NOT_A_FILTER.match(value.strip().upper()):
        return None
    return value.strip()


def duplicates(names: Sequence[str]) -> list[str]:
    """Names that come more than once, in order of appearance."""
    return list(dict.fromkeys(name for name in names if list(names).count(name) > 1))
