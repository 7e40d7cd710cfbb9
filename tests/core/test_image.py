"""SkyImage: bands by name, cutouts that keep the sky where it was."""

import numpy as np
import pytest
from astropy.wcs import WCS, DistortionLookupTable, Sip

from morpheus_lite.core.flags import PixelFlag, SourceFlag, decode_flags
from morpheus_lite.core.image import SkyImage, pixel_scale_of, wcs_of_blocks
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError


def make_image(bands, shape=(20, 30), wcs=None):
    data = np.arange(shape[0] * shape[1] * len(bands), dtype=np.float32).reshape(*shape, len(bands))
    return SkyImage(data, tuple(bands), np.ones(data.shape, bool), wcs=wcs)


def tan_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [53.1, -27.8], [15, 10]
    wcs.wcs.cdelt = [-0.06 / 3600, 0.06 / 3600]
    return wcs


def test_select_matches_by_name_and_alias():
    image = make_image(["F850LP", "F606W", "F125W", "F160W"])
    chosen = image.select(["H", "J", "V", "Z"])
    assert chosen.bands == ("F160W", "F125W", "F606W", "F850LP")
    np.testing.assert_array_equal(chosen.data, image.data[:, :, ::-1])


def test_select_names_the_missing_band():
    with pytest.raises(InputError, match="has no band F125W: it has F160W, F606W"):
        make_image(["F160W", "F606W"]).select(["F160W", "F125W"])


def test_unnamed_bands_go_by_position_only_if_there_are_as_many():
    image = make_image(["1", "2"])
    assert image.select(["H", "J"]).bands == ("F160W", "F125W")
    with pytest.raises(InputError, match=r"2 band.* without names, but 3 are needed"):
        image.select(["H", "J", "V"])


def test_cutout_keeps_pixels_on_the_sky():
    image = make_image(["F160W"], wcs=tan_wcs())
    part = image.cutout(Window(4, 7, 10, 12))
    assert part.shape == (10, 12)
    there = image.wcs.pixel_to_world(9, 8)
    here = part.wcs.pixel_to_world(2, 4)
    assert there.separation(here).arcsec < 1e-6
    assert part.pixel_scale == pytest.approx(0.06, rel=1e-6)


def test_planes_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"valid has shape \(2, 2, 1\), the data have \(3, 3, 1\)"):
        SkyImage(np.zeros((3, 3, 1), np.float32), ("F160W",), np.ones((2, 2, 1), bool))


def test_flags_decode_to_names():
    assert decode_flags(SourceFlag.EDGE | SourceFlag.CROWDED) == ("edge", "crowded")
    assert decode_flags(PixelFlag.INVALID, PixelFlag) == ("invalid",)
    assert decode_flags(0) == ()
    assert all(bin(flag).count("1") == 1 for flag in (*SourceFlag, *PixelFlag))


def _tangential(distortion):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [53.1, -27.8], [1200.5, 900.25]
    matrix = np.array([[-1.5e-5, 2e-6], [2e-6, 1.5e-5]])
    if distortion == "PC":
        wcs.wcs.pc, wcs.wcs.cdelt = matrix / 1.5e-5, [1.5e-5, 1.5e-5]
    else:
        wcs.wcs.cd = matrix
    if distortion == "SIP":
        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
        a, b = np.zeros((2, 3, 3))
        a[2, 0], a[0, 2], a[1, 1], b[1, 1], b[2, 0] = 3e-6, 1e-6, -2e-6, 2e-6, 1e-6
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    if distortion == "tables":
        rng = np.random.default_rng(0)
        for name in ("cpdis1", "cpdis2", "det2im1", "det2im2"):
            shifts = rng.normal(0, 5, (5, 6)).astype(np.float32)
            setattr(wcs, name, DistortionLookupTable(shifts, (1.0, 1.0), (1.0, 1.0), (500.0, 500.0)))
    wcs.wcs.set()
    return wcs


@pytest.mark.parametrize("distortion", ["PC", "CD", "SIP", "tables"])
def test_the_wcs_of_blocks_is_that_of_their_middles(distortion):
    wcs, step = _tangential(distortion), 4
    blocks = np.random.default_rng(1).uniform(0, 500, (20, 2))
    there = wcs.all_pix2world(step * blocks + (step - 1) / 2, 0)
    np.testing.assert_allclose(wcs_of_blocks(wcs, step).all_pix2world(blocks, 0), there, rtol=0, atol=1e-11)
    assert pixel_scale_of(wcs_of_blocks(wcs, step)) == pytest.approx(step * pixel_scale_of(wcs))
