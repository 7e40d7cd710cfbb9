"""``morpheus info``."""

import json
from pathlib import Path

import click


@click.command("info", short_help="Say what is in a product.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(files: tuple[Path, ...], as_json: bool) -> int:
    """Say what is in a FITS product or catalogue, and with which model and options it was made."""
    from morpheus_lite.io import describe_product

    records = [describe_product(path) for path in files]
    if as_json:
        click.echo(json.dumps(records, indent=2, default=str))
        return 0
    for record in records:
        click.echo(record["file"])
        for key, value in record["run"].items():
            click.echo(f"  {key:<12} {value}")
        for line in record["contents"]:
            click.echo(f"  - {line}")
    return 0
