"""Products: whole or not at all, and the same when read back."""

import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import SHAPE, TRUTH
from test_reader_sky import sip_header, tpv_header

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io import describe_product, read_maps, write_catalog, write_maps
from morpheus_lite.io.fitsfile import RECORD, header_of_run, run_of_header
from morpheus_lite.io.maps import PLANES, MapFile, map_planes, plane_cards
from morpheus_lite.io.wcs import celestial_wcs


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


PROVENANCE = {
    "version": "0.1.0",
    "model": "hausen2020",
    "sha256": "ab" * 32,
    "image": "gödel's <script>\n",
    "options": {"stride": 3, "edges": "leave", "batch_size": None, "segmentation": "paper"},
    "long": "x" * 500,
    "naxis": 7,
    "NAXIS": 8,
}


@pytest.fixture(scope="module")
def result() -> Classification:
    rng = np.random.default_rng(2)
    probability = rng.dirichlet(np.ones(5), SHAPE).astype(np.float32)
    probability[:5] = np.nan
    coverage = np.where(np.isnan(probability[:, :, 0]), 0, 900).astype(np.int32)
    flags = np.where(coverage == 0, PixelFlag.NOT_CLASSIFIED, 0).astype(np.uint8)
    flags[2, 3] |= PixelFlag.INVALID
    valid = (flags & PixelFlag.INVALID) == 0
    vote = np.where(np.isnan(probability), np.nan, np.round(probability, 2)).astype(np.float32)
    return Classification(probability, coverage, valid, probability**2, vote, flags, TRUTH.wcs, PROVENANCE)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    made = np.zeros(SHAPE, np.int64)
    made[10:14, 20:25] = 1
    made[30:33, 5:9] = 70_000
    return made


def assert_same_maps(one: Classification, two: Classification) -> None:
    for name in ("probability", "variance", "vote", "coverage", "flags", "valid"):
        first, second = getattr(one, name), getattr(two, name)
        assert first.dtype == second.dtype
        assert first.dtype.isnative
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("compress", [False, True])
def test_maps_come_back(compress, result, labels, tmp_path):
    path = write_maps(TRUTH, result, tmp_path / "maps.fits", labels=labels, compress=compress)
    again, again_labels, provenance = read_maps(path)
    assert_same_maps(again, result)
    assert again_labels.dtype == np.int32
    np.testing.assert_array_equal(again_labels, labels)
    assert provenance == PROVENANCE == again.provenance
    assert names(tmp_path) == ["maps.fits"]


@pytest.mark.parametrize("compress", [False, True])
def test_maps_open_with_plain_astropy(compress, result, labels, tmp_path):
    path = write_maps(TRUTH, result, tmp_path / "maps.fits", labels=labels, compress=compress)
    upper = [name.upper() for name in CLASSES]
    expected = [*upper, *(f"{name}_VAR" for name in upper), *(f"{name}_VOTE" for name in upper)]
    with warnings.catch_warnings(), fits.open(path) as hdus:
        warnings.simplefilter("error")
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus[1:]] == [*expected, "N", "SEGMENTATION", "FLAGS"]
        assert hdus[0].data is None
        assert hdus[0].header["MODEL"] == "hausen2020"
        assert hdus[0].header["SHA256"] == "ab" * 32
        assert hdus[0].header["STRIDE"] == 3
        types = {hdu.name: hdu.data.dtype.newbyteorder("=") for hdu in hdus[1:]}
        for hdu in hdus[1:]:
            assert hdu.shape == SHAPE
            sky = WCS(hdu.header).all_pix2world([3.0], [40.0], 0)
            np.testing.assert_allclose(sky, TRUTH.wcs.all_pix2world([3.0], [40.0], 0), rtol=0, atol=1e-12)
        np.testing.assert_array_equal(hdus["DISK"].data, result.plane("disk"))
    assert types["DISK"] == types["DISK_VAR"] == types["DISK_VOTE"] == np.float32
    assert types["N"] == types["SEGMENTATION"] == np.int32
    assert types["FLAGS"] == np.uint8


def test_compression_makes_files_smaller(result, labels, tmp_path):
    plain = write_maps(TRUTH, result, tmp_path / "plain.fits", labels=labels)
    small = write_maps(TRUTH, result, tmp_path / "small.fits", planes=["segmentation"], labels=labels, compress=True)
    one = write_maps(TRUTH, result, tmp_path / "one.fits", planes=["segmentation"], labels=labels)
    assert small.stat().st_size < one.stat().st_size < plain.stat().st_size


def test_writing_changes_nothing_and_is_the_same_every_time(result, labels, tmp_path):
    before = result.probability.copy()
    one = write_maps(TRUTH, result, tmp_path / "one.fits", labels=labels)
    two = write_maps(TRUTH, result, tmp_path / "two.fits", labels=labels)
    assert one.read_bytes() == two.read_bytes()
    np.testing.assert_array_equal(result.probability, before)
    assert len(one.read_bytes()) % 2880 == 0


def test_only_the_planes_there_are(result, tmp_path):
    bare = replace(result, variance=None, vote=None, flags=None, wcs=None)
    image = replace(TRUTH, wcs=None)
    path = write_maps(image, bare, tmp_path / "maps.fits")
    again, labels, _ = read_maps(path)
    assert labels is None and again.variance is None and again.vote is None and again.flags is None
    assert again.wcs is None
    np.testing.assert_array_equal(again.valid, result.coverage > 0)
    with pytest.raises(OptionError, match="map planes vote, segmentation were asked for"):
        write_maps(image, bare, tmp_path / "more.fits", planes=["mean", "vote", "segmentation"])
    assert names(tmp_path) == ["maps.fits"]


def test_chosen_planes_are_in_the_order_of_the_file():
    chosen = [plane.name for plane in map_planes(["flags", "mean"])]
    assert chosen == [*(name.upper() for name in CLASSES), "FLAGS"]
    with pytest.raises(OptionError, match="map planes colour: choose one or more of mean, variance"):
        map_planes(["colour"])
    with pytest.raises(OptionError, match=r"\(none\)"):
        map_planes([])
    assert len(map_planes(PLANES)) == 21


@pytest.mark.parametrize("build", [sip_header, tpv_header])
@pytest.mark.parametrize("compress", [False, True])
def test_distortion_survives_in_every_plane(build, compress, result, labels, tmp_path):
    wcs = celestial_wcs(build(), SHAPE, "test")
    path = write_maps(TRUTH, replace(result, wcs=wcs), tmp_path / "maps.fits", labels=labels, compress=compress)
    x, y = np.array([0.0, 51, 20]), np.array([0.0, 43, 11])
    expected = np.array(wcs.all_pix2world(x, y, 0))
    assert np.hypot(*(expected - TRUTH.wcs.all_pix2world(x, y, 0))).max() > 1e-7
    with fits.open(path) as hdus:
        for hdu in hdus[1:]:
            np.testing.assert_allclose(WCS(hdu.header).all_pix2world(x, y, 0), expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(read_maps(path)[0].wcs.all_pix2world(x, y, 0), expected, rtol=0, atol=1e-11)


def test_other_files_are_no_maps(tmp_path):
    path = tmp_path / "t.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((3, 3)), name="DISK")]).writeto(path)
    with pytest.raises(InputError, match=r"t.fits holds no class maps; expected image HDUs SPHEROID, DISK"):
        read_maps(path)


# --- the record of the run

_texts = st.text(max_size=120)
_records = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(_texts, _records, max_size=6))
def test_any_record_comes_back_from_a_valid_header(record):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hdu = fits.PrimaryHDU(header=header_of_run(record))
        hdu.verify("exception")
        text = hdu.header.tostring()
    assert text.isascii() and text.isprintable()
    again = fits.Header.fromstring(text)
    assert run_of_header(again) == record
    assert len(list(again.values())) == len(again)


def test_cards_for_people():
    header = header_of_run(PROVENANCE)
    assert header["EDGES"] == "leave"
    assert header.comments["EDGES"] == "options.edges"
    assert header["MORPHEUS OPTIONS SEGMENTATION"] == "paper"
    assert header["MORPHEUS NAXIS"] == 7
    assert header["IMAGE"] == "g\\xf6del`s <script>"
    assert run_of_header({}) == {}
    assert run_of_header({RECORD: "{half"}) == {}


# --- sections


@st.composite
def cuts(draw, length):
    inner = draw(st.sets(st.integers(1, length - 1), max_size=4))
    return [0, *sorted(inner), length]


@settings(max_examples=30, deadline=None)
@given(cuts(SHAPE[0]), cuts(SHAPE[1]), st.randoms(use_true_random=False))
def test_sections_in_any_order_make_the_same_file(tmp_path_factory, rows, columns, random):
    folder = tmp_path_factory.mktemp("sections")
    rng = np.random.default_rng(5)
    kinds = ("coverage", "flags", "entropy")
    planes = {plane.name: rng.integers(0, 9, SHAPE).astype(plane.dtype) for plane in map_planes(kinds)}
    hdus = [fits.ImageHDU(planes[one.name], plane_cards(one, TRUTH.wcs), one.name) for one in map_planes(kinds)]
    fits.HDUList([fits.PrimaryHDU(header=header_of_run(PROVENANCE)), *hdus]).writeto(folder / "whole.fits")
    windows = [
        (name, Window(y, x, y_end - y, x_end - x))
        for name in planes
        for y, y_end in pairwise(rows)
        for x, x_end in pairwise(columns)
    ]
    random.shuffle(windows)
    with MapFile(folder / "cut.fits", SHAPE, kinds, wcs=TRUTH.wcs, provenance=PROVENANCE) as file:
        for name, window in windows:
            file.write_plane(name, planes[name][window.slices], window)
    assert fits.FITSDiff(str(folder / "whole.fits"), str(folder / "cut.fits")).identical
    assert (folder / "cut.fits").stat().st_size == (folder / "whole.fits").stat().st_size


def test_sections_of_another_shape_are_refused(tmp_path):
    with (
        MapFile(tmp_path / "t.fits", SHAPE, ["entropy"], wcs=None, provenance={}) as file,
        pytest.raises(OptionError, match=r"ENTROPY: pixels of shape \(2, 2\) do not fill"),
    ):
        file.write_plane("ENTROPY", np.zeros((2, 2)), Window(0, 0, 3, 2))


def test_what_a_product_says_of_itself(result, labels, tmp_path):
    write_maps(TRUTH, result, tmp_path / "maps.fits", labels=labels)
    table = QTable({"label": [1, 2], "flux": [1.0, 2.0] * u.nJy}, meta=PROVENANCE)
    table["flux"].info.description = "how bright"
    for name in ("table.ecsv", "table.fits", "table.parquet"):
        record = describe_product(write_catalog(table, tmp_path / name))
        assert record["run"]["options.stride"] == 3
        assert record["contents"] == ["2 sources, 2 columns", "label", "flux [nJy]: how bright"]
    # ECSV is YAML, where a key may be a number.
    other = write_catalog(QTable({"label": [1]}, meta={1.5: "x"}), tmp_path / "other.ecsv")
    assert describe_product(other)["run"] == {"1.5": "x"}
    record = describe_product(tmp_path / "maps.fits")
    assert record["run"]["model"] == "hausen2020"
    assert "DISK: 44 x 52 px (y, x), mean probability of disk" in record["contents"]
    assert "SEGMENTATION: 44 x 52 px (y, x), label of the source, 0 is sky, 2 sources" in record["contents"]
    with pytest.raises(InputError, match="no such file"):
        describe_product(tmp_path / "none.fits")
