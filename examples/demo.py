"""The demo: classify the bundled four-band field, and say where the products are.

Run by ``make demo``; by hand: ``python examples/demo.py --output demo``.
"""

import argparse
from pathlib import Path

from morpheus_lite.cli.console import start_network
from morpheus_lite.options import ClassifyOptions
from morpheus_lite.pipeline import classify_file

FIELD = Path(__file__).parent / "data" / "demo_field.fits"


def main() -> None:
    """Classify the field and print what was made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo"), help="directory for the products")
    directory = parser.parse_args().output
    start_network()
    products = classify_file(FIELD, directory, ClassifyOptions(overwrite=True))
    print(
        f"Classified {FIELD.name} ({products.shape[0]} x {products.shape[1]} px) in "
        f"{sum(products.seconds.values()):.1f} s. Products:"
    )
    for name, path in products.paths.items():
        print(f"  {name:<8} {path}")
    table = products.table
    flux = table["segment_flux_F160W"]
    print(f"\nThe five brightest of {len(table)} sources in F160W:")
    for row in table[flux.argsort()[::-1][:5]]:
        probability = row[f"p_{row['morphology']}"]
        print(
            f"  label {row['label']:>3}  ra {row['ra']:.5f}  dec {row['dec']:.5f}  "
            f"flux {row['segment_flux_F160W']:.3f}  {row['morphology'].replace('_', ' ')} (p = {probability:.2f})"
        )


if __name__ == "__main__":
    main()
