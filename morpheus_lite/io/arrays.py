"""Bands from arrays in memory: NumPy, masked, Quantity, NDData and CCDData, SkyImage."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.wcs import WCS

from morpheus_lite.core.image import SkyImage, pixel_scale_of
from morpheus_lite.errors import InputError, warn
from morpheus_lite.io.image_reader import ArrayPlane, Band, MaskPlane, NoisePlane, make_band
from morpheus_lite.io.naming import Camera, filter_of
from morpheus_lite.io.wcs import problem_of_wcs

if TYPE_CHECKING:
    from astropy.nddata import NDData

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
    return _bands(cube, origin, unit, masks=None if mask is np.ma.nomask else _cube(mask, f"mask of {origin}"))


def bands_of_nddata(nddata: "NDData", origin: str) -> list[Band]:
    """Bands of an NDData or CCDData: its mask, uncertainty, unit, WCS and header are used."""
    cube = _cube(np.asarray(nddata.data), origin)
    meta = nddata.meta if isinstance(nddata.meta, Mapping) else {}
    header = {str(keyword).upper(): value for keyword, value in meta.items()}
    wcs = _celestial(nddata.wcs, cube.shape[:2], origin)
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
    return _bands(cube, origin, nddata.unit, wcs, header, noise, masks)


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


def _bands(
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


def _celestial(wcs: Any, shape: tuple[int, int], origin: str) -> WCS | None:
    if wcs is None:
        return None
    problem: str | None = "it is no two-dimensional celestial one of FITS"
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
