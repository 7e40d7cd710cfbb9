"""Figures like the paper's: signals in noise, ROCs, and alarm probability against SNR, mass, spin and redshift."""

import json
from pathlib import Path

import matplotlib
import numpy as np

from . import noise, power, templates
from .orbit import Binary, start_before_plunge
from .population import TRAINING
from .sizes import FULL, STEP, Size
from .waveform import Inspiral, observe

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # colour-blind safe, after Okabe & Ito
STYLES = {"CNN": "-", "power, band": "--", "power": ":"}
FAP = "0.01"
AXES = {
    4: ("snr", "signal-to-noise ratio"),
    5: ("mass", "redshifted mass (solar masses)"),
    6: ("spin", "spin of the massive black hole"),
    7: ("redshift", "redshift"),
}


def draw_all(size: Size, results: Path, folder: Path) -> None:
    """All figures of a size into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    result = json.loads((results / f"{size.name}.json").read_text(encoding="utf-8"))
    training = results / f"{size.name}-training.json"
    if training.exists():
        learning_figure(json.loads(training.read_text(encoding="utf-8")), size, folder / f"{size.name}-learning.png")
    signal_figure(folder / "signal.png")
    roc_figure(result, folder / f"{size.name}-roc.png")
    for group, (name, label) in AXES.items():
        if any(cell["group"] == group for cell in result["cells"]):
            tap_figure(result, group, label, folder / f"{size.name}-{name}.png", logarithmic=name == "mass")


GROUPS = {1: "analytic kludge, SNR 50 to 120", 2: "M12-like, SNR above 50", 3: "augmented kludge, SNR 50 to 120"}


def table(result: dict) -> str:
    """Groups 1 to 4 as a table in Markdown: TAP at a FAP of 1 % and its 95 % interval, for every detector."""
    detectors = result["detectors"]
    lines = ["| group | signals | number |" + "".join(f" {name} |" for name in detectors)]
    lines.append("|---" * (3 + len(detectors)) + "|")
    for first in (cell for cell in result["cells"] if cell["group"] <= 4 and cell["detector"] == detectors[0]):
        what = GROUPS[first["group"]] if first["x"] is None else f"SNR {first['x']:g}"
        rates = [
            cell["tap"][FAP]
            for name in detectors
            for cell in result["cells"]
            if (cell["group"], cell["x"], cell["detector"]) == (first["group"], first["x"], name)
        ]
        values = "".join(f" {rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}] |" for rate in rates)
        lines.append(f"| {first['group']} | {what} | {rates[0]['n']} |{values}")
    return "\n".join(lines) + "\n"


def save(figure, path: Path) -> None:
    """Store a figure and forget it."""
    figure.savefig(path, dpi=110)
    plt.close(figure)


def signal_figure(path: Path) -> None:
    """One signal: a stretch of it, whitened in noise at SNR 50, and its spectrum against TianQin's noise."""
    binary = Binary(1e6, 10.0, 0.5, 0.6, theta_s=1.0, phi_s=2.0, theta_k=0.8, phi_k=1.5)
    start = start_before_plunge(binary, 0.1, 100 * 86400.0)
    strain = observe(Inspiral(binary, (*start, 0.2, 0.3, 0.4)), FULL.times) * noise.taper(FULL.n_samples)
    white = noise.whiten(strain, STEP)
    white *= 50 / np.sqrt(np.sum(white**2))
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    hours, some = FULL.times / 3600, slice(100000, 100480)
    left.plot(hours[some] - hours[some][0], strain[0, some] / 1e-22, color=COLOURS[0], lw=0.8)
    left.set(xlabel="time (hours, of three months)", ylabel="strain, channel I ($10^{-22}$)", title="signal at 1 Gpc")
    data = white[0, some] + np.random.default_rng(0).standard_normal(480)
    middle.plot(hours[some] - hours[some][0], data, color="0.75", lw=0.8, label="data")
    middle.plot(hours[some] - hours[some][0], white[0, some], color=COLOURS[1], lw=0.8, label="signal of SNR 50 in it")
    middle.set(xlabel="time (hours, of three months)", ylabel="channel I (deviations of the noise)", ylim=(-4, 5))
    middle.set_title("what the network sees")
    middle.legend(loc="upper right", fontsize=8)
    frequency = np.fft.rfftfreq(FULL.n_samples, STEP)[1:]
    spectrum = np.abs(np.fft.rfft(strain[0])[1:] * STEP)
    right.loglog(frequency, 2 * frequency * spectrum, color=COLOURS[0], lw=0.4, label="signal, channel I")
    right.loglog(frequency, np.sqrt(frequency * noise.density(frequency)), color="k", label="TianQin")
    right.set(xlabel="frequency (Hz)", ylabel="characteristic strain", xlim=(2e-4, 1 / 60), ylim=(1e-23, 1e-18))
    right.set_title("against the noise")
    for line in right.legend(fontsize=8).get_lines():
        line.set_linewidth(1.5)
    save(figure, path)


def learning_figure(runs: dict, size: Size, path: Path) -> None:
    """Loss and TAP of the validation samples while all layers were trained, for every start."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.8), layout="constrained")
    for colour, (start, history) in zip(COLOURS, runs.items(), strict=False):
        seen = [entry["samples"] for entry in history]
        left.plot(seen, [entry["validation_loss"] for entry in history], "o-", ms=3, color=colour, label=start)
        for snr, style in zip(history[0]["tap"], ("-", "--"), strict=True):
            values = [entry["tap"][snr] for entry in history]
            right.plot(seen, values, f"o{style}", ms=3, color=colour, label=f"{start}: SNR {snr}")
    left.set(xlabel="samples seen", ylabel="cross-entropy", ylim=(0, None), title="validation")
    right.set(
        xlabel="samples seen", ylabel="true alarm probability at FAP 1 %", ylim=(0, 1.02), title=f"{size.name} size"
    )
    for panel in (left, right):
        panel.grid(alpha=0.25)
    figure.legend(*right.get_legend_handles_labels(), fontsize=8, loc="outside right center")
    save(figure, path)


def roc_figure(result: dict, path: Path) -> None:
    """ROCs of groups 1 to 3, as far as they were measured, with their confidence bands."""
    curves = {(curve["group"], curve["detector"]): curve for curve in result["roc"]}
    shown = [
        group for group in GROUPS if str(group) in result["skipped"] or any(group == measured for measured, _ in curves)
    ]
    figure, panels = plt.subplots(
        1, len(shown), figsize=(1 + 4 * len(shown), 4), sharey=True, layout="constrained", squeeze=False
    )
    panels = panels[0]
    for panel, group in zip(panels, shown, strict=True):
        panel.set(title=f"group {group}: {GROUPS[group]}", xlabel="false alarm probability", xscale="log")
        if str(group) in result["skipped"]:
            panel.text(0.5, 0.5, "skipped:\nneeds fastemriwaveforms", ha="center", transform=panel.transAxes)
            continue
        for colour, detector in zip(COLOURS, result["detectors"], strict=False):
            curve = curves[group, detector]
            panel.plot(curve["fap"], curve["tap"], color=colour, ls=STYLES[detector], label=detector)
            panel.fill_between(curve["fap"], curve["low"], curve["high"], color=colour, alpha=0.15, lw=0)
        panel.axvline(float(FAP), color="0.7", lw=0.8)
        panel.grid(alpha=0.25)
    panels[0].set(ylabel="true alarm probability")
    panels[0].set_ylim(top=1.005)
    panels[0].legend(loc="lower right")
    bands = f"bands: {result['roc_confidence']:.0%}"
    figure.suptitle(f"{result['size']} size, {result['n_noise']} noise-only samples; {bands}", fontsize=10)
    save(figure, path)


def tap_figure(result: dict, group: int, label: str, path: Path, *, logarithmic: bool = False) -> None:
    """TAP at a FAP of 1 % along one parameter: colour tells the curve, line style the detector."""
    cells = [cell for cell in result["cells"] if cell["group"] == group]
    curves = list(dict.fromkeys(cell["curve"] for cell in cells))
    figure, panel = plt.subplots(figsize=(8, 4.4), layout="constrained")
    for i, curve in enumerate(curves):
        for j, detector in enumerate(result["detectors"]):
            points = [cell for cell in cells if cell["curve"] == curve and cell["detector"] == detector]
            x = [point["x"] for point in points]
            rates = [point["tap"][FAP] for point in points]
            value = np.array([rate["value"] for rate in rates])
            error = [value - [rate["low"] for rate in rates], [rate["high"] for rate in rates] - value]
            colour = COLOURS[j if len(curves) == 1 else i]
            name = detector if len(curves) == 1 else f"{curve}: {detector}"
            panel.errorbar(
                x, value, np.maximum(error, 0), color=colour, ls=STYLES[detector], marker="o", ms=3, label=name
            )
    panel.set(xlabel=label, ylabel="true alarm probability at FAP 1 %", ylim=(-0.02, 1.02))
    panel.set_title(f"group {group}, {result['size']} size; bars: 95 %", fontsize=10)
    if logarithmic:
        panel.set_xscale("log")
    panel.grid(alpha=0.25)
    figure.legend(fontsize=7, loc="outside right upper")
    save(figure, path)


def population_figure(signals: templates.Templates, path: Path) -> None:
    """Where in frequency the training signals are, and the band that the power detector takes from it."""
    edges, share = power.mean_spectrum(signals, 500)
    low, high = power.choose_band(signals, 500)
    figure, panel = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    panel.stairs(share / np.diff(edges) / 1e3, edges * 1e3, color=COLOURS[0], fill=True, alpha=0.5)
    panel.axvspan(low * 1e3, high * 1e3, color=COLOURS[1], alpha=0.15, lw=0, label="band of the power detector")
    panel.set(xlabel="frequency (mHz)", ylabel="mean share of squared SNR per mHz", xlim=(0, 1e3 / (2 * STEP)))
    panel.set_title(f"training signals: redshifted mass {TRAINING.mass[0]:.0e} to {TRAINING.mass[1]:.0e}", fontsize=10)
    panel.legend(fontsize=8)
    save(figure, path)
