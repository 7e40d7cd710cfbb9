"""``morpheus train``."""

from pathlib import Path

import click

from morpheus_lite.cli.console import set_up_logging, start_network, verbosity


@click.command("train", short_help="Train or fine-tune a network.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path), metavar="CONFIG.toml")
@click.option(
    "--run",
    "run_directory",
    type=click.Path(file_okay=False, path_type=Path),
    default="run",
    show_default=True,
    help="Checkpoints and log; a run that was interrupted goes on from there.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory of the weights, which --model then takes.",
)
@verbosity
def command(config: Path, run_directory: Path, output: Path, verbose: int, quiet: bool) -> int:
    """Train the network that CONFIG.toml describes on simulated fields, and write its weights directory."""
    set_up_logging(verbose=verbose, quiet=quiet)
    start_network()
    from morpheus_lite.training import read_config
    from morpheus_lite.training.export import export
    from morpheus_lite.training.fit import train

    def report(row: dict) -> None:
        if not quiet:
            click.echo("  ".join(f"{key} {value:.4g}" for key, value in row.items()), err=True)

    settings = read_config(config)
    train(settings, run_directory, progress=report)
    export(settings, run_directory, output)
    click.echo(output)
    return 0
