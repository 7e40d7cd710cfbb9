"""Correct the classes of the bundled field with trails as a person would at the report page.

    morpheus classify examples/data/trailed_field.fits --model hst --products maps,catalog,report -o before
    python examples/correct_trailed_field.py before
    morpheus train -o corrected --corrections before/trailed_field_corrections.json examples/data/trailed_field.fits
    morpheus classify examples/data/trailed_field.fits --model corrected -o after

In place of the person this looks into ``trailed_truth.fits``: every source that lies mostly on one brighter than H = 26
gets its class (or is confirmed), one that is not there is marked as false, and all others are left as they are.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import Table

import morpheus_lite as ml
from morpheus_lite.io import write_corrections
from morpheus_lite.io.corrections import NO_SOURCE, Correction
from morpheus_lite.io.source_tables import read_labels

DATA = Path(__file__).parent / "data"
FAINTEST = 26.0
"""H magnitude of the faintest source whose class a person would tell."""


def answers(labels: np.ndarray) -> list[Correction]:
    """What the truth says of the sources of a label map."""
    truth = Table.read(DATA / "trailed_truth.fits")
    owner = read_labels(f"{DATA / 'trailed_truth.fits'}[LABELS]")
    rows = {int(number): row for number, row in zip(truth["id"], truth, strict=True)}
    found = []
    for label in np.unique(labels[labels > 0]).tolist():
        number, count = np.unique(owner[labels == label], return_counts=True)
        row = rows.get(int(number[count.argmax()]))
        if row is None:
            found.append(Correction((label,), NO_SOURCE))
        elif row["h_mag"] < FAINTEST:
            found.append(Correction((label,), str(row["class"])))
    return found


def main() -> None:
    """Write the corrections beside the products."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("products", type=Path, help="directory of the products")
    folder = parser.parse_args().products
    labels = read_labels(str(folder / "trailed_field_morpheus.fits"))
    found = answers(labels)
    image = ml.read_image(DATA / "trailed_field.fits")
    path = folder / "trailed_field_corrections.json"
    write_corrections(found, image, labels, path, model="hst", overwrite=True)
    before = ml.read_catalog(folder / "trailed_field_catalog.ecsv")
    said = {one.labels[0]: one.morphology for one in found}
    right = sum(said.get(int(row["label"])) == str(row["morphology"]) for row in before)
    print(f"wrote {path}: {len(found)} of {len(before)} sources, {right} confirmed and {len(found) - right} corrected")


if __name__ == "__main__":
    main()
