"""Gaps between pixels with data."""

import numpy as np

from morpheus_lite.core.gaps import Gaps, fill_gaps


def test_every_missing_pixel_knows_both_ends_of_its_gaps():
    missing = np.zeros((6, 7), bool)
    missing[2:4, 1:4] = missing[0, 6] = True
    gaps = Gaps.of(missing)
    pixels = dict(zip(zip(gaps.y.tolist(), gaps.x.tolist(), strict=True), range(7), strict=True))
    inside, corner = pixels[3, 2], pixels[0, 6]
    assert gaps.before[:, inside].tolist() == [1, 0]
    assert gaps.after[:, inside].tolist() == [4, 4]
    assert gaps.widths[:, inside].tolist() == [2, 3]
    assert gaps.before[:, corner].tolist() == [-1, 5]
    assert gaps.after[1, corner] == 7
    assert (gaps.widths[:, corner] > 1e6).all(), "the gap goes on to the edge"


def test_lines_go_along_the_narrower_side():
    missing = np.zeros((6, 7), bool)
    missing[2:4, 1:4] = True
    y, x = np.indices(missing.shape)
    plane = np.where(missing, 99.0, 10 * y + x**2)
    np.testing.assert_allclose(Gaps.of(missing).straight(plane), (10 * y + x**2)[missing])


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
