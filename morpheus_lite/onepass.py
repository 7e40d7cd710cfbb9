"""One-pass classification of an image in memory: tiles with a halo, each pixel classified once, no seams."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from morpheus_lite.classification import Classification
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.flags import PixelFlag
from morpheus_lite.image import SkyImage
from morpheus_lite.normalization import NoiseMap, measure_noise, normalize
from morpheus_lite.tiling import Window

TILE = 1024
"""Side of the part of a tile that counts: with a halo of 128 px, two thirds of the work are not in vain."""

Progress = Callable[[int, int], None]


class TileModel(Protocol):
    """What one-pass classification needs of a model."""

    @property
    def name(self) -> str:
        """What the model is called."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of the input, in order; empty for any."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the output, in order."""

    @property
    def halo(self) -> int:
        """Pixels on each side of a tile that its border spoils."""

    @property
    def factor(self) -> int:
        """Tiles start at, and are as large as, multiples of this many pixels."""

    def predict(self, snr: np.ndarray, valid: np.ndarray, /) -> np.ndarray:
        """Probabilities ``(n, y, x, class)`` of S/N and validity ``(n, y, x, band)``."""


def classify_tiles(
    image: SkyImage,
    model: TileModel,
    *,
    tile: int = TILE,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Classification:
    """Class maps of an image with a one-pass model.

    Parameters
    ----------
    image : SkyImage
        In any units. A model with named bands takes the bands of these names, in any order, and does without those that
        are missing; others take all bands.
    model : TileModel
        The model.
    tile : int
        Side of the part of a tile that counts, rounded up to a multiple of ``model.factor``. The result does not
        depend on it beyond rounding.
    workers : int, optional
        Tiles in work at once, each in a thread; as many as there are cores if not given.
    progress : callable, optional
        Called with (tiles done, tiles in all).

    Returns
    -------
    Classification
        ``coverage`` is 1 where at least one band is valid, and 0 (probabilities NaN) elsewhere.

    Raises
    ------
    InputError
        The image has none of the model's bands.
    """
    if tile < 1:
        raise OptionError(f"tile={tile}: expected a positive number of pixels")
    image = align_bands(image, model.bands)
    noise = measure_noise(image)
    probability = np.full((*image.shape, len(model.classes)), np.nan, np.float32)
    tiles = list(tile_windows(image.shape, -(-tile // model.factor) * model.factor))

    def work(window: Window) -> None:
        if image.valid[window.slices].any():
            probability[window.slices] = predict_tile(image, noise, window, model)

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(work, tiles), start=1):
            if progress:
                progress(done, len(tiles))
    classified = np.asarray(image.valid.any(axis=2))
    probability[~classified] = np.nan
    flags = np.where(image.valid_in_all, 0, int(PixelFlag.INVALID)).astype(np.uint8)
    flags[~classified] |= int(PixelFlag.NOT_CLASSIFIED)
    return Classification(
        probability=probability,
        coverage=np.asarray(classified, np.int32),
        valid=classified,
        flags=flags,
        wcs=image.wcs,
        provenance={"model": model.name, "sha256": model.sha256, "mode": "one pass"},
    )


def align_bands(image: SkyImage, bands: tuple[str, ...]) -> SkyImage:
    """The image with the bands of a model in its order; bands that it does not have are invalid everywhere.

    Raises
    ------
    InputError
        It has none of them, or bands without names and not as many as the model.
    """
    if not bands or image.bands == bands:
        return image
    if not image.has_band_names:
        return image.select(bands)
    if not set(bands) & set(image.bands):
        raise InputError(
            f"{image.name} has band(s) {', '.join(image.bands)}, and none of {', '.join(bands)}; choose a model that "
            "takes any band"
        )
    planes = [image.bands.index(band) if band in image.bands else None for band in bands]

    def gathered(array: np.ndarray) -> np.ndarray:
        blank = np.zeros(image.shape, array.dtype)
        return np.stack([blank if i is None else array[:, :, i] for i in planes], axis=-1)

    def named(values: tuple) -> tuple:
        return tuple(None if i is None else values[i] for i in planes)

    return SkyImage(
        data=gathered(image.data),
        bands=bands,
        valid=gathered(image.valid),
        rms=None if image.rms is None else gathered(image.rms),
        wcs=image.wcs,
        zero_points=named(image.zero_points),
        units=named(image.units),
        name=image.name,
        meta=image.meta,
    )


def tile_windows(shape: tuple[int, int], tile: int) -> Iterator[Window]:
    """The parts of the tiles that count: they cover an image once, and start at multiples of ``tile``."""
    for y in range(0, shape[0], tile):
        for x in range(0, shape[1], tile):
            yield Window(y, x, min(tile, shape[0] - y), min(tile, shape[1] - x))


def predict_tile(image: SkyImage, noise: NoiseMap, window: Window, model: TileModel) -> np.ndarray:
    """Probabilities in a window: float32, shape ``(y, x, class)``.

    The network sees the window and its halo; what lies outside the image is invalid, as missing data are.
    """
    margin, factor = model.halo, model.factor
    first = (max(window.y - margin, 0), max(window.x - margin, 0))
    ends = (window.y + window.height, window.x + window.width)
    last = tuple(min(end + margin, length) for end, length in zip(ends, image.shape, strict=True))
    seen = Window(*first, last[0] - first[0], last[1] - first[1])
    snr, valid = normalize(image.cutout(seen), noise, window=seen)
    before = (first[0] - window.y + margin, first[1] - window.x + margin)
    full = tuple(-(-length // factor) * factor + 2 * margin for length in window.shape)
    pad = [(b, f - b - length) for b, f, length in zip(before, full, seen.shape, strict=True)]
    snr, valid = (np.pad(array, (*pad, (0, 0)))[None] for array in (snr, valid))
    inside = (slice(margin, margin + window.height), slice(margin, margin + window.width))
    return model.predict(snr, valid)[0][inside]
