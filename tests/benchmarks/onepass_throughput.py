"""Speed of one-pass classification from FITS to FITS, beside the bare network and the published package, in one run.

    python tests/benchmarks/onepass_throughput.py [--side 4096] [--model hst] [--memory 2GB] [--rounds 2]
                                                  [--release PYTHON] [--directory DIRECTORY]

Prints, for one machine and moment: pixels/s and GFLOP/s of the network called on an array in memory, with one call for
each core at work (the limit); the same for an image on the disk that becomes class maps on the disk; what share of the
work each stage has; and with ``--release``, the interpreter of an environment that `against_release.py` made, how many
times the speed of the published package that is, at its stride 1. Rounds alternate and the best of each counts.
"""

import argparse
import json
import math
import os
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from against_release import BRIDGE, RELEASE, TIMING
from fields import write_field

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.core.windows import Window
from morpheus_lite.inference import network_input
from morpheus_lite.io import open_image
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.maps import MapFile
from morpheus_lite.models.network_config import OnePassConfig
from morpheus_lite.models.registry import load_model
from morpheus_lite.noise import overview
from morpheus_lite.noise.overview import measure_sections
from morpheus_lite.pipeline.plan import plan_run
from morpheus_lite.runtime.resources import usable_cores

RESIDENT = 1024  # side of the array of the bare call: a larger one is slower, for it leaves the caches
STAGES = ("reading", "noise", "normalising", "writing")


def _multiply_adds(config: OnePassConfig, n_bands: int) -> float:
    """Multiply-adds of the convolutions per pixel of an image of so many bands."""
    last = len(config.down) - 1
    level = {"stem": 0, "final": 0, "intermediate": last + 1}
    level |= {f"down_{i}": i for i in range(last + 1)} | {f"up_{i}": last - i for i in range(last + 1)}
    total = 0.0
    for name, shape in config.weight_shapes().items():
        if name.endswith("/kernel"):
            stage = name.rsplit("_", 2)[0] if name.count("_") > 1 else name.split("_")[0]
            side = config.cell * 2 ** level[stage]
            total += math.prod(shape) / side**2 * (n_bands if stage == "stem" else 1)
    return total


def main() -> None:
    """Measure in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--model", default="hst")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--release", help="python of an environment with morpheus-astro 0.5.1")
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    model = load_model(options.model)
    flops = 2 * _multiply_adds(OnePassConfig.from_dict(model.network), n_bands=4)
    shares: dict[str, float] = defaultdict(float)
    _time_stages(shares)
    speeds = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        field = write_field(Path(folder) / "field.fits", options.side)
        for _ in range(options.rounds):
            speeds["bare network"].append(bare(model))
            shares.clear()
            speeds["FITS to FITS"].append(end_to_end(field, Path(folder) / "maps.fits", model, options.memory, shares))
            if options.release:
                speeds["release"].append(release(options.release, field, Path(folder) / "bands.npy"))
    best = {name: max(clock for clock, _ in values) for name, values in speeds.items()}
    cores = {name: max(core for _, core in values) for name, values in speeds.items()}
    print(f"{options.side} x {options.side} px, {usable_cores()} cores, {time.strftime('%Y-%m-%d')}, {model.name}")
    for name, speed in best.items():
        work = "" if name == "release" else f", {speed * flops / 1e9:6.1f} GFLOP/s"
        print(f"{name:>14}: {speed:12,.0f} px/s{work}; {cores[name]:12,.0f} px per core-second")
    for label, found in (("clock", best), ("core-seconds", cores)):
        print(f"FITS to FITS over bare network, by the {label}: {found['FITS to FITS'] / found['bare network']:.2f}")
    if "release" in best:
        print(f"FITS to FITS over release: {best['FITS to FITS'] / best['release']:,.0f}")
    total = shares.pop("all")
    shares["network and the rest"] = total - sum(shares.values())
    print("share of the processor time: " + ", ".join(f"{name} {100 * s / total:.1f} %" for name, s in shares.items()))


def bare(model: Any) -> tuple[float, float]:
    """px/s and px per core-second of the network on tiles in memory, one call for each core at work."""
    rng = np.random.default_rng(0)
    side = RESIDENT + 2 * model.halo
    snr = rng.standard_normal((1, side, side, 4), np.float32)
    valid = np.ones(snr.shape, bool)
    model.predict_inner(snr, valid)  # its graph is built: no part of the speed
    n_calls = 3

    def work() -> None:
        for _ in range(n_calls):
            model.predict_inner(snr, valid)

    threads = [threading.Thread(target=work) for _ in range(usable_cores())]
    start, core = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    n_pixels = len(threads) * n_calls * RESIDENT**2
    return n_pixels / (time.perf_counter() - start), n_pixels / (time.process_time() - core)


def end_to_end(field: Path, output: Path, model: Any, memory: str, shares: dict[str, float]) -> tuple[float, float]:
    """The same from an image on the disk to class maps on the disk; start-up and model not counted."""
    start, core = time.perf_counter(), time.process_time()
    with open_image(field) as image:
        plan = plan_run(image, model, ClassifyOptions(model=model.name, memory=memory))
        with MapFile(output, image.shape, plan.kinds, wcs=image.wcs, provenance=plan.record) as maps:
            plan.inferer.fill(plan.image, maps, noise=measure_sections(image))
        shares["all"] = time.process_time() - core
        n_pixels = image.shape[0] * image.shape[1]
        return n_pixels / (time.perf_counter() - start), n_pixels / shares["all"]


def release(python: str, field: Path, pixels: Path) -> tuple[float, float]:
    """The same of the published package on a cutout of the field, at stride 1, its graph already built."""
    with open_image(field) as image:
        cutout = image.read(Window(0, 0, 120, 130))
    np.save(pixels, np.ascontiguousarray(np.moveaxis(cutout.data, 2, 0)))
    command = [python, "-W", "ignore", "-c", BRIDGE + RELEASE + TIMING, str(pixels)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, cwd=pixels.parent)
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr[-2000:]}")
    seconds = json.loads(done.stdout.splitlines()[-1])
    return 120 * 130 / seconds["clock"], 120 * 130 / seconds["core"]


def _time_stages(shares: dict[str, float]) -> None:
    """Let the stages around the network count the processor time that they take, in their own threads."""

    def counted(name: str, work: Callable) -> Callable:
        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.thread_time()
            try:
                return work(*arguments, **options)
            finally:
                shares[name] += time.thread_time() - start

        return timed

    ImageSource.read = counted(STAGES[0], ImageSource.read)  # type: ignore[method-assign]
    overview.measure_row = counted(STAGES[1], overview.measure_row)  # type: ignore[attr-defined]
    network_input.normalize = counted(STAGES[2], network_input.normalize)  # type: ignore[attr-defined]
    MapFile.write = counted(STAGES[3], MapFile.write)  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
