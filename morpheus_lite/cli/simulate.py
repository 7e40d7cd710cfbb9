"""``morpheus simulate``."""

import json
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.options import DIRECTORY, Command, chosen_of, common, grouped_option, options_of, progress_bar
from morpheus_lite.config.tools import SimulateOptions


@click.command("simulate", cls=Command, short_help="Simulate fields with truth.")
@options_of(SimulateOptions, short={"count": "-n"})
@grouped_option("-o", "--output", type=DIRECTORY, default=".", help="Directory.")
@common
def command(output: Path, quiet: bool, as_json: bool, **given: Any) -> int:
    """Simulate fields of galaxies and stars: an image and a truth file each.

    The truth holds the label map, the class of every pixel, and a table of what was drawn. With --training: fields
    with more bright sources and evenly mixed classes, which `morpheus train` shows under ever new noise. Needs GalSim
    (pip install 'morpheus-lite[simulation]').
    """
    from morpheus_lite.simulation import simulate, write_training_field

    chosen = chosen_of(SimulateOptions, given)
    same: dict[str, Any] = {name: getattr(chosen, name) for name in ("shape", "pixel_scale", "overwrite")}
    same["bands"] = [band.upper() for band in chosen.bands]
    paths: list[str] = []
    with progress_bar("fields", quiet=quiet) as progress:
        for number in range(chosen.count):
            seed = chosen.seed + number
            if chosen.training:
                made = [write_training_field(output, seed=seed, **same)]
            else:
                made = list(simulate(output, seed=seed, **same, depth=chosen.depth, conditions=chosen.conditions))
            if progress:
                progress(number + 1, chosen.count)
            paths += map(str, made)
            if not as_json:
                click.echo("\n".join(map(str, made)))
    if as_json:
        click.echo(json.dumps({"products": paths}, indent=2))
    return 0
