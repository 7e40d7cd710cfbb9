"""Simulate the fields that the networks are trained, validated and tested on.

    python weights/recipes/make_fields.py train FOLDER --count 1500
    python weights/recipes/make_fields.py valid FOLDER --count 24
    python weights/recipes/make_fields.py valid FOLDER --natural --skip 60000 --count 48     # to calibrate on
    python weights/recipes/make_fields.py test FOLDER --skip 30000 --count 48

Each field follows from its seed and its side alone. Training seeds are 0-99,999, validation 100,000-199,999 and test
fields from 200,000 on, so no field is ever in two sets. The cameras follow one another, so that all have equal shares;
files are ``CAMERA_SEED.npz``. Fields that exist are left alone: a run can be stopped and taken up again.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import galsim
import numpy as np

from morpheus_lite.simulation import HST_BANDS, Field, Sky, simulate_field
from morpheus_lite.simulation.instruments import FILTERS
from morpheus_lite.simulation.populations import KINDS, Source, draw_kind
from morpheus_lite.simulation.products import training_sky
from morpheus_lite.simulation.psf import OVERSAMPLING, REACH, Psf, cleaned, draw_profile, width_of
from morpheus_lite.simulation.rendering import ZERO_POINT
from morpheus_lite.simulation.scene import EDGE, Placed

FIRST_SEED = {"train": 0, "valid": 100_000, "test": 200_000}

BAND_SHARES = (0.28, 0.2, 0.17, 0.17, 0.06, 0.05, 0.04, 0.03)
"""Shares of the fields with one band, two, ... eight."""

NATURAL_SHARE = {"space": 0.5, "ground": 0.2}
"""Share of the training fields with the populations of the real sky."""

FWHM = 1.1, 4.1
"""Least and largest FWHM in pixels of a telescope below the atmosphere, before the pixel's response."""


AUREOLE_SHARE = 0.4
"""Share of the Moffat PSFs that have an aureole."""

ODD_SHARE = 0.35
"""Share of the training fields from space whose PSF is another than the telescope's: no camera is known by its PSF."""


@dataclass(frozen=True)
class Camera:
    """What a camera's images look like: filters, pixel scales (arcsec) and the wings of its PSF."""

    filters: tuple[str, ...]
    scales: tuple[float, ...]
    beta: tuple[float, float] | None = None
    """Range of the Moffat index, for a telescope below the atmosphere."""


_ACS = ("F435W", "F606W", "F775W", "F814W", "F850LP")
_OPTICAL = ("LSST_U", "LSST_G", "LSST_R", "LSST_I", "LSST_Z", "LSST_Y")
_VISTA = ("VISTA_J", "VISTA_H", "VISTA_KS")

CAMERAS = {
    "hst": Camera(HST_BANDS, (0.06,)),
    "acs": Camera(_ACS, (0.03, 0.04, 0.05)),
    "wfc3": Camera((*_ACS, "F105W", "F125W", "F140W", "F160W"), (0.04, 0.06, 0.13)),
    "nircam": Camera(("F090W", "F115W", "F150W", "F200W", "F277W", "F356W", "F444W"), (0.03, 0.04, 0.063)),
    "miri": Camera(("F560W", "F770W"), (0.06, 0.11)),
    "vis": Camera(("VIS",), (0.1,)),
    "nisp": Camera(("NISP_Y", "NISP_J", "NISP_H"), (0.1, 0.2, 0.3)),
    "hsc": Camera((*_OPTICAL[1:], *_VISTA), (0.168, 0.2), (2.5, 5.0)),
    "kids": Camera((*_OPTICAL[:4], *_VISTA), (0.2,), (1.7, 3.0)),
    "vista": Camera(_VISTA, (0.2, 0.34), (1.7, 2.8)),
    "cfht": Camera((*_OPTICAL[:5], *_VISTA), (0.186,), (1.9, 4.0)),
    "decam": Camera(_OPTICAL[1:], (0.26,), (2.0, 4.5)),
    "sdss": Camera(_OPTICAL[:5], (0.25, 0.4), (1.8, 5.0)),
}


def power_law(rng: np.random.Generator, count: int, slope: float, bright: float, faint: float) -> np.ndarray:
    """Magnitudes whose counts rise by ``slope`` in the logarithm (base 10) per magnitude."""
    least = 10 ** (-slope * (faint - bright))
    return faint + np.log10(least + (1 - least) * rng.uniform(size=count)) / slope


@dataclass(frozen=True)
class DrawnPopulation:
    """Counts, sizes and classes of the sources of one field, which need not be those of the real sky.

    Parameters
    ----------
    n_galaxies, n_stars : int
        How many.
    bright, faint : float
        Range of the H magnitudes (AB).
    galaxy_slope, star_slope : float
        Rise of the logarithm (base 10) of the counts per magnitude.
    shares : tuple of float
        Shares of spheroids, disks and irregulars among the galaxies.
    size : float
        Sizes in units of those of the real sky at the same magnitude, between H = 19 and 25.
    size_scatter : float
        Standard deviation of the logarithm (base 10) of a random factor on each size.
    radii : tuple of float
        Least and largest half-light radius in arcsec.
    concentration : float
        Factor on the Sersic indices of spheroids.
    core : float
        Core radius in pixels of a cluster that half of the stars belong to; 0 for none.
    """

    n_galaxies: int
    n_stars: int
    bright: float
    faint: float
    galaxy_slope: float = 0.3
    star_slope: float = 0.25
    shares: tuple[float, float, float] = (0.35, 0.5, 0.15)
    size: float = 1.0
    size_scatter: float = 0.0
    radii: tuple[float, float] = (0.02, 3.6)
    concentration: float = 1.0
    core: float = 0.0

    def galaxies(self, rng: np.random.Generator) -> list[Source]:
        """The galaxies."""
        shares, found = np.array(self.shares), []
        for magnitude in power_law(rng, self.n_galaxies, self.galaxy_slope, self.bright, self.faint).tolist():
            kind = KINDS[rng.choice(3, p=shares / shares.sum())]
            source = draw_kind(rng, kind, float(np.clip(magnitude, 19, 25)))
            radius = source.radius * self.size * 10 ** rng.normal(0, self.size_scatter)
            factor = self.concentration if kind == "spheroid" else 1.0
            sersic = max(source.sersic * factor, min(source.sersic, 1.8))
            found.append(
                replace(source, magnitude=magnitude, radius=float(np.clip(radius, *self.radii)), sersic=sersic)
            )
        return found

    def stars(self, rng: np.random.Generator, shape: tuple[int, int]) -> list[Placed]:
        """The stars: uniform, half of them in a cluster where there is one."""
        magnitudes = power_law(rng, self.n_stars, self.star_slope, self.bright, self.faint)
        x = rng.uniform(-EDGE, shape[1] + EDGE, self.n_stars)
        y = rng.uniform(-EDGE, shape[0] + EDGE, self.n_stars)
        if self.core > 0:
            half = self.n_stars // 2
            # Plummer's law: the projected density falls as the fourth power of the distance.
            share = rng.uniform(0, 0.97, half)
            distance, angle = self.core * np.sqrt(share / (1 - share)), rng.uniform(0, 2 * np.pi, half)
            x[:half] = rng.uniform(0, shape[1]) + distance * np.cos(angle)
            y[:half] = rng.uniform(0, shape[0]) + distance * np.sin(angle)
        stars = [draw_kind(rng, "point_source", float(magnitude)) for magnitude in magnitudes]
        return list(zip(stars, x, y, strict=True))


@dataclass(frozen=True)
class Moffat:
    """PSF of a telescope below the atmosphere.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum in pixels, before the pixel's response.
    beta : float
        Index of the wings: the light falls as the distance to the power of ``-2 * beta``.
    ellipticity, angle : float, optional
        1 less the axis ratio; position angle in radians.
    aureole : float, optional
        Share of the light in a second Moffat profile of index 1.7.
    aureole_fwhm : float, optional
        Width of that profile in units of ``fwhm``.
    """

    fwhm: float
    beta: float
    ellipticity: float = 0.0
    angle: float = 0.0
    aureole: float = 0.0
    aureole_fwhm: float = 2.5


def moffat_psf(moffat: Moffat) -> Psf:
    """The PSF on the pixels of an image, drawn by GalSim."""
    side = 2 * REACH * OVERSAMPLING
    profile = galsim.Moffat(beta=moffat.beta, fwhm=moffat.fwhm)
    if moffat.aureole > 0:
        wide = galsim.Moffat(beta=1.7, fwhm=moffat.aureole_fwhm * moffat.fwhm)
        profile = (1 - moffat.aureole) * profile + moffat.aureole * wide
    profile = profile.shear(q=1 - moffat.ellipticity, beta=moffat.angle * galsim.radians)
    image = cleaned(draw_profile(profile, side, 1 / OVERSAMPLING, pixel=1.0))
    return Psf(image, width_of(image))


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
    population = DrawnPopulation(
        n_galaxies=galaxies,
        n_stars=stars,
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


def camera_of(seed: int) -> str:
    """Name of the camera of the field with this seed."""
    return tuple(CAMERAS)[seed % len(CAMERAS)]


def draw_seeing(rng: np.random.Generator, bands: tuple[str, ...], beta: tuple[float, float]) -> list[Moffat]:
    """PSFs of the bands of one field: one law, the width of which differs between bands, unless they were matched."""
    fwhm = np.exp(rng.uniform(*np.log(FWHM)))
    index = rng.uniform(*beta)
    scatter = rng.choice([0.0, 0.08])
    shape = {"ellipticity": float(rng.beta(1.2, 20)), "angle": float(rng.uniform(0, np.pi))}
    if rng.uniform() < AUREOLE_SHARE:
        shape |= {"aureole": float(rng.uniform(0.02, 0.3)), "aureole_fwhm": float(rng.uniform(1.5, 4.0))}
    widths = [fwhm * np.exp(rng.normal(0, scatter)) * (FILTERS[b].wavelength / 0.8) ** (-2.5 * scatter) for b in bands]
    return [Moffat(float(np.clip(w, FWHM[0], 1.1 * FWHM[1])), float(index), **shape) for w in widths]


def make_field(seed: int, *, natural: bool, side: int) -> Field:
    """The field with this seed, with the real sky's counts and classes or with those to train on."""
    rng = np.random.default_rng([seed, 1])
    name = camera_of(seed)
    camera = CAMERAS[name]
    shares = np.array(BAND_SHARES[: len(camera.filters)])
    count = len(camera.filters) if name == "hst" else 1 + rng.choice(len(shares), p=shares / shares.sum())
    chosen = np.sort(rng.choice(len(camera.filters), count, replace=False))
    bands, scale = tuple(camera.filters[index] for index in chosen), float(rng.choice(camera.scales))
    matched = float(rng.choice([0.0, 1.0, rng.uniform()], p=[0.5, 0.3, 0.2]))
    seeing = None if camera.beta is None else draw_seeing(rng, bands, camera.beta)
    place = "space" if seeing is None else "ground"
    if seeing is None and not natural and rng.uniform() < ODD_SHARE:
        seeing = draw_seeing(rng, bands, (1.7, 5.0))
    if natural:
        sky = Sky()
    elif rng.uniform() < NATURAL_SHARE[place]:
        sky = training_sky(rng, (side * scale / 60) ** 2)
    else:
        fwhm = 2.2 if seeing is None else min(moffat.fwhm for moffat in seeing)
        sky = broad_sky(rng, (side, side), scale, fwhm)
    psfs = None if seeing is None else [moffat_psf(moffat) for moffat in seeing]
    return simulate_field(seed, shape=(side, side), pixel_scale=scale, bands=bands, matched=matched, sky=sky, psfs=psfs)


def main() -> None:
    """Simulate the fields that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", choices=list(FIRST_SEED))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--skip", type=int, default=0, help="start this many seeds into the split's range")
    parser.add_argument("--side", type=int, default=384, help="pixels")
    parser.add_argument(
        "--natural", action="store_true", help="counts and classes of the real sky, as test fields have anyway"
    )
    parser.add_argument("--only", choices=tuple(CAMERAS), default="", help="make just the fields of this camera")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    first = FIRST_SEED[options.split] + options.skip
    for seed in range(first, first + options.count):
        name = f"{camera_of(seed)}_{seed:06d}.npz"
        if (options.folder / name).exists() or options.only not in ("", camera_of(seed)):
            continue
        start = time.perf_counter()
        field = make_field(seed, natural=options.natural or options.split == "test", side=options.side)
        field.save(options.folder / name)
        seconds = time.perf_counter() - start
        print(f"{name}: {len(field.sources)} sources, {'+'.join(field.bands)}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
