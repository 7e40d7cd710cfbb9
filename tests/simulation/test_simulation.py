"""Simulated fields: fluxes, owners, classes, PSFs, noise, and that everything follows from the seed."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from morpheus_lite.core.classes import CLASSES
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import OptionError, OutputError

pytest.importorskip("galsim", reason="the simulator needs GalSim (the extra simulation)")

from morpheus_lite.simulation import (
    Conditions,
    Field,
    Sky,
    class_map,
    draw_conditions,
    observe,
    plain_conditions,
    simulate_field,
    training_field,
)
from morpheus_lite.simulation.observation import OWNED_SNR, noise
from morpheus_lite.simulation.populations import (
    KINDS,
    ambiguity,
    counts,
    draw_kind,
    draw_magnitudes,
    draw_source,
    magnitude_at,
    soft_label,
)
from morpheus_lite.simulation.products import simulate, write_field
from morpheus_lite.simulation.psf import make_psfs, width_of
from morpheus_lite.simulation.rendering import ZERO_POINT, render

ROOT = Path(__file__).parents[2]
BANDS = ("F160W", "F850LP")
SKY = Sky(density_boost=4, balance=0.7, stars=1)


@pytest.fixture(scope="module")
def field() -> Field:
    return simulate_field(3, shape=(160, 192), bands=BANDS, sky=SKY)


@pytest.fixture(scope="module")
def psfs():
    return make_psfs(BANDS, 0.06, variant=3)


def quiet(n_bands: int, sigma: float = 1.0, **changes) -> Conditions:
    """Conditions with noise and nothing else, apart from the changes."""
    plain = Conditions(
        sigma=(sigma,) * n_bands, correlation=(0.0,) * n_bands, offset=(0.0,) * n_bands, unevenness=(0.0,) * n_bands
    )
    return replace(plain, **changes)


def test_everything_follows_from_the_seed(field):
    again = simulate_field(3, shape=(160, 192), bands=BANDS, sky=SKY)
    other = simulate_field(4, shape=(64, 64), bands=BANDS[:1], sky=SKY)
    assert np.array_equal(again.flux, field.flux)
    assert np.array_equal(again.owner, field.owner)
    assert np.array_equal(again.sources, field.sources)
    assert len(other.sources) != len(field.sources) or not np.array_equal(other.sources["x"], field.sources["x"])


def test_the_noise_follows_from_its_generator(field):
    conditions = draw_conditions(np.random.default_rng(1), field)
    first, second = (observe(field, conditions, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first.image.data, second.image.data)
    assert not np.array_equal(first.image.data, observe(field, conditions, np.random.default_rng(6)).image.data)


@pytest.mark.parametrize("kind", KINDS)
def test_the_light_of_a_source_is_its_magnitude(kind, psfs):
    rng = np.random.default_rng(11)
    for magnitude in (19.0, 23.0, 26.0):
        source = draw_kind(rng, kind, magnitude)
        stamp, _ = render(source, (100.3, 80.8), psfs, np.array([1.537, 0.904]), 0.06)
        measured = ZERO_POINT - 2.5 * np.log10(stamp.sum(axis=(0, 1)))
        expected = [magnitude_at(source, 1.537), magnitude_at(source, 0.904)]
        assert measured == pytest.approx(expected, abs=0.02)
        assert expected[0] == pytest.approx(magnitude, abs=1e-6)
        assert stamp.min() >= 0


def test_the_light_lies_where_the_catalogue_says(psfs):
    source = replace(draw_kind(np.random.default_rng(2), "spheroid", 22.0), bulge=1.0)
    stamp, (row, column) = render(source, (41.25, 70.6), psfs, np.array([1.537, 0.904]), 0.06)
    y, x = np.indices(stamp.shape[:2])
    for band in range(2):
        light = stamp[..., band] / stamp[..., band].sum()
        assert (light * x).sum() + column == pytest.approx(41.25, abs=0.15)
        assert (light * y).sum() + row == pytest.approx(70.6, abs=0.15)


def test_half_of_the_light_is_within_the_half_light_radius(psfs):
    source = replace(
        draw_kind(np.random.default_rng(2), "spheroid", 20.0, radius=0.9), sersic=2.5, axis_ratio=0.999, bulge=1.0
    )
    stamp, (row, column) = render(source, (0, 0), psfs[1:], np.array([1.537]), 0.06)
    y, x = np.indices(stamp.shape[:2])
    inside = np.hypot(x + column, y + row) < 0.9 / 0.06
    assert stamp[inside].sum() / stamp.sum() == pytest.approx(0.5, abs=0.03)


def test_sources_add_up_to_the_field(field):
    inside = (
        (field.sources["x"] > 40)
        & (field.sources["x"] < field.shape[1] - 40)
        & (field.sources["y"] > 40)
        & (field.sources["y"] < field.shape[0] - 40)
    )
    assert field.flux.sum() > 0.7 * field.sources["flux"][inside].sum()
    assert field.flux.sum() < 1.001 * field.sources["flux"].sum()


def test_owners_cover_the_light(field):
    brightness = field.flux.mean(axis=2) / field.pixel_scale**2
    limit = 10 ** (-0.4 * (29.0 - ZERO_POINT))
    assert (field.owner[brightness > limit] > 0).mean() > 0.98
    assert field.owner.max() <= len(field.sources)
    bright = np.flatnonzero(field.sources["h_mag"] < 22)
    for source in field.sources[bright]:
        row, column = round(float(source["y"])), round(float(source["x"]))
        if 2 < row < field.shape[0] - 2 and 2 < column < field.shape[1] - 2 and source["kind"] in (0, 3):
            assert field.owner[row, column] <= source["id"], "only a brighter source may own the peak"


@given(seed=st.integers(0, 10_000), magnitude=st.floats(17, 27.5), sharpest=st.floats(0.05, 0.8))
@settings(max_examples=60, deadline=None)
def test_the_drawn_kind_is_the_top_class(seed, magnitude, sharpest):
    source = draw_source(np.random.default_rng(seed), magnitude, balance=0.8)
    label = soft_label(source, sharpest)
    assert label.sum() == pytest.approx(1, abs=1e-5)
    assert KINDS[int(label.argmax())] == source.kind
    assert 0 <= ambiguity(source) <= 1


def test_doubtful_sources_get_doubtful_labels():
    rng = np.random.default_rng(1)
    disk = replace(draw_kind(rng, "disk", 21.0), bulge=0.0, structure="spiral", asymmetry=0.0, radius=1.0)
    clear, doubtful = soft_label(disk, 0.09), soft_label(replace(disk, bulge=0.5), 0.09)
    assert clear[1] > 0.95 > doubtful[1]
    small = replace(disk, structure="smooth", axis_ratio=0.9, radius=0.2)
    assert soft_label(small, 0.09)[0] > 0.35 > 0.25 > soft_label(replace(small, axis_ratio=0.6), 0.09)[0]
    tiny = soft_label(replace(draw_kind(rng, "spheroid", 24.0), bulge=1.0, radius=0.01), 0.18)
    assert tiny[3] > 0.3


def test_number_counts_rise_as_in_the_sky():
    assert counts(np.array(25.0)) == pytest.approx(42, rel=0.15)
    slope = np.log10(counts(np.array(27.0)) / counts(np.array(26.0)))
    assert 0.15 < slope < 0.3
    drawn = draw_magnitudes(np.random.default_rng(0), 20.0)
    inside = np.abs(drawn - 25.0) < 0.25
    assert inside.sum() == pytest.approx(20 * 0.5 * counts(np.array(25.0)), rel=0.15)


def test_widths_of_the_hubble_psfs():
    for name, fwhm in {"F160W": 0.18, "F125W": 0.175, "F606W": 0.09, "F850LP": 0.10}.items():
        (psf,) = make_psfs((name,), 0.04, variant=1)
        assert psf.fwhm * 0.04 == pytest.approx(fwhm, rel=0.07), name
        assert psf.image.sum() == pytest.approx(1, abs=1e-4)
        assert psf.image.min() >= 0
        assert np.unravel_index(psf.image.argmax(), psf.image.shape) == (512, 512)


def test_matching_blurs_to_the_widest():
    narrow, wide = make_psfs(("F850LP", "F160W"), 0.06, variant=3, matched=1.0)
    assert narrow.fwhm == pytest.approx(wide.fwhm, rel=0.1)
    native = make_psfs(("F850LP",), 0.06, variant=3)[0]
    assert native.fwhm < 0.7 * wide.fwhm
    assert width_of(wide.image) == wide.fwhm


def test_webb_has_six_spikes_and_hubble_four():
    for name, scale, spikes in (("F200W", 0.04, 6), ("F606W", 0.06, 4)):
        (psf,) = make_psfs((name,), scale, variant=1)
        y, x = np.indices(psf.image.shape) - 512
        ring = (np.hypot(x, y) > 60) & (np.hypot(x, y) < 120)
        angle = np.arctan2(y, x)[ring]
        power = {m: abs((psf.image[ring] * np.exp(1j * m * angle)).sum()) for m in range(3, 10)}
        assert max(power, key=power.get) in (spikes, 2 * spikes), power


@pytest.mark.parametrize("correlation", [0.0, 0.7, 2.0])
def test_noise_has_the_stated_level_and_correlation(correlation):
    plane = noise((400, 400), (correlation,), np.random.default_rng(0))[..., 0]
    assert plane.std() == pytest.approx(1, abs=0.04)
    neighbours = (plane[:, 1:] * plane[:, :-1]).mean()
    expected = np.exp(-0.25 / correlation**2) if correlation else 0.0
    assert neighbours == pytest.approx(expected, abs=0.05)


def test_labels_are_where_the_source_stands_out(field):
    observation = observe(field, plain_conditions(field), np.random.default_rng(0))
    sigma = np.array(plain_conditions(field).sigma)
    signal = np.sqrt(((field.flux / sigma) ** 2).sum(axis=2))
    assert np.array_equal(observation.labels > 0, (signal > OWNED_SNR) & (field.owner > 0))
    deeper = observe(field, plain_conditions(field, depth=0.2), np.random.default_rng(0))
    assert (deeper.labels > 0).sum() > (observation.labels > 0).sum()
    truth = class_map(observation.labels, field.sources)
    assert truth.shape == (*field.shape, len(CLASSES))
    assert np.allclose(truth.sum(axis=2), 1, atol=1e-5)
    assert np.array_equal(truth[..., 4] == 1, observation.labels == 0)


def test_the_image_is_the_field_plus_noise(field):
    observation = observe(field, quiet(2, 0.7, offset=(5.0, 0.0)), np.random.default_rng(0))
    rest = observation.image.data - field.flux
    assert rest.mean(axis=(0, 1)) == pytest.approx([5.0, 0.0], abs=0.02)
    assert rest.std(axis=(0, 1)) == pytest.approx([0.7, 0.7], rel=0.03)
    assert observation.image.rms == pytest.approx(np.full(field.flux.shape, 0.7))


def test_a_cutout_is_observed_like_the_whole(field):
    window = Window(16, 32, 96, 80)
    part = field.cutout(window)
    assert np.array_equal(part.flux, field.flux[window.slices])
    assert part.sources["x"] + 32 == pytest.approx(field.sources["x"], abs=1e-4)
    conditions = quiet(2, 1.5)
    inner = observe(part, conditions, np.random.default_rng(0)).labels
    assert np.array_equal(inner, observe(field, conditions, np.random.default_rng(1)).labels[window.slices])


@pytest.mark.parametrize("style", ["clip", "hole", "ring", "invalid"])
def test_saturated_cores(field, style):
    level = float(field.flux[..., 0].max() / 3)
    conditions = quiet(2, 0.01, saturation=(level, np.inf), saturation_style=style, bleed=2.0)
    image = observe(field, conditions, np.random.default_rng(0)).image
    assert np.isfinite(image.data).all()
    touched = field.flux[..., 0] > 1.3 * level
    wrong = np.abs(image.data[..., 0] - field.flux[..., 0]) > 0.1 * level
    assert (wrong | ~image.valid[..., 0])[touched].mean() > 0.7
    assert image.valid[..., 0].all() == (style != "invalid")
    assert image.data[..., 1] == pytest.approx(field.flux[..., 1], abs=0.1), "the other band does not saturate"


def test_blemishes_are_drawn_and_stay_finite(field):
    conditions = quiet(2, cosmic_rays=2000.0, hot_pixels=2000.0, trails=1.0, invalid=1.0, depth_step=(2.0, 0.5))
    dirty = observe(field, conditions, np.random.default_rng(4))
    assert np.isfinite(dirty.image.data).all()
    assert not dirty.image.valid.all()
    assert (dirty.image.data[~dirty.image.valid] == 0).all()
    residual = np.abs(dirty.image.data - field.flux)[dirty.image.valid]
    assert (residual > 8).sum() > 20
    assert set(np.unique(np.round(dirty.image.rms[..., 0], 3))) == {1.0, 2.0}


def test_conditions_for_another_number_of_bands_are_refused(field):
    with pytest.raises(OptionError, match="3 band"):
        observe(field, quiet(3), np.random.default_rng(0))


def test_unknown_filters_and_tiny_fields_are_refused():
    with pytest.raises(OptionError, match="F999X"):
        simulate_field(0, shape=(64, 64), bands=("F999X",))
    with pytest.raises(OptionError, match="too small"):
        simulate_field(0, shape=(8, 8), bands=("F160W",))


def test_npz_round_trip(field, tmp_path):
    field.save(tmp_path / "field.npz")
    again = Field.load(tmp_path / "field.npz")
    assert np.array_equal(again.flux, field.flux)
    assert np.array_equal(again.sources, field.sources)
    assert (again.bands, again.pixel_scale, again.seed) == (field.bands, field.pixel_scale, field.seed)
    assert [path.name for path in tmp_path.iterdir()] == ["field.npz"]


def test_fits_products(field, tmp_path):
    observation = observe(field, plain_conditions(field), np.random.default_rng(0))
    paths = write_field(field, observation, tmp_path, name="demo", zero_points=(25.946, 24.867))
    with fits.open(paths[0]) as image, fits.open(paths[1]) as truth:
        assert image["F160W"].header["BUNIT"] == "electron/s"
        in_njy = image["F160W"].data * 10 ** (0.4 * (ZERO_POINT - image["F160W"].header["ABZP"]))
        assert in_njy == pytest.approx(observation.image.data[..., 0], rel=1e-4, abs=1e-5)
        assert np.array_equal(truth["LABELS"].data, observation.labels)
        assert truth["CLASS"].data.max() == 4
        table = Table(truth["SOURCES"].data)
    assert table["n_pixels"].sum() == (observation.labels > 0).sum()
    assert ZERO_POINT - 2.5 * np.log10(field.sources["flux"][:, 0]) == pytest.approx(table["mag_F160W"], abs=1e-4)
    with pytest.raises(OutputError, match=r"demo\.fits"):
        write_field(field, observation, tmp_path, name="demo")


def test_simulate_is_reproducible(tmp_path):
    options = {"seed": 12, "shape": (48, 48), "bands": ("F160W",), "conditions": "random"}
    first, second = (simulate(tmp_path / name, **options)[0] for name in ("a", "b"))
    with fits.open(first) as one, fits.open(second) as two:
        assert np.array_equal(one["F160W"].data, two["F160W"].data)
        assert one[0].header["SEED"] == 12
    with pytest.raises(OutputError, match=r"field_12\.fits.*exist already"):
        simulate(tmp_path / "a", seed=12, shape=(10**6, 10**6))  # at once, not after drawing
    with pytest.raises(OptionError, match="plain"):
        simulate(tmp_path, seed=1, shape=(48, 48), bands=("F160W",), conditions="stormy")


def test_the_bundled_demo_field_is_what_its_script_makes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make_demo_field.py", str(tmp_path)])
    runpy.run_path(str(ROOT / "examples/make_demo_field.py"), run_name="__main__")
    for name, planes in {"demo_field.fits": ("F160W", "F606W", "F850LP_RMS"), "demo_truth.fits": ("LABELS",)}.items():
        with fits.open(tmp_path / name) as made, fits.open(ROOT / "examples/data" / name) as bundled:
            for plane in planes:
                scale = np.abs(bundled[plane].data).max()
                differing = np.abs(made[plane].data - bundled[plane].data) > 1e-5 * scale
                assert differing.mean() < 1e-3, f"{name}[{plane}]"


@pytest.mark.shared
def test_the_distributions_are_what_the_fit_gives(shared, tmp_path, monkeypatch):
    catalogs = shared / "data/catalogs"
    inputs = (
        catalogs / "vanderwel_cosmos_3dhst.v4.1_f160w.galfit.gz",
        catalogs / "goodss-3dhst-example.fits",
        shared / "data/labels/kartaltepe2015_gds.csv",
    )
    output = tmp_path / "distributions.json"
    monkeypatch.setattr(sys, "argv", ["fit_populations.py", *map(str, inputs), "-o", str(output)])
    runpy.run_path(str(ROOT / "weights/recipes/fit_populations.py"), run_name="__main__")
    fitted = json.loads(output.read_text())
    shipped = json.loads((ROOT / "morpheus_lite/simulation/distributions.json").read_text())
    assert fitted["counts"] == pytest.approx(shipped["counts"], abs=2e-3)
    assert fitted["votes"]["share"] == pytest.approx(shipped["votes"]["share"], abs=1e-3)
    for group in ("concentrated", "diffuse"):
        assert fitted["shapes"][group]["log_re"] == pytest.approx(shipped["shapes"][group]["log_re"], abs=2e-3)


def test_fields_to_train_on_are_written_by_the_command(tmp_path):
    from click.testing import CliRunner

    from morpheus_lite.cli.main import cli

    command = ["simulate", "--seed", "9", "--shape", "40", "48", "--bands", "F160W,F606W", "--training"]
    result = CliRunner().invoke(cli, [*command, "-o", str(tmp_path)], catch_exceptions=False)
    path = tmp_path / "field_9.npz"
    assert result.exit_code == 0 and result.output.strip() == str(path)
    field = Field.load(path)
    assert field.bands == ("F160W", "F606W") and field.shape == (40, 48) and len(field.sources)
    again = training_field(9, shape=(40, 48), bands=("F160W", "F606W"))
    np.testing.assert_array_equal(again.flux, field.flux)
    assert CliRunner().invoke(cli, [*command, "-o", str(tmp_path)]).exit_code != 0  # not without --overwrite


def test_a_field_can_have_a_psf_of_its_own_in_each_band():
    psfs = make_psfs(BANDS, 0.03)
    field = simulate_field(5, shape=(96, 96), bands=BANDS, sky=SKY, psfs=psfs)
    assert field.psf_fwhm == tuple(psf.fwhm for psf in psfs)
    with pytest.raises(OptionError, match="one for each band"):
        simulate_field(5, shape=(96, 96), bands=BANDS, psfs=psfs[:1])


def test_bright_light_brings_its_own_noise():
    flux = np.zeros((64, 64, 1), np.float32)
    flux[:, 32:] = 300.0
    empty = simulate_field(5, shape=(64, 64), bands=BANDS[:1])
    field = replace(empty, flux=flux)
    seen = observe(field, quiet(1, photons=(0.05,)), np.random.default_rng(1))
    left, right = (seen.image.data - flux)[:, :32].std(), (seen.image.data - flux)[:, 32:].std()
    assert (left, right) == pytest.approx((1.0, 4.0), rel=0.05)  # 1 + 300 * 0.05 = 16
    assert seen.image.rms[0, 63, 0] == pytest.approx(4.0)
    assert np.all(seen.sigma == 1.0)
