"""A survey under attack: workers, scheduler and client are killed while it runs; is anything lost, or there twice?

    python tests/benchmarks/survey_rehearsal.py --tiles 2000 --kill-every 120      # an hour
    python tests/benchmarks/survey_rehearsal.py --tiles 24 --side 128 --kill-every 20

Tiles of a made-up sky, each on a grid of its own, are classified by workers of a real `dask scheduler` with TLS
on loopback. One worker is killed again and again, the scheduler at a third of the tiles, the client at two thirds; the
command is started again each time. Prints what was killed when, the memory of the workers in each third of the run, and
whether every tile is done and every row is in the merged catalogue once.
"""

import argparse
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from astropy.io import fits
from astropy.wcs import WCS
from distributed.security import Security
from pyarrow import parquet

MAIN = "from morpheus_lite.cli import main; raise SystemExit(main())"
BANDS = ("F160W", "F125W", "F606W", "F850LP")
SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1 s",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""Those that docs/how_to/surveys.md gives for a cluster of one's own."""

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def write_tile(path, number, side):
    """Noise and round sources, beside the tile of the number before."""
    rng = np.random.default_rng(number)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 10 + number % 50 * side * 0.06 / 3600, -30 + number // 50 * side * 0.06 / 3600
    wcs.wcs.crpix = side / 2 + 0.5, side / 2 + 0.5
    wcs.wcs.cdelt = -0.06 / 3600, 0.06 / 3600
    y, x = np.indices((side, side))
    light = np.zeros((side, side))
    for _ in range(side**2 // 6000):
        at, size = rng.uniform(0, side, 2), rng.uniform(1.5, 4)
        light += rng.uniform(0.1, 1) * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * size**2))
    header = wcs.to_header()
    header["ABZP"] = 25.9
    noisy = ((light + rng.normal(0, 0.01, light.shape)).astype(np.float32) for _ in BANDS)
    hdus = [fits.ImageHDU(pixels, header, name=band) for band, pixels in zip(BANDS, noisy, strict=True)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)


class Attack:
    """The processes of a survey: what is killed is started again."""

    def __init__(self, place, n_workers, model):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        security = Security.temporary()
        files = {}
        for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
            files[name] = place / f"{name}.pem"
            files[name].write_text(getattr(security, name))
        ca, cert, key = files.values()
        self.tls = ["--protocol", "tls", "--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key]
        self.address = f"tls://127.0.0.1:{self.port}"
        self.command = [sys.executable, "-c", MAIN, "batch", place / "in", "-o", place / "out", "--quiet", "-m", model]
        self.command += [
            "--products",
            "catalog",
            "--scheduler",
            self.address,
            "--noise",
            "tile",
            "--tile-timeout",
            "600",
        ]
        self.command += ["--tls-ca", ca, "--tls-cert", cert, "--tls-key", key]
        self.scheduler = self.start_scheduler()
        self.workers = [self.start_worker() for _ in range(n_workers)]
        self.client = None

    def start_scheduler(self):
        command = ["scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", *self.tls]
        made = subprocess.Popen([sys.executable, "-m", "dask", *command], **QUIET)
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return made
            time.sleep(0.1)
        raise SystemExit("the scheduler does not listen")

    def start_worker(self):
        command = ["worker", self.address, "--nthreads", "1", "--no-dashboard", "--death-timeout", "300", *self.tls]
        return subprocess.Popen([sys.executable, "-m", "dask", *command], **QUIET)

    def start_client(self):
        self.client = subprocess.Popen(self.command, **QUIET)

    def children(self):
        """The processes that classify."""
        found = []
        for worker in self.workers:
            with suppress(psutil.Error):
                found += [child for child in psutil.Process(worker.pid).children() if child.memory_info().rss > 1e8]
        return found

    def kill_worker(self, rng):
        """One of the processes that classify; its nanny starts another."""
        found = self.children()
        if found:
            with suppress(psutil.Error):
                found[rng.integers(len(found))].kill()

    def kill_scheduler(self):
        """And start it again; workers that have lost it end themselves, and are started again, too."""
        self.scheduler.kill()
        self.scheduler.wait()
        self.scheduler = self.start_scheduler()

    def keep(self):
        """Start again what has ended."""
        self.workers = [one if one.poll() is None else self.start_worker() for one in self.workers]

    def close(self):
        """End everything."""
        for process in (*self.workers, self.scheduler):
            process.send_signal(signal.SIGTERM)
        for process in (*self.workers, self.scheduler):
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()


def n_done(place):
    """Tiles that are done."""
    return sum((entry / "done.json").exists() for entry in (place / "out" / "tiles").glob("[!.]*"))


def rehearse(place, chosen):
    """Run the survey to its end; the memory of workers in each third of the tiles, and what was killed."""
    attack, rng = Attack(place, chosen.workers, chosen.model), np.random.default_rng(1)
    memory, killed, start = [[0], [0], [0]], {"worker": 0, "scheduler": 0, "client": 0}, time.perf_counter()
    last = start
    try:
        attack.start_client()
        while True:
            time.sleep(1)
            attack.keep()
            done = n_done(place)
            memory[min(3 * done // chosen.tiles, 2)] += [child.memory_info().rss for child in attack.children()]
            if attack.client.poll() is not None:
                if attack.client.returncode == 0:
                    return memory, killed
                print(
                    f"{time.perf_counter() - start:.0f} s: the command ended with {attack.client.returncode}",
                    flush=True,
                )
                attack.start_client()
            what = None
            if not killed["scheduler"] and done > chosen.tiles / 3:
                what = "scheduler"
                attack.kill_scheduler()
            elif not killed["client"] and done > chosen.tiles * 2 / 3:
                what = "client"
                attack.client.kill()
            elif time.perf_counter() - last > chosen.kill_every:
                what, last = "worker", time.perf_counter()
                attack.kill_worker(rng)
            if what:
                killed[what] += 1
                print(f"{time.perf_counter() - start:.0f} s, {done} tiles: {what} killed", flush=True)
    finally:
        attack.close()


def main():
    """Take the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=2000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-every", type=float, default=120, help="seconds")
    parser.add_argument("--model", default="hst")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        place = Path(folder)
        (place / "in").mkdir()
        for number in range(chosen.tiles):
            write_tile(place / "in" / f"t{number:05}.fits", number, chosen.side)
        os.environ.update(SETTINGS)
        start = time.perf_counter()
        memory, killed = rehearse(place, chosen)
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{chosen.tiles} tiles of {chosen.side} px on {chosen.workers} workers: {seconds:.0f} s, "
            f"{used.ru_utime + used.ru_stime:.0f} core-s; killed: {killed}"
        )
        print("largest memory of a worker in each third:", ", ".join(f"{max(one) / 1e9:.2f} GB" for one in memory))
        merged = parquet.read_table(place / "out" / "catalog" / "dataset", partitioning=None)
        rows = [parquet.read_metadata(path).num_rows for path in (place / "out" / "tiles").glob("*/*.parquet")]
        names = merged["source_id"].to_numpy()
        left = [path.name for path in (place / "out" / "tiles").glob(".*")]
        print(
            f"{n_done(place)} tiles done, {len(rows)} catalogues with {sum(rows)} rows; merged {len(names)}, of which "
            f"{len(names) - len(np.unique(names))} double; left over: {left or 'nothing'}"
        )


if __name__ == "__main__":
    main()
