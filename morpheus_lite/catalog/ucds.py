"""Unified content descriptors (IVOA UCD1+) of the columns."""

import re

_SIZE = "phys.angSize"
_UCDS = {
    "label": "meta.id;meta.main",
    "parent_label": "meta.id.parent",
    "n_children": "meta.number",
    "(x|y)_(centroid|centroid_win|peak)": r"pos.cartesian.\1;instr.det",
    "(ra|dec)": r"pos.eq.\1;meta.main",
    "area": "phys.angArea",
    "semimajor_axis(_arcsec)?": f"{_SIZE}.smajAxis",
    "semiminor_axis(_arcsec)?": f"{_SIZE}.sminAxis",
    "(half_light_radius|r_petrosian)(_arcsec)?": _SIZE,
    "(sky_)?orientation": "pos.posAng",
    "ellipticity": "src.ellipticity",
    "snr": "stat.snr",
    "kron_radius|concentration|asymmetry|gini|m20": "src.morph.param",
    "(segment|kron|total|aper|shared)_flux_.*": "phot.flux",
    "(kron|total|aper)_mag_.*": "phot.mag",
    "(kron|total)_fnu_.*": "phot.flux.density",
    "(segment|kron|aper|shared)_covered_.*|[a-z]+_pixel_fraction": "stat.filling",
    "(local_)?background_.*": "instr.background",
    "flags(_.*)?": "meta.code.qual",
    "morphology": "src.morph.type",
    "p_[a-z_]+|class_confidence": "stat.probability",
}
_ERROR = re.compile(r"(.*)_err|([a-z]+_(?:flux|mag|fnu))err(_.*)")


def ucd_of(name: str) -> str | None:
    """Return the descriptor of a column; None where there is no fitting one.

    Examples
    --------
    >>> ucd_of("ra"), ucd_of("kron_fluxerr_F160W"), ucd_of("x_centroid_err")
    ('pos.eq.ra;meta.main', 'stat.error;phot.flux', 'stat.error;pos.cartesian.x;instr.det')
    """
    if error := _ERROR.fullmatch(name):
        of_what = ucd_of(error[1] or error[2] + error[3])
        # Of an error, only the quantity itself may be the main one.
        return None if of_what is None else f"stat.error;{of_what.removesuffix(';meta.main')}"
    for pattern, ucd in _UCDS.items():
        if found := re.fullmatch(pattern, name):
            return found.expand(ucd)
    return None
