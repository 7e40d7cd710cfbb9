"""The augmented kludge: its map of phases always, its trajectories where the optional package is installed."""

from dataclasses import replace

import numpy as np
import pytest
from emri import aak, orbit, templates, waveform
from emri.constants import SOLAR_MASS
from emri.orbit import Binary
from emri.sizes import SCALED
from emri.waveform import Inspiral

BINARY = Binary(1e6, 10.0, 0.5, 0.6, theta_s=1.0, phi_s=2.0, theta_k=0.8, phi_k=1.5)


def inspiral(binary: Binary = BINARY) -> Inspiral:
    plunge = 100 * 86400.0
    return Inspiral(binary, (*orbit.start_before_plunge(binary, 0.1, plunge), 0.2, 0.3, 0.4), plunge)


@pytest.mark.parametrize("handedness", [1, -1])
def test_the_map_of_phases_gives_the_kludge_back_its_own(handedness):
    """Phases of geodesics made from the kludge's angles come back as those angles and their rates."""
    knots = np.linspace(0, SCALED.duration, 500)
    e, _, phase, gamma, alpha = orbit.evolve(BINARY, inspiral().start, knots)
    azimuth = alpha + handedness * (gamma + phase)
    mapped = aak.motion(SCALED.times, knots, e, phase, gamma + phase, azimuth, (0.0, 0.0, 0.0), handedness)
    expected = waveform.move(inspiral(), SCALED.times)
    for name in ("e", "nu", "phase", "gamma", "alpha", "precession"):
        assert getattr(mapped, name) == pytest.approx(getattr(expected, name), rel=1e-6), name
    assert np.all(mapped.pace > expected.pace)  # the azimuthal frequency includes the precessions


def test_trajectories_of_the_optional_package():
    pytest.importorskip("few", reason=aak.MISSING)
    motion = aak.move(inspiral(), SCALED.times)
    kludge = waveform.move(inspiral(), SCALED.times)
    assert np.all(np.diff(motion.pace) > 0)
    assert motion.e[0] == pytest.approx(kludge.e[0], abs=1e-3)
    # As long before its plunge the orbital frequency is much the same; the kludge takes it for the radial one, which
    # for a geodesic so close to the hole is half of that.
    assert motion.pace[0] == pytest.approx(kludge.nu[0], rel=0.3)
    assert 0.3 < motion.nu[0] / motion.pace[0] < 0.7
    white, snr = templates.make(inspiral(), SCALED, aak.observe)
    assert snr > 1
    assert np.all(np.isfinite(white))


@pytest.mark.parametrize("inclination", [0.6, np.pi - 0.6])
@pytest.mark.parametrize("spin", [0.05, 0.5])
def test_the_hole_drags_the_orbital_plane_along_whichever_way_the_orbit_runs(inclination, spin):
    """Against Lense and Thirring's rate, ``2 S M Omega^2`` for an almost circular orbit."""
    pytest.importorskip("few", reason=aak.MISSING)
    turning = inspiral(replace(BINARY, inclination=inclination, spin=spin))
    motion = aak.move(turning, SCALED.times)
    rate = np.gradient(motion.alpha, SCALED.times)[100]
    expected = 2 * spin * 1e6 * SOLAR_MASS * (2 * np.pi * motion.pace[100]) ** 2
    assert rate == pytest.approx(expected, rel=0.4)
