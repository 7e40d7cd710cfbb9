"""Protocols of images and class maps that are read by window: all that the work by blocks needs."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from astropy.wcs import WCS

from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Window


class ImageReader(Protocol):
    """An image that is read by window: a file, or `~morpheus_lite.core.image.SkyImage`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def wcs(self) -> WCS | None:
        """WCS of the whole image."""

    @property
    def has_rms(self) -> tuple[bool, ...]:
        """True for each band whose noise is known in at least one pixel."""

    def read(self, window: Window, /) -> SkyImage:
        """The pixels of a window."""

    def close(self) -> None:
        """Close what is open; it is opened again when it is read."""


class MapStore(Protocol):
    """Class maps that are read and written by window: in a file, in many, or in memory."""

    shape: tuple[int, int]
    kinds: tuple[str, ...]

    @property
    def wcs(self) -> WCS | None:
        """WCS of the whole image."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Record of the run that made the maps."""

    def write(self, window: Window, classification: Classification, /) -> None:
        """Write the class maps of a window; planes of which the classification has none stay as they are."""

    def read(self, window: Window | None = None, /, kinds: Sequence[str] | None = None) -> Classification:
        """The class maps of a window, or all."""

    def read_plane(self, name: str, window: Window | None = None, /) -> np.ndarray:
        """One plane of a window, by the name of its HDU."""

    def write_plane(self, name: str, pixels: np.ndarray, window: Window | None = None, /) -> None:
        """Write a window of one plane, by the name of its HDU."""
