"""Which bits of a mask make a pixel bad: by header, by camera, by option; and what is said of masks that hide much."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from cases import SIZE, check_stars, classify_case, field, header, image, plane, stars, write

from morpheus_lite.cli.main import main
from morpheus_lite.errors import OptionError
from morpheus_lite.io import read_image
from morpheus_lite.io.bits import Bits, bits_of, chosen_bits
from morpheus_lite.survey.manifest import read_tiles

ON_STARS = stars() > 2
SCATTERED = np.random.default_rng(5).random((SIZE, SIZE)) < 0.25
HALF = np.repeat(np.arange(SIZE) < SIZE // 2, SIZE).reshape(SIZE, SIZE)

LSST = {
    "MP_BAD": 0, "MP_SAT": 1, "MP_INTRP": 2, "MP_CR": 3, "MP_EDGE": 4, "MP_DETECTED": 5, "MP_DETECTED_NEGATIVE": 6,
    "MP_SUSPECT": 7, "MP_NO_DATA": 8, "MP_BRIGHT_OBJECT": 9, "MP_CROSSTALK": 10, "MP_UNMASKEDNAN": 12, "MP_CLIPPED": 14,
}  # fmt: skip
MOVED = {"MP_DETECTED": 0, "MP_BAD": 5, "MP_NOT_DEBLENDED": 1, "MP_NO_DATA": 40}
PAN_STARRS = {
    "MSKNAM00": "DETECTOR", "MSKVAL00": 1, "MSKNAM01": "SAT", "MSKVAL01": 32, "MSKNAM02": "SUSPECT", "MSKVAL02": 128,
    "MSKNAM03": "MASK.VALUE", "MSKVAL03": 8575,
}  # fmt: skip
RUBIN = {
    f"MSK{kind}{number:04d}": value
    for number, name in enumerate(
        ("BAD", "SATURATED", "INTERPOLATED", "COSMIC_RAY", "DETECTION_EDGE", "DETECTED", "NO_DATA")
    )
    for kind, value in (("N", name), ("M", 1 << number))
}
SPHEREX = {"MP_TRANSIENT": 0, "MP_OVERFLOW": 1, "MP_NONFUNC": 6, "MP_FULLSAMPLE": 12, "MP_SOURCE": 21}
JWST, ROMAN, EUCLID = {"TELESCOP": "JWST"}, {"TELESCOP": "ROMAN"}, {"TELESCOP": "Euclid", "INSTRUME": "VIS"}
ACS = {"TELESCOP": "HST", "INSTRUME": "ACS", "DETECTOR": "WFC"}
UVIS = {"TELESCOP": "HST", "INSTRUME": "WFC3", "DETECTOR": "UVIS"}
IR = {"TELESCOP": "HST", "INSTRUME": "WFC3", "DETECTOR": "IR"}
CONVENTIONS = [
    ("MASK", LSST, {}, [1, 2, 8, 16, 256, 4096], [4, 32, 64, 128, 512, 1024, 16384, 0]),
    ("MASK", MOVED, {}, [32, 2**40, 33], [1, 2, 3]),
    ("MASK", PAN_STARRS, {}, [1, 32, 64, 256, 8192], [128, 512, 1024]),
    ("MASK", RUBIN, {}, [1, 2, 8, 16, 64, 33], [4, 32, 36]),
    ("FLAGS", SPHEREX, {}, [1, 2, 64], [1 << 12, 1 << 21]),
    ("DQ", {}, JWST, [1, 3, 1 + 4, 2**31 + 1], [2, 4, 2**31, 1 << 19]),
    ("DQ", {}, ROMAN, [1, 5], [2, 4]),
    ("3-4.E.FLG", {}, EUCLID, [1, 9], [8, 1 << 20]),
    ("DQ", {}, ACS, [1, 2, 4, 8, 32, 128, 256, 512, 1024, 4096, 8192], [16, 64, 16 + 64]),
    ("DQ", {}, UVIS, [4, 32, 256, 4096, 8192], [16, 64]),
    ("DQ", {}, IR, [4, 32, 256, 8192], [16, 512, 528]),
    ("MSK", {}, {}, [1, 2, 8, 16, 64, 128, 512, 1024], [4, 32, 2048, 4096, 8192, 16384]),
    ("MASKBITS", {}, {}, [4, 8, 16, 32, 64, 128, 6], [1, 2, 256, 512, 1024, 2048, 4096, 8192]),
    ("DQ", {}, {}, [1, 2, 4, 1 << 14], [0]),
    ("MASK", {}, JWST, [1, 2, 4], [0]),
    ("DQ", {}, {"TELESCOP": "HST", "INSTRUME": "NICMOS", "DETECTOR": "1"}, [1, 16, 512], [0]),
]


@pytest.mark.parametrize(("name", "cards", "primary", "bad", "good"), CONVENTIONS)
def test_conventions_of_cameras(name, cards, primary, bad, good, tmp_path: Path):
    values = np.zeros((SIZE, SIZE), np.int64)
    values[0, : len(bad)], values[1, : len(good)] = bad, good
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        made = fits.Header(cards)
    group = name.removesuffix("FLG").removesuffix(".")
    science = f"{group}.SCI" if name.endswith("FLG") else "SCI"
    path = write(tmp_path / "t.fits", image(field(), header(), science), plane(values, name, made), primary=primary)
    valid = read_image(path).valid[:, :, 0]
    assert not valid[0, : len(bad)].any()
    assert valid[1:].all() and valid[0, len(bad) :].all()


PUBLISHED = [
    ("DQ", JWST, {"JUMP_DET": 2**2, "CHARGELOSS": 2**7, "HOT": 2**11, "UNRELIABLE_SLOPE": 2**24, "ADJ_OPEN": 2**27}),
    ("DQ", ROMAN, {"GW_AFFECTED_DATA": 2**4, "LOW_QE": 2**13, "TELEGRAPH": 2**15, "UNRELIABLE_RESET": 2**28}),
    ("DQ", ACS, {"HOT": 16, "WARM": 64, "SATURATED": 256, "ATODSAT": 2048, "CRREJ": 8192, "USER": 32768}),
    ("MSK", {}, {"SATURATE": 2, "CRAY": 16, "STAR": 32, "STREAK": 1024, "FIXED": 4096, "TAPEBUMP": 16384}),
    ("MASKBITS", {}, {"SATUR_Z": 2**4, "BAILOUT": 2**10, "CLUSTER": 2**13, "SATUR_I": 2**14, "ALLMASK_I": 2**15}),
]
"""Values from the tables that `morpheus_lite.io.bits` names as its sources."""


@pytest.mark.parametrize(("name", "primary", "published"), PUBLISHED)
def test_bits_have_their_published_values(name, primary, published):
    names = bits_of(name, {}, primary).names
    assert {one: names[one] for one in published} == published


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.int32, np.uint64, np.float32, np.float64])
@pytest.mark.parametrize(
    ("option", "bad"), [(4, {4}), ("1,4", {1, 4}), ("1+4", {1, 4}), ("0x10|1", {1, 16}), ("~4", {1, 16, 64})]
)
def test_bits_by_option(option: Any, bad: set[int], dtype: type):
    values = np.zeros((SIZE, SIZE), dtype)
    values[0, :4] = 1, 4, 16, 64
    valid = read_image(field(), dq=values, dq_bits=option).valid[0, :4, 0]
    assert {value for value, ok in zip((1, 4, 16, 64), valid, strict=True) if not ok} == bad


@pytest.mark.parametrize(
    ("option", "hidden"),
    [("SAT", False), ("detected", True), (["BAD", "DETECTED"], True), ("~DETECTED", False), ("any", True), (32, True)],
)
def test_names_of_bits_by_option(option: Any, hidden: bool, tmp_path: Path):
    made = fits.Header({key: value for key, value in LSST.items() if len(key) <= 8})
    made["HIERARCH MP_DETECTED"] = 5
    mask = plane(np.where(ON_STARS, 32, 0).astype("i4"), "MASK", made)
    path = write(tmp_path / "t.fits", image(field(), header(), "IMAGE"), mask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        valid = read_image(path, dq_bits=option).valid[:, :, 0]
    np.testing.assert_array_equal(valid, ~ON_STARS if hidden else np.ones_like(ON_STARS))


@pytest.mark.parametrize("option", ["NONSENSE", "", ",", "1.5", 1.5, True, -4, "SAT,NONSENSE", 2**64])
def test_bits_that_are_none(option: Any):
    with pytest.raises(OptionError, match="dq_bits"):
        chosen_bits(option, Bits(1, {"SAT": 2}), "the mask")


def test_bits_that_are_none_name_those_that_are():
    with pytest.raises(OptionError, match=r"mask has no bit CRX; it has BAD, SAT"):
        chosen_bits("CRX", Bits(1, {"BAD": 1, "SAT": 2}), "mask")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_values_that_are_no_bits_are_bad(value: float):
    mask = np.zeros((SIZE, SIZE))
    mask[3, 4] = value
    valid = read_image(field(), dq=mask, dq_bits=8).valid[:, :, 0]
    assert np.argwhere(~valid).tolist() == [[3, 4]]


@pytest.mark.parametrize("dq", [False, "none"])
def test_masks_can_be_left_out(dq: Any, tmp_path: Path):
    mask = plane(ON_STARS.astype("u1"), "DQ")
    assert read_image(write(tmp_path / "t.fits", image(field(), header(), "SCI"), mask), dq=dq).valid.all()


def test_a_mask_in_a_file_of_its_own_says_what_its_bits_mean(tmp_path: Path):
    mask = write(tmp_path / "dq.fits", plane(np.where(ON_STARS, 4, 0), "DQ"), primary=JWST)
    path = write(tmp_path / "t.fits", image(field(), header(), "SCI"))
    assert read_image(path, dq=mask).valid.all()
    assert read_image(path, dq=mask, dq_bits="JUMP_DET").valid.sum() == (~ON_STARS).sum()


@pytest.mark.parametrize(("mask", "share"), [(HALF, "50% of the pixels"), (ON_STARS, r"(9\d|100)% of the light")])
def test_masks_that_hide_much_are_warned_of(mask: np.ndarray, share: str, tmp_path: Path):
    values = plane(np.where(mask, 32 + 4, 0).astype("i4"), "DQ")
    path = write(tmp_path / "t.fits", image(field(), header(), "SCI"), values)
    with pytest.warns(UserWarning, match=rf"t\.fits\[2\] hides .*{share}.* its bits are 4 .*, 32 .*--dq-bits"):
        read_image(path)


@pytest.mark.parametrize("mask", [SCATTERED, np.zeros_like(SCATTERED), ~ON_STARS & (np.arange(SIZE) < 30)])
def test_other_masks_are_not_warned_of(mask: np.ndarray, tmp_path: Path):
    path = write(tmp_path / "t.fits", image(field(), header(), "SCI"), plane(mask.astype("i2"), "DQ"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(path)


def test_pixels_without_data_are_not_hidden_by_a_mask(tmp_path: Path):
    data = np.where(HALF, np.nan, field())
    path = write(tmp_path / "t.fits", image(data, header(), "SCI"), plane(HALF.astype("i2"), "DQ"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).valid.sum() == (~HALF).sum()


def test_noise_that_hides_much_is_warned_of(tmp_path: Path):
    path = write(tmp_path / "t.fits", image(field(), header(), "SCI"))
    with pytest.warns(
        UserWarning, match=r"^band 1: the rms .*t.fits\[1\] is not positive and finite at [45]\d% of the pixels"
    ):
        read_image(path, rms=f"{path}[SCI]")


def test_bits_of_which_none_is_known_to_be_bad_are_named(tmp_path: Path):
    bits = plane(np.full((SIZE, SIZE), 1), "MASK", fits.Header({"MP_FOO": 0, "MP_BAR": 1}))
    path = write(tmp_path / "t.fits", image(field(), header(), "SCI"), bits)
    with pytest.warns(UserWarning, match="MASK: no bit of FOO, BAR is known to make a pixel bad"):
        assert read_image(path).valid.all()


def test_the_mask_of_an_array_is_called_so():
    with pytest.warns(UserWarning, match=r"^band 1: the plane mask hides 50% of the pixels"):
        read_image(np.ma.array(field(), mask=HALF))


def test_stars_of_a_calexp(tmp_path: Path):
    made = fits.Header({"MP_BAD": 0, "MP_SAT": 1, "MP_INTRP": 2, "MP_CR": 3, "MP_EDGE": 4})
    made["HIERARCH MP_DETECTED"] = 5
    mask = fits.CompImageHDU(np.where(ON_STARS, 32, 0).astype("i4"), made, name="MASK")
    hdus = [image(field(), header(0.168), "IMAGE"), mask, plane(np.float32(1), "VARIANCE")]
    table, info = classify_case(write(tmp_path / "t.fits", *hdus, primary={"FILTER": "HSC-R"}))
    check_stars(table, "HSC-R")
    assert info.image.valid.all()
    assert np.all(info.image.rms == 1)


def test_stars_behind_jumps_of_jwst(tmp_path: Path):
    jumps = plane(np.where(SCATTERED, 4, 0).astype("u4"), "DQ")
    hdus = [image(field(), header(0.03, BUNIT="MJy/sr"), "SCI"), plane(np.float32(1), "ERR"), jumps]
    table, _ = classify_case(write(tmp_path / "t.fits", *hdus, primary={**JWST, "FILTER": "F150W"}))
    check_stars(table, "F150W")
    assert not np.any(np.asarray(table["flags"]) & 4)


def test_saturated_bits_of_lsst_flag_their_star(tmp_path: Path):
    made = fits.Header({"MP_SAT": 1})
    peak = stars() > 100
    mask = plane(np.where(peak, 2, 0).astype("i4"), "MASK", made)
    path = write(tmp_path / "t.fits", image(field(), header(FILTER="F160W"), "IMAGE"), mask)
    table, info = classify_case(path)
    assert info.image.valid.sum() == (~peak).sum()
    assert np.any(np.asarray(table["flags"]) & 4)


def test_the_option_is_the_same_in_manifests(tmp_path: Path):
    path = write(tmp_path / "t.fits", image(field(), header(), "SCI"))
    (tmp_path / "tiles.csv").write_text(f'name,image,dq_bits\na,{path.name},"1,16"\nb,{path.name},\n')
    (tmp_path / "tiles.toml").write_text(
        f'[defaults]\ndq_bits = "SAT"\n[[tile]]\nname = "a"\nimage = "{path.name}"\ndq = "none"\n'
    )
    assert [dict(tile.read_options) for tile in read_tiles(tmp_path / "tiles.csv")] == [{"dq_bits": "1,16"}, {}]
    assert dict(read_tiles(tmp_path / "tiles.toml")[0].read_options) == {"dq": False, "dq_bits": "SAT"}


@pytest.mark.parametrize(("options", "code"), [(["--dq-bits", "CRX"], 2), (["--dq", "none"], 0)])
def test_the_option_on_the_command_line(options: list[str], code: int, tmp_path: Path, capsys):
    mask = plane(np.where(HALF, 2, 0).astype("i4"), "MASK")
    path = write(tmp_path / "t.fits", image(field(), header(), "SCI"), mask)
    out = ["-o", str(tmp_path / "out"), "--products", "catalog", "-q"]
    assert main(["classify", str(path), *out, *options]) == code
    if code:
        assert "has no bit CRX" in capsys.readouterr().err
