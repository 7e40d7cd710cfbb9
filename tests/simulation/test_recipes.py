"""The recipes of the shipped weights: configurations that can be read, cameras, and the other simulators."""

import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("galsim", reason="the simulators need GalSim (the extra simulation)")

from morpheus_lite.models.network_config import OnePassConfig
from morpheus_lite.models.registry import read_info
from morpheus_lite.simulation import Sky
from morpheus_lite.simulation.instruments import FILTERS
from morpheus_lite.simulation.populations import KINDS
from morpheus_lite.simulation.rendering import ZERO_POINT
from morpheus_lite.simulation.scene import draw_scene
from morpheus_lite.training import read_config

RECIPES = Path(__file__).parents[2] / "weights" / "recipes"


@pytest.fixture(scope="module")
def recipe() -> dict:
    return runpy.run_path(str(RECIPES / "make_fields.py"))


@pytest.fixture(scope="module")
def second() -> dict:
    return runpy.run_path(str(RECIPES / "second_simulator.py"))


@pytest.fixture(scope="module")
def third() -> dict:
    return runpy.run_path(str(RECIPES / "third_simulator.py"))


@pytest.mark.parametrize("name", ["hst", "any"])
def test_there_is_one_recipe_for_each_model(name):
    config = read_config(RECIPES / f"{name}.toml")
    info = read_info(name)
    assert config.name == info.name
    assert config.model == OnePassConfig.from_dict(info.network)


def test_all_cameras_have_equal_shares(recipe):
    names = [recipe["camera_of"](seed) for seed in range(10 * len(recipe["CAMERAS"]))]
    assert all(names.count(camera) == 10 for camera in recipe["CAMERAS"])
    for camera in recipe["CAMERAS"].values():
        assert set(camera.filters) <= set(FILTERS)


def test_a_moffat_psf_has_the_width_and_the_wings_it_is_told(recipe):
    draw, moffat = recipe["moffat_psf"], recipe["Moffat"]
    narrow, wide = (draw(moffat(3.0, beta)) for beta in (4.5, 1.8))
    middle = narrow.image.shape[0] // 2
    for psf, beta in ((narrow, 4.5), (wide, 1.8)):
        assert psf.image.sum() == pytest.approx(1, abs=1e-4)
        assert psf.fwhm == pytest.approx(3.1, abs=0.15)  # the pixel adds a little
        scale = 1.5 / np.sqrt(2 ** (1 / beta) - 1)
        near, far = (psf.image[middle, middle + 2 * r] for r in (12, 24))
        assert near / far == pytest.approx(((1 + (24 / scale) ** 2) / (1 + (12 / scale) ** 2)) ** beta, rel=0.03)


def test_an_aureole_holds_its_share_of_the_light(recipe):
    draw, moffat = recipe["moffat_psf"], recipe["Moffat"]
    plain, halo = draw(moffat(2.0, 4.5)), draw(moffat(2.0, 4.5, aureole=0.3, aureole_fwhm=4.0))
    y, x = np.indices(plain.image.shape) - plain.image.shape[0] // 2
    outside = np.hypot(x, y) > 2 * 8  # samples; 8 px
    scale = 4.0 / np.sqrt(2 ** (1 / 1.7) - 1)
    assert plain.image[outside].sum() < 0.001
    # The light of a Moffat profile beyond a radius; a tenth of it lies beyond the square.
    assert halo.image[outside].sum() == pytest.approx(0.3 * (1 + (8 / scale) ** 2) ** -0.7, rel=0.1)


def test_a_population_is_drawn_as_it_is_told(recipe):
    population = recipe["DrawnPopulation"](
        300, 200, 16.0, 26.0, 0.3, 0.2, (0.2, 0.5, 0.3), size=2.0, radii=(0.3, 5.0), concentration=1.2, core=20.0
    )
    sky = Sky(pair_share=0.0, population=population)
    placed = draw_scene(np.random.default_rng(3), (128, 128), 0.2, sky)
    sources = [source for source, *_ in placed]
    galaxies = [source for source in sources if source.kind != "point_source"]
    assert (len(sources), len(galaxies)) == (500, 300)
    for share, kind in zip(population.shares, KINDS, strict=False):
        assert np.mean([source.kind == kind for source in galaxies]) == pytest.approx(share, abs=0.08)
    assert all(0.3 <= source.radius <= 5.0 for source in galaxies)
    magnitudes = np.array([source.magnitude for source in galaxies])
    assert 16 <= magnitudes.min() < magnitudes.max() <= 26
    # Counts that rise by 0.3 dex per magnitude: half of the sources lie in the last magnitude.
    assert np.mean(magnitudes > 25) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("camera", ["kids", "vista", "sdss"])
def test_fields_from_the_ground_have_psfs_of_a_few_pixels(recipe, camera):
    seed = list(recipe["CAMERAS"]).index(camera)
    field = recipe["make_field"](seed, natural=False, side=64)
    assert set(field.bands) <= set(recipe["CAMERAS"][camera].filters)
    # The response of a pixel adds up to 0.5 px.
    assert all(1.1 < width < 5.1 for width in field.psf_fwhm)
    again = recipe["make_field"](seed, natural=False, side=64)
    assert np.array_equal(again.flux, field.flux)


def test_the_light_of_the_second_simulator_is_that_of_its_catalogue(second):
    field = second["make_field"](400_001, side=96)
    assert field.flux.min() >= 0
    total, listed = field.flux.sum(axis=(0, 1)), field.sources["flux"].sum(axis=0)
    assert np.all(total < 1.01 * listed)
    owned = np.unique(field.owner[field.owner > 0])
    assert len(owned) > 5
    magnitude = ZERO_POINT - 2.5 * np.log10(field.sources["flux"][:, 0])
    assert np.all(np.isfinite(magnitude))


def test_a_point_of_the_second_simulator_has_its_flux_and_place(second):
    rng = np.random.default_rng(1)
    psfs = second["draw_psfs"](rng, ("LSST_R",), True, [])
    stamp = second["draw"](None, psfs, 128, 0.3, -0.2)[..., 0]
    y, x = np.indices(stamp.shape) - 64
    inner = np.hypot(x, y) < 12
    assert stamp.sum() == pytest.approx(1, abs=0.01)
    assert (stamp * x)[inner].sum() / stamp[inner].sum() == pytest.approx(0.3, abs=0.05)
    assert (stamp * y)[inner].sum() / stamp[inner].sum() == pytest.approx(-0.2, abs=0.05)


def test_a_field_of_the_third_simulator_follows_from_its_seed_and_has_all_classes(third):
    field, again = (third["make_field"](third["FIRST_SEED"] + 3, side=256) for _ in range(2))
    assert np.array_equal(field.flux, again.flux)
    assert np.array_equal(field.owner, again.owner)
    assert np.array_equal(field.sources, again.sources)
    assert set(field.sources["kind"]) == {0, 1, 2, 3}
    assert np.array_equal(field.sources["soft"].argmax(axis=1), field.sources["kind"])
    assert np.allclose(field.sources["soft"].max(axis=1), 0.88)
    assert field.flux.min() >= 0
    assert np.all(field.flux.sum(axis=(0, 1)) < 1.02 * field.sources["flux"].sum(axis=0))
    assert np.unique(field.owner).size > 5


def test_a_real_galaxy_of_the_third_simulator_is_classed_by_its_profile(third):
    y, x = np.indices((41, 41)) - 20
    kernel = np.exp(-0.5 * (x**2 + y**2) / 1.5**2)
    rng = np.random.default_rng(3)
    for index, kind in ((1.0, "disk"), (4.0, "spheroid")):
        image = third["sersic_picture"](np.array([9, index, 9, 0.7, 0.5, 0, 0]), (72, 72), kernel / kernel.sum())
        real = third["class_real"](image + rng.normal(0, 1.0, image.shape), kernel / kernel.sum(), 1.0)
        assert real.kind == kind
        assert real.radius == pytest.approx(9 * 0.03, rel=0.15)
