"""The shipped weights for any bands: noise stays noise, the order of bands does not matter, a real field is sane."""

from pathlib import Path

import numpy as np
import pytest

import morpheus_lite as ml
from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.segmentation.detection import DetectionOptions

HDFS = Path(__file__).parents[2] / "examples" / "data" / "hdfs_f606w.fits.gz"


@pytest.fixture(scope="module")
def model():
    return ml.load_model("any")


def test_noise_alone_holds_no_source(model):
    data = np.random.default_rng(21).standard_normal((512, 512, 2)).astype(np.float32)
    image = SkyImage(data, ("1", "2"), np.ones(data.shape, bool))
    options = DetectionOptions(**model.settings["detection"])
    assert ml.segment(ml.classify(image, model), method="probability", image=image, options=options).max() == 0


def test_the_order_of_the_bands_does_not_matter(model):
    image = ml.read_image(HDFS, bands=["F606W"])
    rng = np.random.default_rng(2)
    deeper = image.data + rng.normal(0, image.data.std(), image.data.shape).astype(np.float32)
    both = SkyImage(np.concatenate([image.data, deeper], axis=2), ("a", "b"), np.ones((*image.shape, 2), bool))
    one, two = (ml.classify(both.take(order), model).probability for order in ([0, 1], [1, 0]))
    np.testing.assert_allclose(one, two, atol=2e-5)


def test_hdf_south(model):
    assert ml.choose_model(["F606W"], 0.04) == "any"
    image = ml.read_image(HDFS, bands=["F606W"])
    maps = ml.classify(image, model)
    labels = ml.segment(maps, method="probability", image=image)
    assert 30 < labels.max() < 120
    spiral = labels == labels[130, 120]
    assert spiral.sum() > 3000
    assert CLASSES[maps.probability[spiral].mean(axis=0).argmax()] == "disk"
