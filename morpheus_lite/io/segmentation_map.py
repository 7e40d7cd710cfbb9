"""Segmentation maps of any tool, and other planes of whole numbers."""

from collections.abc import Sequence

import numpy as np

from morpheus_lite.core.labels import check_labels
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, reading
from morpheus_lite.io.fitsfile import Location, describe_hdus, find_hdu, is_image, open_fits, read_section

LABEL_HDUS = ("SEGMENTATION", "SEGMAP", "SEGM", "SEG", "LABELS")
"""Names of HDUs that are taken for a segmentation map."""


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
    plane = read_whole_numbers(source, LABEL_HDUS, "segmentation map")
    return check_labels(plane, plane.shape)


def read_whole_numbers(source: str, names: Sequence[str], what: str) -> np.ndarray:
    """Read a plane of whole numbers.

    Parameters
    ----------
    source : str
        FITS file, with ``[EXT]`` behind it where it is not clear which HDU.
    names : sequence of str
        An HDU named so, upper case, is taken by itself; else the only image there is.
    what : str
        What to call the plane in messages.

    Returns
    -------
    numpy.ndarray
        int64, shape ``(y, x)``.

    Raises
    ------
    InputError
        There is no such file or image, or it does not hold whole numbers in two dimensions.
    """
    location = Location.parse(source)
    location.require_file()
    with reading(source), open_fits(location.path) as hdus:
        images = [number for number, hdu in enumerate(hdus) if is_image(hdu)]
        named = [number for number in images if hdus[number].name.upper() in names]
        if location.ext is not None:
            number = find_hdu(hdus, location.ext, location.path)
        elif len(named or images) == 1:
            number = (named or images)[0]
        else:
            raise InputError(
                f"{source}: it is not clear which image is the {what}; say so, as in FILE[1]. It has\n"
                f"{describe_hdus(hdus)}"
            )
        shape = hdus[number].shape
        if len(shape) < 2 or any(length != 1 for length in shape[:-2]):
            raise InputError(
                f"{source}: the {what} has shape {shape}; expected two dimensions, (y, x), beside axes of length 1"
            )
        index = (0,) * (len(shape) - 2)
        plane = np.asarray(read_section(hdus[number], index, Window(0, 0, *shape[-2:])))
    if plane.dtype.kind == "f" and not (np.isfinite(plane).all() and (plane == np.rint(plane)).all()):
        raise InputError(f"{source}: the {what} holds {plane.dtype} values that are not whole numbers")
    if plane.dtype.kind in "fu" and (largest := np.abs(plane).max()) >= 2.0**63:
        raise InputError(f"{source}: the {what} holds {largest}, which does not fit a whole number of 64 bits")
    return plane.astype(np.int64)
