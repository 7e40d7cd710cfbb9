"""Uncertainty from the eight orientations of a tile."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morpheus_lite.symmetries import entropy, predict_symmetric


def softmax(score):
    odds = np.exp(score - score.max(axis=-1, keepdims=True))
    return (odds / odds.sum(axis=-1, keepdims=True)).astype(np.float32)


def pixelwise(snr, valid):
    """A network that looks at single pixels: the same in every orientation."""
    return softmax((snr * valid) @ np.array([[1, -1, 0, 2, 0.5], [0, 1, 3, -2, 0]], np.float32))


def lopsided(snr, valid):
    """One that looks at its neighbours to the right and above, too, and not alike."""
    return pixelwise(snr + 2 * np.roll(snr, -1, axis=2) + np.roll(snr, -1, axis=1), valid)


def tile(seed, shape=(2, 8, 12, 2)):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, shape).astype(np.float32), rng.uniform(size=shape) > 0.1


def test_a_symmetric_network_has_no_doubts_of_its_own():
    snr, valid = tile(1)
    found = predict_symmetric(pixelwise, snr, valid)
    np.testing.assert_allclose(found.probability, pixelwise(snr, valid), atol=1e-6)
    np.testing.assert_allclose(found.aleatoric, entropy(pixelwise(snr, valid)), atol=1e-6)
    assert found.epistemic.max() < 1e-6


@given(seed=st.integers(0, 1000), height=st.integers(1, 5), width=st.integers(1, 5))
def test_the_parts_add_up_to_the_whole(seed, height, width):
    found = predict_symmetric(lopsided, *tile(seed, (1, height, width, 2)))
    assert found.aleatoric.min() >= 0 and found.epistemic.min() >= 0
    total = found.aleatoric + found.epistemic
    np.testing.assert_allclose(total, entropy(found.probability), atol=2e-6)
    assert total.max() <= 1 + 1e-6
    np.testing.assert_allclose(found.probability.sum(axis=-1), 1, atol=1e-5)


def test_it_is_the_mean_over_all_orientations():
    snr, valid = tile(3)
    members = []
    for flip in (lambda a: a, lambda a: a[:, ::-1]):
        for transpose in (lambda a: a, lambda a: a.swapaxes(1, 2)):
            for mirror in (lambda a: a, lambda a: a[:, :, ::-1]):
                answer = lopsided(*(transpose(flip(mirror(a))) for a in (snr, valid)))
                members.append(mirror(flip(transpose(answer))))
    members = np.array(members)
    assert len(np.unique(members.round(4).reshape(8, -1), axis=0)) == 8
    found = predict_symmetric(lopsided, snr, valid)
    np.testing.assert_allclose(found.probability, members.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.aleatoric, entropy(members).mean(axis=0), atol=1e-6)
    assert found.epistemic.max() > 0.01


def test_turning_the_sky_turns_the_answer():
    snr, valid = tile(4)
    found = predict_symmetric(lopsided, snr, valid)
    turned = predict_symmetric(lopsided, *(np.rot90(a, axes=(1, 2)) for a in (snr, valid)))
    np.testing.assert_allclose(np.rot90(found.epistemic, axes=(1, 2)), turned.epistemic, atol=1e-6)


def test_a_margin_that_is_cut_off_does_not_matter():
    snr, valid = tile(5)
    inner = predict_symmetric(lambda s, v: pixelwise(s, v)[:, 2:-2, 2:-2], snr, valid)
    whole = predict_symmetric(pixelwise, snr, valid)
    np.testing.assert_allclose(inner.probability, whole.probability[:, 2:-2, 2:-2], atol=1e-6)


def test_entropy_goes_from_one_class_to_all_alike():
    assert entropy(np.eye(5, dtype=np.float32)).max() == 0
    assert entropy(np.full(5, 0.2, np.float32)) == pytest.approx(1)
