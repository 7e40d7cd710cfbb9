"""Total magnitudes against truth in simulated fields, with the network's own sources: bias, pulls, blends, stars.

    python tests/benchmarks/total_fluxes.py --seeds 7101 7102 7103 7104 7105 7106

Fields of 512 x 512 px of GOODS-S depth (F160W, F125W, F606W, F850LP; model ``hst``), or with ``--nircam`` those of
NIRCam (F115W, F150W, F277W, F444W; model ``any``). Sources are matched one to one within 5 px; those that the edge of
the field cuts, whose light is not all there, have lines of their own. A field takes some 10 core-s.
"""

import argparse
import itertools
from dataclasses import replace
from typing import Any

import numpy as np

import morpheus_lite as ml
from morpheus_lite.evaluation.metrics import match_positions
from morpheus_lite.simulation.field import simulate_field
from morpheus_lite.simulation.observation import observe, plain_conditions
from morpheus_lite.simulation.products import field_wcs

HST = ("F160W", "F125W", "F606W", "F850LP")
NIRCAM = ("F115W", "F150W", "F277W", "F444W")
NANOJANSKY = 31.4
EDGES = (16, 23, 24, 25, 26, 27)
MIXED = int(ml.SourceFlag.BLENDED | ml.SourceFlag.DEBLEND_CHILD)


def measured(seed: int, model: Any, bands: tuple[str, ...], scale: float, band: str | None) -> list[np.ndarray]:
    """True rows and measured columns of the matched sources of one field."""
    field = simulate_field(seed, shape=(512, 512), pixel_scale=scale, bands=bands)
    seen = observe(field, plain_conditions(field), np.random.default_rng([seed, 2]))
    image = replace(seen.image, wcs=field_wcs(field.shape, scale))
    maps = ml.classify(image, model)
    labels = ml.deblend(ml.segment(maps), image)
    table = ml.measure(labels, image, maps, band=band, options=ml.MeasureOptions(structure=False))
    true = field.sources[np.isin(field.sources["id"], np.unique(seen.labels))]
    found = np.column_stack([table[f"{axis}_centroid"].value for axis in "xy"])
    row, mine, _ = match_positions(np.column_stack([true["x"], true["y"]]), found, 5.0)
    columns = [np.asarray(table[f"total_{kind}_{name}"])[mine] for kind in ("flux", "fluxerr") for name in bands]
    return [true["flux"][row].T, true["kind"][row] == 3, np.asarray(table["flags"])[mine], np.array(columns)]


def line(name: str, true: np.ndarray, flux: np.ndarray, error: np.ndarray) -> None:
    """Print number, median error in mag, and median and width of the pulls."""
    known = np.isfinite(flux) & (flux > 0)
    if known.sum() < 4:
        return
    true, flux, error = true[known], flux[known], error[known]
    low, middle, high = np.percentile((flux - true) / error, [16, 50, 84])
    bias = np.median(-2.5 * np.log10(flux / true))
    print(f"{name:28s} {known.sum():4d} {bias:+.3f} mag, pull {middle:+.2f}, {(high - low) / 2:.2f} wide", flush=True)


def main() -> None:
    """Print a table for each band."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7101, 7102])
    parser.add_argument("--nircam", action="store_true")
    parser.add_argument("--band", help="detection band; all by default")
    chosen = parser.parse_args()
    bands, scale = (NIRCAM, 0.03) if chosen.nircam else (HST, 0.06)
    model = ml.load_model("any" if chosen.nircam else "hst")
    fields = [measured(seed, model, bands, scale, chosen.band) for seed in chosen.seeds]
    true, star, flags, columns = (np.concatenate(parts, axis=-1) for parts in zip(*fields, strict=True))
    magnitude = NANOJANSKY - 2.5 * np.log10(true[0])
    whole, mixed = (flags & int(ml.SourceFlag.EDGE)) == 0, (flags & MIXED) > 0
    kinds = {
        "isolated galaxies": (flags == 0) & ~star,
        "isolated stars": (flags == 0) & star,
        "blended": mixed & whole,
        "crowded": ((flags & int(ml.SourceFlag.CROWDED)) > 0) & ~mixed & whole,
        "cut by the edge": ~whole,
    }
    for k, band in enumerate(bands):
        print(f"{band}, by magnitude in {bands[0]}")
        for name, rows in kinds.items():
            for low, high in itertools.pairwise(EDGES):
                here = rows & (magnitude >= low) & (magnitude < high)
                line(f"{name} {low}-{high}", true[k][here], columns[k][here], columns[len(bands) + k][here])


if __name__ == "__main__":
    main()
