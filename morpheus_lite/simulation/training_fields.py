"""Noise-free fields to train on: more bright sources, and classes more evenly mixed, than the sky has."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from morpheus_lite.runtime.atomic import check_writable
from morpheus_lite.simulation.field import HST_BANDS, Field, check_field, simulate_field
from morpheus_lite.simulation.rendering import ZERO_POINT
from morpheus_lite.simulation.scene import Population, Sky


def training_sky(rng: np.random.Generator, area: float) -> Sky:
    """A sky with more bright sources, and classes more evenly mixed, than the real one; ``area`` in arcmin2.

    Half of the fields go deeper than H = 27.5, because in the deepest images the sky is full of such sources.
    """
    return Sky(
        density_boost=float(np.clip(rng.uniform(1.5, 3.0) * np.sqrt(0.26 / area), 0.8, 6.0)),
        balance=float(rng.choice([0.3, 0.6, 0.8])),
        limit=26.0 if area > 1 else float(rng.choice([27.5, 28.3, 29.0], p=[0.5, 0.3, 0.2])),
        pair_share=float(rng.choice([0.03, 0.08])),
        cluster=bool(rng.uniform() < 0.15),
        spirals=int(rng.choice([0, 1, 2], p=[0.45, 0.4, 0.15])),
        stars=int(rng.choice([0, 1, 2], p=[0.35, 0.45, 0.2])),
        colour_scatter=float(rng.choice([0.0, 0.2, 0.4])),
    )


def broad_sky(rng: np.random.Generator, shape: tuple[int, int], pixel_scale: float, fwhm: float) -> Sky:
    """A sky from wide hyper-priors, so that no single law of counts, sizes or classes can be learnt from many.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the randomness comes from.
    shape : tuple of int
        Height and width of the field in pixels.
    pixel_scale : float
        Arcsec per pixel.
    fwhm : float
        Of the sharpest PSF in pixels.
    """
    area = shape[0] * shape[1]
    # Stars alone or nearly so, stars and galaxies, galaxies and few stars.
    kind = rng.choice(["stars", "mixed", "galaxies"], p=[0.2, 0.3, 0.5])
    radius = float(np.exp(rng.uniform(np.log(0.7 * fwhm), np.log(14.0))))
    crowding = area / 384**2
    most = min(260 * crowding, 0.3 * area / (np.pi * (2.5 * radius) ** 2))
    galaxies = int(np.exp(rng.uniform(np.log(min(12 * crowding, most)), np.log(most)))) + 2
    if kind == "stars":
        galaxies = int(galaxies * rng.choice([0.0, 0.1, 0.3]))
    few, many = {"stars": (25, 900), "mixed": (10, 150), "galaxies": (1, 12)}[kind]
    stars = int(np.exp(rng.uniform(np.log(few), np.log(many))) * crowding) + 1
    # The faintest source has a signal-to-noise ratio of about 2 at the depth of GOODS-S deep.
    noise = 1.5 * pixel_scale / 0.06 * np.sqrt(2.3 * fwhm**2 + 4)
    faint = ZERO_POINT - 2.5 * np.log10(2 * noise) + rng.uniform(-0.8, 0.8)
    population = Population(
        galaxies=galaxies,
        stars=stars,
        bright=faint - rng.uniform(6.5, 10.5),
        faint=faint,
        galaxy_slope=float(rng.uniform(0.12, 0.4)),
        star_slope=float(rng.uniform(0.1, 0.35)),
        shares=tuple(rng.dirichlet([2.0, 2.2, 0.8]).tolist()),
        # The median size of the real sky between H = 19 and 25 is about 0.35 arcsec.
        size=radius * pixel_scale / 0.35,
        size_scatter=float(rng.uniform(0.0, 0.25)),
        radii=(0.25 * fwhm * pixel_scale, 45 * pixel_scale),
        concentration=float(rng.uniform(0.85, 1.5)),
        core=float(rng.uniform(15, 70)) if kind == "stars" and rng.uniform() < 0.5 else 0.0,
    )
    return Sky(
        pair_share=float(rng.choice([0.0, 0.03, 0.08])),
        limit=faint,
        colour_scatter=float(rng.choice([0.0, 0.2, 0.4, 0.8])),
        population=population,
    )


def training_field(
    seed: int, *, shape: tuple[int, int] = (512, 512), pixel_scale: float = 0.06, bands: Sequence[str] = HST_BANDS
) -> Field:
    """A field of `training_sky`; everything follows from the seed and the options.

    Parameters
    ----------
    seed : int
        The only source of randomness; half of the fields keep each band's own PSF.
    shape : tuple of int
        Height and width in pixels.
    pixel_scale : float
        Arcsec per pixel.
    bands : sequence of str
        Filters of `morpheus_lite.simulation.instruments.FILTERS`.
    """
    check_field(shape, pixel_scale, bands)
    rng = np.random.default_rng([seed, 1])
    matched = float(rng.choice([0.0, 1.0, rng.uniform()], p=[0.5, 0.3, 0.2]))
    sky = training_sky(rng, shape[0] * shape[1] * (pixel_scale / 60) ** 2)
    return simulate_field(seed, shape=shape, pixel_scale=pixel_scale, bands=bands, matched=matched, sky=sky)


def write_training_field(
    directory: str | Path,
    *,
    seed: int,
    shape: tuple[int, int] = (512, 512),
    pixel_scale: float = 0.06,
    bands: Sequence[str] = HST_BANDS,
    overwrite: bool = False,
) -> Path:
    """Write ``field_SEED.npz``, one of the ``fields`` of a training configuration; see `training_field`.

    Raises
    ------
    OutputError
        The file exists, and ``overwrite`` is False.
    """
    path = Path(directory) / f"field_{seed}.npz"
    check_writable([path], overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    training_field(seed, shape=shape, pixel_scale=pixel_scale, bands=bands).save(path, overwrite=overwrite)
    return path
