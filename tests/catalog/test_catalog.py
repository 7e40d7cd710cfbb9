"""The catalogue: every column means what it says."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from astropy.wcs import WCS
from photutils.segmentation import SegmentationImage, SourceCatalog
from scipy import ndimage

from morpheus_lite import CLASSES, Classification, InputError, OptionError, SkyImage, SourceFlag, decode_flags
from morpheus_lite.catalog import CorrelatedNoise, MeasureOptions, measure
from morpheus_lite.catalog.table import light_unit
from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.source_calibration import CALIBRATION_KEY, SourceCalibration

SHAPE = (60, 70)
BANDS = ("F160W", "F606W")
INDEPENDENT = dict.fromkeys(BANDS, CorrelatedNoise(0.05))
PAPER = MeasureOptions.paper()
CALIBRATION = SourceCalibration(
    prior=(0.2, 0.5, 0.2, 0.1),
    snr=(5.0, 2000.0),
    size=(2.0, 20.0),
    sharpness=((1.4, 0.3, 0.1), (1.2, 0.1, 0), (1.0, 0, 0), (1.0, 0, -0.2)),
    bias=((0.3, 0.2, 0, 0, 0), (0, 0, 0.1, 0.2, 0), (0, 0, 0, 0, 0.3), (-0.3, 0, 0.2, 0, 0)),
)


def sky_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 53.1, -27.8
    wcs.wcs.crpix = 30.5, 25.5
    wcs.wcs.cdelt = -0.06 / 3600, 0.06 / 3600
    return wcs


def field(seed=1):
    """An image, class maps and labels with four sources, two of which touch; label 3 is not used."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[5:15, 8:20] = 1
    labels[5:15, 20:30] = 2
    labels[30:45, 30:40] = 4
    labels[50:53, 50:60] = 9
    bump = ndimage.gaussian_filter((labels > 0).astype(float), 1.5)
    data = np.stack([3 * bump, bump], axis=2) + rng.normal(0, 0.05, (*SHAPE, 2))
    image = SkyImage(
        data.astype(np.float32),
        BANDS,
        np.ones(data.shape, dtype=bool),
        rms=rng.uniform(0.04, 0.06, data.shape).astype(np.float32),
        wcs=sky_wcs(),
        units=("electron/s", "electron/s"),
    )
    probability = rng.dirichlet((2, 1, 0.5, 0.5, 1), SHAPE).astype(np.float32)
    vote = rng.dirichlet((1, 3, 1, 1, 1), SHAPE).astype(np.float32)
    result = Classification(
        probability=probability,
        variance=(0.01 * rng.uniform(size=probability.shape)).astype(np.float32),
        vote=vote,
        coverage=np.full(SHAPE, 900, dtype=np.int32),
        valid=np.ones(SHAPE, dtype=bool),
        wcs=image.wcs,
        provenance={"model": "test", "version": "0"},
    )
    return labels, image, result


def shares(row):
    return np.array([float(row[f"p_{name}"]) for name in SOURCE_CLASSES])


@pytest.mark.parametrize("options", [None, PAPER])
def test_rows_are_sums_over_masks(options):
    labels, image, result = field()
    table = measure(labels, image, result, options=options, noise=INDEPENDENT)
    assert table["label"].tolist() == [1, 2, 4, 9]
    for row in table:
        mask = labels == row["label"]
        assert row["area"] == mask.sum() * u.pix**2
        for k, band in enumerate(BANDS):
            flux, error = row[f"segment_flux_{band}"], row[f"segment_fluxerr_{band}"]
            assert flux.value == pytest.approx(image.data[mask, k].sum(dtype=float), rel=1e-6)
            assert error.value == pytest.approx(np.sqrt((image.rms[mask, k].astype(float) ** 2).sum()), rel=1e-6)
        light = np.where(mask, image.data[:, :, 0], -np.inf)
        assert (row["y_peak"].value, row["x_peak"].value) == np.unravel_index(light.argmax(), SHAPE)
        expected = (image.data[mask, :1] * result.vote[mask, :4]).sum(axis=0, dtype=float)
        np.testing.assert_allclose(shares(row), expected / expected.sum(), rtol=1e-5)
        best = expected.max() / expected.sum()
        assert row["morphology"] == (CLASSES[expected.argmax()] if best >= 0.5 else "uncertain")
        assert float(row["class_confidence"]) == pytest.approx(best, rel=1e-5)


def test_shapes_are_those_of_photutils():
    labels, image, result = field()
    table = measure(labels, image, result, band="F606W")
    oracle = SourceCatalog(image.data[:, :, 1].astype(float), SegmentationImage(labels))
    names = ("x_centroid", "y_centroid", "semimajor_axis", "semiminor_axis", "orientation", "ellipticity")
    for name in names:
        np.testing.assert_allclose(u.Quantity(table[name]).value, u.Quantity(getattr(oracle, name)).value, rtol=1e-5)
    assert table.meta["detection_band"] == "F606W"


def test_positions_on_the_sky():
    labels, image, result = field()
    table = measure(labels, image, result)
    place = image.wcs.pixel_to_world(table["x_centroid"].value, table["y_centroid"].value)
    np.testing.assert_allclose(table["ra"].to_value("deg"), place.ra.deg, rtol=0, atol=1e-9)
    np.testing.assert_allclose(table["dec"].to_value("deg"), place.dec.deg, rtol=0, atol=1e-9)
    assert not {"ra", "dec"} & set(measure(labels, replace(image, wcs=None), result).colnames)


@pytest.mark.parametrize("maps", ["vote", "probability"])
def test_the_maps_are_chosen(maps):
    labels, image, result = field()
    table = measure(labels, image, result, maps=maps, options=MeasureOptions(min_class_confidence=0))
    assert table.meta["morphology_maps"] == maps
    assert set(table["morphology"]) == ({"disk"} if maps == "vote" else {"spheroid"})


@pytest.mark.parametrize("with_noise", [True, False])
def test_no_sources_is_an_empty_table_with_the_same_columns(with_noise):
    labels, image, result = field()
    image = image if with_noise else replace(image, rms=None)
    full = measure(labels, image, result)
    empty = measure(np.zeros_like(labels), image, result)
    assert len(empty) == 0
    assert empty.colnames == full.colnames
    assert empty.meta == full.meta
    for name in full.colnames:
        assert empty[name].dtype.kind == full[name].dtype.kind, name
        assert empty[name].unit == full[name].unit, name
        assert empty[name].info.description == full[name].info.description, name


def test_every_column_is_described_and_has_the_right_unit():
    table = measure(*field())
    plain = {"label", "morphology", "flags", "flags_F160W", "flags_F606W", "parent_label", "n_children"}
    for name in table.colnames:
        assert table[name].info.description, name
        assert (table[name].unit is None) == (name in plain), name
    assert table["segment_flux_F160W"].unit == u.electron / u.s
    assert table["area"].unit == u.pix**2
    assert table["p_disk"].unit == u.dimensionless_unscaled
    assert table.meta["model"] == "test"


def test_ecsv_keeps_everything(tmp_path):
    table = measure(*field())
    table.write(tmp_path / "catalog.ecsv")
    again = QTable.read(tmp_path / "catalog.ecsv")
    assert again.colnames == table.colnames
    for name in table.colnames:
        assert again[name].unit == table[name].unit
        np.testing.assert_array_equal(again[name], table[name])
        assert again[name].info.description == table[name].info.description


def test_negative_light_gives_no_negative_share():
    labels, image, result = field()
    data = image.data.copy()
    data[labels == 4] *= -1
    data[labels == 2, 1] = -0.01
    # A ring of negative light where only this source's disk votes are.
    vote = result.vote.copy()
    vote[labels == 1] = 0.9, 0, 0.1, 0, 0
    vote[5, 8:20] = 0, 1, 0, 0, 0
    data[5, 8:20] = -0.3
    table = measure(labels, replace(image, data=data), replace(result, vote=vote))
    flagged = {int(row["label"]): "negative_flux" in decode_flags(row["flags"]) for row in table}
    assert flagged == {1: False, 2: True, 4: True, 9: False}
    for row in table:
        assert (shares(row) >= 0).all()
        assert shares(row).sum() == pytest.approx(1)
        for name in ("x_centroid", "y_centroid", "ra", "dec"):
            assert np.isfinite(row[name])
    assert table[0]["p_disk"] == 0
    dark = table[table["label"] == 4][0]
    plain = result.vote[labels == 4, :4].mean(axis=0)
    np.testing.assert_allclose(shares(dark), plain / plain.sum(), rtol=1e-5)
    assert (dark["x_centroid"].value, dark["y_centroid"].value) == (34.5, 37.0)


def test_invalid_pixels_do_not_count():
    labels, image, result = field()
    valid = image.valid.copy()
    valid[32:35, 33:36] = False
    clean = replace(image, valid=valid, data=np.where(valid, image.data, 0))
    dirty = replace(image, valid=valid, data=np.where(valid, image.data, 1e6).astype(np.float32))
    result = replace(result, valid=valid.all(axis=2))
    one, other = (measure(labels, each, result, noise=INDEPENDENT) for each in (clean, dirty))
    for name in one.colnames:
        np.testing.assert_array_equal(one[name], other[name])
    assert [bool(flags & SourceFlag.INVALID_PIXELS) for flags in one["flags"]] == [False, False, True, False]
    mask = (labels == 4) & valid[:, :, 0]
    assert one[2]["segment_fluxerr_F160W"].value == pytest.approx(np.sqrt((image.rms[mask, 0] ** 2).sum()), rel=1e-6)


def test_a_source_of_invalid_pixels_only():
    labels, image, result = field()
    valid = image.valid & (labels != 9)[:, :, None]
    probability = np.where(valid[:, :, :1], result.probability, np.nan)
    vote = np.where(valid[:, :, :1], result.vote, np.nan)
    result = replace(result, probability=probability, vote=vote, valid=valid[:, :, 0])
    row = measure(labels, replace(image, valid=valid), result)[3]
    assert row["morphology"] == ""
    assert np.isnan(shares(row)).all()
    assert np.isnan(row["segment_flux_F160W"])
    assert np.isnan(row["segment_fluxerr_F160W"])
    assert (row["x_centroid"].value, row["y_centroid"].value) == (54.5, 51.0)


def test_unknown_noise_counts_as_the_mean_of_the_known():
    labels, image, result = field()
    rms = np.full_like(image.rms, 0.05)
    rms[30:40, 30:40] = 0
    row = measure(labels, replace(image, rms=rms), result, noise=INDEPENDENT)[2]
    assert row["segment_fluxerr_F160W"].value == pytest.approx(0.05 * np.sqrt(150), rel=1e-6)


def test_classes_are_calibrated_by_snr_and_size():
    labels, image, result = field()
    options = MeasureOptions(photometry=False, structure=False)
    calibrated = replace(result, provenance={**result.provenance, CALIBRATION_KEY: CALIBRATION.record()})
    before = measure(labels, image, result, maps="probability", options=options, noise=INDEPENDENT)
    assert "class_prior" not in before.meta
    table = measure(labels, image, calibrated, maps="probability", options=options, noise=INDEPENDENT)
    for row, plain in zip(table, before, strict=True):
        mask = labels == row["label"]
        flux = image.data[mask].sum(axis=0, dtype=float)
        snr, size = np.hypot(*flux) / (0.05 * np.sqrt(mask.sum())), np.sqrt(mask.sum())
        # Without photometry nothing tells the shape or the spread.
        expected = CALIBRATION.apply(shares(plain)[None], np.array([[snr, size, *[np.nan] * 4]]))[0]
        np.testing.assert_allclose(shares(row), expected, rtol=1e-3)
        assert np.abs(shares(row) - shares(plain)).max() > 0.02
        assert float(row["class_confidence"]) == shares(row).max()
    assert table.meta["class_prior"] == CALIBRATION.prior_record()
    assert "calibrated" in table["p_disk"].info.description
    with pytest.raises(InputError, match="noise of F606W is missing"):
        measure(labels, image, calibrated, maps="probability", options=options, noise={"F160W": CorrelatedNoise(0.05)})
    # Rank votes are never calibrated.
    votes = measure(labels, image, calibrated, options=options, noise=INDEPENDENT)
    assert (votes["p_disk"] == measure(labels, image, result, options=options, noise=INDEPENDENT)["p_disk"]).all()


def test_a_prior_of_the_classes_changes_probabilities_and_nothing_else():
    labels, image, result = field()
    result = replace(result, vote=None, provenance={**result.provenance, CALIBRATION_KEY: CALIBRATION.record()})
    table = measure(labels, image, result)
    prior = {"spheroid": 0.1, "disk": 0.7, "irregular": 0.1, "point_source": 0.1}
    other = measure(labels, image, result, options=MeasureOptions(class_prior=prior))
    assert other.meta["class_prior"] == prior
    changed = [
        name
        for name in table.colnames
        if not np.array_equal(table[name], other[name], equal_nan=table[name].dtype.kind == "f")
    ]
    assert set(changed) <= {*(f"p_{name}" for name in SOURCE_CLASSES), "morphology", "class_confidence", "entropy"}
    for one, two in zip(table, other, strict=True):
        expected = shares(one) * [prior[name] for name in SOURCE_CLASSES] / CALIBRATION.prior
        np.testing.assert_allclose(shares(two), expected / expected.sum(), rtol=1e-9)
    with pytest.raises(OptionError, match="class_prior"):
        measure(labels, image, replace(result, provenance={}), options=MeasureOptions(class_prior="equal"))


@pytest.mark.parametrize(("least", "expected"), [(0.5, "uncertain"), (0.45, "disk"), (0.0, "disk"), (1.0, "uncertain")])
def test_a_class_is_named_from_its_least_probability_on(least, expected):
    labels, image, result = field()
    planes = np.broadcast_to(np.float32([0.3, 0.47, 0.2, 0.03, 0]), result.vote.shape)
    options = MeasureOptions(photometry=False, structure=False, min_class_confidence=least)
    table = measure(labels, image, replace(result, vote=planes), options=options)
    assert set(table["morphology"]) == {expected}
    np.testing.assert_allclose(table["class_confidence"], 0.47, rtol=1e-6)
    assert f"uncertain where that is below {least:g}" in table["morphology"].info.description


class TestFlags:
    """One source a condition."""

    def flags(self, labels, image, result, **options):
        table = measure(labels, image, result, **options)
        return {int(row["label"]): set(decode_flags(row["flags"])) for row in table}

    def test_neighbours_touch(self):
        assert self.flags(*field()) == {
            1: {"blended", "crowded"},
            2: {"blended", "crowded"},
            4: set(),
            9: set(),
        }

    def test_children_know_their_parent(self):
        labels, image, result = field()
        parents = np.where(labels == 2, 1, labels)
        parents[7:9, 19:21] = 0
        assert self.flags(labels, image, result, parents=parents)[2] == {"blended", "deblend_child", "crowded"}
        assert measure(labels, image, result, parents=parents)["parent_label"].tolist() == [1, 1, 4, 9]

    def test_the_edge_of_the_image(self):
        labels, image, result = field()
        labels[50:53, 60:70] = 9
        assert self.flags(labels, image, result)[9] == {"edge"}

    def test_the_edge_of_what_was_classified(self):
        labels, image, result = field()
        coverage = result.coverage.copy()
        coverage[:5] = 0
        flags = self.flags(labels, image, replace(result, coverage=coverage))
        assert "edge" in flags[1]
        assert "edge" not in flags[4]

    def test_a_hole_is_no_edge(self):
        labels, image, result = field()
        valid = result.valid.copy()
        valid[34:36, 33:35] = False
        coverage = np.where(valid, result.coverage, 0)
        flags = self.flags(labels, image, replace(result, coverage=coverage, valid=valid))
        assert flags[4] == {"invalid_pixels", "low_coverage"}

    def test_few_windows(self):
        labels, image, result = field()
        coverage = result.coverage.copy()
        coverage[52] = 400
        assert self.flags(labels, image, replace(result, coverage=coverage))[9] == {"low_coverage"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("electron/s", u.electron / u.s),
        ("ELECTRONS/S", u.electron / u.s),
        ("counts/sec", u.ct / u.s),
        ("MJy/sr", u.MJy / u.sr),
        ("nJy", u.nJy),
        (None, None),
        (" ", None),
    ],
)
def test_units_of_light(text, expected):
    assert light_unit(text) == expected


def test_unknown_units_are_kept_as_text(tmp_path):
    labels, image, result = field()
    table = measure(labels, replace(image, units=("bananas", None)), result)
    assert str(table["segment_flux_F160W"].unit) == "bananas"
    assert table["segment_flux_F606W"].unit is None
    assert "does not state" in table["segment_flux_F606W"].info.description
    table.write(tmp_path / "catalog.ecsv")


def test_one_band_without_noise_or_sky():
    labels, image, result = field()
    single = replace(image.select(["F606W"]), rms=None, wcs=None)
    table = measure(labels, single, result, options=PAPER)
    assert [name for name in table.colnames if "flux" in name] == ["segment_flux_F606W"]
    full = measure(labels, single, result)
    assert {"kron_flux_F606W", "aper_flux_3px_F606W"} <= set(full.colnames)
    assert np.isfinite(full["segment_fluxerr_F606W"]).all(), "from the scatter of the sky"


def test_what_does_not_fit_is_refused():
    labels, image, result = field()
    with pytest.raises(InputError, match="label map"):
        measure(labels[:-1], image, result)
    with pytest.raises(InputError, match="float64"):
        measure(labels.astype(float), image, result)
    small = replace(result, probability=result.probability[:-1])
    with pytest.raises(InputError, match="class maps of shape"):
        measure(labels, image, small)
    with pytest.raises(InputError, match="no band F105W"):
        measure(labels, image, result, band="F105W")
    with pytest.raises(OptionError, match="expected 'vote'"):
        measure(labels, image, result, maps="variance")
    with pytest.raises(OptionError, match="no rank votes"):
        measure(labels, image, replace(result, vote=None), maps="vote")
