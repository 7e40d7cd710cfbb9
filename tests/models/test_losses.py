"""What training minimises."""

import numpy as np
import pytest

from morpheus_lite.core.classes import BACKGROUND, CLASSES
from morpheus_lite.models.losses import LOSSES, cross_entropy_dice_loss, factored_loss

rng = np.random.default_rng(3)
LOGITS = rng.normal(0, 2, (2, 6, 7, len(CLASSES))).astype(np.float32)
TARGET = rng.dirichlet(np.full(len(CLASSES), 0.3), (2, 6, 7)).astype(np.float32)
ONES = np.ones((2, 6, 7, 2), np.float32)


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def test_factored_loss_with_equal_weights_is_cross_entropy():
    expected = -(TARGET * np.log(softmax(LOGITS))).sum(axis=-1).mean()
    assert float(factored_loss(LOGITS, TARGET, ONES)) == pytest.approx(expected, rel=1e-5)


def test_factored_loss_parts_have_their_own_weights():
    only_classes = ONES * np.array([0, 1], np.float32)
    moved = LOGITS.copy()
    moved[..., BACKGROUND] += 3
    assert float(factored_loss(LOGITS, TARGET, only_classes)) == pytest.approx(
        float(factored_loss(moved, TARGET, only_classes)), rel=1e-5
    )
    only_detection = ONES * np.array([1, 0], np.float32)
    swapped = LOGITS[..., [1, 0, 2, 3, 4]]
    assert float(factored_loss(swapped, TARGET, only_detection)) == pytest.approx(
        float(factored_loss(LOGITS, TARGET, only_detection)), rel=1e-5
    )


def test_paper_loss_matches_its_formula():
    weights = 1 / TARGET.mean(axis=(0, 1, 2))
    balance = weights[TARGET.argmax(axis=-1)]
    p = softmax(LOGITS)
    entropy = -(TARGET * np.log(p)).sum(axis=-1)
    expected = (entropy * balance).sum() / balance.sum()
    sky, said = TARGET[..., BACKGROUND], p[..., BACKGROUND]
    expected += 1 - 2 * (sky * said).sum() / (sky + said).sum()
    assert float(cross_entropy_dice_loss(LOGITS, TARGET, ONES)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_of_weight_zero_do_not_count(name):
    weight = ONES.copy()
    weight[:, :3] = 0
    spoilt = LOGITS.copy()
    spoilt[:, :3] = 50
    loss = LOSSES[name]
    assert float(loss(spoilt, TARGET, weight)) == pytest.approx(float(loss(LOGITS, TARGET, weight)), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_the_truth_is_the_minimum(name):
    target = np.eye(len(CLASSES), dtype=np.float32)[TARGET.argmax(axis=-1)]
    loss = LOSSES[name]
    assert float(loss(20 * target, target, ONES)) < 1e-3 < float(loss(LOGITS, target, ONES))
