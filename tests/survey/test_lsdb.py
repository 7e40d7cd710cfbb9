"""The merged catalogue in LSDB, which reads the layout of HATS: a region, a margin, and the sources of another list."""

import numpy as np
import pytest
from survey_catalogs import CENTRE, grid, survey, truth
from test_merge import merged_table

lsdb = pytest.importorskip("lsdb", reason="LSDB has dependencies of its own; where it is installed it is tried")


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """A catalogue of nine tiles."""
    root = tmp_path_factory.mktemp("merged")
    tiles = grid(3, 300, 60)
    survey(root, tiles, *truth(300, 3 * 240 + 60, seed=1))
    found, table = merged_table(root, [one[0] for one in tiles])
    return found, table


def apart(table):
    """Distance from the centre in arcseconds."""
    x = (table["ra"].to_numpy() - CENTRE[0]) * np.cos(np.deg2rad(CENTRE[1]))
    return np.hypot(x, table["dec"].to_numpy() - CENTRE[1]) * 3600


def test_it_opens_with_all_rows_and_columns(merged):
    found, table = merged
    catalog = lsdb.open_catalog(found.path)
    rows = catalog.compute()
    assert len(catalog) == len(rows) == table.num_rows == found.n_rows
    np.testing.assert_array_equal(np.sort(rows["source_id"]), np.sort(table["source_id"].to_numpy()))
    assert {"ra", "dec", "tile", "is_primary", "kron_flux_H"} <= set(rows.columns)


def test_a_cone_holds_what_lies_in_it(merged):
    found, table = merged
    rows = lsdb.open_catalog(found.path, columns=["ra", "dec", "source_id"]).cone_search(*CENTRE, 30).compute()
    expected = table["source_id"].to_numpy()[apart(table) < 30]
    assert 5 < len(expected) < table.num_rows
    assert set(rows["source_id"]) == set(expected)


def test_a_cross_match_finds_each_source_again(merged):
    found, table = merged
    catalog = lsdb.open_catalog(found.path)
    moved = table.select(["ra", "dec", "source_id"]).to_pandas()
    moved["dec"] += 0.1 / 3600
    other = lsdb.from_dataframe(moved, ra_column="ra", dec_column="dec", margin_threshold=2)
    pairs = catalog.crossmatch(other, radius_arcsec=0.5, suffixes=("", "_other"), suffix_method="all_columns").compute()
    assert len(pairs) == table.num_rows
    assert (pairs["source_id"] == pairs["source_id_other"]).all()
