"""Segments: what the pixels of a source tell by themselves, its place, ellipse, fluxes and classes."""

import numpy as np

from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelledPixels

_THINNEST = 1 / 12
"""Variance of a pixel's own width, in pixels squared."""


def measure_shapes(sources: LabelledPixels, light: np.ndarray, usable: np.ndarray) -> dict[str, np.ndarray]:
    """Area, centroid, peak and ellipse of each source.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    light, usable : numpy.ndarray
        Detection image and where it may be used, shape ``(y, x)``.

    Returns
    -------
    dict
        Column name to float64 or int values, shape ``(source,)``, positions in pixels of the whole image. A source
        without positive light has the mean of its pixels as centroid, and NaN for its ellipse.

    Notes
    -----
    Moments of the positive light about the corner of the bounding box, so that they have the same bits in whatever
    piece of the image the source is measured. Ellipses thinner than a pixel are widened by 1/12 pixel squared along
    both axes until they are not, as SExtractor and photutils do.
    """
    flux, usable_pixels = sources.take(light), sources.take(usable)
    # Invalid pixels cannot be the brightest, unless a source has no others.
    peak = sources.brightest(np.where(usable_pixels, flux, -np.inf))
    shapes = {"area": sources.sizes, "x_peak": sources.column[peak], "y_peak": sources.row[peak]}
    weight = np.where(usable_pixels, np.maximum(flux, 0), 0).astype(np.float64)
    total = sources.sum(weight)
    corner = sources.boxes[:, :2]
    away, away_squared = [], []
    for axis, (name, place) in enumerate((("y_centroid", sources.row), ("x_centroid", sources.column))):
        inside = (place - sources.spread(corner[:, axis])).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = np.where(total > 0, sources.sum(weight * inside) / total, sources.sum(inside) / sources.sizes)
        shapes[name] = middle + corner[:, axis]
        away.append(inside - sources.spread(middle))
        away_squared.append(sources.sum(weight * away[axis] ** 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        yy, xx, xy = (moment / total for moment in (*away_squared, sources.sum(weight * away[0] * away[1])))
    return shapes | _ellipses(xx, yy, xy)


def _ellipses(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> dict[str, np.ndarray]:
    """Ellipses of sources from their second central moments."""
    # One round is enough, but for rounding; NaN is never thin.
    wider = np.zeros(len(xx))
    while (thin := (xx + wider) * (yy + wider) - xy**2 < _THINNEST**2).any():
        wider[thin] += _THINNEST
    xx, yy = xx + wider, yy + wider
    middle, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    major = np.sqrt(middle + half)
    # The product of the eigenvalues is the determinant: their difference would lose digits.
    minor = np.sqrt((xx * yy - xy**2) / (middle + half))
    return {
        "semimajor_axis": major,
        "semiminor_axis": minor,
        "orientation": np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)) % 360,
        "ellipticity": 1 - minor / major,
    }


def measure_fluxes(sources: LabelledPixels, image: SkyImage) -> dict[str, np.ndarray]:
    """Flux of each source in each band, and its error where the image has noise planes.

    Returns
    -------
    dict
        ``segment_flux_<band>`` and ``segment_fluxerr_<band>``: float64, shape ``(source,)``, in the units of the
        data; ``segment_covered_<band>``: share of the pixels that are valid. Flux sums the valid pixels, and is NaN
        without any. Errors add the RMS of those pixels in quadrature; pixels whose RMS is
        unknown (0) count as noisy as the source's others, and the error is NaN if all are unknown.
    """
    fluxes = {}
    for index, band in enumerate(image.bands):
        valid = sources.take(image.valid[:, :, index])
        covered = sources.sum(valid) / sources.sizes
        flux = sources.sum(np.where(valid, sources.take(image.data[:, :, index]), 0))
        fluxes[f"segment_covered_{band}"], fluxes[f"segment_flux_{band}"] = covered, np.where(covered > 0, flux, np.nan)
        if image.rms is None:
            continue
        rms = np.where(valid, sources.take(image.rms[:, :, index]), 0).astype(np.float64)
        n_known = sources.sum(rms > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            fluxes[f"segment_fluxerr_{band}"] = np.sqrt(sources.sum(rms**2) * sources.sum(valid) / n_known)
    return fluxes


_N = len(SOURCE_CLASSES)


def verdicts(share: np.ndarray, least: float) -> dict[str, np.ndarray]:
    """Class of each source, and scores, from the shares of the classes ``(source, 4)``.

    Returns
    -------
    dict
        ``p_<class>``; ``morphology``: class with the largest share, `UNCERTAIN` below ``least``, empty if not known;
        ``class_confidence``: the largest share; ``entropy`` of the shares in units of its largest. NaN where nothing is
        known.
    """
    known, confidence = np.isfinite(share).all(axis=1), share.max(axis=1)
    top = np.array(SOURCE_CLASSES)[np.nan_to_num(share).argmax(axis=1)]
    terms = np.where(share > 0, share * np.log(np.where(share > 0, share, 1)), share)
    return {
        **{f"p_{name}": share[:, k] for k, name in enumerate(SOURCE_CLASSES)},
        "morphology": np.where(known, np.where(confidence >= least, top, UNCERTAIN), ""),
        "class_confidence": confidence,
        "entropy": np.abs(terms.sum(axis=1)) / np.log(_N),
    }


def measure_morphology(
    sources: LabelledPixels, maps: np.ndarray, light: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Share of each class in each source.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    maps : numpy.ndarray
        float32, shape ``(y, x, class)``: rank votes or mean probabilities, NaN where not classified.
    light, usable : numpy.ndarray
        Detection image and where it may be used, shape ``(y, x)``.

    Returns
    -------
    share : numpy.ndarray
        float64, shape ``(source, 4)``: they add to 1; NaN where no pixel of a source says anything for a source class.
    unweighted : numpy.ndarray
        bool, shape ``(source,)``: True where there was no positive light to weight with.

    Notes
    -----
    Share of class k, as in Hausen & Robertson (2020): ``q_k = s_k / sum_j s_j`` with
    ``s_k = sum_i f_i p_ki`` over the pixels i, light f, class map p. Sums below 0, which noise can make, count as
    0, so that shares are never negative; where none is positive, every pixel weighs the same.
    """
    known = sources.take(usable) & np.isfinite(sources.take(maps[:, :, 0]))
    weight = np.where(known, sources.take(light), 0).astype(np.float64)
    sums = _class_sums(sources, maps, weight)
    unweighted = sums.sum(axis=1) <= 0
    if unweighted.any():
        # A source without positive light counts each pixel alike.
        weight = np.where(sources.spread(unweighted), known, weight)
        sums = _class_sums(sources, maps, weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / sums.sum(axis=1, keepdims=True), unweighted


def measure_nature(
    sources: LabelledPixels, probability: np.ndarray, light: np.ndarray, usable: np.ndarray
) -> dict[str, np.ndarray]:
    """Measure the probability that each source is real, and how much of its light lies in pixels of a class.

    Parameters
    ----------
    sources : LabelledPixels
        The pixels of each source.
    probability : numpy.ndarray
        float32, shape ``(y, x, class)``: mean probabilities, NaN where not classified.
    light, usable : numpy.ndarray
        Detection image and where it may be used, shape ``(y, x)``.

    Returns
    -------
    dict
        ``p_source, spheroid_pixel_fraction, disk_pixel_fraction``: float64, shape ``(source,)``, in [0, 1]; NaN where
        no pixel is known. Pixels weigh by their positive light; all the same in a source without any.
    """
    classes = sources.take(probability)
    known = sources.take(usable) & np.isfinite(classes[:, 0])
    weight = np.where(known, np.maximum(sources.take(light), 0), 0).astype(np.float64)
    weight = np.where(sources.spread(sources.sum(weight) <= 0), known, weight)
    top = np.nan_to_num(classes[:, :_N]).argmax(axis=1)
    real = np.where(known, 1 - np.nan_to_num(classes[:, BACKGROUND]), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = sources.sum(weight)
        nature = {"p_source": np.clip(sources.sum(weight * real) / total, 0, 1)}
        for name in ("spheroid", "disk"):
            nature[f"{name}_pixel_fraction"] = sources.sum(weight * (top == SOURCE_CLASSES.index(name))) / total
    return nature


def _class_sums(sources: LabelledPixels, maps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted sums of the class maps, not below 0: float64, shape ``(source, 4)``."""
    planes = (np.nan_to_num(sources.take(maps[:, :, k])) for k in range(_N))
    return np.maximum(np.stack([sources.sum(weight * plane) for plane in planes], axis=1), 0)
