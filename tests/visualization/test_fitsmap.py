"""Inputs of FitsMap, and the map itself where FitsMap is installed."""

import csv

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image
from report_inputs import make_run, without_wcs

from morpheus_lite.errors import InputError, OptionError, OutputError
from morpheus_lite.visualization.html_report import build_fitsmap, write_fitsmap_inputs
from morpheus_lite.visualization.plots import colorize, field_rgb


@pytest.fixture(scope="module")
def run():
    image, classification, labels, table, _ = make_run()
    table["semimajor_axis"] = np.full(len(table), 2.0) * u.pix
    table["semiminor_axis"] = np.full(len(table), 1.5) * u.pix
    table["orientation"] = np.full(len(table), 30.0) * u.deg
    table["x_centroid"][4] = np.nan
    return image, classification, labels, table


@pytest.fixture
def inputs(run, tmp_path):
    image, classification, _, table = run
    return write_fitsmap_inputs(image, classification, table, tmp_path / "in")


def rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_pictures_are_those_of_display_with_the_top_row_first(run, inputs):
    field, classes = (np.asarray(Image.open(path))[::-1] / 255 for path in inputs.pictures[:2])
    np.testing.assert_allclose(field, field_rgb(run[0]), atol=0.003)
    np.testing.assert_allclose(classes, colorize(run[1], palette="legible", maps="probability"), atol=0.003)


def test_planes_carry_the_pixels_and_the_wcs(run, inputs):
    image = run[0]
    assert [path.name for path in inputs.pictures[2:]] == ["band_F160W.fits", "band_F606W.fits", "uncertainty.fits"]
    data = fits.getdata(inputs.pictures[2])
    usable = image.valid[:, :, 0]
    np.testing.assert_array_equal(data[usable], image.data[:, :, 0][usable])
    assert np.isnan(data[~usable]).all()
    place = WCS(fits.getheader(inputs.wcs)).pixel_to_world(40, 50)
    assert place.separation(image.wcs.pixel_to_world(40, 50)).arcsec < 1e-6


def test_the_catalogue_has_what_fitsmap_asks_for(run, inputs):
    table = run[3]
    found = rows(inputs.catalog)
    placed = np.isfinite(table["x_centroid"])
    assert [int(row["id"]) for row in found] == table["label"][placed].tolist()
    assert float(found[0]["x"]) == table["x_centroid"][0].value and float(found[0]["ra"]) == table["ra"][0].value
    assert (float(found[0]["a"]), float(found[0]["b"]), float(found[0]["theta"])) == (6.0, 4.5, 30.0)
    assert found[1]["kron_mag_F160W"] == "nan" and found[0]["morphology"] == "spheroid"
    text = inputs.catalog.read_text("utf-8")
    assert "<" not in text and '"' not in text and len(text.splitlines()) == len(found) + 1


def test_without_sources_or_wcs_there_is_no_catalogue_and_no_wcs(tmp_path):
    image, classification, _, table, _ = make_run(n_sources=0)
    inputs = write_fitsmap_inputs(without_wcs(image), classification, table, tmp_path)
    assert inputs.catalog is None and inputs.wcs is None


def test_what_cannot_be_written_is_refused(run, tmp_path):
    image, classification, _, table = run
    with pytest.raises(InputError, match="no column x_centroid"):
        write_fitsmap_inputs(image, classification, table["label", "y_centroid"], tmp_path)
    (tmp_path / "field.png").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_fitsmap_inputs(image, classification, table, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["field.png"]


def test_without_fitsmap_the_map_is_refused_with_what_to_do(inputs, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fitsmap.convert", None)
    with pytest.raises(OptionError, match="pip install fitsmap"):
        build_fitsmap(inputs, tmp_path / "map")


def test_fitsmap_makes_a_map_of_the_inputs(inputs, tmp_path):
    pytest.importorskip("fitsmap")
    index = build_fitsmap(inputs, tmp_path / "map")
    layers = {path.name for path in (tmp_path / "map").iterdir() if path.is_dir()}
    assert {"field", "classes", "band_F160W", "uncertainty", "sources"} <= layers
    assert index.is_file() and "band_F160W" in (index.parent / "js" / "index.js").read_text("utf-8")
    # Pictures and FITS images lie on each other only if both stand upright.
    field, band = (
        np.asarray(Image.open(tmp_path / "map" / name / "0/0/0.png"), float) for name in ("field", "band_F160W")
    )
    shown = band[:, :, 3] > 0
    assert np.corrcoef(field[:, :, 0][shown], band[:, :, 0][shown])[0, 1] > 0.9
    with pytest.raises(OutputError, match="not empty"):
        build_fitsmap(inputs, tmp_path / "map")
