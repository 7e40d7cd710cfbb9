"""The compiled loops over the pixels of one source, and the calls that cut a stamp."""

import math

import numpy as np

from morpheus_lite.core.loops import load_loops

_SIGNATURES = {
    "overlap": "iidddddp",
    "growth": "ippdiipp",
    "exact_growth": "iipdddipp",
    "weighted_sums": "iiipppippppp",
    "fit_profiles": "iippppippipdpiiiipdddppp",
    "best_centre": "iippp",
    "windowed": "iippddppp",
    "without_noise": "ippppid",
    "distances": "iiddddddp",
    "open_stamp": "iiipipppppp",
    "fill_stamp": "iiippippipddpppp",
    "gini_and_m20": "iipppdddpp",
    "measure_stamp": "ppiiippipipppppppdppp",
}


call_kernel = load_loops("morpheus_lite.catalog._kernels", _SIGNATURES, give_numbers=("best_centre", "without_noise"))
"""Call a compiled loop; arrays are C-contiguous, of the types that it takes.

The package calls a few of them: `measure_stamp` calls the others, and tests compare each with NumPy.
"""


def distances(
    shape: tuple[int, int], centre: tuple[float, float], theta: float = 0.0, ratio: float = 1.0, unit: float = 1.0
) -> np.ndarray:
    """Distance of each pixel along the major axis of ellipses of one centre: float64, shape ``(y, x)``.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image in pixels.
    centre : (float, float)
        Row and column of the centre, in pixels.
    theta : float
        Major axis, counter-clockwise from the x axis, in radians.
    ratio : float
        Major over minor axis.
    unit : float
        In pixels.
    """
    found = np.empty(shape)
    call_kernel("distances", *shape, *centre, math.cos(theta), math.sin(theta), ratio, unit, found)
    return found


def open_stamp(
    labels: np.ndarray, label: int, usable: np.ndarray, light: np.ndarray, rms: np.ndarray | None, sigmas: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Pixels of a source and of others, variance, and whether all pixels are usable.

    Light, which is float64 and C-contiguous, becomes 0 in place where it is not usable. A variance that is not known is
    the mean of those known in the band, else that of the sky.
    """
    own, other = np.empty((2, *labels.shape), dtype=bool)
    variance = None if rms is None else rms.astype(np.float64, order="C")
    labels, usable = np.ascontiguousarray(labels, np.intc), np.ascontiguousarray(usable)
    whole = call_kernel("open_stamp", *light.shape, labels, label, usable, light, variance, sigmas, own, other)
    return own, other, np.broadcast_to(sigmas**2, light.shape) if variance is None else variance, bool(whole)


def fill_stamp(
    light: np.ndarray,
    variance: np.ndarray,
    usable: np.ndarray,
    weights: np.ndarray,
    neighbor_mask: np.ndarray,
    centre: tuple[float, float],
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Light of each band and of the detection image, with that opposite the centre in the place of neighbours.

    Parameters
    ----------
    light, variance, usable, weights : numpy.ndarray
        float64, ``usable`` bool, shape ``(y, x, band)``; the light is 0 where it is not usable.
    neighbor_mask : numpy.ndarray
        bool, shape ``(y, x)``: pixels of other sources.
    centre : (float, float)
        Row and column of the source.

    Returns
    -------
    bands : (numpy.ndarray, numpy.ndarray)
        Light and where there is some: shape ``(y, x, band)``. A pixel of a neighbour is not covered if it is not usable
        and nothing replaces it, or if its opposite is the source's or the sky's and not usable.
    detection : (numpy.ndarray, numpy.ndarray, numpy.ndarray)
        Light, its variance, and where there is some, shape ``(y, x)``. Pixels that no band covers are filled too.
    """
    filled, usable, planes = light.copy(), np.ascontiguousarray(usable), np.empty((2, *light.shape[:2]))
    covered, there = np.empty(light.shape, bool), np.empty(light.shape[:2], bool)
    given = filled, *with_step(variance), usable, *with_step(weights), neighbor_mask, *centre
    call_kernel("fill_stamp", *light.shape, *given, covered, *planes, there)
    return (filled, covered), (*planes, there)


def with_step(planes: np.ndarray) -> tuple[np.ndarray, int]:
    """Planes ``(y, x, band)`` one behind the other, and how far it is from pixel to pixel: 0 where all are alike."""
    alike = planes.strides[:2] == (0, 0)
    return np.ascontiguousarray(planes[0, 0] if alike else planes), 0 if alike else planes.shape[2]
