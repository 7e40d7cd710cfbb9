"""Figures of a real field for the documentation: outlines of its sources, stamps, and what the report looks like.

    python docs/figures/field_figures.py xdf_hjvz.fits.gz --model hst --name xdf -o docs/_static

Writes ``xdf_outlines.png``, ``xdf_stamps.png`` and ``xdf_report.png``; the last needs Chromium and Playwright.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import morpheus_lite as ml
from morpheus_lite.visualization.html_report import write_report
from morpheus_lite.visualization.plots import choose_sources, field_rgb, plot_class_map, plot_outlines, plot_stamp_sheet
from morpheus_lite.visualization.plots.figures import save_figure

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Classify, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--model", default="hst")
    parser.add_argument("--name", default="field")
    parser.add_argument("-o", "--output", type=Path, default=Path())
    chosen = parser.parse_args()
    image = ml.read_image(chosen.image)
    model = ml.load_model(chosen.model)
    result = ml.classify(image, model)
    labels = ml.deblend(ml.segment(result), image)
    table = ml.measure(labels, image, result)
    print(f"{len(table)} sources")
    draw_outlines(chosen.output / f"{chosen.name}_outlines.png", image, result, labels, table)
    rows = choose_sources(table, 8, per_class=True)
    plot_stamp_sheet(image, labels, table, rows=rows).savefig(chosen.output / f"{chosen.name}_stamps.png", dpi=160)
    with tempfile.TemporaryDirectory() as folder:
        page = write_report(image, result, labels, table, Path(folder) / "report.html")
        photograph(page, chosen.output / f"{chosen.name}_report.png")


def draw_outlines(path: Path, image: ml.SkyImage, result: ml.Classification, labels: np.ndarray, table) -> None:
    """The field in colour with the outlines of its sources, beside the class map."""
    figure = Figure(figsize=(12, 6.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(field_rgb(image), origin="lower", interpolation="nearest")
    plot_outlines(labels, table, left, line_width=0.8)
    plot_class_map(result, right)
    for ax in (left, right):
        ax.set(xticks=[], yticks=[])
    save_figure(figure, path, overwrite=True, dpi=100)


def photograph(page: Path, path: Path) -> None:
    """A screenshot of the report with outlines and the second brightest source chosen."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1400, "height": 820})
        complaints: list[str] = []
        tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(page.resolve().as_uri())
        tab.wait_for_selector("html[data-state=ready]", timeout=120_000)
        tab.set_checked("#layer-outlines", True)
        tab.locator("#grid .row:not([hidden])").nth(1).click()  # the table begins with the brightest
        tab.click("#zoom-fit")
        tab.wait_for_timeout(2000)
        tab.screenshot(path=str(path))
        browser.close()
    print(f"{len(complaints)} console errors", *complaints)


if __name__ == "__main__":
    main()
