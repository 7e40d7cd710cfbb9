"""WCS that astropy repairs, that say two things, or that no header can carry."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS
from cases import SIZE, classify_case, field, header, image, write

from morpheus_lite.io import read_image
from morpheus_lite.io.wcs import header_of_wcs

ROTATED = {"PC1_1": 0.5, "PC1_2": 0.8, "PC2_1": -0.8, "PC2_2": 0.5, "CDELT1": -5e-5, "CDELT2": 5e-5}
SCALE = 0.06 / 3600


def read_quietly(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return read_image(path)


def same_sky(wcs, other):
    x, y = np.array([0.0, 119, 60]), np.array([0.0, 30, 119])
    separation = wcs.pixel_to_world(x, y).separation(other.pixel_to_world(x, y))
    return separation.arcsec.max() < 1e-6


@pytest.mark.parametrize(
    "cards",
    [
        {"CUNIT1": "degree", "CUNIT2": "degree"},
        {"CUNIT1": "DEGREE", "CUNIT2": "DEGREE"},
        {"CUNIT1": "degrees", "CUNIT2": "Degrees"},
        {"CUNIT1": "DEG", "CUNIT2": "DEG"},
        {"CUNIT1": "deg", "CUNIT2": "deg", "DATE-OBS": "31/12/99"},
        {"DATE-OBS": "not a date"},
        {"CDELT1": 1.0, "CDELT2": 1.0},
        {"CDELT1": 1.0, "CDELT2": 1.0, "CROTA2": 30.0},
        {"PC1_1": -SCALE, "PC2_2": SCALE},
        {"PC1_1": -1.0, "PC2_2": 1.0, "CDELT1": SCALE, "CDELT2": SCALE},
        {"WCSAXES": 2},
        {"CRVAL1": "53.1", "CD1_1": f" {-SCALE:.12E}".replace("E", "D")},
    ],
)
def test_repaired_without_a_word(cards, tmp_path):
    read = read_quietly(write(tmp_path / "a.fits", image(field(), header(**cards))))
    assert read.pixel_scale == pytest.approx(0.06, rel=1e-9)
    assert same_sky(read.wcs, WCS(header()))
    assert same_sky(WCS(header_of_wcs(read.wcs)), WCS(header()))


@pytest.mark.parametrize("text", ["1950.0", "B1950", " 1950"])
def test_the_equinox_in_quotes_is_a_number(text, tmp_path):
    read = read_quietly(write(tmp_path / "a.fits", image(field(), header(EQUINOX=text))))
    assert same_sky(read.wcs, WCS(header(EQUINOX=1950.0)))


@pytest.mark.parametrize(
    ("text", "frame"),
    [("J2000", "FK5"), ("FK5/J2000", "FK5"), ("icrs", "ICRS"), ("ICRF", "ICRS"), ("fk4", "FK4"), ("B1950.0", "FK4")],
)
def test_frames_in_the_words_of_archives(text, frame, tmp_path):
    read = read_quietly(write(tmp_path / "a.fits", image(field(), header(RADESYS=text))))
    assert same_sky(read.wcs, WCS(header(RADESYS=frame)))


@pytest.mark.parametrize(("cards", "frame"), [({}, "ICRS"), ({"EQUINOX": 1950.0}, "FK4")])
def test_a_frame_that_nobody_knows_is_that_of_the_equinox(cards, frame, tmp_path):
    path = write(tmp_path / "a.fits", image(field(), header(RADESYS="GAPPT", **cards)))
    with pytest.warns(UserWarning, match="GAPPT"):
        read = read_image(path)
    assert same_sky(read.wcs, WCS(header(RADESYS=frame, **cards)))


def test_arcseconds(tmp_path):
    cards = header(CUNIT1="arcsecs", CUNIT2="arcsecs", CRVAL1=53.1 * 3600, CRVAL2=-27.8 * 3600)
    cards.update(CD1_1=-0.06, CD2_2=0.06)
    assert same_sky(read_quietly(write(tmp_path / "a.fits", image(field(), cards))).wcs, WCS(header()))


@pytest.mark.parametrize("cards", [{}, {"CTYPE3": "WAVE", "CUNIT3": "um", "CD3_3": 0.1, "CD1_3": 0.0, "WCSAXES": 3}])
def test_cubes_are_repaired_too(cards, tmp_path):
    made = header(CUNIT1="degree", CUNIT2="degree", BANDS="F160W F125W", **cards)
    read = read_quietly(write(tmp_path / "a.fits", image(np.stack([field(), field()]), made)))
    assert same_sky(read.wcs, WCS(header()))
    assert read.bands == ("F160W", "F125W")


@pytest.mark.parametrize("cards", [ROTATED, {"PC1_1": 1.0, "PC2_2": 1.0}, {"PC1_2": 0.1}, {"PC1_1": "text"}])
def test_cd_counts_beside_pc(cards, tmp_path):
    path = write(tmp_path / "a.fits", image(field(), header(**cards)))
    with pytest.warns(UserWarning, match=r"both CDi_j and PCi_j, and they disagree; CDi_j is taken"):
        read = read_image(path)
    assert read.pixel_scale == pytest.approx(0.06, rel=1e-9)
    assert same_sky(read.wcs, WCS(header()))


def test_pc_counts_beside_a_cd_of_zeros(tmp_path):
    made = header(CD1_1=0.0, CD2_2=0.0, PC1_1=1.0, PC2_2=1.0, CDELT1=-SCALE, CDELT2=SCALE)
    assert same_sky(read_quietly(write(tmp_path / "a.fits", image(field(), made))).wcs, WCS(header()))


def test_lookup_tables_count_and_are_named(tmp_path):
    made = header(CPDIS1="LOOKUP", DP1="EXTVER: 1")
    made["HIERARCH DP1.EXTVER"], made["HIERARCH DP1.NAXES"] = 1.0, 2.0
    made["HIERARCH DP1.AXIS.1"], made["HIERARCH DP1.AXIS.2"] = 1.0, 2.0
    del made["DP1"]
    table = fits.ImageHDU(np.full((4, 4), 0.7, np.float32), name="WCSDVARR", ver=1)
    table.header.update(CRPIX1=1.0, CRPIX2=1.0, CRVAL1=1.0, CRVAL2=1.0, CDELT1=40.0, CDELT2=40.0)
    path = write(tmp_path / "a.fits", image(field(), made, "SCI"), table)
    with pytest.warns(UserWarning, match=r"lookup tables \(cpdis1\), of up to 0.70 px.* maps lacks it"):
        read = read_image(path)
    shifted = read.wcs.pixel_to_world(60.0, 60.0).separation(WCS(header()).pixel_to_world(60.7, 60.0))
    assert shifted.arcsec < 1e-6
    assert read.pixel_scale == pytest.approx(0.06, rel=1e-9)
    assert read.shape == (SIZE, SIZE)


def test_columns_of_the_detector_as_old_files_have_them_count(tmp_path):
    table = fits.ImageHDU(np.full(SIZE, 0.2, np.float32), name="D2IMARR", ver=1)
    table.header.update(CRPIX1=1.0, CRVAL1=1.0, CDELT1=1.0)
    path = write(tmp_path / "a.fits", image(field(), header(AXISCORR=1), "SCI"), table)
    with pytest.warns(UserWarning, match=r"lookup tables \(det2im1\), of up to 0.20 px"):
        assert read_image(path).wcs.det2im1 is not None


@pytest.mark.parametrize(
    ("cards", "why"),
    [
        ({"CD1_1": 0.0, "CD2_2": 0.0}, "CD1_1 and CD1_2 are 0"),
        ({"CD2_2": 0.0}, "CD2_1 and CD2_2 are 0"),
        ({"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, "its axes are ELON and ELAT; expected RA and DEC"),
        ({"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"}, "its axes are HPLN and HPLT"),
        ({"CTYPE1": "RA--TAN", "CTYPE2": "DEC-TAN"}, "its axes are RA--TAN and DEC-TAN, which are not a projection"),
        ({"CRVAL1": "03:32:24"}, "CRVAL1 is '03:32:24'; expected a number"),
    ],
)
def test_left_out_with_a_warning(cards, why, tmp_path):
    path = write(tmp_path / "a.fits", image(field(), header(**cards)))
    with pytest.warns(UserWarning, match=f"the WCS is not usable and is left out .*{why}"):
        assert read_image(path).wcs is None


def test_the_wcs_of_nddata_is_checked_as_well():
    cards = header(CTYPE1="ELON-TAN", CTYPE2="ELAT-TAN")
    with pytest.warns(UserWarning, match=r"left out \(its axes are ELON and ELAT; expected RA and DEC"):
        assert read_image(CCDData(field(), unit="nJy", wcs=WCS(cards))).wcs is None


def test_surface_brightness_counts_the_pixels_where_the_image_is(tmp_path):
    # Of a plate carree with its reference on the equator, pixels at declination 60 are half as wide.
    side = 0.6 / 3600
    cards = {"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRVAL1": 0.0, "CRVAL2": 0.0, "CRPIX2": 60 - 60 / side}
    path = write(tmp_path / "a.fits", image(field(), header(0.6, BUNIT="MJy/sr", **cards)))
    with pytest.warns(UserWarning, match="a pixel in the middle of the image has 0.5 times the area"):
        (zero_point,) = read_image(path).zero_points
    assert zero_point == pytest.approx(-2.5 * np.log10(1e6 / 3631 * np.radians(side) ** 2 / 2), abs=1e-3)


def test_an_hdu_inherits_the_wcs_of_the_primary_header(tmp_path):
    cards = fits.Header({"INHERIT": True})
    read = read_quietly(write(tmp_path / "a.fits", image(field(), cards, "SCI"), primary=dict(header())))
    assert same_sky(read.wcs, WCS(header()))


def test_a_header_of_scamp_beside_the_image_is_said_not_to_count(tmp_path):
    (tmp_path / "a.head").write_text("CRVAL1  = 53.2\nEND\n")
    with pytest.warns(UserWarning, match=r"a.head lies beside the image, .* and is not read"):
        assert same_sky(read_image(write(tmp_path / "a.fits", image(field(), header()))).wcs, WCS(header()))


@pytest.mark.parametrize(
    "cards",
    [
        {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
        {"RADESYS": "FK4", "EQUINOX": 1950.0},
        {"RADESYS": "FK5", "EQUINOX": 1975.0},
        {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": -27.8, "CRVAL2": 53.1},
    ],
)
def test_catalogues_are_in_icrs(cards, tmp_path):
    table, _ = classify_case(write(tmp_path / "a.fits", image(field(), header(FILTER="F160W", **cards))))
    sky = WCS(header(**cards)).pixel_to_world(table["x_centroid"].value, table["y_centroid"].value).icrs
    np.testing.assert_allclose(table["ra"].to_value("deg"), sky.ra.deg, atol=1e-9)
    np.testing.assert_allclose(table["dec"].to_value("deg"), sky.dec.deg, atol=1e-9)
