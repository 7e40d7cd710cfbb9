"""Simulate the fields that the networks are trained, validated and tested on.

    python weights/make_fields.py train FOLDER --count 500
    python weights/make_fields.py valid FOLDER --count 24
    python weights/make_fields.py valid FOLDER --natural --skip 60000 --count 24     # to calibrate on
    python weights/make_fields.py test FOLDER --skip 10000 --count 60 --only hst

Each field follows from its seed alone. Training seeds are 0-99,999, validation 100,000-199,999 and test fields from
200,000 on, so no field is ever in two sets. About 70 % are the four HST bands at 0.06 arcsec (``hst_SEED.npz``); the
others are other cameras, bands and pixel scales (``any_SEED.npz``). Fields that exist are left alone: a run can be
stopped and taken up again.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from morpheus_lite.simulation import HST_BANDS, Field, Sky, simulate_field
from morpheus_lite.simulation.training_fields import training_sky

FIRST_SEED = {"train": 0, "valid": 100_000, "test": 200_000}

CAMERAS = (
    (("F435W", "F606W", "F775W", "F814W", "F850LP"), (0.03, 0.04, 0.05), 0.28),
    (("F606W", "F814W", "F850LP", "F105W", "F125W", "F140W", "F160W"), (0.04, 0.06), 0.22),
    (("F090W", "F115W", "F150W", "F200W", "F277W", "F356W", "F444W"), (0.03, 0.04), 0.30),
    (("VIS",), (0.1,), 0.06),
    (("LSST_G", "LSST_R", "LSST_I", "LSST_Z"), (0.2,), 0.14),
)
"""Filters, pixel scales (arcsec) and share of the fields that are not the four HST bands."""


def is_hst(seed: int) -> bool:
    """True if the field with this seed has the four HST bands."""
    return bool(np.random.default_rng([seed, 0]).uniform() < 0.7)


def file_name(seed: int) -> str:
    """Name of the field with this seed."""
    return f"{'hst' if is_hst(seed) else 'any'}_{seed:06d}.npz"


def make_field(seed: int, *, natural: bool, side: int) -> Field:
    """The field with this seed, with the real sky's counts and classes or with those of `training_sky`."""
    rng = np.random.default_rng([seed, 1])
    bands, scale = HST_BANDS, 0.06
    if not is_hst(seed):
        filters, scales, _ = CAMERAS[rng.choice(len(CAMERAS), p=[row[2] for row in CAMERAS])]
        count = int(rng.integers(1, min(len(filters), 4) + 1))
        chosen = np.sort(rng.choice(len(filters), count, replace=False))
        bands, scale = tuple(filters[index] for index in chosen), float(rng.choice(scales))
    matched = float(rng.choice([0.0, 1.0, rng.uniform()], p=[0.5, 0.3, 0.2]))
    sky = Sky() if natural else training_sky(rng, (side * scale / 60) ** 2)
    return simulate_field(seed, shape=(side, side), pixel_scale=scale, bands=bands, matched=matched, sky=sky)


def main() -> None:
    """Simulate the fields that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", choices=list(FIRST_SEED))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--skip", type=int, default=0, help="start this many seeds into the split's range")
    parser.add_argument("--side", type=int, default=512, help="pixels")
    parser.add_argument(
        "--natural", action="store_true", help="counts and classes of the real sky, as test fields have anyway"
    )
    parser.add_argument("--only", choices=("hst", "any"), default="", help="make just these")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    first = FIRST_SEED[options.split] + options.skip
    for seed in range(first, first + options.count):
        name = file_name(seed)
        if (options.folder / name).exists() or not name.startswith(options.only):
            continue
        start = time.perf_counter()
        field = make_field(seed, natural=options.natural or options.split == "test", side=options.side)
        field.save(options.folder / name)
        seconds = time.perf_counter() - start
        print(f"{name}: {len(field.sources)} sources, {'+'.join(field.bands)}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
