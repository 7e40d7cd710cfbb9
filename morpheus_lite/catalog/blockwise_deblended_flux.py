"""Fluxes with shared pixels for a label map on disk: the same as of the whole image."""

import numpy as np

from morpheus_lite.catalog.deblended_flux import SHARED_COLUMNS, share_light
from morpheus_lite.catalog.gain import find_gains
from morpheus_lite.catalog.photometry import BandNoise
from morpheus_lite.catalog.rows import RowSettings
from morpheus_lite.core.blocks import source_groups
from morpheus_lite.core.label_store import StreamedLabels
from morpheus_lite.core.protocols import ImageDoor
from morpheus_lite.core.windows import Window


def share_groups(
    rows: dict[str, np.ndarray], labels: StreamedLabels, image: ImageDoor, settings: RowSettings, *, tile: int
) -> dict[str, np.ndarray]:
    """Columns of `~morpheus_lite.catalog.deblended_flux.share_light`, some parents at a time.

    Parameters
    ----------
    rows : dict
        Rows of all sources, ordered by label.
    labels : StreamedLabels
        The label map after deblending.
    image : ImageDoor
        The image.
    settings : RowSettings
        How the rows were measured.
    tile : int
        Side of a tile in pixels; the result does not depend on it.
    """
    head = image.read(Window(0, 0, 1, 1))
    gains = find_gains(head, settings.options.gain)
    bands = [BandNoise(settings.noise[name], gain.value) for name, gain in zip(head.bands, gains, strict=True)]
    found = {
        f"shared_{kind}_{name}": rows[f"segment_{kind}_{name}"].copy() for name in head.bands for kind in SHARED_COLUMNS
    }
    boxes = labels.boxes[np.searchsorted(labels.names, rows["label"])]
    _, family, n_pieces = np.unique(rows["parent_label"], return_inverse=True, return_counts=True)
    far = np.full((len(n_pieces), 2), np.iinfo(np.int64).max)
    hulls = np.concatenate([far, np.zeros_like(far)], axis=1)
    for side, join in enumerate((np.minimum, np.minimum, np.maximum, np.maximum)):
        join.at(hulls[:, side], family, boxes[:, side])
    split = np.flatnonzero(n_pieces > 1)
    for group in source_groups(hulls[split], 0, labels.shape, tile):
        members = np.flatnonzero(np.isin(family, split[group.members]))
        here = {name: values[members] for name, values in rows.items()}
        here |= {"y_peak": here["y_peak"] - group.window.y, "x_peak": here["x_peak"] - group.window.x}
        piece = image.read(group.window)
        shared = share_light(here, labels.read(group.window), piece, settings.detection, bands)
        for name, values in shared.items():
            found[name][members] = values
    return found
