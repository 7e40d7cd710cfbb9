"""Fluxes, magnitudes, positions and their errors on isolated sources with truth: ours, photutils' and sep's.

    python tests/benchmarks/photometry.py --n 400 --seed 1 --psf-known

Sersic galaxies (n 0.5, 1, 2, 4) of half-light radius 1.5 to 9 px and stars, drawn with GalSim through a PSF of 3 px,
150 px apart, in white noise of scatter 1, at several signal-to-noise ratios: that of the light within the half-light
radius that is seen. The true flux is that of the whole profile, to infinity. Every tool starts from the image: ours and
photutils' measure the same segments, of the smoothed light above 3 sigma; sep finds its own.

Bias is the median of (flux - truth) / truth in per cent, with its error; the pull is (flux - truth) / error: its mean
and its width (from the percentiles 16 and 84) would be 0 and 1.
"""

import argparse
import time
from dataclasses import dataclass

import galsim
import numpy as np
import sep
from astropy.stats import mad_std
from photutils.segmentation import SegmentationImage, SourceCatalog
from scipy import ndimage

from morpheus_lite import Classification, SkyImage, measure
from morpheus_lite.catalog import MeasureOptions

SIDE = 150
FWHM = 3.0
ZERO_POINT = 25.0
BAND = "R"
"""From the ground: a filter of HST would stand for the wings of a diffraction pattern."""
KINDS = {"star": None, "n 0.5": 0.5, "n 1": 1.0, "n 2": 2.0, "n 4": 4.0}
PSFS = {
    "gaussian": galsim.Gaussian(fwhm=FWHM),
    "moffat": galsim.Moffat(beta=3.5, fwhm=FWHM),
}


@dataclass(frozen=True, eq=False)
class Stamps:
    """Noiseless sources of unit flux: light ``(n, y, x)``, kind, half-light radius seen, offset of the centre."""

    light: np.ndarray
    kind: np.ndarray
    radius: np.ndarray
    offset: np.ndarray


def draw_stamps(rng: np.random.Generator, n: int, psf: galsim.GSObject) -> Stamps:
    """Sources of every kind, in turn."""
    light, kinds, offsets = [], [], rng.uniform(-0.5, 0.5, (n, 2))
    for k in range(n):
        kind = list(KINDS)[k % len(KINDS)]
        index, radius = KINDS[kind], np.exp(rng.uniform(np.log(1.5), np.log(9)))
        if index is None:
            profile = psf
        else:
            shape = {"q": rng.uniform(0.3, 1), "beta": rng.uniform(0, 180) * galsim.degrees}
            profile = galsim.Convolve(galsim.Sersic(index, half_light_radius=radius).shear(**shape), psf)
        stamp = galsim.ImageD(SIDE, SIDE)
        # Offsets are from the middle of the stamp, (SIDE - 1) / 2 from its first pixel.
        profile.drawImage(stamp, scale=1, offset=offsets[k])
        light.append(stamp.array.astype(np.float32))
        kinds.append(kind)
    radii = [half_light_radius(*one) for one in zip(light, offsets, strict=True)]
    return Stamps(np.array(light), np.array(kinds), np.array(radii), offsets)


def half_light_radius(light: np.ndarray, offset: np.ndarray) -> float:
    """Radius of the circle with half of the light, which sums to 1 over the sky."""
    y, x = np.indices(light.shape)
    middle = (SIDE - 1) / 2
    away = np.hypot(y - middle - offset[1], x - middle - offset[0]).ravel()
    order = np.argsort(away)
    return float(np.interp(0.5, np.cumsum(light.ravel()[order]), away[order]))


def build_field(rng: np.random.Generator, stamps: Stamps, ratio: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All stamps side by side in noise: light, true fluxes, true x and y."""
    n = len(stamps.light)
    columns = int(np.ceil(np.sqrt(n)))
    light = rng.normal(size=(SIDE * -(-n // columns), SIDE * columns)).astype(np.float32)
    flux = 2 * ratio * np.sqrt(np.pi) * stamps.radius
    place = np.empty((n, 2))
    for k in range(n):
        top, left = SIDE * (k // columns), SIDE * (k % columns)
        light[top : top + SIDE, left : left + SIDE] += flux[k] * stamps.light[k]
        place[k] = np.array([left, top]) + (SIDE - 1) / 2 + stamps.offset[k]
    return light, flux, place


def find_segments(light: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segments of the true sources, 3 sigma above the smoothed sky; of each source its label, 0 if it was not found."""
    smooth = ndimage.gaussian_filter(light, 1.5)
    labels, n_found = ndimage.label(smooth > 3 * mad_std(smooth))
    true = np.rint(place).astype(int)
    keep = np.zeros(n_found + 1, dtype=bool)
    keep[labels[true[:, 1], true[:, 0]]] = True
    keep[0] = False
    labels = np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]
    return labels, labels[true[:, 1], true[:, 0]]


def measure_ours(light: np.ndarray, labels: np.ndarray, options: MeasureOptions) -> dict[str, np.ndarray]:
    """The catalogue of this package, by label."""
    planes = np.zeros((*light.shape, 5), dtype=np.float32)
    planes[..., 1] = 1
    everywhere = np.ones(light.shape, dtype=bool)
    maps = Classification(planes, everywhere.astype(np.int32), everywhere)
    cube = light[:, :, None]
    image = SkyImage(cube, (BAND,), everywhere[:, :, None], np.ones_like(cube), zero_points=(ZERO_POINT,))
    table = measure(labels, image, maps, maps="probability", options=options)
    return {name: np.asarray(table[name]) for name in table.colnames}


def measure_photutils(light: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """photutils' Kron flux with its defaults."""
    catalog = SourceCatalog(light, SegmentationImage(labels), error=np.ones_like(light))
    return {"flux": catalog.kron_flux, "error": catalog.kron_flux_err}


def measure_sep(light: np.ndarray) -> dict[str, np.ndarray]:
    """sep's automatic flux as its guide does it (FLUX_AUTO: factor 2.5, smallest radius 1.75 px)."""
    objects, segments = sep.extract(
        np.ascontiguousarray(light), 1.5, err=1.0, minarea=5, filter_type="conv", segmentation_map=True
    )
    # An angle of exactly half a turn, and ellipses without width, are refused by sep.
    angle = np.clip(objects["theta"], -1.57, 1.57)
    shape = [objects["x"], objects["y"], *(np.maximum(objects[name], 0.1) for name in "ab"), angle]
    masked = {"seg_id": np.arange(1, len(objects) + 1, dtype=np.int32), "segmap": segments}
    radius = np.nan_to_num(sep.kron_radius(light, *shape, 6.0, **masked)[0])
    flux, error, _ = sep.sum_ellipse(light, *shape, 2.5 * radius, err=1.0, subpix=1, **masked)
    small = 2.5 * radius * np.sqrt(objects["a"] * objects["b"]) < 1.75
    aperture, noise, _ = sep.sum_circle(light, *shape[:2], 1.75, err=1.0, subpix=1, **masked)
    x, y, _ = sep.winpos(light, *shape[:2], 2 / 2.35 * np.full(len(objects), 2.0))
    flux, error = np.where(small, aperture, flux), np.where(small, noise, error)
    return {"x": x, "y": y, "flux": flux, "error": error}


def nearest(found: dict[str, np.ndarray], place: np.ndarray) -> np.ndarray:
    """Row of the brightest detection within 3 px of each true source, -1 if there is none."""
    away = np.hypot(found["x"] - place[:, :1], found["y"] - place[:, 1:])
    flux = np.where(away < 3, found["flux"], -np.inf)
    return np.where(np.isfinite(flux.max(axis=1)), flux.argmax(axis=1), -1)


def scores(flux: np.ndarray, error: np.ndarray, truth: np.ndarray) -> str:
    """Bias with its error in per cent, mean and width of the pulls."""
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    flux, error, truth = flux[good], error[good], truth[good]
    if len(flux) < 5:
        return f"{'-':>14} {'-':>6} {'-':>6}"
    residual, pull = 100 * (flux - truth) / truth, (flux - truth) / error
    low, middle, high = np.percentile(residual, [16, 50, 84])
    doubt = 1.25 * (high - low) / 2 / np.sqrt(len(flux))
    width = np.diff(np.percentile(pull, [16, 84]))[0] / 2
    return f"{middle:>+7.2f} ±{doubt:>5.2f} {pull.mean():>+6.2f} {width:>6.2f}"


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200, help="sources at each signal-to-noise ratio")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ratios", type=float, nargs="+", default=[10, 20, 50, 100, 300, 1000])
    parser.add_argument("--psf", choices=PSFS, default="gaussian")
    parser.add_argument("--psf-known", action="store_true", help="tell the measurement the width of the PSF")
    parser.add_argument("--by-kind", action="store_true", help="a row for each kind of source")
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    options = MeasureOptions(structure=False, psf_fwhm=FWHM if chosen.psf_known else None)
    stamps = draw_stamps(rng, chosen.n, PSFS[chosen.psf])
    titles = ("total_flux", "kron_flux", "photutils Kron", "sep FLUX_AUTO")
    print(" " * 14 + "".join(f"{title:^31}" for title in titles))
    print(f"{'S/N':>5} {'kind':<7}" + "".join(f" {'bias %':>14} {'pull':>6} {'width':>6} |" for _ in titles))
    seconds = {"ours": 0.0, "photutils": 0.0, "sep": 0.0}
    places = {}
    for ratio in chosen.ratios:
        light, flux, place = build_field(rng, stamps, ratio)
        labels, own = find_segments(light, place)
        start = time.perf_counter()
        ours = measure_ours(light, labels, options)
        seconds["ours"] += time.perf_counter() - start
        start = time.perf_counter()
        theirs = measure_photutils(light, labels)
        seconds["photutils"] += time.perf_counter() - start
        start = time.perf_counter()
        found = measure_sep(light)
        seconds["sep"] += time.perf_counter() - start
        partner = nearest(found, place)
        places[ratio] = position_scores(ours, own, place)
        for kind in [*(KINDS if chosen.by_kind else ()), "all"]:
            chosen_rows = (own > 0) & ((stamps.kind == kind) | (kind == "all"))
            rows, truth = own[chosen_rows] - 1, flux[chosen_rows]
            cells = [
                scores(ours[f"{name}_flux_{BAND}"][rows], ours[f"{name}_fluxerr_{BAND}"][rows], truth)
                for name in ("total", "kron")
            ]
            cells.append(scores(theirs["flux"][rows], theirs["error"][rows], truth))
            there = chosen_rows & (partner >= 0)
            cells.append(scores(found["flux"][partner[there]], found["error"][partner[there]], flux[there]))
            print(f"{ratio:>5g} {kind:<7}" + "".join(f" {cell} |" for cell in cells), flush=True)
    print(f"\n{'S/N':>5}  windowed centroid: mean offset x, y (px), mean and width of the pulls in x, y")
    for ratio, text in places.items():
        print(f"{ratio:>5g}  {text}")
    print(
        "\n"
        + ", ".join(
            f"{name} {1e3 * value / chosen.n / len(chosen.ratios):.1f} ms per source" for name, value in seconds.items()
        )
    )


def position_scores(ours: dict[str, np.ndarray], own: np.ndarray, place: np.ndarray) -> str:
    """Offsets and pulls of the windowed centroid along both axes."""
    rows = own[own > 0] - 1
    offsets, pulls, widths = [], [], []
    for axis, name in enumerate("xy"):
        away = ours[f"{name}_centroid_win"][rows] - place[own > 0, axis]
        pull = away / ours[f"{name}_centroid_win_err"][rows]
        pull = pull[np.isfinite(pull)]
        doubt = np.nanstd(away) / np.sqrt(len(away))
        offsets.append(f"{np.nanmean(away):+.4f} ±{doubt:.4f}")
        pulls.append(f"{pull.mean():+.2f}")
        widths.append(f"{np.diff(np.percentile(pull, [16, 84]))[0] / 2:.2f}")
    return f"{', '.join(offsets)}; {', '.join(pulls)}; {', '.join(widths)}"


if __name__ == "__main__":
    main()
