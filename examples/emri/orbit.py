"""Orbit of the analytic kludge: five equations for eccentricity, frequency and three phases.

The equations are those of Barack & Cutler 2004 (Phys. Rev. D 69, 082005): 3.5 post-Newtonian orders for the radial
frequency and the eccentricity, 2 for the two precessions. A state is the array ``(e, nu, Phi, gamma, alpha)``:
eccentricity, radial frequency in Hz, mean anomaly, direction of pericentre and precession angle of the orbital plane.
"""

from dataclasses import dataclass
from math import cos, pi, sqrt

import numpy as np
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

from .constants import SOLAR_MASS

RELATIVE_TOLERANCE = 1e-10
MAXIMUM_ECCENTRICITY = 0.9  # beyond, the kludge is no guide and hundreds of harmonics would be needed
N_KNOTS = 2000  # of the splines through the solution


class OrbitError(ValueError):
    """The kludge's equations give no inspiral for these parameters."""


@dataclass(frozen=True)
class Binary:
    """An inspiral's constants.

    Attributes
    ----------
    mass, companion : float
        Redshifted masses of the massive black hole and of the compact object, in solar masses.
    spin : float
        Spin ``a / M`` of the massive black hole, 0 to 1.
    inclination : float
        Angle between the spin and the orbital angular momentum, radians; beyond pi/2 the orbit is retrograde.
    theta_s, phi_s : float
        Ecliptic colatitude and longitude of the source, radians.
    theta_k, phi_k : float
        Colatitude and longitude of the spin's direction, radians; the colatitude may be neither 0 nor pi.
    distance : float
        Luminosity distance in Gpc.
    """

    mass: float
    companion: float
    spin: float
    inclination: float
    theta_s: float = 1.0
    phi_s: float = 0.0
    theta_k: float = 1.0
    phi_k: float = 0.0
    distance: float = 1.0

    def __post_init__(self) -> None:
        if self.mass <= 0 or self.companion <= 0 or self.distance <= 0:
            raise ValueError(f"masses and distance must be positive: {self}")
        if not 0 <= self.spin < 1:
            raise ValueError(f"spin is {self.spin}; expected 0 <= spin < 1 (retrograde orbits have inclination > pi/2)")
        if abs(np.sin(self.theta_k)) < 1e-6:
            raise ValueError(f"theta_k is {self.theta_k}; the kludge's angles are undefined at the ecliptic poles")


def rates(binary: Binary, state: np.ndarray) -> tuple[float, float, float, float, float]:
    """Time derivatives ``(e', nu', Phi', gamma', alpha')`` of a state, per second."""
    e, nu = float(state[0]), float(state[1])
    mass, companion = binary.mass * SOLAR_MASS, binary.companion * SOLAR_MASS
    x = 2 * pi * mass * nu
    z = x ** (2 / 3)
    e2 = e * e
    y = 1 - e2
    along = binary.spin * cos(binary.inclination)
    de = -(e / 15) * companion / mass**2 * y**-3.5 * x ** (8 / 3) * (
        (304 + 121 * e2) * y * (1 + 12 * z) - z / 56 * (8 * 16705 + 12 * 9082 * e2 - 25211 * e2**2)
    ) + e * companion / mass**2 * along * x ** (11 / 3) * y**-4 * (1364 / 5 + 5032 / 15 * e2 + 263 / 10 * e2**2)
    dnu = (
        96 / (10 * pi) * companion / mass**3 * x ** (11 / 3) * y**-4.5
        * (
            (1 + 73 / 24 * e2 + 37 / 96 * e2**2) * y
            + z * (1273 / 336 - 2561 / 224 * e2 - 3885 / 128 * e2**2 - 13147 / 5376 * e2**3)
            - x * along / sqrt(y) * (73 / 12 + 1211 / 24 * e2 + 3143 / 96 * e2**2 + 65 / 64 * e2**3)
        )
    )  # fmt: skip
    dgamma = 6 * pi * nu * z / y * (1 + z / (4 * y) * (26 - 15 * e2)) - 12 * pi * nu * along * x * y**-1.5
    dalpha = 4 * pi * nu * binary.spin * x * y**-1.5
    return de, dnu, 2 * pi * nu, dgamma, dalpha


def pericentre_rate(binary: Binary, e: np.ndarray, nu: np.ndarray) -> np.ndarray:
    """Rate of the pericentre's direction, rad / s, for arrays of eccentricity and frequency."""
    x = 2 * pi * binary.mass * SOLAR_MASS * nu
    z, y = np.cbrt(x) ** 2, 1 - e**2
    along = binary.spin * cos(binary.inclination)
    return 6 * pi * nu * z / y * (1 + z / (4 * y) * (26 - 15 * e**2)) - 12 * pi * nu * along * x * y**-1.5


def innermost_radius(spin: float) -> float:
    """Innermost stable circular orbit of a Kerr hole in units of its mass; a negative spin is a retrograde orbit."""
    z1 = 1 + (1 - spin**2) ** (1 / 3) * ((1 + spin) ** (1 / 3) + (1 - spin) ** (1 / 3))
    z2 = sqrt(3 * spin**2 + z1**2)
    return 3 + z2 - np.sign(spin) * sqrt((3 - z1) * (3 + z1 + 2 * z2))


def plunge_frequency(binary: Binary, eccentricity: float, *, cutoff: str = "kerr") -> float:
    """Radial frequency in Hz at which the orbit stops being stable.

    ``cutoff="schwarzschild"`` is Barack & Cutler's; ``"kerr"`` scales its semi-latus rectum by the innermost stable
    circular orbit of the spin along the orbit, which is an approximation of ours for eccentric, inclined orbits.
    """
    if cutoff not in ("schwarzschild", "kerr"):
        raise ValueError(f"cutoff is {cutoff!r}; expected 'schwarzschild' or 'kerr'")
    along = binary.spin * cos(binary.inclination) if cutoff == "kerr" else 0.0
    rectum = (6 + 2 * eccentricity) * innermost_radius(along) / 6
    return ((1 - eccentricity**2) / rectum) ** 1.5 / (2 * pi * binary.mass * SOLAR_MASS)


def start_before_plunge(
    binary: Binary, eccentricity: float, time: float, *, cutoff: str = "kerr"
) -> tuple[float, float]:
    """Eccentricity and radial frequency ``time`` seconds before the orbit plunges with the given eccentricity.

    Raises `OrbitError` where the post-Newtonian series does not describe an inspiral all the way.
    """
    at_plunge = np.array([eccentricity, plunge_frequency(binary, eccentricity, cutoff=cutoff)])
    rate_at_plunge = rates(binary, at_plunge)[1]
    if rate_at_plunge <= 0:
        raise OrbitError(f"the frequency does not rise at plunge: {binary}")

    def backwards(_, state):
        return [-rate for rate in rates(binary, state)[:2]]

    def leaves_domain(_, state):
        rises = rates(binary, state)[1] / rate_at_plunge
        return min(state[0] + 1e-9, MAXIMUM_ECCENTRICITY - state[0], rises)

    leaves_domain.terminal = True
    solution = solve_ivp(
        backwards, (0.0, time), at_plunge, method="DOP853", rtol=RELATIVE_TOLERANCE, atol=1e-14, events=leaves_domain
    )
    e, nu = solution.y[:, -1]
    if solution.status != 0:
        raise OrbitError(f"no inspiral {time:.4g} s before plunge (e = {e:.3f}, nu = {nu:.3e} Hz): {binary}")
    return float(e), float(nu)


def evolve(binary: Binary, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    """States at the given times.

    Parameters
    ----------
    binary : Binary
    start : (5,) array
        State at ``times[0]``.
    times : (n,) array
        Increasing times in seconds.

    Returns
    -------
    (5, n) float64 array
        The integrator's own steps are days long; splines through its dense output are evaluated at every sample,
        which is ten times faster than evaluating the dense output there.
    """
    span = (float(times[0]), float(times[-1]))
    solution = solve_ivp(
        lambda _, state: rates(binary, state),
        span, np.asarray(start, float), method="DOP853", rtol=RELATIVE_TOLERANCE, atol=1e-14, dense_output=True,
    )  # fmt: skip
    if not solution.success:
        raise OrbitError(f"the orbit's equations could not be integrated ({solution.message}): {binary}")
    if len(times) <= N_KNOTS:
        return solution.sol(times)
    # Denser towards the ends: the frequency rises steeply before a plunge, and splines are worst at their ends.
    knots = span[0] + (span[1] - span[0]) * (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, N_KNOTS)))
    return CubicSpline(knots, solution.sol(knots), axis=1)(times)
