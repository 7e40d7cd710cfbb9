"""Figures of the page "Correct and retrain": classes before and after, and the report while a source is corrected.

    python docs/figures/correct_figures.py before after -o docs/_static

``before`` and ``after`` are the directories that the commands of the page write. Prints how many classes are right.
Writes ``correct_classes.png`` and ``correct_report.png``; the second needs Chromium and Playwright.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from astropy.table import Table
from field_figures import BROWSERS
from matplotlib.figure import Figure

import morpheus_lite as ml
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.io.source_tables import read_labels
from morpheus_lite.visualization.plots import field_rgb, plot_outlines
from morpheus_lite.visualization.plots.figures import save_figure

DATA = Path(__file__).parents[2] / "examples" / "data"


def main() -> None:
    """Compare with the truth, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path())
    chosen = parser.parse_args()
    picture = field_rgb(ml.read_image(DATA / "trailed_field.fits"))
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    for ax, folder in zip(figure.subplots(1, 2), (chosen.before, chosen.after), strict=True):
        labels = read_labels(str(folder / "trailed_field_morpheus.fits"))
        table = ml.read_catalog(folder / "trailed_field_catalog.ecsv")
        truth = true_classes(labels, table)
        said = np.asarray(table["morphology"]).astype(str)
        for name in SOURCE_CLASSES:
            print(f"{folder.name}: {name} {(said[truth == name] == name).sum()} of {(truth == name).sum()}")
        wrong = (truth != "") & (said != truth)
        ax.imshow(picture, origin="lower", interpolation="nearest")
        plot_outlines(labels, table, ax, line_width=0.9)
        x, y = (np.asarray(table[name], float)[wrong] for name in ("x_centroid", "y_centroid"))
        ax.plot(x, y, "x", color="white", markersize=8, markeredgewidth=1.6)
        ax.set_title(f"{folder.name}: {(truth == said).sum()} of {(truth != '').sum()} classes are right")
        ax.set(xticks=[], yticks=[])
    save_figure(figure, chosen.output / "correct_classes.png", overwrite=True, dpi=90)
    photograph(chosen.before / "trailed_field_report.html", chosen.output / "correct_report.png")


def true_classes(labels: np.ndarray, table: Table) -> np.ndarray:
    """Class of the source that most pixels of each row belong to; empty where that is the sky."""
    truth = Table.read(DATA / "trailed_truth.fits")
    owner = read_labels(f"{DATA / 'trailed_truth.fits'}[LABELS]")
    names = {int(number): str(name) for number, name in zip(truth["id"], truth["class"], strict=True)}
    found = []
    for label in table["label"]:
        number, count = np.unique(owner[labels == label], return_counts=True)
        found.append(names.get(int(number[count.argmax()]), ""))
    return np.array(found)


def photograph(page: Path, path: Path) -> None:
    """Save a screenshot of the report, least certain source first, after three corrections."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        report = opened.new_page(viewport={"width": 1300, "height": 820})
        report.goto(page.resolve().as_uri())
        report.wait_for_selector("html[data-state=ready]", timeout=60_000)
        report.focus("#grid")
        for key in "ustd":
            report.keyboard.press(key)
        report.wait_for_timeout(500)
        report.screenshot(path=path)
        opened.close()


if __name__ == "__main__":
    main()
