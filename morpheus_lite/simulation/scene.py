"""Sources of a field and their positions: counts, clustering, clusters of galaxies, close pairs."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from morpheus_lite.simulation.populations import KINDS, Source, draw_kind, draw_magnitudes, draw_source
from morpheus_lite.simulation.psf import OVERSAMPLING

EDGE = 24
"""Pixels around the field in which sources are placed too, so that some are cut by the edge."""


BRIGHT_POINT = 21.5
"""H magnitude of point sources that sit on a sample of the PSF."""


@dataclass(frozen=True)
class Sky:
    """Density and clustering of the sources to draw.

    Parameters
    ----------
    density_boost : float
        How many times more sources brighter than H = 25 than the real sky has.
    balance : float
        0 for the class shares of the real sky, 1 for equal shares among sources brighter than H = 25.
    limit : float
        Faintest H magnitude (AB).
    pair_share : float
        Share of the sources that get a close neighbour.
    cluster : bool
        Whether a cluster of spheroids around a very bright one lies in the field.
    spirals : int
        How many large bright spirals to add.
    stars : int
        How many bright stars (H < 21) to add.
    colour_scatter : float
        Standard deviation in magnitudes, between 0.6 and 1.5 micron, of a random tilt of each source's colours.
    population : object or None
        Sources drawn instead of those of the real sky: its ``galaxies(rng)`` gives a list of `Source`, and its
        ``stars(rng, shape)`` one of `Placed` in a field of this height and width, and a little beyond its edges.
        `density_boost`, `balance` and `limit` then mean nothing to them.
    """

    density_boost: float = 1.0
    balance: float = 0.0
    limit: float = 27.5
    pair_share: float = 0.04
    cluster: bool = False
    spirals: int = 0
    stars: int = 0
    colour_scatter: float = 0.0
    population: Any = None


Placed = tuple[Source, float, float]
"""A source and the x and y of its centre in pixels."""


def draw_scene(rng: Generator, shape: tuple[int, int], pixel_scale: float, sky: Sky) -> list[Placed]:
    """The sources of a field with their positions, brightest first."""
    if sky.population is None:
        area = (shape[0] + 2 * EDGE) * (shape[1] + 2 * EDGE) * (pixel_scale / 60) ** 2
        sources = [
            draw_source(rng, magnitude, balance=sky.balance if magnitude < 25 else sky.balance * 0.3)
            for magnitude in draw_magnitudes(rng, area, boost=sky.density_boost, limit=sky.limit)
        ]
    else:
        sources = sky.population.galaxies(rng)
    x, y = positions(rng, len(sources), shape)
    placed = list(zip(sources, x, y, strict=True))
    placed += neighbours(rng, placed, sky, pixel_scale)
    if sky.population is not None:
        placed += sky.population.stars(rng, shape)
    if sky.cluster:
        placed += cluster(rng, shape, pixel_scale)
    placed += [bright_spiral(rng, shape) for _ in range(sky.spirals)]
    placed += [bright_star(rng, shape) for _ in range(sky.stars)]
    placed = [(tilted(rng, source, sky.colour_scatter), *settled(source, x, y)) for source, x, y in placed]
    return sorted(placed, key=lambda item: item[0].magnitude)


def settled(source: Source, x: float, y: float) -> tuple[float, float]:
    """The position, for bright points on a sample of the PSF: shifting it by less would ring along rows and columns."""
    if source.kind == "point_source" and source.magnitude < BRIGHT_POINT:
        return round(x * OVERSAMPLING) / OVERSAMPLING, round(y * OVERSAMPLING) / OVERSAMPLING
    return float(x), float(y)


def tilted(rng: Generator, source: Source, scatter: float) -> Source:
    """The source with a random tilt and jitter of its colours."""
    if scatter == 0:
        return source
    tilt = rng.normal(0, scatter)
    # Colours are relative to F160W: a tilt counts more the farther a band lies from it.
    arms = np.array([1.35, 1.0, 0.72, 0.56, 0.22])
    return replace(source, colours=tuple(np.clip(np.array(source.colours) + tilt * arms, -1.5, 5.5).tolist()))


def positions(rng: Generator, count: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the sources: most uniform, some in loose groups."""
    x = rng.uniform(-EDGE, shape[1] + EDGE, count)
    y = rng.uniform(-EDGE, shape[0] + EDGE, count)
    grouped = np.flatnonzero(rng.uniform(size=count) < 0.2)
    if count and grouped.size:
        centre = rng.integers(0, count, grouped.size)
        spread = rng.uniform(12, 60, grouped.size)
        x[grouped] = x[centre] + spread * rng.normal(size=grouped.size)
        y[grouped] = y[centre] + spread * rng.normal(size=grouped.size)
    return x, y


def neighbours(rng: Generator, placed: list[Placed], sky: Sky, pixel_scale: float) -> list[Placed]:
    """Close neighbours of some sources: as bright or fainter, one to three radii away, of any kind."""
    found = []
    for source, x, y in placed:
        if rng.uniform() > sky.pair_share * (3 if source.magnitude < 24 else 1):
            continue
        other = draw_source(rng, min(source.magnitude + rng.exponential(1.0), sky.limit), balance=sky.balance)
        # The PSF is part of the size that is seen: 0.12 arcsec.
        apart = rng.uniform(0.8, 3.0) * (source.radius + other.radius + 0.12) / pixel_scale
        direction = rng.uniform(0, 2 * np.pi)
        found.append((other, x + apart * np.cos(direction), y + apart * np.sin(direction)))
    return found


def cluster(rng: Generator, shape: tuple[int, int], pixel_scale: float) -> list[Placed]:
    """A cluster: one very bright spheroid with a wide envelope, and tens of spheroids and disks around it."""
    x, y = rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
    bright = rng.uniform(17.0, 19.5)
    chief = draw_kind(rng, "spheroid", bright, radius=float(rng.uniform(0.9, 2.2)))
    members = [(replace(chief, axis_ratio=float(rng.uniform(0.6, 0.9))), x, y)]
    spread = rng.uniform(4, 10) / pixel_scale
    for _ in range(int(rng.integers(12, 40))):
        kind = rng.choice(KINDS[:3], p=[0.65, 0.3, 0.05])
        magnitude = bright + 1.0 + 7.0 * rng.power(2.0)
        place = spread * rng.normal(size=2)
        members.append((draw_kind(rng, str(kind), magnitude), x + place[0], y + place[1]))
    return members


def bright_spiral(rng: Generator, shape: tuple[int, int]) -> Placed:
    """A large, bright, structured disk."""
    magnitude = rng.uniform(17.5, 21.8)
    radius = float(10 ** rng.normal(0.22 - 0.11 * (magnitude - 18), 0.14))
    source = draw_kind(rng, "disk", magnitude, radius=min(radius, 2.6))
    structure = str(rng.choice(["spiral", "spiral", "flocculent"]))
    ratio = float(np.clip(rng.beta(2.5, 1.8), 0.15, 0.97))
    source = replace(source, structure=structure, bulge=min(source.bulge, 0.35), axis_ratio=ratio)
    return source, rng.uniform(0, shape[1]), rng.uniform(0, shape[0])


def bright_star(rng: Generator, shape: tuple[int, int]) -> Placed:
    """A star bright enough to show spikes or to saturate."""
    source = draw_kind(rng, "point_source", 15.0 + 6.0 * rng.power(1.6))
    return source, rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
