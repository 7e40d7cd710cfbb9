"""A simulated field: what is in the sky, before any noise."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from morpheus_lite.core.windows import Window, inside
from morpheus_lite.errors import OptionError, reading
from morpheus_lite.runtime.atomic import atomic_write
from morpheus_lite.simulation.instruments import FILTERS
from morpheus_lite.simulation.populations import KINDS, magnitude_at, soft_label
from morpheus_lite.simulation.psf import VARIANTS, Psf, make_psfs
from morpheus_lite.simulation.rendering import ZERO_POINT, render
from morpheus_lite.simulation.scene import Placed, Sky, draw_scene

HST_BANDS = ("F160W", "F125W", "F606W", "F850LP")
"""The four bands of the published network."""

PIXEL_SCALES = 0.001, 10.0
"""Arcsec per pixel, least and most, of a field: beyond them no source fills a pixel, or one fills them all."""

OWNER_BRIGHTNESS = 30.0
"""Surface brightness (AB mag per arcsec2, mean flux over the bands) below which no source owns a pixel."""


@dataclass(frozen=True, eq=False)
class Field:
    """A piece of simulated sky as a perfect detector would see it.

    Parameters
    ----------
    flux : numpy.ndarray
        float32, shape ``(y, x, band)``, nJy per pixel: noise-free, without sky.
    bands : tuple of str
        Filter of each band.
    pixel_scale : float
        Arcsec per pixel.
    psf_fwhm : tuple of float
        Pixels, one per band.
    owner : numpy.ndarray
        int32, shape ``(y, x)``: 1 + the row in `sources` of the source that gives most of the light here (in the sum
        over bands of flux / `reference_noise`), 0 where all light is fainter than `OWNER_BRIGHTNESS`.
    sources : numpy.ndarray
        Structured: ``id`` (row + 1), ``x``, ``y`` (0-based pixel), ``kind`` (index into spheroid, disk, irregular,
        point_source), ``soft`` (4 class probabilities), ``h_mag`` (AB), ``half_light_radius`` (arcsec, semi-major),
        ``sersic``, ``bulge``, ``axis_ratio``, ``angle`` (radians), ``asymmetry``, ``structure``, ``seed``, ``flux``
        (nJy, one per band). Sources outside the edges, and those outshone everywhere, are listed too.
    seed : int
        What it was made from.
    """

    flux: np.ndarray
    bands: tuple[str, ...]
    pixel_scale: float
    psf_fwhm: tuple[float, ...]
    owner: np.ndarray
    sources: np.ndarray
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.owner.shape[0], self.owner.shape[1]

    def cutout(self, window: Window) -> "Field":
        """The part of the field inside a window; the source table stays whole, positions in the window's pixels."""
        sources = self.sources.copy()
        rows, columns = window.slices
        sources["y"] -= rows.start
        sources["x"] -= columns.start
        return replace(self, flux=self.flux[window.slices], owner=self.owner[window.slices], sources=sources)

    def save(self, path: str | Path, *, overwrite: bool = True) -> None:
        """Write the field as a compressed ``.npz``, whole or not at all."""
        with atomic_write(path, overwrite=overwrite) as partial, partial.open("wb") as handle:
            arrays: dict[str, Any] = {one.name: np.asarray(getattr(self, one.name)) for one in fields(self)}
            np.savez_compressed(handle, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> "Field":
        """Read a field written by `save`; runs no code from the file."""
        with reading(path), np.load(path, allow_pickle=False) as stored:
            return cls(
                **{name: stored[name] for name in ("flux", "owner", "sources")},
                bands=tuple(map(str, stored["bands"])),
                pixel_scale=float(stored["pixel_scale"]),
                psf_fwhm=tuple(map(float, stored["psf_fwhm"])),
                seed=int(stored["seed"]),
            )


def reference_noise(bands: Sequence[str]) -> np.ndarray:
    """Noise per band (nJy per 0.06 arcsec pixel) with which light in different bands is weighed against each other.

    That of GOODS-S deep (H 1.5, J 1.1, V 0.45, Z 0.9), interpolated in wavelength for other filters.
    """
    wavelengths = np.array([FILTERS[band].wavelength for band in bands])
    return np.interp(wavelengths, [0.592, 0.904, 1.249, 1.537], [0.45, 0.9, 1.13, 1.47])


def simulate_field(
    seed: int,
    *,
    shape: tuple[int, int] = (512, 512),
    pixel_scale: float = 0.06,
    bands: Sequence[str] = HST_BANDS,
    matched: float = 0.0,
    sky: Sky = Sky(),  # noqa: B008  (frozen)
    psfs: Sequence[Psf] | None = None,
) -> Field:
    """Simulate a field: everything follows from the seed and the options.

    Parameters
    ----------
    seed : int
        The only source of randomness.
    shape : tuple of int, optional
        Height and width in pixels.
    pixel_scale : float, optional
        Arcsec per pixel.
    bands : sequence of str, optional
        Filters of `morpheus_lite.simulation.instruments.FILTERS`.
    matched : float, optional
        0 keeps each band's own PSF, 1 blurs all to the widest.
    sky : Sky, optional
        What to draw; by default the counts, classes and clustering of the real sky.
    psfs : sequence of Psf, optional
        PSF of each band; by default those of the filters' own telescopes.

    Returns
    -------
    Field
    """
    check_field(shape, pixel_scale, bands)
    if psfs is not None and len(psfs) != len(bands):
        raise OptionError(f"{len(psfs)} PSFs for {len(bands)} bands; give one for each band")
    rng = np.random.default_rng(seed)
    variant = int(rng.integers(VARIANTS))
    if psfs is None:
        psfs = make_psfs(bands, pixel_scale, variant=variant, matched=matched)
    placed = draw_scene(rng, shape, pixel_scale, sky)
    wavelengths = np.array([FILTERS[band].wavelength for band in bands])
    noise = reference_noise(bands)
    flux = np.zeros((*shape, len(bands)), dtype=np.float32)
    best = np.full(shape, owner_threshold(noise, pixel_scale), dtype=np.float32)
    owner = np.zeros(shape, dtype=np.int32)
    for number, (source, x, y) in enumerate(placed, start=1):
        stamp, corner = render(source, (x, y), psfs, wavelengths, pixel_scale)
        there, here = overlap(corner, stamp.shape[:2], shape)
        if there is None:
            continue
        part = stamp[here]
        flux[there] += part
        weight = part @ (1 / noise).astype(np.float32)
        wins = weight > best[there]
        best[there][wins] = weight[wins]
        owner[there][wins] = number
    sharpest = min(psf.fwhm for psf in psfs) * pixel_scale
    table = source_table(placed, wavelengths, sharpest)
    return Field(flux, tuple(bands), pixel_scale, tuple(psf.fwhm for psf in psfs), owner, table, seed)


def check_field(shape: tuple[int, int], pixel_scale: float, bands: Sequence[str]) -> None:
    """Raise `OptionError` unless a field can have this height and width, pixel scale and bands."""
    if min(shape) < 16:
        raise OptionError(f"a field of {shape[0]} x {shape[1]} px is too small; use at least 16 x 16")
    least, most = PIXEL_SCALES
    if not least <= pixel_scale <= most:
        raise OptionError(f"pixel_scale = {pixel_scale:g}: expected {least:g} to {most:g} arcsec")
    if not bands or len(set(bands)) < len(bands):
        raise OptionError(f"bands = {','.join(bands) or '(none)'}: expected one or more filters, each once")


def owner_threshold(noise: np.ndarray, pixel_scale: float) -> float:
    """Sum over bands of flux / noise in a pixel where every band has `OWNER_BRIGHTNESS`."""
    return float((10 ** (-0.4 * (OWNER_BRIGHTNESS - ZERO_POINT)) * pixel_scale**2 / noise).sum())


def overlap(corner: tuple[int, int], size: tuple[int, int], shape: tuple[int, int]):
    """Slices of the field and of a stamp where they overlap, or None twice where they do not."""
    stamp, field = Window(*corner, *size), Window(0, 0, *shape)
    if not stamp.touches(field):
        return None, None
    shared = stamp.intersection(field)
    return shared.slices, inside(shared, stamp)


def source_table(placed: Sequence[Placed], wavelengths: np.ndarray, sharpest: float) -> np.ndarray:
    """The `Field.sources` of placed sources seen with PSFs of which the sharpest has this FWHM (arcsec)."""
    plain = ("sersic", "bulge", "axis_ratio", "angle", "asymmetry", "structure", "seed")
    numbers = ("x", "y", "h_mag", "half_light_radius", *plain[:5])
    columns = [("id", "i4"), ("kind", "i2"), ("soft", "f4", (len(KINDS),)), *((name, "f4") for name in numbers)]
    columns += [("structure", "U12"), ("seed", "i8"), ("flux", "f4", (wavelengths.size,))]
    rows = []
    for number, (source, x, y) in enumerate(placed, start=1):
        magnitudes = np.array([magnitude_at(source, wavelength) for wavelength in wavelengths])
        drawn = x, y, source.magnitude, source.radius, *(getattr(source, name) for name in plain)
        flux = 10 ** (-0.4 * (magnitudes - ZERO_POINT))
        rows.append((number, KINDS.index(source.kind), soft_label(source, sharpest), *drawn, flux))
    return np.array(rows, dtype=columns)
