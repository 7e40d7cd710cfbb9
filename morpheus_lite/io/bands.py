"""Bands of the HDUs of a file, by their names and headers, and the noise and mask planes of each band."""

import logging
import re
import warnings
from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits

from morpheus_lite.core.facts import FACTS
from morpheus_lite.core.image import BAND_ALIASES, canonical_band, pixel_scale_of
from morpheus_lite.errors import InputError, warn
from morpheus_lite.io.bits import Bits, bits_of
from morpheus_lite.io.fitsfile import Extension, apply_scale, describe_hdus, find_hdu, is_image, linear
from morpheus_lite.io.image_reader import ArrayPlane, Band, FilePlane, MaskPlane, NoisePlane, Plane, make_band
from morpheus_lite.io.wcs import celestial_wcs

log = logging.getLogger(__name__)

_ROLE = {word: role for role, words in FACTS["planes"].items() for word in words}
_NAMES = {kind: re.compile(pattern) for kind, pattern in FACTS["names"].items()}
_HST_SCALES = (0.02, 0.14)
"""Pixel scales of images of HST, in arcsec: 0.025 (HRC) to 0.13 (WFC3/IR), and what rounding leaves."""

_NAME = re.compile("[a-zA-Z0-9]")
_LETTER = re.compile(r"^[A-Z][PS]?$")
_ELEMENT = re.compile(r"^F\d{3,4}(W2|W|M|N)$")
_WIDTHS = ("N", "M", "W", "W2")

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
        names = [origin] * (origin.upper() in ("2MASS", "SDSS")) + [instrument, survey, telescope]
        name = next((text for text in names if not _is("no_camera", text)), None)
        is_hst = any(_is("hst", text) for text in (instrument, telescope))
        is_near = pixel_scale is None or _HST_SCALES[0] <= pixel_scale <= _HST_SCALES[1]
        return cls(name, aliases=is_near and (name is None or is_hst))

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
    return (
        is_aside
        or last in FACTS["companions"]["last"]
        or parts[0] in FACTS["companions"]["first"]
        or role not in ("science", "aside")
    )


def looks_like_filter(name: str) -> bool:
    """True for names that filters have: ``F160W``, ``r``, ``HSC-G``, ``NIR_Y``, ``NB921``."""
    return _is("filter", name)


def looks_like_detector(name: str) -> bool:
    """True for names that detectors have: ``CCD12``, ``S29``, ``DET11``, ``3-4.E``."""
    return _is("detector", name)


def _is(kind: str, name: str) -> bool:
    return _NAMES[kind].fullmatch(name.strip().upper()) is not None


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
    parts = [part for value in values for part in re.split("[-;]", value) if not _is("no_filter", part)]
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
    if not isinstance(value, str) or _is("no_filter", value) or not _NAME.search(value):
        return None
    return value.strip()


def duplicates(names: Sequence[str]) -> list[str]:
    """Names that come more than once, in order of appearance."""
    return list(dict.fromkeys(name for name in names if list(names).count(name) > 1))


_EXPOSURE_UNITS = ("S", "SEC", "SECOND", "SECONDS", "COUNTS", "ELECTRONS")
_FAMILY = {"variance": "rms", "exposure": "weight"}
_MOST_BANDS = 256
_HINT = "choose by number or name, as in FILE[1] or FILE[SCI], or give each band its own: {'F160W': 'FILE[1]', ...}"


@dataclass(frozen=True, eq=False)
class _Candidate:
    """An HDU with pixels and what its name and header say of it."""

    hdus: Sequence[Any]
    path: str | None
    number: int
    camera: Camera
    role: str
    group: str | None
    """Band or detector, from the name."""
    filter: str | None
    """From the header."""

    @property
    def hdu(self) -> Any:
        return self.hdus[self.number]

    @property
    def where(self) -> str:
        return f"{self.path or 'the HDU list'}[{self.number}]"

    @property
    def band(self) -> str | None:
        """Band by the name of the HDU, unless that is a detector's."""
        return None if self.group is None or looks_like_detector(self.group) else self.group

    @property
    def names(self) -> set[str]:
        return {name for name in (self.band, self.filter) if name}

    def __str__(self) -> str:
        return f"[{self.number}] {self.hdu.name or 'no name'}"


def bands_of_hdus(
    hdus: Sequence[Any], path: str | None, *, ext: Sequence[Extension] = (), role: str = "science"
) -> list[Band]:
    """The bands in a file, with the noise and mask planes that belong to them.

    Parameters
    ----------
    hdus : sequence of HDUs
        The file.
    path : str or None
        Where it was read from; None for HDUs in memory.
    ext : sequence of HDUs
        Which HDUs to take; empty to find out.
    role : {"science", "rms", "weight", "mask"}
        What is looked for; where no HDU has this role by its name, those without a role are taken.

    Returns
    -------
    list of Band
        In the order of the file; without a name where neither header nor HDU gives one.

    Raises
    ------
    InputError
        It is not clear which HDUs to use.
    """
    scale = _pixel_scale(hdus)
    candidates = [_candidate(hdus, path, number, scale) for number, hdu in enumerate(hdus) if is_image(hdu)]
    chosen = _choose(candidates, hdus, path, ext, role)
    inherited = hdus[0].header if len(chosen) == 1 else {}
    bands = []
    for candidate in chosen:
        names = _names(candidate, inherited)
        if role != "science":
            bands += [_noise_band(candidate, k, name, role) for k, name in enumerate(names)]
            continue
        noise, masks = _companions(candidate, candidates, chosen)
        for one in noise + masks:
            if (planes := _stack_shape(one)[0]) not in (1, len(names)):
                raise InputError(
                    f"{one.where} {one.hdu.name} has {planes} planes for {len(names)} band(s); expected one, or one "
                    "per band (rms=False, weight=False or dq=False leaves it out)"
                )
        bands += [_band(candidate, k, name, noise, masks) for k, name in enumerate(names)]
    if role == "science":
        _tell_of_unused(candidates, chosen, path, was_asked=bool(ext))
    return bands


def _candidate(hdus: Sequence[Any], path: str | None, number: int, scale: float | None) -> _Candidate:
    hdu = hdus[number]
    camera = Camera.of(ChainMap(hdu.header, hdus[0].header), scale)
    role, group = role_of(hdu.name, camera)
    if role in NOISE_ROLES:
        role = _stated_role(hdu, role)
    return _Candidate(hdus, path, number, camera, role, group, filter_of(hdu.header, camera))


def _pixel_scale(hdus: Sequence[Any]) -> float | None:
    """Side of a pixel in arcseconds, by the first HDU with a WCS; what is wrong with it is said when it is used."""
    with warnings.catch_warnings(action="ignore"):
        file = hdus if isinstance(hdus, fits.HDUList) else None
        found = (celestial_wcs(hdu.header, hdu.shape[-2:], "", file) for hdu in hdus if is_image(hdu))
        return pixel_scale_of(next((wcs for wcs in found if wcs is not None), None))


def _stated_role(hdu: Any, role: str) -> str:
    """Role that the header of a noise plane states: UTYPE of astropy's CCDData, HDUCLAS3 of ESO's pipelines."""
    utype = str(hdu.header.get("UTYPE", "")).strip().upper().removesuffix("UNCERTAINTY")
    if utype == "UNKNOWN":
        warn(
            f"{hdu.name}: UTYPE {hdu.header['UTYPE']} does not say what the uncertainty is; left out. Give it by "
            "option: rms= or weight="
        )
        return "other"
    hduclass = str(hdu.header.get("HDUCLAS3", "")).strip().upper()
    return FACTS["noise_roles"].get(utype) or FACTS["noise_roles"].get(hduclass, role)


def _choose(
    candidates: list[_Candidate], hdus: Sequence[Any], path: str | None, ext: Sequence[Extension], role: str
) -> list[_Candidate]:
    where = path or "the HDU list"
    if ext:
        numbers = [find_hdu(hdus, one, where) for one in ext]
        chosen = [one for number in numbers for one in candidates if one.number == number]
    else:
        if role == "science":
            _check_not_a_product(hdus, where)
        wanted = [one for one in candidates if role in (one.role, _FAMILY.get(one.role, one.role))]
        chosen = wanted if wanted and role != "science" else _images(candidates, hdus)
        chosen = [one for one in chosen if len(one.hdu.shape) > 1] or chosen
    if not chosen:
        raise InputError(f"{where} holds no image to use; {_HINT}. It has\n{describe_hdus(hdus)}")
    shapes = {_stack_shape(one) for one in chosen}
    if len(chosen) > 1:
        if not ext:
            _check_one_detector(chosen, hdus, where)
        if problem := _ambiguity(chosen, shapes):
            raise InputError(f"{where} holds {problem}; {_HINT}. It has\n{describe_hdus(hdus)}")
    return chosen


def _check_not_a_product(hdus: Sequence[Any], where: str) -> None:
    """Class maps and truth files lie beside images, and their planes look like bands."""
    names = {hdu.name for hdu in hdus}
    kinds = {"class maps": {"BACKGROUND", "DISK", "SPHEROID"}, "the truth of a field": {"CLASS", "LABELS", "SOURCES"}}
    for kind, planes in kinds.items():
        if planes <= names:
            raise InputError(f"{where} holds {kind}, not an image; give the image, or name an HDU, as in FILE[1]")


def _images(candidates: list[_Candidate], hdus: Sequence[Any]) -> list[_Candidate]:
    """HDUs that are images by their names, and others that are clearly further bands; else all of unknown role."""
    named = [one for one in candidates if one.role == "science"]
    filters = {one.filter for one in named} | {filter_of(hdus[0].header, one.camera) for one in candidates}

    def is_further(one: _Candidate) -> bool:
        has_own_filter = bool(one.filter) and one.filter not in filters
        return one.role == "unknown" and (not named or looks_like_filter(str(one.group)) or has_own_filter)

    return [one for one in candidates if one.role == "science" or is_further(one)]


def _check_one_detector(chosen: list[_Candidate], hdus: Sequence[Any], where: str) -> None:
    """Several detectors of one exposure are several images, not bands of one."""
    numbers = [{one.hdu.header.get(keyword) for one in chosen} - {None} for keyword in FACTS["keywords"]["detector"]]
    numbered = any(len(values) == len(chosen) for values in numbers)
    called = all(one.group and one.band is None for one in chosen)
    one_filter = filter_of(hdus[0].header) is not None and not any(one.filter for one in chosen)
    pieces = one_filter and not any(looks_like_filter(one.group or "") for one in chosen)
    if numbered or called or pieces:
        several = ", ".join(map(str, chosen[:4])) + (", ..." if len(chosen) > 4 else "")
        example = chosen[0].hdu
        name = f"{example.name},{example.ver}" if example.ver != 1 else example.name or str(chosen[0].number)
        raise InputError(
            f"{where} holds {len(chosen)} images of several detectors, or exposures, {several}: they are not bands of "
            f"one image; name one, as in FILE[{name}]. It has\n{describe_hdus(hdus)}"
        )


def _ambiguity(chosen: list[_Candidate], shapes: set[tuple[int, int, int]]) -> str | None:
    names = [one.filter or one.group for one in chosen]
    if len(shapes) > 1 or max(shape[0] for shape in shapes) > 1:
        return "images of different shapes, or several cubes"
    if None in names and any(names):
        return "images with and without a band's name"
    if None in names:
        twice = duplicates([one.hdu.name for one in chosen if one.hdu.name])
        return "several images of one name" if twice else None
    twice = duplicates([name for name in names if name])
    return f"several images of band {twice[0]}" if twice else None


def _stack_shape(candidate: _Candidate) -> tuple[int, int, int]:
    """``(plane, y, x)`` of an HDU, axes of length 1 in front left out."""
    shape, where = candidate.hdu.shape, candidate.where
    if len(shape) < 2:
        raise InputError(f"{where} is one-dimensional, with {shape[0]} values; expected an image (y, x)")
    if any(length != 1 for length in shape[:-3]):
        raise InputError(f"{where} has shape {shape}; expected (y, x) or (band, y, x)")
    planes, height, width = (1, *shape)[-3:]
    if planes > _MOST_BANDS:
        raise InputError(
            f"{where} has {planes} planes; expected one per band, {_MOST_BANDS} at most: give a "
            "white-light image, or sums over wavelength, of a cube of spectra"
        )
    if planes > 8 >= width:
        raise InputError(
            f"{where} has shape {shape}, as if its bands came last; a FITS cube has them first, "
            "(band, y, x): write numpy.moveaxis(cube, -1, 0), or pass the array itself with bands="
        )
    return planes, height, width


def _names(candidate: _Candidate, inherited: Mapping) -> tuple[str | None, ...]:
    n_planes = _stack_shape(candidate)[0]
    if n_planes == 1:
        common = filter_of(inherited, candidate.camera)
        band = candidate.band
        if common and band and candidate.role == "unknown" and not looks_like_filter(band):
            band = None
        return (candidate.filter or band or common,)
    for cards in (candidate.hdu.header, inherited):
        if names := plane_filters(cards, n_planes, candidate.camera):
            return names
    one, axis = candidate.filter or filter_of(inherited, candidate.camera), candidate.hdu.header.get("CTYPE3")
    if one or axis:
        what = f"names one filter, {one}" if one else f"calls their axis {axis}"
        warn(
            f"{candidate}: {n_planes} planes, but the header {what}; they are taken as bands. Where they are exposures "
            "of one band, or parts of a spectrum, add them up first"
        )
    return (None,) * n_planes


def _companions(
    science: _Candidate, candidates: list[_Candidate], chosen: list[_Candidate]
) -> tuple[list[_Candidate], list[_Candidate]]:
    """HDUs with the noise of a band, most trusted first, and with its bad pixels."""

    def of_role(role: str) -> list[_Candidate]:
        same = [one for one in candidates if one.role == role and one not in chosen]
        of_group = [one for one in same if science.group and one.group == science.group]
        if of_group:
            return of_group
        same = [one for one in same if not one.group or not looks_like_detector(one.group)] or same
        nameless = [one for one in same if not one.names]
        lone = len(same) == len(chosen) == 1 and not science.names
        by_name = [one for one in same if one.names and (one.names & science.names or lone)]
        if by_name or len(nameless) == 1:
            return by_name or nameless
        return [one for one in nameless if one.hdu.ver == science.hdu.ver]

    noise = [one for role in NOISE_ROLES for one in of_role(role)]
    return noise, of_role("mask")


def _tell_of_unused(
    candidates: list[_Candidate], chosen: list[_Candidate], path: str | None, *, was_asked: bool
) -> None:
    """Log what is left aside, and warn of noise and masks that may be meant for a band."""
    where = path or "the HDU list"
    used = {one.number for science in chosen for group in _companions(science, candidates, chosen) for one in group}
    unused = [one for one in candidates if one.number not in used and one not in chosen]
    wanted = {science for one in chosen for science in one.names}
    doubtful = [one for one in unused if one.role in (*NOISE_ROLES, "mask") and (not one.names or one.names & wanted)]
    if doubtful and not was_asked:
        warn(
            f"{where}: it is not clear which band {', '.join(map(str, doubtful))} belong(s) to; left out. Give them by "
            "option: rms=, weight= or dq="
        )
    elif unused:
        expected = all(one.role not in ("unknown", "aside") for one in unused)
        log.log(logging.INFO if expected else logging.WARNING, "%s: left aside: %s", where, ", ".join(map(str, unused)))


def _noise_band(candidate: _Candidate, k: int, name: str | None, role: str) -> Band:
    """A plane given by option; what its name says of it (VAR, EXP) counts where it fits the option."""
    data = _plane(candidate, k)
    if role == "mask":
        return Band(name, data, masks=(MaskPlane(data, _bits(candidate)),))
    kind = _noise_kind(candidate) if _FAMILY.get(candidate.role, candidate.role) == role else role
    return Band(name, data, noise=(NoisePlane(data, kind),))


def _bits(candidate: _Candidate) -> Bits:
    return bits_of(candidate.hdu.name, candidate.hdu.header, candidate.hdus[0].header)


def _band(
    candidate: _Candidate, k: int, name: str | None, noise: Sequence[_Candidate], masks: Sequence[_Candidate]
) -> Band:
    data, hdus = _plane(candidate, k), candidate.hdus
    header = ChainMap(candidate.hdu.header, hdus[0].header)
    inherits = candidate.hdu.header.get("INHERIT") is True and "CTYPE1" not in candidate.hdu.header
    cards = hdus[0].header if inherits else candidate.hdu.header
    wcs = celestial_wcs(cards, data.shape, str(data), hdus if isinstance(hdus, fits.HDUList) else None)
    unit = header.get("BUNIT")
    return make_band(
        data,
        header,
        unit.strip() or None if isinstance(unit, str) else None,
        wcs,
        name=name,
        noise=(NoisePlane(_plane(one, k), _noise_kind(one)) for one in noise),
        masks=(MaskPlane(_plane(one, k), _bits(one)) for one in masks),
    )


def _noise_kind(candidate: _Candidate) -> str:
    unit = str(candidate.hdu.header.get("BUNIT", "")).strip().upper()
    if candidate.role == "exposure" or (candidate.role == "weight" and unit in _EXPOSURE_UNITS):
        return "exposure"
    return candidate.role


def _plane(candidate: _Candidate, k: int) -> Plane:
    n_planes, height, width = _stack_shape(candidate)
    leading = len(candidate.hdu.shape) - 2
    # A noise plane may serve all planes of a cube.
    index = () if not leading else (0,) * (leading - 1) + (k if n_planes > 1 else 0,)
    if candidate.path is not None:
        return FilePlane(candidate.path, candidate.number, index, (height, width))
    pixels = np.asarray(candidate.hdu.data)[index]
    if pixels.dtype.kind == "i" and pixels.itemsize > 1:  # as stored; what astropy scaled is float or unsigned
        pixels = apply_scale(pixels, candidate.hdu.header)
    pixels = linear(pixels, candidate.hdu.header, str(candidate))
    return ArrayPlane(pixels, f"HDU {candidate.number} ({candidate.hdu.name or 'no name'})")
