"""A second simulator, to select by: nothing in it is shared with the one that the networks are trained on but GalSim.

    python weights/recipes/second_simulator.py FOLDER --count 24 [--skip N] [--only hst] [--votes] [--psfs 'DIR/*.fits']

Other PSFs (Kolmogorov, an aberrated telescope, a core with an aureole, or images of real ones), other counts and
sizes, Sersic indices free from 0.5 to 6.2 and Spergel profiles, knots and inclined disks as GalSim draws them, colours
from the spectra of galaxies that it comes with. Files are ``second_SEED.npz``, fields as those of ``make_fields.py``.
Spheroids have an index of at least 2.5, disks one below 2: between them none is drawn. The label is the class drawn.
With ``--votes``, for training, it is the votes that our own simulator gives to such a source: people call many small,
smooth, round galaxies spheroids whatever their index.
"""

import argparse
from collections.abc import Sequence
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Any

import galsim
import numpy as np
from astropy.io import fits

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.simulation import HST_BANDS, Field
from morpheus_lite.simulation.field import overlap, owner_threshold, reference_noise, source_table
from morpheus_lite.simulation.instruments import FILTERS
from morpheus_lite.simulation.populations import Source
from morpheus_lite.simulation.psf import OVERSAMPLING, REACH, Psf, width_of
from morpheus_lite.simulation.rendering import ZERO_POINT, choose_side

FIRST_SEED = 400_000
SETS = (
    (("F606W", "F814W", "F125W", "F160W"), 0.06),
    (("F115W", "F150W", "F200W"), 0.04),
    (("VIS",), 0.1),
    (("LSST_G", "LSST_R", "LSST_I"), 0.2),
    (("LSST_R",), 0.26),
    (("VISTA_J", "VISTA_KS"), 0.34),
)
"""Filters and pixel scale (arcsec)."""

KNOTTY = 10.0
"""Half-light radius in pixels of the largest galaxies with knots: each knot costs as much as a galaxy."""

PLAIN = {"bulge": 0.0, "angle": 0.0, "asymmetry": 0.0}
"""What most sources have in the catalogue."""

IRREGULARITY = 0.6
"""Asymmetry of all irregulars, as our own simulator counts it: nobody doubts them."""

SPECTRA = {
    "spheroid": ("CWW_E_ext.sed", "CWW_Sbc_ext.sed"),
    "disk": ("CWW_Sbc_ext.sed", "CWW_Scd_ext.sed"),
    "irregular": ("CWW_Scd_ext.sed", "CWW_Im_ext.sed"),
}


@lru_cache
def spectrum(name: str) -> galsim.SED:
    """One of GalSim's spectra."""
    return galsim.SED(name, wave_type="Ang", flux_type="flambda")


def relative_flux(rng: np.random.Generator, kind: str, wavelengths: np.ndarray) -> np.ndarray:
    """Flux per frequency at each wavelength (micron) in units of that at 1.537 micron."""
    at = np.append(wavelengths, 1.537)
    if kind == "point_source":
        temperature = 10 ** rng.uniform(3.45, 4.1)
        flux = at**-3.0 / np.expm1(14388 / (at * temperature))
    else:
        light = spectrum(str(rng.choice(SPECTRA[kind]))).atRedshift(float(rng.beta(1.5, 3) * 2.5))
        nanometres = np.clip(at * 1000, light.blue_limit, light.red_limit)
        flux = np.maximum(light(nanometres), 1e-12) * at  # photons to energy per frequency
    return np.clip(flux[:-1] / flux[-1], 0.01, 100)


def draw_psfs(rng: np.random.Generator, bands: tuple[str, ...], ground: bool, files: Sequence[str]) -> list[Psf]:
    """PSFs of one field."""
    fwhm, found = float(np.exp(rng.uniform(np.log(1.4), np.log(4.0)))), []
    style = str(rng.choice(["kolmogorov", "aureole", "moffat"] if ground else ["optical", "optical", "aureole"]))
    real = str(rng.choice(files)) if files and rng.uniform() < 0.3 else ""
    wings, share, beta = rng.uniform(1.5, 1.9), rng.uniform(0.03, 0.25), rng.uniform(1.7, 5)
    shear = galsim.Shear(g=rng.uniform(0, 0.05), beta=rng.uniform(0, np.pi) * galsim.radians)
    aberrations = np.concatenate([np.zeros(4), rng.normal(0, 0.03, 8)])
    for _ in bands:
        width = fwhm * rng.uniform(0.92, 1.08)
        if real:
            image = np.clip(fits.getdata(real), 0, None).astype(float)
            psf = galsim.InterpolatedImage(galsim.Image(image, scale=1.0), flux=1)
            psf = psf.dilate(max(width / psf.calculateFWHM(), 0.5))
        elif style == "kolmogorov":
            psf = galsim.Kolmogorov(fwhm=width)
        elif style == "moffat":
            psf = galsim.Moffat(beta=beta, fwhm=width)
        elif style == "aureole":
            core = galsim.Moffat(beta=max(beta, 3), fwhm=width)
            psf = galsim.Add([(1 - share) * core, share * galsim.Moffat(beta=wings, fwhm=2.5 * width)])
        else:
            diffraction = galsim.OpticalPSF(
                lam_over_diam=width * 0.85,
                obscuration=rng.uniform(0.2, 0.4),
                nstruts=int(rng.choice([3, 4, 6])),
                strut_thick=0.03,
                aberrations=aberrations.tolist(),
            )
            psf = galsim.Convolve(diffraction, galsim.Gaussian(sigma=0.2 * width))
        image = galsim.ImageF(2 * REACH * OVERSAMPLING, 2 * REACH * OVERSAMPLING, scale=1 / OVERSAMPLING)
        seen = galsim.Convolve(psf.shear(shear) if ground else psf, galsim.Pixel(1.0))
        seen.drawImage(image, method="no_pixel", offset=(0.5, 0.5))
        found.append(Psf(image.array.clip(0), width_of(image.array)))
    return found


def draw(profile: galsim.GSObject | None, psfs: list[Psf], n: int, x: float, y: float) -> np.ndarray:
    """Stamps of ``n`` pixels of a profile, or a point, of unit flux, seen ``(x, y)`` pixels off the middle."""
    side = n * OVERSAMPLING
    body = galsim.DeltaFunction() if profile is None else profile
    full = body.shift(x, y).drawKImage(galsim.ImageCD(side, side, scale=2 * np.pi / n)).array
    whole = np.fft.ifftshift(full)[:, : side // 2 + 1]
    planes = [np.fft.irfft2(whole * psf.transform(n), s=(side, side)) for psf in psfs]
    return (
        np.stack([np.fft.fftshift(plane)[::OVERSAMPLING, ::OVERSAMPLING].clip(0) for plane in planes], axis=-1)
        * OVERSAMPLING**2
    )


def galaxy(rng: np.random.Generator, kind: str, radius: float) -> tuple[galsim.GSObject, dict[str, Any]]:
    """Profile of unit flux, half-light radius in pixels; what the catalogue says of it."""
    seed = galsim.BaseDeviate(int(rng.integers(1, 2**31)))
    angle, ratio = rng.uniform(0, np.pi) * galsim.radians, float(rng.uniform(0.15, 1.0))
    if kind == "spheroid":
        ratio, index = max(ratio, 0.55), float(rng.integers(10, 25) / 4)
        if rng.uniform() < 0.3:
            profile = galsim.Spergel(nu=float(rng.uniform(-0.75, -0.45)), half_light_radius=radius)
        else:
            profile = galsim.Sersic(n=index, half_light_radius=radius, trunc=rng.choice([0.0, 6.0, 10.0]) * radius)
        bulge = 0.75 if rng.uniform() < 0.3 else 1.0
        if bulge < 1:
            profile = 0.75 * profile + 0.25 * galsim.Exponential(half_light_radius=1.5 * radius)
        form = {"sersic": index, "bulge": bulge, "axis_ratio": ratio, "structure": "smooth"}
        return profile.shear(q=ratio, beta=angle), form
    index = float(rng.integers(2, 8) / 4)
    if kind == "disk":
        if rng.uniform() < 0.3:
            inclination = np.arccos(rng.uniform(0, 1)) * galsim.radians
            body = galsim.InclinedExponential(inclination, half_light_radius=radius, scale_h_over_r=0.15)
            body, ratio = body.rotate(angle), max(abs(float(np.cos(inclination))), 0.15)
        else:
            body = galsim.Sersic(n=index, half_light_radius=radius).shear(q=ratio, beta=angle)
        bulge = rng.choice([0.0, rng.uniform(0, 0.4)])
        knots = rng.choice([0.0, rng.uniform(0.05, 0.3)]) if radius < KNOTTY else 0.0
        parts = [(1 - bulge - knots) * body, bulge * galsim.DeVaucouleurs(half_light_radius=0.25 * radius)]
        arms = galsim.RandomKnots(
            int(rng.integers(8, 25)), profile=galsim.Exponential(half_light_radius=radius), rng=seed
        )
        parts.append(knots * galsim.Convolve(arms.shear(q=ratio, beta=angle), galsim.Gaussian(sigma=0.08 * radius)))
        structure = "flocculent" if knots else "smooth"
        return galsim.Add(parts), {"sersic": index, "bulge": bulge, "axis_ratio": ratio, "structure": structure}
    ratio = max(ratio, 0.35)
    lumps = galsim.RandomKnots(int(rng.integers(3, 11)), half_light_radius=radius, rng=seed)
    lumps = galsim.Convolve(lumps.shear(q=ratio, beta=angle), galsim.Gaussian(sigma=rng.uniform(0.12, 0.3) * radius))
    body = galsim.Exponential(half_light_radius=radius * rng.uniform(0.5, 1.0)).shear(q=ratio, beta=angle)
    shift = rng.normal(0, 0.5 * radius, 2)
    share = rng.uniform(0.4, 0.8)
    form = {"sersic": index, "axis_ratio": ratio, "asymmetry": IRREGULARITY, "structure": "clumpy"}
    return galsim.Add([share * lumps, (1 - share) * body.shift(*shift)]), form


def make_field(seed: int, *, side: int = 384, files: Sequence[str] = (), only: str = "", votes: bool = False) -> Field:
    """The field with this seed, in filters that are drawn, or in the four HST bands."""
    rng = np.random.default_rng([seed, 2])
    bands, scale = SETS[rng.integers(len(SETS))]
    if only == "hst":
        bands, scale = HST_BANDS, 0.06
    ground = bool(FILTERS[bands[0]].telescope.seeing)
    wavelengths, noise = np.array([FILTERS[band].wavelength for band in bands]), reference_noise(bands)
    psfs = draw_psfs(rng, bands, ground, files)
    widths = [psf.fwhm for psf in psfs]
    count = int(10 ** rng.uniform(1.5, 2.4))
    shares = rng.dirichlet([1.2, 1.2, 0.5, 1.2])
    # Signal-to-noise ratios in the first band at reference depth: a broken law, 3 to 10,000.
    level = 3 + 10 ** np.abs(rng.normal(0.0, 1.3, count)).clip(0, 3.7) * 3
    middle = np.exp(rng.uniform(np.log(0.9), np.log(7.0)))
    flux = np.zeros((side, side, len(bands)), np.float32)
    owner, best = np.zeros((side, side), np.int32), np.full((side, side), owner_threshold(noise, scale), np.float32)
    placed, order = [], np.argsort(-level)
    for number, snr in enumerate(level[order], start=1):
        kind = SOURCE_CLASSES[rng.choice(4, p=shares)]
        radius, profile = 0.0, None
        form: dict[str, Any] = {"sersic": 0.0, "axis_ratio": 1.0, "structure": "star"}
        if kind != "point_source":
            radius = float(np.clip(middle * rng.lognormal(0, 0.55) * (snr / 100) ** 0.12, 0.35 * min(widths), 40))
            radius = min(radius, KNOTTY) if kind == "irregular" else radius
            profile, form = galaxy(rng, kind, radius)
        extent = np.pi * (1.2 * min(widths) + radius) ** 2
        colours = relative_flux(rng, kind, wavelengths)
        total = snr * noise[0] * scale / 0.06 * np.sqrt(extent) * colours / colours[0]
        x, y = rng.uniform(-10, side + 10, 2)
        size = choose_side(min(8 * (radius + 0.7 * max(widths)) * (1 + 0.5 * np.log10(snr)), 512))
        row, column = round(y), round(x)
        stamp = (draw(profile, psfs, size, x - column, y - row) * total).astype(np.float32)
        there, here = overlap((row - size // 2, column - size // 2), (size, size), (side, side))
        magnitude = float(ZERO_POINT - 2.5 * np.log10(total[0] / colours[0]))
        drawn = Source(kind, magnitude, radius * scale, colours=(0.0,) * 5, seed=0, **(PLAIN | form))
        placed.append((drawn, x, y, total))
        if there is None:
            continue
        flux[there] += stamp[here]
        weight = stamp[here] @ (1 / noise).astype(np.float32)
        wins = weight > best[there]
        best[there][wins] = weight[wins]
        owner[there][wins] = number
    sources = source_table([row[:3] for row in placed], wavelengths, min(widths) * scale)
    sources["flux"] = [row[3] for row in placed]
    if not votes:
        sources["soft"] = 0.04  # of the others: the class is the one drawn
        sources["soft"][np.arange(len(placed)), sources["kind"]] = 0.88
    return Field(flux, tuple(bands), scale, tuple(widths), owner, sources, seed)


def main() -> None:
    """Simulate the fields that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--only", choices=("hst",), default="", help="all fields in the four HST bands")
    parser.add_argument("--votes", action="store_true", help="labels for training: the votes of our own simulator")
    parser.add_argument("--psfs", default="", help="pattern of FITS images of real PSFs")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    files = sorted(glob(options.psfs)) if options.psfs else []  # noqa: PTH207
    for seed in range(FIRST_SEED + options.skip, FIRST_SEED + options.skip + options.count):
        path = options.folder / f"second_{seed}.npz"
        if not path.exists():
            field = make_field(seed, files=files, only=options.only, votes=options.votes)
            field.save(path)
            print(f"{path.name}: {len(field.sources)} sources, {'+'.join(field.bands)}", flush=True)


if __name__ == "__main__":
    main()
