"""Multi-threshold deblending: neighbours part, clumps and noise do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from morpheus_lite import CLASSES, Classification, InputError, OptionError, SkyImage
from morpheus_lite.noise.detection_image import band_scatter, make_detection_image
from morpheus_lite.segmentation.deblending import deblend
from morpheus_lite.segmentation.multithreshold import DeblendingOptions

SHAPE = (70, 90)
Y, X = np.indices(SHAPE)


def blob(y, x, width, peak):
    return peak * np.exp(-((Y - y) ** 2 + (X - x) ** 2) / (2 * width**2))


def disk(y, x, scale, peak):
    return peak * np.exp(-np.hypot(Y - y, X - x) / scale)


def segment_of(light, level=3.0):
    return (light > level).astype(np.int32)


def maps(**planes):
    """Class maps with the share of each class's light."""
    probability = np.full((*SHAPE, 5), 1e-3)
    for name, plane in planes.items():
        probability[..., CLASSES.index(name)] += plane
    probability[..., 4] += 1
    probability /= probability.sum(axis=2, keepdims=True)
    everywhere = np.ones(SHAPE, dtype=bool)
    return Classification(probability.astype(np.float32), everywhere.astype(np.int32), everywhere)


NOTHING_JOINED = DeblendingOptions(merge_contrast=0, merge_contrast_structured=0, max_knot_area=0)


def split(labels, light, **options):
    return deblend(labels, light, method="multithreshold", **options)


def test_a_close_pair_is_two():
    clean = blob(35, 40, 2.5, 60) + blob(35, 49, 2.5, 30)
    labels = segment_of(clean)
    pieces = split(labels, clean + np.random.default_rng(0).normal(size=SHAPE))
    assert labels.max() == 1
    assert pieces[35, 40] == 2, "the brighter one comes first"
    assert pieces[35, 49] == 3
    np.testing.assert_array_equal(pieces > 0, labels > 0)


def test_noise_on_a_plateau_does_not_split():
    clean = disk(35, 45, 10, 40)
    for seed in range(5):
        light = clean + np.random.default_rng(seed).normal(size=SHAPE)
        assert split(segment_of(clean), light).max() == 1


class TestClassMaps:
    """What class maps add to the light."""

    def test_clumps_of_a_disk_stay_one_galaxy(self):
        clean = disk(35, 45, 8, 100) + blob(35, 55, 1.2, 40) + blob(27, 42, 1.2, 40)
        light, labels = clean + np.random.default_rng(1).normal(size=SHAPE), segment_of(clean)
        assert len(np.unique(split(labels, light, options=NOTHING_JOINED))) > 2, "by light alone they are pieces"
        assert split(labels, light, classification=maps(disk=clean)).max() == 1

    def test_a_star_on_a_disk_is_split_off(self):
        galaxy, star = disk(35, 45, 8, 100), blob(35, 55, 1.2, 120)
        light, labels = galaxy + star + np.random.default_rng(1).normal(size=SHAPE), segment_of(galaxy + star)
        pieces = split(labels, light, classification=maps(disk=galaxy, point_source=star))
        assert len(np.unique(pieces)) == 3
        assert pieces[35, 55] != pieces[35, 45]

    def test_the_spikes_of_a_star_stay_with_it(self):
        star = blob(35, 45, 2, 2000) + blob(35, 58, 1.5, 60) + blob(22, 45, 1.5, 60) + disk(35, 45, 6, 60)
        light, labels = star + np.random.default_rng(1).normal(size=SHAPE), segment_of(star)
        assert len(np.unique(split(labels, light))) > 2, "by light alone they are pieces"
        assert split(labels, light, classification=maps(point_source=star)).max() == 1

    def test_bright_knots_far_out_stay_with_their_disk(self):
        clean = disk(35, 40, 8, 100) + blob(35, 56, 1.1, 60) + blob(22, 44, 1.1, 50)
        light, labels = clean + np.random.default_rng(1).normal(size=SHAPE), segment_of(clean)
        galaxy = {"classification": maps(disk=clean)}
        assert split(labels, light, **galaxy).max() == 1
        assert len(np.unique(split(labels, light, options=NOTHING_JOINED, **galaxy))) > 2

    def test_the_arms_of_a_spiral_stay_with_it(self):
        angle, radius = np.arctan2(Y - 35, X - 45), np.hypot(Y - 35, X - 45)
        arms = 60 * np.exp(-(((radius - 20) / 6) ** 2)) * np.maximum(np.cos(angle - radius / 12), 0) ** 4
        clean = disk(35, 45, 8, 100) + arms
        light, labels = clean + np.random.default_rng(1).normal(size=SHAPE), segment_of(clean)
        galaxy = {"classification": maps(disk=clean)}
        assert len(np.unique(split(labels, light, options=NOTHING_JOINED, **galaxy))) > 2
        assert len(np.unique(split(labels, light, classification=maps(spheroid=clean)))) > 2
        assert split(labels, light, **galaxy).max() == 1

    def test_a_neighbour_of_which_most_stands_out_is_none_of_its_clumps(self):
        galaxy, neighbour = disk(35, 40, 8, 100), blob(35, 60, 2.6, 60)
        light = galaxy + neighbour + np.random.default_rng(1).normal(size=SHAPE)
        pieces = split(segment_of(galaxy + neighbour), light, classification=maps(disk=galaxy + neighbour))
        assert pieces[35, 60] != pieces[35, 40]

    def test_a_small_galaxy_beside_a_giant_is_a_neighbour(self):
        giant, small = disk(35, 32, 8, 400), blob(35, 66, 2.6, 60)
        light = giant + small + np.random.default_rng(1).normal(size=SHAPE)
        labels = segment_of(giant + small)
        assert small.sum() < 0.05 * giant.sum()
        assert labels[35, 32] == labels[35, 66]
        pieces = split(labels, light, classification=maps(disk=giant + small))
        assert pieces[35, 66] != pieces[35, 32]

    def test_a_disk_beside_a_disk_is_a_neighbour(self):
        first, second = disk(35, 30, 5, 100), disk(35, 56, 5, 60)
        light = first + second + np.random.default_rng(1).normal(size=SHAPE)
        labels = segment_of(first + second, 1.0)
        assert labels[35, 30] == labels[35, 56]
        pieces = split(labels, light, classification=maps(disk=first + second))
        assert pieces[35, 30] != pieces[35, 56]

    def test_two_equal_disks_are_neighbours_and_a_fainter_one_as_near_is_a_clump(self):
        first = disk(35, 36, 5, 100)
        for share, n_pieces in ((1.0, 2), (0.35, 1)):
            second = disk(35, 51, 5, 100 * share)
            light = first + second + np.random.default_rng(1).normal(size=SHAPE)
            labels = segment_of(first + second, 1.0)
            pieces = split(labels, light, classification=maps(disk=first + second))
            assert len(np.unique(pieces[labels == labels[35, 36]])) == n_pieces, share

    def test_a_spheroid_beside_a_disk_is_a_neighbour(self):
        galaxy, neighbour = disk(35, 38, 6, 100), blob(35, 56, 2.5, 60)
        light = galaxy + neighbour + np.random.default_rng(1).normal(size=SHAPE)
        pieces = split(segment_of(galaxy + neighbour), light, classification=maps(disk=galaxy, spheroid=neighbour))
        assert pieces[35, 56] != pieces[35, 38]

    def test_pixels_without_a_class_do_no_harm(self):
        clean = blob(35, 40, 2.5, 60) + blob(35, 52, 2.5, 30)
        result = maps(spheroid=clean)
        result.probability[30:40, 30:48] = np.nan
        assert len(np.unique(split(segment_of(clean), clean, classification=result))) == 3

    def test_maps_of_another_shape(self):
        with pytest.raises(InputError, match="do not fit"):
            split(np.zeros((5, 5), int), np.zeros((5, 5)), classification=maps())


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.int32, (16, 18), elements=st.sampled_from([0, 0, 1, 1, 1, 2, 5])), st.integers(0, 5))
def test_children_cover_their_parent_exactly(labels, seed):
    light = np.random.default_rng(seed).gamma(1, 20, labels.shape)
    options = DeblendingOptions(min_area=1, smoothing=0.5, min_saddle_depth=0.5)
    pieces = split(labels, light, options=options)
    np.testing.assert_array_equal(pieces > 0, labels > 0)
    for name in np.unique(pieces[pieces > 0]):
        parents = np.unique(labels[pieces == name])
        assert len(parents) == 1, "a piece lies in one parent"
        if name <= labels.max():
            assert name == parents[0]
            np.testing.assert_array_equal(pieces == name, labels == name)


@pytest.mark.parametrize("photons", [0.0, 1.0, 4.0])
def test_the_photon_noise_of_a_smooth_galaxy_does_not_split_it(photons):
    clean = disk(35, 45, 12, 600)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        light = clean + rng.normal(size=SHAPE) * np.sqrt(1 + photons * clean)
        pieces = split(segment_of(clean, 30), light, classification=maps(spheroid=clean))
        assert pieces.max() == 1, "also where it is rough"


def test_all_bands_count():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(*SHAPE, 3)).astype(np.float32) * (1, 5, 0.1)
    labels = np.zeros(SHAPE, np.int32)
    image = SkyImage(data, ("A", "B", "C"), np.ones(data.shape, bool), rms=np.ones_like(data) * (1, 5, 0.1))
    assert make_detection_image(image, band_scatter([(image, labels)])).std() == pytest.approx(1, abs=0.03)
    blind = SkyImage(data, ("A", "B", "C"), np.ones(data.shape, bool))
    assert make_detection_image(blind, band_scatter([(blind, labels)])).std() == pytest.approx(1, abs=0.03)


def test_no_sources_and_no_light():
    assert not split(np.zeros(SHAPE, int), np.zeros(SHAPE)).any()
    assert split(np.ones(SHAPE, int), np.zeros(SHAPE)).max() == 1


@pytest.mark.parametrize("wrong", [{"contrast": 2}, {"n_levels": 0}, {"smoothing": -1}])
def test_impossible_options(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        DeblendingOptions(**wrong)


def test_several_processes_give_the_labels_of_one():
    light = np.tile(blob(8, 8, 1.5, 40) + blob(8, 14, 1.5, 30), (4, 1))[:, :24]
    light = np.tile(light, (1, 12))
    labels, n_sources = ndimage.label(light > 3)
    assert n_sources > 40
    one, two = (deblend(labels, light, method="multithreshold", workers=workers) for workers in (1, 2))
    assert len(np.unique(one)) > n_sources + 40
    np.testing.assert_array_equal(one, two)


class TestTheEdgeOfABand:
    """A galaxy that lies across the edge of a band is no pair, and a pair stays two."""

    @staticmethod
    def seen(light, colour, gone, rms):
        rng = np.random.default_rng(4)
        data = np.stack([light * share + rng.normal(size=SHAPE) for share in colour], axis=2).astype(np.float32)
        valid = np.ones(data.shape, bool)
        valid[:, :, 0] = ~gone
        return SkyImage(np.where(valid, data, 0), ("A", "B"), valid, rms=np.ones_like(data) if rms else None)

    @pytest.mark.parametrize("rms", [True, False])
    @pytest.mark.parametrize("colour", [(1, 1), (3, 1), (0.3, 1)])
    @pytest.mark.parametrize("edge", [-9, -5, 0, 4, 9])
    @pytest.mark.parametrize("side", [1, -1])
    def test_one_galaxy_is_one(self, side, edge, colour, rms):
        light = blob(35, 45, 7, 40)
        image = self.seen(light, colour, side * (X - 45) < edge, rms)
        labels = segment_of(light, 1.0)
        assert split(labels, image).max() == 1

    @pytest.mark.parametrize("colour", [(1, 1), (3, 1), (0.3, 1)])
    @pytest.mark.parametrize("edge", [30, 36, 42, 48, 54])
    def test_two_are_two(self, edge, colour):
        light = blob(35, 38, 2.5, 60) + blob(35, 48, 2.5, 50)
        pieces = split(segment_of(light), self.seen(light, colour, edge > X, True))
        assert {pieces[35, 38], pieces[35, 48]} == {2, 3}

    def test_a_strip_and_a_hole_split_nothing(self):
        light = blob(35, 45, 7, 40)
        for gone in (np.abs(Y - 38) < 3, np.hypot(Y - 40, X - 48) < 4):
            assert split(segment_of(light, 1.0), self.seen(light, (3, 1), gone, True)).max() == 1
