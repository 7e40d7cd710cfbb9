"""Data as a detector sees them: noise, or noise and a whitened signal of a chosen SNR."""

import numpy as np

from .sizes import Size
from .templates import Templates

TRAINING_SNR = (50.0, 120.0)  # the paper's


def turn(signal: np.ndarray, angle: float) -> np.ndarray:
    """The same signal with the constellation's first spacecraft elsewhere: the channels turn into each other.

    Exact in the low-frequency response, where a phase ``kappa`` of the constellation enters as ``2 kappa``. It makes
    of one template as many as one likes.
    """
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.stack([cosine * signal[0] + sine * signal[1], cosine * signal[1] - sine * signal[0]])


def observe(rng: np.random.Generator, size: Size, signals: list[np.ndarray | None], snr: np.ndarray) -> np.ndarray:
    """Whitened data with the given signals in fresh noise.

    Parameters
    ----------
    rng : numpy.random.Generator
    size : Size
    signals : list of (2, n_samples) float32 arrays of unit root mean square, or None for noise only
    snr : (n,) array
        Quoted SNRs (those of equally difficult full-length data).

    Returns
    -------
    (n, n_samples, 2) float32 array
    """
    data = rng.standard_normal((len(signals), 2, size.n_samples), dtype=np.float32)
    amplitude = np.asarray(snr) * size.snr_factor / np.sqrt(2 * size.n_samples)
    for row, signal, scale in zip(data, signals, amplitude, strict=True):
        if signal is not None:
            row += np.float32(scale) * signal
    return data.transpose(0, 2, 1)


def training_batch(
    rng: np.random.Generator, size: Size, templates: Templates, n: int, *, snr: tuple[float, float] = TRAINING_SNR
) -> tuple[np.ndarray, np.ndarray]:
    """Data of shape (n, n_samples, 2) and labels (n,) int32, half of them with a signal (1) and half without (0)."""
    labels = np.arange(n, dtype=np.int32) % 2
    signals = [
        turn(templates[rng.integers(len(templates))], rng.uniform(0, 2 * np.pi)) if label else None for label in labels
    ]
    return observe(rng, size, signals, rng.uniform(*snr, size=n)), labels
