"""Photon noise of the sources themselves: electrons in one unit of data, from an option or the header."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from astropy import units as u

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.units import count_scale, kind_of_unit, parse_unit

GAIN_KEYWORDS = ("EGAIN", "GAIN", "CCDGAIN", "ATODGAIN")
"""Keywords taken as electrons in a count, the first found counts."""


@dataclass(frozen=True)
class Gain:
    """Gain of one band, for the photon noise of sources.

    Parameters
    ----------
    value : float or None
        Electrons in one unit of data; None adds no photon noise.
    statement : str
        Where it comes from, or why there is none; in the catalogue's metadata.
    """

    value: float | None
    statement: str


def find_gains(image: SkyImage, option: float | Mapping[str, float] | None) -> list[Gain]:
    """Gain of each band.

    Parameters
    ----------
    image : SkyImage
        Units and headers of its bands.
    option : float, mapping of band to float, or None
        Electrons in one unit of data, which goes before what the header says.

    Returns
    -------
    list of Gain
        One per band. Without an option, RMS planes that came as such are taken to hold the photon noise, as the ERR
        planes of HST and JWST do; those made of weight maps, which do not, get it added.
    """
    return [_gain_of_band(image, k, option) for k in range(image.n_bands)]


def _gain_of_band(image: SkyImage, index: int, option: float | Mapping[str, float] | None) -> Gain:
    band = image.bands[index]
    given = option.get(band) if isinstance(option, Mapping) else option
    if given is not None:
        return Gain(float(given), f"added: {given:g} electrons in a unit of data, as given")
    known = image.meta.get("bands", {}).get(band, {})
    from_weights = any(str(kind).startswith("weight") for kind in known.get("noise", ()))
    if image.rms is not None and not from_weights:
        return Gain(None, "as far as the RMS plane holds it")
    return gain_of_header(known.get("header", {}), image.units[index])


def gain_of_header(header: Mapping[str, Any], unit: str | None) -> Gain:
    """Electrons in one unit of data, from unit, gain and exposure time.

    Examples
    --------
    >>> gain_of_header({"EXPTIME": 1200.0}, "ELECTRONS/S").value
    1200.0
    >>> gain_of_header({}, "nJy").value is None
    True
    """
    parsed = parse_unit(unit)
    if parsed is None or kind_of_unit(parsed) not in ("rate", "counts"):
        return Gain(None, f"not included: gain unknown for data in {unit or 'an unknown unit'}")
    value, source = count_scale(parsed), []
    if not {u.electron, u.photon} & set(parsed.bases):
        keyword = next((name for name in GAIN_KEYWORDS if _positive(header.get(name))), None)
        if keyword is None:
            return Gain(None, f"not included: data in {unit}, and the header has no GAIN")
        value, source = value * float(header[keyword]), [keyword]
    if kind_of_unit(parsed) == "rate":
        if not _positive(header.get("EXPTIME")):
            return Gain(None, f"not included: data in {unit}, and the header has no EXPTIME")
        value, source = value * float(header["EXPTIME"]), [*source, "EXPTIME"]
    return Gain(value, f"added: {value:g} electrons in a unit of data, from {' and '.join([*source, 'BUNIT'])}")


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
