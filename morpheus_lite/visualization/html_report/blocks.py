"""Arrays and texts as they are put into an HTML page: compressed, in base64, and safe inside a script element."""

import base64
import datetime
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

_MAX_DEPTH = 12


def pack(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, dict[str, Any]], str]:
    """Arrays as one compressed text.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        Arrays of integers, floats (2 to 8 bytes an item at most for floats: 4 or 8) or booleans.

    Returns
    -------
    index : dict
        For each name: ``dtype`` (``"u1"``, ``"i2"``, ``"f4"``, ...), ``shape``, and ``offset`` in bytes.
    text : str
        base64 of the zlib stream of all the arrays, C-ordered and little-endian; the bytes of an array are
        shuffled (all first bytes, then all second bytes, ...), which halves the size of smooth data.
    """
    index, parts, offset = {}, [], 0
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        if array.dtype == bool:
            array = array.view(np.uint8)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        index[name] = {"dtype": array.dtype.str[1:], "shape": list(array.shape), "offset": offset}
        shuffled = array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize).T
        parts.append(np.ascontiguousarray(shuffled).tobytes())
        offset += array.nbytes
    return index, base64.b64encode(zlib.compress(b"".join(parts), 4)).decode("ascii")


def script_json(value: Any) -> str:
    """JSON that may stand inside a ``<script>`` element whatever the strings hold.

    Every ``<``, ``>`` and ``&`` becomes an escape, so neither ``</script>`` nor ``<!--`` can appear.

    Examples
    --------
    >>> script_json({"OBJECT": "</script>"})
    '{"OBJECT":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(plain_json(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plain_json(value: Any, depth: int = 0) -> Any:
    """A value as JSON can hold it: numbers, strings, lists and dicts; None for a number that is not finite.

    Anything else becomes its ``str``; nesting beyond a dozen levels too.
    """
    if isinstance(value, np.ndarray | np.generic) and not hasattr(value, "unit"):
        value = value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode("utf-8")
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, PurePath) or depth >= _MAX_DEPTH:
        return plain_json(str(value))
    if isinstance(value, Mapping):
        return {plain_json(str(key)): plain_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_json(item, depth + 1) for item in value]
    return plain_json(str(value))
