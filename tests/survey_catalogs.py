"""Finished tiles of a survey as workers leave them, without their work: rows of a made-up sky."""

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.wcs import WCS

from morpheus_lite.catalog.table import ucd_of
from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.io import write_catalog
from morpheus_lite.io.wcs import header_of_wcs
from morpheus_lite.survey.merge.footprint import Footprint
from morpheus_lite.survey.state import SUMMARY, fingerprint_product, tile_directory, write_json, write_marker
from morpheus_lite.survey.statistics import table_statistics

SCALE = 0.1
CENTRE = (150.1, 2.2)


def wcs_at(x, y, angle=0.0, scale=SCALE):
    """A gnomonic WCS whose pixel (0, 0) lies x, y pixels of ``SCALE`` from the centre, turned by an angle."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = CENTRE
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = turn @ np.diag([-scale, scale]) / 3600
    wcs.wcs.crpix = np.linalg.solve(wcs.wcs.cd, np.array([x, -y]) * SCALE / 3600) + 1
    return wcs


def truth(n, side, seed, apart=12.0):
    """Positions at least ``apart`` pixels from each other on a square of the sky, and their sizes in pixels."""
    rng = np.random.default_rng(seed)
    grid = np.arange(apart, side - apart, 2 * apart)
    places = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    places = places[rng.permutation(len(places))[:n]] + rng.uniform(-apart / 2, apart / 2, (min(n, len(places)), 2))
    return places, rng.uniform(1, 3, len(places))


def seen_by(wcs, shape, ra, dec, size, rng, jitter=0.3):
    """Rows of a tile: sources whose middle it holds, positions a little off; what is cut has its flag."""
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    here = (x > 0) & (y > 0) & (x < shape[1] - 1) & (y < shape[0] - 1)
    x, y, size = x[here], y[here], size[here]
    edge = np.minimum(np.minimum(x, shape[1] - 1 - x), np.minimum(y, shape[0] - 1 - y))
    x_off, y_off = rng.normal(0, jitter, (2, len(x)))
    place = wcs.wcs_pix2world(x + x_off, y + y_off, 0)
    table = QTable()
    table["label"] = np.arange(1, len(x) + 1)
    table["ra"], table["dec"] = place[0] * u.deg, place[1] * u.deg
    table["x_peak"] = np.clip(np.rint(x + 2 * x_off), 0, shape[1] - 1).astype(int)
    table["y_peak"] = np.clip(np.rint(y + 2 * y_off), 0, shape[0] - 1).astype(int)
    table["semimajor_axis"] = size * u.pix
    table["area"] = np.rint(np.pi * (2 * size) ** 2).astype(int)
    table["flags"] = np.where(edge < 3 * size, int(SourceFlag.EDGE), 0).astype(np.int32)
    table["morphology"] = ["disk"] * len(x)
    table["kron_flux_H"] = size * u.electron / u.s
    for name in table.colnames:
        table[name].info.meta = {"ucd": ucd_of(name)}
    return table


def write_finished(root, name, wcs, shape, table, **more):
    """A finished tile, as a worker leaves it."""
    directory = tile_directory(root, name)
    directory.mkdir(parents=True)
    path = write_catalog(table, directory / f"{name}_catalog.parquet")
    footprint = Footprint(shape, "" if wcs is None else header_of_wcs(wcs).tostring())
    told = {"bands": ["H"], "seconds": {"network": 2.0}, "peak_memory": 10**9, "host": "here"}
    summary = {"footprint": footprint.to_dict(), **told, **table_statistics(table, {"H": 25.0}), **more}
    write_json(directory / SUMMARY, summary)
    write_marker(directory, {"version": "0"}, {}, {"catalog": fingerprint_product(path)})
    return name


def survey(root, tiles, places, sizes, seed=0, jitter=0.3):
    """Finished tiles of one sky; ``tiles`` are (name, x, y, angle, scale, shape)."""
    rng = np.random.default_rng(seed)
    sky = wcs_at(0, 0)
    ra, dec = sky.wcs_pix2world(*places.T, 0)
    for name, x, y, angle, scale, shape in tiles:
        wcs = wcs_at(x, y, angle, scale)
        table = seen_by(wcs, shape, ra, dec, sizes * SCALE / scale, rng, jitter)
        write_finished(root, name, wcs, shape, table)
    return ra, dec


def grid(n, side, overlap, **other):
    step = side - overlap
    given = {"angle": 0.0, "scale": SCALE, **other}
    return [
        (f"t{row}{column}", column * step, row * step, given["angle"], given["scale"], (side, side))
        for row in range(n)
        for column in range(n)
    ]
