"""Corrections that a person made to the sources of an image, and the JSON files in which the report saves them."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable

from morpheus_lite.config.schema import CheckedOptions, option
from morpheus_lite.core.classes import BACKGROUND, CLASSES, SOURCE_CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import check_labels
from morpheus_lite.errors import InputError, OptionError, reason_of
from morpheus_lite.runtime.atomic import atomic_write

NO_SOURCE = CLASSES[BACKGROUND]
"""Class of a source that is none."""


@dataclass(frozen=True)
class SourcePart(CheckedOptions):
    """One part of a source that was split: the pixels that are nearest to this one.

    Parameters
    ----------
    x, y : int
        A pixel of the source, 0-based. Of pixels as far from two parts the first part has them.
    morphology : str or None
        Its class; None where nobody said.
    """

    x: int = option(low=0)
    y: int = option(low=0)
    morphology: str | None = option(None, choices=SOURCE_CLASSES)


@dataclass(frozen=True)
class Correction(CheckedOptions):
    """Correction by a person of one source, or of several that are one.

    Parameters
    ----------
    labels : tuple of int
        Its labels; more than one are joined.
    morphology : str or None
        Its class; `NO_SOURCE` where there is none, None where nobody said.
    parts : tuple of SourcePart
        Two or more where it was split.

    Raises
    ------
    OptionError
        A value is impossible, or it says nothing.
    """

    labels: tuple[int, ...] = option(low=1, length=(1, None))
    morphology: str | None = option(None, choices=CLASSES)
    parts: tuple[SourcePart, ...] = option(())

    def __post_init__(self) -> None:
        super().__post_init__()
        label = self.labels[0]
        if len(self.parts) == 1 or len({(part.x, part.y) for part in self.parts}) < len(self.parts):
            raise OptionError(f"parts of label {label}: expected two or more, at different pixels")
        if self.parts and self.morphology is not None:
            raise OptionError(f"label {label}: expected a class, or parts with a class each")
        if not self.parts and len(self.labels) == 1 and self.morphology is None:
            raise OptionError(f"label {label}: expected a class, parts, or other labels to join it with")


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
class Corrections(CheckedOptions):
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

    sources: tuple[Correction, ...] = option()
    image: str = option()
    shape: tuple[int, int] = option(low=1)
    bands: Mapping[str, str] = option()
    labels_digest: str = option()
    model: str = option("")

    def __post_init__(self) -> None:
        super().__post_init__()
        (label, count), *_ = Counter(label for one in self.sources for label in one.labels).most_common(1) or [(0, 0)]
        if count > 1:
            raise OptionError(f"label {label} is in two corrections; expected it in one")

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
                raise InputError(f"corrections of {self.image}: x {part.x}, y {part.y} is not a pixel of {one.labels}")
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


FORMAT = "morpheus_lite corrections"
VERSION = 1


def correction_header(image: SkyImage, labels: np.ndarray, model: str) -> dict[str, Any]:
    """Head of a file of corrections, beside the sources: format, image, label map and model."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "image": {"name": image.title, "shape": list(image.shape), "bands": band_digests(image)},
        "labels": digest_labels(labels),
        "model": model,
    }


def write_corrections(
    sources: Iterable[Correction],
    image: SkyImage,
    labels: np.ndarray,
    path: str | Path,
    *,
    model: str = "",
    overwrite: bool = False,
) -> Path:
    """Write corrections as the report saves them.

    Parameters
    ----------
    sources : iterable of Correction
        What was corrected.
    image : SkyImage
        The image.
    labels : numpy.ndarray
        int, shape ``(y, x)``: its label map, uncorrected.
    path : path
        The file, ``*.json``.
    model : str
        Name of the model that found the sources.
    overwrite : bool
        Replace a file that exists.
    """
    rows = [_to_json(one) for one in sources]
    text = json.dumps(correction_header(image, labels, model) | {"sources": rows}, indent=1)
    with atomic_write(path, overwrite=overwrite) as partial:
        partial.write_text(text, encoding="utf-8")
    return Path(path)


def read_corrections(path: str | Path) -> Corrections:
    """Read corrections that the report saved.

    Parameters
    ----------
    path : path
        The file, ``*.json``.

    Returns
    -------
    Corrections
        Of one image and one label map.

    Raises
    ------
    InputError
        The file cannot be read, is something else, or says what cannot be.
    """
    try:
        values = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a file of corrections ({reason_of(error)}); the report saves them") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f'{path}: not a file of corrections: expected "format": "{FORMAT}"; the report saves them')
    if values.get("version") != VERSION:
        raise InputError(f"{path}: version {values.get('version')!r} of the format; this package reads {VERSION}")
    try:
        image = values["image"]
        sources = tuple(_of_json(one) for one in values["sources"])
        return Corrections(
            sources, image["name"], image["shape"], image["bands"], values["labels"], values.get("model", "")
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not what the report saves: {reason_of(error)}") from error


def _to_json(one: Correction) -> dict[str, Any]:
    parts = [{"x": part.x, "y": part.y, "class": part.morphology} for part in one.parts]
    return {"labels": list(one.labels), **({"parts": parts} if parts else {"class": one.morphology})}


def _of_json(value: dict[str, Any]) -> Correction:
    parts = tuple(SourcePart(part["x"], part["y"], part.get("class")) for part in value.get("parts", ()))
    return Correction(value["labels"], value.get("class"), parts)
