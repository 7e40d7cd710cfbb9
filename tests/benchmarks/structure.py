"""Errors and biases of sizes and structure: the same galaxies in noise of many draws, against themselves without.

    python tests/benchmarks/structure.py --seed 3

Sersic galaxies behind a PSF of 3 px, a companion clump on every second one, at several signal-to-noise ratios of the
segment. For each quantity: mean difference from the value without noise in units of its error, the width of these pulls
(from the percentiles 16 and 84), and the median error.
"""

import argparse

import galsim
import numpy as np
from photometry import FWHM, SIDE, find_segments

from morpheus_lite import Classification, SkyImage, measure
from morpheus_lite.catalog import CorrelatedNoise, MeasureOptions

NAMES = ("half_light_radius", "r_petrosian", "concentration", "asymmetry", "gini", "m20", "x_centroid")


def draw(rng: np.random.Generator, n: int) -> np.ndarray:
    """Noiseless galaxies side by side: float64, shape ``(SIDE, n * SIDE)``, each of unit flux."""
    stamps = []
    for k in range(n):
        index = (0.5, 1.0, 2.0, 4.0)[k % 4]
        profile = galsim.Sersic(index, half_light_radius=rng.uniform(2, 6)).shear(
            q=rng.uniform(0.4, 1), beta=rng.uniform(0, 180) * galsim.degrees
        )
        if k % 2:
            profile = 0.85 * profile + 0.15 * galsim.Gaussian(fwhm=1.5).shift(*rng.uniform(-4, 4, 2))
        image = galsim.Convolve(profile, galsim.Gaussian(fwhm=FWHM)).drawImage(galsim.ImageD(SIDE, SIDE), scale=1)
        stamps.append(image.array)
    return np.concatenate(stamps, axis=1)


def catalogue(light: np.ndarray, labels: np.ndarray, rms: float) -> dict[str, np.ndarray]:
    """The catalogue of this package, by label."""
    planes = np.zeros((*light.shape, 5), dtype=np.float32)
    planes[..., 1] = 1
    everywhere = np.ones(light.shape, dtype=bool)
    cube = light.astype(np.float32)[:, :, None]
    image = SkyImage(cube, ("F160W",), everywhere[:, :, None], np.full_like(cube, rms))
    maps = Classification(planes, everywhere.astype(np.int32), everywhere)
    noise = {"F160W": CorrelatedNoise(rms)}
    table = measure(labels, image, maps, noise=noise, options=MeasureOptions(background="none"))
    return {name: np.asarray(table[name]) for name in table.colnames if table[name].dtype.kind in "if"}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=16, help="galaxies")
    parser.add_argument("--draws", type=int, default=6, help="draws of the noise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fluxes", type=float, nargs="+", default=[300, 600, 1200, 2500, 6000])
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    light = draw(rng, chosen.n)
    places = np.column_stack([SIDE * np.arange(chosen.n) + (SIDE - 1) / 2, np.full(chosen.n, (SIDE - 1) / 2)])
    print(f"{'S/N':>5}" + "".join(f" {name:^24}" for name in NAMES))
    for flux in chosen.fluxes:
        pulls: dict[str, list] = {name: [] for name in ("snr", "error", *NAMES)}
        errors: dict[str, list] = {name: [] for name in NAMES}
        for _ in range(chosen.draws):
            noisy = flux * light + rng.normal(size=light.shape)
            labels, own = find_segments(noisy, places)
            found = catalogue(noisy, labels, 1.0)
            clean = catalogue(flux * light, labels, 1e-3)
            rows = own[own > 0] - 1
            pulls["snr"].append(found["snr"][rows])
            for name in NAMES:
                error = found[f"{name}_err"][rows]
                pulls[name].append((found[name] - clean[name])[rows] / error)
                errors[name].append(error)
        line = f"{np.median(np.concatenate(pulls['snr'])):>5.0f}"
        for name in NAMES:
            pull, error = np.concatenate(pulls[name]), np.concatenate(errors[name])
            pull = pull[np.isfinite(pull)]
            low, middle, high = np.percentile(pull, [16, 50, 84]) if len(pull) > 5 else [np.nan] * 3
            line += f"  {middle:+5.2f} {(high - low) / 2:5.2f} {np.nanmedian(error):6.3f} {len(pull):3d}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
