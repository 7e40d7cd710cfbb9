"""Noise of an image, and the image in units of it: the same answer however it is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError
from morpheus_lite.noise.background_mesh import (
    BOX,
    interpolate_mesh,
    measure_background,
    measure_row,
    noise_from_rows,
    normalize,
    strips,
    subtract,
)


def sky(shape=(400, 500), sigma=(2.0, 0.03), level=(5.0, -0.1), seed=0, **options):
    rng = np.random.default_rng(seed)
    data = (rng.standard_normal((*shape, len(sigma))) * sigma + level).astype(np.float32)
    return SkyImage(data, tuple("AB"[: len(sigma)]), np.ones(data.shape, bool), **options)


def with_data(image, data, valid=None, rms=None):
    return SkyImage(data.astype(np.float32), image.bands, image.valid if valid is None else valid, rms=rms)


@pytest.mark.parametrize("pattern", [lambda y, x: x % 2, lambda y, x: y % 2, lambda y, x: (x + y) % 2])
def test_rows_and_columns_that_alternate_are_all_seen(pattern):
    image = sky()
    steps = 3 * np.array([2.0, 0.03]) * pattern(*np.indices(image.shape))[..., None]
    noise = measure_background(with_data(image, image.data + steps))
    np.testing.assert_allclose((noise.background - [5.0, -0.1]) / [2.0, 0.03], 1.5, atol=0.3)
    np.testing.assert_allclose(noise.sigma / [2.0, 0.03], 1.9, atol=0.2)


def test_noise_and_background_of_blank_sky():
    noise = measure_background(sky())
    assert noise.sigma.shape == (3, 4, 2)
    np.testing.assert_allclose(noise.sigma / [2.0, 0.03], 1, atol=0.06)
    np.testing.assert_allclose((noise.background - [5.0, -0.1]) / [2.0, 0.03], 0, atol=0.06)
    snr, valid = normalize(sky(), noise)
    assert snr.dtype == np.float32 and valid.all()
    np.testing.assert_allclose(snr.std(axis=(0, 1)), 1, atol=0.03)
    np.testing.assert_allclose(snr.mean(axis=(0, 1)), 0, atol=0.03)


def test_sources_hardly_raise_the_noise():
    image = sky((512, 512))
    y, x = np.indices(image.shape)
    rng = np.random.default_rng(1)
    data = image.data.copy()
    for y0, x0 in rng.uniform(0, 512, (120, 2)):  # 120 sources of 4 px: a tenth of the pixels above 1 sigma
        data += 200 * np.array([2.0, 0.03]) * np.exp(-0.5 * ((y - y0) ** 2 + (x - x0) ** 2) / 16)[..., None]
    noise = measure_background(with_data(image, data))
    np.testing.assert_allclose(noise.sigma / [2.0, 0.03], 1, atol=0.2)
    assert np.abs((noise.background - [5.0, -0.1]) / [2.0, 0.03]).max() < 0.4


def test_a_galaxy_that_fills_a_box_is_not_background():
    image = sky((640, 640))
    y, x = np.indices(image.shape)
    galaxy = 60 * np.exp(-np.hypot(y - 320, x - 320) / 45)[..., None]
    noise = measure_background(with_data(image, image.data + galaxy * [1, 0.015]))
    assert noise.background[2, 2, 0] - 5 < 6  # the galaxy is 15 there, on the average


def test_depth_steps_are_followed_with_and_without_rms_plane():
    image = sky((512, 512), level=(0.0, 0.0))
    step = np.where(np.arange(512)[:, None, None] < 256, 1.0, 3.0) * np.ones_like(image.data)
    stepped = with_data(image, image.data * step)
    snr, _ = normalize(stepped, measure_background(stepped))
    for rows in (slice(0, 150), slice(360, 512)):
        np.testing.assert_allclose(snr[rows].std(axis=(0, 1)), 1, atol=0.05)
    known = with_data(image, image.data * step, rms=(step * [4.6, 0.07]).astype(np.float32))  # 2.3 times too large
    snr, valid = normalize(known, measure_background(known))
    assert valid.all()
    for rows in (slice(0, 256), slice(256, 512)):
        np.testing.assert_allclose(snr[rows].std(axis=(0, 1)), 1, atol=0.05)


@settings(max_examples=15, deadline=None)
@given(st.integers(60, 500), st.integers(60, 500), st.data())
def test_any_window_is_normalised_as_in_the_whole(height, width, data):
    image = sky((height, width))
    noise = measure_background(image)
    snr, valid = normalize(image, noise)
    y, x = data.draw(st.integers(0, height - 2)), data.draw(st.integers(0, width - 2))
    window = Window(y, x, data.draw(st.integers(1, height - y)), data.draw(st.integers(1, width - x)))
    part, part_valid = normalize(image.cutout(window), noise, window=window)
    np.testing.assert_array_equal(part, snr[window.slices])
    np.testing.assert_array_equal(part_valid, valid[window.slices])


@pytest.mark.parametrize("shape", [(50, 700), (130, 300), (64, 191), (449, 449)])
def test_strip_by_strip_is_the_same_as_whole(shape):
    image = sky(shape)
    windows = strips(shape)
    assert sum(w.height for w in windows) == shape[0]
    rows = [measure_row(image.cutout(w), shape) for w in windows]
    noise, whole = noise_from_rows(shape, rows), measure_background(image)
    pieces = strips(shape, width=200)
    assert sum(w.height * w.width for w in pieces) == shape[0] * shape[1]
    cut = [
        np.concatenate([measure_row(image.cutout(p), shape, left=p.x) for p in pieces if p.y == w.y]) for w in windows
    ]
    assert [row.tobytes() for row in cut] == [row.tobytes() for row in rows]
    np.testing.assert_array_equal(noise.sigma, whole.sigma)
    np.testing.assert_array_equal(noise.background, whole.background)


def test_invalid_pixels_do_not_matter():
    image = sky((300, 300))
    valid = image.valid.copy()
    valid[:140, :, 0] = False
    valid[40:60, 40:60] = False
    spoilt = image.data.copy()
    spoilt[~valid] = 0
    garbage = image.data.copy()
    garbage[~valid] = 1e9
    noise = measure_background(with_data(image, spoilt, valid))
    np.testing.assert_array_equal(noise.sigma, measure_background(with_data(image, garbage, valid)).sigma)
    np.testing.assert_allclose(noise.sigma / [2.0, 0.03], 1, atol=0.1)  # holes are filled from their neighbours
    snr, seen = normalize(with_data(image, spoilt, valid), noise)
    assert not snr[~valid].any()
    np.testing.assert_array_equal(seen, valid)


def test_a_band_without_noise_counts_as_missing():
    image = sky((200, 200))
    data = image.data.copy()
    data[:, :, 1] = 3.0
    noise = measure_background(with_data(image, data))
    snr, valid = normalize(with_data(image, data), noise)
    assert not noise.sigma[:, :, 1].any() and not valid[:, :, 1].any() and not snr[:, :, 1].any()
    assert valid[:, :, 0].all()


def test_units_and_offsets_make_no_difference():
    image = sky()
    snr, _ = normalize(image, measure_background(image))
    scaled = with_data(image, image.data * np.float32(1024) + np.float32(4096))
    other, _ = normalize(scaled, measure_background(scaled))
    np.testing.assert_allclose(other, snr, atol=5e-3)


def test_mesh_is_bilinear_between_centres_and_flat_beyond():
    mesh = np.array([[0.0, 2.0], [4.0, 6.0]], np.float32)
    centers = (np.array([10.0, 30.0]), np.array([10.0, 20.0]))
    plane = interpolate_mesh(mesh, centers, Window(0, 0, 41, 31))
    assert plane[0, 0] == plane[10, 10] == 0 and plane[40, 30] == 6
    assert plane[20, 15] == pytest.approx(3)


def test_shapes_that_disagree_are_refused():
    image = sky((BOX, BOX))
    noise = measure_background(image)
    with pytest.raises(InputError, match="expected the same"):
        normalize(image, noise, window=Window(0, 0, 10, 10))
    with pytest.raises(InputError, match="1 bands"):
        normalize(image.take([0]), noise)
    with pytest.raises(InputError, match="as `strips` cuts them"):
        measure_row(image.cutout(Window(0, 0, BOX, BOX - 1)), (BOX, 2 * BOX))


@pytest.mark.parametrize("rise", [20.0, -1000.0])
def test_a_slope_is_followed_to_the_edges(rise):
    y, x = np.mgrid[:300, :300]
    slope = rise * (x + 0.5 * y) / 300
    image = with_data(sky((300, 300), (1.0,), (0.0,)), sky((300, 300), (1.0,), (0.0,)).data + slope[..., None])
    snr, _ = normalize(image, measure_background(image))
    assert abs(snr.std() - 1) < 0.03
    assert max(abs(corner.mean()) for corner in (snr[:30, :30], snr[-30:, -30:], snr[:30, -30:])) < 0.2


@pytest.mark.parametrize(("sky_electrons", "flat_error"), [(500.0, 0.005), (500.0, 0.01), (60.0, 0.005)])
def test_noise_planes_with_the_light_of_sources_give_the_noise_of_the_sky(sky_electrons, flat_error):
    # As the ERR planes of JWST: read noise, photons of sky and sources, and the error of the flat field.
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:384, :384]
    light = np.zeros(y.shape)
    for flux in 10 ** rng.uniform(3, 5.5, 30):
        at = rng.uniform(10, 374, 2)
        light += flux * 0.4 * (1 + ((y - at[0]) ** 2 + (x - at[1]) ** 2) / 1.6) ** -3
    sky = 10**2 + sky_electrons
    data = light + sky_electrons + rng.normal(size=light.shape) * np.sqrt(sky + light)
    rms = np.sqrt(10**2 + np.maximum(data, 0) + (flat_error * data) ** 2)
    image = SkyImage(
        np.float32(data[..., None]), ("F200W",), np.ones((*y.shape, 1), bool), rms=np.float32(rms[..., None])
    )
    noise = measure_background(image)
    level = interpolate_mesh(noise.sigma[:, :, 0], noise.centers, Window(0, 0, *y.shape))
    found = subtract(image, noise, sky_noise=True).rms[:, :, 0] * level / np.sqrt(sky)
    for least, most in ((0, 1), (5, 30), (30, 300), (300, np.inf)):
        there = (light >= least * np.sqrt(sky)) & (light < most * np.sqrt(sky))
        assert there.sum() > 20
        np.testing.assert_allclose(np.percentile(found[there], [10, 50, 90]), 1, atol=0.06)
    assert np.median(rms[there]) > 4 * np.sqrt(sky)


def test_a_sky_that_is_steep_only_without_its_sources_replaces_a_flat_one():
    flat, steep = sky(shape=(384, 384)), sky(shape=(384, 384))
    ramp = np.linspace(0, 40, 384, dtype=np.float32)[:, None, None]
    sloped = measure_background(with_data(steep, steep.data + ramp))
    found = measure_background(flat)
    assert found.background.shape[0] < sloped.background.shape[0]
    both = found.less_sources(sloped)
    np.testing.assert_array_equal(both.background, sloped.background)
    assert not both.covered.any()
