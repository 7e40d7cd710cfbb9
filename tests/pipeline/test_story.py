"""The example of the README, with no argument beyond the data: the sources and the rows that the command writes."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import morpheus_lite as ml
from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.core.labels import LabelMap
from morpheus_lite.io import read_maps

ROOT = Path(__file__).parents[2]
SIDE = 100


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A corner of the bundled demo field."""
    path = tmp_path_factory.mktemp("story") / "goods.fits"
    with fits.open(ROOT / "examples/data/demo_field.fits") as hdus:
        parts = [fits.ImageHDU(hdu.data[:SIDE, :SIDE], hdu.header, name=hdu.name) for hdu in hdus[1:]]
        fits.HDUList([hdus[0].copy(), *parts]).writeto(path)
    return path


def run_readme(field, model):
    """The variables that the example leaves."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert '"goods.fits"' in code and "ml.classify(image)" in code
    code = code.replace('"goods.fits"', repr(str(field))).replace(
        "ml.classify(image)", f"ml.classify(image, {model!r})"
    )
    variables = {}
    exec(code, variables)
    return variables


@pytest.mark.parametrize("model", ["hausen2020", "hst", "any", "auto"])
def test_the_example_gives_what_the_command_writes(field, model, tmp_path):
    found = run_readme(field, model)
    made = ml.classify_file(field, tmp_path, ClassifyOptions(model=model, products=("maps", "catalog")))
    maps, labels, _ = read_maps(made.paths["maps"])
    np.testing.assert_array_equal(maps.probability, found["result"].probability)
    np.testing.assert_array_equal(labels, found["labels"])
    table, expected = found["table"], made.table
    assert len(table) > 2
    assert table.colnames == expected.colnames
    for name in table.colnames:
        np.testing.assert_array_equal(np.asarray(table[name]), np.asarray(expected[name]), err_msg=name)
    # Maps that come from the file know the thresholds; the image has to be given.
    again = ml.deblend(ml.segment(maps, found["image"]), found["image"])
    np.testing.assert_array_equal(again, labels)


@pytest.mark.parametrize("background", ["none", 0.001])
def test_a_chosen_background_is_that_of_every_step(field, background, tmp_path):
    image = ml.read_image(field)
    result = ml.classify(image, "hst", background=background)
    labels = ml.deblend(ml.segment(result), image)
    table = ml.measure(labels, image, result)
    options = ClassifyOptions(
        model="hst", products=("maps", "catalog"), measuring=ml.MeasureOptions(background=background)
    )
    made = ml.classify_file(field, tmp_path, options)
    maps, expected, _ = read_maps(made.paths["maps"])
    np.testing.assert_array_equal(labels, expected)
    assert table.meta["background"] == made.table.meta["background"] == background
    for name in table.colnames:
        np.testing.assert_array_equal(np.asarray(table[name]), np.asarray(made.table[name]), err_msg=name)
    assert maps.provenance["background"] == background


def test_maps_of_a_file_need_the_image_where_a_significance_is_asked_for(field):
    result = ml.Classification(
        probability=np.full((8, 8, 5), 0.2, np.float32),
        coverage=np.ones((8, 8), np.int32),
        valid=np.ones((8, 8), bool),
        provenance={"detection": {"min_snr": 5.0}},
    )
    with pytest.raises(ml.OptionError, match="give the image"):
        ml.segment(result)


def test_labels_remember_until_they_are_changed():
    planes = np.full((8, 8, 5), 0.2, np.float32)
    seen = np.ones((8, 8), bool)
    labels = ml.segment(ml.Classification(planes, seen.astype(np.int32), seen))
    assert labels.classification.probability is planes
    for made in (labels[2:], labels.copy(), labels == 1, labels + 1, np.where(labels > 0, labels, 0)):
        assert not isinstance(made, LabelMap) or made.classification is None
    assert isinstance(labels.max(), np.integer)
    again = pickle.loads(pickle.dumps(LabelMap.of(labels, labels.classification, labels + 1)))
    np.testing.assert_array_equal(again, labels)
    np.testing.assert_array_equal(again.parents, labels + 1)
    np.testing.assert_array_equal(again.classification.probability, planes)


def test_a_path_and_an_array_are_images_too(field):
    expected = ml.classify(ml.read_image(field), "hst")
    np.testing.assert_array_equal(ml.classify(str(field), "hst").probability, expected.probability)
    pixels = ml.read_image(field)["F160W"]
    of_array = ml.classify(pixels)
    assert of_array.provenance["model"] == "any" and of_array.image.bands == ("1",)
    np.testing.assert_array_equal(of_array.probability, ml.classify(ml.read_image(pixels), "any").probability)


def test_one_progress_from_the_noise_to_the_pictures(field, tmp_path, caplog, capsys):
    seen = []
    options = ClassifyOptions(model="hst")
    with caplog.at_level("DEBUG", "morpheus_lite"):
        products = ml.classify_file(field, tmp_path, options, progress=lambda *step: seen.append(step))
    assert seen[-1] == (1000, 1000) and seen == sorted(seen)
    assert len([done for done, _ in seen if 550 < done < 900]) > 1, "the catalogue is a part of it"
    stages = ("reading", "model", "noise", "network", "catalog", "writing")
    said = [record.getMessage() for record in caplog.records]
    assert all(any(line.startswith(f"{stage}: ") for line in said) for stage in stages)
    assert capsys.readouterr().err == ""
    assert repr(products).startswith(f"<Products: {SIDE} x {SIDE} px by hst, {len(products.table)} sources; maps '")
    assert "data:image/png" in products._repr_html_() and "goods_catalog.ecsv" in products._repr_html_()
