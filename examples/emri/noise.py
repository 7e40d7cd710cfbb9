"""TianQin's noise, whitening and signal-to-noise ratio.

Conventions: the density is one-sided; white noise has variance 1 per sample, so that data are made by adding standard
normal numbers to whitened signals; the sum of a whitened signal's squares over both channels is its squared SNR.
"""

import numpy as np
import scipy.fft

ARM_LENGTH = np.sqrt(3) * 1e8  # m
ACCELERATION = 1e-30  # m^2 s^-4 Hz^-1
POSITION = 1e-24  # m^2 Hz^-1
TAPER_FRACTION = 0.02  # of the data at each end


def density(frequency: np.ndarray) -> np.ndarray:
    """One-sided noise density of a Michelson channel in 1/Hz (not the sky-averaged sensitivity); infinite at 0 Hz."""
    frequency = np.asarray(frequency, float)
    with np.errstate(divide="ignore"):
        acceleration = 4 * ACCELERATION / (2 * np.pi * frequency) ** 4 * (1 + 1e-4 / frequency)
    return (POSITION + acceleration) / ARM_LENGTH**2


def whiten(strain: np.ndarray, step: float) -> np.ndarray:
    """Divide by the noise's amplitude at every frequency.

    Parameters
    ----------
    strain : (..., n) array
        Samples every ``step`` seconds. They are taken to be periodic: see `taper`.

    Returns
    -------
    (..., n) float64 array
        In units of the noise's standard deviation per sample.
    """
    n = strain.shape[-1]
    amplitude = np.sqrt(density(np.fft.rfftfreq(n, step)) / (2 * step))
    return scipy.fft.irfft(scipy.fft.rfft(strain) / amplitude, n)


def taper(n: int) -> np.ndarray:
    """Window that rises and falls smoothly over `TAPER_FRACTION` of ``n`` samples.

    Whitening takes the data to be periodic, so a signal that starts and stops at once would leak from low frequencies
    to those where TianQin is most sensitive. The window costs 2 % of the SNR of a signal of constant strength.
    """
    window = np.ones(n)
    ramp = round(n * TAPER_FRACTION)
    window[:ramp] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / ramp)
    window[n - ramp :] = window[:ramp][::-1]
    return window


def snr(strain: np.ndarray, step: float) -> float:
    """Optimal SNR, ``sqrt(sum over channels of 4 integral |h|^2 / S df)``, of a strain of shape (channels, n)."""
    frequency = np.fft.rfftfreq(strain.shape[-1], step)
    spectrum = np.abs(np.fft.rfft(strain) * step) ** 2
    if strain.shape[-1] % 2 == 0:
        spectrum[:, -1] /= 2  # the Nyquist frequency is its own mirror image
    return float(np.sqrt(4 * np.sum(spectrum[:, 1:] / density(frequency[1:])) * frequency[1]))


def simulate(rng: np.random.Generator, shape: tuple[int, ...], step: float) -> np.ndarray:
    """Coloured strain noise of the given shape (..., n), drawn frequency by frequency."""
    n = shape[-1]
    frequency = np.fft.rfftfreq(n, step)
    amplitude = np.sqrt(density(np.maximum(frequency, frequency[1])) / (2 * step))
    amplitude[0] = 0
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(shape)) * amplitude, n)
