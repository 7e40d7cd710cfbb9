"""Where the time of `morpheus classify` goes: core-seconds of each stage, beside those of a large matrix product.

    python tests/benchmarks/stage_table.py [--side 4096] [--image FILE] [--model auto] [--products maps,catalog,picture]
                                           [--memory 2GB] [--workers N] [--directory DIRECTORY]

Everything that `classify` does runs here once, in a fresh process, start-up included. A core-second is a second of one
core at work, in this process and those that it starts; it does not depend on what else the machine does, as seconds of
the clock do. The last column is the same on every processor, as far as that can be: core-seconds per megapixel over the
core-seconds that 10^12 floating-point operations take in a float32 matrix product of 4,096 x 4,096.
"""

import resource
import time

START = time.perf_counter()

import argparse  # noqa: E402
import pydoc  # noqa: E402
import tempfile  # noqa: E402
from collections import defaultdict  # noqa: E402
from collections.abc import Callable  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

STAGES = {
    "reading": ("morpheus_lite.pipeline.classify.open_image",),
    "model": ("morpheus_lite.pipeline.classify.load_model",),
    "domain check": ("morpheus_lite.pipeline.plan.Plan.outside_domain",),
    "noise": ("morpheus_lite.pipeline.plan.Plan.measure_noise",),
    "network": (
        "morpheus_lite.inference.one_pass.OnePass.fill",
        "morpheus_lite.inference.sliding_window.SlidingWindows.fill",
    ),
    "detection": ("morpheus_lite.segmentation.detection.detect",),
    "deblending": ("morpheus_lite.segmentation.deblending.split",),
    "noise beside sources": ("morpheus_lite.catalog.measurement.measure_sections",),
    "measuring": (
        "morpheus_lite.catalog.measurement.prepare_measurement",
        "morpheus_lite.catalog.measurement.Measurement.table",
    ),
    "catalogue file and picture": ("morpheus_lite.pipeline.classify.write_products",),
}
"""Functions of each stage, by the name under which the pipeline calls them. What they call counts for the innermost."""

_SIDE = 4096


class Stages:
    """Core-seconds, seconds and peak memory of nested stages."""

    def __init__(self) -> None:
        self.core: dict[str, float] = defaultdict(float)
        self.clock: dict[str, float] = defaultdict(float)
        self.peak: dict[str, float] = {}
        self._open = ["start-up and the rest"]
        self._core, self._clock = 0.0, START

    def _turn(self) -> None:
        """Count what has passed for the stage that is at work."""
        core, clock, stage = core_seconds(), time.perf_counter(), self._open[-1]
        self.core[stage] += core - self._core
        self.clock[stage] += clock - self._clock
        self.peak[stage] = peak_memory()
        self._core, self._clock = core, clock

    @contextmanager
    def __call__(self, stage: str):
        """Count for this stage."""
        self._turn()
        self._open.append(stage)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def watch(self, place: str, stage: str) -> None:
        """Count every call of a function for a stage."""
        owner_name, name = place.rsplit(".", 1)
        owner = pydoc.locate(owner_name)
        function: Callable[..., Any] = getattr(owner, name)

        def watched(*args: Any, **options: Any) -> Any:
            with self(stage):
                return function(*args, **options)

        setattr(owner, name, watched)


def core_seconds() -> float:
    """Core-seconds of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_memory() -> float:
    """Peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def matrix_product() -> float:
    """Core-seconds of 10^12 floating-point operations in a large matrix product; the best of three."""
    import numpy as np

    left, right = (np.random.default_rng(k).standard_normal((_SIDE, _SIDE), np.float32) for k in (0, 1))
    best = float("inf")
    for _ in range(3):
        start = core_seconds()
        left @ right
        best = min(best, core_seconds() - start)
    return best * 1e12 / (2 * _SIDE**3)


def main() -> None:
    """Run, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096, help="of the field that is made")
    parser.add_argument("--image", type=Path, help="an image to take instead")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--products", default="maps,catalog,picture")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--unit", action="store_true", help="print only the core-seconds of the matrix product")
    options = parser.parse_args()
    if options.unit:
        print(matrix_product())
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        image = options.image or _field(Path(folder) / "field.fits", options.side)
        stages = Stages()
        products = _run(image, Path(folder), options, stages)
    unit = matrix_product()
    _print(stages, products, unit, options.workers)


def _field(path: Path, side: int) -> Path:
    """A field, made in a process of its own: making it is no part of what is measured."""
    import subprocess
    import sys

    make = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    make += f"from pathlib import Path; from fields import write_field; write_field(Path({str(path)!r}), {side})"
    subprocess.run([sys.executable, "-c", make], check=True)
    return path


def _run(image: Path, folder: Path, options: argparse.Namespace, stages: Stages) -> Any:
    global START
    stages._core, stages._clock = core_seconds(), time.perf_counter()
    from morpheus_lite.config.classify import ClassifyOptions
    from morpheus_lite.pipeline.classify import classify_file

    kinds = tuple(options.products.split(","))
    for stage, places in STAGES.items():
        for place in places:
            stages.watch(place, stage)
    chosen = ClassifyOptions(model=options.model, products=kinds, memory=options.memory, overwrite=True)
    products = classify_file(image, folder, chosen, workers=options.workers)
    stages._turn()
    return products


def _print(stages: Stages, products: Any, unit: float, workers: int | None) -> None:
    from morpheus_lite.runtime.resources import usable_cores

    height, width = products.shape
    megapixels = height * width / 1e6
    n_sources = 0 if products.table is None else len(products.table)
    print(
        f"{height} x {width} px, {n_sources} sources, {workers or usable_cores()} workers, {usable_cores()} cores, "
        f"{time.strftime('%Y-%m-%d')}; 10^12 operations of a matrix product: {unit:.2f} core-seconds\n"
    )
    print("| stage | core-seconds | seconds | peak (MB) | core-seconds per megapixel | over a matrix product |")
    print("|---|---|---|---|---|---|")
    rows = {**stages.core, "all": sum(stages.core.values())}
    for stage, core in rows.items():
        clock = stages.clock[stage] if stage != "all" else sum(stages.clock.values())
        peak = stages.peak.get(stage, max(stages.peak.values()))
        values = f"{core:.2f} | {clock:.2f} | {peak:,.0f} | {core / megapixels:.3f} | {core / megapixels / unit:.3f}"
        print(f"| {stage} | {values} |")


if __name__ == "__main__":
    main()
