"""Corrections in a real browser: keys and mouse, what is saved, what is loaded, and that a network learns from it."""

import json

import numpy as np
from click.testing import CliRunner
from report_inputs import HOSTILE, make_run
from round_sources import SOURCE_KINDS, make_sky, tiny_fine_tuning

from morpheus_lite.cli.main import cli
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.io import read_corrections, write_corrections
from morpheus_lite.io.corrections import Correction, SourcePart
from morpheus_lite.visualization.html_report import write_report

KEYS = dict(zip(SOURCE_CLASSES, "sdit", strict=True))


def click(report, x, y):
    report.page.mouse.click(*report.stage_of(x, y))
    report.settle()


def choose(report, row):
    report.ask("morpheusReport.select(a)", row)
    report.page.focus("#top")


def saved(report, path):
    with report.page.expect_download() as download:
        report.page.click("#save-corrections")
    assert download.value.suggested_filename.endswith("_corrections.json")
    download.value.save_as(path)
    return read_corrections(path)


def load(report, path):
    report.page.locator("#corrections-file").set_input_files(path)
    # Without JavaScript, which the page lets nobody evaluate.
    report.page.wait_for_selector("#correction-message:not(:empty)", state="attached")
    return report.page.locator("#correction-message").inner_text()


def test_keys_and_mouse_say_what_the_file_says(report, run, tmp_path):
    image, _, labels, table, _ = run
    report.page.uncheck("#go-on")
    x, y = (np.asarray(table[name].value) for name in ("x_centroid", "y_centroid"))
    choose(report, 0)
    report.page.keyboard.press("t")  # labels go on from 10
    choose(report, 1)
    report.page.keyboard.press("x")
    choose(report, 2)
    report.page.keyboard.press("k")
    choose(report, 3)
    report.page.keyboard.press("j")
    click(report, round(x[4]), round(y[4]))
    choose(report, 5)
    report.page.keyboard.press("c")
    places = [(round(x[5]) - 2, round(y[5])), (round(x[5]) + 2, round(y[5]) + 1)]
    click(report, *places[0])
    report.page.keyboard.press("d")
    click(report, *places[1])
    report.page.keyboard.press("Escape")
    report.page.locator("#parts select").nth(1).select_option("spheroid")
    report.page.locator("#correct button", has_text="irregular").click()  # all parts
    report.page.keyboard.press("z")
    assert report.page.locator("#correction-count").inner_text() == "5 corrected, not saved"
    found = saved(report, tmp_path / "c.json")
    assert found.sources == (
        Correction((10,), "point_source"),
        Correction((11,), "background"),
        Correction((12,), str(table["morphology"][2])),
        Correction((13, 14)),
        Correction((15,), None, (SourcePart(*places[0], "disk"), SourcePart(*places[1], "spheroid"))),
    )
    found.check_image(image)
    corrected = found.apply(labels)
    assert not (corrected.labels == 11).any() and (corrected.labels == 13).sum() == np.isin(labels, (13, 14)).sum()
    assert corrected.classes == {10: "point_source", 12: str(table["morphology"][2]), 15: "disk", 22: "spheroid"}
    assert report.page.locator("#correction-count").inner_text() == "5 corrected"
    written = write_corrections(found.sources, image, labels, tmp_path / "again.json", model="hausen2020")
    first, second = (json.loads(path.read_text()) for path in (tmp_path / "c.json", written))
    assert first.pop("saved") and first == second


def test_table_picture_and_counts_follow(report, run):
    table = run[3]
    report.page.uncheck("#go-on")
    choose(report, 1)
    assert str(table["morphology"][1]) == "disk"
    report.page.keyboard.press("i")
    assert "irregular" in report.page.locator("#details h2").inner_text()
    assert report.page.locator(".chip", has_text="irregular").inner_text() == "irregular 4"
    report.page.fill("#filter", "correction ~ class")
    assert report.shown_labels() == [11]
    report.page.fill("#filter", "morphology = irregular")
    assert set(report.shown_labels()) == {11, 12, 16, 20}
    report.page.focus("#grid")
    report.page.keyboard.press("x")
    assert report.shown_labels().count(11) == 0  # no source is no irregular
    assert report.page.locator(".chip", has_text="other").inner_text() == "other 1"
    report.page.keyboard.press("z")
    report.page.keyboard.press("r")
    assert report.page.locator("#correction-count").inner_text() == ""
    assert set(report.shown_labels()) == {12, 16, 20}


def test_least_certain_first_and_on_to_the_next(open_report, tmp_path):
    image, classification, labels, table, _ = make_run()
    lead = np.random.default_rng(4).permutation(len(table)) / 20
    table["p_spheroid"], table["p_disk"] = 0.5 + lead / 2, 0.5 - lead / 2
    table["p_irregular"] = table["p_point_source"] = 0.0
    table["morphology"] = np.where(np.arange(len(table)) == np.argmin(lead), "uncertain", table["morphology"])
    report = open_report(write_report(image, classification, labels, table, tmp_path / "r.html"))
    report.page.click("#unsure-first")
    order = table["label"][np.argsort(lead)].tolist()
    assert report.shown_labels() == order
    for label in order[:3]:
        assert report.selected == str(label)
        assert report.page.locator("#correct button", has_text="class is right").count() == (label != order[0])
        if label == order[0]:
            report.page.keyboard.press("k")  # "uncertain" cannot be confirmed
            assert report.selected == str(label)
        report.page.keyboard.press("d")
    found = saved(report, tmp_path / "c.json")
    assert found.sources == tuple(Correction((label,), "disk") for label in order[:3])


def test_a_source_cut_in_one_place_is_whole_again(report, run):
    report.page.uncheck("#go-on")
    choose(report, 4)
    report.page.keyboard.press("d")
    report.page.keyboard.press("c")
    report.page.keyboard.press("Enter")  # the middle of the picture is on it
    assert "1 part" in report.page.locator("#correction-message").inner_text()
    x, y = (float(run[3][name][4].value) for name in ("x_centroid", "y_centroid"))
    click(report, x + 9, y)
    assert "outside" in report.page.locator("#correction-message").inner_text()
    report.page.keyboard.press("z")
    report.page.keyboard.press("Enter")
    report.ask("morpheusReport.select(6)")
    entries = report.ask("return JSON.parse(morpheusReport.corrections.toJson()).sources")
    assert entries == [{"labels": [14], "class": "disk"}]


def test_corrections_load_again_and_those_of_others_do_not(report, run, tmp_path):
    image, _, labels, _, _ = run
    sources = (
        Correction((10,), "disk"),
        Correction((12, 16), "spheroid"),
        Correction(
            (20,),
            None,
            (
                SourcePart(*(int(v) for v in np.argwhere(labels == 20)[0][::-1]), "disk"),
                SourcePart(*(int(v) for v in np.argwhere(labels == 20)[-1][::-1])),
            ),
        ),
    )
    path = write_corrections(sources, image, labels, tmp_path / "c.json")
    assert load(report, path) == "3 corrections loaded."
    assert saved(report, tmp_path / "again.json").sources == sources
    good = json.loads(path.read_text())
    for change, message in [
        ({"labels": "0" * 64, "image": {"name": HOSTILE}}, "other sources"),
        ({"version": 2}, "version 2"),
        ({"format": "other"}, "not a file of corrections"),
        ({"sources": [{"labels": [10], "class": "galaxy"}]}, "no class “galaxy”"),
        ({"sources": [{"labels": [999], "class": "disk"}]}, "no source 999"),
        ({"sources": [{"labels": [10], "class": "disk"}, {"labels": [10, 11]}]}, "corrected twice"),
        ({"sources": [{"labels": [10], "parts": [{"x": 0, "y": 0}, {"x": 1, "y": 0}]}]}, "not a pixel of source 10"),
    ]:
        path.write_text(json.dumps(good | change))
        assert message in load(report, path)
    path.write_text("{")
    assert "not JSON" in load(report, path)
    entries = report.ask("return JSON.parse(morpheusReport.corrections.toJson()).sources.length")
    assert entries == 3 and report.ask("return window.broken") is None


def test_means_of_blocks_are_not_corrected(open_report, tmp_path):
    image, classification, labels, table, _ = make_run()
    report = open_report(write_report(image, classification, labels, table, tmp_path / "r.html", is_reduced=True))
    report.ask("morpheusReport.select(0)")
    assert report.page.locator("#correcting").is_hidden() and report.page.locator("#correct").count() == 0
    report.page.click("#tab-run")
    assert "cannot be corrected" in report.page.locator("#panel-run").inner_text()


def test_corrected_in_the_browser_and_trained_the_network_is_better(open_report, tmp_path, monkeypatch):
    sky = make_sky(tmp_path)
    report = open_report(write_report(sky.image, sky.classification, sky.labels, sky.table, tmp_path / "r.html"))
    report.page.focus("#grid")
    report.page.keyboard.press("Home")
    for _ in range(len(sky.table)):
        label = int(report.selected)
        report.page.keyboard.press(KEYS[SOURCE_CLASSES[SOURCE_KINDS[label - 1]]])
    path = tmp_path / "corrections.json"
    assert len(saved(report, path).sources) == len(SOURCE_KINDS)
    tiny_fine_tuning(monkeypatch)
    output = tmp_path / "weights"
    arguments = ["train", str(sky.path), "--corrections", str(path), "--labels", str(sky.labels_path)]
    result = CliRunner().invoke(
        cli, [*arguments, "--start", "hst", "-o", str(output), "--json"], catch_exceptions=False
    )
    assert result.exit_code == 0
    told = json.loads(result.stdout)["held_out"]
    assert told["step"] > 0 and 8 <= told["held_out"] <= 20
    assert told["right_after"] >= told["right_before"] + 3 and told["mended"] > told["spoiled"]
    assert (output / "weights.npz").is_file() and "held-out sources" in (output / "card.md").read_text()
