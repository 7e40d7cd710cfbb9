"""Draw fields of a third, independent simulator: an unseen test of the weights, for neither training nor selection.

    python weights/recipes/third_simulator.py FOLDER --count 20
    python weights/recipes/third_simulator.py FOLDER --count 20 --psfs 'PSFS/*.fits' --galaxies COSMOS

The fields are of GOODS-S deep as HST sees it, of 384 or 512 px. Counts are those of CANDELS (van der Wel et al. 2012)
to H 25, made to rise on to H 27; sizes are the fits of van der Wel et al. by magnitude. Galaxies have the spectra of
Coleman, Wu & Weedman (1980), which come with GalSim, and a power law for the youngest, redshifted, reddened (Calzetti
et al. 2000) and absorbed by the intergalactic gas (Madau 1995); stars have about the colours of Covey et al. (2007).

With ``--psfs`` the PSFs are images with ``FILTER`` and ``PIXSCL`` in the header; F814W stands in for F850LP, and a band
without one gets a drawn one. With ``--galaxies``, the folder of a COSMOS sample of GalSim, half of the spheroids and
disks that are small enough are real galaxies. A Sersic fit made here gives their class, since not every catalogue has
one; the fits take half a minute. A field takes 2 to 4 core-s.
"""

import argparse
import functools
import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import galsim
import numpy as np
from astropy.io import fits
from scipy.optimize import least_squares
from scipy.signal import fftconvolve

from morpheus_lite.simulation import HST_BANDS, Field
from morpheus_lite.simulation.field import overlap, owner_threshold, reference_noise, source_table
from morpheus_lite.simulation.populations import KINDS, Source
from morpheus_lite.simulation.rendering import ZERO_POINT

FIRST_SEED = 420_000
SCALE = 0.06
EDGES = np.array([(1.40, 1.69), (1.10, 1.40), (0.47, 0.70), (0.83, 1.00)])
"""Micron, of each band."""

WAVELENGTHS = np.array([1.54, 1.25, 0.59, 0.90])
NATIVE_PIXELS = 0.128, 0.128, 0.05, 0.05
BLUR = 0.036, 0.045, 0.024, 0.022
"""Sigma in arcsec of what widens the diffraction pattern (diffusion, jitter, drizzling): with it the width of a band is
the measured one (0.18, 0.175, 0.09, 0.10 arcsec)."""

STAND_INS = {"F850LP": "F814W"}
MAGNITUDES = [18.0, 20.0, 22.0, 24.0, 25.0, 26.0, 27.0]
COUNTS = [0.6, 2.4, 9.0, 30.0, 48.0, 72.0, 100.0]
"""Per arcmin2 and magnitude."""

SIZES = {
    "disk": [1.1, 0.65, 0.46, 0.30, 0.23, 0.17, 0.13],
    "spheroid": [1.0, 0.45, 0.21, 0.17, 0.14, 0.11, 0.09],
    "irregular": [1.1, 0.75, 0.55, 0.37, 0.28, 0.21, 0.16],
}
"""Median half-light semi-major axis in arcsec at `MAGNITUDES`."""

STARS = np.array(
    [
        [-0.25, -0.20, -0.12, -0.03, 0.12, 0.18, 0.15, 0.10, 0.10, 0.25],
        [-0.80, 0.00, 0.25, 0.70, 1.40, 2.05, 2.65, 3.50, 4.65, 5.90],
        [-0.60, -0.20, -0.05, 0.15, 0.37, 0.60, 0.67, 0.82, 1.05, 1.95],
    ]
)
"""m - H (AB) in F125W, F606W, F850LP of a white dwarf, F5, G2, K0, K5, M0, M2, M4, M6 and L0."""

NO_COLOURS = (0.0,) * 5
Parts = list[tuple[galsim.GSObject, np.ndarray]]


@dataclass(frozen=True)
class Real:
    """A real galaxy, freed of its noise: its class, its picture (flux 1) and half-light radius (arcsec)."""

    kind: str
    picture: galsim.GSObject
    radius: float


@functools.cache
def spectrum(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength in micron and F_lambda of a type of Coleman, Wu & Weedman, or a young power law."""
    if name == "young":
        wavelength = np.geomspace(0.01, 2.2, 200)
        return wavelength, wavelength**-2.1
    table = np.loadtxt(Path(galsim.meta_data.share_dir, "SEDs", f"CWW_{name}_ext.sed"))
    return table[:, 0] / 1e4, table[:, 1]


def colour(name: str, redshift: float, dust: float = 0.0) -> np.ndarray:
    """F_nu in each band of a spectrum behind ``dust`` magnitudes (V), relative to F160W."""
    seen = np.linspace(EDGES[:, 0], EDGES[:, 1], 40, axis=1)
    rest = seen / (1 + redshift)
    blue = 2.659 * (-2.156 + 1.509 / rest - 0.198 / rest**2 + 0.011 / rest**3) + 4.05
    curve = np.where(rest < 0.63, blue, 2.659 * (-1.857 + 1.04 / rest) + 4.05)
    depth = np.where(rest < 0.1216, 0.0036 * (seen / 0.1216) ** 3.46, 0) + np.where(rest < 0.0912, 5, 0)
    flux = np.interp(rest, *spectrum(name)) * rest**2 * 10 ** (-0.4 * dust * np.clip(curve, 0, 12) / 4.05)
    mean = (flux * np.exp(-depth)).mean(axis=1)
    return mean / mean[0]


def star_forming(rng: np.random.Generator, redshift: float, dust: float) -> tuple[np.ndarray, np.ndarray]:
    """Light of a body and of its knots: bluer and less dusty the further away (and so the fainter) they are."""
    young = float(np.clip(0.4 * redshift - 0.2 + rng.normal(0, 0.2), 0, 0.85))
    dust = dust / (0.5 + 0.5 * redshift)
    body = (1 - young) * colour(rng.choice(["Sbc", "Scd", "Scd", "Im"]), redshift, dust)
    return body + young * colour("young", redshift, dust), colour("young", redshift, dust / 2)


def blobs(x: np.ndarray, y: np.ndarray, sigma: np.ndarray, weight: np.ndarray) -> galsim.GSObject:
    """Round Gaussians at places in arcsec, as one picture of flux 1 with its origin kept."""
    half = max(np.abs(x).max(), np.abs(y).max()) + 3.5 * sigma.max()
    step = max(half / 60, 0.012)
    axis = np.arange(-np.ceil(half / step), np.ceil(half / step) + 1) * step
    width = np.maximum(sigma, 0.8 * step)[:, None]
    across, along = (np.exp(-0.5 * ((axis - place[:, None]) / width) ** 2) / width for place in (x, y))
    picture = np.einsum("k,ky,kx->yx", weight, along, across)
    return galsim.InterpolatedImage(galsim.Image(picture, scale=step), flux=1.0, x_interpolant="cubic", pad_factor=2)


def draw_spheroid(rng: np.random.Generator, radius: float, redshift: float) -> tuple[Parts, str]:
    """A mostly old de Vaucouleurs or Sersic body, with a faint halo in one of three."""
    index = 4.0 if rng.random() < 0.4 else float(np.clip(round(rng.normal(3.6, 0.8) * 4) / 4, 2.5, 6))
    ratio, angle = float(rng.triangular(0.45, 0.85, 1.0)), rng.uniform(0, np.pi) * galsim.radians
    # Few of the distant (and faint) ones are without young stars.
    young = rng.beta(0.5, 1) * np.clip(redshift, 0.1, 1)
    light = (1 - young) * colour("E", redshift) + young * star_forming(rng, redshift, rng.uniform(0, 0.8))[0]
    body = galsim.Sersic(index, half_light_radius=radius * np.sqrt(ratio), trunc=0).shear(q=ratio, beta=angle)
    if rng.random() < 0.65:
        return [(body, light)], "smooth"
    share, wide = rng.uniform(0.06, 0.15), rng.uniform(2, 2.8) * radius
    halo = galsim.Exponential(half_light_radius=wide).shear(q=max(ratio, 0.7), beta=angle)
    return [(body, (1 - share) * light), (halo, share * light)], "smooth"


def arms(rng: np.random.Generator, radius: float, spiral: bool) -> tuple[np.ndarray, ...]:
    """Knots of star formation in a face-on disk: along two to four logarithmic arms, or anywhere."""
    number = int(rng.integers(80, 160)) if spiral else int(rng.integers(50, 120))
    distance = np.clip(rng.gamma(2.6, 0.42, number), 0.12, 3) * radius
    turn = rng.uniform(0, 2 * np.pi, number)
    if spiral:
        n_arms, pitch = rng.choice([2, 2, 3, 4]), np.tan(np.radians(rng.uniform(12, 30)))
        turn = rng.integers(0, n_arms, number) * 2 * np.pi / n_arms + np.log(distance / radius) / pitch
        turn = turn + rng.normal(0, 0.22, number)
    sigma = radius * rng.uniform(0.06, 0.17, number)
    return distance * np.cos(turn), distance * np.sin(turn), sigma, rng.gamma(1.5, 1.0, number)


def draw_disk(rng: np.random.Generator, radius: float, redshift: float) -> tuple[Parts, str]:
    """An exponential disk at any inclination with a small bulge, with younger arms or knots where it is large."""
    tilt = np.arccos(rng.uniform(0, 1)) * galsim.radians
    angle, dust = rng.uniform(0, np.pi) * galsim.radians, rng.uniform(0, 0.9)
    bulge = float(np.clip(rng.gamma(1.3, 0.08), 0, 0.35))
    thin = {"scale_h_over_r": rng.uniform(0.08, 0.2)}
    spiral, structured = rng.random() < 0.6, radius > 0.22 and rng.random() < 0.75
    knots = rng.uniform(0.12, 0.4) if structured else 0.0
    light, blue = star_forming(rng, redshift, dust)
    disk = galsim.InclinedExponential(tilt, half_light_radius=radius, **thin).rotate(angle)
    core = galsim.Sersic(rng.choice([2.0, 3.0, 4.0]), half_light_radius=rng.uniform(0.12, 0.3) * radius)
    parts = [(disk, (1 - bulge - knots) * light), (core, bulge * colour("E", redshift, 0.2))]
    if structured:
        x, y, sigma, weight = arms(rng, radius, spiral)
        flat = max(np.cos(tilt.rad), 0.15)
        parts.append((blobs(x, y * flat, sigma, weight).rotate(angle), knots * blue))
    return parts, ("spiral" if spiral else "flocculent") if structured else "smooth"


def clumps(rng: np.random.Generator, radius: float, structure: str) -> tuple[np.ndarray, ...]:
    """The bright pieces of an irregular: anywhere, along a line, along a tail, or on one side."""
    number = int(rng.integers(4, 12))
    x, y = rng.normal(0, 0.6, number), rng.normal(0, 0.4, number)
    sigma = rng.lognormal(np.log(0.17), 0.5, number)
    weight = rng.pareto(1.6, number) + 0.3
    if structure == "chain":
        x, y = np.linspace(-1.6, 1.6, number) + rng.normal(0, 0.12, number), rng.normal(0, 0.08, number)
    elif structure == "lopsided":
        x, y = np.abs(x) + 0.3, y * 0.8
    elif structure in ("merger", "tadpole"):
        along, bend = np.linspace(0, 1, 24), rng.uniform(-0.7, 0.7)
        x, y = 0.3 + 3.0 * along, 3 * bend * along**2 + rng.normal(0, 0.06, 24)
        sigma, weight = 0.16 + 0.18 * along, np.exp(-1.6 * along) * rng.gamma(4, 0.25, 24)
    return x * radius, y * radius, sigma * radius, weight


def draw_irregular(rng: np.random.Generator, radius: float, redshift: float) -> tuple[Parts, str]:
    """A clumpy galaxy, a chain, a lopsided one, a tadpole, or a merger of two nuclei with a tail."""
    structure = str(rng.choice(["clumpy", "merger", "lopsided", "chain", "tadpole"], p=[0.3, 0.3, 0.2, 0.1, 0.1]))
    angle, dust = rng.uniform(0, 2 * np.pi) * galsim.radians, rng.uniform(0, 0.7)
    older, younger = star_forming(rng, redshift, dust)
    flat = {"chain": 0.2, "merger": 0.75}.get(structure, rng.uniform(0.4, 0.9))
    body = galsim.Sersic(rng.choice([0.75, 1.0, 1.25]), half_light_radius=radius * np.sqrt(flat)).shear(
        q=flat, beta=0 * galsim.radians
    )
    pieces = [blobs(*clumps(rng, radius, structure))]
    shares = {"clumpy": 0.35, "merger": 0.2, "lopsided": 0.35, "chain": 0.5, "tadpole": 0.35}
    share, nuclei = shares[structure] * rng.uniform(0.75, 1.3), 0.0
    parts: Parts = []
    if structure in ("merger", "tadpole", "lopsided"):
        nuclei = {"merger": 0.5, "tadpole": 0.4, "lopsided": 0.2}[structure]
        ratio = rng.uniform(0.25, 0.5) if structure == "merger" else 0.0
        away, turn = radius * rng.uniform(0.7, 1.5), rng.uniform(0.6, 1.4) * np.pi
        first = galsim.Sersic(1.5, half_light_radius=0.3 * radius).shear(q=0.7, beta=rng.uniform(0, 3) * galsim.radians)
        second = galsim.Sersic(1.5, half_light_radius=0.25 * radius).shift(away * np.cos(turn), away * np.sin(turn))
        start = 0.6 * radius if structure == "lopsided" else 0.0
        parts = [(first.shift(start, 0), (1 - ratio) * nuclei * older), (second, ratio * nuclei * older)]
    parts += [(body, (1 - share - nuclei) * older), (pieces[0], share * younger)]
    return [(one.rotate(angle), light) for one, light in parts], structure


def draw_star(rng: np.random.Generator) -> np.ndarray:
    """F_nu in each band, relative to F160W, of a star (mostly M dwarfs), or in one of twelve of a quasar."""
    if rng.random() < 1 / 12:
        return (WAVELENGTHS / WAVELENGTHS[0]) ** rng.uniform(0.2, 0.9)
    place = rng.triangular(0.3, 6.2, 8.8) if rng.random() < 0.95 else 0.0
    colours = [np.interp(place, np.arange(len(row)), row) for row in STARS]
    return 10 ** (-0.4 * np.array([0, *(np.array(colours) + rng.normal(0, 0.04, 3))]))


def draw_psfs(rng: np.random.Generator, pattern: str | None) -> list[galsim.GSObject]:
    """The PSF of each band, pixel included: a file's, or an obscured telescope with struts and small aberrations."""
    files = {fits.getheader(path)["FILTER"]: path for path in sorted(glob.glob(pattern or ""))}  # noqa: PTH207
    if pattern and not files:
        raise SystemExit(f"{pattern}: no PSFs there")
    roll = rng.uniform(0, 90) * galsim.degrees
    wrong = dict(zip(("defocus", "astig1", "astig2", "coma1", "coma2"), rng.normal(0, 0.015, 5), strict=True))
    psfs = []
    for band, edges, pixel, blur in zip(HST_BANDS, EDGES, NATIVE_PIXELS, BLUR, strict=True):
        path = files.get(band) or files.get(STAND_INS.get(band, ""))
        if path:
            picture = galsim.Image(fits.getdata(path).astype(float), scale=fits.getheader(path)["PIXSCL"])
        else:
            optics = {
                "diam": 2.4,
                "obscuration": 0.33,
                "nstruts": 4,
                "strut_thick": 0.022,
                "strut_angle": roll,
                "oversampling": 1.0,
            }
            colours = [galsim.OpticalPSF(lam=1e3 * at, **optics, **wrong) for at in np.linspace(edges[0], edges[1], 3)]
            kernel = [galsim.Gaussian(sigma=blur * rng.uniform(0.9, 1.1)), galsim.Pixel(pixel).rotate(roll)]
            whole = galsim.Convolve(galsim.Add(colours) / 3, *kernel)
            picture = whole.drawImage(nx=255, ny=255, scale=0.04, method="no_pixel")
        y, x = np.indices(picture.array.shape) - picture.array.shape[0] // 2
        picture.array[:] *= np.clip(8 * (1 - np.hypot(x, y) / x.max()), 0, 1)
        psfs.append(galsim.InterpolatedImage(picture, flux=1.0, x_interpolant="cubic"))
    return psfs


def read_galaxies(folder: Path) -> list[Real]:
    """The galaxies of a COSMOS sample bright enough to be classed, which are spheroids or disks."""
    found = []
    for path in sorted(folder.glob("real_galaxy_catalog_*.fits")):
        table = fits.getdata(path, 1)
        if "GAL_FILENAME" not in table.names or not (folder / table["GAL_FILENAME"][0].strip()).exists():
            continue
        sample = galsim.RealGalaxyCatalog(path.name, dir=str(folder))
        for index in np.flatnonzero(table["MAG"] < 24.1):
            kernel = sample.getPSF(index).drawImage(nx=41, ny=41, scale=0.03, method="no_pixel").array
            noise = float(table["NOISE_VARIANCE"][index]) ** 0.5
            real = class_real(sample.getGalImage(index).array.astype(float), kernel / kernel.sum(), noise)
            found += [real] if real else []
    if not found:
        raise SystemExit(f"{folder}: no spheroid or disk of a COSMOS sample with its images")
    return found


def sersic_picture(p: np.ndarray, shape: tuple[int, int], kernel: np.ndarray) -> np.ndarray:
    """A Sersic profile (flux per pixel at the radius, index, radius, ratio, angle, x, y) in pixels seen with a PSF."""
    level, index, radius, ratio, angle, x, y = p
    v, u = ((np.arange(3 * n) - (3 * n - 1) / 2) / 3 - at for n, at in zip(shape, (y, x), strict=True))
    along = np.cos(angle) * u + np.sin(angle) * v[:, None]
    across = (np.cos(angle) * v[:, None] - np.sin(angle) * u) / ratio
    light = np.exp((2 * index - 1 / 3) * (1 - ((along**2 + across**2 + 0.02) / radius**2) ** (0.5 / index)))
    light = light.reshape(shape[0], 3, shape[1], 3).mean(axis=(1, 3))
    return level * fftconvolve(light, kernel, mode="same")


def class_real(image: np.ndarray, kernel: np.ndarray, noise: float) -> Real | None:
    """Fit a Sersic profile; where the light is faint the fit replaces the image, and so its noise."""
    reach = min(image.shape) / 3
    level = float(image.sum()) / (7 * (reach / 3) ** 2)
    low, high = [0, 0.4, 0.7, 0.1, -4, -6, -6], [20 * level, 6, reach, 1, 4, 6, 6]
    places = np.argwhere(image > 4 * noise)
    spread = np.linalg.eigh(np.cov((places - np.array(image.shape) / 2).T))
    start = [level, 1.6, reach / 3, 0.6, np.arctan2(spread[1][0, 1], spread[1][1, 1]), 0, 0]
    found = least_squares(
        lambda p: ((sersic_picture(p, image.shape, kernel) - image) / noise).ravel(), start, bounds=(low, high),
        max_nfev=30, x_scale=[level, 1, reach / 3, 0.3, 0.5, 1, 1],
    ).x  # fmt: skip
    smooth = sersic_picture(found, image.shape, kernel)
    inner = smooth > np.maximum(2 * noise, 0.02 * smooth.max())
    excess = np.abs(image - smooth)[inner].sum() - 0.8 * noise * inner.sum()
    rough = excess / max(smooth[inner].sum(), 1e-9)
    kind = "spheroid" if found[1] >= 2.5 and rough < 0.12 else "disk" if found[1] < 1.8 and rough < 0.2 else None
    if kind is None or found[2] > 0.99 * reach:
        return None
    # The fit goes on beyond the edge of the image, and the image counts for less towards it.
    wide = sersic_picture(found, (3 * image.shape[0], 3 * image.shape[1]), kernel)
    trust = smooth**2 / (smooth**2 + (3 * noise) ** 2) * np.outer(*(np.hanning(n) ** 0.3 for n in image.shape))
    wide[tuple(slice(n, 2 * n) for n in image.shape)] += trust * (image - smooth)
    picture = galsim.Image(wide, scale=0.03)
    shown = galsim.InterpolatedImage(picture, flux=1.0, x_interpolant="cubic").shift(-0.03 * found[5], -0.03 * found[6])
    return Real(kind, shown, 0.03 * found[2])


def draw_real(rng: np.random.Generator, real: Real, radius: float, redshift: float) -> tuple[Parts, str]:
    """A real galaxy turned, perhaps mirrored, and shrunk to a radius, in the colours of its class."""
    picture = real.picture.dilate(radius / real.radius).rotate(rng.uniform(0, 360) * galsim.degrees)
    if rng.random() < 0.5:
        picture = picture.transform(-1, 0, 0, 1)
    dust = rng.uniform(0, 0.6)
    old = rng.uniform(0.5, 1) if real.kind == "spheroid" else 0.0
    light = old * colour("E", redshift) + (1 - old) * star_forming(rng, redshift, dust)[0]
    return [(picture, light)], "smooth"


DRAW = {"spheroid": draw_spheroid, "disk": draw_disk, "irregular": draw_irregular}


def draw_source(rng: np.random.Generator, kind: str, magnitude: float, reals: Sequence[Real]) -> tuple[Source, Parts]:
    """What one source is: its row of the table, and its parts with their light in each band (nJy); no part: a star."""
    flux, seed = 10 ** (-0.4 * (magnitude - ZERO_POINT)), int(rng.integers(2**31))
    if kind == "point_source":
        source = Source(kind, magnitude, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, "star", NO_COLOURS, seed)
        return source, [(galsim.DeltaFunction(), flux * draw_star(rng))]
    spread = 0.45 if kind == "spheroid" else 0.42
    radius = float(np.exp(np.log(np.interp(magnitude, MAGNITUDES, SIZES[kind])) + rng.normal(0, spread)))
    radius = float(np.clip(radius, 0.05, 3.0))
    redshift = float(np.clip(np.interp(magnitude, [18, 20, 22, 24, 26], [0.25, 0.5, 0.8, 1.2, 1.7])
                             * rng.lognormal(0, 0.4), 0.05, 6))  # fmt: skip
    # Half as large as it was at most: its own PSF is then 0.05 arcsec wide, and its noise small.
    fit = [real for real in reals if real.kind == kind and radius < 0.5 * real.radius]
    if fit and rng.random() < 0.5:
        parts, structure = draw_real(rng, fit[rng.integers(len(fit))], radius, redshift)
    else:
        parts, structure = DRAW[kind](rng, radius, redshift)
    index = {"spheroid": 4.0, "disk": 1.0, "irregular": 0.75}[kind]
    source = Source(
        kind, magnitude, radius, index, float(kind == "spheroid"), 1.0, 0.0, 0.0, structure, NO_COLOURS, seed
    )
    norm = flux / sum(light[0] for _, light in parts)
    return source, [(part, norm * light) for part, light in parts]


def draw_kinds(rng: np.random.Generator, area: float) -> list[tuple[str, float]]:
    """Class and magnitude of every source of ``area`` arcmin2, in a mix and a density of this field's own."""
    fine = np.linspace(MAGNITUDES[0], MAGNITUDES[-1], 500)
    density = 10 ** np.interp(fine, MAGNITUDES, np.log10(COUNTS))
    expected = density.mean() * (fine[-1] - fine[0]) * area * rng.lognormal(0.1, 0.25)
    magnitudes = np.sort(rng.choice(fine, rng.poisson(expected), p=density / density.sum()))
    mix = rng.dirichlet([2.0, 4.0, 2.0])
    kinds = []
    for magnitude in magnitudes:
        tilted = mix * 10 ** (np.array([-0.06, 0.0, 0.06]) * (magnitude - 24))
        kinds.append((str(rng.choice(KINDS[:3], p=tilted / tilted.sum())), float(magnitude)))
    n_stars = rng.poisson(area * rng.uniform(6, 30))
    return kinds + [("point_source", float(m)) for m in rng.triangular(18.0, 24.0, 26.0, n_stars)]


def side_of(source: Source) -> int:
    """Pixels of the stamp that holds a source down to 31.5 mag/arcsec2."""
    radius, index = (0.12, 4.0) if source.kind == "point_source" else (max(source.radius, 0.1), max(source.sersic, 1.3))
    depth = max(31.5 - source.magnitude - 2.5 * np.log10(2 * np.pi * radius**2), 0)
    reach = radius * (1 + 0.92 * depth / (2 * index - 1 / 3)) ** index
    return 2 * int(np.clip(reach / SCALE, 18, 180))


def make_field(seed: int, *, side: int | None = None, psfs: str | None = None, reals: Sequence[Real] = ()) -> Field:
    """Draw a field: everything follows from the seed and the real data given."""
    rng = np.random.default_rng(seed)
    side = side or int(rng.choice([384, 512]))
    drawn, noise = draw_psfs(rng, psfs), reference_noise(HST_BANDS)
    flux = np.zeros((side, side, 4), np.float32)
    owner = np.zeros((side, side), np.int32)
    best = np.full(owner.shape, owner_threshold(noise, SCALE), np.float32)
    placed, lights = [], []
    for number, (kind, magnitude) in enumerate(draw_kinds(rng, (side * SCALE / 60) ** 2), start=1):
        source, parts = draw_source(rng, kind, magnitude, reals)
        x, y = rng.uniform(-0.5, side - 0.5, 2)
        stamp = draw_stamp(parts, drawn, side_of(source), (x % 1, y % 1))
        corner = int(y) - len(stamp) // 2, int(x) - len(stamp) // 2
        placed.append((source, x, y))
        lights.append(stamp.sum(axis=(0, 1)))  # not what lies beyond the stamp, nor lost between samples
        there, here = overlap(corner, stamp.shape[:2], owner.shape)
        flux[there] += stamp[here]
        weight = stamp[here] @ (1 / noise).astype(np.float32)
        wins = weight > best[there]
        best[there][wins] = weight[wins]
        owner[there][wins] = number
    table = source_table(placed, WAVELENGTHS, 0.09)
    table["flux"] = lights
    table["soft"] = np.where(np.arange(4) == table["kind"][:, None], 0.88, 0.04)
    fwhm = tuple(measure_fwhm(psf) / SCALE for psf in drawn)
    return Field(flux, HST_BANDS, SCALE, fwhm, owner, table, seed)


def draw_stamp(parts: Parts, psfs: Sequence[galsim.GSObject], side: int, offset: tuple[float, float]) -> np.ndarray:
    """float32, shape ``(side + 1, side + 1, band)``, nJy: parts seen with the PSFs, ``offset`` px off the middle."""
    stamp = np.zeros((side + 1, side + 1, len(psfs)), np.float32)
    for band, psf in enumerate(psfs):
        if isinstance(parts[0][0], galsim.DeltaFunction):
            seen = psf * parts[0][1][band]
        else:
            seen = galsim.Convolve(galsim.Add([part * light[band] for part, light in parts]), psf)
        image = seen.drawImage(nx=side + 1, ny=side + 1, scale=SCALE, method="no_pixel", offset=offset)
        stamp[..., band] = np.maximum(image.array, 0)
    return stamp


def measure_fwhm(psf: galsim.GSObject) -> float:
    """Full width at half maximum in arcsec, from the area above half the peak."""
    picture = psf.drawImage(nx=81, ny=81, scale=0.01, method="no_pixel").array
    return float(2 * np.sqrt(np.count_nonzero(picture > picture.max() / 2) / np.pi) * 0.01)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=20, metavar="N", help="fields to draw")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="seeds to pass over")
    parser.add_argument("--psfs", metavar="PATTERN", help="FITS images of PSFs, with FILTER and PIXSCL in the header")
    parser.add_argument("--galaxies", type=Path, metavar="DIR", help="a COSMOS sample of GalSim")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    reals = read_galaxies(options.galaxies) if options.galaxies else []
    for seed in range(FIRST_SEED + options.skip, FIRST_SEED + options.skip + options.count):
        field = make_field(seed, psfs=options.psfs, reals=reals)
        field.save(options.folder / f"third_{seed}.npz")
        print(f"third_{seed}.npz: {field.shape[0]} px, {len(field.sources)} sources", flush=True)


if __name__ == "__main__":
    main()
