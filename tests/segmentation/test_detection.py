"""Segmentation: votes become labels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from morpheus_lite import Classification, InputError, OptionError, SkyImage
from morpheus_lite.core import windows
from morpheus_lite.core.labels import LabelledPixels, check_labels
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputWarning
from morpheus_lite.segmentation.detection import DetectionOptions, _bridges, flood, segment, uncertain_pixels


def votes(background, seen=None):
    """Class maps with this background vote; every other vote is for disks."""
    background = np.asarray(background, dtype=np.float32)
    seen = np.ones(background.shape, dtype=bool) if seen is None else seen
    vote = np.zeros((*background.shape, 5), dtype=np.float32)
    vote[..., 1] = 1 - background
    vote[..., 4] = background
    vote[~seen] = np.nan
    return Classification(probability=vote, vote=vote, coverage=seen.astype(np.int32) * 900, valid=seen)


def islands(*boxes, shape=(40, 50)):
    background = np.ones(shape)
    for box in boxes:
        background[box] = 0
    return background


def test_islands_are_numbered_in_raster_order():
    labels = segment(votes(islands(np.s_[20:25, 5:9], np.s_[3:8, 30:40])))
    assert labels.dtype == np.int32
    assert (labels[3:8, 30:40] == 1).all()
    assert (labels[20:25, 5:9] == 2).all()
    assert np.count_nonzero(labels) == 50 + 20


def test_touching_at_a_corner_is_not_touching():
    assert segment(votes(islands(np.s_[5:10, 5:10], np.s_[10:15, 10:15]))).max() == 2


def test_the_flood_decides_on_uncertain_pixels():
    background = islands(np.s_[10:20, 10:20])
    background[9, 10:20] = 0.1
    background[30:35, 30:35] = 0.4
    labels = segment(votes(background))
    assert (labels[9, 11:19] == 1).all(), "nearly certain, beside a source"
    assert (labels[30:35, 30:35] == 0).all(), "uncertain, surrounded by sky"
    assert (segment(votes(background), threshold=0.5)[30:35, 30:35] == 2).all()


def test_without_a_certain_pixel_there_is_no_source():
    assert not segment(votes(np.full((40, 40), 0.3))).any()


def test_all_source_is_one_source():
    assert (segment(votes(np.zeros((40, 40)))) == 1).all()


def test_pixels_not_classified_are_sky():
    seen = np.ones((40, 50), dtype=bool)
    seen[:5] = seen[12, 12] = False
    labels = segment(votes(islands(np.s_[0:20, 5:20]), seen))
    assert not labels[~seen].any()
    assert (labels[5:20, 5:20][seen[5:20, 5:20]] == 1).all()


@given(
    background=hnp.arrays(np.float32, (14, 17), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
    seen=hnp.arrays(np.bool_, (14, 17), elements=st.sampled_from([True, True, True, False])),
    threshold=st.sampled_from([0.0, 0.5]),
)
def test_certain_pixels_are_obeyed(background, seen, threshold):
    labels = segment(votes(background, seen), threshold=threshold)
    assert not labels[~seen | (background == 1)].any()
    certain = seen & (background <= threshold)
    assert labels[certain].all()
    pieces, n_pieces = ndimage.label(labels > 0)
    assert n_pieces == labels.max()
    np.testing.assert_array_equal(pieces, labels)
    assert set(np.unique(labels[certain])) == set(range(1, n_pieces + 1)), "every source holds a certain pixel"


@pytest.mark.parametrize("options", [{"method": "magic"}, {"threshold": 1.0}, {"threshold": -0.1}])
def test_impossible_options(options):
    with pytest.raises(OptionError, match=r"magic|threshold"):
        segment(votes(islands()), **options)


def test_votes_are_needed():
    result = votes(islands())
    blind = Classification(probability=result.probability, coverage=result.coverage, valid=result.valid)
    with pytest.raises(OptionError, match="rank votes"):
        segment(blind, method="paper")


class TestLabelMaps:
    """The vocabulary of label maps."""

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.zeros((4, 5)), "float64"),
            (np.zeros((4, 4), int), "same"),
            (np.zeros((4, 5, 1), int), "same"),
            (np.full((4, 5), 2**31), "int32"),
            (np.zeros((4, 5), bool), "bool"),
        ],
    )
    def test_what_cannot_be_a_label_map(self, labels, message):
        with pytest.raises(InputError, match=message):
            check_labels(labels, (4, 5))

    @pytest.mark.parametrize("kind", ["i2", "u1", "i8", ">i4"])
    def test_any_whole_numbers_become_native_int32(self, kind):
        labels = check_labels(np.arange(6).astype(kind).reshape(2, 3), (2, 3))
        assert labels.dtype == np.int32
        assert labels.dtype.isnative
        assert labels.max() == 5

    def test_a_mask_is_doubted(self):
        mask = np.zeros((9, 9), np.uint8)
        mask[1::4, 1::4] = 1
        with pytest.warns(InputWarning, match="one label for 4 separate areas"):
            assert check_labels(mask, mask.shape).max() == 1
        mask[1, 1:] = 1  # two areas: a source with a gap
        mask[5:, 1::4] = 1
        check_labels(mask[:5], (5, 9))

    def test_unclassified_is_sky(self):
        assert check_labels([[-1, 3]], (1, 2)).tolist() == [[0, 3]]

    @given(hnp.arrays(np.int32, (9, 11), elements=st.integers(0, 6)))
    def test_sums_over_sources_are_those_of_masks(self, labels):
        plane = np.random.default_rng(0).normal(size=labels.shape).round(1)
        sources = LabelledPixels.gather(labels)
        names = np.unique(labels[labels > 0])
        np.testing.assert_array_equal(sources.labels, names)
        values = sources.take(plane)
        np.testing.assert_allclose(sources.sum(values), [plane[labels == name].sum() for name in names], atol=1e-12)
        np.testing.assert_array_equal(sources.sizes, [(labels == name).sum() for name in names])
        np.testing.assert_array_equal(sources.any(plane > 2), [(plane[labels == name] > 2).any() for name in names])
        first = [np.argmax(np.where(labels == name, plane, -np.inf)) for name in names]
        peak = sources.brightest(values)
        np.testing.assert_array_equal(sources.y[peak] * 11 + sources.x[peak], first)


class TestProbability:
    """The method "probability": a certain core, and wings down to a lower probability."""

    def maps(self, source, seen=None):
        probability = np.zeros((*np.shape(source), 5), dtype=np.float32)
        probability[..., 1] = source
        probability[..., 4] = 1 - np.asarray(source)
        seen = np.ones(np.shape(source), dtype=bool) if seen is None else seen
        probability[~seen] = np.nan
        return Classification(probability=probability, coverage=seen.astype(np.int32), valid=seen)

    def source(self):
        source = np.full((40, 50), 0.05)
        source[10:16, 10:16] = 0.5
        source[12:14, 12:14] = 0.9  # a core with wings
        source[30:36, 10:16] = 0.5  # wings without a core
        source[20, 30] = 0.95  # too small
        source[5:8, 40:43] = 0.8
        return source

    def test_cores_with_their_wings_without_votes(self):
        labels = segment(self.maps(self.source()), method="probability")
        assert labels.dtype == np.int32
        assert (labels[5:8, 40:43] == 1).all()
        assert (labels[10:16, 10:16] == 2).all()
        assert np.count_nonzero(labels) == 9 + 36

    def test_thresholds_are_options(self):
        maps = self.maps(self.source())
        assert segment(maps, method="probability", threshold=0.5).max() == 3
        tight = DetectionOptions(threshold=0.6, min_area=1)
        labels = segment(maps, method="probability", options=tight)
        assert np.count_nonzero(labels) == 9 + 4 + 1

    def test_pixels_not_classified_are_sky(self):
        seen = np.ones((40, 50), dtype=bool)
        seen[:, 13] = False
        labels = segment(self.maps(self.source(), seen), method="probability")
        assert not labels[:, 13].any()

    @pytest.mark.parametrize(("gap", "count"), [(np.s_[13:14], 1), (np.s_[11:15], 1), (np.s_[8:18], 0)])
    def test_a_source_goes_on_across_a_gap(self, gap, count):
        source = np.full((40, 50), 0.05)
        source[10:16, 10:16] = source[25:31, 30:36] = 0.9
        source[10:16, 20:26] = source[10:16, 28:34] = 0.9  # two, with sky between them
        seen = np.ones(source.shape, bool)
        seen[:, gap] = False
        labels = segment(self.maps(source, seen), method="probability")
        assert not labels[~seen].any()
        assert len(np.unique(labels[10:16, 8:18])) - 1 == count
        assert labels.max() == 3 + count

    def test_the_light_must_be_significant(self):
        rng = np.random.default_rng(0)
        data = rng.normal(size=(40, 50, 2)).astype(np.float32)
        data[10:16, 10:16] += 3
        image = SkyImage(data, ("F160W", "F606W"), np.ones(data.shape, bool), rms=np.ones_like(data))
        options = DetectionOptions(min_snr=5)
        labels = segment(self.maps(self.source()), method="probability", image=image, options=options)
        assert labels.max() == 1
        assert (labels[10:16, 10:16] == 1).all()
        blind = replace(image, rms=None)
        np.testing.assert_array_equal(
            labels, segment(self.maps(self.source()), method="probability", image=blind, options=options)
        )
        with pytest.raises(OptionError, match="give the image"):
            segment(self.maps(self.source()), method="probability", options=options)
        with pytest.raises(InputError, match="does not fit"):
            segment(
                self.maps(self.source()), method="probability", options=options, image=image.cutout(Window(0, 0, 9, 9))
            )

    def test_nothing_is_an_empty_map(self):
        assert not segment(self.maps(np.zeros((20, 20))), method="probability").any()

    @pytest.mark.parametrize("wrong", [{"seed_threshold": 0.2}, {"threshold": 0}, {"min_area": 0}, {"min_snr": np.nan}])
    def test_impossible_options(self, wrong):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            DetectionOptions(**wrong)


@pytest.mark.parametrize("side", [7, 16, 1024])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hnp.arrays(np.float32, (23, 31), elements=st.sampled_from([0.0, 0.2, 0.5, 0.5, 0.9, 1.0, np.nan])))
def test_scipy_on_the_whole_image_finds_the_same(monkeypatch, side, source):
    monkeypatch.setattr(windows, "BLOCK", side)
    planes = np.stack([source, *[np.zeros_like(source)] * 3, 1 - source], axis=2)
    seen = np.isfinite(source)
    maps = Classification(planes, seen.astype(np.int32), seen, vote=planes)
    mask, bridges = np.nan_to_num(source) >= 0.4, np.zeros(source.shape, bool)
    if not seen.all():
        bridges = _bridges(mask, ~seen)
    parts, count = ndimage.label(mask | bridges)
    parts[bridges] = 0
    has_core = np.bincount(parts[np.nan_to_num(source) >= 0.7], minlength=count + 1) > 0
    keep = has_core & (np.bincount(parts.ravel(), minlength=count + 1) >= 5) & (np.arange(count + 1) > 0)
    names, first = np.unique(parts, return_index=True)
    expected = np.zeros_like(parts)
    for number, name in enumerate(names[np.argsort(first)][keep[names[np.argsort(first)]]], start=1):
        expected[parts == name] = number
    np.testing.assert_array_equal(segment(maps, method="probability"), expected)
    background = 1 - source
    flooded = flood(background, uncertain_pixels(background, 0.3))
    np.testing.assert_array_equal(
        segment(maps, method="paper", threshold=0.3), ndimage.label((background <= 0.3) | flooded)[0]
    )
