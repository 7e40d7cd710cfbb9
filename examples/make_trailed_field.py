"""Make the bundled field with trails: ``trailed_field.fits`` and ``trailed_truth.fits``.

    python examples/make_trailed_field.py examples/data

A simulated piece of sky with many stars, 512 x 512 pixels of 0.06 arcsec in the four HST bands F160W, F125W, F606W and
F850LP, from a telescope that slipped by 6 pixels while it exposed: every star is a short line, as no network was ever
shown, and half of the classes are wrong. It is what ``examples/correct_trailed_field.py`` corrects. The image is
compressed (steps of a quarter of the noise). Everything follows from the seed. It needs the extra ``simulation``
(GalSim).
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from scipy import ndimage

from morpheus_lite.simulation import HST_BANDS, Sky, observe, plain_conditions, simulate_field
from morpheus_lite.simulation.products import write_field

SEED = 301_531
"""Beyond the seeds of training, validation and test fields."""

LENGTH, ANGLE = 6.0, 30.0
"""Of the trails: pixels, and degrees from the rows."""

QUANTIZE = 4.0
"""Steps of the compressed pixels in one standard deviation of the noise."""


def trail(length: float, angle: float) -> np.ndarray:
    """Kernel of a straight trail: float32, shape ``(15, 15)``, its sum is 1."""
    kernel = np.zeros((15, 15), np.float32)
    for step in np.linspace(-length / 2, length / 2, 41):
        x, y = 7 + step * np.cos(np.deg2rad(angle)), 7 + step * np.sin(np.deg2rad(angle))
        row, column = int(y), int(x)
        down, right = y - row, x - column
        kernel[row : row + 2, column : column + 2] += np.outer((1 - down, down), (1 - right, right))
    return kernel / kernel.sum()


def compress(path: Path) -> None:
    """Compress the images of a file, and leave out the planes of noise, which is the same everywhere."""
    with fits.open(path) as hdus:
        packed = [hdus[0].copy()] + [
            fits.CompImageHDU(hdu.data, hdu.header, hdu.name, compression_type="RICE_1", quantize_level=QUANTIZE)
            for hdu in hdus[1:]
            if not hdu.name.endswith("_RMS")
        ]
    fits.HDUList(packed).writeto(path, overwrite=True)


def main() -> None:
    """Simulate and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    sky = Sky(density_boost=4.0, balance=1.0, limit=27.0, stars=25)
    field = simulate_field(SEED, shape=(512, 512), bands=HST_BANDS, sky=sky)
    planes = [ndimage.convolve(plane, trail(LENGTH, ANGLE), mode="constant") for plane in np.moveaxis(field.flux, 2, 0)]
    field = replace(field, flux=np.stack(planes, axis=2))
    observation = observe(field, plain_conditions(field), np.random.default_rng([SEED, 2]))
    image, truth = write_field(field, observation, folder, name="trailed_field", overwrite=True)
    truth = truth.replace(truth.with_name("trailed_truth.fits"))
    compress(image)
    for path in (image, truth):
        print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
