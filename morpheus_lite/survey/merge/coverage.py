"""Coverage of a survey on the sky as a MOC, and its depth as a map of the same cells."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.io import fits

from morpheus_lite import __version__
from morpheus_lite.survey.merge.footprint import Footprint
from morpheus_lite.survey.merge.healpix import FINEST
from morpheus_lite.survey.merge.index import Entry

if TYPE_CHECKING:
    from distributed import Client

MOC, DEPTH = "moc.fits", "depth.fits"
"""Files in the directory of the merged catalogue."""

_ACROSS = 16  # cells along the diameter of a tile of the middle size, at least
_AT_ONCE = 256  # tiles of a task

CoveredCells = tuple[np.ndarray, dict[str, float | None]]
"""Cells that a tile covers, and its depth by band."""


def write_coverage(place: Path, entries: Sequence[Entry], client: "Client") -> None:
    """Write the MOC of all images, and the depth of the deepest one in each of its cells.

    Parameters
    ----------
    place : path
        Directory of the merged catalogue.
    entries : sequence of Entry
        The images.
    client : distributed.Client
        Where cells are looked up.
    """
    side = 2 * float(np.median([entry.radius for entry in entries])) / _ACROSS
    order = int(np.clip(np.ceil(np.log2(np.sqrt(np.pi / 3) / side)), 0, FINEST))
    parts = [entries[k : k + _AT_ONCE] for k in range(0, len(entries), _AT_ONCE)]
    found = client.gather(client.map(covered_cells, parts, order=order, pure=False, retries=2, key="coverage"))
    covered = [one for part in found for one in part]
    cells, place_of = np.unique(np.concatenate([one for one, _ in covered]), return_inverse=True)
    depth = {}
    for band in sorted({band for _, depths in covered for band in depths}):
        values = [np.full(len(one), np.nan if depths.get(band) is None else depths[band]) for one, depths in covered]
        depth[band] = np.full(len(cells), np.nan, np.float32)
        np.fmax.at(depth[band], place_of, np.concatenate(values).astype(np.float32))
    if not len(cells):
        return
    ends = np.flatnonzero(np.diff(cells, append=-1) != 1)
    starts = np.concatenate([[0], ends[:-1] + 1])
    ranges = np.stack([cells[starts], cells[ends] + 1], axis=1).ravel() << (2 * (FINEST - order))
    _write(place / MOC, [fits.Column("RANGE", "K", array=ranges)], MOCVERS="2.0", ORDERING="RANGE", MOCORD_S=order)
    columns = [fits.Column(f"DEPTH_{band}", "E", unit="mag(AB)", array=values) for band, values in depth.items()]
    names = fits.Column("UNIQ", "K", array=cells + 4 ** (order + 1))
    _write(place / DEPTH, [names, *columns], PIXTYPE="HEALPIX", ORDERING="NUNIQ", INDXSCHM="EXPLICIT", MOCORDER=order)


def _write(path: Path, columns: list[fits.Column], **cards: Any) -> None:
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update(cards | {"MOCDIM": "SPACE", "COORDSYS": "C", "MOCTOOL": f"morpheus_lite {__version__}"})
    table.writeto(path)


def covered_cells(entries: Iterable[Entry], order: int) -> list[CoveredCells]:
    """For each image the cells of an order whose middle lies on valid pixels of it, and its depth."""
    from astropy_healpix import HEALPix

    healpix, found = HEALPix(2**order, order="nested"), []
    for entry in entries:
        summary = entry.summary()
        footprint = Footprint.from_dict(summary["footprint"])
        (x, y, z), radius = footprint.circle
        cells = healpix.cone_search_lonlat(np.arctan2(y, x) * u.rad, np.arcsin(z) * u.rad, radius * u.rad)
        ra, dec = (angle.to_value(u.deg) for angle in healpix.healpix_to_lonlat(cells))
        found.append((cells[np.isfinite(footprint.edge_distance(ra, dec))], summary["depth"]))
    return found
