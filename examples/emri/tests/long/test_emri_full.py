"""The stored network at full size, on a part of the data that `python -m emri evaluate --size full` measures."""

import json
from pathlib import Path

import emri
import numpy as np
import pytest
from emri import convolution, evaluation, network, power, templates
from emri.groups import TEST_SEED, Source, cells
from emri.sizes import FULL


@pytest.fixture(scope="module")
def stored() -> dict:
    return json.loads((Path(emri.__file__).parent / "results" / "full.json").read_text(encoding="utf-8"))


class FirstChunk:
    """As many signals as the first cell has, of which only the first ones are made."""

    def __init__(self, source: Source, n: int, made: int) -> None:
        self.signals, _ = templates.chunk(source.prior, FULL, (TEST_SEED,), 0, made)
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> np.ndarray:
        return self.signals[index].astype(np.float32)


def test_scores_from_the_seeds_are_the_stored_ones(stored):
    """Of a block of noise and one of signals, by every detector."""
    detectors = [
        convolution.Scorer(network.read_weights(network.weights_path(FULL))),
        power.PowerDetector(tuple(stored["band"])),
        power.PowerDetector(),
    ]
    cell = next(cells())
    n = next(entry["tap"]["0.01"]["n"] for entry in stored["cells"] if entry["group"] == cell.group)
    signals = FirstChunk(cell.source, n, evaluation.BLOCK[FULL.n_samples])
    data = {
        "noise only": evaluation.noise_block(FULL, 0, 0),
        cell.key: next(evaluation.signal_blocks(cell, signals, FULL))[0],
    }
    assert set(data) == set(stored["first_scores"])
    for key, expected in stored["first_scores"].items():
        for detector, scores in zip(detectors, expected, strict=True):
            assert detector(data[key]) == pytest.approx(scores, abs=0.01), key
