"""``morpheus evaluate``."""

import json
from pathlib import Path

import click


@click.command("evaluate", short_help="Score results against truth.")
@click.option(
    "--truth", type=click.Path(path_type=Path), required=True, help="Truth file, as morpheus simulate writes it."
)
@click.option("--image", type=click.Path(path_type=Path), help="The image, where it is not beside the truth.")
@click.argument("results", nargs=-1, required=True, metavar="RESULT...", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Directory for tables, JSON and figures."
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON.")
def command(
    truth: Path, image: Path | None, results: tuple[Path, ...], output: Path | None, overwrite: bool, as_json: bool
) -> int:
    """Score segmentation maps and catalogues of any tool against truth.

    RESULT is a product of morpheus classify, or any FITS label map (SExtractor's, photutils', ...): completeness
    and purity against magnitude, splits and blends, overlap, classes, reliability.
    """
    from morpheus_lite.evaluation import evaluate_files, format_scores, summarise

    scores = evaluate_files(truth, results, output, image=image, overwrite=overwrite)
    click.echo(json.dumps([summarise(score) for score in scores], indent=2) if as_json else format_scores(scores))
    return 0
