"""The course of a training run, drawn from its log."""

import csv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from morpheus_lite.errors import InputError
from morpheus_lite.visualization.plots.frames import save_figure, tidy

_PANELS = {
    "loss": ("training_loss", "loss", "loss_observed", "loss_simulated"),
    "share of right classes": ("right_H<23", "right_23-24", "right_24-25"),
    "recall, S/N > 40": ("recall_spheroid", "recall_disk", "recall_irregular", "recall_point_source"),
    "detection": ("iou", "completeness"),
}


def save_training_curves(log: str | Path, path: str | Path) -> None:
    """Draw loss, classes and detection against the steps of a training run.

    Parameters
    ----------
    log : str or Path
        The run's ``log.csv``.
    path : str or Path
        PNG to write; replaced if it exists.

    Raises
    ------
    InputError
        The log cannot be read, or has no rows.
    """
    try:
        with Path(log).open(newline="") as handle:
            rows = list(csv.DictReader(handle))
    except OSError as error:
        raise InputError(f"{log} cannot be read ({error}); expected the log.csv of a training run") from error
    if not rows or "step" not in rows[0]:
        raise InputError(f"{log} has no rows with a step; expected the log.csv of a training run")
    figure = Figure(figsize=(11, 7), layout="constrained")
    steps = np.array([float(row["step"]) for row in rows])
    for axis, (title, columns) in zip(figure.subplots(2, 2).flat, _PANELS.items(), strict=True):
        known = {column: np.array([float(row[column]) for row in rows]) for column in columns if column in rows[0]}
        there = [column for column, values in known.items() if np.isfinite(values).any()]
        for column in there:
            axis.plot(steps, known[column], label=column, marker=".")
        axis.set(title=title if there else f"{title}: not known", xlabel="step")
        if there:
            axis.legend(fontsize="small")
        tidy(axis)
    save_figure(figure, path, overwrite=True, dpi=100)
