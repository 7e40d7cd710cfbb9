"""Corrections that a person made to the sources of an image: classes, false sources, joined and split ones."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy.table import QTable

from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import check_labels
from morpheus_lite.errors import InputError

NO_SOURCE = CLASSES[BACKGROUND]
"""Class of a source that is none."""


@dataclass(frozen=True)
class SourcePart:
    """One part of a source that was split: the pixels that are nearest to this one.

    Parameters
    ----------
    x, y : int
        A pixel of the source, 0-based. Of pixels as far from two parts the first part has them.
    morphology : str or None
        Its class; None where nobody said.
    """

    x: int
    y: int
    morphology: str | None = None


@dataclass(frozen=True)
class Correction:
    """Correction by a person of one source, or of several that are one.

    Parameters
    ----------
    labels : tuple of int
        Its labels; more than one are joined.
    morphology : str or None
        Its class; `NO_SOURCE` where there is none, None where nobody said.
    parts : tuple of SourcePart
        Two or more where it was split.
    """

    labels: tuple[int, ...]
    morphology: str | None = None
    parts: tuple[SourcePart, ...] = ()


@dataclass(frozen=True, eq=False)
class CorrectedSources:
    """Result of corrections of a label map.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``: joined sources have the smallest of their labels, the first part of a split one keeps
        it, and the others are numbered on from the largest label; 0 where a false source was.
    classes : dict of int to str
        Class of each label that a person said something of.
    false : numpy.ndarray
        int32, shape ``(y, x)``: the labels of the sources that are none, 0 elsewhere.
    reshaped : frozenset of int
        Labels whose pixels are not what they were.
    """

    labels: np.ndarray
    classes: dict[int, str]
    false: np.ndarray
    reshaped: frozenset[int]

    def correct_catalog(self, table: QTable) -> QTable:
        """A catalogue with the corrected classes in ``morphology``, and without the false sources.

        Parameters
        ----------
        table : astropy.table.QTable
            Catalogue with ``label`` and ``morphology``. Where sources were joined or split it has to be measured with
            the corrected labels: ``measure(corrected.labels, image, classification)``.

        Returns
        -------
        astropy.table.QTable
            A copy, with a column ``corrected``: True where a person gave the class. Probabilities stay those of the
            network.

        Raises
        ------
        InputError
            The rows are not the sources of the corrected label map.
        """
        label = np.asarray(table["label"], np.int64)
        kept = ~np.isin(label, np.unique(self.false[self.false > 0]))
        strange = set(label[kept].tolist()) - set(np.unique(self.labels).tolist())
        missing = self.reshaped - set(label.tolist())
        if strange or missing:
            raise InputError(
                f"the catalogue does not hold the corrected sources (label {min(strange | missing)}): sources were "
                "joined or split; measure again with the corrected labels"
            )
        corrected = table[kept]
        said = [self.classes.get(one) for one in label[kept].tolist()]
        old = np.asarray(corrected["morphology"]).astype(str).tolist()
        corrected["morphology"] = np.array([new or before for new, before in zip(said, old, strict=True)], dtype=str)
        corrected["corrected"] = np.array([one is not None for one in said], bool)
        return corrected


@dataclass(frozen=True, eq=False)
class Corrections:
    """Corrections of the sources of one image, and what tells that image and its label map from others.

    Parameters
    ----------
    sources : tuple of Correction
        Each label in one at most.
    image : str
        Name of the image.
    shape : (int, int)
        Its height and width.
    bands : mapping of str to str
        Digest of the pixels of each band (`band_digests`).
    labels_digest : str
        Digest of the label map (`digest_labels`).
    model : str
        Name of the model that found the sources; empty where not known.
    """

    sources: tuple[Correction, ...]
    image: str
    shape: tuple[int, int]
    bands: Mapping[str, str]
    labels_digest: str
    model: str = ""

    def check_image(self, image: SkyImage) -> None:
        """Refuse an image other than that which was corrected.

        Raises
        ------
        InputError
            Its shape, its bands or its pixels are others.
        """
        missing = [band for band in self.bands if band not in image.bands]
        if image.shape != self.shape or missing:
            raise InputError(
                f"{image.name} has {image.shape[0]} x {image.shape[1]} px in {', '.join(image.bands)}; the corrections "
                f"are of {self.image}, {self.shape[0]} x {self.shape[1]} px in {', '.join(self.bands)}"
            )
        found = band_digests(image)
        other = [band for band, digest in self.bands.items() if found[band] != digest]
        if other:
            raise InputError(
                f"{image.name} has other pixels in {', '.join(other)} than {self.image}, which was corrected; give "
                "that file, and read it with the same masks"
            )

    def apply(self, labels: np.ndarray) -> CorrectedSources:
        """Correct a label map.

        Parameters
        ----------
        labels : numpy.ndarray
            int, shape ``(y, x)``: the map that was corrected.

        Raises
        ------
        InputError
            It is another map, or a part lies outside of its source.
        """
        labels = check_labels(labels, self.shape)
        if digest_labels(labels) != self.labels_digest:
            raise InputError(
                f"this is not the label map of {self.image} that was corrected; give the class maps (or the label map) "
                "of the same run as the report"
            )
        corrected, false = labels.copy(), np.zeros_like(labels)
        classes: dict[int, str] = {}
        reshaped: set[int] = set()
        largest = int(labels.max(initial=0))
        for one in self.sources:
            name = min(one.labels)
            here = np.isin(labels, one.labels)
            if one.morphology == NO_SOURCE:
                corrected[here], false[here] = 0, name
                continue
            corrected[here] = name
            names = [name, *range(largest + 1, largest + len(one.parts))]
            if one.parts:
                largest = names[-1]
                corrected[here] = np.array(names, np.int32)[self._nearest(one, labels, *np.nonzero(here))]
            said = [part.morphology for part in one.parts] or [one.morphology]
            classes |= {label: kind for label, kind in zip(names, said, strict=True) if kind}
            if len(one.labels) > 1 or one.parts:
                reshaped |= set(names)
        return CorrectedSources(corrected, classes, false, frozenset(reshaped))

    def _nearest(self, one: Correction, labels: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Part that each pixel is nearest to: int64, shape ``(pixel,)``."""
        for part in one.parts:
            inside = 0 <= part.y < self.shape[0] and 0 <= part.x < self.shape[1]
            if not inside or labels[part.y, part.x] not in one.labels:
                raise InputError(f"corrections of {self.image}: x {part.x}, y {part.y} is no pixel of {one.labels}")
        return np.argmin([(x - part.x) ** 2 + (y - part.y) ** 2 for part in one.parts], axis=0)


def digest_labels(labels: np.ndarray) -> str:
    """SHA-256 of a label map: height and width, then the labels, all as little-endian int32, row after row."""
    found = hashlib.sha256(np.array(labels.shape, "<i4").tobytes())
    found.update(np.ascontiguousarray(labels, "<i4").data)
    return found.hexdigest()


def band_digests(image: SkyImage) -> dict[str, str]:
    """SHA-256 of each band: its pixels as little-endian float32, row after row, 0 where they may not be used."""
    planes = {band: image.data[:, :, index] for index, band in enumerate(image.bands)}
    return {band: hashlib.sha256(np.ascontiguousarray(plane, "<f4").data).hexdigest() for band, plane in planes.items()}
