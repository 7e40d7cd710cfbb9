"""Fit the calibration of sources of a set of weights, and store it in its ``config.json``.

    python weights/recipes/make_fields.py valid FIELDS --natural --skip 70000 --count 390 --only hst --side 512
    python weights/recipes/calibrate_sources.py weights/hst 'FIELDS/*.npz' 'SECOND/*.npz'
    python weights/recipes/calibrate_sources.py weights/hst 'TEST/*.npz' --score

It comes last, after ``finish.py``. The fields are validation fields, seen at the depth of GOODS-S deep: those of the
first simulator with the real sky's counts and classes, and some of the second one (``second_*``), all sources of which
together weigh a tenth of those of the first. With more weight the probabilities are wrong in natural fields; with none
they are far too sure wherever sources look otherwise. With ``--score`` nothing is fitted or stored: the fields are
scored with the weights as they are. A field of 384 px takes 2 to 3 core-s.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import morpheus_lite as ml
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.source_calibration import CALIBRATION_KEY, calibration_of
from morpheus_lite.evaluation import make_result, truth_of_simulation
from morpheus_lite.evaluation.reliability import proper_scores, top_label_reliability
from morpheus_lite.evaluation.source_calibration import (
    SourceSample,
    fit_sources,
    join_samples,
    sample_sources,
    source_figures,
)
from morpheus_lite.models.registry import CONFIG, read_info
from morpheus_lite.runtime.atomic import atomic_write
from morpheus_lite.simulation import Field, observe, plain_conditions
from morpheus_lite.training.dataset import find_fields

SNR_EDGES = 0, 15, 30, 60, 150, np.inf
FEWEST = 20

SECOND = 0.1
"""Weight of the second simulator, in units of the first's."""


def sample_fields(paths: Sequence[str], model: Any) -> Iterator[SourceSample]:
    """Detected sources of each field, with their true classes."""
    for number, path in enumerate(paths):
        field = Field.load(path)
        observation = observe(field, plain_conditions(field), np.random.default_rng([31, field.seed]))
        image = replace(observation.image, rms=None)
        known = tuple(band for band in model.bands if band in image.bands)
        if model.bands and not known:
            continue
        image = image.select(known) if known else image
        maps = ml.classify(image, model)
        labels = ml.deblend(ml.segment(maps), image)
        truth = truth_of_simulation(field, observation, name=Path(path).name)
        truth = replace(truth, image=image)
        result = replace(make_result(np.asarray(labels), probability=maps.probability), provenance=maps.provenance)
        sample = sample_sources(truth, result, field=number)
        print(f"{Path(path).name}: {len(sample)} sources", flush=True)
        is_second = Path(path).name.startswith("second")
        yield replace(sample, weight=np.full(len(sample), SECOND if is_second else 1.0))


def balanced(sample: SourceSample) -> SourceSample:
    """The sample with all sources of the second simulator together weighing `SECOND` of those of the first."""
    first, second = sample.weight == 1, sample.weight < 1
    return replace(sample, weight=np.where(first, 1.0, SECOND * first.sum() / max(second.sum(), 1)))


def score(sample: SourceSample, settings: dict[str, Any]) -> None:
    """Print figures before and after calibration, in all and by S/N."""
    calibration = calibration_of(settings, "probability", None)
    shares = dict(zip(SOURCE_CLASSES, sample.hard.mean(axis=0).tolist(), strict=True))
    given = {"means of pixels": sample.share}
    if calibration is not None:
        evidence = sample.share, sample.snr, sample.size
        given |= {"calibrated": calibration.apply(*evidence)}
        given |= {"with the true shares as prior": calibration.apply(*evidence, prior=shares)}
    print(f"{len(sample)} sources")
    for name, p in given.items():
        print(f"{name}: {json.dumps(source_figures(p, sample.hard))}")
        for low, high in itertools.pairwise(SNR_EDGES):
            inside = (sample.snr >= low) & (sample.snr < high)
            if inside.sum() < FEWEST:
                continue
            hard, own = sample.hard[inside], p[inside]
            right = np.mean(own.argmax(axis=1) == sample.true_class[inside])
            losses = [proper_scores(one, hard)[0] for one in (own, np.broadcast_to(hard.mean(axis=0), hard.shape))]
            print(
                f"  S/N {low:g}-{high:g}: {inside.sum()} sources, right {right:.3f} (majority "
                f"{hard.mean(axis=0).max():.3f}), log loss {losses[0]:.3f} (shares {losses[1]:.3f}), ECE "
                f"{top_label_reliability(own, hard).error:.3f}"
            )


def main() -> None:
    """Fit and store, or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="directory of the weights, changed in place")
    parser.add_argument("fields", nargs="+", help="patterns of field files")
    parser.add_argument("--score", action="store_true", help="score the weights as they are; change nothing")
    chosen = parser.parse_args()
    info = read_info(chosen.weights)
    sample = join_samples(list(sample_fields(find_fields(chosen.fields), ml.load_model(str(chosen.weights)))))
    settings = dict(info.settings)
    if not chosen.score:
        settings[CALIBRATION_KEY] = fit_sources(balanced(sample)).to_dict()
        print(json.dumps(settings[CALIBRATION_KEY]))
        with atomic_write(chosen.weights / CONFIG, overwrite=True) as temporary:
            temporary.write_text(replace(info, settings=settings).to_json())
    score(sample, settings)


if __name__ == "__main__":
    main()
