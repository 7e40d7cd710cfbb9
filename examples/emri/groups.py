"""The seven test groups of the paper: which signals, and how loud."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from .batches import TRAINING_SNR
from .population import M12_LIKE, TRAINING, Prior, luminosity_distance, nearby
from .sizes import Size
from .templates import Templates

TEST_SEED = 2
SNRS = tuple(range(10, 131, 10))
MASSES = (1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7)
NEAR_REDSHIFTS = (0.1, 0.2, 0.3)
SPINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.98)
REDSHIFTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)

Loudness = Callable[[np.random.Generator, Templates, Size], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Source:
    """A set of templates: its name in the cache, what it is drawn from, and by which waveform."""

    name: str
    prior: Prior
    model: str = "ak"


@dataclass(frozen=True)
class Cell:
    """One point of a group's figure.

    Attributes
    ----------
    group : int
        1 to 7, in the paper's order.
    curve : str
        Name of the curve the point is on.
    x : float or None
        Position on the curve; None where the group has a single point.
    source : Source
    loudness : callable
        ``(rng, templates, size) -> (index, snr)``: which templates, and at which quoted SNR.
    """

    group: int
    curve: str
    x: float | None
    source: Source
    loudness: Loudness

    @property
    def key(self) -> str:
        """Name of the cell in files."""
        return f"group{self.group}-{self.curve}-{'all' if self.x is None else f'{self.x:g}'}".replace(" ", "_")


def uniform(low: float, high: float) -> Loudness:
    """Every template once, with SNRs uniform between two values."""

    def choose(rng, templates, size):
        return np.arange(len(templates)), rng.uniform(low, high, len(templates))

    return choose


def at_redshift(redshift: float) -> Loudness:
    """Every template once, at the distance of a redshift."""

    def choose(rng, templates, size):
        return np.arange(len(templates)), size.loudness * templates.column("snr") / luminosity_distance(redshift)

    return choose


def survey(minimum: float) -> Loudness:
    """As many as there are templates, of those that a survey of the local universe hears above an SNR."""

    def choose(rng, templates, size):
        return nearby(rng, templates.column("snr"), len(templates), minimum=minimum)

    return choose


def cells() -> Iterator[Cell]:
    """All points of the seven groups. Masses are redshifted ones, so that distance is all a redshift changes."""
    everything = Source("test", TRAINING)
    yield Cell(1, "AK", None, everything, uniform(*TRAINING_SNR))
    yield Cell(2, "M12-like", None, Source("m12", M12_LIKE), survey(50.0))
    yield Cell(3, "AAK", None, Source("aak", TRAINING, "aak"), uniform(*TRAINING_SNR))
    for snr in SNRS:
        yield Cell(4, "AK", float(snr), everything, uniform(snr, snr))
    by_mass = {mass: Source(f"mass{mass:.0e}", replace(TRAINING, mass=(mass, mass))) for mass in MASSES}
    for redshift in NEAR_REDSHIFTS:
        for mass, source in by_mass.items():
            yield Cell(5, f"z = {redshift}", mass, source, at_redshift(redshift))
    for spin in SPINS:
        source = Source(f"spin{spin}", replace(TRAINING, mass=(1e6, 1e6), spin=(spin, spin)))
        yield Cell(6, "SNR 50", spin, source, uniform(50, 50))
        yield Cell(6, "z = 0.3", spin, source, at_redshift(0.3))
    for mass in (3e5, 1e6, 3e6):
        for redshift in REDSHIFTS:
            yield Cell(7, f"{mass:.0e} solar masses", redshift, by_mass[mass], at_redshift(redshift))
