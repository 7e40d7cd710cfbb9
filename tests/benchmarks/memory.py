"""Peak memory of ``morpheus classify`` against the size of the image.

    python tests/benchmarks/memory.py [--sides 4096,12288] [--memory 2GB] [--model hst] [--products maps,catalog]
                                      [--directory DIRECTORY]

Writes a four-band field of each size, classifies it in a process of its own with labels and catalogue, and prints its
peak resident memory, as the system reports it, the peak of it and of the processes that it starts together (pages that
they share counted once, looked at every 0.2 s; Linux only), the time and the speed. The directory needs 16 bytes a
pixel for the field and 33 for the maps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing import get_context
from pathlib import Path

import psutil
from fields import write_field


def main() -> None:
    """Make the fields, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", default="4096,12288", help="sides of the fields in pixels")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--model", default="hst")
    parser.add_argument("--products", default="maps,catalog")
    parser.add_argument("--directory", type=Path, help="where the fields and products go (default: temporary)")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, --memory {options.memory}, model {options.model}")
    print(f"{'side':>6} {'peak MB':>8} {'all MB':>8} {'seconds':>8} {'px/s':>10} {'sources':>8}  stages")
    peaks = []
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        for side in map(int, options.sides.split(",")):
            field = Path(folder) / f"field_{side}.fits"
            # In a process of its own: the peak of this one would be one of those that it starts.
            writer = get_context("spawn").Process(target=write_field, args=(field, side))
            writer.start()
            writer.join()
            peak, together, seconds, record = measure(field, Path(folder) / "products", options)
            peaks.append(peak)
            stages = ", ".join(f"{name} {value:.0f} s" for name, value in record["seconds"].items())
            numbers = f"{side:6d} {peak:8.0f} {together:8.0f} {seconds:8.1f} {side**2 / seconds:10,.0f}"
            print(f"{numbers} {record['n_sources']:8d}  {stages}")
            sys.stdout.flush()
            field.unlink()
    print(f"largest over smallest peak: {max(peaks) / min(peaks):.3f}")


def measure(field: Path, products: Path, options: argparse.Namespace) -> tuple[float, float, float, dict]:
    """Peak memory in MB, the same with child processes, seconds from start to end, and what the command printed."""
    code = "from morpheus_lite.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "classify", str(field), "-o", str(products), "--overwrite", "--json"]
    command += ["--model", options.model, "--memory", options.memory, "--products", options.products]
    start = time.perf_counter()
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    together: list[float] = [0.0]
    threading.Thread(target=watch, args=(run.pid, together), daemon=True).start()
    text = run.stdout.read()
    _, status, usage = os.wait4(run.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    unit = 1e6 if sys.platform == "darwin" else 1e3
    peak = usage.ru_maxrss / unit * (1.0 if sys.platform == "darwin" else 1.024)
    return peak, together[0], seconds, json.loads(text)["images"][0]


def watch(number: int, peak: list[float]) -> None:
    """Keep the highest memory, in MB, of a process and its children."""
    try:
        process = psutil.Process(number)
        while process.is_running():
            total = 0.0
            for one in [process, *process.children(recursive=True)]:
                try:
                    total += one.memory_full_info().pss / 1e6
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], total)
            time.sleep(0.2)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return


if __name__ == "__main__":
    main()
