"""The report of a survey in a real browser: a failed tile, warnings, a mosaic of tiles, and nothing complained of."""

import json

import pytest
from astropy.io import fits
from survey_inputs import FAST, write_tile

from morpheus_lite import ClusterOptions, classify_survey

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Two tiles that are one mosaic, one with contradicting units, and one that is cut short."""
    folder = tmp_path_factory.mktemp("survey")
    for name, x in {"left": 0, "right": 40, "doubtful": 900}.items():
        write_tile(folder / "in" / f"{name}.fits", offset=(0, x), seed=x, n_sources=3)
    for band in range(1, 5):
        fits.setval(folder / "in" / "doubtful.fits", "BUNIT", value="nJy", ext=band)
    (folder / "in" / "broken.fits").write_bytes((folder / "in" / "left.fits").read_bytes()[:9000])
    # Only processes of their own log what libraries warn of.
    result = classify_survey(folder / "in", folder / "out", FAST, cluster=ClusterOptions(workers=1))
    assert [one.name for one in result.failed] == ["broken"]
    assert len(list((folder / "out" / "mosaics").iterdir())) == 1
    return result


@pytest.fixture
def page(survey, open_report):
    return open_report(survey.products["report"]).page


def test_what_failed_and_what_was_warned_of_is_shown(page):
    failed = page.locator("#failed details")
    assert failed.count() == 1 and failed.locator("summary").inner_text().startswith("broken ")
    assert not failed.locator("pre").is_visible()
    failed.locator("summary").click()
    assert "truncated" in failed.locator("pre").inner_text()
    (warned,) = page.locator("#warned p").all_inner_texts()
    assert warned.startswith("doubtful ") and "zero-point of 31.400 AB" in warned
    assert page.locator("#outliers").is_hidden()


def test_the_figures_are_those_of_the_file_beside_the_page(page, survey):
    told = json.loads(survey.products["json"].read_text())
    facts = dict(zip(page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts(), strict=True))
    assert (facts["tiles done"], facts["failed"]) == ("3 of 4", "1")
    assert facts["sources, each once"] == str(told["merged"]["n_rows"]) != "0"
    rows = {row.locator("td").first.inner_text(): row for row in page.locator("#tiles tbody tr").all()}
    assert sorted(rows) == ["doubtful", "left", "right"]
    for tile in told["tiles"]:
        assert rows[tile["name"]].locator("td").nth(1).inner_text() == str(tile["n_sources"])


def test_the_map_names_the_tile_under_the_pointer_in_every_quantity(page):
    box = page.locator("#map").bounding_box()
    for quantity in page.locator("#quantity option").all_inner_texts():
        page.select_option("#quantity", quantity)
        # North is up, east to the left.
        page.locator("#map").hover(position={"x": box["width"] * 0.93, "y": box["height"] / 2})
        assert page.locator("#tip").inner_text().startswith(f"doubtful: {quantity}")
        assert page.locator("#scale").inner_text()


def test_the_table_is_sorted_by_a_click(page):
    button = page.locator("#tiles th button", has_text="sources")
    counts = []
    for _ in range(2):
        button.click()
        counts.append([int(text) for text in page.locator("#tiles td:nth-child(2)").all_inner_texts()])
    assert counts[0] == sorted(counts[0], reverse=True) and counts[1] == sorted(counts[1])


def test_it_is_readable_on_a_small_and_dark_screen(survey, open_report):
    dark = open_report(survey.products["report"], color_scheme="dark", viewport={"width": 390, "height": 800}).page
    assert dark.evaluate("document.documentElement.scrollWidth") <= 390
    assert dark.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
