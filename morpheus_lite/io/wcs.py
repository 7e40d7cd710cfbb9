"""The celestial WCS of a header, and whether those of two bands agree."""

import re
import warnings
from collections.abc import Sequence

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morpheus_lite.errors import InputError

MAX_OFFSET = 0.5
"""How far, in pixels, the WCS of two bands may disagree about a place on the sky."""

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
        image to the sky and back, gives a warning and None. SIP keywords without ``-SIP`` in CTYPE are left over
        from before the image was resampled, and are dropped with a warning.
    """
    header = _without_stale_sip(header, origin)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The first two axes: of a cube, the sky.
            wcs = WCS(header, fobj=hdus, naxis=2)
            if not wcs.has_celestial:
                return None
            problem = _problem(wcs, shape)
    # wcslib and astropy raise a dozen types on broken headers, from InvalidTransformError to KeyError.
    except Exception as error:
        problem = " ".join(str(error).split()) or type(error).__name__
    if problem is not None:
        warnings.warn(f"{origin}: the WCS is not usable and is left out ({problem})", UserWarning, stacklevel=2)
        return None
    wcs.array_shape = shape
    return wcs


def _problem(wcs: WCS, shape: tuple[int, int]) -> str | None:
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    sky = wcs.all_pix2world(x, y, 0)
    if not np.isfinite(sky).all():
        return "the middle of the image has no position on the sky"
    back = wcs.all_world2pix(*sky, 0)
    offset = float(np.hypot(back[0] - x, back[1] - y))
    return None if offset < MAX_OFFSET else f"from the middle of the image to the sky and back is {offset:.1f} px off"


def _without_stale_sip(header: fits.Header, origin: str) -> fits.Header:
    types = [str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2)]
    if "A_ORDER" not in header or any(kind.endswith("-SIP") for kind in types):
        return header
    header = header.copy()
    for keyword in [keyword for keyword in header if _SIP.match(keyword)]:
        del header[keyword]
    warnings.warn(
        f"{origin}: the header has SIP distortion but CTYPE is {types[0]}; the distortion is taken to be left over "
        "from before resampling, and is ignored",
        UserWarning,
        stacklevel=3,
    )
    return header


def check_alignment(wcs: Sequence[WCS | None], shape: tuple[int, int], origins: Sequence[str]) -> None:
    """Raise `InputError` where two bands disagree about the sky by more than half a pixel.

    Parameters
    ----------
    wcs : sequence of (astropy.wcs.WCS or None)
        One a band; bands without one are taken to be aligned.
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


def _largest_offset(first: WCS, other: WCS, shape: tuple[int, int]) -> tuple[float, float, float]:
    height, width = shape
    x = np.array([0, width - 1, 0, width - 1, (width - 1) / 2])
    y = np.array([0, 0, height - 1, height - 1, (height - 1) / 2])
    there = other.all_world2pix(*first.all_pix2world(x, y, 0), 0, quiet=True)
    offsets = np.hypot(there[0] - x, there[1] - y)
    worst = int(np.nanargmax(offsets)) if np.isfinite(offsets).any() else 0
    return float(x[worst]), float(y[worst]), float(offsets[worst])


def header_of_wcs(wcs: WCS) -> fits.Header:
    """Keywords of a WCS, with its SIP or TPV distortion."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return wcs.to_header(relax=True)
