"""The HTML report in a real browser: layers, read-out, table, links between them, and nothing from outside."""

import base64
import csv
import math
import re
from urllib.parse import parse_qs, urlsplit

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from report_inputs import HOSTILE, NOISE, make_run, without_wcs

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.visualization.html_report import layers, write_report
from morpheus_lite.visualization.plots import colorize

ZOOM = 4
COPY = """const v = morpheusReport.viewer;
const copy = Object.assign(document.createElement('canvas'), { width: v.base.width, height: v.base.height });
const context = copy.getContext('2d', { willReadFrequently: true });
context.drawImage(v.base, 0, 0);
const all = context.getImageData(0, 0, copy.width, copy.height).data;
"""


def show(report, *names: str) -> None:
    """Exactly these layers, opaque, at a zoom of whole pixels with the image's lower left in sight."""
    for name in ("field", "classes", "uncertainty", "segments", "outlines"):
        report.page.set_checked(f"#layer-{name}", name in names)
        report.page.locator(f"#opacity-{name}").fill("100")
    report.ask("Object.assign(morpheusReport.viewer, { u: 65, v: 45, zoom: a }).changed()", ZOOM)
    report.settle()


def by_brightness(table) -> np.ndarray:
    """Rows from the brightest on, those without a magnitude last: the order of the table when the page opens."""
    mag = np.ma.filled(table["kron_mag_F160W"].astype(float), np.nan)
    return np.lexsort((np.arange(len(table)), mag))


def picture(report) -> np.ndarray:
    """The image as drawn, one colour per pixel of the image: uint8, shape (y, x, 3)."""
    text = report.ask(
        COPY
        + """const out = [];
        for (let y = 0; y < 90; y++) for (let x = 0; x < 130; x++) {
          const place = v.stageAt(x, y);
          const at = 4 * (Math.floor(place.y) * v.base.width + Math.floor(place.x));
          out.push(String.fromCharCode(...all.subarray(at, at + 3)));
        }
        return btoa(out.join(''))"""
    )
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(90, 130, 3)


def test_hostile_texts_are_shown_as_they_are(report):
    assert report.page.locator("#title").inner_text() == " ".join(HOSTILE.split())
    assert report.ask("return window.broken") is None
    report.page.click("#tab-run")
    assert HOSTILE in report.page.locator(".warnings li").first.inner_text()
    assert report.page.locator("#tab-run .badge").inner_text() == "2"
    assert report.page.locator("#timings").inner_text().split()[:3] == ["network", "3.00", "s"]
    assert report.page.locator("img").count() == 0


def test_the_policy_stops_scripts_and_connections(report):
    outcome = report.ask(
        """const script = document.createElement('script');
        script.textContent = 'window.broken = 3';
        document.body.append(script);
        return fetch('https://example.org/').then(() => 'fetched', () => 'stopped')"""
    )
    assert outcome == "stopped" and report.ask("return window.broken") is None
    assert all("Content Security Policy" in text or "Fetch API" in text for text in report.complaints)
    assert report.complaints
    report.complaints.clear()
    report.requests.clear()


def test_the_class_layer_has_the_colours_of_display(report, run):
    show(report, "classes")
    wanted = 255 * colorize(run[1], palette="legible", maps="probability")
    np.testing.assert_allclose(picture(report), wanted, atol=4)
    report.page.select_option("#palette", "paper")
    report.settle()
    wanted = 255 * colorize(run[1], palette="paper", maps="probability")
    np.testing.assert_allclose(picture(report), wanted, atol=4)


def test_layers_switch_and_fade(report, run):
    labels = run[2]
    show(report)
    assert picture(report).max() == 0
    show(report, "segments")
    filled = picture(report).max(axis=2) > 0
    np.testing.assert_array_equal(filled, labels > 0)
    report.page.locator("#opacity-segments").fill("50")
    report.settle()
    assert picture(report).max() <= 130
    show(report, "uncertainty")
    entropy = picture(report)
    report.page.select_option("#variant-uncertainty", label="Scatter over windows")
    report.settle()
    assert (picture(report) != entropy).any()
    assert picture(report)[:2].max() == 0  # not classified
    assert report.page.locator("#legend .ramp").count() == 1


def test_sources_without_a_class_have_a_name(run, open_report, tmp_path):
    image, classification, labels, table, told = run
    table = table.copy()
    table["morphology"] = [*("uncertain", "uncertain", ""), *table["morphology"][3:]]
    report = open_report(write_report(image, classification, labels, table, tmp_path / "run.html", run=told))
    chips = report.page.locator(".chip").all_inner_texts()
    assert "uncertain 2" in chips and "other 1" in chips
    show(report, "classes")
    legend = report.page.locator("#legend .classes")
    assert legend.inner_text().split() == ["spheroid", "disk", "irregular", "point", "source"]
    show(report, "outlines")
    assert legend.inner_text().split()[-1] == "uncertain"


def test_keys_switch_layers(report):
    report.page.focus("#top")
    before = report.page.is_checked("#layer-classes")
    report.page.keyboard.press("2")
    assert report.page.is_checked("#layer-classes") is not before


def test_the_field_is_drawn_with_north_as_in_the_image(report, run):
    show(report, "field")
    brightness = picture(report).sum(axis=2).astype(float)
    light = run[0].data[:, :, 0]
    likeness = [
        np.corrcoef(brightness.ravel(), np.arcsinh(turned / NOISE).ravel())[0, 1]
        for turned in (light, light[::-1], light[:, ::-1], light[::-1, ::-1])
    ]
    assert likeness[0] > 0.75 and likeness[0] > max(likeness[1:]) + 0.1


def test_outlines_run_along_the_segments(report, run):
    show(report, "outlines")
    drawn = picture(report).max(axis=2) > 0
    labels = run[2]
    inner = labels > 0
    for axis in (0, 1):
        for shift in (-1, 1):
            inner &= np.roll(labels, shift, axis=axis) == labels
    assert not drawn[inner].any()
    near = np.zeros_like(inner)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near |= np.roll(labels, (dy, dx), axis=(0, 1)) != labels
    assert not drawn[~near].any()
    report.page.fill("#filter", "label = 10")
    report.settle()
    report.ask("Object.assign(morpheusReport.viewer, { zoom: a }).changed()", 0.5)  # from afar, too
    report.settle()
    assert report.ask(COPY + """return all.filter((value, at) => at % 4 < 3 && value > 60).length > 0""")


def test_read_out_of_place_value_and_classes(report, run):
    image, classification = run[:2]
    for x, y in [(20, 30), (100, 75), (65, 44)]:
        report.page.mouse.move(*report.stage_of(x, y))
        assert re.findall(r"[\d.]+", report.page.locator("#at-pixel").inner_text()) == [f"{x}.0", f"{y}.0"]
        lines = report.page.locator("#at-sky").inner_text().replace("−", "-").splitlines()
        found = SkyCoord(lines[0], unit=(u.hourangle, u.deg))
        assert found.separation(image.wcs.pixel_to_world(x, y)) < 0.1 * 0.06 * u.arcsec + 0.008 * u.arcsec  # rounding
        ra, dec = map(float, re.findall(r"-?[\d.]+", lines[1]))
        assert SkyCoord(ra, dec, unit="deg").separation(found) < 0.01 * u.arcsec
        values = report.page.locator("#at-values dd").all_inner_texts()
        assert values[0].endswith("e⁻ s⁻¹")
        for text, value in zip(values, image.data[y, x], strict=True):
            assert float(text.split()[0].replace("−", "-")) == pytest.approx(value, rel=0.004, abs=0.15 * NOISE)
        shares = [float(text) for text in report.page.locator("#at-classes dd").all_inner_texts()]
        np.testing.assert_allclose(shares, classification.probability[y, x], atol=0.012)
    report.page.mouse.move(*report.stage_of(5, 3))
    assert report.page.locator("#at-values dd").first.inner_text().startswith("not usable")
    report.page.mouse.move(*report.stage_of(50, 1))
    assert report.page.locator("#at-classes dd").all_inner_texts() == ["not classified"] * len(CLASSES)


def test_positions_agree_with_the_wcs_all_over(report, run):
    wcs = run[0].wcs
    rng = np.random.default_rng(3)
    for x, y in rng.uniform([0, 0], [129, 89], (20, 2)).tolist():
        found = report.ask("return morpheusReport.skyAt(a, b)", x, y)
        truth = wcs.pixel_to_world(x, y)
        assert SkyCoord(found["ra"], found["dec"], unit="deg").separation(truth).arcsec < 0.1 * 0.06
        back = report.ask("return morpheusReport.pixelOf(a, b)", found["ra"], found["dec"])
        assert math.hypot(back["x"] - x, back["y"] - y) < 0.01


def test_a_click_on_a_source_selects_its_row(report, run):
    labels, table = run[2], run[3]
    for row in (7, 2):
        x, y = (round(float(table[name][row].value)) for name in ("x_centroid", "y_centroid"))
        report.page.mouse.click(*report.stage_of(x, y))
        assert report.selected == str(labels[y, x]) == str(table["label"][row])
        assert f"source {table['label'][row]}" in report.page.locator("#details h2").inner_text()
    report.page.mouse.click(*report.stage_of(1, 1))
    assert report.selected == "" and report.page.locator("#details").is_hidden()


def test_a_click_on_a_row_centres_its_source(report, run):
    table = run[3]
    report.page.locator("#grid .row:not([hidden])").nth(5).click()
    label = int(report.selected)
    row = int(np.flatnonzero(table["label"] == label)[0])
    assert report.centre() == pytest.approx((table["x_centroid"][row].value, table["y_centroid"][row].value), abs=1e-3)
    report.page.keyboard.press("ArrowDown")
    order = by_brightness(table).tolist()
    assert report.selected == str(table["label"][order[order.index(row) + 1]])


def test_the_table_is_walked_with_keys(report, run):
    labels = run[3]["label"][by_brightness(run[3])].tolist()
    report.page.focus("#grid")
    for key, wanted in [("ArrowDown", 0), ("ArrowDown", 1), ("End", -1), ("ArrowUp", -2), ("Home", 0)]:
        report.page.keyboard.press(key)
        assert report.selected == str(labels[wanted])
    active = report.page.get_attribute("#grid", "aria-activedescendant")
    assert report.page.locator(f"#{active}").get_attribute("aria-selected") == "true"


def test_columns_sort_up_and_down_with_missing_values_last(report, run):
    table = run[3]
    mag = np.ma.filled(table["kron_mag_F160W"].astype(float), np.nan)
    header = report.page.locator('[data-column="kron_mag_F160W"]')
    assert header.get_attribute("aria-sort") == "ascending"
    assert report.shown_labels() == table["label"][by_brightness(table)].tolist()
    report.page.locator('[data-column="area"] button').click()
    for direction, sign in (("ascending", 1), ("descending", -1)):
        header.locator("button").click()
        assert header.get_attribute("aria-sort") == direction
        order = np.lexsort((np.arange(len(table)), np.where(np.isnan(mag), np.inf, sign * mag)))
        assert report.shown_labels() == table["label"][order].tolist()
    report.page.locator('[data-column="morphology"] button').click()
    assert report.shown_labels() == table["label"][np.argsort(table["morphology"], kind="stable")].tolist()


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("p_disk > 0.5", lambda t: t["p_disk"] > 0.5),
        ("P_DISK>0.5 and area >= 60", lambda t: (t["p_disk"] > 0.5) & (t["area"].value >= 60)),
        ("flags = 0, p_disk < 0.5", lambda t: (t["flags"] == 0) & (t["p_disk"] < 0.5)),
        ("flags ~ invalid", lambda t: t["flags"] & 2 > 0),
        ("flags !~ edge", lambda t: t["flags"] & 1 == 0),
        ("morphology ~ point", lambda t: t["morphology"] == "point_source"),
        ("morphology = DISK", lambda t: t["morphology"] == "disk"),
        ("kron_mag_F160W < 99", lambda t: ~np.ma.getmaskarray(t["kron_mag_F160W"])),
        ("kron_mag_F160W != 0", lambda t: ~np.ma.getmaskarray(t["kron_mag_F160W"])),
        ("12", lambda t: t["label"] == 12),
        ("window.broken", lambda t: np.arange(len(t)) == 2),
    ],
)
def test_filters_keep_the_rows_that_meet_them(report, run, text, test):
    table = run[3]
    report.page.fill("#filter", text)
    order = by_brightness(table)
    wanted = table["label"][order[np.asarray(test(table))[order]]].tolist()
    assert report.shown_labels() == wanted and wanted
    assert report.page.locator("#count").inner_text() == f"{len(wanted)} of {len(table)} sources"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nosuch > 3", "no column “nosuch”"),
        ("area > red", "“red” is not a number"),
        ("area >", "compares with nothing"),
        ("flags ~ purple", "no flag “purple”"),
    ],
)
def test_filters_that_make_no_sense_say_so_and_change_nothing(report, run, text, message):
    report.page.fill("#filter", text)
    assert message in report.page.locator("#filter-message").inner_text()
    assert report.page.get_attribute("#filter", "aria-invalid") == "true"
    assert len(report.shown_labels()) == len(run[3])


def test_class_buttons_hide_their_sources(report, run):
    table = run[3]
    report.page.locator(".chip", has_text="disk").click()
    assert sorted(report.shown_labels()) == table["label"][table["morphology"] != "disk"].tolist()
    x, y = (float(table[name][1].value) for name in ("x_centroid", "y_centroid"))
    report.settle()
    report.page.mouse.click(*report.stage_of(x, y))
    assert report.selected == ""


def test_the_rows_shown_are_saved_as_csv(report, run, tmp_path):
    report.page.fill("#filter", "label >= 19")
    with report.page.expect_download() as download:
        report.page.click("#save-table")
    path = tmp_path / "rows.csv"
    download.value.save_as(path)
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    kept = run[3][by_brightness(run[3])]
    kept = kept[kept["label"] >= 19]
    assert list(rows[0]) == run[3].colnames  # and no column that is the page's own
    assert [int(row["label"]) for row in rows] == kept["label"].tolist()
    assert [float(row["ra"]) for row in rows] == kept["ra"].to_value(u.deg).tolist()


def test_the_view_is_saved_as_a_picture(report, tmp_path):
    with report.page.expect_download() as download:
        report.page.click("#save-view")
    path = tmp_path / "view.png"
    download.value.save_as(path)
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_the_wheel_zooms_about_the_cursor_and_a_drag_moves(report):
    at = report.stage_of(30, 60)
    report.page.mouse.move(*at)
    zoom = report.ask("return morpheusReport.viewer.zoom")
    report.page.mouse.wheel(0, -300)
    report.settle()
    assert report.ask("return morpheusReport.viewer.zoom") > 1.3 * zoom
    assert report.stage_of(30, 60) == pytest.approx(at, abs=0.5)
    report.page.mouse.down()
    report.page.mouse.move(at[0] + 80, at[1] - 50, steps=4)
    report.page.mouse.up()
    moved = report.stage_of(30, 60)
    assert (moved[0] - at[0], moved[1] - at[1]) == pytest.approx((80, -50), abs=25)
    assert report.selected == ""  # a drag is no click
    report.page.focus("#top")
    report.page.keyboard.press("0")
    assert report.ask("return morpheusReport.viewer.zoom") == pytest.approx(zoom, rel=1e-6)


def test_two_fingers_zoom(open_report, report_path):
    report = open_report(report_path, has_touch=True, viewport={"width": 420, "height": 800})
    touch = report.page.context.new_cdp_session(report.page)
    box = report.page.locator("#top").bounding_box()
    x, y = box["x"] + 200, box["y"] + 350
    zoom = report.ask("return morpheusReport.viewer.zoom")
    for kind, apart in [("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchMove", 120)]:
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert report.ask("return morpheusReport.viewer.zoom") == pytest.approx(3 * zoom, rel=0.1)


def test_a_place_on_the_sky_is_gone_to(report, run):
    place = run[0].wcs.pixel_to_world(33.0, 21.0)
    report.page.fill("#filter", f"{place.ra.deg:.7f} {place.dec.deg:.7f}")
    report.page.keyboard.press("Enter")
    assert report.centre() == pytest.approx((33.0, 21.0), abs=0.05)


def test_statistics_count_the_sources(report, run):
    report.page.click("#tab-statistics")
    counts = report.page.locator("#class-chart text").all_text_contents()
    table = run[3]
    assert counts == [
        text for name in CLASSES[:-1] for text in (name.replace("_", " "), str((table["morphology"] == name).sum()))
    ]
    assert (
        report.page.locator("#histogram svg")
        .get_attribute("aria-label")
        .startswith("Histogram of kron_mag_F160W [mag]")
    )
    report.page.select_option("#histogram-column", label="area")
    heights = report.page.locator("#histogram rect.all").count()
    assert heights >= 8
    assert "[pix²]" in report.page.locator("#histogram svg").get_attribute("aria-label")


def test_columns_are_chosen(report):
    report.page.click("#choose-columns")
    report.page.fill("#column-search", "note")
    report.page.locator("#column-list label:visible input").check()
    report.page.locator("#columns-dialog button").click()
    assert report.page.locator('[data-column="note"]').count() == 1
    report.page.click("#choose-columns")
    report.page.fill("#column-search", "segment_flux")
    assert HOSTILE in report.page.locator("#column-list label:visible").inner_text()


def test_themes_differ_and_follow_the_system(open_report, report_path):
    report = open_report(report_path, color_scheme="dark")
    dark = report.ask("return getComputedStyle(document.body).backgroundColor")
    report.page.click("#theme")
    assert report.ask("return getComputedStyle(document.body).backgroundColor") != dark


@pytest.mark.parametrize("variant", ["empty", "no wcs", "no positions", "block means"])
def test_poor_and_large_inputs_open_and_answer(open_report, tmp_path, monkeypatch, variant):
    image, classification, labels, table, _ = make_run(n_sources=0 if variant == "empty" else 12, bands=("1",))
    if variant == "no wcs":
        image = without_wcs(image)
    if variant == "no positions":
        table = table["label", "area"]
    if variant == "block means":
        monkeypatch.setattr(layers, "_TILE", 1024)
        for limit in ("MAX_FIELD_PIXELS", "MAX_PLANE_PIXELS", "MAX_VALUES", "MAX_LOSSLESS_PIXELS"):
            monkeypatch.setattr(layers, limit, 2000)
    report = open_report(write_report(image, classification, labels, table, tmp_path / "r.html"))
    assert report.page.get_attribute("html", "data-state") == "ready"
    show(report, "field", "classes", "segments", "outlines")
    assert picture(report).max() > 0
    report.page.mouse.move(*report.stage_of(60, 50))
    assert "x 60.0" in report.page.locator("#at-pixel").inner_text()
    if variant == "empty":
        assert report.page.locator("#count").inner_text() == "0 sources"
    if variant == "no wcs":
        assert report.page.locator("#at-sky").inner_text() == "no WCS"
    if variant == "no positions":
        y, x = (int(value) for value in np.argwhere(labels == 13)[0])
        report.page.mouse.click(*report.stage_of(x, y))
        assert report.selected == "13"
    if variant == "block means":
        report.page.click("#tab-run")
        assert "as means of 3 × 3 pixels" in report.page.locator("#panel-run").inner_text()
    report.page.click("#tab-statistics")
    report.page.click("#tab-run")


def test_single_bands_stretch_and_contrast(report, run):
    light = run[0].data[:, :, 1]
    colour = (show(report, "field"), picture(report))[1]
    report.page.select_option("#variant-field", label="F606W")
    report.settle()
    seen = {}
    for stretch in ("asinh", "linear", "sqrt", "log"):
        report.page.select_option("#stretch", stretch)
        report.settle()
        grey = picture(report).astype(float)
        assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 0] == grey[..., 2]).all()
        order = np.argsort(light[4:], axis=None)  # brighter light is never darker, but for the steps of stored values
        assert np.diff(np.maximum.accumulate(grey[4:, :, 0].ravel()[order]) - grey[4:, :, 0].ravel()[order]).max() < 25
        seen[stretch] = grey[..., 0].mean()
    assert seen["linear"] < seen["sqrt"] < seen["log"] and seen["linear"] < seen["asinh"]
    report.page.locator("#level-white").fill("50")
    report.settle()
    assert picture(report).mean() > 1.15 * seen["log"]
    report.page.select_option("#variant-field", label="colour")
    report.settle()
    twice = np.minimum(np.rint(255 * np.clip(colour / 255 * 2, 0, 1)), 255)
    np.testing.assert_allclose(picture(report), twice, atol=3)
    report.page.click("#reset-levels")
    report.settle()
    np.testing.assert_array_equal(picture(report), colour)


def test_links_lead_to_the_position_and_ask_nothing(report, run):
    table = run[3]
    report.ask("morpheusReport.select(3)")
    links = report.page.locator("#details .links a")
    place = SkyCoord(table["ra"][3], table["dec"][3])
    for number, name in enumerate(("Aladin Lite", "SIMBAD")):
        link = links.nth(number)
        assert name in link.inner_text() and link.get_attribute("rel") == "noopener noreferrer"
        query = parse_qs(urlsplit(link.get_attribute("href")).query)
        text = (query.get("target") or query["Coord"])[0]
        assert SkyCoord(text, unit="deg").separation(place) < 0.05 * u.arcsec
    assert urlsplit(links.first.get_attribute("href")).hostname == "aladin.cds.unistra.fr"


def test_total_magnitudes_come_first(open_report, tmp_path):
    image, classification, labels, table, _ = make_run()
    table["total_mag_F606W"] = np.linspace(20, 25, len(table)) * u.mag
    table["total_magerr_F606W"] = np.linspace(0.3, 0.1, len(table)) * u.mag
    table["total_mag_F160W"] = np.where(np.arange(len(table)) == 4, np.nan, np.linspace(25, 21, len(table))) * u.mag
    table.meta["reference_band"] = "F160W"
    report = open_report(write_report(image, classification, labels, table, tmp_path / "r.html"))
    names = report.page.evaluate("[...document.querySelectorAll('#grid .head > div')].map((e) => e.dataset.column)")
    assert names[:6] == ["label", "morphology", "total_mag_F160W", "certainty", "correction", "total_mag_F606W"]
    order = [*np.arange(len(table))[::-1].tolist()]
    order.append(order.pop(order.index(4)))
    assert report.shown_labels() == table["label"][order].tolist()
    report.page.focus("#grid")
    report.page.keyboard.press("Home")
    first = report.page.locator("#details .pair dt").first.inner_text()
    assert first == "total_mag_F160W"
