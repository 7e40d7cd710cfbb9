"""Files of corrections: the JSON that the report saves."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from morpheus_lite.core.classes import CLASSES, SOURCE_CLASSES
from morpheus_lite.core.corrections import (
    NO_SOURCE,
    Correction,
    Corrections,
    SourcePart,
    band_digests,
    digest_labels,
)
from morpheus_lite.core.image import SkyImage
from morpheus_lite.errors import InputError, reason_of
from morpheus_lite.runtime.atomic import atomic_write

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
        raise InputError(f"{path}: no file of corrections ({reason_of(error)}); the report saves them") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f'{path}: no file of corrections: expected "format": "{FORMAT}"; the report saves them')
    if values.get("version") != VERSION:
        raise InputError(f"{path}: version {values.get('version')!r} of the format; this package reads {VERSION}")
    try:
        image = values["image"]
        height, width = map(_whole, image["shape"])
        return Corrections(
            _sources(values["sources"]),
            _text(image["name"]),
            (height, width),
            {_text(band): _text(digest) for band, digest in image["bands"].items()},
            _text(values["labels"]),
            _text(values.get("model", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not what the report saves: {reason_of(error)}") from error


def _to_json(one: Correction) -> dict[str, Any]:
    if one.parts:
        parts = [{"x": part.x, "y": part.y, "class": part.morphology} for part in one.parts]
        return {"labels": list(one.labels), "parts": parts}
    return {"labels": list(one.labels), "class": one.morphology}


def _sources(values: list[Any]) -> tuple[Correction, ...]:
    sources = tuple(_source(value) for value in values)
    labels = sorted(label for one in sources for label in one.labels)
    twice = [label for label, following in pairwise(labels) if label == following]
    if twice:
        raise ValueError(f"label {twice[0]} is in two corrections; expected it in one")
    return sources


def _source(value: dict[str, Any]) -> Correction:
    labels = tuple(_whole(label) for label in value["labels"])
    parts = tuple(
        SourcePart(_whole(p["x"]), _whole(p["y"]), _kind(p.get("class"), SOURCE_CLASSES))
        for p in value.get("parts", ())
    )
    one = Correction(labels, _kind(value.get("class"), CLASSES), parts)
    if not labels or min(labels) < 1:
        raise ValueError(f"labels {list(labels)}: expected whole numbers from 1 on")
    if len(parts) == 1 or len({(part.x, part.y) for part in parts}) < len(parts):
        raise ValueError(f"parts of label {labels[0]}: expected two or more, at different pixels")
    if parts and one.morphology is not None:
        raise ValueError(f"label {labels[0]}: expected a class, or parts with a class each")
    if not parts and len(labels) == 1 and one.morphology is None:
        raise ValueError(f"label {labels[0]}: expected a class, parts, or other labels to join it with")
    return one


def _kind(value: Any, known: tuple[str, ...]) -> str | None:
    if value is not None and value not in known:
        allowed = [f"{one} (no source)" if one == NO_SOURCE else one for one in known]
        raise ValueError(f"class {value!r}: expected {', '.join(allowed)}, or null")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r}: expected a whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r}: expected a text")
    return value
