"""One door: every kind of input gives the same image, whole or by section."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from input_flavours import FLAVOURS
from inputs import BANDS, SHAPE, TRUTH, Case

from morpheus_lite.core.windows import Window
from morpheus_lite.io import open_image, read_image


@pytest.fixture(params=FLAVOURS)
def case(request, tmp_path) -> Case:
    """One kind of input."""
    if request.param == "url":
        pytest.importorskip("fsspec")
    return FLAVOURS[request.param](tmp_path)


@st.composite
def windows(draw):
    y, x = draw(st.integers(0, SHAPE[0] - 1)), draw(st.integers(0, SHAPE[1] - 1))
    return Window(y, x, draw(st.integers(1, SHAPE[0] - y)), draw(st.integers(1, SHAPE[1] - x)))


def assert_same(image, truth, lacks=()):
    assert image.bands == truth.bands
    for array in (image.data, image.rms):
        if array is not None:
            assert array.dtype == np.dtype("=f4")
            assert array.shape == truth.data.shape
    np.testing.assert_array_equal(image.valid, truth.valid)
    np.testing.assert_array_equal(image.data, truth.data)
    if "rms" in lacks:
        assert image.rms is None
    else:
        np.testing.assert_array_equal(image.rms, truth.rms)
    if "wcs" in lacks:
        assert image.wcs is None
    else:
        corners = np.array([0.0, SHAPE[1] - 1, 17.3]), np.array([0.0, SHAPE[0] - 1, 4.9])
        np.testing.assert_allclose(
            image.wcs.all_pix2world(*corners, 0), truth.wcs.all_pix2world(*corners, 0), rtol=0, atol=1e-12
        )
    assert image.zero_points == ((None,) * 4 if "zero_points" in lacks else truth.zero_points)
    assert image.units == ((None,) * 4 if "units" in lacks else truth.units)


def test_every_kind_of_input_gives_the_same_image(case):
    image = read_image(case.source, **case.options)
    assert_same(image, TRUTH, case.lacks)
    assert image.data.flags.c_contiguous or image.data[:, :, 0].flags.c_contiguous


def test_sections_of_every_kind_equal_the_whole(case):
    window = Window(2, 4, 30, 41)
    with open_image(case.source, **case.options) as source:
        assert source.bands == BANDS
        assert source.shape == SHAPE
        whole = source.read()
        assert_same(source.read(window), whole.cutout(window), case.lacks)
        assert source.zero_points == whole.zero_points
        assert source.units == whole.units


@pytest.mark.parametrize(
    "name", ["sci_and_rms_pairs", "gzipped", "tile_compressed_integers", "scaled_integers", "weight_maps", "array"]
)
def test_any_section_equals_the_whole(name, tmp_path):
    case = FLAVOURS[name](tmp_path)
    with open_image(case.source, **case.options) as source:

        @settings(max_examples=25, deadline=None)
        @given(windows())
        def check(window):
            section, truth = source.read(window), TRUTH.cutout(window)
            np.testing.assert_array_equal(section.data, truth.data)
            np.testing.assert_array_equal(section.valid, truth.valid)
            if "rms" not in case.lacks:
                np.testing.assert_array_equal(section.rms, truth.rms)

        check()


def test_an_image_opens_anywhere(case):
    with open_image(case.source, **case.options) as source:
        sent = pickle.loads(pickle.dumps(source))
    with open_image(sent) as again:
        assert_same(again.read(), TRUTH, case.lacks)


def test_a_closed_source_opens_again(tmp_path):
    source = open_image(FLAVOURS["sci_and_rms_pairs"](tmp_path).source)
    source.close()
    assert_same(source.read(), TRUTH)
    source.close()


def test_selection_reads_only_those_bands(tmp_path):
    paths = FLAVOURS["file_per_band"](tmp_path).source
    with open_image(paths) as source:
        two = source.select(["Z", "H"])
    paths["F125W"].unlink()
    with two:
        assert two.bands == ("F850LP", "F160W")
        np.testing.assert_array_equal(two.read().data, TRUTH.data[:, :, [3, 0]])


def test_a_sky_image_passes_through_untouched():
    assert read_image(TRUTH) is TRUTH
