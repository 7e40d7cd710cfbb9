"""Training shows a network what it is shown when an image is classified."""

import numpy as np
import pytest

from morpheus_lite.core.classes import BACKGROUND
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.core.windows import Window
from morpheus_lite.inference.network_input import Bands, wing_kernel
from morpheus_lite.inference.one_pass import _network_input, seen_bands
from morpheus_lite.noise.overview import measure_image
from morpheus_lite.simulation import Field
from morpheus_lite.training.config import SamplingConfig
from morpheus_lite.training.dataset import draw_cutout, draw_patch, draw_training_scene, psfs_of
from morpheus_lite.training.shown import bin_labels, measured_bands, show, show_light
from morpheus_lite.training.targets import pad_scene, targets
from tests.inference.test_one_pass import BoxModel
from tests.star_fields import seen, star_grid


def star_field(fwhm, beta, *, step=48):
    """A field of 16 stars in one band, each owning the pixels around it."""
    light = star_grid(fwhm, beta, n=4, step=step).astype(np.float32)
    side, at = len(light), np.arange(4) * step + step // 2
    places = np.array([(y, x) for y in at for x in at], float)
    sources = np.zeros(len(places), [("x", "f4"), ("y", "f4"), ("soft", "f4", (4,)), ("h_mag", "f4")])
    sources["y"], sources["x"] = places.T
    sources["soft"] = np.eye(4)[3]
    rows, columns = np.indices((side, side))
    distance = np.hypot(rows - places[:, 0, None, None], columns - places[:, 1, None, None])
    owner = np.where(distance.min(axis=0) < 20, distance.argmin(axis=0) + 1, 0).astype(np.int32)
    return Field(light[..., None], ("F160W",), 0.06, (fwhm,), owner, sources, 0)


@pytest.mark.parametrize(("fwhm", "beta", "factor"), [(3.0, 4.0, 1), (5.0, 4.0, 2), (3.0, 1.9, 1), (6.5, 2.0, 3)])
def test_training_shows_what_classification_shows(fwhm, beta, factor):
    image = seen(star_grid(fwhm, beta, n=4, step=48))
    image.valid[70:72, 80:90] = False
    psf = (MoffatPsf(fwhm, beta, origin="given"),)
    snr, valid, found = show(measured_bands(image, psf))
    assert found == factor
    whole = Bands(image, image.bands, measure_image(image, given=psf), np.array([0]))
    bands, _ = seen_bands(whole, psf)
    model = BoxModel()
    light, shown, _ = _network_input(bands, Window(0, 0, *bands.shape), model)
    here = (0, *(slice(model.halo, model.halo + length) for length in bands.shape))
    np.testing.assert_array_equal(snr, light[here])
    np.testing.assert_array_equal(valid, shown[here])


@pytest.mark.parametrize(("fwhm", "beta", "factor"), [(5.0, 4.0, 2), (3.0, 1.9, 1), (6.5, 2.0, 3)])
def test_true_light_is_that_of_the_image_shown(fwhm, beta, factor):
    light = star_grid(fwhm, beta, n=4, step=96, faintest=100, brightest=400)
    psf = (MoffatPsf(fwhm, beta, origin="given"),)
    signal = show_light(light[..., None].astype(np.float32), ("1",), psf)
    snr, _, _ = show(measured_bands(seen(light), psf))
    assert signal.shape == snr.shape == (*(-(-length // factor) for length in light.shape), 1)
    bright = signal > 0.2 * signal.max()
    assert np.median(snr[bright] / signal[bright]) == pytest.approx(1, abs=0.06)
    if beta > 2.75:
        half = len(light) // 2
        np.testing.assert_allclose(signal[..., 0], light.reshape(half, 2, half, 2).sum(axis=(1, 3)) / 2, rtol=1e-4)
    else:
        kernel = wing_kernel(fwhm / factor, beta)
        np.testing.assert_allclose(signal.sum(), light.sum() / factor / np.sqrt((kernel**2).sum()), rtol=0.1)


def test_owner_of_a_bin_is_that_of_most_of_its_light():
    labels = np.array([[1, 1, 2, 2], [1, 2, 0, 0], [3, 0, 0, 4], [3, 0, 0, 0]])
    np.testing.assert_array_equal(bin_labels(labels, 2), [[1, 2], [3, 0]])
    light = np.array([[1.0, 1, 1, 1], [1, 4, 9, 9], [1, 2, 1, 3], [0, 0, 1, 0]])
    np.testing.assert_array_equal(bin_labels(labels, 2, light), [[2, 0], [0, 4]])


def test_psfs_of_a_field_are_those_of_its_stars():
    (psf,) = psfs_of(star_field(4.0, 3.0))
    assert psf.origin == "stars" and psf.fwhm == pytest.approx(4.0, rel=0.03) and psf.beta == pytest.approx(3, rel=0.1)


def test_a_field_with_a_wide_psf_is_shown_in_bins():
    field = star_field(5.0, 4.0)
    sides = {draw_training_scene(np.random.default_rng(seed), field).owner.shape[0] for seed in range(6)}
    assert len(field.flux) // 2 in sides and sides <= {len(field.flux) // 2, len(field.flux)}
    seeds = (np.random.default_rng(seed) for seed in range(6))
    scene = next(
        s for s in (draw_training_scene(r, field, style="deep") for r in seeds) if len(s.owner) < len(field.flux)
    )
    y, x = scene.position.T.round().astype(int)
    np.testing.assert_array_equal(scene.owner[y, x], np.arange(1, 17))
    target, _ = targets(scene, np.s_[:, :], np.ones(1, bool))
    assert (target[y, x, 3] == 1).all() and 0.2 < (target[..., BACKGROUND] == 1).mean() < 0.95


def test_cutouts_hold_a_source_and_patches_have_no_data_around_them():
    field = star_field(3.0, 4.0)
    sampling = SamplingConfig(patch=160, drop_bands=0, edges=0)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        small = draw_cutout(rng, field)
        y, x = small.sources["y"], small.sources["x"]
        height, width = small.shape
        assert max(height, width) <= 110 and ((y >= 0) & (x >= 0) & (y < height) & (x < width)).any()
        scene = draw_training_scene(rng, small)
        snr, valid, _, weight = draw_patch(rng, scene, sampling)
        assert snr.shape == (160, 160, 1)
        assert valid.sum() == scene.valid.sum() and not weight[valid[..., 0] == 0].any()


def test_padding_moves_sources_with_their_pixels():
    scene = draw_training_scene(np.random.default_rng(1), star_field(3.0, 4.0), style="deep")
    padded = pad_scene(scene, [(3, 5), (7, 0)])
    np.testing.assert_array_equal(padded.owner[3:-5, 7:], scene.owner)
    np.testing.assert_array_equal(padded.position, scene.position + np.array([3, 7]))
    assert not padded.valid[:3].any() and padded.signal.shape[:2] == padded.owner.shape
