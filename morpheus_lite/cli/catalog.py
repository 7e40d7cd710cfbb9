"""``morpheus catalog``."""

import json
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.console import config_option, set_up_logging, verbosity
from morpheus_lite.cli.measuring import measuring_of, measuring_options
from morpheus_lite.cli.reading import image_options, pairs, reading_of
from morpheus_lite.config.classify import COLUMN_NAMES


@click.command("catalog", short_help="Measure the sources of a segmentation map.")
@click.argument("image", required=False, metavar="[IMAGE.fits[EXT]]")
@click.option("--maps", required=True, type=click.Path(path_type=Path), help="Class maps that morpheus classify wrote.")
@click.option("--segmentation", metavar="FILE[EXT]", help="Segmentation map of any tool (default: the one in --maps).")
@click.option("--parents", metavar="FILE[EXT]", help="Segmentation map before deblending.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; its suffix says the format: .ecsv, .fits, .parquet, .csv, .vot.",
)
@image_options
@measuring_options
@click.option(
    "--columns",
    type=click.Choice(COLUMN_NAMES),
    default=COLUMN_NAMES[0],
    show_default=True,
    help="Column naming convention.",
)
@click.option("--overwrite", is_flag=True, help="Replace a catalogue that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@config_option
@verbosity
def command(image: str | None, bands: tuple[str, ...], verbose: int, quiet: bool, as_json: bool, **chosen: Any) -> int:
    """Measure the sources of a segmentation map on IMAGE, without running the network again.

    \b
    morpheus catalog goods.fits --maps goods_morpheus.fits --segmentation sextractor_seg.fits -o goods.fits
    """
    set_up_logging(verbose=verbose, quiet=quiet)
    if bool(image) == bool(bands):
        raise click.UsageError("give IMAGE.fits, or one --band NAME=FILE for each band")
    from morpheus_lite.pipeline.catalog import catalog_file

    table = catalog_file(
        image or pairs("--band", bands),
        chosen["maps"],
        chosen["output"],
        segmentation=chosen["segmentation"],
        parents=chosen["parents"],
        band=chosen["detection_band"],
        columns=chosen["columns"],
        options=measuring_of(chosen),
        reading=reading_of(chosen),
        overwrite=chosen["overwrite"],
    )
    if as_json:
        click.echo(json.dumps({"catalog": str(chosen["output"]), "n_sources": len(table), "columns": table.colnames}))
    else:
        click.echo(f"{chosen['output']}: {len(table)} sources, {len(table.colnames)} columns")
    return 0
