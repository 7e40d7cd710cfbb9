"""The door: whatever a user has of an image becomes an `ImageSource`, and a `SkyImage` when it is read."""

import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from morpheus_lite.core.image import SkyImage, canonical_band, pixel_scale_of
from morpheus_lite.errors import InputError, OptionError, reading, warn
from morpheus_lite.io.bands import Camera, bands_of_hdus, duplicates, filter_of, looks_like_filter
from morpheus_lite.io.bits import chosen_bits
from morpheus_lite.io.fitsfile import Extension, Location, parse_extension
from morpheus_lite.io.image_reader import (
    ArrayPlane,
    Band,
    ImageSource,
    MaskPlane,
    NoisePlane,
    OpenFiles,
    make_band,
    warn_of_hidden_pixels,
    with_weight_scale,
)
from morpheus_lite.io.wcs import check_alignment, problem_of_wcs

if TYPE_CHECKING:
    from astropy.nddata import NDData

_KINDS = {"rms": ("rms", "variance"), "weight": ("weight", "exposure")}


def attach_planes(bands: list[Band], role: str, planes: list[Band] | Literal[False]) -> list[Band]:
    """Bands with the RMS, weight or mask planes given by option in place of those found.

    Parameters
    ----------
    bands : list of Band
        All with names.
    role : {"rms", "weight", "mask"}
        What the planes are.
    planes : list of Band or False
        False drops what was found. A single plane without a name serves all bands.

    Raises
    ------
    InputError
        It is not clear which plane belongs to which band.
    """
    matched = {} if planes is False else _match(bands, planes, role)
    return [_attach(band, role, matched.get(band.name)) for band in bands]


def _match(bands: list[Band], planes: list[Band], role: str) -> dict[str | None, Band]:
    names = [band.name for band in bands]
    named: dict[str | None, Band] = {plane.name: plane for plane in planes if plane.name}
    if len(planes) == 1 and (not named or len(bands) == 1):
        return dict.fromkeys(names, planes[0])
    if not named and len(planes) == len(bands):
        return dict(zip(names, planes, strict=True))
    unknown = [str(name) for name in named if name not in names]
    if len(named) != len(planes) or unknown:
        raise InputError(
            f"the {role} option gives planes for {', '.join(str(plane.name or '?') for plane in planes)}, but the "
            f"bands are {', '.join(str(name) for name in names)}; give one, or one per band: {{'{names[0]}': ...}}"
        )
    return named


def _attach(band: Band, role: str, plane: Band | None) -> Band:
    """The band with a plane given by option; what its own HDU says of it (its bits; VAR, EXP) comes along."""
    if role == "mask":
        masks = [] if plane is None else [*(m for m in plane.masks if m.plane is plane.data), MaskPlane(plane.data)]
        return replace(band, masks=tuple(masks[:1]))
    noise = [] if plane is None else [*(n for n in plane.noise if n.plane is plane.data), NoisePlane(plane.data, role)]
    return replace(band, noise=(*noise[:1], *(own for own in band.noise if own.kind not in _KINDS[role])))


def _with_bits(band: Band, option: Any) -> Band:
    """The band with its masks' bad bits given by option: see `~morpheus_lite.io.bits.chosen_bits`."""
    masks = (replace(mask, bits=chosen_bits(option, mask.bits, f"{mask.plane} of {band.name}")) for mask in band.masks)
    return replace(band, masks=tuple(masks))


def join_bands(bands: list[Band], name: str, files: OpenFiles) -> ImageSource:
    """The image of these bands.

    Raises
    ------
    InputError
        A band comes twice, or shapes or WCS disagree.
    """
    names = [str(band.name) for band in bands]
    twice = duplicates(names)
    if twice:
        origins = [str(band.data) for band in bands if band.name == twice[0]]
        raise InputError(f"{name}: band {twice[0]} comes {len(origins)} times, from {', '.join(origins)}; give it once")
    shape = bands[0].data.shape
    if 1 in shape:
        raise InputError(
            f"band {names[0]} ({bands[0].data}) is {shape[0]} x {shape[1]} px (y, x): a single row or column; "
            "expected an image"
        )
    for band in bands:
        _check_shapes(band, shape, f"{bands[0].name} ({bands[0].data})")
    check_alignment([band.wcs for band in bands], shape, [f"{band.name} ({band.data})" for band in bands])
    wcs = next((band.wcs for band in bands if band.wcs is not None), None)
    scaled = tuple(replace(with_weight_scale(band, files), wcs=None) for band in bands)
    for band in scaled:
        warn_of_hidden_pixels(band, files)
    return ImageSource(scaled, wcs, name, files)


def _check_shapes(band: Band, shape: tuple[int, int], reference: str) -> None:
    planes: list[tuple[str, Any]] = [("", band.data)]
    planes += [(f"the {noise.kind} plane of ", noise.plane) for noise in band.noise]
    planes += [("the mask of ", mask.plane) for mask in band.masks]
    for what, plane in planes:
        if plane.shape != shape:
            raise InputError(
                f"{what}{band.name} ({plane}) is {plane.shape[0]} x {plane.shape[1]} px (y, x), but {reference} is "
                f"{shape[0]} x {shape[1]} px; all planes must lie on one pixel grid"
            )


def with_zero_points(
    image: ImageSource, zero_points: Mapping[str, float] | Sequence[float | None] | float
) -> ImageSource:
    """The image with AB zero-points given by option.

    Parameters
    ----------
    image : ImageSource
        The image.
    zero_points : float, sequence or mapping
        One for all bands, one per band in their order, or by band (the others keep what the header says).

    Raises
    ------
    OptionError
        Not numbers, another number of them, or for a band that is not there.
    """
    names = image.bands
    if isinstance(zero_points, Mapping):
        given: dict[str, Any] = {canonical_band(band, names): value for band, value in zero_points.items()}
        unknown = [band for band in given if band not in names]
        if unknown:
            raise OptionError(f"zero-point for {', '.join(unknown)}, but the bands are {', '.join(names)}")
    elif isinstance(zero_points, Sequence) and not isinstance(zero_points, str):
        if len(zero_points) != len(names):
            raise OptionError(f"{len(zero_points)} zero-points for {len(names)} band(s): {', '.join(names)}")
        given = dict(zip(names, zero_points, strict=True))
    else:
        given = dict.fromkeys(names, zero_points)
    bands = (_calibrated(band, given[str(band.name)]) if band.name in given else band for band in image.described)
    return replace(image, described=tuple(bands))


def _calibrated(band: Band, value: Any) -> Band:
    try:
        number = None if value is None else float(value)
    except (TypeError, ValueError):
        number = np.nan
    if number is not None and not np.isfinite(number):
        raise OptionError(f"zero-point of {band.name}: expected a number, the AB magnitude of one data unit")
    source, system = (None, None) if number is None else ("option", "AB")
    meta = {**band.meta, "zero_point_source": source, "zero_point_system": system}
    return replace(band, zero_point=number, meta=meta)


ACCEPTED = (
    "a FITS path (with [EXT] if need be), an array (y, x) or (y, x, band), an HDU or HDUList, NDData, Quantity, "
    "SkyImage, or a mapping from band to any of these"
)


def read_image(
    source: Any,
    *,
    bands: Sequence[str] | str | None = None,
    rms: Any = None,
    weight: Any = None,
    dq: Any = None,
    dq_bits: Any = None,
    zero_points: Mapping[str, float] | Sequence[float | None] | float | None = None,
    ext: Extension | list[Extension] | None = None,
) -> SkyImage:
    """Read an image of the sky, whatever it is kept in.

    Parameters
    ----------
    source
        See `open_image`, as for all other parameters.

    Returns
    -------
    SkyImage
        All of it, in memory.

    Raises
    ------
    InputError
        The input cannot be used; the message says what came, what was expected and what to do.
    OptionError
        An option contradicts the input or another.

    Examples
    --------
    >>> import numpy as np
    >>> read_image(np.zeros((50, 60, 2)), bands=["H", "J"]).bands
    ('F160W', 'F125W')
    """
    options = {"bands": bands, "rms": rms, "weight": weight, "dq": dq, "dq_bits": dq_bits}
    options |= {"zero_points": zero_points, "ext": ext}
    if isinstance(source, SkyImage) and all(value is None for value in options.values()):
        return source
    with open_image(source, **options) as opened:
        return opened.read()


def open_image(
    source: Any,
    *,
    bands: Sequence[str] | str | None = None,
    rms: Any = None,
    weight: Any = None,
    dq: Any = None,
    dq_bits: Any = None,
    zero_points: Mapping[str, float] | Sequence[float | None] | float | None = None,
    ext: Extension | list[Extension] | None = None,
) -> ImageSource:
    """Open an image of the sky for reading by section.

    Parameters
    ----------
    source : path, array, HDU, HDUList, NDData, Quantity, SkyImage, mapping or ImageSource
        A FITS file may be ``"img.fits"``, ``"img.fits[SCI]"``, ``"img.fits[SCI,1]"`` or ``"img.fits[1]"``, plain,
        .fz or .gz (which is decompressed into memory as a whole). Without an HDU, the images in it are taken
        as bands, named by FILTER, FILTER1 and FILTER2, or EXTNAME. In FITS cubes the band axis is the first
        ``(band, y, x)``, in arrays the last ``(y, x, band)``. A mapping gives one input per band.
    bands : sequence of str, optional
        Bands wanted, in this order. Where the input has no names, these are its names.
    rms, weight, dq : path, array, HDU, mapping from band to any of these, or False, optional
        Standard deviation of the noise in the unit of the data; inverse variance; bad-pixel mask (0 is good). One
        plane for all bands, or one per band. By default planes named so in the same file are used (ERR, RMS, WHT,
        WEIGHT, DQ, MASK, ``<FILTER>_RMS``, ...); False, or ``"none"``, leaves those out.
    dq_bits : int, str or sequence of these, optional
        Bits of the masks that make a pixel bad: values or names, ``"1,16"``, ``"SAT,CR"`` or ``"~DETECTED"`` (all but
        this one), or ``"any"``. By default what the header or the camera says of them (see `morpheus_lite.io.bits`),
        else any.
    zero_points : float, sequence, or mapping from band to float, optional
        AB magnitude of one data unit; by default from the headers.
    ext : int, str, (str, int) or list of these, optional
        Which HDUs of a file, or of an HDUList, are the bands.

    Returns
    -------
    ImageSource
        Knows shape, bands, WCS, units and zero-points; `ImageSource.read` reads pixels.

    Raises
    ------
    InputError
        The input cannot be used; the message says what came, what was expected and what to do.
    OptionError
        An option contradicts the input or another.

    Notes
    -----
    A pixel is invalid in a band where the data are NaN or infinite, the RMS or weight is not positive and finite, or
    the mask says that it is bad. The RMS of a weight plane is 1 / sqrt(weight). See `with_weight_scale` for
    weights that are evidently not inverse variances, such as exposure times.
    """
    if isinstance(bands, str):
        bands = [bands]
    files = OpenFiles()
    try:
        if isinstance(source, ImageSource):
            image = replace(source, files=files)
        else:
            found = _named(_bands(source, files, ext=ext), bands, name_of(source))
            for role, option in (("rms", rms), ("weight", weight), ("mask", dq)):
                if option is not None:
                    found = attach_planes(found, role, _planes_of_option(option, role, files, found))
            if dq_bits is not None:
                found = [_with_bits(band, dq_bits) for band in found]
            image = join_bands(found, name_of(source), files)
        if bands is not None:
            image = image.select(bands)
        if zero_points is not None:
            image = with_zero_points(image, zero_points)
    except BaseException:
        files.close()
        raise
    return image


def name_of(source: Any) -> str:
    """Name of an image: that of the file without endings, else ``"image"``."""
    if isinstance(source, str | os.PathLike):
        return Location.parse(source).stem
    if isinstance(source, SkyImage | ImageSource):
        return source.name
    if isinstance(source, Mapping) and source:
        stems = [name_of(value) for value in source.values()]
        same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*stems, strict=False))
        return "".join(letters[0] for letters in same).rstrip("_-. ") or stems[0]
    if isinstance(source, fits.HDUList) and source.filename():
        return Location(str(source.filename())).stem
    return "image"


def _bands(source: Any, files: OpenFiles, *, ext: Any = None, role: str = "science") -> list[Band]:
    """The one place that looks at the type of an input."""
    wanted = [] if ext is None else [parse_extension(one) for one in (ext if isinstance(ext, list) else [ext])]
    if isinstance(source, str | os.PathLike):
        location = Location.parse(source)
        if wanted and location.ext is not None:
            raise OptionError(f"{location} names an HDU, and ext={ext!r} another; leave one of them out")
        wanted = wanted or ([] if location.ext is None else [location.ext])
        if role == "science" and (head := Path(location.path).with_name(f"{location.stem}.head")).is_file():
            warn(
                f"{head} lies beside the image, as SCAMP writes it, and is not read: the WCS in the image counts; "
                "write its cards into the header of the image if they are to count"
            )
        with reading(location):
            return bands_of_hdus(files.get(location.path), location.path, ext=wanted, role=role)
    if isinstance(source, Mapping):
        return _bands_of_mapping(source, files, ext, role)
    if isinstance(source, fits.HDUList):
        return bands_of_hdus(source, None, ext=wanted, role=role)
    if ext is not None:
        raise OptionError(f"ext={ext!r} chooses HDUs of a FITS file, but a {type(source).__name__} came")
    if isinstance(source, fits.PrimaryHDU | fits.ImageHDU):
        return bands_of_hdus([source], None, ext=[0], role=role)
    if isinstance(source, SkyImage):
        return bands_of_image(source)
    nddata = sys.modules.get("astropy.nddata")  # takes half a second to import: it is there if anyone has made one
    if nddata is not None and isinstance(source, nddata.NDData):
        return bands_of_nddata(source, "the NDData")
    if hasattr(source, "__array__"):
        return bands_of_array(source, "the array", numbers_only=role != "mask")
    raise InputError(f"a {type(source).__name__} is not an image; expected {ACCEPTED}")


def _bands_of_mapping(source: Mapping, files: OpenFiles, ext: Any, role: str, known: Sequence[str] = ()) -> list[Band]:
    if not source:
        raise InputError("an empty mapping came; expected one input per band, such as {'F160W': 'h.fits'}")
    bands = []
    for key, value in source.items():
        name = canonical_band(key, known)
        found = _bands(value, files, ext=ext, role=role)
        same = [band for band in found if band.name == canonical_band(key, [str(one.name) for one in found])]
        if len(found) > 1 and len(same) != 1:
            raise InputError(
                f"band {name}: {found[0].data} and others are {len(found)} images, {len(same)} of them named {name}; "
                "name the HDU, as in FILE[1] or FILE[SCI]"
            )
        band = (same if len(found) > 1 else found)[0]
        if band.name and not same and looks_like_filter(band.name) and looks_like_filter(name):
            warn(f"{band.data} is given as band {name}, but its header says {band.name}; it is taken as {name}")
        bands.append(replace(band, name=name))
    return bands


def _planes_of_option(option: Any, role: str, files: OpenFiles, bands: list[Band]) -> list[Band] | Literal[False]:
    if option is False or (isinstance(option, str) and option.lower() == "none"):
        return False
    if isinstance(option, Mapping):
        return _bands_of_mapping(option, files, None, role, [str(band.name) for band in bands])
    return _bands(option, files, role=role)


def _named(bands: list[Band], names: Sequence[str] | None, origin: str) -> list[Band]:
    """Unnamed bands get the names given by option, or numbers."""
    if any(band.name for band in bands):
        return bands
    if names is None:
        return [replace(band, name=str(number)) for number, band in enumerate(bands, 1)]
    if len(names) != len(bands):
        shapes = bands[0].data.shape
        raise InputError(
            f"{origin} holds {len(bands)} image(s) of {shapes[0]} x {shapes[1]} px (y, x) without names, but "
            f"{len(names)} are named: {', '.join(names)}; a FITS cube has its bands first, an array last"
        )
    return [replace(band, name=canonical_band(name)) for band, name in zip(bands, names, strict=True)]


_UNCERTAINTIES = {"std": "rms", "var": "variance", "ivar": "weight"}
"""Kinds of noise planes, by the ``uncertainty_type`` of NDData's."""
_POWERS = {"rms": 1, "variance": 2, "weight": -2}
"""Of the unit of the data, that these kinds have."""


def bands_of_array(array: Any, origin: str, *, numbers_only: bool = True) -> list[Band]:
    """Bands of an array of shape ``(y, x)`` or ``(y, x, band)``, without names.

    Parameters
    ----------
    array : array_like, numpy.ma.MaskedArray or astropy.units.Quantity
        Masked elements are invalid; the unit is kept.
    origin : str
        What to call it in messages.
    numbers_only : bool
        False where bool is welcome, in masks.

    Raises
    ------
    InputError
        Not real numbers, or of another shape.
    """
    unit = array.unit if isinstance(array, u.Quantity) else None
    mask = np.ma.getmask(array)
    cube = _cube(np.ma.getdata(array), origin)
    if numbers_only and cube.dtype == bool:
        raise InputError(f"{origin} is of type bool; expected real numbers (a mask is given as dq=)")
    return _bands_of_cube(cube, origin, unit, masks=None if mask is np.ma.nomask else _cube(mask, f"mask of {origin}"))


def bands_of_nddata(nddata: "NDData", origin: str) -> list[Band]:
    """Bands of an NDData or CCDData: its mask, uncertainty, unit, WCS and header are used."""
    cube = _cube(np.asarray(nddata.data), origin)
    meta = nddata.meta if isinstance(nddata.meta, Mapping) else {}
    header = {str(keyword).upper(): value for keyword, value in meta.items()}
    wcs = _usable_wcs(nddata.wcs, cube.shape[:2], origin)
    masks = None if nddata.mask is None else _cube(np.broadcast_to(nddata.mask, nddata.data.shape), "mask")
    noise = None
    if nddata.uncertainty is not None:
        kind = _UNCERTAINTIES.get(nddata.uncertainty.uncertainty_type)
        if kind is None:
            name = type(nddata.uncertainty).__name__
            raise InputError(
                f"{origin}: uncertainty {name} is not understood; expected StdDev, Variance or InverseVariance"
            )
        values = nddata.uncertainty.array
        if nddata.unit is not None:  # that of the uncertainty may be another, such as mJy beside Jy
            values = nddata.uncertainty.quantity.to_value(nddata.unit ** _POWERS[kind])
        noise = kind, _cube(values, f"uncertainty of {origin}")
    return _bands_of_cube(cube, origin, nddata.unit, wcs, header, noise, masks)


def bands_of_image(image: SkyImage) -> list[Band]:
    """Bands of a SkyImage."""
    return [
        Band(
            name=name if image.has_band_names else None,
            data=ArrayPlane(image.data[:, :, k], image.name),
            noise=() if image.rms is None else (NoisePlane(ArrayPlane(image.rms[:, :, k], "rms"), "known_rms"),),
            masks=(MaskPlane(ArrayPlane(~image.valid[:, :, k], "mask")),),
            unit=image.units[k],
            zero_point=image.zero_points[k],
            wcs=image.wcs,
            meta=image.meta.get("bands", {}).get(name, {}),
        )
        for k, name in enumerate(image.bands)
    ]


def _bands_of_cube(
    cube: np.ndarray,
    origin: str,
    unit: u.UnitBase | None,
    wcs: WCS | None = None,
    header: Mapping | None = None,
    noise: tuple[str, np.ndarray] | None = None,
    masks: np.ndarray | None = None,
) -> list[Band]:
    text = None if unit is None or unit == u.dimensionless_unscaled else unit.to_string()
    header = header or {}
    name = filter_of(header, Camera.of(header, pixel_scale_of(wcs)))
    return [
        make_band(
            ArrayPlane(cube[:, :, k], origin),
            header,
            text,
            wcs,
            name=name,
            noise=() if noise is None else (NoisePlane(ArrayPlane(noise[1][:, :, k], "uncertainty"), noise[0]),),
            masks=() if masks is None else (MaskPlane(ArrayPlane(masks[:, :, k], "mask")),),
        )
        for k in range(cube.shape[2])
    ]


def _usable_wcs(wcs: Any, shape: tuple[int, int], origin: str) -> WCS | None:
    if wcs is None:
        return None
    problem: str | None = "it is not a two-dimensional celestial WCS of FITS"
    if isinstance(wcs, WCS) and wcs.has_celestial and wcs.naxis == 2:
        problem = problem_of_wcs(wcs, shape)
        if problem is None:
            return wcs
    warn(f"{origin}: the WCS is not usable and is left out ({problem})")
    return None


def _cube(array: Any, origin: str) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{origin} has values of type {array.dtype}; expected real numbers")
    if array.ndim not in (2, 3):
        raise InputError(f"{origin} has shape {array.shape}; expected (y, x) or (y, x, band)")
    if 0 in array.shape:
        raise InputError(f"{origin} has shape {array.shape}: it is empty; expected an image")
    cube = array if array.ndim == 3 else array[:, :, np.newaxis]
    if cube.shape[2] > 8 >= cube.shape[0]:
        raise InputError(
            f"{origin} has shape {array.shape}, as if its bands came first; arrays have them last, (y, x, band): "
            "write numpy.moveaxis(cube, 0, -1)"
        )
    return cube
