"""``morpheus calibrate``."""

import json
from pathlib import Path

import click

from morpheus_lite.cli.options import Command, Count, common, grouped_option


@click.command("calibrate", cls=Command, short_help="Fit a calibration of the probabilities.")
@grouped_option(
    "--truth", "truths", multiple=True, required=True, type=click.Path(path_type=Path), help="Truth file; one a result."
)
@click.argument("results", nargs=-1, required=True, metavar="RESULT...", type=click.Path(path_type=Path))
@grouped_option(
    "--bias",
    type=click.Choice(["none", "sky", "classes"]),
    default="sky",
    show_default=True,
    help="What to fit beside the temperature.",
)
@grouped_option("--seed", type=Count(0), default=0, show_default=True, help="Which pixels are drawn.")
@common
def command(truths: tuple[Path, ...], results: tuple[Path, ...], bias: str, seed: int) -> int:
    """Fit a calibration to fields with truth that the model was not trained on, and print it as JSON.

    It goes into "settings" of the model's config.json under "calibration".
    """
    from morpheus_lite.evaluation import calibrate_files

    click.echo(json.dumps(calibrate_files(truths, results, bias=bias, seed=seed).to_dict(), indent=2))
    return 0
