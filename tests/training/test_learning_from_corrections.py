"""Training from corrections: what is held out, what is said to have become better, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner
from round_sources import SOURCE_KINDS, make_sky
from star_fields import seen, star_grid

from morpheus_lite.cli.main import cli
from morpheus_lite.core.classes import BACKGROUND, SOURCE_CLASSES
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io import write_corrections
from morpheus_lite.io.corrections import Correction, SourcePart
from morpheus_lite.training.checkpoint import append_rows
from morpheus_lite.training.config import TrainingConfig, configure
from morpheus_lite.training.image_config import ImageConfig
from morpheus_lite.training.observed import bin_labelling, hold_out_sources, observe_image, read_observed
from morpheus_lite.training.source_scores import HELD_OUT, improvement
from morpheus_lite.training.targets import Labelling, targets

FALSE = (3, 4, 9, 27, 33, 41, 48)


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    return make_sky(tmp_path_factory.mktemp("sky"))


@pytest.fixture(scope="module")
def path(sky):
    """Labels 1-40 have a class, seven are false, 49 and 50 are one source, 42 is two; nobody looked at 43 to 47."""
    places = np.argwhere(sky.labels == 42)[[0, -1], ::-1].tolist()
    sources = [Correction((k,), SOURCE_CLASSES[SOURCE_KINDS[k - 1]]) for k in range(1, 41) if k not in FALSE]
    sources += [Correction((k,), "background") for k in FALSE]
    sources += [
        Correction((49, 50), "disk"),
        Correction((42,), None, (SourcePart(*places[0], "spheroid"), SourcePart(*places[1]))),
    ]
    return write_corrections(sources, sky.image, sky.labels, sky.path.with_name("c.json"), model="hst")


@pytest.fixture(scope="module")
def scene(sky, path):
    config = configure(path, sky.path, labels=sky.labels_path)
    whole = replace(config, images=(replace(config.images[0], held_out="none"),), validation=("none.npz",))
    (trained,), _ = read_observed(whole)
    return trained


def test_corrections_become_targets(sky, scene):
    whole = (slice(None), slice(None))
    target, weight = targets(scene, whole, np.ones(4, bool))
    is_false = np.isin(sky.labels, FALSE)
    np.testing.assert_array_equal(target[..., BACKGROUND] < 0.5, (sky.labels > 0) & ~is_false)
    np.testing.assert_array_equal(scene.false > 0, is_false)
    assert (weight[is_false, 0] > 0).all() and not weight[is_false, 1].any()
    for label in (1, 20, 40):
        inside = sky.labels == label
        assert (target[inside].argmax(axis=1) == SOURCE_KINDS[label - 1]).all() and (weight[inside, 1] > 0).all()
    unseen = np.isin(sky.labels, range(43, 48))
    assert (weight[unseen, 0] > 0).all() and not weight[unseen, 1].any()
    assert len(np.unique(scene.owner[np.isin(sky.labels, (49, 50))])) == 1
    assert len(np.unique(scene.owner[sky.labels == 42])) == 2


def test_held_out_sources_are_never_trained_on(sky, scene):
    training, held = hold_out_sources(scene, 0.3)
    assert not (training.labelled & held.labelled).any()
    trained, tested = np.flatnonzero(training.has_class), np.flatnonzero(held.has_class)
    assert not set(trained) & set(tested) and len(trained) + len(tested) == scene.has_class.sum()
    assert 0.15 < len(tested) / scene.has_class.sum() < 0.45
    inside = np.isin(scene.owner, tested + 1)
    assert held.labelled[inside].all() and not training.labelled[inside].any()
    assert training.labelled[np.isin(scene.owner, trained + 1)].all()
    regions = [scene.false == k for k in range(1, 8)]
    held_false = [region for region in regions if held.labelled[region].all()]
    assert len(held_false) and all(training.labelled[r].all() != held.labelled[r].all() for r in regions)
    near = np.zeros_like(inside)
    y, x = (int(v) for v in np.argwhere(inside)[0])
    near[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5] = True
    assert not training.labelled[near & (scene.owner == 0) & (scene.false == 0)].any()


def test_the_same_sources_are_held_out_when_more_are_corrected(scene):
    fewer = replace(scene, has_class=scene.has_class & (np.arange(len(scene.soft)) < 25))
    held = [hold_out_sources(one, 0.3)[1].has_class for one in (fewer, scene)]
    np.testing.assert_array_equal(held[0][:25], held[1][:25])
    with pytest.raises(InputError, match=r"1 sources with a class, of which [01] are held out"):
        hold_out_sources(replace(scene, has_class=np.arange(len(scene.soft)) == 3), 0.3)


def log_of(path, *columns):
    """A run in which each step makes some of eight disks right, and a false source at last."""
    for step, right in enumerate(columns):
        shares = [0.9 if ok == "+" else 0.2 for ok in right]
        rows = [
            {"image": "0 a", "source": k, "class": "disk", "p_spheroid": 1 - p, "p_disk": p, "p_irregular": 0.0}
            | {"p_point_source": 0.0, "p_source": 1.0}
            for k, p in enumerate(shares[:-1], 1)
        ]
        rows.append(rows[0] | {"source": -1, "class": "background", "p_source": 1 - shares[-1]})
        append_rows(path / HELD_OUT, step, rows)


def test_each_half_is_scored_where_the_other_chose(tmp_path):
    # sorted, the false source comes first: one half is it, 2, 4, 6, 8, the other 1, 3, 5, 7
    log_of(tmp_path, "--------" + "-", "+-+-+-+-" + "-", "-+-+-+-+" + "+")
    found = improvement(tmp_path, 1)
    # the odd ones choose step 1, where no even one is right; the even ones step 2, where no odd one is
    assert found.totals == (9, 0, 0) and found.mended == found.spoiled == 0
    assert "No class got better" in str(found)


def test_what_got_better_is_told(tmp_path):
    log_of(tmp_path, "+-------" + "-", "-+++++++" + "+")
    found = improvement(tmp_path, 1)
    assert found.counts == {"disk": (8, 1, 7), "background": (1, 0, 1)}
    assert (found.mended, found.spoiled) == (8, 1)
    assert found.chance == pytest.approx((1 + 9) / 2**9)  # 8 or 9 heads of 9
    assert "no source      0 -> 1 of 1" in str(found) and "Better: 8 mended, 1 spoiled (chance 0.02)." in str(found)
    log_of(tmp_path, "+-------" + "-", "+++-----" + "-")
    assert "correct more sources" in str(improvement(tmp_path, 1))
    assert "Nothing got better" in str(improvement(tmp_path, 0))
    assert improvement(tmp_path / "nowhere", 0) is None


def test_class_maps_are_found_beside_the_corrections(sky, path, tmp_path):
    with pytest.raises(OptionError, match=r"image_morpheus.fits.*--labels"):
        configure(path, sky.path)
    beside = path.with_name("image_morpheus.fits")
    beside.write_bytes(sky.labels_path.read_bytes())
    try:
        config = configure(path, sky.path)
        assert config.images[0].labels == str(beside) and config.start == "hst"
        assert config.images[0].held_out == "sources 0.3" and config.name == "image_corrected"
    finally:
        beside.unlink()
    with pytest.raises(OptionError, match="only one-pass models"):
        configure(path, sky.path, labels=sky.labels_path, start="hausen2020")
    other = write_corrections(
        [Correction((1,), "disk")], sky.image, sky.labels, tmp_path / "other.json", model="hausen2020"
    )
    with pytest.raises(OptionError, match="--start"):
        configure(other, sky.path, labels=sky.labels_path)


def test_wrong_files_are_refused(sky, path, tmp_path):
    config = configure(path, sky.path, labels=sky.labels_path)
    image = config.images[0]
    with pytest.raises(OptionError, match="corrections are for the labels of a label map"):
        replace(image, labels=None)
    with pytest.raises(OptionError, match="classes and corrections given"):
        replace(image, classes="a.csv")
    with pytest.raises(OptionError, match="expected a side"):
        replace(image, held_out="sources 1.5")
    moved = write_corrections(
        [Correction((1,), "disk")], replace(sky.image, data=sky.image.data + 1), sky.labels, tmp_path / "m.json"
    )
    with pytest.raises(InputError, match="other pixels in"):
        read_observed(replace(config, images=(replace(image, corrections=str(moved)),)))
    values = {"start": "hst", "name": "x", "images": [{"image": "a", "labels": "b", "corrections": "c"}]}
    assert TrainingConfig.from_dict(values).images[0].held_out == "right 0.25"
    arguments = ["train", "a.toml", "--start", "hst", "-o", str(tmp_path / "w")]
    with pytest.raises(OptionError, match="go with --corrections"):
        CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_a_bin_has_the_label_of_most_of_its_pixels():
    owner = np.array([[1, 1, 0], [0, 2, 0], [3, 3, 3]], np.int32)
    labelled = np.array([[True, True, False], [True, True, True], [True, True, True]])
    soft, has_class = np.full((3, 4), 0.25, np.float32), np.zeros(3, bool)
    found = bin_labelling(Labelling(owner, soft, has_class, labelled, np.where(owner == 3, 1, 0).astype(np.int32)), 2)
    np.testing.assert_array_equal(found.owner, [[1, 0], [3, 0]])
    np.testing.assert_array_equal(found.labelled, [[True, False], [True, True]])
    np.testing.assert_array_equal(found.false, [[0, 0], [1, 0]])
    assert found.owner.dtype == np.int32


def test_wide_psfs_are_learnt_binned_as_they_are_seen(tmp_path):
    light = star_grid(6.0, n=4)
    place = np.arange(192) // 48
    labels = np.where(light > 3, 4 * place[:, None] + place + 1, 0).astype(np.int16)
    fits.writeto(tmp_path / "labels.fits", labels)
    Table({"label": np.arange(1, 17), "class": ["point_source"] * 16}).write(tmp_path / "classes.csv")
    config = ImageConfig(
        image="image.fits", labels=str(tmp_path / "labels.fits"), classes=str(tmp_path / "classes.csv")
    )
    scene = observe_image(seen(light), config)
    assert scene.snr.shape == (96, 96, 1) and scene.has_class.all()
    whole = labels.reshape(96, 2, 96, 2)
    same = (whole == whole[:, :1, :, :1]).all(axis=(1, 3))
    np.testing.assert_array_equal(scene.owner[same], whole[:, 0, :, 0][same])
    low, high = np.percentile(scene.snr[scene.owner == 0], (15.87, 84.13))
    assert (high - low) / 2 == pytest.approx(1, abs=0.08)
    at = [np.argwhere(labels == k).mean(axis=0) / 2 - 0.25 for k in range(1, 17)]
    np.testing.assert_allclose(scene.position, at, atol=0.5)
