"""What Dask costs: overlapping tiles in one process, and on worker processes, on the same cores.

    python tests/benchmarks/survey_throughput.py        # 64 tiles of 512 px out of 3,500 x 3,500 (needs GalSim)
    python tests/benchmarks/survey_throughput.py --size 1100 --repeat 7 --tile 1024     # 64 of 1,024 px, of one scene

Prints for each: seconds (start of all processes, merging and report included), megapixels per second, the ratio to one
process that uses all cores, which share of the workers' time was not work on tiles, and the largest memory of a worker
beside its limit. On a machine that does other things, compare the core-seconds.
"""

import argparse
import tempfile
from pathlib import Path

from survey_runs import repeated, run, write_tiles

from morpheus_lite.io import open_image
from morpheus_lite.runtime.resources import format_memory, parse_memory, usable_cores


def main():
    """Take the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=3500)
    parser.add_argument("--repeat", type=int, default=1, help="copies of the image beside each other, along one side")
    parser.add_argument("--noise", default="tile", help="tile: each by itself; survey: as one image")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--across", type=int, default=8, help="tiles along one side")
    parser.add_argument("--model", default="hst")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--memory-limit", default="3GB")
    parser.add_argument("--field", type=Path, help="an image, instead of simulating one")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        place, field = Path(folder), chosen.field
        if field is None:
            from morpheus_lite.simulation import simulate

            field = Path(simulate(place, seed=11, shape=(chosen.size, chosen.size))[0])
        if chosen.repeat > 1:
            field = repeated(field, place / "repeated.fits", chosen.repeat)
        write_tiles(field, place / "tiles", chosen.tile, chosen.across)
        with open_image(field) as source:
            print(f"{field.name}, {source.n_bands} bands: {chosen.across**2} tiles of {chosen.tile} px, {chosen.model}")
        pixels = chosen.across**2 * chosen.tile**2 / 1e6
        alone = run(place / "tiles", place / "alone", chosen.model, 0, noise=chosen.noise)
        print(f"one process, {usable_cores()} cores: {alone}; {pixels / alone.seconds:.3f} Mpx/s", flush=True)
        limit = parse_memory(chosen.memory_limit)
        for workers in chosen.workers:
            options = {"memory_limit": chosen.memory_limit, "noise": chosen.noise}
            spent = run(place / "tiles", place / f"w{workers}", chosen.model, workers, **options)
            idle = 1 - spent.tile_seconds / workers / spent.seconds
            faster, leaner = alone.seconds / spent.seconds, alone.core_seconds / spent.core_seconds
            print(
                f"{workers} worker processes: {spent}; {pixels / spent.seconds:.3f} Mpx/s\n"
                f"    {faster:.2f} x one process ({leaner:.2f} x by core-seconds); "
                f"{idle:.0%} of the workers' time was not work on tiles;\n"
                f"    {format_memory(spent.memory)} of {format_memory(limit)} a worker",
                flush=True,
            )


if __name__ == "__main__":
    main()
