"""Populations, templates and data."""

from dataclasses import replace

import numpy as np
import pytest
from emri import batches, groups, population, templates
from emri.noise import snr
from emri.orbit import OrbitError
from emri.population import TRAINING, Prior
from emri.sizes import FULL, SCALED, STEP, Size

SMALL = Size("small", 2048)


def test_sizes():
    assert FULL.duration == 7_864_320
    assert FULL.snr_factor == FULL.loudness == 1
    assert 50 * SCALED.snr_factor == pytest.approx(21.0, abs=0.05)
    assert SCALED.loudness * SCALED.snr_factor == pytest.approx(32**0.25)


def test_draws_follow_their_prior_and_their_seed():
    drawn = [population.draw(np.random.default_rng([5, i]), TRAINING, SCALED.duration) for i in range(40)]
    again = population.draw(np.random.default_rng([5, 7]), TRAINING, SCALED.duration)
    assert again == drawn[7]
    masses = np.array([inspiral.binary.mass for inspiral in drawn])
    assert np.all((masses >= 1e5) & (masses <= 1e7))
    assert 10**5.6 < np.median(masses) < 10**6.4
    assert all(inspiral.plunge >= SCALED.duration for inspiral in drawn)
    assert all(0 <= inspiral.start[0] < 0.9 for inspiral in drawn)


def test_redshift_moves_masses_and_hopeless_priors_say_so():
    fixed = replace(TRAINING, mass=(1e6, 1e6), redshift=0.5)
    binary = population.draw(np.random.default_rng(0), fixed, SCALED.duration).binary
    assert (binary.mass, binary.companion) == (pytest.approx(1.5e6), pytest.approx(15.0))
    with pytest.raises(OrbitError, match="none of 200 draws"):
        population.draw(np.random.default_rng(0), Prior(mass=(1e4, 1e4), eccentricity=(0.3, 0.4)), SCALED.duration)


def test_slopes_of_priors():
    rng = np.random.default_rng(0)
    falling = Prior(mass=(1e5, 1e7), mass_slope=-0.5)
    masses = np.array([falling.draw_mass(rng) for _ in range(4000)])
    # Integral of M^-0.5 d ln M from 1e5 to 1e6 over that from 1e5 to 1e7.
    assert np.mean(masses < 1e6) == pytest.approx((1 - 10**-0.5) / (1 - 10**-1), abs=0.03)
    spins = np.array([Prior(spin_power=5.0).draw_spin(rng) for _ in range(4000)])
    assert np.mean(spins < 0.49) == pytest.approx(0.5**5, abs=0.01)


def test_distance_and_nearby_survey():
    assert population.luminosity_distance(0.1) == pytest.approx(0.475, rel=0.01)
    assert population.luminosity_distance(1.0) == pytest.approx(6.79, rel=0.01)
    index, loud = population.nearby(np.random.default_rng(0), np.array([1.0, 2.0]), 20000, minimum=50)
    assert np.mean(index == 1) == pytest.approx(8 / 9, abs=0.01)
    assert loud.min() >= 50
    assert np.mean(loud > 100) == pytest.approx(1 / 8, abs=0.01)


def test_templates_are_cached_resumed_and_extended():
    few = templates.build("cached", TRAINING, SMALL, 5, (9,))
    assert len(few) == 5
    assert few[4].shape == (2, SMALL.n_samples)
    assert few[4].dtype == np.float32
    assert np.mean(few[4] ** 2) == pytest.approx(1.0, rel=1e-2)
    assert np.all(few.column("snr") >= templates.MINIMUM_SNR)
    made = []
    more = templates.build("cached", TRAINING, SMALL, 66, (9,), progress=made.append)
    assert made == ["cached: 1 of 1 chunks of 64 templates"]  # the first chunk was there
    np.testing.assert_array_equal(more[4], few[4])
    other = templates.build("cached", replace(TRAINING, mass=(1e6, 1e6)), SMALL, 1, (9,))
    assert other.column("mass")[0] == pytest.approx(1e6)  # another prior does not read the same files


def test_a_template_has_the_snr_of_its_strain():
    inspiral = population.draw(np.random.default_rng(3), replace(TRAINING, mass=(1e6, 1e6)), SCALED.duration)
    white, value = templates.make(inspiral, SCALED)
    strain = templates.observe(inspiral, SCALED.times) * templates.taper(SCALED.n_samples)
    assert value == pytest.approx(snr(strain, STEP), rel=1e-3)  # but for the constant, which whitening drops
    assert np.mean(white**2) == pytest.approx(1.0)


def test_data_are_noise_and_signal_of_the_given_snr():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((2, SCALED.n_samples)).astype(np.float32)
    signal /= np.sqrt(np.mean(signal**2))
    data = batches.observe(np.random.default_rng(1), SCALED, [None, signal], np.array([50.0, 50.0]))
    bare = batches.observe(np.random.default_rng(1), SCALED, [None, None], np.array([50.0, 50.0]))
    assert data.shape == (2, SCALED.n_samples, 2)
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data[0], bare[0])
    assert np.sqrt(np.sum((data[1] - bare[1]) ** 2)) == pytest.approx(50 * SCALED.snr_factor, rel=1e-4)


def test_turning_channels_keeps_the_signal():
    signal = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    turned = batches.turn(signal, 0.7)
    assert np.sum(turned**2) == pytest.approx(np.sum(signal**2), rel=1e-5)
    assert batches.turn(turned, -0.7) == pytest.approx(signal, abs=1e-5)


def test_turning_channels_is_another_phase_of_the_constellation(monkeypatch):
    from emri import tianqin

    inspiral = population.draw(np.random.default_rng(3), TRAINING, SCALED.duration)
    here = templates.observe(inspiral, SMALL.times)
    phase = tianqin.orbital_phase
    monkeypatch.setattr(tianqin, "orbital_phase", lambda times: phase(times) + 0.4)
    there = templates.observe(inspiral, SMALL.times)
    turned = np.stack([c * here[0] + s * here[1] for c, s in ((np.cos(0.8), np.sin(0.8)), (-np.sin(0.8), np.cos(0.8)))])
    assert there == pytest.approx(turned, rel=1e-6, abs=1e-9 * np.abs(there).max())


def test_training_batches_are_balanced_and_depend_on_the_seed_only():
    signals = templates.build("cached", TRAINING, SMALL, 5, (9,))
    data, labels = batches.training_batch(np.random.default_rng([1, 2]), SMALL, signals, 8)
    again, _ = batches.training_batch(np.random.default_rng([1, 2]), SMALL, signals, 8)
    np.testing.assert_array_equal(data, again)
    assert labels.sum() == 4
    power = np.sum(data.astype(float) ** 2, axis=(1, 2))
    assert power[labels == 1].mean() > power[labels == 0].mean()


def test_all_seven_groups_are_there_with_unique_names():
    cells = list(groups.cells())
    assert {cell.group for cell in cells} == {1, 2, 3, 4, 5, 6, 7}
    assert len({cell.key for cell in cells}) == len(cells)
    assert [cell.x for cell in cells if cell.group == 4] == list(range(10, 131, 10))
    signals = templates.build("cached", TRAINING, SMALL, 5, (9,))
    for cell in cells:
        index, loud = cell.loudness(np.random.default_rng(0), signals, SMALL)
        assert len(index) == len(loud) == 5
        assert np.all(loud > 0)
