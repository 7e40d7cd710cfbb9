"""The merged catalogue in LSDB, which reads the layout of HATS: a region, a margin, and the sources of another list."""

import numpy as np
import pytest
from survey_catalogs import CENTRE, SCALE, grid, survey, truth
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


def test_the_margin_finds_partners_beyond_borders_of_partitions(tmp_path):
    tiles = [(name, 60 * x, 60 * y, *rest) for name, x, y, *rest in grid(3, 300, 80, scale=60 * SCALE)]
    places, sizes = truth(2000, 60 * 740, seed=3, apart=60 * 4.0)
    survey(tmp_path, tiles, places, 60 * sizes)
    found, table = merged_table(tmp_path, [one[0] for one in tiles], largest=60)
    moved = table.select(["ra", "dec", "source_id"]).to_pandas()
    moved["dec"] += 15 / 3600
    ra, dec, names = (table[name].to_numpy() for name in ("ra", "dec", "source_id"))
    apart_from = np.hypot(
        (moved["ra"].to_numpy()[:, None] - ra) * np.cos(np.deg2rad(dec)), moved["dec"].to_numpy()[:, None] - dec
    )
    nearest = dict(zip(names, names[apart_from.argmin(axis=1)], strict=True))
    other = lsdb.from_dataframe(moved, ra_column="ra", dec_column="dec", highest_order=8)
    options = {"radius_arcsec": 18, "suffixes": ("_moved", ""), "suffix_method": "all_columns"}
    right = []
    for margin in (None, found.path / "margin"):
        catalog = lsdb.open_catalog(found.path, columns=["ra", "dec", "source_id"], margin_cache=margin)
        pairs = other.crossmatch(catalog, **options).compute()
        right.append(
            sum(nearest[one] == to for one, to in zip(pairs["source_id_moved"], pairs["source_id"], strict=True))
        )
    assert right[0] < right[1] == table.num_rows
