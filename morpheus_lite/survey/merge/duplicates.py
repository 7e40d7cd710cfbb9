"""Duplicates: of the tiles that have seen a source exactly one owns it, by place, position and extent.

Every place on the sky belongs to the tile that it lies deepest in. A source is primary in the tile that owns its peak.
Two tiles see the peak of one source a pixel apart, though, and next to a border both, or neither, may think that it is
theirs. So the rows of neighbouring tiles are matched by position, within an extent; and of those that are one source,
one is primary. All of it follows from the tiles' rows and footprints alone, whichever tile it is computed for.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial import KDTree

from morpheus_lite.survey.merge.footprint import Footprint, Footprints, unit_vectors

SHARE_OF_EXTENT = 0.75
"""Two rows are one source if they lie closer than this share of the larger one's semi-major axis (standard deviation of
its light; at most twice the smaller one's), and each is the other's nearest. Tiles split a blend into one part here and
two there: with the smaller one's axis, one such source in 500 was there twice."""

SMALLEST_TOLERANCE = 3.0
"""Pixels that two rows of one source may always lie apart."""

_TOUCHING = 1.5
"""Sources whose distance is smaller than the sum of their radii, times this, may be parts of one. With 1.2, of 3,300
sources of 64 tiles one was there twice, with 1 five were."""

_NEIGHBOURS = 8
"""How many of the nearest sources are asked whether they touch: the nearest is not always the largest."""

_ARCSEC = np.pi / 180 / 3600

Covered = Footprint | Footprints
"""Area that a tile, or a mosaic of tiles, covers."""


Detections = np.recarray
"""Columns of a tile's catalogue that identify its duplicates in other tiles, as records of the type `DETECTION`."""

_NUMBERS = "ra", "dec", "ra_peak", "dec_peak", "extent", "radius", "pixel_scale"
DETECTION = np.dtype([*((name, float) for name in _NUMBERS), ("is_cut", bool)])
"""ICRS position of a source and of its brightest pixel in degrees; its semi-major axis, finite, the radius of a circle
as large as its segment, and the side of the tile's pixels in arcseconds; whether the edge of the tile cuts it."""


def owners(ra: np.ndarray, dec: np.ndarray, footprints: Mapping[str, Covered]) -> np.ndarray:
    """The tile that owns each place: the one it lies deepest in, the first by name of several.

    Parameters
    ----------
    ra, dec : numpy.ndarray
        ICRS in degrees, shape ``(n,)``.
    footprints : mapping of str to Footprint
        By tile name; all tiles that cover any of the places.

    Returns
    -------
    numpy.ndarray
        int64, shape ``(n,)``: position of the owner's name among the sorted names; -1 where no tile reaches.
    """
    names = sorted(footprints)
    if not names or not len(ra):
        return np.full(len(ra), -1)
    depth = np.stack([footprints[name].edge_distance(ra, dec) for name in names])
    owner = depth.argmax(axis=0)
    return np.where(np.isfinite(depth.max(axis=0)), owner, -1)


def flag_primary(
    name: str, detections: Mapping[str, Detections], footprints: Mapping[str, Covered]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flag the sources of a tile that are primary in it.

    Parameters
    ----------
    name : str
        The tile.
    detections, footprints : mapping
        Of the tile and of every tile that overlaps it, by name.

    Returns
    -------
    is_primary : numpy.ndarray
        bool, shape ``(n,)``. The same tile by tile: of rows that match, each with the others, exactly one is primary.
    is_inner : numpy.ndarray
        bool, shape ``(n,)``: whether the tile owns the place of the row's brightest pixel.
    n_seen : numpy.ndarray
        int64, shape ``(n,)``: how many tiles have a row of the source.

    Notes
    -----
    Of the rows that are one source, those whose own tile owns their peak come first; then those whose peak another tile
    owns that has a row of the source as well; then the tile's name decides. A row whose owner has no row of the source
    counts only if the owner has nothing near it, as happens at the limit of detection. Else it is what the edge of its
    tile left of a source that the owner has whole, or a part of a blend that the owner splits differently.
    """
    names = sorted(footprints)
    own, number = detections[name], names.index(name)
    owner = np.full((len(names), len(own)), -1)
    is_seen, is_alone = np.zeros(owner.shape, bool), np.zeros(owner.shape, bool)
    rows = np.arange(len(own)), np.arange(len(own))
    pairs = [rows if name == other else match(own, detections[other]) for other in names]
    seen = [detections[other][theirs] for other, (_, theirs) in zip(names, pairs, strict=True)]
    # All at once: what takes time are the projections of the tiles.
    at = np.repeat(np.arange(len(names)), [len(one) for one in seen]), np.concatenate([mine for mine, _ in pairs])
    matched = np.concatenate(seen).view(Detections)
    owner[at] = owners(matched.ra_peak, matched.dec_peak, footprints)
    is_seen[at] = True
    is_alone[at] = _alone(matched, owner[at], [detections[one] for one in names])
    ranks = np.arange(len(names))[:, None]
    seen_by_owner = is_seen & (owner >= 0) & np.take_along_axis(is_seen, np.maximum(owner, 0), axis=0)
    place = np.where(owner == ranks, ranks, len(names) + ranks)
    place = np.where(seen_by_owner, place, np.where(is_alone, 2 * len(names) + ranks, 3 * len(names)))
    best = place.argmin(axis=0)
    is_primary = (best == number) & (seen_by_owner[number] | is_alone[number])
    return is_primary, owner[number] == number, is_seen.sum(axis=0)


def _alone(rows: Detections, owner: np.ndarray, detections: Sequence[Detections]) -> np.ndarray:
    """True for rows with nothing near them in the tile that owns their place: bool, shape ``(n,)``."""
    alone = owner >= 0
    for number in np.unique(owner[alone]).tolist():
        others, asked = detections[number], np.flatnonzero(alone & (owner == number))
        if not len(others):
            continue
        tree = KDTree(unit_vectors(others.ra, others.dec))
        count = min(_NEIGHBOURS, len(others))
        distance, nearest = tree.query(unit_vectors(rows.ra[asked], rows.dec[asked]), k=range(1, count + 1))
        touching = _TOUCHING * (rows.radius[asked, None] + others.radius[nearest])
        smallest = SMALLEST_TOLERANCE * np.maximum(rows.pixel_scale[asked, None], others.pixel_scale[nearest])
        near = 2 * np.arcsin(np.minimum(distance / 2, 1)) < np.maximum(touching, smallest) * _ARCSEC
        alone[asked] = ~near.any(axis=1)
    return alone


def match(one: Detections, other: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two tiles that are one source: each the other's nearest, and closer than their extent allows.

    Returns
    -------
    one, other : numpy.ndarray
        int64, shape ``(pair,)``: their rows.
    """
    if not len(one) or not len(other):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    here, there = unit_vectors(one.ra, one.dec), unit_vectors(other.ra, other.dec)
    distance, nearest = KDTree(there).query(here)
    _, back = KDTree(here).query(there)
    rows = np.arange(len(one))
    smallest = SMALLEST_TOLERANCE * np.maximum(one.pixel_scale, other.pixel_scale[nearest])
    extents = np.sort([one.extent, other.extent[nearest]], axis=0)
    allowed = np.maximum(SHARE_OF_EXTENT * np.minimum(extents[1], 2 * extents[0]), smallest)
    matched = (back[nearest] == rows) & (2 * np.arcsin(distance / 2) < allowed * _ARCSEC)
    return rows[matched], nearest[matched]


def cut_sources(
    name: str, detections: Detections, is_primary: np.ndarray, footprints: Mapping[str, Covered]
) -> list[dict[str, float]]:
    """Primary sources of a tile that its edge cuts, although another tile goes on there.

    Sources that the edge of the survey cuts do not count, also not next to a neighbour: no overlap would help.

    Returns
    -------
    list of dict
        ICRS ``ra`` and ``dec`` in degrees of each, and ``needed``: the overlap of the tiles in arcseconds that would
        hold it whole, at least.
    """
    cut = np.flatnonzero(is_primary & detections.is_cut)
    others = [footprint for other, footprint in footprints.items() if other != name]
    if not len(cut) or not others:
        return []
    ra, dec = detections.ra_peak[cut], detections.dec_peak[cut]
    inside = footprints[name].edge_distance(ra, dec)
    reach = np.maximum(
        3 * detections.extent[cut], np.where(np.isfinite(inside), inside, 0) + detections.pixel_scale[cut]
    )
    goes_on = np.zeros(len(cut), dtype=bool)
    for north, east in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        there_dec = np.clip(dec + north * reach / 3600, -90, 90)
        there_ra = (ra + east * reach / 3600 / np.maximum(np.cos(np.deg2rad(dec)), 1e-6)) % 360
        beyond = ~np.isfinite(footprints[name].edge_distance(there_ra, there_dec))
        for footprint in others:
            goes_on |= beyond & np.isfinite(footprint.edge_distance(there_ra, there_dec))
    return [
        {"ra": float(detections.ra[row]), "dec": float(detections.dec[row]), "needed": float(2 * far)}
        for row, far, on in zip(cut, reach, goes_on, strict=True)
        if on
    ]
