"""Bit flags of pixels and of sources, and their decoder."""

from enum import IntFlag
from typing import Any

import numpy as np


class _Bits(IntFlag):
    """Bits, each with its meaning as docstring."""

    def __new__(cls, value: int, meaning: str = "") -> "_Bits":
        bit = int.__new__(cls, value)
        bit._value_ = value
        bit.__doc__ = meaning
        return bit

    def __init_subclass__(cls) -> None:
        # Tools for documentation see no docstring of a number.
        cls.__doc__ = f"{cls.__doc__}\n\n" + "\n".join(f"- ``{bit.name}`` ({int(bit)}): {bit.__doc__}" for bit in cls)

    @classmethod
    def explained(cls) -> list[str]:
        """Value, name and meaning of each bit, for the metadata of a table."""
        return [f"{int(bit)} {str(bit.name).lower()}: {bit.__doc__}" for bit in cls]


class PixelFlag(_Bits):
    """Bits of the ``FLAGS`` image."""

    INVALID = 1, "Non-finite, zero weight or flagged in at least one band; not classified."
    NOT_CLASSIFIED = 2, 'No window gave this pixel a value (the border, with ``edges="leave"``).'
    LOW_COVERAGE = 4, "Fewer than half of the windows that an interior pixel gets."
    NEAR_INVALID = 8, "At least one window that classified the pixel held an invalid pixel."


class SourceFlag(_Bits):
    """Bits of the catalogue's ``flags`` column."""

    EDGE = 1, "The segment touches the edge of the image."
    INVALID_PIXELS = 2, "Invalid pixels lie inside or next to the segment."
    SATURATED = 4, "The segment holds saturated pixels."
    BLENDED = 8, "The segment touches a neighbour, or was split from one."
    DEBLEND_CHILD = 16, "The segment is a child of a deblended parent."
    NEGATIVE_FLUX = 32, "The summed flux is not positive in at least one band."
    LOW_COVERAGE = 64, "Pixels of the segment were seen by fewer windows than an interior pixel."
    OUTSIDE_DOMAIN = 128, "The image, or its sky there, is unlike those that the model was trained on."
    TOO_LARGE = 256, "The segment is larger than the stated limit; some measurements are missing."
    CROWDED = 512, "Another source lies inside the photometric aperture."
    PARTLY_COVERED = (
        1024,
        "The segment or an aperture lies on pixels without data in part, in at least one band: see flags_<band>.",
    )


class BandFlag(_Bits):
    """Bits of the catalogue's ``flags_<band>`` columns."""

    NO_DATA = 1, "The segment or an aperture holds no pixel with data: what it would measure is NaN."
    PARTLY_COVERED = 2, "The segment or an aperture holds pixels without data: its flux is that of the others."


def bits_in_words(kind: type[IntFlag]) -> str:
    """Meaning of the bits of a column of flags, for its description: ``1 edge, 2 invalid_pixels, ...``."""
    return ", ".join(f"{int(flag)} {str(flag.name).lower()}" for flag in kind)


def decode_flags(value: Any, kind: type[IntFlag] = SourceFlag) -> Any:
    """Names of the bits set in a flag value, or in each value of a column.

    Parameters
    ----------
    value : int or array_like of int
        A value of the ``flags`` column, of a ``flags_<band>`` column, or of the ``FLAGS`` image; or a whole column.
    kind : {SourceFlag, BandFlag, PixelFlag}
        Whose bits they are.

    Returns
    -------
    tuple of str, or list of them
        Lower-case names, lowest bit first; empty for 0. One per value of a column.

    Examples
    --------
    >>> decode_flags(17)
    ('edge', 'deblend_child')
    >>> decode_flags([0, 17])
    [(), ('edge', 'deblend_child')]
    """
    if np.ndim(value) == 1:
        return [decode_flags(one, kind) for one in value]
    return tuple(str(flag.name).lower() for flag in kind if flag & int(value))
