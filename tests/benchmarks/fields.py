"""Fields for the benchmarks: of any size, written by section, with round sources; or of the recipes' simulators."""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

if TYPE_CHECKING:
    from morpheus_lite.simulation import Field

BANDS = ("F160W", "F125W", "F606W", "F850LP")
CELL = 128
_COLOURS = np.array([1.0, 0.9, 0.5, 0.8], np.float32)[:, None, None]
_HALF = 30


def write_field(path: Path, side: int, *, seed: int = 0) -> Path:
    """A square field with a source in two of three cells of 128 px: about 5,000 a side of 12,288 px squared over two.

    Parameters
    ----------
    path : path
        The FITS file; one HDU a band.
    side : int
        Pixels along each side.
    seed : int
        Of the random numbers.
    """
    empty = np.broadcast_to(np.float32(0), (side, side))
    hdus = [fits.ImageHDU(empty, fits.Header([*_wcs(side).cards, ("FILTER", band)]), band) for band in BANDS]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
    rows, columns = np.mgrid[: 2 * _HALF + 1, : 2 * _HALF + 1] - _HALF
    with fits.open(path, mode="update", memmap=True) as file:
        for y in range(0, side, CELL):
            rng = np.random.default_rng([seed, y])
            height = min(CELL, side - y)
            strip = rng.standard_normal((len(BANDS), height, side), np.float32)
            for x in range(0, side - CELL + 1, CELL) if height == CELL else ():
                if rng.random() > 2 / 3:
                    continue
                row, column = rng.uniform(_HALF + 1, CELL - _HALF - 2, 2)
                size, flux = rng.uniform(1.2, 4), 10 ** rng.uniform(0.3, 2)
                near = (
                    slice(int(row) - _HALF, int(row) + _HALF + 1),
                    slice(x + int(column) - _HALF, x + int(column) + _HALF + 1),
                )
                shape = np.exp(-0.5 * ((rows - row % 1) ** 2 + (columns - column % 1) ** 2) / size**2)
                strip[(slice(None), *near)] += flux * shape.astype(np.float32) * _COLOURS
            for band, plane in zip(BANDS, strip, strict=True):
                file[band].data[y : y + height] = plane
    return path


def _wcs(side: int) -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [53.1, -27.8], [side / 2, side / 2]
    wcs.wcs.cdelt = [-0.06 / 3600, 0.06 / 3600]
    return wcs.to_header()


def recipe_field(simulator: str, seed: int, **drawn: Any) -> "Field":
    """A field of the second or the third simulator of ``weights/recipes``."""
    sys.path.append(str(Path(__file__).parents[2] / "weights" / "recipes"))
    return importlib.import_module(f"{simulator}_simulator").make_field(seed, **drawn)
