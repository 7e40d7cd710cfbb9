"""The card of a model that a training run made: what it was made of, and how good it is where it was validated."""

import csv
from pathlib import Path

from morpheus_lite.models.registry import ModelInfo
from morpheus_lite.training.config import TrainingConfig
from morpheus_lite.training.source_scores import Improvement

_SCORES = {
    "loss": "loss",
    "loss_observed": "loss on images",
    "loss_simulated": "loss on fields",
    "iou": "IoU source/sky",
    "ece": "calibration error before calibration",
    "recall_spheroid": "recall spheroid",
    "recall_disk": "recall disk",
    "recall_irregular": "recall irregular",
    "recall_point_source": "recall point source",
    "completeness": "completeness, S/N 8-40",
}


def make_card(config: TrainingConfig, info: ModelInfo, log: Path, better: Improvement | None = None) -> str:
    """Markdown that says what a model was made of.

    Parameters
    ----------
    config : TrainingConfig
        Of the run.
    info : ModelInfo
        Of the model.
    log : Path
        The run's ``log.csv``; of a run that started from a model its first row is that model.
    better : Improvement, optional
        What became of the held-out sources.
    """
    with log.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    best = next(row for row in rows if int(row["step"]) == info.settings["step"])
    lines = [f"# {config.name}", "", f"{info.description}.", ""]
    lines += [f"- Bands: {', '.join(info.bands) or 'any'}", f"- Starts from: {config.start or 'random numbers'}"]
    lines += [f"- Simulated fields: {', '.join(config.fields) or 'none'}"]
    lines += [f"- Image: {image.name} (held out: {image.held_out})" for image in config.images]
    lines += [f"- Best of {rows[-1]['step']} steps: {best['step']}", ""]
    if config.start:
        lines += ["Scores on what was held out, before and after:", "", "| score | before | after |", "|---|---|---|"]
        lines += [f"| {name} | {rows[0][key]} | {best[key]} |" for key, name in _SCORES.items() if key in best]
    else:
        lines += ["Scores on the validation fields:", "", "| score | |", "|---|---|"]
        lines += [f"| {name} | {best[key]} |" for key, name in _SCORES.items() if key in best]
    lines += ["", "The step was chosen with these scores, so they are somewhat too good; test on other images."]
    if better is not None and config.start:
        lines += ["", "Each half of the held-out sources at the step that the other half chose:", "", "```text"]
        lines += [str(better), "```"]
    return "\n".join(lines) + "\n"
