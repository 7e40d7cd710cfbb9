"""``morpheus models``."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from morpheus_lite.cli.options import Command, common, complete_model, grouped_option

if TYPE_CHECKING:
    from morpheus_lite.models.registry import ModelInfo


@click.command("models", cls=Command, short_help="Describe models, shipped or in a directory.")
@click.argument("models", nargs=-1, metavar="[NAME|DIRECTORY]...", shell_complete=complete_model)
@grouped_option("--card", is_flag=True, help="Print the card of each model: training, scores, limits.")
@common
def command(models: tuple[str, ...], card: bool, as_json: bool) -> int:
    """Describe models: what they are for, bands, pixel scale, and scores on fields with truth.

    \b
    The shipped models:           morpheus models
    Weights of your own:          morpheus models my_weights/
    The card of a shipped model:  morpheus models hst --card
    """
    from morpheus_lite.models.registry import list_models, read_card, read_info

    found = [(name, read_info(name)) for name in models] or [(model.name, model) for model in list_models()]
    if as_json:
        records = [asdict(model) | ({"card": read_card(name)} if card else {}) for name, model in found]
        click.echo(json.dumps(records, indent=2))
        return 0
    for name, model in found:
        click.echo(read_card(name) if card else "\n".join(_describe(model)))
    return 0


def _describe(model: "ModelInfo") -> Iterator[str]:
    """Lines about a model."""
    yield model.name
    yield f"  {model.description}"
    low, high = model.settings.get("domain", {}).get("pixel_scale", (None, None))
    scale = f'{model.pixel_scale}"' if model.pixel_scale else f'{low} to {high}"' if low else "any scale"
    yield f"  bands: {', '.join(model.bands) or 'any'}; pixels: {scale}; sha256 {model.sha256[:12]}"
    if "scores" in model.settings:
        yield from describe_scores(model.settings["scores"])


def describe_scores(scores: Mapping[str, Any]) -> Iterator[str]:
    """Lines about the scores of a model, as ``tests/benchmarks/score_weights.py --store`` wrote them."""
    yield f"  on {scores['fields']}: IoU of source and sky {scores['iou']:.2f}, calibration error {scores['ece']:.3f}"
    for title, key in (("H (AB)", "h_mag"), ("found", "found"), ("class right", "class_right")):
        shown = (one if isinstance(one, str) else f"{one:.2f}" for one in (row[key] for row in scores["bins"]))
        yield f"    {title:12s}" + "".join(f"{one:>8s}" for one in shown)
