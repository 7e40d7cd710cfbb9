"""A real headless Chromium for the tests of the report; skips without one."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from report_inputs import make_run

from morpheus_lite.visualization.html_report import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def unavailable(reason: str) -> None:
    """Skip, or fail where MORPHEUS_REQUIRE_BROWSER says that a browser must be there."""
    if os.environ.get("MORPHEUS_REQUIRE_BROWSER"):
        pytest.fail(f"{reason}, and MORPHEUS_REQUIRE_BROWSER is set")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium, started once, with a new profile."""
    chromium = os.environ.get("MORPHEUS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        unavailable(f"no browser ({', '.join(NAMES)}) on the path")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("playwright is not installed")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@dataclass
class Report:
    """A page that is open, and everything that went wrong on it."""

    page: object
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def ask(self, expression: str, *arguments):
        """Value of a JavaScript function's body applied to arguments."""
        return self.page.evaluate(f"(given) => {{ const [a, b, c] = given; {expression} }}", list(arguments))

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.page.evaluate(
            "() => new Promise((done) => setTimeout("
            "() => requestAnimationFrame(() => requestAnimationFrame(done)), 130))"
        )

    def stage_of(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the image is in the window."""
        place = self.ask("return morpheusReport.viewer.stageAt(a, b)", x, y)
        box = self.page.locator("#top").bounding_box()
        return box["x"] + place["x"], box["y"] + place["y"]

    def centre(self) -> tuple[float, float]:
        """Pixel of the image in the middle of the picture."""
        place = self.ask(
            "const v = morpheusReport.viewer; return v.pixelAt(v.stage.clientWidth / 2, v.stage.clientHeight / 2)"
        )
        return place["x"], place["y"]

    @property
    def selected(self) -> str:
        """Label in the selected row of the table; empty without one."""
        row = self.page.locator('#grid .row[aria-selected="true"]:not([hidden])')
        return row.locator(".cell").first.inner_text() if row.count() else ""

    def shown_labels(self) -> list[int]:
        """Labels of the rows in the document, from the top."""
        rows = self.page.evaluate(
            """() => [...document.querySelectorAll('#grid .row:not([hidden])')]
                 .map((row) => [Number(row.getAttribute('aria-rowindex')), Number(row.firstChild.textContent)])"""
        )
        return [label for _, label in sorted(rows)]


@pytest.fixture
def open_report(browser) -> Iterator:
    """Opens a file as a `Report`; at the end nothing may have been complained of or fetched."""
    opened: list[Report] = []

    def opener(path: Path, **options) -> Report:
        context = browser.new_context(**({"viewport": {"width": 1300, "height": 850}} | options))
        report = Report(context.new_page())
        report.page.on("console", lambda message: report.complaints.append(f"{message.type}: {message.text}"))
        report.page.on("pageerror", lambda error: report.complaints.append(str(error)))
        report.page.on("request", lambda request: report.requests.append(request.url))
        report.page.goto(path.as_uri())
        report.page.wait_for_selector("html[data-state=ready], html[data-state=failed]", timeout=60_000)
        opened.append(report)
        return report

    yield opener
    for report in opened:
        report.page.context.close()
        assert report.complaints == []
        assert [url for url in report.requests if not url.startswith(("file:", "blob:", "data:"))] == []


@pytest.fixture(scope="session")
def run() -> tuple:
    """Image, classification, labels, table and what is told of the run."""
    return make_run()


@pytest.fixture(scope="session")
def report_path(run, tmp_path_factory) -> Path:
    """The report of `run`."""
    image, classification, labels, table, told = run
    return write_report(image, classification, labels, table, tmp_path_factory.mktemp("report") / "run.html", run=told)


@pytest.fixture
def report(open_report, report_path) -> Report:
    """The report of `run`, open."""
    return open_report(report_path)
