"""Picture of a training run: loss, classes and detection against its steps."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from morpheus_lite.training.checkpoint import read_log
from morpheus_lite.training.config import TABLES
from morpheus_lite.visualization.plots.figures import save_figure, tidy


def save_training_curves(log: Path, path: Path) -> None:
    """Draw the course of a run.

    Parameters
    ----------
    log : Path
        The run's ``log.csv``.
    path : Path
        PNG to write; replaced if it exists.

    Raises
    ------
    InputError
        The log cannot be read.
    """
    rows = read_log(log)
    figure = Figure(figsize=(11, 7), layout="constrained")
    steps = [float(row["step"]) for row in rows]
    for axis, (title, columns) in zip(figure.subplots(2, 2).flat, TABLES["panels"].items(), strict=True):
        for column in columns:
            values = [float(row.get(column) or "nan") for row in rows]
            if np.isfinite(values).any():
                axis.plot(steps, values, label=column, marker=".")
        axis.set(title=title if axis.lines else f"{title}: not known", xlabel="step")
        if axis.lines:
            axis.legend(fontsize="small")
        tidy(axis)
    save_figure(figure, path, overwrite=True, dpi=100)
