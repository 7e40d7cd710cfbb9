"""Class maps in FITS files and in memory: one image HDU a plane, each with WCS, and the run in the primary header."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morpheus_lite.config.classify import PLANES
from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.facts import FACTS
from morpheus_lite.core.image import SkyImage, wcs_of_window
from morpheus_lite.core.labels import check_labels
from morpheus_lite.core.protocols import MapStore
from morpheus_lite.core.windows import Window, row_blocks
from morpheus_lite.errors import InputError, OptionError, reading
from morpheus_lite.io.fitsfile import describe_hdus, is_image, open_fits, read_section
from morpheus_lite.io.run_header import header_of_run, run_of_header
from morpheus_lite.io.sections import SectionWriter, write_compressed_plane
from morpheus_lite.io.wcs import celestial_wcs, header_of_wcs
from morpheus_lite.runtime.atomic import atomic_write


@dataclass(frozen=True)
class MapPlane:
    """One image HDU of a file of class maps.

    Parameters
    ----------
    name : str
        EXTNAME.
    kind : str
        One of `PLANES`.
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

    def cards(self, wcs: WCS | None) -> fits.Header:
        """Cards of its header beside the structural ones and its name: what it holds, and the WCS."""
        cards = fits.Header() if wcs is None else header_of_wcs(wcs)
        cards.insert(0, ("CONTENT", self.meaning))
        return cards


def map_planes(kinds: Sequence[str] = PLANES) -> tuple[MapPlane, ...]:
    """The HDUs of a file of class maps, in the order of the file.

    Raises
    ------
    OptionError
        A kind that is not one of `PLANES`.
    """
    unknown = [kind for kind in kinds if kind not in PLANES]
    if unknown or not kinds:
        raise OptionError(f"map planes {', '.join(unknown) or '(none)'}: choose one or more of {', '.join(PLANES)}")
    planes = []
    for kind in (kind for kind in PLANES if kind in kinds):
        said = FACTS["maps"][kind]
        if "hdu" in said:
            planes.append(MapPlane(said["hdu"], kind, None, said["dtype"]))
        else:
            names = (name.upper() + said["suffix"] for name in CLASSES)
            planes += [MapPlane(name, kind, k, said["dtype"]) for k, name in enumerate(names)]
    return tuple(planes)


def write_maps(
    image: SkyImage,
    classification: Classification,
    path: str | Path,
    *,
    labels: np.ndarray | None = None,
    planes: Sequence[str] | None = None,
    overwrite: bool = False,
    compress: bool = False,
) -> Path:
    """Write class maps to one FITS file.

    Image HDUs ``SPHEROID``, ``DISK``, ``IRREGULAR``, ``POINT_SOURCE``, ``BACKGROUND`` (mean probability, float32, NaN
    where not classified), ``<CLASS>_VAR``, ``<CLASS>_VOTE``, ``N`` (coverage, int32), ``SEGMENTATION`` (int32, 0 is
    sky), ``FLAGS`` (uint8, bits of `~morpheus_lite.core.flags.PixelFlag`), ``ENTROPY`` and ``TTA_DISAGREEMENT``
    (float32), each with the WCS; the primary header records the run.

    Parameters
    ----------
    image : SkyImage
        The image that was classified.
    classification : Classification
        Class maps; ``provenance`` goes to the primary header.
    path : path
        The file, ``*.fits``.
    labels : numpy.ndarray, optional
        int, shape ``(y, x)``: the segmentation map.
    planes : sequence of str, optional
        Which of `PLANES`; None for all that there are.
    overwrite : bool
        Replace a file that exists.
    compress : bool
        Tile-compress every plane, without loss (GZIP_2 for float32, RICE_1 for integers).

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    OptionError
        A plane was asked for that is unknown or that there is not.
    OutputError
        The file exists, or cannot be written; nothing is left behind.
    """
    path = Path(path)
    arrays = classification.planes
    if labels is not None:
        arrays["segmentation"] = check_labels(labels, classification.shape)
    chosen = map_planes([kind for kind in PLANES if kind in arrays] if planes is None else planes)
    missing = [kind for kind in planes or () if kind not in arrays]
    if missing:
        raise OptionError(f"map planes {', '.join(missing)} were asked for, but the classification has none")
    wcs = classification.wcs if classification.wcs is not None else image.wcs
    primary = header_of_run(classification.provenance)

    def read(plane: MapPlane, window: Window) -> np.ndarray:
        return plane.of(arrays[plane.kind])[window.slices]

    with atomic_write(path, overwrite=overwrite) as temporary:
        _write_planes(temporary, primary, chosen, wcs, classification.shape, read, compress=compress)
    return path


def _write_planes(
    path: Path,
    primary: fits.Header,
    planes: Sequence[MapPlane],
    wcs: WCS | None,
    shape: tuple[int, int],
    read: Callable[[MapPlane, Window], np.ndarray],
    *,
    compress: bool = False,
) -> None:
    """Write planes to a FITS file, rows after rows as ``read(plane, window)`` gives them, compressed or not."""
    if compress:
        with path.open("wb") as file:
            file.write(fits.PrimaryHDU(header=primary).header.tostring().encode("ascii"))
            for plane in planes:
                write_compressed_plane(file, plane.name, plane.dtype, plane.cards(wcs), shape, partial(read, plane))
        return
    with SectionWriter(path, primary, _layout(planes, wcs), shape) as sections:
        for plane in planes:
            for window in row_blocks(shape):
                sections.write(plane.name, read(plane, window), window)


def _layout(planes: Iterable[MapPlane], wcs: WCS | None) -> list[tuple[str, np.dtype, fits.Header]]:
    return [(plane.name, np.dtype(plane.dtype), plane.cards(wcs)) for plane in planes]


def read_maps(path: str | Path) -> tuple[Classification, np.ndarray | None, dict[str, Any]]:
    """Read a file of class maps.

    Parameters
    ----------
    path : path
        A file that `write_maps` wrote.

    Returns
    -------
    classification : Classification
        ``variance, vote, flags, entropy, tta_disagreement`` are None where the file has none; without ``FLAGS`` every
        classified pixel counts as valid.
    labels : numpy.ndarray or None
        int32, shape ``(y, x)``: the segmentation map.
    provenance : dict
        The record of the run.

    Raises
    ------
    InputError
        It is no file of class maps.
    """
    with reading(path), open_fits(str(path)) as hdus:
        numbers = {hdu.name: number for number, hdu in enumerate(hdus) if is_image(hdu)}
        found = ((kind, _read_kind(hdus, kind, numbers)) for kind in PLANES)
        arrays = {kind: array for kind, array in found if array is not None}
        if {"ALEATORIC", "EPISTEMIC"} <= numbers.keys():
            # Files of version 0.1 split the entropy in these two parts.
            aleatoric, epistemic = (_read_plane(hdus[numbers[name]], "f4") for name in ("ALEATORIC", "EPISTEMIC"))
            arrays |= {"entropy": aleatoric + epistemic, "tta_disagreement": epistemic}
        if "mean" not in arrays:
            raise InputError(
                f"{path} holds no class maps; expected image HDUs {', '.join(name.upper() for name in CLASSES)}, as "
                f"this package writes them. It has\n{describe_hdus(hdus)}"
            )
        shapes = {kind: array.shape[:2] for kind, array in arrays.items()}
        if len(set(shapes.values())) > 1:
            said = ", ".join(f"{kind} {shape}" for kind, shape in shapes.items())
            raise InputError(f"{path}: class maps of different shapes, {said}; the file is damaged")
        wcs = celestial_wcs(hdus[numbers[CLASSES[0].upper()]].header, shapes["mean"], str(path))
        provenance = run_of_header(hdus[0].header)
    labels = arrays.pop("segmentation", None)
    return Classification.of_planes(arrays, wcs=wcs, provenance=provenance), labels, provenance


def _read_kind(hdus: fits.HDUList, kind: str, numbers: dict[str, int]) -> np.ndarray | None:
    planes = map_planes([kind])
    if any(plane.name not in numbers for plane in planes):
        return None
    read = [_read_plane(hdus[numbers[plane.name]], plane.dtype) for plane in planes]
    return read[0] if planes[0].index is None else np.stack(read, axis=2)


def _read_plane(hdu: Any, dtype: str) -> np.ndarray:
    if len(hdu.shape) != 2:
        raise InputError(f"{hdu.name} has {len(hdu.shape)} dimensions; expected a plane of class maps, (y, x)")
    return read_section(hdu, (), Window(0, 0, *hdu.shape)).astype(np.dtype(dtype))


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
        Which of `~morpheus_lite.config.classify.PLANES`; ``"mean"`` must be one of them.
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
        self._file = SectionWriter(path, header_of_run(provenance), _layout(self._planes, wcs), shape)

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

    def __exit__(self, *error: object) -> None:
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
        self._planes = {plane.name: plane for plane in map_planes(kinds)}
        self.kinds = tuple(dict.fromkeys(plane.kind for plane in self._planes.values()))
        self._arrays = {
            plane.kind: np.zeros(shape if plane.index is None else (*shape, len(CLASSES)), plane.dtype)
            for plane in self._planes.values()
        }

    @classmethod
    def of(cls, classification: Classification) -> "MemoryMaps":
        """Class maps that there are; copied only where a value has to become NaN, because nothing was classified."""
        arrays = classification.planes
        unseen = ~classification.classified
        for kind in {"mean", "vote"} & set(arrays):
            if np.isfinite(arrays[kind][unseen]).any():
                arrays[kind] = np.where(unseen[:, :, None], np.float32(np.nan), arrays[kind])
        maps = cls(classification.shape, tuple(arrays), wcs=classification.wcs, provenance=classification.provenance)
        maps._arrays, maps._valid = arrays, classification.valid
        return maps

    def write(self, window: Window, classification: Classification) -> None:
        """Write the maps of a window; planes of which the classification has none stay as they are."""
        for kind, array in classification.planes.items():
            if kind in self._arrays:
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
        maps = Classification.of_planes(arrays, wcs=wcs_of_window(self.wcs, window), provenance=self.provenance)
        return maps if self._valid is None else replace(maps, valid=self._valid[window.slices])

    def _view(self, name: str, window: Window | None) -> np.ndarray:
        plane = self._planes[name]
        return plane.of(self._arrays[plane.kind][(window or Window(0, 0, *self.shape)).slices])


def write_by_plane(maps: MapStore, planes: Iterable[MapPlane], window: Window, classification: Classification) -> None:
    """Write the maps of a window plane by plane; planes of which the classification has none stay as they are."""
    arrays = classification.planes
    for plane in planes:
        if plane.kind in arrays:
            maps.write_plane(plane.name, plane.of(arrays[plane.kind]), window)


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
    return Classification.of_planes(read, wcs=wcs_of_window(maps.wcs, window), provenance=maps.provenance)


def export_maps(maps: MapStore, path: Path, kinds: Sequence[str] | None = None, *, compress: bool = False) -> None:
    """Write some of the planes, or all, to another file, band by band and compressed if asked for."""
    planes = map_planes(maps.kinds if kinds is None else kinds)
    header = header_of_run(maps.provenance)

    def read(plane: MapPlane, window: Window) -> np.ndarray:
        return maps.read_plane(plane.name, window)

    _write_planes(path, header, planes, maps.wcs, maps.shape, read, compress=compress)
