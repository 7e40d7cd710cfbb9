"""Completeness by magnitude against sep at one purity, on our own fields and on those of two other simulators.

    python tests/benchmarks/sep_completeness.py --own 8211 8212 8213 8214 --second 400080 400081 400082 400083
    python tests/benchmarks/sep_completeness.py --third 420040 420041 420042 420043

Fields of 384 x 384 px: those of `simulate_field` at the depth of GOODS-S (model ``hst``), of
``weights/recipes/second_simulator.py`` at reference depth (model ``any``), and of ``third_simulator.py`` there (model
``hst``). sep runs with ``filter_type="conv"`` on the
S/N-weighted stack of all bands. Each tool has the lowest threshold at which so many of its detections are true (that
is, not mostly sky, or with ``--wrong unmatched`` a true source each); if it never is as pure, the purest. Ours is
shown at its own threshold too.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from detectors import Detector, morpheus, sep_on_stack
from fields import recipe_field

from morpheus_lite.evaluation import Truth, evaluate, truth_of_simulation
from morpheus_lite.simulation import observe, plain_conditions, simulate_field

EDGES = (16, 22, 23, 24, 25, 26, 27)


def own_field(seed: int) -> Truth:
    """A field of the simulator that the networks are trained on."""
    field = simulate_field(seed, shape=(384, 384))
    seen = observe(field, plain_conditions(field), np.random.default_rng([seed, 2]))
    return truth_of_simulation(field, seen, name=str(seed))


def recipe_truth(simulator: str, seed: int) -> Truth:
    """A field of the second or the third simulator."""
    field = recipe_field(simulator, seed, side=384)
    seen = observe(field, plain_conditions(field), np.random.default_rng([seed, 3]))
    return truth_of_simulation(field, seen, name=str(seed))


@dataclass(frozen=True, eq=False)
class Counts:
    """Detections, those that are not wrong, and by magnitude the true sources and those that were found."""

    detected: int
    right: int
    true: np.ndarray
    found: np.ndarray

    @property
    def purity(self) -> float:
        """Share of the detections that are not wrong."""
        return self.right / max(self.detected, 1)


def count(tool: Detector, threshold: float, fields: Sequence[Truth], wrong: str) -> Counts:
    """Add up what a tool finds in all fields, whose bands may differ."""
    each = []
    for field in fields:
        scores = evaluate(field, replace(tool(field.image, threshold), probability=None))
        sources, detections = scores.truth_sources, scores.detections
        right = detections["fate"] != "spurious" if wrong == "spurious" else detections["match"] > 0
        magnitude, matched = np.asarray(sources["magnitude"]), np.asarray(sources["match"]) > 0
        bins = [(magnitude >= low) & (magnitude < high) for low, high in itertools.pairwise(EDGES)]
        each.append(
            (len(detections), int(np.sum(right)), [one.sum() for one in bins], [sum(one & matched) for one in bins])
        )
    detected, right, true, found = zip(*each, strict=True)
    return Counts(sum(detected), sum(right), np.sum(true, axis=0), np.sum(found, axis=0))


def compare(fields: Sequence[Truth], model: str, least: float, wrong: str) -> None:
    """Print a table."""
    sep = replace(sep_on_stack("noise"), thresholds=np.arange(1.0, 2.81, 0.2))
    ours = replace(morpheus(model), thresholds=np.append(-np.inf, np.geomspace(0.5, 2000, 9)))
    print(f"{'':34s}{'threshold':>10s}{'purity':>8s}" + "".join(f"{a:>8d}-{b}" for a, b in itertools.pairwise(EDGES)))
    rows = [(f"{ours.name} as it is", ours.usual, count(ours, ours.usual, fields, wrong))]
    for tool in (sep, ours):
        tried: list[tuple[float, Counts]] = []
        for threshold in tool.thresholds.tolist():
            tried.append((threshold, count(tool, threshold, fields, wrong)))
            if tried[-1][1].purity >= least:
                break
        rows.append((f"{tool.name} at purity {least:g}", *max(tried, key=lambda one: one[1].purity)))
    for name, threshold, one in rows:
        pairs = zip(one.found, one.true, strict=True)
        cells = "".join(f"{f'{found / n:.2f} ({n})' if n else '-':>11s}" for found, n in pairs)
        print(f"{name:34s}{threshold:10.2f}{one.purity:8.3f}{cells}", flush=True)


def main() -> None:
    """Print a table for each simulator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--own", type=int, nargs="*", default=[])
    parser.add_argument("--second", type=int, nargs="*", default=[])
    parser.add_argument("--third", type=int, nargs="*", default=[])
    parser.add_argument("--purity", type=float, default=0.99)
    parser.add_argument("--wrong", choices=("unmatched", "spurious"), default="spurious")
    chosen = parser.parse_args()
    if chosen.own:
        print("own fields, bin in F160W (number of true sources)")
        compare([own_field(seed) for seed in chosen.own], "hst", chosen.purity, chosen.wrong)
    if chosen.second:
        print("second simulator, bin in F160W or the first band")
        compare([recipe_truth("second", seed) for seed in chosen.second], "any", chosen.purity, chosen.wrong)
    if chosen.third:
        print("third simulator, bin in F160W")
        compare([recipe_truth("third", seed) for seed in chosen.third], "hst", chosen.purity, chosen.wrong)


if __name__ == "__main__":
    main()
