"""Overlapping tiles as files of their own, some without bands, some on another grid: are the rows those of the whole?

    python tests/benchmarks/survey_tiles.py --across 6             # 36 tiles of 512 px (simulating needs GalSim)
    python tests/benchmarks/survey_tiles.py --across 8 --cost      # 64 of them, and what two workers cost

Runs `morpheus batch` as a user would. Three surveys are compared, row by row, with the catalogue of the image that the
tiles were cut from: tiles with all bands; every seventh tile without its last two bands; and these with tiles of
another grid (bins of 2 x 2 pixels) over a part of them. Where bands are missing the image is also compared without the
same pixels.
"""

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.io import fits
from pyarrow import compute, parquet
from survey_runs import run, write_tiles

from morpheus_lite.io import open_image
from morpheus_lite.io.wcs import header_of_wcs
from morpheus_lite.survey.mosaic.joined import Look, join
from morpheus_lite.survey.tile import Tile

LACKING, N_LACKING = 7, 2


def catalogue(place):
    """The merged catalogue of a survey."""
    return parquet.read_table(place / "catalog" / "dataset", partitioning=None)


def mosaic_of(files, path):
    """The image that tiles make, as one file."""
    tiles = {}
    for file in files:
        with open_image(file) as image:
            tiles[file.stem] = Tile(file.stem, str(file)), Look.of(image)
    (mosaic,) = join(tiles)
    with mosaic.open() as image:
        pixels = image.read()
        hdus = [fits.PrimaryHDU()]
        for k, band in enumerate(image.bands):
            header = header_of_wcs(image.wcs)
            header["ABZP"] = image.zero_points[k]
            plane = np.where(pixels.valid[..., k], pixels.data[..., k], np.float32(np.nan))
            hdus.append(fits.ImageHDU(plane, header, name=band))
            if pixels.rms is not None:
                hdus.append(fits.ImageHDU(pixels.rms[..., k], header, name=f"{band}_RMS"))
    fits.HDUList(hdus).writeto(path)
    return path


def binned_tile(field, path, y, x, side):
    """A part of an image in bins of 2 x 2 pixels, as a file."""
    with fits.open(field) as hdus, open_image(field) as source:
        part = np.s_[y : y + 2 * side, x : x + 2 * side]
        wcs = source.wcs.slice(part).slice((slice(None, None, 2), slice(None, None, 2)))
        made = [fits.PrimaryHDU()]
        for hdu in hdus[1:]:
            if hdu.name not in source.bands:
                continue
            header = header_of_wcs(wcs)
            header.update({key: hdu.header[key] for key in ("BUNIT", "ABZP") if key in hdu.header})
            pixels = hdu.data[part].reshape(side, 2, side, 2).sum(axis=(1, 3))
            made.append(fits.ImageHDU(pixels.astype(np.float32), header, name=hdu.name))
        fits.HDUList(made).writeto(path)


def compare(found, whole, names=None):
    """Say how rows of tiles differ from those of the whole image at the same places."""
    places = [np.array(table["source_id"]) for table in (found, whole)]
    doubles = len(places[0]) - len(np.unique(places[0]))
    both, one, other = np.intersect1d(*places, return_indices=True)
    worst = 0.0
    fluxes = [name for name in whole.column_names if "flux_" in name and name in found.column_names]
    for name in fluxes:
        a, b = found[name].to_numpy()[one], whole[name].to_numpy()[other]
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = np.abs(a - b) / np.abs(b)
        gap[(a == b) | (np.isnan(a) & np.isnan(b))] = 0
        worst = max(worst, float(np.nan_to_num(gap, nan=np.inf).max(initial=0)))
    missing = len(places[1]) - len(both) if names is None else 0
    print(
        f"    {len(both)} rows in both, {missing} missing, {len(places[0]) - len(both)} extra, {doubles} double; "
        f"largest relative difference of {len(fluxes)} fluxes {worst:.1e}",
        flush=True,
    )


def by_distance(found, whole, band):
    """Say how far rows differ from those of the whole image, in units of their errors, by the distance of tiles that
    lack a band."""
    _, one, other = np.intersect1d(*(np.array(table["source_id"]) for table in (found, whole)), return_indices=True)
    distance = found[f"no_data_distance_{band}"].to_numpy()[one]
    names = [name for name in whole.column_names if "flux_" in name and name in found.column_names]
    far: list[np.ndarray] = []
    for name in names:
        error = whole[name.replace("flux_", "fluxerr_")].to_numpy()[other]
        far.append(np.abs(found[name].to_numpy()[one] - whole[name].to_numpy()[other]) / error)
    worst = np.nan_to_num(far).max(axis=0)
    edges = (-1, 0, 64, 128, 256, 400, np.inf)
    for low, high in pairwise(edges):
        rows = worst[(distance > low) & (distance <= high)]
        if len(rows):
            print(
                f"    to {high:g} px: {len(rows)} rows, middle {np.median(rows):.3f}, largest {rows.max():.3f} errors"
            )


def of_tiles(table, names):
    """The rows of these tiles."""
    return table.filter(compute.is_in(table["tile"], value_set=pa.array(sorted(names))))


def main():
    """Take the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--across", type=int, default=6, help="tiles along one side")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=128)
    parser.add_argument("--model", default="hst")
    parser.add_argument("--cost", action="store_true", help="also two workers, and no other tiles")
    parser.add_argument("--field", type=Path, help="an image, instead of simulating one")
    chosen = parser.parse_args()
    side = (chosen.across - 1) * (chosen.tile - chosen.overlap) + chosen.tile
    with tempfile.TemporaryDirectory(prefix="tiles-") as folder:
        place, field = Path(folder), chosen.field
        if field is None:
            from morpheus_lite.simulation import simulate

            field = Path(simulate(place, seed=11, shape=(side, side))[0])
        write_tiles(field, place / "all", chosen.tile, chosen.across)
        files = sorted((place / "all").iterdir())
        whole = mosaic_of(files, place / "whole.fits")
        spent = run(whole, place / "of_whole", chosen.model, 0, tile_size=1_000_000)
        expected = catalogue(place / "of_whole")
        print(f"{side} x {side} px, {chosen.model}; whole: {expected.num_rows} rows; {spent}")
        alone = run(place / "all", place / "of_all", chosen.model, 0)
        print(f"{len(files)} tiles of {chosen.tile} px, one process: {alone}")
        compare(catalogue(place / "of_all"), expected)
        if chosen.cost:
            two = run(place / "all", place / "of_two", chosen.model, 2)
            print(f"{len(files)} tiles, two workers: {two}")
            compare(catalogue(place / "of_two"), expected)
            leaner, faster = alone.core_seconds / two.core_seconds, alone.seconds / two.seconds
            print(f"    one process over two workers: {leaner:.2f} by core-seconds, {faster:.2f} by the clock")
            return
        lacking = files[::LACKING]
        for file in lacking:
            with open_image(file) as image, fits.open(file, mode="update") as hdus:
                missing = image.bands[-N_LACKING:]
                for name in [hdu.name for hdu in hdus if hdu.name.startswith(missing)]:
                    del hdus[name]
        full = {file.stem for file in files} - {file.stem for file in lacking}
        run(place / "all", place / "of_some", chosen.model, 2)
        some = catalogue(place / "of_some")
        whole = mosaic_of(files, place / "some.fits")
        run(whole, place / "of_whole_of_some", chosen.model, 0, tile_size=1_000_000)
        print(f"{len(lacking)} of them without {N_LACKING} bands, against the whole without the same pixels:")
        compare(some, catalogue(place / "of_whole_of_some"))
        print("  rows of the tiles with all bands, against the whole with all pixels:")
        compare(of_tiles(some, full), expected, full)
        by_distance(some, expected, missing[-1])
        band = [name for name in expected.column_names if name.startswith("flags_")][-1]
        flagged = [(of_tiles(some, names)[band].to_numpy() > 0).sum() for names in ({f.stem for f in lacking}, full)]
        print(f"    {band} is set in {flagged[0]} rows of the tiles that lack it, and {flagged[1]} of the others")
        for k in range(2):
            corner = chosen.tile * (2 * k + 1) // 2
            binned_tile(field, place / "all" / f"other{k}.fits", corner, corner, chosen.tile // 2)
        run(place / "all", place / "of_both", chosen.model, 2)
        both = catalogue(place / "of_both")
        own = of_tiles(both, {file.stem for file in files})
        print(f"with {2} tiles of another grid: {both.num_rows - own.num_rows} rows are theirs; of the others:")
        compare(own, some, full)


if __name__ == "__main__":
    main()
