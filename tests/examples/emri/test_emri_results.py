"""What the stored measurements have to show; `python -m emri evaluate` makes them."""

import json
from pathlib import Path

import emri
import pytest

RESULTS = Path(emri.__file__).parent / "results"


def read(size: str) -> dict:
    path = RESULTS / f"{size}.json"
    if not path.exists():
        pytest.skip(f"no measurement at the {size} size yet")
    return json.loads(path.read_text(encoding="utf-8"))


def taps(result: dict, group: int, detector: str) -> dict:
    cells = [cell for cell in result["cells"] if cell["group"] == group and cell["detector"] == detector]
    return {cell["x"]: cell["tap"]["0.01"]["value"] for cell in cells}


def test_scaled_network_beats_the_power_detector_wherever_that_is_undecided():
    result = read("scaled")
    assert result["n_noise"] >= 10_000
    network, power = taps(result, 4, "CNN"), taps(result, 4, "power")
    undecided = [snr for snr, value in power.items() if 0.1 < value < 0.95]
    assert undecided
    assert {snr: (network[snr], power[snr]) for snr in undecided if network[snr] <= power[snr]} == {}


def test_full_network_finds_nine_of_ten():
    result = read("full")
    assert result["n_noise"] >= 5000  # what the time allowed: a FAP of 1 % is known to a quarter
    assert taps(result, 1, "CNN")[None] >= 0.90
