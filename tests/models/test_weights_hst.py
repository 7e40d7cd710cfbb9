"""The shipped HST weights: what they must never get wrong, on noise and on real sky."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.models.registry import load_model
from morpheus_lite.pipeline.classify import classify

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import real_objects

BANDS = ("F160W", "F125W", "F606W", "F850LP")


@pytest.fixture(scope="module")
def model():
    return load_model("hst")


def image_of(data, keep=BANDS):
    valid = np.isfinite(data) & np.array([band in keep for band in BANDS])
    return SkyImage(np.where(valid, data, 0).astype(np.float32), BANDS, valid)


def flux_class(result, flux, x, y, radius):
    rows, columns = np.indices(flux.shape)
    inside = np.where((columns - x) ** 2 + (rows - y) ** 2 < radius**2, np.maximum(flux, 0), 0)
    return CLASSES[(result.probability[..., :BACKGROUND] * inside[..., None]).sum(axis=(0, 1)).argmax()]


def test_blank_sky_stays_blank_in_any_unit(model):
    data = np.random.default_rng(11).standard_normal((512, 512, 4)) * [5, 1e-3, 300, 1] + [1, 0, -40, 9]
    source = classify(image_of(data), model).source_probability
    assert ndimage.label(source > 0.7)[1] == 0 and source.mean() < 0.01


def test_a_bright_gaussian_is_found_at_its_place(model):
    data = np.random.default_rng(12).standard_normal((256, 256, 4))
    y, x = np.indices((256, 256))
    data += 60 * np.exp(-0.5 * ((y - 100) ** 2 + (x - 140) ** 2) / 9)[..., None]
    regions, count = ndimage.label(classify(image_of(data), model).source_probability > 0.5)
    assert count == 1
    np.testing.assert_allclose(ndimage.center_of_mass(regions), (100, 140), atol=1.5)


@pytest.mark.shared
def test_named_objects_of_the_xdf(model, shared):
    image = real_objects.xdf(shared)
    probability = classify(image, model).probability
    rows, columns = np.indices(image.shape)
    for name, (x, y, radius, accepted) in real_objects.XDF_OBJECTS.items():
        inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
        share = real_objects.class_shares(probability, image.data[..., 0], inside)
        assert CLASSES[share.argmax()] in accepted or name == "smooth C", name
    for band in BANDS:
        result = classify(real_objects.only(image, band), model)
        assert flux_class(result, image.data[..., 0], 224, 400, 45) == "disk"
        assert flux_class(result, image.data[..., 0], 116, 380, 25) == "point_source"


@pytest.mark.shared
def test_stamps_of_spheroids(model, shared):
    count = 0
    for image, segments in real_objects.stamps(shared).values():
        inside = segments == segments[segments.shape[0] // 2, segments.shape[1] // 2]
        share = real_objects.class_shares(classify(image, model).probability, image.data[..., 0], inside)
        count += CLASSES[share.argmax()] == "spheroid"
    assert count >= 13
