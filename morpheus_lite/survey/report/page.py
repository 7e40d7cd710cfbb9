"""The report of a survey as one HTML file: map of the tiles, counts, what stands out, what failed."""

import html
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from morpheus_lite.core.classes import UNCERTAIN
from morpheus_lite.runtime.atomic import atomic_write
from morpheus_lite.visualization.html_report.page import script_json

TEMPLATE = "survey.html"


def write_page(path: Path, survey: Mapping[str, Any], *, title: str) -> Path:
    """Write the report; it needs nothing beside itself, and no network.

    Parameters
    ----------
    path : path
        The file; replaced if it exists.
    survey : mapping
        From `~morpheus_lite.survey.report.summary.summarise`.
    title : str
        Name of the survey.
    """
    from morpheus_lite.visualization.plots import hex_colours

    folder = resources.files(__package__)
    page = folder.joinpath(TEMPLATE).read_text(encoding="utf-8")
    for mark, text in {
        "{{title}}": html.escape(title),
        "{{script}}": folder.joinpath("survey.js").read_text(encoding="utf-8"),
        "{{data}}": script_json({**survey, "colours": hex_colours("legible") | {UNCERTAIN: "#bbbbbb"}}),
    }.items():
        page = page.replace(mark, text)
    with atomic_write(path, overwrite=True) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
