"""Images of Roman in ASDF, made here: exposures in DN/s and coadds in MJy/sr, with the WCS of gwcs."""

import numpy as np
import pytest
from astropy import coordinates, units
from astropy.modeling import models

from morpheus_lite.errors import InputError
from morpheus_lite.io import read_image

asdf = pytest.importorskip("asdf")
gwcs = pytest.importorskip("gwcs")
SCALE = 0.11
AREA = (SCALE / 206264.806247) ** 2


def sky_wcs(bend=0.0):
    """A tangential projection of 0.11 arcsec, with a distortion of up to ``bend`` px at the corner."""
    shift = models.Shift(-31.5) & models.Shift(-23.5)
    x, y = (models.Polynomial2D(2, **{term: 1, "c2_0": bend / 1e3}) for term in ("c1_0", "c0_1"))
    distort = models.Mapping((0, 1, 0, 1)) | x & y
    scale = models.Scale(-SCALE / 3600) & models.Scale(SCALE / 3600)
    to_sky = models.Pix2Sky_TAN() | models.RotateNative2Celestial(80.0, -30.0, 180.0)
    pixels = gwcs.coordinate_frames.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix))
    sky = gwcs.coordinate_frames.CelestialFrame(reference_frame=coordinates.ICRS(), name="world")
    wcs = gwcs.WCS([(pixels, shift | distort | scale | to_sky), (sky, None)])
    wcs.bounding_box = ((-0.5, 63.5), (-0.5, 47.5))
    return wcs


def roman(path, *, coadd=False, bend=0.0, **tree):
    data = np.random.default_rng(3).normal(size=(48, 64)).astype(np.float32)
    photometry = {"conversion_megajanskys": 0.6, "pixel_area": AREA}
    meta = {"instrument": {"name": "WFI", "optical_element": "F158"}, "photometry": photometry, "wcs": sky_wcs(bend)}
    content = {"meta": meta, "data": data, "err": np.ones_like(data), **tree}
    content |= {"weight": np.ones_like(data)} if coadd else {"dq": np.eye(48, 64, dtype=np.uint32)}
    asdf.AsdfFile({"roman": content}).write_to(path)
    return data


@pytest.mark.parametrize("coadd", [False, True])
def test_an_image_of_roman_is_read(tmp_path, coadd):
    data = roman(tmp_path / "r0000_f158.asdf", coadd=coadd)
    image = read_image(tmp_path / "r0000_f158.asdf")
    assert (image.name, image.bands, image.pixel_scale) == ("r0000_f158", ("F158",), pytest.approx(SCALE, rel=1e-5))
    zero_point = -2.5 * np.log10((1 if coadd else 0.6) * 1e6 * AREA / 3631)
    assert image.zero_points[0] == pytest.approx(zero_point, abs=2e-3)
    bad = np.zeros((48, 64), bool) if coadd else np.eye(48, 64, dtype=bool)
    np.testing.assert_array_equal(image.valid[:, :, 0], ~bad)
    np.testing.assert_array_equal(image["F158"][~bad], data[~bad])
    np.testing.assert_array_equal(image.rms[:, :, 0][~bad], 1)


def test_the_distortion_is_kept(tmp_path):
    roman(tmp_path / "bent.asdf", bend=0.5)
    wcs, expected = read_image(tmp_path / "bent.asdf").wcs, sky_wcs(0.5)
    for x, y in ((0, 0), (63, 0), (0, 47), (63, 47), (31, 20)):
        separation = wcs.pixel_to_world(x, y).separation(expected.pixel_to_world(x, y))
        assert separation.arcsec < 0.1 * SCALE


def test_other_trees_are_refused(tmp_path):
    asdf.AsdfFile({"catalog": [1, 2]}).write_to(tmp_path / "other.asdf")
    with pytest.raises(InputError, match=r"holds no image under roman\.data; its tree has"):
        read_image(tmp_path / "other.asdf")
    (tmp_path / "broken.asdf").write_bytes(b"#ASDF 1.0.0\n%YAML 1.1\n---\na: [")
    with pytest.raises(InputError, match="cannot be read as ASDF"):
        read_image(tmp_path / "broken.asdf")
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "none.asdf")
