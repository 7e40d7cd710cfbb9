"""What the planes of a file are taken for: the nine stars of `cases` come out right whatever lies beside them."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from cases import FLUX, SIZE, check_stars, classify_case, field, header, image, plane, star_rows, stars, write

from morpheus_lite.errors import InputError
from morpheus_lite.io import read_image
from morpheus_lite.io.segmentation_map import read_labels


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
