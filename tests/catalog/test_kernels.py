"""What is compiled gives what NumPy gives, up to rounding."""

import numpy as np
import pytest
import reference_kernels

from morpheus_lite.catalog import kernels
from morpheus_lite.catalog.total_flux import _GRID, profiles_behind


@pytest.fixture
def light():
    rng = np.random.default_rng(3)
    y, x = np.indices((47, 53))
    return 40 * np.exp(-0.5 * ((y - 22.3) ** 2 + (x - 25.8) ** 2 / 2) / 9) + rng.normal(size=y.shape)


def agree(one, other):
    for fast, plain in zip(one, other, strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "ellipse",
    [
        (20.3, 18.1, 12.5, 4.2, 0.7),
        (0.2, 39.7, 9.0, 9.0, 0.0),
        (20.0, 20.0, 0.2, 0.1, 0.3),
        (20.5, 20.5, 3.0, 0.3, 1.2),
        (-8.0, 50.0, 4.0, 3.0, 0.1),
        (10.0, 12.0, 80.0, 70.0, -1.0),
    ],
)
def test_ellipses(ellipse):
    y, x, a, b, theta = ellipse
    agree([compiled_overlap(*ellipse)], [reference_kernels.ellipse_overlap((41, 45), (y, x), a, b, theta)])


def compiled_overlap(*ellipse):
    share = np.empty((41, 45))
    kernels.call_kernel("overlap", *share.shape, *ellipse, share)
    return share


def test_pixels_that_the_edge_misses_have_none_or_all():
    fast = compiled_overlap(20.3, 18.1, 12.5, 4.2, 0.7)
    plain = reference_kernels.ellipse_overlap((41, 45), (20.3, 18.1), 12.5, 4.2, 0.7)
    np.testing.assert_array_equal(fast == 0, plain < 1e-12)
    np.testing.assert_array_equal(fast == 1, plain > 1 - 1e-9)


@pytest.mark.parametrize("centre", [(22.3, 25.8), (0.0, 1.5), (46.4, 52.2)])
def test_growth(light, centre):
    distance = np.hypot(np.arange(47)[:, None] - centre[0], np.arange(53) - centre[1])
    fast = np.empty((2, 90))
    kernels.call_kernel("growth", light.size, light, distance, 0.25, 2, 90, *fast)
    agree(fast, reference_kernels.growth(light, distance, 0.25, 2, 90))


@pytest.mark.parametrize("centre", [(22.3, 25.8), (22.0, 25.0), (22.5, 25.5), (0.0, 1.5), (46.4, 52.2)])
def test_small_circles(light, centre):
    fast = np.empty((2, 20))
    kernels.call_kernel("exact_growth", *light.shape, light, *centre, 0.25, 20, *fast)
    agree(fast, reference_kernels.exact_growth(light, *centre, 0.25, 20))


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("share", [1.0, 0.8])
def test_weighted_sums(light, alike, share):
    rng = np.random.default_rng(4)
    weights = np.where(rng.random((3, *light.shape)) < 0.3, rng.random((3, *light.shape)), 0)
    there = rng.random((*light.shape, 3)) < share
    cube = np.where(there, np.stack([light, 2 * light, -light], axis=2), 0)
    variance = np.broadcast_to(np.array([1.0, 2.0, 3.0]), cube.shape)
    variance = variance if alike else variance * rng.random(cube.shape)
    fast = *np.empty((3, 3, 3)), np.empty((3, 1))
    kernels.call_kernel("weighted_sums", 3, light.size, 3, weights, cube, *kernels.with_step(variance), there, *fast)
    agree(fast, reference_kernels.weighted_sums(weights, cube, variance, there))


@pytest.mark.parametrize("start", [(22.0, 26.0), (20.0, 28.0), (3.0, 50.0)])
def test_best_centre(light, start):
    circle, fast = np.hypot(np.arange(47)[:, None] - start[0], np.arange(53) - start[1]) < 12, np.array(start)
    fast_value = kernels.call_kernel("best_centre", *light.shape, light, circle, fast)
    plain, value = reference_kernels.best_centre(light, circle, start)
    assert tuple(fast) == plain
    assert fast_value == pytest.approx(value, rel=1e-12)


def compiled_windowed(light, variance, place, sigma, furthest):
    place, spread, sums = np.array(place), np.empty(2), np.empty(2)
    found = kernels.call_kernel("windowed", *light.shape, light, variance, sigma, furthest, place, spread, sums)
    return (place, spread, *sums) if found else None


def test_windowed(light):
    call = light, 1 + light**2, (25.0, 23.0), 3.0, 6.0
    agree(compiled_windowed(*call), reference_kernels.windowed(*call))
    for call in ((light, light**2, (10.0, 40.0), 3.0, 0.1), (-light, light**2, (25.0, 23.0), 3.0, 6.0)):
        assert compiled_windowed(*call) is None
        assert reference_kernels.windowed(*call) is None


@pytest.mark.parametrize("found", [10.0, 300.0, 500.0, 900.0, 1e5])
@pytest.mark.parametrize("even", [True, False])
def test_without_noise(found, even):
    rng = np.random.default_rng(5)
    sigma = np.full(400, 0.9) if even else rng.random(400)
    sigma[::7] = 0
    ring, means = rng.integers(0, 13, 400), np.linspace(4, 0, 13)
    shares = np.append(0.0, np.geomspace(0.003, 3, 16))
    fast = kernels.call_kernel("without_noise", len(sigma), sigma, ring, means, shares, len(shares), found)
    agree([fast], [reference_kernels.without_noise(found, sigma, ring, means, shares)])


@pytest.mark.parametrize("n_bands", [1, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_profiles(n_bands, sign):
    tables = [[profiles_behind(*shape)] * n_bands for shape in ((None, 0.0), (None, 0.4))]
    fwhm = np.array([[2.0, 2.5, 3.0], [2.2, 2.6, 3.3]])[:, :n_bands].copy()
    edges = np.append(0.0, 2 * 1.3 ** np.arange(10))
    flux = sign * 100 * np.diff(1 - np.exp(-edges / 4) * (1 + edges / 4))
    radii = np.concatenate([edges, [30.0, 60.0, 400.0, 3000.0], [15.0]])
    prior, mixture, rings = np.array([-2.0, 0.0]), np.full(n_bands, 1 / n_bands), (flux, 1 + 0.01 * np.abs(flux))
    fast, grid = (np.empty(1 + n_bands), np.empty(1 + n_bands), np.empty(len(radii) - 1)), _GRID
    pointers = np.array([table.ctypes.data for of_bands in tables for table in of_bands], dtype=np.uintp)
    kernels.call_kernel(
        "fit_profiles",
        *(2, n_bands, pointers, fwhm, prior, mixture, 10, *rings, len(radii), radii, 6.0, grid.radii, len(grid.radii)),
        *(grid.n_sizes, *grid.log_prior.shape, grid.log_prior, grid.smallest, grid.tried, grid.step, *fast),
    )
    agree(fast, reference_kernels.fit_profiles(tables, fwhm, prior, mixture, rings, radii, 6.0, grid))


@pytest.mark.parametrize("shape", [(0.0, 1.0, 1.0), (0.7, 2.5, 3.0)])
def test_distances(shape):
    call = (41, 45), (20.3, 18.1), *shape
    agree([kernels.distances(*call)], [reference_kernels.distances(*call)])


@pytest.mark.parametrize("n_bands", [1, 3])
@pytest.mark.parametrize("share", [0.9, 1.0])
@pytest.mark.parametrize("rms", [True, False])
def test_stamps(light, n_bands, share, rms):
    rng = np.random.default_rng(6)
    usable = rng.random((*light.shape, n_bands)) < share
    usable[3:6, 40:44] = share == 1
    labels = 1 + (light < np.quantile(light, 0.2)) - (light > np.quantile(light, 0.7))
    cube, noise = light[:, :, None] * np.arange(1, n_bands + 1), rng.random((*light.shape, n_bands)).astype(np.float32)
    noise[rng.random(light.shape) < 0.1] = 0
    weights = usable * rng.random(usable.shape) if share < 1 else np.broadcast_to(rng.random(n_bands), usable.shape)
    for centre in ((22.3, 25.8), (3.5, 50.0)):

        def cut(loops, centre=centre):
            own, sky = cube.copy(), np.arange(1.0, n_bands + 1)
            *masks, variance, whole = loops.open_stamp(labels, 1, usable, own, noise if rms else None, sky)
            bands, detection = loops.fill_stamp(own, variance, usable, weights, masks[1], centre)
            return [*masks, variance, [whole], own, *bands, *detection]

        agree(cut(kernels), cut(reference_kernels))


@pytest.mark.parametrize("radius", [8.0, 3.0, 200.0])
@pytest.mark.parametrize("doubt", [0.1, 1.0, float("nan")])
@pytest.mark.parametrize("level", [0.0, -3.0])
def test_gini_and_m20(light, radius, doubt, level):
    distance = kernels.distances(light.shape, (22.3, 25.8), 0.0, 1.4)
    variance = np.random.default_rng(7).random(light.shape)
    call = (light + level, distance, variance, radius, 0.2 * radius, doubt)
    gini, m20 = np.full(4, np.nan), np.full(6, np.nan)
    n_fast = kernels.call_kernel("gini_and_m20", *light.shape, *call, gini, m20)
    n_plain, *plain = reference_kernels.gini_and_m20(*call)
    assert n_fast == n_plain
    assert (n_fast == 0) == (radius > 100)
    agree((gini[:3], m20[:4]), plain)
