"""ImageSource: an image that is read by section, without loading the rest; its planes, and whether they seem right."""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from scipy import ndimage

from morpheus_lite.core.facts import FACTS
from morpheus_lite.core.image import NamedBands, SkyImage, match_bands, wcs_of_window
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, OptionError, reading, warn
from morpheus_lite.io.bits import Bits
from morpheus_lite.io.fitsfile import Location, UnpackedPlane, open_fits, read_section
from morpheus_lite.io.wcs import pixel_area
from morpheus_lite.io.zero_points import zero_point

log = logging.getLogger(__name__)


class OpenFiles:
    """FITS files that are open, by path: each is opened on first use.

    Planes that are tile-compressed are unpacked once, into temporary files that `close` leaves. Hold ``lock`` while
    reading: an open file has one position.
    """

    def __init__(self) -> None:
        self._hdus: dict[str, fits.HDUList] = {}
        self.unpacked: dict[tuple[FilePlane, int], UnpackedPlane | None] = {}
        self._versions: dict[str, int] = {}
        self.lock = threading.Lock()

    def get(self, path: str) -> fits.HDUList:
        """The HDUs of a file."""
        if path not in self._hdus:
            if path.lower().endswith(".asdf"):
                from morpheus_lite.io.asdf_file import open_asdf

                self._hdus[path] = open_asdf(path)
            else:
                self._hdus[path] = open_fits(path)
            self._versions[path] = 0 if Location(path).is_remote else Path(path).stat().st_mtime_ns
        return self._hdus[path]

    def read_packed(self, plane: "FilePlane", hdu: fits.CompImageHDU, window: Window) -> np.ndarray:
        """Pixels of a tile-compressed plane as they are stored, unpacked once if there is room for them."""
        key = plane, self._versions[plane.path]  # a file that has changed is another one
        try:
            if key not in self.unpacked:
                self.unpacked[key] = UnpackedPlane(hdu, plane.index)
            if unpacked := self.unpacked[key]:
                return unpacked.read(hdu, window)
        except OSError as error:
            self.unpacked[key] = None
            log.warning("%s is slow to read: no room for its pixels (%s); set TMPDIR to a larger disk", plane, error)
        return hdu.section[(*plane.index, *window.slices)]

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens them anew."""
        return OpenFiles, ()

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
            stored = files.read_packed(self, hdu, window) if isinstance(hdu, fits.CompImageHDU) else None
            return read_section(hdu, self.index, window, stored=stored)

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


def make_band(
    data: Plane,
    header: Mapping[str, Any],
    unit: str | None,
    wcs: WCS | None,
    *,
    name: str | None,
    noise: Iterable[NoisePlane] = (),
    masks: Iterable[MaskPlane] = (),
) -> Band:
    """Make a band whose zero-point is what header, unit and WCS say."""
    area = None if wcs is None else pixel_area(wcs, data.shape)
    known = zero_point(header, unit, area, str(data))
    value, source, system = (None, None, None) if known is None else (known.value, known.source, known.system)
    kept = {keyword: header[keyword] for keyword in FACTS["keywords"]["kept"] if keyword in header}
    meta = {"origin": str(data), "zero_point_source": source, "zero_point_system": system, "header": kept}
    return Band(name, data, tuple(noise), tuple(masks), unit, value, wcs, meta)


@dataclass(frozen=True, eq=False, repr=False)
class ImageSource(NamedBands):
    """An image whose pixels stay where they are until they are read.

    Use it as a context manager, or call `close`; it opens its files again when it is read after that. It may
    be read from several threads, and pickles: another process opens the files anew.

    Parameters
    ----------
    described : tuple of Band
        At least one, all of one shape, each with a name of its own.
    wcs : astropy.wcs.WCS or None
        Celestial WCS of all bands.
    name : str
        What to call the image.
    files : OpenFiles
        Files that are open already.
    """

    described: tuple[Band, ...]
    wcs: WCS | None = None
    name: str = "image"
    files: OpenFiles = field(default_factory=OpenFiles)

    @property
    def bands(self) -> tuple[str, ...]:  # type: ignore[override]
        """Name of each band."""
        return tuple(str(band.name) for band in self.described)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.described[0].data.shape

    @property
    def whole(self) -> Window:
        """The window that is the whole image."""
        return Window(0, 0, *self.shape)

    @property
    def units(self) -> tuple[str | None, ...]:
        """Unit of each band; None where unknown."""
        return tuple(band.unit for band in self.described)

    @property
    def zero_points(self) -> tuple[float | None, ...]:
        """AB magnitude of one data unit in each band; None where unknown."""
        return tuple(band.zero_point for band in self.described)

    @property
    def has_rms(self) -> tuple[bool, ...]:
        """True for each band whose noise is known in at least one pixel."""
        with self.files.lock:  # an RMS in memory may be 0, which means unknown, everywhere
            return tuple(
                any(one.kind != "known_rms" or (one.plane.read(self.whole, self.files) > 0).any() for one in band.noise)
                for band in self.described
            )

    def select(self, bands: Sequence[str]) -> Self:
        """The source with just these bands, in this order, as `SkyImage.select` chooses them.

        It shares the open files of this one.

        Raises
        ------
        InputError
            A band is missing, or unnamed bands are not as many as those wanted.
        """
        names, indices = match_bands(self.bands, bands, self.name)
        chosen = (replace(self.described[i], name=name) for i, name in zip(indices, names, strict=True))
        return replace(self, described=tuple(chosen))

    def read(self, window: Window | None = None) -> SkyImage:
        """Read a part of the image.

        Parameters
        ----------
        window : Window or None
            Which pixels; None for all.

        Returns
        -------
        SkyImage
            With the WCS of the window.

        Raises
        ------
        InputError
            A file cannot be read.
        OptionError
            The window does not lie inside the image.
        """
        window = window or self.whole
        if min(window.shape) < 1 or window.intersection(self.whole) != window:
            height, width = self.shape
            raise OptionError(f"{window} does not lie inside {self.name}, which is {height} x {width} px (y, x)")
        has_noise = any(band.noise for band in self.described)
        # Band behind band in memory: all that is done with pixels is done band by band.
        # Nothing is there where no file of a mosaic is.
        data, valid, *noise = (
            np.zeros((self.n_bands, *window.shape), dtype).transpose(1, 2, 0)
            for dtype in (np.float32, bool, np.float32)[: 2 + has_noise]
        )
        rms = noise[0] if noise else None
        self._read_into(window, data, valid, rms)
        wcs = self.wcs if window == self.whole else wcs_of_window(self.wcs, window)
        return SkyImage(data, self.bands, valid, rms, wcs, self.zero_points, self.units, self.name, self.meta)

    def _read_into(self, window: Window, data: np.ndarray, valid: np.ndarray, rms: np.ndarray | None) -> None:
        with self.files.lock:
            for k, band in enumerate(self.described):
                noise = _read_band(band, window, self.files, data[:, :, k], valid[:, :, k])
                if rms is not None and noise is not None:
                    rms[:, :, k] = noise

    @property
    def meta(self) -> dict[str, Any]:
        """Origin of each band and how its planes were understood: ``{"bands": {band: {...}}}``."""
        return {"bands": {str(band.name): band.meta for band in self.described}}

    def close(self) -> None:
        """Close the files."""
        with self.files.lock:
            self.files.close()

    def __enter__(self) -> "ImageSource":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        self.files.unpacked.clear()

    def __repr__(self) -> str:
        return f"<ImageSource {self.name}: {self.shape[0]} x {self.shape[1]} px, {', '.join(self.bands)}>"


def _read_band(band: Band, window: Window, files: OpenFiles, data: np.ndarray, valid: np.ndarray) -> np.ndarray | None:
    """Read one band into ``data`` and ``valid``, invalid pixels 0; its RMS, if it has one."""
    with np.errstate(over="ignore", invalid="ignore"):
        data[...] = band.data.read(window, files)
    np.isfinite(data, out=valid)
    for mask in band.masks:
        valid &= ~mask.read(window, files)
    rms = None
    for noise in band.noise:
        sigma, usable = read_noise(noise, window, files)
        valid &= usable
        rms = sigma if rms is None else rms
    if not valid.all():
        data[~valid] = 0
        if rms is not None:
            rms[~valid] = 0
    return rms


def read_noise(noise: NoisePlane, window: Window, files: OpenFiles) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation of the noise, and where it can be used."""
    values = noise.plane.read(window, files).astype(np.float64)
    if noise.kind == "known_rms":
        return values.astype(np.float32), np.ones(values.shape, bool)
    usable = np.isfinite(values) & (values > 0)
    values[~usable] = 1
    # In float64: float32 holds neither an inverse variance of 1e40 nor a variance of 1e-62, but their roots.
    if noise.kind != "rms":
        values = np.sqrt(values)
    if noise.kind == "weight":
        values = noise.scale / values
    with np.errstate(over="ignore", under="ignore"):
        sigma = values.astype(np.float32)
    usable &= np.isfinite(sigma) & (sigma > 0)
    return sigma, usable


MOST_PIXELS = 0.3
"""Share of the pixels with data that a mask may hide without a warning."""
MOST_LIGHT = 0.5
"""Share of the significant light that a mask may hide without a warning."""

_N_BLOCKS = 5
"""An image is sampled in ``_N_BLOCKS`` x ``_N_BLOCKS`` blocks that are spread over it."""

_BLOCK, _WEIGHT_BLOCK = 128, 64
"""Side of the blocks in pixels: of masks, for which an image of 5 or less a side is measured whole, and of weights."""

_SIGNIFICANT, _BRIGHTEST, _FEWEST = 3.0, 50.0, 30
"""Light counts from and up to these multiples of the scatter of the pixels, where at least so many pixels have some."""


def warn_of_hidden_pixels(band: Band, files: OpenFiles) -> None:
    """Warn where a mask of a band hides much of its pixels, or most of its light, or a plane of noise much.

    Parameters
    ----------
    band : Band
        The band.
    files : OpenFiles
        Files of its planes.
    """
    for noise in band.noise:
        unusable = _unusable(band, noise, files)
        if unusable > MOST_PIXELS:
            warn(
                f"band {band.name}: the {noise.kind} {noise.plane} is not positive and finite at {unusable:.0%} of the "
                "pixels with data, which are not used; give another plane, or leave it out (rms=False, weight=False)"
            )
    for mask in band.masks:
        pixels, light = _hidden(band, mask, files)
        if pixels > MOST_PIXELS or light > MOST_LIGHT:
            warn(
                f"band {band.name}: the plane {mask.plane} hides {pixels:.0%} of the pixels and {light:.0%} of the "
                f"light; {_set_bits(band, mask, files)}if that is not meant, choose the bits that make a pixel bad "
                "(dq_bits=, --dq-bits), or leave the mask out (dq=False, --dq none)"
            )


def _unusable(band: Band, noise: NoisePlane, files: OpenFiles) -> float:
    """Share of the pixels with data where a plane of noise cannot be used."""
    bad = [~read_noise(noise, window, files)[1][measured] for window, _, measured in _samples(band, files)]
    return float(np.concatenate(bad).mean()) if any(map(np.size, bad)) else 0.0


def _hidden(band: Band, mask: MaskPlane, files: OpenFiles) -> tuple[float, float]:
    """Shares of the pixels with data, and of their light, that a mask hides."""
    found = []
    for window, data, measured in _samples(band, files):
        if measured.any():
            # Cosmic rays, hot pixels and marks are not the light of the sky.
            smooth = ndimage.median_filter(np.where(measured, data, np.median(data[measured])), 3)
            found.append((smooth[measured], mask.read(window, files)[measured]))
    if not found:
        return 0.0, 0.0
    light, bad = (np.concatenate(part) for part in zip(*found, strict=True))
    light -= np.median(light)
    scatter = 1.4826 * np.median(np.abs(light))
    light = np.where(light > _SIGNIFICANT * scatter, np.minimum(light, _BRIGHTEST * scatter), 0)
    share = light[bad].sum() / light.sum() if np.count_nonzero(light) >= _FEWEST and light.any() else 0.0
    return float(bad.mean()), float(share)


def _samples(band: Band, files: OpenFiles) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
    """Blocks of a band: where they lie, their data, and where these are finite and not 0."""
    for window in _blocks(band.data.shape):
        data = np.asarray(band.data.read(window, files), float)
        yield window, data, np.isfinite(data) & (data != 0)


def _set_bits(band: Band, mask: MaskPlane, files: OpenFiles) -> str:
    """Bits that hide pixels, the most frequent first."""
    shares = np.zeros(64)
    for window in _blocks(band.data.shape):
        values = mask.plane.read(window, files)
        if values.dtype.kind not in "iu":
            return ""
        wanted = np.uint64(2**64 - 1 if mask.bits.bad is None else mask.bits.bad & 2**64 - 1)
        values = values.astype(np.uint64) & wanted
        shares += [np.count_nonzero(values >> np.uint64(bit) & np.uint64(1)) / values.size for bit in range(64)]
    shares /= len(_blocks(band.data.shape))
    often = [int(bit) for bit in np.argsort(-shares, kind="stable")[:4] if shares[bit] > 0]
    return f"its bits are {', '.join(f'{mask.bits.named(1 << bit)} ({shares[bit]:.0%})' for bit in often)}; "


def _blocks(shape: tuple[int, int], side: int = _BLOCK) -> list[Window]:
    """The whole image in pieces, or blocks spread evenly where it is larger; those of weights are always spread."""
    rows, columns = (_starts(length, side) for length in shape)
    return [Window(y, x, min(side, shape[0] - y), min(side, shape[1] - x)) for y in rows for x in columns]


def _starts(length: int, side: int) -> list[int]:
    if side == _BLOCK and length <= _N_BLOCKS * side:
        return list(range(0, length, side))
    return sorted({int(start) for start in np.linspace(0, length - min(side, length), _N_BLOCKS)})


PULL_LIMITS = (0.2, 5.0)
"""Width of data * sqrt(weight) on blank sky, for a weight that is believed to be an inverse variance (ideally 1)."""


def with_weight_scale(band: Band, files: OpenFiles) -> Band:
    """The band with its weight maps taken as inverse variances, or scaled to the noise of the image.

    A map of exposure times (by its name or unit), or one whose inverse variance is off the measured noise by more
    than a factor of five, says only how the noise varies: the RMS is then s / sqrt(weight), where s makes it
    agree with the noise of the image. Other weights are taken as they are.

    Parameters
    ----------
    band : Band
        Its noise planes may be of kind ``"exposure"``.
    files : OpenFiles
        Files of its planes.

    Returns
    -------
    Band
        Noise planes of kind ``"exposure"`` have become ``"weight"`` with a scale.

    Notes
    -----
    s is the median over blocks of the scatter of data * sqrt(weight) about the block's median (1.4826 times the median
    absolute deviation), which sources hardly change; SExtractor calibrates its relative weights likewise.
    """
    if not any(noise.kind in ("weight", "exposure") for noise in band.noise):
        return band
    # Only the first gives the RMS; the others are only asked where they are positive.
    noise = tuple(
        _scaled(one, band, files) if k == 0 else replace(one, kind=one.kind.replace("exposure", "weight"))
        for k, one in enumerate(band.noise)
    )
    return replace(band, noise=noise, meta={**band.meta, "noise": [f"{one.kind} x {one.scale:.4g}" for one in noise]})


def _scaled(noise: NoisePlane, band: Band, files: OpenFiles) -> NoisePlane:
    if noise.kind not in ("weight", "exposure"):
        return noise
    width = pull_width(noise, band, files)
    if width is None:
        return replace(noise, kind="weight")
    believed = noise.kind == "weight" and PULL_LIMITS[0] <= width <= PULL_LIMITS[1]
    if not believed:
        warn(
            f"band {band.name}: the weight {noise.plane} is not an inverse variance of the data (data * sqrt(weight) "
            f"scatters by {width:.3g} on the sky, not 1); it is taken as relative, and scaled to the image's noise"
        )
    return replace(noise, kind="weight", scale=1.0 if believed else width)


def pull_width(noise: NoisePlane, band: Band, files: OpenFiles) -> float | None:
    """Scatter of data * sqrt(weight) on the sky; None where too few pixels can be used."""
    widths = []
    for window in _blocks(band.data.shape, _WEIGHT_BLOCK):
        data = np.asarray(band.data.read(window, files), float)
        weight = np.asarray(noise.plane.read(window, files), float)
        usable = np.isfinite(data) & np.isfinite(weight) & (weight > 0)
        for mask in band.masks:
            usable &= ~mask.read(window, files)
        if usable.sum() >= _WEIGHT_BLOCK:
            pull = (data[usable] - np.median(data[usable])) * np.sqrt(weight[usable])
            widths.append(1.4826 * np.median(np.abs(pull - np.median(pull))))
    width = float(np.median(widths)) if widths else 0.0
    return width if np.isfinite(width) and width > 0 else None
