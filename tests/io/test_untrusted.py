"""Headers that claim what the file does not hold: an error that names file, HDU and card, or the right pixels."""

import io
import struct

import numpy as np
import pytest
from astropy.io import fits
from inputs import TRUTH, header, plane

from morpheus_lite.errors import InputError, ModelError, reading
from morpheus_lite.io import read_catalog, read_image
from morpheus_lite.io.source_tables import read_labels
from morpheus_lite.io.untrusted import read_toml

WHOLE = np.abs(np.nan_to_num(plane(0) * 64)).astype(np.int32)


def content_of(*hdus):
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(buffer)
    return buffer.getvalue()


def with_card(content, keyword, value, *, becomes=None):
    """The file with another value in the last card of this keyword, as it stands there, and another keyword."""
    start = content.rindex(keyword.ljust(8).encode() + b"= ")
    return content[:start] + f"{becomes or keyword:8}= {value:>20}".encode().ljust(80) + content[start + 80 :]


def plain(**cards):
    return content_of(fits.ImageHDU(plane(0), header(0, **cards), "SCI"))


def tiles(kind, **options):
    return content_of(fits.CompImageHDU(WHOLE, header(0), "SCI", compression_type=kind, tile_shape=(11, 13), **options))


def heap_word(content, place, word):
    """The file with other bytes at a place of the heap of its last HDU."""
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        start = hdus[1].fileinfo()["datLoc"] + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
    return content[: start + place] + word + content[start + place + len(word) :]


def first_tile(content, length, offset):
    """The file with another descriptor of its first tile."""
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        start = hdus[1].fileinfo()["datLoc"]
    return content[:start] + struct.pack(">ii", length, offset) + content[start + 8 :]


REFUSED = {
    "axes": (
        lambda: with_card(plain(), "NAXIS", "2147483647"),
        r"a.fits\[1\]: NAXIS is 2147483647; FITS allows 0 to 999",
    ),
    "axes beyond any integer": (
        lambda: with_card(plain(), "NAXIS", "9" * 20),
        r"a.fits\[1\]: NAXIS is 9{20}; FITS allows",
    ),
    "axes, said twice": (
        lambda: with_card(plain(OBSERVER="x"), "OBSERVER", "9223372036854775807", becomes="NAXIS"),
        r"a.fits\[1\]: NAXIS is 9223372036854775807; FITS allows",
    ),
    "pixels that end before they begin": (
        lambda: with_card(plain(), "NAXIS2", "-1"),
        r"a.fits\[1\]: its header says -\d+ bytes of pixels; NAXISn, PCOUNT and GCOUNT are",
    ),
    "groups that end before the file begins": (lambda: with_card(plain(), "GCOUNT", "-1"), r"a.fits cannot be read"),
    "an axis, said twice": (
        lambda: with_card(plain(OBSERVER="x"), "OBSERVER", "65536", becomes="NAXIS2"),
        r"a.fits\[1\]: NAXIS2 appears twice, as 44 and as 65536",
    ),
    "a cube of spectra": (
        lambda: content_of(fits.ImageHDU(np.ones((300, 20, 20), np.float32), name="SCI")),
        r"a.fits\[1\] has 300 planes; expected one per band",
    ),
    "columns": (
        lambda: with_card(tiles("RICE_1"), "TFIELDS", "2147483647"),
        r"\[1\]: TFIELDS is 2147483647; FITS allows",
    ),
    "axes of tiles": (
        lambda: with_card(tiles("RICE_1"), "ZNAXIS", "2147483647"),
        r"\[1\]: ZNAXIS is 2147483647; FITS allows",
    ),
    "no END": (lambda: b"SIMPLE  =                    T".ljust(80) * 400_000, r"a.fits\[0\]: the header has no END in"),
    "pixels": (lambda: with_card(plain(), "BITPIX", "12"), r"a.fits"),
    "length": (lambda: with_card(plain(), "NAXIS2", "40000"), r"a.fits is truncated"),
    "not standard": (lambda: with_card(plain(), "SIMPLE", "F"), r"a.fits\[0\] is not a standard FITS HDU"),
    "text for a number": (
        lambda: with_card(plain(OBSERVER="x"), "OBSERVER", "'two'", becomes="BSCALE"),
        r"a.fits\[1\]: BSCALE is 'two'; expected",
    ),
    "no number": (
        lambda: with_card(plain(FILTER="F160W"), "FILTER", "'F160W"),
        r"a.fits\[1\]: the card FILTER cannot be",
    ),
    "place on the sky": (
        lambda: with_card(plain(), "CRVAL1", "53 16"),
        r"a.fits\[1\]: the card CRVAL1 cannot be parsed",
    ),
    "tiles": (
        lambda: with_card(tiles("RICE_1"), "ZNAXIS2", "45"),
        r"\[1\]: ZNAXISn and ZTILEn make 20 tiles, .* has 16",
    ),
    "size of tiles": (
        lambda: with_card(with_card(tiles("RICE_1"), "ZNAXIS1", "40000000"), "ZTILE1", "10000000"),
        r"\[1\]: ZNAXISn claim 7040000000 bytes of pixels, which \d+ bytes cannot hold",
    ),
    "blocks of 0": (
        lambda: with_card(tiles("RICE_1"), "ZVAL1", "0"),
        r"\[1\]: the compression setting BLOCKSIZE is 0",
    ),
    "width of a column": (
        lambda: with_card(tiles("RICE_1"), "TFORM1", "'999999999PB'"),
        r"\[1\]: TFORM1 is '999999999PB'",
    ),
    "rows": (lambda: with_card(tiles("RICE_1"), "NAXIS1", "9"), r"a.fits"),
    "tile beyond the heap": (
        lambda: first_tile(tiles("RICE_1"), 30, 2**30),
        r"\[1\]: column COMPRESSED_DATA points outside",
    ),
    "negative tile": (lambda: first_tile(tiles("GZIP_1"), -7, 0), r"\[1\]: column COMPRESSED_DATA points outside"),
    "larger tile": (
        lambda: heap_word(tiles("HCOMPRESS_1"), 2, struct.pack(">ii", 30000, 30000)),
        r"\[1\]: a tile is no HCOMPRESS_1 of its size; the file is damaged",
    ),
    "longer list": (
        lambda: heap_word(tiles("PLIO_1"), 6, struct.pack(">hh", 32767, 32767)),
        r"\[1\]: a tile is no PLIO_1 of",
    ),
    "tile that ends in zeros": (
        lambda: heap_word(first_tile(tiles("RICE_1"), 10, 0), 0, b"\0\0\0\0\x10" + bytes(5)),
        r"a.fits\[1\] cannot be read: decompression error: hit end of compressed byte stream",
    ),
    "broken tile": (lambda: heap_word(tiles("GZIP_1"), 12, b"\xff" * 40), r"a.fits\[1\] cannot be read: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_file_cannot_hold_is_refused(name, tmp_path):
    make, message = REFUSED[name]
    path = tmp_path / "a.fits"
    path.write_bytes(make())
    with pytest.raises(InputError, match=message):
        read_image(path)


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1", "NOCOMPRESS"])
def test_whole_tiles_are_read(kind, tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(tiles(kind))
    np.testing.assert_array_equal(read_labels(f"{path}[SCI]"), WHOLE)


def test_a_card_that_nobody_needs_is_left_out_with_a_warning(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(with_card(plain(OBSERVER="Hubble"), "OBSERVER", "'Hubble"))
    with pytest.warns(UserWarning, match=r"a.fits\[1\]: the card\(s\) OBSERVER cannot be parsed and are left out"):
        image = read_image(path)
    np.testing.assert_array_equal(image.data[:, :, 0], TRUTH.data[:, :, 0])
    assert image.wcs.wcs.crval.tolist() == [53.16, -27.78]


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("CTYPE1", "'RA---TAB'", "places on the sky from a -TAB table are not supported"),
        ("CRVAL1", "'fifty'", "CRVAL1 is 'fifty'; expected a number"),
    ],
)
def test_a_wcs_that_wcslib_cannot_be_given_is_left_out(keyword, value, message, tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(with_card(plain(), keyword, value))
    with pytest.warns(UserWarning, match=f"the WCS is not usable and is left out .*{message}"):
        image = read_image(path)
    assert image.wcs is None
    np.testing.assert_array_equal(image.data[:, :, 0], TRUTH.data[:, :, 0])


def test_a_record_of_distortion_that_is_there_twice_is_not_given_to_wcslib(tmp_path):
    """It would end the process."""
    path, content = tmp_path / "a.fits", plain(OBSERVER="x", OBSID="y")
    for keyword in ("OBSERVER", "OBSID"):
        content = with_card(content, keyword, "'NAXES: 2'", becomes="DP1")
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"the WCS is not usable and is left out .DP1.NAXES appears twice"):
        assert read_image(path).wcs is None


def test_columns_as_wide_as_rows(tmp_path):
    path = tmp_path / "a.fits"
    columns = [fits.Column("label", "1J", array=[1, 2]), fits.Column("x", "1D", array=[3, 4])]
    content = content_of(fits.BinTableHDU.from_columns(columns))
    path.write_bytes(content)
    assert read_catalog(path)["x"].tolist() == [3, 4]
    path.write_bytes(with_card(content, "TFORM2", "'999999999D'"))
    with pytest.raises(InputError, match=r"a.fits\[1\]: the columns take 7999999996 bytes, but NAXIS1 says 12"):
        read_catalog(path)


@pytest.mark.parametrize("content", [b"name = '\xe9t\xe9'", b"name = ", b"a = " + b"[" * 100_000])
def test_toml_that_cannot_be_read(content, tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a.toml is not valid TOML: .*; expected a TOML file in UTF-8"):
        read_toml(path)
    with pytest.raises(InputError, match=r"b.toml: no such file; check the path"):
        read_toml(tmp_path / "b.toml")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("recformat"), "a.fits cannot be read: KeyError 'recformat'"),
        (OSError("gone\nfor good"), "a.fits cannot be read: gone for good"),
        (AssertionError(), "a.fits cannot be read: AssertionError"),
        (MemoryError(), "a.fits cannot be read: it needs more memory than there is"),
        (RecursionError("too deep"), "a.fits cannot be read: too deep"),
    ],
)
@pytest.mark.parametrize("kind", [InputError, ModelError])
def test_what_libraries_throw(error, message, kind):
    with pytest.raises(kind) as caught, reading("a.fits", kind):
        raise error
    assert str(caught.value) == message
    assert caught.value.__cause__ is error


def test_errors_of_this_package_pass():
    with pytest.raises(ModelError, match=r"^as it was$"), reading("a.fits"):
        raise ModelError("as it was")
