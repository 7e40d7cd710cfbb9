"""The catalogue under SExtractor's names, and its units in every format."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.io import votable
from astropy.io.votable.ucd import check_ucd
from astropy.table import QTable, Table
from test_photometry import grid, maps_of, sky

from morpheus_lite import InputError, SourceFlag
from morpheus_lite.catalog import measure, sextractor_columns
from morpheus_lite.io import read_catalog, write_catalog


@pytest.fixture(scope="module")
def table():
    data, labels, _ = grid(2000, n=2)
    return measure(labels, sky(data, zero_points=(25.0,), units=("electron/s",)), maps_of(labels.shape))


def test_names_and_conventions(table):
    renamed = sextractor_columns(table)
    assert len(renamed.colnames) == len(table.colnames) + 1
    for new, old in (("FLUX_AUTO", "kron_flux_F160W"), ("MAG_AUTO", "kron_mag_F160W"), ("NUMBER", "label")):
        np.testing.assert_array_equal(renamed[new], table[old])
    np.testing.assert_allclose(renamed["X_IMAGE"].value, table["x_centroid"].value + 1)
    np.testing.assert_allclose(renamed["YPEAK_IMAGE"].value, table["y_peak"].value + 1)
    np.testing.assert_allclose(u.Quantity(renamed["KRON_RADIUS"]).value, 2.5 * u.Quantity(table["kron_radius"]).value)
    assert {"FLUX_APER_3PX", "FLUXERR_ISO", "FLUX_RADIUS", "A_IMAGE", "CLASS_STAR"} <= set(renamed.colnames)
    assert all(renamed[name].info.description for name in renamed.colnames)
    assert "x_centroid" in table.colnames, "the input is left alone"


def test_angles_lie_within_a_quarter_turn_of_the_axis(table):
    other = table.copy()
    other["orientation"] = np.array([10.0, 100.0, 190.0, 350.0]) * u.deg
    np.testing.assert_allclose(sextractor_columns(other)["THETA_IMAGE"].value, [10, -80, 10, -10])


def test_magnitudes_of_apertures(table):
    renamed = sextractor_columns(table)
    np.testing.assert_array_equal(renamed["MAG_APER_3PX"], table["aper_mag_3px_F160W"])
    np.testing.assert_array_equal(renamed["MAGERR_APER_3PX"], table["aper_magerr_3px_F160W"])


def test_flags_are_those_of_sextractor(table):
    other = table.copy()
    other["flags"] = [int(SourceFlag.EDGE | SourceFlag.BLENDED), int(SourceFlag.SATURATED), 0, int(SourceFlag.CROWDED)]
    renamed = sextractor_columns(other)
    assert renamed["FLAGS"].tolist() == [10, 4, 0, 1]
    assert renamed["MORPHEUS_FLAGS"].tolist() == other["flags"].tolist()


def test_only_catalogues_of_this_package():
    with pytest.raises(InputError, match="no column label"):
        sextractor_columns(QTable({"x": [1]}))


@pytest.mark.parametrize("suffix", ["ecsv", "fits", "parquet", "vot"])
@pytest.mark.parametrize("rename", [False, True])
def test_units_survive(table, tmp_path, suffix, rename):
    written = sextractor_columns(table) if rename else table
    again = read_catalog(write_catalog(written, tmp_path / f"catalog.{suffix}"))
    assert again.colnames == written.colnames
    for name in written.colnames:
        expected, found = written[name].unit, again[name].unit
        if expected not in (None, u.dimensionless_unscaled):
            assert found == expected, name
        if written[name].dtype.kind == "f":
            np.testing.assert_allclose(u.Quantity(again[name]).value, u.Quantity(written[name]).value, rtol=1e-9)


@pytest.mark.parametrize("suffix", ["ecsv", "fits", "parquet", "vot"])
@pytest.mark.parametrize("unit", ["electron/s", "3.631e-6 Jy", "DN", "MJy/sr"])
def test_astropy_reads_the_units_without_a_warning(table, tmp_path, suffix, unit):
    small = QTable(table["label", "kron_flux_F160W", "kron_mag_F160W"])
    small["kron_flux_F160W"] = np.arange(len(small)) * u.Unit(unit)
    path = write_catalog(small, tmp_path / f"catalog.{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if suffix == "parquet":
            pytest.importorskip("pandas")
        found = Table.read(path)
    assert str(found["kron_flux_F160W"].unit) == str(u.Unit(unit))
    assert found["kron_mag_F160W"].unit == u.mag
    np.testing.assert_allclose(found["kron_flux_F160W"], np.arange(len(small)))


def test_a_votable_has_descriptors_and_a_coordinate_system(table, tmp_path):
    on_sky = table.copy()
    for name in ("ra", "dec"):
        on_sky[name] = np.arange(len(table)) * u.deg
        on_sky[name].info.meta = {"ucd": f"pos.eq.{name};meta.main"}
    document = votable.parse(write_catalog(on_sky, tmp_path / "catalog.vot"))
    fields = {field.name: field for field in document.get_first_table().fields}
    assert fields["kron_magerr_F160W"].ucd == "stat.error;phot.mag"
    wrong = [name for name, one in fields.items() if not check_ucd(one.ucd, check_controlled_vocabulary=True)]
    assert not wrong
    assert document.resources[0].coordinate_systems[0].system == "ICRS"
    assert fields["ra"].ref == fields["dec"].ref == document.resources[0].coordinate_systems[0].ID


def test_fractions_of_catalogues_of_0_1_have_their_new_names(tmp_path):
    old = QTable({"label": [1], "bulge_fraction": [0.25], "disk_fraction": [0.75]})
    found = read_catalog(write_catalog(old, tmp_path / "old.ecsv"))
    assert found.colnames == ["label", "spheroid_pixel_fraction", "disk_pixel_fraction"]
    assert found["spheroid_pixel_fraction"][0] == 0.25
