"""What is measured is chosen in one place, and reaches the catalogue from every command that makes one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from cases import SIZE, field, header, image, plane, write

from morpheus_lite import ClassifyOptions, MeasureOptions, OptionError
from morpheus_lite.catalog.photometry import find_gains
from morpheus_lite.cli import main
from morpheus_lite.config.schema import chosen
from morpheus_lite.io import read_catalog, read_image
from morpheus_lite.pipeline.classify import classify_file
from morpheus_lite.survey.manifest import read_tiles
from morpheus_lite.survey.state import digest, run_of, tile_options
from morpheus_lite.survey.tile import Tile

FAST = ["--model", "hausen2020", "--stride", "30"]
CHOSEN = [
    *("--aperture-radii", "4, 6", "--aperture-unit", "pixel", "--psf-fwhm", "3", "--gain", "H=4", "--gain", "v=2"),
    *("--deblended-flux", "--local-background", "--saturation", "1e9", "--detection-band", "j"),
]
AS_OPTIONS = MeasureOptions(
    aperture_radii=(4.0, 6.0),
    aperture_unit="pixel",
    psf_fwhm=3.0,
    gain={"F160W": 4.0, "F606W": 2.0},
    deblended_flux=True,
    local_background=True,
    saturation=1e9,
)


def test_classify_measures_as_it_was_told(sim_field, tmp_path):
    assert main(["classify", str(sim_field), "-o", str(tmp_path), *FAST, "--products", "catalog", *CHOSEN]) == 0
    table = read_catalog(next(tmp_path.glob("*_catalog.ecsv")))
    assert {"aper_flux_4px_F125W", "shared_flux_F125W", "local_background_F125W"} <= set(table.colnames)
    assert table.meta["detection_band"] == "F125W"
    assert table.meta["psf_fwhm"] == 3
    assert table.meta["photon_noise"]["F160W"] == "added: 4 electrons per unit of data, as given"
    assert table.meta["photon_noise"]["F606W"] == "added: 2 electrons per unit of data, as given"
    recorded = table.meta["options"]
    assert recorded["detection_band"] == "j"
    assert recorded["measuring"] == {**chosen(AS_OPTIONS), "aperture_radii": [4.0, 6.0]}


def test_classify_and_catalog_give_the_same_row(sim_field, tmp_path):
    assert main(["classify", str(sim_field), "-o", str(tmp_path), *FAST, "--products", "maps,catalog", *CHOSEN]) == 0
    maps = next(tmp_path.glob("*_morpheus.fits"))
    again = tmp_path / "again.ecsv"
    assert main(["catalog", str(sim_field), "--maps", str(maps), "-o", str(again), *CHOSEN]) == 0
    one, two = read_catalog(next(tmp_path.glob("*_catalog.ecsv"))), read_catalog(again)
    for name in ("label", "x_centroid", "kron_flux_F125W", "aper_fluxerr_6px_F160W", "local_background_F606W"):
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--aperture-radii", "0.5,wide"], 2, "expected positive numbers, in a list"),
        (["--aperture-radii", ","], 2, "expected positive numbers, in a list of at least 1"),
        (["--aperture-radii", "-1"], 2, "expected positive numbers"),
        (["--aperture-radii", "9999"], 2, "expected at most"),
        (["--psf-fwhm", "0"], 2, "psf_fwhm 0.0: expected a positive number"),
        (["--gain", "F160W=x"], 2, "F160W"),
        (["--gain", "-3"], 2, "gain -3.0: expected a positive number"),
        (["--gain", "F999W=3"], 2, "gain of F999W"),
        (["--saturation", "nan"], 2, "saturation nan: expected a finite number"),
        (["--aperture-unit", "parsec"], 2, "parsec"),
        (["--detection-band", "K"], 3, "no detection band K: it has F160W"),
        (["--min-snr", "-1"], 2, "min_snr -1.0: expected a finite number, at least 0"),
    ],
)
def test_what_is_impossible_is_said_before_the_network_runs(
    sim_field, tmp_path, capsys, monkeypatch, arguments, code, message
):
    monkeypatch.setattr("morpheus_lite.pipeline.classify.MapFile", None)  # opened right before the network
    assert main(["classify", str(sim_field), "-o", str(tmp_path / "out"), *FAST, *arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_survey_measures_as_it_was_told(sim_field, tmp_path, monkeypatch):
    seen = {}

    def run(tiles, output, options, **_):
        seen["options"] = options
        raise OptionError("seen")

    monkeypatch.setattr("morpheus_lite.survey.classify_survey", run)
    assert main(["batch", str(sim_field), "-o", str(tmp_path), *CHOSEN]) == 2
    assert seen["options"].measuring == AS_OPTIONS
    assert seen["options"].detection_band == "j"


def test_a_tile_may_be_measured_in_its_own_way(tmp_path):
    (tmp_path / "tiles.toml").write_text(
        '[[tile]]\nname = "a"\nimage = "a.fits"\noptions = {measuring = {gain = 2.0, aperture_radii = [0.4]}}\n'
    )
    (tile,) = read_tiles(tmp_path / "tiles.toml")
    survey = ClassifyOptions(measuring=MeasureOptions(psf_fwhm=0.2, gain=7.0))
    own = tile_options(tile, survey)
    assert own.measuring == MeasureOptions(psf_fwhm=0.2, gain=2.0, aperture_radii=(0.4,))
    whole = Tile("a", "a.fits")
    weights = {survey.model: "0"}
    names = [digest(run_of(one, survey, weights)) for one in (tile, whole)]
    names.append(digest(run_of(whole, replace(survey, measuring=MeasureOptions()), weights)))
    names.append(digest(run_of(whole, replace(survey, detection_band="F125W"), weights)))
    assert len(set(names)) == 4, "what is measured decides what a tile's products depend on"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kron": 2}, "kron is unknown; expected some of photometry"),
        ({"psf_fwhm": "wide"}, "wrong kind"),
        ({"psf_fwhm": -1}, "psf_fwhm -1"),
        ("gain", "expected a table"),
    ],
)
def test_impossible_options_of_a_tile(fields, message):
    with pytest.raises(OptionError, match=message):
        tile_options(Tile("a", "a.fits", options={"measuring": fields}), ClassifyOptions())


def test_maps_alone_need_no_sources(sim_field, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("morpheus_lite.pipeline.classify.make_catalog", None)
    arguments = [*FAST, "--products", "maps", "--planes", "mean,coverage", "--json"]
    assert main(["classify", str(sim_field), "-o", str(tmp_path), *arguments]) == 0
    record = json.loads(capsys.readouterr().out)["images"][0]
    assert record["n_sources"] is None
    assert record["classes"] == {}
    with fits.open(record["products"]["maps"]) as hdus:
        assert "DISK" in hdus
        assert "SEGMENTATION" not in hdus
    assert main(["classify", str(sim_field), "-o", str(tmp_path / "b"), *arguments[:-1]]) == 0
    assert "sources" not in capsys.readouterr().out


def test_sources_of_maps_alone_are_not_measured(sim_field, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("morpheus_lite.catalog.measurement.prepare_measurement", None)
    assert main(["classify", str(sim_field), "-o", str(tmp_path), *FAST, "--products", "maps", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["images"][0]
    labels = fits.getdata(record["products"]["maps"], "SEGMENTATION")
    assert record["n_sources"] == len(np.unique(labels[labels > 0])) > 0
    assert record["classes"] == {}


@pytest.mark.parametrize(
    "changed", [{"planes": None}, {"planes": ("mean", "segmentation")}, {"products": ("maps", "regions")}]
)
def test_other_products_need_sources(changed):
    assert replace(ClassifyOptions(products=("maps",), planes=("mean",)), **changed).needs_sources


def test_the_sheet_of_stamps_is_a_product(sim_field, tmp_path):
    options = ClassifyOptions(model="hausen2020", stride=30, products=("stamps",))
    products = classify_file(sim_field, tmp_path, options)
    path = products.paths["stamps"]
    assert path.name.endswith("_stamps.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(products.table) > 3


@pytest.mark.parametrize(
    ("planes", "statement"),
    [(("ERR", "WHT"), "as far as the RMS plane holds it"), (("WHT",), "added: 100 electrons per unit of data, from ")],
)
def test_photons_are_added_to_weights_but_not_to_errors(planes, statement, tmp_path):
    hdus = [plane(np.ones((SIZE, SIZE)), name) for name in planes]
    path = write(tmp_path / "t.fits", image(field(), header(BUNIT="electron/s", EXPTIME=100.0), "SCI"), *hdus)
    (gain,) = find_gains(read_image(path), None)
    assert gain.statement.startswith(statement)
