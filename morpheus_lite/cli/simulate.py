"""``morpheus simulate``."""

from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.console import Count, Number


@click.command("simulate", short_help="Simulate fields with truth.")
@click.option("--seed", type=Count(0), required=True, help="Seed of the first field; the next have the next.")
@click.option("-n", "--count", type=Count(1), default=1, show_default=True, help="How many fields.")
@click.option(
    "--shape", type=Count(32, 32768), nargs=2, default=(512, 512), show_default=True, help="Height and width, px."
)
@click.option("--pixel-scale", type=Number(0, min_open=True), default=0.06, show_default=True, help="Arcsec.")
@click.option(
    "--bands", default="F160W,F125W,F606W,F850LP", show_default=True, help="Filters of HST, JWST, Euclid, ground."
)
@click.option(
    "--depth",
    type=Number(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Noise relative to GOODS-S deep.",
)
@click.option(
    "--conditions",
    type=click.Choice(["plain", "random"]),
    default="plain",
    show_default=True,
    help="Gaussian noise only, or all that is drawn for training.",
)
@click.option(
    "--training", is_flag=True, help="Write fields for `morpheus train` (.npz, without noise) instead of images."
)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=".", help="Directory.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
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
) -> int:
    """Simulate fields of galaxies and stars: an image and a truth file each.

    The truth holds the label map, the class of every pixel, and a table of what was drawn. With --training: fields
    with more bright sources and evenly mixed classes, which `morpheus train` shows under ever new noise. Needs GalSim
    (pip install 'morpheus-lite[simulation]').
    """
    from morpheus_lite.simulation import simulate, write_training_field

    names = [band.strip().upper() for band in bands.split(",") if band.strip()]
    for number in range(seed, seed + count):
        options: dict[str, Any] = {"seed": number, "shape": shape, "pixel_scale": pixel_scale, "bands": names}
        if training:
            click.echo(write_training_field(output, **options, overwrite=overwrite))
            continue
        for path in simulate(output, **options, depth=depth, conditions=conditions, overwrite=overwrite):
            click.echo(path)
    return 0
