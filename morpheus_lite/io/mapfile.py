"""Class maps that are written and read by section: in a FITS file, or in memory, behind the same door."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from astropy.wcs import WCS

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.protocols import MapStore
from morpheus_lite.core.windows import Window
from morpheus_lite.io.maps import MapPlane, map_planes, plane_cards, write_planes
from morpheus_lite.io.run_header import header_of_run
from morpheus_lite.io.sections import SectionWriter


class MapFile:
    """Class maps of an image in one uncompressed FITS file, no more of them in memory than a section.

    Sections are written and read from several threads at once. Nothing is memory-mapped, so the memory of a run does
    not grow with the file. Planes that are not written read as 0.

    Parameters
    ----------
    path : path
        The file; replaced if it exists. Its whole length is reserved on the disk at once.
    shape : (int, int)
        Height and width in pixels.
    kinds : sequence of str
        Which of `~morpheus_lite.io.maps.PLANES`; ``"mean"`` must be one of them.
    wcs : astropy.wcs.WCS or None
        WCS of the image.
    provenance : mapping
        What the primary header records.

    Raises
    ------
    OSError
        There is no room or no permission.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int], kinds: Sequence[str], *, wcs: WCS | None, provenance: Mapping
    ) -> None:
        self.path, self.shape, self.wcs, self.provenance = path, shape, wcs, dict(provenance)
        self._planes = map_planes(kinds)
        self.kinds = tuple(dict.fromkeys(plane.kind for plane in self._planes))
        layout = [(plane.name, np.dtype(plane.dtype), plane_cards(plane, wcs)) for plane in self._planes]
        self._file = SectionWriter(path, header_of_run(provenance), layout, shape)

    def write(self, window: Window, classification: Classification) -> None:
        """Write the maps of a window; planes of which the classification has none stay as they are."""
        write_by_plane(self, self._planes, window, classification)

    def write_plane(self, name: str, pixels: np.ndarray, window: Window | None = None) -> None:
        """Write a window of one plane, by the name of its HDU."""
        self._file.write(name, pixels, window)

    def read_plane(self, name: str, window: Window | None = None) -> np.ndarray:
        """A window of one plane, by the name of its HDU: shape ``(y, x)``, native byte order."""
        return self._file.read(name, window)

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
        return read_by_plane(self, self._planes, window, kinds)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "MapFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryMaps:
    """The same as `MapFile`, in memory.

    Parameters
    ----------
    shape, kinds, wcs, provenance
        As there.
    """

    def __init__(
        self, shape: tuple[int, int], kinds: Sequence[str], *, wcs: WCS | None = None, provenance: Mapping | None = None
    ) -> None:
        self.shape, self.wcs, self.provenance = shape, wcs, dict(provenance or {})
        self._valid: np.ndarray | None = None
        planes = map_planes(kinds)
        self._planes = {plane.name: plane for plane in planes}
        self.kinds = tuple(dict.fromkeys(plane.kind for plane in planes))
        depth = {kind: sum(plane.kind == kind for plane in planes) for kind in self.kinds}
        self._arrays = {
            plane.kind: np.zeros(shape if plane.index is None else (*shape, depth[plane.kind]), plane.dtype)
            for plane in planes
        }

    @classmethod
    def of(cls, classification: Classification) -> "MemoryMaps":
        """Class maps that there are; copied only where a value has to become NaN, because nothing was classified."""
        arrays = {kind: array for kind, array in _arrays(classification).items() if array is not None}
        unseen = ~classification.classified
        for kind in {"mean", "vote"} & set(arrays):
            if np.isfinite(arrays[kind][unseen]).any():
                arrays[kind] = np.where(unseen[:, :, None], np.float32(np.nan), arrays[kind])
        maps = cls(classification.shape, tuple(arrays), wcs=classification.wcs, provenance=classification.provenance)
        maps._arrays, maps._valid = arrays, classification.valid
        return maps

    def write(self, window: Window, classification: Classification) -> None:
        """Write the maps of a window; planes of which the classification has none stay as they are."""
        for kind, array in _arrays(classification).items():
            if array is not None and kind in self._arrays:
                self._arrays[kind][window.slices] = array

    def write_plane(self, name: str, pixels: np.ndarray, window: Window | None = None) -> None:
        """Write a window of one plane, by the name of its HDU."""
        self._view(name, window)[...] = pixels

    def read_plane(self, name: str, window: Window | None = None) -> np.ndarray:
        """A window of one plane, by the name of its HDU: shape ``(y, x)``."""
        return self._view(name, window).copy()

    def read(self, window: Window | None = None, kinds: Sequence[str] | None = None) -> Classification:
        """The maps of a window; views of them, not copies."""
        window = window or Window(0, 0, *self.shape)
        wanted = {"mean", "coverage", "flags", *(self.kinds if kinds is None else kinds)}
        arrays = {kind: array[window.slices] for kind, array in self._arrays.items() if kind in wanted}
        maps = classification_of(arrays, wcs=windowed(self.wcs, window), provenance=self.provenance)
        return maps if self._valid is None else replace(maps, valid=self._valid[window.slices])

    def _view(self, name: str, window: Window | None) -> np.ndarray:
        plane = self._planes[name]
        array = self._arrays[plane.kind][(window or Window(0, 0, *self.shape)).slices]
        return array if plane.index is None else array[:, :, plane.index]


def write_by_plane(maps: MapStore, planes: Iterable[MapPlane], window: Window, classification: Classification) -> None:
    """Write the maps of a window plane by plane; planes of which the classification has none stay as they are."""
    arrays = _arrays(classification)
    for plane in planes:
        array = arrays.get(plane.kind)
        if array is not None:
            maps.write_plane(plane.name, array if plane.index is None else array[:, :, plane.index], window)


def read_by_plane(
    maps: MapStore, planes: Iterable[MapPlane], window: Window | None, kinds: Sequence[str] | None
) -> Classification:
    """Read the maps of a window plane by plane: those of ``kinds``, and always mean, coverage and flags."""
    window = window or Window(0, 0, *maps.shape)
    wanted = {"mean", "coverage", "flags", *(maps.kinds if kinds is None else kinds)} - {"segmentation"}
    read: dict[str, np.ndarray] = {}
    for plane in planes:
        if plane.kind not in wanted:
            continue
        pixels = maps.read_plane(plane.name, window)
        if plane.index is None:
            read[plane.kind] = pixels
            continue
        stack = read.setdefault(plane.kind, np.empty((*pixels.shape, len(CLASSES)), pixels.dtype))
        stack[:, :, plane.index] = pixels
    return classification_of(read, wcs=windowed(maps.wcs, window), provenance=maps.provenance)


def export_maps(maps: MapStore, path: Path, kinds: Sequence[str] | None = None, *, compress: bool = False) -> None:
    """Write some of the planes, or all, to another file, band by band and compressed if asked for."""
    planes = map_planes(maps.kinds if kinds is None else kinds)
    header = header_of_run(maps.provenance)
    write_planes(path, header, planes, maps.wcs, maps.shape, lambda p, w: maps.read_plane(p.name, w), compress=compress)


_OPTIONAL = ("variance", "vote", "entropy", "tta_disagreement", "large_object")


def classification_of(
    arrays: Mapping[str, np.ndarray], *, wcs: WCS | None, provenance: Mapping[str, Any]
) -> Classification:
    """The classification that planes hold, by their kind; ``"mean"`` is one of them.

    Where there is no coverage, pixels with a value count as covered. A pixel is valid if it got a value, or if it is
    not flagged as invalid: one-pass models classify pixels that are invalid in some of their bands.
    """
    mean, flags = arrays["mean"], arrays.get("flags")
    coverage = arrays.get("coverage")
    if coverage is None:
        coverage = np.isfinite(mean[:, :, 0]).astype(np.int32)
    valid = coverage > 0
    if flags is not None:
        valid |= (flags & PixelFlag.INVALID) == 0
    rest: dict[str, Any] = {name: arrays.get(name) for name in _OPTIONAL}
    return Classification(mean, coverage, valid, flags=flags, wcs=wcs, provenance=dict(provenance), **rest)


def windowed(wcs: WCS | None, window: Window) -> WCS | None:
    """The WCS of a window of an image."""
    return None if wcs is None else wcs.slice(window.slices)


def _arrays(classification: Classification) -> dict[str, np.ndarray | None]:
    return {
        "mean": classification.probability,
        "variance": classification.variance,
        "vote": classification.vote,
        "coverage": classification.coverage,
        "flags": classification.flags,
        "entropy": classification.entropy,
        "tta_disagreement": classification.tta_disagreement,
        "large_object": classification.large_object,
    }
