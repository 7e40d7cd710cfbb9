"""``morpheus models``."""

import json
from dataclasses import asdict

import click


@click.command("models", short_help="List the models that are installed.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def command(as_json: bool) -> int:
    """List the shipped models: name, bands, pixel scale, and what they are for."""
    from morpheus_lite.pretrained import list_models

    models = list_models()
    if as_json:
        click.echo(json.dumps([asdict(model) for model in models], indent=2))
        return 0
    for model in models:
        click.echo(f"{model.name}")
        click.echo(f"  {model.description}")
        click.echo(f'  bands {", ".join(model.bands)}; {model.pixel_scale}"/px; sha256 {model.sha256[:12]}')
    return 0
