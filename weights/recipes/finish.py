"""From trained to shipped: calibration, detection thresholds and ranges of a set of weights, measured on natural skies.

    python weights/recipes/make_fields.py valid fields/natural --natural --skip 60000 --count 52
    python weights/recipes/second_simulator.py fields/second --skip 100 --count 26
    python weights/recipes/finish.py weights/any 'fields/natural/*.npz' 'fields/second/second_4001*.npz' \\
        --domain weights/recipes/any_domain.json

The fields are validation fields of both simulators, those of the first with the real sky's counts and classes, seen at
the depth of GOODS-S deep. Three things are fitted and stored in ``config.json``: biases of the classes (both simulators
count the same, in each every field, and in it every source with a signal-to-noise ratio above 30); a temperature and a
bias of the sky, every pixel counting once; and the lowest ``core`` of the detection at which at most 1 % of the
detections hold no source.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

import morpheus_lite as ml
from morpheus_lite.core.classes import BACKGROUND
from morpheus_lite.core.image import SkyImage
from morpheus_lite.evaluation.calibration import Calibration, fit_temperature
from morpheus_lite.models.registry import load_weights, read_card, save_model
from morpheus_lite.segmentation.detection import DetectionOptions
from morpheus_lite.simulation import Field, class_map, observe, plain_conditions
from morpheus_lite.training.dataset import find_fields

N_PIXELS = 40_000
CLASS_SNR = 30.0
PURITY = 0.99
CORES = np.array([0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99])
MIN_SIGNIFICANCE = 5.0


class Seen:
    """A field as it was observed, and what the model says of it."""

    def __init__(self, path: str, index: int, bands: Sequence[str]) -> None:
        self.simulator = "second" if Path(path).name.startswith("second") else "first"
        rng = np.random.default_rng([31, index])
        self.field = Field.load(path)
        observation = observe(self.field, plain_conditions(self.field), rng)
        self.labels, self.signal = observation.labels, observation.signal
        image = replace(observation.image, rms=None)
        self.image: SkyImage = image.select(tuple(bands)) if bands else image
        self.probability = np.empty(0)

    def class_sample(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Class probabilities, given that a pixel is source, truth and weight of the pixels of sources that count."""
        power = np.bincount(self.labels.ravel(), self.signal.ravel() ** 2, len(self.field.sources) + 1)
        bright = np.append(False, power[1:] > CLASS_SNR**2)
        used = np.flatnonzero(bright[self.labels].ravel())
        owner = self.labels.ravel()[used]
        given = self.probability.reshape(-1, BACKGROUND + 1)[used, :BACKGROUND]
        weight = 1 / np.bincount(owner)[owner] / max(len(np.unique(owner)), 1)
        return given / given.sum(axis=1, keepdims=True), self.field.sources["soft"][owner - 1], weight

    def pixel_sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and truth of pixels drawn at random."""
        chosen = rng.choice(self.labels.size, min(N_PIXELS, self.labels.size), replace=False)
        truth = class_map(self.labels, self.field.sources)
        return (array.reshape(-1, BACKGROUND + 1)[chosen] for array in (self.probability, truth))

    def count(self, maps: np.ndarray, options: DetectionOptions) -> tuple[int, int]:
        """Detections, and those that hold a pixel of a true source."""
        result = ml.Classification(
            probability=maps,
            coverage=np.ones(self.labels.shape, np.int32),
            valid=np.ones(self.labels.shape, bool),
            flags=np.zeros(self.labels.shape, np.uint8),
        )
        found = ml.segment(result, method="probability", image=self.image, options=options)
        true = ndimage.maximum(self.labels > 0, found, np.arange(1, found.max() + 1)) if found.any() else []
        return int(found.max()), int(np.sum(true))


def fit(seen: Sequence[Seen]) -> Calibration:
    """Biases of the classes by source; then temperature and bias of the sky by pixel."""
    given, truth, weight = (np.concatenate(parts) for parts in zip(*(s.class_sample() for s in seen), strict=True))
    number = Counter(s.simulator for s in seen)
    share = np.concatenate([np.full(len(s.class_sample()[2]), 1 / number[s.simulator]) for s in seen])
    classes = fit_temperature(given, truth, weight=weight * share, bias="classes")
    first = Calibration(temperature=1.0, bias=(*(b * classes.temperature for b in classes.bias), 0.0))
    rng = np.random.default_rng(7)
    pairs = [tuple(s.pixel_sample(rng)) for s in seen]
    probability, soft = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    second = fit_temperature(first.apply(probability), soft, bias="sky")
    print(f"classes: {classes}\npixels:  {second}")
    return replace(first.then(second), fitted={**second.fitted, "n_fields": len(seen)})


def thresholds(seen: Sequence[Seen], calibration: Calibration) -> DetectionOptions:
    """The lowest core of the wanted purity."""
    maps = [calibration.apply(s.probability) for s in seen]
    for core in CORES:
        options = DetectionOptions(seed_threshold=float(core), threshold=0.45, min_snr=MIN_SIGNIFICANCE)
        counts = np.sum([s.count(m, options) for s, m in zip(seen, maps, strict=True)], axis=0)
        print(f"core {core:.2f}: {counts[0]} detections, purity {counts[1] / max(counts[0], 1):.4f}", flush=True)
        if counts[1] >= PURITY * counts[0]:
            break
    return options


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="directory of the weights, changed in place")
    parser.add_argument("fields", nargs="+", help="patterns of field files")
    parser.add_argument("--domain", type=Path, help="JSON file with the ranges of the training fields")
    parser.add_argument("--limit", type=int, default=None)
    chosen = parser.parse_args()
    info, arrays = load_weights(chosen.weights)
    settings = {**info.settings, "calibration": Calibration().to_dict()}
    for name in ("scores", "source_calibration"):  # of weights that were calibrated otherwise
        settings.pop(name, None)
    card = read_card(chosen.weights) if (chosen.weights / "card.md").exists() else ""
    save_model(chosen.weights, replace(info, settings=settings), arrays, card=card, overwrite=True)
    model = ml.load_model(str(chosen.weights))
    seen = [Seen(path, i, model.bands) for i, path in enumerate(find_fields(chosen.fields)[: chosen.limit])]
    for one in seen:
        one.probability = ml.classify(one.image, model).probability
    calibration = fit(seen)
    options = thresholds(seen, calibration)
    settings |= {
        "calibration": calibration.to_dict(),
        "detection": {key: getattr(options, key) for key in ("seed_threshold", "threshold", "min_snr")},
    }
    if chosen.domain:
        settings["domain"] = json.loads(chosen.domain.read_text())
    save_model(chosen.weights, replace(info, settings=settings), arrays, card=card, overwrite=True)


if __name__ == "__main__":
    main()
