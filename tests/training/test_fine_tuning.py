"""Fine-tuning on an observed image: labels and classes as users have them, what is held out, and that it helps."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from click.testing import CliRunner

from morpheus_lite.cli.main import cli
from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.evaluation.calibration import Calibration
from morpheus_lite.io import read_image
from morpheus_lite.models.registry import load_model, read_info
from morpheus_lite.training.config import FINE_TUNING, SamplingConfig, read_config
from morpheus_lite.training.dataset import batches, draw_patch
from morpheus_lite.training.fit import train
from morpheus_lite.training.image_config import ImageConfig
from morpheus_lite.training.observed import LABELLED_LEVEL, observe_image, read_observed
from morpheus_lite.training.targets import targets

BANDS = ("F160W", "F125W", "F606W", "F850LP")
STEP, ROWS, COLUMNS = 24, 4, 10
SPLIT = 144
TOML = """
name = "mine"
start = "hst"
steps = {steps}
warmup = 3
learning_rate = 1e-3
average = 0.5
checkpoint_every = 6
[[images]]
image = "image.fits"
labels = "labels.fits"
classes = "classes.csv"
held_out = "right 0.4"
[[stages]]
patch = 64
batch = 4
per_scene = 4
pool = 12
drop_bands = 0.0
bright_snr = 20.0
"""


def wcs():
    made = WCS(naxis=2)
    made.wcs.ctype, made.wcs.crval, made.wcs.crpix = ("RA---TAN", "DEC--TAN"), (150.0, 2.0), (120.5, 48.5)
    made.wcs.cdelt = -0.06 / 3600, 0.06 / 3600
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A night sky where the class of a round source is its size, which no network was ever told."""
    path = tmp_path_factory.mktemp("mine")
    rng = np.random.default_rng(5)
    y, x = np.indices((ROWS * STEP, COLUMNS * STEP))
    rows, columns = (axis.ravel() for axis in np.indices((ROWS, COLUMNS)))
    kinds = (rows + columns) % 4
    at = np.stack([columns, rows], axis=1) * STEP + STEP / 2 + rng.uniform(-1, 1, (len(kinds), 2))
    widths = 1.3 + 0.9 * kinds
    light = np.stack(
        [60 / s * np.exp(-0.5 * ((x - u) ** 2 + (y - v) ** 2) / s**2) for (u, v), s in zip(at, widths, strict=True)]
    )
    labels = np.where(light.max(axis=0) > 1.5, light.argmax(axis=0) + 1, 0)
    header = wcs().to_header()
    hdus = [fits.PrimaryHDU()]
    for band in BANDS:
        noisy = light.sum(axis=0) + rng.standard_normal(x.shape)
        hdus.append(fits.ImageHDU(noisy.astype("f4"), header, name=band))
    fits.HDUList(hdus).writeto(path / "image.fits")
    fits.writeto(path / "labels.fits", labels.astype("u2"))
    names = [SOURCE_CLASSES[k] for k in kinds]
    numbers = np.arange(1, len(kinds) + 1)
    Table({"label": numbers, "class": names}).write(path / "classes.csv")
    Table({"x": at[:, 0], "y": at[:, 1], "class": names}).write(path / "sources.ecsv")
    ra, dec = wcs().pixel_to_world_values(*at.T)
    Table({"RA": ra, "DEC": dec, "class": names}).write(path / "sky.fits")
    kind_map = np.where(labels > 0, kinds[np.maximum(labels, 1) - 1], BACKGROUND)
    fits.writeto(path / "kinds.fits", kind_map.astype("i2"))
    (path / "mine.toml").write_text(TOML.format(steps=12))
    return path


def config_of(folder, **values):
    return ImageConfig(image=str(folder / "image.fits"), **values).anchored(folder)


def scene_of(folder, **values):
    config = config_of(folder, **values)
    return observe_image(read_image(config.image), config)


@pytest.fixture(scope="module")
def scene(folder):
    return scene_of(folder, labels="labels.fits", classes="classes.csv")


def test_every_way_to_give_classes_says_the_same(folder, scene):
    labels, kinds = fits.getdata(folder / "labels.fits"), fits.getdata(folder / "kinds.fits")
    np.testing.assert_array_equal(scene.owner, labels)
    for values in (
        {"labels": "labels.fits", "classes": "classes.csv"},
        {"class_map": "kinds.fits"},
        {"class_map": "kinds.fits", "labels": "labels.fits"},
        {"sources": "sources.ecsv"},
        {"sources": "sky.fits"},
        {"sources": "sky.fits", "labels": "labels.fits"},
    ):
        found = scene_of(folder, **values)
        assert found.has_class.all() and len(found.soft) == ROWS * COLUMNS, values
        both = (found.owner > 0) & (labels > 0)
        assert both.sum() > 0.8 * (labels > 0).sum(), values  # thresholds are not the same everywhere
        given = found.soft[found.owner - 1].argmax(axis=-1)
        np.testing.assert_array_equal(given[both], kinds[both])


def test_what_is_not_known_does_not_count(folder, tmp_path, scene):
    table = Table.read(folder / "classes.csv")
    table[5:].write(tmp_path / "some.csv")
    mask = np.zeros((ROWS * STEP, COLUMNS * STEP), np.uint8)
    mask[:, :30] = 1
    fits.writeto(tmp_path / "mask.fits", mask)
    some = scene_of(
        folder, labels="labels.fits", classes=str(tmp_path / "some.csv"), unlabelled=str(tmp_path / "mask.fits")
    )
    whole = (slice(None), slice(None))
    target, weight = targets(some, whole, np.ones(4, bool))
    assert some.has_class.sum() == len(table) - 5
    np.testing.assert_array_equal(target[..., BACKGROUND] < 0.5, scene.owner > 0)
    unknown = np.isin(some.owner, np.arange(1, 6)) & (mask == 0)
    assert unknown.any() and (weight[unknown, 0] > 0).all() and not weight[unknown, 1].any()
    assert not weight[mask > 0].any() and (weight[mask == 0][:, 0] > 0).all()
    sampling = SamplingConfig(patch=32, bright=1, faint=0, large=0, anywhere=0, bright_snr=20, drop_bands=0)
    for seed in range(4):  # centred on a source with a class
        _, _, _, weight = draw_patch(np.random.default_rng(seed), some, sampling)
        assert weight[..., 1].any()


def test_a_label_is_source_however_faint_and_its_signal_that_of_the_image(scene):
    level = np.sqrt((scene.signal**2).sum(axis=2))
    assert (level[scene.owner > 0] >= LABELLED_LEVEL - 1e-5).all() and not level[scene.owner == 0].any()
    bright = level > 20
    assert 0.75 < scene.signal[bright].sum() / scene.snr[bright].sum() < 1.05  # smoothing lowers the cores
    place = np.stack([scene.position[:, 1], scene.position[:, 0]]) % STEP
    assert np.abs(place - STEP / 2).max() < 2


def test_correlated_noise_hides_signal(folder, scene):
    from scipy.ndimage import gaussian_filter

    config = config_of(folder, labels="labels.fits", classes="classes.csv")
    image = read_image(config.image)
    noise = gaussian_filter(np.random.default_rng(3).standard_normal(image.data.shape), (1, 1, 0))
    smooth = replace(image, data=(image.data / 100 + noise / noise.std()).astype(np.float32))
    found = observe_image(replace(smooth, data=smooth.data + image.data), config)
    bright = np.sqrt((scene.signal**2).sum(axis=2)) > 20
    assert found.signal[bright].sum() < 0.6 * found.snr[bright].sum()


def test_the_held_out_part_is_never_trained_on(folder):
    config = read_config(folder / "mine.toml")
    (trained,), (held,) = read_observed(config)
    assert trained.owner.shape == (96, SPLIT)
    assert held.owner.shape == (96, 96) and set(np.unique(held.owner)).isdisjoint(np.unique(trained.owner)[1:])
    in_two = replace(config.images[0], held_out="right 0.55")  # cuts sources in two
    (first,), (second,) = read_observed(replace(config, images=(in_two,)))
    assert second.owner.shape[1] % config.model.factor == 0 and not second.labelled[:, 132:].any()
    shared = np.intersect1d(np.unique(first.owner)[1:], np.unique(second.owner)[1:])
    assert len(shared) and not second.labelled[np.isin(second.owner, shared)].any()
    patches = batches((), config.stages[0], 1, observed=[trained])
    batch = next(patches)
    seen = batch.snr[0][batch.valid[0] > 0]
    assert batch.snr.shape == (4, 64, 64, 4) and len(seen) and np.isin(seen, trained.snr).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"labels": "small.fits", "classes": "classes.csv"},
            r"its label map .* has shape \(10, 10\), the image \(96, 240\)",
        ),
        ({"labels": "labels.fits", "classes": "bare.csv"}, "no classes; expected a column class"),
        ({"labels": "labels.fits", "classes": "galaxy.csv"}, "unknown class 'galaxy'; expected one of spheroid"),
        ({"labels": "labels.fits", "classes": "blank.csv"}, "no source has a class"),
        ({"labels": "labels.fits", "classes": "other.csv"}, "none of its 1 labels is in the label map"),
        ({"class_map": "small.fits"}, "class map has shape"),
        ({"sources": "nowhere.csv"}, "no positions; expected columns x, y or ra, dec"),
        ({"sources": "far.csv"}, "none of its 1 positions lies in"),
        ({"labels": "labels.fits", "classes": "classes.csv", "unlabelled": "small.fits"}, "mask has shape"),
        ({"labels": "image.fits", "classes": "classes.csv"}, "not clear which image is the segmentation map"),
    ],
)
def test_errors_say_what_to_do(folder, values, message):
    if not (folder / "small.fits").exists():
        fits.writeto(folder / "small.fits", np.zeros((10, 10), "i2"))
        (folder / "bare.csv").write_text("label,mag\n1,20\n")
        (folder / "galaxy.csv").write_text("label,class\n1,galaxy\n")
        (folder / "blank.csv").write_text("label,class\n1,unknown\n")
        (folder / "other.csv").write_text("label,class\n999,disk\n")
        (folder / "nowhere.csv").write_text("label,class\n1,disk\n")
        (folder / "far.csv").write_text("x,y,class\n-50,3,disk\n")
    with pytest.raises(InputError, match=message):
        scene_of(folder, **values)


def test_positions_on_the_sky_need_a_wcs(folder):
    config = config_of(folder, sources="sky.fits")
    with pytest.raises(InputError, match="the image has no WCS"):
        observe_image(replace(read_image(config.image), wcs=None), config)


def test_configuration_is_checked(folder, tmp_path):
    config = read_config(folder / "mine.toml")
    assert (config.steps, config.patience, config.model.bands) == (12, FINE_TUNING["patience"], BANDS)
    image = config.images[0]
    with pytest.raises(OptionError, match="no classes given"):
        ImageConfig(image="a.fits", labels="b.fits")
    with pytest.raises(OptionError, match="classes and sources given"):
        ImageConfig(image="a.fits", labels="b.fits", classes="c.csv", sources="d.csv")
    with pytest.raises(OptionError, match="give labels as well"):
        ImageConfig(image="a.fits", classes="c.csv")
    for bad in ("right", "middle 0.2", "top 1.5", ""):
        with pytest.raises(OptionError, match="expected a side"):
            replace(image, held_out=bad)
    with pytest.raises(OptionError, match="nothing to validate on"):
        replace(config, images=(replace(image, held_out="none"),))
    with pytest.raises(OptionError, match="nothing to train on"):
        replace(config, images=(replace(image, held_out="all"),))
    with pytest.raises(OptionError, match="factored"):
        replace(config, loss="cross_entropy_dice")
    with pytest.raises(InputError, match="96 x 144 px, a patch 128 px"):
        read_observed(replace(config, stages=(SamplingConfig(patch=128),)))
    for text, message in (
        ("start = 'hst'\nimages = [{image = 'a', label = 'b'}]", "images: unknown label"),
        ("start = 'hausen2020'", "only one-pass models"),
    ):
        (tmp_path / "bad.toml").write_text(f"name = 'x'\n{text}")
        with pytest.raises(OptionError, match=message):
            read_config(tmp_path / "bad.toml")


@pytest.mark.parametrize("side", ["left 0.25", "right 0.25", "top 0.25", "bottom 0.25"])
def test_parts_cover_the_image_once(side):
    image = ImageConfig(image="a.fits", class_map="b.fits", held_out=side)
    seen = np.zeros((40, 80), int)
    training, held_out = image.parts(seen.shape)
    seen[training.slices] += 1
    seen[held_out.slices] += 10
    assert (seen == 1).sum() == 2400 and (seen == 10).sum() == 800
    corner = {"left": seen[0, 0], "right": seen[0, -1], "bottom": seen[0, 0], "top": seen[-1, 0]}
    assert corner[side.split()[0]] == 10


def test_one_calibration_after_another_is_one():
    probability = np.random.default_rng(0).dirichlet(np.ones(5), 50)
    first, second = Calibration(1.3, (0.1, 0, -0.4, 0, 0.3)), Calibration(0.7, (0, 0, 0, 0, 0.5))
    np.testing.assert_allclose(first.then(second).apply(probability), second.apply(first.apply(probability)), rtol=1e-6)


def test_a_few_steps_help_and_a_run_goes_on(folder, tmp_path):
    run, output = tmp_path / "run", tmp_path / "weights"
    (folder / "short.toml").write_text(TOML.format(steps=6))
    short = read_config(folder / "short.toml")
    train(short, run)
    result = CliRunner().invoke(
        cli, ["train", str(folder / "mine.toml"), "--run", str(run), "-o", str(output)], catch_exceptions=False
    )
    assert result.exit_code == 0 and str(output) in result.output
    with (run / "log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["step"]) for row in rows] == [0, 6, 12]  # the start, and on where it stopped
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])
    assert (run / "training_curves.png").is_file() and "| loss |" in (output / "card.md").read_text()
    model = load_model(output)
    fitted = model.settings["calibration"]["fitted"]
    _, (held,) = read_observed(short)
    assert fitted["n_pixels"] == (held.weight[..., 0] > 0).sum() and model.pixel_scale == 0.06
    assert fitted["log_loss_after"] <= fitted["log_loss_before"]
    assert model.settings["source_calibration"] == read_info("hst").settings["source_calibration"]


def test_the_bundled_example_can_be_read():
    config = read_config(Path(__file__).parents[2] / "examples" / "fine_tune.toml")
    (trained,), held_out = read_observed(config)
    assert trained.owner.shape == (512, 333) and trained.has_class.sum() >= 50
    assert sum((piece.owner > 0).sum() for piece in held_out) > 5000
