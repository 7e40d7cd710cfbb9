"""Peak memory of ``morpheus classify`` against the size of the image.

    python tests/benchmarks/memory.py [--sides 4096,12288] [--memory 2GB] [--model hst] [--products maps,catalog]
                                      [--directory DIRECTORY]

Writes a four-band field of each size, classifies it in a process of its own with labels and catalogue, and prints the
process's peak resident memory, as the system reports it, the time and the speed. The directory needs 16 bytes a pixel
for the field and 33 for the maps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    print(f"{'side':>6} {'peak MB':>8} {'seconds':>8} {'px/s':>10} {'sources':>8}  stages")
    peaks = []
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        for side in map(int, options.sides.split(",")):
            field = write_field(Path(folder) / f"field_{side}.fits", side)
            peak, seconds, record = measure(field, Path(folder) / "products", options)
            peaks.append(peak)
            stages = ", ".join(f"{name} {value:.0f} s" for name, value in record["seconds"].items())
            print(f"{side:6d} {peak:8.0f} {seconds:8.1f} {side**2 / seconds:10,.0f} {record['n_sources']:8d}  {stages}")
            sys.stdout.flush()
            field.unlink()
    print(f"largest over smallest peak: {max(peaks) / min(peaks):.3f}")


def measure(field: Path, products: Path, options: argparse.Namespace) -> tuple[float, float, dict]:
    """Peak memory in MB, seconds from start to end, and what the command printed."""
    code = "from morpheus_lite.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "classify", str(field), "-o", str(products), "--overwrite", "--json"]
    command += ["--model", options.model, "--memory", options.memory, "--products", options.products]
    start = time.perf_counter()
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    text = run.stdout.read()
    _, status, usage = os.wait4(run.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return usage.ru_maxrss / unit * (1.0 if sys.platform == "darwin" else 1.024), seconds, json.loads(text)["images"][0]


if __name__ == "__main__":
    main()
