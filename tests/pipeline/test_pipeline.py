"""From an image to class maps and products; the answer does not depend on how the work was cut."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import morpheus_lite as ml
from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.core.windows import Window
from morpheus_lite.pipeline.classify import classify_file

CLASS_HDUS = [name.upper() for name in ml.CLASSES]


@pytest.fixture(scope="module")
def image(sim_field):
    return ml.read_image(sim_field).cutout(Window(20, 20, 90, 100))


@pytest.fixture(scope="module")
def result(image):
    return ml.classify(image, "hausen2020", stride=7)


def test_probabilities_are_probabilities(result):
    assert result.classified.all()
    np.testing.assert_allclose(result.probability.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_allclose(result.vote.sum(axis=2), 1, atol=1e-6)
    assert result.probability.min() >= 0
    assert result.variance.min() >= 0


@pytest.mark.parametrize("batch_size", [1, 17])
def test_batch_size_changes_nothing_but_rounding(image, result, batch_size):
    other = ml.classify(image, "hausen2020", stride=7, batch_size=batch_size)
    np.testing.assert_allclose(other.probability, result.probability, atol=1e-6)
    np.testing.assert_array_equal(other.coverage, result.coverage)


def test_order_of_bands_changes_nothing(image, result):
    other = ml.classify(image.take([3, 1, 0, 2]), "hausen2020", stride=7)
    np.testing.assert_array_equal(other.probability, result.probability)


def test_far_invalid_pixel_changes_nothing(image, result):
    valid = image.valid.copy()
    data = image.data.copy()
    valid[0, 0] = False
    data[0, 0] = 0
    other = ml.classify(replace(image, data=data, valid=valid), "hausen2020", stride=7)
    np.testing.assert_array_equal(other.probability[45:, 45:], result.probability[45:, 45:])
    assert other.coverage[0, 0] == 0
    assert np.isfinite(other.probability[1:, 1:]).all()
    assert other.flags[0, 0] & ml.PixelFlag.INVALID
    assert other.flags[3, 3] & ml.PixelFlag.NEAR_INVALID


def test_missing_band_is_named(image):
    with pytest.raises(ml.InputError, match="has no band F125W"):
        ml.classify(image.take([0, 2, 3]), "hausen2020")


def test_progress_reaches_the_end(image):
    seen = []
    ml.classify(image, "hausen2020", stride=30, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_products_open_with_plain_astropy(sim_field, tmp_path):
    products = classify_file(sim_field, tmp_path, ClassifyOptions(model="hausen2020", stride=9))
    with fits.open(products.paths["maps"]) as hdus:
        names = [hdu.name for hdu in hdus[1:]]
        expected = [*CLASS_HDUS, *(f"{name}_VAR" for name in CLASS_HDUS), *(f"{name}_VOTE" for name in CLASS_HDUS)]
        assert set(names) == {*expected, "N", "SEGMENTATION", "FLAGS"}
        for hdu in hdus[1:]:
            assert hdu.shape == (120, 130)
            assert WCS(hdu.header).has_celestial
        assert hdus["SEGMENTATION"].data.dtype.kind == "i"
        assert hdus["SEGMENTATION"].data.max() == products.table["label"].max()
        header = repr(hdus[0].header)
        assert ml.__version__ in header
        assert "hausen2020" in header
        assert ml.load_model("hausen2020").sha256[:12] in header
    table = ml.read_catalog(products.paths["catalog"])
    assert len(table) == len(products.table) > 3
    assert {"label", "x_centroid", "y_centroid", "ra", "dec", "area", "p_disk", "morphology", "flags"} <= set(
        table.colnames
    )
    assert products.paths["picture"].read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in products.paths.values())


def test_nothing_is_overwritten_unasked(sim_field, tmp_path):
    options = ClassifyOptions(model="hausen2020", stride=30, products=("catalog",))
    first = classify_file(sim_field, tmp_path, options).paths["catalog"]
    before = first.read_bytes()
    with pytest.raises(ml.OutputError, match="overwrite"):
        classify_file(sim_field, tmp_path, options)
    assert first.read_bytes() == before
    classify_file(sim_field, tmp_path, replace(options, overwrite=True))


def test_unknown_product_is_an_option_error():
    with pytest.raises(ml.OptionError, match="products cake: choose one or more of maps"):
        ClassifyOptions(products=("maps", "cake"))


def test_products_of_two_runs_are_the_same_bytes(sim_field, tmp_path):
    options = ClassifyOptions(model="hausen2020", stride=15, products=("maps", "catalog"))
    one, two = (classify_file(sim_field, tmp_path / name, options) for name in ("one", "two"))
    for product, path in one.paths.items():
        assert path.read_bytes() == two.paths[product].read_bytes()


def test_one_pass_model_gives_the_same_products_without_votes(sim_field, tmp_path):
    products = classify_file(sim_field, tmp_path, ClassifyOptions(model="hst"))
    with fits.open(products.paths["maps"]) as hdus:
        names = {hdu.name for hdu in hdus[1:]}
    assert names == {*CLASS_HDUS, "N", "SEGMENTATION", "FLAGS"}
    assert len(products.table) > 3
    assert set(products.table["morphology"]) <= {*ml.CLASSES, "uncertain"}


def test_one_pass_model_knows_no_stride(image):
    with pytest.raises(ml.OptionError, match="one pass"):
        ml.classify(image, "hst", stride=3)


def test_one_pass_model_does_without_a_band(image):
    result = ml.classify(image.take([0, 2, 3]), "hst")
    np.testing.assert_allclose(result.probability.sum(axis=2), 1, atol=1e-5)
