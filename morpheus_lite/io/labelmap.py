"""Segmentation maps of any tool."""

import numpy as np

from morpheus_lite.errors import InputError
from morpheus_lite.io.fitsfile import describe_hdus, find_hdu, is_image, open_fits
from morpheus_lite.io.location import Location
from morpheus_lite.labels import check_labels

_NAMES = ("SEGMENTATION", "SEGMAP", "SEGM", "SEG", "LABELS")


def read_labels(source: str) -> np.ndarray:
    """Read a segmentation map.

    Parameters
    ----------
    source : str
        FITS file, with ``[EXT]`` behind it where it is not clear which HDU: one named SEGMENTATION, SEGMAP or the
        like is taken by itself, else the only image there is.

    Returns
    -------
    numpy.ndarray
        int32, shape ``(y, x)``, 0 is sky. Whole numbers that were stored as floats are taken as what they are.

    Raises
    ------
    InputError
        There is no such file or image, or it does not hold whole numbers in two dimensions.
    """
    location = Location.parse(source)
    location.require_file()
    with open_fits(location.path) as hdus:
        images = [number for number, hdu in enumerate(hdus) if is_image(hdu)]
        named = [number for number in images if hdus[number].name.upper() in _NAMES]
        if location.ext is not None:
            number = find_hdu(hdus, location.ext, location.path)
        elif len(named or images) == 1:
            number = (named or images)[0]
        else:
            raise InputError(
                f"{source}: it is not clear which image is the segmentation map; say so, as in FILE[1]. It has\n"
                f"{describe_hdus(hdus)}"
            )
        plane = np.asarray(hdus[number].data)
    if plane.ndim != 2:
        raise InputError(f"{source}: the segmentation map has {plane.ndim} dimensions; expected two, (y, x)")
    if plane.dtype.kind == "f":
        if not (np.isfinite(plane).all() and (plane == np.rint(plane)).all() and np.abs(plane).max() < 2**31):
            raise InputError(f"{source}: the segmentation map holds {plane.dtype} values that are not whole numbers")
        plane = plane.astype(np.int64)
    return check_labels(plane, plane.shape)
