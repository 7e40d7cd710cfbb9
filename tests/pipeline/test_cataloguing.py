"""morpheus catalog: image, segmentation map and class maps that exist become a catalogue."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from test_photometry import grid, maps_of, sky

from morpheus_lite import Classification, SkyImage, decode_flags
from morpheus_lite.cli.main import main
from morpheus_lite.config.classify import CATALOG_FORMATS
from morpheus_lite.io import read_catalog, read_image, write_maps


@pytest.fixture
def files(tmp_path):
    """Image, class maps with labels, and label maps good and bad; with a WCS or without."""
    data, labels, _ = grid(2000, n=2)
    image = replace(sky(data, units=("electron/s",)), name="field")
    write_maps(image, maps_of(labels.shape), tmp_path / "maps.fits", labels=labels)
    write_maps(image, maps_of(labels.shape), tmp_path / "bare.fits")
    header = fits.Header({"FILTER": "F160W", "BUNIT": "electron/s", "ABZP": 25.0})
    fits.writeto(tmp_path / "field.fits", data.astype("f4"), header)
    for name, plane in {
        "seg": labels.astype("i2"),
        "float": labels.astype("f4"),
        "half": labels + 0.5,
        "cut": labels[:-1],
        "cube": np.stack([labels, labels]),
        "none": np.zeros_like(labels),
    }.items():
        fits.writeto(tmp_path / f"{name}.fits", plane)
    return tmp_path


def run(files, *arguments, maps="maps.fits", output="out.ecsv"):
    named = [str(files / item) if item.endswith((".fits", "]")) else item for item in arguments]
    return main(["catalog", str(files / "field.fits"), "--maps", str(files / maps), "-o", str(files / output), *named])


def test_the_labels_of_the_maps(files, capsys):
    assert run(files, "--json") == 0
    assert json.loads(capsys.readouterr().out)["n_sources"] == 4
    table = read_catalog(files / "out.ecsv")
    assert np.isfinite(table["kron_mag_F160W"]).all()
    assert "ra" not in table.colnames, "there is no WCS"
    assert run(files) == 3, "it exists"
    assert "exists" in capsys.readouterr().err
    assert run(files, "--overwrite") == 0


@pytest.mark.parametrize("segmentation", ["seg.fits", "float.fits", "seg.fits[0]", "maps.fits"])
def test_the_segmentation_map_of_any_tool(files, segmentation):
    assert run(files, "--labels", segmentation, maps="bare.fits") == 0
    assert len(read_catalog(files / "out.ecsv")) == 4


def test_an_image_of_another_piece_of_the_sky(files, capsys):
    cards = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 9.0, "CDELT1": -1e-5, "CDELT2": 1e-5})
    image = replace(read_image(files / "field.fits"), wcs=WCS(cards))
    write_maps(image, maps_of(image.shape), files / "moved.fits", labels=fits.getdata(files / "seg.fits"))
    fits.setval(files / "field.fits", "CRPIX1", value=21.0)
    for keyword in ("CTYPE1", "CTYPE2", "CDELT1", "CDELT2"):
        fits.setval(files / "field.fits", keyword, value=cards[keyword])
    assert run(files, maps="moved.fits") == 3
    assert "is not aligned with field: their WCS differ by 12.00 px" in capsys.readouterr().err
    labels = fits.getdata(files / "seg.fits")
    fits.writeto(files / "moved_seg.fits", labels, cards)
    assert run(files, "--labels", "moved_seg.fits") == 3
    assert "moved_seg.fits is not aligned with the image: their WCS differ by 12.00 px" in capsys.readouterr().err


def test_options_reach_the_measurement(files):
    options = ["--aperture-radii", "4", "--aperture-unit", "pixel", "--columns", "sextractor", "--local-background"]
    assert run(files, *options, "--zero-point", "F160W=26", output="out.fits") == 0
    table = read_catalog(files / "out.fits")
    assert {"FLUX_APER_4PX", "MAG_AUTO", "BACKGROUND"} <= set(table.colnames)
    np.testing.assert_allclose(table["MAG_AUTO"].value, 26 - 2.5 * np.log10(table["FLUX_AUTO"].value), rtol=1e-6)


@pytest.mark.parametrize(("gain", "value"), [("2.5", 2.5), ("H=4", 4.0)])
def test_gain_and_psf_reach_the_measurement(files, gain, value):
    assert run(files, "--gain", gain, "--psf-fwhm", "3") == 0
    table = read_catalog(files / "out.ecsv")
    assert table.meta["photon_noise"]["F160W"] == f"added: {value:g} electrons per unit of data, as given"
    assert table.meta["psf_fwhm"] == 3
    assert (table["total_correction"] >= 1).all()


@pytest.mark.parametrize("suffix", CATALOG_FORMATS)
def test_no_sources_is_a_valid_catalogue_in_every_format(files, suffix):
    assert run(files, "--labels", "none.fits", "--deblended-flux", output=f"out.{suffix}") == 0
    table = read_catalog(files / f"out.{suffix}")
    assert len(table) == 0
    assert {"kron_flux_F160W", "total_flux_F160W", "shared_flux_F160W", "flags"} <= set(table.colnames)


@pytest.mark.parametrize(
    ("arguments", "maps", "code", "message"),
    [
        (["--labels", "cut.fits"], "maps.fits", 3, "the label map has shape"),
        (["--labels", "half.fits"], "maps.fits", 3, "not whole numbers"),
        (["--labels", "cube.fits"], "maps.fits", 3, "dimensions"),
        (["--labels", "absent.fits"], "maps.fits", 3, "no such file"),
        ([], "bare.fits", 3, "no segmentation map"),
        ([], "seg.fits", 3, "no class maps"),
        (["--zero-point", "F160W=bright"], "maps.fits", 2, "bright"),
        (["--zero-point", "F160W=inf"], "maps.fits", 2, "inf"),
        (["--aperture-radii", "0.5,x"], "maps.fits", 2, "x"),
        (["--aperture-radii", "0.5"], "maps.fits", 2, "no WCS"),
        (["--columns", "cake"], "maps.fits", 2, "cake"),
    ],
)
def test_bad_input_gives_a_code_a_message_and_no_file(files, capsys, arguments, maps, code, message):
    assert run(files, *arguments, maps=maps) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not (files / "out.ecsv").exists()


@pytest.mark.parametrize("domain", [[], ["PSF: 0.9, trained on 0.05 to 0.3"]])
def test_outside_of_the_domain_is_flagged(tmp_path, domain):
    shape = (40, 40)
    data = np.random.default_rng(1).normal(size=(*shape, 1)).astype(np.float32)
    labels = np.zeros(shape, np.int32)
    labels[10:20, 10:20] = 1
    image = SkyImage(data, ("F160W",), np.ones(data.shape, bool))
    planes = np.full((*shape, 5), 0.2, np.float32)
    seen = np.ones(shape, bool)
    record = {"version": "1"} | ({"domain": domain} if domain else {})
    write_maps(
        image,
        Classification(planes, seen.astype(np.int32), seen, provenance=record),
        tmp_path / "maps.fits",
        labels=labels,
    )
    fits.writeto(tmp_path / "image.fits", data[:, :, 0], fits.Header({"FILTER": "F160W"}))
    arguments = [str(tmp_path / "image.fits"), "--maps", str(tmp_path / "maps.fits"), "-o", str(tmp_path / "out.ecsv")]
    assert main(["catalog", *arguments]) == 0
    flags = decode_flags(read_catalog(tmp_path / "out.ecsv")["flags"][0])
    assert ("outside_domain" in flags) == bool(domain)


def test_classify_with_the_new_detector_and_sextractors_names(sim_field, tmp_path):
    arguments = [
        "--segmentation",
        "probability",
        "--columns",
        "sextractor",
        "--products",
        "catalog",
        "--model",
        "hausen2020",
        "--stride",
        "30",
    ]
    assert main(["classify", str(sim_field), "-o", str(tmp_path), *arguments]) == 0
    table = read_catalog(next(tmp_path.glob("*_catalog.ecsv")))
    assert len(table) > 0
    assert {"FLUX_AUTO", "FLAGS", "P_DISK"} <= set(table.colnames)
    assert table.meta["options"]["segmentation"] == "probability"
