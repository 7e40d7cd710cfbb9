"""SkyImage: bands by name, cutouts that keep the sky where it was."""

import numpy as np
import pytest
from astropy.wcs import WCS

from morpheus_lite.core.flags import PixelFlag, SourceFlag, decode_flags
from morpheus_lite.core.image import SkyImage
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
