"""Everything that is measured on a stamp, in NumPy: what tests compare the compiled loops with."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from reference_kernels import (
    best_centre,
    distances,
    ellipse_overlap,
    exact_growth,
    fit_profiles,
    gini_and_m20,
    growth,
    windowed,
    without_noise,
)

from morpheus_lite.catalog import stamps, total_flux
from morpheus_lite.catalog.curve_of_growth import _HALF, _N_EXACT, _STEP, CurveOfGrowth, _at
from morpheus_lite.catalog.cutouts import Stamp
from morpheus_lite.catalog.photometry import (
    BandNoise,
    Measured,
    _photons,
    kron_radius,
    local_background,
    sum_light,
)
from morpheus_lite.catalog.stamps import LEAST_SNR, StampMeasurer
from morpheus_lite.catalog.total_flux import (
    assumed_psfs,
    doubt_of_correction,
    effective_fwhm,
    profiles_behind,
)
from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.noise.correlated import CorrelatedNoise
from morpheus_lite.noise.detection_image import summed


def measure_plainly(measurer: StampMeasurer, stamp: Stamp) -> Measured:
    """What a `StampMeasurer` measures."""
    options, noise = measurer.options, measurer.detection
    central = central_curve(stamp) if options.structure else None
    light = measure_photometry(stamp, noise, measurer.bands, measurer.radii, options, central=central)
    kron = options.kron_scale * light["kron_radius"]
    light |= correct_to_total(stamp, light, kron, noise, measurer.psfs, from_space=measurer.from_space)
    return light if central is None else light | measure_structure(stamp, central, light["snr"], noise)


class Curve(CurveOfGrowth):
    """A curve of growth with what is told of its shape."""

    def radius_error(self, radius: float, share: float, whole: float, variance: Callable[[float], float]) -> float:
        """Error of a radius that holds a share of the light in an aperture, from the noise."""
        step = max(1.0, 0.15 * radius)
        inner, outer = max(radius - step, 0.0), min(radius + step, float(self.radii[-1]))
        slope = (self.flux_within(outer) - self.flux_within(inner)) / (outer - inner) if outer > inner else np.nan
        if not slope > 0:
            return np.nan
        inside = min(_at(self.area, radius), whole)
        scatter = (1 - share) ** 2 * variance(inside) + share**2 * variance(max(whole - inside, 0.0))
        return math.sqrt(scatter) / slope

    def petrosian(self, eta: float = 0.2) -> float:
        """Petrosian radius: where the brightness at it is ``eta`` times the mean brightness within it."""
        radii, ratio, _ = self._brightness
        k = int((ratio <= eta).argmax()) if len(ratio) else 0
        if k == 0:
            return np.nan
        step = (ratio[k - 1] - eta) / (ratio[k - 1] - ratio[k])
        return float(radii[k - 1] + step * _STEP)

    def petrosian_error(self, radius: float, variance: Callable[[float], float]) -> float:
        """Error of the Petrosian radius, from the noise in the ring at it; ``variance`` as in `radius_error`."""
        radii, ratio, mean = self._brightness
        step = max(1.0, 0.15 * radius)
        first = float(radii[0])
        inner, outer = (
            _at(np.where(np.isfinite(ratio), ratio, 0), at - first) for at in (radius - step, radius + step)
        )
        fall = (inner - outer) / (min(radius + step, float(radii[-1])) - max(radius - step, first))
        ring = 2 * math.pi * radius
        scatter = math.sqrt(variance(ring)) / ring / _at(mean, radius - first)
        return scatter / fall if fall > 0 else np.nan

    @cached_property
    def _brightness(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Radii, brightness at each over the mean within it, and that mean."""
        if len(self.radii) < 4 * _HALF:
            return self.radii[:0], self.flux[:0], self.flux[:0]
        middle = slice(2 * _HALF, -_HALF)
        outer, inner = slice(3 * _HALF, None), slice(_HALF, -2 * _HALF)
        with np.errstate(invalid="ignore", divide="ignore"):
            ring = (self.flux[outer] - self.flux[inner]) / (self.area[outer] - self.area[inner])
            mean = self.flux[middle] / self.area[middle]
            return self.radii[middle], np.where(mean > 0, ring / mean, np.nan), mean


def curve_of_growth(light: np.ndarray, y: float, x: float, largest: float) -> Curve:
    """Curve of growth in circles."""
    found = growth_by_distance(light, distances(light.shape, (y, x)), largest)
    n_exact = min(_N_EXACT, len(found.radii) - 1)
    inner = slice(1, n_exact + 1)
    found.flux[inner], found.area[inner] = exact_growth(light, y, x, _STEP, n_exact)
    return found


def growth_by_distance(light: np.ndarray, distance: np.ndarray, largest: float) -> Curve:
    """Curve of growth along any measure of distance in pixels, such as an elliptical one."""
    radii = np.arange(0, max(largest, 2) + _STEP / 2, _STEP)
    return Curve(radii, *growth(light, distance, _STEP, _HALF, len(radii)))


def ellipse_of(stamp: Stamp, scale: float) -> np.ndarray:
    """Share of each pixel inside ``scale`` times the ellipse of a stamp."""
    one = stamp.ellipse
    return ellipse_overlap(stamp.source_mask.shape, (one.y, one.x), scale * one.a, scale * one.b, one.theta)


def circle_of(stamp: Stamp, y: float, x: float, radius: float) -> np.ndarray:
    """Share of each pixel inside a circle."""
    return ellipse_overlap(stamp.source_mask.shape, (y, x), radius, radius)


def radius_of(stamp: Stamp) -> np.ndarray:
    """Distance from the centre in units of the ellipse."""
    one = stamp.ellipse
    return distances(stamp.source_mask.shape, (one.y, one.x), one.theta, one.a / one.b, one.a)


def measure_photometry(
    stamp: Stamp,
    detection: CorrelatedNoise,
    bands: Sequence[BandNoise],
    radii: Sequence[float],
    options: MeasureOptions,
    *,
    central: Curve | None = None,
) -> Measured:
    """Measure the light of one stamp."""
    moment = kron_radius(stamp, options.kron_min_radius)
    scale = options.kron_scale * moment
    kron = ellipse_of(stamp, scale)
    background = local_background(stamp, scale) if options.local_background else np.zeros(stamp.light.shape[2] + 1)
    light = stamp.detection - background[-1]
    reach = scale * stamp.ellipse.a
    if central is None or options.local_background or central.radii[-1] < reach:
        central = curve_of_growth(light, stamp.ellipse.y, stamp.ellipse.x, reach)
    # As far as half a step beyond the ellipse: a circle may hold half of the light only there.
    half_light = central.radius_of((kron * light).sum() / 2, below=max(reach, 2.0) + central.radii[1] / 2)
    half_light_error = central.radius_error(half_light, 0.5, float(kron.sum()), variance_of_sums(stamp, detection))
    variance = stamp.detection_variance
    if any(band.gain for band in bands):
        variance = variance + summed(stamp.weights**2, _photons(stamp.light - background[:-1], bands))
    centroid, centroid_error = windowed_centroid(stamp, light, variance, half_light, detection)
    x, y = centroid if np.isfinite(centroid).all() else (stamp.ellipse.x, stamp.ellipse.y)
    weights = np.stack([kron, *(circle_of(stamp, y, x, radius) for radius in radii)])
    segment = stamp.source_mask[None].astype(np.float64)
    sums = zip(
        sum_light(stamp.light, stamp.variance, segment, 0.0, bands, stamp.usable),
        sum_light(stamp.light, stamp.variance, weights, background[:-1], bands, stamp.covered),
        strict=True,
    )
    flux, error, covered = (np.concatenate(pair) for pair in sums)
    return _isophotal(stamp, light, detection) | {
        "flux": flux,
        "fluxerr": error,
        "covered": covered,
        "light_covered": _light_covered(stamp, kron * light, covered[1]),
        "kron_radius": moment,
        "kron_hidden": float((kron * stamp.neighbor_mask).sum() / kron.sum()),
        "half_light_radius": half_light,
        "half_light_radius_err": half_light_error,
        "centroid_win": centroid,
        "centroid_win_err": centroid_error,
        "background": background,
        "wings_error": _doubt_of_wings(stamp, kron),
    }


def _isophotal(stamp: Stamp, light: np.ndarray, noise: CorrelatedNoise) -> dict[str, Any]:
    """Signal-to-noise ratio of the segment, and the noise of its light-weighted centre along x and y."""
    y, x = np.nonzero(stamp.source_mask)
    own, variance = light[y, x], stamp.detection_variance[y, x]
    factor = float(noise.factor(len(y)))
    scatter = factor * math.sqrt(variance.sum())
    # Light below 0 takes no part in the centre.
    total = np.maximum(own, 0).sum()
    away = np.stack([x - stamp.ellipse.x, y - stamp.ellipse.y])
    error = factor * np.sqrt((away**2 * variance).sum(axis=1)) / total if total > 0 else np.full(2, np.nan)
    return {"snr": float(own.sum()) / scatter if scatter > 0 else np.nan, "centroid_err": error}


def _doubt_of_wings(stamp: Stamp, kron: np.ndarray) -> np.ndarray:
    """Error of the light of neighbours that was subtracted in the Kron ellipse: float64, shape ``(band,)``."""
    if stamp.wings is None:
        return np.zeros(stamp.light.shape[2])
    return stamp.wings_error * np.einsum("yx,yxb->b", kron * ~stamp.neighbor_mask, stamp.wings)


def variance_of_sums(stamp: Stamp, noise: CorrelatedNoise) -> Callable[[float], float]:
    """Function from an area in pixels to the variance of a sum over it, in the detection image near a source."""
    pixel = float(stamp.detection_variance[stamp.source_mask].mean())
    return lambda area: pixel * area * float(noise.factor(area)) ** 2


def _light_covered(stamp: Stamp, light: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Share of light in the pixels with data in each band, and in any: float64, shape ``(band + 1,)``."""
    covered = np.append(covered, covered.max())
    if (covered == 1).all() or not light.sum() > 0:
        return covered
    there = np.concatenate([stamp.covered, stamp.usable.any(axis=2, keepdims=True)], axis=2)
    shares = np.einsum("yx,yxb->b", light, there.astype(np.float64)) / light.sum()
    return np.where((covered > 0) & (covered < 1), np.clip(shares, 0, 1), covered)


def windowed_centroid(
    stamp: Stamp, light: np.ndarray, variance: np.ndarray, half_light_radius: float, noise: CorrelatedNoise
) -> tuple[np.ndarray, np.ndarray]:
    """Centroid under a Gaussian window, and its error."""
    lost = np.full(2, np.nan), np.full(2, np.nan)
    if not np.isfinite(half_light_radius):
        return lost
    sigma = max(half_light_radius / stamps._HALF_LIGHT, stamps._NARROWEST)
    start = stamp.ellipse.x, stamp.ellipse.y
    reach = int(np.ceil(stamps._WINDOW_REACH * sigma)) + 2
    left, top = (max(round(place) - reach, 0) for place in start)
    here = slice(top, top + 2 * reach + 1), slice(left, left + 2 * reach + 1)
    furthest = max(half_light_radius, stamps._NARROWEST)
    found = windowed(light[here], variance[here], (start[0] - left, start[1] - top), sigma, furthest)
    if found is None:
        return lost
    place, spread, total, area = found
    return place + np.array([left, top]), 2 * np.sqrt(spread) / total * float(noise.factor(area))


def central_curve(stamp: Stamp) -> Curve:
    """Curve of growth about the centre of a stamp, as far as circles stay inside of it."""
    return curve_of_growth(stamp.detection, stamp.ellipse.y, stamp.ellipse.x, _largest(stamp))


def measure_structure(stamp: Stamp, central: Curve, snr: float, noise: CorrelatedNoise) -> dict[str, float]:
    """Arrangement of the light in the detection image of a stamp."""
    if math.isnan(snr):
        return {}
    wanted = {"r_petrosian", *(name for name, least in LEAST_SNR.items() if snr >= least)}
    found: dict[str, float] = {}
    first = central.petrosian()
    if np.isfinite(first):
        asymmetry, centre = _asymmetry(stamp, stamps._EXTENT * first, noise_matters="asymmetry" in wanted)
        growth = curve_of_growth(stamp.detection, *centre, _largest(stamp))
        found = _concentration(growth, variance_of_sums(stamp, noise)) | asymmetry
    if wanted & {"gini", "m20"}:
        found |= _gini_and_m20(stamp, noise)
    return {name: value for name, value in found.items() if name.removesuffix("_err") in wanted}


def _concentration(growth: Curve, variance: Callable[[float], float]) -> dict[str, float]:
    """Petrosian radius, and ``5 log10(r80 / r20)`` of the light within 1.5 of it, with errors."""
    radius = growth.petrosian()
    if not np.isfinite(radius):
        return {}
    largest = stamps._EXTENT * radius
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
    return max(min(stamp.detection.shape) / 2, stamps._SMALLEST_REACH)


def _asymmetry(stamp: Stamp, radius: float, *, noise_matters: bool) -> tuple[dict[str, float], tuple[float, float]]:
    """Asymmetry within a radius about the best centre, where its noise is worth to be known, and that centre."""
    light, start = stamp.detection, (stamp.ellipse.y, stamp.ellipse.x)
    circle = circle_of(stamp, *start, radius) > 0.5
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
    distance = radius_of(stamp)[circle]
    ring = (stamps._RINGS * distance / distance.max()).astype(np.int64)
    means = np.maximum(np.bincount(ring, light[circle]) / np.maximum(np.bincount(ring), 1), 0)
    high = without_noise(value, sigma, ring, means, stamps._SHARES)
    error = math.hypot(scatter / total, (high - low) / 2 / total, stamps._CENTRING)
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
    distance = radius_of(stamp) * stamp.ellipse.a
    growth = growth_by_distance(stamp.detection, distance, _largest(stamp))
    radius = growth.petrosian()
    if not np.isfinite(radius):
        return {}
    doubt = min(
        stamps._STEEPNESS * growth.petrosian_error(radius, variance_of_sums(stamp, noise)) / radius, stamps._MOST_DOUBT
    )
    n_pixels, gini, m20 = gini_and_m20(
        stamp.detection, distance, stamp.detection_variance, radius, stamps._SMOOTHING * radius, doubt
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


def _inside(distance: np.ndarray) -> float:
    """Largest ellipse that is whole in the stamp."""
    return float(min(distance[0].min(), distance[-1].min(), distance[:, 0].min(), distance[:, -1].min()))


def correct_to_total(
    stamp: Stamp, light: Measured, scale: float, noise: CorrelatedNoise, psfs: Sequence[MoffatPsf], *, from_space: bool
) -> Measured:
    """Profile of a source, and the share of its light outside of its Kron ellipse."""
    half_light_radius = light["half_light_radius"]
    if not half_light_radius > 0:
        return {}
    # Radii are those of circles of the area of the ellipses.
    size = math.sqrt(stamp.ellipse.a * stamp.ellipse.b)
    distance, kron = radius_of(stamp) * size, scale * size
    reach = max(min(max(total_flux._REACH * kron, 3 * half_light_radius), _inside(distance)), 2 * total_flux._INNERMOST)
    inner = min(max(total_flux._INNERMOST, half_light_radius / 2), reach / 2)
    # Rings widen outwards by a constant factor, as the light falls.
    edges = np.append(0.0, inner * (reach / inner) ** total_flux._PARTS)

    def in_rings(growth: Curve, values: np.ndarray) -> np.ndarray:
        return np.diff(np.interp(edges, growth.radii, values))

    growth = growth_by_distance(stamp.detection - light["background"][-1], distance, reach)
    flux, area = in_rings(growth, growth.flux), in_rings(growth, growth.area)
    pixel = stamp.detection_variance[distance <= reach].mean()
    variance = area * pixel * noise.factor(area) ** 2 + (total_flux._RING_FLOOR * flux) ** 2
    if stamp.wings is not None:
        growth = growth_by_distance(summed(stamp.weights, stamp.wings), distance, reach)
        variance += (stamp.wings_error * in_rings(growth, growth.flux)) ** 2
    assumed = assumed_psfs(psfs, 2 * half_light_radius, from_space)
    tables = [[profiles_behind(*shape) for shape, _ in of_bands] for _, of_bands in assumed]
    widths = np.array([[width for _, width in of_bands] for _, of_bands in assumed])
    radii = np.concatenate([edges, kron * total_flux._BEYOND, [kron]])
    mean, spread, shares = fit_profiles(
        tables,
        effective_fwhm(np.maximum(widths, total_flux._SMALL_FWHM), np.array(stamp.ellipse.b / stamp.ellipse.a)),
        np.array([prior for prior, _ in assumed]),
        _mixture(stamp),
        (flux, variance),
        radii,
        half_light_radius,
        total_flux._GRID,
    )
    factor = 1 / mean
    error = np.sqrt(
        spread / mean**4 + total_flux._FLOOR**2 + (doubt_of_correction(psfs, from_space) * (factor - 1)) ** 2
    )
    together, *in_bands = zip(factor.tolist(), error.tolist(), strict=True)
    return {
        "total_correction": together[0],
        "total_correction_err": together[1],
        "corrections": in_bands * (len(psfs) // len(in_bands)),
        "growth_radii": radii[1:-1],
        "growth": shares[1:],
    }


def _mixture(stamp: Stamp) -> np.ndarray:
    """Share of each band in the light of the source in the detection image: float64, shape ``(band,)``."""
    weights = stamp.weights[stamp.source_mask]
    light = np.maximum((weights * stamp.light[stamp.source_mask]).sum(axis=0), 0)
    light = light if light.any() else weights.sum(axis=0)
    return light / light.sum() if light.any() else np.full(len(light), 1 / len(light))
