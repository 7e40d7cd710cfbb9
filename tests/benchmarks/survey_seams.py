"""One mosaic whole, cut, and as overlapping tiles, each by itself: is a source lost, or there twice?

    python tests/benchmarks/survey_seams.py             # simulates 3,500 x 3,500 px, 64 tiles of 512 px (needs GalSim)

Runs `morpheus batch` as a user would, with worker processes. Prints whether the catalogue of the mosaic is the same,
row for row, whole, cut, with several numbers of workers, and killed half-way and started again; the same of the tiles;
and of how many true sources the tiles' merged catalogue has none, one, or several rows, beside what the whole has.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from pyarrow import parquet
from survey_runs import killed_half_way, run, write_tiles

from morpheus_lite.io import open_image
from morpheus_lite.io.wcs import header_of_wcs
from morpheus_lite.survey.merge.footprint import Footprint
from morpheus_lite.survey.mosaic.pieces import cut

_OWN = ("tile", "is_primary", "n_tiles", "source_id", "_healpix_29")
WHOLE, PIECE = 1_000_000, 1024


def catalogue(place):
    """The merged catalogue of a survey."""
    return parquet.read_table(place / "catalog" / "dataset", partitioning=None)


def labels_at(table, truth, footprint):
    """The true source that each row lies on, 0 where there is none."""
    x, y = WCS(fits.Header.fromstring(footprint.header)).celestial.wcs_world2pix(
        table["ra"].to_numpy(), table["dec"].to_numpy(), 0
    )
    height, width = truth.shape
    return truth[np.clip(np.rint(y).astype(int), 0, height - 1), np.clip(np.rint(x).astype(int), 0, width - 1)]


def same(one, other, *, by="label", but=_OWN):
    """What differs between two catalogues, in words."""
    one, other = (table.sort_by(by) for table in (one, other))
    if one.num_rows != other.num_rows:
        return f"DIFFERS: {one.num_rows} and {other.num_rows} rows"
    names = [name for name in one.column_names if name not in but and not _equal(one[name], other[name])]
    return f"DIFFERS: {', '.join(names)}" if names else "the same rows, bit for bit"


def _equal(one, other):
    values = one.to_numpy(), other.to_numpy()
    return np.array_equal(*values, equal_nan=values[0].dtype.kind == "f")


def compare_with_truth(whole, tiles, place, truth, footprint):
    """Print which true sources the tiles have lost, or have twice."""
    n = truth.max() + 1
    expected = np.bincount(labels_at(whole, truth, footprint), minlength=n)[1:]
    at = labels_at(tiles, truth, footprint)
    found = np.bincount(at, minlength=n)[1:]
    raw = np.zeros(n - 1, int)
    for path in (place / "tiles").glob("*/*_catalog.parquet"):
        raw += np.bincount(labels_at(parquet.read_table(path), truth, footprint), minlength=n)[1:]
    more = np.flatnonzero((expected > 0) & (found > expected))
    from_several = [len(set(tiles["tile"].to_numpy()[at == source + 1])) > 1 for source in more]
    lost, gained = (expected > 0) & (found == 0), (expected == 0) & (found > 0)
    print(f"  true sources with rows: whole {np.sum(expected > 0)}, tiles {np.sum(found > 0)}")
    print(f"  rows of the whole, but not of any tile (near the threshold):      {np.sum(lost & (raw == 0))}")
    print(f"  rows of tiles only (near the threshold):                          {np.sum(gained)}")
    print(f"  LOST AT SEAMS (the whole and a tile have a row, the merged none): {np.sum(lost & (raw > 0))}")
    print(f"  TWICE AT SEAMS (more rows than the whole, of several tiles):      {sum(from_several)}")
    print(f"  split otherwise (more rows than the whole, all of one tile):      {len(more) - sum(from_several)}")


def main():
    """Take the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=3500)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--across", type=int, default=8, help="tiles along one side")
    parser.add_argument("--model", default="hst")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--keep", type=Path, help="where to leave everything")
    parser.add_argument("--field", type=Path, help="field_N.fits of `morpheus simulate`, its truth beside it")
    chosen = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="seams-", dir=chosen.keep))
    field = chosen.field
    if field is None:
        from morpheus_lite.simulation import simulate

        field = Path(simulate(place, seed=11, shape=(chosen.size, chosen.size))[0])
    with fits.open(field.with_name(f"{field.stem}_truth.fits")) as hdus:
        truth = hdus["LABELS"].data.astype(int)
    with open_image(field) as source:
        footprint = Footprint(source.shape, header_of_wcs(source.wcs).tostring())
    print(f"{field.name}: {footprint.shape[0]} x {footprint.shape[1]} px, {truth.max()} true sources, {chosen.model}")

    spent = run(field, place / "whole", chosen.model, 0, tile_size=WHOLE)
    whole = catalogue(place / "whole")
    print(f"whole, in one process: {whole.num_rows} rows; {spent}", flush=True)
    in_tiles(chosen, field, place, whole, truth, footprint)
    in_pieces(chosen, field, place, whole)


def in_tiles(chosen, field, place, whole, truth, footprint):
    """The image as overlapping files."""
    write_tiles(field, place / "tiles", chosen.tile, chosen.across)
    n_tiles = chosen.across**2
    spent = run(place / "tiles", place / "separate", chosen.model, 2, noise="tile")
    tiles = catalogue(place / "separate")
    print(f"{n_tiles} tiles of {chosen.tile} px on 2 workers: {tiles.num_rows} rows; {spent}", flush=True)
    compare_with_truth(whole, tiles, place / "separate", truth, footprint)
    done = killed_half_way(place / "tiles", place / "resumed", chosen.model, 2, "tiles/*/done.json", n_tiles // 2)
    spent = run(place / "tiles", place / "resumed", chosen.model, 1, noise="tile")
    answer = same(tiles, catalogue(place / "resumed"), by="source_id", but=())
    print(f"the same, killed at {done} tiles, resumed on one worker: {answer}; {spent}", flush=True)


def in_pieces(chosen, field, place, whole):
    """The image cut by the survey itself."""
    for workers in chosen.workers:
        spent = run(field, place / f"cut{workers}", chosen.model, workers, tile_size=PIECE)
        print(f"cut, {workers} workers: {same(whole, catalogue(place / f'cut{workers}'))}; {spent}", flush=True)
    with open_image(field) as source:
        n_pieces = len(cut(source.shape, PIECE))
    done = killed_half_way(field, place / "killed", chosen.model, 2, "tiles/*/pieces/*.json", n_pieces // 2)
    spent = run(field, place / "killed", chosen.model, 2, tile_size=PIECE)
    answer = same(whole, catalogue(place / "killed"))
    print(f"cut, killed at {done} of {n_pieces} pieces and run again: {answer}; {spent}", flush=True)


if __name__ == "__main__":
    main()
