"""Colours of the classes, and class maps as colour pictures."""

from types import MappingProxyType

import numpy as np

from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.errors import OptionError

PALETTES = MappingProxyType(
    {
        "paper": ((1.0, 0.0, 0.0), (0.2, 0.0, 1.0), (0.2, 1.0, 0.0), (0.92, 1.0, 0.0)),
        "legible": ((0.894, 0.341, 0.180), (0.180, 0.435, 0.949), (0.098, 0.765, 0.651), (1.0, 0.878, 0.290)),
    }
)
"""Red, green and blue (0 to 1) of each source class, in the order of ``SOURCE_CLASSES``.

``"paper"`` has the fully saturated hues 0, 0.7, 0.3 and 0.18 of Hausen & Robertson (2020). ``"legible"`` keeps their
sense (red, blue, green, yellow) and stays apart for colour-blind readers: the closest two of its colours, black and
white differ by a CIEDE2000 of 18 under full protanopia, deuteranopia or tritanopia; those of the paper by 3.
"""


def class_colours(palette: str) -> np.ndarray:
    """Colours of a palette: float32, shape ``(4, 3)``."""
    if palette not in PALETTES:
        raise OptionError(f"palette {palette!r}: choose one of {', '.join(PALETTES)}")
    return np.array(PALETTES[palette], dtype=np.float32)


def hex_colours(palette: str) -> dict[str, str]:
    """Colours of a palette as the web and DS9 write them.

    Examples
    --------
    >>> hex_colours("paper")["spheroid"]
    '#ff0000'
    """
    rounded = np.rint(255 * class_colours(palette)).astype(int)
    return {name: "#{:02x}{:02x}{:02x}".format(*colour) for name, colour in zip(SOURCE_CLASSES, rounded, strict=True)}


def colorize(classification: Classification, *, palette: str = "paper", maps: str = "vote") -> np.ndarray:
    """Class maps as one colour picture.

    Parameters
    ----------
    classification : Classification
        Class maps.
    palette : {"paper", "legible"}
        Colours of the classes: those published, or ones that colour-blind readers tell apart.
    maps : {"vote", "probability"}
        Which class maps to show: rank votes, as published, or mean probabilities.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(y, x, 3)``: red, green and blue, 0 to 1. Black where not classified.

    Raises
    ------
    OptionError
        Unknown palette or maps, or votes asked of class maps without them.

    Notes
    -----
    In hue, saturation and value (Hausen & Robertson 2020): hue of the most probable source class, saturation its lead
    over the second, value one minus the background. For a fixed colour c of full saturation and value that is
    ``v * (1 - s * (1 - c))`` in each of red, green and blue.

    Examples
    --------
    >>> import numpy as np
    >>> from morpheus_lite import Classification
    >>> vote = np.zeros((2, 2, 5), dtype=np.float32)
    >>> vote[...] = 0, 0.75, 0.25, 0, 0
    >>> seen = np.ones((2, 2), dtype=bool)
    >>> maps = Classification(probability=vote, coverage=seen.astype(np.int32), valid=seen, vote=vote)
    >>> colorize(maps)[0, 0].tolist()
    [0.6000000238418579, 0.5, 1.0]
    """
    planes = _planes(classification, maps)
    known = np.isfinite(planes[:, :, 0])
    shares = np.where(known[:, :, None], planes[:, :, : len(SOURCE_CLASSES)], np.float32(0))
    colour = class_colours(palette)[shares.argmax(axis=2)]
    ranked = np.partition(shares, -2, axis=2)
    lead = ranked[:, :, -1] - ranked[:, :, -2]
    value = np.where(known, 1 - planes[:, :, BACKGROUND], np.float32(0))
    return np.clip(value[:, :, None] * (1 - lead[:, :, None] * (1 - colour)), 0, 1, dtype=np.float32)


def _planes(classification: Classification, maps: str) -> np.ndarray:
    if maps not in ("vote", "probability"):
        raise OptionError(f"maps={maps!r}: expected 'vote' or 'probability'")
    chosen = getattr(classification, maps)
    if chosen is None:
        raise OptionError("these class maps have no rank votes; show the mean probabilities with maps='probability'")
    return chosen
