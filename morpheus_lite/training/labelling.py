"""Labels and classes of the pixels of an observed image, as people have them: tables, maps, lists, corrections."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from scipy import ndimage
from skimage.segmentation import watershed

from morpheus_lite.core.classes import BACKGROUND, CLASSES, SOURCE_CLASSES
from morpheus_lite.errors import InputError
from morpheus_lite.evaluation.metrics import by_label
from morpheus_lite.io.corrections import read_corrections
from morpheus_lite.io.fitsfile import open_fits
from morpheus_lite.io.maps import read_maps
from morpheus_lite.io.source_tables import class_shares, find_column, read_labels, read_rows, read_whole_numbers
from morpheus_lite.training.image_config import ImageConfig
from morpheus_lite.training.targets import Labelling, sum_by_owner

log = logging.getLogger(__name__)

THRESHOLD = 2.5
"""Of the smoothed light of all bands, in units of its noise, around the positions of a source list."""

_SMOOTHING = 1.2  # px, close to the PSF of most surveys
_SEARCH = 2  # px: a listed position may miss the peak by this much


def read_labelling(config: ImageConfig, light: np.ndarray, wcs: WCS | None) -> Labelling:
    """Labels and classes of an image.

    Parameters
    ----------
    config : ImageConfig
        Where they are.
    light : numpy.ndarray
        float32, shape ``(y, x)``: all bands together in units of their noise; a source list is found in it.
    wcs : astropy.wcs.WCS or None
        Of the image, for right ascensions and declinations.

    Raises
    ------
    InputError
        A file cannot be read, has another shape, an unknown class, or none at all.
    """
    labelled = np.ones(light.shape, bool)
    if config.unlabelled is not None:
        mask = read_whole_numbers(config.unlabelled, ("UNLABELLED", "MASK"), "mask of what is not labelled")
        labelled = _fitting(mask, light.shape, f"{config.unlabelled}: the mask") == 0
    labels: Any = None
    if config.labels is not None:
        labels = _fitting(read_labels(config.labels), light.shape, f"{config.name}: its label map {config.labels}")
    false = np.zeros(light.shape, np.int32)
    if config.classes is not None:
        owner, rows = _from_table(labels, config.classes)
    elif config.corrections is not None:
        owner, rows, false = _from_corrections(labels, config.corrections)
    elif config.class_map is not None:
        owner, rows = _from_class_map(labels, config.class_map, light.shape)
    else:
        owner, rows = _from_sources(labels, str(config.sources), light, wcs, config.name)
    labelling = replace(Labelling.of(np.maximum(owner, 0), rows, labelled & (owner >= 0)), false=false)
    n_known = int(labelling.has_class.sum())
    if not n_known:
        raise InputError(f"{config.name}: no source has a class; expected {', '.join(SOURCE_CLASSES)}")
    log.info("%s: %d sources, %d with a class", config.name, len(labelling.soft), n_known)
    return labelling


# Each of these gives who owns the pixels, -1 where that is not known, and the classes of the sources, NaN likewise.


def _from_table(labels: np.ndarray, path: str) -> tuple[np.ndarray, np.ndarray]:
    table, soft = _read_classes(path)
    label = np.asarray(find_column(table, "label", path), np.int64)
    owner, numbers = _numbered(labels)
    there = np.isin(label, numbers)
    if not there.any():
        raise InputError(f"{path}: none of its {len(label)} labels is in the label map; is it of the same image?")
    if not there.all():
        log.warning("%s: %d of its labels are not in the label map", path, (~there).sum())
    return owner, by_label(label, soft, numbers, np.nan)


def _from_corrections(labels: np.ndarray, path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same, and where a person said that there is no source."""
    corrected = read_corrections(path).apply(labels)
    owner, numbers = _numbered(corrected.labels)
    rows = np.full((len(numbers), BACKGROUND), np.nan)
    for label, kind in corrected.classes.items():
        rows[np.searchsorted(numbers, label)] = np.eye(BACKGROUND)[SOURCE_CLASSES.index(kind)]
    return owner, rows, _numbered(corrected.false)[0]


def _from_class_map(labels: np.ndarray | None, path: str, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of one label and one class are a source of their own, so that bulges and disks stay apart."""
    with open_fits(path.partition("[")[0]) as hdus:
        is_ours = CLASSES[0].upper() in hdus and "[" not in path
    if is_ours:
        classification, own, _ = read_maps(path)
        shares, labels = classification.probability, own if labels is None else labels
    else:
        plane = read_whole_numbers(path, ("CLASS", "PIXEL_CLASS", "CLASSES"), "class map")
        known = (plane >= 0) & (plane < len(CLASSES))
        shares = np.where(known[..., None], np.eye(len(CLASSES), dtype=np.float32)[np.where(known, plane, 0)], np.nan)
    shares = _fitting(shares, shape, f"{path}: the class map")
    top = np.where(np.isfinite(shares).all(axis=-1), np.nan_to_num(shares).argmax(axis=-1), -1)
    if labels is None:
        labels = ndimage.label((top >= 0) & (top != BACKGROUND))[0]
    kind = np.where(top == BACKGROUND, -1, top)
    owner, parts = _numbered(np.where(labels > 0, labels.astype(np.int64) * len(CLASSES) + kind + 1, 0))
    planes = np.moveaxis(np.nan_to_num(shares[..., :BACKGROUND]), 2, 0)
    count = sum_by_owner(owner, np.ones_like(owner), len(parts))
    rows = np.stack([sum_by_owner(owner, plane, len(parts)) / count for plane in planes], axis=1)
    rows[parts % len(CLASSES) == 0] = np.nan
    owner[(top < 0) & (labels <= 0)] = -1
    return owner, rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-9)


def _from_sources(
    labels: np.ndarray | None, path: str, light: np.ndarray, wcs: WCS | None, name: str
) -> tuple[np.ndarray, np.ndarray]:
    table, soft = _read_classes(path)
    x, y = _positions(table, path, wcs)
    inside = (x > -0.5) & (y > -0.5) & (x < light.shape[1] - 0.5) & (y < light.shape[0] - 0.5)
    if not inside.any():
        raise InputError(f"{path}: none of its {len(x)} positions lies in {name}")
    column, row = (np.rint(v[inside]).astype(int) for v in (x, y))
    if labels is not None:
        owner, numbers = _numbered(labels)
        found, n_sources = owner[row, column], len(numbers)
    else:
        owner, found = grow_sources(light, row, column)
        n_sources = len(found)
    if (found == 0).any():
        log.warning("%s: %d of %d sources have no light above the threshold", path, (found == 0).sum(), len(found))
    rows = np.full((n_sources, BACKGROUND), np.nan)
    rows[found[found > 0] - 1] = soft[inside][found > 0]
    return owner, rows


def grow_sources(light: np.ndarray, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label the light around positions.

    Parameters
    ----------
    light : numpy.ndarray
        float32, shape ``(y, x)``: in units of its noise.
    row, column : numpy.ndarray
        int, shape ``(source,)``: positions in pixels.

    Returns
    -------
    labels : numpy.ndarray
        int32, shape ``(y, x)``: 1 + the number of the position, 0 for sky, -1 for light without a position.
    found : numpy.ndarray
        int64, shape ``(source,)``: the label, 0 where there is no light above `THRESHOLD`, or another position's.

    Notes
    -----
    Where the light of several positions touches, a watershed divides it.
    """
    smooth = ndimage.gaussian_filter(light, _SMOOTHING)
    low, high = np.percentile(smooth[light != 0], (15.87, 50))  # 0 exactly: nothing was seen there
    smooth = (smooth - high) / max(high - low, 1e-9)
    bright = smooth > THRESHOLD
    markers = np.zeros(light.shape, np.int32)
    found = np.zeros(len(row), np.int64)
    padded = np.pad(smooth, _SEARCH, constant_values=-np.inf)
    side = 2 * _SEARCH + 1
    for i, (y, x) in enumerate(zip(row, column, strict=True)):
        place = np.unravel_index(padded[y : y + side, x : x + side].argmax(), (side, side))
        peak = (y + int(place[0]) - _SEARCH, x + int(place[1]) - _SEARCH)
        if bright[peak] and markers[peak] == 0:
            markers[peak] = found[i] = i + 1
    labels = watershed(-smooth, markers, mask=bright)
    return np.where(bright & (labels == 0), -1, labels).astype(np.int32), found


def _positions(table: Table, path: str, wcs: WCS | None) -> tuple[np.ndarray, np.ndarray]:
    x, ra, dec = (find_column(table, name, path, required=False) for name in ("x", "ra", "dec"))
    if x is not None:
        return x, np.asarray(find_column(table, "y", path))
    if ra is None or dec is None:
        raise InputError(f"{path}: no positions; expected columns x, y or ra, dec; it has {', '.join(table.colnames)}")
    if wcs is None:
        raise InputError(f"{path} gives ra, dec, and the image has no WCS; give x, y (0-based pixels)")
    x, y = wcs.all_world2pix(np.asarray(ra, float), np.asarray(dec, float), 0, quiet=True)
    return np.nan_to_num(x, nan=-9), np.nan_to_num(y, nan=-9)


def _read_classes(path: str) -> tuple[Table, np.ndarray]:
    """A table of sources, and their classes."""
    table = read_rows(path, path)
    soft = class_shares(table, path)
    if soft is None:
        raise InputError(
            f"{path}: no classes; expected a column class ({', '.join(SOURCE_CLASSES)}), or p_spheroid ...; it has "
            f"{', '.join(table.colnames)}"
        )
    return table, soft


def _fitting(plane: np.ndarray, shape: tuple[int, int], name: str) -> np.ndarray:
    if plane.shape[:2] != shape:
        raise InputError(f"{name} has shape {plane.shape[:2]}, the image {shape}; expected the same (y, x)")
    return plane


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels as 1, 2, ... in ascending order, int32 ``(y, x)``, and what they were, int64 ``(source,)``."""
    numbers, place = np.unique(labels, return_inverse=True)
    n_sky = int(np.searchsorted(numbers, 1))
    owner = np.maximum(place.reshape(labels.shape) - n_sky + 1, 0)
    return owner.astype(np.int32), numbers[n_sky:].astype(np.int64)
