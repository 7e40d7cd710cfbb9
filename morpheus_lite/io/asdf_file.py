"""Images of Roman in ASDF, as the HDUs of a FITS file in memory."""

import io
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits

from morpheus_lite.errors import InputError, reading
from morpheus_lite.io.fitsfile import Location

log = logging.getLogger(__name__)

_PLANES = {"data": "SCI", "err": "ERR", "dq": "DQ"}
_WCS_ERROR = 0.05
"""Largest difference in pixels between the WCS of the file and the SIP polynomials that stand for it."""


def open_asdf(path: str) -> fits.HDUList:
    """Read an image of Roman: exposures (``cal``) and coadds (``coadd``, ``i2d``).

    Parameters
    ----------
    path : str
        Path of a file whose tree holds ``roman``, with ``data``, and ``err``, ``dq``, ``meta`` where they are known.

    Returns
    -------
    astropy.io.fits.HDUList
        SCI, ERR and DQ, with filter, unit, photometry and WCS in the headers; in memory. The WCS is TAN with SIP
        polynomials that follow that of the file within 0.05 px.

    Raises
    ------
    InputError
        asdf or gwcs is not installed, or the file is not such an image.
    """
    try:
        import asdf
        import gwcs
    except ImportError as error:
        raise InputError(f"{path}: reading ASDF needs asdf and gwcs: pip install 'morpheus-lite[roman]'") from error
    Location(path).require_file()
    with (
        reading(path, form=" as ASDF"),
        warnings.catch_warnings(action="ignore"),  # of tags of roman_datamodels, which is not needed
        asdf.open(path, lazy_load=False, memmap=False) as file,
    ):
        tree = file.tree.get("roman")
        if not isinstance(tree, Mapping) or getattr(tree.get("data"), "ndim", 0) != 2:
            raise InputError(f"{path} holds no image under roman.data; its tree has {', '.join(file.tree)}")
        stream = io.BytesIO()
        _hdus(tree, gwcs.WCS, path).writeto(stream)
        stream.seek(0)
        return fits.open(stream, memmap=False, do_not_scale_image_data=True)  # as if from a file that is open


def _hdus(tree: Mapping[str, Any], kind_of_wcs: Any, path: str) -> fits.HDUList:
    meta = tree.get("meta", {})
    data = tree["data"]
    header = _wcs_header(meta.get("wcs"), kind_of_wcs, np.shape(data), path)
    instrument, photometry = meta.get("instrument", {}), meta.get("photometry", {})
    is_coadd = "weight" in tree or "context" in tree
    unit = getattr(data, "unit", None)
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"] = "ROMAN"
    primary.header["INSTRUME"] = str(instrument.get("name", "WFI"))
    band = instrument.get("optical_element") or meta.get("basic", {}).get("optical_element")
    if band:
        primary.header["FILTER"] = str(band)
    header["BUNIT"] = unit.to_string() if unit is not None else "MJy/sr" if is_coadd else "DN/s"
    for keyword, name in (("PHOTMJSR", "conversion_megajanskys"), ("PIXAR_SR", "pixel_area")):
        value = getattr(photometry.get(name), "value", photometry.get(name))
        if value is not None and not (is_coadd and keyword == "PHOTMJSR"):
            header[keyword] = float(value)
    hdus = [primary]
    for key, name in _PLANES.items():
        if key in tree and np.shape(tree[key]) == np.shape(data):
            plane = np.asarray(getattr(tree[key], "value", tree[key]))
            plane = plane.astype(np.int64) if key == "dq" else plane.astype(np.float32)
            hdus.append(fits.ImageHDU(plane, header, name=name))
    return fits.HDUList(hdus)


def _wcs_header(wcs: Any, kind: Any, shape: tuple[int, ...], path: str) -> fits.Header:
    """The WCS as cards of a FITS header; empty, with a warning, where there is none."""
    if not isinstance(wcs, kind):
        log.warning("%s: the file has no WCS that can be read; the products will have none", path)
        return fits.Header()
    height, width = shape
    if wcs.bounding_box is None:
        wcs.bounding_box = ((-0.5, width - 0.5), (-0.5, height - 0.5))
    return wcs.to_fits_sip(max_pix_error=_WCS_ERROR, max_inv_pix_error=None)
