"""Detector, noise and whitening: identities that hold exactly, and published values of the noise curve."""

import numpy as np
import pytest
from emri import noise, orbit, tianqin, waveform
from emri.sizes import SCALED, STEP
from emri.waveform import Inspiral, unit_vector


def test_noise_density():
    values = noise.density([1e-4, 1e-3, 3e-3, 1e-2])
    assert values == pytest.approx([1.710997e-33, 9.413817e-38, 1.124710e-39, 4.197387e-41], rel=1e-6)
    assert noise.density(0.0) == np.inf


def test_the_constellation_turns_and_stays_in_its_plane():
    _, _, normal = tianqin.frame()
    frequency = tianqin.ORBITAL_FREQUENCY
    assert frequency == pytest.approx(3.17713e-6, rel=1e-5)
    assert 1 / frequency / 86400 == pytest.approx(3.643, abs=1e-3)
    for arm in tianqin.arms(SCALED.times[:100]):
        assert np.linalg.norm(arm, axis=1) == pytest.approx(1.0)
        assert arm @ normal == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_closed_form_response_equals_the_tensors(seed):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 1e7, 50))
    plus, cross = rng.standard_normal((2, 50))
    source = unit_vector(np.arccos(rng.uniform(-1, 1)), rng.uniform(0, 6))
    momentum = unit_vector(np.arccos(rng.uniform(-1, 1)), rng.uniform(0, 6))
    p = np.cross(source, momentum)
    p /= np.linalg.norm(p)
    q = np.cross(p, source)
    one, two, three = tianqin.arms(times)
    tensor = plus[:, None, None] * (np.outer(p, p) - np.outer(q, q))
    tensor = tensor + cross[:, None, None] * (np.outer(p, q) + np.outer(q, p))
    projected = [np.einsum("ti,tij,tj->t", arm, tensor, arm) / 2 for arm in (one, two, three)]
    first = projected[0] - projected[1]
    second = (projected[0] + projected[1] - 2 * projected[2]) / np.sqrt(3)
    normal = tianqin.frame()[2]
    along = [np.full(50, momentum @ vector) for vector in (normal, source, np.cross(normal, source))]
    observed = tianqin.observe(plus, cross, times, source, *along)
    assert observed == pytest.approx(np.array([first, second]), abs=1e-12)


def test_mean_square_of_the_pattern():
    """Over the sky and the polarisation it is 3/20 for each channel."""
    rng = np.random.default_rng(0)
    normal, squares = tianqin.frame()[2], []
    for _ in range(4000):
        source = unit_vector(np.arccos(rng.uniform(-1, 1)), rng.uniform(0, 2 * np.pi))
        momentum = unit_vector(np.arccos(rng.uniform(-1, 1)), rng.uniform(0, 2 * np.pi))
        along = [np.full(4, momentum @ vector) for vector in (normal, source, np.cross(normal, source))]
        plus = tianqin.observe(np.ones(4), np.zeros(4), SCALED.times[:4], source, *along)
        squares.append(plus[:, 0] ** 2)
    assert np.mean(squares, axis=0) == pytest.approx([0.15, 0.15], rel=0.05)


def strain() -> np.ndarray:
    binary = orbit.Binary(1e6, 10.0, 0.5, 0.6, theta_s=1.0, phi_s=2.0, theta_k=0.8, phi_k=1.5)
    return waveform.observe(Inspiral(binary, (0.3, 1.5e-3, 0.2, 0.3, 0.4)), SCALED.times)


def test_squares_of_a_whitened_signal_sum_to_the_squared_snr():
    signal = strain()
    assert np.sum(noise.whiten(signal, STEP) ** 2) == pytest.approx(noise.snr(signal, STEP) ** 2, rel=1e-9)
    assert noise.snr(signal / 7, STEP) == pytest.approx(noise.snr(signal, STEP) / 7, rel=1e-12)


def test_whitened_noise_has_unit_variance_and_no_colour():
    coloured = noise.simulate(np.random.default_rng(0), (2, 65536), STEP)
    white = noise.whiten(coloured, STEP)
    assert np.var(white) == pytest.approx(1.0, rel=0.02)
    spectrum = np.abs(np.fft.rfft(white)) ** 2 / 65536
    assert spectrum[:, 1:].reshape(2, 16, -1).mean(axis=(0, 2)) == pytest.approx(np.ones(16), rel=0.08)


def test_taper_is_smooth_and_costs_little():
    window = noise.taper(8192)
    assert window[0] < 1e-3
    assert window[-1] < 1e-3
    assert np.mean(window**2) > 0.97
    assert np.abs(np.diff(window)).max() < 0.02
