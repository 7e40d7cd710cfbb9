"""``morpheus export``."""

import json
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.options import FILE, Command, chosen_of, common, complete_model, grouped_option, options_of
from morpheus_lite.config.tools import ExportOptions


@click.command("export", cls=Command, short_help="Write a model for other programs.")
@click.argument("model", shell_complete=complete_model)
@grouped_option("-o", "--output", type=FILE, help="File to write (default: MODEL.onnx here).")
@options_of(ExportOptions)
@common
def command(model: str, output: Path | None, as_json: bool, **given: Any) -> int:
    """Write MODEL, a shipped model or a model directory, as an ONNX file.

    \b
    Images of any size:     morpheus export hst -o hst.onnx
    For SourceXtractor++:   morpheus export any --sourcextractor 544 -o any_544.onnx
    """
    from morpheus_lite.models.onnx_file import export_model

    chosen = chosen_of(ExportOptions, given)
    output = output or Path(f"{Path(model).name}.{chosen.format}")
    settings = {name: getattr(chosen, name) for name in ("with_normalization", "sourcextractor_tile", "overwrite")}
    path = export_model(model, output, **settings)
    click.echo(json.dumps({"model": model, "file": str(path)}) if as_json else path)
    return 0
