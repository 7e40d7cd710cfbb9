"""DS9 region files, read back by the regions package."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.utils.masked import Masked
from astropy.wcs import WCS

from morpheus_lite.errors import InputError, OptionError, OutputError
from morpheus_lite.io.regions import write_regions

regions = pytest.importorskip("regions")


def tangent_wcs(*, rotation: float = 0.0, flipped: bool = False, scale: float = 0.06) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [53.16, -27.78]
    wcs.wcs.crpix = [30.0, 25.0]
    turn = np.radians(rotation)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scale / 3600
    matrix[0] *= 1 if flipped else -1
    wcs.wcs.cd = matrix
    return wcs


@pytest.fixture
def table() -> QTable:
    return QTable(
        {
            "label": np.array([3, 8], np.int32),
            "x_centroid": [20.25, 41.0],
            "y_centroid": [14.5, 30.0],
            "semimajor_axis": [4.0, 2.5] * u.pix,
            "semiminor_axis": [2.0, 1.0] * u.pix,
            "orientation": [30.0, -60.0] * u.deg,
            "morphology": ["disk", "point_source"],
        }
    )


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((50, 60), np.int32)
    labels[10:20, 15:27] = 3
    labels[13:15, 18:20] = 0  # a hole
    labels[30, 40:43] = 8
    labels[45, 5] = 99  # not in the table
    return labels


def test_pixel_ellipses_come_back(tmp_path, table):
    path = write_regions(table, tmp_path / "a.reg", frame="image", scale=2.0)
    first, second = regions.Regions.read(path, format="ds9")
    assert (first.center.x, first.center.y) == pytest.approx((20.25, 14.5), abs=1e-3)
    assert (first.width, first.height) == pytest.approx((16.0, 8.0), abs=1e-3)
    assert second.angle.to_value("deg") == pytest.approx(-60.0)
    assert int(first.meta["text"]) == 3 and first.meta["tag"] == ["disk"]


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 37.0, 190.0])
def test_sky_ellipses_fall_on_the_pixel_ellipses(tmp_path, table, rotation, flipped):
    wcs = tangent_wcs(rotation=rotation, flipped=flipped)
    path = write_regions(table, tmp_path / "a.reg", wcs=wcs, scale=1.0)
    for row, region in enumerate(regions.Regions.read(path, format="ds9")):
        ellipse = region.to_pixel(wcs)
        assert (ellipse.center.x, ellipse.center.y) == pytest.approx(
            (table["x_centroid"][row], table["y_centroid"][row]), abs=1e-3
        )
        assert ellipse.width == pytest.approx(2 * table["semimajor_axis"][row].value, rel=1e-3)
        assert ellipse.height == pytest.approx(2 * table["semiminor_axis"][row].value, rel=1e-3)
        difference = (ellipse.angle.to_value("deg") - table["orientation"][row].value + 90) % 180 - 90
        assert difference == pytest.approx(0, abs=0.05)


def test_north_up_angle_is_position_angle_plus_ninety(tmp_path, table):
    write_regions(table, tmp_path / "a.reg", wcs=tangent_wcs(), scale=1.0)
    region = regions.Regions.read(tmp_path / "a.reg", format="ds9")[0]
    assert region.angle.to_value("deg") == pytest.approx(30.0, abs=0.05)  # x points West here
    assert region.width.to_value("arcsec") == pytest.approx(8 * 0.06, rel=1e-3)


def test_pixel_outlines_cover_their_segments(tmp_path, table, labels):
    path = write_regions(table, tmp_path / "a.reg", labels=labels, frame="image")
    found = regions.Regions.read(path, format="ds9")
    assert [int(region.meta["text"]) for region in found] == [3, 8]
    for region, label in zip(found, (3, 8), strict=True):
        filled = labels == label
        filled[13:15, 18:20] |= label == 3
        np.testing.assert_array_equal(region.to_mask(mode="center").to_image(labels.shape) > 0, filled)


def test_sky_outlines_fall_on_their_segments(tmp_path, table, labels):
    wcs = tangent_wcs(rotation=20)
    path = write_regions(table, tmp_path / "a.reg", labels=labels, wcs=wcs)
    region = regions.Regions.read(path, format="ds9")[0]
    assert isinstance(region.vertices, SkyCoord)
    corners = region.to_pixel(wcs).vertices
    assert sorted(set(np.round(corners.x, 3))) == [14.5, 26.5]
    assert sorted(set(np.round(corners.y, 3))) == [9.5, 19.5]


def test_colours_of_the_classes_are_written(tmp_path, table):
    path = write_regions(table, tmp_path / "a.reg", frame="image", colors={"disk": "#0072B2"})
    first, second = regions.Regions.read(path, format="ds9")
    assert first.visual["edgecolor"] == "#0072B2"
    assert second.visual.get("edgecolor") != "#0072B2"


def test_sources_without_a_size_are_left_out_and_a_hostile_class_breaks_nothing(tmp_path, table):
    table["semiminor_axis"][0] = np.nan
    table["morphology"] = ["disk", "x} color=red\nellipse(1,1,1,1,0)"]
    path = write_regions(table, tmp_path / "a.reg", frame="image")
    (only,) = regions.Regions.read(path, format="ds9")
    assert int(only.meta["text"]) == 8


def test_masked_positions_are_left_out(tmp_path, table):
    table["x_centroid"] = np.ma.array([20.25, 41.0], mask=[True, False])
    table["semimajor_axis"] = Masked([4.0, 2.5] * u.pix, mask=[False, False])
    path = write_regions(table, tmp_path / "a.reg", frame="image")
    assert [int(region.meta["text"]) for region in regions.Regions.read(path, format="ds9")] == [8]


def test_an_empty_catalogue_gives_a_valid_file(tmp_path, table):
    path = write_regions(table[:0], tmp_path / "a.reg", wcs=tangent_wcs())
    assert len(regions.Regions.read(path, format="ds9")) == 0


def test_what_cannot_be_written_is_refused_and_leaves_no_file(tmp_path, table):
    path = tmp_path / "a.reg"
    with pytest.raises(InputError, match="celestial WCS"):
        write_regions(table, path)
    with pytest.raises(OptionError, match="frame 'wcs'"):
        write_regions(table, path, frame="wcs")
    with pytest.raises(OptionError, match="positive"):
        write_regions(table, path, frame="image", scale=0)
    with pytest.raises(InputError, match="no semimajor_axis"):
        table.remove_column("semimajor_axis")
        write_regions(table, path, frame="image")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_kept(tmp_path, table):
    path = tmp_path / "a.reg"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already; give another"):
        write_regions(table, path, frame="image")
    assert path.read_text() == "mine"
    write_regions(table, path, frame="image", overwrite=True)
    assert path.read_text().startswith("# Region file format")
