"""``morpheus train``."""

import json
from pathlib import Path

import click

from morpheus_lite.cli.options import DIRECTORY, FILE, Command, common, complete_file, grouped_option
from morpheus_lite.errors import OptionError
from morpheus_lite.models.engines import import_tensorflow_quietly

CURVES = "training_curves.png"
"""Picture of the log, in the directory of the run and in that of the weights."""


@click.command("train", cls=Command, short_help="Train or fine-tune a network.")
@click.argument("source", metavar="CONFIG.toml|IMAGE", shell_complete=complete_file)
@grouped_option("--corrections", type=FILE, help="Corrections that the report saved; the argument is then the image.")
@grouped_option("--labels", metavar="FILE", help="With --corrections: class maps of the run.  [default: found]")
@grouped_option("--start", metavar="MODEL", help="With --corrections: model to fine-tune.  [default: that of the run]")
@grouped_option(
    "--run", "run_directory", type=DIRECTORY,
    help="Checkpoints and log, from which it goes on.  [default: run or OUTPUT_run]",
)  # fmt: skip
@grouped_option(
    "-o", "--output", type=DIRECTORY, required=True, help="Directory of the weights, which --model then takes."
)
@common
def train_command(
    source: str,
    corrections: Path | None,
    labels: str | None,
    start: str | None,
    run_directory: Path | None,
    output: Path,
    *,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train the network that CONFIG.toml describes, and write its weights directory.

    On simulated fields, on observed images with labels and classes, or on both; from random numbers, or from a model
    that there is (fine-tuning). With --corrections FILE IMAGE, fine-tune a model with what a person corrected in its
    report of the image, and say what got better on sources that were held out.
    """
    if corrections is None and (labels is not None or start is not None):
        raise OptionError("--labels and --start go with --corrections; a CONFIG.toml says both itself")
    run_directory = run_directory or (Path("run") if corrections is None else output.with_name(f"{output.name}_run"))
    import_tensorflow_quietly()
    from morpheus_lite.training import read_config
    from morpheus_lite.training.config import configure
    from morpheus_lite.training.export import TRAINING_LOG, export
    from morpheus_lite.training.fit import train
    from morpheus_lite.training.source_scores import improvement
    from morpheus_lite.visualization.plots.figures import save_training_curves

    def report(row: dict) -> None:
        save_training_curves(run_directory / TRAINING_LOG, run_directory / CURVES)
        if not quiet:
            click.echo("  ".join(f"{key} {value:.4g}" for key, value in row.items()), err=True)

    settings = configure(corrections, source, labels=labels, start=start) if corrections else read_config(source)
    train(settings, run_directory, progress=report)
    info = export(settings, run_directory, output)
    better = improvement(run_directory, info.settings["step"]) if settings.start else None
    save_training_curves(run_directory / TRAINING_LOG, output / CURVES)
    if as_json:
        told = {} if better is None else {"held_out": better.to_dict()}
        click.echo(json.dumps({"weights": str(output), "run": str(run_directory)} | told))
        return 0
    if better is not None and not quiet:
        click.echo(better)
    click.echo(output)
    return 0
