"""``morpheus evaluate``."""

import json
from pathlib import Path

import click

from morpheus_lite.cli.options import DIRECTORY, PATH, Command, common, grouped_option


@click.command("evaluate", cls=Command, short_help="Score results against truth.")
@grouped_option(
    "--truth", "truths", type=PATH, required=True, multiple=True,
    help="Truth file, as morpheus simulate writes it; once per field.",
)  # fmt: skip
@grouped_option("--image", type=PATH, help="The image, where it is not beside the truth.")
@click.argument("results", nargs=-1, required=True, metavar="RESULT...", type=PATH)
@grouped_option("-o", "--output", type=DIRECTORY, help="Directory for tables, JSON and figures.")
@grouped_option("--overwrite", is_flag=True, help="Replace files that exist.")
@common
def command(
    truths: tuple[Path, ...],
    image: Path | None,
    results: tuple[Path, ...],
    output: Path | None,
    *,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Score segmentation maps and catalogues of any tool against truth.

    RESULT is a product of morpheus classify, or any FITS label map (SExtractor's, photutils', ...): completeness
    and purity against magnitude, splits and blends, overlap, classes, reliability, photometry.

    Several fields are pooled: --truth A --truth B RESULT_A RESULT_B, then the same of the next tool.
    """
    from morpheus_lite.evaluation import evaluate_files, format_scores, summarise

    scores = evaluate_files(truths, results, output, image=image, overwrite=overwrite)
    click.echo(json.dumps([summarise(score) for score in scores], indent=2) if as_json else format_scores(scores))
    return 0
