"""``morpheus info``."""

import json
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.options import PATH, Command, common


@click.command("info", cls=Command, short_help="Say what is in a product or an image.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=PATH)
@common
def command(files: tuple[Path, ...], as_json: bool) -> int:
    """Say what is in a FITS product or catalogue and how it was made, or how an image is read.

    Of an image: its bands with their units, AB zero-points and the keywords these come from, and the planes of noise
    and bad pixels.
    """
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
        for line in _image_lines(record):
            click.echo(f"  {line}")
    return 0


def _image_lines(record: dict[str, Any]) -> list[str]:
    """Describe how an image is read: a line for the pixel scale, and one per band."""
    if "problem" in record:
        return [f"not read as an image: {record['problem']}"]
    if "bands" not in record:
        return []
    scale = record["pixel_scale"]
    lines = ["read as an image, " + ("without a WCS" if scale is None else f'{scale:g}" per pixel')]
    for name, band in record["bands"].items():
        source, system = band["zero_point_source"], band["zero_point_system"]
        known = band["zero_point"] is not None
        calibration = f"zero-point {band['zero_point']} {system}" if known else "no AB zero-point"
        origin = "" if source is None else f" ({source})" if known else f" ({source}, system {system})"
        planes = [*band["noise"], *(f"mask: {mask}" for mask in band["masks"])]
        parts = [band["origin"], f"unit {band['unit'] or 'not stated'}", calibration + origin, *planes]
        lines.append(f"band {name}: {'; '.join(parts)}")
    return lines
