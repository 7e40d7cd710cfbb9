"""``morpheus export``."""

from pathlib import Path

import click

from morpheus_lite.cli.console import set_up_logging, verbosity


@click.command("export", short_help="Write a model for other programs.")
@click.argument("model")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write (default: MODEL.onnx here).",
)
@click.option("--format", "kind", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="Of the file.")
@click.option(
    "--with-normalization",
    is_flag=True,
    help="Normalise in the graph: it takes data, background and noise (windows as they are, for window models).",
)
@click.option(
    "--sourcextractor",
    "sourcextractor_tile",
    type=int,
    metavar="TILE",
    help="For SourceXtractor++: tiles of this side (544 or more) of one band to source probability.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
@verbosity
def command(model: str, output: Path | None, kind: str, verbose: int, quiet: bool, **chosen: bool) -> int:
    """Write MODEL, a shipped model or a model directory, as an ONNX file.

    \b
    Images of any size:     morpheus export hst -o hst.onnx
    For SourceXtractor++:   morpheus export any --sourcextractor 544 -o any_544.onnx
    """
    set_up_logging(verbose=verbose, quiet=quiet)
    from morpheus_lite.models.onnx_file import export_model

    click.echo(export_model(model, output or Path(f"{Path(model).name}.{kind}"), **chosen))
    return 0
