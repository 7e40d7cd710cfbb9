"""Segmentation, deblending, catalogue and colours against outputs of the published package (morpheus-astro 0.5.1)."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from morpheus_lite import CLASSES, Classification, DeblendingOptions, SkyImage
from morpheus_lite.catalog import measure
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.segmentation.deblending import deblend
from morpheus_lite.segmentation.detection import segment
from morpheus_lite.visualization.plots import colorize

BUNDLED = Path(__file__).parents[1] / "data" / "golden"
BANDS = ("F160W", "F125W", "F606W", "F850LP")
VARIANTS = ("thr0.0_nodeblend", "thr0.0_deblend", "thr0.0_deblend_min5", "thr0.5_nodeblend", "thr0.5_deblend")


class Golden:
    """One field: input, class maps and products of the published package."""

    def __init__(self, stem):
        with np.load(stem.with_suffix(".npz")) as arrays:
            self.arrays = dict(arrays)
        self.catalog = json.loads(stem.with_suffix(".json").read_text())["catalog"]
        with fits.open(stem.with_suffix(".fits")) as hdus:
            data = np.stack([hdus[band].data for band in BANDS], axis=2).astype(np.float32)
            wcs = WCS(hdus[BANDS[0]].header)
        valid = np.isfinite(data)
        self.image = SkyImage(
            np.where(valid, data, 0), BANDS, valid, wcs=wcs, units=("electron/s",) * 4, name=stem.name
        )
        seen = self.arrays["n"] > 0
        maps = {
            suffix: np.where(seen[..., None], np.stack([self.arrays[name + suffix] for name in CLASSES], -1), np.nan)
            for suffix in ("", "_mean", "_var")
        }
        self.result = Classification(
            probability=maps["_mean"].astype(np.float32),
            variance=maps["_var"].astype(np.float32),
            vote=maps[""].astype(np.float32),
            coverage=self.arrays["n"].astype(np.int32),
            valid=np.ones(seen.shape, dtype=bool),
            wcs=wcs,
        )


@pytest.fixture(scope="module", params=["sim_a", pytest.param("xdf_a", marks=pytest.mark.shared)])
def golden(request):
    stem = BUNDLED / request.param
    if not stem.with_suffix(".npz").is_file():
        stem = request.getfixturevalue("shared") / "golden" / "morpheus_astro_0.5.1" / request.param
    return Golden(stem)


@pytest.mark.parametrize("variant", VARIANTS)
def test_labels_are_those_of_the_release(golden, variant):
    labels = segment(golden.result, threshold=0.5 if "0.5" in variant else 0.0)
    if "nodeblend" not in variant:
        labels = deblend(labels, golden.image, options=DeblendingOptions(min_distance=5 if "min5" in variant else 20))
    np.testing.assert_array_equal(labels, np.maximum(golden.arrays[f"segmap_{variant}"], 0))


def test_catalogue_is_that_of_the_release(golden):
    segments = segment(golden.result)
    table = measure(deblend(segments, golden.image), golden.image, golden.result, parents=segments)
    assert [int(label) for label in table["label"]] == [row["id"] for row in golden.catalog]
    peaks = np.stack([table["y_peak"].value, table["x_peak"].value], axis=1)
    np.testing.assert_array_equal(peaks, [row["location"] for row in golden.catalog])
    shares = np.stack([table[f"p_{name}"] for name in SOURCE_CLASSES], axis=1)
    np.testing.assert_allclose(shares, [row["morphology"] for row in golden.catalog], rtol=0, atol=1e-6)


def test_colours_are_those_of_the_release(golden):
    away = np.abs(colorize(golden.result) - golden.arrays["colorized"]).max(axis=2)
    assert (away <= 1 / 255).mean() >= 0.999


def test_sources_lie_on_the_sky_where_the_wcs_says(golden):
    labels = segment(golden.result)
    table = measure(labels, golden.image, golden.result)
    x, y = golden.image.wcs.world_to_pixel_values(table["ra"].value, table["dec"].value)
    np.testing.assert_allclose(x, table["x_centroid"].value, atol=1e-3)
    np.testing.assert_allclose(y, table["y_centroid"].value, atol=1e-3)
