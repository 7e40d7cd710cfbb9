"""Input of a network: the bands of its model, in units of the noise of their sky."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.noise.background_mesh import BackgroundMesh, measure_background, normalize

log = logging.getLogger(__name__)

WIDEST_GAP = 3
"""Pixels of a gap that one-pass networks are shown bridged."""


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
    """S/N and validity with narrow gaps bridged: bad pixels, bad columns and the edges of what is wider.

    Parameters
    ----------
    snr, valid : numpy.ndarray
        float32 and bool, shape ``(y, x, band)``.

    Returns
    -------
    snr, valid : numpy.ndarray
        The same where no pixel of a band with data is invalid. Else copies: an invalid pixel in a gap of up to
        `WIDEST_GAP` px, along its row or its column, is valid, and has the value of the straight line from side to
        side; along the narrower of both, or the mean of the two.

    Notes
    -----
    Networks take a profile with a hole in it for what it is not: of 36 galaxies of index 4 with a bad column of 1 to 3
    px through the centre, ``hst`` had 27 right, and 36 bridged (``any`` 25 and 35). Filling footprints' edges with the
    nearest values was tried too: within 8 px it makes sources of noise, and half of the stars at an edge spheroids.
    """
    gaps = [band for band in range(valid.shape[2]) if valid[..., band].any() and not valid[..., band].all()]
    if not gaps:
        return snr, valid
    snr, shown = snr.copy(), valid.copy()
    for band in gaps:
        plane, known = snr[..., band], valid[..., band]
        y, x = np.nonzero(~known)
        found = _across(plane.T, known.T, x, y), _across(plane, known, y, x)
        lines, widths = (np.stack(both) for both in zip(*found, strict=True))
        width = widths.min(axis=0)
        narrow = width <= WIDEST_GAP
        plane[y[narrow], x[narrow]] = np.average(lines, axis=0, weights=widths == width)[narrow]
        shown[y[narrow], x[narrow], band] = True
    return snr, shown


def _across(plane: np.ndarray, valid: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Straight lines across gaps along the first axis, at invalid pixels: values, and the gaps' widths in pixels."""
    steps = []
    for sign in (-1, 1):
        step = np.full(y.shape, WIDEST_GAP + 1)
        for distance in range(WIDEST_GAP, 0, -1):
            at = y + sign * distance
            is_end = (at >= 0) & (at < len(plane))
            is_end[is_end] = valid[at[is_end], x[is_end]]
            step[is_end] = distance
        steps.append(step)
    before, after = steps
    first, last = (plane[np.clip(at, 0, len(plane) - 1), x] for at in (y - before, y + after))
    return (first * after + last * before) / (before + after), before + after - 1


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
            "takes any band"
        )
    planes = [image.bands.index(band) if band in image.bands else None for band in bands]

    def gathered(array: np.ndarray) -> np.ndarray:
        blank = np.zeros(image.shape, array.dtype)
        return np.stack([blank if i is None else array[:, :, i] for i in planes], axis=-1)

    def named(values: tuple) -> tuple:
        return tuple(None if i is None else values[i] for i in planes)

    return SkyImage(
        data=gathered(image.data),
        bands=bands,
        valid=gathered(image.valid),
        rms=None if image.rms is None else gathered(image.rms),
        wcs=image.wcs,
        zero_points=named(image.zero_points),
        units=named(image.units),
        name=image.name,
        meta=image.meta,
    )
