"""Every detector on the same data of every test group; the scores are kept, so that this too can be resumed."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from . import aak, templates
from .alarms import ONE_SIGMA, roc, tap
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


def noise_block(size: Size, part: int, i: int) -> np.ndarray:
    """Block ``i`` of a part of the noise-only data."""
    block = BLOCK.get(size.n_samples, 64)
    return observe(np.random.default_rng([NOISE_SEED, part, i]), size, [None] * block, np.zeros(block))


def score_noise(detectors: Detectors, size: Size, part: int, folder: Path) -> np.ndarray:
    """Scores (n_detectors, n) of a part of the noise-only data, `BLOCKS_PER_FILE` blocks, kept in a file."""
    path = folder / f"noise-{part:04d}.npy"
    if not path.exists():
        scores = [score(detectors, noise_block(size, part, i)) for i in range(BLOCKS_PER_FILE)]
        templates.save(path, np.concatenate(scores, axis=1))
    return np.load(path)


def load_source(source: Source, size: Size, n: int, progress: Callable | None = None) -> templates.Templates:
    """A group's templates, which no training has seen."""
    signal = {"ak": templates.observe, "aak": aak.observe}[source.model]
    return templates.build(source.name, source.prior, size, n, (TEST_SEED,), signal=signal, progress=progress)


def signal_blocks(cell: Cell, signals: templates.Templates, size: Size) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Data of a cell block by block, every signal once and in noise of its own, and their quoted SNRs."""
    rng, block = np.random.default_rng([TEST_SEED, *cell.key.encode()]), BLOCK.get(size.n_samples, 64)
    index, snr = cell.loudness(rng, signals, size)
    for first in range(0, len(signals), block):
        these = [turn(signals[i], rng.uniform(0, 2 * np.pi)) for i in index[first : first + block]]
        yield observe(rng, size, these, snr[first : first + block]), snr[first : first + block]


def score_cell(cell: Cell, detectors: Detectors, size: Size, n: int, folder: Path) -> np.ndarray:
    """Scores of all detectors and quoted SNRs of one cell, shape (n_detectors + 1, n), kept in a file."""
    path = folder / f"{cell.key}-{n}.npy"
    if not path.exists():
        blocks = signal_blocks(cell, load_source(cell.source, size, n), size)
        templates.save(path, np.concatenate([np.vstack([score(detectors, data), snr]) for data, snr in blocks], axis=1))
    return np.load(path)


def evaluate(
    detectors: Detectors, size: Size, folder: Path, *, n_noise: int, n_signals: Mapping[int, int],
    threads: int | None = None, progress: Callable[[str], None] | None = None,
) -> dict:  # fmt: skip
    """TAP of every cell of the wanted groups and detector at every FAP, and ROCs of groups that are single points.

    Parameters
    ----------
    detectors, size
    folder : Path
        Where scores are kept; what is there is not measured again.
    n_noise : int
        Number of noise-only samples.
    n_signals : mapping of int to int
        Number of signals in every cell of the wanted groups.
    threads : int, optional
        Samples that are scored at the same time.

    Returns
    -------
    dict
        Ready for JSON: ``size``, ``n_noise``, ``skipped`` (reason by group), ``first_scores`` (of a block of noise and
        of the first cell, as a check), ``cells`` and ``roc``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    say = progress or (lambda message: None)
    result = {"size": size.name, "n_noise": n_noise, "detectors": list(detectors), "skipped": {}}
    result |= {"cells": [], "roc": [], "roc_confidence": ONE_SIGMA}
    wanted = []
    for cell in cells():
        if cell.source.model == "aak" and cell.group in n_signals and not aak.available():
            result["skipped"][str(cell.group)] = aak.MISSING
            say(f"group {cell.group} is skipped: {aak.MISSING}")
        elif cell.group in n_signals:
            wanted.append((cell, n_signals[cell.group]))
    for cell, n in wanted:
        load_source(cell.source, size, n, progress)

    def noise_part(part: int) -> np.ndarray:
        scores = score_noise(detectors, size, part, folder)
        say(f"noise only: part {part + 1} of {n_parts}")
        return scores

    def measure(item: tuple[Cell, int]) -> np.ndarray:
        measured = score_cell(item[0], detectors, size, item[1], folder)
        say(f"{item[0].key}: {item[1]} signals")
        return measured

    n_parts = -(-n_noise // (BLOCK.get(size.n_samples, 64) * BLOCKS_PER_FILE))
    with ThreadPoolExecutor(threads) as pool:
        noise = np.concatenate(list(pool.map(noise_part, range(n_parts))), axis=1)[:, :n_noise]
        measurements = list(pool.map(measure, wanted))
    block = BLOCK.get(size.n_samples, 64)
    firsts = {"noise only": noise[:, :block], wanted[0][0].key: measurements[0][:-1, :block]}
    result["first_scores"] = {key: np.round(scores, 3).tolist() for key, scores in firsts.items()}
    for (cell, _), measured in zip(wanted, measurements, strict=True):
        for name, background, scores in zip(detectors, noise, measured[:-1], strict=True):
            label = {"group": cell.group, "curve": cell.curve, "x": cell.x, "detector": name}
            rates = {f"{fap:g}": asdict(tap(background, scores, fap)) for fap in FAPS}
            result["cells"].append({**label, "median_snr": float(np.median(measured[-1])), "tap": rates})
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
