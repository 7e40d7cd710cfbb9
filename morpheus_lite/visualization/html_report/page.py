"""One HTML file that shows a run: picture, class maps, catalogue and summary, without a server or the network."""

import base64
import hashlib
import html
import json
import math
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from astropy.table import QTable, Table

from morpheus_lite import __version__
from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.core.image import SkyImage, reference_band_of
from morpheus_lite.core.labels import check_labels
from morpheus_lite.errors import InputError, expect
from morpheus_lite.io.corrections import correction_header
from morpheus_lite.runtime.atomic import atomic_write, check_writable
from morpheus_lite.visualization.colours import field_rgb, hex_colours
from morpheus_lite.visualization.html_report.layers import class_planes, field_tiles, pixel_values, sky_grid
from morpheus_lite.visualization.html_report.sources import label_runs, outline_arrays, table_columns, unit_text

SCRIPTS = (
    "data.js", "sky.js", "layers.js", "overlays.js", "viewer.js", "gestures.js", "filter.js", "table.js", "charts.js",
    "panels.js", "correct.js", "app.js",
)  # fmt: skip
"""The page's scripts in the order in which they run."""


def write_report(
    image: SkyImage,
    classification: Classification,
    labels: np.ndarray,
    table: QTable,
    path: str | Path,
    *,
    overwrite: bool = False,
    is_reduced: bool = False,
    run: Mapping[str, Any] | None = None,
) -> Path:
    """Write the report of a run: one HTML file that needs nothing else.

    Parameters
    ----------
    image : SkyImage
        The image.
    classification : Classification
        Its class maps.
    labels : numpy.ndarray
        int, shape ``(y, x)``: the segmentation map; 0 and below is sky.
    table : astropy.table.QTable
        The catalogue: ``label``, and whatever other columns it has. ``x_centroid, y_centroid`` place a source,
        ``morphology`` colours it.
    path : path
        The file, usually ``*.html``.
    overwrite : bool
        Replace a file that exists.
    is_reduced : bool
        The arrays are block means of larger ones, so that corrections made on the page would fit no label map: it
        offers none.
    run : mapping, optional
        What to tell of the run: ``timings`` (stage to seconds), ``warnings`` (list of str) and anything else, nested
        as it comes.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    InputError
        The shapes of image, class maps and labels disagree, labels are not integers, or the table has no ``label``.
    OutputError
        The file exists and ``overwrite`` is False, or cannot be written.

    Notes
    -----
    Large layers are held as block means (`~morpheus_lite.visualization.html_report.layers`); the page says which.
    Nothing in the file is taken for markup: every text of the input is data, and the content security policy allows
    the page's own script (by its hash) and no connection at all.
    """
    for value, kind in ((image, SkyImage), (classification, Classification), (table, Table)):
        expect(value, kind, "write_report")
    check_writable([path], overwrite)
    labels = check_labels(labels, image.shape)
    if classification.shape != image.shape:
        raise InputError(
            f"{image.name}: class maps of shape {classification.shape} do not fit the image of shape {image.shape}"
        )
    if "label" not in table.colnames:
        raise InputError(f"{image.name}: the catalogue has no column label: it has {', '.join(table.colnames)}")
    row_labels = np.asarray(table["label"], dtype=np.int64)
    blocks: dict[str, str] = {}
    payload = _summary(image, classification, run or {})
    model = str(classification.provenance.get("model", ""))
    payload["corrections"] = None if is_reduced else correction_header(image, labels, model)
    payload["field"], tiles = field_tiles(field_rgb(image))
    blocks |= {f"field-{number}": tile for number, tile in enumerate(tiles)}
    columns, arrays, left_out = table_columns(table)
    band = reference_band_of(table.meta) or None
    about = {"n_rows": len(table), "columns": columns, "left_out": left_out, "reference_band": band}
    layers = {
        "classmap": class_planes(classification),
        "values": pixel_values(image),
        "sources": ({}, label_runs(labels, row_labels) | outline_arrays(labels, row_labels)),
        "table": (about, arrays),
        "sky": sky_grid(image.wcs, image.shape),
    }
    for name, layer in layers.items():
        payload[name] = None
        if layer is not None:
            index, blocks[name] = pack(layer[1])
            payload[name] = {**layer[0], "index": index}
    with atomic_write(path, overwrite=overwrite) as partial:
        page = _assemble(f"Morpheus: {image.title}", payload, blocks)
        partial.write_text(page, encoding="utf-8", newline="\n")
    return Path(path)


def _summary(image: SkyImage, classification: Classification, run: Mapping[str, Any]) -> dict[str, Any]:
    """Content of the page beside arrays."""
    bands = zip(image.bands, map(unit_text, image.units), image.zero_points, strict=True)
    return {
        "title": image.title,
        "version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "shape": list(image.shape),
        "classes": CLASSES,
        "palettes": {name: list(hex_colours(name).values()) for name in ("legible", "paper")},
        "bands": [{"name": band, "unit": unit, "zero_point": zero_point} for band, unit, zero_point in bands],
        "flags": {str(int(flag)): str(flag.name).lower() for flag in SourceFlag},
        "run": {**classification.provenance, **run},
        "image": image.meta,
        "invalid_fraction": float(1 - np.mean(classification.valid)),
        "unclassified_fraction": float(1 - np.mean(classification.classified)),
    }


def _assemble(title: str, payload: Mapping[str, Any], blocks: Mapping[str, str]) -> str:
    folder = resources.files(__package__)
    style = folder.joinpath("style.css").read_text("utf-8")
    body = "\n".join(folder.joinpath(name).read_text("utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{body}\n}})();\n'
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src blob: data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "title": html.escape(title),
        "policy": html.escape(policy, quote=True),
        "style": style,
        "script": script,
        "payload": script_json(payload),
        "blocks": "\n".join(
            f'<script type="application/octet-stream" id="block-{name}">{text}</script>'
            for name, text in blocks.items()
        ),
    }
    template = folder.joinpath("template.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


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
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, PurePath) or depth >= _MAX_DEPTH:
        return plain_json(str(value))
    if isinstance(value, Mapping):
        return {plain_json(str(key)): plain_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_json(item, depth + 1) for item in value]
    return plain_json(str(value))
