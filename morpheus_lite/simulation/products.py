"""Simulated images and their truth as FITS files; noise-free fields to train on, richer and more mixed than the sky."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.random import Generator

from morpheus_lite import __version__
from morpheus_lite.core.classes import CLASSES
from morpheus_lite.errors import OptionError
from morpheus_lite.runtime.atomic import atomic_directory, check_writable
from morpheus_lite.simulation.field import HST_BANDS, Field, check_field, simulate_field
from morpheus_lite.simulation.observation import (
    OWNED_SNR,
    Conditions,
    Observation,
    class_map,
    draw_conditions,
    observe,
    plain_conditions,
)
from morpheus_lite.simulation.populations import KINDS
from morpheus_lite.simulation.rendering import ZERO_POINT
from morpheus_lite.simulation.scene import Sky

CENTRE = (53.16, -27.79)
"""Right ascension and declination (degrees) that simulated fields are put at."""


def field_wcs(shape: tuple[int, int], pixel_scale: float) -> WCS:
    """Tangential WCS, north up and east left, of a simulated field."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = CENTRE
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [-pixel_scale / 3600, pixel_scale / 3600]
    wcs.wcs.radesys = "ICRS"
    return wcs


def image_hdus(observation: Observation, pixel_scale: float, zero_points: Sequence[float] | None) -> fits.HDUList:
    """The observed image: per band its data, ``<BAND>_RMS``, and ``<BAND>_DQ`` where pixels are invalid.

    ``zero_points`` are the AB magnitudes of one electron/s in each band; without them the unit is nJy.
    """
    image = observation.image
    unit = "nJy" if zero_points is None else "electron/s"
    zero_points = [ZERO_POINT] * image.n_bands if zero_points is None else list(zero_points)
    wcs = field_wcs(image.shape, pixel_scale).to_header()
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for index, (band, zero_point) in enumerate(zip(image.bands, zero_points, strict=True)):
        factor = np.float32(10 ** (0.4 * (zero_point - ZERO_POINT)))
        header = fits.Header(wcs, copy=True)
        header.update({"FILTER": band, "BUNIT": unit, "ABZP": (zero_point, "AB magnitude of one unit")})
        hdus.append(fits.ImageHDU(image.data[..., index] * factor, header, name=band))
        if image.rms is not None:
            hdus.append(packed(image.rms[..., index] * factor, header, f"{band}_RMS"))
        if not image.valid[..., index].all():
            header.remove("BUNIT")
            header.remove("ABZP")
            flagged = (~image.valid[..., index]).astype(np.uint8)
            hdus.append(packed(flagged, header, f"{band}_DQ"))
    return hdus


def packed(plane: np.ndarray, header: fits.Header, name: str) -> fits.CompImageHDU:
    """A plane compressed without loss: planes that are nearly constant shrink to nothing, noisy ones would not."""
    return fits.CompImageHDU(plane, header, name=name, compression_type="GZIP_2", quantize_level=0)


def truth_table(field: Field, labels: np.ndarray) -> Table:
    """The sources with their class, magnitudes, and the pixels each owns at the depth of ``labels``."""
    names = ("id", "x", "y", "h_mag", "half_light_radius", "sersic", "bulge", "axis_ratio", "angle", "asymmetry")
    table = Table({name: field.sources[name] for name in (*names, "structure")})
    sky = field_wcs(field.shape, field.pixel_scale).pixel_to_world(table["x"], table["y"])
    table["ra"], table["dec"] = sky.ra.deg, sky.dec.deg
    table["class"] = np.array(KINDS)[field.sources["kind"]]
    for index, kind in enumerate(KINDS):
        table[f"p_{kind}"] = field.sources["soft"][:, index]
    for index, band in enumerate(field.bands):
        table[f"mag_{band}"] = ZERO_POINT - 2.5 * np.log10(field.sources["flux"][:, index])
    table["n_pixels"] = np.bincount(labels.ravel(), minlength=len(table) + 1)[1:].astype(np.int32)
    for name, unit in {"x": "pix", "y": "pix", "half_light_radius": "arcsec", "ra": "deg", "dec": "deg"}.items():
        table[name].unit = unit
    return table


def truth_hdus(field: Field, observation: Observation) -> fits.HDUList:
    """``LABELS`` (source ids, 0 is sky), ``CLASS`` (index into the five classes) and ``SOURCES`` (table)."""
    header = field_wcs(field.shape, field.pixel_scale).to_header()
    classes = class_map(observation.labels, field.sources).argmax(axis=2).astype(np.uint8)
    class_header = fits.Header(header, copy=True)
    class_header.update({f"CLASS{index}": name for index, name in enumerate(CLASSES)})
    table = fits.table_to_hdu(truth_table(field, observation.labels))
    table.name = "SOURCES"
    planes = packed(observation.labels, header, "LABELS"), packed(classes, class_header, "CLASS")
    return fits.HDUList([fits.PrimaryHDU(), *planes, table])


def record(hdus: fits.HDUList, field: Field) -> None:
    """Note in the primary header what made the file."""
    header = hdus[0].header
    header["CREATOR"] = f"morpheus_lite {__version__}"
    header["SEED"] = field.seed, "of the simulated field"
    header["PIXSCALE"] = field.pixel_scale, "arcsec"
    header["DETSN"] = OWNED_SNR, "S/N per pixel above which a source owns it"
    for index, (band, width) in enumerate(zip(field.bands, field.psf_fwhm, strict=True)):
        header[f"FWHM{index}"] = round(width, 3), f"pixels, {band}"


def write_field(
    field: Field,
    observation: Observation,
    folder: str | Path,
    *,
    name: str = "field",
    zero_points: Sequence[float] | None = None,
    overwrite: bool = False,
) -> tuple[Path, Path]:
    """Write an observed field and its truth as two FITS files.

    Parameters
    ----------
    field : Field
        What is in the sky.
    observation : Observation
        The image of it.
    folder : str or pathlib.Path
        Where; made if it is not there.
    name : str, optional
        The files are ``NAME.fits`` and ``NAME_truth.fits``.
    zero_points : sequence of float, optional
        AB magnitude of one electron/s in each band; without, the image is in nJy.
    overwrite : bool, optional
        Replace files that exist.

    Returns
    -------
    tuple of pathlib.Path
        Image and truth.

    Raises
    ------
    OutputError
        A file exists.
    """
    paths = _paths(folder, name)
    with atomic_directory(paths, overwrite=overwrite) as temporary:
        image = image_hdus(observation, field.pixel_scale, zero_points)
        for path, hdus in zip(paths, (image, truth_hdus(field, observation)), strict=True):
            record(hdus, field)
            hdus.writeto(temporary / path.name, output_verify="exception")
    return paths


def _paths(folder: str | Path, name: str) -> tuple[Path, Path]:
    return Path(folder) / f"{name}.fits", Path(folder) / f"{name}_truth.fits"


def simulate(
    folder: str | Path,
    *,
    seed: int,
    depth: float = 1.0,
    conditions: Conditions | str = "plain",
    name: str | None = None,
    overwrite: bool = False,
    **options: Any,
) -> tuple[Path, Path]:
    """Simulate one field and write image and truth: what ``morpheus simulate`` does.

    Parameters
    ----------
    folder : str or pathlib.Path
        Where the two files go.
    seed : int
        Everything, the noise included, follows from it.
    depth : float, optional
        Noise relative to GOODS-S deep, for ``conditions="plain"``.
    conditions : Conditions or {"plain", "random"}, optional
        How it is observed: Gaussian noise only, or as drawn for training.
    name : str, optional
        Stem of the file names; ``field_SEED`` by default.
    overwrite : bool, optional
        Replace files that exist.
    **options
        ``shape``, ``pixel_scale``, ``bands``, ``matched`` and ``sky`` as in `simulate_field`.

    Returns
    -------
    tuple of pathlib.Path
        Image and truth.
    """
    name = name or f"field_{seed}"
    check_writable(_paths(folder, name), overwrite)
    field = simulate_field(seed, **options)
    rng = np.random.default_rng([seed, 2])
    if conditions == "plain":
        conditions = plain_conditions(field, depth=depth)
    elif conditions == "random":
        conditions = draw_conditions(rng, field)
    elif not isinstance(conditions, Conditions):
        raise OptionError(f"conditions={conditions!r}: give 'plain', 'random' or a Conditions")
    observation = observe(field, conditions, rng)
    observation = replace(observation, image=replace(observation.image, name=name))
    return write_field(field, observation, folder, name=name, overwrite=overwrite)


def training_sky(rng: Generator, area: float) -> Sky:
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


def write_training_field(directory: str | Path, *, seed: int, overwrite: bool = False, **options: Any) -> Path:
    """Write ``field_SEED.npz``, one of the ``fields`` of a training configuration; options as of `training_field`.

    Raises
    ------
    OutputError
        The file exists, and ``overwrite`` is False.
    """
    path = Path(directory) / f"field_{seed}.npz"
    check_writable([path], overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    training_field(seed, **options).save(path, overwrite=overwrite)
    return path
