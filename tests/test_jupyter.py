"""A small notebook, executed by a kernel as JupyterLab does: pictures, tables, and no noise."""

from pathlib import Path

import pytest

nbclient, nbformat = (pytest.importorskip(name) for name in ("nbclient", "nbformat"))
pytest.importorskip("ipykernel")

FIELD = Path(__file__).parents[1] / "examples" / "data" / "demo_field.fits"
CELLS = (
    f"import morpheus_lite as ml\nimage = ml.read_image({str(FIELD)!r})[:96, :96]\nimage",
    "result = ml.classify(image)\nresult",
    "result.plot();",
    "table = ml.measure(ml.deblend(ml.segment(result), image), image, result)\ntable['label', 'morphology']",
    "ml.classify(image['F160W'])",
)


def test_a_notebook_shows_images_maps_and_tables(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    outputs = [cell["outputs"] for cell in notebook.cells]
    assert [one["text"] for cell in outputs for one in cell if one["output_type"] == "stream"] == []
    html = [one["data"].get("text/html", "") for cell in outputs for one in cell]
    assert [text.count("data:image/png;base64,") for text in html] == [1, 1, 0, 0, 1]
    assert "image/png" in outputs[2][0]["data"] and "morphology" in html[3]
    assert list(tmp_path.iterdir()) == []
