"""The loop stitches what it is given, counts what it should, and gives a region as it gives the whole."""

import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Tiling, Window
from morpheus_lite.errors import InputError, ModelError, OptionError
from morpheus_lite.inference.sliding_window import classify_region


@dataclass
class Identity:
    """A model whose classes are the bands."""

    name: str = "identity"
    sha256: str = "0" * 64
    classes: tuple = ("a", "b", "c")
    window: int = 10
    margin: int = 2
    stride: int = 3

    def prepare(self, windows, valid):
        return windows if valid is None else np.where(valid, windows, np.float32(0.5))

    def predict(self, batch):
        return batch

    def predict_inner(self, batch):
        m = self.margin
        return self.predict(batch)[:, m : self.window - m, m : self.window - m]


class Neighbourly(Identity):
    """A model whose answer depends on the whole window and on the place in it."""

    def predict(self, batch):
        mean = batch.mean(axis=(1, 2), keepdims=True)
        ramp = np.linspace(0, 0.1, self.window, dtype=np.float32)
        return np.clip((batch + mean) / 2.5 + ramp[:, None, None] * ramp[:, None], 0, 1)


def classify_windows(image, model, *, stride=None, edges="classify", **options):
    tiling = Tiling(image.shape, model.window, model.stride if stride is None else stride, model.margin, edges)
    return classify_region(image, model, tiling, Window(0, 0, *image.shape), **options)


def image_of(shape, n_bands=3, seed=0, invalid=()):
    data = np.random.default_rng(seed).uniform(size=(*shape, n_bands)).astype(np.float32)
    valid = np.ones(data.shape, bool)
    for y, x in invalid:
        valid[y, x] = False
        data[y, x] = 0
    return SkyImage(data, tuple("abc")[:n_bands], valid)


def assert_same(one, other):
    for label in ("probability", "variance", "vote", "coverage", "flags", "valid"):
        np.testing.assert_array_equal(getattr(one, label), getattr(other, label), err_msg=label)


@st.composite
def cases(draw):
    window = draw(st.integers(2, 12))
    margin = draw(st.integers(0, (window - 1) // 2))
    stride = draw(st.integers(1, window - 2 * margin))
    shape = tuple(draw(st.integers(window, 3 * window)) for _ in range(2))
    return Identity(window=window, margin=margin, stride=stride), shape, draw(st.sampled_from(["classify", "leave"]))


@given(cases(), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_identity_gives_back_the_image(case, batch_size):
    model, shape, edges = case
    image = image_of(shape)
    result = classify_windows(image, model, edges=edges, batch_size=batch_size, workers=1)
    windows = Tiling(shape, model.window, model.stride, model.margin, edges).windows()
    rows, columns = np.mgrid[: shape[0], : shape[1]][:, :, :, None]
    inside = (rows >= windows.y + windows.top) & (rows < windows.y + windows.bottom)
    inside &= (columns >= windows.x + windows.left) & (columns < windows.x + windows.right)
    np.testing.assert_array_equal(result.coverage, inside.sum(axis=-1))
    np.testing.assert_array_equal(result.probability[result.classified], image.data[result.classified])
    assert np.isnan(result.probability[~result.classified]).all()
    np.testing.assert_allclose(result.variance[result.classified], 0, atol=1e-11)
    if edges == "classify":
        assert result.classified.all()


@given(cases(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_region_is_that_part_of_the_whole(case, data):
    identity, shape, edges = case
    model = Neighbourly(window=identity.window, margin=identity.margin, stride=identity.stride)
    n_invalid = data.draw(st.integers(0, 3))
    invalid = [tuple(data.draw(st.integers(0, length - 1)) for length in shape) for _ in range(n_invalid)]
    image = image_of(shape, invalid=invalid)
    tiling = Tiling(shape, model.window, model.stride, model.margin, edges)
    border = model.margin if edges == "leave" else 0
    y, x = (data.draw(st.integers(border, length - 1 - border)) for length in shape)
    region = Window(y, x, data.draw(st.integers(1, shape[0] - y)), data.draw(st.integers(1, shape[1] - x)))
    whole = classify_windows(image, model, edges=edges, workers=1)
    part = classify_region(image.cutout(tiling.reach(region)), model, tiling, region, workers=1)
    assert part.shape == region.shape
    for label in ("probability", "variance", "vote", "coverage", "flags", "valid"):
        np.testing.assert_array_equal(getattr(part, label), getattr(whole, label)[region.slices], err_msg=label)


@pytest.mark.parametrize("batch_size", [1, 7, 500])
@pytest.mark.parametrize("workers", [1, 3])
def test_batches_and_workers_change_nothing(batch_size, workers):
    image, model = image_of((41, 37), invalid=[(20, 20)]), Neighbourly()
    expected = classify_windows(image, model, batch_size=48, workers=2)
    assert_same(classify_windows(image, model, batch_size=batch_size, workers=workers), expected)


def test_every_call_has_the_same_number_of_windows():
    seen = set()

    class Watching(Identity):
        def predict(self, batch):
            seen.add(batch.shape)
            return batch

    classify_windows(image_of((31, 33)), Watching(), batch_size=16)
    assert seen == {(16, 10, 10, 3)}


def test_only_windows_with_an_invalid_pixel_feel_it():
    model, shape = Neighbourly(), (60, 60)
    clean, holed = image_of(shape), image_of(shape, invalid=[(30, 31), (30, 32)])
    with_hole, without = (classify_windows(image, model, stride=2) for image in (holed, clean))
    near = with_hole.flags & PixelFlag.NEAR_INVALID > 0
    far = ~near & with_hole.valid
    for label in ("probability", "variance", "vote", "coverage"):
        np.testing.assert_array_equal(getattr(with_hole, label)[far], getattr(without, label)[far])
    assert not (near & ~with_hole.valid).any()
    assert near[30, 30] and near[25, 25] and not near[30, 10] and not near[10, 30]
    assert (with_hole.probability[near] != without.probability[near]).any(axis=1).mean() > 0.9


def test_invalid_pixels_have_no_value_and_are_flagged():
    image = image_of((40, 40), invalid=[(5, 6)])
    image.valid[20, 21, 1] = False  # in one band only
    result = classify_windows(image, Identity())
    for y, x in ((5, 6), (20, 21)):
        assert result.coverage[y, x] == 0
        assert not result.valid[y, x]
        assert result.flags[y, x] == PixelFlag.INVALID | PixelFlag.NOT_CLASSIFIED
        for maps in (result.probability, result.variance, result.vote):
            assert np.isnan(maps[y, x]).all()
    assert np.isfinite(result.probability[result.valid]).all()


def test_windows_without_a_valid_pixel_are_not_predicted():
    image, done = image_of((60, 60)), []
    image.valid[:, :40] = False
    result = classify_windows(image, Identity(), stride=5, progress=lambda n, total: done.append((n, total)))
    assert done[-1][0] == done[-1][1] < len(Tiling((60, 60), 10, 5, 2).windows())
    np.testing.assert_array_equal(result.classified, image.valid_in_all)


def test_an_image_without_a_valid_pixel_is_all_invalid():
    image = image_of((20, 20))
    image.valid[:] = False
    result = classify_windows(image, Identity())
    assert not result.classified.any()
    assert (result.flags == PixelFlag.INVALID | PixelFlag.NOT_CLASSIFIED).all()


def test_border_is_flagged_as_left_or_as_thin():
    image = image_of((60, 60))
    left = classify_windows(image, Identity(), stride=1, edges="leave").flags
    assert (left[:2] == PixelFlag.NOT_CLASSIFIED).all()
    assert left[2, 30] == PixelFlag.LOW_COVERAGE
    assert left[30, 30] == 0
    classified = classify_windows(image, Identity(), stride=1).flags
    assert classified[0, 0] == PixelFlag.LOW_COVERAGE
    assert not (classified & PixelFlag.NOT_CLASSIFIED).any()


def test_several_calls_run_at_a_time():
    meeting = threading.Barrier(2, timeout=20)

    class Meeting(Identity):
        def predict(self, batch):
            meeting.wait()
            return batch

    classify_windows(image_of((10, 13)), Meeting(stride=1, margin=0), batch_size=1, workers=3, edges="leave")


def test_an_error_in_the_model_stops_the_run():
    calls = []

    class Failing(Identity):
        def predict(self, batch):
            calls.append(len(batch))
            raise RuntimeError("no more memory")

    with pytest.raises(RuntimeError, match="no more memory"):
        classify_windows(image_of((60, 60)), Failing(), stride=1, batch_size=1, workers=2)
    assert len(calls) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("morpheus")]


def test_progress_counts_windows():
    seen = []
    classify_windows(image_of((31, 45)), Identity(), batch_size=8, progress=lambda n, total: seen.append((n, total)))
    total = len(Tiling((31, 45), 10, 3, 2).windows())
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_result_says_where_it_comes_from():
    image = replace(image_of((20, 22)), wcs=WCS(naxis=2))
    image.wcs.wcs.crpix = 5, 7
    result = classify_windows(image, Identity(), stride=4, edges="leave")
    assert result.provenance == {
        "model": "identity", "sha256": "0" * 64, "window": 10, "margin": 2, "stride": 4, "edges": "leave",
    }  # fmt: skip
    tiling = Tiling((20, 22), 10, 4, 2)
    region = Window(6, 3, 4, 5)
    part = classify_region(image.cutout(tiling.reach(region)), Identity(), tiling, region)
    np.testing.assert_allclose(part.wcs.wcs.crpix, (5 - 3, 7 - 6))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"stride": 7}, OptionError, "stride 7 leaves holes"),
        ({"stride": 0}, OptionError, "between 1 and 6"),
        ({"edges": "ignore"}, OptionError, "edges='ignore'"),
    ],
)
def test_impossible_options(change, error, message):
    with pytest.raises(error, match=message):
        classify_windows(image_of((20, 20)), Identity(), **change)


def test_wrong_shapes_are_named():
    tiling = Tiling((60, 60), 10, 3, 2)
    with pytest.raises(InputError, match=r"\(60, 60\) px.*see \(16, 16\) px"):
        classify_region(image_of((60, 60)), Identity(), tiling, Window(20, 20, 5, 5))
    with pytest.raises(InputError, match="smaller than one window"):
        classify_windows(image_of((9, 60)), Identity())

    class Wrong(Identity):
        def predict(self, batch):
            return batch[..., :2]

    with pytest.raises(ModelError, match=r"answered with shape .*expected \(.*6, 6, 3\)"):
        classify_windows(image_of((60, 60)), Wrong())
