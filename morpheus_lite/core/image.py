"""SkyImage: pixels of one piece of sky in one or more bands, with what is known about them."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.wcs import WCS, DistortionLookupTable, Sip

from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError

if TYPE_CHECKING:
    from morpheus_lite.core.protocols import ImageReader

BAND_ALIASES = {"H": "F160W", "J": "F125W", "V": "F606W", "Z": "F850LP"}
"""Short names of the filters of the published network."""


def canonical_band(name: str, known: Collection[str] = ()) -> str:
    """Return the name of a band as it is compared.

    Parameters
    ----------
    name : str
        As the user or a header writes it.
    known : collection of str
        Bands that there are: one of these is preferred.

    Returns
    -------
    str
        Upper case; letters, digits and ``. + - _``, with ``_`` for everything else. It is the name itself where
        ``known`` has it, else what `BAND_ALIASES` says, else the only one of ``known`` that is this filter of some
        camera.

    Raises
    ------
    InputError
        The name has no letter and no digit.

    Examples
    --------
    >>> canonical_band("h"), canonical_band("f814w"), canonical_band("H alpha"), canonical_band("z", ["DECAM-Z"])
    ('F160W', 'F814W', 'H_ALPHA', 'DECAM-Z')
    """
    text = re.sub(r"[^A-Z0-9.+_-]+", "_", str(name).upper().replace("'", "P")).strip("._-")
    if not text:
        raise InputError(f"band name {name!r}: expected letters or digits")
    alias = BAND_ALIASES.get(text, text)
    if text in known or alias in known:
        return text if text in known else alias
    of_cameras = [band for band in known if band.endswith(f"-{text}")]
    return of_cameras[0] if len(of_cameras) == 1 else alias


def match_bands(available: Sequence[str], bands: Sequence[str], name: str) -> tuple[tuple[str, ...], list[int]]:
    """Match the wanted bands to those of an image.

    Parameters
    ----------
    available : sequence of str
        Bands of the image, canonical; all numbers where they have no names, and then matched by position.
    bands : sequence of str
        Bands wanted.
    name : str
        What to call the image.

    Returns
    -------
    wanted : tuple of str
        Canonical names of the bands wanted.
    indices : list of int
        Position of each in ``available``.

    Raises
    ------
    InputError
        A band is missing, or unnamed bands are not as many as those wanted.
    """
    wanted = tuple(canonical_band(band, available) for band in bands)
    missing = [band for band in wanted if band not in available]
    if missing and all(band.isdigit() for band in available):
        if len(wanted) != len(available):
            raise InputError(
                f"{name} has {len(available)} band(s) without names, but {len(wanted)} are needed: "
                f"{', '.join(wanted)}; name the bands (--band F160W=FILE, or FILTER in the headers)"
            )
        return wanted, list(range(len(wanted)))
    if missing:
        raise InputError(
            f"{name} has no band {', '.join(missing)}: it has {', '.join(available)}, "
            f"and {', '.join(wanted)} are needed; add the band, or choose a model for the bands you have"
        )
    return wanted, [list(available).index(band) for band in wanted]


def reference_band_of(meta: Mapping[str, Any]) -> str:
    """The band that stands for a catalogue, by its metadata: the one named for a stack, or the detection band."""
    return str(meta.get("reference_band", meta.get("detection_band", "")))


def pixel_scale_of(wcs: WCS | None) -> float | None:
    """Side of a pixel in arcseconds (geometric mean), None without a celestial WCS."""
    if wcs is None or not wcs.has_celestial:
        return None
    # Astropy's proj_plane_pixel_area copies the WCS several times, which takes milliseconds.
    matrix = (wcs if wcs.naxis == 2 else wcs.celestial).pixel_scale_matrix
    return 3600 * math.sqrt(abs(float(np.linalg.det(matrix))))


def window_of(index: Any, shape: tuple[int, int]) -> Window:
    """The window that an index of rows and columns stands for.

    Parameters
    ----------
    index : slice or (slice, slice)
        Rows, or rows and columns, without steps; negative numbers count from the end, as in numpy.
    shape : (int, int)
        Height and width of the image.

    Raises
    ------
    InputError
        It is another kind of index, or holds no pixel.

    Examples
    --------
    >>> window_of((slice(None, 50), slice(-30, None)), (100, 100))
    Window(y=0, x=70, height=50, width=30)
    """
    parts = index if isinstance(index, tuple) else (index,)
    if len(parts) > 2 or not all(isinstance(part, slice) and part.step in (None, 1) for part in parts):
        raise InputError(f"index {index!r}: expected a name, or rows and columns without steps, as in [100:600, :500]")
    parts = (*parts, slice(None))[:2]
    (top, bottom, _), (left, right, _) = (part.indices(side) for part, side in zip(parts, shape, strict=True))
    if bottom <= top or right <= left:
        raise InputError(f"index {index!r} holds no pixel of the {shape[0]} x {shape[1]}")
    return Window(top, left, bottom - top, right - left)


def wcs_of_window(wcs: WCS | None, window: Window) -> WCS | None:
    """The WCS of a window of an image."""
    return None if wcs is None else wcs.slice(window.slices)


def wcs_of_blocks(wcs: WCS, step: int) -> WCS:
    """The WCS of means over blocks of ``step`` x ``step`` pixels, the first of which begins at the first pixel.

    Notes
    -----
    `astropy.wcs.WCS.slice` with a step leaves matrices ``CDi_j`` and distortions as they are.
    """

    def block(pixel: Any) -> np.ndarray:
        return (np.asarray(pixel) - 0.5) / step + 0.5

    blocks = wcs.deepcopy()
    blocks.wcs.crpix = block(wcs.wcs.crpix)
    if wcs.wcs.has_cd():
        blocks.wcs.cd = wcs.wcs.cd * step
    else:
        blocks.wcs.cdelt = wcs.wcs.cdelt * step
    if wcs.sip is not None:
        names = ("a", "b", "ap", "bp")
        terms = [None if (one := getattr(wcs.sip, name)) is None else _of_blocks(one, step) for name in names]
        blocks.sip = Sip(*terms, block(wcs.sip.crpix))
    for name in ("cpdis1", "cpdis2", "det2im1", "det2im2"):
        if (table := getattr(wcs, name)) is not None:
            cdelt = np.asarray(table.cdelt) / step
            moved = DistortionLookupTable(table.data / step, table.crpix, tuple(block(table.crval)), tuple(cdelt))
            setattr(blocks, name, moved)
    return blocks


def _of_blocks(terms: np.ndarray, step: int) -> np.ndarray:
    """Terms ``(p, q)`` of a polynomial of pixels, as those of one of blocks that gives blocks."""
    power = np.arange(len(terms))
    return terms * float(step) ** (power[:, None] + power - 1)


def in_pictures(name: str) -> Any:
    """A function of `morpheus_lite.visualization.notebook`, a layer above; imported when a picture is shown."""
    return getattr(import_module("morpheus_lite.visualization.notebook"), name)


class NamedBands:
    """Properties that follow from the names of an image's bands, and from its WCS."""

    bands: tuple[str, ...]
    wcs: WCS | None

    @property
    def n_bands(self) -> int:
        """Number of bands."""
        return len(self.bands)

    @property
    def has_band_names(self) -> bool:
        """True if the bands came with names, False if they were numbered here."""
        return not all(band.isdigit() for band in self.bands)

    @property
    def pixel_scale(self) -> float | None:
        """Side of a pixel in arcseconds (geometric mean), None without a celestial WCS."""
        return pixel_scale_of(self.wcs)


@dataclass(frozen=True, eq=False)
class SkyImage(NamedBands):
    """An image of the sky in memory.

    ``image["F160W"]`` is the plane of a band, ``image[:500, :500]`` the image of a part of the sky, with its WCS.

    Parameters
    ----------
    data : numpy.ndarray
        float32, shape ``(y, x, band)``, in the units of ``units``. Finite where ``valid``; 0 elsewhere.
    bands : tuple of str
        One name per band, canonical (``"F160W"``). Bands without a name are ``"1"``, ``"2"``, ...
    valid : numpy.ndarray
        bool, shape ``(y, x, band)``: True where a pixel may be used.
    rms : numpy.ndarray or None
        float32, shape ``(y, x, band)``: standard deviation of the noise, in the units of the data; 0 where
        unknown. None when the input had no RMS or weight plane.
    wcs : astropy.wcs.WCS or None
        Two-dimensional celestial WCS, 0-based pixel centres.
    zero_points : tuple of (float or None)
        AB magnitude of one data unit in each band; None where unknown.
    units : tuple of (str or None)
        Unit of each band as a FITS string; None where unknown.
    name : str
        What to call the image in messages and products.
    meta : dict
        What else is known: origin of each band, header cards worth keeping.
    """

    data: np.ndarray
    bands: tuple[str, ...]
    valid: np.ndarray
    rms: np.ndarray | None = None
    wcs: WCS | None = None
    zero_points: tuple[float | None, ...] = ()
    units: tuple[str | None, ...] = ()
    name: str = "image"
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_bands = len(self.bands)
        for label in ("zero_points", "units"):
            if not getattr(self, label):
                object.__setattr__(self, label, (None,) * n_bands)
        if self.data.ndim != 3 or self.data.shape[2] != n_bands:
            raise InputError(
                f"{self.name}: data of shape {self.data.shape} do not fit {n_bands} band(s) "
                f"({', '.join(self.bands)}); expected (y, x, {n_bands})"
            )
        for label in ("valid", "rms"):
            plane = getattr(self, label)
            if plane is not None and plane.shape != self.data.shape:
                raise InputError(f"{self.name}: {label} has shape {plane.shape}, the data have {self.data.shape}")

    def __repr__(self) -> str:
        height, width = self.shape
        scale = "" if self.pixel_scale is None else f' of {self.pixel_scale:.3g}"'
        noise = ", with noise" if self.rms is not None else ""
        valid = np.count_nonzero(self.valid) / max(self.valid.size, 1)
        bands = f"{self.n_bands} band{'' if self.n_bands == 1 else 's'} {', '.join(self.bands)}"
        return f"<SkyImage {self.title}: {height} x {width} px{scale}, {bands}{noise}, {valid:.1%} valid>"

    def _repr_html_(self) -> str:
        return in_pictures("image_html")(self)

    def __getitem__(self, index: Any) -> Any:
        """Data of a band by name, float32 ``(y, x)``, or the part of the image in rows and columns.

        Raises
        ------
        InputError
            The image has no such band, or no such pixels.
        """
        if isinstance(index, str):
            return self.data[:, :, self.index(index)]
        return self.cutout(window_of(index, self.shape))

    def plot(self, ax: Any = None) -> Any:
        """Draw the image in colour.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; None makes a figure of pyplot, with axes in right ascension and declination if there is a WCS.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        return in_pictures("plot_image")(self, ax)

    @property
    def title(self) -> str:
        """Name for people: bytes of a file name that are not text are escaped."""
        return self.name.encode(errors="backslashreplace").decode()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.data.shape[0], self.data.shape[1]

    @property
    def valid_in_all(self) -> np.ndarray:
        """bool, shape ``(y, x)``: True where a pixel may be used in every band."""
        return np.asarray(self.valid.all(axis=2))

    @property
    def detection_band(self) -> str:
        """The band that sources are split and located in unless another is asked for: F160W, else the first."""
        return "F160W" if "F160W" in self.bands else self.bands[0]

    def index(self, band: str) -> int:
        """Position of a band on the last axis.

        Raises
        ------
        InputError
            The image has no such band.
        """
        wanted = canonical_band(band, self.bands)
        if wanted not in self.bands:
            raise InputError(f"{self.name} has no band {wanted}: it has {', '.join(self.bands)}")
        return self.bands.index(wanted)

    def select(self, bands: Sequence[str]) -> "SkyImage":
        """The image with just these bands, in this order.

        Bands are matched by name; an image whose bands have no names is taken by position, if the
        number of bands is the same.

        Raises
        ------
        InputError
            A band is missing, or unnamed bands are not as many as those wanted.
        """
        wanted, indices = match_bands(self.bands, bands, self.name)
        return self if wanted == self.bands else replace(self.take(indices), bands=wanted)

    def take(self, indices: Sequence[int]) -> "SkyImage":
        """The image with the bands at these positions."""
        indices = list(indices)
        planes, bands = self._planes((slice(None), slice(None), indices)), tuple(self.bands[i] for i in indices)
        zero_points, units = tuple(self.zero_points[i] for i in indices), tuple(self.units[i] for i in indices)
        return replace(self, **planes, bands=bands, zero_points=zero_points, units=units)

    def cutout(self, window: Window) -> "SkyImage":
        """The part of the image inside a window, its WCS moved along."""
        return replace(self, **self._planes(window.slices), wcs=wcs_of_window(self.wcs, window))

    def _planes(self, index: tuple[Any, ...]) -> dict[str, Any]:
        """A part of all that has a value for every pixel."""
        rms = None if self.rms is None else self.rms[index]
        return {"data": self.data[index], "valid": self.valid[index], "rms": rms}

    @property
    def has_rms(self) -> tuple[bool, ...]:
        """True for each band whose noise is known in at least one pixel."""
        return tuple(self.rms is not None and bool((self.rms[:, :, k] > 0).any()) for k in range(self.n_bands))

    def read(self, window: Window) -> "SkyImage":
        """The pixels of a window, as `~morpheus_lite.core.protocols.ImageReader` has it; views, not copies."""
        return self.cutout(window)

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, eq=False)
class ImageView:
    """An image that is read by window through another: all but ``read`` is that one's.

    Parameters
    ----------
    image : ImageReader
        The other.
    """

    image: "ImageReader"

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape

    @property
    def wcs(self) -> WCS | None:
        """WCS of the whole image."""
        return self.image.wcs

    @property
    def has_rms(self) -> tuple[bool, ...]:
        """True for each band whose noise is known in at least one pixel."""
        return self.image.has_rms

    def close(self) -> None:
        """Close what is open."""
        self.image.close()
