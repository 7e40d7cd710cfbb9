"""Description of a product: its content, and how it was made."""

from pathlib import Path
from typing import Any

import numpy as np

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, reading
from morpheus_lite.io.fitsfile import Location, is_image, leaves, open_fits, read_section, run_of_header
from morpheus_lite.io.reader import open_image
from morpheus_lite.io.tables import TABLE_FORMATS, read_catalog


def describe_product(path: str | Path) -> dict[str, Any]:
    """Describe a file of class maps, a catalogue, or any FITS file.

    Parameters
    ----------
    path : path
        The product.

    Returns
    -------
    dict
        ``file``: the path as text; ``run``: the record of the run, nested options flattened with dots, empty when
        the file has none; ``contents``: lines of text, one per plane or column. Of an image, ``bands`` says how
        `open_image` reads it: by band, ``unit``, ``zero_point``, ``zero_point_source``, ``zero_point_system``,
        ``noise`` and ``origin``; or ``problem`` why it cannot be read.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    file = Path(Location.parse(path).path)
    is_fits = file.suffix.lower() not in TABLE_FORMATS or file.suffix.lower() == ".fits"
    run, contents = _describe_fits(file) if is_fits else _describe_table(file)
    flat = {".".join(map(str, keys)): value for keys, value in leaves(run)}
    record = {"file": str(path), "run": flat, "contents": contents}
    return record if run else record | _describe_image(str(path))


def _describe_image(path: str) -> dict[str, Any]:
    """Describe a file as `open_image` reads it."""
    try:
        with open_image(path) as source:
            scale, bands = source.pixel_scale, source.described
    except InputError as error:
        return {"problem": str(error).splitlines()[0]}
    described = {
        str(band.name): {
            "origin": str(band.data),
            "unit": band.unit,
            "zero_point": None if band.zero_point is None else round(band.zero_point, 4),
            "zero_point_source": band.meta.get("zero_point_source"),
            "zero_point_system": band.meta.get("zero_point_system"),
            "noise": [f"{noise.kind}: {noise.plane}" for noise in band.noise],
            "masks": [str(mask.plane) for mask in band.masks],
        }
        for band in bands
    }
    return {"pixel_scale": None if scale is None else round(scale, 5), "bands": described}


def _describe_table(path: Path) -> tuple[dict[str, Any], list[str]]:
    table = read_catalog(path)
    lines = [f"{len(table)} sources, {len(table.columns)} columns"]
    for column in table.itercols():
        unit = f" [{column.info.unit}]" if column.info.unit else ""
        description = f": {column.info.description}" if column.info.description else ""
        lines.append(f"{column.info.name}{unit}{description}")
    return dict(table.meta), lines


def _describe_fits(path: Path) -> tuple[dict[str, Any], list[str]]:
    lines = []
    with reading(path), open_fits(str(path)) as hdus:
        run = run_of_header(hdus[0].header)
        for number, hdu in enumerate(hdus):
            if not is_image(hdu):
                continue
            parts = [" x ".join(str(length) for length in hdu.shape) + " px (y, x)", str(hdu.header.get("CONTENT", ""))]
            if hdu.name == "SEGMENTATION":
                labels = read_section(hdu, (), Window(0, 0, *hdu.shape))
                parts.append(f"{len(np.unique(labels[labels > 0]))} sources")
            lines.append(f"{hdu.name or f'HDU {number}'}: {', '.join(filter(None, parts))}")
        has_table = any(getattr(hdu, "columns", None) is not None for hdu in hdus)
    if has_table and not lines:
        return _describe_table(path)
    if not lines:
        raise InputError(f"{path} holds neither maps ({', '.join(CLASSES)}) nor a catalogue")
    return run, lines
