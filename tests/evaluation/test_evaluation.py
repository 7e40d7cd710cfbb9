"""Evaluation: small truths made by hand, results of every kind, and what the scores must say of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from morpheus_lite.core.classes import CLASSES, SOURCE_CLASSES
from morpheus_lite.core.image import SkyImage
from morpheus_lite.errors import InputError, OptionError, OutputError
from morpheus_lite.evaluation import (
    EvaluationOptions,
    calibrate_results,
    evaluate,
    evaluate_files,
    format_scores,
    make_result,
    make_truth,
    pool_scores,
    read_result,
    read_truth,
    summarise,
    truth_of_simulation,
)
from morpheus_lite.evaluation.calibration import sample_pixels

ZERO_POINT = 25.0
OPTIONS = EvaluationOptions(margin=0, magnitudes=(18.0, 20.0, 21.0, 22.0, 23.0))


def disc(shape, x, y, radius):
    rows, columns = np.indices(shape)
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def field(shape=(80, 100)):
    """Truth with four sources of the four classes, 20 to 22.5 mag, and one too faint to own a pixel."""
    places = [(20, 20, 7, 20.0), (60, 22, 6, 20.5), (25, 60, 5, 21.5), (75, 60, 4, 22.5)]
    labels, light = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    rng = np.random.default_rng(4)
    rows = []
    for k, (x, y, radius, magnitude) in enumerate(places):
        inside = disc(shape, x, y, radius)
        labels[inside] = 10 * (k + 1)
        light[inside] += 10 ** (-0.4 * (magnitude - ZERO_POINT)) / inside.sum()
        rows.append((10 * (k + 1), x, y, magnitude))
    rows.append((99, 50.0, 40.0, 22.9))
    label, x, y, magnitude = (np.array(column) for column in zip(*rows, strict=True))
    soft = np.full((5, 4), 0.1)
    soft[np.arange(5), [0, 1, 2, 3, 1]] = 0.7
    table = {"id": label, "x": x.astype(float), "y": y.astype(float), "mag_H": magnitude}
    table |= {f"p_{name}": soft[:, k] for k, name in enumerate(SOURCE_CLASSES)}
    data = light + rng.normal(0, 1e-4, shape).astype(np.float32)
    image = SkyImage(
        data[:, :, None], ("F160W",), np.ones((*shape, 1), bool), zero_points=(ZERO_POINT,), units=("electron / s",)
    )
    return make_truth(labels, table, image=image, pixel_scale=0.06, name="by hand")


@pytest.fixture
def truth():
    return field()


def maps_of(truth, confidence=0.9):
    """Class maps that give the true class of each pixel this probability, and the others the rest alike."""
    soft = np.eye(5)[truth.pixel_class] * (confidence - (1 - confidence) / 4) + (1 - confidence) / 4
    return soft.astype(np.float32)


def test_the_truth_itself_scores_full_marks(truth):
    scores = evaluate(truth, make_result(truth.labels, probability=maps_of(truth), name="itself"), options=OPTIONS)
    assert scores.purity == 1 and len(scores.detections) == 4
    assert scores.completeness.n_tried.tolist() == [0, 2, 1, 2] and scores.completeness.n_success.tolist() == [
        0,
        2,
        1,
        1,
    ]
    assert scores.ious() == {"source": 1, "sky": 1, "source_maps": 1} | dict.fromkeys(SOURCE_CLASSES, 1)
    assert scores.fates()["truth"] == {"matched": 4, "blended": 0, "displaced": 0, "undetected": 1}
    assert np.trace(scores.confusion()) == 4 and scores.confusion()[1, 4] == 1
    matched = scores.truth_sources[scores.truth_sources["match"] > 0]
    np.testing.assert_allclose(matched["flux_residual"], 0, atol=0.03)
    assert (matched["area_ratio"] == 1).all() and (matched["iou"] == 1).all() and (matched["distance"] < 0.06).all()
    assert (matched["class_in_place"] == matched["true_class"]).all()
    np.testing.assert_allclose(np.sort(scores.detections["magnitude"]), [20, 20.5, 21.5, 22.5], atol=0.03)


def test_reliability_knows_hard_from_soft_labels(truth):
    scores = evaluate(truth, make_result(truth.labels, probability=maps_of(truth, 0.7)), options=OPTIONS)
    # 70 % is right of sources, whose labels say 0.7, and too low for sky, which is certain.
    assert scores.reliability["source_pixels"].error == pytest.approx(0, abs=1e-6)
    assert scores.reliability["source_pixels_hard"].error == pytest.approx(0.3, abs=1e-6)
    assert scores.reliability["pixels"].error == pytest.approx(0.3 * np.mean(truth.labels == 0), abs=1e-4)
    assert scores.reliability["sources"].total == 4


def test_spurious_split_and_blended_are_counted(truth):
    labels = truth.labels.copy()
    labels[labels == 20] = 10  # two sources merged into one detection
    left = (labels == 30) & (np.indices(labels.shape)[1] < 24)
    labels[left] = 7  # one source cut in two
    labels[2:5, 90:94] = 8  # noise
    labels[labels == 40] = 0  # one missed
    scores = evaluate(truth, make_result(labels), options=EvaluationOptions(margin=0, radius=0.2))
    assert scores.fates()["detections"]["spurious"] == 1
    fates = dict(zip(scores.truth_sources["label"].tolist(), scores.truth_sources["fate"].tolist(), strict=True))
    assert fates[40] == "undetected" and fates[20] == "blended" and fates[99] == "undetected"
    kinds = dict(zip(scores.detections["label"].tolist(), scores.detections["fate"].tolist(), strict=True))
    assert kinds[8] == "spurious" and "split" in (kinds[7], kinds[30]) and kinds[10] == "displaced"
    assert scores.overlap_completeness.n_tried.sum() == 4


@pytest.mark.parametrize(("radius", "n_matched"), [(0.29, 0), (0.31, 1)])
def test_the_radius_is_in_arcseconds(radius, n_matched):
    labels = np.zeros((40, 40), np.int32)
    labels[10:15, 10:15] = 1
    truth = make_truth(labels, {"label": [1], "x": [17.0], "y": [12.0], "mag_F160W": [21.0]}, pixel_scale=0.06)
    result = make_result(labels, {"id": [1], "x": [12.0], "y": [12.0]})
    scores = evaluate(truth, result, options=EvaluationOptions(margin=0, radius=radius))
    assert np.sum(scores.detections["match"] > 0) == n_matched


def test_margin_and_invalid_pixels_do_not_count(truth):
    valid = np.ones(truth.shape, bool)
    valid[:, 70:] = False
    table = {"label": truth.sources["label"], "x": truth.sources["x"], "y": truth.sources["y"]}
    cut = make_truth(truth.labels, table, valid=valid)
    scores = evaluate(cut, make_result(truth.labels), options=EvaluationOptions(margin=21, radius=2))
    assert scores.truth_sources["label"].tolist() == [20, 99] and scores.n_pixels == (80 - 42) * (70 - 21)
    assert scores.source_sky.sum() == scores.n_pixels


def test_catalogue_decides_what_is_a_detection(truth, caplog):
    result = make_result(truth.labels, {"NUMBER": [10, 20], "X_IMAGE": [21.0, 61.0], "Y_IMAGE": [21.0, 23.0]})
    assert "2 segments" in caplog.text and set(np.unique(result.labels)) == {0, 10, 20}
    assert result.sources["x"].tolist() == [20, 60]  # SExtractor counts pixels from 1
    scores = evaluate(truth, result, options=OPTIONS)
    assert len(scores.detections) == 2 and (scores.detections["match"] == [10, 20]).all()
    with pytest.raises(InputError, match="twice"):
        make_result(truth.labels, {"label": [10, 10]})


def test_classes_come_from_the_catalogue_first(truth):
    result = make_result(
        truth.labels,
        {"label": [10, 20, 30, 40], "class": ["disk", "Disk", "", "point source"]},
        probability=maps_of(truth),
    )
    scores = evaluate(truth, result, options=OPTIONS)
    called = dict(
        zip(scores.truth_sources["label"].tolist(), scores.truth_sources["called_class"].tolist(), strict=True)
    )
    assert (called[10], called[20], called[30], called[40]) == (1, 1, -1, 3)
    accuracy = scores.class_accuracy([18, 23])
    assert (accuracy.n_success[0], accuracy.n_tried[0]) == (2, 3)
    with pytest.raises(InputError, match="unknown class 'elliptic'"):
        make_result(truth.labels, {"label": [10], "class": ["elliptic"]}).shares


def test_scores_sort_sure_from_doubtful_detections(truth):
    labels, maps = truth.labels.copy(), maps_of(truth, 0.9)
    labels[1:4, 1:4] = 77
    maps[1:4, 1:4] = [0.3, 0.1, 0.1, 0.1, 0.4]
    result = make_result(labels, probability=maps)
    scores = evaluate(truth, result, options=OPTIONS)
    assert scores.purity == pytest.approx(4 / 5)
    for score in ("mean_source", "peak_source", "log_odds"):
        values = result.source_scores()[score]
        kept = result.keep(values > values[result.sources["label"] == 77])
        assert len(kept.sources) == 4 and 77 not in kept.labels
        assert evaluate(truth, kept, options=OPTIONS).purity == 1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 3))
def test_pooling_equals_scoring_everything(seed, n_dropped):
    truth = field()
    rng = np.random.default_rng(seed)
    labels = truth.labels.copy()
    for label in rng.choice([10, 20, 30, 40], n_dropped, replace=False):
        labels[labels == label] = 0
    one = evaluate(truth, make_result(labels, probability=maps_of(truth)), options=OPTIONS)
    two = evaluate(truth, make_result(truth.labels, probability=maps_of(truth, 0.7)), options=OPTIONS)
    both = pool_scores([one, two], "both")
    assert both.n_fields == 2 and both.n_pixels == 2 * one.n_pixels
    np.testing.assert_array_equal(both.completeness.n_success, one.completeness.n_success + two.completeness.n_success)
    np.testing.assert_array_equal(both.source_sky, one.source_sky + two.source_sky)
    assert both.reliability["pixels"].total == 2 * one.reliability["pixels"].total
    with pytest.raises(InputError, match="2 sets"):
        pool_scores([one, evaluate(truth, make_result(labels), options=EvaluationOptions(margin=0))])


def test_nothing_detected_is_scored_too(truth):
    scores = evaluate(truth, make_result(truth.labels * 0), options=OPTIONS)
    assert np.isnan(scores.purity) and scores.completeness.n_success.sum() == 0 and scores.ious()["source"] == 0
    empty = evaluate(make_truth(truth.labels * 0), make_result(truth.labels), options=OPTIONS)
    assert empty.purity == 0 and empty.fates()["detections"]["spurious"] == 4
    for one in (scores, empty):
        json.dumps(summarise(one), allow_nan=False)
        assert format_scores([one])


def test_shapes_and_options_are_checked(truth):
    with pytest.raises(InputError, match="80 x 99 px"):
        evaluate(truth, make_result(truth.labels[:, 1:]))
    with pytest.raises(InputError, match="F814W"):
        evaluate(truth, make_result(truth.labels), options=EvaluationOptions(band="F814W"))
    with pytest.raises(InputError, match="does not list"):
        make_truth(truth.labels, {"label": [10], "x": [1.0], "y": [1.0]})
    with pytest.raises(InputError, match="no label"):
        make_truth(truth.labels, {"x": [1.0], "y": [1.0]})
    with pytest.raises(InputError, match="class maps of shape"):
        make_result(truth.labels, probability=np.zeros((80, 100, 4)))
    with pytest.raises(OptionError, match="ascending"):
        EvaluationOptions(magnitudes=(21.0, 20.0))
    with pytest.raises(OptionError, match="radius"):
        EvaluationOptions(radius=0)


# -- files -------------------------------------------------------------------------------------------------------------


def save_truth(truth, path):
    table = Table(truth.sources, copy=True)
    fits.HDUList(
        [
            fits.PrimaryHDU(header=fits.Header({"PIXSCALE": truth.pixel_scale})),
            fits.ImageHDU(truth.image.data[:, :, 0], header=fits.Header({"ABZP": ZERO_POINT}), name="F160W"),
            fits.ImageHDU(truth.labels, name="OWNER"),
            fits.BinTableHDU(table, name="SOURCES"),
        ]
    ).writeto(path)
    return path


def save_morpheus(truth, directory, confidence=0.9):
    directory.mkdir()
    maps = maps_of(truth, confidence)
    hdus = [fits.ImageHDU(maps[:, :, k], name=name.upper()) for k, name in enumerate(CLASSES)]
    hdus += [fits.ImageHDU(truth.labels, name="SEGMENTATION"), fits.ImageHDU(truth.labels.astype("u1"), name="FLAGS")]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(directory / "goods_morpheus.fits")
    catalog = Table({"label": [10, 20, 30, 40], "x_centroid": [20.0, 60, 25, 75], "y_centroid": [20.0, 22, 60, 60]})
    catalog.write(directory / "goods_catalog.ecsv")
    return directory


def save_sextractor(truth, directory):
    directory.mkdir()
    fits.PrimaryHDU(truth.labels).writeto(directory / "seg.fits")
    lines = ["#   1 NUMBER", "#   2 X_IMAGE", "#   3 Y_IMAGE", "10 21.0 21.0", "20 61.0 23.0", "30 26.0 61.0"]
    (directory / "seg.cat").write_text("\n".join([*lines, "40 76.0 61.0"]) + "\n")
    return directory / "seg.fits"


def save_release(truth, directory):
    directory.mkdir()
    maps = maps_of(truth)
    maps[:5] = 0
    for k, name in enumerate(CLASSES):
        fits.PrimaryHDU(maps[:, :, k]).writeto(directory / f"{name}.fits")
    labels = truth.labels.astype(np.int64)
    labels[:5] = -1
    fits.PrimaryHDU(labels).writeto(directory / "segmap.fits")
    return directory


def test_every_tool_is_read(truth, tmp_path):
    ours = read_result(save_morpheus(truth, tmp_path / "ours"))
    assert ours.name == "goods" and ours.probability.shape == (80, 100, 5) and ours.sources["x"][2] == 25
    classic = read_result(save_sextractor(truth, tmp_path / "sex"))
    assert classic.probability is None and classic.sources["x"].tolist() == [20, 60, 25, 75]
    release = read_result(save_release(truth, tmp_path / "release"))
    assert np.isnan(release.probability[:5]).all() and release.labels.min() == 0
    for result in (ours, classic, release):
        assert evaluate(truth, result, options=OPTIONS).purity == 1
    explicit = read_result(f"{tmp_path / 'sex' / 'seg.fits'},{tmp_path / 'ours' / 'goods_catalog.ecsv'}", name="mixed")
    assert explicit.name == "mixed" and explicit.sources["x"].tolist() == [20, 60, 25, 75]


def test_files_become_a_report(truth, tmp_path):
    path = save_truth(truth, tmp_path / "truth.fits")
    again = read_truth(path)
    assert again.pixel_scale == 0.06 and again.image.zero_points == (ZERO_POINT,) and again.name == "truth"
    np.testing.assert_array_equal(again.labels, truth.labels)
    np.testing.assert_allclose(again.soft, truth.soft)
    results = [save_morpheus(truth, tmp_path / "ours"), save_sextractor(truth, tmp_path / "sex")]
    out = tmp_path / "report"
    scores = evaluate_files(path, results, out, names=["ours", "SExtractor 2"], options=OPTIONS)
    assert [one.name for one in scores] == ["ours", "SExtractor 2"] and scores[0].options.band == "F160W"
    stored = json.loads((out / "scores.json").read_text())
    assert stored[0]["sources"]["purity"] == 1 and stored[1]["classes"]["accuracy"][0]["n"] == 0
    assert stored[0]["pixels"]["iou"]["disk"] == 1
    pictures = {f"{name}.png" for name in ("completeness_purity", "reliability", "reliability_by_class", "residuals")}
    pictures |= {"confusion_ours.png"}
    assert {one.name for one in out.glob("*.png")} == pictures
    assert all(one.read_bytes().startswith(b"\x89PNG") for one in out.glob("*.png"))
    rows = Table.read(out / "sources_SExtractor_2.ecsv")
    assert rows["match"].tolist() == [10, 20, 30, 40, 0]
    assert "| SExtractor 2 |" in (out / "scores.md").read_text()
    before = sorted(out.iterdir())
    with pytest.raises(OutputError, match="exist"):
        evaluate_files(path, results, out)
    assert sorted(out.iterdir()) == before
    evaluate_files(path, results[1:], tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("reliability*")) and not list((tmp_path / "plain").glob("confusion*"))


def test_what_the_simulator_writes_is_read(tmp_path):
    pytest.importorskip("galsim")
    from morpheus_lite.simulation import Field, observe, plain_conditions
    from morpheus_lite.simulation.field import source_table
    from morpheus_lite.simulation.products import write_field

    owner = np.zeros((40, 48), np.int32)
    owner[disc(owner.shape, 15, 20, 6)], owner[disc(owner.shape, 35, 22, 4)] = 1, 2
    sources = np.zeros(3, source_table([], np.ones(1), 0.1).dtype)
    sources["id"], sources["x"], sources["y"], sources["kind"] = [1, 2, 3], [15, 35, 60], [20, 22, 5], [1, 3, 0]
    sources["soft"] = np.eye(4)[[1, 3, 0]]
    sources["flux"] = np.array([[500.0], [200.0], [50.0]])
    light = np.where(owner > 0, 10.0, 0.0).astype(np.float32)[:, :, None]
    field = Field(light, ("F160W",), 0.06, (3.0,), owner, sources, 1)
    seen = observe(field, plain_conditions(field), np.random.default_rng(0))
    image, path = write_field(field, seen, tmp_path)
    written, direct = read_truth(path), truth_of_simulation(field, seen)
    assert written.name == "field" and written.pixel_scale == 0.06 and written.image.units == ("nJy",)
    for truth in (written, direct):
        np.testing.assert_allclose(truth.magnitude(), 31.4 - 2.5 * np.log10([500, 200, 50]), atol=1e-4)
        assert truth.source_class.tolist() == [1, 3, 0] and truth.bands == ("F160W",)
        np.testing.assert_array_equal(truth.labels, owner)
        scores = evaluate(truth, make_result(owner, probability=maps_of(truth)), options=OPTIONS)
        assert scores.purity == 1 and len(scores.truth_sources) == 2
    assert read_truth(path, image=image, name="other").name == "other"


def test_bad_files_are_named(truth, tmp_path):
    with pytest.raises(InputError, match=r"none\.fits: no such file"):
        read_truth(tmp_path / "none.fits")
    (tmp_path / "text.fits").write_text("not FITS")
    with pytest.raises(InputError, match="cannot be read as FITS"):
        read_result(tmp_path / "text.fits")
    fits.PrimaryHDU(np.linspace(0, 1, 100).reshape(10, 10)).writeto(tmp_path / "float.fits")
    with pytest.raises(InputError, match="label map holds >f8 values that are not whole numbers"):
        read_result(tmp_path / "float.fits")
    two = [fits.PrimaryHDU(), fits.ImageHDU(truth.labels, name="A"), fits.ImageHDU(truth.labels, name="B")]
    fits.HDUList(two).writeto(tmp_path / "two.fits")
    with pytest.raises(InputError, match=r"\[1\] A, \[2\] B"):
        read_result(tmp_path / "two.fits")
    assert np.array_equal(read_result(f"{tmp_path / 'two.fits'}[B]").labels, truth.labels)
    with pytest.raises(InputError, match="unknown kind of catalogue"):
        make_result(truth.labels, tmp_path / "catalog.doc")
    (tmp_path / "broken.ecsv").write_text("hello\nworld, what")
    with pytest.raises(InputError, match=r"broken\.ecsv"):
        make_result(truth.labels, tmp_path / "broken.ecsv")
    with pytest.raises(OptionError, match="one name a result"):
        evaluate_files(tmp_path / "two.fits", [tmp_path / "two.fits"], names=["a", "b"])


def many(seed, shape=(120, 120), n=16):
    """A truth of sources at random places, and a catalogue of them with total fluxes."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(4) * 28 + 16, np.arange(4) * 28 + 16)
    x, y = (place.ravel() + rng.integers(-6, 7, n) for place in (x, y))
    labels = np.zeros(shape, np.int32)
    for k in range(n):
        labels[disc(shape, x[k], y[k], 3)] = k + 1
    soft = np.eye(4)[rng.integers(0, 4, n)]
    table = {"id": np.arange(1, n + 1), "x": x.astype(float), "y": y.astype(float), "mag_F160W": np.full(n, 22.0)}
    table |= {f"p_{name}": soft[:, k] for k, name in enumerate(SOURCE_CLASSES)}
    light = (labels[:, :, None] > 0).astype(np.float32)
    image = SkyImage(light, ("F160W",), light >= 0, zero_points=(ZERO_POINT,))
    truth = make_truth(labels, table, image=image, pixel_scale=0.06, name=f"many_{seed}")
    flux = 10 ** (-0.4 * (22.0 - 31.4)) * (1 + 0.1 * rng.standard_normal(n))
    shares = 0.6 * soft + 0.1
    found = Table({"label": table["id"], "x": table["x"], "y": table["y"], "flags": np.where(table["id"] % 2, 0, 8)})
    found["total_fnu_F160W"], found["total_fnuerr_F160W"] = flux, np.full(n, 0.1 * flux.mean())
    for k, name in enumerate(SOURCE_CLASSES):
        found[f"p_{name}"] = shares[:, k]
    return truth, found


def save_many(folder, seed):
    truth, found = many(seed)
    save_truth(truth, folder / f"many_{seed}_truth.fits")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(truth.labels, name="SEGMENTATION")]).writeto(
        folder / f"many_{seed}.fits"
    )
    found.write(folder / f"many_{seed}_catalog.ecsv")
    return folder / f"many_{seed}_truth.fits", folder / f"many_{seed}.fits"


class TestSeveralFields:
    def test_they_are_paired_and_pooled(self, tmp_path):
        truths, results = zip(*(save_many(tmp_path, seed) for seed in (1, 2)), strict=True)
        (pooled,) = evaluate_files(truths, results, options=OPTIONS)
        assert pooled.name == "many" and pooled.n_fields == 2 and len(pooled.truth_sources) == 32
        assert (pooled.truth_sources["match"] > 0).all()
        both = evaluate_files(truths, [*results, *results], names=["one", "two"], options=OPTIONS)
        assert [one.name for one in both] == ["one", "two"] and both[1].n_fields == 2

    def test_a_result_of_another_field_is_refused(self, tmp_path):
        truths, results = zip(*(save_many(tmp_path, seed) for seed in (1, 2)), strict=True)
        with pytest.raises(InputError, match=r"no more than by chance"):
            evaluate_files(truths, results[::-1], options=OPTIONS)
        with pytest.raises(OptionError, match=r"2 truth\(s\) and 3 result\(s\)"):
            evaluate_files(truths, [*results, results[0]], options=OPTIONS)

    def test_a_result_elsewhere_on_the_sky_is_refused(self, tmp_path):
        truth, found = many(1)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.cdelt = ("RA---TAN", "DEC--TAN"), (-0.06 / 3600, 0.06 / 3600)
        light = (truth.labels[:, :, None] > 0).astype(np.float32)
        image = SkyImage(light, ("F160W",), light >= 0, wcs=wcs)
        there = make_truth(truth.labels, truth.sources, image=image, name="there")
        moved = wcs.deepcopy()
        moved.wcs.crpix = moved.wcs.crpix + 3
        evaluate(there, replace(make_result(truth.labels, found), wcs=wcs), options=OPTIONS)
        with pytest.raises(InputError, match=r"lies 4\.2 px from the truth there"):
            evaluate(there, replace(make_result(truth.labels, found), wcs=moved), options=OPTIONS)

    def test_classes_and_totals_are_told_beside_the_baseline(self):
        truth, found = many(3)
        scores = evaluate(truth, make_result(truth.labels, found), options=OPTIONS)
        (row,) = scores.class_baseline((20, 24))
        counts = np.bincount(truth.source_class, minlength=4)
        assert row["n"] == 16 and row["accuracy"] == 1 and row["majority"] == counts.max() / 16
        assert row["log_loss"] == pytest.approx(-np.log(0.7))
        shares = counts[counts > 0] / 16
        assert row["shares_log_loss"] == pytest.approx(-(shares * np.log(shares)).sum())
        assert list(row["true"].values()) == counts.tolist()
        assert list(row["expected"].values()) == pytest.approx(0.6 * counts + 1.6)
        assert row["chance_ece"] == pytest.approx(np.sqrt(2 / np.pi * 0.7 * 0.3 / 16))
        bins = scores.class_baseline((20, 21, 24))
        assert bins[-1]["n"] == sum(one["n"] for one in bins[:-1]) == 16
        assert bins[-1]["magnitude"] == [20, 24] and bins[-1]["ece"] == pytest.approx(0.3)
        assert row["ece"] == pytest.approx(0.3) and scores.reliability["sources_disk"].total == 16
        (isolated,), (mixed,) = (scores.total_pulls((20, 24), isolated=one) for one in (True, False))
        assert isolated["n"] == mixed["n"] == 8
        pulls = np.asarray(scores.truth_sources["total_pull"])[scores.truth_sources["flags"] == 0]
        assert isolated["width"] == pytest.approx(np.diff(np.percentile(pulls, [16, 84]))[0] / 2)
        assert isolated["bias"] == pytest.approx(-2.5 * np.log10(1 + 0.1 * np.median(pulls)), abs=0.02)
        text = format_scores([scores])
        assert "majority" in text and "total magnitudes in F160W" in text and "| flags 0 |" in text


# -- calibration -------------------------------------------------------------------------------------------------------


def overconfident(truth, power, seed=0):
    """Maps whose probabilities, raised to 1 / power, are those with which the true class was drawn."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([0.6] * 5, truth.shape)
    drawn = (rng.random((*truth.shape, 1)) > p.cumsum(axis=2)).sum(axis=2).clip(max=4)
    labels = np.where(drawn == 4, 0, drawn + 1).astype(np.int32)
    table = {"label": [1, 2, 3, 4], "x": [0.0] * 4, "y": [0.0] * 4, "kind": [0, 1, 2, 3]}
    maps = p**power / (p**power).sum(axis=2, keepdims=True)
    return make_truth(labels, table), make_result(labels, probability=maps.astype(np.float32))


def test_calibration_on_fields_undoes_overconfidence(truth):
    pairs = [overconfident(truth, 2.0, seed) for seed in range(4)]
    fitted = calibrate_results(pairs, bias="none", n_pixels=6000)
    assert fitted.temperature == pytest.approx(2.0, rel=0.06)
    before, after = fitted.fitted["before"], fitted.fitted["after"]
    assert after["ece_pixels"] < 0.02 < before["ece_pixels"] and after["log_loss"] < before["log_loss"]
    assert fitted.fitted["n_fields"] == 4
    with pytest.raises(InputError, match="cannot be calibrated"):
        calibrate_results([(truth, make_result(truth.labels))])
    with pytest.raises(InputError, match="no field"):
        calibrate_results([])


def test_sampled_pixels_stand_for_the_field(truth):
    result = make_result(truth.labels, probability=maps_of(truth))
    probability, soft, weight = sample_pixels(truth, result, n_pixels=600, rng=np.random.default_rng(0))
    assert weight.sum() == pytest.approx(truth.labels.size)
    assert len(weight) == 600 and np.mean(soft[:, 4] == 0) > 0.45
    mean = np.average(soft, axis=0, weights=weight)
    np.testing.assert_allclose(mean, truth.soft_of(truth.labels).mean(axis=(0, 1)), atol=0.01)
    np.testing.assert_array_equal(probability[:, 4] > 0.5, soft[:, 4] == 1)
