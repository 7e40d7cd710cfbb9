"""``morpheus simulate``."""

import json
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.options import Command, Count, Number, common, grouped_option, progress_bar


@click.command("simulate", cls=Command, short_help="Simulate fields with truth.")
@grouped_option("--seed", type=Count(0), required=True, help="Seed of the first field; the next have the next.")
@grouped_option("-n", "--count", type=Count(1), default=1, show_default=True, help="How many fields.")
@grouped_option(
    "--shape", type=Count(32, 32768), nargs=2, default=(512, 512), show_default=True, help="Height and width, px."
)
@grouped_option("--pixel-scale", type=Number(0, min_open=True), default=0.06, show_default=True, help="Arcsec.")
@grouped_option("--bands", default="F160W,F125W,F606W,F850LP", show_default=True, help="Filters.")
@grouped_option(
    "--depth", type=Number(0, min_open=True), default=1.0, show_default=True, help="Noise relative to GOODS-S deep."
)
@grouped_option(
    "--conditions",
    type=click.Choice(["plain", "random"]),
    default="plain",
    show_default=True,
    help="Gaussian noise only, or all that training draws.",
)
@grouped_option("--training", is_flag=True, help="Write fields for morpheus train (.npz, without noise).")
@grouped_option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=".", help="Directory.")
@grouped_option("--overwrite", is_flag=True, help="Replace files that exist.")
@common
def command(
    seed: int,
    count: int,
    shape: tuple[int, int],
    pixel_scale: float,
    bands: str,
    depth: float,
    conditions: str,
    training: bool,
    output: Path,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Simulate fields of galaxies and stars: an image and a truth file each.

    The truth holds the label map, the class of every pixel, and a table of what was drawn. With --training: fields
    with more bright sources and evenly mixed classes, which `morpheus train` shows under ever new noise. Needs GalSim
    (pip install 'morpheus-lite[simulation]').
    """
    from morpheus_lite.simulation import simulate, write_training_field

    names = [band.strip().upper() for band in bands.split(",") if band.strip()]
    paths: list[str] = []
    with progress_bar("fields", quiet=quiet) as progress:
        for number in range(count):
            options: dict[str, Any] = {
                "seed": seed + number,
                "shape": shape,
                "pixel_scale": pixel_scale,
                "bands": names,
            }
            if training:
                made = [write_training_field(output, **options, overwrite=overwrite)]
            else:
                made = list(simulate(output, **options, depth=depth, conditions=conditions, overwrite=overwrite))
            if progress:
                progress(number + 1, count)
            paths += map(str, made)
            if not as_json:
                click.echo("\n".join(map(str, made)))
    if as_json:
        click.echo(json.dumps({"products": paths}, indent=2))
    return 0
