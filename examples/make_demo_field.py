"""Make the bundled demo field: ``demo_field.fits`` and ``demo_truth.fits``.

    python examples/make_demo_field.py examples/data

A simulated piece of sky, 256 x 256 pixels of 0.06 arcsec in the four HST bands F160W, F125W, F606W and F850LP, in
electrons/s with the noise of the deep part of GOODS-S: a bright spiral, a star with spikes, spheroids, disks and
irregular galaxies down to H = 27.5. Everything follows from the seed. It needs the extra ``simulation`` (GalSim).
"""

import argparse
from pathlib import Path

import numpy as np

from morpheus_lite.simulation import HST_BANDS, Conditions, Field, Sky, observe, simulate_field
from morpheus_lite.simulation.products import write_field
from morpheus_lite.simulation.rendering import ZERO_POINT

SEED = 301_357
"""Beyond the seeds of training, validation and test fields."""

ZERO_POINTS = (25.946, 26.230, 26.505, 24.867)
"""AB magnitude of 1 electron/s in F160W, F125W, F606W, F850LP (XDF release)."""

NOISE = (0.0097, 0.0097, 0.0050, 0.0022)
"""Standard deviation of blank pixels in GOODS-S deep at 0.06 arcsec, electrons/s."""

CORRELATION = 0.45
"""Sigma in pixels of the smoothing that stands for drizzling."""


def demo_field(seed: int = SEED) -> Field:
    """The noise-free field."""
    sky = Sky(density_boost=1.8, balance=0.4, spirals=1, stars=1)
    return simulate_field(seed, shape=(256, 256), bands=HST_BANDS, sky=sky)


def demo_conditions() -> Conditions:
    """GOODS-S deep noise on correlated pixels, nothing else."""
    in_njy = 10 ** (0.4 * (ZERO_POINT - np.array(ZERO_POINTS))) * np.array(NOISE)
    nothing = (0.0,) * len(NOISE)
    return Conditions(sigma=tuple(in_njy), correlation=(CORRELATION,) * len(NOISE), offset=nothing, unevenness=nothing)


def main() -> None:
    """Simulate and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    field = demo_field()
    observation = observe(field, demo_conditions(), np.random.default_rng([SEED, 2]))
    image, truth = write_field(
        field, observation, options.folder, name="demo_field", zero_points=ZERO_POINTS, overwrite=True
    )
    truth.replace(truth.with_name("demo_truth.fits"))
    print(f"wrote {image} ({image.stat().st_size / 1e6:.1f} MB) and {truth.with_name('demo_truth.fits')}")


if __name__ == "__main__":
    main()
