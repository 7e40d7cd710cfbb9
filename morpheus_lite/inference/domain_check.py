"""Comparison of an image with the images that a model was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from astropy.stats import mad_std

from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError
from morpheus_lite.inference.network_input import Bands, seen_beta, sky_scatter
from morpheus_lite.inference.one_pass import seen_bands
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.noise.background_mesh import BackgroundMesh
from morpheus_lite.runtime.resources import thread_map

_SIDE = 768
"""Side in pixels of the part in the middle of an image that is looked at.

Training fields have 512 px. Against 1,536 px at four times the cost, the noise differs by 0.01 mag and its correlation
by 0.013 px: far less than the ranges are wide.
"""

QUANTITIES = {
    "pixel_scale": ("pixel scale in arcsec", "times", 1.5),
    "psf_fwhm": ("FWHM of the PSF in pixels, as the network sees it", "times", 1.5),
    "psf_beta": ("index of the PSF's wings, as the network sees it", "times", 1.5),
    "noise_correlation": ("correlation length of the noise in pixels, as the network sees it", "plus", 1.0),
    "sky_noise": ("noise of the sky in AB mag per square arcsec", "plus", 2.0),
    "size": ("half-light radius of the largest object in pixels, as the network sees it", "times", 1.5),
    "covered": ("share of the pixels with light above 2 sigma, as the network sees them", "times", 1.6),
    "n_bands": ("number of bands", "times", np.inf),
}
"""What can be measured: keys of ``domain`` in the ``settings`` of a model.

Each with its unit, and how far beyond its range it may lie before the network is not to be trusted: by a factor, or a
sum. The network sees images with a wide PSF, and large objects, in bins, and a PSF with wide wings without them. It
sees the mean over the bands, so that their number is no reason for distrust.
"""


@dataclass(frozen=True)
class DomainCheck:
    """Measured properties of an image, and those outside of the range of a model.

    Parameters
    ----------
    measured : dict
        Quantity to its value in each band (`QUANTITIES`); what could not be measured is not there.
    outside : tuple of str
        One sentence for each range that is left by far; empty where the network can be trusted, as far as
        can be told.
    notes : tuple of str
        The same of ranges that are left by little.
    """

    measured: dict[str, tuple[float, ...]] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def middle(shape: tuple[int, int], side: int = _SIDE) -> Window:
    """The window in the middle of an image that is looked at; it depends on the shape alone."""
    height, width = (min(length, side) for length in shape)
    return Window((shape[0] - height) // 2, (shape[1] - width) // 2, height, width)


def check_domain(
    image: ImageSource, bands: tuple[str, ...], noise: BackgroundMesh, ranges: Mapping[str, Sequence[float]]
) -> DomainCheck:
    """Compare an image with the ranges of a model.

    Parameters
    ----------
    image : ImageSource
        The image.
    bands : tuple of str
        Bands of the model, empty if it takes any.
    noise : BackgroundMesh
        Of the whole image, with its PSFs.
    ranges : mapping
        Quantity of `QUANTITIES` to its least and largest value, ``settings["domain"]`` of a model.

    Returns
    -------
    DomainCheck
        A band is outside if its value is. A PSF that stars do not tell is only noted where its upper limit is beyond.

    Raises
    ------
    InputError
        A range is of no known quantity.
    """
    unknown = sorted(set(ranges) - set(QUANTITIES))
    if unknown:
        raise InputError(f"domain of the model: unknown {', '.join(unknown)}; expected {', '.join(QUANTITIES)}")
    measured = measure_domain(image, bands, noise)
    outside: list[str] = []
    notes: list[str] = []
    for name, (least, largest) in ranges.items():
        values = np.array(measured.get(name, ()))
        wrong = values[(values < least) | (values > largest)]
        if wrong.size:
            shown = ", ".join(f"{value:.3g}" for value in wrong)
            sentence = f"{QUANTITIES[name][0]}: {shown}, trained on {least:g} to {largest:g}"
            (outside if _is_far(name, wrong, least, largest) else notes).append(sentence)
    limits = [psf.fwhm for psf in Bands.of(image, bands, noise).noise.psf if psf.origin == "sources"]
    if "psf_fwhm" in ranges and max(limits, default=0) > ranges["psf_fwhm"][1]:
        notes.append(
            f"{QUANTITIES['psf_fwhm'][0]}: at most {max(limits):.3g}, and too few stars to tell; --psf gives it"
        )
    return DomainCheck(measured, tuple(outside), tuple(notes))


def _is_far(name: str, values: np.ndarray, least: float, largest: float) -> bool:
    """Tell whether any value lies further outside of its range than `QUANTITIES` allows."""
    _, kind, slack = QUANTITIES[name]
    low, high = (least / slack, largest * slack) if kind == "times" else (least - slack, largest + slack)
    return bool(((values < low) | (values > high)).any())


def measure_domain(image: ImageSource, bands: tuple[str, ...], noise: BackgroundMesh) -> dict[str, tuple[float, ...]]:
    """Measure the `QUANTITIES` of an image: name to values, one per band where it has one.

    Parameters
    ----------
    image : ImageSource
        The image; it is read in the `middle`.
    bands : tuple of str
        Bands of the model, empty if it takes any.
    noise : BackgroundMesh
        Of the whole image, with its PSFs.
    """
    whole = Bands.of(image, bands, noise)
    seen, factor = seen_bands(whole, whole.noise.psf, in_noise=False)
    snr, valid = seen.snr(middle(seen.shape, _SIDE // factor))
    if seen is not whole:
        snr = snr / sky_scatter([(snr, valid)])
    psfs = [psf for band, psf in enumerate(whole.noise.psf) if band in whole.present and psf.is_known]
    planes = [(snr[..., band], valid[..., band]) for band in whole.present]
    large, scale = noise.large, image.pixel_scale
    bright = np.asarray((np.where(valid, snr, 0) > 2).any(axis=2))
    found: dict[str, Sequence[float | None]] = {
        "pixel_scale": [scale],
        "psf_fwhm": [psf.fwhm / factor for psf in psfs],
        "psf_beta": [seen_beta(psf) for psf in psfs],
        "noise_correlation": thread_map(lambda plane: noise_correlation(*plane), planes),
        "sky_noise": [] if scale is None else _sky_noise(whole, scale),
        "size": [] if large is None else [(large.radii / large.binning).max()],
        "covered": [bright[valid.any(axis=2)].mean()] if valid.any() else [],
        "n_bands": [len(whole.present)],
    }
    values = {
        name: tuple(round(float(v), 4) for v in row if v is not None and np.isfinite(v)) for name, row in found.items()
    }
    return {name: row for name, row in values.items() if row}


def noise_correlation(snr: np.ndarray, valid: np.ndarray) -> float:
    """Sigma in pixels of the Gaussian that would make white noise like that of one band; NaN if unknown.

    From the scatter of differences between pixels that are neighbours in a row or column, ``2 (1 - rho)`` times the
    variance, and ``rho = exp(-1 / (4 sigma^2))``; below 0.4 it is lost among faint sources, and the answer is 0.
    """
    # Sky alone: pixels of sources differ from their neighbours by their own light.
    sky = valid & (np.abs(snr) < 2.5)
    pairs = sky[1:] & sky[:-1], sky[:, 1:] & sky[:, :-1]
    differences = [np.diff(snr, axis=axis)[both] for axis, both in enumerate(pairs)]
    if min(len(d) for d in differences) < 100:
        return float("nan")
    variance = mad_std(snr[sky]) ** 2
    if not variance > 0:  # counts
        return float("nan")
    rho = 1 - np.mean([mad_std(d) ** 2 for d in differences]) / (2 * variance)
    # exp(-0.25 / 0.16) is the correlation of a Gaussian of 0.4 pixels.
    return float(np.sqrt(-0.25 / np.log(min(rho, 0.999)))) if rho > np.exp(-0.25 / 0.16) else 0.0


def _sky_noise(whole: Bands, scale: float) -> list[float]:
    """Standard deviation of one pixel as a surface brightness, in bands with a zero-point."""
    zero_points = dict(zip(whole.source.bands, whole.source.zero_points, strict=True))
    found = []
    for band in whole.present:
        noise, zero_point = whole.noise, zero_points[whole.bands[band]]
        floor = None if noise.floor is None else noise.floor[..., band]
        sigma = np.median(noise.sigma[..., band] * (1 if floor is None or not floor.any() else floor))
        if zero_point is not None and sigma > 0:
            found.append(float(zero_point - 2.5 * np.log10(sigma / scale**2)))
    return found
