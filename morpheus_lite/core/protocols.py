"""Images and class maps that are read by window: all that the work by blocks needs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from astropy.wcs import WCS

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.facts import FACTS
from morpheus_lite.core.image import SkyImage, wcs_of_window
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import OptionError

OnRead = Callable[[Window, SkyImage], object]
"""Called with a window of an image and its pixels, when these are read."""


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


@dataclass(frozen=True)
class MapPlane:
    """One image HDU of a file of class maps.

    Parameters
    ----------
    name : str
        EXTNAME.
    kind : str
        One of `~morpheus_lite.config.classify.PLANES`.
    index : int or None
        Which class; None for planes that are of no class.
    dtype : str
        dtype of the pixels.
    """

    name: str
    kind: str
    index: int | None
    dtype: str

    @property
    def meaning(self) -> str:
        """Description of the pixels, for the card CONTENT."""
        return FACTS["maps"][self.kind]["content"].format(CLASSES[self.index or 0].replace("_", " "))

    def of(self, array: np.ndarray) -> np.ndarray:
        """The plane of an array of its kind: shape ``(y, x)``."""
        return array if self.index is None else array[:, :, self.index]


def map_planes(kinds: Sequence[str]) -> tuple[MapPlane, ...]:
    """The HDUs of a file of class maps, in the order of the file.

    Raises
    ------
    OptionError
        A kind that is not one of `~morpheus_lite.config.classify.PLANES`.
    """
    known, planes = FACTS["maps"], []
    unknown = [kind for kind in kinds if kind not in known]
    if unknown or not kinds:
        raise OptionError(f"map planes {', '.join(unknown) or '(none)'}: choose one or more of {', '.join(known)}")
    for kind in (kind for kind in known if kind in kinds):
        said = known[kind]
        if "hdu" in said:
            planes.append(MapPlane(said["hdu"], kind, None, said["dtype"]))
        else:
            names = (name.upper() + said["suffix"] for name in CLASSES)
            planes += [MapPlane(name, kind, k, said["dtype"]) for k, name in enumerate(names)]
    return tuple(planes)


class MapStore(ABC):
    """Class maps that are read and written by window: a subclass says where their planes lie, in files or in memory.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels.
    kinds : sequence of str
        Which of `~morpheus_lite.config.classify.PLANES`; ``"mean"`` must be one of them.
    wcs : astropy.wcs.WCS or None
        WCS of the image.
    provenance : mapping or None
        What the primary header records.

    Attributes
    ----------
    on_write : callable or None
        Called with a window and its maps, after `write` has written them.
    """

    on_write: Callable[[Window, Classification], object] | None = None

    def __init__(
        self, shape: tuple[int, int], kinds: Sequence[str], *, wcs: WCS | None = None, provenance: Mapping | None = None
    ) -> None:
        self.shape, self.wcs, self.provenance = shape, wcs, dict(provenance or {})
        self._planes = {plane.name: plane for plane in map_planes(kinds)}
        self.kinds = tuple(dict.fromkeys(plane.kind for plane in self._planes.values()))

    @abstractmethod
    def read_plane(self, name: str, window: Window | None = None) -> np.ndarray:
        """A window of one plane, by the name of its HDU: shape ``(y, x)``, native byte order."""

    @abstractmethod
    def write_plane(self, name: str, pixels: np.ndarray, window: Window | None = None) -> None:
        """Write a window of one plane, by the name of its HDU."""

    def write(self, window: Window, classification: Classification) -> None:
        """Write the maps of a window; planes of which the classification has none stay as they are."""
        arrays = classification.planes
        for plane in self._planes.values():
            if plane.kind in arrays:
                self.write_plane(plane.name, plane.of(arrays[plane.kind]), window)
        if self.on_write is not None:
            self.on_write(window, classification)

    def read(self, window: Window | None = None, kinds: Sequence[str] | None = None) -> Classification:
        """The maps of a window.

        Parameters
        ----------
        window : Window, optional
            Which pixels; all if not given.
        kinds : sequence of str, optional
            Which planes; all that there are if not given. ``"mean"``, ``"coverage"`` and ``"flags"`` are always read.

        Returns
        -------
        Classification
            With the WCS of the window.
        """
        window = window or Window(0, 0, *self.shape)
        wanted = {"mean", "coverage", "flags", *(self.kinds if kinds is None else kinds)} - {"segmentation"}
        arrays = {kind: self._read_kind(kind, window) for kind in self.kinds if kind in wanted}
        return Classification.of_planes(arrays, wcs=wcs_of_window(self.wcs, window), provenance=self.provenance)

    def _read_kind(self, kind: str, window: Window) -> np.ndarray:
        planes = [plane for plane in self._planes.values() if plane.kind == kind]
        # Plane behind plane in memory, as they lie in files.
        pixels = np.empty((len(planes), *window.shape), planes[0].dtype)
        for place, plane in zip(pixels, planes, strict=True):
            place[...] = self.read_plane(plane.name, window)
        return pixels[0] if planes[0].index is None else pixels.transpose(1, 2, 0)
