"""The analytic kludge's signal in TianQin's two channels, from a binary and the state of its orbit at time zero."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from . import harmonics, tianqin
from .constants import ASTRONOMICAL_UNIT, GIGAPARSEC, SOLAR_MASS, YEAR
from .orbit import Binary, evolve, pericentre_rate

SAMPLES_PER_KNOT = 128  # amplitudes follow the orbit, not its phase: about an hour between knots at 30 s


@dataclass(frozen=True)
class Inspiral:
    """A binary, the state ``(e, nu, Phi, gamma, alpha)`` of its orbit at time zero, and when it plunges (seconds)."""

    binary: Binary
    start: tuple[float, float, float, float, float]
    plunge: float = np.inf


def unit_vector(theta: float, phi: float) -> np.ndarray:
    """Unit vector of a colatitude and a longitude."""
    return np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])


@dataclass(frozen=True)
class Motion:
    """What the harmonics are made of, at every time: arrays of shape (n,).

    Attributes
    ----------
    e, nu : array
        Eccentricity and radial frequency in Hz.
    phase, gamma, alpha : array
        Mean anomaly, direction of pericentre and angle of the orbital plane's precession, radians.
    precession : array
        Rate of gamma, rad / s.
    pace : array
        Frequency in Hz that sets the amplitude: ``nu`` in the analytic kludge.
    """

    e: np.ndarray
    nu: np.ndarray
    phase: np.ndarray
    gamma: np.ndarray
    alpha: np.ndarray
    precession: np.ndarray
    pace: np.ndarray


def move(inspiral: Inspiral, times: np.ndarray) -> Motion:
    """Motion by the analytic kludge's equations."""
    e, nu, phase, gamma, alpha = evolve(inspiral.binary, inspiral.start, times)
    return Motion(e, nu, phase, gamma, alpha, pericentre_rate(inspiral.binary, e, nu), nu)


class Orientation:
    """Direction of the orbital angular momentum ``L``, which precesses around the spin with the angle alpha.

    ``L = u0 + u1 cos(alpha) + u2 sin(alpha)``, so every product of ``L`` with a fixed vector costs three numbers.
    """

    def __init__(self, binary: Binary, alpha: np.ndarray) -> None:
        self.binary = binary
        self.source = unit_vector(binary.theta_s, binary.phi_s)
        self.spin = unit_vector(binary.theta_k, binary.phi_k)
        pole = np.array([0.0, 0.0, 1.0])
        sin_k, cos_k = np.sin(binary.theta_k), np.cos(binary.theta_k)
        sin_l, cos_l = np.sin(binary.inclination), np.cos(binary.inclination)
        self.basis = np.stack(
            [self.spin * cos_l, sin_l * (pole - self.spin * cos_k) / sin_k, sin_l * np.cross(self.spin, pole) / sin_k]
        )
        self.cos_alpha, self.sin_alpha = np.cos(alpha), np.sin(alpha)

    def along(self, vector: np.ndarray) -> np.ndarray:
        """Product of ``L`` with a fixed vector, shape (n,)."""
        u0, u1, u2 = self.basis @ vector
        return u0 + u1 * self.cos_alpha + u2 * self.sin_alpha

    def pericentre_offset(self) -> np.ndarray:
        """Angle beta from the direction the precession is counted from to the principal axis of the polarisation."""
        binary = self.binary
        sin_l, cos_l = np.sin(binary.inclination), np.cos(binary.inclination)
        if abs(sin_l) < 1e-12:
            return np.zeros_like(self.cos_alpha)
        spin_source = self.spin @ self.source
        across = np.sin(binary.theta_s) * np.sin(binary.phi_k - binary.phi_s) * sin_l
        towards = (np.cos(binary.theta_k) * spin_source - np.cos(binary.theta_s)) / np.sin(binary.theta_k) * sin_l
        return np.arctan2(
            cos_l * self.along(self.source) - spin_source, across * self.cos_alpha + towards * self.sin_alpha
        )


def sum_harmonics(binary: Binary, times: np.ndarray, motion: Motion) -> np.ndarray:
    """Sums over harmonics of a, b and c, shape (3, n), without those above the Nyquist frequency.

    Bessel functions are evaluated at knots. A harmonic whose frequency exceeds the Nyquist frequency would alias into
    the band as a false signal, so it is left out while it does.
    """
    e, nyquist = motion.e, 0.5 / (times[1] - times[0])
    # Light travel time between the Earth and the plane through the Sun across the line of sight.
    delay = ASTRONOMICAL_UNIT * np.sin(binary.theta_s) * np.cos(2 * np.pi * times / YEAR - binary.phi_s)
    turn = np.exp(1j * (motion.phase + 2 * np.pi * motion.nu * delay))
    zeroth, shift = np.exp(2j * motion.precession * delay), motion.precession / np.pi
    knots = np.unique(np.append(np.arange(0, len(times), SAMPLES_PER_KNOT), len(times) - 1))
    scale = (2 * np.pi * motion.pace[knots] * binary.mass * SOLAR_MASS) ** (2 / 3)
    scale *= binary.companion * SOLAR_MASS / (binary.distance * GIGAPARSEC)
    heard = [n for n in range(1, harmonics.count(e[0]) + 1) if np.any(n * motion.nu + shift < nyquist)]
    at_knots = np.array([harmonics.amplitudes(n, e[knots]) for n in heard]).reshape(len(heard), 3, len(knots)) * scale
    sums = np.zeros((3, len(times)))
    add_harmonics(turn, zeroth, motion.nu, shift, nyquist, knots, at_knots, sums)
    return sums


@njit(cache=True, nogil=True)
def add_harmonics(turn, harmonic, nu, shift, nyquist, knots, at_knots, sums):
    """Add harmonic by harmonic at every time; each phase follows from the one before by a multiplication."""
    for i in range(len(knots) - 1):
        last = knots[i + 1] + (i == len(knots) - 2)
        for t in range(knots[i], last):
            along, phasor = (t - knots[i]) / (knots[i + 1] - knots[i]), harmonic[t]
            for n in range(len(at_knots)):
                phasor *= turn[t]
                if (n + 1) * nu[t] + shift[t] >= nyquist:
                    break  # and so are all higher ones
                before, after = at_knots[n, :, i], at_knots[n, :, i + 1]
                sums[0, t] += (before[0] + along * (after[0] - before[0])) * phasor.real
                sums[1, t] += (before[1] + along * (after[1] - before[1])) * phasor.imag
                sums[2, t] += (before[2] + along * (after[2] - before[2])) * phasor.real


def polarisations(
    inspiral: Inspiral, times: np.ndarray, mover: Callable = move
) -> tuple[np.ndarray, np.ndarray, Orientation]:
    """Plus and cross polarisations until the plunge, and the orbit's orientation they refer to."""
    motion = mover(inspiral, times)
    a, b, c = sum_harmonics(inspiral.binary, times, motion)
    orientation = Orientation(inspiral.binary, motion.alpha)
    towards = orientation.along(orientation.source)
    gamma = motion.gamma + orientation.pericentre_offset()
    cosine, sine = np.cos(2 * gamma), np.sin(2 * gamma)
    plus = -(1 + towards**2) * (a * cosine - b * sine) + (1 - towards**2) * c
    cross = 2 * towards * (b * cosine + a * sine)
    return plus, cross, orientation


def observe(inspiral: Inspiral, times: np.ndarray, mover: Callable = move) -> np.ndarray:
    """Strain in TianQin's channels I and II, shape (2, n); zero after the plunge.

    Parameters
    ----------
    inspiral : Inspiral
    times : (n,) array
        Evenly spaced times in seconds from ``times[0]``, at which the inspiral has its start state.
    mover : callable
        ``(inspiral, times) -> Motion``; the analytic kludge unless another is given.
    """
    before = times[times < inspiral.plunge]
    strain = np.zeros((2, len(times)))
    if len(before) < 2:
        return strain
    plus, cross, orientation = polarisations(inspiral, before, mover)
    normal, source = tianqin.frame()[2], orientation.source
    strain[:, : len(before)] = tianqin.observe(
        plus, cross, before, source,
        orientation.along(normal), orientation.along(source), orientation.along(np.cross(normal, source)),
    )  # fmt: skip
    return strain
