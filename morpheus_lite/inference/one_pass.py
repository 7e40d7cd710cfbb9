"""One-pass classification: tiles with a halo, each pixel classified once, no seams, any size.

The tiles lie on a grid that starts at the image's first pixel and whose step is the model's: whatever
the memory, the number of cores and the place where image and maps are kept, the network sees the same arrays, and the
maps are the same to the bit.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from morpheus_lite.core.classification import Classification, entropy
from morpheus_lite.core.protocols import MapStore
from morpheus_lite.core.psf import MoffatPsf, canonical_factor
from morpheus_lite.core.windows import Window, grown, inside, tiles
from morpheus_lite.errors import OptionError
from morpheus_lite.inference.binned import BinnedBands, ExpandedMaps, MergedMaps, coarse_tiles
from morpheus_lite.inference.network_input import (
    WIDEST_GAP,
    Bands,
    NetworkInput,
    WinglessBands,
    bridged,
    flags_of,
    has_wings,
)
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.models.model_files import OnePassModel
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.noise.overview import measure_image
from morpheus_lite.runtime.resources import Progress, format_memory, held_memory, release_memory, run_each, usable_cores

TILE_SIDES = (1024, 768, 512)
"""Sides of the part of a tile that counts, of which a model takes the first that its memory allows. With 1,024 px and a
halo of 132 px, three quarters of the work are not in vain (the network trims its halo as it goes)."""

MEMORY_OF_A_TILE = 550e6
"""Bytes that a tile at work may take: two of them, and the libraries, fit into 2 GB."""

_BYTES_READ = 14
"""Bytes per pixel and band of a tile that is being prepared: data and S/N 4 each, validity of both 1 each, and what is
at work for one band."""

_BYTES_SYMMETRIES = 120
"""Bytes per pixel of the sums over the symmetries, beside S/N and validity turned: answers, entropies, logarithms."""


def tile_side(model: OnePassModel, n_bands: int) -> int:
    """Side of the part of a tile that counts, for a model and this many bands: one of `TILE_SIDES`, in pixels."""
    n_bytes = _bytes_at_work(model, n_bands)
    fitting = (side for side in TILE_SIDES if n_bytes * _padded(side, model) ** 2 <= MEMORY_OF_A_TILE)
    return next(fitting, TILE_SIDES[-1])


def _bytes_at_work(model: OnePassModel, n_bands: int) -> float:
    """Bytes per pixel of a tile that the network is at work on: its own, S/N and validity."""
    return model.bytes_per_pixel(n_bands) + 5 * n_bands


def _padded(tile: int, model: OnePassModel) -> int:
    """Side of a tile with its halo."""
    return -(-tile // model.factor) * model.factor + 2 * model.halo


def workers_in(
    memory: float,
    model: OnePassModel,
    n_bands: int,
    *,
    has_rms: bool = False,
    uncertainty: bool = False,
    tile: int | None = None,
) -> int:
    """Number of tiles that fit at once in an amount of memory.

    Parameters
    ----------
    memory : float
        Bytes that may be used beside what the process holds already.
    model : OnePassModel
        The model.
    n_bands : int
        Bands of the model, or of the image where the model takes any.
    has_rms : bool
        Whether the image has RMS planes.
    uncertainty : bool
        Whether the network is asked eight times.
    tile : int
        As in `~morpheus_lite.inference.one_pass.OnePass`.

    Returns
    -------
    int
        At most the number of usable cores.

    Raises
    ------
    OptionError
        Not even one.
    """
    side = _padded(tile or tile_side(model, n_bands), model)
    # One tile is read at a time; those at work hold memory each.
    reading = (_BYTES_READ + 8 * has_rms) * n_bands * side**2
    network = (_bytes_at_work(model, n_bands) + uncertainty * (5 * n_bands + _BYTES_SYMMETRIES)) * side**2
    fitting = int((memory - reading) / network)
    if fitting < 1:
        needed = reading + network
        raise OptionError(
            f"{format_memory(max(memory, 0))} of memory are left for the work, and model {model.name} needs "
            f"{format_memory(needed)} for a tile of {side} px: allow {format_memory(needed - memory)} more (--memory)"
        )
    return min(fitting, usable_cores())


log = logging.getLogger(__name__)

TILE_PLANES = ("mean", "coverage", "flags")
"""Planes that one-pass classification fills."""

UNCERTAINTY = ("entropy", "tta_disagreement")
"""Planes that it fills as well where the maps have them, at eight calls of the network for one."""


N_SYMMETRIES = 8
"""Calls of the network for a tile: four turns, each as it is and mirrored.

The sky has no up or down, so a network should answer the same however a tile is turned and mirrored. The entropy of the
mean answer says how unsure the class of a pixel is; the disagreement is the part of it that is there because the eight
answers contradict one another. It is no uncertainty of the model: that would take an ensemble of networks.
"""

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]
_Write = Callable[[Window, Classification], None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Probabilities of a batch; with eight orientations also their entropy and disagreement.

    Parameters
    ----------
    probability : numpy.ndarray
        float32, shape ``(n, y, x, class)``: mean over the orientations.
    entropy : numpy.ndarray or None
        float32, shape ``(n, y, x)``: entropy of ``probability``, over the largest there is: 0 for one sure class, 1
        where all classes are equally probable.
    tta_disagreement : numpy.ndarray or None
        float32, shape ``(n, y, x)``: ``entropy`` minus the mean entropy of the eight answers: 0 where all of them are
        the same, and never more than ``entropy``.
    """

    probability: np.ndarray
    entropy: np.ndarray | None = None
    tta_disagreement: np.ndarray | None = None


def predict_symmetric(predict: Predict, snr: np.ndarray, valid: np.ndarray) -> Prediction:
    """Ask a network eight times.

    Parameters
    ----------
    predict : callable
        From S/N and validity to probabilities ``(n, y', x', class)``, with the same margin cut off on each side, or
        none.
    snr, valid : numpy.ndarray
        float32 and bool, shape ``(n, y, x, band)``. Sides that are multiples of the network's pooling stay so when
        turned, so the answers fit together pixel by pixel.

    Returns
    -------
    Prediction

    Notes
    -----
    The disagreement is the mutual information of class and orientation: the entropy of the mean minus the mean entropy.
    Over the members of an ensemble it would measure what the network does not know (Depeweg et al. 2018, ICML); over
    orientations it does not (Wang et al. 2019, Neurocomputing 338, 34). The order of the sums is fixed, so the result
    does not depend on anything else.
    """
    probability: np.ndarray = np.zeros((), np.float32)
    entropy_of_members = probability
    for turns in range(4):
        for mirrored in (False, True):
            answer = predict(_turned(snr, turns, mirrored), _turned(valid, turns, mirrored))
            member = np.rot90(answer[:, :, ::-1] if mirrored else answer, -turns, axes=(1, 2))
            probability = probability + member / np.float32(N_SYMMETRIES)
            entropy_of_members = entropy_of_members + entropy(member) / np.float32(N_SYMMETRIES)
    entropy_of_mean = entropy(probability)
    return Prediction(probability, entropy_of_mean, np.maximum(entropy_of_mean - entropy_of_members, 0))


def _turned(batch: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    turned = np.rot90(batch, turns, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)


@dataclass(frozen=True, eq=False)
class OnePass:
    """An `~morpheus_lite.pipeline.plan.Inferer` that shows every tile of an image to the network once.

    Parameters
    ----------
    model : OnePassModel
        The model. One with named bands takes the bands of these names, in any order, and does without those that
        are missing; others take all bands.
    uncertainty : bool
        Whether to ask the network eight times, the sky turned and mirrored: ``probability`` is then the mean of its
        answers, and there are ``entropy`` and ``tta_disagreement``.
    tile : int, optional
        Side of the part of a tile that counts, rounded up to a multiple of ``model.factor``; by default that of
        `~morpheus_lite.inference.one_pass.tile_side`. Results of two values agree to rounding, 1e-5 at most.
    workers : int, optional
        Calls of the network at once (default: one for each usable core). While they are at work, the next tile is
        read and the last one is written. The result does not depend on it.
    memory : float
        Bytes that this process should stay below: near it, what is free but still held is given back after each tile.
    """

    model: OnePassModel
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

        def show(bands: NetworkInput, shown: Iterable[Window], write: _Write, progress: Progress | None) -> None:
            def work(window: Window) -> None:
                write(window, self._classify_window(bands, window, network))
                release_memory(above=_NEAR * self.memory)

            # Those of one shape, one behind the other: a network keeps its memory from one to the next.
            windows = sorted(shown, key=lambda window: window.shape, reverse=True)
            # One thread more than calls of the network: it reads and writes while the others compute.
            run_each(work, windows, threads=workers + 1, progress=progress)

        bands, factor = seen_bands(whole, whole.noise.psf)
        write, part = maps.write, within
        if factor > 1:
            log.info("%s: wide PSF; the network sees the image binned by %d", image.name, factor)
            binned = BinnedBands(whole, factor)
            write, part = ExpandedMaps(maps, binned).write, None if within is None else binned.bins(within)
        grid = tiles(bands.shape, self.grid(image.n_bands))
        show(bands, (window for window in grid if part is None or window.touches(part)), write, progress)
        if (large := whole.noise.large) is not None:
            for bins in np.unique(large.binning).tolist():
                coarse = BinnedBands.measured(whole, bins)
                chosen = coarse_tiles(coarse, large, self.model.halo, within)
                show(coarse, chosen, MergedMaps(maps, coarse, large, factor, within).write, None)
        self.model.release()

    def _classify_window(self, bands: NetworkInput, window: Window, network: threading.Semaphore) -> Classification:
        """The maps of one window; only the network's turn is limited, reading and preparing are not."""
        snr, shown, valid = _network_input(bands, window, self.model)
        classified, flags = flags_of(valid[:, :, bands.present])
        coverage = np.asarray(classified, np.int32)
        if not classified.any():
            nothing = np.full((*window.shape, len(self.model.classes)), np.nan, np.float32)
            return Classification(nothing, coverage, classified, flags=flags)
        predict, here = self.model.predict_inner, Window(0, 0, *window.shape).slices
        with network:
            answer = predict_symmetric(predict, snr, shown) if self.uncertainty else Prediction(predict(snr, shown))
        planes = {name: plane[0][here] for name, plane in vars(answer).items() if plane is not None}
        for plane in planes.values():
            plane[~classified] = np.nan
        return Classification(coverage=coverage, valid=classified, flags=flags, **planes)


def seen_bands(whole: NetworkInput, psfs: Sequence[MoffatPsf], *, in_noise: bool = True) -> tuple[NetworkInput, int]:
    """An image as the network sees it: binned where its PSF is wide, and without the wings of the PSF.

    Parameters
    ----------
    whole : NetworkInput
        The image.
    psfs : sequence of MoffatPsf
        Of its bands.
    in_noise : bool
        Whether the result is in units of its own noise, which has to be measured on it.

    Returns
    -------
    bands : NetworkInput
        What is seen.
    factor : int
        Pixels along each side of a bin.
    """
    bands = whole
    factor = canonical_factor(psfs)
    if factor > 1:
        bands = BinnedBands.measured(whole, factor) if in_noise else BinnedBands(whole, factor)
    if any(map(has_wings, psfs)):
        psfs = [replace(psf, fwhm=psf.fwhm / factor) for psf in psfs]
        bands = WinglessBands.measured(bands, psfs) if in_noise else WinglessBands(bands, psfs)
    return bands, factor


_NEAR = 0.75
"""Share of the memory of a process that may stay with it between tiles."""


def _network_input(
    bands: NetworkInput, window: Window, model: OnePassModel
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input of the network for a tile, and the validity of its pixels.

    Returns
    -------
    snr, shown : numpy.ndarray
        float32 and bool, shape ``(1, y, x, band)``, the halo included: S/N and validity, gaps `bridged`. What
        lies outside the image is invalid, as missing data are.
    valid : numpy.ndarray
        bool, shape ``(y, x, band)`` of the window: validity as it is.
    """
    # Whole cells of the network's pooling.
    sides = [-(-length // model.factor) * model.factor + 2 * model.halo for length in window.shape]
    snr, shown = (np.zeros((1, len(bands.bands), *sides), dtype).transpose(0, 2, 3, 1) for dtype in (np.float32, bool))
    # Gaps that reach into the halo are bridged, and mirrored, as in a tile that holds them whole.
    around = grown(window, model.halo + 2 * WIDEST_GAP, bands.shape)
    light, valid = bands.snr(around)
    seen = grown(window, model.halo, bands.shape)
    y, x = model.halo - (window.y - seen.y), model.halo - (window.x - seen.x)
    place, part = (0, slice(y, y + seen.height), slice(x, x + seen.width)), inside(seen, around)
    snr[place], shown[place] = (plane[part] for plane in bridged(light, valid))
    return snr, shown, valid[inside(window, around)]
