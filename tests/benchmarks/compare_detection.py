"""Completeness of several detectors at one purity, on the same simulated fields, in one run.

    python tests/benchmarks/compare_detection.py 'fields/valid/hst_*.npz' --model hausen2020 --out comparison

Fields are those of `weights/make_fields.py`, seen at the depth of GOODS-S deep (times --depth), in electrons/s. Every
detector is run at the threshold that its users take, and at the lowest threshold that gives the purity on these fields
(on those of --tune, where given). Tables go to stdout; figures, JSON and tables of sources to the directory of --out.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from detectors import Detector, morpheus, photutils_on, sep_on_stack

from morpheus_lite.core.image import SkyImage
from morpheus_lite.evaluation import (
    Scores,
    Truth,
    evaluate,
    format_scores,
    pool_scores,
    truth_of_simulation,
    write_evaluation,
)
from morpheus_lite.simulation import Field, observe, plain_conditions

ZERO_POINTS = {"F160W": 25.946, "F125W": 26.230, "F606W": 26.505, "F850LP": 24.867}
"""AB magnitude of 1 electron/s, for models that want these units; simulated fields are in nJy."""

NANOJANSKY = 31.4


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, how many detections it keeps, and how many of them are true sources."""

    threshold: float
    n_detected: int
    n_matched: int

    @property
    def purity(self) -> float:
        """Share of the detections that are true sources; 0 without detections."""
        return self.n_matched / max(self.n_detected, 1)


def arguments() -> argparse.Namespace:
    """What was asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fields", nargs="+", help="field files, or patterns of them")
    parser.add_argument("--tune", nargs="*", default=[], help="fields to choose the thresholds on")
    parser.add_argument("--model", action="append", default=[], help="model of this package (may be repeated)")
    parser.add_argument("--score", default="log_odds", help="score of our detections that the threshold is on")
    parser.add_argument("--stride", type=int, default=None)
    parser.add_argument("--purity", type=float, default=0.98)
    parser.add_argument(
        "--wrong",
        choices=("unmatched", "spurious"),
        default="unmatched",
        help="what the threshold is to avoid: every detection without a true source of its own within 0.3 arcsec, "
        "pieces of split galaxies too, or only those that are mostly sky",
    )
    parser.add_argument("--depth", type=float, default=1.0, help="noise, in units of GOODS-S deep")
    parser.add_argument(
        "--correlation", type=float, default=0.0, help="sigma in px of the kernel that smooths the noise"
    )
    parser.add_argument("--limit", type=int, default=None, help="at most so many fields")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


def observed(patterns: Sequence[str], chosen: argparse.Namespace) -> list[Truth]:
    """The fields with noise, and what is in them."""
    found = {path for pattern in patterns for path in Path(pattern).parent.glob(Path(pattern).name)}
    paths = sorted(found)[: chosen.limit]
    if not paths:
        raise SystemExit(f"no field matches {' '.join(patterns)}")
    return [observe_field(path, np.random.default_rng([chosen.seed, k]), chosen) for k, path in enumerate(paths)]


def observe_field(path: Path, rng: np.random.Generator, chosen: argparse.Namespace) -> Truth:
    """One field in electrons/s."""
    field = Field.load(path)
    conditions = plain_conditions(field, depth=chosen.depth)
    conditions = replace(conditions, correlation=(chosen.correlation,) * len(field.bands))
    observation = observe(field, conditions, rng)
    truth = truth_of_simulation(field, observation, name=path.stem)
    return replace(truth, image=in_electrons(observation.image))


def in_electrons(image: SkyImage) -> SkyImage:
    """The image in electrons/s, where the zero-points of all its bands are known."""
    if not set(image.bands) <= set(ZERO_POINTS):
        return image
    points = tuple(ZERO_POINTS[band] for band in image.bands)
    factor = 10 ** (0.4 * (np.array(points) - NANOJANSKY)).astype(np.float32)
    units = ("electron / s",) * image.n_bands
    return replace(image, data=image.data * factor, rms=image.rms * factor, zero_points=points, units=units)


def scored(detector: Detector, threshold: float, fields: Sequence[Truth], name: str) -> Scores:
    """A detector's scores over all fields."""
    scores = [evaluate(field, detector(field.image, threshold)) for field in fields]
    return pool_scores(scores, name)


def pure_point(detector: Detector, fields: Sequence[Truth], purity: float, wrong: str) -> OperatingPoint:
    """The lowest threshold at which the detector is pure enough on some fields; the purest where none is."""

    def count(threshold: float) -> tuple[int, int]:
        found = [(field, replace(detector(field.image, threshold), probability=None)) for field in fields]
        detections = pool_scores([evaluate(field, result) for field, result in found]).detections
        right = detections["fate"] != "spurious" if wrong == "spurious" else detections["match"] > 0
        return len(detections), int(np.sum(right))

    tried: list[OperatingPoint] = []
    for threshold in sorted(detector.thresholds):
        tried.append(OperatingPoint(threshold, *count(threshold)))
        if tried[-1].purity >= purity - 1e-9:
            break
    return max(tried, key=lambda point: point.purity)


def main() -> None:
    """Run the comparison."""
    chosen = arguments()
    fields = observed(chosen.fields, chosen)
    tuning = observed(chosen.tune, chosen) if chosen.tune else fields
    detectors = [sep_on_stack("variance"), sep_on_stack("noise"), photutils_on("F160W"), photutils_on(None)]
    detectors += [morpheus(model, score=chosen.score, stride=chosen.stride) for model in chosen.model]
    usual, pure, record = [], [], []
    for detector in detectors:
        usual.append(scored(detector, detector.usual, fields, f"{detector.name}, usual"))
        point = pure_point(detector, tuning, chosen.purity, chosen.wrong)
        pure.append(scored(detector, point.threshold, fields, f"{detector.name} at {point.threshold:.3g}"))
        # Only the first pass is timed: ours then picks from what it found.
        seconds = float(np.median(detector.seconds[: len(fields)]))
        record.append({"name": detector.name, "threshold": point.threshold, "seconds_a_field": seconds})
        print(f"{detector.name}: {seconds:.2f} s per field", file=sys.stderr)
    print(f"At the thresholds that users take.\n\n{format_scores(usual)}")
    print(
        f"At the lowest threshold where no more than {1 - chosen.purity:.1%} of the detections are {chosen.wrong}, or"
    )
    print("at the purest where there is none.\n")
    print(format_scores(pure))
    if chosen.out is not None:
        write_evaluation(pure, chosen.out, overwrite=True)
        (chosen.out / "thresholds.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
