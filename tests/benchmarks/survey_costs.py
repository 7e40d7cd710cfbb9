"""What surveys cost, from the rates of this machine: core-hours, memory, disk, and what storage has to deliver.

    python tests/benchmarks/survey_costs.py                                 # simulates 3,072 x 3,072 px (needs GalSim)
    python tests/benchmarks/survey_costs.py --page docs/how_to/planning.md         # and puts the tables on the page

Classifies one image with one core, and prints tables in Markdown. Seconds are those of the processor, so that they
hold on a machine that does other things as well, or nearly so: caches are shared. The cost of the sources is counted
apart from that of the pixels, because surveys differ in it.
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path

from astropy.io import fits
from survey_runs import fill_page

from morpheus_lite import ClassifyOptions, classify_file, load_model
from morpheus_lite.io import open_image
from morpheus_lite.survey.statistics import peak_memory

SQUARE_DEGREE = 3600**2
SIDE = 4096

SURVEYS = {
    "one mosaic of 25,000 x 25,000 px": 25_000**2,
    "10,000 tiles of 4,096 x 4,096 px": 10_000 * SIDE**2,
    '20,000 square degrees at 0.2"/px': 20_000 * SQUARE_DEGREE / 0.2**2,
}
"""Name to number of pixels."""

CORES = (16, 1000)
READS = 3
"""How often a tile is read: for its checksum, for its noise, for the network."""


def measure(field, model_name, place):
    """Core-seconds per pixel and per source, bytes of input and products, and the largest memory."""
    model = load_model(model_name)
    maps = ClassifyOptions(model=model_name, products=("maps",), compress=True)
    # The first run also compiles the network, which is done once per worker.
    small = classify_file(field, place / "small", maps, model=model, workers=1)
    options = ClassifyOptions(model=model_name, products=("maps", "catalog"), catalog_format="parquet")
    start, busy = time.perf_counter(), time.process_time()
    products = classify_file(field, place, options, model=model, workers=1)
    share = (time.process_time() - busy) / (time.perf_counter() - start)
    with open_image(field) as source:
        n_pixels, n_bands = source.shape[0] * source.shape[1], source.n_bands
    n_sources = len(products.table)
    return {
        "bands": n_bands,
        "pixels": n_pixels,
        "sources": n_sources,
        "pixel": sum(took for stage, took in products.seconds.items() if stage != "catalog") * share / n_pixels,
        "source": products.seconds["catalog"] * share / n_sources,
        "maps": products.paths["maps"].stat().st_size / n_pixels,
        "small": small.paths["maps"].stat().st_size / n_pixels,
        "row": products.paths["catalog"].stat().st_size / n_sources,
        "memory": peak_memory(),
        "share": share,
    }


def rates(found, model, condition):
    """The table of what was measured."""
    return [
        f"Model `{model}`, {found['bands']} bands, {found['pixels'] / 1e6:.1f} megapixels with {found['sources']:,} "
        f"sources, on one core ({platform.machine()}{', ' + condition if condition else ''}):",
        "",
        "| | |",
        "|---|---|",
        f"| class maps | {1e-6 / found['pixel']:.2f} megapixels per second |",
        f"| sources found, split and measured | {1 / found['source']:.0f} per second |",
        f"| memory of a worker | {found['memory'] / 1e9:.1f} GB |",
        f"| input (32-bit, uncompressed) | {4 * found['bands']} bytes per pixel |",
        f"| class maps, compressed | {found['maps']:.0f} bytes per pixel, {found['small']:.1f} |",
        f"| catalogue | {found['row']:.0f} bytes per source |",
    ]


def costs(found):
    """The table of surveys."""
    lines = [
        "| survey | core-hours: maps | sources | on 16 cores | on 1,000 | input | maps (compressed) | catalogue |",
        "|---" * 8 + "|",
    ]
    for name, pixels in SURVEYS.items():
        sources = pixels * found["sources"] / found["pixels"]
        hours = pixels * found["pixel"] / 3600, sources * found["source"] / 3600
        few, many = (duration(sum(hours) / cores) for cores in CORES)
        maps, small = size(pixels * found["maps"]), size(pixels * found["small"])
        lines.append(
            f"| {name} | {significant(hours[0])} | {significant(hours[1])} | {few} | {many} "
            f"| {size(pixels * 4 * found['bands'])} | {maps} ({small}) | {size(sources * found['row'])} |"
        )
    return lines


def duration(hours):
    """Hours for people: ``4 min``, ``17 h``, ``28 days``."""
    if hours < 1.5:
        return f"{hours * 60:.0f} min" if hours > 1 / 60 else f"{hours * 3600:.0f} s"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:,.0f} days"


def size(n_bytes):
    """Bytes for people: ``190 MB``, ``18 GB``, ``104 TB``."""
    unit, one = next(((unit, one) for unit, one in (("TB", 1e12), ("GB", 1e9)) if n_bytes >= one), ("MB", 1e6))
    return f"{significant(n_bytes / one)} {unit}"


def significant(number):
    """A number with two digits, or all before the point."""
    return f"{number:.2g}" if number < 10 else f"{number:,.0f}"


def demands(found):
    """What a tile of `SIDE` pixels and one core ask of the rest."""
    tile = SIDE**2 * (found["pixel"] + found["source"] * found["sources"] / found["pixels"])
    read = READS * SIDE**2 * 4 * found["bands"] / tile
    written = SIDE**2 * found["maps"] / tile
    return [
        f"A tile of {SIDE:,} x {SIDE:,} px keeps a core at work for {tile:.0f} s. In that time it is read {READS} "
        f"times (checksum, noise, network): {read / 1e6:.1f} MB/s per core, {read / 1e6:.1f} GB/s for 1,000 cores, and "
        f"{written / 1e6:.1f} GB/s of class maps are written by 1,000 cores unless they are compressed or left out. "
        f"1,000 cores finish {1000 / tile:.1f} such tiles per second.",
    ]


def main():
    """Take the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--field", type=Path, help="an image, instead of simulating one")
    parser.add_argument("--size", type=int, default=3072)
    parser.add_argument("--model", default="hst")
    parser.add_argument("--condition", default="", help="what to say of the machine, such as 'busy with other work'")
    parser.add_argument("--page", type=Path, help="page whose tables are replaced")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="costs-") as folder:
        field = chosen.field
        if field is None:
            from morpheus_lite.simulation import simulate

            field = Path(simulate(folder, seed=11, shape=(chosen.size, chosen.size))[0])
            # Its planes of noise are compressed by rows, of which each section that is read unpacks some.
            with fits.open(field) as hdus:
                plain = [hdus[0], *(fits.ImageHDU(hdu.data, hdu.header, name=hdu.name) for hdu in hdus[1:])]
                fits.HDUList(plain).writeto(field.with_name("plain.fits"))
            field = field.with_name("plain.fits")
        found = measure(field, chosen.model, Path(folder))
    parts = {"rates": rates(found, chosen.model, chosen.condition), "costs": costs(found), "demands": demands(found)}
    for name, lines in parts.items():
        print("\n".join(lines), end="\n\n")
        if chosen.page:
            fill_page(chosen.page, name, lines)
    print(f"the processor was at work for {found['share']:.0%} of the time that the run took")


if __name__ == "__main__":
    main()
