"""What a survey of 100,000 tiles costs before, beside and after the work on tiles: plan, scheduler, state, merge index.

    python tests/benchmarks/survey_plan.py                              # 100,000 tiles, 2 GB of small files in --place
    python tests/benchmarks/survey_plan.py --page docs/how_to/planning.md      # and puts the table on the page

Prints seconds and peak memory of each step. Tiles are not classified: their markers are written as a worker would, and
on the cluster a tile is a call that returns at once.
"""

import argparse
import csv
import resource
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
from distributed import Client, LocalCluster
from survey_runs import fill_page

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.survey import read_tiles
from morpheus_lite.survey.jobs import ClusterExecutor, Outcome
from morpheus_lite.survey.merge.index import read_index
from morpheus_lite.survey.plan import make_plan, survey_options
from morpheus_lite.survey.state import (
    SUMMARY,
    describe_inputs,
    fingerprint_product,
    run_of,
    tile_directory,
    write_json,
    write_marker,
)

ROWS = ["| step | seconds | core-seconds | largest memory so far |", "|---|---|---|---|"]


@contextmanager
def step(what, *, count=None):
    """Note how long a step takes, and the largest memory of this process so far; ``count`` gives a rate."""
    start, busy = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    took, busy = time.perf_counter() - start, time.process_time() - busy
    rate = f" ({count / took:,.0f} per second)" if count else ""
    ROWS.append(f"| {what}{rate} | {took:.1f} | {busy:.1f} | {peak:.2f} GB |")
    print(ROWS[-1], flush=True)


def nothing(job):
    """A tile that costs nothing."""
    return Outcome(job.name, "done")


def write_manifest(path, images, count):
    """A manifest of tiles whose files are there."""
    images.mkdir()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "image", "zero_point_F160W"])
        for number in range(count):
            image = images / f"t{number:06d}.fits"
            image.write_bytes(b"%d" % number)
            writer.writerow([f"t{number:06d}", image, 25.9])


def finish(root, tile, run):
    """What a worker leaves of a tile."""
    directory = tile_directory(root, tile.name)
    directory.mkdir(parents=True)
    product = directory / f"{tile.name}_catalog.parquet"
    product.write_bytes(b"rows")
    number = int(tile.name[1:])
    # Side by side, each overlapping its eight neighbours.
    middle = np.array([1.0, number % 320 * 3e-3 - 0.5, number // 320 * 3e-3 - 0.5])
    circle = [*(middle / np.linalg.norm(middle)).tolist(), 1.6e-3]
    footprint = {"shape": [4096, 4096], "wcs": "", "valid": None, "valid_share": 1.0, "circle": circle}
    write_json(directory / SUMMARY, {"footprint": footprint, "cells": {str(number): 1000}, "schema": "x"})
    write_marker(directory, run, describe_inputs(tile), {"catalog": fingerprint_product(product)})


def main():
    """Take the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=256, help="of the two workers together")
    parser.add_argument("--place", type=Path, help="directory for the small files")
    parser.add_argument("--page", type=Path, help="page whose table is replaced")
    chosen = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="survey-", dir=chosen.place))
    options = survey_options(ClassifyOptions(products=("catalog",)))
    try:
        write_manifest(place / "tiles.csv", place / "images", chosen.tiles)
        with step(f"manifest of {chosen.tiles:,} tiles read"):
            tiles = read_tiles(place / "tiles.csv")
        with step("planned, nothing done yet"):
            plan = make_plan(tiles, place / "out", options)
        # As the workers do it, but without waiting for the disk: of no interest here.
        with patch("os.fsync"), ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda tile: finish(place / "out", tile, run_of(tile, options, plan.weights)), tiles))
        with step("planned again: the state of all tiles read"):
            again = make_plan(tiles, place / "out", options)
        assert again.counts["done"] == chosen.tiles, again.counts
        with step("index for merging read"):
            index = read_index(place / "out", (tile.name for tile in tiles))
        with step("overlapping tiles found"):
            index.neighbours()
        with (
            LocalCluster(
                n_workers=2, threads_per_worker=chosen.threads // 2, dashboard_address=None, silence_logs=50
            ) as cluster,
            Client(cluster) as client,
            step("through the scheduler, as calls that return at once", count=chosen.tiles),
        ):
            n_done = sum(
                outcome.status == "done" for outcome in ClusterExecutor(client).run(plan.jobs("x"), work=nothing)
            )
        assert n_done == chosen.tiles, n_done
        if chosen.page:
            fill_page(chosen.page, "plan", ROWS)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
