"""Which HDUs of a file are bands, and which of them tell the noise and the bad pixels of a band."""

import warnings
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits

from morpheus_lite.errors import InputError
from morpheus_lite.io import naming
from morpheus_lite.io.fitsfile import describe_hdus, find_hdu, is_image
from morpheus_lite.io.location import Extension
from morpheus_lite.io.planes import ArrayPlane, Band, FilePlane, NoisePlane, Plane
from morpheus_lite.io.wcs import celestial_wcs
from morpheus_lite.io.zero_points import zero_point

KEPT_KEYWORDS = (
    "TELESCOP", "INSTRUME", "DETECTOR", "FILTER", "OBJECT", "DATE-OBS", "EXPTIME", "GAIN", "EGAIN", "CCDGAIN",
    "ATODGAIN", "SATURATE",
    "PHOTFLAM", "PHOTPLAM", "PHOTMODE",
)  # fmt: skip
"""Keywords of a band's header that are kept in `SkyImage.meta`."""

_EXPOSURE_UNITS = ("S", "SEC", "SECOND", "SECONDS", "COUNTS", "ELECTRONS")
_HINT = "choose by number or name, as in FILE[1] or FILE[SCI], or give each band its own: {'F160W': 'FILE[1]', ...}"


@dataclass(frozen=True, eq=False)
class _Candidate:
    """An HDU with pixels and what its name and header say of it."""

    number: int
    hdu: Any
    role: str
    band: str | None
    """From the name."""
    filter: str | None
    """From the header."""

    @property
    def names(self) -> set[str]:
        return {name for name in (self.band, self.filter) if name}


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
    candidates = [_candidate(number, hdu) for number, hdu in enumerate(hdus) if is_image(hdu)]
    chosen = _choose(candidates, hdus, path, ext, role)
    inherited = hdus[0].header if len(chosen) == 1 else {}
    bands = []
    for candidate in chosen:
        names = _names(candidate, inherited)
        if role != "science":
            bands += [_noise_band(candidate, k, name, path, role) for k, name in enumerate(names)]
            continue
        noise, masks = _companions(candidate, candidates, chosen)
        _check_planes(noise + masks, len(names), path)
        bands += [_band(candidate, k, name, path, hdus, noise, masks) for k, name in enumerate(names)]
    if role == "science" and not ext:
        _warn_of_unused(candidates, chosen, path)
    return bands


def _candidate(number: int, hdu: Any) -> _Candidate:
    role, band = naming.role_of(hdu.name)
    return _Candidate(number, hdu, role, band, naming.filter_of(hdu.header))


def _choose(
    candidates: list[_Candidate], hdus: Sequence[Any], path: str | None, ext: Sequence[Extension], role: str
) -> list[_Candidate]:
    where = path or "the HDU list"
    if ext:
        numbers = [find_hdu(hdus, one, where) for one in ext]
        chosen = [candidate for number in numbers for candidate in candidates if candidate.number == number]
    else:
        wanted = [candidate for candidate in candidates if role in (candidate.role, _family(candidate.role))]
        chosen = wanted or [candidate for candidate in candidates if candidate.role == "science"]
        if len(chosen) > 1:
            chosen = [candidate for candidate in chosen if len(candidate.hdu.shape) > 1] or chosen
    if not chosen:
        raise InputError(f"{where} holds no image to use; {_HINT}. It has\n{describe_hdus(hdus)}")
    for candidate in chosen:
        _stack_shape(candidate, where)
    _check_unambiguous(chosen, hdus, where)
    return chosen


def _family(role: str) -> str:
    return {"variance": "rms", "exposure": "weight"}.get(role, role)


def _check_unambiguous(chosen: list[_Candidate], hdus: Sequence[Any], where: str) -> None:
    if len(chosen) == 1:
        return
    names = [candidate.filter or candidate.band for candidate in chosen]
    shapes = {_stack_shape(candidate, where) for candidate in chosen}
    problem = None
    if len(shapes) > 1 or max(shape[0] for shape in shapes) > 1:
        problem = "images of different shapes, or several cubes"
    elif None in names and any(names):
        problem = "images with and without a band's name"
    elif None in names and naming.duplicates([candidate.hdu.name for candidate in chosen if candidate.hdu.name]):
        problem = "several images of one name"
    elif naming.duplicates([name for name in names if name]):
        problem = f"several images of band {naming.duplicates([name for name in names if name])[0]}"
    if problem:
        raise InputError(f"{where} holds {problem}; {_HINT}. It has\n{describe_hdus(hdus)}")


def _stack_shape(candidate: _Candidate, where: str) -> tuple[int, int, int]:
    """``(plane, y, x)`` of an HDU, axes of length 1 in front left out."""
    shape = candidate.hdu.shape
    if len(shape) < 2:
        raise InputError(
            f"{where}[{candidate.number}] is one-dimensional, with {shape[0]} values; expected an image (y, x)"
        )
    if any(length != 1 for length in shape[:-3]):
        raise InputError(f"{where}[{candidate.number}] has shape {shape}; expected (y, x) or (band, y, x)")
    planes, height, width = (1, *shape)[-3:]
    if planes > 8 >= width:
        raise InputError(
            f"{where}[{candidate.number}] has shape {shape}, as if its bands came last; a FITS cube has them first, "
            "(band, y, x): write numpy.moveaxis(cube, -1, 0), or pass the array itself with bands="
        )
    return planes, height, width


def _names(candidate: _Candidate, inherited: Mapping) -> tuple[str | None, ...]:
    n_planes = _stack_shape(candidate, "")[0]
    if n_planes == 1:
        return (candidate.filter or candidate.band or naming.filter_of(inherited),)
    header = candidate.hdu.header
    return naming.plane_filters(header, n_planes) or naming.plane_filters(inherited, n_planes) or (None,) * n_planes


def _companions(
    science: _Candidate, candidates: list[_Candidate], chosen: list[_Candidate]
) -> tuple[list[_Candidate], list[_Candidate]]:
    """HDUs with the noise of a band, most trusted first, and with its bad pixels."""

    def of_role(role: str) -> list[_Candidate]:
        same = [one for one in candidates if one.role == role and one not in chosen]
        nameless = [one for one in same if not one.names]
        lone = len(same) == len(chosen) == 1 and not science.names
        by_name = [one for one in same if one.names and (one.names & science.names or lone)]
        if by_name or len(nameless) == 1:
            return by_name or nameless
        return [one for one in nameless if one.hdu.ver == science.hdu.ver]

    noise = [one for role in naming.NOISE_ROLES for one in of_role(role)]
    return noise, of_role("mask")


def _warn_of_unused(candidates: list[_Candidate], chosen: list[_Candidate], path: str | None) -> None:
    used = {one.number for science in chosen for group in _companions(science, candidates, chosen) for one in group}
    wanted = {science for one in chosen for science in one.names}
    unused = [
        f"[{one.number}] {one.hdu.name}"
        for one in candidates
        if one.role in (*naming.NOISE_ROLES, "mask")
        and one.number not in used
        and one not in chosen
        and (not one.names or one.names & wanted)
    ]
    if unused:
        where = path or "the HDU list"
        warnings.warn(
            f"{where}: it is not clear which band {', '.join(unused)} belong(s) to; left out. Give them by option: "
            "rms=, weight= or dq=",
            UserWarning,
            stacklevel=2,
        )


def _check_planes(companions: list[_Candidate], n_planes: int, path: str | None) -> None:
    for one in companions:
        planes = _stack_shape(one, path or "HDU ")[0]
        if planes not in (1, n_planes):
            raise InputError(
                f"{path or 'HDU '}[{one.number}] {one.hdu.name} has {planes} planes for {n_planes} band(s); expected "
                "one, or one a band (rms=False, weight=False or dq=False leaves it out)"
            )


def _noise_band(candidate: _Candidate, k: int, name: str | None, path: str | None, role: str) -> Band:
    """A plane given by option; what its name says of it (VAR, EXP) counts where it fits the option."""
    data = _plane(candidate, k, path)
    kind = _noise_kind(candidate) if _family(candidate.role) == role else role
    return Band(name, data, noise=() if role == "mask" else (NoisePlane(data, kind),))


def _band(
    candidate: _Candidate,
    k: int,
    name: str | None,
    path: str | None,
    hdus: Sequence[Any],
    noise: Sequence[_Candidate],
    masks: Sequence[_Candidate],
) -> Band:
    data = _plane(candidate, k, path)
    header = ChainMap(candidate.hdu.header, hdus[0].header)  # type: ignore[arg-type]
    wcs = celestial_wcs(candidate.hdu.header, data.shape, str(data), hdus if isinstance(hdus, fits.HDUList) else None)
    unit = header.get("BUNIT")
    unit = unit.strip() or None if isinstance(unit, str) else None
    area = None if wcs is None else wcs.proj_plane_pixel_area().to_value("sr")
    calibration = zero_point(header, unit, area, str(data))
    return Band(
        name=name,
        data=data,
        noise=tuple(NoisePlane(_plane(one, k, path), _noise_kind(one)) for one in noise),
        masks=tuple(_plane(one, k, path) for one in masks),
        unit=unit,
        zero_point=None if calibration is None else calibration.value,
        wcs=wcs,
        meta={
            "origin": str(data),
            "zero_point_source": None if calibration is None else calibration.source,
            "zero_point_system": None if calibration is None else calibration.system,
            "header": {keyword: header[keyword] for keyword in KEPT_KEYWORDS if keyword in header},
        },
    )


def _noise_kind(candidate: _Candidate) -> str:
    unit = str(candidate.hdu.header.get("BUNIT", "")).strip().upper()
    if candidate.role == "exposure" or (candidate.role == "weight" and unit in _EXPOSURE_UNITS):
        return "exposure"
    return candidate.role


def _plane(candidate: _Candidate, k: int, path: str | None) -> Plane:
    shape = candidate.hdu.shape
    n_planes, height, width = _stack_shape(candidate, path or "HDU ")
    leading = len(shape) - 2
    # A noise plane may serve all planes of a cube.
    index = () if not leading else (0,) * (leading - 1) + (k if n_planes > 1 else 0,)
    if path is not None:
        return FilePlane(path, candidate.number, index, (height, width))
    return ArrayPlane(
        np.asarray(candidate.hdu.data)[index], f"HDU {candidate.number} ({candidate.hdu.name or 'no name'})"
    )
