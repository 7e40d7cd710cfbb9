"""Input of a network: bands of its model in units of their noise, and without the wings of their PSFs."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import scipy.fft
from scipy import ndimage

from morpheus_lite.core.flags import PixelFlag
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import Gaps
from morpheus_lite.core.psf import MoffatPsf, moffat_radius
from morpheus_lite.core.windows import Window, grown, inside
from morpheus_lite.errors import InputError
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.noise.background_mesh import BackgroundMesh, measure_background, normalize
from morpheus_lite.noise.psf import psf_windows

log = logging.getLogger(__name__)

WIDEST_GAP = 3
"""Pixels of a gap that one-pass networks are shown bridged."""

_SIDES = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])
_CORNERS = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)])
_MIRRORED = (_SIDES, _CORNERS, 3 * _SIDES)
_REACH = 3
"""Pixels away from an edge, in the order in which a missing pixel up to 2 px beyond takes them; and the farthest."""


class NetworkInput(Protocol):
    """An image in units of its noise, read by window: `Bands`, or `~morpheus_lite.inference.binned.BinnedBands`."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of the model, in its order."""

    @property
    def present(self) -> np.ndarray:
        """int: which of the bands the image has, and tells the noise of."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def snr(self, window: Window, /) -> tuple[np.ndarray, np.ndarray]:
        """S/N and validity of a window: float32 and bool, shape ``(y, x, band)``."""


def bridged(snr: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S/N and validity with narrow gaps bridged, and wide ones mirrored at their edges.

    Parameters
    ----------
    snr, valid : numpy.ndarray
        float32 and bool, shape ``(y, x, band)``.

    Returns
    -------
    snr, valid : numpy.ndarray
        The same where no pixel of a band with data is invalid. Else copies: an invalid pixel in a gap of up to
        `WIDEST_GAP` px, along its row or its column, is valid, and has the value of the straight line from side to
        side; along the narrower of both, or the mean of the two. Up to 2 px from the edges of what is wider, a pixel is
        valid, and has the value of the pixel as far inside.

    Notes
    -----
    Networks take a profile with a hole in it for what it is not: of 36 galaxies of index 4 with a bad column of 1 to 3
    px through the centre, ``hst`` had 27 right, and 36 bridged (``any`` 25 and 35). Of 40 stars within 4 px of edges in
    eight directions, ``hst`` found 31 at S/N 130 and 19 at 26, and 40 and 35 mirrored; it had 18 and 29 right of 40
    galaxies of index 4 there. With the nearest values within 8 px it makes sources of noise.
    """
    with_gaps = [band for band in range(valid.shape[2]) if valid[..., band].any() and not valid[..., band].all()]
    if not with_gaps:
        return snr, valid
    snr, shown = snr.copy(), valid.copy()
    for band in with_gaps:
        plane, known = snr[..., band], shown[..., band]
        # Of gaps so narrow, no pixel is farther from their sides.
        gaps = Gaps.of(~known, ndimage.binary_dilation(known, iterations=2))
        narrow = gaps.widths.min(axis=0) <= WIDEST_GAP
        y, x = gaps.y[narrow], gaps.x[narrow]
        plane[y, x] = gaps.straight(plane)[narrow]
        known[y, x] = True
        _mirror(plane, known)
    return snr, shown


def _mirror(plane: np.ndarray, known: np.ndarray) -> None:
    """Give pixels up to 2 px from known ones the values as far from the edge on its other side, in place."""
    y, x = np.nonzero(ndimage.binary_dilation(known, iterations=2) & ~known)
    padded = np.pad(np.where(known, plane, np.float32(np.nan)), _REACH, constant_values=np.nan)
    values = np.full(len(y), np.nan, np.float32)
    # From the nearest offsets to the farthest: what a nearer one gave stays.
    for offsets in _MIRRORED:
        there = np.stack([padded[y + _REACH + dy, x + _REACH + dx] for dy, dx in offsets])
        n_there = np.isfinite(there).sum(axis=0)
        mean = np.nansum(there, axis=0) / np.maximum(n_there, 1)
        values = np.where(np.isnan(values) & (n_there > 0), mean, values)
    filled = np.isfinite(values)
    plane[y[filled], x[filled]] = values[filled]
    known[y[filled], x[filled]] = True


def flags_of(valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels with data in any band, which one pass classifies, and flags, by validity of shape ``(y, x, band)``."""
    classified = np.asarray(valid.any(axis=2))
    flags = np.where(valid.all(axis=2), 0, int(PixelFlag.INVALID)).astype(np.uint8)
    flags[~classified] |= int(PixelFlag.NOT_CLASSIFIED)
    return classified, flags


def sky_scatter(pieces: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Scatter of the sky in each band: float32, ``(band,)``; 1 where none is seen.

    The median of what pieces of an image show: S/N and validity, shape ``(y, x, band)``.
    """
    found = []
    for snr, valid in pieces:
        bands = tuple(map(str, range(snr.shape[2])))
        sigma = measure_background(SkyImage(snr, bands, valid)).sigma
        found.append(sigma.reshape(-1, len(bands)))
    known = [column[column > 0] for column in np.concatenate(found).T]
    return np.array([np.median(one) if len(one) else 1 for one in known], np.float32)


@dataclass(frozen=True, eq=False)
class Bands:
    """A source whose sections have the bands of a model in its order, missing ones invalid."""

    source: ImageSource
    bands: tuple[str, ...]
    noise: BackgroundMesh
    """Of these bands."""
    present: np.ndarray
    """int: which of the bands the image has, and tells the noise of."""

    @classmethod
    def of(cls, source: ImageSource, bands: tuple[str, ...], noise: BackgroundMesh) -> "Bands":
        """The bands of a model, all those of the image if it takes any.

        Raises
        ------
        InputError
            The image has none of them.
        """
        places = {band: place for place, band in enumerate(source.bands)}
        if bands and not source.has_band_names:
            source = source.select(bands)
            # Without names the bands are taken in the order of the model.
            places = {band: place for place, band in enumerate(bands)}
        elif set(bands) & set(source.bands):
            source = source.select([band for band in bands if band in source.bands])
        elif bands:
            # No band in common: this raises the error that says so.
            align_bands(source.read(Window(0, 0, 1, 1)), bands)
        bands = bands or source.bands
        noise = noise.take([places.get(band) for band in bands])
        present = [band for band in source.bands if (noise.sigma[:, :, bands.index(band)] > 0).any()]
        return cls(source, bands, noise, np.array([bands.index(band) for band in present], int))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.source.shape

    def check_noise(self) -> None:
        """Warn of bands without noise that can be measured.

        Raises
        ------
        InputError
            No band has one.
        """
        present = [self.bands[band] for band in self.present]
        silent = [band for band in self.source.bands if band not in present]
        if not silent:
            return
        names = ", ".join(silent)
        why = (
            f"{self.source.name}: the noise of {names} cannot be measured: too few valid pixels beside areas of one "
            "and the same value, or counts too few to scatter"
        )
        if not present:
            raise InputError(f"{why}; give the noise as a plane (--rms {silent[0]}=FILE, --weight {silent[0]}=FILE)")
        log.warning("%s; for the network such bands are missing", why)

    def snr(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """S/N and validity of a window: float32 and bool, shape ``(y, x, band)``."""
        return normalize(align_bands(self.source.read(window), self.bands), self.noise, window=window)


def align_bands(image: SkyImage, bands: tuple[str, ...]) -> SkyImage:
    """The image with the bands of a model in its order; bands that it does not have are invalid everywhere.

    Raises
    ------
    InputError
        It has none of them, or bands without names and not as many as the model.
    """
    if not bands or image.bands == bands:
        return image
    if not image.has_band_names:
        return image.select(bands)
    if not set(bands) & set(image.bands):
        raise InputError(
            f"{image.name} has band(s) {', '.join(image.bands)}, and none of {', '.join(bands)}; choose a model that "
            "takes any band, as the shipped model any does"
        )
    planes = [image.bands.index(band) if band in image.bands else None for band in bands]

    def gathered(array: np.ndarray) -> np.ndarray:
        blank = np.zeros(image.shape, array.dtype)
        return np.stack([blank if i is None else array[:, :, i] for i in planes], axis=-1)

    def named(values: tuple) -> tuple:
        return tuple(None if i is None else values[i] for i in planes)

    return replace(
        image,
        data=gathered(image.data),
        bands=bands,
        valid=gathered(image.valid),
        rms=None if image.rms is None else gathered(image.rms),
        zero_points=named(image.zero_points),
        units=named(image.units),
    )


WINGED = 2.75
"""Index of a Moffat profile below which its wings are taken out: with wider ones, networks take stars for spheroids."""

_WANTED = 3.5  # index of the profile that is left, of equal FWHM
_WIDEST_TRIED = 1.7  # index
_HALF = 32  # pixels of the kernel on each side of its centre
_NOISE = 0.01  # of the light, at frequencies that the PSF hardly passes: what is weaker is not restored
_OVERSAMPLING = 5


def has_wings(psf: MoffatPsf) -> bool:
    """True if the index of a PSF is known, and below `WINGED`."""
    return psf.is_known and psf.beta < WINGED


def seen_beta(psf: MoffatPsf) -> float:
    """Index of the PSF that a network sees: what is left without its wings, where they are none wider than tried."""
    return _WANTED if has_wings(psf) and psf.beta >= _WIDEST_TRIED else psf.beta


def wing_kernel(fwhm: float, beta: float) -> np.ndarray:
    """Kernel that turns a Moffat profile into one of the same FWHM with hardly any wings.

    Parameters
    ----------
    fwhm : float
        In pixels.
    beta : float
        Index of the profile.

    Returns
    -------
    numpy.ndarray
        float64, square with the centre in the middle, sum 1.

    Notes
    -----
    The quotient of the two transfer functions, damped as by Wiener where that of the PSF is below a hundredth. Wide
    wings take more from middle frequencies than from high ones, so the noise does not grow.
    """
    side = 4 * _HALF
    seen, wanted = (scipy.fft.rfft2(scipy.fft.ifftshift(_moffat(fwhm, one, side))) for one in (beta, _WANTED))
    kernel = scipy.fft.fftshift(scipy.fft.irfft2(wanted * np.conj(seen) / (np.abs(seen) ** 2 + _NOISE**2)))
    middle = slice(side // 2 - _HALF, side // 2 + _HALF + 1)
    kernel = kernel[middle, middle]
    return kernel / kernel.sum()


class WinglessBands:
    """A `NetworkInput` without the wings of the PSFs of another.

    Parameters
    ----------
    whole : NetworkInput
        The image, or its bins.
    psfs : sequence of MoffatPsf
        Of its bands, in its pixels.

    Attributes
    ----------
    sigma : numpy.ndarray
        float32, shape ``(band,)``: scatter of the sky after convolution where it was 1 before; 1 unless `measured`.

    Notes
    -----
    Invalid pixels count as sky. A pixel depends on those within 32 of it.
    """

    def __init__(self, whole: NetworkInput, psfs: Sequence[MoffatPsf]) -> None:
        self.whole, self.bands, self.present = whole, whole.bands, whole.present
        self.kernels = {i: wing_kernel(psf.fwhm, psf.beta) for i, psf in enumerate(psfs) if has_wings(psf)}
        self.sigma = np.ones(len(whole.bands), np.float32)

    @classmethod
    def measured(cls, whole: NetworkInput, psfs: Sequence[MoffatPsf]) -> "WinglessBands":
        """Bands whose noise is measured on parts of them: neighbouring pixels are often correlated."""
        made = cls(whole, psfs)
        made.sigma = sky_scatter(map(made.snr, psf_windows(whole.shape)))
        return made

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.whole.shape

    def snr(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """S/N and validity of a window: float32 and bool, shape ``(y, x, band)``."""
        around = grown(window, _HALF, self.shape)
        light, valid = self.whole.snr(around)
        here = inside(window, around)
        snr = light[here].copy()
        from scipy.signal import fftconvolve  # it takes long to import, and few images have such wings

        for band, kernel in self.kernels.items():
            plane = np.where(valid[..., band], light[..., band], np.float32(0))
            snr[..., band] = fftconvolve(plane, kernel, mode="same")[here] / self.sigma[band]
        return np.where(valid[here], snr, 0).astype(np.float32, copy=False), valid[here]


def _moffat(fwhm: float, beta: float, side: int) -> np.ndarray:
    """A profile ``(side, side)`` around its pixel ``side // 2``, summed over the pixels, sum 1."""
    inside = (np.arange(side * _OVERSAMPLING) + 0.5) / _OVERSAMPLING - side // 2 - 0.5
    square = (inside[:, None] ** 2 + inside**2) / moffat_radius(fwhm, beta) ** 2
    fine = ((1 + square) ** -beta).reshape(side, _OVERSAMPLING, side, _OVERSAMPLING)
    profile = fine.sum(axis=(1, 3))
    return profile / profile.sum()
