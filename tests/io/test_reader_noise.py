"""RMS, weights and masks: found or given, and which pixels they make invalid."""

import numpy as np
import pytest
from astropy.io import fits
from inputs import BANDS, SHAPE, TRUTH, header, plane, rms_hdus, rms_plane, write

from morpheus_lite.core.windows import Window
from morpheus_lite.io import open_image, read_image


@pytest.fixture
def science():
    return [fits.ImageHDU(TRUTH.data[:, :, k], header(k), name=f"{BANDS[k]}_SCI") for k in range(4)]


BAD = [np.nan, np.inf, -np.inf, 0.0, -1.0]


@pytest.mark.parametrize("role", ["rms", "weight"])
@pytest.mark.parametrize("value", BAD)
def test_noise_that_is_not_positive_and_finite_is_invalid(role, value):
    noise = np.full(SHAPE, 4.0)
    noise[5, 6] = value
    image = read_image(TRUTH.data[:, :, :2], **{role: noise})
    assert not image.valid[5, 6].any()
    assert image.valid.sum() == 2 * (SHAPE[0] * SHAPE[1] - 1)
    assert not image.rms[5, 6].any() and not image.data[5, 6].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_data_that_are_not_finite_in_float32_are_invalid(value):
    data = np.ones(SHAPE)
    data[0, 0] = value
    image = read_image(data)
    assert np.argwhere(~image.valid[:, :, 0]).tolist() == [[0, 0]]
    assert image.data[0, 0, 0] == 0


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, float])
def test_any_mask_but_zero_is_invalid(kind):
    mask = np.zeros(SHAPE, kind)
    mask[1, 2] = 1
    image = read_image(TRUTH.data, dq=mask)
    assert np.argwhere(~image.valid.all(axis=2)).tolist() == [[1, 2]]


def test_one_plane_serves_all_bands_and_a_mapping_serves_some():
    image = read_image(TRUTH.data, bands=BANDS, rms=np.full(SHAPE, 2.0))
    assert (image.rms == 2).all()
    image = read_image(TRUTH.data, bands=BANDS, rms={"J": np.full(SHAPE, 2.0)})
    assert (image.rms[:, :, 1] == 2).all()
    assert not image.rms[:, :, [0, 2, 3]].any()
    assert image.valid.all()


def test_planes_in_the_file_can_be_left_out(science, tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask[0] = 1
    path = write(tmp_path / "t.fits", *science, *rms_hdus(), fits.ImageHDU(mask, name="DQ"))
    assert read_image(path).rms is not None
    assert read_image(path, rms=False).rms is None
    assert not read_image(path).valid[0].any()
    assert read_image(path, dq=False).valid.all()


def test_planes_given_by_option_replace_those_in_the_file(science, tmp_path):
    path = write(tmp_path / "t.fits", *science, *rms_hdus())
    image = read_image(path, rms=np.full(SHAPE, 7.0))
    assert (image.rms == 7).all()


def test_rms_from_another_file_by_band(science, tmp_path):
    path = write(tmp_path / "sci.fits", *science)
    noise = write(tmp_path / "rms.fits", *rms_hdus()[::-1])
    np.testing.assert_array_equal(read_image(path, rms=noise).rms[TRUTH.valid], TRUTH.rms[TRUTH.valid])
    one = read_image(path, rms=f"{noise}[F125W_RMS]").rms
    np.testing.assert_array_equal(one[:, :, 1], rms_plane(1))
    assert not one[:, :, [0, 2, 3]].any()


def test_a_variance_given_as_rms_is_a_variance(science, tmp_path):
    path = write(tmp_path / "sci.fits", science[0])
    noise = write(tmp_path / "noise.fits", fits.ImageHDU(np.full(SHAPE, 4.0), name="VAR"))
    assert (read_image(path, rms=noise).rms == 2).all()
    assert (read_image(path, rms=f"{noise}[VAR]").rms == 2).all()
    assert (read_image(path, rms=f"{noise}[1]").rms == 2).all()


def test_rms_is_trusted_more_than_weights_but_both_invalidate(science, tmp_path):
    weight = np.full(SHAPE, 1 / 9)
    weight[4] = 0
    path = write(tmp_path / "t.fits", science[0], fits.ImageHDU(weight, name="WHT"), rms_hdus()[0])
    image = read_image(path)
    assert image.rms[0, 0, 0] == 0.25
    assert not image.valid[4].any()
    assert not image.rms[4].any()


def test_noise_of_another_band_is_not_taken(science, tmp_path):
    path = write(tmp_path / "t.fits", science[0], *rms_hdus()[1:2])
    assert read_image(path).rms is None


def test_an_extension_finds_its_own_noise(tmp_path):
    hdus = []
    for version in (1, 2):
        hdus.append(fits.ImageHDU(plane(0), header(0), name="SCI", ver=version))
        hdus.append(fits.ImageHDU(np.full(SHAPE, float(version)), name="ERR", ver=version))
    path = write(tmp_path / "t.fits", *hdus)
    for version in (1, 2):
        rms = read_image(f"{path}[SCI,{version}]").rms
        assert set(np.unique(rms)) == {0.0, float(version)}


def big_field(weight: np.ndarray, unit: str | None = None, name: str = "WHT") -> fits.HDUList:
    """Noise of 0.3 on the left and 0.6 on the right, with a bright source."""
    rng = np.random.default_rng(3)
    sigma = np.where(np.arange(400) < 200, 0.3, 0.6) * np.ones((400, 1))
    data = rng.normal(2.0, sigma)
    data[100:130, 100:130] += 500
    weight_header = fits.Header() if unit is None else fits.Header({"BUNIT": unit})
    return fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(data, name="F606W"), fits.ImageHDU(weight, weight_header, name=name)]
    )


INVERSE_VARIANCE = np.where(np.arange(400) < 200, 0.3, 0.6) ** -2.0 * np.ones((400, 1))


def test_inverse_variance_is_believed():
    image = read_image(big_field(INVERSE_VARIANCE))
    np.testing.assert_allclose(image.rms[:, :200], 0.3, rtol=1e-6)
    np.testing.assert_allclose(image.rms[:, 200:], 0.6, rtol=1e-6)


@pytest.mark.parametrize(
    ("factor", "unit", "name"), [(1000, None, "WHT"), (1e-4, None, "WEIGHT"), (1, "SECONDS", "WHT"), (1, None, "EXP")]
)
def test_relative_weights_are_scaled_to_the_noise(factor, unit, name):
    hdus = big_field(INVERSE_VARIANCE * factor, unit, name)
    with pytest.warns(UserWarning, match=r"F606W: the weight .* is not an inverse variance.*taken as relative"):
        image = read_image(hdus)
    np.testing.assert_allclose(np.median(image.rms[:, :200]), 0.3, rtol=0.03)
    np.testing.assert_allclose(np.median(image.rms[:, 200:]), 0.6, rtol=0.03)


@pytest.mark.filterwarnings("ignore:F606W")
def test_scale_of_weights_is_the_same_in_every_section():
    with open_image(big_field(INVERSE_VARIANCE * 1000)) as source:
        whole = source.read()
        window = Window(300, 0, 100, 400)
        np.testing.assert_array_equal(source.read(window).rms, whole.cutout(window).rms)
        assert source.meta["bands"]["F606W"]["noise"][0].startswith("weight x 31.")


def test_weights_of_an_empty_tile_are_no_problem():
    image = read_image(np.zeros(SHAPE), weight=np.zeros(SHAPE))
    assert not image.valid.any()


def test_noise_of_a_sky_image_may_be_unknown():
    partly = read_image(TRUTH.data, bands=BANDS, rms={"H": np.ones(SHAPE)})
    again = read_image(partly, bands=["J", "H"])
    assert again.valid.all()
    assert not again.rms[:, :, 0].any()


@pytest.mark.shared
def test_weight_map_of_a_real_drizzled_image(shared):
    with pytest.warns(UserWarning, match="taken as relative"):
        image = read_image(shared / "data/hdfs_mpdaf/a478hst-cutout.fits.gz")
    assert image.bands == ("F814W",)
    sky = np.abs(image.data - np.median(image.data)) < 3
    scatter = 1.4826 * np.median(np.abs(image.data[sky] - np.median(image.data[sky])))
    assert 0.5 < np.median(image.rms[image.valid]) / scatter < 2
    assert 0.998 < image.valid.mean() < 1


@pytest.mark.shared
def test_real_four_band_field(shared):
    with open_image(shared / "data/xdf_hudf/xdf_hjvz.fits.gz") as source:
        assert source.bands == BANDS
        assert source.zero_points == pytest.approx((25.946, 26.230, 26.505, 24.867), abs=1e-3)
        part = source.read(Window(100, 200, 50, 60))
        whole = source.read()
    assert whole.pixel_scale == pytest.approx(0.06, rel=1e-6)
    assert (whole.rms[whole.valid] > 0).all()
    np.testing.assert_array_equal(part.rms, whole.cutout(Window(100, 200, 50, 60)).rms)


@pytest.mark.shared
def test_stale_distortion_of_a_real_stamp(shared):
    with pytest.warns(UserWarning, match="left over"):
        image = read_image(shared / "data/kartaltepe_stamps/GDS_deep2_10006_h.fits")
    assert image.bands == ("F160W",)
    assert image.wcs.sip is None
    assert image.zero_points[0] == pytest.approx(25.946, abs=0.02)
