"""One-pass classification: tiles with a halo, each pixel classified once, no seams, any size.

The tiles lie on a grid that starts at the image's first pixel and whose step is the model's: whatever
the memory, the number of cores and the place where image and maps are kept, the network sees the same arrays, and the
maps are the same to the bit.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from morpheus_lite.core.classification import Classification, Classifier
from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Window, tile_windows
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.inference.test_time_augmentation import N_SYMMETRIES, Prediction, predict_once, predict_symmetric
from morpheus_lite.inference.tile_memory import TileModel, tile_side
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.mapfile import Maps, MemoryMaps
from morpheus_lite.io.reader import open_image
from morpheus_lite.noise.background_mesh import NoiseMap, measure_row, noise_from_rows, normalize, strips
from morpheus_lite.runtime.resources import Progress, release_memory, run_each, usable_cores

KINDS = ("mean", "coverage", "flags")
"""Planes that one-pass classification fills."""

UNCERTAINTY = ("aleatoric", "epistemic")
"""Planes that it fills as well where the maps have them, at eight calls of the network for one."""


def classify_tiles(
    image: SkyImage,
    model: TileModel,
    *,
    uncertainty: bool = False,
    tile: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Classification:
    """Class maps of an image in memory with a one-pass model.

    Parameters
    ----------
    image : SkyImage
        In any units. A model with named bands takes the bands of these names, in any order, and does without those that
        are missing; others take all bands.
    model : TileModel
        The model.
    uncertainty : bool
        Whether to ask the network eight times, the sky turned and mirrored: ``probability`` is then the mean of its
        answers, and there are ``aleatoric`` and ``epistemic``.
    tile, workers, progress
        As in `stream_tiles`.

    Returns
    -------
    Classification
        ``coverage`` is 1 where at least one band is valid, and 0 (probabilities NaN) elsewhere.

    Raises
    ------
    InputError
        The image has none of the model's bands.
    """
    kinds = (*KINDS, *UNCERTAINTY) if uncertainty else KINDS
    record = tile_record(model, uncertainty=uncertainty)
    maps = MemoryMaps(image.shape, kinds, wcs=image.wcs, provenance=record)
    stream_tiles(open_image(image), model, maps, tile=tile, workers=workers, progress=progress)
    return maps.read()


def stream_tiles(
    source: ImageSource,
    model: TileModel,
    maps: Maps,
    *,
    tile: int | None = None,
    workers: int | None = None,
    within: Window | None = None,
    noise: NoiseMap | None = None,
    memory: float = math.inf,
    progress: Progress | None = None,
) -> NoiseMap:
    """Fill class maps from an image that is read by section: the image is read twice, and never held.

    Parameters
    ----------
    source : ImageSource
        The image; bands as in `classify_tiles`.
    model : TileModel
        The model.
    maps : MapFile or MemoryMaps
        Where the maps go; its planes of `KINDS`, and of `UNCERTAINTY` if it has them, are filled.
    tile : int, optional
        Side of the part of a tile that counts, rounded up to a multiple of ``model.factor``; by default that of
        `~morpheus_lite.inference.tile_memory.tile_side`. Results of two values agree to rounding, 1e-5 at most.
    workers : int, optional
        Calls of the network at once (default: one for each usable core). While they are at work, the next tile is
        read and the last one is written. The result does not depend on it.
    within : Window, optional
        Only the tiles that touch this part of the image: what the whole image would give there, and around it as far as
        these tiles reach.
    noise : NoiseMap, optional
        From `measure_image_noise`; measured here if not given.
    memory : float
        Bytes that this process should stay below: near it, what is free but still held is given back after each
        tile. How many tiles fit is for `~morpheus_lite.inference.tile_memory.workers_in` to say.
    progress : callable, optional
        Called with (tiles done, tiles in all).

    Returns
    -------
    NoiseMap
        Background and noise of the image, in the model's bands.
    """
    if tile is not None and tile < 1:
        raise OptionError(f"tile={tile}: expected a positive number of pixels")
    workers = workers or usable_cores()
    bands = _Bands.of(source, model.bands)
    tile = tile or tile_side(model, len(bands.bands))
    noise = noise or _measure_noise(bands, workers)
    network = threading.Semaphore(workers)
    ask: Ask = partial(predict_symmetric if set(UNCERTAINTY) & set(maps.kinds) else predict_once, model.predict_inner)

    def work(window: Window) -> None:
        maps.write(window, _classify_window(bands, noise, window, model, network, ask))
        release_memory(above=_NEAR * memory)

    tiles = list(tile_windows(bands.shape, -(-tile // model.factor) * model.factor))
    if within is not None:
        tiles = [window for window in tiles if window.touches(within)]
    run_each(work, tiles, threads=workers + 1, progress=progress)
    return noise


def measure_image_noise(source: ImageSource, bands: tuple[str, ...], *, workers: int | None = None) -> NoiseMap:
    """Background and noise of a whole image, read by section, in the bands of a model (empty: those of the image)."""
    return _measure_noise(_Bands.of(source, bands), workers or usable_cores())


def tile_record(model: Classifier, *, uncertainty: bool = False) -> dict[str, Any]:
    """What the maps of a one-pass model record of it."""
    record = {"model": model.name, "sha256": model.sha256, "mode": "one pass"}
    return {**record, "symmetries": N_SYMMETRIES} if uncertainty else record


_NEAR = 0.75
"""Share of the memory of a process that may stay with it between tiles."""

_STRIP_WIDTH = 8192
"""Pixels of a strip that are in memory at once while the noise is measured."""

Ask = Callable[[np.ndarray, np.ndarray], Prediction]


@dataclass(frozen=True, eq=False)
class _Bands:
    """A source whose sections have the bands of a model in its order, missing ones invalid."""

    source: ImageSource
    bands: tuple[str, ...]
    present: np.ndarray
    """int: which of the bands the image has."""
    has_rms: tuple[bool, ...]

    @classmethod
    def of(cls, source: ImageSource, bands: tuple[str, ...]) -> "_Bands":
        if bands and not source.has_band_names:
            source = source.select(bands)
        elif set(bands) & set(source.bands):
            source = source.select([band for band in bands if band in source.bands])
        known = dict(zip(source.bands, source.has_rms, strict=True))
        bands = bands or source.bands
        present = np.array([i for i, band in enumerate(bands) if band in known], int)
        return cls(source, bands, present, tuple(known.get(band, False) for band in bands))

    @property
    def shape(self) -> tuple[int, int]:
        return self.source.shape

    def read(self, window: Window) -> SkyImage:
        return align_bands(self.source.read(window), self.bands)


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


def _measure_noise(bands: _Bands, workers: int) -> NoiseMap:
    """The noise of the whole image, a few pieces of its strips at a time."""
    pieces = strips(bands.shape, width=_STRIP_WIDTH)
    statistics: dict[Window, np.ndarray] = {}

    def work(piece: Window) -> None:
        statistics[piece] = measure_row(bands.read(piece), bands.shape, left=piece.x, has_rms=bands.has_rms)

    run_each(work, pieces, threads=workers)
    rows = (
        np.concatenate([statistics[piece] for piece in row], axis=1)
        for _, row in groupby(pieces, lambda piece: piece.y)
    )
    return noise_from_rows(bands.shape, rows, has_rms=bands.has_rms)


def _classify_window(
    bands: _Bands, noise: NoiseMap, window: Window, model: TileModel, network: threading.Semaphore, ask: Ask
) -> Classification:
    """The maps of one window; only the network's turn is limited, reading and preparing are not."""
    seen, before = _with_halo(window, bands.shape, model.halo)
    image = bands.read(seen)
    inside = image.valid[before[0] :, before[1] :][: window.height, : window.width]
    valid = inside[:, :, bands.present]
    classified, usable = np.asarray(valid.any(axis=2)), np.asarray(valid.all(axis=2))
    flags = np.where(usable, 0, int(PixelFlag.INVALID)).astype(np.uint8)
    flags[~classified] |= int(PixelFlag.NOT_CLASSIFIED)
    coverage = np.asarray(classified, np.int32)
    if not classified.any():
        nothing = np.full((*window.shape, len(model.classes)), np.nan, np.float32)
        return Classification(nothing, coverage, classified, flags=flags)
    offsets = model.halo - before[0], model.halo - before[1]
    call = partial(ask, *_network_input(image, noise, seen, window, offsets, model))
    del image
    with network:
        answer = call()

    def kept(plane: np.ndarray | None) -> np.ndarray | None:
        return None if plane is None else _nan_outside(plane[0, : window.height, : window.width], classified)

    probability = _nan_outside(answer.probability[0, : window.height, : window.width], classified)
    return Classification(
        probability,
        coverage,
        classified,
        flags=flags,
        aleatoric=kept(answer.aleatoric),
        epistemic=kept(answer.epistemic),
    )


def _nan_outside(plane: np.ndarray, classified: np.ndarray) -> np.ndarray:
    plane[~classified] = np.nan
    return plane


def _with_halo(window: Window, shape: tuple[int, int], halo: int) -> tuple[Window, tuple[int, int]]:
    """A window and its halo, as far as the image goes, and where the window starts in it."""
    y, x = max(window.y - halo, 0), max(window.x - halo, 0)
    bottom, right = min(window.y + window.height + halo, shape[0]), min(window.x + window.width + halo, shape[1])
    return Window(y, x, bottom - y, right - x), (window.y - y, window.x - x)


def _network_input(
    image: SkyImage, noise: NoiseMap, seen: Window, window: Window, offsets: tuple[int, int], model: TileModel
) -> tuple[np.ndarray, np.ndarray]:
    """S/N and validity ``(1, y, x, band)`` of a tile; what lies outside the image is invalid, as missing data are."""
    sides = [-(-length // model.factor) * model.factor + 2 * model.halo for length in window.shape]
    snr = np.zeros((1, *sides, image.n_bands), np.float32)
    valid = np.zeros(snr.shape, bool)
    place = (0, slice(offsets[0], offsets[0] + seen.height), slice(offsets[1], offsets[1] + seen.width))
    normalize(image, noise, window=seen, out=(snr[place], valid[place]))
    return snr, valid
