"""Files that the pages of the documentation work on: the bundled fields in the layouts of cameras and surveys.

The pixels are simulated (``demo_field.fits``); names, headers, units and planes are those of the camera.
"""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits

EXAMPLES = Path(os.environ["MORPHEUS_EXAMPLES"])
"""The folder ``examples/data`` of the source; set by ``conf.py``."""


def demo_field(path: str = "field.fits") -> None:
    """The simulated field in four HST bands."""
    shutil.copy(EXAMPLES / "demo_field.fits", path)


def demo_truth(path: str = "truth.fits") -> None:
    """Everything that was drawn in it."""
    shutil.copy(EXAMPLES / "demo_truth.fits", path)


def hdfs(path: str = "hdfs.fits.gz") -> None:
    """A part of the Hubble Deep Field South in one band."""
    shutil.copy(EXAMPLES / "hdfs_f606w.fits.gz", path)


def quarter(path: str, row: int, column: int) -> None:
    """One of four overlapping tiles of the demo field, 150 px on a side."""
    with fits.open(EXAMPLES / "demo_field.fits") as hdus:
        made = fits.HDUList([hdus[0].copy()])
        for hdu in hdus[1:]:
            y, x = 106 * row, 106 * column
            header = hdu.header.copy()
            header["CRPIX1"] -= x
            header["CRPIX2"] -= y
            made.append(fits.ImageHDU(hdu.data[y : y + 150, x : x + 150], header, name=hdu.name))
        made.writeto(path)


def _bands() -> dict[str, tuple[np.ndarray, np.ndarray, fits.Header]]:
    """Data and noise in nJy, and WCS, by band."""
    with fits.open(EXAMPLES / "demo_field.fits") as hdus:
        found = {}
        for band in ("F160W", "F125W", "F606W", "F850LP"):
            header = hdus[band].header
            unit = 10 ** (-0.4 * (header["ABZP"] - 31.4))
            wcs = fits.Header([card for card in header.cards if card.keyword[:5] in _WCS])
            found[band] = hdus[band].data * unit, hdus[f"{band}_RMS"].data * unit, wcs
        return found


_WCS = {"WCSAX", "CRPIX", "CDELT", "CUNIT", "CTYPE", "CRVAL", "LONPO", "LATPO", "RADES"}


def _scaled(wcs: fits.Header, scale: float) -> fits.Header:
    """The WCS with another pixel scale, in arcsec."""
    made = wcs.copy()
    made["CDELT1"], made["CDELT2"] = -scale / 3600, scale / 3600
    return made


def _hdu(data: np.ndarray, name: str, header: fits.Header, **cards: object) -> fits.ImageHDU:
    made = header.copy()
    made.update(cards)
    return fits.ImageHDU(data.astype(np.float32), made, name=name)


def jwst_i2d(folder: str = ".") -> None:
    """Two mosaics of NIRCam as the JWST pipeline writes them: SCI, ERR, CON, WHT, VAR_*, in MJy/sr."""
    data = _bands()
    scale = 0.03
    njy_of_pixel = 1e15 * (scale / 206264.806247) ** 2  # of 1 MJy/sr
    for band, source in (("F150W", "F160W"), ("F115W", "F125W")):
        light, noise, wcs = data[source]
        light, noise = light / njy_of_pixel, noise / njy_of_pixel
        wcs = _scaled(wcs, scale)
        primary = fits.PrimaryHDU()
        primary.header.update(TELESCOP="JWST", INSTRUME="NIRCAM", FILTER=band, PUPIL="CLEAR")
        area = (scale / 206264.806247) ** 2
        hdus = [primary, _hdu(light, "SCI", wcs, BUNIT="MJy/sr", PIXAR_SR=area), _hdu(noise, "ERR", wcs)]
        hdus.append(fits.ImageHDU(np.ones((1, *light.shape), np.int32), name="CON"))
        hdus += [_hdu(noise**-2, "WHT", wcs), *(_hdu(noise**2, f"VAR_{kind}", wcs) for kind in ("POISSON", "RNOISE"))]
        fits.HDUList(hdus).writeto(Path(folder) / f"jw_{band.lower()}_i2d.fits")


def euclid_tile(folder: str = ".") -> None:
    """A tile of MER: VIS with its noise and flags in files of their own."""
    light, noise, wcs = _bands()["F606W"]
    scale = 10 ** (-0.4 * (31.4 - 24.6))
    wcs = _scaled(wcs, 0.1)
    flags = np.zeros(light.shape, np.int32)
    flags[100:104, 30:60] = 1
    cards = {"TELESCOP": "Euclid", "INSTRUME": "VIS", "FILTER": "VIS", "MAGZERO": 24.6}
    for name, plane in (("VIS", light * scale), ("VIS_RMS", noise * scale), ("VIS_FLAG", flags)):
        header = wcs.copy()
        header.update(cards)
        plane = plane if plane.dtype == np.int32 else plane.astype(np.float32)
        fits.PrimaryHDU(plane, header).writeto(Path(folder) / f"EUC_MER_{name}.fits")


def hsc_coadd(folder: str = ".") -> None:
    """Coadds of HSC: IMAGE, MASK with named bits, VARIANCE, tile-compressed."""
    data = _bands()
    bits = {"MP_BAD": 0, "MP_SAT": 1, "MP_INTRP": 2, "MP_CR": 3, "MP_EDGE": 4, "MP_DETECTED": 5, "MP_NO_DATA": 8}
    for band, source in (("I", "F850LP"), ("R", "F606W")):
        light, noise, wcs = data[source]
        wcs = _scaled(wcs, 0.168)
        counts = 10 ** (-0.4 * (31.4 - 27.0))
        mask = np.where(light > 5 * noise, 32, 0).astype(np.int32)
        mask[:, 200:202] |= 1
        primary = fits.PrimaryHDU()
        primary.header.update(FILTER=f"HSC-{band}", FLUXMAG0=63095734448.0)
        hdus = [primary]
        for name, plane in (("IMAGE", light * counts), ("MASK", mask), ("VARIANCE", (noise * counts) ** 2)):
            header = wcs.copy()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", fits.verify.VerifyWarning)
                header.update(bits if name == "MASK" else {})
            plane = plane if name == "MASK" else plane.astype(np.float32)
            lossless = {"compression_type": "GZIP_2", "quantize_level": 0}
            hdus.append(fits.CompImageHDU(plane, header, name=name, **lossless))
        fits.HDUList(hdus).writeto(Path(folder) / f"calexp-HSC-{band}-9813-4,4.fits")


def hst_mosaic(folder: str = ".") -> None:
    """Mosaics of drizzlepac: SCI, WHT and CTX in electrons per second, a file per band."""
    sensitivity = {"F160W": (1.9276e-20, 15369.2), "F125W": (2.2484e-20, 12486.1), "F606W": (7.7e-20, 5921.0)}
    cameras = {"F160W": "WFC3", "F125W": "WFC3", "F606W": "ACS"}
    for band, (flam, plam) in sensitivity.items():
        light, _, wcs = _bands()[band]
        zero_point = -2.5 * np.log10(flam) - 5 * np.log10(plam) - 2.408
        counts = 10 ** (-0.4 * (31.4 - zero_point))
        exposure = np.full(light.shape, 5000.0)
        primary = fits.PrimaryHDU()
        primary.header.update(TELESCOP="HST", INSTRUME=cameras[band], EXPTIME=5000.0, PHOTFLAM=flam, PHOTPLAM=plam)
        names = {"FILTER": band} if cameras[band] == "WFC3" else {"FILTER1": band, "FILTER2": "CLEAR2L"}
        primary.header.update(names)
        hdus = [primary, _hdu(light * counts, "SCI", wcs, BUNIT="ELECTRONS/S"), _hdu(exposure, "WHT", wcs)]
        hdus.append(fits.ImageHDU(np.ones(light.shape, np.int32), wcs, name="CTX"))
        fits.HDUList(hdus).writeto(Path(folder) / f"{band.lower()}_drz.fits")
