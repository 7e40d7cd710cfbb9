"""One small four-band image, and the planes and headers to store it in."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from morpheus_lite.core.image import SkyImage

BANDS = ("F160W", "F125W", "F606W", "F850LP")
ALIASES = ("H", "J", "V", "Z")
ZERO_POINTS = (25.946, 26.23, 26.505, 24.867)
SHAPE = (44, 52)
STEP = 1 / 64
"""Pixels are whole multiples of this, so that scaled integers hold them exactly."""


@dataclass(frozen=True)
class Case:
    """What to pass to `read_image`, and what this kind of input cannot carry."""

    source: Any
    options: dict[str, Any] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()


def sky_wcs() -> WCS:
    """A gnomonic WCS of 0.06 arcsec pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.cunit = "deg", "deg"
    wcs.wcs.crval = 53.16, -27.78
    wcs.wcs.crpix = 20.5, 11.25
    wcs.wcs.cdelt = -0.06 / 3600, 0.06 / 3600
    wcs.wcs.radesys = "ICRS"
    return wcs


def true_image() -> SkyImage:
    """The image that every kind of input holds: two invalid pixels in each band, RMS of 1/4 and 1/2."""
    rng = np.random.default_rng(7)
    rms = np.full((*SHAPE, 4), 0.25, np.float32)
    rms[:, 30:] = 0.5
    data = np.round(rng.normal(0, rms) / STEP).astype(np.float32) * np.float32(STEP)
    data[10:14, 20:25] += np.arange(1, 5, dtype=np.float32) * 100
    valid = np.ones(data.shape, bool)
    for k in range(4):
        valid[3, 5 + k, k] = valid[43, 51 - k, k] = False
    data[~valid] = rms[~valid] = 0
    return SkyImage(
        data, BANDS, valid, rms=rms, wcs=sky_wcs(), zero_points=ZERO_POINTS, units=("electron / s",) * 4, name="truth"
    )


TRUTH = true_image()


def plane(k: int) -> np.ndarray:
    """Band ``k`` as float32 with NaN where invalid."""
    return np.where(TRUTH.valid[:, :, k], TRUTH.data[:, :, k], np.float32(np.nan))


def rms_plane(k: int) -> np.ndarray:
    """RMS of band ``k``, with its value also where the data are invalid."""
    return np.where(TRUTH.valid[:, :, k], TRUTH.rms[:, :, k], np.float32(0.25))


def cube() -> np.ndarray:
    """All bands ``(y, x, band)`` with NaN where invalid."""
    return np.stack([plane(k) for k in range(4)], axis=2)


def header(k: int, **cards: Any) -> fits.Header:
    """WCS, unit and zero-point of band ``k``, and further cards."""
    made = sky_wcs().to_header()
    made["BUNIT"] = "electron / s"
    made["ABZP"] = ZERO_POINTS[k]
    made.update(cards)
    return made


def stored_integers(k: int, dtype: str, blank: int) -> fits.ImageHDU:
    """Band ``k`` as scaled integers with BLANK, built raw because astropy would undo the scaling."""
    raw = np.where(TRUTH.valid[:, :, k], np.round(TRUTH.data[:, :, k] / STEP) + 100, blank).astype(dtype)
    hdu = fits.ImageHDU(raw, header(k, FILTER=BANDS[k]), do_not_scale_image_data=True)
    hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = STEP, -100 * STEP, blank
    return hdu


def write(path: Path, *hdus: Any, primary: fits.Header | None = None) -> Path:
    """Write HDUs behind an empty primary one."""
    fits.HDUList([fits.PrimaryHDU(header=primary), *hdus]).writeto(path)
    return path


def rms_hdus() -> list[fits.ImageHDU]:
    """One ``<FILTER>_RMS`` HDU a band."""
    return [fits.ImageHDU(rms_plane(k), header(k), name=f"{BANDS[k]}_RMS") for k in range(4)]
