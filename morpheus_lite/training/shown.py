"""View of an image that a network is shown in training: the one it is shown when the image is classified."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.core.windows import Window
from morpheus_lite.inference.network_input import Bands, WinglessBands, bridged
from morpheus_lite.inference.one_pass import seen_bands
from morpheus_lite.noise.overview import measure_image


def measured_bands(image: SkyImage, psfs: Sequence[MoffatPsf | None] | None = None) -> Bands:
    """An image with its background and noise measured, and those of its PSFs that are not given."""
    return Bands(image, image.bands, measure_image(image, given=psfs, workers=1), np.arange(image.n_bands))


def show(whole: Bands) -> tuple[np.ndarray, np.ndarray, int]:
    """S/N and validity of a whole image ``(y, x, band)``, narrow gaps bridged; and pixels along each side of a bin."""
    seen, factor = seen_bands(whole, whole.noise.psf)
    return *bridged(*seen.snr(Window(0, 0, *seen.shape))), factor


def show_light(light: np.ndarray, bands: tuple[str, ...], psfs: Sequence[MoffatPsf]) -> np.ndarray:
    """Light without noise over a white noise, ``(y, x, band)``, as a network sees it in an image with these PSFs."""
    usable, present = np.ones(light.shape, bool), np.arange(len(bands))
    # The light of all pixels, read as `~morpheus_lite.inference.network_input.NetworkInput` is.
    whole: Any = SimpleNamespace(bands=bands, present=present, shape=light.shape[:2])
    whole.snr = lambda window: (light[window.slices], usable[window.slices])
    seen, _ = seen_bands(whole, psfs, in_noise=False)
    shown, _ = seen.snr(Window(0, 0, *seen.shape))
    if isinstance(seen, WinglessBands):
        # What the kernel leaves of white noise.
        shown = shown / np.array([np.sqrt((seen.kernels.get(b, np.ones(1)) ** 2).sum()) for b in present.tolist()])
    return np.maximum(shown, 0).astype(np.float32, copy=False)


def bin_blocks(plane: np.ndarray, factor: int, outside: float = 0) -> np.ndarray:
    """The pixels of each bin of a plane ``(y, x)``: shape ``(y, x, factor**2)``, ``outside`` beyond its edges."""
    padded = np.pad(plane, [(0, -length % factor) for length in plane.shape], constant_values=outside)
    height, width = (length // factor for length in padded.shape)
    return padded.reshape(height, factor, width, factor).swapaxes(1, 2).reshape(height, width, factor**2)


def bin_labels(labels: np.ndarray, factor: int, weight: np.ndarray | None = None) -> np.ndarray:
    """Labels ``(y, x)`` of bins: that of most of the weight (or of most pixels), a source's where sky has as much."""
    values = bin_blocks(labels, factor)
    weights = np.ones(values.shape) if weight is None else bin_blocks(weight, factor)
    totals = np.stack([(weights * (values == values[..., k, None])).sum(axis=2) for k in range(factor**2)], axis=2)
    # Equal sums may differ in their last digits: what is larger by less is as large.
    chosen = np.argmax(np.where(values == 0, 1 - 1e-6, 1) * totals, axis=2)
    return np.take_along_axis(values, chosen[..., None], 2)[..., 0]
