"""The HTML report of a large field: size, time and memory to write it, and how fast it answers in Chromium.

    python tests/benchmarks/report_page.py --side 4000 --sources 10000 --screenshots DIR

The field is made up: round sources of random brightness and class on a grid, class maps to match. Times in the browser
are from the event to the second frame after it, on whatever machine this runs; the first line says what two frames
take without any event.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from morpheus_lite import CLASSES, Classification, SkyImage, measure
from morpheus_lite.catalog import MeasureOptions
from morpheus_lite.visualization.html_report import write_report

BANDS = ("F160W", "F125W", "F606W", "F850LP")
FRAMES = """() => new Promise((done) => {
  const start = performance.now();
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
})"""


def make_field(side: int, n_sources: int) -> tuple[SkyImage, Classification, np.ndarray]:
    """Image, class maps and labels with about so many sources."""
    rng = np.random.default_rng(2)
    n = round(np.sqrt(n_sources))
    step = side // n
    y, x = np.indices((step, step)) - (step - 1) / 2
    inside = np.hypot(y, x) < 0.25 * step
    shape = (n * step, n * step)
    number = np.arange(1, n * n + 1).reshape(n, n)
    labels = (np.kron(number, np.ones((step, step), int)) * np.tile(inside, (n, n))).astype(np.int32)
    bright = 0.1 * (rng.pareto(1.2, (n, n)) + 0.5).clip(0, 100)
    light = np.kron(bright, np.exp(-(np.hypot(y, x) ** 2) / (0.1 * step) ** 2)).astype(np.float32)
    data = np.stack([light * share for share in (1, 0.9, 0.5, 0.6)], axis=2)
    data += 0.01 * rng.standard_normal(data.shape, dtype=np.float32)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [53.1, -27.8], [side / 2, side / 2]
    wcs.wcs.cdelt = [-0.06 / 3600, 0.06 / 3600]
    image = SkyImage(data, BANDS, np.ones(data.shape, bool), wcs=wcs, zero_points=(25.9,) * 4, name="large field")
    kind = rng.choice(4, (n, n), p=[0.3, 0.4, 0.2, 0.1])
    of_pixel = np.where(labels > 0, np.kron(kind, np.ones((step, step), int)), 4)
    planes = 0.02 + 0.1 * rng.random((*shape, len(CLASSES)), dtype=np.float32)
    np.put_along_axis(planes, of_pixel[:, :, None], np.float32(1), axis=2)
    planes /= planes.sum(axis=2, keepdims=True)
    seen = np.ones(shape, bool)
    maps = Classification(planes, seen.astype(np.int32), seen, variance=0.1 * planes * (1 - planes), wcs=wcs)
    return image, maps, labels


def time_page(path: Path, screenshots: Path | None) -> None:
    """Open the page, act on it, and print how long each act takes."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        start = time.perf_counter()
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("html[data-state=ready]", timeout=300_000)
        print(f"{'opened':<24} {time.perf_counter() - start:.1f} s")
        print(f"{'two frames':<24} {statistics.median(page.evaluate(FRAMES) for _ in range(9)):.0f} ms")
        act_on(page, screenshots)
        print(f"{'memory of the page':<24} {page.evaluate('performance.memory.usedJSHeapSize') / 1e6:.0f} MB")
        print(f"{len(complaints)} errors on the console", *complaints)
        browser.close()


def act_on(page, screenshots: Path | None) -> None:
    """Move, zoom, switch, click, sort and filter."""

    def timed(name: str, act: Callable[[int], object], n: int = 5) -> None:
        taken = []
        for k in range(n):
            start = time.perf_counter()
            act(k)
            page.evaluate(FRAMES)
            taken.append(1000 * (time.perf_counter() - start))
        print(f"{name:<24} median {statistics.median(taken):.0f} ms, largest {max(taken):.0f} ms", flush=True)

    def drag(_: int) -> None:
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 40, middle[1] + 20)
        page.mouse.up()

    box = page.locator("#top").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    photograph(page, screenshots, "field")
    timed("read-out under cursor", lambda k: page.mouse.move(middle[0] + 7 * k, middle[1] + 3 * k), 10)
    timed("wheel", lambda _: page.mouse.wheel(0, -120), 10)
    timed("drag", drag)
    for layer in ("classes", "uncertainty", "segments"):
        timed(f"layer {layer}", lambda _, name=layer: page.click(f"#layer-{name}"), 4)
    timed("click on the picture", lambda k: page.mouse.click(middle[0] + 31 * k, middle[1] + 17 * k))
    timed("sort the table", lambda _: page.click('[data-column="area"] button'), 4)
    timed("filter the table", lambda k: page.fill("#filter", f"p_disk > 0.{k + 3}"))
    page.fill("#filter", "")
    timed("click in the table", lambda k: page.locator("#grid .row:not([hidden])").nth(3 + k).click())
    photograph(page, screenshots, "selected")


def photograph(page, folder: Path | None, name: str) -> None:
    """A screenshot, where there is a folder for it."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(folder / f"{name}.png"))


def main() -> None:
    """Write the page, open it, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4000)
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--screenshots", type=Path, default=None)
    chosen = parser.parse_args()
    image, maps, labels = make_field(chosen.side, chosen.sources)
    table = measure(labels, image, maps, maps="probability", options=MeasureOptions.paper())
    print(f"{image.shape[1]} x {image.shape[0]} px, {len(table)} sources, {len(table.colnames)} columns")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = write_report(image, maps, labels, table, Path(folder) / "report.html")
        print(f"{'written':<24} {time.perf_counter() - start:.1f} s, {path.stat().st_size / 1e6:.1f} MB")
        time_page(path, chosen.screenshots)


if __name__ == "__main__":
    main()
