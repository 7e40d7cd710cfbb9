"""The catalogue under SExtractor's names, and its units in every format."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
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
