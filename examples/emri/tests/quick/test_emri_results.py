"""What the stored measurements have to show; `python -m emri evaluate` makes them."""

import json
from pathlib import Path

import emri
import pytest

HERE = Path(emri.__file__).parent
SIZES = ("scaled", "full")


def read(size: str) -> dict:
    return json.loads((HERE / "results" / f"{size}.json").read_text(encoding="utf-8"))


def taps(result: dict, group: int, detector: str) -> dict:
    cells = [cell for cell in result["cells"] if cell["group"] == group and cell["detector"] == detector]
    return {(cell["curve"], cell["x"]): cell["tap"]["0.01"]["value"] for cell in cells}


@pytest.mark.parametrize("size", SIZES)
def test_groups_are_measured_on_enough_samples(size):
    result = read(size)
    assert result["n_noise"] >= 20_000  # a FAP of 1 % is known to 0.07 %
    points = {1: 1, 2: 1, 3: 1, 4: 13, 5: 21, 6: 14, 7: 24}
    for detector in result["detectors"]:
        assert {group: len(taps(result, group, detector)) for group in points} == points
    assert min(cell["tap"]["0.01"]["n"] for cell in result["cells"] if size == "full" or cell["group"] != 3) >= 250
    assert size == "scaled" or min(cell["tap"]["0.01"]["n"] for cell in result["cells"] if cell["group"] <= 4) >= 500


@pytest.mark.parametrize("size", SIZES)
def test_the_network_beats_the_sum_of_squares_wherever_that_is_undecided(size):
    result = read(size)
    network, power = taps(result, 4, "CNN"), taps(result, 4, "power")
    undecided = [snr for snr, value in power.items() if 0.1 < value < 0.95]
    assert undecided
    assert {snr: (network[snr], power[snr]) for snr in undecided if network[snr] <= power[snr]} == {}


@pytest.mark.parametrize(("size", "least"), [("scaled", 0.98), ("full", 0.97)])
def test_loud_signals_are_found(size, least):
    assert taps(read(size), 1, "CNN")["AK", None] >= least


@pytest.mark.parametrize("size", SIZES)
def test_loud_signals_of_another_kludge_than_that_of_the_training_are_found(size):
    assert taps(read(size), 3, "CNN")["AAK", None] >= 0.95


def test_all_layers_at_full_size_find_what_the_dense_layers_alone_found():
    """At SNR 40, 50 and 60 of group 4."""
    network = taps(read("full"), 4, "CNN")
    found = [network[curve, snr] for curve, snr in sorted(network) if snr in (40, 50, 60)]
    assert all(now >= before for now, before in zip(found, (0.53, 0.828, 0.938), strict=True))


def test_training_of_all_layers_raised_what_is_found():
    """On the same validation samples, at SNR 40 and 50."""
    history = json.loads((HERE / "results" / "scaled-training.json").read_text(encoding="utf-8"))["bank"]
    assert history[-1]["tap"]["40"] > history[0]["tap"]["40"] + 0.04
    assert history[-1]["tap"]["50"] > history[0]["tap"]["50"]


@pytest.mark.parametrize("size", SIZES)
def test_the_readme_shows_the_stored_numbers_and_every_figure(size):
    figures = pytest.importorskip("emri.figures")
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    assert figures.table(read(size)) in readme
    drawn = [path.name for path in (HERE / "figures").glob(f"{size}-*.png")]
    assert len(drawn) >= 2
    assert [name for name in drawn if f"(figures/{name})" not in readme] == []
