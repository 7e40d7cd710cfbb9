"""ImageSource: an image that is read by section, without loading the rest."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from astropy.wcs import WCS

from morpheus_lite.core.image import SkyImage, pixel_scale_of
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io.planes import Band, ImageDescription, NoisePlane, OpenFiles


class ImageSource:
    """An image whose pixels stay where they are until they are read.

    Use it as a context manager, or call `close`; it opens its files again when it is read after that. It may
    be read from several threads. To send an image to another process, send its ``description`` and open that there.

    Parameters
    ----------
    description : ImageDescription
        What the image consists of.
    files : OpenFiles or None
        Files that are open already.
    """

    def __init__(self, description: ImageDescription, files: OpenFiles | None = None) -> None:
        self.description = description
        self._files = files or OpenFiles()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.description.shape

    @property
    def bands(self) -> tuple[str, ...]:
        """Name of each band."""
        return self.description.band_names

    @property
    def has_band_names(self) -> bool:
        """True if the bands came with names, False if they were numbered."""
        return not all(band.isdigit() for band in self.bands)

    @property
    def n_bands(self) -> int:
        """Number of bands."""
        return len(self.description.bands)

    @property
    def wcs(self) -> WCS | None:
        """Celestial WCS of the whole image."""
        return self.description.wcs

    @property
    def pixel_scale(self) -> float | None:
        """Side of a pixel in arcseconds, None without a celestial WCS."""
        return pixel_scale_of(self.wcs)

    @property
    def units(self) -> tuple[str | None, ...]:
        """Unit of each band; None where unknown."""
        return tuple(band.unit for band in self.description.bands)

    @property
    def zero_points(self) -> tuple[float | None, ...]:
        """AB magnitude of one data unit in each band; None where unknown."""
        return tuple(band.zero_point for band in self.description.bands)

    @property
    def has_rms(self) -> tuple[bool, ...]:
        """True for each band whose noise is known in at least one pixel."""
        with self._files.lock:
            return tuple(any(_tells(noise, self._files) for noise in band.noise) for band in self.description.bands)

    @property
    def name(self) -> str:
        """Name of the image."""
        return self.description.name

    def select(self, bands: Sequence[str]) -> "ImageSource":
        """The source with just these bands, in this order, as `SkyImage.select` chooses them.

        It shares the open files of this one.
        """
        return ImageSource(self.description.select(bands), self._files)

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
        description = self.description
        window = window or description.whole
        _check_inside(window, self.shape, self.name)
        shape = (*window.shape, self.n_bands)
        data = np.empty(shape, np.float32)
        valid = np.empty(shape, bool)
        has_noise = any(band.noise for band in description.bands)
        rms = np.zeros(shape, np.float32) if has_noise else None
        with self._files.lock:
            for k, band in enumerate(description.bands):
                data[:, :, k], valid[:, :, k], noise = _read_band(band, window, self._files)
                if rms is not None and noise is not None:
                    rms[:, :, k] = noise
        whole = window == description.whole
        return SkyImage(
            data=data,
            bands=self.bands,
            valid=valid,
            rms=rms,
            wcs=self.wcs if self.wcs is None or whole else self.wcs.slice(window.slices),
            zero_points=self.zero_points,
            units=self.units,
            name=self.name,
            meta=self.meta,
        )

    @property
    def meta(self) -> dict[str, Any]:
        """Origin of each band and how its planes were understood: ``{"bands": {band: {...}}}``."""
        return {"bands": {str(band.name): band.meta for band in self.description.bands}}

    def close(self) -> None:
        """Close the files."""
        with self._files.lock:
            self._files.close()

    def __enter__(self) -> "ImageSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ImageSource {self.name}: {self.shape[0]} x {self.shape[1]} px, {', '.join(self.bands)}>"


def _check_inside(window: Window, shape: tuple[int, int], name: str) -> None:
    first, last = (window.y, window.x), (window.y + window.height, window.x + window.width)
    if min(first) < 0 or min(window.shape) < 1 or last[0] > shape[0] or last[1] > shape[1]:
        raise OptionError(f"{window} does not lie inside {name}, which is {shape[0]} x {shape[1]} px (y, x)")


def _read_band(band: Band, window: Window, files: OpenFiles) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Data, valid and RMS of one band, invalid pixels 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        data = _read(band.data, window, files).astype(np.float32)
    valid = np.isfinite(data)
    for mask in band.masks:
        valid &= ~_read(mask, window, files)
    rms = None
    for noise in band.noise:
        sigma, usable = _read_noise(noise, window, files)
        valid &= usable
        rms = sigma if rms is None else rms
    data[~valid] = 0
    if rms is not None:
        rms[~valid] = 0
    return data, valid, rms


def _tells(noise: NoisePlane, files: OpenFiles) -> bool:
    """True if a plane has any noise; one in memory may be 0, which means unknown, everywhere."""
    return noise.kind != "known_rms" or bool(np.any(noise.plane.read(Window(0, 0, *noise.plane.shape), files) > 0))


def _read_noise(noise: NoisePlane, window: Window, files: OpenFiles) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation of the noise, and where it can be used."""
    values = _read(noise.plane, window, files).astype(np.float64)
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


def _read(plane: Any, window: Window, files: OpenFiles) -> np.ndarray:
    try:
        return plane.read(window, files)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{plane}: the pixels cannot be read ({error})") from error
