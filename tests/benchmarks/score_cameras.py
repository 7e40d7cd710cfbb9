"""Scores of a model by camera, bands, scale, PSF and S/N: fields of three simulators, grids of stars and galaxies.

    python tests/benchmarks/score_cameras.py MODEL [MODEL ...] [--fields 'fields/test/*.npz' ...] [--grids] [--large]

MODEL is a name, or a directory of weights. Fields are those of `weights/recipes/make_fields.py` and
`third_simulator.py` (seen at the depth of GOODS-S deep times 0.3 to 3, with the photon noise of the sources) and of
`second_simulator.py` (with the noise of co-added exposures, on a slope). The class of a source is the largest mean of
the class probabilities over its true pixels, weighted by its light; its signal-to-noise ratio is that of its best band.
Grids are white noise with stars, or with smooth galaxies and a PSF that is given, alone. Large galaxies lie alone too;
their class is that of the catalogue.
"""

import argparse
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import galsim
import numpy as np
from scipy import ndimage

import morpheus_lite as ml
from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.segmentation.detection import DetectionOptions
from morpheus_lite.simulation import Field, observe, plain_conditions
from morpheus_lite.training.dataset import find_fields

SNR_EDGES = (15.0, 30.0, 100.0, np.inf)
SCALE_EDGES = (0.05, 0.1, 0.2)
FWHM_EDGES = (1.5, 2.0, 3.0)
BETAS = (1.7, 2.1, 2.5, 3.5, 5.0)
WIDTHS = (1.2, 1.6, 2.2, 3.0, 4.0, 5.0, 7.0)
RADII = (3.0, 5.0, 8.0, 14.0, 25.0)
LARGE_RADII = (25, 50, 100, 200)
LARGE_SNR = (100, 300, 1000)
SIDE = 288


def observed(field: Field, path: str, index: int) -> tuple[SkyImage, np.ndarray, np.ndarray]:
    """Image of a field without its RMS planes, owners of its pixels, and S/N of its light in each band."""
    rng = np.random.default_rng([78, index])
    sigma = np.array(plain_conditions(field).sigma) * 10 ** rng.uniform(-0.5, 0.5)
    if not Path(path).name.startswith("second"):
        conditions = replace(plain_conditions(field), sigma=tuple(sigma), photons=tuple(sigma / 30))
        observation = observe(field, conditions, rng)
        return replace(observation.image, rms=None), observation.labels, field.flux / observation.sigma
    # Three exposures that were shifted by parts of a pixel; sources with photon noise; a sky that is not level.
    white = rng.standard_normal((3, *field.flux.shape)) * np.sqrt(3 * (sigma**2 + field.flux * sigma / 40))
    moved = [ndimage.shift(one, (*rng.uniform(-0.5, 0.5, 2), 0), order=1, mode="wrap") for one in white]
    slope = np.linspace(-1, 1, field.shape[1])[None, :, None] * rng.normal(0, 0.5) * sigma
    data = (field.flux + np.mean(moved, axis=0) + slope + 3 * sigma).astype(np.float32)
    ratio = field.flux / sigma
    labels = np.where(np.sqrt((ratio**2).sum(axis=2)) > 1, field.owner, 0)
    return SkyImage(data, field.bands, np.ones(data.shape, bool)), labels, ratio


def class_of_sources(probability: np.ndarray, labels: np.ndarray, light: np.ndarray, count: int) -> np.ndarray:
    """Class of each source: index into `SOURCE_CLASSES`."""
    given = probability[..., :BACKGROUND].reshape(-1, BACKGROUND)
    given = given / np.maximum(given.sum(axis=1, keepdims=True), 1e-9)
    light = np.maximum(light, 0).ravel()
    mean = [np.bincount(labels.ravel(), light * given[:, k], count + 1)[1:] for k in range(BACKGROUND)]
    return np.argmax(mean, axis=0)


def groups_of(field: Field, path: str) -> tuple[str, ...]:
    """What the sources of a field are scored with: the camera, and number of bands, pixel scale and FWHM by class."""
    camera = Path(path).name.split("_")[0]
    narrowest, n_bands = min(field.psf_fwhm), len(field.bands)
    return (
        "all",
        f"camera {camera}",
        f"bands {'1' if n_bands == 1 else '2-4' if n_bands < 5 else '5-8'}",
        f"scale {_class_of(field.pixel_scale, SCALE_EDGES)} arcsec",
        f"FWHM {_class_of(narrowest, FWHM_EDGES)} px",
    )


def _class_of(value: float, edges: tuple[float, ...]) -> str:
    i = int(np.searchsorted(edges, value, side="right"))
    return f"< {edges[0]:g}" if i == 0 else f"> {edges[-1]:g}" if i == len(edges) else f"{edges[i - 1]:g}-{edges[i]:g}"


def score_fields(model, paths: tuple[str, ...], only: str = "") -> dict:
    """Confusion by S/N (`SNR_EDGES`), and IoU of source and sky, in each of the groups; of one band, if named."""
    confusion: dict = defaultdict(lambda: np.zeros((len(SNR_EDGES) - 1, BACKGROUND, BACKGROUND), int))
    overlap: dict = defaultdict(lambda: np.zeros(2))
    for index, path in enumerate(paths):
        field = Field.load(path)
        image, labels, ratio = observed(field, path, index)
        if only:
            keep = np.array([band == only for band in image.bands])
            image, ratio = replace(image, valid=image.valid & keep), ratio * keep
            labels = np.where(ratio.max(axis=2) > 1, labels, 0)
        probability = ml.classify(image, model).probability
        count = len(field.sources)
        said = class_of_sources(probability, labels, ratio.sum(axis=2), count)
        power = [
            np.bincount(labels.ravel(), ratio[..., b].ravel() ** 2, count + 1)[1:] for b in range(len(field.bands))
        ]
        best = np.sqrt(np.max(power, axis=0))
        source = probability[..., BACKGROUND] < 0.5
        for group in groups_of(field, path):
            for i in range(len(SNR_EDGES) - 1):
                used = (best >= SNR_EDGES[i]) & (best < SNR_EDGES[i + 1])
                np.add.at(confusion[group][i], (field.sources["kind"][used], said[used]), 1)
            overlap[group] += [np.sum(source & (labels > 0)), np.sum(source | (labels > 0))]
    return {
        group: {"confusion": confusion[group].tolist(), "iou": float(overlap[group][0] / overlap[group][1])}
        for group in sorted(confusion)
    }


def grid(profiles: list[galsim.GSObject], spacing: int, rng: np.random.Generator, snr: np.ndarray, area: float):
    """White noise with profiles on a loose grid: image, owners, and light of the sources over the noise."""
    light, owner = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE), int)
    places = [(y, x) for y in range(spacing // 2, SIDE, spacing) for x in range(spacing // 2, SIDE, spacing)]
    best = np.full((SIDE, SIDE), 0.3)
    for number, (y, x) in enumerate(places, start=1):
        image = galsim.ImageD(SIDE, SIDE, scale=1.0)
        offset = (x - SIDE / 2 + rng.uniform(0, 1), y - SIDE / 2 + rng.uniform(0, 1))
        total = snr[rng.integers(len(snr))] * np.sqrt(area)
        profiles[number % len(profiles)].withFlux(float(total)).drawImage(image, offset=offset, method="auto")
        light += image.array
        wins = image.array > best
        best[wins], owner[wins] = image.array[wins], number
    data = (light + rng.standard_normal(light.shape))[..., None].astype(np.float32)
    return SkyImage(data, ("F606W",), np.ones(data.shape, bool)), owner, light, len(places)


def score_grids(model) -> dict:
    """Share of stars that are point sources by Moffat index and FWHM, and of smooth galaxies that are what they are."""
    scores: dict = {"stars": {}, "galaxies": {}}
    for beta in BETAS:
        for fwhm in WIDTHS:
            rng = np.random.default_rng([79, int(10 * beta), int(10 * fwhm)])
            star = [galsim.Moffat(beta=beta, fwhm=fwhm)]
            image, owner, light, count = grid(star, 48, rng, np.array([30, 100, 300, 1000]), 2.3 * fwhm**2 + 4)
            said = class_of_sources(ml.classify(image, model).probability, owner, light, count)
            scores["stars"][f"{beta} {fwhm}"] = float(np.mean(said == SOURCE_CLASSES.index("point_source")))
    for index, kind in ((4.0, "spheroid"), (1.0, "disk")):
        for radius in RADII:
            for fwhm, beta in ((2.0, 3.5), (3.0, 2.2)):
                rng = np.random.default_rng([80, int(index), int(radius), int(fwhm)])
                psf = galsim.Moffat(beta=beta, fwhm=fwhm)
                body = galsim.Sersic(n=index, half_light_radius=radius, trunc=8 * radius)
                shapes = [galsim.Convolve(body.shear(g1=g), psf) for g in (0.0, 0.15, -0.1)]
                spacing = int(np.clip(9 * radius, 48, SIDE))
                level = np.array([100, 300, 1000])
                image, owner, light, count = grid(shapes, spacing, rng, level, np.pi * (radius + fwhm) ** 2)
                maps = ml.classify(image, model, psf=f"{fwhm}px,{beta}").probability  # there are no stars to measure it
                said = class_of_sources(maps, owner, light, count)
                scores["galaxies"][f"{kind} {radius:g} {fwhm:g}"] = float(np.mean(said == SOURCE_CLASSES.index(kind)))
    return scores


def score_large(model) -> Iterator[str]:
    """Morphology in the catalogue and number of pieces of smooth galaxies, each alone in white noise, by S/N."""
    for index, kind in ((4.0, "spheroid"), (1.0, "disk")):
        for radius, (fwhm, beta) in itertools.product(LARGE_RADII, ((2.0, 3.5), (3.0, 2.2))):
            said = []
            for snr in LARGE_SNR:
                rng = np.random.default_rng([82, int(index), radius, int(fwhm), snr])
                body = galsim.Sersic(n=index, half_light_radius=radius, trunc=6 * radius).shear(g1=rng.uniform(0, 0.3))
                picture = galsim.ImageD(7 * radius, 7 * radius, scale=1.0)
                total = snr * np.sqrt(np.pi) * (radius + fwhm)
                seen = galsim.Convolve(body, galsim.Moffat(beta=beta, fwhm=fwhm)).withFlux(total)
                seen.drawImage(picture, offset=rng.uniform(0, 1, 2), method="auto")
                data = (picture.array + rng.standard_normal(picture.array.shape))[..., None].astype(np.float32)
                image = SkyImage(data, ("F606W",), np.ones(data.shape, bool))
                maps = ml.classify(image, model, psf=f"{fwhm}px,{beta}")
                labels = ml.deblend(ml.segment(maps), image)
                table = ml.measure(labels, image, maps, options=ml.MeasureOptions(structure=False))
                largest = table["morphology"][np.argmax(table["area"])] if len(table) else "not found"
                said.append(f"{largest} ({len(table)})")
            yield f"{kind} r_e {radius} px, FWHM {fwhm:g} px: " + ", ".join(said)


def score_noise(model) -> float:
    """False sources per million pixels of noise, white or smoothed, in one band and in three."""
    options = DetectionOptions(**model.settings.get("detection", {}))
    count, rng = 0, np.random.default_rng(81)
    for bands, smoothing in ((1, 0.0), (1, 0.6), (1, 1.2), (3, 0.0), (3, 0.6), (3, 1.2)):
        data = rng.standard_normal((768, 768, bands)).astype(np.float32)
        data = ndimage.gaussian_filter(data, (smoothing, smoothing, 0), mode="wrap") if smoothing else data
        image = SkyImage(data, tuple(f"B{b}" for b in range(bands)), np.ones(data.shape, bool))
        count += int(ml.segment(ml.classify(image, model), method="probability", image=image, options=options).max())
    return count / (6 * 768**2 / 1e6)


def lines(record: dict) -> Iterator[str]:
    """The scores as text."""
    for group, row in record.get("fields", {}).items():
        confusion = np.array(row["confusion"])
        shares = []
        for part in confusion[::-1]:
            right = np.diag(part) / np.maximum(part.sum(axis=1), 1)
            recalls = "/".join(f"{r:.2f}" if n else "  - " for r, n in zip(right, part.sum(axis=1), strict=True))
            shares.append(f"{np.trace(part) / max(part.sum(), 1):.3f} ({part.sum()}) {recalls}")
        yield f"{group:21s} IoU {row['iou']:.3f}   " + "   ".join(shares)
    stars = record.get("stars", {})
    if stars:
        yield "stars    " + " ".join(f"{w:>5g}" for w in WIDTHS)
        for beta in BETAS:
            yield f"  {beta:4.1f}   " + " ".join(f"{stars[f'{beta} {fwhm}']:5.2f}" for fwhm in WIDTHS)
        yield f"  mean {np.mean(list(stars.values())):.3f}"
        for kind in ("spheroid", "disk"):
            found = [v for k, v in record["galaxies"].items() if k.startswith(kind)]
            yield f"smooth {kind:8s} " + " ".join(f"{v:.2f}" for v in found) + f"  mean {np.mean(found):.3f}"
        yield f"noise    {record['noise']:.2f} false sources per million pixels"


def main() -> None:
    """Score models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--fields", nargs="*", default=[], help="patterns of field files")
    parser.add_argument("--only", default="", help="the one band of the fields that the model sees")
    parser.add_argument("--grids", action="store_true", help="stars and galaxies alone, and noise")
    parser.add_argument("--large", action="store_true", help="smooth galaxies of half-light radii up to 200 px")
    parser.add_argument("--out", type=Path, help="JSON file")
    chosen = parser.parse_args()
    paths, records = find_fields(chosen.fields) if chosen.fields else (), {}
    for name in chosen.models:
        model = ml.load_model(name)
        record: dict = {"fields": score_fields(model, paths, chosen.only)} if paths else {}
        if chosen.grids:
            record |= score_grids(model) | {"noise": score_noise(model)}
        records[name] = record
        print(f"{name}: right at S/N > 100, 30-100, 15-30 (sources) and recall of {', '.join(SOURCE_CLASSES)}")
        print("\n".join(lines(record)), flush=True)
        for line in score_large(model) if chosen.large else ():
            print(line, flush=True)
    if chosen.out:
        chosen.out.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
