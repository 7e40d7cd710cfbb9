"""Scores of held-out sources, one by one, at every checkpoint: what training made better."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.stats import binomtest

from morpheus_lite.core.classes import BACKGROUND, CLASSES, SOURCE_CLASSES
from morpheus_lite.training.checkpoint import read_log
from morpheus_lite.training.targets import TrainingScene
from morpheus_lite.training.validation import predict_probability

HELD_OUT = "held_out.csv"
"""Table of the scores, in the directory of the run."""

_CLEAR = 0.05  # probability of chance below which something is said to be better


@dataclass(frozen=True)
class Improvement:
    """Held-out sources before and after training.

    Parameters
    ----------
    step : int
        Of the weights that are kept; 0: those that training started from.
    counts : mapping of str to (int, int, int)
        For each class: sources, right before, right after. Those of ``background`` were said to be no source.
    mended, spoiled : int
        Sources that became right, and wrong.
    """

    step: int
    counts: Mapping[str, tuple[int, int, int]]
    mended: int
    spoiled: int

    @property
    def totals(self) -> tuple[int, int, int]:
        """Sources, right before, right after."""
        n, before, after = np.sum([*self.counts.values(), (0, 0, 0)], axis=0).tolist()
        return n, before, after

    @property
    def chance(self) -> float:
        """Probability of as many mended ones if training had changed sources for better and worse alike."""
        changed = self.mended + self.spoiled
        return float(binomtest(self.mended, changed, alternative="greater").pvalue) if changed else 1.0

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON can hold them."""
        totals = dict(zip(("held_out", "right_before", "right_after"), self.totals, strict=True))
        counts = {name: list(count) for name, count in self.counts.items()}
        changed = {"mended": self.mended, "spoiled": self.spoiled, "chance": self.chance}
        return {"step": self.step} | totals | changed | {"by_class": counts}

    def __str__(self) -> str:
        n, before, after = self.totals
        lines = [f"Held-out sources: {n}. Right before: {before}, after: {after}."]
        for name, (total, a, b) in self.counts.items():
            lines.append(f"  {_NAMES.get(name, name):<14} {a} -> {b} of {total}")
        if self.step == 0:
            verdict = "Nothing got better: the weights are those that training started from."
        elif self.mended <= self.spoiled:
            verdict = f"No class got better ({self.mended} mended, {self.spoiled} spoiled), though the loss did."
        else:
            doubt = "" if self.chance < _CLEAR else "; correct more sources to be sure"
            verdict = f"Better: {self.mended} mended, {self.spoiled} spoiled (chance {self.chance:.2g}{doubt})."
        return "\n".join([*lines, verdict])


_NAMES = {"point_source": "point source", CLASSES[BACKGROUND]: "no source"}


def score_sources(model: keras.Model, scenes: Sequence[TrainingScene]) -> list[dict[str, Any]]:
    """Score every held-out source whose class is known, and every region that is said to be no source.

    Parameters
    ----------
    model : keras.Model
        The network.
    scenes : sequence of TrainingScene
        Held-out parts of observed images.

    Returns
    -------
    list of dict
        ``image``, ``source`` (a number), ``class``, ``p_<class>`` of the four classes of source, weighted by the light
        of the source, and ``p_source``, the mean over its pixels.
    """
    sums: dict[tuple[str, int, str], np.ndarray] = defaultdict(lambda: np.zeros(BACKGROUND + 3))
    for scene in scenes:
        probability = predict_probability(model, scene.snr, scene.valid)
        shares = probability[..., :BACKGROUND] / np.maximum(1 - probability[..., BACKGROUND:], 1e-9)
        light = np.where(scene.valid, scene.signal, 0).sum(axis=2)
        for number, name, pixels in _regions(scene):
            weight = np.maximum(light[pixels], 1e-6)
            p_source = (1 - probability[pixels][:, BACKGROUND]).sum()
            sums[scene.image, number, name] += [*(weight @ shares[pixels]), weight.sum(), p_source, len(weight)]
    return [
        {"image": image, "source": number, "class": name}
        | {f"p_{kind}": float(s[k] / s[BACKGROUND]) for k, kind in enumerate(SOURCE_CLASSES)}
        | {"p_source": float(s[-2] / s[-1])}
        for (image, number, name), s in sums.items()
    ]


def _regions(scene: TrainingScene) -> list[tuple[int, str, tuple[np.ndarray, ...]]]:
    """Number (negative where there is no source), class and pixels of what can be scored."""
    used = scene.weight[..., 0] > 0
    known = np.where(used & (scene.weight[..., 1] > 0), scene.owner, 0)
    found = []
    for plane, sign in ((known, 1), (np.where(used, scene.false, 0), -1)):
        for number in np.unique(plane[plane > 0]).tolist():
            name = SOURCE_CLASSES[int(scene.soft[number - 1].argmax())] if sign > 0 else CLASSES[BACKGROUND]
            found.append((sign * number, name, np.nonzero(plane == number)))
    return found


def improvement(run: str | Path, step: int) -> Improvement | None:
    """Improvement on the held-out sources of a run; None where there are none.

    Parameters
    ----------
    run : path
        Directory of the run.
    step : int
        Of the weights that are kept.

    Notes
    -----
    The step that is kept was chosen with the held-out sources, so that their scores there are too good. Each half of
    them is therefore scored at the step which the other half would choose (by the mean logarithm of the probability of
    what is right).
    """
    path = Path(run) / HELD_OUT
    judged = {}
    for row in read_log(path) if path.is_file() else []:
        judged[row["class"], row["image"], int(row["source"]), int(row["step"])] = _judged(row)
    keys, steps = sorted({key[:3] for key in judged}), sorted({key[3] for key in judged})
    if not keys:
        return None
    table = [[judged.get((*key, at), (False, np.inf)) for key in keys] for at in steps]
    right, loss = np.array(table)[..., 0] > 0, np.array(table)[..., 1]
    before, after = right[0], np.zeros(len(keys), bool)
    for half in (0, 1):
        other = loss[:, 1 - half :: 2]
        best = int(other.mean(axis=1).argmin()) if other.size else 0
        after[half::2] = right[best, half::2]
    kinds = np.array([key[0] for key in keys])
    own = {name: kinds == name for name in CLASSES if name in kinds}
    counts = {name: (int(n.sum()), int(before[n].sum()), int(after[n].sum())) for name, n in own.items()}
    return Improvement(step, counts, int((after & ~before).sum()), int((before & ~after).sum()))


def _judged(row: Mapping[str, Any]) -> tuple[bool, float]:
    """Judge a source: whether it came out right, and the loss."""
    source = float(row["p_source"])
    if row["class"] == CLASSES[BACKGROUND]:
        return source < 0.5, -np.log(max(1 - source, 1e-9))
    shares = [float(row[f"p_{name}"]) for name in SOURCE_CLASSES]
    own = SOURCE_CLASSES.index(row["class"])
    return source >= 0.5 and int(np.argmax(shares)) == own, -np.log(max(shares[own] * source, 1e-9))
