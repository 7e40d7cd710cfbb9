"""AB zero-points of the layouts that archives write: from unit and keywords that agree, disagree or are not AB."""

import json
import warnings

import numpy as np
import pytest
from astropy.io import fits
from cases import field, header, image, write

from morpheus_lite import InputError
from morpheus_lite.cli.main import main
from morpheus_lite.io import read_image
from morpheus_lite.io.zero_points import zero_point

AREA = (0.03 / 206264.806) ** 2
HST = {"PHOTFLAM": 7e-20, "PHOTPLAM": 8045.0}
"""25.952 AB per count per second."""


def quiet(cards, unit, area=AREA):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return zero_point(cards, unit, area)


@pytest.mark.parametrize(
    ("cards", "unit", "expected", "source"),
    [
        (HST | {"EXPTIME": 2000.0}, "counts per second", 25.952, "PHOTFLAM and PHOTPLAM"),
        (HST | {"EXPTIME": 2000.0}, "ELECTRONS", 34.204, "PHOTFLAM and PHOTPLAM and EXPTIME"),
        (HST, "counts/min", 25.952 + 4.445, "PHOTFLAM and PHOTPLAM"),
        (HST | {"EXPTIME": 60.0}, "1000 counts", 25.952 + 4.445 - 7.5, "PHOTFLAM and PHOTPLAM and EXPTIME"),
        (HST | {"MAGZERO": 25.95, "EXPTIME": 2000.0}, "e-/s", 25.95, "MAGZERO"),
        ({"FLUXMAG0": 63095734448.0}, None, 27.0, "FLUXMAG0"),
        ({"FLUXMAG0": 63095734448.0}, "count", 27.0, "FLUXMAG0"),
        ({"FPA.ZP": 25.0, "EXPTIME": 900.0}, None, 32.386, "FPA.ZP and EXPTIME"),
        ({"FPA.ZP": 25.0, "EXPTIME": 900.0}, "DN", 32.386, "FPA.ZP and EXPTIME"),
        ({"FPA.ZP": 25.0, "EXPTIME": 900.0}, "DN/s", 25.0, "FPA.ZP"),
        ({"PHOTMJSR": 0.5}, "DN/s", 28.0866 + 0.7526, "PHOTMJSR and the area of a pixel"),
        ({"PHOTMJSR": 0.5, "PIXAR_SR": AREA}, "MJy/sr", 28.0866, "BUNIT MJy/sr and the area of a pixel"),
        ({"PIXAR_SR": AREA * 1.03}, "MJy/sr", 28.0866, "BUNIT MJy/sr and the area of a pixel"),
        ({"ABMAGZP": 26.5}, "DN/s", 26.5, "ABMAGZP"),
        ({"NMGY": 0.0038, "ORIGIN": "SDSS"}, None, 22.5, "NMGY"),
        ({"NMGY": 0.0038, "ORIGIN": "SDSS"}, "nanomaggy", 22.5, "BUNIT nanomaggy"),
        ({"MAGZERO": 22.5}, "nanomaggies", 22.5, "BUNIT nanomaggies"),
        ({"MAGZERO": 31.4}, "nJy", 31.4, "BUNIT nJy"),
        ({"PHOTPLAM": 8045.0}, "1e-20 erg/s/cm2/A", 28.064, "BUNIT 1e-20 erg/s/cm2/A and PHOTPLAM"),
        ({}, "erg/s/cm2/Hz", -48.6, "BUNIT erg/s/cm2/Hz"),
        ({}, "Jy/pixel", 8.9, "BUNIT Jy/pixel"),
        ({}, "uJy/arcsec2", 23.9 + 7.614, "BUNIT uJy/arcsec2 and the area of a pixel"),
        # Not set.
        ({"MAGZERO": 0.0, "ZEROPNT": 25.9}, "count", 25.9, "ZEROPNT"),
        ({"MAGZERO": -99.0} | HST, "e-/s", 25.952, "PHOTFLAM and PHOTPLAM"),
        ({"ABZP": 99.0, "MAGZERO": 30.0}, "adu", 30.0, "MAGZERO"),
        # The system is stated.
        ({"PHOTZP": 30.0, "PHOTSYS": "AB"}, "adu", 30.0, "PHOTZP"),
        ({"MAGZPT": 23.1, "PHOTSYS": "AB"}, "adu", 23.1, "MAGZPT"),
        ({"MAGZP": 26.3, "INSTRUME": "ZTF/MOSAIC"}, "DN", 26.3, "MAGZP"),
        ({"MAGZP": 20.5, "TELESCOP": "WISE", "VEGA2AB": 2.699}, "DN", 23.199, "MAGZP and VEGA2AB"),
        ({"MAGZERO": 23.0, "PHOTSYS": "VEGA", "ABOFFSET": 0.91}, "adu", 23.91, "MAGZERO and ABOFFSET"),
        ({"ABZP": 24.0, "PHOTSYS": "VEGA"}, "adu", 24.0, "ABZP"),
        ({"MAGZP": 20.5, "TELESCOP": "WISE"}, "nJy", 31.4, "BUNIT nJy"),
        ({"MAGZERO": " 25.9 "}, "adu", 25.9, "MAGZERO"),
    ],
)  # fmt: skip
def test_zero_points_that_are_clear(cards, unit, expected, source):
    found = quiet(cards, unit)
    assert found.value == pytest.approx(expected, abs=2e-3)
    assert (found.source, found.system) == (source, "AB")


@pytest.mark.parametrize(
    ("cards", "unit", "expected", "both"),
    [
        ({"MAGZERO": 25.9}, "nJy", 31.4, ("BUNIT nJy", "MAGZERO")),
        ({"ABZP": 25.9}, "MJy/sr", 28.0866, ("BUNIT MJy/sr", "ABZP")),
        ({"FLUXMAG0": 1e10}, "nanomaggy", 22.5, ("BUNIT nanomaggy", "FLUXMAG0")),
        ({"ABZP": 25.9, "MAGZERO": 30.0}, "adu", 25.9, ("ABZP", "MAGZERO")),
        ({"ZEROPNT": 22.5} | HST, "electron/s", 22.5, ("ZEROPNT", "PHOTFLAM")),
        # MAGZERO is right for counts per second, and the data are counts; and the other way round.
        ({"MAGZERO": 25.952, "EXPTIME": 2000.0} | HST, "counts", 34.204, ("MAGZERO", "PHOTPLAM and EXPTIME")),
        ({"MAGZERO": 34.204, "EXPTIME": 2000.0} | HST, "counts/s", 25.952, ("MAGZERO", "PHOTFLAM and PHOTPLAM")),
        ({"PIXAR_SR": 4 * AREA}, "MJy/sr", 28.0866, ("PIXAR_SR", "WCS")),
    ],
)  # fmt: skip
def test_two_that_disagree_give_a_warning_that_names_both(cards, unit, expected, both):
    with pytest.warns(UserWarning) as caught:
        found = zero_point(cards, unit, AREA)
    assert found.value == pytest.approx(expected, abs=2e-3)
    said = " ".join(str(one.message) for one in caught)
    assert all(name in said for name in both)


@pytest.mark.parametrize(
    ("cards", "system"),
    [
        ({"MAGZP": 20.5, "TELESCOP": "WISE"}, "Vega"),
        ({"MAGZP": 20.7, "ORIGIN": "2MASS"}, "Vega"),
        ({"MAGZP": 20.7}, "unknown"),
        ({"MAGZPT": 23.1, "INSTRUME": "WFCAM", "TELESCOP": "UKIRT"}, "Vega"),
        ({"MAGZPT": 23.1, "INSTRUME": "VIRCAM"}, "Vega"),
        ({"MAGZPT": 23.1}, "unknown"),
        ({"MAGZERO": 25.0, "PHOTSYS": "VEGA"}, "Vega"),
        ({"PHOTZP": 25.0, "PHOTSYS": "Vegamag"}, "Vega"),
        ({"ZEROPNT": 25.0, "MAGSYS": "ST"}, "ST"),
    ],
)
def test_zero_points_that_are_not_ab(cards, system):
    with pytest.warns(UserWarning, match=rf"photometric system of {next(iter(cards))} = .* is {system}, not AB"):
        found = zero_point(cards, "DN", AREA)
    assert found.value is None
    assert found.system == system


def test_the_comment_of_a_card_says_the_system():
    cards = fits.Header([("MAGZERO", 25.0, "[mag] Vega zero-point")])
    with pytest.warns(UserWarning, match="Vega"):
        assert zero_point(cards, "adu", AREA).value is None
    cards = fits.Header([("MAGZPT", 25.0, "AB magnitude of one count")])
    assert quiet(cards, "adu").value == 25.0


@pytest.mark.parametrize("unit", ["bananas", "DN/mystery", "counts per"])
def test_a_unit_that_is_not_understood_is_said(unit):
    with pytest.warns(UserWarning, match=f"BUNIT {unit} is not understood"):
        assert zero_point(HST, unit, AREA) is None


def test_a_zero_point_per_second_without_exposure_time():
    with pytest.warns(UserWarning, match="MAGZERO is the zero-point of one count per second.* no EXPTIME"):
        assert zero_point(HST | {"MAGZERO": 25.952}, "counts", AREA) is None
    assert quiet(HST | {"MAGZERO": 30.0}, "counts").value == 30.0


@pytest.mark.parametrize("unit", ["mag", "mag/arcsec2", "mag(AB)"])
def test_magnitudes_are_refused(unit, tmp_path):
    path = write(tmp_path / "m.fits", image(field(), header(BUNIT=unit)))
    with pytest.raises(InputError, match="the pixels are magnitudes"):
        read_image(path)


@pytest.mark.parametrize("cards", [{"PIXAR_SR": AREA}, {}])
def test_surface_brightness_without_a_wcs(cards):
    found = quiet(cards, "MJy/sr", None)
    assert found is None if not cards else found.source == "BUNIT MJy/sr and PIXAR_SR"


FILES = {
    "stale PIXAR_SR": ({"BUNIT": "MJy/sr", "PIXAR_SR": 4 * AREA}, {"FILTER": "F150W"}, 0.03, 28.087, "PIXAR_SR"),
    "Vega": ({"BUNIT": "DN", "MAGZP": 20.5, "TELESCOP": "WISE"}, {}, 1.375, None, "Vega"),
    "two units": ({"BUNIT": "nJy", "MAGZERO": 25.9, "FILTER": "F814W"}, {}, 0.06, 31.4, "MAGZERO"),
    "rate in words": ({"BUNIT": "counts per second", "EXPTIME": 2e3, **HST}, {}, 0.06, 25.952, None),
    "LSST": ({}, {"FILTER": "HSC-R", "FLUXMAG0": 63095734448.0}, 0.168, 27.0, None),
    "Pan-STARRS": ({"HIERARCH FPA.ZP": 25.0, "EXPTIME": 900.0}, {}, 0.25, 32.386, None),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name, tmp_path, capsys):
    cards, primary, scale, expected, warning = FILES[name]
    path = write(tmp_path / "a.fits", image(field(), header(scale, **cards), "SCI"), primary=primary)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read = read_image(path)
    assert any(warning in str(one.message) for one in caught) if warning else not caught
    assert read.zero_points == (pytest.approx(expected, abs=2e-3) if expected else None,)
    assert main(["info", "--json", str(path)]) == 0
    (band,) = json.loads(capsys.readouterr().out)[0]["bands"].values()
    assert band["zero_point"] == (pytest.approx(expected, abs=2e-3) if expected else None)
    assert band["zero_point_system"] == ("AB" if expected else "Vega")
    assert main(["info", str(path)]) == 0
    line = (
        f"zero-point {band['zero_point']} AB ({band['zero_point_source']})" if expected else "no AB zero-point (MAGZP"
    )
    assert line in capsys.readouterr().out


def test_the_catalogue_says_where_its_zero_points_come_from(tmp_path):
    from cases import classify_case

    path = write(tmp_path / "a.fits", image(field(), header(BUNIT="counts per second", FILTER="F814W", **HST)))
    table, _ = classify_case(path)
    record = {"value": pytest.approx(25.9516, abs=1e-4), "source": "PHOTFLAM and PHOTPLAM", "system": "AB"}
    assert table.meta["zero_points"] == {"F814W": record}
    magnitude = table["kron_mag_F814W"].value
    np.testing.assert_allclose(magnitude, 25.9516 - 2.5 * np.log10(table["kron_flux_F814W"].value), atol=1e-3)
    table, _ = classify_case(path, reading={"zero_points": 30.0})
    assert table.meta["zero_points"] == {"F814W": {"value": 30.0, "source": "option", "system": "AB"}}
