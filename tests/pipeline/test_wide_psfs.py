"""Stars whose PSF is wide are stars, for the shipped models."""

import numpy as np
import pytest
from astropy.io import fits

import morpheus_lite as ml
from morpheus_lite.config.classify import ClassifyOptions, MeasureOptions
from morpheus_lite.models.registry import load_model
from morpheus_lite.pipeline.classify import classify_file
from tests.star_fields import seen, star_grid


@pytest.fixture(scope="module")
def model():
    return load_model("any")


@pytest.mark.parametrize(("fwhm", "beta"), [(4.0, None), (5.0, None), (7.0, None), (3.8, 3.5), (5.8, 3.5), (5.0, 3.0)])
def test_stars_are_point_sources(model, fwhm, beta):
    image = seen(star_grid(fwhm, beta, brightest=3000))
    result = ml.classify(image, model)
    table = ml.measure(ml.deblend(ml.segment(result), image), image, result)
    assert len(table) == 36
    assert np.count_nonzero(table["morphology"] == "point_source") == 36
    record = result.provenance["psf"]["1"]
    assert record["origin"] == "stars" and record["fwhm"] == pytest.approx(fwhm, rel=0.02)
    assert table.meta["psf"] == result.provenance["psf"]
    assert result.provenance["binning"] == np.ceil(fwhm / 3)


@pytest.mark.parametrize(("fwhm", "beta", "least"), [(2.2, 1.7, 36), (3.1, 1.9, 34), (5.0, 1.9, 36)])
def test_stars_with_wide_wings_are_point_sources(model, fwhm, beta, least):
    """All were spheroids, or all but some, before the wings were taken out."""
    image = seen(star_grid(fwhm, beta, brightest=3000))
    result = ml.classify(image, model)
    table = ml.measure(ml.deblend(ml.segment(result), image), image, result)
    assert len(table) == 36 and np.count_nonzero(table["morphology"] == "point_source") >= least
    assert result.provenance["wings_removed"] == table.meta["wings_removed"] == ["1"]


def test_a_given_psf_is_that_of_the_run(model):
    image = seen(star_grid(5.0, 3.0, n=2))
    narrow = ml.classify(image, model, psf="2.5px")
    assert narrow.provenance["psf"]["1"] == {"fwhm": 2.5, "beta": None, "n_stars": 0, "origin": "given"}
    assert "binning" not in narrow.provenance
    wide = ml.classify(image, model, psf={"1": "5px,3"})
    assert wide.provenance["binning"] == 2
    np.testing.assert_array_equal(wide.probability[::2], wide.probability[1::2])


def test_a_psf_in_a_file_is_read(model, tmp_path):
    star = star_grid(5.0, 3.0, n=1, step=61)
    fits.writeto(tmp_path / "psf.fits", (star / star.sum()).astype(np.float32))
    fits.writeto(tmp_path / "image.fits", seen(star_grid(5.0, 3.0, n=2)).data[..., 0])
    options = ClassifyOptions(
        model="any", products=("maps", "catalog"), measuring=MeasureOptions(psf=str(tmp_path / "psf.fits"))
    )
    products = classify_file(tmp_path / "image.fits", tmp_path, options, model=model)
    found = products.table.meta["psf"]["1"]
    assert (found["fwhm"], found["beta"]) == pytest.approx((5.0, 3.0), rel=0.02)
    assert found["origin"] == "given" and products.table.meta["binning"] == 2
    maps, _, _ = ml.read_maps(products.paths["maps"])
    memory = ml.classify(ml.read_image(tmp_path / "image.fits"), model, psf=str(tmp_path / "psf.fits"))
    np.testing.assert_array_equal(maps.probability, memory.probability)
    assert maps.provenance["psf"] == products.provenance["psf"] == memory.provenance["psf"]
