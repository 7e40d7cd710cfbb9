"""What surveys cost, from the rates of this machine: core-hours, memory, disk.

    python tests/benchmarks/survey_costs.py --field field_11.fits    # one image, such as `morpheus simulate` makes

Classifies the image with one core, and prints a table in Markdown for the page on surveys. The cost of the sources is
counted apart from that of the pixels, because surveys differ in it.
"""

import argparse
import resource
import tempfile
from pathlib import Path

from morpheus_lite import ClassifyOptions, classify_file
from morpheus_lite.io import open_image

SQUARE_DEGREE = 3600**2

SURVEYS = {
    "25,000 x 25,000 px mosaic": (1, 25_000**2),
    "10,000 tiles of 4,096 x 4,096 px": (10_000, 4096**2),
    '20,000 square degrees at 0.2"/px': (20_000 * SQUARE_DEGREE / 0.2**2 / 4096**2, 4096**2),
}
"""Name to number of tiles, and pixels of each."""


def measure(field, model, place):
    """Seconds a pixel, seconds a source, bytes of products a pixel and a source, sources a pixel, peak memory."""
    options = ClassifyOptions(model=model, products=("maps", "catalog"), catalog_format="parquet")
    with open_image(field) as source:
        n_pixels, n_bands = source.shape[0] * source.shape[1], source.n_bands
    products = classify_file(field, place, options, workers=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    small = classify_file(
        field, place / "small", ClassifyOptions(model=model, products=("maps",), compress=True), workers=1
    )
    n_sources = len(products.table)
    spent = products.seconds
    return {
        "bands": n_bands,
        "pixels": n_pixels,
        "sources": n_sources,
        "pixel": (spent["reading"] + spent["network"] + spent["writing"] + spent.get("checking", 0)) / n_pixels,
        "source": spent["catalog"] / n_sources,
        "maps": products.paths["maps"].stat().st_size / n_pixels,
        "small": small.paths["maps"].stat().st_size / n_pixels,
        "row": products.paths["catalog"].stat().st_size / n_sources,
        "memory": peak,
    }


def main():
    """Take the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--field", type=Path, required=True)
    parser.add_argument("--model", default="hst")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = measure(chosen.field, chosen.model, Path(place))
    share = found["sources"] / found["pixels"]
    print(f"{chosen.model}, {found['bands']} bands, {found['pixels'] / 1e6:.1f} megapixels, {found['sources']} sources")
    print(f"  one core: {1e-6 / found['pixel']:.3f} megapixels a second, {found['source'] * 1e3:.1f} ms a source")
    print(
        f"  products: {found['maps']:.0f} bytes a pixel, compressed {found['small']:.1f}; {found['row']:.0f} a source"
    )
    print(f"  peak memory: {found['memory'] / 1e9:.2f} GB;  one source in {1 / share:,.0f} pixels\n")
    print("| survey | pixels | core-hours, pixels | core-hours, sources | maps (compressed) | catalogue |")
    print("|---|---|---|---|---|---|")
    for name, (n_tiles, n_pixels) in SURVEYS.items():
        pixels = n_tiles * n_pixels
        sources = pixels * share
        print(
            f"| {name} | {pixels:.3g} | {pixels * found['pixel'] / 3600:,.1f} | "
            f"{sources * found['source'] / 3600:,.1f} | {pixels * found['maps'] / 1e12:,.3g} TB "
            f"({pixels * found['small'] / 1e12:,.3g} TB) | {sources * found['row'] / 1e9:,.3g} GB |"
        )


if __name__ == "__main__":
    main()
