"""The door: whatever a user has of an image becomes an `ImageSource`, and a `SkyImage` when it is read."""

import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from astropy.io import fits

from morpheus_lite.core.image import SkyImage, canonical_band
from morpheus_lite.errors import InputError, OptionError, reading
from morpheus_lite.io.arrays import bands_of_array, bands_of_image, bands_of_nddata
from morpheus_lite.io.assembly import attach_planes, describe, with_bits, with_zero_points
from morpheus_lite.io.fitsfile import Extension, Location, parse_extension
from morpheus_lite.io.hdus import bands_of_hdus
from morpheus_lite.io.image_reader import Band, ImageDescription, ImageSource, OpenFiles

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
    source : path, array, HDU, HDUList, NDData, Quantity, SkyImage, mapping or ImageDescription
        A FITS file may be ``"img.fits"``, ``"img.fits[SCI]"``, ``"img.fits[SCI,1]"`` or ``"img.fits[1]"``, plain,
        .fz or .gz (which is decompressed into memory as a whole). Without an HDU, the images in it are taken
        as bands, named by FILTER, FILTER1 and FILTER2, or EXTNAME. In FITS cubes the band axis is the first
        ``(band, y, x)``, in arrays the last ``(y, x, band)``. A mapping gives one input a band.
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
    the mask says that it is bad. The RMS of a weight plane is 1 / sqrt(weight). See `morpheus_lite.io.plausibility` for
    weights that are evidently not inverse variances, such as exposure times.
    """
    if isinstance(bands, str):
        bands = [bands]
    files = OpenFiles()
    try:
        description = source if isinstance(source, ImageDescription) else None
        if description is None:
            found = _named(_bands(source, files, ext=ext), bands, name_of(source))
            for role, option in (("rms", rms), ("weight", weight), ("mask", dq)):
                known = [str(band.name) for band in found]
                found = attach_planes(found, role, _planes_by_band(option, role, files, known))
            if dq_bits is not None:
                found = [with_bits(band, dq_bits) for band in found]
            description = describe(found, name_of(source), files)
        if bands is not None:
            description = description.select(bands)
        if zero_points is not None:
            description = with_zero_points(description, zero_points)
    except BaseException:
        files.close()
        raise
    return ImageSource(description, files)


def name_of(source: Any) -> str:
    """Name of an image: that of the file without endings, else ``"image"``."""
    if isinstance(source, str | os.PathLike):
        return Location.parse(source).stem
    if isinstance(source, SkyImage | ImageDescription):
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
    if _is_nddata(source):
        return bands_of_nddata(source, "the NDData")
    if hasattr(source, "__array__"):
        return bands_of_array(source, "the array", numbers_only=role != "mask")
    raise InputError(f"a {type(source).__name__} is not an image; expected {ACCEPTED}")


def _is_nddata(source: Any) -> bool:
    """True for NDData, whose module takes half a second to import: it is there if anyone has made one."""
    module = sys.modules.get("astropy.nddata")
    return module is not None and isinstance(source, module.NDData)


def _bands_of_mapping(source: Mapping, files: OpenFiles, ext: Any, role: str, known: Sequence[str] = ()) -> list[Band]:
    if not source:
        raise InputError("an empty mapping came; expected one input a band, such as {'F160W': 'h.fits'}")
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
        bands.append(replace((same if len(found) > 1 else found)[0], name=name))
    return bands


def _planes_by_band(
    option: Any, role: str, files: OpenFiles, known: Sequence[str]
) -> list[Band] | Literal[False] | None:
    if option is None or option is False:
        return option
    if isinstance(option, str) and option.lower() == "none":
        return False
    if isinstance(option, Mapping):
        return _bands_of_mapping(option, files, None, role, known)
    found = _bands(option, files, role=role)
    return [replace(band, meta={}) for band in found]


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
