"""Parts of an image before any pixel is read: planes, bands, and the description of a whole image."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morpheus_lite.core.image import match_bands
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, reading
from morpheus_lite.io.asdf_file import is_asdf, open_asdf
from morpheus_lite.io.bits import Bits
from morpheus_lite.io.fitsfile import open_fits, read_section
from morpheus_lite.io.zero_points import ZeroPoint

KEPT_KEYWORDS = (
    "TELESCOP", "INSTRUME", "DETECTOR", "FILTER", "OBJECT", "DATE-OBS", "EXPTIME", "GAIN", "EGAIN", "CCDGAIN",
    "ATODGAIN", "SATURATE",
    "PHOTFLAM", "PHOTPLAM", "PHOTMODE",
)  # fmt: skip
"""Keywords of a band's header that are kept in `SkyImage.meta`."""


class OpenFiles:
    """FITS files that are open, by path: each is opened on first use.

    Hold ``lock`` while reading: an open file has one position.
    """

    def __init__(self) -> None:
        self._hdus: dict[str, fits.HDUList] = {}
        self.lock = threading.Lock()

    def get(self, path: str) -> fits.HDUList:
        """The HDUs of a file."""
        if path not in self._hdus:
            self._hdus[path] = open_asdf(path) if is_asdf(path) else open_fits(path)
        return self._hdus[path]

    def close(self) -> None:
        """Close all of them."""
        for hdus in self._hdus.values():
            hdus.close()
        self._hdus.clear()


class Plane(Protocol):
    """Two-dimensional pixels that can be read by window."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def read(self, window: Window, files: OpenFiles) -> np.ndarray:
        """Pixels of a window, shape ``(y, x)``, any real dtype."""


@dataclass(frozen=True)
class FilePlane:
    """A plane in a FITS file; reading it opens the file.

    Parameters
    ----------
    path : str
        Path of the file.
    hdu : int
        Number of the HDU.
    index : tuple of int
        Position on the axes before the last two (the plane of a cube).
    shape : (int, int)
        Height and width in pixels.
    """

    path: str
    hdu: int
    index: tuple[int, ...]
    shape: tuple[int, int]

    def read(self, window: Window, files: OpenFiles) -> np.ndarray:
        """Pixels of a window, shape ``(y, x)``, scaled."""
        with reading(self):
            hdu = files.get(self.path)[self.hdu]
            if hdu.shape[-2:] != self.shape:
                raise InputError(f"{self} has changed: it was {self.shape} px (y, x), now it is {hdu.shape[-2:]}")
            return read_section(hdu, self.index, window)

    def __str__(self) -> str:
        index = "".join(f", plane {number + 1}" for number in self.index)
        return f"{self.path}[{self.hdu}]{index}"


@dataclass(frozen=True, eq=False)
class ArrayPlane:
    """A plane in memory.

    Parameters
    ----------
    array : numpy.ndarray
        Shape ``(y, x)``, any real dtype.
    origin : str
        What to call it in messages.
    """

    array: np.ndarray
    origin: str = "array"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.array.shape[0], self.array.shape[1]

    def read(self, window: Window, files: OpenFiles) -> np.ndarray:
        """Pixels of a window: a view."""
        return self.array[window.slices]

    def __str__(self) -> str:
        return self.origin


@dataclass(frozen=True, eq=False)
class NoisePlane:
    """A plane that tells how noisy each pixel is.

    Parameters
    ----------
    plane : Plane
        The pixels.
    kind : {"rms", "variance", "weight", "known_rms"}
        What they are: standard deviation, variance, or inverse variance up to ``scale``. Where one of these is
        not positive and finite the pixel is invalid. ``"known_rms"`` is the ``rms`` of a `SkyImage`, where 0
        means unknown and invalidates nothing.
    scale : float
        Factor on the resulting standard deviation: 1 unless a weight is only relative.
    """

    plane: Plane
    kind: str
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class MaskPlane:
    """A plane that tells which pixels are bad.

    Parameters
    ----------
    plane : Plane
        The pixels.
    bits : Bits
        Which bits are bad.
    """

    plane: Plane
    bits: Bits = field(default_factory=Bits)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.plane.shape

    def read(self, window: Window, files: OpenFiles) -> np.ndarray:
        """Read the mask of bad pixels of a window: bool, shape ``(y, x)``. NaN and what is no whole number are bad."""
        values = self.plane.read(window, files)
        if self.bits.bad is None or values.dtype == bool:
            return values != 0
        bad = np.uint64(self.bits.bad & 2**64 - 1)
        if values.dtype.kind != "f":
            return (values.astype(np.uint64) & bad) != 0
        whole = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2.0**63)
        return ~whole | (np.where(whole, values, 0).astype(np.int64).view(np.uint64) & bad != 0)

    def __str__(self) -> str:
        return str(self.plane)


@dataclass(frozen=True, eq=False)
class Band:
    """One band: its pixels, what is known of their noise and validity, and its calibration.

    Parameters
    ----------
    name : str or None
        Canonical name; None if the input gave none.
    data : Plane
        The pixels.
    noise : tuple of NoisePlane
        The first gives the RMS; all of them can invalidate pixels.
    masks : tuple of MaskPlane
        Where one of them says that a pixel is bad it is invalid.
    unit : str or None
        Unit of a pixel.
    zero_point : float or None
        AB magnitude of one data unit.
    wcs : astropy.wcs.WCS or None
        Celestial WCS.
    meta : dict
        Where the band comes from and how its planes were understood.
    """

    name: str | None
    data: Plane
    noise: tuple[NoisePlane, ...] = ()
    masks: tuple[MaskPlane, ...] = ()
    unit: str | None = None
    zero_point: float | None = None
    wcs: WCS | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ImageDescription:
    """An image that can be read: all that is known of it but its pixels. It pickles, and opens anywhere.

    Parameters
    ----------
    bands : tuple of Band
        At least one, all of one shape, each with a name of its own.
    wcs : astropy.wcs.WCS or None
        Celestial WCS of all bands.
    name : str
        What to call the image.
    """

    bands: tuple[Band, ...]
    wcs: WCS | None = None
    name: str = "image"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.bands[0].data.shape

    @property
    def band_names(self) -> tuple[str, ...]:
        """Name of each band."""
        return tuple(str(band.name) for band in self.bands)

    @property
    def whole(self) -> Window:
        """The window that is the whole image."""
        return Window(0, 0, *self.shape)

    def select(self, bands: Sequence[str]) -> "ImageDescription":
        """The description with just these bands, in this order, as `SkyImage.select` chooses them.

        Raises
        ------
        InputError
            A band is missing, or unnamed bands are not as many as those wanted.
        """
        names, indices = match_bands(self.band_names, bands, self.name)
        chosen = (replace(self.bands[i], name=name) for i, name in zip(indices, names, strict=True))
        return replace(self, bands=tuple(chosen))


def band_meta(origin: str, calibration: ZeroPoint | None, header: Mapping[str, Any]) -> dict[str, Any]:
    """Make `Band.meta`: the origin of a band, the source of its zero-point, and the keywords that are kept."""
    return {
        "origin": origin,
        "zero_point_source": None if calibration is None else calibration.source,
        "zero_point_system": None if calibration is None else calibration.system,
        "header": {keyword: header[keyword] for keyword in KEPT_KEYWORDS if keyword in header},
    }
