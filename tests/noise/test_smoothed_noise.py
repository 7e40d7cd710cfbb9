"""Noise of smoothed light: measured in empty sky, and by the level of the light in a source."""

import numpy as np
import pytest

from morpheus_lite.noise.detection_image import LightNoise, SourceNoise, light_noise, second_differences

SHAPE = (200, 220)
Y, X = np.indices(SHAPE)
GALAXY = 400 * np.exp(-np.hypot(Y - 100, X - 110) / 25)


def observed(seed, photons):
    """A large galaxy in noise of scatter 1, to which its own photons add."""
    return GALAXY + np.random.default_rng(seed).normal(size=SHAPE) * np.sqrt(1 + photons * GALAXY)


def test_second_differences_leave_nothing_of_a_slope():
    slope = 3.0 + 0.5 * X - 0.2 * Y + 0.01 * X**2
    np.testing.assert_allclose(second_differences(slope)[1:-1, 1:-1], 0, atol=1e-9)


def test_sky():
    sky = np.random.default_rng(0).normal(size=SHAPE) * 2.5
    labels = (Y < 50).astype(np.int32)
    sky[labels > 0] += 1000
    found = light_noise([(sky, labels)])
    assert found.scatter == pytest.approx(2.5, rel=0.02)
    assert found.roughness == pytest.approx(2.5 * 6, rel=0.02), "36 is the sum of the squares of the operator"


def test_windows_of_a_sample_add_up_to_the_whole():
    sky, labels = np.random.default_rng(1).normal(size=SHAPE), np.zeros(SHAPE, np.int32)
    halves = [(sky[:100], labels[:100]), (sky[100:], labels[100:])]
    assert light_noise(halves).scatter == light_noise([(sky, labels)]).scatter


def test_no_sky():
    everywhere = np.ones(SHAPE, np.int32)
    assert light_noise([(GALAXY, everywhere)]) == LightNoise(0.0, 0.0)
    assert SourceNoise(GALAXY, everywhere > 0, LightNoise(0.0, 0.0)).at(50.0) == 0


@pytest.mark.parametrize("photons", [0.0, 0.1, 1.0])
def test_noise_in_a_source_grows_with_its_light(photons):
    light, own = observed(2, photons), GALAXY > 3
    noise = SourceNoise(light, own, light_noise([(light, own.astype(np.int32))]))
    for level in (5.0, 30.0, 150.0):
        assert noise.at(level) == pytest.approx(np.sqrt(1 + photons * level), rel=0.25)


def test_noise_is_never_less_than_the_skys():
    own = GALAXY > 3
    noise = SourceNoise(GALAXY, own, LightNoise(1.0, 6.0))
    assert noise.at(0.1) == noise.at(100.0) == 1.0


def test_a_small_source_has_the_noise_of_the_sky():
    star = 500 * np.exp(-((Y - 100) ** 2 + (X - 110) ** 2) / 4)
    assert SourceNoise(star, star > 3, LightNoise(1.0, 6.0)).at(200.0) == 1.0
