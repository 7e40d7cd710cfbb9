"""Comparison of an image with the images that a model was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from astropy.stats import mad_std
from scipy import ndimage
from scipy.special import ndtr

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError
from morpheus_lite.noise.background_mesh import BackgroundMesh, measure_background, normalize

_SIDE = 768
"""Side in pixels of the part in the middle of an image that is looked at.

Training fields have 512 px. Against 1,536 px at four times the cost, widths of the PSF differ by up to 0.13 px, the
noise by 0.01 mag and its correlation by 0.013 px: far less than the ranges are wide.
"""

QUANTITIES = {
    "pixel_scale": "pixel scale in arcsec",
    "psf_fwhm": "FWHM of the PSF in pixels",
    "noise_correlation": "correlation length of the noise in pixels",
    "sky_noise": "noise of the sky in AB mag per square arcsec",
    "covered": "share of the pixels with light above 2 sigma",
    "n_bands": "number of bands",
}
"""What can be measured, with its unit: keys of ``domain`` in the ``settings`` of a model."""

SLACK = {
    "pixel_scale": ("times", 1.5),
    "psf_fwhm": ("times", 1.5),
    "noise_correlation": ("plus", 1.0),
    "sky_noise": ("plus", 2.0),
    "covered": ("times", 1.6),
    "n_bands": ("times", np.inf),
}
"""How far beyond its range a quantity may lie before the network is not to be trusted: by a factor, or a sum.

Networks see the mean over the bands, so that their number is no reason for distrust.
"""

_BRIGHT = 30.0  # S/N of a peak whose width is worth a fit
_N_PEAKS = 60
_FIT_SIDE = 11
_SHARPEST = 15  # percentile of the widths that stands for the PSF: stars, or the most compact galaxies there are
_FEWEST_PEAKS = 4
_FWHM_OF_SIGMA = 2 * np.sqrt(2 * np.log(2))
_FIRST_FWHM = 3.0
_MOST_STEPS = 40


@dataclass(frozen=True)
class DomainCheck:
    """Measured properties of an image, and those outside of the range of a model.

    Parameters
    ----------
    measured : dict
        Quantity to its value in each band (`QUANTITIES`); what could not be measured is not there.
    outside : tuple of str
        One sentence for each range that is left by far (`SLACK`); empty where the network can be trusted, as far as
        can be told.
    notes : tuple of str
        The same of ranges that are left by little.
    """

    measured: dict[str, tuple[float, ...]] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def middle(shape: tuple[int, int], side: int = _SIDE) -> Window:
    """The window in the middle of an image that `check_domain` looks at; it depends on the shape alone."""
    height, width = (min(length, side) for length in shape)
    return Window((shape[0] - height) // 2, (shape[1] - width) // 2, height, width)


def check_domain(image: SkyImage, ranges: Mapping[str, Sequence[float]]) -> DomainCheck:
    """Compare an image with the ranges of a model.

    Parameters
    ----------
    image : SkyImage
        The image, or the part of it that `middle` gives.
    ranges : mapping
        Quantity of `QUANTITIES` to its least and largest value in training, ``settings["domain"]`` of a model.

    Returns
    -------
    DomainCheck
        A band is outside if its value is; the width of the PSF is that of the sharpest sources found, so where there
        is no star it is a little too large.

    Raises
    ------
    InputError
        A range is of no known quantity.
    """
    unknown = sorted(set(ranges) - set(QUANTITIES))
    if unknown:
        raise InputError(f"domain of the model: unknown {', '.join(unknown)}; expected {', '.join(QUANTITIES)}")
    measured = measure_domain(image)
    outside: list[str] = []
    notes: list[str] = []
    for name, (least, largest) in ranges.items():
        values = np.array(measured.get(name, ()))
        wrong = values[(values < least) | (values > largest)]
        if wrong.size:
            shown = ", ".join(f"{value:.3g}" for value in wrong)
            sentence = f"{QUANTITIES[name]}: {shown}, trained on {least:g} to {largest:g}"
            (outside if _is_far(name, wrong, least, largest) else notes).append(sentence)
    return DomainCheck(measured, tuple(outside), tuple(notes))


def _is_far(name: str, values: np.ndarray, least: float, largest: float) -> bool:
    """Tell whether any value lies further outside of its range than `SLACK` allows."""
    kind, slack = SLACK[name]
    low, high = (least / slack, largest * slack) if kind == "times" else (least - slack, largest + slack)
    return bool(((values < low) | (values > high)).any())


def measure_domain(image: SkyImage) -> dict[str, tuple[float, ...]]:
    """Measure the `QUANTITIES` of an image: name to values, one per band where it has one."""
    noise = measure_background(image)
    snr, valid = normalize(image, noise)
    used = [band for band in range(image.n_bands) if valid[..., band].any()]
    scale = image.pixel_scale
    found: dict[str, list[float]] = {"n_bands": [len(used)], "psf_fwhm": [], "noise_correlation": [], "sky_noise": []}
    for band in used:
        found["noise_correlation"].append(noise_correlation(snr[..., band], valid[..., band]))
        found["psf_fwhm"] += [psf_fwhm(snr[..., band], valid[..., band])]
        if scale is not None and image.zero_points[band] is not None:
            found["sky_noise"].append(_sky_noise(image, noise, band, scale))
    bright = (np.where(valid, snr, 0) > 2).sum(axis=2) >= 1
    found["covered"] = [float(bright[valid.any(axis=2)].mean())] if used else []
    found["pixel_scale"] = [] if scale is None else [scale]
    values = {name: tuple(round(float(v), 4) for v in row if np.isfinite(v)) for name, row in found.items()}
    return {name: row for name, row in values.items() if row}


def noise_correlation(snr: np.ndarray, valid: np.ndarray) -> float:
    """Sigma in pixels of the Gaussian that would make white noise like that of one band; NaN if unknown.

    From the scatter of differences between pixels that are neighbours in a row or column, ``2 (1 - rho)`` times the
    variance, and ``rho = exp(-1 / (4 sigma^2))``; below 0.4 it is lost among faint sources, and the answer is 0.
    """
    # Sky alone: pixels of sources differ from their neighbours by their own light.
    sky = valid & (np.abs(snr) < 2.5)
    differences = [np.diff(snr, axis=axis)[_both(sky, axis)] for axis in (0, 1)]
    if min(len(d) for d in differences) < 100:
        return float("nan")
    variance = mad_std(snr[sky]) ** 2
    if not variance > 0:  # counts
        return float("nan")
    rho = 1 - np.mean([mad_std(d) ** 2 for d in differences]) / (2 * variance)
    # exp(-0.25 / 0.16) is the correlation of a Gaussian of 0.4 pixels.
    return float(np.sqrt(-0.25 / np.log(min(rho, 0.999)))) if rho > np.exp(-0.25 / 0.16) else 0.0


def psf_fwhm(snr: np.ndarray, valid: np.ndarray) -> float:
    """FWHM in pixels of the sharpest bright sources of one band (Gaussian fits); NaN where there are too few."""
    light = np.where(valid, snr, 0).astype(np.float64)
    border, half = _FIT_SIDE // 2 + 1, _FIT_SIDE // 2
    inner = np.zeros(light.shape, dtype=bool)
    inner[border:-border, border:-border] = True
    y, x = np.nonzero(inner & (light > _BRIGHT) & (light == ndimage.maximum_filter(light, _FIT_SIDE)))
    # Stable, so that equal peaks are always taken in the same order.
    brightest = np.argsort(-light[y, x], kind="stable")
    at = [(y[k], x[k]) for k in brightest if _is_smooth(light, int(x[k]), int(y[k]))][:_N_PEAKS]
    if len(at) < _FEWEST_PEAKS:
        return float("nan")
    boxes = [np.s_[row - half : row + half + 1, column - half : column + half + 1] for row, column in at]
    widths = _FWHM_OF_SIGMA * gaussian_widths(*(np.stack([plane[box] for box in boxes]) for plane in (light, valid)))
    # Narrower is a hot pixel, wider no fit at all.
    widths = widths[(widths > 0.5) & (widths < 3 * _FIT_SIDE)]
    return float(np.percentile(widths, _SHARPEST)) if len(widths) >= _FEWEST_PEAKS else float("nan")


def gaussian_widths(light: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Standard deviations of the round Gaussians, summed over pixels, that fit sources best.

    Parameters
    ----------
    light, valid : numpy.ndarray
        float64 and bool, shape ``(source, y, x)``: square stamps, each with a source near its centre.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(source,)``, in pixels.

    Notes
    -----
    Least squares in flux, place and width (Levenberg-Marquardt), all sources at once.
    """
    half = light.shape[1] // 2
    guess = np.zeros((len(light), 4))
    guess[:, 3] = _FIRST_FWHM / _FWHM_OF_SIGMA
    guess[:, 0] = light[:, half, half] * 2 * np.pi * guess[:, 3] ** 2
    damping = np.full(len(light), 1e-3)
    found, slopes = _gaussians(guess, half)
    miss = np.where(valid, light - found, 0)
    for _ in range(_MOST_STEPS):
        flat = (slopes * valid[:, None]).reshape(len(light), 4, -1)
        normal = np.einsum("nap,nbp->nab", flat, flat)
        # The 1e-12 keeps the matrix regular where a stamp is empty.
        diagonal = np.einsum("naa->na", normal) * damping[:, None] + 1e-12
        pull = np.einsum("nap,np->na", flat, miss.reshape(len(light), -1))
        tried = guess + np.linalg.solve(normal + diagonal[:, :, None] * np.eye(4), pull[..., None])[..., 0]
        tried[:, 1:3] = np.clip(tried[:, 1:3], -half, half)
        tried[:, 3] = np.clip(tried[:, 3], 0.1, 10 * half)
        found, tried_slopes = _gaussians(tried, half)
        tried_miss = np.where(valid, light - found, 0)
        better = (tried_miss**2).sum(axis=(1, 2)) < (miss**2).sum(axis=(1, 2))
        guess[better], miss[better], slopes[better] = tried[better], tried_miss[better], tried_slopes[better]
        # A step that helps is trusted more, one that does not is tried again shorter (Marquardt 1963).
        damping = np.where(better, damping / 5, damping * 5)
    return guess[:, 3]


def _gaussians(values: np.ndarray, half: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians of a flux, a place from the centre (y, x) and a sigma, and their slopes along these four."""
    flux, sigma = values[:, 0, None, None], values[:, 3, None]
    edges = np.arange(-half, half + 2) - 0.5
    parts, shifts, growths = [], [], []
    for place in (values[:, 1], values[:, 2]):
        away = (edges - place[:, None]) / sigma
        height = np.exp(-0.5 * away**2) / np.sqrt(2 * np.pi)
        parts.append(np.diff(ndtr(away), axis=1))
        shifts.append(-np.diff(height, axis=1) / sigma)
        growths.append(-np.diff(away * height, axis=1) / sigma)
    (y, x), (down, right), (tall, wide) = parts, shifts, growths
    unit = y[:, :, None] * x[:, None]
    along = [down[:, :, None] * x[:, None], y[:, :, None] * right[:, None]]
    wider = tall[:, :, None] * x[:, None] + y[:, :, None] * wide[:, None]
    return flux * unit, np.stack([unit, *(flux * slope for slope in along), flux * wider], axis=1)


def _is_smooth(snr: np.ndarray, x: int, y: int) -> bool:
    """True if a peak's neighbours share its light, as those of a hot pixel or a cosmic ray do not."""
    around = snr[[y - 1, y + 1, y, y], [x, x, x - 1, x + 1]]
    return bool(around.mean() > 0.15 * snr[y, x] and around.min() > 0.03 * snr[y, x])


def _both(sky: np.ndarray, axis: int) -> np.ndarray:
    """Mask of pairs of neighbours along an axis that are both sky."""
    return sky[1:] & sky[:-1] if axis == 0 else sky[:, 1:] & sky[:, :-1]


def _sky_noise(image: SkyImage, noise: BackgroundMesh, band: int, scale: float) -> float:
    """Standard deviation of one pixel as a surface brightness."""
    sigma = np.median(noise.sigma[..., band])
    if image.rms is not None:
        rms = image.rms[..., band]
        sigma = sigma * np.median(rms[rms > 0]) if (rms > 0).any() else np.nan
    zero_point = image.zero_points[band]
    if zero_point is None or not sigma > 0:
        return float("nan")
    return float(zero_point - 2.5 * np.log10(sigma / scale**2))
