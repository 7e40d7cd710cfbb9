"""Light of blended sources, each pixel shared between the pieces of its parent instead of given to one."""

import numpy as np
from scipy import ndimage

from morpheus_lite.catalog.kernels import open_stamp
from morpheus_lite.catalog.photometry import band_noise, sum_light
from morpheus_lite.catalog.segments import Rows
from morpheus_lite.catalog.surroundings import RowSettings
from morpheus_lite.core.labels import LabelStore
from morpheus_lite.core.protocols import ImageReader
from morpheus_lite.core.windows import Window
from morpheus_lite.noise.detection_image import summed

MOST_PIECES = 60
"""Parents with more pieces are not shared: their pixels stay with the piece that they lie in."""

SHARED_COLUMNS = ("flux", "fluxerr", "covered")
"""What is told of the shared light in each band."""

_SMOOTHING = 1.0


def share_light(rows: Rows, labels: LabelStore, image: ImageReader, settings: RowSettings) -> Rows:
    """Fluxes of all sources, with the pixels of those that were split shared; one parent at a time.

    Parameters
    ----------
    rows : dict
        Rows of all sources, ordered by label: ``label, parent_label, x_peak, y_peak`` and the fluxes of the segments.
    labels : LabelStore
        The label map after deblending.
    image : ImageReader
        The image.
    settings : RowSettings
        How the rows were measured: how the bands become the one whose light says how pixels are shared (the shares are
        the same in every band), and their noise.

    Returns
    -------
    dict
        ``shared_flux_<band>``, ``shared_fluxerr_<band>`` and ``shared_covered_<band>``: float64, shape ``(source,)``.
        The fluxes of the pieces of a parent add up to the flux of its pixels; a source that was not split has that of
        its segment. NaN where no pixel has data.
    """
    head = image.read(Window(0, 0, 1, 1))
    bands = band_noise(head, settings.noise, settings.options.gain)
    sigmas = np.array([band.sky.sigma for band in bands])
    found = {
        f"shared_{kind}_{name}": rows[f"segment_{kind}_{name}"].astype(np.float64)
        for name in head.bands
        for kind in SHARED_COLUMNS
    }
    boxes = labels.boxes[np.searchsorted(labels.names, rows["label"])]
    _, family, n_pieces = np.unique(rows["parent_label"], return_inverse=True, return_counts=True)
    for parent in np.flatnonzero((n_pieces > 1) & (n_pieces <= MOST_PIECES)).tolist():
        members = np.flatnonzero(family == parent)
        (top, left), (bottom, right) = boxes[members, :2].min(axis=0).tolist(), boxes[members, 2:].max(axis=0).tolist()
        window = Window(top, left, bottom - top, right - left)
        near, piece, names = labels.read(window), image.read(window), rows["label"][members]
        own = np.where(np.isin(near, names), near, 0)
        peaks = np.stack([rows["y_peak"][members], rows["x_peak"][members]], axis=1) - (top, left)
        # However the image lies in memory: sums round by their order.
        valid, data = np.ascontiguousarray(piece.valid), piece.data.astype(np.float64, order="C")
        # It also sets what is not valid to 0.
        _, _, variance, _ = open_stamp(near, 0, valid, data, piece.rms, sigmas)
        light = summed(settings.detection.weights(data, valid, own > 0), data)
        shares = share_pixels(light, own, names, peaks)
        sums = sum_light(data, variance, shares, 0.0, bands, valid)
        for kind, values in zip(SHARED_COLUMNS, sums, strict=True):
            for index, band in enumerate(head.bands):
                found[f"shared_{kind}_{band}"][members] = values[:, index]
    return found


def share_pixels(light: np.ndarray, labels: np.ndarray, names: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Share each pixel of a parent between its pieces.

    Parameters
    ----------
    light : numpy.ndarray
        float64, shape ``(y, x)``, finite.
    labels : numpy.ndarray
        int32, shape ``(y, x)``: the pieces; 0 elsewhere.
    names : numpy.ndarray
        int, shape ``(piece,)``: their labels.
    peaks : numpy.ndarray
        int, shape ``(piece, 2)``: row and column of the brightest pixel of each.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(piece, y, x)``: in [0, 1]; they add up to 1 on the pixels of the pieces, and are 0 elsewhere.

    Notes
    -----
    The template of a piece is its light made symmetric about its peak, the fainter of each two opposite pixels, as in
    the deblender of the SDSS (Lupton 2001). The templates are fitted to the light of the parent, and each pixel
    is shared in proportion to the fitted templates. Where all of them vanish it stays with its piece.
    """
    own = labels > 0
    # The fainter of two pixels is biased low by noise: smoothing first makes the bias small.
    smooth = ndimage.gaussian_filter(light, _SMOOTHING)
    templates = np.stack([_symmetric(smooth, *peak) for peak in peaks]) * own
    from scipy.optimize import nnls

    weights, _ = nnls(templates[:, own].T, smooth[own])
    fitted = templates * weights[:, None, None]
    total = fitted.sum(axis=0)
    alone = (labels == np.asarray(names)[:, None, None]).astype(np.float64)
    # Shares of templates that have nearly vanished would be those of rounding.
    faint = total <= 1e-3 * total.max(initial=0)
    return np.where(faint, alone, fitted / np.where(faint, 1, total)) * own


def _symmetric(light: np.ndarray, row: int, column: int) -> np.ndarray:
    """The fainter of each pixel and the one opposite to it, not below 0; 0 where that is outside."""
    turned = np.zeros_like(light)
    y, x = (2 * at - np.arange(length) for at, length in zip((row, column), light.shape, strict=True))
    y_in, x_in = (y >= 0) & (y < light.shape[0]), (x >= 0) & (x < light.shape[1])
    turned[np.ix_(y_in, x_in)] = light[np.ix_(y[y_in], x[x_in])]
    return np.maximum(np.minimum(light, turned), 0)
