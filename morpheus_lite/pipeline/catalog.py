"""The story of a catalogue without the network: image, segmentation map and class maps that exist become a table."""

from pathlib import Path
from typing import Any

from astropy.table import QTable

from morpheus_lite import __version__
from morpheus_lite.catalog import MeasureOptions, measure, sextractor_columns
from morpheus_lite.config.classify import COLUMN_NAMES
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io import read_image, read_maps, write_catalog
from morpheus_lite.io.segmentation_map import read_labels
from morpheus_lite.runtime.atomic import check_writable


def catalog_file(
    source: Any,
    maps: str | Path,
    output: str | Path,
    *,
    segmentation: str | None = None,
    parents: str | None = None,
    band: str | None = None,
    columns: str = "photutils",
    options: MeasureOptions | None = None,
    reading: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> QTable:
    """Measure the sources of a segmentation map, and write the catalogue.

    Parameters
    ----------
    source : path, mapping of band to path, or anything `read_image` takes
        The image.
    maps : path
        Class maps, as `write_maps` wrote them.
    output : path
        The catalogue; its ending says the format.
    segmentation : str, optional
        Segmentation map of any tool; None takes the one beside the class maps.
    parents : str, optional
        Segmentation map before deblending.
    band : str, optional
        Detection band.
    columns : {"photutils", "sextractor"}
        Column naming convention.
    options : MeasureOptions, optional
        What to measure.
    reading : dict, optional
        Keyword arguments of `read_image`.
    overwrite : bool
        Replace a catalogue that exists.

    Returns
    -------
    astropy.table.QTable
        The catalogue as it was written.

    Raises
    ------
    InputError
        A file cannot be read, or shapes disagree.
    OutputError
        The catalogue exists and ``overwrite`` is False.
    """
    if columns not in COLUMN_NAMES:
        raise OptionError(f"columns {columns!r}: choose one of {', '.join(COLUMN_NAMES)}")
    check_writable([Path(output)], overwrite)
    image = read_image(source, **(reading or {}))
    classification, labels, _ = read_maps(maps)
    if segmentation is not None:
        labels = read_labels(segmentation)
    if labels is None:
        raise InputError(f"{maps} holds no segmentation map; give one (--segmentation FILE)")
    classification.provenance.update(catalog={"version": __version__, "maps": str(maps), "image": image.name})
    if segmentation is not None:
        classification.provenance["catalog"]["segmentation"] = segmentation
    table = measure(
        labels,
        image,
        classification,
        band=band,
        parents=None if parents is None else read_labels(parents),
        maps="vote" if classification.vote is not None else "probability",
        options=options,
    )
    table = sextractor_columns(table) if columns == "sextractor" else table
    write_catalog(output, table, overwrite=overwrite)
    return table
