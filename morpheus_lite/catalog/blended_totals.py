"""Total fluxes of sources in the light of others: measured again, with models of the others taken out."""

from dataclasses import replace
from functools import partial

import numpy as np

from morpheus_lite.catalog.cutouts import Neighbors, find_neighbors
from morpheus_lite.catalog.rows import head_of
from morpheus_lite.catalog.surroundings import RowSettings, calibrated, measure_surroundings
from morpheus_lite.core.flags import SourceFlag
from morpheus_lite.core.labels import LabelledPixels, LabelStore
from morpheus_lite.core.protocols import ImageReader
from morpheus_lite.core.windows import SourceGroup, grown, source_groups
from morpheus_lite.runtime.resources import Workers, parallel_map

_SHAPE = "x_centroid", "y_centroid", "semimajor_axis", "semiminor_axis", "orientation", "area"
# Errors of blended and crowded sources beyond those of isolated ones, of the flux: a constant, one over S/N, and one
# times the share of the Kron ellipse that lies on others. They make pulls 0.8 to 1.5 wide in fields of both simulators.
_DOUBT = 0.01, 2.0, 0.8


def total_of_blends(
    rows: dict[str, np.ndarray],
    labels: LabelStore,
    image: ImageReader,
    settings: RowSettings,
    margins: np.ndarray,
    *,
    tile: int,
    workers: Workers,
) -> dict[str, np.ndarray]:
    """Total fluxes, magnitudes and their errors, with those of sources in the light of others put right.

    Parameters
    ----------
    rows : dict
        Rows of all sources.
    labels : LabelStore
        The label map.
    image : ImageReader
        The image that the rows were measured in.
    settings : RowSettings
        How they were measured.
    margins : numpy.ndarray
        Pixels around each box of ``labels`` that a row depends on.
    tile : int
        Side of a block in pixels; the result does not depend on it.
    workers : int or Executor
        Processes that share the sources.

    Returns
    -------
    dict
        The columns ``total_...`` of each band.

    Notes
    -----
    The Kron ellipse of a faint source beside a bright one is filled with the light of the bright one. So every source
    that others give 1 % of its light or more is measured again, less their models: ellipses with the profiles that were
    fitted to them. Its error holds a share of what was subtracted, and grows with the share of its ellipse that others
    hide.
    """
    head = head_of(image)
    noise = [settings.noise[band].sigma for band in head.bands]
    neighbors = find_neighbors(rows, head.bands, noise)
    chosen = np.flatnonzero(np.isin(rows["label"], list(neighbors.of)))
    at = np.searchsorted(labels.names, rows["label"][chosen])
    groups = list(source_groups(labels.boxes[at], margins[at], labels.shape, tile))
    image.close()
    known = {name: rows[name] for name in (*_SHAPE, "label", "is_point")}
    look = partial(
        _measure_again, labels=labels, image=image, rows=known, chosen=chosen, settings=settings, neighbors=neighbors
    )
    names = [f"total_{kind}_{band}" for band in head.bands for kind in ("flux", "fluxerr")]
    found = {name: rows[name].copy() for name in (*names, "kron_hidden")}
    for group, again in zip(groups, parallel_map(look, groups, workers=workers), strict=True):
        members = np.sort(chosen[group.members])
        found["kron_hidden"][members] = again["kron_hidden"]
        for flux, error in zip(names[::2], names[1::2], strict=True):
            right = np.isfinite(again[flux])
            found[flux][members] = np.where(right, again[flux], found[flux][members])
            # Where nothing is left, the light may be all that of the neighbours.
            found[error][members] = np.where(right, again[error], np.abs(found[flux][members]))
    # What is not known of blended and crowded sources.
    snr = rows["snr"]
    _, family, n_pieces = np.unique(rows["parent_label"], return_inverse=True, return_counts=True)
    mixed = (n_pieces[family] > 1) | ((rows["flags"] & int(SourceFlag.BLENDED | SourceFlag.CROWDED)) > 0)
    least = np.hypot(_DOUBT[0], _DOUBT[1] / np.where(snr > 0, snr, np.inf))
    doubt = mixed * np.hypot(least, _DOUBT[2] * found["kron_hidden"])
    for flux, error, zero_point in zip(names[::2], names[1::2], head.zero_points, strict=True):
        found[error] = np.hypot(found[error], doubt * np.abs(found[flux]))
        if zero_point is not None:
            found |= calibrated(found[flux], found[error], float(zero_point), flux.replace("_flux_", "_{}_", 1))
    return found


def _measure_again(
    group: SourceGroup,
    labels: LabelStore,
    image: ImageReader,
    rows: dict[str, np.ndarray],
    chosen: np.ndarray,
    settings: RowSettings,
    neighbors: Neighbors,
) -> dict[str, np.ndarray]:
    """Total fluxes of some sources, ordered by label, without the light of their neighbours."""
    window = grown(group.window, 1, labels.shape)
    near = labels.read(window)
    members = np.sort(chosen[group.members])
    own = {name: values[members] for name, values in rows.items()}
    sources = LabelledPixels.gather(np.where(np.isin(near, own["label"]), near, 0), origin=(window.y, window.x))
    image_there = replace(image.read(window), wcs=image.wcs)
    alone = replace(settings, options=replace(settings.options, structure=False), stars=())
    return measure_surroundings(near, sources, image_there, own, alone, neighbors=neighbors)
