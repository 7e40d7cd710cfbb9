"""Roles of HDUs (science, noise, weight, mask) and their bands: pure functions of names and headers."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from morpheus_lite.core.facts import FACTS
from morpheus_lite.core.image import BAND_ALIASES, canonical_band

_ROLE = {word: role for role, words in FACTS["planes"].items() for word in words}
_FILTER = re.compile(
    r"^(F\d{3,4}[A-Z]+\d*|([A-Z0-9.+_-]+-)?[UBVRIGZYJHK][PS]?|HSC[-_].+|VIS|NIR[-_][YJH]|(IRAC|CH|I|W|MIPS|PACS|SPIRE)\d+|(N[BA]|I[BA])\d+)$"
)
_DETECTOR = re.compile(
    r"^((CCD|CHIP|DET|DETECTOR|AMP|EXT|IM|SCA|WFI|QUAD|Q)[_\- ]?\d+.*|[NS]\d+|NRC[AB]\w+|\d[\d\-._A-H]*)$"
)
_NOT_A_FILTER = re.compile(r"^(CLEAR.*|N/?A|NONE|NULL|UNKNOWN|OPEN|BLANK|)$")

_NO_CAMERA = ("", "N/A", "NONE", "UNKNOWN", "UNDEFINED")
_SURVEYS = ("2MASS", "SDSS")
_HST = re.compile(r"^(HST|HUBBLE.*|ACS.*|WFC3.*|WFPC2?|NICMOS.*|STIS|FOC)$")
_HST_SCALES = (0.02, 0.14)
"""Pixel scales of images of HST, in arcsec: 0.025 (HRC) to 0.13 (WFC3/IR), and what rounding leaves."""

_NAME = re.compile("[a-zA-Z0-9]")
_LETTER = re.compile(r"^[A-Z][PS]?$")
_ELEMENT = re.compile(r"^F\d{3,4}(W2|W|M|N)$")
_WIDTHS = ("N", "M", "W", "W2")

_FIRST = ("WHT", "WEIGHT", "RMS", "ERR", "VAR", "IVAR", "INVVAR", "DQ", "MASK", "SEG")
_TABLES = ("CAT", "CATALOG", "CATALOGUE", "NUM")
"""Parts of names of files that are no images: the first, and the last beside those of ``FACTS["planes"]``."""

NOISE_ROLES = ("rms", "variance", "weight", "exposure")
"""Roles that tell the noise, the most trusted first."""


@dataclass(frozen=True)
class Camera:
    """Camera of an image, which decides the meaning of a filter with a one-letter name.

    Parameters
    ----------
    name : str or None
        Instrument, survey or telescope; None where the header has none.
    aliases : bool
        Whether H, J, V and Z are the filters of HST that `BAND_ALIASES` says.
    """

    name: str | None = None
    aliases: bool = True

    @classmethod
    def of(cls, header: Mapping, pixel_scale: float | None) -> "Camera":
        """Tell the camera from TELESCOP, INSTRUME, SURVEY and ORIGIN, and the pixel scale in arcseconds."""
        origin, instrument, survey, telescope = (
            str(header.get(key) or "").strip() for key in ("ORIGIN", "INSTRUME", "SURVEY", "TELESCOP")
        )
        names = [origin] * (origin.upper() in _SURVEYS) + [instrument, survey, telescope]
        name = next((text for text in names if text.upper() not in _NO_CAMERA), None)
        is_hst = any(_HST.match(text.upper()) for text in (instrument, telescope))
        fits = pixel_scale is None or _HST_SCALES[0] <= pixel_scale <= _HST_SCALES[1]
        return cls(name, aliases=fits and (name is None or is_hst))

    def band(self, name: str) -> str:
        """Name of a band by the name of its filter.

        Examples
        --------
        >>> Camera().band("z"), Camera("DECam", aliases=False).band("z"), Camera(None, aliases=False).band("z")
        ('F850LP', 'DECAM-Z', 'Z')
        """
        # "r DECam SDSS c0002 6415.0 1480.0"; "r.00000" of Pan-STARRS.
        if match := re.match(r"(\S+) DECam\b", name.strip()):
            return canonical_band(f"DECam-{match[1]}")
        name = canonical_band(re.sub(r"\.0+$", "", name.strip()), () if self.aliases else BAND_ALIASES)
        if self.aliases or self.name is None or not _LETTER.match(name):
            return name
        return canonical_band(f"{self.name}-{name}")


def role_of(name: str, camera: Camera = Camera()) -> tuple[str, str | None]:
    """Parse role and band from the name of an HDU.

    Parameters
    ----------
    name : str
        EXTNAME; may be empty.
    camera : Camera
        What took the image.

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
        is_plain = rest in (*FACTS["planes"]["science"], "MAP", "PLANE") or not _NAME.search(rest)
        return role, None if is_plain else camera.band(rest)
    return "unknown", camera.band(name) if _NAME.search(name) else None


def is_companion(stem: str, others: Collection[str] = ()) -> bool:
    """Tell whether the name of a file, without its endings, is that of a plane beside an image, not of an image.

    Words such as AREA and SKY make a plane of it only if one of the ``others`` has the rest of its name.

    Examples
    --------
    >>> [is_companion(stem) for stem in ("goods_h_wht", "legacysurvey-0001m002-invvar-r", "goods_h_drz", "dark_sky")]
    [True, True, False, False]
    >>> is_companion("mosaic_area", ["mosaic"])
    True
    """
    parts = [part for part in re.split(r"[_\-. ]+", stem.strip().upper()) if part]
    if len(parts) > 2 and looks_like_filter(parts[-1]):
        parts.pop()
    if len(parts) < 2:
        return False
    last = parts[-1]
    role = _ROLE.get(last) or _ROLE.get(last.removesuffix("MAP"), "science")
    is_aside = role == "aside" and stem.strip()[: -len(last) - 1] in others
    return is_aside or last in _TABLES or parts[0] in _FIRST or role not in ("science", "aside")


def looks_like_filter(name: str) -> bool:
    """True for names that filters have: ``F160W``, ``r``, ``HSC-G``, ``NIR_Y``, ``NB921``."""
    return _FILTER.match(name.strip().upper()) is not None


def looks_like_detector(name: str) -> bool:
    """True for names that detectors have: ``CCD12``, ``S29``, ``DET11``, ``3-4.E``."""
    return _DETECTOR.match(name.strip().upper()) is not None


def filter_of(header: Mapping, camera: Camera = Camera()) -> str | None:
    """Band that a header names.

    Parameters
    ----------
    header : mapping
        FILTER (of JWST the narrower of FILTER and PUPIL), else FILTER1 and FILTER2 without the clear one, FILTNAM1 and
        FILTNAM2, BAND, FPA.FILTERID, or the only one of BAND0, BAND1, ...
    camera : Camera
        What took the image.

    Returns
    -------
    str or None
        Canonical name; two filters in the beam are joined by ``+``.
    """
    if (wheels := _narrower(header)) is not None:
        return camera.band(wheels)
    for keywords in (("FILTER",), ("FILTER1", "FILTER2"), ("FILTNAM1", "FILTNAM2"), ("BAND",), ("FPA.FILTERID",)):
        values = [value for value in (_filter(header, keyword) for keyword in keywords) if value]
        if values:
            return "+".join(camera.band(value) for value in values)
    return camera.band(str(header["BAND0"])) if _filter(header, "BAND0") and "BAND1" not in header else None


def _narrower(header: Mapping) -> str | None:
    """The narrower of the elements in the beam, or the only one; None where FILTER is its name, or it is not clear.

    NIRCam and NIRISS have one wheel called FILTER and one called PUPIL; mosaics have both as ``F444W-F405N`` in FILTER,
    and those of HST ``F814W;CLEAR2L``.
    """
    cards = header.get("FILTER"), header.get("PUPIL")
    values = [card.strip().upper() if isinstance(card, str) else "" for card in cards]
    parts = [part for value in values for part in re.split("[-;]", value) if not _NOT_A_FILTER.match(part)]
    if len(parts) == 1 and values[0]:
        return None if parts[0] == values[0] else parts[0]
    elements = sorted((_WIDTHS.index(match[1]), match[0]) for match in map(_ELEMENT.match, parts) if match)
    is_clear = len(elements) == 1 or (len(elements) > 1 and elements[0][0] < elements[1][0])
    return elements[0][1] if is_clear else None


def plane_filters(header: Mapping, n_planes: int, camera: Camera = Camera()) -> tuple[str, ...] | None:
    """Bands of the planes of a cube.

    Parameters
    ----------
    header : mapping
        FILTER1..n or BAND1..n, BAND0..n-1 (Legacy Surveys), or a list of n names in FILTER, BANDS or EXTNAME; n letters
        (``"griz"``) in BANDS.
    n_planes : int
        How many planes there are.
    camera : Camera
        What took the image.

    Returns
    -------
    tuple of str or None
        Canonical names; None where the header does not name every plane.
    """
    for keyword, first in (("FILTER", 1), ("BAND", 0), ("BAND", 1), ("FILT", 1)):
        values = [_filter(header, f"{keyword}{number}") for number in range(first, first + n_planes)]
        if all(values):
            return tuple(camera.band(str(value)) for value in values)
    for keyword in ("FILTER", "FILTERS", "BAND", "BANDS", "EXTNAME"):
        value = header.get(keyword)
        parts = [part for part in re.split(r"[,;|/ ]+", value) if _NAME.search(part)] if isinstance(value, str) else []
        if keyword == "BANDS" and len(parts) == 1 and parts[0].isalpha():
            parts = list(parts[0])
        if len(parts) == n_planes:
            return tuple(camera.band(part) for part in parts)
    return None


def _filter(header: Mapping, keyword: str) -> str | None:
    # WFPC2 keeps the number of the filter wheel's slot in FILTER1: only text can be a name.
    value = header.get(keyword)
    if not isinstance(value, str) or _NOT_A_FILTER.match(value.strip().upper()) or not _NAME.search(value):
        return None
    return value.strip()


def duplicates(names: Sequence[str]) -> list[str]:
    """Names that come more than once, in order of appearance."""
    return list(dict.fromkeys(name for name in names if list(names).count(name) > 1))
