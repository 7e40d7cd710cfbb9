"""Under what conditions training shows a field: mostly at random, and at times like two well-known surveys."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from morpheus_lite.simulation import Conditions, Field, draw_conditions, plain_conditions

STYLES = ("deep", "matched", "free")
"""Like CANDELS GOODS-S deep; like the XDF with all bands convolved to the PSF of F160W; anything."""

# Measured in the XDF with matched PSFs: noise of a pixel (nJy), and the Gaussian (px) that makes white noise like it
_MATCHED_SIGMA = {"F160W": 0.35, "F125W": 0.245, "F606W": 0.027, "F850LP": 0.055}
_MATCHED_CORRELATION = {"F160W": 0.5, "F125W": 0.6, "F606W": 1.25, "F850LP": 1.15}


def draw_style(rng: np.random.Generator, field: Field, style: str = "free") -> Conditions:
    """Random conditions in one of the `STYLES`.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the randomness comes from.
    field : Field
        For its bands and pixel scale.
    style : str
        One of `STYLES`. ``"matched"`` knows the four HST bands only, and is ``"free"`` for others.
    """
    drawn = draw_conditions(rng, field)
    if style == "matched" and not set(field.bands) <= set(_MATCHED_SIGMA):
        style = "free"
    if style == "free":
        return drawn
    n = len(field.bands)
    if style == "deep":
        sigma = np.array(plain_conditions(field).sigma) * 10 ** (rng.normal(0, 0.1) + rng.normal(0, 0.05, n))
        correlation = rng.uniform(0, 0.75) * rng.uniform(0.9, 1.1, n)
    else:
        sigma = np.array([_MATCHED_SIGMA[band] for band in field.bands]) * 10 ** (
            rng.normal(0, 0.2) + rng.normal(0, 0.1, n)
        )
        correlation = np.array([_MATCHED_CORRELATION[band] for band in field.bands]) * rng.uniform(0.85, 1.15, n)
    ratio = sigma / np.array(drawn.sigma)
    return replace(
        drawn,
        sigma=tuple(sigma.tolist()),
        correlation=tuple(correlation.tolist()),
        offset=tuple((np.array(drawn.offset) * ratio).tolist()),
        unevenness=tuple((np.array(drawn.unevenness) * ratio).tolist()),
    )


def style_shares(field: Field, shares: Sequence[float]) -> np.ndarray:
    """Shares of the `STYLES` for one field: a field whose bands share one PSF is shown as the XDF is more often.

    Parameters
    ----------
    field : Field
        For its PSFs.
    shares : sequence of float
        For the average field, in the order of `STYLES`.

    Returns
    -------
    numpy.ndarray
        float64, shape ``(3,)``, sum 1.
    """
    is_matched = len(field.bands) > 1 and max(field.psf_fwhm) < 1.25 * min(field.psf_fwhm)
    weighted = np.array(shares) * (1, 3 if is_matched else 0.4, 1)
    return weighted / weighted.sum()


def correlated_scatter(sigma: np.ndarray) -> np.ndarray:
    """Scatter of white noise of unit variance after a Gaussian of ``sigma`` pixels: float64, as many as ``sigma``."""
    offsets = np.arange(-16, 17)
    width = np.maximum(np.atleast_1d(np.asarray(sigma, float)), 0.1)[:, None]
    kernel = np.exp(-0.5 * (offsets / width) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    return (kernel**2).sum(axis=1)
