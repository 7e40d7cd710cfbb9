"""Command line: ``python -m emri {templates,train,evaluate,figures,all} --size {scaled,full}``."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from . import bank, convolution, evaluation, figures, head, network, power, templates, training
from .population import TRAINING
from .sizes import SCALED, SIZES, Size

SEEDS = {"templates": 1, "features": 1, "dense layers": 1, "random weights": 1, "all layers": 0}
STARTS = {"scaled": "bank", "full": "scaled"}
# Training templates, steps of all layers, pairs of samples in a step, highest rates of convolutions and dense layers,
# templates and noise samples of the validation, steps between checkpoints; noise-only samples and signals in every
# cell of a group for the evaluation.
PLANS = {
    "scaled": {
        "n_templates": 8192, "steps": 400, "pairs": 16, "rates": (1e-4, 1e-3), "validation": (512, 1000),
        "save_every": 50, "n_noise": 20000, "n_signals": {**dict.fromkeys(range(1, 8), 256), 3: 128},
    },
    "full": {
        "n_templates": 4096, "steps": 300, "pairs": 8, "rates": (1e-5, 1e-4), "validation": (128, 256),
        "save_every": 50, "n_noise": 20000,
        "n_signals": {**dict.fromkeys((1, 2, 3, 4), 500), **dict.fromkeys((5, 6, 7), 250)},
    },
}  # fmt: skip
N_FEATURES = 8192  # samples that the dense layers after the bank are trained on
N_STATISTICS = {"scaled": 512, "full": 96}  # samples of noise that say what is standard for a feature
HERE = Path(__file__).parent


def say(message: str) -> None:
    """Progress, on standard error with the time."""
    print(time.strftime("%H:%M:%S"), message, file=sys.stderr, flush=True)


def run_folder(size: Size) -> Path:
    """Where checkpoints and scores are kept: beside the templates, outside the repository."""
    return templates.cache_folder() / size.name


def training_templates(size: Size, plan: dict) -> templates.Templates:
    """The templates the network and the band are fitted to."""
    return templates.build("training", TRAINING, size, plan["n_templates"], (SEEDS["templates"],), progress=say)


def begin(size: Size, plan: dict, start: str) -> training.State:
    """What a training of all layers starts from.

    ``start`` is "bank" (band-pass filters, and dense layers trained on what they say), "scaled" (the stored weights of
    the scaled network) or "random".
    """
    import keras

    keras.utils.set_random_seed(SEEDS["random weights"])
    if start == "scaled":
        weights = network.read_weights(network.weights_path(SCALED))
        convolutions = weights[: convolution.N_CONVOLUTIONAL]
        centre, variance = training.noise_statistics(convolutions, SCALED, N_STATISTICS["scaled"])
        dense = head.read(weights, centre, np.sqrt(variance))
    else:
        model = network.build(SCALED.n_samples)
        if start == "bank":
            bank.open_bank(model)
        convolutions, dense = model.get_weights()[: convolution.N_CONVOLUTIONAL], head.build().get_weights()
    centre, variance = training.noise_statistics(convolutions, size, N_STATISTICS[size.name])
    if start == "bank":
        folder = run_folder(size) / f"features-{convolution.digest(convolutions)}"
        features, labels = head.mean_features(
            convolutions, size, training_templates(size, plan), N_FEATURES, folder, seed=SEEDS["features"], progress=say
        )
        dense, accuracy = head.fit((features - centre) / np.sqrt(variance), labels, seed=SEEDS["dense layers"])
        say(f"dense layers alone: accuracy {accuracy:.3f}")
    return training.State(convolutions, dense, centre, variance)


def train(size: Size, plan: dict, start: str, threads: int) -> None:
    """Train or go on training; store the learning curve, the weights and how they came about."""
    n_templates, n_samples = plan["validation"]
    signals = templates.build("validation", TRAINING, size, n_templates, (training.VALIDATION_SEED,), progress=say)
    state = training.fit(
        size, training_templates(size, plan), run_folder(size) / f"run-{start}.npz",
        steps=plan["steps"], pairs=plan["pairs"], rates=plan["rates"], seed=SEEDS["all layers"],
        start=lambda: begin(size, plan, start), validation=(signals, n_samples), save_every=plan["save_every"],
        threads=threads, progress=say,
    )  # fmt: skip
    if start == STARTS[size.name]:  # of a control only the learning curve is kept
        path = network.weights_path(size)
        network.save_weights(state.weights(network.n_positions(size.n_samples)), path)
        keys = ("n_templates", "steps", "pairs", "rates")
        card = {"size": size.name, "start": start, "seeds": SEEDS, **{key: plan[key] for key in keys}}
        path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    curves = HERE / "results" / f"{size.name}-training.json"
    known = json.loads(curves.read_text(encoding="utf-8")) if curves.exists() else {}
    evaluation.write_result({**known, start: state.history}, curves)


def evaluate(size: Size, plan: dict, groups: list[int], threads: int) -> None:
    """Measure the network with the stored weights and both power detectors in the test groups."""
    path = network.weights_path(size)
    band = power.choose_band(training_templates(size, plan), n=500)
    say(f"band of the power detector: {band[0] * 1e3:.1f} to {band[1] * 1e3:.1f} mHz")
    detectors = {
        "CNN": convolution.Scorer(network.read_weights(path)),
        "power, band": power.PowerDetector(band),
        "power": power.PowerDetector(),
    }
    result = evaluation.evaluate(
        detectors, size, run_folder(size) / f"scores-{network.digest(path)}", n_noise=plan["n_noise"],
        n_signals={group: plan["n_signals"][group] for group in groups}, threads=threads, progress=say,
    )  # fmt: skip
    evaluation.write_result({**result, "band": band}, HERE / "results" / f"{size.name}.json")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m emri", description=__doc__)
    made.add_argument("task", choices=["templates", "train", "evaluate", "figures", "all"])
    made.add_argument("--size", choices=list(SIZES), default="scaled")
    made.add_argument("--start", choices=["bank", "scaled", "random"], help="initial weights (default: by size)")
    made.add_argument("--groups", type=int, nargs="+", default=list(range(1, 8)), help="test groups (default: all)")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="samples that are worked on at a time")
    for name, what in {
        "steps": "training steps of all layers", "n-templates": "training templates",
        "n-noise": "noise-only test samples", "n-signals": "signals in every cell of a test group",
    }.items():  # fmt: skip
        made.add_argument(f"--{name}", type=int, help=f"{what} (default: by size)")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Parse, do, return an exit status."""
    options = parser().parse_args(arguments)
    size, plan = SIZES[options.size], dict(PLANS[options.size])
    plan |= {key: value for key, value in vars(options).items() if key in plan and value is not None}
    if options.n_signals is not None:
        plan["n_signals"] = dict.fromkeys(options.groups, options.n_signals)
    if options.task in ("templates", "all"):
        training_templates(size, plan)
    if options.task in ("train", "all"):
        network.limit_threads(1)
        train(size, plan, options.start or STARTS[size.name], options.threads)
    if options.task in ("evaluate", "all"):
        evaluate(size, plan, options.groups, options.threads)
    if options.task in ("figures", "all"):
        figures.draw_all(size, HERE / "results", HERE / "figures")
        figures.population_figure(training_templates(size, plan), HERE / "figures" / f"{size.name}-band.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
