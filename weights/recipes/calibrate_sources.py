"""Fit the calibration of sources of a set of weights, and store it in its ``config.json``.

    python weights/recipes/make_fields.py valid FIELDS --natural --skip 70000 --count 390 --only hst --side 512
    python weights/recipes/calibrate_sources.py weights/hst 'FIELDS/*.npz' 'SECOND/*.npz' --stars 8
    python weights/recipes/calibrate_sources.py weights/any 'ALL/*.npz' 'SECOND/*.npz' --stars 12
    python weights/recipes/calibrate_sources.py weights/hst 'TEST/*.npz' --score

It comes last, after ``finish.py``. The fields are validation fields, seen at the depth of GOODS-S deep: those of the
first simulator with the real sky's counts and classes, and some of the second one (``second_*``), all sources of which
together weigh 0.3 of those of the first. Star fields (``--stars``) show stars of every PSF; together they weigh 0.3 of
the stars of the first simulator. The penalty is the one under which held-out fields are most likely. With ``--score``
nothing is fitted or stored: the fields are scored with the weights as they are. A field of 384 px takes 2 to 3 core-s;
with ``--sample FILE`` its sources are kept in FILE, and taken from there the next time.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import galsim
import numpy as np

import morpheus_lite as ml
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.source_calibration import CALIBRATION_KEY, calibration_of
from morpheus_lite.evaluation import Truth, make_result, make_truth, truth_of_simulation
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

SECOND = 0.3
"""Weight of the second simulator, in units of the first's."""

STARS = 0.3
"""Weight of the star fields, in units of the first simulator's stars."""

FIRST_STARS = 250_000
"""Seed of the first star field."""

SIDE, SPACING = 288, 48
"""Of star fields, in pixels."""


def star_field(seed: int, bands: tuple[str, ...]) -> Truth:
    """Stars of S/N 20 to 3,000 on a loose grid in white noise, all of one Moffat PSF."""
    rng = np.random.default_rng(seed)
    beta = rng.uniform(1.7, 5)
    # The network sees what is wider in bins, unless it was made for one telescope.
    fwhm = np.exp(rng.uniform(np.log(1.2), np.log(2.6 if bands else 7.0)))
    names = bands or ("F606W",)
    widths = [fwhm * (1.6 if band in ("F160W", "F125W") else 1.0) for band in names]
    light, owner, best = (
        np.zeros((SIDE, SIDE, len(names))),
        np.zeros((SIDE, SIDE), np.int32),
        np.full((SIDE, SIDE), 0.3),
    )
    places = []
    for y, x in itertools.product(range(SPACING // 2, SIDE, SPACING), repeat=2):
        snr, (down, right) = np.exp(rng.uniform(np.log(20), np.log(3000))), rng.uniform(0, 1, 2)
        places.append((x - 0.5 + right, y - 0.5 + down))
        total, offset = np.zeros((SIDE, SIDE)), (x - SIDE / 2 + right, y - SIDE / 2 + down)
        for index, width in enumerate(widths):
            image = galsim.ImageD(SIDE, SIDE, scale=1.0)
            flux = snr * np.sqrt((2.3 * width**2 + 4) / len(names)) * rng.uniform(0.6, 1.4)
            galsim.Moffat(beta=beta, fwhm=width, flux=float(flux)).drawImage(image, offset=offset, method="auto")
            light[..., index] += image.array
            total += image.array
        wins = total > best
        best[wins], owner[wins] = total[wins], len(places)
    data = (light + rng.standard_normal(light.shape)).astype(np.float32)
    image = SkyImage(data, names, np.ones(data.shape, bool))
    sources = {"label": np.arange(1, len(places) + 1), "x": [x for x, _ in places], "y": [y for _, y in places]}
    sources["class"] = np.full(len(places), SOURCE_CLASSES.index("point_source"))
    return make_truth(owner, sources, image=image)


def sample_fields(paths: Sequence[str], model: Any) -> Iterator[SourceSample]:
    """Detected sources of each field, with their true classes."""
    for number, path in enumerate(paths):
        field = Field.load(path)
        observation = observe(field, plain_conditions(field), np.random.default_rng([31, field.seed]))
        image = replace(observation.image, rms=None)
        known = tuple(band for band in model.bands if band in image.bands)
        if model.bands and not known:
            continue
        truth = truth_of_simulation(field, observation, name=Path(path).name)
        sample = sample_image(replace(truth, image=image.select(known) if known else image), model, number)
        is_second = Path(path).name.startswith("second")
        yield replace(sample, weight=np.full(len(sample), SECOND if is_second else 1.0))


def sample_image(truth: Truth, model: Any, number: int) -> SourceSample:
    """Detected sources of one image."""
    maps = ml.classify(truth.image, model)
    labels = ml.deblend(ml.segment(maps), truth.image)
    result = replace(make_result(np.asarray(labels), probability=maps.probability), provenance=maps.provenance)
    sample = sample_sources(truth, result, field=number)
    print(f"{truth.name}: {len(sample)} sources", flush=True)
    return sample


def balanced(sample: SourceSample, stars: SourceSample | None) -> SourceSample:
    """The sample with the second simulator weighing `SECOND` of the first, and star fields `STARS` of its stars."""
    first, second = sample.weight == 1, sample.weight < 1
    sample = replace(sample, weight=np.where(first, 1.0, SECOND * first.sum() / max(second.sum(), 1)))
    if stars is None:
        return sample
    n_stars = np.count_nonzero(first & (sample.true_class == SOURCE_CLASSES.index("point_source")))
    return join_samples([sample, replace(stars, weight=np.full(len(stars), STARS * n_stars / len(stars)))])


def kept_sample(path: Path | None, key: str, make: Callable[[], SourceSample]) -> SourceSample:
    """A sample from a file, if it is there and of these weights; else made, and kept there if one is named."""
    if path is not None and path.exists():
        stored = np.load(path)
        if stored["weights"] != key:
            raise SystemExit(f"{path}: sources as other weights see them; name another file, or delete it")
        return SourceSample(**{name: stored[name] for name in SourceSample.__dataclass_fields__})
    sample = make()
    if path is not None:
        np.savez_compressed(path, weights=key, **vars(sample))
    return sample


def score(sample: SourceSample, settings: dict[str, Any]) -> None:
    """Print figures before and after calibration, in all and by S/N."""
    calibration = calibration_of(settings, "probability", None)
    shares = dict(zip(SOURCE_CLASSES, sample.hard.mean(axis=0).tolist(), strict=True))
    given = {"means of pixels": sample.share}
    if calibration is not None:
        given |= {"calibrated": calibration.apply(sample.share, sample.evidence)}
        given |= {"with the true shares as prior": calibration.apply(sample.share, sample.evidence, prior=shares)}
    print(f"{len(sample)} sources")
    snr = sample.evidence[:, 0]
    for name, p in given.items():
        print(f"{name}: {json.dumps(source_figures(p, sample.hard))}")
        for low, high in itertools.pairwise(SNR_EDGES):
            inside = (snr >= low) & (snr < high)
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
    parser.add_argument("--stars", type=int, default=0, help="number of star fields")
    parser.add_argument("--sample", type=Path, help="npz file that keeps the sources")
    chosen = parser.parse_args()
    info, model = read_info(chosen.weights), ml.load_model(str(chosen.weights))

    def make() -> SourceSample:
        sample = join_samples(list(sample_fields(find_fields(chosen.fields), model)))
        if chosen.score:
            return sample
        first = int(sample.field.max()) + 1
        stars = [sample_image(star_field(FIRST_STARS + k, model.bands), model, first + k) for k in range(chosen.stars)]
        return balanced(sample, join_samples(stars) if stars else None)

    sample, settings = kept_sample(chosen.sample, info.sha256, make), dict(info.settings)
    if not chosen.score:
        settings[CALIBRATION_KEY] = fit_sources(sample).to_dict()
        print(json.dumps(settings[CALIBRATION_KEY]))
        with atomic_write(chosen.weights / CONFIG, overwrite=True) as temporary:
            temporary.write_text(replace(info, settings=settings).to_json())
    score(sample, settings)


if __name__ == "__main__":
    main()
