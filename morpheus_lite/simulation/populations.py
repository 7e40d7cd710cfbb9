"""Populations of sources: magnitudes, sizes, shapes, colours and kinds, drawn from fitted distributions; soft labels.

The class of a source follows from what was drawn; where people would disagree, so do the soft labels. The kind that was
drawn is the top class. The votes of the other classes are those that the visual classifiers of CANDELS gave, on
average, to sources of that top class (``distributions.json``), scaled by how ambiguous the drawing is:

* spheroid: ambiguous when it holds a disk (bulge share below 0.8), when it is as flat as a disk (axis ratio below 0.5),
  or when its Sersic index is below 2.2;
* disk: ambiguous when the bulge share is above 0.3, when it is smooth and round, or lopsided (asymmetry above 0.2);
* irregular: ambiguous when the asymmetry is below 0.5;
* point source: never.

Galaxies whose half-light radius is below half the width of the sharpest PSF are ambiguous too, and give votes to
point_source. Disks without visible structure that are small and round give votes to spheroid, up to two fifths of
them: with "smooth" and "round" people often mean spheroid, whatever the profile.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from morpheus_lite.core.classes import SOURCE_CLASSES

KINDS = SOURCE_CLASSES
"""What can be drawn: spheroid, disk, irregular, point_source."""

DISTRIBUTIONS: dict[str, Any] = json.loads(Path(__file__).with_name("distributions.json").read_text())
"""Numbers that ``weights/recipes/fit_populations.py`` fitted."""

FAINT_LIMIT = 27.5
"""Faintest H magnitude (AB, F160W) drawn."""


@dataclass(frozen=True)
class Source:
    """One source as drawn: everything its picture follows from, except its position.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    magnitude : float
        Total AB magnitude in F160W.
    radius : float
        Half-light semi-major axis in arcsec; 0 for a point source.
    sersic : float
        Sersic index (of the disk or body, where there is a bulge too).
    bulge : float
        Share of the light in the bulge, 0-1; 1 for a spheroid, 0 for irregulars and points.
    axis_ratio : float
        Minor over major axis.
    angle : float
        Position angle in radians, from the x axis to the y axis.
    asymmetry : float
        0 for a symmetric source, about 1 for the most disturbed.
    structure : str
        What was drawn on top: ``"smooth"``, ``"spiral"``, ``"flocculent"``, ``"clumpy"``, ``"chain"``, ``"tadpole"``,
        ``"merger"``, ``"lopsided"`` or ``"star"``.
    colours : tuple of float
        ``m - H`` at the wavelengths of the fit (0.43 to 1.25 micron).
    seed : int
        Seed of the details.
    """

    kind: str
    magnitude: float
    radius: float
    sersic: float
    bulge: float
    axis_ratio: float
    angle: float
    asymmetry: float
    structure: str
    colours: tuple[float, ...]
    seed: int


def counts(magnitude: np.ndarray) -> np.ndarray:
    """Sources per arcmin2 and magnitude at an H magnitude (AB)."""
    fit = DISTRIBUTIONS["counts"]
    x = np.minimum(magnitude, fit["limit"]) - fit["pivot"]
    slope = 2 * fit["quadratic"] * (fit["limit"] - fit["pivot"]) + fit["linear"]
    beyond = slope * np.maximum(magnitude - fit["limit"], 0)
    return 10 ** (fit["quadratic"] * x**2 + fit["linear"] * x + fit["constant"] + beyond)


def draw_magnitudes(rng: Generator, area: float, *, boost: float = 1.0, limit: float = FAINT_LIMIT) -> np.ndarray:
    """H magnitudes of the sources in ``area`` arcmin2: Poisson numbers, ``boost`` times as many brighter than 25."""
    edges = np.arange(16.5, limit + 1e-6, 0.1)
    middle = (edges[1:] + edges[:-1]) / 2
    factor = 1 + (boost - 1) / (1 + np.exp((middle - 24.75) / 0.25))
    numbers = rng.poisson(counts(middle) * 0.1 * area * factor)
    return rng.permutation(np.repeat(edges[:-1], numbers) + rng.uniform(0, 0.1, numbers.sum()))


def kind_shares(magnitude: float) -> np.ndarray:
    """Expected share of each of `KINDS` at an H magnitude.

    The shares of the visual classifications (H < 24.5) hold at H = 23; stars are more common among the bright
    and irregular galaxies among the faint.
    """
    share = np.array(DISTRIBUTIONS["votes"]["share"])
    steps = magnitude - 23.0
    share = share * np.array([1.0, 1.0, 10 ** (0.12 * np.clip(steps, -4, 3)), 10 ** (-0.17 * np.clip(steps, -4, 4.5))])
    return share / share.sum()


def draw_source(rng: Generator, magnitude: float, *, balance: float = 0.0) -> Source:
    """One source of a given H magnitude.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the randomness comes from.
    magnitude : float
        H magnitude (AB).
    balance : float, optional
        0 for the class shares of the real sky, 1 for equal shares (faint point sources excepted, which stay rare),
        between is mixed.
    """
    natural = kind_shares(magnitude)
    even = np.full(len(KINDS), 1 / len(KINDS))
    # Faint stars are rare in the real sky, and faint compact galaxies are not: balance must not teach the contrary.
    even[-1] = np.interp(magnitude, (21.5, 23.5), (even[-1], natural[-1]))
    share = (1 - balance) * natural + balance * even / even.sum()
    kind = KINDS[rng.choice(len(KINDS), p=share)]
    return draw_kind(rng, kind, magnitude)


def draw_kind(rng: Generator, kind: str, magnitude: float, *, radius: float | None = None) -> Source:
    """One source of a given kind and H magnitude, its size drawn unless given (arcsec)."""
    colours = draw_colours(rng, magnitude, kind)
    seed = int(rng.integers(2**31))
    angle = float(rng.uniform(0, np.pi))
    if kind == "point_source":
        return Source(kind, magnitude, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, "star", colours, seed)
    group = "concentrated" if kind == "spheroid" else "diffuse"
    size, sersic, ratio = draw_shape(rng, magnitude, group)
    size = size if radius is None else radius
    bulge, asymmetry, structure = 0.0, abs(rng.normal(0, 0.04)), "smooth"
    if kind == "spheroid":
        bulge = 1.0 if rng.uniform() < 0.7 else rng.uniform(0.6, 1.0)
        ratio = max(ratio, rng.uniform(0.45, 0.75))
    elif kind == "disk":
        bulge = draw_bulge(rng, magnitude)
        sersic = float(np.clip(rng.normal(1.0, 0.15), 0.6, 1.5))
        structure = rng.choice(["smooth", "spiral", "flocculent"], p=[0.25, 0.45, 0.3])
        asymmetry = abs(rng.normal(0, 0.08))
    else:
        structure = rng.choice(["clumpy", "chain", "tadpole", "merger", "lopsided"], p=[0.4, 0.12, 0.14, 0.22, 0.12])
        asymmetry, sersic = rng.uniform(0.45, 1.1), float(np.clip(rng.normal(0.8, 0.2), 0.5, 1.3))
        size, ratio = 1.15 * size, max(ratio, 0.35)
    form = float(size), sersic, bulge, float(ratio), angle, float(asymmetry), str(structure)
    return Source(kind, magnitude, *form, colours, seed)


def draw_bulge(rng: Generator, magnitude: float) -> float:
    """Bulge share of a disk: often none among the faint, up to a half."""
    if rng.uniform() < np.clip(0.15 + 0.08 * (magnitude - 20), 0.15, 0.6):
        return 0.0
    return float(0.5 * rng.beta(1.3, 2.2))


def draw_shape(rng: Generator, magnitude: float, group: str) -> tuple[float, float, float]:
    """Half-light semi-major axis (arcsec), Sersic index and axis ratio at an H magnitude.

    Beyond the faintest node sizes go on shrinking at the rate of the last two magnitudes.
    """
    table = DISTRIBUTIONS["shapes"]
    nodes, fit = table["magnitude"], table[group]
    at = {name: float(np.interp(magnitude, nodes, values)) for name, values in fit.items()}
    slope = (fit["log_re"][-1] - fit["log_re"][-3]) / (nodes[-1] - nodes[-3])
    at["log_re"] += slope * max(magnitude - nodes[-1], 0) - 0.12 * min(magnitude - nodes[0], 0)
    first, second = rng.normal(size=2)
    second = at["correlation"] * first + np.sqrt(1 - at["correlation"] ** 2) * second
    log_re = np.clip(at["log_re"] + at["log_re_std"] * np.clip(first, -2.5, 2.5), np.log10(0.02), np.log10(3.6))
    limits = (1.8, 6.0) if group == "concentrated" else (0.4, 2.5)
    sersic = np.clip(10 ** (at["log_n"] + at["log_n_std"] * second), *limits)
    ratio = np.clip(rng.beta(at["q_a"], at["q_b"]), 0.12, 0.98)
    return float(10**log_re), float(sersic), float(ratio)


def draw_colours(rng: Generator, magnitude: float, kind: str) -> tuple[float, ...]:
    """Colours ``m - H`` at the fitted wavelengths: two Gaussian populations, red and blue.

    A spheroid is red somewhat more often than others of its magnitude, as in the real sky, and no more.
    """
    fit = DISTRIBUTIONS["colours"]
    share = np.interp(magnitude, fit["red_share"]["magnitude"], fit["red_share"]["share"])
    share = np.clip(share * {"spheroid": 1.8, "disk": 0.9, "irregular": 0.5, "point_source": 1.5}[kind] + 0.05, 0, 0.9)
    population = fit["red" if rng.uniform() < share else "blue"]
    mean = np.array(population["mean"]) + np.array(population["slope"]) * np.clip(magnitude - fit["pivot"], -4, 2)
    colours = rng.multivariate_normal(mean, population["covariance"])
    return tuple(float(colour) for colour in np.clip(colours, -1.5, 5.5))


def magnitude_at(source: Source, wavelength: float) -> float:
    """Total AB magnitude at a wavelength in micron: linear in its logarithm between the fitted colours.

    Redward of 1.54 micron the slope of the reddest colour goes on, halved; blueward of 0.43 that of the bluest.
    """
    nodes = np.log(DISTRIBUTIONS["colours"]["wavelengths"])
    values = np.array([*source.colours, 0.0])
    x = np.log(wavelength)
    if x > nodes[-1]:
        slope = np.clip((values[-1] - values[-3]) / (nodes[-1] - nodes[-3]), -1.5, 1.5)
        return source.magnitude + 0.5 * slope * (x - nodes[-1])
    return source.magnitude + float(np.interp(x, nodes, values))


LEAST_MIXED = 0.08
"""Share of the average votes in the label of a source that nobody would doubt."""

MOST_MIXED = 0.9
"""The same for the most ambiguous one; below 1 the kind that was drawn stays the top class."""

LOOKS_ALIKE = 0.35
"""Share of the votes that the smoothest, roundest and smallest disks give to spheroid."""


def ramp(value: float, low: float, high: float) -> float:
    """0 at ``low``, 1 at ``high``, linear between (``low`` may be the larger)."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def featureless(source: Source) -> float:
    """Lack of visible structure in a disk: 1 where none is drawn, 0.8 where it is too small to be made out."""
    if source.structure == "smooth":
        return 1.0
    return 0.8 * ramp(source.radius, 0.45, 0.25)


def ambiguity(source: Source) -> float:
    """Ambiguity of a source to visual classifiers, 0 (none) to 1."""
    doubts: tuple[float, ...] = (0.0,)
    if source.kind == "spheroid":
        doubts = (ramp(source.bulge, 0.8, 0.5), ramp(source.axis_ratio, 0.5, 0.3), ramp(source.sersic, 2.2, 1.6))
    elif source.kind == "disk":
        plain = 0.6 * featureless(source) if source.axis_ratio > 0.6 else 0.0
        doubts = (ramp(source.bulge, 0.3, 0.55), plain, ramp(source.asymmetry, 0.2, 0.5))
    elif source.kind == "irregular":
        doubts = (ramp(source.asymmetry, 0.5, 0.25),)
    return max(doubts)


def soft_label(source: Source, sharpest: float) -> np.ndarray:
    """Votes over `KINDS` for a source, given the FWHM in arcsec of the sharpest PSF it is seen with.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(4,)``, sum 1; the largest is that of ``source.kind``.
    """
    index = KINDS.index(source.kind)
    drawn = np.eye(len(KINDS))[index]
    votes = np.array(DISTRIBUTIONS["votes"]["mean_votes"][index])
    doubt = ambiguity(source)
    label = drawn + (LEAST_MIXED + (MOST_MIXED - LEAST_MIXED) * doubt) * (votes / votes.sum() - drawn)
    if source.kind != "point_source":
        compact = 0.45 * ramp(source.radius, 0.5 * sharpest, 0.1 * sharpest)
        label = (1 - compact) * label + compact * np.eye(len(KINDS))[-1]
    if source.kind == "disk":
        alike = LOOKS_ALIKE * featureless(source) * ramp(source.axis_ratio, 0.55, 0.72) * ramp(source.radius, 0.5, 0.3)
        label = (1 - alike) * label + alike * np.eye(len(KINDS))[KINDS.index("spheroid")]
    label[index] = max(label[index], np.delete(label, index).max() + 0.02)
    return (label / label.sum()).astype(np.float32)
