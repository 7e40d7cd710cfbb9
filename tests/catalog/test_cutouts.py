"""Overlaps of ellipses and pixels are exact."""

import numpy as np
import pytest
from photutils.geometry import circular_overlap_grid, elliptical_overlap_grid

from morpheus_lite.catalog.kernels import call_kernel

SHAPE = (41, 37)


def ellipse_overlap(y, x, a, b, theta=0.0):
    share = np.empty(SHAPE)
    call_kernel("overlap", *SHAPE, y, x, a, b, theta, share)
    return share


@pytest.mark.parametrize("seed", range(8))
def test_ellipses_are_those_of_photutils(seed):
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(-3, 43, 2) if seed % 3 else rng.integers(0, 82, 2) / 2  # on pixel centres and corners too
    a = rng.uniform(0.05, 3) if seed % 2 else rng.uniform(1, 30)
    b, theta = a * rng.uniform(0.05, 1), rng.choice([rng.uniform(0, 7), 0.0, np.pi / 2])
    edges = (-0.5 - x, SHAPE[1] - 0.5 - x, -0.5 - y, SHAPE[0] - 0.5 - y)
    expected = elliptical_overlap_grid(*edges, SHAPE[1], SHAPE[0], a, b, theta, 1, 1)
    found = ellipse_overlap(y, x, a, b, theta)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    circle = circular_overlap_grid(*edges, SHAPE[1], SHAPE[0], a, 1, 1)
    np.testing.assert_allclose(ellipse_overlap(y, x, a, a), circle, atol=1e-9)


def test_the_area_is_that_of_the_ellipse():
    assert ellipse_overlap(20.3, 18.1, 12.5, 4.2, 0.7).sum() == pytest.approx(np.pi * 12.5 * 4.2, rel=1e-12)
    assert ellipse_overlap(20.3, 18.1, 0.2, 0.1, 0.7).sum() == pytest.approx(np.pi * 0.02, rel=1e-12)
