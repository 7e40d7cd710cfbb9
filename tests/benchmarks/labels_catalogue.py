"""Detection, deblending and catalogue of one field: this package, photutils, sep and SExtractor, time and peak memory.

    python tests/benchmarks/labels_catalogue.py --side 4096 --sources 5000 --bands 1

Every tool runs in a process of its own on the same files, one after the other, so that peak memory is its own. The
class maps are not those of a network: they follow the light, so that about as many sources are found as were put in.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy import ndimage

BANDS = ("F160W", "F125W", "F814W", "F606W")
KINDS = ("mean", "coverage", "flags", "segmentation")
NOISE = 1.0
LEVEL = 3.5
"""Detection threshold of photutils, sep and SExtractor, in units of the noise of the filtered light."""


def make_field(folder: Path, side: int, n_sources: int, n_bands: int) -> None:
    """Images, noise planes and class maps of a random field, as files."""
    from morpheus_lite import Classification
    from morpheus_lite.core.windows import Window
    from morpheus_lite.io.maps import MapFile

    rng = np.random.default_rng(1)
    light, kinds = np.zeros((side, side), np.float32), np.zeros((side, side, 4), np.float32)
    for _ in range(n_sources):
        box, stamp = _galaxy(rng, side)
        light[box] += stamp
        kinds[box][..., rng.integers(4)] += stamp
    for band, colour in zip(BANDS[:n_bands], np.linspace(1, 0.5, n_bands), strict=True):
        data = (light * colour + rng.normal(0, NOISE, light.shape)).astype(np.float32)
        fits.writeto(folder / f"{band}.fits", data)
        fits.writeto(folder / f"{band}_rms.fits", np.full_like(data, NOISE))
    first = fits.getdata(folder / f"{BANDS[0]}.fits")
    seen = ndimage.gaussian_filter(first.astype(np.float32), 1.5) / (NOISE * 0.19)
    source = (1 / (1 + np.exp(-1.2 * (seen - 4.5))) * (light > 0.05)).astype(np.float32)
    kinds /= np.maximum(kinds.sum(axis=2, keepdims=True), 1e-6)
    probability = np.concatenate([kinds * source[..., None], 1 - source[..., None]], axis=2)
    everywhere = np.ones((side, side), dtype=bool)
    maps = Classification(probability, everywhere.astype(np.int32), everywhere, flags=np.zeros((side, side), np.uint8))
    with MapFile(folder / "maps.fits", (side, side), KINDS, wcs=None, provenance={"model": "none"}) as file:
        file.write(Window(0, 0, side, side), maps)


def _galaxy(rng: np.random.Generator, side: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """Where a random exponential galaxy lies, and its light."""
    y, x = rng.uniform(5, side - 5, 2)
    flux = min(100 * (1 - rng.uniform()) ** (-1 / 0.9), 3e5)
    size = rng.lognormal(np.log(2.5), 0.4) * (flux / 100) ** 0.12
    reach = int(np.clip(12 * size, 12, 150))
    box = tuple(slice(max(int(place) - reach, 0), min(int(place) + reach + 1, side)) for place in (y, x))
    rows, columns = np.ogrid[box]
    ratio, angle = rng.uniform(0.4, 1), rng.uniform(0, np.pi)
    dy, dx = rows - y, columns - x
    along, across = dx * np.cos(angle) + dy * np.sin(angle), (dy * np.cos(angle) - dx * np.sin(angle)) / ratio
    stamp = np.exp(-np.sqrt((1.68 * np.hypot(along, across) / size) ** 2 + 0.5))
    return box, (stamp * (flux / stamp.sum())).astype(np.float32)


def ours_in_memory(folder: Path, bands: list[str], workers: int) -> dict:
    """Arrays in memory, as a script would; what is used is imported before the clock starts, as of every tool."""
    import morpheus_lite as ml
    from morpheus_lite import deblend, measure, segment
    from morpheus_lite.io import read_maps

    image = ml.read_image(_paths(folder, bands), rms=_paths(folder, bands, "_rms"))
    maps, _, _ = read_maps(folder / "maps.fits")
    clock = Clock()
    parents = segment(maps, method="probability")
    clock("segmentation")
    labels = deblend(parents, image, method="multithreshold", classification=maps, workers=workers)
    clock("deblending")
    table = measure(labels, image, maps, parents=parents, maps="probability", workers=workers)
    clock("catalogue")
    return clock.result(len(table))


def ours_by_section(folder: Path, bands: list[str], workers: int) -> dict:
    """Files read by section, labels written to the file of the class maps."""
    from morpheus_lite import deblend, measure, segment  # noqa: F401 - imported before the clock starts
    from morpheus_lite.core.windows import Window
    from morpheus_lite.io import open_image
    from morpheus_lite.io.maps import MapFile
    from morpheus_lite.pipeline.classify import make_catalog
    from morpheus_lite.pipeline.plan import SourceOptions

    image = open_image(_paths(folder, bands), rms=_paths(folder, bands, "_rms"))
    height, width = image.shape
    with MapFile(folder / "copy.fits", image.shape, KINDS, wcs=None, provenance={"model": "none"}) as maps, image:
        with fits.open(folder / "maps.fits", memmap=False) as stored:
            for hdu in stored[1:]:
                for y in range(0, height, 256):
                    rows = hdu.section[y : y + 256]
                    maps.write_plane(hdu.name, rows, Window(y, 0, len(rows), width))
        clock = Clock()
        table = make_catalog(image, maps, SourceOptions(), workers=workers, scratch=folder)
        clock("all")
    return clock.result(len(table))


def photutils(folder: Path, bands: list[str], workers: int) -> dict:
    """SourceFinder and SourceCatalog with their default columns, on the first band."""
    from astropy.convolution import convolve
    from photutils.segmentation import SourceCatalog, SourceFinder, make_2dgaussian_kernel

    data = fits.getdata(folder / f"{bands[0]}.fits").astype(float)
    error = fits.getdata(folder / f"{bands[0]}_rms.fits").astype(float)
    clock = Clock()
    kernel = make_2dgaussian_kernel(3.0, size=5)
    filtered = convolve(data, kernel)
    clock("convolution")
    level = LEVEL * NOISE * float(np.sqrt((kernel.array**2).sum()))
    segments = SourceFinder(5, n_processes=workers, progress_bar=False)(filtered, level)
    clock("finder")
    table = SourceCatalog(data, segments, convolved_data=filtered, error=error).to_table()
    clock("catalogue")
    return clock.result(len(table))


def sep(folder: Path, bands: list[str], workers: int) -> dict:
    """sep.extract with its default filter, and Kron fluxes."""
    import sep as library

    data = fits.getdata(folder / f"{bands[0]}.fits").astype(np.float32)
    clock = Clock()
    found, _ = library.extract(data, LEVEL / 2, err=NOISE, minarea=5, filter_type="conv", segmentation_map=True)
    clock("extract")
    place = [found[name] for name in ("x", "y", "a", "b", "theta")]
    good = (found["a"] > 0) & (found["b"] > 0)
    place = [values[good] for values in place]
    radius, _ = library.kron_radius(data, *place, 6.0)
    radius = np.clip(np.nan_to_num(radius, nan=1.4), 1.4, 10)
    library.sum_ellipse(data, *place, 2.5 * radius, err=NOISE, subpix=1)
    clock("fluxes")
    return clock.result(len(found))


def sextractor(folder: Path, bands: list[str], workers: int) -> dict:
    """SExtractor with Kron and aperture fluxes, and its segmentation map."""
    program = shutil.which("source-extractor") or shutil.which("sex")
    names = ("NUMBER", "X_IMAGE", "Y_IMAGE", "A_IMAGE", "B_IMAGE", "THETA_IMAGE", "FLUX_AUTO", "FLUXERR_AUTO")
    names += (
        "FLUX_APER",
        "FLUXERR_APER",
        "FLUX_ISO",
        "FLUX_RADIUS",
        "XWIN_IMAGE",
        "YWIN_IMAGE",
        "KRON_RADIUS",
        "FLAGS",
    )
    (folder / "columns.param").write_text("\n".join(names) + "\n")
    kernel = "CONV NORM\n1 2 1\n2 4 2\n1 2 1\n"
    (folder / "filter.conv").write_text(kernel)
    options = {
        "CATALOG_NAME": folder / "sextractor.fits",
        "CATALOG_TYPE": "FITS_1.0",
        "PARAMETERS_NAME": folder / "columns.param",
        "FILTER_NAME": folder / "filter.conv",
        "DETECT_THRESH": LEVEL / 2,
        "DETECT_MINAREA": 5,
        "WEIGHT_TYPE": "MAP_RMS",
        "WEIGHT_IMAGE": folder / f"{bands[0]}_rms.fits",
        "BACK_TYPE": "MANUAL",
        "CHECKIMAGE_TYPE": "SEGMENTATION",
        "CHECKIMAGE_NAME": folder / "sextractor_seg.fits",
        "VERBOSE_TYPE": "QUIET",
    }
    words = [str(word) for name, value in options.items() for word in (f"-{name}", value)]
    (folder / "empty.sex").write_text("")
    clock = Clock()
    subprocess.run([program, folder / f"{bands[0]}.fits", "-c", folder / "empty.sex", *words], check=True)
    clock("all, with reading and writing")
    return clock.result(len(fits.getdata(folder / "sextractor.fits")), children=True)


TOOLS = {
    "morpheus_lite, arrays": (ours_in_memory, 1),
    "morpheus_lite, arrays, 2 processes": (ours_in_memory, 2),
    "morpheus_lite, by section": (ours_by_section, 1),
    "morpheus_lite, by section, 2 processes": (ours_by_section, 2),
    "photutils": (photutils, 1),
    "sep": (sep, 1),
    "SExtractor": (sextractor, 1),
}


class Clock:
    """Seconds of stages, and the peak memory at the end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.before = _peak(resource.RUSAGE_SELF)
        self._cpu, self._last = self._cpu_now(), time.perf_counter()

    def __call__(self, stage: str) -> None:
        """A stage has ended."""
        now = time.perf_counter()
        self.seconds[stage], self._last = now - self._last, now

    def result(self, n_sources: int, *, children: bool = False) -> dict:
        """What the parent process prints."""
        return {
            "sources": n_sources,
            "seconds": self.seconds,
            "cpu": self._cpu_now() - self._cpu,
            "peak": _peak(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF),
            "before": 0.0 if children else self.before,
        }

    @staticmethod
    def _cpu_now() -> float:
        uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(use.ru_utime + use.ru_stime for use in uses)


def _peak(who: int) -> float:
    """Peak resident memory in MB."""
    return resource.getrusage(who).ru_maxrss / 1024


def _paths(folder: Path, bands: list[str], suffix: str = "") -> dict[str, Path]:
    return {band: folder / f"{band}{suffix}.fits" for band in bands}


def main() -> None:
    """Make the field, run the tools, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--sources", type=int, default=5000)
    parser.add_argument("--bands", type=int, default=1, choices=range(1, 5))
    parser.add_argument("--only", nargs="*", help="parts of the names of the tools to run")
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool == "field":
        make_field(options.folder, options.side, options.sources, options.bands)
        return
    if options.tool:
        function, workers = TOOLS[options.tool]
        print(json.dumps(function(options.folder, list(BANDS[: options.bands]), workers)))
        return
    with tempfile.TemporaryDirectory() as folder:
        # A process starts with the peak memory of the one that it comes from: this one stays small.
        size = ["--side", str(options.side), "--sources", str(options.sources), "--bands", str(options.bands)]
        subprocess.run([sys.executable, __file__, "--tool", "field", "--folder", folder, *size], check=True)
        print(f"{options.side} x {options.side} px, {options.sources} sources, {options.bands} band(s)")
        print(f"{'':40s} {'found':>6s} {'s':>7s} {'CPU s':>7s} {'ms/src':>7s} {'MB':>6s} {'MB more':>8s}  stages")
        for name in TOOLS:
            if options.only and not any(part in name for part in options.only):
                continue
            if name == "SExtractor" and not (shutil.which("source-extractor") or shutil.which("sex")):
                print(f"{name:40s} not installed")
                continue
            words = [sys.executable, __file__, "--tool", name, "--folder", folder, "--bands", str(options.bands)]
            run = subprocess.run(words, check=True, capture_output=True, text=True)
            print(_line(name, json.loads(run.stdout.splitlines()[-1])), flush=True)


def _line(name: str, found: dict) -> str:
    total = sum(found["seconds"].values())
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in found["seconds"].items())
    return (
        f"{name:40s} {found['sources']:6d} {total:7.1f} {found['cpu']:7.1f} {1e3 * total / found['sources']:7.2f} "
        f"{found['peak']:6.0f} {found['peak'] - found['before']:8.0f}  {stages}"
    )


if __name__ == "__main__":
    main()
