"""Compiled loops over pixels give what NumPy gives: the same bits of a mesh, the input of networks up to rounding."""

import os
import runpy
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import reference_loops
from scipy import ndimage

from morpheus_lite.core import loops
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import FilePixels
from morpheus_lite.core.windows import Window
from morpheus_lite.models.engines import cells_shape, stretched_cells
from morpheus_lite.models.network_config import OnePassConfig
from morpheus_lite.noise import background_mesh
from morpheus_lite.noise.background_mesh import BackgroundMesh, SkyStep, normalize, subtract
from morpheus_lite.noise.detection_image import make_detection_image


@pytest.mark.parametrize("n_columns", [1, 2, 5])
def test_mesh(n_columns):
    mesh = np.random.default_rng(0).standard_normal((3, n_columns)).astype(np.float32)
    centers = np.array([50.0, 150, 260]), 40.0 + 100 * np.arange(n_columns)
    window = Window(20, 7, 301, 480)
    columns = background_mesh._positions(centers[1], window.x, window.width)
    plain = reference_loops.interpolate_rows(background_mesh._rows(mesh, centers, window), *columns)
    np.testing.assert_array_equal(background_mesh.interpolate_mesh(mesh, centers, window), plain)


@pytest.mark.parametrize("steps", [(), (SkyStep(1, 0, 100, 0.5),)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("see", [normalize, subtract])
def test_light_over_the_background(monkeypatch, see, axes, steps):
    rng = np.random.default_rng(5)
    data = rng.standard_normal((300, 260, 2)).astype(np.float32)
    data[rng.random(data.shape) < 0.1] = 0.7
    data[5, 7], data[6, 8] = np.inf, 3e38
    data = np.ascontiguousarray(data.transpose(axes)).transpose(np.argsort(axes))
    image = SkyImage(data, ("a", "b"), rng.random(data.shape) < 0.9)
    background, sigma = rng.uniform(0.5, 2, (2, 2, 2, 2)).astype(np.float32)
    mesh = BackgroundMesh(image.shape, (np.array([63.5, 213.5]), np.array([63.5, 193.5])), background, sigma / 100)
    mesh = replace(mesh, void=((0.7,), ()), steps=steps)
    fast = see(image, mesh)
    monkeypatch.setattr(background_mesh, "less_mesh", reference_loops.less_mesh)
    plain = see(image, mesh)
    if see is subtract:
        fast, plain = ((one.data, one.valid) for one in (fast, plain))
    for one, other in zip(fast, plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert 0 < np.count_nonzero(fast[1][..., 0]) < np.count_nonzero(fast[1][..., 1])


@pytest.mark.parametrize("bands", [("F160W", "F125W", "F606W"), ()])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_cells(bands, axes):
    config = OnePassConfig(((1, 4),), (1, 4), ((1, 4),), cell=2, bands=bands)
    rng = np.random.default_rng(1)
    snr = (rng.standard_normal((24, 32, 3)) * 10.0 ** rng.uniform(-6, 6, (24, 32, 3))).astype(np.float32)
    snr[rng.random(snr.shape) < 0.1] = np.nan
    # Values may lie in memory in any order.
    snr = np.ascontiguousarray(snr.transpose(axes)).transpose(np.argsort(axes))[None]
    valid = np.isfinite(snr) & (snr < 1e5)
    fast, plain = np.full((2, *cells_shape(snr.shape, config)), np.nan, np.float32)
    stretched_cells(snr, valid, config, fast)
    reference_loops.stretched_cells(snr, valid, config, plain)
    np.testing.assert_allclose(fast, plain, rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("module", ["morpheus_lite.core._loops", "morpheus_lite.catalog._kernels"])
def test_a_build_of_another_version_is_refused(module):
    with pytest.raises(ImportError, match=r"from another version, without not_yet_there; .* install it again"):
        loops.load_loops(module, {"not_yet_there": "i"})


def test_a_build_that_is_missing_is_asked_for():
    with pytest.raises(ImportError, match=r"module morpheus_lite.core._none is missing; .* takes a C compiler"):
        loops.load_loops("morpheus_lite.core._none", {})


def test_a_build_that_cannot_be_loaded_is_refused(tmp_path, monkeypatch):
    (tmp_path / "broken.abi3.so").write_bytes(b"of another machine")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"broken.abi3.so cannot be loaded \(.*install it again"):
        loops.load_loops("broken", {})


def test_a_package_without_its_compiled_part_says_so_when_imported(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"morpheus_lite.core._loops is missing; .* install it again"):
        runpy.run_path(loops.__file__)


def test_a_build_that_is_older_than_its_source_is_refused(tmp_path, monkeypatch):
    built = tmp_path / "earlier.abi3.so"
    shutil.copy(Path(find_spec("morpheus_lite.core._loops").origin), built)
    source = tmp_path / "earlier.c"
    source.touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert find_spec("earlier").origin == str(built)
    os.utime(built, (1, 1))
    with pytest.raises(ImportError, match=r"earlier.abi3.so is older than its source earlier.c; .* install it again"):
        loops.load_loops("earlier", {"interpolate": "iiipppp"})
    source.unlink()
    assert callable(loops.load_loops("earlier", {"interpolate": "iiipppp"}))


@pytest.mark.parametrize("square", [False, True])
def test_sums_over_rectangles(square):
    rng = np.random.default_rng(2)
    plane, wanted = rng.standard_normal((37, 41)).astype(np.float32), rng.random((37, 41)) < 0.8
    fast = loops.integral(plane[:, 3:], wanted[:, 3:], square=square)
    np.testing.assert_array_equal(fast, reference_loops.integral(plane[:, 3:], wanted[:, 3:], square=square))
    assert fast[-1, -1] == pytest.approx((plane.astype(float) ** (1 + square) * wanted)[:, 3:].sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_values", [1, 2, 3, 1000, 1001])
@pytest.mark.parametrize("around", [None, 0.3])
def test_medians(dtype, n_values, around):
    rng = np.random.default_rng(n_values)
    for values in (rng.standard_normal(n_values), rng.integers(-3, 4, n_values) / 8, np.zeros(n_values)):
        values = values.astype(dtype)
        found = loops.median(values, around)
        assert found == np.median(values if around is None else np.abs(values - dtype(around)))
        assert found.dtype == dtype


@pytest.mark.parametrize("dtype", [">f4", ">f8", "i2"])
def test_medians_of_other_types(dtype):
    values = np.array([3, 1, 2, 7]).astype(dtype)
    assert loops.median(values) == 2.5
    assert np.isnan(loops.median(values[:0]))


@pytest.mark.parametrize("scatter", [(0.5, 2.0), (None, 2.0), (0.0, None)])
def test_sums_of_bands(scatter):
    rng = np.random.default_rng(3)
    data, rms = rng.standard_normal((2, 31, 37, 2)).astype(np.float32)
    rms = rms.astype(np.float64)  # as images made in memory may have it
    image = SkyImage(data, ("a", "b"), rng.random(data.shape) < 0.8, rms=rms)
    found = make_detection_image(image, scatter)
    np.testing.assert_array_equal(found, reference_loops.make_detection_image(image, scatter))
    assert np.count_nonzero(found)


@pytest.mark.parametrize("min_area", [1, 4, 30])
@pytest.mark.parametrize("seed", range(6))
def test_sources_that_stay_whole(seed, min_area):
    rng, corners = np.random.default_rng(seed), np.ones((3, 3))
    light = 10 * ndimage.gaussian_filter(rng.normal(size=(40, 50)), 6 - seed)
    parts, _ = ndimage.label(light > 0.2, corners)
    for own in (parts == np.bincount(parts[parts > 0]).argmax(), parts > 0, parts < 0):
        levels = np.linspace(0.2, light.max(), 12)
        large = []
        for level in levels:
            above, _ = ndimage.label(own & (light > level), corners)
            large.append(np.count_nonzero(np.bincount(above.ravel())[1:] >= min_area))
        expected = max(large) < 2 and ndimage.label(own, corners)[1] == 1
        assert loops.stays_whole(light, own, levels, min_area) == expected
    assert loops.stays_whole(light, own, levels[:0], min_area) is False
    assert loops.stays_whole(light, parts == 1, levels[:0], min_area) is True


@pytest.mark.parametrize("dtype", ["u1", ">f4", "<i4", ">f8"])
@pytest.mark.parametrize(
    "window", [Window(0, 0, 30, 40), Window(3, 5, 20, 7), Window(29, np.int64(39), 1, 1), Window(4, 4, 0, 3)]
)
def test_windows_of_a_file(tmp_path, window, dtype):
    plane = np.random.default_rng(0).integers(0, 200, (30, 40)).astype(dtype)
    path = tmp_path / "plane"
    path.write_bytes(b"head" + plane.tobytes())
    with path.open("rb") as file:
        pixels = FilePixels(file.fileno(), (30, 40), np.dtype(dtype), 4)
        found = pixels.read(window)
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(found, plane[window.slices])


def test_a_file_that_is_too_short(tmp_path):
    (tmp_path / "plane").write_bytes(bytes(99))
    with (tmp_path / "plane").open("rb") as file, pytest.raises(OSError, match="shorter"):
        FilePixels(file.fileno(), (10, 10), np.dtype("u1")).read(Window(5, 5, 5, 5))
