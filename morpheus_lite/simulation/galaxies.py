"""Galaxies as they are drawn, in Fourier space.

* spheroids: a Sersic profile, at times with a halo or a weak disk;
* disks: bulge, bar, log-spiral or flocculent arms, rings, knots of young stars, dust;
* irregulars: clumps, chains, tadpoles, mergers with tails, lopsided bodies.
"""

import numpy as np
import scipy.ndimage
from numpy.random import Generator
from scipy.special import expit

from morpheus_lite.simulation.grid import Grid, gaussians, random_texture, sersic_transform, tint
from morpheus_lite.simulation.populations import Source

RESOLVED = 2.5
"""A disk whose half-light radius is less than this many pixels is drawn smooth: nothing else would show."""


def spheroid_transform(source: Source, grid: Grid, wavelengths: np.ndarray) -> np.ndarray:
    """Fourier transform of a spheroid in each band, unit flux: a Sersic profile, at times a halo or a weak disk."""
    rng = np.random.default_rng(source.seed)
    shape = {"axis_ratio": source.axis_ratio, "angle": source.angle}
    total = np.full((wavelengths.size, 1, 1), source.bulge, np.float32) * sersic_transform(
        grid, index=source.sersic, radius=source.radius, **shape
    )
    if source.bulge < 1:
        radius, ratio = source.radius * rng.uniform(0.9, 1.6), max(source.axis_ratio * rng.uniform(0.5, 1.0), 0.2)
        angle = source.angle + rng.normal(0, 0.15)
        second = sersic_transform(grid, index=1.0, radius=radius, axis_ratio=ratio, angle=angle)
        colour = tint(rng.uniform(-0.1, 0.6), wavelengths)
        total = total + np.float32(1 - source.bulge) * colour * second
    return total / total[:, :1, :1].real


def disk_transform(source: Source, grid: Grid, wavelengths: np.ndarray) -> np.ndarray:
    """Fourier transform of a disk galaxy in each band, unit flux.

    Returns
    -------
    numpy.ndarray
        complex, shape ``(band, side, side // 2 + 1)`` of the grid.
    """
    rng = np.random.default_rng(source.seed)
    shape = {"axis_ratio": source.axis_ratio, "angle": source.angle}
    total = np.zeros((wavelengths.size, grid.side, grid.side // 2 + 1), dtype=np.complex64)
    disk_share = np.float32(1 - source.bulge)
    if source.structure == "smooth" or source.radius < RESOLVED * grid.pixel_scale:
        total += disk_share * sersic_transform(grid, index=source.sersic, radius=source.radius, **shape)
    else:
        planes = structured_disk(source, grid, wavelengths, rng)
        # The bulge's share is that in F160W (1.537 micron); in the other bands the colours of the parts decide.
        reference = planes[np.argmin(np.abs(wavelengths - 1.537))].sum()
        for plane, whole in zip(total, planes, strict=True):
            plane += disk_share * grid.transform(whole) * np.float32(whole.sum() / reference)
    if source.bulge > 0:
        # Bulges are a tenth to a third of the size of the disk, rounder, and redder.
        shape["radius"] = max(source.radius * rng.uniform(0.1, 0.3), 0.02)
        shape["axis_ratio"] = 1 - (1 - source.axis_ratio) * rng.uniform(0.2, 0.7)
        bulge = sersic_transform(grid, index=rng.uniform(1, 4), **shape)
        total += np.float32(source.bulge) * tint(rng.uniform(-0.8, 0.2), wavelengths) * bulge
    return total / total[:, :1, :1].real


def structured_disk(source: Source, grid: Grid, wavelengths: np.ndarray, rng: Generator) -> np.ndarray:
    """Images of the disk alone with all its structure, shape ``(band, side, side)``."""
    # Half of the light of an exponential disk lies within 1.678 scale lengths; with a bulge the disk is the wider part.
    scale = source.radius / 1.678 * (1 + 0.4 * source.bulge)
    along, across = grid.rotated(source.angle)
    across = across / max(source.axis_ratio, 0.15)
    radius, phi = np.hypot(along, across), np.arctan2(across, along)
    base = np.exp(-radius / scale)
    # Most disks are truncated, at 2 to 5 scale lengths.
    if rng.uniform() < 0.6:
        edge = scale * rng.uniform(2.2, 4.5)
        base *= expit((edge - radius) / (rng.uniform(0.1, 0.4) * scale))
    # Lopsided: a dipole that grows up to two scale lengths.
    base *= 1 + source.asymmetry * np.cos(phi - rng.uniform(0, 2 * np.pi)) * np.minimum(radius / (2 * scale), 1)
    arms = spiral_arms(radius / scale, phi, rng) if source.structure == "spiral" else patches(radius / scale, phi, rng)
    rough = np.exp(rng.uniform(0.1, 0.55) * random_texture(grid, rng, rng.uniform(0.1, 0.35) * scale))
    # Young stars are blue and follow the arms; old ones are redder, and smooth.
    young = base * arms * rough
    old = base * (1 + rng.uniform(0.1, 0.5) * arms)
    share = rng.uniform(0.2, 0.75)
    parts = [(old, 1 - share, rng.uniform(-0.4, 0.1)), (young, share, rng.uniform(0.2, 1.2))]
    parts.append((knots(source, grid, young, rng), rng.uniform(0.01, 0.08), rng.uniform(0.6, 1.8)))
    if rng.uniform() < 0.5:
        parts.append((bar(along, across, scale, rng), rng.uniform(0.05, 0.2), rng.uniform(-0.6, 0.1)))
    if rng.uniform() < 0.2:
        where, width = scale * rng.uniform(0.8, 2.5), scale * rng.uniform(0.12, 0.4)
        ring = np.exp(-0.5 * ((radius - where) / width) ** 2) * rough
        parts.append((ring, rng.uniform(0.05, 0.3), rng.uniform(0.0, 1.2)))
    planes = np.zeros((wavelengths.size, *base.shape), dtype=np.float32)
    for image, flux, colour in parts:
        planes += flux / image.sum() * tint(colour, wavelengths) * image
    return planes * dust(source, across, scale, arms, wavelengths, rng)


def spiral_arms(radius: np.ndarray, phi: np.ndarray, rng: Generator) -> np.ndarray:
    """Brightness of logarithmic spiral arms, about 0 between them and 1 on their ridge; radius in scale lengths."""
    count = int(rng.choice([2, 2, 2, 3, 4, 1], p=[0.25, 0.2, 0.2, 0.15, 0.15, 0.05]))
    # Pitch angles of 8 to 35 degrees, constant along an arm: a logarithmic spiral.
    winding = rng.choice([-1, 1]) / np.tan(np.deg2rad(rng.uniform(8, 35)))
    inner, outer = rng.uniform(0.2, 0.9), rng.uniform(2.2, 4.5)
    wobble = sum(
        rng.normal(0, 0.25 / k) * np.sin(k * phi + rng.uniform(0, 6.3) + rng.uniform(0.5, 2) * radius)
        for k in (1, 2, 3)
    )
    phase = phi - winding * np.log(np.maximum(radius, 0.05)) + wobble
    sharpness = rng.uniform(1.2, 6.0)
    ridge = np.exp(sharpness * (np.cos(count * phase + rng.uniform(0, 6.3)) - 1))
    # One arm is brighter than the other.
    uneven = 1 + rng.uniform(0, 0.6) * np.cos(phase + rng.uniform(0, 6.3))
    reach = expit((outer - radius) / 0.35) * expit((radius - inner) / 0.15)
    return (ridge * uneven * reach + 0.02).astype(np.float32)


def patches(radius: np.ndarray, phi: np.ndarray, rng: Generator) -> np.ndarray:
    """Brightness of flocculent arms: noise sheared by the rotation of the disk; radius in scale lengths."""
    # Noise on a table of angle and logarithm of the radius, periodic in the angle. The winding shears it.
    table = rng.standard_normal((128, 64))
    sigma = (rng.uniform(3, 8), rng.uniform(4, 12))
    table = scipy.ndimage.gaussian_filter(table, sigma, mode=("wrap", "nearest"))
    table /= table.std()
    winding = rng.choice([-1, 1]) / np.tan(np.deg2rad(rng.uniform(12, 40)))
    log_radius = np.log(np.maximum(radius, 0.1))
    angle = (phi - winding * log_radius) / (2 * np.pi) * 128
    depth = np.clip((log_radius + 2.3) / 4.2, 0, 1) * 63
    noise = scipy.ndimage.map_coordinates(table, [np.mod(angle, 128), depth], order=1, mode="grid-wrap")
    return np.exp(rng.uniform(0.3, 0.9) * noise).astype(np.float32)


def knots(source: Source, grid: Grid, young: np.ndarray, rng: Generator) -> np.ndarray:
    """Image of star-forming knots, placed where the young stars are."""
    count = int(rng.integers(5, 60))
    cumulative = np.cumsum(young.ravel(), dtype=np.float64)
    picked = np.searchsorted(cumulative, rng.uniform(0, cumulative[-1], count))
    y, x = np.unravel_index(np.minimum(picked, young.size - 1), young.shape)
    sigma = source.radius * rng.uniform(0.015, 0.07, count)
    # Luminosities of star-forming regions follow a power law.
    return gaussians(grid, grid.axis[x], grid.axis[y], sigma, rng.pareto(1.5, count) + 0.2)


def bar(along: np.ndarray, across: np.ndarray, scale: float, rng: Generator) -> np.ndarray:
    """Image of a bar in the plane of the disk."""
    angle = rng.uniform(0, np.pi)
    length, width = scale * rng.uniform(0.4, 1.0), rng.uniform(0.15, 0.35)
    u = along * np.cos(angle) + across * np.sin(angle)
    v = across * np.cos(angle) - along * np.sin(angle)
    # A superellipse of exponent 2.5: bars are boxy.
    distance = (np.abs(u / length) ** 2.5 + np.abs(v / (length * width)) ** 2.5) ** 0.4
    return np.exp(-(distance ** rng.uniform(1.2, 2.0)))


def dust(
    source: Source, across: np.ndarray, scale: float, arms: np.ndarray, wavelengths: np.ndarray, rng: Generator
) -> np.ndarray:
    """Transmission of the dust in each band: lanes along the arms, and a dark lane where the disk is edge-on."""
    depth = 0.25 * rng.exponential(1.0) * np.roll(arms, rng.integers(-3, 4), axis=(0, 1)) / arms.max()
    # Seen from the side, the dust of the midplane is a dark lane.
    if source.axis_ratio < 0.35:
        height = across * max(source.axis_ratio, 0.15) / scale
        offset, width = rng.uniform(-0.06, 0.06), rng.uniform(0.03, 0.1)
        depth = depth + rng.uniform(0, 1.0) * np.exp(-0.5 * ((height - offset) / width) ** 2)
    return np.exp(-depth[None] * tint(1.0, wavelengths)).astype(np.float32)


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
        total += np.float32(flux) * tint(colour, wavelengths) * part
    return total / total[:, :1, :1].real


def body(source: Source, grid: Grid, rng: Generator, x: float = 0.0, y: float = 0.0) -> np.ndarray:
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


def lump(
    source: Source, grid: Grid, rng: Generator, place: tuple[np.ndarray, np.ndarray], **ranges: tuple[float, float]
) -> np.ndarray:
    """Transform of a Sersic profile at x, y (arcsec): ranges of its index, size (half-light radii) and axis ratio."""
    index, size, ratio = (rng.uniform(*ranges[name]) for name in ("index", "size", "axis_ratio"))
    shape = {"index": index, "radius": max(source.radius * size, 0.03), "axis_ratio": ratio}
    return sersic_transform(grid, **shape, angle=rng.uniform(0, np.pi), x=float(place[0]), y=float(place[1]))


def clumpy(source: Source, grid: Grid, rng: Generator) -> list:
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


def chain(source: Source, grid: Grid, rng: Generator) -> list:
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


def tadpole(source: Source, grid: Grid, rng: Generator) -> list:
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


def merger(source: Source, grid: Grid, rng: Generator) -> list:
    """Two bodies that touch, each with a curved tidal tail, and a burst of star formation."""
    apart, direction = rng.uniform(0.7, 2.0), rng.uniform(0, 2 * np.pi)
    parts = []
    for sign, flux in ((1, 1.0), (-1, rng.uniform(0.3, 1.0))):
        along, across = sign * apart / 2 * np.cos(direction), sign * apart / 2 * np.sin(direction)
        x, y = placed(source, along, across)
        nucleus = lump(source, grid, rng, (x, y), index=(0.8, 3.0), size=(0.3, 0.7), axis_ratio=(0.35, 0.95))
        parts.append((nucleus, flux, rng.uniform(-0.5, 0.7)))
        line = np.linspace(0, 1, 36)
        # Tails leave the two nuclei on opposite sides, and bend by 35 to 150 degrees.
        turn = direction + (0 if sign > 0 else np.pi) + rng.uniform(0.6, 2.6) * rng.choice([-1, 1]) * line
        reach = rng.uniform(1.2, 3.2) * line
        path = along + reach * np.cos(turn), across + reach * np.sin(turn)
        tail = spots(source, grid, *path, 0.14 + 0.22 * line, np.exp(-rng.uniform(0.5, 2.0) * line))
        parts.append((tail, 0.5 * source.asymmetry * rng.uniform(0.15, 0.8), rng.uniform(-0.2, 0.9)))
    count = int(rng.integers(2, 7))
    along, across = rng.normal(0, 0.5, (2, count))
    burst = spots(source, grid, along, across, rng.uniform(0.06, 0.2, count), rng.uniform(0.2, 1, count))
    return [*parts, (burst, rng.uniform(0, 0.4), rng.uniform(0.4, 1.6))]


def lopsided(source: Source, grid: Grid, rng: Generator) -> list:
    """A patchy body with its brightest part off the centre, and a one-sided arc."""
    main = body(source, grid, rng)
    side = rng.uniform(0, 2 * np.pi)
    offset = rng.uniform(0.35, 0.9)
    x, y = placed(source, offset * np.cos(side), offset * source.axis_ratio * np.sin(side))
    second = lump(source, grid, rng, (x, y), index=(0.5, 1.8), size=(0.2, 0.5), axis_ratio=(0.4, 0.95))
    turn = side + rng.choice([-1, 1]) * np.linspace(0, rng.uniform(1.2, 3.5), 30)
    reach = rng.uniform(0.8, 1.6) * np.linspace(0.8, 1.3, 30)
    path = reach * np.cos(turn), reach * source.axis_ratio * np.sin(turn)
    arc = spots(source, grid, *path, np.full(30, rng.uniform(0.12, 0.25)), np.linspace(1, 0.2, 30))
    return [
        (main, 1.0, rng.uniform(-0.3, 0.4)),
        (second, source.asymmetry * rng.uniform(0.3, 1.1), rng.uniform(-0.4, 1.2)),
        (arc, source.asymmetry * rng.uniform(0.05, 0.5), rng.uniform(0.0, 1.3)),
    ]


DRAWN = {"spheroid": spheroid_transform, "disk": disk_transform, "irregular": irregular_transform}
"""From a source, its grid and the wavelengths to its transform, for every kind but points."""
