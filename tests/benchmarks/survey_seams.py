"""One mosaic whole, cut, and as overlapping tiles of their own: is a source lost, or there twice? And how fast?

    python tests/benchmarks/survey_seams.py             # simulates 3,500 x 3,500 px, 64 tiles of 512 px (needs GalSim)

Prints, for the whole image and for workers: seconds, and whether labels and rows are the same; for the tiles: of how
many true sources the merged catalogue has none, one, or several rows, beside what the whole image has; and the time of
two workers beside that of one process.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from pyarrow import parquet

from morpheus_lite import ClassifyOptions, ClusterOptions, RunOptions, classify_survey
from morpheus_lite.batch.footprint import Footprint
from morpheus_lite.io import open_image
from morpheus_lite.io.celestial import header_of_wcs
from morpheus_lite.tiling import Window

_OWN = ("tile", "is_primary", "n_tiles", "source_id", "_healpix_29")


def run(source, place, model, workers, **options):
    """A survey, its merged catalogue, and its seconds."""
    start = time.perf_counter()
    result = classify_survey(
        source,
        place,
        ClassifyOptions(model=model, products=("catalog",)),
        cluster=ClusterOptions(workers=workers),
        run=RunOptions(**options),
    )
    assert not result.failed, result.failed
    table = parquet.read_table(result.merged.path / "dataset", partitioning=None)
    return result, table, time.perf_counter() - start


def write_tiles(image, directory, side, n_across):
    """Overlapping tiles of an image, each a file with its own WCS."""
    directory.mkdir()
    with fits.open(image) as hdus, open_image(image) as source:
        starts = np.round(np.linspace(0, np.array(source.shape) - side, n_across)).astype(int)
        for row, y in enumerate(starts[:, 0].tolist()):
            for column, x in enumerate(starts[:, 1].tolist()):
                part = Window(y, x, side, side)
                cards = header_of_wcs(source.wcs.slice(part.slices))
                made = [fits.PrimaryHDU()]
                for hdu in hdus[1:]:
                    header = cards.copy()
                    header.update({key: hdu.header[key] for key in ("BUNIT", "ABZP") if key in hdu.header})
                    made.append(fits.ImageHDU(hdu.data[part.slices], header, name=hdu.name))
                fits.HDUList(made).writeto(directory / f"t{row}{column}.fits")


def rows_of_truth(table, truth, footprint):
    """How many rows each true source has: those whose position lies on its pixels."""
    x, y = WCS(fits.Header.fromstring(footprint.header)).celestial.wcs_world2pix(
        table["ra"].to_numpy(), table["dec"].to_numpy(), 0
    )
    height, width = truth.shape
    label = truth[np.clip(np.rint(y).astype(int), 0, height - 1), np.clip(np.rint(x).astype(int), 0, width - 1)]
    return np.bincount(label, minlength=truth.max() + 1)[1:]


def same(one, other):
    """Names of the columns that differ between two catalogues of one mosaic."""
    one, other = (table.sort_by("label") for table in (one, other))
    if one.num_rows != other.num_rows:
        return [f"{one.num_rows} and {other.num_rows} rows"]
    return [name for name in one.column_names if name not in _OWN and not _equal(one[name], other[name])]


def _equal(one, other):
    values = one.to_numpy(), other.to_numpy()
    return np.array_equal(*values, equal_nan=values[0].dtype.kind == "f")


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
    _, whole, whole_seconds = run(field, place / "whole", chosen.model, 0, tile_size=None)
    print(f"whole, in one process: {whole.num_rows} rows in {whole_seconds:.1f} s", flush=True)
    for workers in chosen.workers:
        _, table, seconds = run(field, place / f"cut{workers}", chosen.model, workers, tile_size=1024)
        differing = same(whole, table)
        answer = "the same rows" if not differing else f"DIFFERS: {', '.join(differing)}"
        print(f"cut, {workers} workers: {answer}; {seconds:.1f} s, {whole_seconds / seconds:.2f} x", flush=True)
    write_tiles(field, place / "tiles", chosen.tile, chosen.across)
    result, table, seconds = run(place / "tiles", place / "separate", chosen.model, 2)
    expected, found = (rows_of_truth(one, truth, footprint) for one in (whole, table))
    work = sum(outcome.seconds for outcome in result.outcomes)
    print(f"{chosen.across**2} tiles of {chosen.tile} px on 2 workers: {table.num_rows} rows in {seconds:.1f} s,")
    print(f"  {result.merged.n_duplicates} rows of overlaps left out; work on tiles {work:.1f} s")
    print(f"  true sources with rows: whole {np.sum(expected > 0)}, tiles {np.sum(found > 0)}")
    print(f"  in the whole, but not in the tiles: {np.sum((expected > 0) & (found == 0))}")
    print(f"  with more rows than in the whole:   {np.sum((expected > 0) & (found > expected))}")
    print(f"  larger than the overlap:            {len(result.merged.cut)}")


if __name__ == "__main__":
    main()
