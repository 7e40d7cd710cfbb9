"""Small whole files of every kind that the package reads, to be broken."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

import morpheus_lite as ml
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage
from morpheus_lite.io import write_catalog, write_maps
from morpheus_lite.survey.state import fingerprint_product, tile_directory, write_marker

SHAPE = (24, 32)


@dataclass(frozen=True)
class Sample:
    """A whole file of some kind.

    Parameters
    ----------
    kind : str
        How it is read: a key of `targets.TARGETS`.
    files : mapping of str to bytes
        Content by name; the first is the one that is broken.
    """

    kind: str
    files: Mapping[str, bytes]


def samples() -> list[Sample]:
    """All of them, the same ones every time."""
    made: list[Sample] = []
    # What ends in C code comes more often.
    for group, share in ((_images(), 1), (_sky(), 1), (_tables_of_distortion(), 4), (_compressed(), 2)):
        made += [Sample("image", {f"{name}.fits": content}) for name, content in group.items()] * share
    for name, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        made.append(Sample("image", {f"image.fits.{name}": pack(_images()["planes"])}))
    return made + _products() + _models() + _texts()


def _content(*hdus: Any) -> bytes:
    buffer = io.BytesIO()
    first = hdus[0] if isinstance(hdus[0], fits.PrimaryHDU) else fits.PrimaryHDU()
    fits.HDUList([first, *[hdu for hdu in hdus if hdu is not first]]).writeto(buffer, output_verify="ignore")
    return buffer.getvalue()


def _pixels(seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).normal(0, 1, SHAPE).astype(np.float32)
    pixels[8:12, 10:16] += 50
    return pixels


def _sky_header(**cards: Any) -> fits.Header:
    header = fits.Header()
    for axis, (kind, place, size) in enumerate((("RA---TAN", 53.1, -1.7e-5), ("DEC--TAN", -27.8, 1.7e-5)), 1):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CDELT{axis}"] = kind, place, size
        header[f"CRPIX{axis}"], header[f"CUNIT{axis}"] = 12.0, "deg"
    header["FILTER"], header["BUNIT"], header["EXPTIME"] = "F160W", "electron/s", 1200.0
    header["PHOTFLAM"], header["PHOTPLAM"] = 1.9e-20, 15369.2
    header.update(cards)
    return header


def _images() -> dict[str, bytes]:
    planes = [
        fits.ImageHDU(_pixels(), _sky_header(), "SCI"),
        fits.ImageHDU(np.ones(SHAPE, np.float32), _sky_header(), "ERR"),
        fits.ImageHDU(np.zeros(SHAPE, np.int16), name="DQ"),
    ]
    weights = [
        fits.PrimaryHDU(_pixels(), _sky_header()),
        fits.ImageHDU(np.full(SHAPE, 1.0, ">f8"), name="WHT"),
    ]
    bands = [
        fits.ImageHDU(_pixels(k), _sky_header(FILTER=name), name) for k, name in enumerate(("F160W", "F125W", "F606W"))
    ] + [fits.ImageHDU(np.full(SHAPE, 0.5, np.float32), name=f"{name}_VAR") for name in ("F160W", "F125W", "F606W")]
    extremes = []
    for name, values in {"RMS": (1e-300, 1e16, 0.0), "VAR": (1e-62, 1e300, -1.0), "WHT": (1e40, 1e-45, np.inf)}.items():
        plane = np.ones(SHAPE)
        plane[2], plane[3], plane[4] = values
        extremes += [
            fits.ImageHDU(_pixels(), _sky_header(FILTER=name), name[0]),
            fits.ImageHDU(plane, name=f"{name[0]}_{name}"),
        ]
    scaled = fits.ImageHDU(np.round(_pixels() * 64).astype(np.int16), _sky_header(BLANK=-32768), "SCI")
    scaled.header["BSCALE"], scaled.header["BZERO"] = 1 / 64, 10.0
    cube = fits.PrimaryHDU(np.stack([_pixels(k) for k in range(3)]), _sky_header(FILTER1="F160W", NAXIS4=1))
    return {
        "plane": _content(fits.PrimaryHDU(_pixels(), _sky_header())),
        "planes": _content(*planes),
        "weights": _content(*weights),
        "bands": _content(*bands),
        "extremes": _content(*extremes),
        "scaled": _content(scaled),
        "unsigned": _content(fits.ImageHDU(np.arange(768, dtype=np.uint16).reshape(SHAPE), _sky_header(), "SCI")),
        "cube": _content(cube),
    }


def _sky() -> dict[str, bytes]:
    """One image for every kind of WCS without tables."""
    projections = (
        "AZP SZP TAN STG SIN ARC ZEA AIR CYP CEA CAR MER SFL PAR MOL AIT COP COE COD COO BON PCO TSC CSC QSC HPX"
    )
    made = {}
    for name in projections.split():
        cards = {"CTYPE1": f"RA---{name}", "CTYPE2": f"DEC--{name}", "PV2_1": 45.0, "PV2_2": 0.5, "CROTA2": 12.0}
        made[f"sky_{name}"] = _content(fits.PrimaryHDU(_pixels(), _sky_header(**cards)))
    zpn = {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN"} | {f"PV2_{k}": 0.1 ** (3 * k) for k in range(1, 8)}
    sip = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 3, "B_ORDER": 3, "AP_ORDER": 2, "BP_ORDER": 2}
    sip |= {"A_2_0": 1e-5, "B_0_2": -1e-5, "A_0_3": 1e-8, "B_1_1": 1e-6, "AP_1_0": 1e-6, "BP_0_1": 1e-6}
    tpv = {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"}
    tpv |= {f"PV{axis}_{k}": float(k == 1) + 1e-4 * (k == 4) for axis in (1, 2) for k in range(12) if k != 3}
    matrix = {"CD1_1": -1.7e-5, "CD1_2": 1e-7, "CD2_1": 1e-7, "CD2_2": 1.7e-5}
    dss = {"PPO3": 1.0, "PLTRAH": 3, "PLTRAM": 2, "PLTRAS": 1.0, "PLTDECSN": "-", "PLTDECD": 27, "PLTDECM": 1}
    for name, cards in (("zpn", zpn), ("sip", sip), ("tpv", tpv), ("cd", matrix), ("dss", dss)):
        made[f"sky_{name}"] = _content(fits.PrimaryHDU(_pixels(), _sky_header(**cards)))
    return made


def _tables_of_distortion() -> dict[str, bytes]:
    """WCS that need further HDUs: -TAB coordinates, lookup tables of distortion."""
    wave = np.linspace(1, 2, 5)
    coordinates = np.zeros((1, 4, 4, 2))
    coordinates[0, :, :, 0], coordinates[0, :, :, 1] = np.meshgrid(
        np.linspace(53, 53.1, 4), np.linspace(-27.8, -27.7, 4)
    )
    index = np.linspace(1, 32, 4)[np.newaxis]
    both = fits.BinTableHDU.from_columns(
        [
            fits.Column("COORDS", "32D", dim="(2,4,4)", array=coordinates.reshape(1, 4, 4, 2)),
            fits.Column("INDEX1", "4D", array=index),
            fits.Column("INDEX2", "4D", array=index),
        ],
        name="WCS-TAB",
    )
    one = fits.BinTableHDU.from_columns(
        [
            fits.Column("COORDS", "5D", dim="(1,5)", array=wave.reshape(1, 5, 1)),
            fits.Column("INDEX", "5D", array=np.arange(1, 6.0)[np.newaxis]),
        ],
        name="WCS-TAB",
    )
    sky = {"PS1_0": "WCS-TAB", "PS1_1": "COORDS", "PS1_2": "INDEX1", "PV1_3": 1, "CTYPE1": "RA---TAB"}
    sky |= {"PS2_0": "WCS-TAB", "PS2_1": "COORDS", "PS2_2": "INDEX2", "PV2_3": 2, "CTYPE2": "DEC--TAB"}
    linear = {"CTYPE3": "WAVE-TAB", "CUNIT3": "um", "CRVAL3": 1.0, "CRPIX3": 1.0, "CDELT3": 1.0}
    linear |= {"PS3_0": "WCS-TAB", "PS3_1": "COORDS", "PS3_2": "INDEX"}
    lookup = {}
    for axis in (1, 2):
        lookup |= {f"CPDIS{axis}": "LOOKUP", f"DP{axis}.EXTVER": axis, f"DP{axis}.NAXES": 2}
        lookup |= {f"DP{axis}.AXIS.1": 1, f"DP{axis}.AXIS.2": 2, f"CPERR{axis}": 0.1}
    distortion = fits.Header({"CRPIX1": 1.0, "CRPIX2": 1.0, "CRVAL1": 1.0, "CRVAL2": 1.0, "CDELT1": 8.0, "CDELT2": 8.0})
    tables = [
        fits.ImageHDU(np.full((4, 5), 0.1 * axis, np.float32), distortion, "WCSDVARR", ver=axis) for axis in (1, 2)
    ]
    column = {"AXISCORR": 1, "D2IMEXT": "x.fits[1]", "D2IMERR1": 0.1, "D2IMDIS1": "Lookup", "D2IM1.EXTVER": 1}
    column |= {"D2IM1.NAXES": 2, "D2IM1.AXIS.1": 1, "D2IM1.AXIS.2": 2}
    detector = fits.ImageHDU(np.full((1, 32), 0.01, np.float32), distortion, "D2IMARR", ver=1)
    planes = np.stack([_pixels(k) for k in range(5)])[:3]
    return {
        "tab_sky": _content(fits.PrimaryHDU(_pixels(), _sky_header(**sky)), both),
        "tab_wave": _content(fits.PrimaryHDU(planes, _sky_header(**linear)), one),
        "lookup": _content(fits.PrimaryHDU(_pixels(), _sky_header(**lookup)), *tables),
        "detector": _content(fits.PrimaryHDU(_pixels(), _sky_header(**column)), detector),
    }


def _compressed() -> dict[str, bytes]:
    whole = np.round(_pixels() * 100).astype(np.int32)
    made = {}
    for kind in ("RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1", "NOCOMPRESS"):
        pixels = np.abs(whole) if kind == "PLIO_1" else whole
        tile = (8, 8) if kind == "HCOMPRESS_1" else (7, 32)
        hdu = fits.CompImageHDU(pixels, _sky_header(), "SCI", compression_type=kind, tile_shape=tile)
        made[f"tiles_{kind}"] = _content(hdu)
    for kind in ("RICE_1", "GZIP_2", "HCOMPRESS_1"):
        for name, method in (
            ("dither", {"quantize_method": 2, "dither_seed": 7}),
            ("lossless", {"quantize_level": 0.0}),
        ):
            if (kind, name) in (("RICE_1", "lossless"), ("HCOMPRESS_1", "lossless")):
                continue
            hdu = fits.CompImageHDU(
                _pixels(), _sky_header(), "SCI", compression_type=kind, tile_shape=(8, 16), **method
            )
            made[f"tiles_{kind}_{name}"] = _content(hdu, fits.CompImageHDU(np.ones(SHAPE, np.int16), name="DQ"))
    return made


def _products() -> list[Sample]:
    wcs = WCS(_sky_header())
    image = SkyImage(_pixels()[:, :, np.newaxis], ("F160W",), np.ones((*SHAPE, 1), bool), wcs=wcs)
    probability = np.random.default_rng(1).dirichlet(np.ones(5), SHAPE).astype(np.float32)
    labels = np.zeros(SHAPE, np.int32)
    labels[8:12, 10:16] = 1
    flags = np.zeros(SHAPE, np.uint8)
    provenance = {"version": ml.__version__, "model": "hst", "options": {"stride": 5, "edges": "reflect"}}
    maps = Classification(
        probability, np.ones(SHAPE, np.int32), np.ones(SHAPE, bool), flags=flags, wcs=wcs, provenance=provenance
    )
    table = QTable(
        {
            "label": np.arange(1, 6), "x_centroid": np.arange(5) + 0.5, "y_centroid": np.arange(5) * 2.0,
            "ra": np.linspace(53, 54, 5), "flux_F160W": [1.0, 2.0, np.nan, 4.0, 5.0],
            "class": ["spheroid", "disk", "irregular", "point_source", "disk"], "flags": np.zeros(5, np.int32),
        },
        units={"ra": "deg", "flux_F160W": "electron / s"},
        meta=provenance,
    )  # fmt: skip
    made = []
    with TemporaryDirectory() as folder:
        for compress in (False, True):
            path = Path(folder) / f"maps_{compress}.fits"
            write_maps(image, maps, path, labels=labels, compress=compress)
            made += [Sample(kind, {path.name: path.read_bytes()}) for kind in ("maps", "maps", "labels")]
        for suffix in ("ecsv", "fits", "parquet", "vot", "csv"):
            path = Path(folder) / f"catalog.{suffix}"
            write_catalog(table, path)
            made += [Sample("catalog", {path.name: path.read_bytes()})] * 3
    made.append(Sample("labels", {"labels.fits": _content(fits.PrimaryHDU(labels))}))
    sextractor = "#   1 NUMBER  running number\n#   2 X_IMAGE  along x [pixel]\n#   3 Y_IMAGE  along y [pixel]\n"
    sextractor += "".join(f"{k:10d} {k * 1.5:10.3f} {k * 2.5:10.3f}\n" for k in range(1, 6))
    made.append(Sample("rows", {"sources.cat": sextractor.encode()}))
    header = fits.BinTableHDU.from_columns(
        [fits.Column("Field Header Card", "2880A", array=[b"x" * 80])], name="LDAC_IMHEAD"
    )
    objects = fits.BinTableHDU.from_columns(
        [
            fits.Column("NUMBER", "1J", array=np.arange(4)),
            fits.Column("FLUX", "PE()", array=np.array([np.ones(k) for k in range(4)], object)),
        ],
        name="LDAC_OBJECTS",
    )
    made.append(Sample("rows", {"sources.ldac": _content(header, objects)}))
    return made


def _models() -> list[Sample]:
    """The smallest network of each kind, as files; its weights are zeros of the right names and shapes."""
    made = []
    for name, info in _CONFIGURATIONS.items():
        arrays = {key: np.zeros(shape, "<f4") for key, shape in _SHAPES[name].items()}
        weights = io.BytesIO()
        np.savez(weights, **arrays)
        files = {"config.json": json.dumps(info).encode(), "weights.npz": weights.getvalue(), "card.md": b"# A model\n"}
        made += [Sample("model", files)] * 2
        made += [Sample("model", {"weights.npz": files["weights.npz"]} | files)] * 2
    return made


_INFO = {"description": "for tests", "classes": ["spheroid", "disk", "irregular", "point_source", "background"]}
_CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "unet": _INFO
    | {
        "name": "small", "kind": "unet", "bands": ["F160W"], "window": 8, "margin": 2, "stride": 2,
        "preprocessing": "standardize", "sha256": "",
        "network": {"down": [[1, 2]], "intermediate": [1, 2], "up": [[1, 2]], "n_bands": 1, "n_classes": 5}
        | {"window": 8},
    },
    "onepass": _INFO
    | {
        "name": "small", "kind": "onepass", "bands": [], "sha256": "",
        "settings": {"domain": {"pixel_scale": [0.02, 0.3]}, "calibration": {"temperature": 1.5, "bias": [0.1] * 5}},
        "network": {"down": [[1, 2]], "intermediate": [1, 2], "up": [[1, 2]], "cell": 2}
        | {"stem": [1, 2], "stretches": [1.0]},
    },
}  # fmt: skip


def _stages(*stages: tuple[str, int, int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of stages, of which each has a name, and channels that come and go."""
    shapes: dict[str, tuple[int, ...]] = {}
    for stage, before, after in stages:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        shapes |= {f"{stage}_0_norm/{name}": (before,) for name in names}
        shapes |= {f"{stage}_0_conv/kernel": (3, 3, before, after), f"{stage}_0_conv/bias": (after,)}
    return shapes


_COMMON = (("intermediate", 2, 2), ("up_0", 4, 2))
_SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "unet": _stages(("down_0", 1, 2), *_COMMON) | {"final_conv/kernel": (3, 3, 2, 5), "final_conv/bias": (5,)},
    "onepass": _stages(("stem", 8, 2), ("down_0", 4, 2), *_COMMON)
    | {"final_conv/kernel": (3, 3, 2, 20), "final_conv/bias": (20,)},
}

_MANIFEST = """[defaults]
zero_points = {F160W = 25.9}

[[tile]]
name = "a"
image = "plane.fits"
rms = "plane.fits[0]"
bands = ["F160W"]
options = {stride = 5, detection = {core = 0.5}}

[[tile]]
name = "b"
image = {F160W = "plane.fits", F125W = "plane.fits[0]"}
weight = false
"""
_TRAINING = """name = "small"
fields = "fields/*.npz"
validation = ["held/*.npz"]
steps = 10
learning_rate = 1e-3
loss = "factored"
[model]
down = [[1, 2]]
intermediate = [1, 2]
up = [[1, 2]]
bands = ["F160W"]
[[stages]]
until = 5
patch = 32
batch = 2
classes = [1.0, 1.0, 1.0, 1.0]
[[stages]]
patch = 64
[[images]]
image = "plane.fits"
labels = "labels.fits"
classes = "catalog.ecsv"
held_out = "right 0.25"
"""
_OPTIONS = """stride = 5
edges = "reflect"
products = "maps,catalog"
compress = true
zero-point = 25.9
memory = "1GB"
overwrite = false
"""


def _texts() -> list[Sample]:
    image = {"plane.fits": _images()["plane"]}
    table = b"name,image,rms_F160W,stride,zero_point_F160W\na,plane.fits,plane.fits[0],5,25.9\nb,plane.fits,,3,\n"
    made = [
        Sample("manifest", {"survey.toml": _MANIFEST.encode()} | image),
        Sample("manifest", {"survey.csv": table} | image),
        Sample("training", {"train.toml": _TRAINING.encode()} | image),
        Sample("options", {"options.toml": _OPTIONS.encode()} | image),
    ]
    with TemporaryDirectory() as folder:
        root = Path(folder)
        path = root / "survey.ecsv"
        write_catalog(QTable({"name": ["a", "b"], "image": ["plane.fits"] * 2, "stride": [5, 3]}), path)
        made.append(Sample("manifest", {path.name: path.read_bytes()} | image))
        tile = tile_directory(root, "a")
        tile.mkdir(parents=True)
        (tile / "a_catalog.ecsv").write_text("x\n1\n")
        product = fingerprint_product(tile / "a_catalog.ecsv")
        facts = {"image": {"path": "plane.fits", "size": 1, "mtime_ns": 1, "sha256": "0"}}
        write_marker(tile, {"version": ml.__version__, "options": {"stride": 5}}, facts, {"catalog": product})
        files = {"tiles/a/done.json": (tile / "done.json").read_bytes(), "tiles/a/a_catalog.ecsv": b"x\n1\n"}
        made.append(Sample("ledger", files | image))
    return made
