"""All bands of an image as one plane, in units of their noise."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from astropy.stats import mad_std
from scipy import ndimage

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelledPixels
from morpheus_lite.core.loops import call_loop
from morpheus_lite.noise.correlated import CorrelatedNoise, noise_of_pieces, scatter_of
from morpheus_lite.runtime.resources import thread_map

_SECOND_DIFFERENCES = np.outer((1, -2, 1), (1, -2, 1))
_ENOUGH = 64
_STEP = 1.5


@dataclass(frozen=True)
class LightNoise:
    """Noise of the smoothed light of an image in its empty sky.

    Parameters
    ----------
    scatter : float
        Standard deviation of the pixels; 0 where there is no empty sky.
    roughness : float
        That of their second differences along both axes.
    """

    scatter: float
    roughness: float


def light_noise(pieces: Iterable[tuple[np.ndarray, np.ndarray]]) -> LightNoise:
    """Noise of the smoothed light in empty sky, from its and the labels' part in each window of the sample."""

    def empty(piece: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        smooth, labels = piece
        return smooth[labels == 0], second_differences(smooth)[labels == 0]

    both = thread_map(empty, pieces)
    sky, rough = (np.concatenate(parts) for parts in zip(*both, strict=True))
    return LightNoise(scatter_of(sky), scatter_of(rough)) if len(sky) else LightNoise(0.0, 0.0)


def second_differences(smooth: np.ndarray) -> np.ndarray:
    """Second differences along both axes at once, which leave nothing of light that falls off evenly.

    Notes
    -----
    The noise estimate of Immerkaer (1996).
    """
    return ndimage.correlate(smooth, _SECOND_DIFFERENCES)


class SourceNoise:
    """Noise of the smoothed light within one source, by the level of the light.

    Photons of the source itself add to the noise of the sky, and in mosaics the sky's noise is not the same
    everywhere: how rough the light is, against empty sky, tells by how much the noise is larger.

    Parameters
    ----------
    smooth : numpy.ndarray
        float64, shape ``(y, x)``: smoothed light of a box.
    own : numpy.ndarray
        bool, shape ``(y, x)``: the pixels of the source.
    sky : LightNoise
        Of the image.
    """

    def __init__(self, smooth: np.ndarray, own: np.ndarray, sky: LightNoise) -> None:
        self._sky = sky.scatter
        steps, rough = self._step(smooth[own]), second_differences(smooth)[own]
        self._factors = [1.0]
        if sky.roughness <= 0:
            return
        order, counts = np.argsort(steps, kind="stable"), np.bincount(steps)
        for part in np.split(rough[order], np.cumsum(counts)[:-1]):
            # Few pixels are those of a peak, which is no noise.
            known = len(part) >= _ENOUGH
            self._factors.append(max(float(mad_std(part)) / sky.roughness, 1.0) if known else self._factors[-1])
        del self._factors[0]

    def at(self, light: float) -> float:
        """Standard deviation of the noise where there is so much light."""
        step = int(self._step(np.array(light)))
        return self._sky * self._factors[min(step, len(self._factors) - 1)]

    def _step(self, light: np.ndarray) -> np.ndarray:
        """Step of brightness of a pixel, from the noise of the sky up."""
        return (np.log(np.maximum(light / max(self._sky, 1e-30), 1)) / np.log(_STEP)).astype(np.int64)


# Sums of whole numbers are exact in float64 up to 2**53: a total S/N of 1e11.
_UNIT = 2.0**16


def make_detection_image(image: SkyImage, scatter: tuple[float | None, ...]) -> np.ndarray:
    """All bands added up, each in units of its own noise.

    Parameters
    ----------
    image : SkyImage
        The image, or a piece of it.
    scatter : tuple of (float or None)
        What `band_scatter` said of the whole image.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(y, x)``: of scatter 1 where there is only independent noise; 0 where no band is valid.
    """
    total, n_used = np.zeros(image.shape), np.zeros(image.shape, dtype=np.uint8)
    for index in range(image.n_bands):
        sigma, rms = scatter[index] or 0.0, image.rms if scatter[index] is None else None
        data, noise = (
            None if one is None else np.ascontiguousarray(one[:, :, index], np.float32) for one in (image.data, rms)
        )
        valid = np.ascontiguousarray(image.valid[:, :, index])
        call_loop("add_band", total.size, data, valid, noise, sigma, total, n_used)
    # The sum of n independent bands scatters by the root of n.
    roots = np.sqrt(np.maximum(np.arange(len(scatter) + 1), 1))
    if len(scatter) > 1:
        total /= roots[-1] if (n_used == len(scatter)).all() else roots.take(n_used)
    return total


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
        colours (`~morpheus_lite.noise.detection_image.DetectionImage.weights`).
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
        The image and its labels inside each of `~morpheus_lite.core.windows.sample_windows`.

    Returns
    -------
    tuple of (float or None)
        None for a band whose noise the RMS plane tells.
    """
    pieces = list(pieces)
    empty = [labels == 0 for _, labels in pieces]

    def scatter(index: int) -> float | None:
        if any(image.rms is not None and (image.rms[:, :, index] > 0).any() for image, _ in pieces):
            return None
        planes = [(image.data[:, :, index], image.valid[:, :, index]) for image, _ in pieces]
        sky = np.concatenate([data[valid & where] for (data, valid), where in zip(planes, empty, strict=True)])
        pixels = sky if len(sky) else np.concatenate([data[valid] for data, valid in planes])
        return scatter_of(pixels) if len(pixels) else 0.0

    return tuple(thread_map(scatter, range(pieces[0][0].n_bands)))


def noise_of_light(pieces: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> CorrelatedNoise:
    """Noise of sums over pixels of the light that `make_detection_image` gives.

    Parameters
    ----------
    pieces : iterable of (numpy.ndarray, numpy.ndarray, numpy.ndarray)
        The light ``(y, x)``, the valid pixels ``(y, x, band)`` and the labels ``(y, x)`` inside each of
        `~morpheus_lite.core.windows.sample_windows`.
    """
    images = [
        (SkyImage(light[:, :, None], ("light",), np.asarray(valid.any(axis=2))[:, :, None]), labels)
        for light, valid, labels in pieces
    ]
    return noise_of_pieces(images, upper=True)["light"]


def to_fixed_point(light: np.ndarray) -> np.ndarray:
    """Light in whole numbers of 2**-16, so that sums do not depend on the order of the pixels."""
    return np.rint(light * _UNIT)


def signal_to_noise(sums: np.ndarray, area: np.ndarray, noise: CorrelatedNoise) -> np.ndarray:
    """Signal-to-noise ratio of sums of `to_fixed_point` light over ``area`` pixels, independent if no sky is known."""
    area = np.maximum(area, 1)
    sigma = noise.sigma if np.isfinite(noise.sigma) else 1.0
    return sums / _UNIT / (sigma * np.sqrt(area) * noise.factor(area))


STACK = "stack"
"""What the detection image is called where no band was chosen."""

_UNKNOWN = CorrelatedNoise(np.nan)
"""Noise that was not measured."""

_BRIGHTEST = 10.0
"""How much more light, in units of the noise, the missing bands of a source may have than those that are there."""


@dataclass(frozen=True, eq=False)
class DetectionImage:
    """Rule by which the bands of an image are added up to a detection image.

    Parameters
    ----------
    name : str
        The band that was chosen, or `STACK`.
    band : str
        The band that stands for the image where one is needed: the chosen one, else F160W or the first with data.
    scale : numpy.ndarray
        float64, shape ``(band,)``: what brings the noise of each band to one level.
    chosen : numpy.ndarray
        bool, shape ``(band,)``: the bands that are added up. The others stand in where none of these is valid.
    sigma : float
        Noise of a pixel of a band at that level.
    noise : CorrelatedNoise
        Noise of sums over pixels of the detection image; not known where none was measured.
    """

    name: str
    band: str
    scale: np.ndarray
    chosen: np.ndarray
    sigma: float = 1.0
    noise: CorrelatedNoise = _UNKNOWN

    @cached_property
    def everywhere(self) -> np.ndarray:
        """Factors of the bands where all are valid: float64, shape ``(band,)``."""
        return self._factors(self.chosen if self.chosen.any() else ~self.chosen)

    def weights(self, data: np.ndarray, valid: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Factors of the bands in each pixel, as one source needs them.

        Parameters
        ----------
        data, valid : numpy.ndarray
            Light and where it may be used, shape ``(..., band)``.
        own : numpy.ndarray
            bool, shape ``(...)``: pixels of the source.

        Returns
        -------
        numpy.ndarray
            float64, shape ``(..., band)``: the light of the detection image is the sum of these times the data; all 0
            where no band is valid.

        Notes
        -----
        A pixel takes the chosen bands that are valid there, each in units of its noise. Where some of those that the
        source has are missing, the others are scaled to what all of them would have, by the colour of the source:
        its light in both sets of bands where all are valid. So the light of a source goes on across the edge of a
        band. A colour that is not known is that of a source as bright in every band, in units of the noise.
        """
        there = valid[own]
        seen = there.any(axis=0)
        wanted = self.chosen & seen if (self.chosen & seen).any() else seen
        wanted = wanted if wanted.any() else self.chosen
        if valid.all():
            return np.broadcast_to(self._factors(wanted), valid.shape)
        codes = bits_of_bands(valid)
        patterns, index = np.unique(codes, return_inverse=True)
        light = data[own] * self.scale
        factors = [self._of_pattern(valid[codes == code][0], wanted, light, there) for code in patterns.tolist()]
        return np.stack(factors)[index.reshape(codes.shape)]

    def _of_pattern(self, valid: np.ndarray, wanted: np.ndarray, light: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Factors where just these bands are valid."""
        used = wanted & valid if (wanted & valid).any() else valid
        if (used == wanted).all() or not used.any():
            return self._factors(used) * used
        common = light[there[:, wanted | used].all(axis=1)]
        noise = self.sigma * np.sqrt(len(common))
        full, part = (max(float(common[:, bands].sum()), 0.0) for bands in (wanted, used))
        expected = np.count_nonzero(wanted) / np.count_nonzero(used)
        ratio = expected
        if noise:
            ratio = (full + noise * np.count_nonzero(wanted)) / (part + noise * np.count_nonzero(used))
        return self._factors(used) * min(ratio, _BRIGHTEST * expected) * np.sqrt(1 / expected)

    def _factors(self, bands: np.ndarray) -> np.ndarray:
        """Factors of bands that are added up, so that the noise of the sum is that of one."""
        return self.scale * bands / np.sqrt(max(int(np.count_nonzero(bands)), 1))

    def of_sources(self, sources: LabelledPixels, image: SkyImage) -> tuple[np.ndarray, np.ndarray]:
        """Light of sources, and where there is any.

        Returns
        -------
        light, usable : numpy.ndarray
            float64 and bool, shape ``(y, x)``; 0 and False outside of the sources.
        """
        valid = sources.take(image.valid)
        data = np.where(valid, sources.take(image.data), 0).astype(np.float64)
        counts = np.stack([sources.sum(valid[:, band]) for band in range(image.n_bands)], axis=1)
        full = counts == sources.sizes[:, None]
        alike = (full | (counts == 0)).all(axis=1)
        # Of most sources, every pixel has the same bands.
        wanted = full & self.chosen
        wanted = np.where(wanted.any(axis=1, keepdims=True), wanted, full)
        each = self.scale * wanted / np.sqrt(np.maximum(wanted.sum(axis=1, keepdims=True), 1))
        light = summed(np.repeat(each, sources.sizes, axis=0), data)
        for row in np.flatnonzero(~alike).tolist():
            part = slice(sources.starts[row], sources.starts[row] + sources.sizes[row])
            own = np.ones(sources.sizes[row], dtype=bool)
            light[part] = summed(self.weights(data[part], valid[part], own), data[part])
        planes = np.zeros(image.shape), np.zeros(image.shape, dtype=bool)
        for plane, values in zip(planes, (light, valid.any(axis=1)), strict=True):
            plane[sources.y, sources.x] = values
        return planes


def bits_of_bands(valid: np.ndarray) -> np.ndarray:
    """Encode the valid bands as bits of a number: int64, shape ``(...)`` of ``(..., band)``."""
    n_bands = valid.shape[-1]
    return np.full(valid.shape[:-1], (1 << n_bands) - 1) if valid.all() else valid @ (1 << np.arange(n_bands))


def summed(weights: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Weighted sum over the bands, in their order whatever the shape: float64, shape ``(...)``."""
    total = weights[..., 0] * data[..., 0]
    for band in range(1, data.shape[-1]):
        total = total + weights[..., band] * data[..., band]
    return total


def detection_image(
    pieces: Sequence[tuple[SkyImage, np.ndarray]], noise: Mapping[str, CorrelatedNoise], band: str | None
) -> DetectionImage:
    """Determine how the bands of an image are added up to a detection image.

    Parameters
    ----------
    pieces : sequence of (SkyImage, numpy.ndarray)
        The image and its labels inside each of `~morpheus_lite.core.windows.sample_windows`.
    noise : mapping
        Noise of each band of the whole image; empty where none was measured, and then a band has to be chosen.
    band : str or None
        The band that was chosen; None adds all of them up, each in units of its noise.
    """
    image = pieces[0][0]
    sigma = np.array([noise[name].sigma if name in noise else np.nan for name in image.bands])
    known = np.isfinite(sigma)
    level = float(np.median(sigma[known])) if known.any() else 1.0
    sigma = np.where(known, sigma, level)
    chosen = known if known.any() else np.ones(len(sigma), dtype=bool)
    if band is not None:
        chosen = np.arange(len(sigma)) == image.index(band)
    if np.count_nonzero(chosen) == 1:
        only = int(np.argmax(chosen))
        name = image.bands[only]
        return DetectionImage(name, name, sigma[only] / sigma, chosen, float(sigma[only]), noise.get(name, _UNKNOWN))
    names = [name for name, one in zip(image.bands, chosen, strict=True) if one]
    standing = image.detection_band if image.detection_band in names else names[0]
    made = DetectionImage(STACK, standing, 1 / sigma, chosen)
    of_stack = noise_of_pieces([(_stacked(made, piece, sigma), labels) for piece, labels in pieces])[STACK]
    return replace(made, noise=of_stack)


def _stacked(detection: DetectionImage, image: SkyImage, sigma: np.ndarray) -> SkyImage:
    """The detection image and its noise, as if there were no source in it."""
    data = np.where(image.valid, image.data, 0).astype(np.float64)
    weights = detection.weights(data, image.valid, np.zeros(image.shape, dtype=bool))
    rms = sigma if image.rms is None else np.where(image.rms > 0, image.rms, sigma)
    # Where every pixel has the same bands, their weights are the same too.
    factors = weights[:1, :1] if image.valid.all() else weights
    light, noise = summed(weights, data), np.sqrt(summed(factors**2, rms.astype(np.float64) ** 2))
    valid = np.asarray(image.valid.any(axis=2, keepdims=True))
    return SkyImage(light[:, :, None], (STACK,), valid, rms=np.broadcast_to(noise, image.shape)[:, :, None])
