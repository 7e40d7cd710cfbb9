"""Large objects of an image, and the background under them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.large_objects import LargeObjects
from morpheus_lite.core.windows import Window
from morpheus_lite.noise.background_mesh import subtract
from morpheus_lite.noise.overview import measure_image
from tests.star_fields import galaxy, seen, star_grid


def noise_of(light, **options):
    return measure_image(seen(light), **options)


@pytest.mark.parametrize(("n", "radius", "binning"), [(1, 40, 2), (1, 60, 4), (1, 100, 8), (4, 60, 2)])
def test_large_galaxies_are_seen_in_bins_as_large_as_they_need(n, radius, binning):
    size = 8 * radius
    large = noise_of(galaxy(size, radius, n, 2)).large
    assert large.binning.tolist() == [binning]
    assert np.abs(large.centers - size / 2).max() < 16
    assert 0.4 * radius < large.radii[0] < 1.1 * radius
    assert large.at(Window(size // 2, size // 2, 3, 5)).tolist() == [[1] * 5] * 3
    assert not large.at(Window(0, 0, 8, 8)).any()


@pytest.mark.parametrize(
    "light",
    [
        np.zeros((300, 300)),
        galaxy(300, 8, 1, 5),
        galaxy(300, 15, 4, 3),
        star_grid(3.0, 2.5, brightest=50_000),
        star_grid(2.5, 3.0, n=20, step=16),
    ],
    ids=["sky", "disk", "spheroid", "bright stars", "crowded stars"],
)
def test_images_without_large_objects_have_none(light):
    assert noise_of(light).large is None


def test_two_large_galaxies_are_two():
    light = np.zeros((400, 700))
    light[:, :400] += galaxy(400, 40, 1, 3)
    light[:, 300:] += galaxy(400, 40, 1, 3)
    large = noise_of(light).large
    assert sorted(large.centers[:, 1].round(-1).tolist()) == pytest.approx([200, 500], abs=12)


def test_the_mesh_does_not_eat_a_large_galaxy():
    light = galaxy(900, 80, 1, 2)
    noise = noise_of(light)
    y, x = np.mgrid[:900:20, :900:20]
    eaten = noise.background_at(x.ravel(), y.ravel())[:, 0]
    # The mesh alone takes the middle of the galaxy, ten times its noise, for sky.
    assert np.abs(eaten).max() < 0.3
    assert noise.sigma == pytest.approx(1, abs=0.06)


def test_a_chosen_background_stays():
    noise = noise_of(galaxy(500, 60, 1, 2) + 5, background=5.0)
    assert noise.large is not None
    assert (noise.background == 5).all()


def test_boxes_hold_their_objects():
    labels = np.zeros((10, 12), np.int32)
    labels[2:4, 3:6], labels[7, 7:9] = 1, 2
    large = LargeObjects(labels, np.array([2, 4]), np.array([[20.0, 35.0], [60.0, 64.0]]), np.array([30.0, 60.0]))
    assert large.boxes(2) == [Window(16, 24, 16, 24)] and large.boxes(4) == [Window(56, 56, 8, 16)]
    assert large.at(Window(31, 23, 2, 2)).tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("place", [128, 101, 60])
@pytest.mark.parametrize(("along", "height"), [("x", 3), ("y", -30)])
def test_the_sky_is_measured_on_both_sides_of_a_step(place, along, height):
    light = star_grid(3.0, n=5, step=52)
    beyond = np.indices(light.shape)["yx".index(along)] >= place
    noise, even = noise_of(light + height * beyond), noise_of(light)
    (step,) = noise.steps
    assert noise.doubts == ()
    assert (step.band, step.axis, step.place) == (0, "yx".index(along), place)
    assert step.height == pytest.approx(height, abs=0.2)
    assert f"from {along} = {place} px on" in step.told("F")
    y, x = np.indices(light.shape).reshape(2, -1)
    difference = (noise.background_at(x, y) - even.background_at(x, y))[:, 0] - height * beyond.ravel()
    assert np.abs(difference).max() < 0.25
    np.testing.assert_allclose(noise.sigma, even.sigma, atol=0.05)
    assert noise.with_background("none").steps == ()
    assert noise.take([None, 0]).steps == (step._replace(band=1),)
    cut = Window(50, 40, 120, 130)
    image = seen(light + height * beyond)
    np.testing.assert_array_equal(
        subtract(image, noise).data[cut.slices], subtract(image.cutout(cut), noise, window=cut).data
    )


def test_an_inverted_image_is_said():
    (sentence,) = noise_of(-star_grid(3.0)).doubts
    assert "looks inverted" in sentence


@pytest.mark.parametrize(
    "light", [star_grid(3.0), galaxy(400, 30, 1, 6), star_grid(8.0, 2.5)], ids=["stars", "disk", "wide"]
)
@pytest.mark.parametrize(
    "stretch", [np.arcsinh, lambda x: np.arcsinh(x / 3), lambda x: np.log10(np.maximum(x + 6, 0.1))]
)
def test_pixels_that_are_not_linear_in_the_light_are_said(light, stretch):
    noise = np.random.default_rng(2).normal(size=light.shape)
    (sentence,) = measure_image(seen(stretch(light + noise), sigma=0)).doubts
    assert "asinh or a logarithm compressed the light" in sentence
    # The same light, with the photons' noise, in correlated pixels, and with flat tops.
    smooth = ndimage.gaussian_filter(noise, 0.8)
    for linear in (
        light + noise * np.sqrt(1 + light / 10),
        light + smooth / smooth.std(),
        np.minimum(light + noise, 40),
    ):
        assert measure_image(seen(linear, sigma=0)).doubts == ()


@pytest.mark.parametrize(("factor", "said"), [(0.03, "32.9"), (30, "0.0329"), (0.5, ""), (3, "")])
def test_a_noise_plane_of_another_image_is_said(factor, said, recwarn):
    image = seen(star_grid(3.0))
    measure_image(replace(image, rms=np.full_like(image.data, factor)))
    told = [str(one.message) for one in recwarn if "the given noise" in str(one.message)]
    assert len(told) == bool(said)
    assert all(f"the sky is {said} times the given noise" in one for one in told)


def test_usual_skies_raise_no_doubts():
    stars = star_grid(3.0, n=5, step=52)
    y, x = np.indices(stars.shape)
    trail, edge = 100.0 * (np.abs(x - 99) < 3), 200 * np.exp(-np.abs(x - 120) / 4)
    skies = [
        0 * x,
        2 * x + y,
        8 * np.sin(1.3 * y),
        8 * np.sin(0.4 * x),
        trail,
        edge,
        galaxy(260, 30, 1, 50),
        2 * (-1.0) ** x,
    ]
    found = [noise_of(stars + sky) for sky in skies]
    assert [(one.steps, one.doubts) for one in found] == [((), ())] * len(skies)
    image = seen(stars + 200)
    image.data[:, :93] = 0
    assert measure_image(image).steps == measure_image(image).doubts == ()


SKIES = {
    "fringes": lambda x, y: np.sin(2 * np.pi * (x + 0.5 * y) / 30),
    "narrow fringes": lambda x, y: 10 * np.sin(2 * np.pi * (x + 0.3 * y) / 20),
    "curvature": lambda x, y: 25 * ((x % 128 - 64) / 64.0) ** 2,
    "bowl": lambda x, y: 100 * (np.hypot(x - 130, y - 130) / 128) ** 2,
}


@pytest.mark.parametrize("kind", SKIES)
def test_an_uneven_sky_is_seen(kind):
    stars = star_grid(3.0, n=5, step=52)
    y, x = np.indices(stars.shape)
    assert noise_of(stars + SKIES[kind](x, y)).uneven.all()


@pytest.mark.parametrize("corner", [(0, 0), (260, 130)])
def test_light_from_beyond_the_edge_is_an_uneven_sky(corner):
    stars = star_grid(3.0, n=5, step=52)
    y, x = np.indices(stars.shape)
    glow = 200 * np.exp(-np.hypot(y - corner[0], x - corner[1]) / 40)
    assert noise_of(stars + glow).uneven.all()
    assert not noise_of(stars + 50 * np.exp(-np.hypot(y - 130, x - 130) / 30)).uneven.any()


@pytest.mark.parametrize("sigma", [0, 0.8, 1.5, 3.0])
def test_noise_of_any_correlation_is_no_structure(sigma):
    stars = star_grid(3.0, n=5, step=52)
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=stars.shape), sigma)
    image = SkyImage(
        (stars + noise / noise.std())[..., None].astype(np.float32), ("1",), np.ones((*stars.shape, 1), bool)
    )
    assert not measure_image(image).uneven.any()


def test_the_sky_is_uneven_where_it_is():
    stars = star_grid(3.0, n=11, step=48)
    y, x = np.indices(stars.shape)
    noise = noise_of(stars + 3 * np.sin(2 * np.pi * (x + y) / 35) * (x > 264))
    assert noise.uneven[..., 0].tolist() == [[False, True], [False, True]]
    assert noise.uneven_at(np.array([10.0, 400.0, np.nan]), np.array([300.0, 20.0, 5.0])).tolist() == [
        False,
        True,
        False,
    ]
    assert noise.take([None, 0]).uneven[..., 1].tolist() == noise.uneven[..., 0].tolist()
    assert not noise.take([None, 0]).uneven[..., 0].any()
    # Too few places tell nothing, and neither do areas without data.
    assert not noise_of(stars[:90, :90]).uneven.any() and not noise_of(stars[:20]).uneven.any()
