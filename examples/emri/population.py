"""Where inspirals are drawn from: priors, distances and an astrophysical stand-in.

The paper's own parameter ranges are not known to us. These are ours, chosen as later work on TianQin does.
"""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad

from .constants import SPEED_OF_LIGHT, YEAR
from .orbit import Binary, OrbitError, start_before_plunge
from .waveform import Inspiral

HUBBLE = 67.66  # km / s / Mpc (Planck 2018)
MATTER = 0.3111
COMPANION = 10.0  # solar masses
MAXIMUM_TRIES = 200


@dataclass(frozen=True)
class Prior:
    """Ranges of the parameters; equal ends fix one.

    Attributes
    ----------
    mass : (float, float)
        Source-frame mass of the massive black hole in solar masses, ``dN / d ln M ~ M^mass_slope``.
    mass_slope : float
    spin : (float, float)
        ``dN / dS ~ (S - lowest)^(spin_power - 1)``: 1 is uniform, larger values favour fast spins.
    spin_power : float
    eccentricity : (float, float)
        Uniform, at the plunge.
    redshift : float
        Of the masses; the distance is dealt with by rescaling the signal.
    """

    mass: tuple[float, float] = (1e5, 1e7)
    mass_slope: float = 0.0
    spin: tuple[float, float] = (0.0, 0.98)
    spin_power: float = 1.0
    eccentricity: tuple[float, float] = (0.0, 0.2)
    redshift: float = 0.0

    def draw_mass(self, rng: np.random.Generator) -> float:
        """Redshifted mass of the massive black hole, solar masses."""
        low, high = np.log(self.mass)
        u = rng.random()
        if self.mass_slope:
            low_power, high_power = np.exp(self.mass_slope * low), np.exp(self.mass_slope * high)
            mass = (low_power + u * (high_power - low_power)) ** (1 / self.mass_slope)
        else:
            mass = np.exp(low + u * (high - low))
        return float(mass * (1 + self.redshift))

    def draw_spin(self, rng: np.random.Generator) -> float:
        """Spin of the massive black hole."""
        low, high = self.spin
        return float(low + (high - low) * rng.random() ** (1 / self.spin_power))


TRAINING = Prior()
# Model M12 of Babak et al. 2017 is not available to us as a catalogue: this has its broad features, a mass function
# that falls slowly from 1e5 to 10^6.5 solar masses and spins that crowd near 0.98.
M12_LIKE = Prior(mass=(1e5, 10**6.5), mass_slope=-0.3, spin_power=5.0, redshift=0.1)


def draw(rng: np.random.Generator, prior: Prior, duration: float) -> Inspiral:
    """One inspiral that plunges after the data end and within a year, at 1 Gpc.

    Parameters outside the kludge's reach (an eccentricity beyond 0.9 at the start of the data, mostly at low mass) are
    drawn again, mass and spin excepted, so that these two keep their prior.
    """
    mass, spin = prior.draw_mass(rng), prior.draw_spin(rng)
    for _ in range(MAXIMUM_TRIES):
        binary = Binary(
            mass, COMPANION * (1 + prior.redshift), spin,
            inclination=np.arccos(rng.uniform(-1, 1)),
            theta_s=np.arccos(rng.uniform(-1, 1)), phi_s=rng.uniform(0, 2 * np.pi),
            theta_k=np.arccos(rng.uniform(-0.9999, 0.9999)), phi_k=rng.uniform(0, 2 * np.pi),
        )  # fmt: skip
        eccentricity, plunge = rng.uniform(*prior.eccentricity), rng.uniform(duration, YEAR)
        phases = rng.uniform(0, 2 * np.pi, 3)
        try:
            start = start_before_plunge(binary, eccentricity, plunge)
        except OrbitError:
            continue
        return Inspiral(binary, (*start, *phases), plunge)
    raise OrbitError(f"none of {MAXIMUM_TRIES} draws at mass {mass:.3g} and spin {spin:.3f} is an inspiral: {prior}")


def luminosity_distance(redshift: float) -> float:
    """Luminosity distance in Gpc in a flat universe of matter and a cosmological constant."""
    integral, _ = quad(lambda z: 1 / np.sqrt(MATTER * (1 + z) ** 3 + 1 - MATTER), 0, redshift)
    return SPEED_OF_LIGHT / 1e3 / HUBBLE * (1 + redshift) * integral / 1e3


def nearby(rng: np.random.Generator, snr_at_1gpc: np.ndarray, n: int, *, minimum: float) -> tuple:
    """Which of some binaries, and how loud, in a survey that keeps those above a minimum SNR.

    In a uniform, local universe a binary is heard in a volume that grows as the cube of its intrinsic SNR, and the SNRs
    of those heard fall as the inverse fourth power.

    Returns
    -------
    index, snr : (n,) arrays
    """
    weight = np.asarray(snr_at_1gpc, float) ** 3
    index = rng.choice(len(weight), size=n, p=weight / weight.sum())
    return index, minimum * (1 - rng.random(n)) ** (-1 / 3)
