"""Colours of the classes, and of a field in its bands."""

import re
from types import MappingProxyType

import numpy as np

from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.loops import median
from morpheus_lite.errors import OptionError, expect

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

NO_CLASS = (0.8, 0.8, 0.8)
"""Colour of sources whose class is uncertain, or not known."""


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
    expect(classification, Classification, "colorize")
    planes = _planes(classification, maps)
    known = np.isfinite(planes[:, :, 0])
    shares = np.where(known[:, :, None], planes[:, :, : len(SOURCE_CLASSES)], np.float32(0))
    colour = class_colours(palette)[shares.argmax(axis=2)]
    # The largest and the second largest, plane by plane: sorting four numbers a million times takes long.
    first, second = shares[:, :, 0], np.zeros(known.shape, np.float32)
    for plane in np.moveaxis(shares[:, :, 1:], 2, 0):
        first, second = np.maximum(first, plane), np.maximum(second, np.minimum(first, plane))
    lead = first - second
    value = np.where(known, 1 - planes[:, :, BACKGROUND], np.float32(0))
    return np.clip(value[:, :, None] * (1 - lead[:, :, None] * (1 - colour)), 0, 1, dtype=np.float32)


def _planes(classification: Classification, maps: str) -> np.ndarray:
    if maps not in ("vote", "probability"):
        raise OptionError(f"maps={maps!r}: expected 'vote' or 'probability'")
    chosen = getattr(classification, maps)
    if chosen is None:
        raise OptionError("these class maps have no rank votes; show the mean probabilities with maps='probability'")
    return chosen


# JWST filters from 2 micrometres on count hundredths of one; HST filters from F200 to F999 count nanometres.
_JWST = re.compile(
    r"F(200W|277W|322W2|356W|444W|560W|770W|210M|250M|300M|335M|360M|410M|430M|460M|480M|212N|323N|405N|466N|470N)"
)
_NO_DATA = 0.25
_VIVIDNESS = 0.8
_MOST_SAMPLES = 1_000_000


def field_rgb(image: SkyImage) -> np.ndarray:
    """Colour picture of a field.

    Parameters
    ----------
    image : SkyImage
        One band gives grey; of two, the redder is red and the bluer blue; of more, the reddest third is
        red, the middle third green. Filters of HST and JWST are put in order by their names; bands with
        other names are taken as given, reddest first.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(y, x, 3)``: red, green and blue, 0 to 1. Bands that are invalid at a pixel do not count
        there; where all are, the picture is dark grey.

    Notes
    -----
    After Lupton et al. (2004): the mean of the channels is stretched by asinh, and the ratios between them keep their
    value, except that they fade to grey in the noise. Bands are balanced so that the typical bright pixel is
    white, which asks for no zero-points.
    """
    bands = _balanced([_in_noise_units(image, index) for index in _reddest_first(image.bands)])
    channels = np.stack([_mean(group) for group in _thirds(bands)], axis=2)
    intensity = _mean([channels[:, :, k] for k in range(3)])
    seen = np.isfinite(intensity)
    if not seen.any():
        return np.full(channels.shape, _NO_DATA, dtype=np.float32)
    channels = np.where(np.isfinite(channels), channels, intensity[:, :, None])
    noise = _noise(_sample(intensity))
    softening = 3 * noise
    brightness = _stretch(intensity, noise)
    tint = (np.maximum(channels, 0) + softening) / (np.maximum(intensity, 0) + softening)[:, :, None]
    # Each channel is cut on its own: what is too bright turns white, and brighter light never looks darker.
    rgb = np.minimum(brightness[:, :, None] * tint**_VIVIDNESS, 1)
    return np.where(seen[:, :, None], rgb, np.float32(_NO_DATA)).astype(np.float32)


def _reddest_first(bands: tuple[str, ...]) -> list[int]:
    wavelengths = [_wavelength(band) for band in bands]
    if None in wavelengths:
        return list(range(len(bands)))
    return sorted(range(len(bands)), key=lambda index: -(wavelengths[index] or 0))


def _wavelength(band: str) -> float | None:
    """Micrometres that a filter's name speaks of: F606W is 0.606 (HST), F160W 1.6, F444W 4.44 (JWST)."""
    match = re.fullmatch(r"F(\d{3,4})(W|M|N|LP|X|W2)", band)
    if match is None:
        return None
    number = int(match[1])
    hundredths = number < 200 or number >= 1000 or _JWST.fullmatch(band) is not None
    return number / 100 if hundredths else number / 1000


def _in_noise_units(image: SkyImage, index: int) -> np.ndarray:
    """One band less its sky level, over its noise: float32, NaN where invalid.

    Not below -3: the ringing of a saturated star in one band would otherwise blacken the others.
    """
    plane = np.where(image.valid[:, :, index], image.data[:, :, index], np.float32(np.nan))
    sample = _sample(plane)
    if not sample.size:
        return plane
    return np.maximum((plane - median(sample)) / _noise(sample), np.float32(-3))


def _balanced(bands: list[np.ndarray]) -> list[np.ndarray]:
    """The bands, each over its typical value where the field is bright."""
    samples = [_every(band) for band in bands]
    bright = _mean(samples) > 5
    typical = [sample[bright & (sample > 1)] for sample in samples]
    return [band / median(values) if values.size else band for band, values in zip(bands, typical, strict=True)]


def _thirds(bands: list[np.ndarray]) -> list[list[np.ndarray]]:
    if len(bands) == 1:
        return [bands] * 3
    if len(bands) == 2:
        return [bands[:1], bands, bands[1:]]
    cuts = np.array_split(np.arange(len(bands)), 3)
    return [[bands[k] for k in cut] for cut in cuts]


def _mean(planes: list[np.ndarray]) -> np.ndarray:
    """Mean of the planes that have a value: float32, NaN where none has."""
    total = np.zeros(planes[0].shape, dtype=np.float32)
    count = np.zeros(planes[0].shape, dtype=np.float32)
    for plane in planes:
        known = np.isfinite(plane)
        total += np.where(known, plane, 0)
        count += known
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan))


def _stretch(intensity: np.ndarray, noise: np.float32) -> np.ndarray:
    """0 at the sky, 1 where 1 % of the light's pixels are brighter, then above 1: shape ``(y, x)``."""
    above = np.maximum(np.nan_to_num(intensity), 0)
    sample = _every(above)
    light = sample[sample > 5 * noise]
    top = np.percentile(light, 99) if light.size else 20 * noise
    return np.arcsinh(above / (3 * noise)) / np.arcsinh(top / (3 * noise))


def _noise(sample: np.ndarray) -> np.float32:
    """Standard deviation of the sky, from the values below the median; a tiny number for a constant image."""
    middle = median(sample)
    below = middle - sample[sample < middle]
    sigma = 1.4826 * median(below) if below.size else 0.0
    return np.float32(max(sigma, 1e-6 * np.abs(sample).max(initial=0), 1e-30))


def _every(plane: np.ndarray) -> np.ndarray:
    """At most about a million values, evenly spread."""
    step = max(1, int(np.sqrt(plane.size / _MOST_SAMPLES)))
    return plane[::step, ::step]


def _sample(plane: np.ndarray) -> np.ndarray:
    """The finite among them, shape ``(n,)``."""
    values = _every(plane)
    return values[np.isfinite(values)]
