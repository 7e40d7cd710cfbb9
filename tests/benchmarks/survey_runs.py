"""Runs of `morpheus batch` as a process of its own, for the benchmarks of surveys."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from morpheus_lite.core.windows import Window
from morpheus_lite.io import open_image
from morpheus_lite.io.wcs import header_of_wcs

MAIN = "from morpheus_lite.cli import main; raise SystemExit(main())"


@dataclass(frozen=True)
class Spent:
    """What a run took: wall-clock and processor seconds, and the largest memory of a process that classified."""

    seconds: float
    core_seconds: float
    memory: float
    tile_seconds: float

    def __str__(self):
        return f"{self.seconds:.1f} s, {self.core_seconds:.1f} core-s, {self.memory / 1e9:.2f} GB per process"


def command(source, place, model, workers, tile_size=None, memory_limit=None, noise="survey"):
    """The command line of a survey."""
    made = [sys.executable, "-c", MAIN, "batch", str(source), "-o", str(place), "--quiet", "--json"]
    made += ["--model", model, "--products", "catalog", "--workers", str(workers), "--noise", noise]
    made += [] if tile_size is None else ["--tile-size", str(tile_size)]
    return made if memory_limit is None else [*made, "--memory-limit", memory_limit]


def run(source, place, model, workers, **options):
    """Run a survey to its end, and say what it took."""
    start = time.perf_counter()
    with subprocess.Popen(command(source, place, model, workers, **options), stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{place} ended with {process.returncode}"
    seconds = time.perf_counter() - start
    report = json.loads((place / "report.json").read_text())
    memory = max(one["peak_memory"] for one in report["tiles"])
    return Spent(seconds, used.ru_utime + used.ru_stime, memory, report["totals"]["tile_seconds"])


def killed_half_way(source, place, model, workers, marks, count):
    """Start a survey, and kill it when so many files match a pattern; how many did."""
    arguments = command(source, place, model, workers, 1024 if "pieces" in marks else None, noise="tile")
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        while len(found(place, marks)) < count and process.poll() is None:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    return len(found(place, marks))


def found(place, marks):
    """Files that match; what is known of a mosaic beforehand is no piece."""
    return [path for path in place.glob(marks) if path.name != "prepared.json"]


def repeated(image, path, times):
    """A large image: copies of one beside each other."""
    with fits.open(image) as hdus:
        copies = [fits.ImageHDU(np.tile(hdu.data, (times, times)), hdu.header, name=hdu.name) for hdu in hdus[1:]]
    fits.HDUList([fits.PrimaryHDU(), *copies]).writeto(path)
    return path


def write_tiles(image, directory, side, n_across):
    """Overlapping tiles of an image, each a file with its own WCS."""
    directory.mkdir()
    with fits.open(image) as hdus, open_image(image) as source:
        starts = np.round(np.linspace(0, np.array(source.shape) - side, n_across)).astype(int)
        for row, y in enumerate(starts[:, 0].tolist()):
            for column, x in enumerate(starts[:, 1].tolist()):
                part = Window(y, x, side, side)
                cards = header_of_wcs(source.wcs.slice(part.slices))
                made = [fits.PrimaryHDU()]
                for hdu in hdus[1:]:
                    header = cards.copy()
                    header.update({key: hdu.header[key] for key in ("BUNIT", "ABZP") if key in hdu.header})
                    made.append(fits.ImageHDU(hdu.data[part.slices], header, name=hdu.name))
                fits.HDUList(made).writeto(directory / f"t{row}{column}.fits")


def fill_page(page, name, lines):
    """Replace what stands on a page between the comments ``begin NAME`` and ``end NAME``."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    head, _, rest = page.read_text().partition(begin)
    _, mark, tail = rest.partition(end)
    assert mark, f"{page} has no place for {name}: expected {begin} and {end}"
    page.write_text("\n".join([head + begin, "", *lines, "", end + tail]))
