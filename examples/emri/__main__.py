"""Command line: ``python -m emri {templates,train,evaluate,figures,all} --size {scaled,full}``."""

import argparse
import os
import sys
import time
from pathlib import Path

from . import evaluation, figures, network, power, templates, training
from .population import TRAINING
from .sizes import SCALED, SIZES, Size

TRAINING_SEED = 1
# steps, batch, learning rate, training templates, noise-only samples, signals in every cell of a test group
PLANS = {
    "scaled": {"steps": 4000, "batch": 32, "rate": 1e-3, "n_templates": 8192, "n_noise": 20000, "n_signals": 512},
    "full": {"steps": 2000, "batch": 8, "rate": 1e-4, "n_templates": 2048, "n_noise": 10240, "n_signals": 128},
}
HERE = Path(__file__).parent


def say(message: str) -> None:
    """Progress, on standard error with the time."""
    print(time.strftime("%H:%M:%S"), message, file=sys.stderr, flush=True)


def run_folder(size: Size) -> Path:
    """Where checkpoints and scores are kept: beside the templates, outside the repository."""
    return templates.cache_folder() / size.name


def training_templates(size: Size, plan: dict) -> templates.Templates:
    """The templates the network and the band are fitted to."""
    return templates.build("training", TRAINING, size, plan["n_templates"], (TRAINING_SEED,), progress=say)


def train(size: Size, plan: dict) -> None:
    """Train or go on training, and store the weights."""
    start = None
    if size is not SCALED and network.weights_path(SCALED).exists():
        start = network.inflate_scaled
        say("a new training begins with the scaled network's weights, inflated")
    model = training.fit(
        size, training_templates(size, plan), run_folder(size) / "run",
        steps=plan["steps"], batch=plan["batch"], rate=plan["rate"], start=start,
        save_every=250 if size is SCALED else 25, progress=say,
    )  # fmt: skip
    network.save_weights(model, network.weights_path(size))


def evaluate(size: Size, plan: dict) -> None:
    """Measure the network with the stored weights and both power detectors in all test groups."""
    path = network.weights_path(size)
    model = network.build(size.n_samples)
    network.load_weights(model, path)
    band = power.choose_band(training_templates(size, plan), n=500)
    say(f"band of the power detector: {band[0] * 1e3:.1f} to {band[1] * 1e3:.1f} mHz")
    detectors = {"CNN": network.Scorer(model), "power, band": power.PowerDetector(band), "power": power.PowerDetector()}
    folder = run_folder(size) / f"scores-{network.digest(path)}"
    result = evaluation.evaluate(
        detectors, size, folder, n_noise=plan["n_noise"], n_signals=plan["n_signals"], progress=say
    )
    evaluation.write_result({**result, "band": band}, HERE / "results" / f"{size.name}.json")


def main(arguments: list[str] | None = None) -> int:
    """Parse, do, return an exit status."""
    parser = argparse.ArgumentParser(prog="python -m emri", description=__doc__)
    parser.add_argument("task", choices=["templates", "train", "evaluate", "figures", "all"])
    parser.add_argument("--size", choices=list(SIZES), default="scaled")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="processor cores TensorFlow may use")
    for name, what in {
        "steps": "training steps in all", "n-templates": "training templates", "n-noise": "noise-only test samples",
        "n-signals": "signals in every cell of a test group",
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, help=f"{what} (default: by size)")
    options = parser.parse_args(arguments)
    size, plan = SIZES[options.size], dict(PLANS[options.size])
    plan.update({key: value for key, value in vars(options).items() if key in plan and value is not None})
    if options.task != "templates":
        network.limit_threads(options.threads)
    if options.task in ("templates", "all"):
        training_templates(size, plan)
    if options.task in ("train", "all"):
        train(size, plan)
    if options.task in ("evaluate", "all"):
        evaluate(size, plan)
    if options.task in ("figures", "all"):
        figures.draw_all(size, HERE / "results", HERE / "figures")
        figures.population_figure(training_templates(size, plan), HERE / "figures" / f"{size.name}-band.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
