"""Observed images as scenes to train on and to validate with.

Nobody knows what an observed image would be without noise. Where a simulated scene has its true signal, an observed one
has the smoothed image over the noise; and since whoever labelled the image has said what is a source, every labelled
pixel counts as one, however faint.
"""

import logging
from dataclasses import replace

import numpy as np
from astropy.stats import mad_std
from scipy import ndimage

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Window, tiles
from morpheus_lite.errors import InputError
from morpheus_lite.inference.network_input import align_bands
from morpheus_lite.io import read_corrections, read_image
from morpheus_lite.training.config import TrainingConfig
from morpheus_lite.training.image_config import ImageConfig
from morpheus_lite.training.labelling import read_labelling
from morpheus_lite.training.shown import bin_blocks, bin_labels, measured_bands, show
from morpheus_lite.training.targets import SCENE_PLANES, Labelling, TrainingScene, make_training_scene, pad_scene

log = logging.getLogger(__name__)

LABELLED_LEVEL = 1.15
"""Least signal of a labelled pixel, all bands together, over the noise: enough to be source beyond doubt."""

_TILE = 512
"""Side of the pieces of a held-out part, in pixels."""

_N_TILES = 8  # of an image: enough to tell when to stop
_AROUND = 8  # px of sky around a source that is held out
_SMOOTHING = 1.0  # px
_BLOCK = 4  # px: scale on which the noise of neighbours is told from that of single pixels
_FEWEST_BLOCKS = 50


def read_observed(config: TrainingConfig) -> tuple[list[TrainingScene], list[TrainingScene]]:
    """The images of a configuration.

    Returns
    -------
    training : list of TrainingScene
        The parts that patches are cut from.
    held_out : list of TrainingScene
        Pieces of the parts that are not trained on, their sides multiples of the network's pooling. A source that lies
        in both parts counts in the training part only.

    Raises
    ------
    InputError
        An image, its labels or its classes cannot be used, or its training part is smaller than a patch.
    """
    patch = max(stage.patch for stage in config.stages)
    training: list[TrainingScene] = []
    held_out: list[TrainingScene] = []
    for number, image in enumerate(config.images):
        trained, pieces = _read_one(image, config)
        if trained is not None:
            height, width = trained.owner.shape
            if min(height, width) < patch:
                raise InputError(
                    f"{image.name}: the part to train on has {height} x {width} px, a patch {patch} px; choose a "
                    "smaller patch, or hold out less"
                )
            training.append(replace(trained, share=image.share))
        held_out += [replace(piece, image=f"{number} {image.name}") for piece in pieces]
    return training, held_out


def observe_image(image: SkyImage, config: ImageConfig) -> TrainingScene:
    """An image and its labels as one scene.

    Parameters
    ----------
    image : SkyImage
        In the bands of the network.
    config : ImageConfig
        Where labels and classes are.

    Notes
    -----
    An image with a wide PSF is binned, and wide wings are taken out, as `classify` does it.
    """
    whole = measured_bands(image)
    light, seen = whole.snr(Window(0, 0, *whole.shape))
    n_seen = np.maximum(seen.sum(axis=2), 1)
    labelling = read_labelling(config, light.sum(axis=2) / np.sqrt(n_seen, dtype=np.float32), image.wcs)
    snr, valid, factor = show(whole)
    if factor > 1:
        log.info("%s: wide PSF; the network sees the image binned by %d", image.name, factor)
        labelling = bin_labelling(labelling, factor)
    signal = estimate_signal(snr, valid, labelling)
    position = _positions(labelling.owner, (signal**2).sum(axis=2), len(labelling.soft))
    return make_training_scene(snr, valid, signal, position, labelling)


def bin_labelling(labelling: Labelling, factor: int) -> Labelling:
    """Labels of bins of ``factor`` by ``factor`` pixels: that of most pixels, a source's where sky has as many."""
    return replace(
        labelling,
        owner=bin_labels(labelling.owner, factor),
        labelled=bin_blocks(labelling.labelled, factor, 1).all(axis=2),
        false=bin_labels(labelling.false, factor),
    )


def estimate_signal(snr: np.ndarray, valid: np.ndarray, labelling: Labelling) -> np.ndarray:
    """Light over the noise inside the labels, as far as an observed image tells.

    Parameters
    ----------
    snr, valid : numpy.ndarray
        float32 and bool, shape ``(y, x, band)``.
    labelling : Labelling
        Who owns which pixel.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(y, x, band)``: smoothed S/N, not negative, 0 outside of the labels. The noise is that on the
        scale of several pixels, measured in the sky, as in simulated scenes. Where all bands together are below
        `LABELLED_LEVEL`, the pixel has that much light in the mean colour of its source.
    """
    owner, n_sources = labelling.owner, len(labelling.soft)
    sky = (owner == 0) & labelling.labelled
    signal = np.zeros(snr.shape, np.float32)
    for b in range(snr.shape[2]):
        seen = ndimage.gaussian_filter(valid[..., b].astype(np.float32), _SMOOTHING)
        smooth = ndimage.gaussian_filter(snr[..., b] * valid[..., b], _SMOOTHING) / np.maximum(seen, 1e-6)
        inside = valid[..., b] & (owner > 0)
        signal[..., b] = np.where(inside, np.maximum(smooth, 0) / _hidden_noise(snr[..., b], sky & valid[..., b]), 0)
    totals = [ndimage.sum_labels(plane, owner, np.arange(n_sources + 1)) for plane in np.moveaxis(signal, 2, 0)]
    colour = (np.stack(totals, axis=1).astype(np.float32) + 1e-6)[owner] * valid
    colour /= np.maximum(np.sqrt((colour**2).sum(axis=2, keepdims=True)), 1e-12)
    level = np.sqrt((signal**2).sum(axis=2))
    faint = (owner > 0) & (level < LABELLED_LEVEL)
    signal[faint] = LABELLED_LEVEL * colour[faint]
    return signal


def _read_one(config: ImageConfig, training: TrainingConfig) -> tuple[TrainingScene | None, tuple[TrainingScene, ...]]:
    """The part of an image to train on, and the pieces of what is held out."""
    image = read_image(config.image, **config.read_options)
    if config.corrections is not None:
        read_corrections(config.corrections).check_image(image)
    scene = observe_image(align_bands(image, training.model.bands), config)
    part, held_out = config.parts(scene.owner.shape)
    if config.held_out_sources is not None:
        try:
            scene, clean = hold_out_sources(scene, config.held_out_sources)
        except InputError as error:
            raise InputError(f"{config.name}: {error}") from error
        return scene, _pieces(clean, training.model.factor)
    trained = None if part is None else cut_scene(scene, part)
    if held_out is None:
        return trained, ()
    clean = cut_scene(scene, held_out)
    if trained is not None:
        both = np.intersect1d(trained.owner, clean.owner)
        clean = replace(clean, labelled=clean.labelled & ~np.isin(clean.owner, both[both > 0]))
    pieces = _pieces(clean, training.model.factor)
    if not pieces:
        raise InputError(f"{config.name}: no source in the part held out ({config.held_out}); hold out another")
    return trained, pieces


def hold_out_sources(scene: TrainingScene, share: float) -> tuple[TrainingScene, TrainingScene]:
    """Hold out sources all over an image, with the sky around them.

    Parameters
    ----------
    scene : TrainingScene
        The image.
    share : float
        Of the sources whose class is known, and of the regions that a person said are no source.

    Returns
    -------
    training, held_out : TrainingScene
        The same pixels; what is labelled in one is not in the other.

    Raises
    ------
    InputError
        There are too few sources: none is held out, or none is left.

    Notes
    -----
    Which source is held out follows from where it lies alone: whoever corrects more sources of an image and trains
    again from the new weights holds out the same ones, and never tests on what an earlier round learnt.
    """
    false, n_sources = scene.false, len(scene.soft)
    chosen = _draw(scene.owner, n_sources, share) & np.append(False, scene.has_class)
    if not chosen.any() or chosen.sum() == scene.has_class.sum():
        raise InputError(
            f"{scene.has_class.sum()} sources with a class, of which {chosen.sum()} are held out; correct or confirm "
            "more of them"
        )
    held = chosen[scene.owner] | _draw(false, int(false.max(initial=0)), share)[false]
    near = held | (ndimage.binary_dilation(held, iterations=_AROUND) & (scene.owner == 0) & (false == 0))
    return (
        replace(scene, labelled=scene.labelled & ~near, has_class=scene.has_class & ~chosen[1:]),
        replace(scene, labelled=scene.labelled & near, has_class=chosen[1:]),
    )


def _draw(regions: np.ndarray, n_regions: int, share: float) -> np.ndarray:
    """Draw the regions to hold out: bool, shape ``(n_regions + 1,)``, False for 0."""
    numbers, first = np.unique(regions, return_index=True)
    drawn = np.zeros(n_regions + 1, bool)
    for number, pixel in zip(numbers.tolist(), first.tolist(), strict=True):
        drawn[number] = number > 0 and np.random.default_rng(pixel).random() < share
    return drawn


def cut_scene(scene: TrainingScene, window: Window, *, factor: int = 1) -> TrainingScene:
    """The part of a scene inside a window, its sides padded with invalid pixels to multiples of ``factor``.

    What is known of the sources stays that of the whole scene; positions are in the window's pixels.
    """
    planes = {name: getattr(scene, name)[window.slices] for name in SCENE_PLANES}
    part = replace(scene, **planes, position=scene.position - (window.y, window.x))
    return pad_scene(part, [(0, -length % factor) for length in window.shape])


def _pieces(scene: TrainingScene, factor: int) -> tuple[TrainingScene, ...]:
    """The tiles of a scene with the most labelled pixels of sources, and of what is said to be none."""
    windows = list(tiles(scene.owner.shape, _TILE))
    asked = scene.labelled & ((scene.owner > 0) | (scene.false > 0))
    counts = [int(asked[window.slices].sum()) for window in windows]
    best = sorted(np.argsort(counts)[::-1][:_N_TILES])
    return tuple(cut_scene(scene, windows[i], factor=factor) for i in best if counts[i])


def _hidden_noise(snr: np.ndarray, sky: np.ndarray) -> float:
    """Ratio of the noise of blocks to that of independent pixels: 1 for independent pixels, more after drizzling."""
    height, width = (length - length % _BLOCK for length in snr.shape)
    blocks = (height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    empty = sky[:height, :width].reshape(blocks).all(axis=(1, 3))
    if empty.sum() < _FEWEST_BLOCKS:
        return 1.0
    means = snr[:height, :width].reshape(blocks).mean(axis=(1, 3))[empty]
    return float(np.clip(_BLOCK * mad_std(means) / max(mad_std(snr[sky]), 1e-9), 1.0, 4.0))


def _positions(owner: np.ndarray, light: np.ndarray, n_sources: int) -> np.ndarray:
    """Centroids, float64 ``(source, 2)``: y, x; NaN for a source without pixels."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.reshape(ndimage.center_of_mass(light, owner, np.arange(n_sources) + 1), (n_sources, 2))
