"""Images and class maps as a notebook shows them, and their parts by name and by index."""

import numpy as np
import pytest
from astropy.wcs import WCS
from matplotlib.figure import Figure

import morpheus_lite as ml
from morpheus_lite.core.image import window_of
from morpheus_lite.visualization.plots import colorize


@pytest.fixture
def image():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (53.1, -27.8), (30.5, 20.5), (-0.06 / 3600, 0.06 / 3600)
    data = np.random.default_rng(4).normal(size=(40, 60, 2)).astype(np.float32)
    return ml.SkyImage(data, ("F160W", "F606W"), np.ones(data.shape, bool), wcs=wcs, name="<b>deep</b>")


@pytest.fixture
def result(image):
    probability = np.full((*image.shape, 5), 0.1, np.float32)
    probability[:, :, 4] = 0.6
    probability[:20, :30, [1, 4]] = 0.6, 0.1
    ones = np.ones(image.shape, np.int32)
    provenance = {"model": "hst"}
    return ml.Classification(probability, ones, ones > 0, wcs=image.wcs, provenance=provenance, image=image)


def test_one_line_says_what_it_is(image, result):
    assert repr(image) == '<SkyImage <b>deep</b>: 40 x 60 px of 0.06", 2 bands F160W, F606W, 100.0% valid>'
    assert repr(result) == (
        "<Classification: 40 x 60 px by hst; pixels: spheroid 0.0%, disk 25.0%, irregular 0.0%, point source 0.0%>"
    )


def test_html_has_a_thumbnail_and_escapes_names(image, result):
    for shown in (image._repr_html_(), result._repr_html_()):
        assert shown.count("data:image/png;base64,iVBOR") == 1
        assert "<b>" not in shown
    assert "&lt;b&gt;deep" in image._repr_html_() and "25.0%" in result._repr_html_()


def test_bands_and_classes_by_name(image, result):
    np.testing.assert_array_equal(image["V"], image.data[:, :, 1])
    np.testing.assert_array_equal(result["disk"], result.probability[:, :, 1])
    with pytest.raises(ml.InputError, match="has no band F814W: it has F160W, F606W"):
        image["F814W"]
    with pytest.raises(ml.InputError, match="no class 'spiral': the classes are spheroid"):
        result["spiral"]


def test_a_part_keeps_its_place_in_the_sky(image, result):
    for part in (image[10:30, -25:], result[10:30, -25:], result[10:30, -25:].image):
        assert part.shape == (20, 25)
        np.testing.assert_allclose(part.wcs.pixel_to_world_values(3, 4), image.wcs.pixel_to_world_values(38, 14))
    np.testing.assert_array_equal(image[10:30, -25:].data, image.data[10:30, 35:])
    np.testing.assert_array_equal(result[10:30, -25:]["disk"], result["disk"][10:30, 35:])
    assert image[5:].shape == (35, 60)


@pytest.mark.parametrize("index", [3, (slice(0, 9, 2), slice(None)), (0, 1), (slice(9, 3),), np.ones((40, 60), bool)])
def test_other_indices_are_refused(image, index):
    with pytest.raises(ml.InputError, match="index"):
        image[index]


def test_windows_of_indices():
    assert window_of(slice(None), (7, 9)).shape == (7, 9)


def test_plots_show_the_same_pixels(image, result):
    ax = Figure().subplots()
    assert result.plot(ax) is ax
    colours = colorize(result, palette="legible", maps="probability")
    np.testing.assert_allclose(ax.images[0].get_array()[..., :3] / 255, colours, atol=0.5 / 255 + 1e-6)
    assert [text.get_text() for text in ax.get_legend().get_texts()][1] == "disk"
    assert image.plot(Figure().subplots()).images[0].get_array().shape == (40, 60, 4)


def test_plots_without_axes_are_in_sky_coordinates(image, result):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    for ax in (image.plot(), result.plot()):
        assert ax.coords[0].get_axislabel() == "RA"
        pyplot.close(ax.figure)


def test_flags_of_a_column():
    assert ml.decode_flags(np.array([0, 1, 24])) == [(), ("edge",), ("blended", "deblend_child")]
    assert ml.decode_flags(3, ml.BandFlag) == ("no_data", "partly_covered")
