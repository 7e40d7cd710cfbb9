"""The image of `inputs` in every kind of input that the reader takes."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, NDData, StdDevUncertainty, VarianceUncertainty
from inputs import (
    ALIASES,
    BANDS,
    SHAPE,
    STEP,
    TRUTH,
    ZERO_POINTS,
    Case,
    cube,
    header,
    plane,
    rms_hdus,
    rms_plane,
    sky_wcs,
    stored_integers,
    write,
)

FLAVOURS: dict[str, Callable[[Path], Case]] = {}


def flavour(build: Callable[[Path], Case]) -> Callable[[Path], Case]:
    """Register a kind of input under its function's name."""
    FLAVOURS[build.__name__] = build
    return build


@flavour
def sci_and_rms_pairs(folder: Path) -> Case:
    science = [fits.ImageHDU(plane(k), header(k), name=f"{BANDS[k]}_SCI") for k in range(4)]
    pairs = [hdu for pair in zip(science, rms_hdus(), strict=True) for hdu in pair]
    return Case(write(folder / "truth.fits", *pairs))


@flavour
def path_as_text(folder: Path) -> Case:
    return Case(str(sci_and_rms_pairs(folder).source))


@flavour
def extension_names(folder: Path) -> Case:
    hdus = [fits.ImageHDU(plane(k), header(k), name=BANDS[k]) for k in range(4)]
    return Case(write(folder / "truth.fits", *hdus, *rms_hdus()))


@flavour
def extension_aliases_by_option(folder: Path) -> Case:
    hdus = [fits.ImageHDU(plane(k), header(k), name=ALIASES[k].lower()) for k in (2, 0, 3, 1)]
    return Case(write(folder / "truth.fits", *hdus, *rms_hdus()), {"bands": ["H", "J", "V", "Z"]})


@flavour
def filter_keyword_with_numbered_names(folder: Path) -> Case:
    hdus = []
    for k in range(4):
        hdus.append(fits.ImageHDU(plane(k), header(k, FILTER=BANDS[k]), name="SCI", ver=k + 1))
        hdus.append(fits.ImageHDU(rms_plane(k), name="ERR", ver=k + 1))
    return Case(write(folder / "truth.fits", *hdus))


@flavour
def chosen_extensions(folder: Path) -> Case:
    hdus = [fits.ImageHDU(plane(k), header(k), name=f"{BANDS[k]}_SCI") for k in range(4)]
    hdus.insert(0, fits.ImageHDU(np.ones(SHAPE, np.float32), name="BEST"))
    return Case(write(folder / "truth.fits", *hdus, *rms_hdus()), {"ext": [2, "F125W_SCI", ("F606W_SCI", 1), 5]})


@flavour
def two_filter_wheels(folder: Path) -> Case:
    wheels = [("CLEAR1L", "F160W"), ("F125W", "CLEAR2L"), ("F606W", "N/A"), ("CLEAR1S", "F850LP")]
    hdus = [fits.ImageHDU(plane(k), header(k, FILTER1=a, FILTER2=b)) for k, (a, b) in enumerate(wheels)]
    return Case(write(folder / "truth.fits", *hdus, *rms_hdus()))


@flavour
def weight_maps(folder: Path) -> Case:
    hdus = []
    for k in range(4):
        # A weight of 0 stands for the invalid pixels, which are finite in the data.
        weight = np.where(TRUTH.valid[:, :, k], rms_plane(k) ** -2, 0)
        hdus.append(fits.ImageHDU(TRUTH.data[:, :, k], header(k), name=BANDS[k]))
        hdus.append(fits.ImageHDU(weight, name=f"{BANDS[k]}_WHT"))
    return Case(write(folder / "truth.fits", *hdus))


@flavour
def variance_and_quality(folder: Path) -> Case:
    hdus = []
    for k in range(4):
        quality = np.where(TRUTH.valid[:, :, k], 0, 4).astype(np.uint16)
        hdus.append(fits.ImageHDU(TRUTH.data[:, :, k], header(k), name=f"SCI_{BANDS[k]}"))
        hdus.append(fits.ImageHDU(rms_plane(k) ** 2, name=f"VAR_{BANDS[k]}"))
        hdus.append((fits.ImageHDU, fits.CompImageHDU)[k % 2](quality, name=f"DQ_{BANDS[k]}"))
    return Case(write(folder / "truth.fits", *hdus))


@flavour
def cube_with_numbered_filters(folder: Path) -> Case:
    names = {f"FILTER{k + 1}": band for k, band in enumerate(BANDS)}
    science = fits.ImageHDU(np.moveaxis(cube(), 2, 0), header(0, **names), name="SCI")
    noise = fits.ImageHDU(np.stack([rms_plane(k) for k in range(4)]), name="RMS")
    return Case(write(folder / "truth.fits", science, noise), {"zero_points": ZERO_POINTS})


@flavour
def cube_with_listed_bands(folder: Path) -> Case:
    science = fits.ImageHDU(np.moveaxis(cube(), 2, 0), header(0, BANDS="H, J, V, Z"), name="DATA")
    noise = np.stack([rms_plane(k) for k in range(4)])
    return Case(
        write(folder / "truth.fits", science),
        {"zero_points": dict(zip(ALIASES, ZERO_POINTS, strict=True)), "rms": _axis_last(noise)},
    )


def _axis_last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 0, 2)


@flavour
def primary_cube_named_by_option(folder: Path) -> Case:
    path = folder / "truth.fits"
    fits.PrimaryHDU(np.moveaxis(cube(), 2, 0), header(0)).writeto(path)
    return Case(path, {"bands": BANDS, "zero_points": list(ZERO_POINTS)}, ("rms",))


def _per_band(folder: Path, make: Callable[[int], Any]) -> dict[str, Path]:
    paths = {}
    for k, band in enumerate(BANDS):
        paths[band] = folder / f"truth_{band.lower()}.fits"
        fits.HDUList(make(k)).writeto(paths[band])
    return paths


@flavour
def file_per_band(folder: Path) -> Case:
    return Case(
        _per_band(folder, lambda k: [fits.PrimaryHDU(plane(k), header(k)), fits.ImageHDU(rms_plane(k), name="RMS")])
    )


@flavour
def file_per_band_with_extensions_and_aliases(folder: Path) -> Case:
    paths = _per_band(
        folder,
        lambda k: [
            fits.PrimaryHDU(),
            fits.ImageHDU(plane(k), header(k), name="SCI"),
            fits.ImageHDU(rms_plane(k), name="ERR"),
        ],
    )
    return Case({alias: f"{path}[SCI,1]" for alias, path in zip(ALIASES, paths.values(), strict=True)})


@flavour
def file_per_band_with_one_extension_option(folder: Path) -> Case:
    def hdus(k: int) -> list:
        return [
            fits.PrimaryHDU(),
            fits.ImageHDU(np.ones((3, 3)), name="OTHER"),
            fits.ImageHDU(plane(k), header(k), name="SCI"),
            fits.ImageHDU(rms_plane(k), name="ERR"),
        ]

    return Case(_per_band(folder, hdus), {"ext": "SCI"})


@flavour
def url(folder: Path) -> Case:
    return Case(sci_and_rms_pairs(folder).source.as_uri())


@flavour
def file_per_band_with_rms_files(folder: Path) -> Case:
    (folder / "rms").mkdir()
    science = _per_band(folder, lambda k: [fits.PrimaryHDU(plane(k), header(k))])
    noise = _per_band(folder / "rms", lambda k: [fits.PrimaryHDU(rms_plane(k))])
    return Case(science, {"rms": {band: f"{path}[0]" for band, path in noise.items()}})


@flavour
def filter_in_the_primary_header(folder: Path) -> Case:
    paths = _per_band(
        folder,
        lambda k: [
            fits.PrimaryHDU(header=fits.Header({"FILTER": BANDS[k]})),
            fits.ImageHDU(plane(k), header(k), name="SCI"),
        ],
    )
    return Case(dict(zip(BANDS, paths.values(), strict=True)), {}, ("rms",))


@flavour
def one_file_for_every_band_key(folder: Path) -> Case:
    path = sci_and_rms_pairs(folder).source
    return Case(dict.fromkeys(BANDS, path))


def _compressed(folder: Path, opener: Callable, ending: str) -> Case:
    plain = sci_and_rms_pairs(folder).source
    path = plain.with_name(plain.name + ending)
    with opener(path, "wb") as file:
        file.write(plain.read_bytes())
    plain.unlink()
    return Case(path)


@flavour
def gzipped(folder: Path) -> Case:
    return _compressed(folder, gzip.open, ".gz")


@flavour
def bzipped(folder: Path) -> Case:
    return _compressed(folder, bz2.open, ".bz2")


@flavour
def xzipped(folder: Path) -> Case:
    return _compressed(folder, lzma.open, ".xz")


@flavour
def tile_compressed_floats(folder: Path) -> Case:
    lossless = {"compression_type": "GZIP_2", "quantize_level": 0.0, "tile_shape": (10, 17)}
    hdus = [fits.CompImageHDU(plane(k), header(k), name=BANDS[k], **lossless) for k in range(4)]
    return Case(write(folder / "truth.fits.fz", *hdus, *rms_hdus()))


@flavour
def tile_compressed_integers(folder: Path) -> Case:
    hdus = []
    for k in range(4):
        raw = stored_integers(k, "i4", -32768)
        hdu = fits.CompImageHDU(raw.data, raw.header, tile_shape=(11, 13), do_not_scale_image_data=True)
        hdu.header.update({"BSCALE": STEP, "BZERO": -100 * STEP})
        hdus.append(hdu)
    return Case(write(folder / "truth.fits.fz", *hdus, *rms_hdus()))


@flavour
def scaled_integers(folder: Path) -> Case:
    hdus = [stored_integers(k, "i4", -32768) for k in range(4)]
    return Case(write(folder / "truth.fits", *hdus, *rms_hdus()))


@flavour
def blank_is_zero(folder: Path) -> Case:
    hdus = [stored_integers(k, "i4", 0) for k in range(4)]
    return Case(write(folder / "truth.fits", *hdus, *rms_hdus()))


@flavour
def doubles(folder: Path) -> Case:
    hdus = [fits.ImageHDU(plane(k).astype("f8"), header(k, FILTER=BANDS[k])) for k in range(4)]
    return Case(write(folder / "truth.fits", *hdus, *rms_hdus()))


@flavour
def axes_of_length_one(folder: Path) -> Case:
    hdus = [fits.ImageHDU(plane(k)[None, None], header(k), name=BANDS[k]) for k in range(4)]
    return Case(write(folder / "truth.fits", *hdus, *rms_hdus()))


@flavour
def hdu_list(folder: Path) -> Case:
    science = [fits.ImageHDU(plane(k), header(k), name=f"{BANDS[k]}_SCI") for k in range(4)]
    return Case(fits.HDUList([fits.PrimaryHDU(), *science, *rms_hdus()]))


@flavour
def mapping_of_hdus(folder: Path) -> Case:
    science = {BANDS[k]: fits.ImageHDU(plane(k), header(k)) for k in range(4)}
    return Case(science, {"rms": {BANDS[k]: fits.PrimaryHDU(rms_plane(k)) for k in range(4)}})


@flavour
def array(folder: Path) -> Case:
    return Case(cube(), {"bands": ALIASES, "zero_points": ZERO_POINTS}, ("rms", "wcs", "units"))


@flavour
def big_endian_fortran_array(folder: Path) -> Case:
    return Case(np.asfortranarray(cube().astype(">f8")), {"bands": BANDS}, ("rms", "wcs", "units", "zero_points"))


@flavour
def mapping_of_arrays(folder: Path) -> Case:
    science = {BANDS[k]: TRUTH.data[:, :, k] for k in range(4)}
    return Case(science, {"rms": TRUTH.rms, "dq": ~TRUTH.valid}, ("wcs", "units", "zero_points"))


@flavour
def mapping_of_arrays_with_weights(folder: Path) -> Case:
    weight = {BANDS[k]: np.where(TRUTH.valid[:, :, k], rms_plane(k) ** -2, 0) for k in range(4)}
    return Case({BANDS[k]: TRUTH.data[:, :, k] for k in range(4)}, {"weight": weight}, ("wcs", "units", "zero_points"))


@flavour
def masked_array(folder: Path) -> Case:
    masked = np.ma.MaskedArray(np.nan_to_num(cube(), nan=1e9), mask=~TRUTH.valid)
    return Case(masked, {"bands": BANDS, "rms": TRUTH.rms}, ("wcs", "units", "zero_points"))


@flavour
def quantity(folder: Path) -> Case:
    return Case(cube() * (u.electron / u.s), {"bands": BANDS, "rms": TRUTH.rms}, ("wcs", "zero_points"))


@flavour
def nddata(folder: Path) -> Case:
    noise = StdDevUncertainty(np.stack([rms_plane(k) for k in range(4)], axis=2))
    made = NDData(np.nan_to_num(cube()), noise, mask=~TRUTH.valid, wcs=sky_wcs(), unit="electron / s")
    return Case(made, {"bands": BANDS, "zero_points": ZERO_POINTS})


@flavour
def mapping_of_ccddata(folder: Path) -> Case:
    noises = [StdDevUncertainty(rms_plane(0)), VarianceUncertainty(rms_plane(1) ** 2)]
    noises += [InverseVariance(rms_plane(k) ** -2) for k in (2, 3)]
    made = {}
    for k in range(4):
        meta = {"FILTER": BANDS[k], "ABZP": ZERO_POINTS[k]}
        made[BANDS[k]] = CCDData(plane(k), noises[k], wcs=sky_wcs(), unit="electron / s", meta=meta)
    return Case(made)


@flavour
def sky_image(folder: Path) -> Case:
    return Case(TRUTH)


@flavour
def sky_image_reordered(folder: Path) -> Case:
    return Case(TRUTH.take([3, 2, 1, 0]), {"bands": BANDS})


@flavour
def mapping_of_everything(folder: Path) -> Case:
    one = file_per_band(folder).source["F160W"]
    two = fits.ImageHDU(plane(1), header(1))
    three = CCDData(plane(2), StdDevUncertainty(rms_plane(2)), unit="electron / s", meta={"ABZP": ZERO_POINTS[2]})
    return Case(
        {"H": one, "J": two, "V": three, "Z": TRUTH.take([3])},
        {"rms": {"H": rms_plane(0), "J": rms_plane(1), "V": rms_plane(2), "Z": rms_plane(3)}},
    )
