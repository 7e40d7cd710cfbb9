"""Target probabilities and pixel weights of a field seen at some depth.

A simulated field knows who owns a pixel down to surface brightnesses that no exposure shows. Whether a pixel is source
or sky is therefore decided against the noise of the bands at hand: at least `SOURCE_LEVEL` sigma (root of the sum of
squares over the bands, noise as it counts on scales of several pixels).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
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
class Labelling:
    """Owners of the pixels of an image, and classes of the sources.

    Parameters
    ----------
    owner : numpy.ndarray
        int32, shape ``(y, x)``: 0 for sky, else 1 + row of ``soft``.
    soft : numpy.ndarray
        float32, shape ``(source, 4)``: class probabilities of each source; all alike where the class is not known.
    has_class : numpy.ndarray
        bool, shape ``(source,)``: whose class is known.
    labelled : numpy.ndarray
        bool, shape ``(y, x)``: pixels whose owner is known, others count nothing.
    false : numpy.ndarray
        int32, shape ``(y, x)``: 1, 2, ... where a person said that there is no source, 0 elsewhere.
    """

    owner: np.ndarray
    soft: np.ndarray
    has_class: np.ndarray
    labelled: np.ndarray
    false: np.ndarray

    @classmethod
    def of(cls, owner: np.ndarray, soft: np.ndarray, labelled: np.ndarray | None = None) -> "Labelling":
        """The labelling of pixels that are all ``labelled`` unless told otherwise; NaN where a class is not known."""
        known = np.isfinite(soft).all(axis=1)
        soft = np.where(known[:, None], soft, 1 / BACKGROUND).astype(np.float32)
        labelled = np.ones(owner.shape, bool) if labelled is None else labelled
        return cls(owner, soft, known, labelled, np.zeros_like(owner))


@dataclass(frozen=True, eq=False)
class TrainingScene(Labelling):
    """A field under some conditions, ready for patches to be cut from it.

    Parameters
    ----------
    snr : numpy.ndarray
        float32, shape ``(y, x, band)``: what the network sees.
    valid : numpy.ndarray
        bool, shape ``(y, x, band)``.
    signal : numpy.ndarray
        float32, shape ``(y, x, band)``: light without noise over the noise.
    power : numpy.ndarray
        float64, shape ``(source, band)``: sum over a source's pixels of the squared signal.
    area : numpy.ndarray
        int64, shape ``(source,)``: pixels above `SOURCE_LEVEL`, all bands together.
    position : numpy.ndarray
        float64, shape ``(source, 2)``: y, x.
    magnitude : numpy.ndarray
        float64, shape ``(source,)``: H magnitude (AB), NaN where not known.
    image : str
        Which observed image it is of; empty for a simulated field.
    share : float
        How often patches are cut from it, compared with others.
    """

    snr: np.ndarray
    valid: np.ndarray
    signal: np.ndarray
    power: np.ndarray
    area: np.ndarray
    position: np.ndarray
    magnitude: np.ndarray
    image: str = ""
    share: float = 1.0

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
    snr: np.ndarray, valid: np.ndarray, signal: np.ndarray, position: np.ndarray, labelling: Labelling
) -> TrainingScene:
    """The scene of an image and its labels, with the power and the visible area of every source measured."""
    owner, n_sources = labelling.owner, len(labelling.soft)
    squares = np.where(valid, signal, 0) ** 2
    power = np.stack([sum_by_owner(owner, square, n_sources) for square in np.moveaxis(squares, 2, 0)], axis=1)
    area = sum_by_owner(owner, squares.sum(axis=2) >= SOURCE_LEVEL**2, n_sources).astype(np.int64)
    known = (getattr(labelling, one.name) for one in fields(Labelling))
    return TrainingScene(*known, snr, valid, signal, power, area, position, np.full(n_sources, np.nan))


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
    # Total S/N and area of each source, those of the sky first.
    total = np.concatenate([[0.0], np.sqrt(scene.power @ bands)])
    area = np.concatenate([[1.0], np.maximum(scene.area, 1)])
    known = np.clip((total - _UNSEEN[0]) / (_UNSEEN[1] - _UNSEEN[0]), 0, 1)
    detection = np.where(source, (known * np.clip(np.sqrt(_DETECTION_AREA / area), 0.6, 4.0))[owner], 1.0)
    doubtful = (owner > 0) & (level > _DOUBTFUL[0]) & (level < _DOUBTFUL[1])
    detection = np.where(doubtful, 0.3 * detection, detection)
    # the light of a source that can be found, but that is too thinly spread for any of its pixels to count as source
    detection[(owner > 0) & ~source & ((area <= 4) & (total > _UNSEEN[0]))[owner]] = 0
    known = np.clip((total - _SHAPELESS) / (_SHAPED - _SHAPELESS), 0.03, 1) * np.append(False, scene.has_class)
    known = known * np.clip(np.sqrt(_CLASS_AREA / area), 0.25, 5.0)
    classes = np.where(source, known[owner] * np.clip(level / 2.5, 0.35, 1), 0.0)
    classes = classes * (target[..., :BACKGROUND] @ _CLASS_BALANCE)
    weight = np.stack([detection, classes], axis=-1) * (seen.any(axis=-1) & scene.labelled[window])[..., None]
    return target, weight.astype(np.float32)
