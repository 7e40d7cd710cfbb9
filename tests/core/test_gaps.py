"""Gaps between pixels with data."""

import numpy as np

from morpheus_lite.core.labels import Gaps, fill_gaps


def test_every_missing_pixel_knows_both_ends_of_its_gaps():
    missing = np.zeros((6, 7), bool)
    missing[2:4, 1:4] = missing[0, 6] = True
    gaps = Gaps.of(missing)
    pixels = dict(zip(zip(gaps.y.tolist(), gaps.x.tolist(), strict=True), range(7), strict=True))
    inside, corner = pixels[3, 2], pixels[0, 6]
    assert gaps.back[:, inside].tolist() == [2, 2, 2, 2]
    assert gaps.on[:, inside].tolist() == [1, 2, 1, 1]
    np.testing.assert_allclose(gaps.widths[:, inside], [2, 3, 8**0.5, 8**0.5])
    assert gaps.back[:, corner].tolist() == [1, 1, 1, 1]
    assert (gaps.widths[:, corner] > 1e6).all(), "the gap goes on to the edge"


def test_lines_go_along_the_narrowest_side():
    missing = np.zeros((6, 9), bool)
    missing[2:4, 1:8] = True
    y, x = np.indices(missing.shape)
    plane = np.where(missing, 99.0, 10 * y + x**2)
    lines = Gaps.of(missing).straight(plane).reshape(2, 7)
    np.testing.assert_allclose(lines[:, 1:-1], (10 * y + x**2)[2:4, 2:7])
    # A diagonal crosses the corners of the gap in one step.
    assert lines[0, 0] == (plane[1, 2] + plane[3, 0]) / 2 and lines[1, 6] == (plane[4, 6] + plane[2, 8]) / 2


def test_slanted_gaps_are_crossed_at_right_angles():
    y, x = np.indices((30, 30))
    missing, plane = np.abs(x - y) <= 3, (3.0 * x - 2 * y)
    gaps = Gaps.of(missing)
    middle = (gaps.y == gaps.x) & (gaps.y > 5) & (gaps.y < 25)
    np.testing.assert_allclose(gaps.widths[3, middle], 3 * 2**0.5)
    assert (gaps.widths.min(axis=0)[middle] == gaps.widths[3, middle]).all()
    np.testing.assert_allclose(gaps.straight(plane)[middle], plane[missing][middle])
    labels = np.where(np.hypot(x - 15, y - 15) < 4, 4, 0) * ~missing
    filled, _ = fill_gaps(labels, missing)
    assert filled[15, 15] == filled[16, 16] == 4 and filled[25, 25] == 0


def test_light_curves_across_a_gap_where_it_is_clear():
    y, x = np.indices((21, 21))
    star = 100 * np.exp(-((x - 10.3) ** 2 + (y - 9.8) ** 2) / 6)
    missing = (x >= 9) & (x <= 11)
    labels = np.where((star > 1) & ~missing, 1, 0)
    seen = np.where(missing, 0, star)
    _, straight = fill_gaps(labels, missing, seen)
    _, curved = fill_gaps(labels, missing, seen, floor=0.5)
    inside = missing & (np.abs(y - 10) < 4)
    np.testing.assert_allclose(curved[inside], star[inside], rtol=1e-6)
    assert straight[10, 10] < 0.6 * star[10, 10]
    # Faint light has no curvature that noise would not make.
    _, faint = fill_gaps(labels, missing, seen, floor=100.0)
    np.testing.assert_array_equal(faint, straight)


def test_gaps_of_a_source_are_its_own():
    labels = np.zeros((12, 12), np.int32)
    labels[1:6, 1:6], labels[7:12, 7:12] = 5, 7
    missing = np.zeros(labels.shape, bool)
    missing[3, :] = missing[:, 3] = missing[:, 9] = True
    light = np.where(labels > 0, 2.0, 0)
    light[missing] = labels[missing] = 0
    filled, shining = fill_gaps(labels, missing, light)
    assert (filled[1:6, 1:6] == 5).all(), "with the pixel where both cross"
    assert (filled[7:12, 8:11] == np.array([7, 7, 7])).all()
    assert np.count_nonzero(filled) == 50
    assert (shining[filled > 0] == 2).all()
    assert not labels[missing].any()
