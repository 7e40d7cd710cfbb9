"""Class maps in FITS files and in memory: one image HDU a plane, each with WCS, and the run in the primary header."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morpheus_lite.config.classify import PLANES
from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import FilePixels, check_labels, write_at
from morpheus_lite.core.protocols import MapPlane, MapStore, map_planes
from morpheus_lite.core.windows import Window, row_blocks
from morpheus_lite.errors import InputError, OptionError, expect, reading
from morpheus_lite.io.fitsfile import describe_hdus, header_of_run, is_image, open_fits, read_section, run_of_header
from morpheus_lite.io.wcs import celestial_wcs, header_of_wcs
from morpheus_lite.runtime.atomic import atomic_write

FITS_BLOCK = 2880
"""FITS headers and data come in blocks of this many bytes."""

_TILE = 256
"""Side of the tiles that are compressed one by one, in pixels."""

_LARGEST_OFFSET = 2**31 - 1


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
    expect(image, SkyImage, "write_maps")
    expect(classification, Classification, "write_maps")
    wcs = classification.wcs if classification.wcs is not None else image.wcs
    maps = MemoryMaps.of(replace(classification, wcs=wcs), labels)
    missing = [kind for kind in planes or () if kind in PLANES and kind not in maps.kinds]
    if missing:
        raise OptionError(f"map planes {', '.join(missing)} were asked for, but the classification has none")
    with atomic_write(path, overwrite=overwrite) as temporary:
        export_maps(maps, temporary, planes, compress=compress)
    return Path(path)


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
        It is not a file of class maps.
    """
    with reading(path), open_fits(str(path)) as hdus:
        numbers = {hdu.name: number for number, hdu in enumerate(hdus) if is_image(hdu)}
        arrays: dict[str, np.ndarray] = {}
        for kind in PLANES:
            planes = map_planes([kind])
            if all(plane.name in numbers for plane in planes):
                read = [_read_plane(hdus[numbers[plane.name]], plane.dtype) for plane in planes]
                arrays[kind] = read[0] if planes[0].index is None else np.stack(read, axis=2)
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


def _read_plane(hdu: Any, dtype: str) -> np.ndarray:
    if len(hdu.shape) != 2:
        raise InputError(f"{hdu.name} has {len(hdu.shape)} dimensions; expected a plane of class maps, (y, x)")
    return read_section(hdu, (), Window(0, 0, *hdu.shape)).astype(np.dtype(dtype))


def plane_cards(plane: MapPlane, wcs: WCS | None) -> fits.Header:
    """Cards of the header of a plane, beside the structural ones and its name: what it holds, and the WCS."""
    cards = fits.Header() if wcs is None else header_of_wcs(wcs)
    cards.insert(0, ("CONTENT", plane.meaning))
    return cards


class MapFile(MapStore):
    """Class maps of an image in one uncompressed FITS file, no more of them in memory than a section.

    Sections are written and read from several threads at once. Nothing is memory-mapped, so the memory of a run does
    not grow with the file. The whole file is reserved on the disk when it is opened, so that a disk that is too small
    is noticed before the work starts. Pixels that are never written read as 0.

    Parameters
    ----------
    path : path
        The file; replaced if it exists.
    shape, kinds, wcs, provenance
        As of `~morpheus_lite.core.protocols.MapStore`.

    Raises
    ------
    OSError
        There is no room or no permission.
    """

    def __init__(
        self, path: Path, shape: tuple[int, int], kinds: Sequence[str], *, wcs: WCS | None, provenance: Mapping
    ) -> None:
        super().__init__(shape, kinds, wcs=wcs, provenance=provenance)
        self.path = path
        blocks = [(0, fits.PrimaryHDU(header=header_of_run(provenance)).header.tostring())]
        end = len(blocks[0][1])
        starts: dict[str, tuple[np.dtype, int]] = {}
        for plane in self._planes.values():
            pixels = np.broadcast_to(np.zeros((1, 1), plane.dtype), shape)
            text = fits.ImageHDU(pixels, header=plane_cards(plane, wcs), name=plane.name).header.tostring()
            blocks.append((end, text))
            stored, start = np.dtype(plane.dtype).newbyteorder(">"), end + len(text)
            starts[plane.name] = stored, start
            end = start + -(-shape[0] * shape[1] * stored.itemsize // FITS_BLOCK) * FITS_BLOCK
        self._file = path.open("w+b", buffering=0)
        try:
            _reserve(self._file, end)
            for start, text in blocks:
                write_at(self._file.fileno(), text.encode("ascii"), start)
        except BaseException:
            self._file.close()
            raise
        self._pixels = {name: FilePixels(self._file.fileno(), shape, *one) for name, one in starts.items()}

    def write_plane(self, name: str, pixels: np.ndarray, window: Window | None = None) -> None:
        """Write a part of a plane.

        Parameters
        ----------
        name : str
            The plane.
        pixels : numpy.ndarray
            Shape ``(y, x)`` of the window; converted to the plane's dtype.
        window : Window or None
            Where they belong; None for the whole plane.

        Raises
        ------
        OptionError
            The pixels do not have the shape of the window.
        """
        window = window or Window(0, 0, *self.shape)
        if pixels.shape != window.shape:
            raise OptionError(f"{name}: pixels of shape {pixels.shape} do not fill {window}")
        self._pixels[name].write(window, pixels)

    def read_plane(self, name: str, window: Window | None = None) -> np.ndarray:
        """Read a part of a plane back.

        Parameters
        ----------
        name : str
            The plane.
        window : Window or None
            Which part; None for the whole plane.

        Returns
        -------
        numpy.ndarray
            Shape ``(y, x)`` of the window, the plane's dtype in the machine's own byte order.
        """
        return self._pixels[name].read(window or Window(0, 0, *self.shape))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "MapFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _reserve(file: BinaryIO, length: int) -> None:
    """Give the file its length, and the disk space for it where the file system can promise that."""

    file.truncate(length)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


class MemoryMaps(MapStore):
    """The same as `MapFile`, in memory.

    Parameters
    ----------
    shape, kinds, wcs, provenance
        As of `~morpheus_lite.core.protocols.MapStore`.
    """

    def __init__(
        self, shape: tuple[int, int], kinds: Sequence[str], *, wcs: WCS | None = None, provenance: Mapping | None = None
    ) -> None:
        super().__init__(shape, kinds, wcs=wcs, provenance=provenance)
        self._valid: np.ndarray | None = None
        self._arrays = {
            plane.kind: np.zeros(shape if plane.index is None else (*shape, len(CLASSES)), plane.dtype)
            for plane in self._planes.values()
        }

    @classmethod
    def of(cls, classification: Classification, labels: np.ndarray | None = None) -> "MemoryMaps":
        """Maps that there are; copied only where a value has to become NaN, because nothing was classified."""
        arrays = classification.planes
        unseen = ~classification.classified
        for kind in {"mean", "vote"} & set(arrays):
            if np.isfinite(arrays[kind][unseen]).any():
                arrays[kind] = np.where(unseen[:, :, None], np.float32(np.nan), arrays[kind])
        if labels is not None:
            arrays["segmentation"] = check_labels(labels, classification.shape)
        maps = cls(classification.shape, tuple(arrays), wcs=classification.wcs, provenance=classification.provenance)
        maps._arrays, maps._valid = arrays, classification.valid
        return maps

    def write_plane(self, name: str, pixels: np.ndarray, window: Window | None = None) -> None:
        """Write a window of one plane, by the name of its HDU."""
        self._view(name, window)[...] = pixels

    def read_plane(self, name: str, window: Window | None = None) -> np.ndarray:
        """A window of one plane, by the name of its HDU: shape ``(y, x)``."""
        return self._view(name, window).copy()

    def read(self, window: Window | None = None, kinds: Sequence[str] | None = None) -> Classification:
        """The maps of a window; views of them, not copies."""
        window = window or Window(0, 0, *self.shape)
        maps = super().read(window, kinds)
        return maps if self._valid is None else replace(maps, valid=self._valid[window.slices])

    def _read_kind(self, kind: str, window: Window) -> np.ndarray:
        return self._arrays[kind][window.slices]

    def _view(self, name: str, window: Window | None) -> np.ndarray:
        plane = self._planes[name]
        return plane.of(self._arrays[plane.kind][(window or Window(0, 0, *self.shape)).slices])


def export_maps(maps: MapStore, path: Path, kinds: Sequence[str] | None = None, *, compress: bool = False) -> None:
    """Write some of the planes, or all, to another file, rows after rows and compressed if asked for."""
    kinds = maps.kinds if kinds is None else kinds
    planes = map_planes(kinds)
    if compress:
        with path.open("wb") as file:
            file.write(fits.PrimaryHDU(header=header_of_run(maps.provenance)).header.tostring().encode("ascii"))
            for plane in planes:
                _write_compressed(file, plane, maps)
        return
    with MapFile(path, maps.shape, kinds, wcs=maps.wcs, provenance=maps.provenance) as copy:
        for plane in planes:
            for window in row_blocks(maps.shape):
                copy.write_plane(plane.name, maps.read_plane(plane.name, window), window)


def _write_compressed(file: BinaryIO, plane: MapPlane, maps: MapStore) -> None:
    """Append one plane to a FITS file, tile-compressed without loss (GZIP_2 for float32, RICE_1 for integers).

    Parameters
    ----------
    file : binary file
        Open for writing, at the end of what it holds: a whole number of FITS blocks.
    plane : MapPlane
        Which plane.
    maps : MapStore
        Where it is read, no more than `_TILE` rows at once, from the top down.

    Notes
    -----
    A compressed plane is a table with a row per tile, which says where its bytes lie. Every row
    of tiles is compressed by astropy as an image of its own; its bytes are appended, and the table and the header are
    filled in at the end.
    """
    start = file.tell()
    shape, rows = maps.shape, list(row_blocks(maps.shape, _TILE))
    n_tiles = len(rows) * -(-shape[1] // _TILE)
    # 32-bit offsets are what every reader knows; 64-bit ones only where the plane may need them.
    offsets = np.dtype(">i4" if 1.1 * shape[0] * shape[1] * np.dtype(plane.dtype).itemsize < _LARGEST_OFFSET else ">i8")
    table = np.zeros((n_tiles, 2), offsets)
    done = heap = 0
    header = fits.Header()
    for band, descriptors, content in _compressed_rows(rows, plane, maps):
        if not done:
            header = band
            file.write(b" " * len(header.tostring()) + table.tobytes())
        table[done : done + len(descriptors)] = descriptors + np.array([0, heap])
        file.write(content)
        done, heap = done + len(descriptors), heap + len(content)
    file.write(bytes(-(table.nbytes + heap) % FITS_BLOCK))
    end = file.tell()
    letter = "P" if offsets.itemsize == 4 else "Q"
    header["TFORM1"] = f"1{letter}B({table[:, 0].max()})"
    header["NAXIS1"], header["NAXIS2"], header["PCOUNT"] = 2 * offsets.itemsize, n_tiles, heap
    header["ZNAXIS2"], header["ZTILE2"] = shape[0], min(_TILE, shape[0])
    file.seek(start)
    file.write(header.tostring().encode("ascii") + table.tobytes())
    file.seek(end)


def _compressed_rows(
    rows: list[Window], plane: MapPlane, maps: MapStore
) -> Iterator[tuple[fits.Header, np.ndarray, bytes]]:
    """Compress each row of tiles: its header, the table ``(tile, 2)`` of lengths and offsets, and the bytes."""
    lossless = {"compression_type": "GZIP_2", "quantize_level": 0.0} if plane.dtype == "f4" else {}
    cards = plane_cards(plane, maps.wcs)
    for window in rows:
        pixels = np.ascontiguousarray(maps.read_plane(plane.name, window), dtype=plane.dtype)
        tile = tuple(min(_TILE, length) for length in pixels.shape)
        buffer = BytesIO()
        hdu = fits.CompImageHDU(pixels, cards, plane.name, tile_shape=tile, **lossless)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
        stored = buffer.getvalue()
        with fits.open(BytesIO(stored), disable_image_compression=True) as hdus:
            header, first = hdus[1].header.copy(), hdus[1].fileinfo()["datLoc"]
        length = header["NAXIS1"] * header["NAXIS2"]
        table = np.frombuffer(stored[first : first + length], ">i4").reshape(-1, 2)
        yield header, table.astype(np.int64), stored[first + length : first + length + header["PCOUNT"]]
