"""A small run, made up but complete, for the tests of the report."""

from dataclasses import replace

import astropy.units as u
import numpy as np
from astropy.table import MaskedColumn, QTable
from astropy.wcs import WCS

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.classification import Classification
from morpheus_lite.core.image import SkyImage

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'> “ü” <!-- {{payload}}"
BANDS = ("F160W", "F606W")
NOISE = 0.01
SHAPE = (90, 130)


def tangent_wcs(shape: tuple[int, int] = SHAPE, *, distorted: bool = False, scale: float = 0.06) -> WCS:
    """North up, East left, around a place near 0 h; with SIP polynomials as strong as those of HST's cameras."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [0.001, -27.8]
    wcs.wcs.crpix = [shape[1] / 2, shape[0] / 2]
    wcs.wcs.cd = np.array([[-scale, 0.1 * scale], [0.1 * scale, scale]]) / 3600
    if distorted:
        header = wcs.to_header(relax=True)
        header.update({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2})
        header.update({"A_2_0": 2e-5, "A_1_1": -1e-5, "A_0_2": 1e-5, "B_2_0": 1e-5, "B_1_1": -2e-5, "B_0_2": 2e-5})
        wcs = WCS(header)
    return wcs


def make_run(*, n_sources: int = 12, shape: tuple[int, int] = SHAPE, bands: tuple[str, ...] = BANDS):
    """Image, classification, labels, table and what is told of the run."""
    rng = np.random.default_rng(5)
    y, x = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    light = np.zeros(shape)
    centres = _places(n_sources, shape)
    for number, (cy, cx) in enumerate(centres):
        distance = np.hypot(y - cy, x - cx)
        labels[distance <= 4 + number % 3] = 10 + number
        light += (1 + number) * np.exp(-((distance / 2) ** 2) / 2)
    data = rng.normal(0, NOISE, (*shape, len(bands))).astype(np.float32)
    data += (0.2 * light[:, :, None] * np.linspace(1, 0.4, len(bands))).astype(np.float32)
    valid = np.ones(data.shape, bool)
    valid[3, 5] = False
    data[~valid] = 0
    wcs = tangent_wcs(shape)
    meta = {"OBJECT": HOSTILE, "cards": {"N": np.int64(3)}}
    image = SkyImage(
        data=data, bands=bands, valid=valid, wcs=wcs, name=HOSTILE, meta=meta,
        units=("ELECTRONS/S",) + (None,) * (len(bands) - 1), zero_points=(25.95,) + (None,) * (len(bands) - 1),
    )  # fmt: skip
    classification = _classification(labels, light, image, rng)
    run = {"timings": {"network": 3.0, "writing": 1.0}, "warnings": [HOSTILE, "second"], "command": HOSTILE}
    return image, classification, labels, _table(labels, centres, data, wcs), run


def _places(n_sources: int, shape: tuple[int, int]) -> np.ndarray:
    """(y, x) of sources on a grid, one apart from the other."""
    n_columns = int(np.ceil(np.sqrt(n_sources * shape[1] / shape[0]))) or 1
    row, column = np.divmod(np.arange(n_sources), n_columns)
    n_rows = int(np.ceil(n_sources / n_columns)) or 1
    return np.stack([(row + 0.5) * shape[0] / n_rows, (column + 0.5) * shape[1] / n_columns], axis=1)


def _classification(labels, light, image, rng) -> Classification:
    source = np.clip(light, 0, 0.97)
    shares = rng.dirichlet([1, 1, 1, 1], size=labels.max() + 1)[labels].astype(np.float32)
    probability = np.concatenate([shares * source[:, :, None], 1 - source[:, :, None]], axis=2).astype(np.float32)
    coverage = np.full(labels.shape, 900, np.int32)
    coverage[:2], probability[:2] = 0, np.nan
    return Classification(
        probability, coverage, image.valid_in_all, variance=(probability * (1 - probability) * 0.1).astype(np.float32),
        wcs=image.wcs, provenance={"model": "hausen2020", "options": {"stride": 1}},
    )  # fmt: skip


def _table(labels, centres, data, wcs) -> QTable:
    present = np.unique(labels[labels > 0])
    table = QTable()
    table["label"] = present.astype(np.int32)
    table["x_centroid"], table["y_centroid"] = centres[:, 1] * u.pix, centres[:, 0] * u.pix
    sky = wcs.pixel_to_world(centres[:, 1], centres[:, 0])
    table["ra"], table["dec"] = sky.ra.to(u.deg), sky.dec.to(u.deg)
    table["area"] = np.array([(labels == label).sum() for label in present], float) * u.pix**2
    for k, name in enumerate(SOURCE_CLASSES):
        table[f"p_{name}"] = np.where(np.arange(len(present)) % 4 == k, 0.7, 0.1)
    table["morphology"] = np.array(SOURCE_CLASSES)[np.arange(len(present)) % 4] if len(present) else np.array([], "U9")
    flux = np.array([data[:, :, 0][labels == label].sum() for label in present], float)
    table["segment_flux_F160W"] = flux * u.electron / u.s
    table["segment_flux_F160W"].info.description = HOSTILE
    mag = MaskedColumn(25 - 2.5 * np.log10(np.abs(flux) + 1e-9), mask=np.arange(len(present)) == 1, unit="mag")
    table["kron_mag_F160W"] = mag
    table["flags"] = (np.arange(len(present)) % 3).astype(np.int32)
    table["note"] = np.array([HOSTILE if k == 2 else "fine" for k in range(len(present))], dtype="U140")
    return table


def without_wcs(image: SkyImage) -> SkyImage:
    """The same image without a WCS."""
    return replace(image, wcs=None)
