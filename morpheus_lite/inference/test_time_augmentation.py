"""How sure a network is of itself: its answers to one tile seen in eight orientations.

The sky has no up or down, so a network should answer the same however a tile is turned and mirrored. Where its eight
answers agree on several classes, the light itself does not tell (aleatoric); where each is sure and they contradict one
another, the network does not know (epistemic).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

N_SYMMETRIES = 8
"""Calls of the network for a tile: four turns, each as it is and mirrored."""

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]

_FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of a batch, and how sure it is of itself if it was asked in eight orientations.

    Parameters
    ----------
    probability : numpy.ndarray
        float32, shape ``(n, y, x, class)``: mean over the orientations.
    aleatoric : numpy.ndarray or None
        float32, shape ``(n, y, x)``: mean entropy of the orientations' answers, over the largest there is: 0 when each
        is sure of one class, 1 when each holds all classes for equally probable.
    epistemic : numpy.ndarray or None
        float32, shape ``(n, y, x)``: entropy of ``probability``, on the same scale, minus ``aleatoric``; not negative,
        and 0 where all answers are the same.
    """

    probability: np.ndarray
    aleatoric: np.ndarray | None = None
    epistemic: np.ndarray | None = None


def predict_once(predict: Predict, snr: np.ndarray, valid: np.ndarray) -> Prediction:
    """Ask a network once, as the tile lies."""
    return Prediction(predict(snr, valid))


def predict_symmetric(predict: Predict, snr: np.ndarray, valid: np.ndarray) -> Prediction:
    """Ask a network eight times.

    Parameters
    ----------
    predict : callable
        From S/N and validity to probabilities ``(n, y', x', class)``, with the same margin cut off on each side, or
        none.
    snr, valid : numpy.ndarray
        float32 and bool, shape ``(n, y, x, band)``. Sides that are multiples of the network's pooling stay so when
        turned, so the answers fit together pixel by pixel.

    Returns
    -------
    Prediction

    Notes
    -----
    The entropy of the mean is the mean entropy plus the mutual information of class and orientation (Depeweg et al.
    2018, ICML), which is the part that is due to the network. Eight orientations of one network see less of it than an
    ensemble of networks would. The order of the sums is fixed, so the result does not depend on anything else.
    """
    probability: np.ndarray = np.zeros((), np.float32)
    entropy_of_members = probability
    for turns in range(4):
        for mirrored in (False, True):
            answer = predict(_turned(snr, turns, mirrored), _turned(valid, turns, mirrored))
            member = _turned_back(answer, turns, mirrored)
            probability = probability + member / np.float32(N_SYMMETRIES)
            entropy_of_members = entropy_of_members + entropy(member) / np.float32(N_SYMMETRIES)
    epistemic = np.maximum(entropy(probability) - entropy_of_members, 0)
    return Prediction(probability, entropy_of_members, epistemic)


def entropy(probability: np.ndarray) -> np.ndarray:
    """Entropy over the last axis, divided by its largest value: float32, 0 (one class) to 1 (all alike)."""
    logarithm = np.log(np.maximum(probability, np.float32(_FLOOR)))
    return -(probability * logarithm).sum(axis=-1) / np.float32(np.log(probability.shape[-1]))


def _turned(batch: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    turned = np.rot90(batch, turns, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)


def _turned_back(batch: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    return np.rot90(batch[:, :, ::-1] if mirrored else batch, -turns, axes=(1, 2))
