"""Command line: ``python -m emri {templates,train,evaluate,figures,all} --size {scaled,full}``."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from . import bank, convolution, evaluation, figures, head, network, power, templates, training
from .population import TRAINING
from .sizes import SCALED, SIZES, Size

SEEDS = {"templates": 1, "features": 1, "dense layers": 1, "all layers": 0}
STARTS = {"scaled": "bank", "full": "scaled"}
# Samples for the dense layers, then steps of all layers, their batch and learning rate, training templates, noise-only
# samples, signals in every cell of a test group.
PLANS = {
    "scaled": {
        "n_features": 8192, "steps": 100, "batch": 32, "rate": 2e-5, "n_templates": 8192,
        "n_noise": 10000, "n_signals": 256,
    },
    "full": {
        "n_features": 1024, "steps": 0, "batch": 8, "rate": 3e-5, "n_templates": 512,
        "n_noise": 5760, "n_signals": 128,
    },
}  # fmt: skip
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


def begin(model, size: Size, plan: dict, start: str) -> None:
    """Set the weights a training of all layers starts from: convolutions first, then the dense layers on what they say.

    ``start`` is "bank" (band-pass filters), "scaled" (the stored weights of the scaled network) or "random".
    """
    if start == "random":
        return
    if start == "bank":
        bank.open_bank(model)
    else:
        network.inflate_scaled(model)
    folder = run_folder(size) / f"features-{convolution.digest(model)}"
    features, labels = head.mean_features(
        model, size, training_templates(size, plan), plan["n_features"], folder, seed=SEEDS["features"], progress=say
    )
    accuracy = head.fit(model, features, labels, fresh=start == "bank", seed=SEEDS["dense layers"])
    say(f"dense layers alone: accuracy {accuracy:.3f}")


def train(size: Size, plan: dict, start: str) -> None:
    """Train or go on training, and store the weights and how they came about."""
    folder, path = run_folder(size) / f"run-{start}", network.weights_path(size)
    model = training.fit(
        size, training_templates(size, plan), folder,
        steps=plan["steps"], batch=plan["batch"], rate=plan["rate"], seed=SEEDS["all layers"],
        start=lambda model: begin(model, size, plan, start), save_every=50 if size is SCALED else 25, progress=say,
    )  # fmt: skip
    network.save_weights(model, path)
    keys = ("n_templates", "n_features", "steps", "batch", "rate")
    card = {"size": size.name, "start": start, "seeds": SEEDS, **{key: plan[key] for key in keys}}
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def evaluate(size: Size, plan: dict, groups: list[int]) -> None:
    """Measure the network with the stored weights and both power detectors in the test groups."""
    path = network.weights_path(size)
    band = power.choose_band(training_templates(size, plan), n=500)
    say(f"band of the power detector: {band[0] * 1e3:.1f} to {band[1] * 1e3:.1f} mHz")
    detectors = {
        "CNN": convolution.Scorer(network.read_weights(path)),
        "power, band": power.PowerDetector(band),
        "power": power.PowerDetector(),
    }
    folder = run_folder(size) / f"scores-{network.digest(path)}"
    result = evaluation.evaluate(
        detectors, size, folder,
        n_noise=plan["n_noise"], n_signals=plan["n_signals"], groups=groups, progress=say,
    )  # fmt: skip
    evaluation.write_result({**result, "band": band}, HERE / "results" / f"{size.name}.json")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m emri", description=__doc__)
    made.add_argument("task", choices=["templates", "train", "evaluate", "figures", "all"])
    made.add_argument("--size", choices=list(SIZES), default="scaled")
    made.add_argument("--start", choices=["bank", "scaled", "random"], help="initial weights (default: by size)")
    made.add_argument("--groups", type=int, nargs="+", default=list(range(1, 8)), help="test groups (default: all)")
    made.add_argument("--threads", type=int, default=os.cpu_count(), help="processor cores TensorFlow may use")
    for name, what in {
        "steps": "training steps of all layers", "n-features": "samples the dense layers are trained on first",
        "n-templates": "training templates", "n-noise": "noise-only test samples",
        "n-signals": "signals in every cell of a test group",
    }.items():  # fmt: skip
        made.add_argument(f"--{name}", type=int, help=f"{what} (default: by size)")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Parse, do, return an exit status."""
    options = parser().parse_args(arguments)
    size, plan = SIZES[options.size], dict(PLANS[options.size])
    plan.update({key: value for key, value in vars(options).items() if key in plan and value is not None})
    if options.task in ("train", "all"):
        network.limit_threads(options.threads)
    if options.task in ("templates", "all"):
        training_templates(size, plan)
    if options.task in ("train", "all"):
        train(size, plan, options.start or STARTS[size.name])
    if options.task in ("evaluate", "all"):
        evaluate(size, plan, options.groups)
    if options.task in ("figures", "all"):
        figures.draw_all(size, HERE / "results", HERE / "figures")
        figures.population_figure(training_templates(size, plan), HERE / "figures" / f"{size.name}-band.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
