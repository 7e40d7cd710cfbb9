"""Where the light of sources is, how it is spread, and how much there is of it in each band."""

import numpy as np
from photutils.segmentation import SegmentationImage, SourceCatalog

from morpheus_lite.image import SkyImage
from morpheus_lite.labels import LabelledPixels

_SHAPE = ("semimajor_axis", "semiminor_axis", "orientation", "ellipticity")


def measure_shapes(
    labels: np.ndarray, sources: LabelledPixels, light: np.ndarray, usable: np.ndarray
) -> dict[str, np.ndarray]:
    """Area, centroid, peak and ellipse of each source.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    sources : LabelledPixels
        The pixels of ``labels``.
    light, usable : numpy.ndarray
        Detection band and where it may be used, shape ``(y, x)``.

    Returns
    -------
    dict
        Column name to float64 or int values, shape ``(source,)``. A source without positive light has the mean
        of its pixels as centroid, and NaN for its ellipse.
    """
    # Invalid pixels cannot be the brightest, unless a source has no others.
    seen = np.where(sources.take(usable), sources.take(light), -np.inf)
    peak = sources.brightest(seen)
    shapes = {"area": sources.sizes, "x_peak": sources.x[peak], "y_peak": sources.y[peak]}
    middle = {
        "x_centroid": sources.sum(sources.x) / sources.sizes,
        "y_centroid": sources.sum(sources.y) / sources.sizes,
    }
    if not len(sources):
        return shapes | middle | dict.fromkeys(_SHAPE, np.zeros(0))
    catalog = SourceCatalog(light, SegmentationImage(labels), mask=~usable)
    for name in _SHAPE:
        shapes[name] = getattr(getattr(catalog, name), "value", getattr(catalog, name))
    for name, fallback in middle.items():
        centroid = getattr(catalog, name)
        shapes[name] = np.where(np.isfinite(centroid), centroid, fallback)
    return shapes


def measure_fluxes(sources: LabelledPixels, image: SkyImage) -> dict[str, np.ndarray]:
    """Flux of each source in each band, and its error where the image has noise planes.

    Returns
    -------
    dict
        ``segment_flux_<band>`` and ``segment_fluxerr_<band>``: float64, shape ``(source,)``, in the units of the
        data. Flux sums the valid pixels. Errors add the RMS of those pixels in quadrature; pixels whose RMS is
        unknown (0) count as noisy as the source's others, and the error is NaN if all are unknown.
    """
    fluxes = {}
    for index, band in enumerate(image.bands):
        valid = sources.take(image.valid[:, :, index])
        fluxes[f"segment_flux_{band}"] = sources.sum(np.where(valid, sources.take(image.data[:, :, index]), 0))
        if image.rms is None:
            continue
        rms = np.where(valid, sources.take(image.rms[:, :, index]), 0).astype(np.float64)
        n_known = sources.sum(rms > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            fluxes[f"segment_fluxerr_{band}"] = np.sqrt(sources.sum(rms**2) * sources.sum(valid) / n_known)
    return fluxes
