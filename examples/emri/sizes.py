"""The two sizes of the data: the paper's, and one small enough for a laptop and for tests."""

from dataclasses import dataclass

import numpy as np

STEP = 30.0  # s; the Nyquist frequency is 16.7 mHz
FULL_LENGTH = 262144  # samples: 91 days


@dataclass(frozen=True)
class Size:
    """Length of the data, ``(2, n_samples)``.

    Every SNR in this example is quoted for the full length. In shorter data a signal of the same SNR is easier to
    find, because less noise competes with it: a power detector is equally hard pressed where ``snr^2 / sqrt(n)`` is
    the same. `snr_factor` turns a quoted SNR into that of the data, and `loudness` the SNR that a binary at its true
    distance leaves in the shorter data into the same units.
    """

    name: str
    n_samples: int

    @property
    def times(self) -> np.ndarray:
        """Times of the samples in seconds, shape (n_samples,)."""
        return STEP * np.arange(self.n_samples)

    @property
    def duration(self) -> float:
        """Length of the data in seconds."""
        return STEP * self.n_samples

    @property
    def snr_factor(self) -> float:
        """SNR in these data of a signal as hard to find as one of SNR 1 in the full data."""
        return (self.n_samples / FULL_LENGTH) ** 0.25

    @property
    def loudness(self) -> float:
        """Quoted SNR of a signal that has SNR 1 in these data and would go on equally loud for the full length."""
        return (FULL_LENGTH / self.n_samples) ** 0.5


FULL = Size("full", FULL_LENGTH)
SCALED = Size("scaled", 8192)
SIZES = {size.name: size for size in (FULL, SCALED)}
