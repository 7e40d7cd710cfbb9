"""Target probabilities and pixel weights of a field seen at some depth.

A simulated field knows who owns a pixel down to surface brightnesses that no exposure shows. Whether a pixel is source
or sky is therefore decided against the noise of the bands at hand: at least `SOURCE_LEVEL` sigma (root of the sum of
squares over the bands, noise as it counts on scales of several pixels).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from morpheus_lite.core.classes import BACKGROUND, CLASSES

SOURCE_LEVEL = 0.8
"""Signal over noise of one pixel, all bands together, from which it is source rather than sky."""

_DOUBTFUL = (0.5, 1.1)  # between these, source or sky is a matter of taste and counts less
_UNSEEN = (3.0, 5.0)  # total S/N of a source: nothing is asked below the first, everything above the second
_SHAPELESS, _SHAPED = 10.0, 150.0  # total S/N between which classes begin to count
_CLASS_BALANCE = np.array([1.1, 1.0, 1.3, 1.0], np.float32)  # irregulars are the rarest and the hardest
_DETECTION_AREA, _CLASS_AREA = 150.0, 400.0  # px: sources of this size have weight 1, smaller ones more


SCENE_PLANES = ("snr", "valid", "signal", "owner", "labelled", "false")
"""Fields of a scene that have a value for every pixel."""


@dataclass(frozen=True, eq=False)
class TrainingScene:
    """A field under some conditions, ready for patches to be cut from it.

    Parameters
    ----------
    snr : numpy.ndarray
        float32, shape ``(y, x, band)``: what the network sees.
    valid : numpy.ndarray
        bool, shape ``(y, x, band)``.
    signal : numpy.ndarray
        float32, shape ``(y, x, band)``: light without noise over the noise.
    owner : numpy.ndarray
        int32, shape ``(y, x)``: 0 for sky, else 1 + row of ``soft``.
    soft : numpy.ndarray
        float32, shape ``(source, 4)``: class probabilities of each source.
    power : numpy.ndarray
        float64, shape ``(source, band)``: sum over a source's pixels of the squared signal.
    area : numpy.ndarray
        int64, shape ``(source,)``: pixels above `SOURCE_LEVEL`, all bands together.
    position : numpy.ndarray
        float64, shape ``(source, 2)``: y, x.
    has_class : numpy.ndarray
        bool, shape ``(source,)``: whose class is known.
    labelled : numpy.ndarray
        bool, shape ``(y, x)``: pixels whose owner is known, others count nothing.
    false : numpy.ndarray
        int32, shape ``(y, x)``: 1, 2, ... where a person said that there is no source, 0 elsewhere.
    magnitude : numpy.ndarray
        float64, shape ``(source,)``: H magnitude (AB), NaN where not known.
    image : str
        Which observed image it is of; empty for a simulated field.
    """

    snr: np.ndarray
    valid: np.ndarray
    signal: np.ndarray
    owner: np.ndarray
    soft: np.ndarray
    power: np.ndarray
    area: np.ndarray
    position: np.ndarray
    has_class: np.ndarray
    labelled: np.ndarray
    false: np.ndarray
    magnitude: np.ndarray
    image: str = ""

    @cached_property
    def target(self) -> np.ndarray:
        """Right answer everywhere, with all bands: see `targets`."""
        return self._answers[0]

    @cached_property
    def weight(self) -> np.ndarray:
        """Weight of each pixel then: see `targets`."""
        return self._answers[1]

    @cached_property
    def _answers(self) -> tuple[np.ndarray, np.ndarray]:
        return targets(self, (slice(None), slice(None)), np.ones(self.snr.shape[2], bool))


def make_training_scene(
    snr: np.ndarray,
    valid: np.ndarray,
    signal: np.ndarray,
    owner: np.ndarray,
    soft: np.ndarray,
    position: np.ndarray,
) -> TrainingScene:
    """The scene of a simulated field, all of it known, with the power and the visible area of every source measured."""
    squares = np.where(valid, signal, 0) ** 2
    power = [sum_by_owner(owner, square, len(soft)) for square in np.moveaxis(squares, 2, 0)]
    area = sum_by_owner(owner, squares.sum(axis=2) >= SOURCE_LEVEL**2, len(soft)).astype(np.int64)
    known = np.ones(len(soft), bool), np.ones(owner.shape, bool), np.zeros(owner.shape, np.int32)
    magnitude = np.full(len(soft), np.nan)
    return TrainingScene(snr, valid, signal, owner, soft, np.stack(power, axis=1), area, position, *known, magnitude)


def sum_by_owner(owner: np.ndarray, values: np.ndarray, n_sources: int) -> np.ndarray:
    """Sum of the values ``(y, x)`` over the pixels of each source: float64, shape ``(source,)``."""
    return np.bincount(owner.ravel(), values.ravel(), n_sources + 1)[1:]


def pad_scene(scene: TrainingScene, around: Sequence[tuple[int, int]]) -> TrainingScene:
    """A scene with so many rows and columns before and after it that are not in the image."""
    planes = {name: getattr(scene, name) for name in SCENE_PLANES}
    padded = {name: np.pad(plane, [*around, (0, 0)][: plane.ndim]) for name, plane in planes.items()}
    return replace(scene, **padded, position=scene.position + [first for first, _ in around])


def targets(scene: TrainingScene, window: tuple[slice, slice], bands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities and weights of the pixels of a window, when only some bands are seen.

    Parameters
    ----------
    scene : TrainingScene
        The field.
    window : (slice, slice)
        Rows and columns.
    bands : numpy.ndarray
        bool, shape ``(band,)``: which bands are seen.

    Returns
    -------
    target : numpy.ndarray
        float32, shape ``(y, x, class)``; rows sum to 1.
    weight : numpy.ndarray
        float32, shape ``(y, x, 2)``: for source against sky, and for the classes (see `morpheus_lite.models.losses`).
    """
    owner, seen = scene.owner[window], scene.valid[window] & bands
    level = np.sqrt(np.where(seen, scene.signal[window], 0).astype(np.float32) ** 2 @ np.ones(len(bands), np.float32))
    source = (owner > 0) & (level >= SOURCE_LEVEL)
    soft = np.concatenate([np.zeros((1, BACKGROUND), np.float32), scene.soft.astype(np.float32)])
    target = np.zeros((*owner.shape, len(CLASSES)), np.float32)
    target[..., :BACKGROUND] = soft[np.where(source, owner, 0)]
    target[..., BACKGROUND] = ~source
    total = np.concatenate([[0.0], np.sqrt(scene.power @ bands)])
    area = np.concatenate([[1.0], np.maximum(scene.area, 1)])
    weight = np.stack(
        [
            _detection_weight(owner, source, level, total, area),
            _class_weight(owner, source, level, total, area) * (target[..., :BACKGROUND] @ _CLASS_BALANCE),
        ],
        axis=-1,
    )
    weight[..., 1] *= np.concatenate([[False], scene.has_class])[owner]
    weight *= (seen.any(axis=-1) & scene.labelled[window])[..., None]
    return target, weight.astype(np.float32)


def _detection_weight(
    owner: np.ndarray, source: np.ndarray, level: np.ndarray, total: np.ndarray, area: np.ndarray
) -> np.ndarray:
    small = np.clip(np.sqrt(_DETECTION_AREA / area), 0.6, 4.0)
    known = np.clip((total - _UNSEEN[0]) / (_UNSEEN[1] - _UNSEEN[0]), 0, 1)
    weight = np.where(source, (small * known)[owner], 1.0)
    doubtful = (owner > 0) & (level > _DOUBTFUL[0]) & (level < _DOUBTFUL[1])
    weight = np.where(doubtful, 0.3 * weight, weight)
    # the light of a source that can be found, but that is too thinly spread for any of its pixels to count as source
    spread = (owner > 0) & ~source & ((area <= 4) & (total > _UNSEEN[0]))[owner]
    return np.where(spread, 0.0, weight)


def _class_weight(
    owner: np.ndarray, source: np.ndarray, level: np.ndarray, total: np.ndarray, area: np.ndarray
) -> np.ndarray:
    small = np.clip(np.sqrt(_CLASS_AREA / area), 0.25, 5.0)
    known = np.clip((total - _SHAPELESS) / (_SHAPED - _SHAPELESS), 0.03, 1)
    return np.where(source, (small * known)[owner] * np.clip(level / 2.5, 0.35, 1), 0.0)
