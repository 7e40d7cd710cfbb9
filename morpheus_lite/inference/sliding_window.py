"""The loop: windows of an image go through a model in batches, and their predictions are stitched to maps."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.protocols import MapStore
from morpheus_lite.core.windows import Tiling, Window, Windows, pieces
from morpheus_lite.errors import InputError, ModelError, OptionError
from morpheus_lite.inference.patches import gather
from morpheus_lite.inference.stitcher import Stitched, Stitcher
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.models.model_files import Model
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.runtime.resources import Progress, format_memory, held_memory, run_each, usable_cores

BATCH = 48
"""Windows in a call of the network, whole multiples of which fill the register blocks (12, 24 or 48 rows) of the matrix
products in Eigen. With 64 the last window of a batch is rounded differently from the others; with 48 a window's
result is the same, to the bit, wherever in the batch it is. Larger batches are no faster (they leave the cache)."""

REGION = 1024
"""Side in pixels of the part of an image that is classified at once."""

WINDOW_PLANES = ("mean", "variance", "vote", "coverage", "flags")
"""Planes that classification by windows fills."""


@dataclass(frozen=True, eq=False)
class SlidingWindows:
    """An `~morpheus_lite.pipeline.plan.Inferer` that moves a window over the image, and stitches the predictions.

    Parameters
    ----------
    model : Model
        The model; its bands are chosen by name.
    stride : int, optional
        Step between windows, in pixels; the model's own if not given.
    edges : {"classify", "leave"}
        As in `~morpheus_lite.core.windows.Tiling`.
    batch_size, workers
        As in `classify_region`.
    region : int
        Side in pixels of the parts that are classified at once. The maps do not depend on it.
    """

    model: Model
    stride: int | None = None
    edges: str = "classify"
    batch_size: int | None = None
    workers: int | None = None
    region: int = REGION

    kinds = WINDOW_PLANES
    needs_noise = False

    @property
    def record(self) -> dict[str, Any]:
        """Record of the model in its maps."""
        return window_record(self.model, self.model.stride if self.stride is None else self.stride, self.edges)

    def grid(self, n_bands: int) -> int:
        """Windows go over the border of a part, wherever it lies."""
        return 1

    def within_memory(self, memory: int, image: ImageSource) -> "SlidingWindows":
        """The same, in regions that fit."""
        return replace(self, region=region_in(memory - held_memory(), len(self.model.bands)))

    def fill(
        self,
        image: ImageSource,
        maps: MapStore,
        *,
        noise: BackgroundMesh | None = None,
        within: Window | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Fill class maps region by region; progress counts pixels."""
        image, model = image.select(self.model.bands), self.model
        stride = model.stride if self.stride is None else self.stride
        tiling = Tiling(image.shape, model.window, stride, model.margin, self.edges)
        within = within or Window(0, 0, *image.shape)
        done, n_pixels = 0, within.height * within.width
        for window in pieces(within, self.region):
            area = window.height * window.width

            def report(part: int, parts: int, before: int = done, area: int = area) -> None:
                if progress:
                    progress(before + area * part // max(parts, 1), n_pixels)

            pixels = image.read(tiling.reach(window))
            found = classify_region(
                pixels, model, tiling, window, batch_size=self.batch_size, workers=self.workers, progress=report
            )
            maps.write(window, found)
            done += area
            report(0, 1, done, 0)


def region_in(memory: float, n_bands: int) -> int:
    """Side of the regions that fit into this many bytes: `REGION` or less.

    Raises
    ------
    OptionError
        The memory is not enough for any.
    """
    # About 200 bytes per pixel for the maps and 20 for each band; 100 MB for the batches at work.
    needed = [(side, (side + 80) ** 2 * (200 + 20 * n_bands) + 100e6) for side in (REGION, REGION // 2, REGION // 4)]
    for side, size in needed:
        if size <= memory:
            return side
    raise OptionError(
        f"{format_memory(max(memory, 0))} of memory are left for the work, and {format_memory(size)} are needed: allow "
        f"{format_memory(size - memory)} more (--memory)"
    )


def window_record(model: Model, stride: int, edges: str) -> dict[str, Any]:
    """Make the record of a window model for its maps."""
    record = {"model": model.name, "sha256": model.sha256, "window": model.window, "margin": model.margin}
    return record | {"stride": stride, "edges": edges}


def classify_region(
    image: SkyImage,
    model: Model,
    tiling: Tiling,
    region: Window,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Classification:
    """Class maps of a part of an image: exactly what the whole image would give there.

    Parameters
    ----------
    image : SkyImage
        The pixels of ``tiling.reach(region)``, no more are needed; bands as the model has them.
    model : Model
        The model.
    tiling : Tiling
        Windows on the whole image.
    region : Window
        The part to classify, in pixels of the whole image.
    batch_size : int, optional
        Windows in one call of the model (default `BATCH`).
    workers : int, optional
        Calls of the model at the same time (default: one for each usable core).
    progress : callable, optional
        Called with (windows done, windows in all).

    Returns
    -------
    Classification
        Of the region's pixels; invalid pixels have coverage 0.
    """
    reach = tiling.reach(region)
    if image.shape != reach.shape:
        raise InputError(f"{image.name} has {image.shape} px (y, x), but the windows of {region} see {reach.shape} px")
    windows = tiling.windows(region)
    windows = replace(windows, y=windows.y - reach.y, x=windows.x - reach.x)
    holes = _count_in_windows(~image.valid_in_all, windows, model.window)
    # Windows of invalid pixels only are skipped.
    useful = holes < model.window**2
    windows, holed = windows.take(useful), holes[useful] > 0
    batch_size = batch_size or BATCH
    stitcher = Stitcher(image.shape, len(model.classes))
    # Sums are whole numbers: the order in which batches are finished does not show in them.
    lock, done, workers = threading.Lock(), 0, workers or usable_cores()
    network = threading.Semaphore(workers)

    def work(batch: _Batch) -> None:
        nonlocal done
        with network:
            values = _predict(image, model, batch, batch_size)
        with lock:
            for part in _counting_parts(batch, values, model.margin):
                stitcher.add(*part)
            done += len(batch.windows)
            if progress:
                progress(done, len(windows))

    # One thread more than calls of the network: it adds up while the others compute.
    run_each(work, _batches(windows, holed, model, batch_size), threads=workers + 1)
    near = _touched(windows.take(holed), image.shape)
    here = replace(region, y=region.y - reach.y, x=region.x - reach.x)
    return _assembled(image.cutout(here), model, tiling, stitcher.result(here), near[here.slices])


@dataclass(frozen=True, eq=False)
class _Batch:
    windows: Windows
    holed: bool
    """Whether any of them holds an invalid pixel."""
    inner: bool
    """Whether their margins do not count, so that they need not be computed."""


def _batches(windows: Windows, holed: np.ndarray, model: Model, size: int) -> Iterator[_Batch]:
    low, high = model.margin, model.window - model.margin
    # Most windows count without their margin, and a trimmed network that does not compute it is faster.
    inner = (windows.top == low) & (windows.bottom == high) & (windows.left == low) & (windows.right == high)
    inner &= low > 0
    for group, is_inner in ((np.flatnonzero(inner), True), (np.flatnonzero(~inner), False)):
        for start in range(0, len(group), size):
            which = group[start : start + size]
            yield _Batch(windows.take(which), bool(holed[which].any()), is_inner)


def _predict(image: SkyImage, model: Model, batch: _Batch, size: int) -> np.ndarray:
    y, x, n = batch.windows.y, batch.windows.x, len(batch.windows)
    valid = gather(image.valid, y, x, model.window) if batch.holed else None
    prepared = model.prepare(gather(image.data, y, x, model.window), valid)
    if n < size:  # a window's result must not depend on how many others there are
        prepared = np.concatenate([prepared, np.zeros((size - n, *prepared.shape[1:]), prepared.dtype)])
    values = np.asarray((model.predict_inner if batch.inner else model.predict)(prepared))[:n]
    side = model.window - 2 * model.margin if batch.inner else model.window
    expected = (n, side, side, len(model.classes))
    if values.shape != expected:
        raise ModelError(f"{model.name} answered with shape {values.shape}, expected {expected} (n, y, x, class)")
    return values


def _counting_parts(
    batch: _Batch, values: np.ndarray, margin: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The parts of a prediction that count, with their first rows and columns on the image."""
    windows = batch.windows
    if batch.inner:
        yield values, windows.y + margin, windows.x + margin
        return
    parts = np.stack([windows.top, windows.bottom, windows.left, windows.right], axis=1)
    # Windows at an edge keep their margin on that side. There are few kinds of them, each added in one call.
    kinds, kind_of = np.unique(parts, axis=0, return_inverse=True)
    for k, (top, bottom, left, right) in enumerate(kinds):
        these = np.flatnonzero(kind_of.ravel() == k)
        yield values[these, top:bottom, left:right], windows.y[these] + top, windows.x[these] + left


def _count_in_windows(mask: np.ndarray, windows: Windows, size: int) -> np.ndarray:
    """Count the True pixels of a mask ``(y, x)`` in each window: int64, shape ``(n,)``."""
    # Sums over rectangles from the corner: a window is four of them.
    total = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    np.cumsum(mask, axis=0, out=total[1:, 1:])
    np.cumsum(total, axis=1, out=total)
    y, x = windows.y, windows.x
    return total[y + size, x + size] - total[y, x + size] - total[y + size, x] + total[y, x]


def _touched(windows: Windows, shape: tuple[int, int]) -> np.ndarray:
    """bool ``(y, x)``: True where any of the windows counts."""
    # The corners of each window mark where it begins and ends; the running sum counts the windows on each pixel.
    change = np.zeros((shape[0] + 1, shape[1] + 1), np.int32)
    for y, sign_y in ((windows.top, 1), (windows.bottom, -1)):
        for x, sign_x in ((windows.left, 1), (windows.right, -1)):
            np.add.at(change, (windows.y + y, windows.x + x), sign_y * sign_x)
    return (change.cumsum(axis=0).cumsum(axis=1) > 0)[:-1, :-1]


def _assembled(image: SkyImage, model: Model, tiling: Tiling, found: Stitched, near: np.ndarray) -> Classification:
    """The maps of a region, from its cutout of the image; values of invalid pixels are taken out."""
    valid = image.valid_in_all
    coverage = np.where(valid, found.count, 0).astype(np.int32)
    # Windows on a pixel far from any edge.
    interior = ((model.window - 2 * model.margin) // tiling.stride) ** 2
    flags = (
        PixelFlag.INVALID * ~valid
        + PixelFlag.NOT_CLASSIFIED * (coverage == 0)
        + PixelFlag.LOW_COVERAGE * ((coverage > 0) & (2 * coverage < interior))
        + PixelFlag.NEAR_INVALID * (near & (coverage > 0))
    )
    return Classification(
        probability=np.where(valid[..., None], found.mean, np.float32(np.nan)),
        coverage=coverage,
        valid=valid,
        variance=np.where(valid[..., None], found.variance, np.float32(np.nan)),
        vote=np.where(valid[..., None], found.vote, np.float32(np.nan)),
        flags=flags.astype(np.uint8),
        wcs=image.wcs,
        provenance=window_record(model, tiling.stride, tiling.edges),
    )
