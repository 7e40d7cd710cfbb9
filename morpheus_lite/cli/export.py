"""``morpheus export``."""

import json
from pathlib import Path

import click

from morpheus_lite.cli.options import Command, common, grouped_option


@click.command("export", cls=Command, short_help="Write a model for other programs.")
@click.argument("model")
@grouped_option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write (default: MODEL.onnx here)."
)
@grouped_option("--format", "kind", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="Of the file.")
@grouped_option(
    "--with-normalization", is_flag=True, help="Normalise in the graph: it takes data, background and noise."
)
@grouped_option(
    "--sourcextractor",
    "sourcextractor_tile",
    type=int,
    metavar="TILE",
    help="For SourceXtractor++: one band, tiles of this side (544 or more).",
)
@grouped_option("--overwrite", is_flag=True, help="Replace a file that exists.")
@common
def command(model: str, output: Path | None, kind: str, as_json: bool, **chosen: bool) -> int:
    """Write MODEL, a shipped model or a model directory, as an ONNX file.

    \b
    Images of any size:     morpheus export hst -o hst.onnx
    For SourceXtractor++:   morpheus export any --sourcextractor 544 -o any_544.onnx
    """
    from morpheus_lite.models.onnx_file import export_model

    path = export_model(model, output or Path(f"{Path(model).name}.{kind}"), **chosen)
    click.echo(json.dumps({"model": model, "file": str(path)}) if as_json else path)
    return 0
