"""Blends with truth: how many are not recognised, and how many galaxies are shredded, by ours and by photutils.

    python tests/benchmarks/blends.py --n 60

Pairs of Sersic galaxies (and stars on galaxies) at 0.7 to 3 times their summed half-light radii, and single disks with
clumps and spiral arms, drawn with GalSim at a PSF of 2.5 px in noise of scatter 1. Every deblender starts from the same
segments, those of the smoothed light above 1.5 sigma. A blend is recognised when its two centres lie in different
pieces; a single galaxy is shredded when it ends in more than one piece. Class maps, for the rows that use them, are the
share of light of each true source, blurred and mixed with noise, as a good network would give them.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import galsim
import numpy as np
from photutils.segmentation import SegmentationImage, deblend_sources
from scipy import ndimage

from morpheus_lite import CLASSES, Classification
from morpheus_lite.deblending import deblend
from morpheus_lite.multithreshold import MultithresholdOptions

SIDE = 121
PSF = galsim.Gaussian(fwhm=2.5)


@dataclass(frozen=True, eq=False)
class Scene:
    """One blend, or one galaxy that must stay whole."""

    light: np.ndarray
    labels: np.ndarray
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
    return Scene(light, labels.astype(np.int32), centres, maps, gap)


def photutils_default(scene: Scene, contrast: float = 0.001) -> np.ndarray:
    """As its guide does: smoothed light, its default levels and contrast."""
    smooth = ndimage.gaussian_filter(scene.light, 3.0 / 2.355)
    return deblend_sources(smooth, SegmentationImage(scene.labels), 5, contrast=contrast, progress_bar=False).data


def ours(scene: Scene, options: MultithresholdOptions | None = None, *, with_maps: bool) -> np.ndarray:
    """This package's, with or without class maps."""
    maps = scene.maps if with_maps else None
    return deblend(scene.labels, scene.light, method="multithreshold", classification=maps, options=options)


def rates(deblender: Callable[[Scene], np.ndarray], pairs: list[Scene], singles: list[Scene]) -> tuple[float, float]:
    """Share of blends not recognised, and of single galaxies shredded."""
    missed = 0
    for one in pairs:
        found = deblender(one)
        first, second = (found[centre] for centre in one.centres)
        missed += first == second
    shredded = 0
    for one in singles:
        parent = one.labels == one.labels[one.centres[0]]
        shredded += len(np.unique(deblender(one)[parent])) > 1
    return missed / len(pairs), shredded / len(singles)


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
        "ours, light only": lambda one: ours(one, with_maps=False),
        "ours, with class maps": lambda one: ours(one, with_maps=True),
    }
    print(f"{len(pairs)} blends in one segment, {len(singles)} clumpy galaxies\n\n{'':<28} unrecognised  shredded")
    for name, deblender in deblenders.items():
        missed, shredded = rates(deblender, pairs, singles)
        print(f"{name:<28} {missed:>11.1%} {shredded:>9.1%}")


if __name__ == "__main__":
    main()
