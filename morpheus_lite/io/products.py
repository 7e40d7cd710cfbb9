"""What is in a product, and how it was made."""

from pathlib import Path
from typing import Any

import numpy as np

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError
from morpheus_lite.io.fitsfile import is_image, open_fits, read_section
from morpheus_lite.io.run_header import run_of_header
from morpheus_lite.io.tables import CATALOG_FORMATS, read_catalog


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
        the file has none; ``contents``: lines of text, one a plane or column.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in CATALOG_FORMATS and suffix != ".fits":
        run, contents = _describe_table(path)
    else:
        run, contents = _describe_fits(path)
    return {"file": str(path), "run": _flat(run), "contents": contents}


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
    with open_fits(str(path)) as hdus:
        run = run_of_header(hdus[0].header)
        for number, hdu in enumerate(hdus):
            if is_image(hdu):
                shape = " x ".join(str(length) for length in hdu.shape)
                meaning = str(hdu.header.get("CONTENT", ""))
                lines.append(f"{hdu.name or f'HDU {number}'}: {shape} px (y, x){', ' + meaning if meaning else ''}")
            if hdu.name == "SEGMENTATION":
                labels = read_section(hdu, (), Window(0, 0, *hdu.shape))
                lines[-1] += f", {len(np.unique(labels[labels > 0]))} sources"
        has_table = any(getattr(hdu, "columns", None) is not None for hdu in hdus)
    if has_table and not lines:
        return _describe_table(path)
    if not lines:
        raise InputError(f"{path} holds neither maps ({', '.join(CLASSES)}) nor a catalogue")
    return run, lines


def _flat(run: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in run.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
