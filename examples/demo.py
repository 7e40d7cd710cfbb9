"""The demo: classify the bundled fields, and say where the products are.

Run by ``make demo``; by hand: ``python examples/demo.py --output demo``. The first field is real, a part of the Hubble
Deep Field South in one band; the second is simulated, in four bands, so that the truth is known.
"""

import argparse
from pathlib import Path

from morpheus_lite.config.classify import ClassifyOptions
from morpheus_lite.pipeline.classify import Products, classify_file

DATA = Path(__file__).parent / "data"
FIELDS = ("hdfs_f606w.fits.gz", "demo_field.fits")
READING = {"hdfs_f606w.fits.gz": {"bands": ["F606W"]}}


def show(field: str, products: Products) -> None:
    """Print what was made of one field."""
    height, width = products.shape
    seconds = sum(products.seconds.values())
    model = products.provenance["model"]
    print(f"\nClassified {field} ({height} x {width} px) with {model} in {seconds:.1f} s. Products:")
    for name, path in products.paths.items():
        print(f"  {name:<8} {path}")
    table = products.table
    column = next(name for name in table.colnames if name.startswith("segment_flux_"))
    print(f"The five brightest of {len(table)} sources in {column.removeprefix('segment_flux_')}:")
    for row in table[table[column].argsort()[::-1][:5]]:
        probability = row[f"p_{row['morphology']}"]
        print(
            f"  label {row['label']:>3}  ra {row['ra']:.5f}  dec {row['dec']:.5f}  flux {row[column]:.3f}  "
            f"{row['morphology'].replace('_', ' ')} (p = {probability:.2f})"
        )


def main() -> None:
    """Classify the fields and print what was made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo"), help="directory for the products")
    directory = parser.parse_args().output
    for field in FIELDS:
        options = ClassifyOptions(overwrite=True)
        show(field, classify_file(DATA / field, directory, options, read_options=READING.get(field)))


if __name__ == "__main__":
    main()
