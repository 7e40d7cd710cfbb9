"""What an HDU is - science, noise, weight, mask - and of which band: pure functions of names and headers."""

import re
from collections.abc import Mapping, Sequence

from morpheus_lite.core.image import canonical_band

_WORDS = {
    "science": (
        "SCI", "SCIENCE", "DATA", "IMAGE", "IMG", "PRIMARY", "COMPRESSED_IMAGE", "SIGNAL", "FLUX", "INTENSITY",
    ),
    "rms": (
        "RMS", "ERR", "ERROR", "ERRORS", "SIGMA", "SIG", "STD", "STDDEV", "STDEV", "UNCERT",
        "UNCERTAINTY", "UNC", "NOISE",
    ),
    "variance": ("VAR", "VARIANCE", "STAT"),
    "weight": ("WHT", "WEIGHT", "WEIGHTS", "WGT", "WT", "IVAR", "INVVAR", "INVVARIANCE", "IVM"),
    "exposure": ("EXP", "EXPTIME", "EXPOSURE", "COVERAGE", "COV", "NEXP", "CONF", "CONFIDENCE"),
    "mask": (
        "DQ", "DQM", "DQMASK", "DATA_QUALITY", "MASK", "MSK", "MASKBITS", "BITMASK", "BADPIX", "BADMASK", "PIXMASK",
        "PIXELMASK", "BPM", "BPMASK", "FLAG", "FLAGS", "FLG", "QUALITY", "QUAL",
    ),
    "other": (
        "CTX", "CON", "CONTEXT", "NSCI", "NIMG", "NIMAGE", "SEG", "SEGM", "SEGMAP", "SEGMENTATION", "LABELS", "PSF",
        "BKG", "BACK", "BACKGROUND", "MODEL", "RESIDUAL", "CHI2", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "HDRTAB",
        "TIME", "SAMP", "D2IMARR", "WCSDVARR", "GALDEPTH", "PSFDEPTH", "PSFSIZE", "BLOBMODEL",
    ),
    "aside": (
        "AREA", "PIXELAREA", "SKY", "BG", "BKGD", "RESID", "WAVELENGTH", "WMAP", "PATHLOSS", "FLAT", "BIAS", "DARK",
        "GAIN", "DEPTH", "NPIX",
    ),
}  # fmt: skip
"""What cameras and surveys call the planes of their images.

JWST, HST, Euclid, HSC and LSST, DES, DECam, Legacy Survey, Pan-STARRS, VISTA, MUSE, Spitzer, and CCDData.
"""
_ROLE = {word: role for role, words in _WORDS.items() for word in words}
_FILTER = re.compile(
    r"^(F\d{3,4}[A-Z]+\d*|[UBVRIGZYJHK]S?|HSC[-_].+|VIS|NIR[-_][YJH]|(IRAC|CH|I|W|MIPS|PACS|SPIRE)\d+|(N[BA]|I[BA])\d+)$"
)
_DETECTOR = re.compile(
    r"^((CCD|CHIP|DET|DETECTOR|AMP|EXT|IM|SCA|WFI|QUAD|Q)[_\- ]?\d+.*|[NS]\d+|NRC[AB]\w+|\d[\d\-.A-H]*)$"
)
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
    role : {"science", "rms", "variance", "weight", "exposure", "mask", "other", "aside", "unknown"}
        What the pixels are; ``"science"`` where there is no name, ``"other"`` and ``"aside"`` where they are of no use
        here, expected and not, and ``"unknown"`` where it may be the name of a band, or any.
    group : str or None
        The band, canonical, or the detector, that the name tells beside the role; None where it does not.

    Examples
    --------
    >>> role_of("F160W_RMS"), role_of("ERR"), role_of("h"), role_of("3-4.E.FLG")
    (('rms', 'F160W'), ('rms', None), ('unknown', 'F160W'), ('mask', '3_4_E'))
    """
    name = name.strip().upper()
    if not name or name in _ROLE:
        return _ROLE.get(name, "science"), None
    if name.endswith("MAP") and name.removesuffix("MAP") in _ROLE:
        return _ROLE[name.removesuffix("MAP")], None
    numbered = re.fullmatch(r"([A-Z_]+?)_?(\d+)", name)
    if numbered and numbered[1] in _ROLE:
        return _ROLE[numbered[1]], numbered[2]
    parts = re.split(r"[_\-. :]+", name)
    found = [
        (_ROLE[word], "_".join(rest))
        for word, rest in ((parts[-1], parts[:-1]), (parts[0], parts[1:]))
        if rest and word in _ROLE
    ]
    # ERR_SCI is the error of SCI.
    for role, rest in sorted(found, key=lambda one: one[0] == "science"):
        return role, None if rest in (*_WORDS["science"], "MAP", "PLANE") else canonical_band(rest)
    return "unknown", canonical_band(name)


def looks_like_filter(name: str) -> bool:
    """Whether a name is one that filters have: ``F160W``, ``r``, ``HSC-G``, ``NIR_Y``, ``NB921``."""
    return _FILTER.match(name.strip().upper()) is not None


def looks_like_detector(name: str) -> bool:
    """Whether a name is one that detectors have: ``CCD12``, ``S29``, ``DET11``, ``3-4.E``."""
    return _DETECTOR.match(name.strip().upper()) is not None


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
    """Bands of the planes of a cube: FILTER1..n, BAND1..n or BAND0.., or n names in FILTER, BANDS or EXTNAME.

    Returns
    -------
    tuple of str or None
        Canonical names; None where the header does not name every plane.
    """
    for keyword, first in (("FILTER", 1), ("BAND", 1), ("FILT", 1), ("BAND", 0)):
        values = [_filter(header, f"{keyword}{number}") for number in range(first, first + n_planes)]
        if all(values):
            return tuple(canonical_band(str(value)) for value in values)
    for keyword in ("FILTER", "FILTERS", "BAND", "BANDS", "EXTNAME"):
        value = header.get(keyword)
        parts = [part for part in re.split(r"[,;|/ ]+", value.strip()) if part] if isinstance(value, str) else []
        if keyword == "BANDS" and len(parts) == 1 and len(parts[0]) == n_planes:
            parts = list(parts[0])  # 'grz'
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
