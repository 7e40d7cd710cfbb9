"""Every input that cannot be used says what came, what was expected and what to do."""

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.nddata.nduncertainty import UnknownUncertainty
from input_flavours import FLAVOURS
from inputs import BANDS, SHAPE, TRUTH, header, plane, sky_wcs, write

from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, MorpheusError, OptionError
from morpheus_lite.io import open_image, read_image
from morpheus_lite.io.fitsfile import Location, parse_extension

ROOT = Path(__file__).resolve().parents[2]


def image_hdu(k=0, **options):
    return fits.ImageHDU(plane(k), header(k), **options)


def truncated(folder: Path, keep: float) -> Path:
    path = FLAVOURS["sci_and_rms_pairs"](folder).source
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    return path


def text_file(folder: Path) -> Path:
    path = folder / "notes.fits"
    path.write_text("this is no image\n" * 500)
    return path


def empty_file(folder: Path) -> Path:
    path = folder / "empty.fits"
    path.touch()
    return path


def half_a_gzip(folder: Path) -> Path:
    path = FLAVOURS["gzipped"](folder).source
    path.write_bytes(path.read_bytes()[:3000])
    return path


def gzipped_text(folder: Path) -> Path:
    path = folder / "notes.fits.gz"
    with gzip.open(path, "wt") as file:
        file.write("nothing")
    return path


def table_file(folder: Path) -> Path:
    path = folder / "table.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])]).writeto(path)
    return path


BAD_FILES = {
    "missing": (lambda folder: folder / "none.fits", r"none.fits: no such file; check the path"),
    "missing folder": (
        lambda folder: folder / "no" / "none.fits",
        r"no such file \(there is no directory .*no either\)",
    ),
    "directory": (lambda folder: folder, r"is a directory; expected a FITS file"),
    "text": (text_file, r"notes.fits cannot be read as FITS: it is not a FITS file"),
    "empty": (empty_file, r"empty.fits cannot be read as FITS: the file is empty"),
    "truncated pixels": (lambda folder: truncated(folder, 0.97), r"truth.fits is truncated"),
    "truncated second header": (lambda folder: truncated(folder, 0.155), r"truth.fits is truncated"),
    "truncated first header": (lambda folder: truncated(folder, 0.02), r"truth.fits (is truncated|cannot be read)"),
    "half a gzip": (half_a_gzip, r"truth.fits.gz cannot be read as FITS: the compressed file is truncated"),
    "gzipped text": (gzipped_text, r"notes.fits.gz cannot be read as FITS"),
    "table": (table_file, r"holds no image to use.*\n.*\n  \[1\] no name: no image"),
    "no pixels": (
        lambda folder: write(folder / "t.fits", fits.ImageHDU(name="SCI")),
        r"holds no image to use",
    ),
    "one-dimensional": (
        lambda folder: write(folder / "t.fits", fits.ImageHDU(np.ones(7))),
        r"t.fits\[1\] is one-dimensional, with 7 values; expected an image \(y, x\)",
    ),
    "four axes": (
        lambda folder: write(folder / "t.fits", fits.ImageHDU(np.ones((2, 3, 44, 52)))),
        r"has shape \(2, 3, 44, 52\); expected \(y, x\) or \(band, y, x\)",
    ),
    "bands last": (
        lambda folder: write(folder / "t.fits", fits.ImageHDU(np.ones((44, 52, 4)))),
        r"as if its bands came last; a FITS cube has them first",
    ),
    "class maps": (
        lambda folder: write(folder / "t.fits", *(image_hdu(name=one) for one in ("SPHEROID", "DISK", "BACKGROUND"))),
        r"t.fits holds class maps, not an image; give the image, or name an HDU, as in FILE\[1\]",
    ),
    "truth": (
        lambda folder: ROOT / "examples/data/demo_truth.fits",
        r"demo_truth.fits holds the truth of a field, not an image",
    ),
    "only a weight": (
        lambda folder: write(folder / "t.fits", image_hdu(name="WHT")),
        r"holds no image to use; choose by number or name",
    ),
    "same band twice": (
        lambda folder: write(folder / "t.fits", image_hdu(name="H"), image_hdu(name="F160W")),
        r"several images of band F160W; choose by .*\n  \[0\] PRIMARY: no image\n  \[1\] H: 44 x 52\n",
    ),
    "chips without a filter": (
        lambda folder: write(folder / "t.fits", image_hdu(name="SCI"), image_hdu(name="SCI", ver=2)),
        r"several images of one name",
    ),
    "named and unnamed": (
        lambda folder: write(folder / "t.fits", image_hdu(), image_hdu(name="H")),
        r"images with and without a band's name",
    ),
    "shapes in one file": (
        lambda folder: write(folder / "t.fits", image_hdu(name="H"), fits.ImageHDU(np.ones((9, 9)), name="J")),
        r"images of different shapes",
    ),
    "number of noise planes": (
        lambda folder: write(
            folder / "t.fits",
            fits.ImageHDU(np.ones((4, *SHAPE)), name="SCI"),
            fits.ImageHDU(np.ones((3, *SHAPE)), name="ERR"),
        ),
        r"t.fits\[2\] ERR has 3 planes for 4 band\(s\); expected one, or one per band",
    ),
    "noise of another shape": (
        lambda folder: write(folder / "t.fits", image_hdu(name="H"), fits.ImageHDU(np.ones((9, 9)), name="H_RMS")),
        r"the rms plane of F160W \(.*\) is 9 x 9 px \(y, x\), but F160W \(.*\) is 44 x 52 px",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name, tmp_path):
    build, message = BAD_FILES[name]
    with pytest.raises(InputError, match=message):
        read_image(build(tmp_path))


@pytest.mark.parametrize(
    ("ext", "message"),
    [
        ("[9]", r"t.fits\[9\]: there is no such HDU. .* has\n  \[0\] PRIMARY: no image\n  \[1\] H: 44 x 52"),
        ("[sci]", r"\[sci\]: there is no such HDU"),
        ("[H,2]", r"\[H,2\]: there is no such HDU"),
        ("[0]", r"t.fits\[0\] holds no image"),
        ("[J]", r"t.fits\[J\] is ambiguous; give the HDU's number"),
    ],
)
def test_wrong_extension(ext, message, tmp_path):
    path = write(tmp_path / "t.fits", image_hdu(name="H"), image_hdu(name="J"), image_hdu(name="J", ver=2))
    with pytest.raises(InputError, match=message):
        read_image(f"{path}{ext}")


def test_extension_given_twice(tmp_path):
    path = write(tmp_path / "t.fits", image_hdu(name="H"))
    with pytest.raises(OptionError, match=r"names an HDU, and ext=1 another"):
        read_image(f"{path}[H]", ext=1)


@pytest.mark.parametrize("ext", [" ", "", -1, 1.5, ("H", "x"), True, "A,B,1"])
def test_extensions_that_are_none(ext):
    with pytest.raises(OptionError, match="is not understood: expected a number, a name, or NAME,version"):
        parse_extension(ext)


def test_a_name_that_ends_in_brackets_is_a_file(tmp_path):
    path = write(tmp_path / "odd[1].fits", image_hdu(name="H"))
    odd = path.rename(tmp_path / "odd.fits[2]")
    assert Location.parse(odd) == Location(str(odd))
    assert read_image(odd).bands == ("F160W",)


BAD_VALUES = {
    "none": (None, r"a NoneType is not an image; expected a FITS path"),
    "number": (3.5, r"a float is not an image"),
    "list": ([[1.0, 2.0]], r"a list is not an image"),
    "one-dimensional": (np.ones(5), r"the array has shape \(5,\); expected \(y, x\) or \(y, x, band\)"),
    "four axes": (np.ones((2, 2, 2, 2)), r"the array has shape \(2, 2, 2, 2\)"),
    "row": (np.ones((1, 52)), r"the array\) is 1 x 52 px \(y, x\): a single row or column; expected an image"),
    "column": (fits.PrimaryHDU(np.ones((1, 44, 1))), r"is 44 x 1 px \(y, x\): a single row or column"),
    "empty": (np.ones((0, 5)), r"the array has shape \(0, 5\): it is empty"),
    "complex": (np.ones((5, 5), complex), r"values of type complex128; expected real numbers"),
    "text": (np.array([["a", "b"]]), r"values of type <U1; expected real numbers"),
    "objects": (np.array([[None]]), r"values of type object; expected real numbers"),
    "bool": (np.ones((5, 5), bool), r"is of type bool; expected real numbers \(a mask is given as dq=\)"),
    "bands first": (np.ones((4, 44, 52)), r"as if its bands came first; arrays have them last"),
    "no bands": ({}, r"an empty mapping came; expected one input per band"),
    "table": (fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])]), r"a BinTableHDU is not an image"),
    "HDU without pixels": (fits.ImageHDU(), r"holds no image"),
    "uncertainty": (
        CCDData(np.ones((5, 5)), uncertainty=UnknownUncertainty(np.ones((5, 5))), unit="adu"),
        r"uncertainty UnknownUncertainty is not understood; expected StdDev, Variance or InverseVariance",
    ),
    "shapes": (
        {"H": np.ones((44, 52)), "J": np.ones((44, 50))},
        r"F125W \(the array\) is 44 x 50 px \(y, x\), but F160W \(the array\) is 44 x 52 px",
    ),
    "two planes for one band": (
        {"H": np.ones((44, 52, 3))},
        r"band F160W: the array and others are 3 images, 0 of them named F160W",
    ),
    "one band under two names": (
        {"H": np.ones((44, 52)), "F160W": np.ones((44, 52))},
        r"image: band F160W comes 2 times, from the array, the array; give it once",
    ),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_bad_values(name):
    value, message = BAD_VALUES[name]
    with pytest.raises(InputError, match=message):
        read_image(value)


BAD_OPTIONS = {
    "too few names": ({"bands": ["H"]}, InputError, r"holds 4 image\(s\) of 44 x 52 px .* but 1 are named: H"),
    "ext of an array": ({"ext": 1}, OptionError, r"ext=1 chooses HDUs of a FITS file, but a ndarray came"),
    "noise of another shape": ({"rms": np.ones((5, 5))}, InputError, r"the rms plane of 1 \(the array\) is 5 x 5 px"),
    "noise of no band": ({"rms": {"K": np.ones(SHAPE)}}, InputError, r"planes for K, but the bands are 1, 2, 3, 4"),
    "number of masks": ({"dq": np.ones((*SHAPE, 2), int)}, InputError, r"the mask option gives planes for \?, \?, but"),
    "zero-point text": ({"zero_points": "bright"}, OptionError, r"zero-point of 1: expected a number"),
    "zero-point NaN": ({"zero_points": [1, 2, np.nan, 3]}, OptionError, r"zero-point of 3: expected a number"),
    "zero-points": ({"zero_points": [1, 2]}, OptionError, r"2 zero-points for 4 band\(s\): 1, 2, 3, 4"),
    "zero-point of no band": ({"zero_points": {"K": 1}}, OptionError, r"zero-point for K, but the bands are"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(name):
    options, kind, message = BAD_OPTIONS[name]
    with pytest.raises(kind, match=message):
        read_image(TRUTH.data, **options)


def test_missing_band(tmp_path):
    path = FLAVOURS["sci_and_rms_pairs"](tmp_path).source
    with pytest.raises(InputError, match=r"truth has no band F814W: it has F160W, F125W, F606W, F850LP, and F814W are"):
        read_image(path, bands="F814W")


def test_bands_that_are_not_aligned(tmp_path):
    shifted = sky_wcs()
    shifted.wcs.crpix += 0.7, 0
    path = write(tmp_path / "t.fits", image_hdu(name="H"), fits.ImageHDU(plane(1), shifted.to_header(), name="J"))
    with pytest.raises(
        InputError, match=r"F125W \(.*\) is not aligned with F160W \(.*\): .* differ by 0.70 px at x = "
    ):
        read_image(path)


def test_bands_on_other_sides_of_the_sky(tmp_path):
    elsewhere = sky_wcs()
    elsewhere.wcs.crval = 233.16, 27.78
    path = write(tmp_path / "t.fits", image_hdu(name="H"), fits.ImageHDU(plane(1), elsewhere.to_header(), name="J"))
    with pytest.raises(InputError, match="is not aligned with F160W"):
        read_image(path)


def test_small_offsets_between_bands_are_said(tmp_path):
    shifted = sky_wcs()
    shifted.wcs.crpix += 0.2, -0.2
    path = write(tmp_path / "t.fits", image_hdu(name="H"), fits.ImageHDU(plane(1), shifted.to_header(), name="J"))
    with pytest.warns(UserWarning, match=r"their WCS differ by 0.28 px at .*; pixels are taken to coincide"):
        np.testing.assert_allclose(read_image(path).wcs.wcs.crpix, sky_wcs().wcs.crpix)


def test_offsets_of_rounding_are_fine(tmp_path):
    shifted = sky_wcs()
    shifted.wcs.crpix += 0.05, -0.05
    path = write(tmp_path / "t.fits", image_hdu(name="H"), fits.ImageHDU(plane(1), shifted.to_header(), name="J"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(path)


@pytest.mark.parametrize("window", [Window(0, 0, 45, 1), Window(0, 50, 1, 3), Window(-1, 0, 2, 2), Window(0, 0, 0, 4)])
def test_windows_outside(window):
    with (
        open_image(TRUTH) as source,
        pytest.raises(OptionError, match="does not lie inside truth, which is 44 x 52 px"),
    ):
        source.read(window)


def test_file_that_changes_after_it_was_opened(tmp_path):
    path = FLAVOURS["sci_and_rms_pairs"](tmp_path).source
    with open_image(path) as opened:
        pass
    path.unlink()
    write(path, *(fits.ImageHDU(np.ones((9, 9)), name=f"{band}_SCI") for band in BANDS for _ in range(2)))
    with open_image(opened) as source, pytest.raises(InputError, match=r"has changed: it was \(44, 52\) px"):
        source.read()


def test_noise_that_belongs_to_no_band_is_mentioned(tmp_path):
    noise = [fits.ImageHDU(np.ones(SHAPE), name="ERR", ver=ver) for ver in (7, 8)]
    path = write(tmp_path / "t.fits", image_hdu(name="H"), image_hdu(1, name="J"), *noise)
    with pytest.warns(UserWarning, match=r"it is not clear which band \[3\] ERR, \[4\] ERR belong"):
        image = read_image(path)
    assert image.rms is None


def test_an_image_without_a_valid_pixel_is_an_image():
    image = read_image(np.full((44, 52), np.nan))
    assert not image.valid.any()
    assert not image.data.any()


def test_missing_padding_is_mentioned_where_nothing_else_can_be_missing(tmp_path):
    path = tmp_path / "t.fits"
    fits.PrimaryHDU(plane(0)).writeto(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="ends within a block of 2880 bytes"):
        assert read_image(path).shape == SHAPE


@pytest.mark.parametrize("more", [-1, -700, 1, 7, 8, 79, 2879])
def test_a_file_cut_between_two_bands_has_not_fewer_bands(more, tmp_path):
    path = write(tmp_path / "t.fits", image_hdu(name="H"), image_hdu(1, name="J"))
    with fits.open(path) as hdus:
        end = hdus[2].fileinfo()["hdrLoc"]
    path.write_bytes(path.read_bytes()[: end + more])
    with pytest.raises(InputError, match=r"t\.fits is truncated: it ends .*; copy or download it again"):
        read_image(path)


def test_good_input_gives_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(FLAVOURS["sci_and_rms_pairs"](tmp_path).source)


def test_every_error_is_one_of_ours():
    assert issubclass(InputError, MorpheusError) and issubclass(OptionError, MorpheusError)
