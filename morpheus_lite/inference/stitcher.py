"""Many overlapping predictions become one map: mean, variance and rank vote.

Sums are kept as whole numbers: each value is multiplied by ``2 ** 40`` and rounded once, and whole numbers can be added
in any order, and in any grouping, with the same result. So neither the order in which windows are finished, nor the way
they are shared among workers, shows in the maps. The rounding is at most ``2 ** -40`` (1e-12) a value, and
a sum has room for ``2 ** 23`` (8 million) values.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from morpheus_lite.core.windows import Window
from morpheus_lite.errors import ModelError

SCALE = 2.0**40


@dataclass(frozen=True, eq=False)
class Stitched:
    """Stitched maps.

    Parameters
    ----------
    mean, variance : numpy.ndarray
        float32, shape ``(y, x, class)``: mean and population variance of the values; NaN where ``count`` is 0.
    vote : numpy.ndarray
        float32, shape ``(y, x, class)``: share of the votes; NaN where ``count`` is 0.
    count : numpy.ndarray
        int32, shape ``(y, x)``: how many values each pixel got.
    """

    mean: np.ndarray
    variance: np.ndarray
    vote: np.ndarray
    count: np.ndarray


class Stitcher:
    """Collects probabilities; gives their mean and variance, and the share of the votes, one per prediction.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the map.
    n_classes : int
        Number of classes.

    Notes
    -----
    A prediction votes for its most probable class; of classes that are exactly as probable, the last gets the vote, as
    in the published package.
    """

    def __init__(self, shape: tuple[int, int], n_classes: int) -> None:
        self._sum = np.zeros((*shape, n_classes), np.int64)
        self._square = np.zeros((*shape, n_classes), np.int64)
        self._votes = np.zeros((*shape, n_classes), np.int32)
        self._count = np.zeros(shape, np.int32)

    def add(self, values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
        """Add predictions.

        Parameters
        ----------
        values : numpy.ndarray
            float, shape ``(n, y, x, class)``, between 0 and 1.
        rows, columns : numpy.ndarray
            int, shape ``(n,)``: where the first pixel of each lies in the map.

        Raises
        ------
        ModelError
            A value is not finite, or not between 0 and 1.
        """
        low, high = float(values.min(initial=0)), float(values.max(initial=0))
        if not (low >= 0 and high <= 1.0001):
            raise ModelError(
                f"predictions from {low} to {high}: expected probabilities between 0 and 1; the image holds values "
                "that are not finite, or the model's last step is not a softmax"
            )
        height, width = values.shape[1:3]
        # One window at a time: its temporary arrays stay in the cache, a batch's do not (47 against 129 us a window).
        for one, votes, y, x in zip(values, _votes_of(values), rows.tolist(), columns.tolist(), strict=True):
            place = np.s_[y : y + height, x : x + width]
            value = one.astype(np.float64)
            self._sum[place] += (value * SCALE).astype(np.int64)
            value *= value
            value *= SCALE
            self._square[place] += value.astype(np.int64)
            self._votes[place] += votes
            self._count[place] += 1

    def result(self, region: Window | None = None) -> Stitched:
        """Maps of what was added so far, of a region or all of them."""
        here = region.slices if region else np.s_[:, :]
        count = self._count[here]
        seen = np.where(count > 0, count, np.nan)[..., None]
        mean = self._sum[here] / (seen * SCALE)
        variance = np.maximum(self._square[here] / (seen * SCALE) - mean * mean, 0.0)
        vote = (self._votes[here] / seen).astype(np.float32)
        return Stitched(mean.astype(np.float32), variance.astype(np.float32), vote, count.copy())


def _votes_of(values: np.ndarray) -> np.ndarray:
    """The vote of each prediction: bool, shape ``(n, y, x, class)``."""
    best = reduce(np.maximum, np.moveaxis(values, 3, 0))
    votes = values == best[..., None]
    if np.count_nonzero(votes) != best.size:
        following = np.cumsum(votes[..., ::-1], axis=3)[..., ::-1]
        votes &= following == 1
    return votes
