"""What the planes of a file are taken for: the nine stars of `cases` come out right whatever lies beside them."""

import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from cases import FLUX, SIZE, check_stars, classify_case, field, header, image, plane, star_rows, stars, write

from morpheus_lite.errors import InputError
from morpheus_lite.io import open_image, read_image
from morpheus_lite.io.source_tables import read_labels


def test_nine_stars_of_a_plain_image(tmp_path: Path):
    path = write(tmp_path / "plain.fits", image(field(), header(FILTER="F160W", BUNIT="nJy")))
    table, info = classify_case(path)
    check_stars(table, "F160W")
    assert np.all(table["flags"] == 0)
    assert info.image.zero_points == (pytest.approx(31.4, abs=1e-3),)
    magnitude = np.asarray(table["kron_mag_F160W"])[star_rows(table)]
    np.testing.assert_allclose(magnitude, 31.4 - 2.5 * np.log10(FLUX), atol=0.05)


INTEGERS = ("u1", "i2", "u2", "i4", "u4", "i8", "u8")
LOWER_THIRD = np.repeat(np.arange(SIZE) < 40, SIZE).reshape(SIZE, SIZE)


def stored(array: np.ndarray, kind: str, name: str = "") -> fits.ImageHDU | fits.CompImageHDU:
    """An HDU with this array, as it is or tile-compressed."""
    if kind == "plain":
        return fits.ImageHDU(array, name=name)
    return fits.CompImageHDU(array, name=name, compression_type=kind, quantize_level=0)


@pytest.mark.filterwarnings("ignore:F160W. the mask")
@pytest.mark.parametrize(
    ("dtype", "compression"),
    [*itertools.product(INTEGERS, ["plain", "GZIP_1"]), *((dtype, "RICE_1") for dtype in INTEGERS[:-2])],
)
def test_masks_of_every_integer_type(dtype: str, compression: str, tmp_path: Path):
    mask = stored(np.where(LOWER_THIRD, 4, 0).astype(dtype), compression, "DQ")
    path = write(tmp_path / "t.fits", image(field(), header(FILTER="F160W"), "SCI"), mask)
    np.testing.assert_array_equal(~read_image(path).valid[:, :, 0], LOWER_THIRD)


@pytest.mark.parametrize("compression", ["plain", "GZIP_1"])
@pytest.mark.parametrize("dtype", [*INTEGERS, "f4", "f8"])
def test_label_maps_of_every_type(dtype: str, compression: str, tmp_path: Path):
    labels = np.zeros((SIZE, SIZE), dtype)
    labels[stars() > 10] = 7
    labels[0, :3] = 1, 100, 0
    path = tmp_path / "labels.fits"
    fits.HDUList([fits.PrimaryHDU(), stored(labels, compression)]).writeto(path)
    np.testing.assert_array_equal(read_labels(str(path)), labels.astype(int))


@pytest.mark.parametrize("shape", [(1, SIZE, SIZE), (1, 1, SIZE, SIZE)])
def test_label_maps_with_axes_of_length_one(shape: tuple[int, ...], tmp_path: Path):
    labels = (stars() > 10).astype(np.int32)
    fits.PrimaryHDU(labels.reshape(shape)).writeto(tmp_path / "labels.fits")
    np.testing.assert_array_equal(read_labels(str(tmp_path / "labels.fits")), labels)


@pytest.mark.parametrize("values", [np.full((2, SIZE, SIZE), 1), np.full(SIZE, 1)])
def test_label_maps_of_other_shapes_are_refused(values: np.ndarray, tmp_path: Path):
    fits.PrimaryHDU(values).writeto(tmp_path / "labels.fits")
    with pytest.raises(InputError, match=r"expected two dimensions"):
        read_labels(str(tmp_path / "labels.fits"))


@pytest.mark.parametrize("value", [2**31, 2**63, 2**64 - 1])
def test_labels_that_do_not_fit_are_refused(value: int, tmp_path: Path):
    fits.PrimaryHDU(np.full((SIZE, SIZE), value, np.uint64)).writeto(tmp_path / "labels.fits")
    with pytest.raises(InputError, match="does not fit"):
        read_labels(str(tmp_path / "labels.fits"))


@pytest.mark.parametrize("scale", [1e-31, 1e-20, 1e-6, 1e9, 1e20])
@pytest.mark.parametrize(("name", "power"), [("ERR", 1), ("VAR", 2), ("IVAR", -2)])
def test_noise_planes_of_any_scale(name: str, power: int, scale: float, tmp_path: Path):
    noise = plane(scale**power, name)
    path = write(tmp_path / "t.fits", image(field() * scale, header(FILTER="F160W"), "SCI"), noise)
    read = read_image(path)
    assert read.valid.all()
    np.testing.assert_allclose(read.rms, scale, rtol=1e-6)
    table, _ = classify_case(path)
    check_stars(table, "F160W", scale)


@pytest.mark.parametrize("scale", [1e-31, 1e-20, 1e9, 1e20])
def test_data_of_any_scale(scale: float, tmp_path: Path):
    path = write(tmp_path / "t.fits", image(field() * scale, header(FILTER="F160W"), "SCI"))
    table, _ = classify_case(path)
    check_stars(table, "F160W", scale)


@pytest.mark.parametrize(("scale", "what"), [(1e-40, "a noise of 1e-40"), (1e32, "light of [0-9]e[+]3")])
def test_data_out_of_range_are_refused(scale: float, what: str, tmp_path: Path):
    path = write(tmp_path / "t.fits", fits.ImageHDU(field() * scale, header(FILTER="F160W")))
    with pytest.raises(InputError, match=f"band F160W has {what}.*multiply the image"):
        classify_case(path)


def found_in(path: Path) -> tuple[tuple[str, ...], list[str], int]:
    """Bands, kinds of noise planes and number of masks that are read from a file."""
    with open_image(path) as opened:
        first = opened.described[0]
        return opened.bands, [noise.kind for noise in first.noise], len(first.masks)


PLANES = {
    "rms": [
        "RMS",
        "ERR",
        "ERROR",
        "ERRORS",
        "SIGMA",
        "STD",
        "UNCERT",
        "UNC",
        "UNCERTAINTY",
        "NOISE",
        "RMSMAP",
        "ERR_MAP",
    ],
    "variance": ["VAR", "VARIANCE", "STAT", "var", "VAR_SCI"],
    "weight": ["WHT", "WEIGHT", "WGT", "WT", "IVAR", "INVVAR", "IVM", "WEIGHT_MAP", "SCI_WHT", "weight"],
    "exposure": ["EXP", "EXPMAP", "EXPTIME", "CONF", "COVERAGE", "NEXP"],
    "mask": ["DQ", "MASK", "MSK", "QUAL", "QUALITY", "FLG", "FLAGS", "BPM", "BADPIX", "MASKBITS", "DQ1", "SCI_DQ"],
    "left out": [
        "AREA",
        "SKY",
        "BKG",
        "CTX",
        "CON",
        "NSCI",
        "NIMG",
        "PSF",
        "SEGM",
        "VAR_POISSON",
        "VAR_RNOISE",
        "TIME",
    ],
    "unknown": ["FOO", "MEDIAN", "CHI", "PEAK", "HITS", "CUTOUT", "MY_PLANE", "X1", "MODEL2D", "BLOB", "TRACE"],
}


@pytest.mark.filterwarnings("ignore:F150W. the weight")
@pytest.mark.parametrize("science", ["SCI", "PRIMARY", None])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in PLANES.items() for name in names])
def test_names_of_planes(kind: str, name: str, science: str | None, tmp_path: Path, caplog):
    caplog.set_level("INFO", "morpheus_lite")
    beside = plane(np.int16(0) if kind == "mask" else np.float32(1), name)
    if science == "PRIMARY":
        path = tmp_path / "t.fits"
        fits.HDUList([fits.PrimaryHDU(field(), header(FILTER="F150W")), beside]).writeto(path)
    else:
        path = write(tmp_path / "t.fits", image(field(), header(), science), beside, primary={"FILTER": "F150W"})
    bands, noise, n_masks = found_in(path)
    assert bands == ("F150W",)
    assert noise == ([kind.replace("exposure", "weight")] if kind not in ("mask", "left out", "unknown") else [])
    assert n_masks == (kind == "mask")
    assert (f"{name.upper()}" in caplog.text) == (kind in ("left out", "unknown"))


@pytest.mark.parametrize("name", ["F606W", "r", "HSC-G", "NIR_Y", "Ks", "NB921", "VIS", "F410M"])
def test_names_of_filters_beside_an_image_are_bands(name: str, tmp_path: Path):
    hdus = [image(field(), header(FILTER="F160W"), "SCI"), image(field(), header(), name)]
    bands, _, _ = found_in(write(tmp_path / "t.fits", *hdus))
    assert len(bands) == 2


def test_another_filter_makes_a_band_of_an_unknown_name(tmp_path: Path):
    hdus = [image(field(), header(FILTER="F160W"), "SCI"), image(field(), header(FILTER="F606W"), "SECOND")]
    assert found_in(write(tmp_path / "t.fits", *hdus))[0] == ("F160W", "F606W")


UNCERTAINTIES = [
    (StdDevUncertainty, 1, "rms"),
    (VarianceUncertainty, 2, "variance"),
    (InverseVariance, -2, "weight"),
]


@pytest.mark.parametrize(("kind", "power", "name"), UNCERTAINTIES)
@pytest.mark.parametrize("stored", [True, False])
def test_ccddata(kind: type, power: int, name: str, stored: bool, tmp_path: Path):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[3, 4] = True
    meta = {"FILTER": "F814W", "EXPTIME": 100.0, "GAIN": 2.0}
    made = CCDData(field(), kind(np.full((SIZE, SIZE), 1.5**power)), mask, meta=meta, unit="nJy")
    if stored:
        made.write(tmp_path / "t.fits")
    with open_image(tmp_path / "t.fits" if stored else made) as opened:
        read = opened.read()
        assert [noise.kind for noise in opened.described[0].noise] == [name]
    assert read.bands == ("F814W",) and read.units == ("nJy",)
    assert read.meta["bands"]["F814W"]["header"] == meta
    assert np.argwhere(~read.valid[:, :, 0]).tolist() == [[3, 4]]
    np.testing.assert_allclose(read.rms[read.valid], 1.5, rtol=1e-6)


@pytest.mark.parametrize(("kind", "power", "unit"), [(k, p, u.uJy**p) for k, p, _ in UNCERTAINTIES])
def test_an_uncertainty_in_a_unit_of_its_own(kind: type, power: int, unit: u.UnitBase):
    made = CCDData(field(), kind(np.full((SIZE, SIZE), 0.0015**power), unit=unit), unit="nJy")
    np.testing.assert_allclose(read_image(made).rms, 1.5, rtol=1e-6)


def test_an_uncertainty_of_unknown_type_is_left_out(tmp_path: Path):
    cards = fits.Header({"UTYPE": "UnknownUncertainty"})
    path = write(tmp_path / "t.fits", image(field(), header(), "SCI"), plane(np.float32(1), "UNCERT", cards))
    with pytest.warns(UserWarning, match="UTYPE UnknownUncertainty does not say what the uncertainty is"):
        assert read_image(path).rms is None


DETECTORS = {
    "DECam": (["S29", "S30", "N1"], [{}, {}, {}], {"FILTER": "r DECam SDSS c0002 6415.0 1480.0"}),
    "numbered CCDs": (["CCD1", "CCD2"], [{}, {}], {"FILTER": "r"}),
    "chips": (["SCI", "SCI"], [{"CCDCHIP": 2}, {"CCDCHIP": 1}], {"FILTER": "F814W"}),
    "Euclid": (["DET11.SCI", "DET12.SCI"], [{}, {}], {"FILTER": "Y"}),
    "quadrants": (["3-4.E.SCI", "3-4.F.SCI"], [{"FILTER": "VIS"}, {"FILTER": "VIS"}], {}),
    "names of places": (["LEFT", "RIGHT"], [{}, {}], {"FILTER": "i"}),
    "MegaCam": (["ccd00", "ccd01"], [{}, {}], {"FILTER": "u.MP9302"}),
}


@pytest.mark.parametrize("camera", DETECTORS)
@pytest.mark.parametrize("compressed", [False, True])
def test_several_detectors_ask_for_one(camera: str, compressed: bool, tmp_path: Path):
    names, cards, primary = DETECTORS[camera]
    hdus = []
    for k, (name, own) in enumerate(zip(names, cards, strict=True)):
        made = header(CRVAL1=30 + 0.3 * k, **own)
        data = field(seed=k).astype(np.float32)
        kind = fits.CompImageHDU if compressed else fits.ImageHDU
        hdus.append(kind(data, made, name=name))
        hdus[-1].ver = 1 + names[:k].count(name)
    path = write(tmp_path / "t.fits", *hdus, primary=primary)
    with pytest.raises(
        InputError, match=rf"images of several detectors, .*; name one, as in FILE\[{names[0].upper()}\]"
    ):
        read_image(path)
    assert read_image(f"{path}[{names[0]},1]").shape == (SIZE, SIZE)


def test_detectors_without_names_ask_for_one(tmp_path: Path):
    path = write(tmp_path / "t.fits", image(field()), image(field(seed=2)), primary={"FILTER": "J"})
    with pytest.raises(InputError, match=r"several detectors, or exposures, \[1\] no name, .* as in FILE\[1\]"):
        read_image(path)


def test_a_detector_brings_its_own_noise_and_the_filter_of_the_file(tmp_path: Path):
    hdus = []
    for k, detector in enumerate(("DET11", "DET12"), 1):
        hdus += [image(field(), header(FILTER="F160W"), f"{detector}.SCI"), plane(np.float32(k), f"{detector}.RMS")]
        hdus.append(plane(np.int32(0), f"{detector}.DQ"))
    path = write(tmp_path / "t.fits", *hdus)
    read = read_image(f"{path}[DET12.SCI]")
    assert read.bands == ("F160W",)
    assert np.all(read.rms == 2)
    simple = write(
        tmp_path / "s.fits", image(field(), header(), "N1"), image(field(), header(), "N2"), primary={"FILTER": "g"}
    )
    assert read_image(f"{simple}[N2]").bands == read_image(f"{simple}[N1]").bands == ("G",)


@pytest.mark.parametrize("cards", [{"BANDS": "grz"}, {"BANDS": "grz", "BAND0": "g", "BAND1": "r", "BAND2": "z"}])
def test_cut_outs_of_the_legacy_survey(cards: dict[str, str], tmp_path: Path):
    cube = np.stack([field(seed=seed) for seed in range(3)])
    fits.PrimaryHDU(cube.astype(np.float32), header(0.262, **cards)).writeto(tmp_path / "t.fits")
    read = read_image(tmp_path / "t.fits")
    assert read.bands[:2] == ("G", "R") and len(read.bands) == 3
    np.testing.assert_array_equal(read.data[:, :, 1], cube[1].astype(np.float32))


def test_planes_of_one_filter_are_said_to_be_doubtful(tmp_path: Path):
    cube = image(np.stack([field(seed=seed) for seed in range(3)]), header(0.03), "SCI")
    path = write(tmp_path / "t.fits", cube, primary={"TELESCOP": "JWST", "INSTRUME": "NIRCAM", "FILTER": "F150W"})
    with pytest.warns(UserWarning, match="3 planes, but the header names one filter, F150W"):
        assert len(read_image(path).bands) == 3


@pytest.mark.parametrize("opened", [True, False])
def test_stored_numbers_in_memory_are_scaled(opened: bool, tmp_path: Path):
    stored = np.round(10 * field()).astype(np.int16)
    stored[0] = -32768
    hdu = fits.ImageHDU(stored, header())
    hdu.header.update(BSCALE=0.1, BZERO=5.0, BLANK=-32768)
    with fits.open(write(tmp_path / "t.fits", hdu), do_not_scale_image_data=True) as hdus:
        read = read_image(hdus if opened else hdu)
    np.testing.assert_allclose(read.data[1:, :, 0], 0.1 * stored[1:] + 5, rtol=1e-6)
    assert not read.valid[0].any() and read.valid[1:].all()


@pytest.mark.parametrize("axis", ["STOKES", "AWAV"])
def test_planes_along_an_axis_that_has_a_name_are_said_to_be_doubtful(axis: str, tmp_path: Path):
    cube = image(np.stack([field(seed=seed) for seed in range(3)]), header(0.2, CTYPE3=axis), "DATA")
    with pytest.warns(UserWarning, match=f"3 planes, but the header calls their axis {axis}; they are taken as bands"):
        assert len(read_image(write(tmp_path / "t.fits", cube)).bands) == 3


def asinh_magnitudes(flux: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """As the stacks of Pan-STARRS have them, and what their header says."""
    offset, softening = float(flux.mean()), float(flux.std())
    return 2.5 / np.log(10) * np.arcsinh((flux - offset) / (2 * softening)), {"BOFFSET": offset, "BSOFTEN": softening}


@pytest.mark.parametrize("how", ["file", "compressed", "in memory"])
def test_asinh_magnitudes_are_undone(how: str, tmp_path: Path):
    flux = 30 * field()
    values, cards = asinh_magnitudes(flux)
    if how == "compressed":
        made = header(0.25, FILTER="F814W", **cards)
        hdu = fits.CompImageHDU(values.astype("f4"), made, compression_type="GZIP_2", quantize_level=0)
    else:
        hdu = image(values, header(0.25, FILTER="F814W", **cards))
    path = write(tmp_path / "t.fits", hdu)
    read = read_image(hdu if how == "in memory" else path)
    np.testing.assert_allclose(read.data[:, :, 0], flux, rtol=1e-5, atol=1e-3)
    check_stars(classify_case(path)[0], "F814W", 30)


def test_asinh_magnitudes_that_were_undone_before_are_refused(tmp_path: Path):
    flux = 30 * field()
    path = write(tmp_path / "t.fits", image(flux, header(0.25, **asinh_magnitudes(flux)[1])))
    with pytest.raises(InputError, match="BSOFTEN and BOFFSET say that the pixels are asinh magnitudes"):
        read_image(path)


def zipped(folder: Path, *names: str) -> Path:
    path = write(folder / "image.fits", image(field(), header(FILTER="F160W")))
    with zipfile.ZipFile(folder / "t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(path, name)
    return folder / "t.zip"


@pytest.mark.parametrize("names", [["image.fits"], ["folder/image.fits", "__MACOSX/._image.fits"]])
def test_a_zip_archive_with_one_file_is_read(names: list[str], tmp_path: Path):
    read = read_image(zipped(tmp_path, *names))
    np.testing.assert_array_equal(read.data[:, :, 0], field().astype(np.float32))
    assert read.name == "t"


@pytest.mark.parametrize(
    ("names", "message"), [(["a.fits", "b.fits"], r"holds 2 files \(a.fits, b.fits\)"), ([], "not a FITS file")]
)
def test_a_zip_archive_with_several_files_is_refused(names: list[str], message: str, tmp_path: Path):
    with pytest.raises(InputError, match=message):
        read_image(zipped(tmp_path, *names))


@pytest.mark.parametrize("keep", [10, 1000, 20000, -10])
def test_a_zip_archive_that_was_cut_is_refused(keep: int, tmp_path: Path):
    path = zipped(tmp_path, "image.fits")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"t.zip cannot be read as FITS: the ZIP archive is damaged or truncated"):
        read_image(path)


OTHERS = {
    b"\x1f\x9d": "compress",
    b"7z\xbc\xaf": "7-Zip",
    b"\x89HDF\r\n": "HDF5",
    b"#ASDF 1.0": "ASDF",
    b"<html>": "web page",
}


@pytest.mark.parametrize(("start", "kind"), OTHERS.items())
def test_other_files_are_called_by_their_names(start: bytes, kind: str, tmp_path: Path):
    (tmp_path / "t.fits").write_bytes(start + bytes(5000))
    with pytest.raises(InputError, match=kind):
        read_image(tmp_path / "t.fits")
