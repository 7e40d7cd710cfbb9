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


@pytest.mark.parametrize(("fwhm", "beta"), [(2.0, 3.5), (2.5, 2.1), (3.0, 1.9)])
def test_stars_are_points_whatever_the_wings_of_the_psf(model, fwhm, beta):
    rng = np.random.default_rng(int(10 * beta))
    y, x = np.mgrid[:256, :256].astype(np.float32)
    light, centers = np.zeros((256, 256)), np.arange(22, 256, 42)
    scale = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    for row in centers:
        for column in centers:
            distance = ((y - row - rng.uniform()) ** 2 + (x - column - rng.uniform()) ** 2) / scale**2
            light += rng.choice([30, 100, 300]) * (1 + distance) ** -beta
    data = (light + rng.standard_normal(light.shape)).astype(np.float32)[..., None]
    maps = ml.classify(SkyImage(data, ("F606W",), np.ones(data.shape, bool)), model).probability
    cores = [maps[r - 1 : r + 3, c - 1 : c + 3].mean(axis=(0, 1))[:4].argmax() for r in centers for c in centers]
    assert np.mean([CLASSES[k] == "point_source" for k in cores]) >= 0.9
