"""Blends with truth: how many are not recognised, how many galaxies are shredded, by ours, photutils and sep.

    python tests/benchmarks/blends.py --n 100 --seed 1

Pairs of Sersic galaxies (and stars on galaxies) at 0.7 to 3 times their summed half-light radii, and single disks
with clumps and spiral arms, drawn with GalSim at a PSF of 2.5 px in noise of scatter 1. Ours and photutils' start
from the same segments, those of the smoothed light above 1.5 sigma; sep finds its own at as faint a level. A blend is
recognised when its two centres lie in different pieces; a single galaxy is shredded when it ends in more than one
piece, and a pair when it ends in more than two. The flux residual is the median of |flux in the piece / true flux in
the segment - 1| of the blends recognised. Class maps, for the rows that use them, are the share of light of each true
source, blurred and mixed with noise, as a good network would give them. Options were chosen with seed 100; the
figures in the documentation are of another.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import galsim
import numpy as np
import sep
from photutils.segmentation import SegmentationImage, deblend_sources
from scipy import ndimage

from morpheus_lite import CLASSES, Classification
from morpheus_lite.segmentation.deblending import deblend
from morpheus_lite.segmentation.multithreshold import DeblendingOptions

SIDE = 101
PSF = galsim.Gaussian(fwhm=2.5)


@dataclass(frozen=True, eq=False)
class Scene:
    """One blend, or one galaxy that must stay whole."""

    light: np.ndarray
    labels: np.ndarray
    planes: list[np.ndarray]
    centres: list[tuple[int, int]]
    maps: Classification
    gap: float
    """Distance of the two, in units of their summed half-light radii; 0 for a single galaxy."""


def draw(profile: galsim.GSObject, y: float, x: float) -> np.ndarray:
    """The profile, seen through the PSF, at a place."""
    stamp = galsim.ImageD(SIDE, SIDE)
    middle = (SIDE - 1) / 2
    galsim.Convolve(profile, PSF).drawImage(stamp, scale=1, offset=(x - middle, y - middle))
    return stamp.array


def galaxy(rng: np.random.Generator, kind: str, radius: float, flux: float) -> galsim.GSObject:
    """A smooth galaxy or a star."""
    if kind == "point_source":
        return galsim.Gaussian(sigma=0.05, flux=flux)
    index = {"spheroid": rng.uniform(2.5, 4), "disk": 1.0, "irregular": 0.8}[kind]
    shape = {"q": rng.uniform(0.4, 1), "beta": rng.uniform(0, 180) * galsim.degrees}
    return galsim.Sersic(index, half_light_radius=radius, flux=flux, trunc=6 * radius).shear(**shape)


def pair(rng: np.random.Generator) -> Scene:
    """Two sources that touch."""
    kinds = rng.choice(["disk", "spheroid", "irregular", "point_source"], size=2, p=[0.4, 0.3, 0.1, 0.2])
    radii = np.where(kinds == "point_source", 1.3, rng.uniform(2, 6, 2))
    fluxes = 10 ** rng.uniform(3.3, 4.3) * np.array([1, 10 ** -rng.uniform(0, 1.2)])
    gap, angle = rng.uniform(0.7, 3), rng.uniform(0, 2 * np.pi)
    away = 0.5 * gap * radii.sum() * np.array([np.sin(angle), np.cos(angle)])
    middle = (SIDE - 1) / 2
    places = [middle + away, middle - away]
    profiles = [galaxy(rng, kind, radius, flux) for kind, radius, flux in zip(kinds, radii, fluxes, strict=True)]
    planes = [draw(profile, *place) for profile, place in zip(profiles, places, strict=True)]
    return scene(rng, planes, list(kinds), [tuple(np.rint(place).astype(int)) for place in places], gap)


def single(rng: np.random.Generator) -> Scene:
    """One disk or irregular galaxy with clumps along its arms."""
    kind = str(rng.choice(["disk", "irregular"], p=[0.7, 0.3]))
    radius, flux, middle = rng.uniform(5, 10), 10 ** rng.uniform(3.8, 4.6), (SIDE - 1) / 2
    light = draw(galaxy(rng, kind, radius, 1.0), middle, middle)
    for _ in range(rng.integers(3, 12)):
        along, turn = rng.uniform(0.4, 2) * radius, rng.uniform(0, 2 * np.pi)
        clump = galsim.Gaussian(half_light_radius=rng.uniform(0.5, 1.5), flux=rng.uniform(0.005, 0.05))
        light = light + draw(clump, middle + along * np.sin(turn), middle + along * np.cos(turn))
    return scene(rng, [flux * light / light.sum()], [kind], [(int(middle), int(middle))], 0.0)


def scene(
    rng: np.random.Generator, planes: list[np.ndarray], kinds: list[str], centres: list[tuple[int, int]], gap: float
) -> Scene:
    """Noise, segments and class maps."""
    light = sum(planes) + rng.normal(size=(SIDE, SIDE))
    labels, _ = ndimage.label(ndimage.gaussian_filter(light, 1.0) > 1.5 * 0.29)
    probability = np.zeros((SIDE, SIDE, 5))
    for plane, kind in zip(planes, kinds, strict=True):
        probability[..., CLASSES.index(kind)] += np.maximum(plane, 0)
    probability[..., 4] = 0.5
    probability = ndimage.gaussian_filter(probability, (1, 1, 0)) + 0.02
    probability *= rng.gamma(4, 1, probability.shape)
    probability /= probability.sum(axis=2, keepdims=True)
    everywhere = np.ones((SIDE, SIDE), dtype=bool)
    maps = Classification(probability.astype(np.float32), everywhere.astype(np.int32), everywhere)
    return Scene(light, labels.astype(np.int32), planes, centres, maps, gap)


def photutils_default(scene: Scene, contrast: float = 0.001) -> np.ndarray:
    """As its guide does: smoothed light, its default levels and contrast."""
    smooth = ndimage.gaussian_filter(scene.light, 3.0 / 2.355)
    return deblend_sources(smooth, SegmentationImage(scene.labels), 5, contrast=contrast, progress_bar=False).data


def ours(scene: Scene, options: DeblendingOptions | None = None, *, with_maps: bool) -> np.ndarray:
    """This package's, with or without class maps."""
    maps = scene.maps if with_maps else None
    return deblend(scene.labels, scene.light, method="multithreshold", classification=maps, options=options)


def with_sep(scene: Scene) -> np.ndarray:
    """sep with its own detection and its default deblending."""
    light = np.ascontiguousarray(scene.light)
    return sep.extract(light, 0.45, err=1.0, minarea=5, filter_type="conv", segmentation_map=True)[1]


@dataclass(frozen=True)
class Rates:
    """How one deblender did, as shares; ``residual`` is a median."""

    missed: float
    shredded: float
    shredded_pairs: float
    residual: float


def rates(deblender: Callable[[Scene], np.ndarray], pairs: list[Scene], singles: list[Scene]) -> Rates:
    """Share of blends not recognised, of galaxies and of pairs shredded, and flux residual."""
    missed, residuals, n_pieces = 0, [], []
    for one in [*pairs, *singles]:
        found, parent = deblender(one), one.labels == one.labels[one.centres[0]]
        n_pieces.append(len(np.unique(found[parent & (found > 0)])))
        if len(one.planes) == 1:
            continue
        names = [found[centre] for centre in one.centres]
        if names[0] == names[1] or 0 in names:
            missed += 1
            continue
        for name, plane in zip(names, one.planes, strict=True):
            residuals.append(abs(one.light[parent & (found == name)].sum() / plane[parent].sum() - 1))
    counts = np.array(n_pieces)
    return Rates(
        missed / len(pairs),
        float(np.mean(counts[len(pairs) :] > 1)),
        float(np.mean(counts[: len(pairs)] > 2)),
        float(np.median(residuals)),
    )


def blended(scenes: list[Scene]) -> list[Scene]:
    """Those whose two centres lie in one segment."""
    return [one for one in scenes if one.labels[one.centres[0]] == one.labels[one.centres[1]] > 0]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=60, help="pairs, and single galaxies, to draw")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    pairs, singles = blended([pair(rng) for _ in range(chosen.n)]), [single(rng) for _ in range(chosen.n)]
    deblenders = {
        "photutils, contrast 0.001": photutils_default,
        "photutils, contrast 0.01": lambda one: photutils_default(one, 0.01),
        "sep, default": with_sep,
        "ours, light only": lambda one: ours(one, with_maps=False),
        "ours, with class maps": lambda one: ours(one, with_maps=True),
    }
    print(f"{len(pairs)} blends in one segment, {len(singles)} clumpy galaxies\n")
    print(f"{'':<26} unrecognised  galaxies shredded  pairs shredded  flux residual")
    for name, deblender in deblenders.items():
        one = rates(deblender, pairs, singles)
        values = f"{one.missed:>12.1%} {one.shredded:>18.1%} {one.shredded_pairs:>15.1%} {one.residual:>14.1%}"
        print(f"{name:<26} {values}", flush=True)


if __name__ == "__main__":
    main()
