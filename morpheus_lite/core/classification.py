"""Classification: what a model says of every pixel of an image."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy.wcs import WCS

from morpheus_lite.core.classes import BACKGROUND, CLASSES, SOURCE_CLASSES
from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.image import SkyImage, in_pictures, wcs_of_window, window_of
from morpheus_lite.errors import InputError

_FLOOR = 1e-12
_OPTIONAL = ("variance", "vote", "flags", "entropy", "tta_disagreement", "large_object")


def entropy(probability: np.ndarray) -> np.ndarray:
    """Entropy over the last axis, divided by its largest value: float32, 0 (one class) to 1 (all alike)."""
    logarithm = np.log(np.maximum(probability, np.float32(_FLOOR)))
    return -(probability * logarithm).sum(axis=-1) / np.float32(np.log(probability.shape[-1]))


@dataclass(frozen=True, eq=False)
class Classification:
    """Class maps of one image.

    ``result["disk"]`` is the probability map of a class, ``result[:500, :500]`` the maps of a part of the image.

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
        `morpheus_lite.inference.one_pass`); NaN where ``coverage`` is 0.
    large_object : numpy.ndarray or None
        int32, shape ``(y, x)``: number of the large object that the pixel is of, where the network saw it in bins
        (``provenance["large_objects"]``); 0 elsewhere. None where there are none.
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
    large_object: np.ndarray | None = None
    image: SkyImage | None = None

    @classmethod
    def of_planes(
        cls, planes: Mapping[str, np.ndarray], *, wcs: WCS | None, provenance: Mapping[str, Any]
    ) -> "Classification":
        """The classification that planes hold, by their kind; ``"mean"`` is one of them.

        Where there is no coverage, pixels with a value count as covered. A pixel is valid if it got a value, or if it
        is not flagged as invalid: one-pass models classify pixels that are invalid in some of their bands.
        """
        mean, flags = planes["mean"], planes.get("flags")
        coverage = planes.get("coverage")
        coverage = np.isfinite(mean[:, :, 0]).astype(np.int32) if coverage is None else coverage
        valid = coverage > 0
        if flags is not None:
            valid |= (flags & PixelFlag.INVALID) == 0
        rest: dict[str, Any] = {kind: planes.get(kind) for kind in _OPTIONAL}
        return cls(mean, coverage, valid, **rest, wcs=wcs, provenance=dict(provenance))

    @property
    def planes(self) -> dict[str, np.ndarray]:
        """The planes that there are, by their kind in files: ``"mean"`` is `probability`."""
        kept = {kind: getattr(self, kind) for kind in _OPTIONAL if getattr(self, kind) is not None}
        return {"mean": self.probability, "coverage": self.coverage, **kept}

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
        """Probability map of one class, by name: float32, shape ``(y, x)``.

        Raises
        ------
        InputError
            There is no such class.
        """
        if name not in CLASSES:
            raise InputError(f"there is no class {name!r}: the classes are {', '.join(CLASSES)}")
        return self.probability[:, :, CLASSES.index(name)]

    def __getitem__(self, index: Any) -> Any:
        """Probability map of a class by name, or the maps of a part of the image in rows and columns.

        Raises
        ------
        InputError
            There is no such class, or there are no such pixels.
        """
        if isinstance(index, str):
            return self.plane(index)
        window = window_of(index, self.shape)
        cut: dict[str, Any] = {kind: plane[window.slices] for kind, plane in self.planes.items()}
        return replace(
            self,
            probability=cut.pop("mean"),
            valid=self.valid[window.slices],
            **cut,
            wcs=wcs_of_window(self.wcs, window),
            image=None if self.image is None else self.image.cutout(window),
        )

    def __repr__(self) -> str:
        height, width = self.shape
        model = self.provenance.get("model")
        shares = np.bincount(self.top_class[self.classified], minlength=len(CLASSES)) / max(self.classified.sum(), 1)
        words = ", ".join(f"{name.replace('_', ' ')} {shares[CLASSES.index(name)]:.1%}" for name in SOURCE_CLASSES)
        return f"<Classification: {height} x {width} px{f' by {model}' if model else ''}; pixels: {words}>"

    def _repr_html_(self) -> str:
        return in_pictures("classification_html")(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw the class maps in colour, with a legend.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; None makes a figure of pyplot, with axes in right ascension and declination if there is a WCS.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.
        """
        return in_pictures("plot_result")(self, ax)
