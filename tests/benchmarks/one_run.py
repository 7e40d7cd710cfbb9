"""One table of one run on one machine: this package, an earlier commit of it, SExtractor, sep and photutils.

    python tests/benchmarks/one_run.py [--side 2048] [--commit a042b32] [--only NAME ...]

Every tool works on the same field of four bands (`fields.write_field`), from the FITS file to its products, in
processes of its own: `morpheus classify` with all default products (maps, catalogue, picture), SExtractor on each band
(catalogue and segmentation map), sep and photutils on each band with one segmentation (positions, shapes, Kron and
aperture fluxes, half-light radii). The commit runs in a worktree of its own on the packages that are installed, and
needs TensorFlow if it is one from before 0.2.0. Core-seconds do not depend on what else the machine does, apart from
its caches; the load is printed. The last column is core-seconds per megapixel over those of 10^12 operations of a
float32 matrix product.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.table import Table

ROOT = Path(__file__).resolve().parents[2]
N_BANDS = 4
LEVEL = 2.0
"""Detection threshold of the other tools on the smoothed light, in units of the noise of a pixel."""
RADII = (4.17, 8.33, 16.67)
"""Of the apertures in pixels: those of the package for pixels of 0.06 arcsec."""
_COMMAND = "import sys; sys.path.insert(0, {!r}); from morpheus_lite.cli import main; sys.exit(main(sys.argv[1:]))"


class Cost(NamedTuple):
    """What a command took, with all of its processes."""

    core: float
    clock: float
    peak: float


def measured(command: list[str], **options: object) -> Cost:
    """Run a command and measure it."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:3])} ... ended with {process.returncode}")
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - start, used.ru_maxrss / 1024)


def classify(package: Path, field: Path, folder: Path) -> tuple[int, Cost]:
    """`morpheus classify` of the package in a folder."""
    output = folder / f"{package.name}_products"
    # As an installed package is.
    subprocess.run([sys.executable, "-m", "compileall", "-q", package / "morpheus_lite"], check=True)
    words = ["classify", str(field), "-o", str(output), "--model", "hst", "--memory", "2GB", "--overwrite"]
    cost = measured([sys.executable, "-c", _COMMAND.format(str(package)), *words], cwd=folder)
    return len(Table.read(next(output.glob("*_catalog.ecsv")))), cost


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """A worktree of a commit, with its weights where the installed package has them."""
    tree = folder / commit
    subprocess.run(["git", "-C", ROOT, "worktree", "add", "--quiet", "--detach", tree, commit], check=True)
    try:
        (tree / "morpheus_lite" / "_weights").symlink_to(tree / "weights")
        yield tree
    finally:
        subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=True)


def sextractor(field: Path, folder: Path) -> tuple[int, Cost]:
    """SExtractor on each band."""
    program = shutil.which("source-extractor") or shutil.which("sex")
    assert program is not None
    names = "NUMBER X_IMAGE Y_IMAGE A_IMAGE B_IMAGE THETA_IMAGE FLUX_ISO FLUX_AUTO FLUXERR_AUTO FLUX_APER(3)"
    names += " FLUXERR_APER(3) FLUX_RADIUS KRON_RADIUS XWIN_IMAGE YWIN_IMAGE FLAGS"
    (folder / "columns.param").write_text(names.replace(" ", "\n") + "\n")
    (folder / "filter.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    (folder / "empty.sex").write_text("")
    options = {
        "CATALOG_NAME": "sextractor.fits",
        "CATALOG_TYPE": "FITS_1.0",
        "PARAMETERS_NAME": "columns.param",
        "FILTER_NAME": "filter.conv",
        "DETECT_THRESH": LEVEL,
        "DETECT_MINAREA": 5,
        "PHOT_APERTURES": ",".join(str(2 * radius) for radius in RADII),
        "CHECKIMAGE_TYPE": "SEGMENTATION",
        "CHECKIMAGE_NAME": "segments.fits",
        "VERBOSE_TYPE": "QUIET",
    }
    words = [str(word) for name, value in options.items() for word in (f"-{name}", value)]
    costs = [measured([program, f"{field}[{k + 1}]", "-c", "empty.sex", *words], cwd=folder) for k in range(N_BANDS)]
    core, clock, peak = zip(*costs, strict=True)
    return len(fits.getdata(folder / "sextractor.fits")), Cost(sum(core), sum(clock), max(peak))


def sep(field: Path) -> int:
    """Measure each band with sep; the number of sources."""
    import sep as library

    planes = [fits.getdata(field, k + 1).astype(np.float32) for k in range(N_BANDS)]
    levels = [library.Background(plane) for plane in planes]
    found, segments = library.extract(
        planes[0] - levels[0], LEVEL, err=levels[0].globalrms, minarea=5, filter_type="conv", segmentation_map=True
    )
    x, y, a, b, theta = (found[name] for name in ("x", "y", "a", "b", "theta"))
    a, b = np.maximum(a, 0.5), np.maximum(b, 0.5)
    names = np.arange(1, len(found) + 1)
    for plane, level in zip(planes, levels, strict=True):
        light = plane - level
        own = {"segmap": segments, "seg_id": names}
        radius = np.clip(np.nan_to_num(library.kron_radius(light, x, y, a, b, theta, 6.0, **own)[0]), 1.4, 10)
        flux, _, _ = library.sum_ellipse(light, x, y, a, b, theta, 2.5 * radius, err=level.globalrms, subpix=0, **own)
        for aperture in RADII:
            library.sum_circle(light, x, y, aperture, err=level.globalrms, subpix=0, **own)
        half, _ = library.flux_radius(light, x, y, 6 * a, 0.5, normflux=flux, subpix=5, **own)
        library.winpos(light, x, y, np.maximum(half / 1.1774, 1))
    return len(found)


def photutils(field: Path) -> int:
    """Measure each band with photutils; the number of sources."""
    from astropy.convolution import convolve
    from photutils.background import Background2D
    from photutils.segmentation import SourceCatalog, SourceFinder, make_2dgaussian_kernel

    planes = [fits.getdata(field, k + 1).astype(float) for k in range(N_BANDS)]
    levels = [Background2D(plane, 64) for plane in planes]
    kernel = make_2dgaussian_kernel(3.0, size=5)
    smooth = convolve(planes[0] - levels[0].background, kernel)
    segments = SourceFinder(5, progress_bar=False)(smooth, LEVEL * levels[0].background_rms_median)
    for plane, level in zip(planes, levels, strict=True):
        error = np.broadcast_to(level.background_rms_median, plane.shape)
        catalog = SourceCatalog(plane - level.background, segments, convolved_data=smooth, error=error)
        catalog.to_table()
        catalog.flux_radius(0.5)
        for radius in RADII:
            catalog.circular_photometry(radius)
    return segments.n_labels


LIBRARIES = {"sep": sep, "photutils": photutils}


def main() -> None:
    """Make the field, run every tool, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--commit", default="a042b32", help="earlier commit; empty for none")
    parser.add_argument("--only", nargs="*", help="parts of the names of what is to run")
    parser.add_argument("--library", choices=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--field", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.library:
        options.field.with_name(options.library).write_text(str(LIBRARIES[options.library](options.field)))
        return
    with tempfile.TemporaryDirectory() as name:
        _run(Path(name), options)


def _run(folder: Path, options: argparse.Namespace) -> None:
    field = folder / "field.fits"
    stages = [sys.executable, str(Path(__file__).with_name("stage_table.py"))]
    make = (
        f"from pathlib import Path; from fields import write_field; write_field(Path({str(field)!r}), {options.side})"
    )
    subprocess.run([sys.executable, "-c", make], check=True, cwd=Path(__file__).parent)
    load = os.getloadavg()[0]
    print(f"{options.side} x {options.side} px, {N_BANDS} bands, {time.strftime('%Y-%m-%d')}, load {load:.1f}\n")
    unit = float(subprocess.run([*stages, "--unit"], check=True, capture_output=True, text=True).stdout)
    print("| | sources | core-seconds | seconds | peak (MB) | core-seconds per megapixel | over a matrix product |")
    print("|---|---|---|---|---|---|---|")
    megapixels = options.side**2 / 1e6
    for name, (n_sources, cost) in _tools(field, folder, options):
        rate = cost.core / megapixels
        values = f"{cost.core:.1f} | {cost.clock:.1f} | {cost.peak:,.0f} | {rate:.3f} | {rate / unit:.3f}"
        print(f"| {name} | {n_sources} | {values} |", flush=True)
    print(f"\n10^12 operations of a matrix product: {unit:.2f} core-seconds. Stages of morpheus_lite:\n", flush=True)
    if _wanted("stages", options):
        subprocess.run([*stages, "--image", str(field), "--model", "hst", "--directory", str(folder)], check=True)


def _tools(field: Path, folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, tuple[int, Cost]]]:
    if _wanted("morpheus_lite", options):
        yield "morpheus_lite", classify(ROOT, field, folder)
    if options.commit and _wanted(options.commit, options):
        with checked_out(options.commit, folder) as tree:
            yield f"morpheus_lite, {options.commit}", classify(tree, field, folder)
    if _wanted("SExtractor", options) and (shutil.which("source-extractor") or shutil.which("sex")):
        yield "SExtractor, four runs", sextractor(field, folder)
    for library in LIBRARIES:
        if _wanted(library, options):
            cost = measured([sys.executable, __file__, "--library", library, "--field", str(field)])
            yield f"{library}, four bands", (int((folder / library).read_text()), cost)


def _wanted(name: str, options: argparse.Namespace) -> bool:
    return not options.only or any(part in name for part in options.only)


if __name__ == "__main__":
    main()
