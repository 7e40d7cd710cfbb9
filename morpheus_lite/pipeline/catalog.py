"""The story of a catalogue without the network: image, segmentation map and class maps that exist become a table."""

from pathlib import Path
from typing import Any

from astropy.table import QTable

from morpheus_lite import __version__
from morpheus_lite.catalog import measure, sextractor_columns
from morpheus_lite.config.classify import CatalogOptions
from morpheus_lite.errors import InputError
from morpheus_lite.io import read_image, read_maps, write_catalog
from morpheus_lite.io.source_tables import read_labels
from morpheus_lite.io.wcs import check_alignment
from morpheus_lite.pipeline.plan import read_psf_files
from morpheus_lite.runtime.atomic import check_writable


def catalog_file(
    source: Any,
    maps: str | Path,
    output: str | Path,
    options: CatalogOptions | None = None,
    *,
    labels: str | None = None,
    parents: str | None = None,
    read_options: dict[str, Any] | None = None,
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
    options : CatalogOptions, optional
        What to measure and how to write it.
    labels : str, optional
        Segmentation map of any tool; None takes the one beside the class maps.
    parents : str, optional
        Segmentation map before deblending.
    read_options : dict, optional
        Keyword arguments of `read_image`.

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
    options = read_psf_files(options or CatalogOptions())
    check_writable([Path(output)], options.overwrite)
    image = read_image(source, **(read_options or {}))
    classification, segmentation, _ = read_maps(maps)
    if classification.shape == image.shape:
        check_alignment([image.wcs, classification.wcs], image.shape, [image.name, str(maps)])
    if labels is not None:
        segmentation = read_labels(labels, image.wcs)
    if segmentation is None:
        raise InputError(f"{maps} holds no segmentation map; give one (--labels FILE)")
    classification.provenance.update(catalog={"version": __version__, "maps": str(maps), "image": image.name})
    if labels is not None:
        classification.provenance["catalog"]["labels"] = labels
    table = measure(
        segmentation,
        image,
        classification,
        band=options.detection_band,
        parents=None if parents is None else read_labels(parents, image.wcs),
        options=options.measuring,
    )
    table = sextractor_columns(table) if options.columns == "sextractor" else table
    write_catalog(table, output, overwrite=options.overwrite)
    return table
