"""Large objects seen in bins: one answer, however the image is cut."""

from dataclasses import replace

import numpy as np
import pytest

from morpheus_lite.core.large_objects import LargeObjects
from morpheus_lite.core.windows import Window
from morpheus_lite.inference.one_pass import OnePass
from morpheus_lite.io import open_image
from morpheus_lite.io.maps import MemoryMaps
from morpheus_lite.noise.overview import measure_sections
from tests.inference.test_one_pass import BoxModel
from tests.star_fields import galaxy, seen, star_grid


class SourceModel(BoxModel):
    """Calls all light a disk, and the brightest of it a star."""

    def predict(self, snr, valid):
        light = (snr * valid).sum(axis=-1)
        source = 1 / (1 + np.exp(-(light - 2)))
        star = source * (light > 40)
        nothing = np.zeros_like(light)
        return np.stack([nothing, source - star, nothing, star, 1 - source], axis=-1).astype(np.float32)


LIGHT = galaxy(256, 40, 1, 3)
LIGHT[180:228, 90:138] += star_grid(3.0, 3.0, n=1, brightest=300, faintest=300)
BLOCKS = np.zeros((32, 32), np.int32)
BLOCKS[6:26, 6:27] = 1
LARGE = LargeObjects(BLOCKS, np.array([4]), np.array([[128.0, 128.0]]), np.array([40.0]))


def maps_of(large, *, within=None, **options):
    source = open_image(seen(LIGHT))
    noise = replace(measure_sections(source, background="none"), large=large)
    inferer = OnePass(SourceModel(), **options)
    maps = MemoryMaps(source.shape, (*inferer.kinds, "large_object"))
    inferer.fill(source, maps, noise=noise, within=within)
    return maps.read()


@pytest.fixture(scope="module")
def merged():
    return maps_of(LARGE)


def test_the_object_is_that_of_the_bins_and_the_rest_that_of_the_pixels(merged):
    fine = maps_of(None)
    own = merged.large_object > 0
    assert not fine.large_object.any()
    np.testing.assert_array_equal(merged.probability[~own], fine.probability[~own])
    # Four pixels have four times the light of one, over twice its noise.
    assert own[128, 128] and own[100, 100] and not own[10, 10]
    assert merged.source_probability[own].min() >= 0.4
    assert np.count_nonzero(fine.source_probability[own] < 0.3) > 1000
    cells = merged.probability[96:128, 96:128].reshape(8, 4, 8, 4, 5)
    np.testing.assert_array_equal(cells, np.broadcast_to(cells[:, :1, :, :1], cells.shape))


def test_a_star_in_front_keeps_what_the_finest_level_says(merged):
    star = np.s_[202:206, 112:116]
    assert not merged.large_object[star].any()
    np.testing.assert_array_equal(merged.probability[star], maps_of(None).probability[star])


def test_probabilities_stay_probabilities(merged):
    np.testing.assert_allclose(merged.probability.sum(axis=2), 1, atol=1e-6)


@pytest.mark.parametrize(("tile", "workers"), [(16, 1), (40, 3), (256, 2)])
def test_tiles_and_workers_make_no_difference(merged, tile, workers):
    cut = maps_of(LARGE, tile=tile, workers=workers)
    np.testing.assert_array_equal(cut.probability, merged.probability)
    np.testing.assert_array_equal(cut.large_object, merged.large_object)


@pytest.mark.parametrize("part", [Window(0, 0, 100, 256), Window(100, 70, 61, 83), Window(199, 99, 57, 30)])
def test_a_part_is_that_of_the_whole(merged, part):
    cut = maps_of(LARGE, within=part, tile=16)
    np.testing.assert_array_equal(cut.probability[part.slices], merged.probability[part.slices])
    np.testing.assert_array_equal(cut.large_object[part.slices], merged.large_object[part.slices])
