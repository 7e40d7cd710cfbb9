"""Files as cameras and surveys write them: each row of the page "What your file may look like", on a small file."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from cases import header

from morpheus_lite.io import open_image

SHAPE = (24, 30)
SCI = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
ONE, NONE = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.int32)


@dataclass(frozen=True)
class Layout:
    """The HDUs of a file, and what is to be read from them."""

    hdus: list[Any]
    band: str
    zero_point: float | None
    noise: str | None = None
    mask: bool = False
    options: dict[str, str] | None = None
    """Files given by option: the option to the HDU."""


def hdu(data: np.ndarray | None, name: str = "", scale: float = 0.06, **cards: Any) -> Any:
    return fits.ImageHDU(data, header(scale, **cards) if data is not None else None, name=name)


def packed(data: np.ndarray, name: str, cards: dict[str, Any], scale: float = 0.06) -> fits.CompImageHDU:
    made = header(scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        made.update(cards)
    lossless = {"compression_type": "GZIP_2", "quantize_level": 0}
    return fits.CompImageHDU(data, made, name=name, **lossless)


def primary(data: np.ndarray | None = None, scale: float = 0.06, **cards: Any) -> fits.PrimaryHDU:
    made = fits.Header() if data is None else header(scale)
    made.update(cards)
    return fits.PrimaryHDU(data, made)


ACS = {"TELESCOP": "HST", "INSTRUME": "ACS", "DETECTOR": "WFC", "FILTER1": "CLEAR1L", "FILTER2": "F814W"}
SENSITIVITY = {"PHOTFLAM": 7.0e-20, "PHOTPLAM": 8045.0}
NIRCAM = {"TELESCOP": "JWST", "INSTRUME": "NIRCAM", "FILTER": "F150W", "PUPIL": "CLEAR"}
JWST_POINT = -2.5 * np.log10(1e6 * (0.03 / 206264.806247) ** 2 / 3631)
HST_POINT = -2.5 * np.log10(7.0e-20) - 5 * np.log10(8045.0) - 2.408
LSST = {"MP_BAD": 0, "MP_SAT": 1, "MP_INTRP": 2, "MP_CR": 3, "MP_EDGE": 4, "MP_DETECTED": 5, "MP_NO_DATA": 8}
DETECTED = np.full(SHAPE, 32, np.int32)

CCD = CCDData(SCI, StdDevUncertainty(ONE), NONE > 0, meta={"FILTER": "F606W", "ABZP": 26.5}, unit="electron/s")

LAYOUTS = {
    "HST drz, drc": Layout(
        [
            primary(**ACS, **SENSITIVITY, EXPTIME=2000.0),
            hdu(SCI, "SCI", BUNIT="ELECTRONS/S"),
            hdu(ONE * 4, "WHT"),
            hdu(NONE, "CTX"),
        ],
        "F814W", HST_POINT, "weight",
    ),
    "HST flt, flc": Layout(
        [
            primary(**ACS, **SENSITIVITY, EXPTIME=100.0),
            hdu(SCI, "SCI", BUNIT="ELECTRONS", **SENSITIVITY),
            hdu(ONE, "ERR"),
            hdu(NONE + 64, "DQ"),
        ],
        "F814W", HST_POINT + 5, "rms", True,
    ),
    "JWST cal": Layout(
        [
            primary(**NIRCAM),
            hdu(SCI, "SCI", 0.03, BUNIT="MJy/sr"),
            hdu(ONE, "ERR"),
            hdu(NONE.astype("u4") + 4, "DQ"),
            *(hdu(ONE, name) for name in ("AREA", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")),
        ],
        "F150W", JWST_POINT, "rms", True,
    ),
    "JWST i2d": Layout(
        [
            primary(**NIRCAM),
            hdu(SCI, "SCI", 0.03, BUNIT="MJy/sr"),
            hdu(ONE, "ERR"),
            hdu(np.stack([NONE, NONE]), "CON"),
            hdu(ONE, "WHT"),
            *(hdu(ONE, name) for name in ("VAR_POISSON", "VAR_RNOISE", "VAR_FLAT")),
        ],
        "F150W", JWST_POINT, "rms",
    ),
    "Euclid MER": Layout(
        [primary(SCI, 0.1, TELESCOP="Euclid", INSTRUME="VIS", FILTER="VIS", MAGZERO=24.6), hdu(ONE, "RMSFILE")],
        "VIS", 24.6, "rms", options={"rms": "[RMSFILE]"},
    ),
    "Euclid VIS": Layout(
        [
            primary(TELESCOP="Euclid", INSTRUME="VIS", FILTER="VIS", MAGZEROP=24.57),
            hdu(SCI, "3-4.E.SCI", 0.1),
            hdu(ONE, "3-4.E.RMS"),
            hdu(NONE + 8, "3-4.E.FLG"),
        ],
        "VIS", 24.57, "rms", True,
    ),
    "HSC, LSST calexp": Layout(
        [
            primary(FILTER="HSC-R", FLUXMAG0=63095734448.0),
            packed(SCI, "IMAGE", {}, 0.168),
            packed(DETECTED, "MASK", LSST, 0.168),
            packed(ONE, "VARIANCE", {}, 0.168),
        ],
        "HSC-R", 27.0, "variance", True,
    ),
    "HSC, LSST deepCoadd": Layout(
        [
            primary(FILTER="HSC-I", FLUXMAG0=63095734448.0),
            packed(SCI, "IMAGE", {}, 0.168),
            packed(DETECTED, "MASK", {**LSST, "MP_CLIPPED": 9, "MP_SENSOR_EDGE": 14, "MP_DETECTED_NEGATIVE": 6}, 0.168),
            packed(ONE, "VARIANCE", {}, 0.168),
        ],
        "HSC-I", 27.0, "variance", True,
    ),
    "DES tile": Layout(
        [
            primary(),
            packed(SCI, "SCI", {"FILTER": "g DECam SDSS c0001 4720.0 1520.0", "MAGZERO": 30.0}, 0.263),
            packed(NONE.astype("i2") + 4, "MSK", {}, 0.263),
            packed(ONE, "WGT", {}, 0.263),
        ],
        "DECAM-G", 30.0, "weight", True,
    ),
    "Legacy Survey brick": Layout(
        [
            primary(),
            packed(SCI, "COMPRESSED_IMAGE", {"FILTER": "r", "BUNIT": "nanomaggy", "MAGZERO": 22.5}, 0.262),
            packed(ONE, "INVVARFILE", {}, 0.262),
        ],
        "R", 22.5, "weight", options={"weight": "[INVVARFILE]"},
    ),
    "Pan-STARRS stack": Layout(
        [
            primary(),
            packed(SCI, "", {"BSOFTEN": 3.0, "BOFFSET": 0.1, "EXPTIME": 900.0, "HIERARCH FPA.ZP": 25.0}, 0.25),
        ],
        "1", 25 + 2.5 * np.log10(900),
    ),
    "SDSS frame": Layout([primary(SCI, 0.396, FILTER="r", BUNIT="nanomaggy", ORIGIN="SDSS")], "SDSS-R", 22.5),
    "DECam": Layout(
        [
            primary(INSTRUME="DECam", FILTER="r DECam SDSS c0002 6415.0 1480.0"),
            packed(SCI, "S29", {"MAGZERO": 29.5}, 0.263),
        ],
        "DECAM-R", 29.5,
    ),
    "VISTA": Layout(
        [
            primary(SCI, 0.34, TELESCOP="VISTA", INSTRUME="VIRCAM", FILTER="Ks", BUNIT="ADU"),
            hdu(ONE * 100, "CONF", 0.34),
        ],
        "VIRCAM-KS", None, "weight",
    ),
    "MUSE": Layout(
        [
            primary(INSTRUME="MUSE"),
            hdu(SCI, "DATA", 0.2, FILTER="F814W", HDUCLAS2="DATA"),
            hdu(ONE, "STAT", 0.2, HDUCLAS2="ERROR", HDUCLAS3="MSE"),
        ],
        "F814W", None, "variance",
    ),
    "CCDData": Layout(CCD.to_hdu(), "F606W", 26.5, "rms", True),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*the weight")
@pytest.mark.parametrize("camera", LAYOUTS)
def test_layouts(camera: str, tmp_path: Path):
    layout = LAYOUTS[camera]
    fits.HDUList(layout.hdus).writeto(tmp_path / "t.fits")
    options = {option: f"{tmp_path / 't.fits'}{ext}" for option, ext in (layout.options or {}).items()}
    with open_image(tmp_path / "t.fits", **options) as opened:
        read, (band,) = opened.read(), opened.described
    noise = [one.kind for one in band.noise]
    got = (read.bands[0].upper(), noise, len(band.masks))
    assert got == (layout.band.upper(), [] if layout.noise is None else [layout.noise, *noise[1:]], int(layout.mask))
    assert read.valid.all()
    if layout.zero_point is None:
        assert read.zero_points[0] is None
    else:
        assert read.zero_points[0] == pytest.approx(layout.zero_point, abs=2e-3)
    if camera != "Pan-STARRS stack":
        np.testing.assert_array_equal(read.data[:, :, 0], SCI)


def test_every_layout_has_its_row_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "how_to" / "your_file.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert [camera for camera in LAYOUTS if not any(camera in row for row in rows)] == []
