"""One-pass classification: tiles with a halo, each pixel classified once, no seams, any size.

The tiles lie on a grid that starts at the image's first pixel and whose step is the model's: whatever
the memory, the number of cores and the place where image and maps are kept, the network sees the same arrays, and the
maps are the same to the bit.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from morpheus_lite.core.blocks import grown, inside
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.protocols import MapStore, MapWriter
from morpheus_lite.core.psf import canonical_factor
from morpheus_lite.core.windows import Window, tile_windows
from morpheus_lite.errors import OptionError
from morpheus_lite.inference.binned import BinnedBands, ExpandedMaps
from morpheus_lite.inference.network_input import WIDEST_GAP, Bands, NetworkInput, bridged
from morpheus_lite.inference.pyramid import MergedMaps, coarse_tiles
from morpheus_lite.inference.test_time_augmentation import N_SYMMETRIES, Prediction, predict_once, predict_symmetric
from morpheus_lite.inference.tile_memory import TileModel, tile_side, workers_in
from morpheus_lite.inference.wings import WinglessBands, has_wings
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.noise.overview import measure_image
from morpheus_lite.runtime.resources import Progress, held_memory, release_memory, run_each, usable_cores

log = logging.getLogger(__name__)

TILE_PLANES = ("mean", "coverage", "flags")
"""Planes that one-pass classification fills."""

UNCERTAINTY = ("entropy", "tta_disagreement")
"""Planes that it fills as well where the maps have them, at eight calls of the network for one."""


@dataclass(frozen=True, eq=False)
class OnePass:
    """An `~morpheus_lite.inference.inferer.Inferer` that shows every tile of an image to the network once.

    Parameters
    ----------
    model : TileModel
        The model. One with named bands takes the bands of these names, in any order, and does without those that
        are missing; others take all bands.
    uncertainty : bool
        Whether to ask the network eight times, the sky turned and mirrored: ``probability`` is then the mean of its
        answers, and there are ``entropy`` and ``tta_disagreement``.
    tile : int, optional
        Side of the part of a tile that counts, rounded up to a multiple of ``model.factor``; by default that of
        `~morpheus_lite.inference.tile_memory.tile_side`. Results of two values agree to rounding, 1e-5 at most.
    workers : int, optional
        Calls of the network at once (default: one for each usable core). While they are at work, the next tile is
        read and the last one is written. The result does not depend on it.
    memory : float
        Bytes that this process should stay below: near it, what is free but still held is given back after each tile.
    """

    model: TileModel
    uncertainty: bool = False
    tile: int | None = None
    workers: int | None = None
    memory: float = math.inf

    needs_noise = True

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < 1:
            raise OptionError(f"tile={self.tile}: expected a positive number of pixels")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Planes that are filled."""
        return (*TILE_PLANES, *UNCERTAINTY) if self.uncertainty else TILE_PLANES

    @property
    def record(self) -> dict[str, Any]:
        """Record of the model in its maps."""
        record = {"model": self.model.name, "sha256": self.model.sha256, "mode": "one pass"}
        return {**record, "symmetries": N_SYMMETRIES} if self.uncertainty else record

    def grid(self, n_bands: int) -> int:
        """Side of a tile: no tile is cut by parts of an image that start at multiples of it."""
        side = self.tile or tile_side(self.model, len(self.model.bands) or n_bands)
        return -(-side // self.model.factor) * self.model.factor

    def within_memory(self, memory: int, image: ImageSource) -> "OnePass":
        """The same, with as many workers as fit."""
        fitting = workers_in(
            memory - held_memory(),
            self.model,
            len(self.model.bands) or image.n_bands,
            has_rms=any(image.has_rms),
            uncertainty=self.uncertainty,
            tile=self.tile,
        )
        return replace(self, workers=min(self.workers or fitting, fitting), memory=memory)

    def fill(
        self,
        image: ImageSource,
        maps: MapStore,
        *,
        noise: BackgroundMesh | None = None,
        within: Window | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Fill class maps tile by tile; of ``within``, all tiles that touch it."""
        workers = self.workers or usable_cores()
        whole = Bands.of(image, self.model.bands, noise or measure_image(image, workers=workers))
        whole.check_noise()
        network = threading.Semaphore(workers)
        ask: Ask = partial(predict_symmetric if self.uncertainty else predict_once, self.model.predict_inner)

        def show(bands: NetworkInput, tiles: Iterable[Window], writer: MapWriter, progress: Progress | None) -> None:
            def work(window: Window) -> None:
                writer.write(window, _classify_window(bands, window, self.model, network, ask))
                release_memory(above=_NEAR * self.memory)

            # One thread more than calls of the network: it reads and writes while the others compute.
            run_each(work, list(tiles), threads=workers + 1, progress=progress)

        bands, factor = seen_bands(whole)
        writer: MapWriter = maps
        part = within
        if factor > 1:
            log.info("%s: wide PSF; the network sees the image binned by %d", image.name, factor)
            binned = BinnedBands(whole, factor)
            writer, part = ExpandedMaps(maps, binned), None if within is None else binned.bins(within)
        tiles = tile_windows(bands.shape, self.grid(image.n_bands))
        show(bands, (window for window in tiles if part is None or window.touches(part)), writer, progress)
        if (large := whole.noise.large) is not None:
            for bins in np.unique(large.binning).tolist():
                coarse = BinnedBands.measured(whole, bins)
                chosen = coarse_tiles(coarse, large, self.model.halo, within)
                show(coarse, chosen, MergedMaps(maps, coarse, large, factor, within), None)
        self.model.release()


def seen_bands(whole: Bands, *, in_noise: bool = True) -> tuple[NetworkInput, int]:
    """An image as the network sees it: binned where its PSF is wide, and without the wings of the PSF.

    Parameters
    ----------
    whole : Bands
        The image.
    in_noise : bool
        Whether the result is in units of its own noise, which has to be measured on it.

    Returns
    -------
    bands : NetworkInput
        What is seen.
    factor : int
        Pixels along each side of a bin.
    """
    bands: NetworkInput = whole
    factor = canonical_factor(whole.noise.psf)
    if factor > 1:
        bands = BinnedBands.measured(whole, factor) if in_noise else BinnedBands(whole, factor)
    if any(map(has_wings, whole.noise.psf)):
        psfs = [replace(psf, fwhm=psf.fwhm / factor) for psf in whole.noise.psf]
        bands = WinglessBands.measured(bands, psfs) if in_noise else WinglessBands(bands, psfs)
    return bands, factor


_NEAR = 0.75
"""Share of the memory of a process that may stay with it between tiles."""

Ask = Callable[[np.ndarray, np.ndarray], Prediction]


def _classify_window(
    bands: NetworkInput, window: Window, model: TileModel, network: threading.Semaphore, ask: Ask
) -> Classification:
    """The maps of one window; only the network's turn is limited, reading and preparing are not."""
    snr, shown, valid = _network_input(bands, window, model)
    usable = valid[:, :, bands.present]
    classified, complete = np.asarray(usable.any(axis=2)), np.asarray(usable.all(axis=2))
    flags = np.where(complete, 0, int(PixelFlag.INVALID)).astype(np.uint8)
    flags[~classified] |= int(PixelFlag.NOT_CLASSIFIED)
    coverage = np.asarray(classified, np.int32)
    if not classified.any():
        nothing = np.full((*window.shape, len(model.classes)), np.nan, np.float32)
        return Classification(nothing, coverage, classified, flags=flags)
    with network:
        answer = ask(snr, shown)

    def kept(plane: np.ndarray | None) -> np.ndarray | None:
        return None if plane is None else _nan_outside(plane[0, : window.height, : window.width], classified)

    probability = _nan_outside(answer.probability[0, : window.height, : window.width], classified)
    return Classification(
        probability,
        coverage,
        classified,
        flags=flags,
        entropy=kept(answer.entropy),
        tta_disagreement=kept(answer.tta_disagreement),
    )


def _nan_outside(plane: np.ndarray, classified: np.ndarray) -> np.ndarray:
    plane[~classified] = np.nan
    return plane


def _network_input(bands: NetworkInput, window: Window, model: TileModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a network is shown of a tile, and what there is.

    Returns
    -------
    snr, shown : numpy.ndarray
        float32 and bool, shape ``(1, y, x, band)``, the halo included: S/N and validity, narrow gaps `bridged`. What
        lies outside the image is invalid, as missing data are.
    valid : numpy.ndarray
        bool, shape ``(y, x, band)`` of the window: validity as it is.
    """
    # Whole cells of the network's pooling.
    sides = [-(-length // model.factor) * model.factor + 2 * model.halo for length in window.shape]
    snr = np.zeros((1, *sides, len(bands.bands)), np.float32)
    shown = np.zeros(snr.shape, bool)
    # Gaps that reach into the halo are bridged as in a tile that holds them whole.
    around = grown(window, model.halo + WIDEST_GAP, bands.shape)
    light, valid = bands.snr(around)
    seen = grown(window, model.halo, bands.shape)
    y, x = model.halo - (window.y - seen.y), model.halo - (window.x - seen.x)
    place, part = (0, slice(y, y + seen.height), slice(x, x + seen.width)), inside(seen, around)
    snr[place], shown[place] = (plane[part] for plane in bridged(light, valid))
    return snr, shown, valid[inside(window, around)]
