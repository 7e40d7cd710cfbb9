"""Nonparametric structure of one source: Petrosian radius, concentration, asymmetry, Gini, M20."""

import math
from collections.abc import Callable

import numpy as np

from morpheus_lite.catalog.curve_of_growth import CurveOfGrowth, curve_of_growth, growth_by_distance
from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.catalog.kernels import best_centre, gini_and_m20, without_noise
from morpheus_lite.catalog.photometry import variance_of_sums
from morpheus_lite.noise.correlated import CorrelatedNoise

LEAST_SNR = {"concentration": 20.0, "asymmetry": 20.0, "gini": 30.0, "m20": 50.0}
"""Signal-to-noise ratio of the segment below which a quantity is that of the noise more than of the source.

Above, the pulls against values without noise are off by at most half of their width, and 0.8 to 1.6 wide, those of M20
up to 2.2 (`python tests/benchmarks/structure.py --seed 3`).
"""

_EXTENT = 1.5
# Of the Petrosian radius, as Lotz et al. (2004) have it.
_SMOOTHING = 0.2
_SMALLEST_REACH = 4.0
_STEEPNESS = 3.0
"""Fall of the logarithm of the brightness with that of the radius, at the Petrosian radius of an exponential disk."""
_MOST_DOUBT = 1.0
_CENTRING = 0.01
"""Error of an asymmetry from the steps of the search for its centre."""
_RINGS = 12
"""Rings that the light profile is measured in, to tell where noise adds to the differences of a source."""
_SHARES = np.append(0.0, np.geomspace(0.003, 3, 16))


STRUCTURE = tuple(f"{name}{kind}" for name in ("r_petrosian", *LEAST_SNR) for kind in ("", "_err"))
"""Names of what `measure_structure` tells, and of the errors."""


def central_curve(stamp: Stamp) -> CurveOfGrowth:
    """Curve of growth about the centre of a stamp, as far as circles stay inside of it."""
    return curve_of_growth(stamp.detection, stamp.ellipse.y, stamp.ellipse.x, _largest(stamp))


def measure_structure(stamp: Stamp, central: CurveOfGrowth, snr: float, noise: CorrelatedNoise) -> dict[str, float]:
    """Arrangement of the light in the detection image of a stamp.

    Parameters
    ----------
    stamp : Stamp
        The source and its surroundings.
    central : CurveOfGrowth
        From `central_curve`.
    snr : float
        Signal-to-noise ratio of the segment: what `LEAST_SNR` asks more for is not measured.
    noise : CorrelatedNoise
        Of the detection image, for the errors.

    Returns
    -------
    dict
        ``r_petrosian``: circular Petrosian radius in pixels, where the brightness is 0.2 of the mean within;
        ``concentration``: ``5 log10(r80 / r20)`` of the light within 1.5 Petrosian radii; ``asymmetry``: difference
        from the source turned by 180 degrees, within 1.5 Petrosian radii, less what the noise gives; ``gini``:
        inequality of the pixels' light, 0 if all are alike, 1 if one has all; ``m20``: log10 of the second moment of
        the brightest pixels with 20 % of the light, relative to that of all; and ``..._err``, what the noise makes of
        them, to first order. What cannot be told is missing.

    Notes
    -----
    Definitions are those of Lotz, Primack & Madau (2004) and Conselice (2003) as statmorph
    (Rodriguez-Gomez et al. 2019) has them: Gini and M20 over the pixels brighter, after smoothing with 0.2 elliptical
    Petrosian radii, than the light at that radius; asymmetry about the centre that makes it smallest. Its
    noise term is the mean absolute difference of two pixels of noise, from the noise planes rather than from a
    patch of sky, so that it needs nothing far away; pixels of neighbours, which hold their opposites, have none. Where
    a source differs from itself, noise adds less than that, by how much depends on where it does: the asymmetry is
    the mean of both extremes, and its error holds half of their difference.
    """
    if math.isnan(snr):
        return {}
    wanted = {"r_petrosian", *(name for name, least in LEAST_SNR.items() if snr >= least)}
    found: dict[str, float] = {}
    first = central.petrosian()
    if np.isfinite(first):
        asymmetry, centre = _asymmetry(stamp, _EXTENT * first, noise_matters="asymmetry" in wanted)
        growth = curve_of_growth(stamp.detection, *centre, _largest(stamp))
        found = _concentration(growth, variance_of_sums(stamp, noise)) | asymmetry
    if wanted & {"gini", "m20"}:
        found |= _gini_and_m20(stamp, noise)
    return {name: value for name, value in found.items() if name.removesuffix("_err") in wanted}


def _concentration(growth: CurveOfGrowth, variance: Callable[[float], float]) -> dict[str, float]:
    """Petrosian radius, and ``5 log10(r80 / r20)`` of the light within 1.5 of it, with errors."""
    radius = growth.petrosian()
    if not np.isfinite(radius):
        return {}
    largest = _EXTENT * radius
    total = growth.flux_within(largest)
    r20, r80 = (growth.radius_of(share * total, below=largest) for share in (0.2, 0.8))
    found = {"r_petrosian": radius, "r_petrosian_err": growth.petrosian_error(radius, variance)}
    if not r20 > 0:
        return found
    whole = math.pi * largest**2
    errors = (growth.radius_error(at, share, whole, variance) / at for at, share in ((r20, 0.2), (r80, 0.8)))
    scale = 5 / math.log(10)
    return found | {"concentration": scale * math.log(r80 / r20), "concentration_err": scale * math.hypot(*errors)}


def _largest(stamp: Stamp) -> float:
    """Largest circle: it must stay inside of the stamp, or be cut by the edge of the image."""
    return max(min(stamp.detection.shape) / 2, _SMALLEST_REACH)


_Centre = tuple[float, float]


def _asymmetry(stamp: Stamp, radius: float, *, noise_matters: bool) -> tuple[dict[str, float], _Centre]:
    """Asymmetry within a radius about the best centre, where its noise is worth to be known, and that centre."""
    light, start = stamp.detection, (stamp.ellipse.y, stamp.ellipse.x)
    circle = stamp.circle_overlap(*start, radius) > 0.5
    total = float(light[circle].sum())
    if not total > 0:
        return {}, start
    centre, value = best_centre(light, circle, start)
    if not noise_matters:
        return {}, centre
    variance = _own_variance(stamp, np.nonzero(circle))
    shares = (2 * np.array(centre)) % 1
    # Interpolation between pixels makes the turned noise smaller.
    kept = float(1 + ((1 - shares) ** 2 + shares**2).prod())
    sigma = np.sqrt(kept * variance)
    # Each pair comes twice; the variance of |x| is 1 - 2 / pi of that of x.
    scatter = math.sqrt(2 * (1 - 2 / math.pi) * kept * variance.sum())
    # Differences in a few pixels feel less of the noise than those all over, and both occur.
    low = value - math.sqrt(2 / math.pi) * float(sigma.sum())
    distance = stamp.elliptical_radius[circle]
    ring = (_RINGS * distance / distance.max()).astype(np.int64)
    means = np.maximum(np.bincount(ring, light[circle]) / np.maximum(np.bincount(ring), 1), 0)
    high = without_noise(value, sigma, ring, means, _SHARES)
    error = math.hypot(scatter / total, (high - low) / 2 / total, _CENTRING)
    return {"asymmetry": (low + high) / 2 / total, "asymmetry_err": error}, centre


def _own_variance(stamp: Stamp, inside: tuple[np.ndarray, ...]) -> np.ndarray:
    """Variance of pixels, 0 of those that are a neighbour's or opposite one: there the light is its own mirror."""
    variance = stamp.detection_variance[inside]
    if not stamp.neighbor_mask.any():
        return variance
    turned = [
        np.clip(np.rint(2 * centre - place).astype(int), 0, length - 1)
        for centre, place, length in zip(
            (stamp.ellipse.y, stamp.ellipse.x), inside, stamp.neighbor_mask.shape, strict=True
        )
    ]
    return np.where(stamp.neighbor_mask[inside] | stamp.neighbor_mask[tuple(turned)], 0, variance)


def _gini_and_m20(stamp: Stamp, noise: CorrelatedNoise) -> dict[str, float]:
    """Gini coefficient and M20 of a stamp, with errors."""
    distance = stamp.elliptical_radius * stamp.ellipse.a
    growth = growth_by_distance(stamp.detection, distance, _largest(stamp))
    radius = growth.petrosian()
    if not np.isfinite(radius):
        return {}
    doubt = min(_STEEPNESS * growth.petrosian_error(radius, variance_of_sums(stamp, noise)) / radius, _MOST_DOUBT)
    n_pixels, gini, m20 = gini_and_m20(
        stamp.detection, distance, stamp.detection_variance, radius, _SMOOTHING * radius, doubt
    )
    if not n_pixels:
        return {}
    factor = float(noise.factor(n_pixels))
    # Errors hold the noise, and the share by which the brightness at that radius is in doubt; that of M20 also that
    # whole pixels hold the brightest 20 % of the light.
    return {
        "gini": gini[0],
        "gini_err": math.hypot(factor * math.sqrt(gini[1]), gini[2] - gini[0]),
        "m20": m20[0],
        "m20_err": math.hypot(factor * math.sqrt(m20[1]), m20[3] - m20[0], m20[2]),
    }
