"""Labels and catalogue of many blocks: the same as those of one block, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from morpheus_lite import Classification, InputError, OptionError, SkyImage
from morpheus_lite.catalog import MeasureOptions, measure
from morpheus_lite.config.classify import DEBLENDING_OF
from morpheus_lite.core import windows as sampling
from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.core.labels import ScratchFile
from morpheus_lite.core.windows import Window, source_groups, tiles
from morpheus_lite.io import open_image
from morpheus_lite.io.maps import MapFile, MemoryMaps
from morpheus_lite.pipeline.classify import make_catalog
from morpheus_lite.pipeline.plan import SourceOptions, block_side_in
from morpheus_lite.segmentation.deblending import deblend
from morpheus_lite.segmentation.detection import Components, DetectionOptions, flood, segment, uncertain_pixels
from morpheus_lite.segmentation.multithreshold import DeblendingOptions

KINDS = ("mean", "variance", "vote", "coverage", "flags", "segmentation")
METHODS = ("probability", "paper")


def scene(light, *, n_bands=2, seed=0, invalid=0.0, rms=True, wcs=True):
    """An image of this light and noise of 1, and class maps that follow it."""
    rng = np.random.default_rng(seed)
    shape = np.shape(light)
    data = np.stack([light * share + rng.normal(size=shape) for share in np.linspace(1, 0.5, n_bands)], axis=2)
    valid = rng.uniform(size=data.shape) >= invalid
    data = np.where(valid, data, 0).astype(np.float32)
    sky = WCS(naxis=2)
    sky.wcs.ctype, sky.wcs.crval, sky.wcs.crpix, sky.wcs.cdelt = (
        ["RA---TAN", "DEC--TAN"],
        [53, -27],
        [50, 60],
        [-1e-5, 1e-5],
    )
    image = SkyImage(
        data,
        ("F160W", "F606W")[:n_bands],
        valid,
        rms=np.ones_like(data) if rms else None,
        wcs=sky if wcs else None,
        zero_points=(25.9, None)[:n_bands],
    )
    smooth = ndimage.gaussian_filter(light, 1) + rng.normal(0, 0.3, shape)
    source = 1 / (1 + np.exp(-(smooth - 2)))
    kind = rng.dirichlet([1, 1, 1, 1], size=shape)
    probability = np.concatenate([kind * source[..., None], 1 - source[..., None]], axis=2).astype(np.float32)
    vote = (np.round(probability * 6) / 6).astype(np.float32)
    classified = np.asarray(valid.any(axis=2))
    for plane in (probability, vote):
        plane[~classified] = np.nan
    flags = np.where(valid.all(axis=2), 0, 1).astype(np.uint8)
    coverage = classified.astype(np.int32) * 9
    maps = Classification(
        probability,
        coverage,
        classified,
        (probability * 0.1).astype(np.float32),
        vote,
        flags,
        image.wcs,
        {"model": "m"},
    )
    return image, maps


def blobs(shape, n, seed, *, widest=5.0):
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    light = np.zeros(shape)
    for _ in range(n):
        place, width = rng.uniform(0, shape), rng.uniform(1, widest)
        light += rng.uniform(5, 200) * np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * width**2))
    return light


def one_block(image, maps, method, *, detection=None, deblending=None, measuring=None):
    parents = segment(maps, method=method, image=image, options=detection)
    labels = deblend(parents, image, method=DEBLENDING_OF[method], classification=maps, options=deblending)
    chosen = "vote" if method == "paper" else "probability"
    return labels, measure(labels, image, maps, parents=parents, maps=chosen, options=measuring)


def many_blocks(image, maps, method, tile, *, workers=1, progress=None, **options):
    stored = MemoryMaps(image.shape, KINDS, wcs=image.wcs, provenance=maps.provenance)
    stored.write(Window(0, 0, *image.shape), maps)
    how = SourceOptions(method, **options)
    table = make_catalog(open_image(image), stored, how, tile=tile, workers=workers, progress=progress)
    return stored.read_plane("SEGMENTATION"), table


def assert_identical(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    one, other = found[1], expected[1]
    assert one.colnames == other.colnames
    assert one.meta == other.meta
    for name in one.colnames:
        assert one[name].dtype == other[name].dtype
        assert one[name].unit == other[name].unit
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(other[name]), err_msg=name)


@pytest.fixture
def small_sample(monkeypatch):
    """Noise from cells of the image, as for large ones."""
    monkeypatch.setattr(sampling, "LARGEST_WHOLE", 8000)
    monkeypatch.setattr(sampling, "CELL", 32)


class TestComponents:
    """Labels of tiles, joined."""

    @given(
        hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30)),
        st.integers(1, 45),
        st.integers(0, 2**32 - 1),
    )
    def test_the_partition_and_the_order_are_those_of_the_whole(self, mask, side, seed):
        core = mask & (np.random.default_rng(seed).uniform(size=mask.shape) > 0.7)
        components, numbers = Components(mask.shape), np.zeros(mask.shape, np.int32)
        for window in tiles(mask.shape, side):
            numbers[window.slices] = components.add(window, mask[window.slices], core[window.slices])
        table = components.table()
        labels, count = ndimage.label(mask)
        has_core = np.array([core[labels == label].any() for label in range(1, count + 1)], dtype=bool)
        expected = np.concatenate([[0], np.where(has_core, np.cumsum(has_core), 0)])[labels]
        table = table.keep(table.has_core)
        np.testing.assert_array_equal(table.component[numbers], expected)
        np.testing.assert_array_equal(table.area, np.bincount(expected.ravel())[1:])
        for box, found in zip(table.boxes, ndimage.find_objects(expected), strict=True):
            assert (slice(box[0], box[2]), slice(box[1], box[3])) == found

    def test_small_ones_are_dropped_only_when_whole(self):
        mask = np.zeros((10, 20), dtype=bool)
        mask[4, 4:16] = mask[8, 2:4] = True
        components, numbers = Components(mask.shape, min_area=5), np.zeros(mask.shape, np.int32)
        for window in tiles(mask.shape, 5):
            numbers[window.slices] = components.add(window, mask[window.slices], mask[window.slices])
        assert (numbers[4, 4:16] > 0).all()
        assert not numbers[8].any()


@given(
    background=hnp.arrays(np.float32, (23, 31), elements=st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0, 1.0, np.nan])),
    threshold=st.sampled_from([0.0, 0.3]),
)
def test_a_flooded_region_needs_no_other(background, threshold):
    uncertain = uncertain_pixels(background, threshold)
    whole = flood(background, uncertain)
    regions, count = ndimage.label(uncertain)
    alone = np.zeros_like(whole)
    for label, box in zip(range(1, count + 1), ndimage.find_objects(regions), strict=True):
        near = tuple(slice(max(side.start - 2, 0), side.stop + 2) for side in box)
        alone[near] |= flood(background[near], regions[near] == label)
    np.testing.assert_array_equal(alone, whole)


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 20), st.integers(1, 60), st.integers(0, 99))
def test_every_source_is_in_one_group_with_its_margin(height, width, n, side, seed):
    rng = np.random.default_rng(seed)
    first = np.stack([rng.integers(0, height, n), rng.integers(0, width, n)], axis=1)
    last = np.minimum(first + rng.integers(1, 40, (n, 2)), [height, width])
    boxes, margins = np.concatenate([first, last], axis=1), rng.integers(0, 9, n)
    seen = []
    for group in source_groups(boxes, margins, (height, width), side):
        seen += group.members.tolist()
        (top, left), (bottom, right) = (
            (group.window.y, group.window.x),
            (group.window.y + group.window.height, group.window.x + group.window.width),
        )
        for k in group.members:
            assert top <= max(boxes[k, 0] - margins[k], 0)
            assert left <= max(boxes[k, 1] - margins[k], 0)
            assert bottom >= min(boxes[k, 2] + margins[k], height)
            assert right >= min(boxes[k, 3] + margins[k], width)
    assert sorted(seen) == list(range(n))


def test_the_scratch_file_gives_back_what_was_written(tmp_path):
    rng = np.random.default_rng(0)
    whole = np.zeros((37, 53), np.int32)
    with ScratchFile(whole.shape, tmp_path) as plane:
        assert not list(tmp_path.iterdir()), "it has no name"
        for _ in range(20):
            y, x = rng.integers(0, 30), rng.integers(0, 40)
            window = Window(int(y), int(x), int(rng.integers(1, 37 - y + 1)), int(rng.integers(1, 53 - x + 1)))
            whole[window.slices] = rng.integers(-5, 100, window.shape)
            plane.write(window, whole[window.slices])
        np.testing.assert_array_equal(plane.read(Window(0, 0, 37, 53)), whole)
        np.testing.assert_array_equal(plane.read(Window(3, 5, 30, 7)), whole[3:33, 5:12])


class TestIdentical:
    """Label map and catalogue of blocks against those of the whole image as one, from the public functions."""

    @pytest.mark.parametrize("method", METHODS)
    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        shape=st.tuples(st.sampled_from([67, 97, 131, 151]), st.sampled_from([61, 89, 127, 149])),
        n=st.integers(0, 14),
        tile=st.integers(24, 160),
        seed=st.integers(0, 10**6),
        invalid=st.sampled_from([0.0, 0.02]),
        rms=st.booleans(),
    )
    def test_random_scenes(self, method, small_sample, shape, n, tile, seed, invalid, rms):
        image, maps = scene(blobs(shape, n, seed), seed=seed, invalid=invalid, rms=rms)
        assert_identical(many_blocks(image, maps, method, tile), one_block(image, maps, method))

    @pytest.mark.parametrize("method", METHODS)
    def test_tiles_of_a_larger_field(self, method, small_sample):
        image, maps = scene(blobs((523, 541), 50, 3, widest=9), seed=3, invalid=0.001)
        options = MeasureOptions(structure=False)
        expected = one_block(image, maps, method, measuring=options)
        assert len(expected[1]) > 30
        for tile in (64, 256, 512, 1024):
            assert_identical(many_blocks(image, maps, method, tile, measuring=options), expected)

    @pytest.mark.parametrize("method", METHODS)
    def test_an_empty_image(self, method):
        image, maps = scene(np.zeros((61, 83)))
        maps.probability[...] = maps.vote[...] = (0, 0, 0, 0, 1)
        expected = one_block(image, maps, method)
        assert len(expected[1]) == 0
        assert_identical(many_blocks(image, maps, method, 32), expected)

    @pytest.mark.parametrize("method", METHODS)
    def test_everything_is_one_source(self, method):
        image, maps = scene(np.full((67, 71), 20.0))
        maps.probability[...] = maps.vote[...] = (0.5, 0.5, 0, 0, 0)
        expected = one_block(image, maps, method)
        assert_identical(many_blocks(image, maps, method, 32), expected)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_ring_around_other_sources(self, method, small_sample):
        y, x = np.indices((181, 193))
        ring = 30 * np.exp(-((np.hypot(y - 90, x - 96) - 70) ** 2) / 18)
        image, maps = scene(ring + blobs((181, 193), 12, 5), seed=5)
        expected = one_block(image, maps, method)
        assert_identical(many_blocks(image, maps, method, 41), expected)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_source_of_3000_pixels(self, method):
        y, x = np.indices((61, 3203))
        light = 25 * np.exp(-((y - 30 - 8 * np.sin(x / 200)) ** 2) / 8) * ((x > 100) & (x < 3103))
        image, maps = scene(light + blobs(light.shape, 5, 2), seed=2)
        whole = DeblendingOptions(contrast=1.0)
        labels, table = expected = one_block(image, maps, method, deblending=whole)
        sides = np.array([box[1].stop - box[1].start for box in ndimage.find_objects(labels) if box])
        assert sides.max() > 2990
        np.testing.assert_array_equal((table["flags"] & SourceFlag.TOO_LARGE) > 0, sides > 1024)
        assert_identical(many_blocks(image, maps, method, 256, deblending=whole), expected)

    def test_a_long_source_is_split_the_same(self):
        y, x = np.indices((61, 1203))
        light = 25 * np.exp(-((y - 30 - 8 * np.sin(x / 200)) ** 2) / 8) * (1.2 + np.sin(x / 40))
        image, maps = scene(light, seed=2)
        expected = one_block(image, maps, "probability")
        assert len(expected[1]) >= 5
        assert_identical(many_blocks(image, maps, "probability", 100), expected)

    @pytest.mark.parametrize("measuring", [MeasureOptions(largest_side=20), MeasureOptions.paper()])
    def test_sources_too_long_for_a_stamp(self, measuring, small_sample):
        image, maps = scene(blobs((151, 163), 14, 8, widest=8), seed=8, invalid=0.01)
        expected = one_block(image, maps, "probability", measuring=measuring)
        assert_identical(many_blocks(image, maps, "probability", 40, measuring=measuring), expected)
        if measuring.photometry:
            assert 0 < np.count_nonzero(expected[1]["flags"] & SourceFlag.TOO_LARGE) < len(expected[1])

    @pytest.mark.parametrize("rms", [True, False])
    def test_pieces_that_share_their_pixels(self, rms, small_sample):
        image, maps = scene(blobs((151, 163), 25, 9), seed=9, invalid=0.01, rms=rms)
        sharing = MeasureOptions(deblended_flux=True, structure=False)
        expected = one_block(image, maps, "probability", measuring=sharing)
        assert np.count_nonzero(expected[1]["n_children"]) > 4
        assert_identical(many_blocks(image, maps, "probability", 40, measuring=sharing), expected)

    @pytest.mark.parametrize("band", [None, "F160W"])
    @pytest.mark.parametrize("gone", ["half", "strip", "all"])
    def test_a_band_that_misses_a_part(self, gone, band, small_sample):
        image, maps = scene(blobs((151, 163), 25, 9), seed=9)
        _, x = np.indices(image.shape)
        valid = image.valid.copy()
        valid[:, :, 0] &= ~{"half": x > 70, "strip": (x > 70) & (x < 78), "all": x >= 0}[gone]
        image = replace(image, valid=valid, data=np.where(valid, image.data, 0), rms=np.where(valid, image.rms, 0))
        parents = segment(maps, method="probability")
        labels = deblend(parents, image, method="multithreshold", classification=maps)
        measuring = MeasureOptions(deblended_flux=True, local_background=True)
        given = {"parents": parents, "maps": "probability", "options": measuring, "band": band}
        expected = labels, measure(labels, image, maps, **given)
        assert np.count_nonzero(expected[1]["flags_F160W"]) > 4
        assert np.isfinite(expected[1]["kron_flux_F606W"]).all()
        for tile, workers in ((40, 1), (67, 2), (200, 1)):
            found = many_blocks(image, maps, "probability", tile, measuring=measuring, band=band, workers=workers)
            assert_identical(found, expected)

    @pytest.mark.parametrize("rms", [True, False])
    def test_the_light_must_be_significant(self, rms, small_sample):
        image, maps = scene(blobs((151, 163), 14, 4) * 0.1, seed=4, rms=rms)
        detection = DetectionOptions(seed_threshold=0.5, threshold=0.3, min_area=1, min_snr=25)
        expected = one_block(image, maps, "probability", detection=detection)
        without = segment(maps, method="probability", options=replace(detection, min_snr=0))
        assert 0 < len(np.unique(expected[1]["parent_label"])) < without.max()
        assert_identical(many_blocks(image, maps, "probability", 40, detection=detection), expected)

    def test_class_maps_on_disk(self, tmp_path, small_sample):
        image, maps = scene(blobs((97, 131), 10, 6), seed=6)
        expected = one_block(image, maps, "probability")
        with MapFile(tmp_path / "m.fits", image.shape, KINDS, wcs=image.wcs, provenance=maps.provenance) as stored:
            stored.write(Window(0, 0, *image.shape), maps)
            table = make_catalog(open_image(image), stored, SourceOptions(), tile=50, scratch=tmp_path)
            labels = stored.read_plane("SEGMENTATION")
        assert_identical((labels, table), expected)
        assert [path.name for path in tmp_path.iterdir()] == ["m.fits"]

    @pytest.mark.parametrize("method", METHODS)
    def test_workers_share_the_sources(self, tmp_path, method, small_sample):
        image, maps = scene(blobs((131, 149), 16, 7), seed=7)
        expected = one_block(image, maps, method)
        for band in image.bands:
            plane = image.data[:, :, image.index(band)]
            fits.writeto(tmp_path / f"{band}.fits", plane, header=image.wcs.to_header())
        paths = {band: tmp_path / f"{band}.fits" for band in image.bands}
        stored = MapFile(tmp_path / "m.fits", image.shape, KINDS, wcs=image.wcs, provenance=maps.provenance)
        with stored, open_image(paths, zero_points={"F160W": 25.9}) as source:
            in_files = one_block(source.read(), maps, method)
            stored.write(Window(0, 0, *image.shape), maps)
            table = make_catalog(source, stored, SourceOptions(method), tile=40, workers=2)
            assert_identical((stored.read_plane("SEGMENTATION"), table), in_files)
        assert_identical(many_blocks(image, maps, method, 40, workers=3), expected)
        before = segment(maps, method=method, image=image)
        again = measure(
            expected[0], image, maps, parents=before, maps="vote" if method == "paper" else "probability", workers=2
        )
        assert_identical((expected[0], again), expected)

    def test_progress_goes_on_to_the_end(self):
        image, maps = scene(blobs((97, 131), 10, 6), seed=6)
        seen = []
        many_blocks(image, maps, "probability", 50, progress=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (1000, 1000) and seen == sorted(seen)
        assert len(set(seen)) > 4


def test_memory_chooses_the_tile():
    image, _ = scene(np.zeros((40, 50)))
    maps = MemoryMaps((40, 50), KINDS)
    sides = [block_side_in(open_image(image), maps, memory) for memory in (2 * 10**8, 5 * 10**8, 10**10, None)]
    assert sides == sorted(sides)
    assert sides[-1] == sides[-2] == 1024
    assert sides[0] < sides[1] < 1024
    assert block_side_in(open_image(image), maps, 10**9, workers=4) < block_side_in(open_image(image), maps, 10**9)


class TestBadInput:
    """What cannot be done is said at the door."""

    def maps(self, shape, kinds=KINDS):
        return MemoryMaps(shape, kinds)

    def test_another_shape(self):
        image, _ = scene(np.zeros((40, 50)))
        with pytest.raises(InputError, match=r"\(50, 40\)"):
            make_catalog(open_image(image), self.maps((50, 40)), SourceOptions())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "magic"}, "magic"),
            ({"tile": 0}, "tile"),
            ({"method": "paper"}, "votes"),
            ({"memory": 10**7}, "at least [0-9]+ MB"),
        ],
    )
    def test_impossible_options(self, options, message):
        image, _ = scene(np.zeros((40, 50)))
        with pytest.raises(OptionError, match=message):
            how = SourceOptions(options.pop("method", "probability"))
            make_catalog(open_image(image), self.maps((40, 50), ("mean", "coverage")), how, **options)
