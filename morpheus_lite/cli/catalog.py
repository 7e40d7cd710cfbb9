"""``morpheus catalog``."""

import json
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.options import (
    FILE,
    PATH,
    Command,
    band_option,
    collected,
    common,
    complete_file,
    grouped_option,
    options_of,
)
from morpheus_lite.config.classify import CatalogOptions, ReadOptions
from morpheus_lite.config.schema import chosen, named_values


@click.command("catalog", cls=Command, short_help="Measure the sources of a segmentation map.")
@click.argument("image", required=False, metavar="[IMAGE.fits[EXT]]", shell_complete=complete_file)
@band_option
@options_of(ReadOptions())
@grouped_option(
    "--maps", required=True, type=PATH, metavar="FILE", group="Detection",
    help="Class maps that morpheus classify wrote.",
)  # fmt: skip
@grouped_option(
    "--labels", metavar="FILE[EXT]", group="Detection",
    help="Segmentation map of any tool.  [default: the one in --maps]",
)  # fmt: skip
@grouped_option("--parents", metavar="FILE[EXT]", help="Segmentation map before deblending.", group="Detection")
@grouped_option(
    "-o", "--output", required=True, type=FILE, metavar="FILE", group="Products",
    help="The catalogue: .ecsv, .fits, .parquet, .csv or .vot.",
)  # fmt: skip
@options_of(CatalogOptions())
@common
def catalog_command(
    image: str | None,
    bands: tuple[str, ...],
    maps: Path,
    labels: str | None,
    parents: str | None,
    output: Path,
    *,
    as_json: bool,
    **given: Any,
) -> int:
    """Measure the sources of a segmentation map on IMAGE, without running the network again.

    \b
    morpheus catalog goods.fits --maps goods_morpheus.fits --labels sextractor_seg.fits -o goods.fits
    """
    if bool(image) == bool(bands):
        raise click.UsageError("give IMAGE.fits, or one --band NAME=FILE for each band")
    options, reading = collected(CatalogOptions(), given), chosen(collected(ReadOptions(), given))
    from morpheus_lite.pipeline.catalog import catalog_file

    source = image or named_values("--band", bands)
    table = catalog_file(source, maps, output, options, labels=labels, parents=parents, read_options=reading)
    if as_json:
        click.echo(json.dumps({"catalog": str(output), "n_sources": len(table), "columns": table.colnames}))
    else:
        click.echo(f"{output}: {len(table)} sources, {len(table.colnames)} columns")
    return 0
