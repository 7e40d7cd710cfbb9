"""Images whose PSF has wide wings, which networks see without them."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.core.windows import Window
from morpheus_lite.inference.network_input import Bands, WinglessBands, has_wings, wing_kernel
from morpheus_lite.io import open_image
from morpheus_lite.noise.overview import measure_sections
from tests.star_fields import seen, star_grid


def star(fwhm, beta):
    return star_grid(fwhm, beta, n=1, step=241)


def enclosed(light, radius):
    """Share of the light within a radius of the brightest pixel."""
    y, x = np.unravel_index(light.argmax(), light.shape)
    rows, columns = np.ogrid[: light.shape[0], : light.shape[1]]
    return light[np.hypot(rows - y, columns - x) <= radius].sum() / light.sum()


def test_only_a_known_index_below_the_limit_counts():
    assert has_wings(MoffatPsf(3.0, 1.9, 9, "stars")) and has_wings(MoffatPsf(3.0, 2.7, origin="given"))
    assert not has_wings(MoffatPsf(3.0, 2.8, 9, "stars")) and not has_wings(MoffatPsf(3.0, origin="given"))
    assert not has_wings(MoffatPsf(3.0, 1.9, 3, "sources")) and not has_wings(MoffatPsf())


@pytest.mark.parametrize(("fwhm", "beta"), [(2.2, 1.7), (3.1, 1.9), (3.4, 2.5)])
def test_a_star_loses_its_wings_and_keeps_its_light_and_width(fwhm, beta):
    kernel = wing_kernel(fwhm, beta)
    assert kernel.sum() == pytest.approx(1) and np.hypot(*kernel.shape) < 100
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    after = fftconvolve(star(fwhm, beta), kernel, mode="same")
    for radius in (0.5 * fwhm, fwhm, 2 * fwhm, 4 * fwhm):
        assert enclosed(after, radius) == pytest.approx(enclosed(star(fwhm, 3.5), radius), abs=0.03)
    assert enclosed(star(fwhm, beta), 2 * fwhm) < enclosed(after, 2 * fwhm) - 0.04


def bands_of(image, psf):
    source = open_image(image)
    return WinglessBands.measured(Bands.of(source, (), measure_sections(source)), [psf])


def test_noise_scatters_by_one_and_windows_agree():
    image = seen(np.zeros((300, 260)))
    image.valid[40:60, 100:140] = False
    image.data[~image.valid] = 0
    bands = bands_of(image, MoffatPsf(3.1, 1.9, origin="given"))
    snr, valid = bands.snr(Window(0, 0, 300, 260))
    np.testing.assert_array_equal(valid[..., 0], image.valid[..., 0])
    assert np.std(snr[valid]) == pytest.approx(1, abs=0.04) and not snr[~valid].any()
    part, _ = bands.snr(Window(70, 33, 90, 128))
    np.testing.assert_allclose(part, snr[70:160, 33:161], atol=2e-5)


def test_bands_without_wings_are_left_alone():
    image = seen(np.zeros((90, 80, 2)))
    source = open_image(image)
    whole = Bands.of(source, (), measure_sections(source))
    bands = WinglessBands(whole, [MoffatPsf(3.0, 3.5, 9, "stars"), MoffatPsf(3.0, 1.8, 9, "stars")])
    window = Window(3, 5, 60, 50)
    (snr, _), (expected, _) = bands.snr(window), whole.snr(window)
    np.testing.assert_array_equal(snr[..., 0], expected[..., 0])
    assert np.abs(snr[..., 1] - expected[..., 1]).max() > 0.1
