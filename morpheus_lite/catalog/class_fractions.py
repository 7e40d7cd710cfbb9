"""Morphology of sources: class maps summed over the light of each, and calibrated."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES, UNCERTAIN
from morpheus_lite.core.labels import LabelledPixels
from morpheus_lite.noise.correlated import CorrelatedNoise

_N = len(SOURCE_CLASSES)


@dataclass(frozen=True, eq=False)
class Morphology:
    """Class probabilities of each source, and scores.

    Parameters
    ----------
    share : numpy.ndarray
        float64, shape ``(source, 4)``: light-weighted share of each source class, or what a calibration made of it,
        adding to 1; NaN where no pixel of a source says anything for a source class.
    """

    share: np.ndarray

    @property
    def entropy(self) -> np.ndarray:
        """float64, shape ``(source,)``: entropy of the shares in units of its largest; NaN where nothing is known."""
        terms = np.where(self.share > 0, self.share * np.log(np.where(self.share > 0, self.share, 1)), self.share)
        return np.abs(terms.sum(axis=1)) / np.log(_N)

    @property
    def confidence(self) -> np.ndarray:
        """float64, shape ``(source,)``: the largest share; NaN where nothing is known."""
        return self.share.max(axis=1)

    def names(self, least: float) -> np.ndarray:
        """str, shape ``(source,)``: class with the largest share, `UNCERTAIN` below ``least``, empty if not known."""
        known = np.isfinite(self.share).all(axis=1)
        top = np.array(SOURCE_CLASSES)[np.nan_to_num(self.share).argmax(axis=1)]
        return np.where(known, np.where(self.confidence >= least, top, UNCERTAIN), "")


def measure_morphology(
    sources: LabelledPixels, maps: np.ndarray, light: np.ndarray, usable: np.ndarray
) -> tuple[Morphology, np.ndarray]:
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
    Morphology
    numpy.ndarray
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
        return Morphology(sums / sums.sum(axis=1, keepdims=True)), unweighted


def significance(
    fluxes: Mapping[str, np.ndarray], area: np.ndarray, sigmas: np.ndarray, noise: Mapping[str, CorrelatedNoise]
) -> np.ndarray:
    """S/N of sources in all bands together, by which their probabilities are calibrated.

    Parameters
    ----------
    fluxes : mapping
        ``segment_flux_<band>`` and ``segment_covered_<band>`` of each source.
    area : numpy.ndarray
        Pixels of each source.
    sigmas : numpy.ndarray
        float64, shape ``(source, band)``: noise of a pixel of the sky.
    noise : mapping of str to CorrelatedNoise
        Of each band, in their order.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(source,)``: the root of the sum of the squares over the bands, in each of which light that is
        not positive, or whose noise is not known, counts as 0.
    """
    total = np.zeros(len(area))
    for index, (band, of_band) in enumerate(noise.items()):
        covered = np.maximum(area * fluxes[f"segment_covered_{band}"], 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            snr = fluxes[f"segment_flux_{band}"] / (sigmas[:, index] * np.sqrt(covered) * of_band.factor(covered))
        total += np.where(np.isfinite(snr), np.maximum(snr, 0), 0) ** 2
    return np.sqrt(total)


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
