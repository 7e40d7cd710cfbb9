"""Total magnitudes against truth in simulated fields, with the network's own sources: bias, pulls, blends, stars.

    python tests/benchmarks/total_fluxes.py --seeds 7101 7102 7103 7104 7105 7106
    python tests/benchmarks/total_fluxes.py --seeds 400010 400011 400012 --second
    python tests/benchmarks/total_fluxes.py --seeds 420050 420051 420052 --third

Fields of 512 x 512 px of GOODS-S depth (F160W, F125W, F606W, F850LP; model ``hst``), with ``--nircam`` those of NIRCam
(F115W, F150W, F277W, F444W; ``any``), with ``--third`` those of ``weights/recipes/third_simulator.py`` (four bands;
``hst``), or with ``--second`` those of ``second_simulator.py`` (model ``any``), of which the first band alone is shown,
whatever filter it is. Sources are matched one to one within 5 px; those that the edge of the field cuts, whose light is
not all there, have lines of their own. A field takes 3 to 10 core-s.
"""

import argparse
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from fields import recipe_field

import morpheus_lite as ml
from morpheus_lite.evaluation.metrics import match_positions
from morpheus_lite.simulation.field import Field, simulate_field
from morpheus_lite.simulation.observation import observe, plain_conditions
from morpheus_lite.simulation.products import field_wcs

HST = ("F160W", "F125W", "F606W", "F850LP")
NIRCAM = ("F115W", "F150W", "F277W", "F444W")
NANOJANSKY = 31.4
EDGES = (16, 23, 24, 25, 26, 27)
MIXED = int(ml.SourceFlag.BLENDED | ml.SourceFlag.DEBLEND_CHILD)


def measured(field: Field, model: Any, n_bands: int, band: str | None, rng: np.random.Generator) -> list[np.ndarray]:
    """True fluxes, kinds, and measured flags and columns of the matched sources of one field, in its first bands."""
    seen = observe(field, plain_conditions(field), rng)
    image = replace(seen.image, wcs=field_wcs(field.shape, field.pixel_scale))
    maps = ml.classify(image, model)
    labels = ml.deblend(ml.segment(maps), image)
    table = ml.measure(labels, image, maps, band=band, options=ml.MeasureOptions(structure=False))
    true = field.sources[np.isin(field.sources["id"], np.unique(seen.labels))]
    found = np.column_stack([table[f"{axis}_centroid"].value for axis in "xy"])
    row, mine, _ = match_positions(np.column_stack([true["x"], true["y"]]), found, 5.0)
    names = [f"total_{kind}_{name}" for kind in ("flux", "fluxerr") for name in field.bands[:n_bands]]
    columns = [np.asarray(table[name])[mine] for name in names]
    return [true["flux"][row].T[:n_bands], true["kind"][row] == 3, np.asarray(table["flags"])[mine], np.array(columns)]


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
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--nircam", action="store_true")
    which.add_argument("--second", action="store_const", dest="simulator", const="second")
    which.add_argument("--third", action="store_const", dest="simulator", const="third")
    parser.add_argument("--band", help="detection band; all by default")
    chosen = parser.parse_args()
    bands, scale = (NIRCAM, 0.03) if chosen.nircam else (HST, 0.06)
    second = chosen.simulator == "second"
    bands = ("first band",) if second else bands
    model = ml.load_model("any" if chosen.nircam or second else "hst")
    fields = []
    for seed in chosen.seeds:
        if chosen.simulator:
            field = recipe_field(chosen.simulator, seed)
        else:
            field = simulate_field(seed, shape=(512, 512), pixel_scale=scale, bands=bands)
        rng = np.random.default_rng([seed, 3 if chosen.simulator else 2])
        fields.append(measured(field, model, len(bands), chosen.band, rng))
    true, star, flags, columns = (np.concatenate(parts, axis=-1) for parts in zip(*fields, strict=True))
    magnitude = NANOJANSKY - 2.5 * np.log10(true[0])
    whole, mixed = (flags & int(ml.SourceFlag.EDGE)) == 0, (flags & MIXED) > 0
    kinds = {
        "flags 0": flags == 0,
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
