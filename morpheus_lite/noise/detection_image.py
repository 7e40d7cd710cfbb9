"""All bands of an image as one plane, in units of their noise."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.sampling import sample_windows
from morpheus_lite.noise.band_stack import STACK, DetectionImage, summed
from morpheus_lite.noise.correlated import CorrelatedNoise, noise_of_pieces, scatter_of, upper_scatter_of

# Sums of whole numbers are exact in float64 up to 2**53: a total S/N of 1e11.
_UNIT = 2.0**16


def make_detection_image(
    image: SkyImage, labels: np.ndarray, *, scatter: tuple[float | None, ...] | None = None
) -> np.ndarray:
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
    for index in range(image.n_bands):
        light, usable = _band_in_units_of_noise(image, index, scatter[index])
        total += light
        n_used += usable
    # The sum of n independent bands scatters by the root of n.
    roots = np.sqrt(np.maximum(np.arange(len(scatter) + 1), 1))
    return total if len(scatter) == 1 else total / roots.take(n_used)


def _band_in_units_of_noise(image: SkyImage, index: int, sigma: float | None) -> tuple[np.ndarray, np.ndarray]:
    """One band in units of its noise, 0 where that is not known, and where it is."""
    noise: Any = sigma
    if noise is None:
        noise = 0.0 if image.rms is None else image.rms[:, :, index]
    usable = image.valid[:, :, index] & (noise > 0)
    light = np.zeros(image.shape)
    return np.divide(image.data[:, :, index], noise, out=light, where=usable, dtype=np.float64), usable


def unbroken_detection_image(image: SkyImage, own: np.ndarray, scatter: tuple[float | None, ...]) -> np.ndarray:
    """`make_detection_image` as a source needs it that lies across the edge of a band: its light has no step there.

    Parameters
    ----------
    image : SkyImage
        The source and its surroundings.
    own : numpy.ndarray
        bool, shape ``(y, x)``: its pixels.
    scatter : tuple of (float or None)
        What `band_scatter` said of the whole image.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(y, x)``: pixels of the source that some bands miss have what all of them would have, by its
        colours (`~morpheus_lite.noise.band_stack.DetectionImage.weights`).
    """
    planes = [_band_in_units_of_noise(image, index, sigma) for index, sigma in enumerate(scatter)]
    light, usable = (np.stack(parts, axis=2) for parts in zip(*planes, strict=True))
    bands = np.ones(len(planes))
    there = DetectionImage(STACK, image.bands[0], bands, bands > 0).weights(light, usable, own)
    # Outside of the source the sum is that of the bands that are there.
    everywhere = usable / np.sqrt(np.maximum(usable.sum(axis=2, keepdims=True), 1))
    return summed(np.where(own[:, :, None], there, everywhere), light)


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
    return scatter_of(pixels) if len(pixels) else 0.0


def noise_of_light(pieces: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> CorrelatedNoise:
    """Noise of sums over pixels of the light that `make_detection_image` gives.

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
    return noise_of_pieces(images, scatter=upper_scatter_of)["light"]


def to_fixed_point(light: np.ndarray) -> np.ndarray:
    """Light in whole numbers of 2**-16, so that sums do not depend on the order of the pixels."""
    return np.rint(light * _UNIT)


def signal_to_noise(sums: np.ndarray, area: np.ndarray, noise: CorrelatedNoise) -> np.ndarray:
    """Signal-to-noise ratio of sums of `to_fixed_point` light over ``area`` pixels, independent if no sky is known."""
    area = np.maximum(area, 1)
    sigma = noise.sigma if np.isfinite(noise.sigma) else 1.0
    return sums / _UNIT / (sigma * np.sqrt(area) * noise.factor(area))
