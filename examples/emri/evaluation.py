"""Every detector on the same data of every test group; the scores are kept, so that this too can be resumed."""

import json
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path

import numpy as np

from . import aak, templates
from .alarms import roc, tap
from .batches import observe, turn
from .groups import TEST_SEED, Cell, Source, cells
from .sizes import Size

FAPS = (0.01, 0.05)
NOISE_SEED = 3
BLOCK = {8192: 250, 262144: 8}  # samples per call of a detector
BLOCKS_PER_FILE = 40

Detectors = dict[str, Callable[[np.ndarray], np.ndarray]]


def score(detectors: Detectors, data: np.ndarray) -> np.ndarray:
    """Scores of all detectors on a block of data, shape (n_detectors, n)."""
    return np.stack([detector(data) for detector in detectors.values()])


def score_noise(detectors: Detectors, size: Size, n: int, folder: Path, progress: Callable | None = None) -> np.ndarray:
    """Scores (n_detectors, n) on noise alone, in files of some blocks each."""
    block = BLOCK.get(size.n_samples, 64)
    per_file = block * BLOCKS_PER_FILE
    parts = []
    for part in range(-(-n // per_file)):
        path = folder / f"noise-{part:04d}.npy"
        if not path.exists():
            scores = []
            for i in range(BLOCKS_PER_FILE):
                rng = np.random.default_rng([NOISE_SEED, part, i])
                scores.append(score(detectors, observe(rng, size, [None] * block, np.zeros(block))))
            templates.save(path, np.concatenate(scores, axis=1))
            if progress:
                progress(f"noise only: {(part + 1) * per_file} of {n}")
        parts.append(np.load(path))
    return np.concatenate(parts, axis=1)[:, :n]


def load_source(source: Source, size: Size, n: int, progress: Callable | None = None) -> templates.Templates:
    """A group's templates, which no training has seen."""
    signal = {"ak": templates.observe, "aak": aak.observe}[source.model]
    return templates.build(source.name, source.prior, size, n, (TEST_SEED,), signal=signal, progress=progress)


def score_cell(cell: Cell, detectors: Detectors, size: Size, n: int, folder: Path, progress=None) -> dict:
    """Scores (n_detectors, n) and quoted SNRs of one cell: every signal once, in noise of its own."""
    path = folder / f"{cell.key}.npy"
    if not path.exists():
        signals = load_source(cell.source, size, n, progress)
        rng = np.random.default_rng([TEST_SEED, *cell.key.encode()])
        index, snr = cell.loudness(rng, signals, size)
        block, scores = BLOCK.get(size.n_samples, 64), []
        for first in range(0, n, block):
            these = [turn(signals[i], rng.uniform(0, 2 * np.pi)) for i in index[first : first + block]]
            scores.append(score(detectors, observe(rng, size, these, snr[first : first + block])))
        templates.save(path, np.vstack([np.concatenate(scores, axis=1), snr]))
        if progress:
            progress(f"{cell.key}: {n} signals")
    stored = np.load(path)
    return {"scores": stored[:-1], "snr": stored[-1]}


def evaluate(
    detectors: Detectors, size: Size, folder: Path, *, n_noise: int, n_signals: int,
    groups: Collection[int] = range(1, 8), progress: Callable[[str], None] | None = None,
) -> dict:  # fmt: skip
    """TAP of every cell of the wanted groups and detector at every FAP, and ROCs of groups that are single points.

    Returns
    -------
    dict
        Ready for JSON: ``size``, ``n_noise``, ``skipped`` (reason by group), ``cells`` and ``roc``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noise = score_noise(detectors, size, n_noise, folder, progress)
    result = {
        "size": size.name,
        "n_noise": n_noise,
        "detectors": list(detectors),
        "skipped": {},
        "cells": [],
        "roc": [],
    }
    for cell in cells():
        if cell.group not in groups:
            continue
        if cell.source.model == "aak" and not aak.available():
            result["skipped"][str(cell.group)] = aak.MISSING
            if progress:
                progress(f"group {cell.group} is skipped: {aak.MISSING}")
            continue
        measured = score_cell(cell, detectors, size, n_signals, folder, progress)
        for name, background, scores in zip(detectors, noise, measured["scores"], strict=True):
            label = {"group": cell.group, "curve": cell.curve, "x": cell.x, "detector": name}
            rates = {f"{fap:g}": asdict(tap(background, scores, fap)) for fap in FAPS}
            result["cells"].append({**label, "median_snr": float(np.median(measured["snr"])), "tap": rates})
            if cell.x is None:
                curve = {key: [round(float(v), 6) for v in values] for key, values in roc(background, scores).items()}
                result["roc"].append({**label, **curve})
    return result


def write_result(result: dict, path: Path) -> None:
    """Store a result as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1), encoding="utf-8")
    partial.replace(path)
