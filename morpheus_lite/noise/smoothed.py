"""Noise of a smoothed image: in the empty sky, and in a source, where the photons of the source add to it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from astropy.stats import mad_std
from scipy import ndimage

from morpheus_lite.noise.correlated import scatter_of

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
    both = [(smooth[labels == 0], second_differences(smooth)[labels == 0]) for smooth, labels in pieces]
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
