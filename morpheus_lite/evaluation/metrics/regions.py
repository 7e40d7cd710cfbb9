"""The segments of a label map: areas, fluxes, positions, means over them, and painting values onto them."""

from dataclasses import dataclass

import numpy as np

from morpheus_lite.errors import InputError


@dataclass(frozen=True, eq=False)
class Segments:
    """Area, flux and position of every segment of a label map.

    Parameters
    ----------
    label : numpy.ndarray
        int32, shape ``(n,)``: the labels, ascending, without 0 and without negative ones.
    area : numpy.ndarray
        int64, shape ``(n,)``: pixels.
    flux : numpy.ndarray
        float64, shape ``(n,)``: sum of the weights given, in their unit; the area when there were none.
    x, y : numpy.ndarray
        float64, shape ``(n,)``: 0-based position in pixels, the mean of the pixels weighted by their positive
        weight; the plain mean where no weight is positive.
    """

    label: np.ndarray
    area: np.ndarray
    flux: np.ndarray
    x: np.ndarray
    y: np.ndarray


def measure_segments(labels: np.ndarray, weight: np.ndarray | None = None) -> Segments:
    """Area, flux and position of every segment.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``; 0 and negative values are no source.
    weight : numpy.ndarray, optional
        float, shape ``(y, x)``: the image. Pixels that are not finite count as 0.

    Returns
    -------
    Segments
    """
    rows, columns, found, index = _pixels(labels)
    n = len(found)
    area = np.bincount(index, minlength=n)
    value = np.ones(len(index)) if weight is None else _finite(_same_shape(labels, weight, "weight")[rows, columns])
    positive = np.maximum(value, 0)
    dark = np.bincount(index, positive, minlength=n) <= 0
    positive[dark[index]] = 1
    total = np.bincount(index, positive, minlength=n)
    return Segments(
        label=found,
        area=area,
        flux=np.bincount(index, value, minlength=n),
        x=np.bincount(index, positive * columns, minlength=n) / total,
        y=np.bincount(index, positive * rows, minlength=n) / total,
    )


def segment_means(labels: np.ndarray, maps: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Weighted mean of one or more maps over every segment.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``.
    maps : numpy.ndarray
        float, shape ``(y, x, k)``. Pixels with a value that is not finite are left out.
    weight : numpy.ndarray, optional
        float, shape ``(y, x)``; negative and non-finite weights count as 0, and a segment without positive
        weight is averaged plainly.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(n, k)``, in the order of `measure_segments`; NaN for a segment without a finite value.
    """
    rows, columns, found, index = _pixels(labels)
    values = _same_shape(labels, maps, "maps")[rows, columns].astype(np.float64)
    known = np.isfinite(values).all(axis=1)
    share = np.ones(len(index)) if weight is None else np.maximum(_finite(weight[rows, columns]), 0)
    share = share * known
    dark = np.bincount(index, share, minlength=len(found)) <= 0
    share = np.where(dark[index], known.astype(np.float64), share)
    values[~known] = 0
    sums = [np.bincount(index, share * plane, minlength=len(found)) for plane in values.T]
    with np.errstate(invalid="ignore"):
        return np.stack(sums, axis=1) / np.bincount(index, share, minlength=len(found))[:, None]


def fill_labels(labels: np.ndarray, label: np.ndarray, value: np.ndarray, sky: object) -> np.ndarray:
    """Paint one value per source over its pixels.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(y, x)``.
    label : numpy.ndarray
        int, shape ``(n,)``: which sources; every positive label of the map must be among them.
    value : numpy.ndarray
        shape ``(n,)`` or ``(n, k)``: what to paint.
    sky : scalar or numpy.ndarray
        What pixels without a source get, of the shape of one value.

    Returns
    -------
    numpy.ndarray
        shape ``(y, x)`` or ``(y, x, k)``, of the type of ``value``.
    """
    label, value = np.asarray(label), np.asarray(value)
    painted = np.empty(labels.shape + value.shape[1:], dtype=value.dtype)
    painted[...] = sky
    rows, columns, found, index = _pixels(labels)
    order = np.argsort(label, kind="stable")
    place = np.searchsorted(label[order], found).clip(max=max(len(label) - 1, 0))
    missing = found if len(label) == 0 else found[label[order][place] != found]
    if len(missing):
        raise InputError(
            f"the label map holds {len(missing)} source(s) that the table does not list, such as {missing[0]}; "
            "give the table that was made from this map"
        )
    painted[rows, columns] = value[order][place][index]
    return painted


def _pixels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns of the pixels of sources; the labels found, and which of them each pixel has."""
    rows, columns = np.nonzero(labels > 0)
    found, index = np.unique(labels[rows, columns], return_inverse=True)
    return rows, columns, found.astype(np.int32), index


def _same_shape(labels: np.ndarray, other: np.ndarray, name: str) -> np.ndarray:
    if other.shape[:2] != labels.shape:
        raise InputError(
            f"{name} is {other.shape[0]} x {other.shape[1]} px (y, x), the label map {labels.shape[0]} x "
            f"{labels.shape[1]}; both must cover the same pixels"
        )
    return other


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, 0).astype(np.float64)
