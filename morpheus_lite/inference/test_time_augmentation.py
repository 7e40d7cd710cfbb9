"""Test-time augmentation: the answers of a network to one tile seen in eight orientations, and how they differ.

The sky has no up or down, so a network should answer the same however a tile is turned and mirrored. The entropy of the
mean answer says how unsure the class of a pixel is; the disagreement is the part of it that is there because the eight
answers contradict one another. It is no uncertainty of the model: that would take an ensemble of networks.
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
    """Probabilities of a batch; with eight orientations also their entropy and disagreement.

    Parameters
    ----------
    probability : numpy.ndarray
        float32, shape ``(n, y, x, class)``: mean over the orientations.
    entropy : numpy.ndarray or None
        float32, shape ``(n, y, x)``: entropy of ``probability``, over the largest there is: 0 for one sure class, 1
        where all classes are equally probable.
    tta_disagreement : numpy.ndarray or None
        float32, shape ``(n, y, x)``: ``entropy`` minus the mean entropy of the eight answers: 0 where all of them are
        the same, and never more than ``entropy``.
    """

    probability: np.ndarray
    entropy: np.ndarray | None = None
    tta_disagreement: np.ndarray | None = None


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
    The disagreement is the mutual information of class and orientation: the entropy of the mean minus the mean entropy.
    Over the members of an ensemble it would measure what the network does not know (Depeweg et al. 2018, ICML); over
    orientations it does not (Wang et al. 2019, Neurocomputing 338, 34). The order of the sums is fixed, so the result
    does not depend on anything else.
    """
    probability: np.ndarray = np.zeros((), np.float32)
    entropy_of_members = probability
    for turns in range(4):
        for mirrored in (False, True):
            answer = predict(_turned(snr, turns, mirrored), _turned(valid, turns, mirrored))
            member = _turned_back(answer, turns, mirrored)
            probability = probability + member / np.float32(N_SYMMETRIES)
            entropy_of_members = entropy_of_members + entropy(member) / np.float32(N_SYMMETRIES)
    entropy_of_mean = entropy(probability)
    return Prediction(probability, entropy_of_mean, np.maximum(entropy_of_mean - entropy_of_members, 0))


def entropy(probability: np.ndarray) -> np.ndarray:
    """Entropy over the last axis, divided by its largest value: float32, 0 (one class) to 1 (all alike)."""
    logarithm = np.log(np.maximum(probability, np.float32(_FLOOR)))
    return -(probability * logarithm).sum(axis=-1) / np.float32(np.log(probability.shape[-1]))


def _turned(batch: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    turned = np.rot90(batch, turns, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)


def _turned_back(batch: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    return np.rot90(batch[:, :, ::-1] if mirrored else batch, -turns, axes=(1, 2))
