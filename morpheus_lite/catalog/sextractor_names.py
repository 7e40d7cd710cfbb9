"""The catalogue under the names that SExtractor gives its columns."""

import numpy as np
from astropy.table import Column, QTable

from morpheus_lite.catalog.table import COLUMNS
from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.core.image import reference_band_of
from morpheus_lite.errors import InputError

_FROM_ONE = ("X_IMAGE", "Y_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE", "XPEAK_IMAGE", "YPEAK_IMAGE")
_ANGLES = ("THETA_IMAGE", "THETA_J2000")


def sextractor_columns(table: QTable) -> QTable:
    """A catalogue with SExtractor's names and conventions where it has such a column.

    Parameters
    ----------
    table : astropy.table.QTable
        As `~morpheus_lite.catalog.measure` returns it. Not changed.

    Returns
    -------
    astropy.table.QTable
        The same rows and columns. ``X_IMAGE`` and its like count from 1; ``THETA_IMAGE`` lies between -90 and 90
        degrees; ``KRON_RADIUS`` is the scaled radius in
        units of ``A_IMAGE``; ``FLAGS`` has the bits of SExtractor (1 neighbours or bad pixels, 2 blended, 4
        saturated, 8 cut by the edge), and ``MORPHEUS_FLAGS`` those of this package. The fluxes of the
        detection band, or where all bands detect of the reference band (``meta["reference_band"]``: F160W, or the
        first), have the plain name, such as ``FLUX_AUTO``; other bands', ``FLUX_AUTO_F606W``. Circular apertures of
        radius r are ``FLUX_APER_r``. Names without a counterpart become upper case.

    Raises
    ------
    InputError
        The table is not a catalogue of this package.
    """
    missing = [name for name in ("label", "x_centroid", "flags") if name not in table.colnames]
    if missing:
        raise InputError(f"the table has no column {', '.join(missing)}: expected a catalogue of this package")
    detection = reference_band_of(table.meta)
    renamed = QTable(meta=dict(table.meta))
    for name in table.colnames:
        new = sextractor_name(name, detection)
        column, described = table[name], table[name].info
        unit = 1 if column.unit is None else 1 * column.unit
        description = described.description
        if new in _FROM_ONE:
            column, description = column + unit, f"{description}; here counted from 1"
        elif new in _ANGLES:
            column, description = (column + 90 * unit) % (180 * unit) - 90 * unit, f"{description}; here -90 to 90"
        elif new == "KRON_RADIUS":
            column = column * float(table.meta.get("kron_scale", 2.5))
            description = "semi-major axis of the Kron ellipse, in units of A_IMAGE"
        renamed[new] = column
        renamed[new].info.description, renamed[new].info.meta = description, dict(described.meta or {})
    renamed["FLAGS"] = Column(_sextractor_flags(np.asarray(table["flags"])), description="bits of SExtractor")
    return renamed


def sextractor_name(name: str, detection: str) -> str:
    """SExtractor's name of a column.

    Examples
    --------
    >>> sextractor_name("kron_flux_F160W", "F160W"), sextractor_name("aper_fluxerr_0p5_F606W", "F160W")
    ('FLUX_AUTO', 'FLUXERR_APER_0P5_F606W')
    """
    if name in COLUMNS["sextractor"]:
        return COLUMNS["sextractor"][name]
    if name == "flags" or name.startswith("flags_"):
        return f"MORPHEUS_{name.upper()}"
    for ours, theirs in COLUMNS["sextractor_bands"].items():
        if name.startswith(ours + "_"):
            return _with_band(theirs, name[len(ours) + 1 :], detection)
    if name.startswith("aper_") and not name.startswith("aper_covered_"):
        kind, radius, band = name.removeprefix("aper_").split("_", 2)
        return _with_band(f"{kind.upper()}_APER_{radius.upper()}", band, detection)
    return name.upper()


def _with_band(name: str, band: str, detection: str) -> str:
    return name if band == detection else f"{name}_{band}"


def _sextractor_flags(flags: np.ndarray) -> np.ndarray:
    found = np.zeros(flags.shape, dtype=np.int32)
    for ours, theirs in COLUMNS["sextractor_flags"].items():
        found |= np.where(flags & int(SourceFlag[ours]), np.int32(theirs), np.int32(0))
    return found
