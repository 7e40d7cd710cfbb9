"""What the reader makes of headers: the WCS with its distortion, zero-points and units, names of bands."""

import math
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from inputs import SHAPE, TRUTH, header, plane, sky_wcs, write

from morpheus_lite.core.windows import Window
from morpheus_lite.io import open_image, read_image
from morpheus_lite.io.bands import filter_of, plane_filters, role_of
from morpheus_lite.io.wcs import header_of_wcs
from morpheus_lite.io.zero_points import zero_point

X, Y = np.array([0.0, 51, 0, 51, 20.3]), np.array([0.0, 0, 43, 43, 11.7])


def sip_header() -> fits.Header:
    made = sky_wcs().to_header()
    made["CTYPE1"], made["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    made.update({"A_ORDER": 2, "A_2_0": 3e-4, "A_1_1": -1e-4, "B_ORDER": 2, "B_0_2": 2e-4, "B_1_1": 1e-4})
    made.update({"AP_ORDER": 2, "AP_2_0": -3e-4, "BP_ORDER": 2, "BP_0_2": -2e-4})
    return made


def tpv_header() -> fits.Header:
    made = sky_wcs().to_header()
    made["CTYPE1"], made["CTYPE2"] = "RA---TPV", "DEC--TPV"
    del made["LONPOLE"], made["LATPOLE"]
    made.update({"PV1_0": 1e-5, "PV1_1": 1.01, "PV1_4": 2e-4, "PV2_0": -1e-5, "PV2_1": 0.99, "PV2_5": -3e-4})
    return made


def positions(wcs: WCS) -> np.ndarray:
    return np.array(wcs.all_pix2world(X, Y, 0))


def read_with(made: fits.Header, folder, data=None):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return read_image(write(folder / "t.fits", fits.ImageHDU(plane(0) if data is None else data, made)))


@pytest.mark.parametrize("build", [sip_header, tpv_header])
def test_distortion_is_kept(build, tmp_path):
    made = build()
    expected = np.array(WCS(made).all_pix2world(X, Y, 0))
    assert np.hypot(*(expected - positions(sky_wcs()))).max() > 1e-7
    image = read_with(made, tmp_path)
    np.testing.assert_allclose(positions(image.wcs), expected, rtol=0, atol=1e-12)
    again = WCS(header_of_wcs(image.wcs))
    np.testing.assert_allclose(positions(again), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("build", [sip_header, tpv_header])
def test_sections_keep_distorted_positions(build, tmp_path):
    path = write(tmp_path / "t.fits", fits.ImageHDU(plane(0), build()))
    window = Window(7, 13, 20, 30)
    with open_image(path) as source:
        section = source.read(window)
        expected = np.array(source.wcs.all_pix2world(X, Y, 0))
    moved = np.array(section.wcs.all_pix2world(X - 13, Y - 7, 0))
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-11)


def test_declination_first_is_kept(tmp_path):
    made = sky_wcs().to_header()
    for keyword in ("CTYPE", "CRVAL", "CUNIT"):
        made[f"{keyword}1"], made[f"{keyword}2"] = made[f"{keyword}2"], made[f"{keyword}1"]
    image = read_with(made, tmp_path)
    np.testing.assert_allclose(positions(image.wcs), WCS(made).all_pix2world(X, Y, 0))


def test_spectral_axis_of_a_cube_is_dropped(tmp_path):
    made = sip_header()
    made.update({"WCSAXES": 3, "CTYPE3": "WAVE", "CUNIT3": "m", "CRVAL3": 1e-6, "CDELT3": 1e-7, "CRPIX3": 1.0})
    path = write(tmp_path / "t.fits", fits.ImageHDU(np.stack([plane(0), plane(1)]), made))
    with pytest.warns(UserWarning, match="2 planes, but the header calls their axis WAVE"):
        image = read_image(path)
    assert image.wcs.naxis == 2
    np.testing.assert_allclose(positions(image.wcs), WCS(sip_header()).all_pix2world(X, Y, 0), rtol=0, atol=1e-12)


def test_left_over_distortion_is_dropped_with_a_warning(tmp_path):
    made = sip_header()
    made["CTYPE1"], made["CTYPE2"] = "RA---TAN", "DEC--TAN"
    path = write(tmp_path / "t.fits", fits.ImageHDU(plane(0), made))
    with pytest.warns(UserWarning, match="SIP distortion but CTYPE is RA---TAN"):
        image = read_image(path)
    np.testing.assert_allclose(positions(image.wcs), positions(sky_wcs()), rtol=0, atol=1e-12)


def test_what_is_doubtful_about_one_wcs_names_each_band_that_has_it(tmp_path):
    made = sip_header()
    made["CTYPE1"], made["CTYPE2"] = "RA---TAN", "DEC--TAN"
    bands = [fits.ImageHDU(plane(k), made, name=name) for k, name in enumerate(("F125W", "F160W"))]
    with pytest.warns(UserWarning, match="left over") as told, open_image(write(tmp_path / "t.fits", *bands)) as image:
        first = image.wcs
    assert [sum(f"t.fits[{number}]" in str(one.message) for one in told) for number in (1, 2)] == [1, 1]
    first.wcs.crval = 0, 0
    with pytest.warns(UserWarning, match="left over"):
        image = read_image(tmp_path / "t.fits")
    np.testing.assert_allclose(positions(image.wcs), positions(sky_wcs()), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "cards",
    [
        {"CDELT1": 0.0},
        {"CTYPE1": "RA---QQQ", "CTYPE2": "DEC--QQQ"},
        {"CTYPE2": "RA---TAN"},
        {"CUNIT1": "furlong"},
    ],
)
def test_broken_wcs_is_left_out_with_a_warning(cards, tmp_path):
    made = sky_wcs().to_header()
    made.update(cards)
    path = write(tmp_path / "t.fits", fits.ImageHDU(plane(0), made))
    with pytest.warns(UserWarning, match=r"t.fits\[1\].*the WCS is not usable and is left out"):
        image = read_image(path)
    assert image.wcs is None
    assert image.pixel_scale is None


@pytest.mark.parametrize("cards", [{}, {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "CRPIX1": 3.0}])
def test_no_celestial_wcs_is_no_problem(cards, tmp_path):
    assert read_with(fits.Header(cards), tmp_path).wcs is None


def test_wcs_of_the_band_that_has_one(tmp_path):
    hdus = [fits.ImageHDU(plane(0), name="H"), fits.ImageHDU(plane(1), header(1), name="J")]
    image = read_image(write(tmp_path / "t.fits", *hdus))
    np.testing.assert_allclose(positions(image.wcs), positions(sky_wcs()), rtol=0, atol=1e-12)
    assert image.pixel_scale == pytest.approx(0.06, rel=1e-6)


# --- zero-points


AREA = (0.03 * u.arcsec**2 / 0.03 * 0.03**2).to_value("sr")
PHOT = {"PHOTFLAM": 1.9106045e-20, "PHOTPLAM": 15369.172}


@pytest.mark.parametrize(
    ("cards", "unit", "expected", "source"),
    [
        ({"ABZP": 25.9}, None, 25.9, "ABZP"),
        ({"MAGZERO": 30}, None, 30.0, "MAGZERO"),
        ({}, "nJy", 31.4, "BUNIT nJy"),
        ({}, "uJy", 23.9, "BUNIT uJy"),
        ({}, "Jy", 8.9, "BUNIT Jy"),
        ({}, "10.0*nanoJansky", 28.9, "BUNIT 10.0*nanoJansky"),
        ({}, "nanomaggy", 22.5, "BUNIT nanomaggy"),
        (PHOT, "ELECTRONS/S", 25.956, "PHOTFLAM and PHOTPLAM"),
        (PHOT, None, 25.956, "PHOTFLAM and PHOTPLAM"),
        (PHOT | {"EXPTIME": 100.0}, "ELECTRONS", 30.956, "PHOTFLAM and PHOTPLAM and EXPTIME"),
        ({"PHOTFNU": 3631e-10}, "electron/s", 25.0, "PHOTFNU"),
    ],
)
def test_zero_points(cards, unit, expected, source):
    found = zero_point(cards, unit, AREA)
    assert found.value == pytest.approx(expected, abs=2e-3)
    assert found.source == source


def test_zero_point_of_surface_brightness():
    # JWST at 0.03 arcsec: 1 MJy/sr is 2.1154e-8 Jy per pixel, 28.0865 mag.
    found = zero_point({}, "MJy/sr", AREA)
    assert found.value == pytest.approx(28.0865, abs=1e-3)
    assert zero_point({"PIXAR_SR": AREA / 100}, "MJy/sr", None).value == pytest.approx(found.value + 5, abs=1e-9)
    assert zero_point({}, "MJy/sr", None) is None


def test_zero_point_of_flux_per_wavelength():
    found = zero_point({"PHOTPLAM": 15369.172}, "erg/s/cm2/Angstrom", None)
    assert found.value == pytest.approx(-2.408 - 5 * math.log10(15369.172), abs=2e-3)
    assert zero_point({}, "erg/s/cm2/Angstrom", None) is None


@pytest.mark.parametrize(
    ("cards", "unit"),
    [
        ({}, None),
        ({}, "electron/s"),
        ({"ABZP": "bright"}, None),
        ({"ABZP": True}, None),
        ({"PHOTFLAM": 0.0, "PHOTPLAM": 5000.0}, "electron/s"),
        ({"PHOTFLAM": 1e-19}, "electron/s"),
        (PHOT, "ELECTRONS"),
        (PHOT | {"EXPTIME": 0}, "COUNTS"),
    ],
)
def test_unknown_zero_points(cards, unit):
    assert zero_point(cards, unit, AREA) is None


def test_zero_point_by_option_counts_more_than_the_header(tmp_path):
    path = write(tmp_path / "t.fits", fits.ImageHDU(plane(0), header(0), name="H"))
    with open_image(path, zero_points={"h": 20}) as source:
        assert source.zero_points == (20.0,)
        assert source.meta["bands"]["F160W"]["zero_point_source"] == "option"
    with open_image(path) as source:
        assert source.meta["bands"]["F160W"]["zero_point_source"] == "ABZP"


def test_zero_point_from_the_primary_header(tmp_path):
    made = header(0)
    del made["ABZP"]
    path = write(tmp_path / "t.fits", fits.ImageHDU(plane(0), made, name="SCI"), primary=fits.Header(PHOT))
    assert read_image(path).zero_points[0] == pytest.approx(25.956, abs=1e-3)


# --- names


@pytest.mark.parametrize(
    ("name", "role", "band"),
    [
        ("", "science", None),
        ("SCI", "science", None),
        ("primary", "science", None),
        ("F160W", "unknown", "F160W"),
        ("v", "unknown", "F606W"),
        ("F160W_SCI", "science", "F160W"),
        ("SCI-H", "science", "F160W"),
        ("Z_wht", "weight", "F850LP"),
        ("ERR", "rms", None),
        ("VAR", "variance", None),
        ("VAR_POISSON", "other", None),
        ("HSC_I_MASK", "mask", "HSC_I"),
        ("EXP", "exposure", None),
        ("CTX", "other", None),
    ],
)
def test_roles(name, role, band):
    assert role_of(name) == (role, band)


@pytest.mark.parametrize(
    ("cards", "band"),
    [
        ({"FILTER": "F160W"}, "F160W"),
        ({"FILTER": " h "}, "F160W"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F850LP"}, "F850LP"),
        ({"FILTER1": "F606W", "FILTER2": "POL0V"}, "F606W+POL0V"),
        ({"FILTER1": 28, "FILTER2": 0, "FILTNAM1": "F606W", "FILTNAM2": ""}, "F606W"),
        ({"BAND": "HSC-I"}, "HSC-I"),
        ({"FILTER": "N/A", "BAND": "none"}, None),
        ({"FILTER": 3}, None),
        ({}, None),
    ],
)
def test_filters(cards, band):
    assert filter_of(cards) == band


@pytest.mark.parametrize(
    ("cards", "bands"),
    [
        ({"FILTER1": "H", "FILTER2": "J"}, ("F160W", "F125W")),
        ({"BAND1": "g", "BAND2": "r"}, ("G", "R")),
        ({"BANDS": "g, r"}, ("G", "R")),
        ({"EXTNAME": "F160W F125W"}, ("F160W", "F125W")),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F850LP"}, None),
        ({"EXTNAME": "SCI"}, None),
    ],
)
def test_filters_of_cubes(cards, bands):
    assert plane_filters(cards, 2) == bands


def test_bands_without_names_are_numbered(tmp_path):
    path = write(tmp_path / "t.fits", *(fits.ImageHDU(plane(k)) for k in range(3)))
    image = read_image(path)
    assert image.bands == ("1", "2", "3")
    assert not image.has_band_names
    np.testing.assert_array_equal(image.data, TRUTH.data[:, :, :3])
    assert read_image(path, bands=["H", "J", "V"]).bands == ("F160W", "F125W", "F606W")


def test_names_of_images(tmp_path):
    path = write(tmp_path / "goods-s.fits", fits.ImageHDU(plane(0), name="H"))
    assert read_image(f"{path}[H]").name == "goods-s"
    for band in "hj":
        write(tmp_path / f"cdfs_{band}.fits", fits.ImageHDU(plane(0)))
    assert read_image({band: tmp_path / f"cdfs_{band}.fits" for band in "hj"}).name == "cdfs"
    assert read_image(np.ones(SHAPE)).name == "image"
