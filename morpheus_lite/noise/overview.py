"""Properties of a whole image, measured before anything is done with it: background, noise, PSF, large objects.

Every step, for an image in memory or in a file, whole or in pieces, sees the image through what is measured here.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

import numpy as np
from scipy import ndimage

from morpheus_lite.core.image import ImageView, SkyImage
from morpheus_lite.core.labels import LabelStore
from morpheus_lite.core.large_objects import BLOCK_SIDE, LargeObjects
from morpheus_lite.core.protocols import ImageReader, OnRead
from morpheus_lite.core.psf import MoffatPsf, canonical_factor
from morpheus_lite.core.windows import Window, block_sums
from morpheus_lite.noise.background_mesh import (
    BackgroundMesh,
    SkyStep,
    measure_background,
    measure_row,
    near_sources,
    noise_from_rows,
    normalize,
    strips,
    subtract,
)
from morpheus_lite.noise.box_statistics import ABSURD, STEEP, STEEP_SKY
from morpheus_lite.noise.doubts import band_light, block_scatter, check_range, find_doubts, find_stretched, find_uneven
from morpheus_lite.noise.psf import with_psf
from morpheus_lite.runtime.resources import parallel_map, thread_map, usable_cores

LARGE = 22.0
"""Half-light radius, in pixels or bins of a wide PSF, above which the network sees an object in larger bins."""

_SEEN = 18.0  # half-light radius that the bins bring it to, at most
_COARSEST = 64
_LARGE_SCALE = 3  # blocks: what is narrower is no large-scale light
_CORE, _REGION = 6.0, 3.0  # S/N of blocks
_PART = 0.1  # share of the light that makes a part of it an object of its own
_N_LEVELS, _FEWEST = 16, 9
_SMOOTHING = 0.15  # half-light radii
_GROWN = 0.5  # half-light radii
_STEP = 8.0  # times the scatter of blocks: a step of one sigma of a pixel
_PART_OF_STEP, _BESIDE, _UNEVEN = 16, 3, 0.25  # blocks along and across a step, and how much they may differ, of it
_MOST_PARTS, _LENGTH = 0.7, 4096  # share of the parts in which a step is seen; pixels along it that tell its place


def measure_image(
    image: ImageReader,
    *,
    background: str | float = "mesh",
    given: Sequence[MoffatPsf | None] | None = None,
    on_read: OnRead | None = None,
    workers: int | None = None,
) -> BackgroundMesh:
    """Measure background, noise, PSF and large objects of an image that is read by section.

    Parameters
    ----------
    image : ImageReader
        The image.
    background : {"mesh", "none"} or float
        What is to be subtracted: what the mesh shows, nothing, or one level in data units.
    given : sequence of MoffatPsf, optional
        PSFs that are not to be measured, None for those that are.
    on_read : callable, optional
        Called with windows and their pixels, each pixel once, from several threads.
    workers : int, optional
        Threads.

    Returns
    -------
    BackgroundMesh
        Under large objects, whose light fills boxes of the mesh, the background is that of boxes eight times as large.

    Raises
    ------
    InputError
        The numbers are so large or small that sums of them leave the range of 32-bit floats, or no light of the sky.
    """
    first = image.read(Window(0, 0, 1, 1))
    overview = _Overview.of(image, first.n_bands, on_read)
    noise = measure_sections(overview, background=background, workers=workers)
    check_range(first.bands, overview.means, overview.has_rms, noise)
    blocks = _without_voids(overview.blocks, noise)
    steps = _steps(image, blocks) if background == "mesh" else ()
    if steps:
        noise = measure_sections(image, background=background, steps=steps, workers=workers)
        blocks = _levelled(blocks, steps)
    noise = replace(
        noise, doubts=(*find_doubts(first.bands, blocks, replace(noise, steps=())), *find_stretched(image, noise))
    )
    noise = with_psf(noise, image, given)
    noise = _with_large_objects(noise, blocks, fixed=background != "mesh")
    return replace(noise, uneven=find_uneven(blocks, replace(noise, steps=()))) if background == "mesh" else noise


def see_sky(image: SkyImage, background: str | float) -> SkyImage:
    """An image as networks and detection see it: less its background, and with the noise of the sky."""
    return subtract(image, measure_image(image, background=background), sky_noise=True)


@dataclass(frozen=True, eq=False)
class _Overview(ImageView):
    """An image whose pixels are averaged over blocks as it is read, each once, in pieces of whole blocks."""

    means: np.ndarray
    on_read: OnRead | None

    @classmethod
    def of(cls, image: ImageReader, n_bands: int, on_read: OnRead | None) -> "_Overview":
        shape = (-(-length // BLOCK_SIDE) for length in image.shape)
        return cls(image, np.full((*shape, n_bands), np.nan, np.float32), on_read)

    def read(self, window: Window, /) -> SkyImage:
        piece = self.image.read(window)
        if self.on_read is not None:
            self.on_read(window, piece)
        y, x = window.y // BLOCK_SIDE, window.x // BLOCK_SIDE
        means = _block_means(piece)
        self.means[y : y + means.shape[0], x : x + means.shape[1]] = means
        return piece

    @property
    def blocks(self) -> SkyImage:
        """The blocks as an image."""
        means = self.means
        bands = tuple(str(band + 1) for band in range(means.shape[2]))
        valid = np.isfinite(means)
        return SkyImage(np.where(valid, means, np.float32(0)), bands, valid)


def _block_means(piece: SkyImage) -> np.ndarray:
    """Means over the valid pixels of blocks: float32, shape ``(block y, block x, band)``, NaN where there is none."""
    usable = piece.valid
    if piece.rms is not None:
        known = piece.rms[piece.rms > 0]
        usable = usable & (piece.rms < ABSURD * (np.median(known[::16]) if len(known) else np.inf))
    light, count = (
        block_sums(plane, (0, 0), BLOCK_SIDE) for plane in (np.where(usable, piece.data, np.float32(0)), usable)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return (light / count).astype(np.float32)


def _without_voids(blocks: SkyImage, noise: BackgroundMesh) -> SkyImage:
    """The blocks, those without data and beside such, which hold some of it, not valid."""
    valid = blocks.valid.copy()
    for band, values in enumerate(noise.void):
        for value in values:
            valid[..., band] &= ~ndimage.binary_dilation(blocks.data[..., band] == np.float32(value), np.ones((3, 3)))
    return replace(blocks, valid=valid)


def _levelled(blocks: SkyImage, steps: Sequence[SkyStep]) -> SkyImage:
    """The blocks less steps of the sky, those that lie across one not valid."""
    data, valid = blocks.data.copy(), blocks.valid.copy()
    for step in steps:
        first, rest = divmod(step.place, BLOCK_SIDE)
        step._replace(place=first + (rest > 0)).take_from(data[..., step.band], Window(0, 0, *blocks.shape))
        if rest:
            valid[..., step.band].swapaxes(0, step.axis)[first] = False
    return replace(blocks, data=data, valid=valid)


def _steps(image: ImageReader, blocks: SkyImage) -> tuple[SkyStep, ...]:
    """Steps of the sky along whole rows or columns, as of detectors with several amplifiers."""

    def seen(band: int) -> list[tuple[int, int, int, float]]:
        light = band_light(blocks, band)
        least, planes = _STEP * block_scatter(light), ((1, light), (0, light.T))
        return [(band, axis, *step) for axis, plane in planes for step in _steps_of_blocks(plane, least)]

    found = chain.from_iterable(thread_map(seen, range(blocks.n_bands)))
    return tuple(
        SkyStep(band, axis, _place_of_step(image, band, axis, block, height), height)
        for band, axis, block, height in found
    )


def _steps_of_blocks(light: np.ndarray, least: float) -> Iterator[tuple[int, float]]:
    """Columns of blocks ``(y, x)`` at which the sky steps by so much all the way, and by how much."""
    n_parts = max(len(light) // _PART_OF_STEP, 1)
    if light.shape[1] < 2 * _BESIDE + 1 or not least > 0:
        return
    sky = np.stack([_medians(part) for part in np.array_split(light, n_parts)])
    around = np.lib.stride_tricks.sliding_window_view(sky, 2 * _BESIDE + 1, axis=1)
    left, right = around[..., :_BESIDE], around[..., -_BESIDE:]
    step = right.mean(axis=2) - left.mean(axis=2)
    # Even on both sides: neither a slope nor the edge of a galaxy.
    uneven = np.maximum(np.ptp(left, axis=2), np.ptp(right, axis=2))
    seen = (np.abs(step) > least) & (uneven < _UNEVEN * np.abs(step))
    known = np.isfinite(step)
    # Of most parts, as bright stars lie on some.
    common = seen.sum(axis=0) >= np.maximum(_MOST_PARTS * known.sum(axis=0), 1)
    runs, _ = ndimage.label(common)
    for (columns,) in ndimage.find_objects(runs):
        # The block before or after may hold the step as well.
        if columns.stop - columns.start <= _BESIDE:
            here = step[:, columns][seen[:, columns]]
            yield (columns.start + columns.stop - 1) // 2 + _BESIDE, float(np.median(here))


def _medians(light: np.ndarray) -> np.ndarray:
    """Median of each column ``(y, x)``, NaN left out: in a quarter of the time that `numpy.nanmedian` takes."""
    ordered, n_known = np.sort(light, axis=0), np.count_nonzero(~np.isnan(light), axis=0)
    return np.take_along_axis(ordered, np.stack([(n_known - 1) // 2, n_known // 2]), axis=0).mean(axis=0)


def _place_of_step(image: ImageReader, band: int, axis: int, block: int, height: float) -> int:
    """The row or column from which on the sky is higher, near a block."""
    first = max((block - 2) * BLOCK_SIDE, 0)
    along, across = image.shape[1 - axis], min((block + 3) * BLOCK_SIDE, image.shape[axis]) - first
    start, length = max((along - _LENGTH) // 2, 0), min(along, _LENGTH)
    window = Window(start, first, length, across) if axis else Window(first, start, across, length)
    piece = image.read(window)
    light = band_light(piece, band)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # lines without data
        sky = np.nanmedian(light, axis=1 - axis)
    # Where the sums of both sides are the farthest apart from the mean of both.
    middle = (np.nanmedian(sky[:BLOCK_SIDE]) + np.nanmedian(sky[-BLOCK_SIDE:])) / 2
    return first + 1 + int(np.argmin(np.cumsum(np.sign(height) * np.nan_to_num(sky - middle))))


def _with_large_objects(noise: BackgroundMesh, blocks: SkyImage, *, fixed: bool) -> BackgroundMesh:
    """The noise with the large objects of the image, and under them the background of the blocks."""
    if min(blocks.shape) < 2 * _LARGE_SCALE:
        return noise
    coarse = measure_background(blocks)
    large = _find(*normalize(blocks, coarse), canonical_factor(noise.psf))
    if large is None:
        return noise
    noise = replace(noise, large=large)
    return noise if fixed else _background_below(noise, coarse)


def _find(snr: np.ndarray, valid: np.ndarray, factor: int) -> LargeObjects | None:
    """The large objects in S/N and validity of blocks ``(y, x, band)``; None if there are none."""
    light = snr.sum(axis=2) / np.sqrt(np.maximum(valid.sum(axis=2), 1))
    smooth = ndimage.grey_opening(light, (_LARGE_SCALE, _LARGE_SCALE))
    parts, n_parts = ndimage.label(smooth > _REGION)
    if not n_parts:
        return None
    index = np.arange(1, n_parts + 1)
    area, core = ndimage.sum_labels(np.ones_like(parts), parts, index), ndimage.maximum(smooth, parts, index)
    least = np.pi * (factor * LARGE / BLOCK_SIDE) ** 2
    labels = np.zeros(parts.shape, np.int32)
    objects: list[tuple[int, tuple[int, int], float]] = []
    for part in index[(core > _CORE) & (area > least)].tolist():
        own = parts == part
        for piece in _pieces(smooth, own, _half_light_radius(light[own])):
            radius = _half_light_radius(light[piece])
            if radius <= factor * LARGE:
                continue
            binning = factor * 2 ** max(int(np.ceil(np.log2(radius / (factor * _SEEN)))), 1)
            y, x = np.unravel_index(np.argmax(np.where(piece, smooth, -np.inf)), piece.shape)
            objects.append((min(binning, factor * _COARSEST), (int(y), int(x)), radius))
            labels[piece] = len(objects)
    if not objects:
        return None
    binning, centers, radii = (np.array(column) for column in zip(*objects, strict=True))
    # The surroundings of an object, as far as no other one is nearer.
    distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    around = labels[tuple(nearest)]
    grown = np.where(distance * BLOCK_SIDE <= _GROWN * np.concatenate([[0], radii])[around], around, 0)
    return LargeObjects(grown.astype(np.int32), binning.astype(np.int64), (centers + 0.5) * BLOCK_SIDE - 0.5, radii)


def _half_light_radius(light: np.ndarray) -> float:
    """Radius in pixels of the circle of as many blocks as, the brightest first, have half of the light."""
    ordered = np.cumsum(np.sort(np.maximum(light, 0))[::-1])
    n_blocks = np.searchsorted(ordered, ordered[-1] / 2) + 1
    return float(BLOCK_SIDE * np.sqrt(n_blocks / np.pi))


def _pieces(smooth: np.ndarray, own: np.ndarray, radius: float) -> list[np.ndarray]:
    """Masks of the parts of one object of large-scale light, each with a tenth of its light or more."""
    light = ndimage.gaussian_filter(np.maximum(smooth, 0), _SMOOTHING * radius / BLOCK_SIDE)
    from morpheus_lite.core.saddles import split_at_saddles  # skimage.segmentation takes long to import

    pieces = split_at_saddles(light, own, n_levels=_N_LEVELS, min_area=_FEWEST, contrast=_PART)
    return [own] if pieces is None else [pieces == number for number in np.unique(pieces[pieces > 0])]


def _background_below(noise: BackgroundMesh, coarse: BackgroundMesh) -> BackgroundMesh:
    """The mesh whose boxes under large objects have the background of the blocks, and the noise of other boxes."""
    covered = noise.covered
    if not covered.any() or covered.all():
        return noise
    y, x = np.meshgrid(*noise.centers, indexing="ij")
    middle = (BLOCK_SIDE - 1) / 2
    below = coarse.background_at((x.ravel() - middle) / BLOCK_SIDE, (y.ravel() - middle) / BLOCK_SIDE)
    below = below.reshape(noise.background.shape)
    # Means over blocks hold the faint sources too, which the boxes leave out.
    below += np.median((noise.background - below)[~covered], axis=0)
    nearest = ndimage.distance_transform_edt(covered, return_distances=False, return_indices=True)
    known = (noise.sigma > 0).any(axis=(0, 1))
    background = np.where(covered[..., None] & known, below, noise.background)
    return replace(noise, background=background.astype(np.float32), sigma=noise.sigma[tuple(nearest)])


_STRIP_WIDTH = 8192
"""Pixels of a strip that are in memory at once while the noise is measured."""


@dataclass(frozen=True, eq=False)
class SubtractedImage(ImageView):
    """An image seen through its noise map.

    Parameters
    ----------
    image : ImageReader
        The image as it is.
    noise : BackgroundMesh
        Background and noise of the whole image, in its bands.
    sky_noise : bool
        As in `~morpheus_lite.noise.background_mesh.subtract`.
    """

    noise: BackgroundMesh
    sky_noise: bool = False

    def read(self, window: Window, /) -> SkyImage:
        """The pixels of a window, subtracted."""
        return subtract(self.image.read(window), self.noise, window=window, sky_noise=self.sky_noise)


def measure_sections(
    image: ImageReader,
    *,
    background: str | float = "mesh",
    labels: LabelStore | None = None,
    steps: tuple[SkyStep, ...] = (),
    workers: int | None = None,
) -> BackgroundMesh:
    """Background and noise of an image that is read by section, a few pieces of its strips at a time.

    Parameters
    ----------
    image : ImageReader
        The image. It may be read from several threads.
    background : {"mesh", "none"} or float
        What is to be subtracted: what the mesh shows, nothing, or one level in data units.
    labels : LabelStore, optional
        Sources, which are left out, and their surroundings as far as can be.
    steps : tuple of SkyStep
        Steps of the sky, of which the mesh is free.
    workers : int, optional
        Threads, or with ``labels`` processes (default: one for each usable core).

    Returns
    -------
    BackgroundMesh
        As `~morpheus_lite.noise.background_mesh.measure_background` gives it for the whole image.
    """
    pieces, has_rms = strips(image.shape, width=_STRIP_WIDTH), image.has_rms

    def work(piece: Window) -> np.ndarray:
        near = None if labels is None else near_sources(labels.read(piece), labels.boxes, piece)
        strip = image.read(piece)
        if steps:
            strip = replace(strip, data=strip.data.copy())
        for step in steps:
            step.take_from(strip.data[..., step.band], piece)
        return measure_row(strip, image.shape, left=piece.x, has_rms=has_rms, near=near)

    if labels is None:
        found = thread_map(work, pieces, threads=workers)
    else:
        # Nothing is gathered from what is read, so that processes, which need not wait for each other, can share it.
        image.close()
        found = list(parallel_map(work, pieces, workers=workers or usable_cores()))
    statistics = dict(zip(pieces, found, strict=True))
    rows = (np.concatenate([statistics[piece] for piece in row]) for _, row in groupby(pieces, lambda piece: piece.y))
    least_tilt = STEEP if labels is None else STEEP_SKY
    noise = noise_from_rows(image.shape, rows, has_rms=has_rms, least_tilt=least_tilt)
    return replace(noise, steps=steps).with_background(background)
