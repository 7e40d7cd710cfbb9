"""All bands of an image as one plane, in units of their noise."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy.stats import mad_std

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.sampling import sample_windows
from morpheus_lite.noise.correlated import CorrelatedNoise, noise_of_pieces

_UNIT = 2.0**16


def significance(image: SkyImage, labels: np.ndarray, *, scatter: tuple[float | None, ...] | None = None) -> np.ndarray:
    """All bands added up, each in units of its own noise.

    Parameters
    ----------
    image : SkyImage
        The image; a band without RMS has the scatter of its pixels outside of ``labels``.
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    scatter : tuple of (float or None), optional
        What `band_scatter` said of the whole image, where ``image`` is a piece of it.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(y, x)``: of scatter 1 where there is only independent noise; 0 where no band is valid.
    """
    if scatter is None:
        windows = sample_windows(image.shape)
        scatter = band_scatter((image.cutout(window), labels[window.slices]) for window in windows)
    total, n_used = np.zeros(image.shape), np.zeros(image.shape, dtype=np.intp)
    for index, sigma in enumerate(scatter):
        noise: Any = sigma
        if noise is None:
            noise = 0.0 if image.rms is None else image.rms[:, :, index]
        usable = image.valid[:, :, index] & (noise > 0)
        light = np.zeros(image.shape)
        total += np.divide(image.data[:, :, index], noise, out=light, where=usable, dtype=np.float64)
        n_used += usable
    roots = np.sqrt(np.maximum(np.arange(len(scatter) + 1), 1))
    return total if len(scatter) == 1 else total / roots.take(n_used)


def band_scatter(pieces: Iterable[tuple[SkyImage, np.ndarray]]) -> tuple[float | None, ...]:
    """Scatter of the empty sky in each band.

    Parameters
    ----------
    pieces : iterable of (SkyImage, numpy.ndarray)
        The image and its labels inside each of `~morpheus_lite.core.sampling.sample_windows`.

    Returns
    -------
    tuple of (float or None)
        None for a band whose noise the RMS plane tells.
    """
    known: list[bool] = []
    sky: list[list[np.ndarray]] = []
    anything: list[list[np.ndarray]] = []
    for image, labels in pieces:
        known = known or [False] * image.n_bands
        sky, anything = (lists or [[] for _ in image.bands] for lists in (sky, anything))
        for index in range(image.n_bands):
            known[index] |= image.rms is not None and bool((image.rms[:, :, index] > 0).any())
            usable = image.valid[:, :, index]
            sky[index].append(image.data[:, :, index][usable & (labels == 0)])
            anything[index].append(image.data[:, :, index][usable])
    return tuple(
        None if rms else _scatter(*map(np.concatenate, planes))
        for rms, *planes in zip(known, sky, anything, strict=True)
    )


def _scatter(sky: np.ndarray, anything: np.ndarray) -> float:
    pixels = sky if len(sky) else anything
    return float(mad_std(pixels)) if len(pixels) else 0.0


def noise_of_light(pieces: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> CorrelatedNoise:
    """Noise of sums over pixels of the light that `significance` gives.

    Parameters
    ----------
    pieces : iterable of (numpy.ndarray, numpy.ndarray, numpy.ndarray)
        The light ``(y, x)``, the valid pixels ``(y, x, band)`` and the labels ``(y, x)`` inside each of
        `~morpheus_lite.core.sampling.sample_windows`.
    """
    images = [
        (SkyImage(light[:, :, None], ("light",), np.asarray(valid.any(axis=2))[:, :, None]), labels)
        for light, valid, labels in pieces
    ]
    return noise_of_pieces(images)["light"]


def countable(light: np.ndarray) -> np.ndarray:
    """Light in whole numbers of 2**-16, so that sums do not depend on the order of the pixels."""
    return np.rint(light * _UNIT)


def signal_to_noise(sums: np.ndarray, area: np.ndarray, noise: CorrelatedNoise) -> np.ndarray:
    """Signal-to-noise ratio of sums of `countable` light over ``area`` pixels; independent ones if no sky is known."""
    area = np.maximum(area, 1)
    sigma = noise.sigma if np.isfinite(noise.sigma) else 1.0
    return sums / _UNIT / (sigma * np.sqrt(area) * noise.factor(area))
