"""The report of a survey: what it says of tiles, which stand out, and a page that shows it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from survey_catalogs import grid, survey, truth

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.survey.jobs import Outcome
from morpheus_lite.survey.merge.index import read_index
from morpheus_lite.survey.merge.merge import merge
from morpheus_lite.survey.plan import SurveyPlan, estimate, survey_options
from morpheus_lite.survey.report.survey_report import mark_outliers, summarise_survey, write_page
from morpheus_lite.survey.state import SUMMARY, State, TileState, read_json, tile_directory, write_json
from morpheus_lite.survey.tile import Tile


class Inline:
    """Stands in for a Dask client: the same calls, at once."""

    def map(self, work, jobs, *, pure, key, retries, **options):
        return [work(job, **options) for job in jobs]

    def gather(self, results):
        return results


@pytest.fixture
def finished(tmp_path):
    """A plan with nine finished tiles, and one that failed."""
    tiles = grid(3, 300, 60)
    survey(tmp_path, tiles, *truth(400, 780, seed=1))
    names = [one[0] for one in tiles]
    listed = tuple(Tile(name, f"{name}.fits") for name in [*names, "broken"])
    states = {name: TileState(State.DONE) for name in names} | {"broken": TileState(State.MISSING)}
    options = survey_options(ClassifyOptions(model="hausen2020", products=("catalog",)))
    return SurveyPlan(tmp_path, listed, states, options, {"hausen2020": "0"}, ("stranger",))


FAILED = Outcome("broken", "failed", error="it is </script><b>broken</b>", kind="InputError", tail="Traceback: ...")


def change(plan, name, **figures):
    path = tile_directory(plan.root, name) / SUMMARY
    write_json(path, {**read_json(path), **figures})


def test_totals_failures_and_merged(finished):
    merged = merge(finished.root, read_index(finished.root, [tile.name for tile in finished.tiles]), Inline())
    report = summarise_survey(finished, [FAILED], merged, 12.5)
    assert report["totals"]["done"] == 9
    assert report["totals"]["failed"] == 1
    assert report["totals"]["n_sources"] == sum(tile["n_sources"] for tile in report["tiles"])
    assert report["totals"]["tile_seconds"] == 18.0
    assert report["classes"]["disk"] == report["totals"]["n_sources"]
    assert report["merged"]["n_rows"] + report["merged"]["n_duplicates"] == report["totals"]["n_sources"]
    assert report["failed"][0]["tile"] == "broken"
    assert report["unrecognized_tiles"] == ["stranger"]
    tile = report["tiles"][0]
    assert np.shape(tile["corners"]) == (4, 2)
    assert tile["pixel_scale"] == pytest.approx(0.1)
    assert tile["area"] == pytest.approx((300 * 0.1 / 60) ** 2, rel=1e-3)
    json.dumps(report, allow_nan=False)


def test_tiles_that_differ_stand_out(finished):
    assert summarise_survey(finished, [], None, 0)["outliers"] == []
    change(finished, "t11", depth={"H": 20.0})
    change(finished, "t22", n_sources=3, classes={"spheroid": 3, "disk": 0, "irregular": 0, "point_source": 0})
    report = summarise_survey(finished, [], None, 0)
    assert report["outliers"] == ["t22"], "the depth of too few tiles is known"
    said = {tile["name"]: tile["outlier"] for tile in report["tiles"]}
    assert any("sources per unit of area" in line for line in said["t22"])
    assert any("share of spheroid" in line for line in said["t22"])
    for name in ("t00", "t01", "t02", "t10", "t12", "t20", "t21"):
        change(finished, name, depth={"H": 27.0 + int(name[1:]) / 1000})
    change(finished, "t22", depth={"H": 27.0})
    assert "depth in H: 20, others 27" in "".join(summarise_survey(finished, [], None, 0)["tiles"][4]["outlier"])


def test_another_pixel_scale_stands_out(finished):
    tiles = summarise_survey(finished, [], None, 0)["tiles"]
    tiles[3]["pixel_scale"] = 0.2
    mark_outliers(tiles)
    assert "pixel scale" in tiles[3]["outlier"][0]
    few = tiles[:5]
    mark_outliers(few)
    assert not any(tile["outlier"] for tile in few), "of five tiles none stands out"


def test_a_tile_without_one_band_stands_out(finished):
    for name in ("t00", "t01", "t02", "t11", "t12"):
        change(finished, name, bands=["H", "J"])
    change(finished, "t22", bands=["H", "J", "K"])
    tiles = {tile["name"]: tile["outlier"] for tile in summarise_survey(finished, [], None, 0)["tiles"]}
    assert tiles["t00"] == []
    assert tiles["t20"] == ["without J, which others have"]
    assert tiles["t22"] == ["with K, which others have not"]


def test_the_page_holds_everything_and_nothing_that_runs(finished, tmp_path):
    report = summarise_survey(finished, [FAILED], None, 0)
    path = write_page(tmp_path / "report.html", report, title="<survey>")
    page = path.read_text()
    assert "</script><b>" not in page, "what a tile says stays text"
    assert "&lt;survey&gt;" in page
    assert "{{" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    data = page.split('id="survey">')[1].split("</script>")[0]
    assert json.loads(data)["totals"] == report["totals"]


def test_estimates_come_from_finished_tiles_where_there_are_any(finished):
    values = estimate(finished)
    assert values["based_on"].startswith("from tiles that are done")
    assert (values["tiles"], values["done"], values["missing"]) == (10, 9, 1)
    json.dumps(values)
    fresh = replace(finished, states={tile.name: TileState(State.MISSING) for tile in finished.tiles})
    assert estimate(fresh)["based_on"].startswith("from typical rates")
