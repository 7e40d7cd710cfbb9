"""An image classified in one pass: the same result however it is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.errors import InputError
from morpheus_lite.inference.network_input import WIDEST_GAP, align_bands, bridged
from morpheus_lite.inference.one_pass import OnePass, tiles
from morpheus_lite.io import open_image
from morpheus_lite.io.maps import MemoryMaps


class BoxModel:
    """A stand-in for a network: means over squares of the halo, pooled in cells of ``factor`` pixels."""

    name, sha256, classes, halo, factor = "box", "0" * 64, CLASSES, 8, 4

    def __init__(self, bands=()):
        self.bands = bands

    def predict(self, snr, valid):
        """Five numbers that depend on everything within the halo, and on position modulo the factor."""
        x = (np.arcsinh(snr) * valid).sum(axis=-1)
        n, height, width = x.shape
        cells = x.reshape(n, height // 4, 4, width // 4, 4).max(axis=(2, 4)).repeat(4, axis=1).repeat(4, axis=2)
        wide = np.pad(cells, ((0, 0), (4, 4), (4, 4)))
        wide = np.lib.stride_tricks.sliding_window_view(wide, (9, 9), axis=(1, 2)).sum(axis=(-1, -2))
        return np.stack([x, cells, wide, x * wide, np.ones_like(x)], axis=-1).astype(np.float32)

    def predict_inner(self, snr, valid):
        """The same without the halo."""
        return self.predict(snr, valid)[:, self.halo : -self.halo, self.halo : -self.halo]

    def bytes_per_pixel(self, n_bands):
        """As a network would say."""
        return 100.0 * n_bands

    def release(self):
        """Nothing is kept."""


def classify_tiles(image, model, *, progress=None, **options):
    inferer = OnePass(model, **options)
    maps = MemoryMaps(image.shape, inferer.kinds, wcs=image.wcs, provenance=inferer.record)
    inferer.fill(open_image(image), maps, progress=progress)
    return maps.read()


def sky(shape, bands=("A", "B"), seed=0):
    rng = np.random.default_rng(seed)
    data = rng.normal(1, 3, (*shape, len(bands))).astype(np.float32)
    return SkyImage(data, bands, np.ones(data.shape, bool))


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 150), st.integers(8, 150), st.integers(1, 100))
def test_tiles_make_no_difference(height, width, tile):
    image = sky((height, width))
    rng = np.random.default_rng(tile)
    if min(height, width) > 20:  # of fewer pixels the noise could not be measured
        image.valid[rng.random(image.valid.shape) < 0.05] = False
        image.valid[:, rng.integers(width) :][:, : rng.integers(1, 6), 0] = False
    whole = classify_tiles(image, BoxModel(), tile=200)
    cut = classify_tiles(image, BoxModel(), tile=tile)
    np.testing.assert_array_equal(cut.probability, whole.probability)
    np.testing.assert_array_equal(whole.coverage, image.valid.any(axis=2))


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.integers(2, 100))
def test_tiles_cover_every_pixel_once(height, width, tile):
    count = np.zeros((height, width), int)
    for window in tiles((height, width), tile):
        count[window.slices] += 1
    assert (count == 1).all()


@given(st.integers(1, 5), st.floats(-3, 3), st.floats(-3, 3))
def test_narrow_gaps_are_bridged_by_straight_lines(width, along, across):
    y, x = np.mgrid[:30, :40]
    plane = (along * y + across * x).astype(np.float32)
    snr, valid = np.stack([plane, plane], axis=-1), np.ones((30, 40, 2), bool)
    valid[:, 15 : 15 + width, 0] = False
    valid[12, 30], valid[0, 0], valid[20:, 36:, 1] = False, False, False
    filled, shown = bridged(np.where(valid, snr, 99), valid)
    narrow = ~valid
    narrow[:, 15 : 15 + width, 0] &= width <= WIDEST_GAP
    narrow[0, 0], narrow[20:, 36:, 1] = False, False
    np.testing.assert_allclose(filled[valid | narrow], snr[valid | narrow], atol=1e-4)
    distance = np.stack([ndimage.distance_transform_edt(~valid[..., band]) for band in (0, 1)], axis=-1)
    np.testing.assert_array_equal(shown, narrow | (distance <= 2))


def test_wide_gaps_are_mirrored_at_their_edges():
    y, x = np.mgrid[:20, :30]
    snr, valid = (3.0 * x + y)[..., None].astype(np.float32), (x < 10)[..., None]
    filled, shown = bridged(snr * valid, valid)
    np.testing.assert_array_equal(shown[..., 0], x < 12)
    np.testing.assert_array_equal(filled[:, 10:12], snr[:, [9, 8]])
    # Across the edge of a triangle, pixels of both legs stand for the corner between them.
    valid = (x + y < 20)[..., None]
    filled, shown = bridged(snr * valid, valid)
    assert shown[10, 10] and filled[10, 10, 0] == (snr[9, 10, 0] + snr[10, 9, 0]) / 2
    assert shown[11, 10] and filled[11, 10, 0] == snr[10, 9, 0]
    assert not shown[12, 11] and not shown[0, 22]


def test_bands_without_gaps_are_left_as_they_are():
    snr, valid = np.ones((9, 9, 2), np.float32), np.ones((9, 9, 2), bool)
    valid[..., 1] = False
    assert bridged(snr, valid)[0] is snr


def test_pixels_without_any_band_are_not_classified():
    image = sky((60, 70))
    image.valid[10:20, 10:20] = False
    image.valid[30:40, :, 1] = False
    result = classify_tiles(image, BoxModel(), tile=16)
    assert np.isnan(result.probability[10:20, 10:20]).all() and np.isfinite(result.probability[30:40]).all()
    assert (result.flags[30:40] == 1).all() and (result.flags[10:20, 10:20] == 3).all() and not result.flags[0, 0]
    np.testing.assert_array_equal(result.coverage == 0, np.isnan(result.probability).any(axis=2))


def test_empty_tiles_are_skipped():
    image = sky((64, 64))
    image.valid[:32] = False
    calls = []
    model = BoxModel()
    predict = model.predict_inner
    model.predict_inner = lambda *arrays: calls.append(1) or predict(*arrays)
    classify_tiles(image, model, tile=16)
    assert len(calls) == 8


def test_bands_are_matched_by_name_and_missing_ones_are_invalid():
    image = sky((40, 40), bands=("F606W", "F160W"))
    aligned = align_bands(image, ("F160W", "F125W", "F606W"))
    np.testing.assert_array_equal(aligned.data[..., 0], image.data[..., 1])
    assert aligned.valid.all(axis=(0, 1)).tolist() == [True, False, True] and not aligned.data[..., 1].any()
    assert align_bands(image, ()) is image
    with pytest.raises(InputError, match="none of F814W"):
        align_bands(image, ("F814W",))
    with pytest.raises(InputError, match="without names"):
        align_bands(sky((9, 9), bands=("1", "2")), ("F160W",))


def test_progress_counts_tiles():
    seen = []
    classify_tiles(sky((33, 16)), BoxModel(), tile=16, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
