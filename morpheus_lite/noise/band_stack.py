"""The detection image: the bands of an image as the one that sources are placed, shaped and weighted in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import LabelledPixels
from morpheus_lite.noise.correlated import CorrelatedNoise, noise_of_pieces

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
        ratio = (
            (full + noise * np.count_nonzero(wanted)) / (part + noise * np.count_nonzero(used)) if noise else expected
        )
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
    return valid @ (1 << np.arange(valid.shape[-1]))


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
        The image and its labels inside each of `~morpheus_lite.core.sampling.sample_windows`.
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
    rms = np.broadcast_to(sigma, image.data.shape) if image.rms is None else np.where(image.rms > 0, image.rms, sigma)
    light, variance = summed(weights, data), summed(weights**2, rms.astype(np.float64) ** 2)
    planes = (plane[:, :, None] for plane in (light, np.asarray(image.valid.any(axis=2)), np.sqrt(variance)))
    return SkyImage(next(planes), (STACK,), next(planes), rms=next(planes))
