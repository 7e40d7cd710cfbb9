"""Data as a detector sees them: noise, or noise and a whitened signal of a chosen SNR."""

import numpy as np

from .sizes import Size
from .templates import Templates

TRAINING_SNR = (50.0, 120.0)  # the paper's
FAINT_SNR = (35.0, 80.0)  # ours: louder signals are told apart anyway, fainter ones nobody hears


def turn(signal: np.ndarray, angle: float) -> np.ndarray:
    """The same signal with the constellation's first spacecraft elsewhere: the channels turn into each other.

    Exact in the low-frequency response, where a phase ``kappa`` of the constellation enters as ``2 kappa``. It makes
    of one template as many as one likes.
    """
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.stack([cosine * signal[0] + sine * signal[1], cosine * signal[1] - sine * signal[0]])


def amplitude(size: Size, snr: np.ndarray) -> np.ndarray:
    """What a signal of unit root mean square is multiplied by to have a quoted SNR."""
    return np.asarray(snr * size.snr_factor / np.sqrt(2 * size.n_samples), np.float32)


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
    for row, signal, scale in zip(data, signals, amplitude(size, np.asarray(snr)), strict=True):
        if signal is not None:
            row += scale * signal
    return data.transpose(0, 2, 1)


def pair(
    rng: np.random.Generator, size: Size, templates: Templates, snr: tuple[float, float] = TRAINING_SNR
) -> np.ndarray:
    """The same noise without and with a signal, shape (2, n_samples, 2).

    What noise adds to the gradients of the two cancels for the most part, and what the signal changes is left.
    """
    signal = turn(templates[rng.integers(len(templates))], rng.uniform(0, 2 * np.pi))
    loud = amplitude(size, rng.uniform(*snr)) * signal
    noise = rng.standard_normal((2, size.n_samples), dtype=np.float32)
    return np.stack([noise.T, (noise + loud).T])


def training_batch(
    rng: np.random.Generator, size: Size, templates: Templates, n: int, *, snr: tuple[float, float] = TRAINING_SNR
) -> tuple[np.ndarray, np.ndarray]:
    """Data of shape (n, n_samples, 2) and labels (n,) int32: `pair` by pair, without (0) and with a signal (1)."""
    data = np.concatenate([pair(rng, size, templates, snr) for _ in range(n // 2)])
    return data, np.arange(len(data), dtype=np.int32) % 2
