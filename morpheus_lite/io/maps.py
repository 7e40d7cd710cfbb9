"""Class maps as FITS: one image HDU a plane, each with WCS, and the run in the primary header."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morpheus_lite.config.classify import PLANES
from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import check_labels
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, OptionError, reading
from morpheus_lite.io.compressed import write_compressed_plane
from morpheus_lite.io.fitsfile import describe_hdus, is_image, open_fits, read_section
from morpheus_lite.io.run_header import header_of_run, run_of_header
from morpheus_lite.io.sections import SectionWriter
from morpheus_lite.io.wcs import celestial_wcs, header_of_wcs
from morpheus_lite.runtime.atomic import atomic_write

_SUFFIX = {"mean": "", "variance": "_VAR", "vote": "_VOTE"}
_SINGLE = {
    "coverage": ("N", "i4"),
    "segmentation": ("SEGMENTATION", "i4"),
    "flags": ("FLAGS", "u1"),
    "entropy": ("ENTROPY", "f4"),
    "tta_disagreement": ("TTA_DISAGREEMENT", "f4"),
    "large_object": ("LARGE_OBJECT", "i4"),
}
_MEANING = {
    "mean": "mean probability of {}",
    "variance": "variance of p({}) over windows",
    "vote": "share of windows won by {}",
    "coverage": "windows that gave the pixel a value",
    "segmentation": "label of the source, 0 is sky",
    "flags": "1 invalid, 2 no value, 4 few, 8 near invalid",
    "entropy": "entropy of the class maps, 0 to 1",
    "tta_disagreement": "part of ENTROPY: orientations disagree",
    "large_object": "number of the object seen in bins, or 0",
}
_BAND = 256  # rows that are copied at once


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
        return _MEANING[self.kind].format("" if self.index is None else CLASSES[self.index].replace("_", " "))


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
    for kind in PLANES:
        if kind in kinds and kind in _SUFFIX:
            planes += [MapPlane(name.upper() + _SUFFIX[kind], kind, k, "f4") for k, name in enumerate(CLASSES)]
        elif kind in kinds:
            planes.append(MapPlane(_SINGLE[kind][0], kind, None, _SINGLE[kind][1]))
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
    arrays = _arrays(classification, labels)
    kinds = planes if planes is not None else [kind for kind in PLANES if arrays[kind] is not None]
    missing = [kind for kind in kinds if kind in arrays and arrays[kind] is None]
    if missing:
        raise OptionError(f"map planes {', '.join(missing)} were asked for, but the classification has none")
    chosen = map_planes(kinds)
    wcs = classification.wcs if classification.wcs is not None else image.wcs
    primary = header_of_run(classification.provenance)

    def read(plane: MapPlane, window: Window) -> np.ndarray:
        return _pixels(plane, arrays)[window.slices]

    with atomic_write(path, overwrite=overwrite) as temporary:
        write_planes(temporary, primary, chosen, wcs, classification.shape, read, compress=compress)
    return path


def plane_cards(plane: MapPlane, wcs: WCS | None) -> fits.Header:
    """Cards of a plane's header beside the structural ones and its name: what it holds, and the WCS."""
    cards = fits.Header() if wcs is None else header_of_wcs(wcs)
    cards.insert(0, ("CONTENT", plane.meaning))
    return cards


def _arrays(classification: Classification, labels: np.ndarray | None) -> dict[str, np.ndarray | None]:
    return {
        "mean": classification.probability,
        "variance": classification.variance,
        "vote": classification.vote,
        "coverage": classification.coverage,
        "segmentation": None if labels is None else check_labels(labels, classification.shape),
        "flags": classification.flags,
        "entropy": classification.entropy,
        "tta_disagreement": classification.tta_disagreement,
        "large_object": classification.large_object,
    }


def _pixels(plane: MapPlane, arrays: dict[str, np.ndarray | None]) -> np.ndarray:
    array = arrays[plane.kind]
    assert array is not None
    return array if plane.index is None else array[:, :, plane.index]


def write_planes(
    path: Path,
    primary: fits.Header,
    planes: Sequence[MapPlane],
    wcs: WCS | None,
    shape: tuple[int, int],
    read: Callable[[MapPlane, Window], np.ndarray],
    *,
    compress: bool = False,
) -> None:
    """Write planes to a FITS file, a band of rows at a time, compressed or not.

    Parameters
    ----------
    path : path
        The file; replaced if it exists.
    primary : astropy.io.fits.Header
        Cards of the primary header.
    planes : sequence of MapPlane
        What to write.
    wcs : astropy.wcs.WCS or None
        WCS of the planes.
    shape : (int, int)
        Height and width in pixels.
    read : callable
        ``read(plane, window)``: the pixels of a window of full width, shape ``(y, x)``.
    compress : bool
        Whether to tile-compress them.
    """
    if compress:
        with path.open("wb") as file:
            file.write(fits.PrimaryHDU(header=primary).header.tostring().encode("ascii"))
            for plane in planes:
                cards = plane_cards(plane, wcs)
                write_compressed_plane(file, plane.name, plane.dtype, cards, shape, partial(read, plane))
        return
    layout = [(plane.name, np.dtype(plane.dtype), plane_cards(plane, wcs)) for plane in planes]
    with SectionWriter(path, primary, layout, shape) as sections:
        for plane in planes:
            for y in range(0, shape[0], _BAND):
                window = Window(y, 0, min(_BAND, shape[0] - y), shape[1])
                sections.write(plane.name, read(plane, window), window)


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
        arrays = {kind: _read_kind(hdus, kind, numbers) for kind in PLANES}
        if {"ALEATORIC", "EPISTEMIC"} <= numbers.keys():
            # Files of version 0.1 split the entropy in these two parts.
            aleatoric, epistemic = (_read_plane(hdus[numbers[name]], "f4") for name in ("ALEATORIC", "EPISTEMIC"))
            arrays |= {"entropy": aleatoric + epistemic, "tta_disagreement": epistemic}
        mean = arrays["mean"]
        if mean is None:
            raise InputError(
                f"{path} holds no class maps; expected image HDUs {', '.join(name.upper() for name in CLASSES)}, as "
                f"this package writes them. It has\n{describe_hdus(hdus)}"
            )
        shape = _one_shape(arrays, path)
        first = hdus[numbers[CLASSES[0].upper()]]
        wcs = celestial_wcs(first.header, shape, str(path))
        provenance = run_of_header(hdus[0].header)
    coverage = arrays["coverage"]
    if coverage is None:
        coverage = np.isfinite(mean[:, :, 0]).astype(np.int32)
    flags = arrays["flags"]
    # One-pass models classify pixels that are invalid in some of their bands.
    valid = (coverage > 0) | (False if flags is None else (flags & PixelFlag.INVALID) == 0)
    classification = Classification(
        mean,
        coverage,
        valid,
        arrays["variance"],
        arrays["vote"],
        flags,
        wcs,
        dict(provenance),
        arrays["entropy"],
        arrays["tta_disagreement"],
        arrays["large_object"],
    )
    return classification, arrays["segmentation"], provenance


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


def _one_shape(arrays: dict[str, np.ndarray | None], path: str | Path) -> tuple[int, int]:
    shapes = {kind: array.shape[:2] for kind, array in arrays.items() if array is not None}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{kind} {shape}" for kind, shape in shapes.items())
        raise InputError(f"{path}: class maps of different shapes, {said}; the file is damaged")
    return shapes["mean"]
