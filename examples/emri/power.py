"""The baseline: how much power is there, in the whole band or where signals are?

A network of short filters, rectifiers and pools is at heart a learned band-pass and power detector, so this is what it
has to beat. Against ``rho^2`` of signal the noise power of ``N`` numbers fluctuates by ``sqrt(2 N)``: full data hold
524,288 numbers, which is why a signal of SNR 50 is just at the edge.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.stats import chi2, ncx2

from .sizes import STEP
from .templates import Templates

GRID = 1e-4  # Hz, of the edges a band may have


@dataclass(frozen=True)
class PowerDetector:
    """Sum of squares of whitened data between two frequencies in Hz; of all samples without them."""

    band: tuple[float, float] | None = None

    def __call__(self, data: np.ndarray) -> np.ndarray:
        """Scores (n,) of data (n, n_samples, 2)."""
        if self.band is None:
            return np.einsum("ijk,ijk->i", data, data, dtype=np.float64)
        n_samples = data.shape[1]
        frequency = np.fft.rfftfreq(n_samples, STEP)
        inside = (frequency >= self.band[0]) & (frequency < self.band[1])
        spectrum = scipy.fft.rfft(data, axis=1)[:, inside]
        return 2 / n_samples * np.sum(spectrum.real**2 + spectrum.imag**2, axis=(1, 2), dtype=np.float64)


def mean_spectrum(templates: Templates, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges of a frequency grid and the share of the templates' squared SNR in each interval, over ``n`` templates."""
    edges = np.arange(0, 1 / (2 * STEP) + GRID, GRID)
    share = np.zeros(len(edges) - 1)
    for index in range(min(n, len(templates))):
        spectrum = np.sum(np.abs(np.fft.rfft(templates[index])) ** 2, axis=0)
        frequency = np.fft.rfftfreq(templates[index].shape[-1], STEP)
        share += np.histogram(frequency, edges, weights=spectrum / spectrum.sum())[0]
    return edges, share / share.sum()


def choose_band(templates: Templates, n: int = 1000) -> tuple[float, float]:
    """The band in which signals stand out most: largest mean share of signal over the root of the share of noise."""
    edges, share = mean_spectrum(templates, n)
    total = np.concatenate([[0.0], np.cumsum(share)])
    low, high = np.triu_indices(len(edges), k=1)
    best = np.argmax((total[high] - total[low]) / np.sqrt(edges[high] - edges[low]))
    return float(edges[low[best]]), float(edges[high[best]])


def expected_tap(snr: np.ndarray, fap: float, n_numbers: int) -> np.ndarray:
    """True alarm probability of a power detector that sums ``n_numbers`` squares and hears all of the signal."""
    return ncx2.sf(chi2.isf(fap, n_numbers), n_numbers, np.square(snr))
