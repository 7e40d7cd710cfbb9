"""HDUs of a file: bands, and the noise and mask planes of each band."""

import logging
import warnings
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits

from morpheus_lite.core.image import pixel_scale_of
from morpheus_lite.errors import InputError, warn
from morpheus_lite.io import naming
from morpheus_lite.io.bits import Bits, bits_of
from morpheus_lite.io.fitsfile import Extension, apply_scale, describe_hdus, find_hdu, is_image, linear
from morpheus_lite.io.image_reader import ArrayPlane, Band, FilePlane, MaskPlane, NoisePlane, Plane, make_band
from morpheus_lite.io.wcs import celestial_wcs

log = logging.getLogger(__name__)

_DETECTOR_KEYWORDS = ("CCDNUM", "CCDCHIP", "CHIPNUM", "DET_ID", "CCDID", "IMAGEID", "HIERARCH ESO DET CHIP NO")
_UTYPES = {"STDDEV": "rms", "VARIANCE": "variance", "INVERSEVARIANCE": "weight"}
_HDUCLASSES = {"MSE": "variance", "RMSE": "rms", "INVMSE": "weight"}
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
    camera: naming.Camera
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
        return None if self.group is None or naming.looks_like_detector(self.group) else self.group

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
        _tell_of_unused(candidates, chosen, path, warn=not ext)
    return bands


def _candidate(hdus: Sequence[Any], path: str | None, number: int, scale: float | None) -> _Candidate:
    hdu = hdus[number]
    camera = naming.Camera.of(ChainMap(hdu.header, hdus[0].header), scale)
    role, group = naming.role_of(hdu.name, camera)
    if role in naming.NOISE_ROLES:
        role = _stated_role(hdu, role)
    return _Candidate(hdus, path, number, camera, role, group, naming.filter_of(hdu.header, camera))


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
    return _UTYPES.get(utype) or _HDUCLASSES.get(str(hdu.header.get("HDUCLAS3", "")).strip().upper(), role)


def _choose(
    candidates: list[_Candidate], hdus: Sequence[Any], path: str | None, ext: Sequence[Extension], role: str
) -> list[_Candidate]:
    where = path or "the HDU list"
    if ext:
        numbers = [find_hdu(hdus, one, where) for one in ext]
        chosen = [one for number in numbers for one in candidates if one.number == number]
    else:
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


def _images(candidates: list[_Candidate], hdus: Sequence[Any]) -> list[_Candidate]:
    """HDUs that are images by their names, and others that are clearly further bands; else all of unknown role."""
    named = [one for one in candidates if one.role == "science"]
    filters = {one.filter for one in named} | {naming.filter_of(hdus[0].header, one.camera) for one in candidates}

    def is_further(one: _Candidate) -> bool:
        has_own_filter = bool(one.filter) and one.filter not in filters
        return one.role == "unknown" and (not named or naming.looks_like_filter(str(one.group)) or has_own_filter)

    return [one for one in candidates if one.role == "science" or is_further(one)]


def _check_one_detector(chosen: list[_Candidate], hdus: Sequence[Any], where: str) -> None:
    """Several detectors of one exposure are several images, not bands of one."""
    numbers = [{one.hdu.header.get(keyword) for one in chosen} - {None} for keyword in _DETECTOR_KEYWORDS]
    numbered = any(len(values) == len(chosen) for values in numbers)
    called = all(one.group and one.band is None for one in chosen)
    one_filter = naming.filter_of(hdus[0].header) is not None and not any(one.filter for one in chosen)
    pieces = one_filter and not any(naming.looks_like_filter(one.group or "") for one in chosen)
    if numbered or called or pieces:
        several = ", ".join(map(str, chosen[:4])) + (", ..." if len(chosen) > 4 else "")
        example = chosen[0].hdu
        name = f"{example.name},{example.ver}" if example.ver != 1 else example.name or str(chosen[0].number)
        raise InputError(
            f"{where} holds {len(chosen)} images of several detectors, or exposures, {several}: they are no bands of "
            f"one image; name one, as in FILE[{name}]. It has\n{describe_hdus(hdus)}"
        )


def _ambiguity(chosen: list[_Candidate], shapes: set[tuple[int, int, int]]) -> str | None:
    names = [one.filter or one.group for one in chosen]
    if len(shapes) > 1 or max(shape[0] for shape in shapes) > 1:
        return "images of different shapes, or several cubes"
    if None in names and any(names):
        return "images with and without a band's name"
    if None in names:
        twice = naming.duplicates([one.hdu.name for one in chosen if one.hdu.name])
        return "several images of one name" if twice else None
    twice = naming.duplicates([name for name in names if name])
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
        common = naming.filter_of(inherited, candidate.camera)
        band = candidate.band
        if common and band and candidate.role == "unknown" and not naming.looks_like_filter(band):
            band = None
        return (candidate.filter or band or common,)
    for cards in (candidate.hdu.header, inherited):
        if names := naming.plane_filters(cards, n_planes, candidate.camera):
            return names
    one, axis = candidate.filter or naming.filter_of(inherited, candidate.camera), candidate.hdu.header.get("CTYPE3")
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
        same = [one for one in same if not one.group or not naming.looks_like_detector(one.group)] or same
        nameless = [one for one in same if not one.names]
        lone = len(same) == len(chosen) == 1 and not science.names
        by_name = [one for one in same if one.names and (one.names & science.names or lone)]
        if by_name or len(nameless) == 1:
            return by_name or nameless
        return [one for one in nameless if one.hdu.ver == science.hdu.ver]

    noise = [one for role in naming.NOISE_ROLES for one in of_role(role)]
    return noise, of_role("mask")


def _tell_of_unused(candidates: list[_Candidate], chosen: list[_Candidate], path: str | None, *, warn: bool) -> None:
    """Log what is left aside, and warn of noise and masks that may be meant for a band."""
    where = path or "the HDU list"
    used = {one.number for science in chosen for group in _companions(science, candidates, chosen) for one in group}
    unused = [one for one in candidates if one.number not in used and one not in chosen]
    wanted = {science for one in chosen for science in one.names}
    doubtful = [
        one for one in unused if one.role in (*naming.NOISE_ROLES, "mask") and (not one.names or one.names & wanted)
    ]
    if doubtful and warn:
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
