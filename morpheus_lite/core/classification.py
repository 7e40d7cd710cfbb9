"""Classification: what a model says of every pixel of an image."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from astropy.wcs import WCS

from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.core.image import SkyImage


class Classifier(Protocol):
    """Properties of every kind of model, for windows or for tiles."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def sha256(self) -> str:
        """Checksum of the weights."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of the input, in order; empty for any."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the output, in order."""


@dataclass(frozen=True, eq=False)
class Classification:
    """Class maps of one image.

    Parameters
    ----------
    probability : numpy.ndarray
        float32, shape ``(y, x, class)`` in the order of ``CLASSES``: mean probability over the windows that
        saw the pixel; NaN where ``coverage`` is 0.
    coverage : numpy.ndarray
        int32, shape ``(y, x)``: number of windows that gave the pixel a value.
    valid : numpy.ndarray
        bool, shape ``(y, x)``: True where the input pixel could be used in the bands that count.
    variance : numpy.ndarray or None
        float32, shape ``(y, x, class)``: population variance over the windows; NaN where ``coverage`` is 0.
    vote : numpy.ndarray or None
        float32, shape ``(y, x, class)``: share of the windows in which the class was the most probable;
        NaN where ``coverage`` is 0.
    flags : numpy.ndarray or None
        uint8, shape ``(y, x)``: bits of `~morpheus_lite.core.flags.PixelFlag`.
    wcs : astropy.wcs.WCS or None
        WCS of the image.
    provenance : dict
        Version, model name and hash, options of the run: what the primary header records.
    entropy, tta_disagreement : numpy.ndarray or None
        float32, shape ``(y, x)``: entropy of ``probability``, over the largest there is, and the part of it that is
        there because eight orientations contradict one another (see
        `morpheus_lite.inference.test_time_augmentation`); NaN where ``coverage`` is 0.
    image : SkyImage or None
        The image that was classified, not copied; None for maps that were read from a file.
    """

    probability: np.ndarray
    coverage: np.ndarray
    valid: np.ndarray
    variance: np.ndarray | None = None
    vote: np.ndarray | None = None
    flags: np.ndarray | None = None
    wcs: WCS | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    entropy: np.ndarray | None = None
    tta_disagreement: np.ndarray | None = None
    image: SkyImage | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.probability.shape[0], self.probability.shape[1]

    @property
    def classified(self) -> np.ndarray:
        """bool, shape ``(y, x)``: True where there is a value."""
        return self.coverage > 0

    @property
    def source_probability(self) -> np.ndarray:
        """float32, shape ``(y, x)``: one minus the background probability; NaN where not classified."""
        return 1 - self.probability[:, :, BACKGROUND]

    @property
    def top_class(self) -> np.ndarray:
        """int8, shape ``(y, x)``: index into ``CLASSES`` of the most probable class; -1 where not classified."""
        top = np.nan_to_num(self.probability, nan=-1).argmax(axis=2).astype(np.int8)
        return np.where(self.classified, top, np.int8(-1))

    def plane(self, name: str) -> np.ndarray:
        """Probability map of one class, by name: float32, shape ``(y, x)``."""
        return self.probability[:, :, CLASSES.index(name)]
