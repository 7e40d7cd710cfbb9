"""Orbit, harmonics and waveform against numbers made by an independent implementation."""

from time import process_time

import numpy as np
import pytest
from emri import harmonics, orbit, waveform
from emri.constants import SOLAR_MASS, YEAR
from emri.orbit import Binary, OrbitError
from emri.sizes import FULL, SCALED, STEP
from emri.waveform import Inspiral

# The fixtures were made with an older value of the solar mass; in seconds the masses are the same.
RATIO = 4.925492321898863e-6 / SOLAR_MASS
BINARY = Binary(1e6 * RATIO, 10 * RATIO, 0.5, 0.6, theta_s=1.0, phi_s=2.0, theta_k=0.8, phi_k=1.5, distance=1.0)
START = (0.3, 1.5e-3, 0.2, 0.3, 0.4)
TIMES = STEP * np.arange(4096)


def test_rates():
    expected = (-4.8577839142e-09, 3.1540722029e-11, 9.4247779608e-03, 6.2757973912e-03, 5.0399916015e-04)
    assert orbit.rates(BINARY, np.array(START)) == pytest.approx(expected, rel=1e-10)


def test_pericentre_rate_is_that_of_the_orbit():
    assert orbit.pericentre_rate(BINARY, 0.3, 1.5e-3) == pytest.approx(orbit.rates(BINARY, START)[3], rel=1e-14)


def test_orbit_after_4095_steps():
    end = orbit.evolve(BINARY, START, TIMES)[:, -1]
    expected = (0.299401887696, 1.503890799617e-03, 1159.533539569, 773.078710400, 62.458472607)
    assert end == pytest.approx(expected, rel=2e-11)


def test_splines_follow_the_integrator_for_three_months():
    binary = Binary(1e5, 10.0, 0.9, 0.5)
    e, nu = orbit.start_before_plunge(binary, 0.1, FULL.duration)
    some = np.sort(np.random.default_rng(0).choice(FULL.n_samples, 1000, replace=False))
    some[0], some[-1] = 0, FULL.n_samples - 1
    splined = orbit.evolve(binary, (e, nu, 0, 0, 0), FULL.times)[:, some]
    dense = orbit.evolve(binary, (e, nu, 0, 0, 0), FULL.times[some])
    assert np.abs(splined - dense)[2:].max() < 1e-4  # radians, after 1e5 of them


def test_backward_integration_ends_at_the_plunge():
    binary = Binary(1e6, 10.0, 0.9, 0.5)
    e, nu = orbit.start_before_plunge(binary, 0.1, 1e7)
    end = orbit.evolve(binary, (e, nu, 0, 0, 0), np.array([0.0, 1e7]))[:, -1]
    assert end[0] == pytest.approx(0.1, rel=1e-6)
    assert end[1] == pytest.approx(orbit.plunge_frequency(binary, 0.1), rel=1e-6)


@pytest.mark.parametrize(("mass", "nu0", "e0"), [(1e6, 1.627e-3, 0.128), (1e5, 3.05e-3, 0.51)])
def test_start_values_of_the_reference(mass, nu0, e0):
    e, nu = orbit.start_before_plunge(Binary(mass, 10.0, 0.0, 0.5), 0.1, FULL.duration, cutoff="schwarzschild")
    assert nu == pytest.approx(nu0, rel=1e-3)
    assert e == pytest.approx(e0, abs=5e-3)


def test_cutoffs():
    assert orbit.innermost_radius(0.0) == pytest.approx(6.0)
    assert orbit.innermost_radius(0.9) == pytest.approx(2.3209, abs=1e-4)
    assert orbit.innermost_radius(-0.9) == pytest.approx(8.7174, abs=1e-4)
    still = Binary(1e6, 10.0, 0.0, 0.5)
    assert orbit.plunge_frequency(still, 0.1) == pytest.approx(
        orbit.plunge_frequency(still, 0.1, cutoff="schwarzschild")
    )
    prograde, retrograde = Binary(1e6, 10.0, 0.9, 0.5), Binary(1e6, 10.0, 0.9, 2.6)
    frequencies = [orbit.plunge_frequency(binary, 0.1) for binary in (prograde, still, retrograde)]
    assert frequencies[0] == pytest.approx(5.95e-3, rel=0.01)
    assert frequencies == sorted(frequencies, reverse=True)
    with pytest.raises(ValueError, match="expected 'schwarzschild' or 'kerr'"):
        orbit.plunge_frequency(still, 0.1, cutoff="newton")


def test_inspirals_out_of_reach_and_impossible_binaries_say_so():
    with pytest.raises(OrbitError, match="s before plunge"):
        orbit.start_before_plunge(Binary(1e4, 10.0, 0.0, 0.5), 0.1, YEAR)
    with pytest.raises(ValueError, match="0 <= spin < 1"):
        Binary(1e6, 10.0, -0.5, 0.5)
    with pytest.raises(ValueError, match="ecliptic poles"):
        Binary(1e6, 10.0, 0.5, 0.5, theta_k=0.0)


@pytest.mark.parametrize("e", [0.1, 0.3, 0.6])
def test_sum_of_the_harmonics_power(e):
    expected = (1 + 73 / 24 * e**2 + 37 / 96 * e**4) / (1 - e**2) ** 3.5
    assert sum(harmonics.power(n, e) for n in range(1, 150)) == pytest.approx(expected, rel=1e-12)
    kept = sum(harmonics.power(n, e) for n in range(1, harmonics.count(e) + 1)) / expected
    assert kept > {0.1: 0.999, 0.3: 0.999, 0.6: 0.9924}[e]


def test_a_circular_orbit_has_only_the_second_harmonic():
    powers = [float(harmonics.power(n, 0.0)) for n in range(1, 8)]
    assert powers == pytest.approx([0, 1, 0, 0, 0, 0, 0], abs=1e-14)


def test_waveform_samples():
    some = [0, 1, 2, 1000, 4095]
    plus, cross, _ = waveform.polarisations(Inspiral(BINARY, START), TIMES)
    first, second = waveform.observe(Inspiral(BINARY, START), TIMES)
    expected = [
        [-1.56146220e-22, -9.86064448e-23, 7.21812157e-23, 1.26809916e-22, -9.30037867e-24],
        [1.11149714e-23, 1.25372236e-22, 1.50184922e-22, 1.24765861e-22, 1.45694884e-22],
        [7.68281512e-23, 1.09016802e-22, 4.01963085e-23, -1.09414484e-22, 5.24762668e-23],
        [-7.78576176e-23, 7.13463737e-24, 1.08838246e-22, -6.04768197e-23, 8.61045824e-23],
    ]
    for series, values in zip((plus, cross, first, second), expected, strict=True):
        assert series[some] / 1e-22 == pytest.approx(np.array(values) / 1e-22, abs=2e-7)


def test_fast_sum_equals_the_plain_one():
    """Knots, complex multiplications and all, against Bessel functions and cosines at every sample."""
    binary = Binary(3e5, 10.0, 0.7, 0.5, theta_s=1.0, phi_s=2.0, theta_k=0.8, phi_k=1.5)
    e, nu = orbit.start_before_plunge(binary, 0.15, 30 * 86400.0)
    states = orbit.evolve(binary, (e, nu, 0.1, 0.2, 0.3), SCALED.times)
    motion = waveform.move(Inspiral(binary, (e, nu, 0.1, 0.2, 0.3)), SCALED.times)
    fast = waveform.sum_harmonics(binary, SCALED.times, motion)
    rate = orbit.pericentre_rate(binary, states[0], states[1])
    delay = 499.00478 * np.sin(1.0) * np.cos(2 * np.pi * SCALED.times / YEAR - 2.0)
    scale = (2 * np.pi * states[1] * 3e5 * SOLAR_MASS) ** (2 / 3) * 10 * SOLAR_MASS / 1.02927125e17
    plain = np.zeros((3, SCALED.n_samples))
    for n in range(1, harmonics.count(e) + 1):
        frequency = n * states[1] + rate / np.pi
        angle = n * states[2] + 2 * np.pi * frequency * delay
        shape = scale * (frequency < 1 / 60)
        factors = harmonics.amplitudes(n, states[0])
        plain += shape * np.stack([f * wave(angle) for f, wave in zip(factors, (np.cos, np.sin, np.cos), strict=True)])
    for one, other in zip(fast, plain, strict=True):
        assert np.linalg.norm(one - other) < 1e-5 * np.linalg.norm(other)


def test_nothing_above_the_nyquist_frequency_is_folded_back():
    """1e5 solar masses: the same signal sampled four times as often has no more power in the band."""
    binary = Binary(1e5, 10.0, 0.3, 0.5, theta_s=1.0, phi_s=2.0, theta_k=0.8, phi_k=1.5)
    e, nu = orbit.start_before_plunge(binary, 0.1, 30 * 86400.0)
    inspiral = Inspiral(binary, (e, nu, 0, 0, 0))
    coarse = waveform.observe(inspiral, SCALED.times)
    fine = waveform.observe(inspiral, STEP / 4 * np.arange(4 * SCALED.n_samples))
    window = np.hanning(SCALED.n_samples)
    power = np.sum(np.abs(np.fft.rfft(coarse * window)) ** 2)
    spectrum = np.abs(np.fft.rfft(fine * np.hanning(fine.shape[1]))) ** 2 / 16
    inside = np.fft.rfftfreq(fine.shape[1], STEP / 4) < 1 / (2 * STEP)
    assert spectrum[:, ~inside].sum() > 0.1 * power  # there is something to fold
    assert power == pytest.approx(spectrum[:, inside].sum(), rel=0.01)


def test_the_signal_ends_at_the_plunge_and_falls_with_distance():
    e, nu = orbit.start_before_plunge(BINARY, 0.1, 5e4)
    strain = waveform.observe(Inspiral(BINARY, (e, nu, 0, 0, 0), plunge=5e4), TIMES)
    assert np.all(strain[:, TIMES >= 5e4] == 0)
    assert np.all(strain[0, TIMES < 5e4] != 0)
    far = Binary(**{**BINARY.__dict__, "distance": 3.0})
    assert waveform.observe(Inspiral(far, START), TIMES) * 3 == pytest.approx(
        waveform.observe(Inspiral(BINARY, START), TIMES), rel=1e-10
    )


def test_three_months_of_both_channels_take_less_than_half_a_second():
    binary = Binary(1e6, 10.0, 0.5, 0.6, theta_s=1.0, phi_s=2.0, theta_k=0.8, phi_k=1.5)
    e, nu = orbit.start_before_plunge(binary, 0.1, FULL.duration)
    spent = []
    for _ in range(3):
        start = process_time()
        waveform.observe(Inspiral(binary, (e, nu, 0.2, 0.3, 0.4)), FULL.times)
        spent.append(process_time() - start)
    assert min(spent) < 0.5  # seconds of processor time; 0.1 to 0.3 when this was written
