"""How often a detector raises the alarm: rightly (TAP) at a fixed rate of doing so wrongly (FAP), with intervals."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, norm

CONFIDENCE = 0.95
ONE_SIGMA = 0.6827


@dataclass(frozen=True)
class Rate:
    """A measured probability, its confidence interval and the number of trials."""

    value: float
    low: float
    high: float
    n: int


def wilson(successes: np.ndarray, n: int, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a binomial probability; sensible at 0 and at n successes, where the normal one is empty."""
    z2 = norm.isf((1 - confidence) / 2) ** 2
    p = np.asarray(successes) / n
    centre, half = p + z2 / (2 * n), np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2)))
    low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    return np.where(p == 0, 0.0, low), np.where(p == 1, 1.0, high)


def threshold(noise: np.ndarray, fap: float) -> float:
    """The score that a share ``fap`` of noise-only scores exceeds.

    Raises `ValueError` where the noise samples are too few to tell: below 10 false alarms.
    """
    if len(noise) * fap < 10:
        raise ValueError(
            f"{len(noise)} noise-only scores cannot fix a FAP of {fap}: it takes {round(10 / fap)} or more"
        )
    return float(np.quantile(noise, 1 - fap))


def tap(noise: np.ndarray, signal: np.ndarray, fap: float) -> Rate:
    """True alarm probability at a false alarm probability; the interval is the binomial one of the signals."""
    hits = int(np.sum(np.asarray(signal) > threshold(noise, fap)))
    low, high = wilson(hits, len(signal))
    return Rate(hits / len(signal), float(low), float(high), len(signal))


def roc(noise: np.ndarray, signal: np.ndarray, n_points: int = 60) -> dict[str, np.ndarray]:
    """Receiver operating characteristic with a one-sigma band for both errors.

    Returns
    -------
    dict of (n_points,) arrays
        ``fap``, ``tap``, ``low`` and ``high``. The band takes the binomial interval of the TAP at the two thresholds
        between which, at the same confidence, the true one for that FAP lies: it is wider than either error alone.
    """
    noise, signal = np.sort(noise), np.sort(signal)
    n = len(noise)
    fap = np.geomspace(10 / n, 1.0, n_points)
    exceeding = fap * n
    # The FAP of the k-th largest noise score is distributed as Beta(k, n - k + 1).
    least, most = beta.interval(ONE_SIGMA, exceeding, n - exceeding + 1)
    hits = [
        np.where(
            share < 1, len(signal) - np.searchsorted(signal, np.quantile(noise, 1 - share), side="right"), len(signal)
        )
        for share in (fap, least, most)
    ]
    return {
        "fap": fap,
        "tap": hits[0] / len(signal),
        "low": wilson(hits[1], len(signal), ONE_SIGMA)[0],
        "high": wilson(hits[2], len(signal), ONE_SIGMA)[1],
    }
