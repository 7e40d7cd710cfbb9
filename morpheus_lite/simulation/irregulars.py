"""Irregular galaxies: clumps, chains, tadpoles, mergers with tails, lopsided bodies."""

import numpy as np

from morpheus_lite.simulation.grid import Grid, gaussians, random_texture, sersic_transform, tint
from morpheus_lite.simulation.populations import Source


def irregular_transform(source: Source, grid: Grid, wavelengths: np.ndarray) -> np.ndarray:
    """Fourier transform of an irregular galaxy in each band, unit flux.

    Returns
    -------
    numpy.ndarray
        complex, shape ``(band, side, side // 2 + 1)`` of the grid.
    """
    rng = np.random.default_rng(source.seed)
    drawing = {"clumpy": clumpy, "chain": chain, "tadpole": tadpole, "merger": merger, "lopsided": lopsided}
    total = np.zeros((wavelengths.size, grid.side, grid.side // 2 + 1), dtype=np.complex64)
    for part, flux, colour in drawing[source.structure](source, grid, rng):
        total += (np.float32(flux) * tint(colour, wavelengths))[:, None, None] * part
    return total / total[:, :1, :1].real


def body(source: Source, grid: Grid, rng: np.random.Generator, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """Transform of a patchy elliptical body off the centre by ``(x, y)`` arcsec."""
    along, across = grid.rotated(source.angle, x, y)
    radius = np.hypot(along, across / source.axis_ratio) / source.radius
    # Half of the light lies within the radius (first order of Ciotti & Bertin 1999).
    b = 2 * source.sersic - 1 / 3
    image = np.exp(-b * radius ** (1 / source.sersic))
    rough = random_texture(grid, rng, rng.uniform(0.12, 0.4) * source.radius)
    return grid.transform(image * np.exp(source.asymmetry * rng.uniform(0.3, 1.0) * rough))


def placed(source: Source, along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions x, y (arcsec) of points given along and across the major axis in half-light radii."""
    cosine, sine = np.cos(source.angle), np.sin(source.angle)
    u, v = along * source.radius, across * source.radius
    return u * cosine - v * sine, u * sine + v * cosine


def spots(source: Source, grid: Grid, along, across, sigma, flux) -> np.ndarray:
    """Transform of Gaussians whose places and widths are in half-light radii."""
    x, y = placed(source, np.asarray(along), np.asarray(across))
    return grid.transform(gaussians(grid, x, y, np.asarray(sigma) * source.radius, np.asarray(flux)))


def clumpy(source: Source, grid: Grid, rng: np.random.Generator) -> list:
    """A faint body with bright clumps of two colours."""
    x, y = placed(source, *rng.normal(0, 0.35, 2))
    parts = [(body(source, grid, rng, float(x), float(y)), 1.0, rng.uniform(-0.4, 0.3))]
    # The more asymmetric the source, the more of its light is in clumps.
    share = 0.4 + 1.0 * source.asymmetry * rng.uniform(0.5, 1.3)
    for colour in (rng.uniform(0.3, 1.5), rng.uniform(-0.6, 0.6)):
        count = int(rng.integers(2, 7))
        along, across = rng.normal(0, 0.75, count), rng.normal(0, 0.75 * max(source.axis_ratio, 0.5), count)
        sigma, flux = rng.uniform(0.08, 0.28, count), rng.pareto(1.5, count) + 0.4
        parts.append((spots(source, grid, along, across, sigma, flux), share / 2, colour))
    return parts


def chain(source: Source, grid: Grid, rng: np.random.Generator) -> list:
    """Clumps in a row, slightly bent."""
    count = int(rng.integers(3, 8))
    along = np.sort(rng.uniform(-1.5, 1.5, count))
    bend = rng.normal(0, 0.15)
    across = bend * along**2 + rng.normal(0, 0.08, count)
    clumps = spots(source, grid, along, across, rng.uniform(0.1, 0.25, count), rng.uniform(0.2, 1, count))
    line = np.linspace(-1.6, 1.6, 24)
    # A faint bridge keeps the clumps one source.
    bridge = spots(source, grid, line, bend * line**2, np.full(24, 0.25), np.exp(-0.5 * (line / 1.1) ** 2))
    return [(clumps, 1.0, rng.uniform(0, 1.2)), (bridge, rng.uniform(0.3, 1.2), rng.uniform(-0.4, 0.4))]


def tadpole(source: Source, grid: Grid, rng: np.random.Generator) -> list:
    """A bright head at one end of a fading, curved tail."""
    line = np.linspace(0, 1, 28)
    length, bend = rng.uniform(1.6, 3.2), rng.normal(0, 0.5)
    along, across = 0.8 - length * line, bend * line**2
    tail = spots(source, grid, along, across, 0.16 + 0.2 * line, np.exp(-rng.uniform(0.5, 2.2) * line))
    head = spots(source, grid, [0.8], [0.0], [rng.uniform(0.12, 0.35)], [1.0])
    at = rng.uniform(0.1, 0.9, 3)
    lumps = spots(source, grid, 0.8 - length * at, bend * at**2, np.full(3, 0.12), rng.uniform(0.2, 1, 3))
    return [
        (head, rng.uniform(0.4, 1.0), rng.uniform(-0.3, 1.0)),
        (tail, rng.uniform(0.5, 1.0), rng.uniform(-0.2, 0.8)),
        (lumps, rng.uniform(0.0, 0.25), rng.uniform(0.4, 1.4)),
    ]


def merger(source: Source, grid: Grid, rng: np.random.Generator) -> list:
    """Two bodies that touch, each with a curved tidal tail, and a burst of star formation."""
    apart, direction = rng.uniform(0.7, 2.0), rng.uniform(0, 2 * np.pi)
    parts = []
    for sign, flux in ((1, 1.0), (-1, rng.uniform(0.3, 1.0))):
        along, across = sign * apart / 2 * np.cos(direction), sign * apart / 2 * np.sin(direction)
        x, y = placed(source, np.array(along), np.array(across))
        nucleus = sersic_transform(
            grid,
            index=rng.uniform(0.8, 3.0),
            radius=max(source.radius * rng.uniform(0.3, 0.7), 0.03),
            axis_ratio=rng.uniform(0.35, 0.95),
            angle=rng.uniform(0, np.pi),
            x=float(x),
            y=float(y),
        )
        parts.append((nucleus, flux, rng.uniform(-0.5, 0.7)))
        line = np.linspace(0, 1, 36)
        # Tails leave the two nuclei on opposite sides, and bend by 35 to 150 degrees.
        turn = direction + (0 if sign > 0 else np.pi) + rng.uniform(0.6, 2.6) * rng.choice([-1, 1]) * line
        reach = rng.uniform(1.2, 3.2) * line
        tail = spots(
            source,
            grid,
            along + reach * np.cos(turn),
            across + reach * np.sin(turn),
            0.14 + 0.22 * line,
            np.exp(-rng.uniform(0.5, 2.0) * line),
        )
        parts.append((tail, 0.5 * source.asymmetry * rng.uniform(0.15, 0.8), rng.uniform(-0.2, 0.9)))
    count = int(rng.integers(2, 7))
    along, across = rng.normal(0, 0.5, (2, count))
    burst = spots(source, grid, along, across, rng.uniform(0.06, 0.2, count), rng.uniform(0.2, 1, count))
    return [*parts, (burst, rng.uniform(0, 0.4), rng.uniform(0.4, 1.6))]


def lopsided(source: Source, grid: Grid, rng: np.random.Generator) -> list:
    """A patchy body with its brightest part off the centre, and a one-sided arc."""
    main = body(source, grid, rng)
    side = rng.uniform(0, 2 * np.pi)
    offset = rng.uniform(0.35, 0.9)
    x, y = placed(source, np.array(offset * np.cos(side)), np.array(offset * source.axis_ratio * np.sin(side)))
    second = sersic_transform(
        grid,
        index=rng.uniform(0.5, 1.8),
        radius=max(source.radius * rng.uniform(0.2, 0.5), 0.03),
        axis_ratio=rng.uniform(0.4, 0.95),
        angle=rng.uniform(0, np.pi),
        x=float(x),
        y=float(y),
    )
    turn = side + rng.choice([-1, 1]) * np.linspace(0, rng.uniform(1.2, 3.5), 30)
    reach = rng.uniform(0.8, 1.6) * np.linspace(0.8, 1.3, 30)
    arc = spots(
        source,
        grid,
        reach * np.cos(turn),
        reach * source.axis_ratio * np.sin(turn),
        np.full(30, rng.uniform(0.12, 0.25)),
        np.linspace(1, 0.2, 30),
    )
    return [
        (main, 1.0, rng.uniform(-0.3, 0.4)),
        (second, source.asymmetry * rng.uniform(0.3, 1.1), rng.uniform(-0.4, 1.2)),
        (arc, source.asymmetry * rng.uniform(0.05, 0.5), rng.uniform(0.0, 1.3)),
    ]
