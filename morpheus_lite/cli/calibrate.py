"""``morpheus calibrate``."""

import json
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.options import PATH, Command, chosen_of, common, grouped_option, options_of
from morpheus_lite.config.tools import CalibrateOptions


@click.command("calibrate", cls=Command, short_help="Fit a calibration of the probabilities.")
@grouped_option("--truth", "truths", multiple=True, required=True, type=PATH, help="Truth file; one a result.")
@click.argument("results", nargs=-1, required=True, metavar="RESULT...", type=PATH)
@options_of(CalibrateOptions)
@common
def command(truths: tuple[Path, ...], results: tuple[Path, ...], **given: Any) -> int:
    """Fit a calibration to fields with truth that the model was not trained on, and print it as JSON.

    It goes into "settings" of the model's config.json under "calibration"; that of sources, which comes after it and
    takes truth files with images, under "source_calibration".
    """
    from morpheus_lite.evaluation import calibrate_files, calibrate_source_files

    chosen = chosen_of(CalibrateOptions, given)
    if chosen.sources:
        fitted = calibrate_source_files(truths, results).to_dict()
    else:
        fitted = calibrate_files(truths, results, bias=chosen.bias, seed=chosen.seed).to_dict()
    click.echo(json.dumps(fitted, indent=2))
    return 0
