"""Every source once: over different tilings and WCS, whatever the noise of the positions; in partitions of the sky."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import dataset, parquet
from survey_catalogs import CENTRE, SCALE, grid, seen_by, survey, truth, wcs_at, write_finished

from morpheus_lite.io.wcs import header_of_wcs
from morpheus_lite.survey.merge.coverage import DEPTH, MOC
from morpheus_lite.survey.merge.duplicates import DETECTION, flag_primary, match, owners
from morpheus_lite.survey.merge.footprint import Footprint
from morpheus_lite.survey.merge.healpix import (
    COARSE,
    FINEST,
    MARGIN,
    POSITION,
    Cell,
    cells_beside,
    count_coarse,
    finest_cells,
    make_partitions,
)
from morpheus_lite.survey.merge.index import read_index
from morpheus_lite.survey.merge.merge import merge, merged_before
from morpheus_lite.survey.state import SUMMARY, tile_directory


class Inline:
    """Stands in for a Dask client: the same calls, at once."""

    def map(self, work, jobs, *, pure, key, retries, **options):
        return [work(job, **options) for job in jobs]

    def gather(self, results):
        return results


def times_found(merged, ra, dec, within=1.0):
    """How often each true position is in a merged catalogue."""
    found_ra, found_dec = (merged[name].to_numpy() for name in ("ra", "dec"))
    x = (found_ra[:, None] - ra) * np.cos(np.deg2rad(dec)) * 3600
    y = (found_dec[:, None] - dec) * 3600
    return (np.hypot(x, y) < within).sum(axis=0)


def merged_table(root, names, **options):
    index = read_index(root, names)
    merged = merge(root, index, Inline(), **options)
    return merged, parquet.read_table(merged.path / "dataset", partitioning=None)


def test_every_source_once_on_a_grid_of_tiles(tmp_path):
    tiles = grid(4, 300, 60)
    places, sizes = truth(700, 4 * 240 + 60, seed=1)
    ra, dec = survey(tmp_path, tiles, places, sizes)
    merged, table = merged_table(tmp_path, [one[0] for one in tiles])
    inside = (places > 8).all(axis=1) & (places < 4 * 240 + 52).all(axis=1)
    assert inside.sum() > 600
    np.testing.assert_array_equal(times_found(table, ra, dec)[inside], 1)
    assert merged.n_rows == table.num_rows
    assert merged.n_duplicates > 60
    assert set(table["is_primary"].to_pylist()) == {True}
    assert table["n_tiles"].to_numpy().max() == 4
    assert not merged.cut


def test_every_source_once_over_tilings_of_different_scale_and_angle(tmp_path):
    tiles = [("wide", 0, 0, 0.0, 2 * SCALE, (300, 300)), *grid(3, 200, 40)]
    tiles += [("turned", 250, -50, 0.6, SCALE, (350, 350)), ("x", 100, 100, -0.3, 1.3 * SCALE, (150, 240))]
    places, sizes = truth(600, 600, seed=2)
    ra, dec = survey(tmp_path, tiles, places, sizes)
    _, table = merged_table(tmp_path, [one[0] for one in tiles])
    inside = (places > 20).all(axis=1) & (places < 580).all(axis=1)
    np.testing.assert_array_equal(times_found(table, ra, dec)[inside], 1)


@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), overlap=st.integers(20, 120), angle=st.floats(-1, 1), jitter=st.floats(0, 0.4))
def test_no_source_is_lost_and_none_is_there_twice(tmp_path_factory, seed, overlap, angle, jitter):
    root = tmp_path_factory.mktemp("survey")
    tiles = [*grid(2, 250, overlap), ("turned", 100, 30, angle, 1.2 * SCALE, (260, 260))]
    places, sizes = truth(300, 2 * 250 - overlap, seed=seed)
    ra, dec = survey(root, tiles, places, sizes, seed=seed, jitter=jitter)
    _, table = merged_table(root, [one[0] for one in tiles])
    inside = (places > 10).all(axis=1) & (places < 2 * 250 - overlap - 10).all(axis=1)
    np.testing.assert_array_equal(times_found(table, ra, dec, within=1.1)[inside], 1)


def test_the_answer_does_not_depend_on_partitions_or_on_order(tmp_path):
    tiles = grid(3, 300, 80, scale=60 * SCALE)  # tiles of half a degree, so that cells divide them
    tiles = [(name, 60 * x, 60 * y, *rest) for name, x, y, *rest in tiles]
    places, sizes = truth(400, 60 * 740, seed=3, apart=60 * 6.0)
    survey(tmp_path, tiles, places, 60 * sizes)
    names = [one[0] for one in tiles]
    one, whole = merged_table(tmp_path, names, largest=10**6)
    whole = whole.sort_by(POSITION)
    many, parts = merged_table(tmp_path, names[::-1], largest=60)
    assert len(list(one.path.glob("dataset/**/Npix*"))) > 10
    assert many.n_rows == one.n_rows
    assert parts.sort_by(POSITION).equals(whole)


def test_the_margin_of_a_partition_holds_what_lies_near_it(tmp_path):
    tiles = [(name, 60 * x, 60 * y, *rest) for name, x, y, *rest in grid(3, 300, 80, scale=60 * SCALE)]
    places, sizes = truth(2000, 60 * 740, seed=3, apart=60 * 4.0)
    survey(tmp_path, tiles, places, 60 * sizes)
    merged, table = merged_table(tmp_path, [one[0] for one in tiles], largest=60)
    ra, dec, names = (table[name].to_numpy() for name in ("ra", "dec", "source_id"))
    files = {path.relative_to(merged.path): path for path in merged.path.glob("dataset/**/Npix*.parquet")}
    found, n_near = {}, 0
    for path in files:
        margin = merged.path / "margin" / path
        found[path] = parquet.read_table(margin) if margin.exists() else table.slice(0, 0)
        own = parquet.read_table(files[path])["source_id"].to_numpy()
        assert not set(found[path]["source_id"].to_numpy()) & set(own)
        cell = Cell(int(path.parts[1].split("=")[1]), int(path.stem.split("=")[1]))
        near = np.zeros(len(ra), bool)
        for angle in np.linspace(0, 2 * np.pi, 90):
            turned = ra + MARGIN / 3600 * np.cos(angle) / np.cos(np.deg2rad(dec)), dec + MARGIN / 3600 * np.sin(angle)
            cells = finest_cells(*turned)
            near |= (cells >= cell.range[0]) & (cells < cell.range[1])
        near &= ~np.isin(names, own)
        n_near += near.sum()
        assert set(names[near]) <= set(found[path]["source_id"].to_numpy())
    assert n_near > 20
    total = sum(one.num_rows for one in found.values())
    assert total < 8 * n_near
    properties = (merged.path / "margin" / "hats.properties").read_text().split()
    assert {"dataproduct_type=margin", "hats_primary_table_url=..", f"hats_nrows={total}"} <= set(properties)
    assert {path.name for path in merged.path.iterdir()} >= {"dataset", "margin"}
    assert not (merged.path / "margin_parts").exists()


def test_partitions_are_sorted_named_and_known_to_readers(tmp_path):
    tiles = grid(2, 300, 60)
    places, sizes = truth(300, 540, seed=4)
    survey(tmp_path, tiles, places, sizes)
    names = [one[0] for one in tiles]
    merged, table = merged_table(tmp_path, names)
    position = table[POSITION].to_numpy()
    assert (np.diff(position) >= 0).all()
    np.testing.assert_array_equal(position, finest_cells(table["ra"].to_numpy(), table["dec"].to_numpy()))
    assert len(set(table["source_id"].to_pylist())) == table.num_rows
    assert table.schema.field("ra").metadata[b"unit"] == b"deg"
    info = [line.split(",") for line in (merged.path / "partition_info.csv").read_text().split()[1:]]
    for order, pixel, count in info:
        cell = Cell(int(order), int(pixel))
        (path,) = merged.path.glob(f"dataset/Norder={order}/Dir=*/Npix={pixel}.parquet")
        rows = parquet.read_table(path)[POSITION].to_numpy()
        assert len(rows) == int(count)
        assert ((rows >= cell.range[0]) & (rows < cell.range[1])).all()
    properties = dict(line.split("=") for line in (merged.path / "hats.properties").read_text().split("\n") if line)
    assert int(properties["hats_nrows"]) == table.num_rows
    # A cut on the sky with nothing but Parquet.
    middle = float(np.median(table["dec"].to_numpy()))
    found = dataset.parquet_dataset(merged.path / "dataset" / "_metadata").to_table(
        filter=dataset.field("dec") < middle
    )
    assert 0 < found.num_rows < table.num_rows


def test_names_stay_and_nothing_is_merged_twice(tmp_path):
    tiles = grid(2, 300, 60)
    places, sizes = truth(300, 540, seed=4)
    survey(tmp_path, tiles[:3], places, sizes)
    names = [one[0] for one in tiles]
    index = read_index(tmp_path, names)
    assert merged_before(tmp_path, index) is None
    _, table = merged_table(tmp_path, names)
    assert merged_before(tmp_path, read_index(tmp_path, names)).n_rows == table.num_rows
    survey(tmp_path, tiles[3:], places, sizes)
    assert merged_before(tmp_path, read_index(tmp_path, names)) is None
    _, more = merged_table(tmp_path, names)
    far = table["tile"].to_numpy() == "t00"
    kept = set(table["source_id"].to_numpy()[far].tolist()) & set(more["source_id"].to_pylist())
    assert len(kept) > 0.8 * far.sum(), "names of sources that no new tile covers are what they were"


def test_sources_larger_than_the_overlap_are_told(tmp_path):
    tiles = grid(2, 300, 20)
    # On the border of two tiles; in the middle of one; at the edge of the survey, alone and beside a neighbour.
    places = np.array([[290.0, 150.0], [150.0, 150.0], [5.0, 150.0], [200.0, 4.0]])
    survey(tmp_path, tiles, places, np.array([15.0, 15.0, 15.0, 28.0]), jitter=0)
    merged, _ = merged_table(tmp_path, [one[0] for one in tiles])
    (cut,) = merged.cut
    assert cut["needed"] == pytest.approx(2 * 3 * 15 * SCALE)
    assert wcs_at(0, 0).wcs_world2pix(cut["ra"], cut["dec"], 0)[0] == pytest.approx(290, abs=0.01)


def test_tiles_without_a_wcs_and_empty_ones_do_not_stop_it(tmp_path):
    tiles = grid(1, 300, 0)
    places, sizes = truth(100, 300, seed=4)
    survey(tmp_path, tiles, places, sizes)
    empty = seen_by(wcs_at(0, 0), (300, 300), np.zeros(0), np.zeros(0), np.zeros(0), np.random.default_rng(0))
    write_finished(tmp_path, "empty", wcs_at(5000, 0), (300, 300), empty)
    plain = seen_by(wcs_at(0, 0), (300, 300), *CENTRE, np.ones(1), np.random.default_rng(0))
    plain.remove_columns(["ra", "dec"])
    write_finished(tmp_path, "plain", None, (300, 300), plain)
    merged, table = merged_table(tmp_path, ["t00", "empty", "plain", "unfinished"])
    assert merged.unplaced == ("plain",)
    assert set(table["tile"].to_pylist()) == {"t00"}


def test_tiles_with_other_bands_have_their_own_columns(tmp_path):
    tiles = grid(1, 300, 0)
    places, sizes = truth(100, 300, seed=4)
    survey(tmp_path, tiles, places, sizes)
    wcs = wcs_at(600, 0)
    ra, dec = wcs.wcs_pix2world([50.0, 90], [60.0, 200], 0)
    other = seen_by(wcs, (300, 300), ra, dec, np.ones(2), np.random.default_rng(0))
    other.rename_column("kron_flux_H", "kron_flux_J")
    write_finished(tmp_path, "other", wcs, (300, 300), other)
    _, table = merged_table(tmp_path, ["t00", "other"])
    assert table["kron_flux_H"].null_count == 2
    assert table["kron_flux_J"].null_count == table.num_rows - 2


def test_coverage_and_depth_are_maps_of_the_sky(tmp_path):
    tiles = [*grid(2, 300, 60), ("far", 2000, 0, 0.5, SCALE, (300, 300))]
    survey(tmp_path, tiles, *truth(100, 540, seed=4))
    summaries = {one[0]: tile_directory(tmp_path, one[0]) / SUMMARY for one in tiles}
    for k, path in enumerate(summaries.values()):
        summary = json.loads(path.read_text())
        path.write_text(json.dumps({**summary, "depth": {"H": 25.0 + k, "J": None if k else 27.0}}))
    merged, _ = merged_table(tmp_path, list(summaries))
    with fits.open(merged.path / MOC) as hdus:
        ranges, header = hdus[1].data["RANGE"].reshape(-1, 2), hdus[1].header
    assert (np.diff(ranges.ravel()) > 0).all() and header["ORDERING"] == "RANGE" and header["COORDSYS"] == "C"
    sky = wcs_at(0, 0)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-400, 900, (2, 20_000))
    inside = (np.minimum(x, y) > 0) & (np.maximum(x, y) < 539)
    edge = np.abs(np.minimum(np.minimum(x, 539 - x), np.minimum(y, 539 - y)))
    cells = finest_cells(*sky.wcs_pix2world(x, y, 0))
    found = np.searchsorted(ranges.ravel(), cells, side="right") % 2 == 1
    side = 60 / 2 ** header["MOCORD_S"] * 3600 / SCALE
    assert 8 < side < 30, "cells are a fraction of a tile"
    np.testing.assert_array_equal(found[edge > 1.5 * side], inside[edge > 1.5 * side])
    with fits.open(merged.path / DEPTH) as hdus:
        table, order = hdus[1].data, hdus[1].header["MOCORDER"]
    depth = {row["UNIQ"] - 4 ** (order + 1): (row["DEPTH_H"], row["DEPTH_J"]) for row in table}
    cell = finest_cells(*sky.wcs_pix2world([60.0, 270, 500], [60.0, 270, 60], 0)) >> (2 * (FINEST - order))
    # In the first tile; where four overlap; in the second.
    np.testing.assert_array_equal([depth[one] for one in cell.tolist()], [(25, 27), (28, 27), (26, np.nan)])
    area = (ranges[:, 1] - ranges[:, 0]).sum() / 4**FINEST / 12 * 4 * np.pi * np.rad2deg(1) ** 2
    assert area == pytest.approx((540**2 + 300**2) * (SCALE / 3600) ** 2, rel=0.05)


def test_the_moc_opens_in_mocpy(tmp_path):
    mocpy = pytest.importorskip("mocpy", reason="tried where it is installed")
    tiles = grid(2, 300, 60)
    survey(tmp_path, tiles, *truth(100, 540, seed=4))
    merged, table = merged_table(tmp_path, [one[0] for one in tiles])
    moc = mocpy.MOC.from_fits(str(merged.path / MOC))
    inside = moc.contains_lonlat(*(table[name].to_numpy() * u.deg for name in ("ra", "dec")))
    assert inside.mean() > 0.95
    assert not moc.contains_lonlat([151.0] * u.deg, [2.2] * u.deg).any()


def detections(ra, dec, extent=1.0, scale=SCALE):
    ra, dec = np.atleast_1d(np.array(ra, float)), np.atleast_1d(np.array(dec, float))
    size = np.full(len(ra), extent)
    columns = ra, dec, ra, dec, size, 2 * size, np.full(len(ra), scale), np.zeros(len(ra), bool)
    return np.rec.fromarrays(columns, dtype=DETECTION)


def test_tract_and_patch_of_the_tiles_are_columns(tmp_path):
    tiles = grid(2, 300, 60)
    survey(tmp_path, tiles, *truth(60, 2 * 240 + 60, seed=1))
    index = read_index(tmp_path, [one[0] for one in tiles], {"t00": ("9813", "3,4"), "t01": ("9813", "")})
    merged = merge(tmp_path, index, Inline())
    table = parquet.read_table(merged.path / "dataset", partitioning=None)
    found = {(row["tile"], row["tract"], row["patch"]) for row in table.select(["tile", "tract", "patch"]).to_pylist()}
    assert found == {("t00", "9813", "3,4"), ("t01", "9813", ""), ("t10", "", ""), ("t11", "", "")}
    assert merged_before(tmp_path, read_index(tmp_path, [one[0] for one in tiles])) is None


def test_rows_of_one_mosaic_are_never_one_source(tmp_path):
    near = QTable({"ra": [150.1, 150.1 + 0.2 / 3600] * u.deg, "dec": [2.2, 2.2] * u.deg})
    for k, name in enumerate(("a", "b")):
        row = near[k : k + 1]
        row["label"], row["x_peak"], row["y_peak"] = [k + 1], [100 - 2 * k], [100]
        row["semimajor_axis"], row["area"], row["flags"] = [2.0], [50], [0]
        row["morphology"] = ["disk"]
        write_finished(tmp_path, name, wcs_at(-100, -100), (200, 200), row)
    index = read_index(tmp_path, ["a", "b"])
    assert merge(tmp_path, index, Inline()).n_rows == 1
    index = replace(index, entries=tuple(replace(one, mosaic="m") for one in index.entries))
    merged = merge(tmp_path, index, Inline())
    assert (merged.n_rows, merged.n_duplicates) == (2, 0)


def test_matches_are_each_others_nearest():
    arcsec = 1 / 3600
    one = detections([10, 10 + 1 * arcsec], [0, 0], extent=3)
    other = detections([10 + 0.4 * arcsec, 10 + 9 * arcsec], [0, 0], extent=3)
    assert [part.tolist() for part in match(one, other)] == [[0], [0]]
    assert not len(match(one, detections([], []))[0])
    # A small thing on the wing of a large one is not the large one; parts of a blend may differ twofold.
    assert not len(match(detections(10, 0, extent=0.1), detections(10 + 0.35 * arcsec, 0, extent=5))[0])
    assert len(match(detections(10, 0, extent=0.4), detections(10 + 0.35 * arcsec, 0, extent=0.6))[0])


def test_ties_go_to_the_first_name():
    left, right = (Footprint((100, 100), header_of_wcs(wcs_at(x, 0)).tostring()) for x in (0, 50))
    sky = wcs_at(0, 0)
    ra, dec = sky.wcs_pix2world(np.array([10.0, 74.5, 75.0, 140.0, 400.0]), np.full(5, 50.0), 0)
    # Half-way, at 74.5, both are as deep.
    assert owners(ra, dec, {"b": left, "a": right}).tolist() == [1, 0, 0, 0, -1]
    assert owners(ra, dec, {"a": left, "b": right}).tolist() == [0, 0, 1, 1, -1]


def test_rows_on_both_sides_of_a_border_are_one():
    footprints = {n: Footprint((100, 100), header_of_wcs(wcs_at(x, 0)).tostring()) for n, x in (("a", 0), ("b", 50))}
    sky = wcs_at(0, 0)

    def at(x):
        return detections(*sky.wcs_pix2world(x, 50.0, 0))

    # Each tile sees the peak on the other's side of the border, or on its own.
    for x_a, x_b in ((75.2, 73.8), (73.8, 75.2)):
        both = {"a": at(x_a), "b": at(x_b)}
        kept = [flag_primary(name, both, footprints)[0].tolist() for name in "ab"]
        assert kept == [[True], [False]]


def test_what_edges_leave_of_a_source_is_not_one():
    # Two tiles side by side see its first rows; the tile above has it whole.
    places = {"a": (0, 0), "b": (50, 0), "c": (25, 60)}
    footprints = {n: Footprint((100, 100), header_of_wcs(wcs_at(*at)).tostring()) for n, at in places.items()}
    sky = wcs_at(0, 0)
    rest, source = (detections(*sky.wcs_pix2world(75.0, y, 0), extent=0.3) for y in (98.0, 108.0))
    all_three = {"a": rest, "b": rest, "c": source}
    kept = {name: flag_primary(name, all_three, footprints) for name in "abc"}
    assert [kept[name][0].tolist() for name in "abc"] == [[False], [False], [True]]
    assert [kept[name][2].tolist() for name in "abc"] == [[2], [2], [1]]


def test_what_only_the_neighbour_has_found_is_kept_unless_the_owner_has_something_near():
    footprints = {n: Footprint((100, 100), header_of_wcs(wcs_at(x, 0)).tostring()) for n, x in (("a", 0), ("b", 50))}
    sky = wcs_at(0, 0)

    def at(*places, extent=0.3):
        return detections(*sky.wcs_pix2world(places, np.full(len(places), 50.0), 0), extent=extent)

    # The place lies deeper in b; radii are 6 pixels, and 18 pixels are near.
    for others, kept in ((at(140.0), True), (at(99.0), True), (at(97.0), False), (at(), True)):
        both = {"a": at(80.0), "b": others}
        assert flag_primary("a", both, footprints)[0].tolist() == [kept]
        assert flag_primary("b", both, footprints)[0].all()
    assert flag_primary("b", {"a": at(), "b": at(80.0)}, footprints)[0].tolist() == [True]


def test_what_lies_beside_a_position():
    first, last = Cell(COARSE, 5000), Cell(COARSE, 5001)
    middle, corner = first.range[0] + (first.range[1] - first.range[0]) // 4 - 1, first.range[1] - 1
    beside = cells_beside(np.array([middle, corner]), [first, last])
    assert beside.shape == (9, 2)
    assert set(beside[:, 0]) == {0}
    assert set(beside[:, 1]) > {0}
    assert cells_beside(np.zeros(0, np.int64), [first, last]).shape == (9, 0)


def test_partitions_cover_the_counts_once():
    rng = np.random.default_rng(0)
    cells = finest_cells(rng.uniform(149, 152, 5000), rng.uniform(1, 4, 5000))
    counts = count_coarse(cells)
    for largest in (1, 100, 1000, 10**6):
        parts = make_partitions(counts, largest)
        inside = [((cells >= part.range[0]) & (cells < part.range[1])).sum() for part in parts]
        assert sum(inside) == 5000
        assert all(count <= largest or part.order == COARSE for count, part in zip(inside, parts, strict=True))
        assert [part.range for part in parts] == sorted(part.range for part in parts)
    assert make_partitions({}, 10) == []
    assert Cell(FINEST, 7).range == (7, 8)


def test_summaries_are_small(tmp_path):
    tiles = grid(1, 300, 0)
    places, sizes = truth(100, 300, seed=4)
    survey(tmp_path, tiles, places, sizes)
    path = Path(tile_directory(tmp_path, "t00") / SUMMARY)
    assert path.stat().st_size < 4000
    assert len(json.loads(path.read_text())["footprint"]["circle"]) == 4
