"""The celestial WCS of a header, and whether those of two bands agree."""

import re
import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morpheus_lite.errors import InputError, warn
from morpheus_lite.io.untrusted import WCS_NUMBER, check_wcs

MAX_OFFSET = 0.5
"""How far, in pixels, the WCS of two bands may disagree about a place on the sky."""

SMALL_OFFSET = 0.1
"""How far, in pixels, they may disagree without a warning."""

MAX_STRETCH = 0.05
"""How much the area of a pixel in the middle of an image may differ from that at the reference without a warning."""

MAX_LOST = 0.01
"""How much distortion, in pixels, products may lack without a warning."""

_OTHER_AXIS = re.compile(
    r"^((NAXIS|CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|CNAME|CRDER|CSYER)([3-9]|\d\d+)"
    r"|(CD|PC)(\d+_([3-9]|\d\d+)|([3-9]|\d\d+)_\d+)|(PV|PS)([3-9]|\d\d+)_\d+|WCSAXES)$"
)
_MATRIX = re.compile(r"^(PC\d_\d|CDELT\d|CROTA\d)$")
_TEXT_NUMBER = re.compile(r"^[JB]?([+-]?\d+\.?\d*([ED][+-]?\d+)?)$", re.IGNORECASE)
_FRAMES = ("RA", "GLON")
_RADESYS = {"ICR": "ICRS", "FK5": "FK5", "J2000": "FK5", "FK4-NO-E": "FK4-NO-E", "FK4": "FK4", "B1950": "FK4"}
"""How spellings of a frame begin, and how the standard has it."""
_NOT_OF_THE_SKY = re.compile(
    r"EXT(NAME|VER|LEVEL|END)|(CHECK|DATA)SUM|SIMPLE|XTENSION|[PG]COUNT|BITPIX|BSCALE|BZERO|BLANK|BUNIT|ABZP|MAGZERO"
    r"|ZEROPNT|PHOT\w+|FILTER\w*|COMMENT|HISTORY|"
)
"""Cards in which bands of one image differ."""
_OF_TABLES = "CPDIS", "D2IM", "AXISCORR"
"""How cards begin that name tables of distortion."""
_SIP = re.compile(r"^(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)$")


def celestial_wcs(
    header: fits.Header, shape: tuple[int, int], origin: str, hdus: fits.HDUList | None = None
) -> WCS | None:
    """Two-dimensional celestial WCS of a header.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the image.
    shape : (int, int)
        Height and width in pixels.
    origin : str
        What to call the image in warnings.
    hdus : astropy.io.fits.HDUList or None
        The file, where tables of distortion would lie.

    Returns
    -------
    astropy.wcs.WCS or None
        None without celestial axes. A WCS that cannot be parsed, or that does not lead from the middle of the
        image to the sky and back, gives a warning and None.

    Notes
    -----
    astropy's repairs of headers are used, such as CUNIT ``"degree"``. Beyond these, each with a warning:

    1. SIP keywords without ``-SIP`` in CTYPE are left over from before the image was resampled, and are dropped.
    2. Where CDi_j and PCi_j disagree, CDi_j is taken.
    3. RADESYS in the words of archives (``J2000``, ``ICRF``, ``icrs``) is read; one that no one knows is left out, so
       that EQUINOX says the frame, or nothing, which is ICRS.
    4. Distortion that a header cannot carry (lookup tables) counts for positions, and is missing in products.

    Numbers in quotes (EQUINOX ``'J2000.0'``) are numbers, which wcslib would pass over.
    """
    text = _text_of(header)
    wcs, doubts = _wcs_of_text(text, shape) if text else _read_wcs(header, shape, hdus)
    for doubt in doubts:
        warn(f"{origin}: {doubt}")
    return wcs and wcs.deepcopy()


def _text_of(header: fits.Header) -> str:
    """Text of the cards about the sky, which most bands of a file have in common.

    Empty where more than these is to be read: tables of distortion, or cards that are broken.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            cards = [str(card) for card in header.cards if not _NOT_OF_THE_SKY.fullmatch(card.keyword)]
    except (ValueError, fits.VerifyError):
        return ""
    return "" if any(card.startswith(_OF_TABLES) for card in cards) else "".join(cards)


@lru_cache(maxsize=16)
def _wcs_of_text(text: str, shape: tuple[int, int]) -> tuple[WCS | None, tuple[str, ...]]:
    return _read_wcs(fits.Header.fromstring(text), shape)


def _read_wcs(
    header: fits.Header, shape: tuple[int, int], hdus: fits.HDUList | None = None
) -> tuple[WCS | None, tuple[str, ...]]:
    """Read the WCS of a header, and what there is to say about it."""
    doubts: list[str] = []
    try:
        header = header.copy()
        for mend in (_leave_two_axes, _unquote_numbers, _drop_stale_sip, _leave_one_matrix, _name_frame):
            mend(header, doubts)
        with warnings.catch_warnings(action="ignore"):
            check_wcs(header, hdus)
            wcs = WCS(header, fobj=hdus)
            kinds = [str(header.get(f"CTYPE{axis}", "")).upper() for axis in (1, 2)]
            if not wcs.has_celestial and not any(kind.startswith(_FRAMES) for kind in kinds):
                return None, tuple(doubts)
            problem = None if wcs.has_celestial else f"its axes are {' and '.join(kinds)}, which are not a projection"
            problem = problem or _zero_scale(header) or problem_of_wcs(wcs, shape)
            stretch = 1.0 if problem else pixel_area(wcs, shape) / wcs.proj_plane_pixel_area().to_value("sr")
    # wcslib and astropy raise a dozen types on broken headers, from InvalidTransformError to KeyError.
    except Exception as error:
        problem = " ".join(str(error).split()) or type(error).__name__
    if problem is not None:
        return None, (*doubts, f"the WCS is not usable and is left out ({problem})")
    wcs.array_shape = shape
    _note_lost_distortion(wcs, shape, doubts)
    if abs(stretch - 1) > MAX_STRETCH:
        doubts.append(
            f"a pixel in the middle of the image has {stretch:.3g} times the area of one at the reference of "
            "the WCS, by which radii in arcsec are; resample the image to a projection around its middle"
        )
    return wcs, tuple(doubts)


def _drop(header: fits.Header, wanted: re.Pattern[str]) -> None:
    """Take the keywords that match out of a header."""
    for keyword in list(filter(wanted.match, header)):
        del header[keyword]


def _leave_two_axes(header: fits.Header, doubts: list[str]) -> None:
    """Take other axes out of a header: of a cube, the first two are the sky.

    `WCS` can leave axes out by itself, but does so before it repairs the header.
    """
    _drop(header, _OTHER_AXIS)
    header["NAXIS"] = 2


def _unquote_numbers(header: fits.Header, doubts: list[str]) -> None:
    """Write numbers where a header has them in quotes."""
    for keyword in filter(WCS_NUMBER.fullmatch, dict.fromkeys(header)):
        text = header[keyword]
        if isinstance(text, str) and (match := _TEXT_NUMBER.match(text.strip())):
            header[keyword] = float(match[1].upper().replace("D", "E"))


def _leave_one_matrix(header: fits.Header, doubts: list[str]) -> None:
    """Leave CDi_j alone in a header that has PCi_j as well, of which wcslib takes PCi_j."""
    elements = [f"{axis}_{pixel}" for axis in (1, 2) for pixel in (1, 2)]
    cd, pc = ([header.get(f"{kind}{one}") for one in elements] for kind in ("CD", "PC"))
    if not any(cd) or all(one is None for one in pc):
        return
    try:
        matrix = np.array([float(one or 0) for one in cd])
        rotation = [float(identity if one is None else one) for one, identity in zip(pc, (1, 0, 0, 1), strict=True)]
        other = np.array(rotation) * np.repeat([float(header.get(f"CDELT{axis}", 1)) for axis in (1, 2)], 2)
        same = np.abs(matrix - other).max() < 1e-3 * np.abs(matrix).max()
    except (TypeError, ValueError):
        same = False
    if not same:
        doubts.append("the header has both CDi_j and PCi_j, and they disagree; CDi_j is taken")
    _drop(header, _MATRIX)


def _note_lost_distortion(wcs: WCS, shape: tuple[int, int], doubts: list[str]) -> None:
    with warnings.catch_warnings(action="ignore"):
        try:
            x, y = _corners_and_middle(shape)
            whole, carried = (one.pixel_to_world(x, y) for one in (wcs, WCS(header_of_wcs(wcs))))
            side = wcs.proj_plane_pixel_area() ** 0.5
            lost = float(np.nanmax((whole.separation(carried) / side).to_value("")))
        # As above: wcslib and astropy raise a dozen types.
        except Exception:
            lost = np.inf
    if not lost <= MAX_LOST:
        tables = [name for name in ("cpdis1", "cpdis2", "det2im1", "det2im2") if getattr(wcs, name) is not None]
        what = f"distortion in lookup tables ({', '.join(tables)})" if tables else "a part of the WCS"
        doubts.append(
            f"{what}, of up to {lost:.2f} px, cannot be written to a header: right ascension and "
            "declination in the catalogue are right, but the WCS of the maps lacks it"
        )


def _zero_scale(header: fits.Header) -> str | None:
    """The scale of an axis that is 0, which wcslib takes for 1 degree per pixel."""
    if any(_MATRIX.match(keyword) for keyword in header):
        return next((f"CDELT{axis} is 0" for axis in (1, 2) if header.get(f"CDELT{axis}") == 0), None)
    rows = [[header.get(f"CD{axis}_{pixel}", 0) for pixel in (1, 2)] for axis in (1, 2)]
    return next((f"CD{axis}_1 and CD{axis}_2 are 0" for axis, row in enumerate(rows, 1) if not any(row)), None)


def pixel_area(wcs: WCS, shape: tuple[int, int]) -> float:
    """Area in steradian of the pixel in the middle of an image, on the sky itself."""
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    right, left, top, bottom = np.moveaxis(
        wcs.pixel_to_world(x + np.array([0.5, -0.5, 0, 0]), y + np.array([0, 0, 0.5, -0.5])).cartesian.xyz.value, 1, 0
    )
    return float(np.linalg.norm(np.cross(right - left, top - bottom)))


def problem_of_wcs(wcs: WCS, shape: tuple[int, int]) -> str | None:
    """Say why a celestial WCS is of no use for an image of this shape; None where it is."""
    if wcs.wcs.lngtyp.strip() not in _FRAMES:
        # astropy takes every other pair of axes, such as the ecliptic ones, for right ascension and declination.
        return f"its axes are {wcs.wcs.lngtyp} and {wcs.wcs.lattyp}; expected RA and DEC, or GLON and GLAT"
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    sky = wcs.all_pix2world(x, y, 0)
    if not np.isfinite(sky).all():
        return "the middle of the image has no position on the sky"
    back = wcs.all_world2pix(*sky, 0)
    offset = float(np.hypot(back[0] - x, back[1] - y))
    return None if offset < MAX_OFFSET else f"from the middle of the image to the sky and back is {offset:.1f} px off"


def _drop_stale_sip(header: fits.Header, doubts: list[str]) -> None:
    types = [str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2)]
    if "A_ORDER" in header and not any(kind.endswith("-SIP") for kind in types):
        doubts.append(
            f"the header has SIP distortion but CTYPE is {types[0]}; the distortion is taken to be left over "
            "from before resampling, and is ignored"
        )
        _drop(header, _SIP)


def _name_frame(header: fits.Header, doubts: list[str]) -> None:
    """Write RADESYS in the spelling of the standard; astropy gives no position for others."""
    for keyword in ("RADESYS", "RADECSYS"):
        text = str(header.get(keyword, "")).strip()
        name = next((name for start, name in _RADESYS.items() if text.upper().startswith(start)), None)
        if name is not None:
            header[keyword] = name
        elif text:
            del header[keyword]
            doubts.append(f"{keyword} {text!r} is not a known frame, and is left out")


def check_alignment(wcs: Sequence[WCS | None], shape: tuple[int, int], origins: Sequence[str]) -> None:
    """Raise `InputError` where two bands disagree about the sky by more than half a pixel; warn of less.

    Parameters
    ----------
    wcs : sequence of (astropy.wcs.WCS or None)
        One per band; bands without one are taken to be aligned.
    shape : (int, int)
        Height and width in pixels.
    origins : sequence of str
        What to call each band.
    """
    known = [(one, origin) for one, origin in zip(wcs, origins, strict=True) if one is not None]
    for other, origin in known[1:]:
        first, first_origin = known[0]
        x, y, offset = _largest_offset(first, other, shape)
        if not offset <= MAX_OFFSET:
            raise InputError(
                f"{origin} is not aligned with {first_origin}: their WCS differ by {offset:.2f} px at "
                f"x = {x:.0f}, y = {y:.0f} (at most {MAX_OFFSET} px is allowed); resample the bands to one grid first"
            )
        if offset > SMALL_OFFSET:
            warn(
                f"{origin} and {first_origin}: their WCS differ by {offset:.2f} px at x = {x:.0f}, y = {y:.0f}; pixels "
                "are taken to coincide, and colours in small apertures suffer"
            )


def _largest_offset(first: WCS, other: WCS, shape: tuple[int, int]) -> tuple[float, float, float]:
    x, y = _corners_and_middle(shape)
    there = other.all_world2pix(*first.all_pix2world(x, y, 0), 0, quiet=True)
    offsets = np.hypot(there[0] - x, there[1] - y)
    worst = int(np.nanargmax(offsets)) if np.isfinite(offsets).any() else 0
    return float(x[worst]), float(y[worst]), float(offsets[worst])


def _corners_and_middle(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    height, width = shape
    x = np.array([0, width - 1, 0, width - 1, (width - 1) / 2])
    y = np.array([0, 0, height - 1, height - 1, (height - 1) / 2])
    return x, y


def header_of_wcs(wcs: WCS) -> fits.Header:
    """Keywords of a WCS, with its SIP or TPV distortion."""
    with warnings.catch_warnings(action="ignore"):
        return wcs.to_header(relax=True)
