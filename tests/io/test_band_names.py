"""Names of bands: filters belong to cameras, and a name is made of letters, digits and . + - _."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS
from cases import field, header, image, plane, write

from morpheus_lite import InputError
from morpheus_lite.core.image import canonical_band
from morpheus_lite.io import open_image, read_image
from morpheus_lite.io.bands import Camera, filter_of, plane_filters, role_of
from morpheus_lite.models.registry import choose_model

# Header, pixel scale, name.
FILTERS = [
    # HST, or unset, at a scale of HST.
    ({"FILTER": "z"}, 0.06, "F850LP"),
    ({"FILTER": "H"}, 0.13, "F160W"),
    ({"FILTER": "J"}, 0.03, "F125W"),
    ({"FILTER": "v"}, None, "F606W"),
    ({"FILTER": "z", "TELESCOP": "HST", "INSTRUME": "ACS"}, 0.05, "F850LP"),
    ({"FILTER": "H", "INSTRUME": "WFC3"}, 0.06, "F160W"),
    ({"FILTER": "B", "TELESCOP": "HST"}, 0.05, "B"),
    ({"FILTER": "F850LP", "INSTRUME": "ACS"}, 0.05, "F850LP"),
    # Unset, at a scale that HST does not have.
    ({"FILTER": "z"}, 0.262, "Z"),
    ({"FILTER": "H"}, 0.4, "H"),
    ({"FILTER": "J"}, 1.0, "J"),
    ({"FILTER": "V"}, 0.0072, "V"),
    ({"FILTER": "F850LP"}, 0.262, "F850LP"),
    # HST, at a scale that HST does not have.
    ({"FILTER": "z", "TELESCOP": "HST", "INSTRUME": "ACS"}, 0.4, "ACS-Z"),
    # Other cameras, at any scale.
    ({"FILTER": "z", "INSTRUME": "DECam"}, 0.262, "DECAM-Z"),
    ({"FILTER": "z", "INSTRUME": "DECam"}, 0.06, "DECAM-Z"),
    ({"FILTER": "g", "INSTRUME": "DECam", "TELESCOP": "CTIO 4.0-m telescope"}, 0.262, "DECAM-G"),
    ({"FILTER": "r DECam SDSS c0002 6415.0 1480.0"}, 0.262, "DECAM-R"),
    ({"FILTER": "z DECam SDSS c0004 9260.0 1520.0", "INSTRUME": "DECam"}, 0.262, "DECAM-Z"),
    ({"FILTER": "VR DECam c0007 6300.0 2600.0"}, 0.262, "DECAM-VR"),
    ({"FILTER": "J", "INSTRUME": "VIRCAM", "TELESCOP": "VISTA"}, 0.34, "VIRCAM-J"),
    ({"FILTER": "Ks", "INSTRUME": "VIRCAM", "TELESCOP": "VISTA"}, 0.34, "VIRCAM-KS"),
    ({"FILTER": "J", "TELESCOP": "VISTA"}, 0.34, "VISTA-J"),
    ({"FILTER": "H", "INSTRUME": "WFCAM", "TELESCOP": "UKIRT"}, 0.2, "WFCAM-H"),
    ({"FILTER": "H", "INSTRUME": "NISP", "TELESCOP": "Euclid"}, 0.1, "NISP-H"),
    ({"FILTER": "NIR_H", "INSTRUME": "NISP"}, 0.1, "NIR_H"),
    ({"FILTER": "VIS", "INSTRUME": "VIS"}, 0.1, "VIS"),
    ({"FILTER": "J", "ORIGIN": "2MASS", "TELESCOP": "FLWO"}, 1.0, "2MASS-J"),
    ({"FILTER": "z", "ORIGIN": "SDSS", "TELESCOP": "2.5m"}, 0.396, "SDSS-Z"),
    ({"FILTER": "V", "ORIGIN": "ESO", "INSTRUME": "FORS2"}, 0.126, "FORS2-V"),
    ({"FILTER": "z", "SURVEY": "LegacySurvey"}, 0.262, "LEGACYSURVEY-Z"),
    ({"FILTER": "z'", "INSTRUME": "GMOS-N"}, 0.1, "GMOS-N-ZP"),
    ({"FILTER": "HSC-R", "INSTRUME": "HSC"}, 0.168, "HSC-R"),
    ({"FILTER": "HSC-Z"}, 0.168, "HSC-Z"),
    ({"FILTER": "i.MP9702", "INSTRUME": "MegaPrime"}, 0.186, "I.MP9702"),
    ({"HIERARCH FPA.FILTERID": "z.00000", "INSTRUME": "gpc1"}, 0.25, "GPC1-Z"),
    ({"FILTER": "z", "INSTRUME": "N/A"}, 0.06, "F850LP"),
    # Two elements in one card.
    ({"FILTER": "F200W-CLEAR", "INSTRUME": "NIRCAM"}, 0.04, "F200W"),
    ({"FILTER": "CLEAR-F150W", "INSTRUME": "NIRISS"}, 0.04, "F150W"),
    ({"FILTER": "F444W-F405N", "INSTRUME": "NIRCAM"}, 0.04, "F405N"),
    ({"FILTER": "F850LP;CLEAR1L", "INSTRUME": "ACS"}, 0.05, "F850LP"),
    ({"FILTER": "F105W-F125W", "INSTRUME": "WFC3"}, 0.06, "F105W-F125W"),
    ({"FILTER": "CLEAR", "PUPIL": "F090W"}, 0.03, "F090W"),
    # NIRCam and NIRISS: the narrower element.
    ({"FILTER": "F444W", "PUPIL": "F405N"}, 0.063, "F405N"),
    ({"FILTER": "F150W2", "PUPIL": "F162M"}, 0.031, "F162M"),
    ({"FILTER": "F150W2", "PUPIL": "F164N"}, 0.031, "F164N"),
    ({"FILTER": "F322W2", "PUPIL": "F323N"}, 0.063, "F323N"),
    ({"FILTER": "F444W", "PUPIL": "CLEAR"}, 0.063, "F444W"),
    ({"FILTER": "F444W", "PUPIL": "MASKRND"}, 0.063, "F444W"),
    ({"FILTER": "F322W2", "PUPIL": "none"}, 0.063, "F322W2"),
    ({"FILTER": "CLEAR", "PUPIL": "F150W", "INSTRUME": "NIRISS"}, 0.065, "F150W"),
    ({"FILTER": "F356W", "PUPIL": "CLEARP", "INSTRUME": "NIRISS"}, 0.065, "F356W"),
    ({"FILTER": "CLEAR", "PUPIL": "CLEARP"}, 0.065, None),
    # What is no name.
    ({"FILTER": "{}"}, 0.06, None),
    ({"FILTER": "%"}, 0.06, None),
    ({"FILTER": "F{0}W %s /a"}, 0.06, "F_0_W_S_A"),
]


def cards_of(cards):
    made = fits.Header()
    made.update(cards)
    return made


@pytest.mark.parametrize(("cards", "scale", "name"), FILTERS)
def test_filters_belong_to_cameras(cards, scale, name):
    made = cards_of(cards)
    assert filter_of(made, Camera.of(made, scale)) == name


@pytest.mark.parametrize(("cards", "scale", "name"), [row for row in FILTERS if row[1]])
def test_files(cards, scale, name, tmp_path):
    hdu = image(field(), header(scale), "SCI")
    one = read_image(write(tmp_path / "primary.fits", hdu, primary=cards_of(cards)))
    hdu.header.update(cards_of(cards))
    two = read_image(write(tmp_path / "extension.fits", hdu))
    three = read_image(CCDData(field(), unit="adu", meta=dict(hdu.header), wcs=WCS(header(scale))))
    assert [read.bands for read in (one, two, three)] == [(name or "1",)] * 3


def test_a_band_that_is_given_as_another_is_said(tmp_path):
    path = write(tmp_path / "a.fits", image(field(), header(FILTER="F606W")))
    with pytest.warns(UserWarning, match="is given as band F160W, but its header says F606W; it is taken as F160W"):
        assert read_image({"F160W": path}).bands == ("F160W",)
    assert read_image({"V": path}).bands == ("F606W",)


def test_planes_of_a_camera_are_found_by_their_names(tmp_path):
    made = header(0.262)
    hdus = [image(field(), made, "z"), plane(np.ones((120, 120)), "z_rms"), plane(np.zeros((120, 120), int), "Z_MASK")]
    path = write(tmp_path / "a.fits", *hdus, primary={"INSTRUME": "DECam"})
    with open_image(path) as source:
        (band,) = source.described
    assert band.name == "DECAM-Z"
    assert ([noise.kind for noise in band.noise], len(band.masks)) == (["rms"], 1)


CUBES = [
    ({"BANDS": "griz", "BAND0": "g", "BAND1": "r", "BAND2": "i", "BAND3": "z"}, ("G", "R", "I", "Z")),
    ({"BANDS": "griz"}, ("G", "R", "I", "Z")),
    ({"BANDS": "griz", "SURVEY": "LegacySurvey"}, tuple(f"LEGACYSURVEY-{one}" for one in "GRIZ")),
    ({"BAND1": "g", "BAND2": "r", "BAND3": "i", "BAND4": "z"}, ("G", "R", "I", "Z")),
    ({"BANDS": "g,r,i,z"}, ("G", "R", "I", "Z")),
    ({"BANDS": "grz"}, ("1", "2", "3", "4")),
]


@pytest.mark.parametrize(("cards", "names"), CUBES)
def test_cut_outs_of_the_legacy_surveys(cards, names, tmp_path):
    hdu = fits.PrimaryHDU(np.stack([field()] * 4).astype("f4"), header(0.262, **cards))
    hdu.writeto(tmp_path / "cutout.fits")
    assert read_image(tmp_path / "cutout.fits").bands == names


def test_a_cut_out_of_one_band(tmp_path):
    path = write(tmp_path / "a.fits", image(field(), header(0.262, BANDS="r", BAND0="r")))
    assert read_image(path).bands == ("R",)


@pytest.mark.parametrize(
    ("bands", "scale", "model"),
    [(("F850LP",), 0.06, "hst"), (("Z",), 0.06, "any"), (("DECAM-Z",), 0.06, "any"), (("NISP-H",), 0.06, "any")],
)
def test_a_model_for_hst_is_not_chosen_for_other_cameras(bands, scale, model):
    assert choose_model(bands, scale) == model


def test_an_image_of_another_camera_has_no_band_of_hst(tmp_path):
    path = write(tmp_path / "z.fits", image(field(), header(0.262, FILTER="z", BUNIT="nanomaggy")))
    read = read_image(path)
    with pytest.raises(InputError, match="no band F850LP"):
        read.select(["F850LP"])


def test_names_that_a_user_gives_are_the_users_own(tmp_path):
    path = write(tmp_path / "z.fits", image(field(), header(0.262, FILTER="z", INSTRUME="DECam")))
    assert read_image({"H": path}).bands == ("F160W",)
    assert read_image(field(), bands=["z"]).bands == ("F850LP",)
    unnamed = write(tmp_path / "n.fits", image(field(), header(0.262)))
    assert read_image(unnamed, bands=["z"]).bands == ("F850LP",)


@pytest.mark.parametrize("cards", [{"INSTRUME": "DECam"}, {}])
def test_a_band_of_another_camera_is_asked_for_by_its_letter(cards, tmp_path):
    path = write(tmp_path / "z.fits", image(field(), header(0.262, FILTER="z", **cards)))
    rms = write(tmp_path / "rms.fits", image(np.full((120, 120), 2.0)))
    read = read_image(path, bands=["z"], zero_points={"z": 22.5}, rms={"z": rms})
    assert read.bands == ("DECAM-Z" if cards else "Z",)
    assert read.zero_points == (22.5,)
    assert read.rms.max() == 2
    assert read.index("z") == 0


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("H", "F160W"),
        (" f814w ", "F814W"),
        ("H alpha", "H_ALPHA"),
        ("a/b\\c", "A_B_C"),
        ("F606W+POL0V", "F606W+POL0V"),
        ("../../etc", "ETC"),
        ("r'", "RP"),
        ("F{band}%d$x$", "F_BAND_D_X"),
        ("a\nb", "A_B"),
        ("x" * 70, "X" * 70),
    ],
)
def test_canonical_names(name, canonical):
    assert canonical_band(name) == canonical == canonical_band(canonical)


@pytest.mark.parametrize("name", ["", "{}", "%", "  ", "/", "..."])
def test_a_name_without_letters_is_an_error(name):
    with pytest.raises(InputError, match="expected letters or digits"):
        canonical_band(name)


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("z", ["Z"], "Z"),
        ("z", ["F850LP", "DECAM-Z"], "F850LP"),
        ("z", ["DECAM-Z", "HSC-Z"], "F850LP"),
        ("z", ["DECAM-Z", "DECAM-G"], "DECAM-Z"),
        ("g", ["DECAM-Z", "DECAM-G"], "DECAM-G"),
        ("f850lp", ["DECAM-Z", "Z"], "F850LP"),
    ],
)
def test_names_among_those_that_there_are(name, known, found):
    assert canonical_band(name, known) == found


def test_hdu_names_of_other_cameras():
    decam = Camera("DECam", aliases=False)
    assert role_of("z_wht", decam) == ("weight", "DECAM-Z")
    assert role_of("ERR", decam) == ("rms", None)
    assert role_of("_WHT", decam) == ("weight", None)
    assert role_of("{}", decam) == ("unknown", None)
    assert plane_filters({"BANDS": "g,z"}, 2, decam) == ("DECAM-G", "DECAM-Z")
