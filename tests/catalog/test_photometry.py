"""Light, positions and structure of simulated sources with truth: right, and as wrong as the errors say."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import reference_stamps
from astropy.wcs import WCS
from photutils.segmentation import SegmentationImage, SourceCatalog
from scipy import ndimage
from scipy.special import erf

from morpheus_lite import Classification, InputError, OptionError, SkyImage, decode_flags
from morpheus_lite.catalog import CorrelatedNoise, MeasureOptions, measure, measure_correlated_noise
from morpheus_lite.catalog.curve_of_growth import curve_of_growth

WHITE = {"F160W": CorrelatedNoise(1.0)}
STEP = 44


def gaussian(shape, y, x, sigma, flux=1.0):
    """A round Gaussian integrated over each pixel."""

    def edges(n, middle):
        return np.diff(0.5 * erf((np.arange(n + 1) - 0.5 - middle) / (np.sqrt(2) * sigma)))

    return flux * np.outer(edges(shape[0], y), edges(shape[1], x))


def maps_of(shape, **planes):
    probability = np.zeros((*shape, 5), dtype=np.float32)
    probability[..., 1] = 1
    everywhere = np.ones(shape, dtype=bool)
    arrays = {"probability": probability, "vote": probability, "valid": everywhere} | planes
    return Classification(coverage=np.full(shape, 900, dtype=np.int32), **arrays)


def sky(data, *, rms=1.0, valid=None, **known):
    """One band with noise of ``rms``."""
    data = np.asarray(data, dtype=np.float32)[:, :, None]
    valid = np.ones(data.shape, dtype=bool) if valid is None else valid[:, :, None]
    plane = None if rms is None else np.full(data.shape, rms, dtype=np.float32)
    return SkyImage(np.where(valid, data, 0), ("F160W",), valid, rms=plane, **known)


def grid(flux, *, sigma=2.0, n=8, correlation=0.0, seed=1):
    """Isolated round sources in noise of scatter 1: image, labels and true places."""
    rng = np.random.default_rng(seed)
    shape = (n * STEP, n * STEP)
    places = STEP * (np.mgrid[:n, :n].reshape(2, -1).T + 0.5) + rng.uniform(-0.5, 0.5, (n * n, 2))
    noise = ndimage.gaussian_filter(rng.normal(size=shape), correlation)
    data = sum(gaussian(shape, *place, sigma, flux) for place in places) + noise / noise.std()
    y, x = np.indices(shape)
    labels = np.zeros(shape, dtype=np.int32)
    for number, place in enumerate(places, 1):
        labels[np.hypot(y - place[0], x - place[1]) < 2.2 * sigma] = number
    return data, labels, places


def pull_width(table, name, truth):
    flux, error = (u.Quantity(table[f"{name}_{kind}_F160W"]).value for kind in ("flux", "fluxerr"))
    return np.sqrt(np.mean(((flux - truth) / error) ** 2))


@pytest.mark.parametrize(("flux", "tolerance"), [(300, 0.02), (20_000, 0.01)])
def test_isolated_sources_are_measured_right(flux, tolerance):
    data, labels, places = grid(flux)
    image = sky(data, zero_points=(25.0,))
    table = measure(labels, image, maps_of(labels.shape))
    kron = table["kron_flux_F160W"].value
    assert np.median(kron / table["kron_fluxerr_F160W"].value) > 10
    assert kron.mean() == pytest.approx(flux, rel=tolerance)
    within = flux * (1 - np.exp(-0.5 * (5 / 2) ** 2 / (1 + 1 / 48)))
    aperture = table["aper_flux_5px_F160W"].value
    assert aperture.mean() == pytest.approx(within, rel=0.02)
    if flux < 1000:
        assert pull_width(table, "kron", kron.mean()) == pytest.approx(1, abs=0.15)
        assert np.std(aperture / table["aper_fluxerr_5px_F160W"].value) == pytest.approx(1, abs=0.15)
    else:
        # At a signal-to-noise ratio of 2000, where the apertures cut the pixels is what is left.
        assert max(kron.std(), aperture.std()) < 0.002 * flux
    away = np.stack([table[f"{axis}_centroid_win"].value for axis in "yx"], axis=1) - places
    errors = np.stack([table[f"{axis}_centroid_win_err"].value for axis in "yx"], axis=1)
    assert np.abs(away.mean(axis=0)).max() < 0.02
    assert np.sqrt(np.mean((away / errors) ** 2)) == pytest.approx(1, abs=0.15)
    np.testing.assert_allclose(np.median(table["half_light_radius"].value), 2.0 * 1.1774, rtol=0.03)


def test_magnitudes_of_bright_sources():
    data, labels, _ = grid(20_000, n=4)
    table = measure(labels, sky(data, zero_points=(25.0,)), maps_of(labels.shape))
    truth = 25 - 2.5 * np.log10(20_000)
    assert np.abs(table["kron_mag_F160W"].value - truth).max() < 0.02
    np.testing.assert_allclose(table["kron_fnu_F160W"].to(u.ABmag).value, table["kron_mag_F160W"].value, atol=1e-3)
    ratio = table["kron_fluxerr_F160W"] / table["kron_flux_F160W"]
    np.testing.assert_allclose(table["kron_magerr_F160W"].value, 1.0857 * ratio.value, rtol=1e-3)


@pytest.mark.parametrize("with_rms", [True, False])
def test_correlated_noise_is_accounted_for(with_rms):
    data, labels, _ = grid(1500, correlation=0.8, seed=3)
    image = sky(data, rms=1.0 if with_rms else None)
    table = measure(labels, image, maps_of(labels.shape))
    kron = table["kron_flux_F160W"].value
    assert kron.mean() == pytest.approx(1500, rel=0.02)
    assert pull_width(table, "kron", kron.mean()) == pytest.approx(1, abs=0.15)
    naive = measure(labels, image, maps_of(labels.shape), noise=WHITE)
    assert pull_width(naive, "kron", kron.mean()) > 2


class TestNoise:
    def test_independent_pixels_have_a_factor_of_one(self):
        data = np.random.default_rng(0).normal(0, 3, (300, 300))
        noise = measure_correlated_noise(sky(data, rms=3.0), np.zeros(data.shape, np.int32))["F160W"]
        assert noise.sigma == pytest.approx(3, rel=0.02)
        np.testing.assert_allclose(noise.factor(np.array([1, 10, 100, 1000, 1e5])), 1, atol=0.1)

    def test_a_smoothed_sky(self):
        rng = np.random.default_rng(0)
        data = ndimage.gaussian_filter(rng.normal(size=(400, 400)), 1.0, mode="wrap")
        noise = measure_correlated_noise(sky(data, rms=data.std()), np.zeros(data.shape, np.int32))["F160W"]
        # Large squares keep all of the white noise's variance, single pixels 1 / (4 pi).
        assert noise.factor(1) == pytest.approx(1, rel=0.05)
        assert noise.factor(24**2) == pytest.approx(np.sqrt(4 * np.pi), rel=0.12)

    def test_sources_and_invalid_pixels_do_not_count(self):
        rng = np.random.default_rng(0)
        data = rng.normal(size=(120, 120))
        labels = np.zeros(data.shape, np.int32)
        labels[20:60, 20:60] = 1
        valid = np.ones(data.shape, bool)
        valid[80:90] = False
        dirty = np.where((labels > 0) | ~valid, 1e5, data)
        clean, other = (measure_correlated_noise(sky(plane, valid=valid), labels)["F160W"] for plane in (data, dirty))
        assert clean.sigma == other.sigma
        np.testing.assert_allclose(clean.factors, other.factors)

    def test_without_empty_sky_it_is_not_known(self):
        noise = measure_correlated_noise(sky(np.ones((20, 20))), np.ones((20, 20), np.int32))["F160W"]
        assert np.isnan(noise.sigma)
        assert noise.factor(50) == 1


def test_only_the_neighbourhood_counts():
    data, labels, _ = grid(2000, n=4)
    box = np.s_[40:136, 44:140]
    image = sky(data, zero_points=(25.0,))
    whole = measure(labels, image, maps_of(labels.shape), noise=WHITE)
    piece = measure(
        labels[box], sky(data[box], zero_points=(25.0,)), maps_of((96, 96)), noise=WHITE, options=MeasureOptions()
    )
    number = labels[88 + 22 - 44, 88 + 22]  # its surroundings lie inside of the piece
    one, other = (table[table["label"] == number][0] for table in (whole, piece))
    for name in whole.colnames:
        if name.startswith(("x_", "y_")) and not name.endswith("err"):
            assert one[name].value == pytest.approx(other[name].value + (44 if name[0] == "x" else 40), abs=1e-4)
        elif name not in ("flags", "morphology"):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5)


def test_a_neighbour_is_taken_out():
    shape = (90, 90)
    data = gaussian(shape, 45, 38, 2, 3000) + gaussian(shape, 45, 49, 2, 9000)
    y, x = np.indices(shape)
    labels = np.where(np.hypot(y - 45, x - 38) < 6, 1, np.where(np.hypot(y - 45, x - 49) < 6.9, 2, 0)).astype(np.int32)
    table = measure(labels, sky(data, rms=0.5), maps_of(shape), noise=WHITE)
    np.testing.assert_allclose(table["kron_flux_F160W"].value, [3000, 9000], rtol=0.02)
    assert "crowded" in decode_flags(table["flags"][1])


def test_the_local_background_is_subtracted():
    data, labels, _ = grid(2000, n=3)
    tilted = data + 5 + 0.01 * np.arange(data.shape[1])
    options = MeasureOptions(local_background=True)
    clean = measure(labels, sky(data), maps_of(labels.shape), noise=WHITE)
    table = measure(labels, sky(tilted), maps_of(labels.shape), options=options, noise=WHITE)
    expected = 5 + 0.01 * table["x_centroid"].value
    np.testing.assert_allclose(table["local_background_F160W"].value, expected, atol=0.15)
    np.testing.assert_allclose(table["aper_flux_5px_F160W"], clean["aper_flux_5px_F160W"], rtol=0.02)


def test_kron_fluxes_are_those_of_photutils():
    data, labels, _ = grid(2000, n=3)
    table = measure(labels, sky(data), maps_of(labels.shape), noise=WHITE)
    oracle = SourceCatalog(data, SegmentationImage(labels), kron_params=(2.5, 1.4, 0.0))
    np.testing.assert_allclose(table["kron_flux_F160W"].value, oracle.kron_flux, rtol=2e-3)
    np.testing.assert_allclose(table["kron_radius"].value, np.clip(oracle.kron_radius.value, 1.4, 4), rtol=0.02)
    place = oracle.centroid_win
    np.testing.assert_allclose(table["x_centroid_win"].value, place[:, 0], atol=0.02)


def test_apertures_and_radii_are_those_of_sep_and_photutils():
    sep = pytest.importorskip("sep")
    data, labels, _ = grid(2000, n=3)
    options = MeasureOptions(background="none")
    table = measure(labels, sky(data), maps_of(labels.shape), noise=WHITE, options=options)
    place = [np.asarray(table[f"{axis}_centroid_win"]) for axis in "xy"]
    flux, error, _ = sep.sum_circle(data, *place, 5.0, err=1.0, subpix=0)
    np.testing.assert_allclose(table["aper_flux_5px_F160W"], flux, rtol=1e-4)
    np.testing.assert_allclose(table["aper_fluxerr_5px_F160W"], error, rtol=0.05)
    centre = [np.asarray(table[f"{axis}_centroid"]) for axis in "xy"]
    kron = np.asarray(table["kron_flux_F160W"])
    theirs, _ = sep.flux_radius(data, *centre, np.full(len(kron), 15.0), 0.5, normflux=kron, subpix=5)
    oracle = SourceCatalog(data, SegmentationImage(labels), kron_params=(2.5, 1.4, 0.0))
    radius, doubt = (np.asarray(table[f"half_light_radius{kind}"]) for kind in ("", "_err"))
    half_light = oracle.flux_radius if hasattr(oracle, "flux_radius") else oracle.fluxfrac_radius
    for other in (theirs, half_light(0.5).value):
        assert np.all(np.abs(radius - other) < doubt)
    segment = np.asarray(table["segment_flux_F160W"])
    np.testing.assert_allclose(segment, oracle.segment_flux, rtol=1e-5)
    win, win_error = sep.winpos(data, *centre, np.asarray(table["half_light_radius"]) * 2 / 2.355)[:2], 0.5
    for axis, other in zip("xy", win, strict=True):
        assert np.all(
            np.abs(table[f"{axis}_centroid_win"].value - other) < win_error * table[f"{axis}_centroid_win_err"].value
        )


def test_the_curve_of_growth_of_a_gaussian():
    image = gaussian((101, 101), 50.3, 49.8, 4, 100)
    growth, plain = curve_of_growth(image, 50.3, 49.8, 45), reference_stamps.curve_of_growth(image, 50.3, 49.8, 45)
    truth = 100 * (1 - np.exp(-0.5 * growth.radii**2 / (16 + 1 / 6)))
    np.testing.assert_allclose(growth.flux, truth, atol=0.15)
    assert growth.radius_of(50) == pytest.approx(4 * 1.1774, rel=0.01)
    assert np.isnan(growth.radius_of(200))
    np.testing.assert_allclose([growth.flux, growth.area], [plain.flux, plain.area], rtol=1e-10, atol=1e-10)


def test_structure_is_that_of_statmorph():
    statmorph = pytest.importorskip("statmorph")
    rng = np.random.default_rng(2)
    shape = (161, 161)
    y, x = np.indices(shape)
    turned = (x - 80) * 0.8 + (y - 80) * 0.6, ((y - 80) * 0.8 - (x - 80) * 0.6) / 0.6
    data = 60 * np.exp(-np.hypot(*turned) / 6) + gaussian(shape, 86, 93, 2.5, 1200) + rng.normal(0, 0.5, shape)
    labels = (ndimage.gaussian_filter(data, 1) > 1).astype(np.int32)
    parts, _ = ndimage.label(labels)
    labels = (parts == parts[80, 80]).astype(np.int32)
    row = measure(labels, sky(data, rms=0.5), maps_of(shape), noise=WHITE)[0]
    oracle = statmorph.source_morphology(data, labels, weightmap=np.full(shape, 0.5))[0]
    assert row["r_petrosian"].value == pytest.approx(oracle.rpetro_circ, rel=0.06)
    assert row["concentration"].value == pytest.approx(oracle.concentration, abs=0.1)
    assert float(row["asymmetry"]) == pytest.approx(oracle.asymmetry, abs=2 * float(row["asymmetry_err"]))
    # Without noise both find 0.26: what noise takes away in statmorph is not missing here.
    assert float(row["asymmetry"]) == pytest.approx(0.262, abs=float(row["asymmetry_err"]))
    assert row["gini"].value == pytest.approx(oracle.gini, abs=0.02)
    assert row["m20"].value == pytest.approx(oracle.m20, abs=0.08)


class TestErrorsOfStructure:
    """The same galaxies in ten draws of noise, against the values without noise."""

    NAMES = ("half_light_radius", "r_petrosian", "concentration", "asymmetry", "gini", "m20", "x_centroid")

    @pytest.fixture(scope="class")
    @classmethod
    def draws(cls):
        shape = (100, 100)
        y, x = np.indices(shape)
        light = 40 * np.exp(-np.hypot(x - 50, (y - 50) / 0.7) / 5) + gaussian(shape, 55, 57, 2, 600)
        labels = (light > 2).astype(np.int32)
        rng = np.random.default_rng(7)
        options = MeasureOptions(background="none")
        truth = measure(labels, sky(light, rms=1e-3), maps_of(shape), noise=WHITE, options=options)[0]
        found = [
            measure(labels, sky(light + rng.normal(size=shape)), maps_of(shape), noise=WHITE, options=options)[0]
            for _ in range(10)
        ]
        return truth, found

    @pytest.mark.parametrize("name", NAMES)
    def test_values_are_as_wrong_as_the_errors_say(self, draws, name):
        truth, found = draws
        pulls = [(row[name] - truth[name]) / row[f"{name}_err"] for row in found]
        assert np.sqrt(np.mean(np.square(pulls))) < 2.2
        assert np.sqrt(np.mean(np.square(pulls))) > 0.2

    def test_the_signal_to_noise_ratio_is_that_of_the_segment(self, draws):
        truth, found = draws
        expected = float(truth["segment_flux_F160W"] / np.sqrt(truth["area"].value))
        np.testing.assert_allclose([float(row["snr"]) for row in found], expected, rtol=0.05)

    def test_noise_takes_no_asymmetry_away(self, draws):
        truth, found = draws
        assert truth["asymmetry"] > 0.1
        assert np.mean([row["asymmetry"] for row in found]) == pytest.approx(float(truth["asymmetry"]), abs=0.03)

    def test_below_the_stated_ratio_there_are_none(self):
        data, labels, _ = grid(110, n=3)
        table = measure(labels, sky(data), maps_of(labels.shape), noise=WHITE)
        assert (table["snr"] < 20).all()
        for name in ("concentration", "asymmetry", "gini", "m20"):
            assert np.isnan(table[name]).all()
            assert np.isnan(table[f"{name}_err"]).all()
        assert np.isfinite(table["half_light_radius"].value).all()


class TestOnTheSky:
    """A WCS turned by 30 degrees, mirrored or not: an ellipse keeps its angle on the sky."""

    @pytest.mark.parametrize("turn", [0, 30, 110])
    @pytest.mark.parametrize("mirror", [-1, 1])
    def test_orientation_sizes_and_errors(self, turn, mirror):
        shape, angle = (80, 80), np.deg2rad(25)
        y, x = np.indices(shape) - 40.0
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        data = 50 * np.exp(-0.5 * ((along / 5) ** 2 + (across / 2) ** 2))
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.crpix, wcs.wcs.crval = (41, 41), (150.0, 60.0)
        cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        wcs.wcs.cd = 0.1 / 3600 * np.array([[mirror * cosine, -mirror * sine], [sine, cosine]])
        labels = (data > 1).astype(np.int32)
        row = measure(labels, sky(data, wcs=wcs, zero_points=(25.0,)), maps_of(shape), noise=WHITE)[0]
        east, north = mirror * np.cos(angle + np.deg2rad(turn)), np.sin(angle + np.deg2rad(turn))
        expected = np.rad2deg(np.arctan2(east, north)) % 180
        assert (row["sky_orientation"].value - expected + 90) % 180 - 90 == pytest.approx(0, abs=0.05)
        for name in ("semimajor_axis", "semiminor_axis", "half_light_radius"):
            assert row[f"{name}_arcsec"].to_value("arcsec") == pytest.approx(0.1 * row[name].value, rel=1e-6)
        error = np.hypot(row["x_centroid_err"].value, row["y_centroid_err"].value)
        on_sky = np.hypot(row["ra_err"].to_value("arcsec"), row["dec_err"].to_value("arcsec"))
        assert on_sky == pytest.approx(0.1 * error, rel=1e-3)
        if turn == 0:
            assert row["dec_err"].to_value("arcsec") == pytest.approx(0.1 * row["y_centroid_err"].value, rel=1e-3)


class TestColumns:
    def test_magnitudes_of_apertures_have_the_errors_of_their_fluxes(self):
        data, labels, _ = grid(2000, n=2)
        table = measure(labels, sky(data, zero_points=(25.9,)), maps_of(labels.shape), noise=WHITE)
        flux, error = (table[f"aper_{kind}_5px_F160W"].value for kind in ("flux", "fluxerr"))
        np.testing.assert_allclose(table["aper_mag_5px_F160W"].value, 25.9 - 2.5 * np.log10(flux))
        np.testing.assert_allclose(table["aper_magerr_5px_F160W"].value, 2.5 / np.log(10) * error / flux)

    def test_the_metadata_explains_flags_and_colours(self):
        data, labels, _ = grid(2000, n=2)
        one = sky(data, rms=None)
        twice = {"data": one.data.repeat(2, 2), "valid": one.valid.repeat(2, 2), "units": (), "zero_points": ()}
        two = replace(one, bands=("F160W", "F606W"), **twice)
        meta = measure(labels, two, maps_of(labels.shape)).meta
        assert "8 blended: The segment touches a neighbour, or was split from one." in meta["flag_bits"]["flags"]
        assert meta["flag_bits"]["flags_<band>"][0].startswith("1 no_data: ")
        assert "not matched" in meta["aperture_colours"]
        assert "aperture_colours" not in measure(labels, one, maps_of(labels.shape)).meta

    def test_without_a_zero_point_it_is_said_and_there_are_no_magnitudes(self):
        data, labels, _ = grid(2000, n=2)
        table = measure(labels, sky(data), maps_of(labels.shape))
        assert "not calibrated" in table["kron_flux_F160W"].info.description
        assert not [name for name in table.colnames if "mag" in name or "fnu" in name]
        known = measure(labels, sky(data, zero_points=(25.9,)), maps_of(labels.shape))
        assert "zero-point 25.9" in known["kron_flux_F160W"].info.description
        assert known["kron_mag_F160W"].unit == u.mag

    def test_apertures_in_arcsec_and_in_pixels(self):
        data, labels, _ = grid(2000, n=2)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.cdelt = -0.06 / 3600, 0.06 / 3600
        image, result = sky(data, wcs=wcs), maps_of(labels.shape)
        angular = measure(labels, image, result, options=MeasureOptions(aperture_radii=(0.3,)))
        linear = measure(labels, image, result, options=MeasureOptions(aperture_radii=(5,), aperture_unit="pixel"))
        assert "0.3 arcsec" in angular["aper_flux_0p3_F160W"].info.description
        np.testing.assert_allclose(angular["aper_flux_0p3_F160W"], linear["aper_flux_5px_F160W"], rtol=1e-4)
        with pytest.raises(OptionError, match="no WCS"):
            measure(labels, replace(image, wcs=None), result, options=MeasureOptions(aperture_radii=(0.3,)))

    @pytest.mark.parametrize(
        "wrong",
        [{"aperture_unit": "feet"}, {"aperture_radii": (-1,)}, {"kron_scale": 0}, {"saturation": np.nan}],
    )
    def test_impossible_options(self, wrong):
        with pytest.raises(OptionError, match=next(iter(wrong)).split("_")[0]):
            MeasureOptions(**wrong)

    def test_a_nonsense_zero_point(self):
        with pytest.raises(InputError, match="zero-point"):
            measure(np.zeros((9, 9), int), sky(np.zeros((9, 9)), zero_points=(np.inf,)), maps_of((9, 9)))

    def test_what_the_pixels_are(self):
        data, labels, _ = grid(2000, n=2)
        planes = np.zeros((*labels.shape, 5), np.float32)
        planes[:, :44] = 0.8, 0, 0, 0, 0.2
        planes[:, 44:] = 0.3, 0.3, 0.3, 0, 0.1
        planes[:44, 44:] = 0.2, 0.2, 0.2, 0.2, 0.2
        planes[44:, 44:, 1] += 0.1
        table = measure(labels, sky(data), maps_of(labels.shape, probability=planes), maps="probability")
        np.testing.assert_allclose(table["p_source"], [0.8, 0.8, 0.8, 0.9], atol=1e-6)
        np.testing.assert_allclose(table["spheroid_pixel_fraction"][[0, 2]], 1)
        assert table["disk_pixel_fraction"][3] == 1
        np.testing.assert_allclose(table["entropy"][[0, 1]], [0, 1], atol=1e-9)


class TestFlags:
    def flags(self, data, labels, *, options=None, valid=None):
        maps = maps_of(labels.shape) if valid is None else maps_of(labels.shape, valid=valid)
        table = measure(labels, sky(data, valid=valid), maps, options=options, noise=WHITE)
        return [set(decode_flags(flags)) for flags in table["flags"]]

    def test_saturated_above_the_level_asked_for(self):
        data, labels, _ = grid(5000, n=2)
        data[22, 22] = 1000
        found = self.flags(data, labels, options=MeasureOptions(saturation=900))
        assert found == [{"saturated"}, set(), set(), set()]

    def test_the_header_tells_the_level(self):
        data, labels, _ = grid(5000, n=2)
        data[22, 22] = 1000
        image = sky(data, meta={"bands": {"F160W": {"header": {"SATURATE": 900.0}}}})
        table = measure(labels, image, maps_of(labels.shape), noise=WHITE)
        assert [set(decode_flags(flags)) for flags in table["flags"]] == [{"saturated"}, set(), set(), set()]

    def test_a_flat_top_is_saturated(self):
        data, labels, _ = grid(5000, n=2)
        assert self.flags(np.where(labels == 3, np.minimum(data, 90), data), labels)[2] == {"saturated"}

    def test_a_hole_at_the_peak_is_saturated(self):
        data, labels, places = grid(5000, n=2)
        valid = np.ones(data.shape, bool)
        y, x = np.rint(places[1]).astype(int)
        valid[y - 1 : y + 2, x - 1 : x + 2] = False
        assert self.flags(data, np.where(valid, labels, 0), valid=valid)[1] >= {"saturated", "invalid_pixels"}

    def test_a_mask_in_the_wings_is_not(self):
        data, labels, places = grid(5000, n=2)
        valid = np.ones(data.shape, bool)
        y, x = np.rint(places[1]).astype(int)
        valid[y + 3, x] = False
        assert self.flags(data, np.where(valid, labels, 0), valid=valid)[1] == {"invalid_pixels", "partly_covered"}

    def test_too_large_to_measure(self):
        data, labels, _ = grid(5000, n=2)
        labels[44 + 10 : 44 + 34, 10:34] = labels[66, 22]
        options = MeasureOptions(largest_side=12)
        assert self.flags(data, labels, options=options) == [set(), set(), {"too_large"}, set()]
        table = measure(labels, sky(data), maps_of(labels.shape), options=options)
        assert np.isnan(table["kron_flux_F160W"].value).tolist() == [False, False, True, False]
        assert np.isfinite(table["segment_flux_F160W"].value).all()

    def test_outside_of_the_models_domain(self):
        data, labels, _ = grid(5000, n=2)
        assert self.flags(data, labels, options=MeasureOptions(outside_domain=True)) == [{"outside_domain"}] * 4
