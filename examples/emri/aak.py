"""The augmented analytic kludge: the same harmonics on the orbits of Kerr geodesics, from ``fastemriwaveforms``.

The package is optional. It supplies trajectories driven by fifth-order post-Newtonian fluxes and their phases;
harmonics, the Nyquist cut and TianQin's response are ours, because its own summation neither knows TianQin nor leaves
out what would alias at 30 s.
"""

import functools
import importlib.util
import os

import numpy as np
from scipy.interpolate import CubicSpline

from . import waveform
from .constants import YEAR
from .orbit import OrbitError
from .waveform import Inspiral, Motion

MISSING = "the augmented kludge needs the optional package fastemriwaveforms==2.0.0, which is not installed"
N_KNOTS = 2000


def available() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("few") is not None


@functools.cache
def trajectory():
    """The package's generator of trajectories; it reads no data files, and may not fetch any.

    Version 2.0.0 drops the sign of the inclination's cosine where it turns it into the one that geodesics are named by
    (`Y_to_xI`), and so gives retrograde orbits the frequencies of prograde ones. Here they get their own.
    """
    os.environ.setdefault("FEW_FILE_ALLOW_DOWNLOAD", "no")
    from few.trajectory.inspiral import EMRIInspiral
    from few.trajectory.ode import PN5
    from few.utils.geodesic import get_separatrix
    from few.utils.mappings.pn import Y_to_xI

    class EitherWay(PN5):
        def cache_values_and_check_bounds(self, y) -> bool:
            rectum, e, along = self.get_pex(y)
            if e < 0:
                return False
            # A retrograde orbit is a prograde one around a hole that spins the other way.
            self.xI_cache = np.copysign(Y_to_xI(np.copysign(self.a, along), rectum, e, abs(along)), along)
            self.p_sep_cache = get_separatrix(self.a, e, self.xI_cache)
            return rectum > self.p_sep_cache

    return EMRIInspiral(func=EitherWay, force_backend="cpu")


def move(inspiral: Inspiral, times: np.ndarray) -> Motion:
    """Motion of the same binary, starting with the same eccentricity and plunging at the same time."""
    from few.utils.utility import get_p_at_t

    binary, years = inspiral.binary, inspiral.plunge / YEAR
    along = float(np.cos(binary.inclination))
    fixed = [binary.mass, binary.companion, binary.spin, inspiral.start[0], along]
    knots = times[0] + (times[-1] - times[0]) * (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, N_KNOTS)))
    try:
        rectum = get_p_at_t(trajectory(), years, list(fixed))
        _, _, e, _, phi_phi, phi_theta, phi_r = trajectory()(
            *fixed[:3], rectum, *fixed[3:], T=1.01 * years, dt=float(times[1] - times[0]), new_t=knots, upsample=True
        )
    except (ValueError, AssertionError, RuntimeError) as error:
        raise OrbitError(f"no augmented kludge for {binary}: {error}") from error
    return motion(times, knots, e, phi_r, phi_theta, phi_phi, inspiral.start[2:], 1 if along >= 0 else -1)


def motion(times, knots, e, phi_r, phi_theta, phi_phi, phases, handedness: int) -> Motion:
    """The kludge's angles from the radial, polar and azimuthal phases of geodesics at knots.

    The pericentre advances by what the polar phase gains on the radial one, and the orbital plane precesses by what
    the azimuthal phase gains on the polar one. On a retrograde orbit (``handedness`` -1) the azimuth runs backwards,
    at the polar rate if the hole does not spin, so there the gain is their sum: either way the hole drags the plane
    along with its spin.
    """
    eccentricity, radial, polar, azimuthal = (CubicSpline(knots, values) for values in (e, phi_r, phi_theta, phi_phi))
    return Motion(
        e=np.maximum(eccentricity(times), 0.0),
        nu=radial(times, 1) / (2 * np.pi),
        phase=phases[0] + radial(times),
        gamma=phases[1] + polar(times) - radial(times),
        alpha=phases[2] + azimuthal(times) - handedness * polar(times),
        precession=polar(times, 1) - radial(times, 1),
        pace=np.abs(azimuthal(times, 1)) / (2 * np.pi),
    )


def observe(inspiral: Inspiral, times: np.ndarray) -> np.ndarray:
    """Strain in TianQin's channels I and II, shape (2, n); see `waveform.observe`."""
    return waveform.observe(inspiral, times, move)
