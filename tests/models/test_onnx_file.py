"""Exported models say in ONNX Runtime what they say here; in SourceXtractor++ they find the package's sources."""

import numpy as np
import pytest

import morpheus_lite as ml
from morpheus_lite.cli import main
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import ModelError, OptionError, OutputError
from morpheus_lite.inference.network_input import bridged
from morpheus_lite.models.onnx_file import export_model
from morpheus_lite.noise.background_mesh import interpolate_mesh, measure_background, normalize
from morpheus_lite.segmentation.detection import DetectionOptions

onnxruntime, sep = pytest.importorskip("onnxruntime"), pytest.importorskip("sep")

BANDS = ("F160W", "F125W", "F606W", "F850LP")


def sky(shape, n_bands=4, n_sources=40, seed=0):
    """Gaussian galaxies on noise of differing depth, some pixels missing."""
    rng = np.random.default_rng(seed)
    data = rng.normal(3, 1, (*shape, n_bands))
    rows, columns = np.indices(shape)
    for _ in range(n_sources):
        y, x, width, peak = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(2, 5), rng.uniform(5, 60)
        data += peak * np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / width**2)[..., None]
    valid = np.ones(data.shape, bool)
    valid[20:30, 40:60] = False
    valid[:, : shape[1] // 5, -1] &= n_bands == 1
    return ml.SkyImage(data.astype(np.float32), BANDS[:n_bands], valid)


def run(path, **inputs):
    session = onnxruntime.InferenceSession(path)
    assert {one.name for one in session.get_inputs()} == set(inputs)
    values = {name: np.ascontiguousarray(value, np.float32) for name, value in inputs.items()}
    return session.run(None, values)[0], session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize(("name", "n_bands"), [("hst", 4), ("any", 2)])
@pytest.mark.parametrize("shape", [(203, 150), (96, 128)])
def test_one_pass_models_take_images_of_any_size(name, n_bands, shape, tmp_path):
    image = sky(shape, n_bands)
    expected = ml.classify(image, name).probability
    seen = np.isfinite(expected[..., 0])
    snr, valid = bridged(*normalize(image, measure_background(image)))
    snr[~valid] = np.nan  # which must not matter
    answer, facts = run(export_model(name, tmp_path / "model.onnx"), snr=snr[None], valid=valid[None])
    assert answer.shape == (1, *shape, 5)
    np.testing.assert_allclose(answer[0][seen], expected[seen], rtol=0, atol=1e-5)
    assert facts["name"] == name and facts["classes"].split(",") == list(ml.CLASSES)
    assert facts["normalization"] == "snr = (data - background) / noise"


def test_normalisation_in_the_graph(tmp_path):
    image = sky((150, 170))
    expected = ml.classify(image, "hst").probability
    noise, whole = measure_background(image), Window(0, 0, *image.shape)
    background, sigma = (
        np.stack([interpolate_mesh(mesh[..., b], noise.centers, whole) for b in range(4)], axis=-1)[None]
        for mesh in (noise.background, noise.sigma)
    )
    snr, valid = bridged(*normalize(image, noise))
    data = snr * sigma + background
    path = export_model("hst", tmp_path / "model.onnx", with_normalization=True)
    answer, _ = run(path, data=data, background=background, noise=sigma, valid=valid[None])
    seen = np.isfinite(expected[..., 0])
    np.testing.assert_allclose(answer[0][seen], expected[seen], rtol=0, atol=1e-5)


@pytest.mark.parametrize("with_normalization", [False, True])
def test_windows_of_the_published_network(with_normalization, tmp_path):
    rng = np.random.default_rng(3)
    windows = rng.normal(0.01, 0.02, (5, 40, 40, 4)).astype(np.float32)
    windows[:, 15:25, 15:25] += rng.exponential(0.2, (5, 1, 1, 4)).astype(np.float32)
    model = ml.load_model("hausen2020", engine="tensorflow")
    batch = model.prepare(windows, None)
    path = export_model("hausen2020", tmp_path / "model.onnx", with_normalization=with_normalization)
    answer, _ = run(path, windows=windows if with_normalization else batch)
    np.testing.assert_allclose(answer, model.predict(batch), rtol=0, atol=1e-5)


def test_sourcextractor_finds_the_sources_of_the_package(tmp_path):
    """Its loop over tiles, written again: the inner half of each counts; above the threshold is a source."""
    image = sky((700, 800), n_bands=1, n_sources=220, seed=4)  # of 816 to 952 px it leaves the last out
    image.data[~image.valid] = 3  # it is not told of missing pixels
    image.valid[...] = True
    model = ml.load_model("any")
    options = DetectionOptions(**model.settings["detection"])
    result = ml.classify(image, model, psf=2.0)  # narrow: the file sees the pixels as they are, not in bins
    labels = ml.segment(result, method="probability", image=image, options=options)
    tile = 544
    session = onnxruntime.InferenceSession(export_model("any", tmp_path / "model.onnx", sourcextractor_tile=tile))
    assert session.get_inputs()[0].shape == session.get_outputs()[0].shape == [1, tile, tile, 1]
    background = sep.Background(np.ascontiguousarray(image.data[..., 0]))  # as SourceXtractor++ measures it
    subtracted = (image.data[..., 0] - background.back()) / background.globalrms
    height, width = image.shape
    found = np.zeros(image.shape, np.float32)
    for y in range(0, height - tile * 3 // 4, tile // 2):
        for x in range(0, width - tile * 3 // 4, tile // 2):
            part = subtracted[y : y + tile, x : x + tile]
            values = np.zeros((1, tile, tile, 1), np.float32)
            values[0, : part.shape[0], : part.shape[1], 0] = part
            answer = session.run(None, {"image": values})[0][0, ..., 0]
            top, left = (0 if start == 0 else tile // 4 for start in (y, x))
            bottom = tile * 3 // 4 if y + tile * 5 // 4 < height else part.shape[0]
            right = tile * 3 // 4 if x + tile * 5 // 4 < width else part.shape[1]
            found[y + top : y + bottom, x + left : x + right] = answer[top:bottom, left:right]
    sources = found > options.threshold
    both, either = (sources & (labels > 0)).sum(), (sources | (labels > 0)).sum()
    assert (labels > 0).mean() > 0.05 and both / either >= 0.95


def test_what_cannot_be_exported(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match=r"needs bands F160W, .*take 'any'"):
        export_model("hst", path, sourcextractor_tile=544)
    with pytest.raises(ModelError, match="sees windows of 40 px"):
        export_model("hausen2020", path, sourcextractor_tile=544)
    for tile in (512, 550):
        with pytest.raises(OptionError, match="multiple of 32 px, at least"):
            export_model("any", path, sourcextractor_tile=tile)
    with pytest.raises(OptionError, match="normalises by itself"):
        export_model("any", path, sourcextractor_tile=544, with_normalization=True)
    assert not path.exists()
    export_model("hst", path)
    with pytest.raises(OutputError, match="exists"):
        export_model("hst", path)


def test_the_command_names_the_file_by_model_and_format(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "hst", "--format", "onnx", "--quiet"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["hst.onnx"]
