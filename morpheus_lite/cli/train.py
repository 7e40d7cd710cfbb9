"""``morpheus train``."""

import json
from pathlib import Path

import click

from morpheus_lite.cli.options import Command, common, grouped_option
from morpheus_lite.models.engines import import_tensorflow_quietly

CURVES = "training_curves.png"
"""Picture of the log, in the directory of the run and in that of the weights."""


@click.command("train", cls=Command, short_help="Train or fine-tune a network.")
@click.argument("training", type=click.Path(dir_okay=False, path_type=Path), metavar="CONFIG.toml")
@grouped_option(
    "--run",
    "run_directory",
    type=click.Path(file_okay=False, path_type=Path),
    default="run",
    show_default=True,
    help="Checkpoints, log and curves, from which a run goes on.",
)
@grouped_option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory of the weights, which --model then takes.",
)
@common
def command(training: Path, run_directory: Path, output: Path, quiet: bool, as_json: bool) -> int:
    """Train the network that CONFIG.toml describes, and write its weights directory.

    On simulated fields, on observed images with labels and classes, or on both; from random numbers, or from a model
    that there is (fine-tuning).
    """
    import_tensorflow_quietly()
    from morpheus_lite.training import read_config
    from morpheus_lite.training.export import TRAINING_LOG, export
    from morpheus_lite.training.fit import train
    from morpheus_lite.visualization.plots.curves import save_training_curves

    def report(row: dict) -> None:
        save_training_curves(run_directory / TRAINING_LOG, run_directory / CURVES)
        if not quiet:
            click.echo("  ".join(f"{key} {value:.4g}" for key, value in row.items()), err=True)

    settings = read_config(training)
    train(settings, run_directory, progress=report)
    export(settings, run_directory, output)
    save_training_curves(run_directory / TRAINING_LOG, output / CURVES)
    click.echo(json.dumps({"weights": str(output), "run": str(run_directory)}) if as_json else output)
    return 0
