"""Scores of a model on simulated fields with truth, and its false sources in images of noise alone.

    python tests/benchmarks/score_weights.py MODEL 'fields/test/hst_*.npz' [--only F160W] [--out scores.json]
    python tests/benchmarks/score_weights.py MODEL --noise
    python tests/benchmarks/score_weights.py weights/hst 'fields/test/hst_*.npz' --store    # for `morpheus models`

Fields of `weights/recipes/make_fields.py` at the depth of GOODS-S deep. A source is found where a pixel called
source (probability above 0.5) lies within 2 px of its centre; its class is the largest mean of the class probabilities
over its true pixels, weighted by its light. Irregulars to H = 24.5 are counted by structure too. False sources in noise
are those of the default segmentation.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import ndimage

import morpheus_lite as ml
from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.evaluation.reliability import top_label_reliability
from morpheus_lite.models.registry import CONFIG, read_info
from morpheus_lite.segmentation.detection import DetectionOptions
from morpheus_lite.simulation import HST_BANDS, Field, class_map, observe, plain_conditions
from morpheus_lite.simulation.observation import Observation
from morpheus_lite.training.dataset import find_fields

EDGES = (15.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0)
IRREGULAR, SHOWN_TO = SOURCE_CLASSES.index("irregular"), 24.5  # in H: fainter, structures are hard to see
CORRELATIONS = (0.0, 0.5, 0.8, 1.25)
NOISE_SIDE, N_NOISE = 1024, 4


@dataclass
class Tally:
    """Sums over fields."""

    found: np.ndarray = field(default_factory=lambda: np.zeros((len(EDGES) - 1, 2), int))
    confusion: np.ndarray = field(default_factory=lambda: np.zeros((len(EDGES) - 1, BACKGROUND, BACKGROUND), int))
    overlap: np.ndarray = field(default_factory=lambda: np.zeros(2, int))
    irregulars: Counter = field(default_factory=Counter)
    """Of the bright ones, by structure and by whether they are called irregular."""
    probability: list[np.ndarray] = field(default_factory=list)
    truth: list[np.ndarray] = field(default_factory=list)


def seen_image(observation: Observation, only: Sequence[str]) -> SkyImage:
    """The image without its RMS planes, as most users have it; just some bands where asked."""
    image = replace(observation.image, rms=None)
    return image.select(tuple(only)) if only else image


def tally_field(tally: Tally, drawn: Field, observation: Observation, probability: np.ndarray) -> None:
    """Add one field to the sums."""
    sources, labels, said = drawn.sources, observation.labels, probability[..., BACKGROUND] < 0.5
    n, height, width = len(sources), *labels.shape
    inside = (sources["x"] >= 0) & (sources["x"] < width) & (sources["y"] >= 0) & (sources["y"] < height)
    column = np.clip(np.round(sources["x"]).astype(int), 0, width - 1)
    row = np.clip(np.round(sources["y"]).astype(int), 0, height - 1)
    near = ndimage.maximum_filter(said, 5)[row, column]
    uncovered = drawn.owner[row, column] == np.arange(1, n + 1)  # nobody finds what a brighter one hides
    light = (drawn.flux / np.median(observation.image.rms, axis=(0, 1))).sum(axis=2).ravel()
    given = probability[..., :BACKGROUND].reshape(-1, BACKGROUND)
    given = given / given.sum(axis=1, keepdims=True)
    mean = [np.bincount(labels.ravel(), light * given[:, k], n + 1)[1:] for k in range(BACKGROUND)]
    visible = np.bincount(labels.ravel(), minlength=n + 1)[1:] > 0
    for i, (low, high) in enumerate(pairwise(EDGES)):
        wanted = inside & (sources["h_mag"] >= low) & (sources["h_mag"] < high)
        tally.found[i] += [np.sum(near & wanted & uncovered), np.sum(wanted & uncovered)]
        wanted &= visible
        np.add.at(tally.confusion[i], (sources["kind"][wanted], np.argmax(mean, axis=0)[wanted]), 1)
    bright = inside & visible & (sources["kind"] == IRREGULAR) & (sources["h_mag"] < SHOWN_TO)
    called = np.argmax(mean, axis=0)[bright] == IRREGULAR
    tally.irregulars.update(zip(sources["structure"][bright].tolist(), called.tolist(), strict=True))
    tally.overlap += [np.sum(said & (labels > 0)), np.sum(said | (labels > 0))]
    rng = np.random.default_rng(0)
    chosen = rng.choice(labels.size, min(40_000, labels.size), replace=False)
    tally.probability.append(probability.reshape(-1, BACKGROUND + 1)[chosen])
    tally.truth.append(class_map(labels, sources).reshape(-1, BACKGROUND + 1)[chosen])


def score(model: str, paths: Sequence[str], only: Sequence[str], seed: int) -> Tally:
    """Classify the fields and add them up."""
    loaded, tally = ml.load_model(model), Tally()
    for i, path in enumerate(paths):
        drawn = Field.load(path)
        observation = observe(drawn, plain_conditions(drawn), np.random.default_rng([seed, i]))
        tally_field(tally, drawn, observation, ml.classify(seen_image(observation, only), loaded).probability)
    return tally


def show(tally: Tally) -> dict:
    """Print the tables; return them as JSON can hold them."""
    record: dict = {"source_iou": float(tally.overlap[0] / tally.overlap[1]), "bins": []}
    record["ece"] = top_label_reliability(np.concatenate(tally.probability), np.concatenate(tally.truth)).error
    print(f"IoU of source and sky {record['source_iou']:.3f}, ECE {record['ece']:.4f}")
    print(f"{'H':7s} {'found':>12s} {'class right':>16s}   recall of {', '.join(SOURCE_CLASSES)}")
    for i, (low, high) in enumerate(pairwise(EDGES)):
        found, right, n = tally.found[i], int(np.trace(tally.confusion[i])), int(tally.confusion[i].sum())
        recall = np.diag(tally.confusion[i]) / np.maximum(tally.confusion[i].sum(axis=1), 1)
        shown = " ".join(f"{r:.2f} ({k})" for r, k in zip(recall, tally.confusion[i].sum(axis=1), strict=True))
        error = np.sqrt(max(right * (n - right), 1) / max(n, 1) ** 3)
        share = right / max(n, 1)
        completeness = f"{found[0] / max(found[1], 1):.3f} ({found[1]})"
        print(f"{low:g}-{high:g}  {completeness}   {share:.3f} +- {error:.3f} ({n})   {shown}")
        record["bins"].append(
            {"from": low, "to": high, "found": found.tolist(), "confusion": tally.confusion[i].tolist()}
        )
    structures = sorted({structure for structure, _ in tally.irregulars})
    counts = [(one, tally.irregulars[one, True], tally.irregulars[one, False]) for one in structures]
    shown = ", ".join(f"{one} {right} of {right + wrong}" for one, right, wrong in counts)
    print(f"irregulars to H = {SHOWN_TO} that are called so: {shown}")
    return record


def store(directory: Path, record: dict) -> None:
    """Put the scores into the configuration of a directory of weights."""
    info = read_info(str(directory))
    bins = []
    for row in record["bins"]:
        confusion, (found, expected) = np.array(row["confusion"]), row["found"]
        bins.append(
            {
                "h_mag": f"{row['from']:g}-{row['to']:g}" if row["from"] > EDGES[0] else f"< {row['to']:g}",
                "found": round(found / max(expected, 1), 3),
                "class_right": round(float(np.trace(confusion) / max(confusion.sum(), 1)), 3),
                "n_sources": int(confusion.sum()),
            }
        )
    scores = {"fields": f"{record['fields']} simulated test fields of GOODS-S depth", "bins": bins}
    scores |= {"iou": round(record["source_iou"], 3), "ece": round(record["ece"], 4)}
    changed = replace(info, settings={**info.settings, "scores": scores})
    (directory / CONFIG).write_text(changed.to_json())


def noise_alone(model: str) -> dict[str, float]:
    """False sources per million pixels in noise of several correlation lengths, all bands and each alone."""
    loaded, rng, rates = ml.load_model(model), np.random.default_rng(5), {}
    bands = loaded.bands or HST_BANDS
    options = DetectionOptions(**getattr(loaded, "settings", {}).get("detection", {}))
    for correlation in CORRELATIONS:
        for used in (bands, bands[:1]):
            count = 0
            for _ in range(N_NOISE):
                data = rng.standard_normal((NOISE_SIDE, NOISE_SIDE, len(used))).astype(np.float32)
                if correlation:
                    data = ndimage.gaussian_filter(data, (correlation, correlation, 0), mode="wrap")
                    data /= data.std()
                image = SkyImage(data, tuple(used), np.ones(data.shape, bool))
                labels = ml.segment(ml.classify(image, loaded), method="probability", image=image, options=options)
                count += int(labels.max())
            name = f"correlation {correlation:g} px, {'all bands' if len(used) > 1 else used[0]}"
            rates[name] = count / (N_NOISE * NOISE_SIDE**2 / 1e6)
            print(f"{name}: {rates[name]:.2f} false sources per million pixels", flush=True)
    return rates


def main() -> None:
    """Score a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("fields", nargs="*", help="patterns of field files")
    parser.add_argument("--only", nargs="*", default=[], help="bands to show, all if not given")
    parser.add_argument("--noise", action="store_true", help="images of noise alone")
    parser.add_argument("--limit", type=int, default=None, help="at most so many fields")
    parser.add_argument("--seed", type=int, default=77, help="of the noise")
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    parser.add_argument("--store", action="store_true", help="in the config.json of MODEL, a directory")
    chosen = parser.parse_args()
    paths = find_fields(chosen.fields)[: chosen.limit] if chosen.fields else ()
    record: dict = {"model": chosen.model, "fields": len(paths), "bands": chosen.only}
    if paths:
        print(f"{chosen.model} on {len(paths)} fields, {'+'.join(chosen.only) or 'all bands'}")
        record |= show(score(chosen.model, paths, chosen.only, chosen.seed))
        if chosen.store:
            store(Path(chosen.model), record)
    if chosen.noise:
        record["noise"] = noise_alone(chosen.model)
    if chosen.out:
        chosen.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
