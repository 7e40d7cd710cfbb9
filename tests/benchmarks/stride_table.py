"""How larger strides compare with stride 1: agreement, difference and speed, as a table for a model's card.

    python tests/benchmarks/stride_table.py IMAGE [IMAGE ...] [--model NAME] [--strides 1,2,3] [--cutout Y,X,H,W]

Speed is counted in seconds of a core, which other programs on the machine disturb less than seconds on the clock.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np

import morpheus_lite as ml
from morpheus_lite.core.classes import BACKGROUND
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Window
from morpheus_lite.models.registry import Model, load_model
from morpheus_lite.pipeline.classify import classify


@dataclass(frozen=True)
class Row:
    """One stride against stride 1."""

    stride: int
    agreement: float
    source_agreement: float
    mean_difference: float
    largest_difference: float
    core_seconds: float


def main() -> None:
    """Measure and print one table per image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--model", default="hausen2020")
    parser.add_argument("--strides", type=numbers, default=(1, 2, 3, 4, 5, 6, 7, 9, 11, 15, 30))
    parser.add_argument("--cutout", type=numbers, help="only this part of each image: Y,X,HEIGHT,WIDTH")
    options = parser.parse_args()
    model = load_model(options.model)
    for path in options.images:
        image = ml.read_image(path).select(model.bands)
        if options.cutout:
            image = image.cutout(Window(*options.cutout))
        print(f"{image.name}, {image.shape[0]} x {image.shape[1]} px", flush=True)
        print_table(image, measure(image, model, options.strides))


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas."""
    return tuple(int(part) for part in text.split(","))


def measure(image: SkyImage, model: Model, strides: tuple[int, ...]) -> list[Row]:
    """Classify at each stride and compare with the first, which should be 1."""
    classify(image.cutout(Window(0, 0, model.window, model.window)), model)  # not to count the start
    reference, rows = None, []
    for stride in strides:
        start = time.process_time()
        result = classify(image, model, stride=stride)
        seconds = time.process_time() - start
        reference = reference or result
        rows.append(compare(reference, result, stride, seconds))
    return rows


def compare(reference: Classification, result: Classification, stride: int, seconds: float) -> Row:
    """One row of the table."""
    here = reference.classified & result.classified
    same = (reference.top_class == result.top_class)[here]
    source = (reference.top_class != BACKGROUND)[here]
    difference = np.abs(reference.probability - result.probability)[here]
    return Row(stride, same.mean(), same[source].mean(), difference.mean(), difference.max(), seconds)


def print_table(image: SkyImage, rows: list[Row]) -> None:
    """Markdown."""
    print("| stride | same top class | on source pixels | mean difference | largest | px per core-second | speed-up |")
    print("|---|---|---|---|---|---|---|")
    n_pixels = image.shape[0] * image.shape[1]
    for row in rows:
        print(
            f"| {row.stride} | {row.agreement:.2%} | {row.source_agreement:.2%} | {row.mean_difference:.4f} "
            f"| {row.largest_difference:.2f} | {n_pixels / row.core_seconds:,.0f} "
            f"| {rows[0].core_seconds / row.core_seconds:.1f} |"
        )


if __name__ == "__main__":
    main()
