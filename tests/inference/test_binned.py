"""Images with a wide PSF, which networks see binned."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.psf import MoffatPsf, canonical_factor
from morpheus_lite.core.windows import Window
from morpheus_lite.inference.binned import BinnedBands
from morpheus_lite.inference.network_input import Bands
from morpheus_lite.inference.one_pass import OnePass
from morpheus_lite.io import open_image
from morpheus_lite.io.maps import MemoryMaps
from morpheus_lite.noise.overview import measure_sections
from morpheus_lite.noise.psf import with_psf
from tests.inference.test_one_pass import BoxModel, sky
from tests.star_fields import seen, star_grid


def given(*widths):
    return [MoffatPsf(width, origin="given") for width in widths]


@pytest.mark.parametrize(
    ("widths", "factor"),
    [((), 1), ((3.4,), 1), ((3.6,), 2), ((6.0,), 2), ((6.1,), 3), ((12.0,), 4), ((3.0, 5.0), 2), ((1.5, 5.0), 1)],
)
def test_the_widest_psf_decides_as_far_as_the_sharpest_allows(widths, factor):
    assert canonical_factor(given(*widths)) == factor


def test_what_is_not_known_does_not_count():
    assert canonical_factor([MoffatPsf(), MoffatPsf(9.0, origin="sources"), MoffatPsf(5.0, 2.5, 9, "stars")]) == 2
    assert canonical_factor([MoffatPsf(9.0, origin="sources")]) == 1


def bands_of(image):
    source = open_image(image)
    return Bands.of(source, (), measure_sections(source))


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_a_bin_is_the_sum_over_the_noise(factor):
    image = sky((100, 90))
    valid = np.random.default_rng(4).random(image.data.shape) > 0.3
    valid[:20, :20] = False
    image = replace(image, valid=valid, data=np.where(valid, image.data, 0))
    whole = bands_of(image)
    snr, usable = whole.snr(Window(0, 0, 100, 90))
    binned = BinnedBands(whole, factor)
    binned.sigma = np.array([1.0, 2.0], np.float32)
    assert binned.shape == (-(-100 // factor), -(-90 // factor))
    found, known = binned.snr(Window(0, 0, *binned.shape))
    for y, x in ((0, 0), (3, 5), (binned.shape[0] - 1, binned.shape[1] - 1)):
        cell = np.s_[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
        n = usable[cell].sum(axis=(0, 1))
        np.testing.assert_array_equal(known[y, x], n > 0)
        np.testing.assert_allclose(
            found[y, x], snr[cell].sum(axis=(0, 1)) / np.sqrt(np.maximum(n, 1)) / [1, 2], rtol=1e-5, atol=1e-6
        )


def test_a_window_of_bins_is_that_of_the_whole():
    image = sky((150, 170))
    binned = BinnedBands.measured(bands_of(image), 3)
    whole, known = binned.snr(Window(0, 0, *binned.shape))
    for window in (Window(0, 0, 50, 57), Window(7, 11, 20, 1), Window(40, 50, 10, 7)):
        part, usable = binned.snr(window)
        np.testing.assert_array_equal(part, whole[window.slices])
        np.testing.assert_array_equal(usable, known[window.slices])


def test_correlated_noise_is_measured_in_the_bins():
    noise = np.random.default_rng(8).normal(size=(400, 400))
    smooth = ndimage.gaussian_filter(noise, 1.2)
    binned = BinnedBands.measured(bands_of(seen(40 * smooth, sigma=0.0)), 2)
    # Of independent pixels 1; of these, what their neighbours' correlation says.
    expected = smooth[:400, :400].reshape(200, 2, 200, 2).sum(axis=(1, 3)).std() / 2 / smooth.std()
    assert expected > 1.6
    assert binned.sigma[0] == pytest.approx(expected, rel=0.04)
    snr, _ = binned.snr(Window(0, 0, 200, 200))
    assert snr.std() == pytest.approx(1, rel=0.04)


def filled(image, factor, *, within=None, **options):
    source = open_image(image)
    noise = with_psf(measure_sections(source), source, given(*(3.0 * factor,) * image.n_bands))
    inferer = OnePass(BoxModel(), **options)
    maps = MemoryMaps(image.shape, inferer.kinds)
    inferer.fill(source, maps, noise=noise, within=within)
    return maps.read()


@pytest.mark.parametrize("factor", [2, 3])
def test_each_pixel_has_the_maps_of_its_bin_however_they_are_cut(factor):
    image = sky((130, 121))
    valid = image.valid.copy()
    valid[20:50, 30:61] = False
    valid[70:80, :, 1] = False
    image = replace(image, valid=valid, data=np.where(valid, image.data, 0))
    whole = filled(image, factor, tile=200)
    assert np.isfinite(whole.probability[valid.any(axis=2)]).all()
    assert np.isnan(whole.probability[~valid.any(axis=2)]).all()
    np.testing.assert_array_equal(whole.coverage, valid.any(axis=2))
    np.testing.assert_array_equal((whole.flags & PixelFlag.INVALID) > 0, ~valid.all(axis=2))
    np.testing.assert_array_equal(
        whole.probability[:factor, :factor], whole.probability[:1, :1].repeat(factor, 0).repeat(factor, 1)
    )
    for tile, workers in ((16, 1), (12, 3)):
        cut = filled(image, factor, tile=tile, workers=workers)
        np.testing.assert_array_equal(cut.probability, whole.probability)
        np.testing.assert_array_equal(cut.flags, whole.flags)
    part = Window(33, 50, 20, 31)
    np.testing.assert_array_equal(
        filled(image, factor, tile=8, within=part).probability[part.slices], whole.probability[part.slices]
    )


def test_an_image_with_a_narrow_psf_is_seen_as_it_is():
    image = sky((60, 60))
    np.testing.assert_array_equal(filled(image, 1).probability, classified_as_ever(image).probability)


def classified_as_ever(image):
    inferer = OnePass(BoxModel())
    maps = MemoryMaps(image.shape, inferer.kinds)
    inferer.fill(open_image(image), maps)
    return maps.read()


def test_wide_stars_are_found_by_themselves():
    source = open_image(seen(star_grid(6.5, 3.0, n=4)))
    assert canonical_factor(with_psf(measure_sections(source), source).psf) == 3
