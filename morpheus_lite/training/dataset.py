"""Batches of patches from simulated fields and observed images, made while the network trains."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from glob import glob
from typing import NamedTuple

import numpy as np

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError
from morpheus_lite.noise.psf import psf_of_pieces
from morpheus_lite.simulation import Conditions, Field, draw_conditions, observe, plain_conditions
from morpheus_lite.simulation.field import reference_noise
from morpheus_lite.training.config import SamplingConfig
from morpheus_lite.training.shown import bin_labels, measured_bands, show, show_light
from morpheus_lite.training.targets import Labelling, TrainingScene, make_training_scene, pad_scene, targets

log = logging.getLogger(__name__)

_RMS_SHARE = 0.3
_FAINT_SNR = 5.0
_N_LARGE = 4
_CORNERS = 0.2
_GIVEN_PSF = 0.6  # share of the fields whose PSF is known as that of a larger image is, or where it is given
_PSF_ERRORS = 0.03, 0.12  # of FWHM and index, relative
_CUTOUT_SIDES = 40, 110  # px


class Batch(NamedTuple):
    """Input of one training step.

    Parameters
    ----------
    snr, valid : numpy.ndarray
        float32, shape ``(n, y, x, band)``: the network's inputs.
    target : numpy.ndarray
        float32, shape ``(n, y, x, class)``.
    weight : numpy.ndarray
        float32, shape ``(n, y, x, 2)``.
    """

    snr: np.ndarray
    valid: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def find_fields(patterns: Sequence[str]) -> tuple[str, ...]:
    """Paths of the field files that match glob patterns, sorted.

    Raises
    ------
    InputError
        There are none.
    """
    paths = sorted({path for pattern in patterns for path in glob(pattern)})  # noqa: PTH207 (patterns may be absolute)
    if not paths:
        raise InputError(f"no fields match {', '.join(patterns)}; make some with `morpheus simulate --training`")
    return tuple(paths)


def draw_training_scene(
    rng: np.random.Generator, field: Field, *, style: str = "free", psfs: Sequence[MoffatPsf] | None = None
) -> TrainingScene:
    """A field under random conditions, as the network would be shown it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the randomness comes from.
    field : Field
        The field, or a cut-out of one.
    style : str
        See `draw_style`.
    psfs : sequence of MoffatPsf, optional
        Of its bands; those of `psfs_of` by default. In some scenes they are known, with errors, and in the others
        measured.
    """
    known = psfs_of(field) if psfs is None else psfs
    given = _with_errors(rng, known) if rng.uniform() < _GIVEN_PSF else None
    conditions = draw_style(rng, field, style)
    observation = observe(field, conditions, rng)
    image = observation.image
    # noise as it counts on scales of several pixels: correlation hides part of it from the scatter of single pixels
    sigma = observation.sigma / correlated_scatter(np.array(conditions.correlation)).astype(np.float32)
    if rng.uniform() > _RMS_SHARE:
        image = replace(image, rms=None)
    whole = measured_bands(image, given)
    snr, valid, factor = show(whole)
    light = field.flux / sigma
    signal = show_light(light, field.bands, whole.noise.psf)
    owner = bin_labels(field.owner, factor, light.sum(axis=2)) if factor > 1 else field.owner
    position = np.stack([field.sources["y"], field.sources["x"]], axis=1).astype(np.float64)
    position = (position + 0.5) / factor - 0.5
    return make_training_scene(snr, valid, signal, position, Labelling.of(owner, field.sources["soft"]))


def psfs_of(field: Field) -> tuple[MoffatPsf, ...]:
    """PSFs of the bands of a field, measured on its stars without noise; unknown where it has few."""
    is_star = field.sources["soft"].argmax(axis=1) == SOURCE_CLASSES.index("point_source")
    valid = np.repeat(np.append(True, is_star)[field.owner][..., None], len(field.bands), axis=2)
    # So deep that the faintest stars count.
    return psf_of_pieces([(field.flux / (0.1 * reference_noise(field.bands)), valid)], len(field.bands))


def draw_cutout(rng: np.random.Generator, field: Field) -> Field:
    """A small part of a field around a source, of which each class has the same chance if it is bright enough."""
    position = np.stack([field.sources["y"], field.sources["x"]], axis=1)
    inside = ((position >= 0) & (position < field.shape)).all(axis=1)
    level = (field.flux / reference_noise(field.bands)).sum(axis=2)
    light = np.bincount(field.owner.ravel(), level.ravel(), len(field.sources) + 1)[1:] * inside
    bright = np.flatnonzero(light > np.median(light[light > 0])) if light.any() else []
    center = np.array(field.shape) / 2
    if len(bright):
        kinds = field.sources["soft"][bright].argmax(axis=1)
        center = position[rng.choice(bright[kinds == rng.choice(np.unique(kinds))])]
    side = np.exp(rng.uniform(*np.log(_CUTOUT_SIDES)))
    start = np.clip(center + side * rng.uniform(-0.65, -0.35, 2), 0, np.array(field.shape) - 16).astype(int)
    height, width = np.minimum(int(side), field.shape - start).tolist()
    return field.cutout(Window(*start.tolist(), height, width))


def batches(
    patterns: Sequence[str],
    sampling: SamplingConfig,
    seed: int,
    *,
    observed: Sequence[TrainingScene] = (),
    simulated: float = 0.5,
) -> Iterator[Batch]:
    """Batches without end.

    Parameters
    ----------
    patterns : sequence of str
        Glob patterns of the field files; looked up again now and then, so that fields made while training are used.
    sampling : SamplingConfig
        What a batch is made of.
    seed : int
        Seed of every choice.
    observed : sequence of TrainingScene
        Scenes that are as they are.
    simulated : float
        Share of the scenes that are fields under new conditions, where there are both.
    """
    rng = np.random.default_rng(seed)
    pool: list[tuple[np.ndarray, ...]] = []
    paths: list[str] = []
    shares = np.array([scene.share for scene in observed])
    while True:
        while len(pool) < sampling.pool:
            if observed and (not patterns or rng.uniform() >= simulated):
                scene = observed[rng.choice(len(observed), p=shares / shares.sum())]
                n_patches = sampling.per_scene
            else:
                paths = paths or [str(path) for path in rng.permutation(find_fields(patterns))]
                field = Field.load(paths.pop())
                style = str(rng.choice(STYLES, p=style_shares(field, sampling.styles)))
                psfs = psfs_of(field)
                n_patches = sampling.per_scene - rng.binomial(sampling.per_scene, sampling.cutouts)
                for _ in range(sampling.per_scene - n_patches):
                    small = draw_training_scene(rng, draw_cutout(rng, field), style=style, psfs=psfs)
                    pool.append(draw_patch(rng, small, sampling))
                scene = draw_training_scene(rng, field, style=style, psfs=psfs)
            pool += [draw_patch(rng, scene, sampling) for _ in range(n_patches)]
        # No patch has more bands than the first: few batches are as wide as the widest field.
        counts = np.array([patch[0].shape[-1] for patch in pool])
        n_bands = counts[rng.integers(len(pool))]
        near = np.flatnonzero(counts <= max(n_bands, np.sort(counts)[sampling.batch - 1]))
        chosen = rng.choice(near, sampling.batch, replace=False)
        n_bands = counts[chosen].max()
        arrays = [np.stack(column) for column in zip(*(_widened(pool[i], n_bands) for i in chosen), strict=True)]
        for i in sorted(chosen, reverse=True):
            pool[i] = pool[-1]
            pool.pop()
        yield Batch(*arrays)


def draw_patch(rng: np.random.Generator, scene: TrainingScene, sampling: SamplingConfig) -> tuple[np.ndarray, ...]:
    """One patch: the four arrays of a `Batch` without the first axis."""
    scene = _surrounded(rng, scene, sampling.patch)
    bands = _draw_bands(rng, scene.snr.shape[2], sampling.drop_bands)
    center = _draw_center(rng, scene, bands, sampling)
    window = _window_around(rng, center, scene.owner.shape, sampling.patch)
    target, weight = targets(scene, window, bands)
    inside = _draw_image(rng, sampling)[..., None]
    valid = (scene.valid[window] & bands & inside).astype(np.float32)
    snr, weight = scene.snr[window] * valid, weight * inside
    turns, step = int(rng.integers(4)), -1 if rng.integers(2) else 1
    turned = (np.rot90(array, turns, axes=(0, 1))[:, ::step] for array in (snr, valid, target, weight))
    return tuple(map(np.ascontiguousarray, turned))


@contextmanager
def prefetched(iterator: Iterator[Batch], depth: int = 6) -> Iterator[Iterator[Batch]]:
    """The same batches, made ahead in a background thread that ends with the ``with`` block."""
    with ThreadPoolExecutor(1, "patches") as thread:
        ahead = deque(thread.submit(next, iterator) for _ in range(depth))

        def taken() -> Iterator[Batch]:
            while True:
                ahead.append(thread.submit(next, iterator))
                yield ahead.popleft().result()

        try:
            yield taken()
        finally:
            thread.shutdown(cancel_futures=True)


def _with_errors(rng: np.random.Generator, psfs: Sequence[MoffatPsf]) -> tuple[MoffatPsf | None, ...]:
    """PSFs as they would be given, or measured on a larger image; None for those to be measured."""
    fwhm, beta = np.exp(rng.normal(0, _PSF_ERRORS))
    return tuple(
        replace(psf, fwhm=psf.fwhm * fwhm, beta=psf.beta * beta, origin="given") if psf.is_known else None
        for psf in psfs
    )


def _surrounded(rng: np.random.Generator, scene: TrainingScene, side: int) -> TrainingScene:
    """A scene that is smaller than a patch somewhere in one, with no data around it."""
    missing = [max(side - length, 0) for length in scene.owner.shape]
    if not any(missing):
        return scene
    before = rng.integers(0, missing, endpoint=True)
    return pad_scene(scene, [(int(b), m - int(b)) for b, m in zip(before, missing, strict=True)])


def _draw_bands(rng: np.random.Generator, n_bands: int, share: float) -> np.ndarray:
    bands = np.ones(n_bands, bool)
    if n_bands > 1 and rng.uniform() < share:
        n_dropped = int(rng.choice(np.arange(1, n_bands)))
        bands[rng.choice(n_bands, n_dropped, replace=False)] = False
    return bands


def _draw_center(
    rng: np.random.Generator, scene: TrainingScene, bands: np.ndarray, sampling: SamplingConfig
) -> tuple[float, float]:
    height, width = scene.owner.shape
    y, x = scene.position.T
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    total = np.sqrt(scene.power @ bands)
    bright = np.flatnonzero(inside & scene.has_class & (total >= sampling.bright_snr))
    faint = np.flatnonzero(inside & (total >= _FAINT_SNR) & (total < sampling.bright_snr))
    large = bright[np.argsort(scene.area[bright])[-_N_LARGE:]]
    shares = np.array([sampling.bright, sampling.faint, sampling.large, sampling.anywhere])
    sources = (bright, faint, large, [])[rng.choice(len(shares), p=shares / shares.sum())]
    if not len(sources):
        return rng.uniform(0, height), rng.uniform(0, width)
    if sources is bright:
        kinds = scene.soft[bright].argmax(axis=1)
        there = np.unique(kinds)
        shares = np.array(sampling.classes)[there]
        sources = bright[kinds == rng.choice(there, p=shares / shares.sum())]
    chosen = rng.choice(sources)
    return float(y[chosen]), float(x[chosen])


def _window_around(
    rng: np.random.Generator, center: tuple[float, float], shape: tuple[int, int], side: int
) -> tuple[slice, slice]:
    corner = [int(c + rng.uniform(-0.35, 0.35) * side) - side // 2 for c in center]
    y, x = np.clip(corner, 0, np.array(shape) - side).tolist()
    return slice(y, y + side), slice(x, x + side)


def _draw_image(rng: np.random.Generator, sampling: SamplingConfig) -> np.ndarray:
    """Draw the pixels of a patch that lie in the image: all, those on one side of an edge, or in a corner."""
    inside = np.ones((sampling.patch, sampling.patch), bool)
    if rng.uniform() < sampling.edges:
        for cut in rng.uniform(0.05, 0.5, 1 + int(rng.uniform() < _CORNERS)):
            inside[: int(cut * sampling.patch)] = False
            inside = np.rot90(inside)
    return np.rot90(inside, int(rng.integers(4)))


def _widened(patch: tuple[np.ndarray, ...], n_bands: int) -> tuple[np.ndarray, ...]:
    """A patch with as many bands as others of its batch: the new ones hold no valid pixel."""
    snr, valid, *rest = patch
    missing = [(0, 0), (0, 0), (0, n_bands - snr.shape[-1])]
    return np.pad(snr, missing), np.pad(valid, missing), *rest


STYLES = ("deep", "matched", "free")
"""Like CANDELS GOODS-S deep; like the XDF with all bands convolved to the PSF of F160W; anything."""

# Measured in the XDF with matched PSFs: noise of a pixel (nJy), and the Gaussian (px) that makes white noise like it
_MATCHED = {"F160W": (0.35, 0.5), "F125W": (0.245, 0.6), "F606W": (0.027, 1.25), "F850LP": (0.055, 1.15)}


def draw_style(rng: np.random.Generator, field: Field, style: str = "free") -> Conditions:
    """Random conditions in one of the `STYLES`.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the randomness comes from.
    field : Field
        For its bands and pixel scale.
    style : str
        One of `STYLES`. ``"matched"`` knows the four HST bands only, and is ``"free"`` for others.
    """
    drawn = draw_conditions(rng, field)
    if style == "free" or (style == "matched" and not set(field.bands) <= set(_MATCHED)):
        return drawn
    n = len(field.bands)
    if style == "deep":
        sigma = np.array(plain_conditions(field).sigma) * 10 ** (rng.normal(0, 0.1) + rng.normal(0, 0.05, n))
        correlation = rng.uniform(0, 0.75) * rng.uniform(0.9, 1.1, n)
    else:
        usual = np.array([_MATCHED[band] for band in field.bands])
        sigma = usual[:, 0] * 10 ** (rng.normal(0, 0.2) + rng.normal(0, 0.1, n))
        correlation = usual[:, 1] * rng.uniform(0.85, 1.15, n)
    ratio = sigma / np.array(drawn.sigma)
    offset, unevenness = np.array(drawn.offset) * ratio, np.array(drawn.unevenness) * ratio
    drawn_anew = {"sigma": sigma, "correlation": correlation, "offset": offset, "unevenness": unevenness}
    return replace(drawn, **{name: tuple(values.tolist()) for name, values in drawn_anew.items()})


def style_shares(field: Field, shares: Sequence[float]) -> np.ndarray:
    """Shares of the `STYLES` for one field: a field whose bands share one PSF is shown as the XDF is more often.

    Parameters
    ----------
    field : Field
        For its PSFs.
    shares : sequence of float
        For the average field, in the order of `STYLES`.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(3,)``, sum 1.
    """
    is_matched = len(field.bands) > 1 and max(field.psf_fwhm) < 1.25 * min(field.psf_fwhm)
    weighted = np.array(shares) * (1, 3 if is_matched else 0.4, 1)
    return weighted / weighted.sum()


def correlated_scatter(sigma: np.ndarray) -> np.ndarray:
    """Scatter of white noise of unit variance after a Gaussian of ``sigma`` pixels: float64, as many as ``sigma``."""
    kernel = np.exp(-0.5 * (np.arange(-16, 17) / np.maximum(sigma, 0.1)[:, None]) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    return (kernel**2).sum(axis=1)
