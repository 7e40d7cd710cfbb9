"""The record of a run in a FITS header: cards for people, and the whole of it as JSON for programs."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from astropy.io import fits

RECORD = "MORPHRUN"
"""Keyword of the whole record, as JSON."""

_RESERVED = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "END", "COMMENT", "HISTORY", "CONTINUE", "HIERARCH")
_MAX_TEXT = 200


def header_of_run(provenance: Mapping[str, Any]) -> fits.Header:
    """Cards that record a run.

    Parameters
    ----------
    provenance : mapping
        Text, numbers, and mappings or lists of these; anything else is recorded as text.

    Returns
    -------
    astropy.io.fits.Header
        One card a value, the path to it in the comment, long texts cut, what is not ASCII escaped; of values whose
        keywords would be the same, the first has a card. The card `RECORD` holds all of it.

    Examples
    --------
    >>> header_of_run({"model": "hausen2020", "options": {"stride": 3}})["STRIDE"]
    3
    """
    record = plain(provenance)
    header = fits.Header()
    for path, value in leaves(record):
        keyword, length = _keyword(path)
        if keyword.removeprefix("HIERARCH ") in header:
            continue
        is_plain = isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
        text = value if is_plain else _printable("none" if value is None else str(value), length)
        comment = _printable(".".join(path), 24) if length > 20 and len(repr(text)) < 36 else ""
        header[keyword] = text, comment
    # An apostrophe before a slash is read back as the end of the text and the start of a comment.
    header[RECORD] = json.dumps(record, ensure_ascii=True, allow_nan=True).replace("'", r"\u0027")
    return header


def run_of_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance that `header_of_run` recorded; empty where there is none."""
    try:
        record = json.loads(header.get(RECORD, "{}"))
    except (TypeError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def plain(value: Any) -> Any:
    """A value made of what JSON knows: mappings, lists, text, numbers, booleans and None.

    Bytes of file names that are no text are escaped.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | list | tuple | set | frozenset):
        return [plain(one) for one in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value).encode(errors="backslashreplace").decode()


def leaves(record: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value of nested mappings with the keys that lead to it."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _keyword(path: tuple[str, ...]) -> tuple[str, int]:
    """Keyword of a value, and how long its text may be."""
    last = _letters(path[-1])
    if len(last) <= 8 and not last.startswith((*_RESERVED, RECORD)):
        return last, _MAX_TEXT
    # A HIERARCH card cannot be continued: keyword and value share 80 characters.
    return "HIERARCH MORPHEUS " + " ".join(_letters(part) for part in path)[:36].strip(), 16


def _letters(text: str) -> str:
    return re.sub(r"[^A-Z0-9_-]", "_", text.upper()) or "_"


def _printable(text: str, length: int) -> str:
    text = text.encode("ascii", "backslashreplace").decode().replace("'", "`")
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= length else text[: length - 3] + "..."
