"""Noise-free fields to train on: more bright sources, and classes more evenly mixed, than the sky has."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from morpheus_lite.runtime.atomic import check_writable
from morpheus_lite.simulation.field import HST_BANDS, Field, check_field, simulate_field
from morpheus_lite.simulation.scene import Sky


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
