"""The picture's layers as the page holds them: field tiles, class planes, pixel values, sky positions.

What is too large is held as block means; positions, since a page has no WCS library, as a coarse grid of directions.

The page draws y upwards, so rows are stored from the top of the picture down: row 0 is the largest y.
"""

import base64
import io
import math
from typing import Any

import numpy as np
from astropy.wcs import WCS
from PIL import Image
from scipy.interpolate import RegularGridInterpolator

from morpheus_lite.core.classes import SOURCE_CLASSES
from morpheus_lite.core.classification import Classification, entropy
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import block_mean
from morpheus_lite.io.wcs import pixel_area
from morpheus_lite.visualization.html_report.sources import unit_text

MAX_FIELD_PIXELS = 4096**2
"""The field is shown pixel by pixel up to this size; beyond, as block means."""

MAX_PLANE_PIXELS = 2048**2
"""Class probabilities and uncertainty are held pixel by pixel up to this size."""

MAX_VALUES = 4096**2
"""Pixel values, over all bands, that the page holds for the read-out."""

MAX_LOSSLESS_PIXELS = 1600**2
"""The field is a PNG up to this size, a JPEG beyond: noise does not compress without loss."""

_TILE = 1024
"""Side of the field's tiles in pixels."""

MAX_SAMPLES = 1_000_000
"""Pixels from which the noise of a band is measured."""

MISSING = 255
"""Code of a pixel without a value in the uint8 planes, whose values run from 0 to 254."""

SOFTENING, STEP = 50.0, 0.005
"""Pixel values are stored as ``round(asinh(value / (SOFTENING * sigma)) / STEP)``: steps of a quarter of the noise on
the sky and of 0.5 % of the value where it is bright."""

NO_VALUE = -32768


def block_step(n_pixels: int, limit: int) -> int:
    """Side of the blocks whose means keep an image of ``n_pixels`` within ``limit``."""
    return max(1, math.ceil(math.sqrt(n_pixels / limit)))


def field_tiles(rgb: np.ndarray) -> tuple[dict[str, Any], list[str]]:
    """The colour picture cut into tiles.

    Parameters
    ----------
    rgb : numpy.ndarray
        float in 0..1 or uint8, shape ``(y, x, 3)``.

    Returns
    -------
    layout : dict
        ``step`` (block side), ``tile``, ``rows``, ``columns``, ``width``, ``height``, ``mime``.
    texts : list of str
        base64 of each tile's file, row after row from the top left.
    """
    step = block_step(rgb.shape[0] * rgb.shape[1], MAX_FIELD_PIXELS)
    picture = _to_bytes(rgb[::-1], step)
    height, width = picture.shape[:2]
    lossless = height * width <= MAX_LOSSLESS_PIXELS
    rows, columns = math.ceil(height / _TILE), math.ceil(width / _TILE)
    texts = [
        _encode(picture[_TILE * row : _TILE * (row + 1), _TILE * column : _TILE * (column + 1)], lossless)
        for row in range(rows)
        for column in range(columns)
    ]
    layout = {"step": step, "tile": _TILE, "rows": rows, "columns": columns, "width": width, "height": height}
    return layout | {"mime": "image/png" if lossless else "image/jpeg"}, texts


def _to_bytes(rgb: np.ndarray, step: int) -> np.ndarray:
    """uint8 picture, averaged over blocks plane by plane to spare memory."""
    full = 1.0 if rgb.dtype.kind == "f" else 255.0
    means = (block_mean(rgb[:, :, channel].astype(np.float32), step) for channel in range(3))
    return np.stack([np.clip(np.nan_to_num(m) * (255 / full) + 0.5, 0, 255).astype(np.uint8) for m in means], axis=2)


def _encode(tile: np.ndarray, lossless: bool) -> str:
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(tile))
    if lossless:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "JPEG", quality=90, subsampling=0)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def class_planes(classification: Classification) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Class probabilities and uncertainty in 255 steps.

    Returns
    -------
    layout : dict
        ``step``, and ``planes``: for each array its ``name``, ``label``, ``full`` (the value of code 254) and
        ``about``.
    arrays : dict of str to numpy.ndarray
        uint8, rows from the top: ``p_<class>`` of the four source classes, ``entropy``, and ``scatter`` where the
        classification has a variance. 255 where there is no value.
    """
    step = block_step(math.prod(classification.shape), MAX_PLANE_PIXELS)
    arrays = {f"p_{name}": _codes(classification.plane(name), step, 1.0) for name in SOURCE_CLASSES}
    arrays["entropy"] = _codes(entropy(classification.probability), step, 1.0)
    about = "entropy of the mean class probabilities over log 5"
    planes = [{"name": "entropy", "label": "Entropy of the class", "full": 1.0, "about": about}]
    if classification.variance is not None:
        arrays["scatter"] = _codes(np.sqrt(classification.variance.max(axis=2)), step, 0.5)
        about = "largest standard deviation of a class over the windows"
        planes.append({"name": "scatter", "label": "Scatter over windows", "full": 0.5, "about": about})
    return {"step": step, "planes": planes}, arrays


def _codes(plane: np.ndarray, step: int, full: float) -> np.ndarray:
    """uint8 codes of a plane: 0..254 for 0..full, 255 for NaN; rows from the top."""
    plane = block_mean(np.asarray(plane, dtype=np.float32)[::-1], step)
    codes = np.clip(np.nan_to_num(plane) * (254 / full) + 0.5, 0, 254).astype(np.uint8)
    return np.where(np.isfinite(plane), codes, np.uint8(MISSING))


def pixel_values(image: SkyImage) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Pixel values of every band for the read-out.

    Returns
    -------
    layout : dict
        ``step`` (block side), and ``bands``: ``name``, ``unit`` and ``softening`` (value at which the scale turns
        logarithmic), with ``value = softening * sinh(code * 0.005)``.
    arrays : dict of str to numpy.ndarray
        int16 codes per band, rows from the top; -32768 where a block has no usable pixel.
    """
    step = block_step(image.data.size, MAX_VALUES)
    bands, arrays = [], {}
    for index, band in enumerate(image.bands):
        plane = np.where(image.valid[::-1, :, index], image.data[::-1, :, index], np.float32(np.nan))
        softening = SOFTENING * _noise(image, index) / step
        codes = np.arcsinh(block_mean(plane, step) / softening) / STEP
        finite = np.isfinite(codes)
        arrays[band] = np.where(finite, np.rint(np.where(finite, codes, 0)), NO_VALUE).astype(np.int16)
        bands.append({"name": band, "unit": unit_text(image.units[index]), "softening": softening})
    return {"step": step, "quantum": STEP, "bands": bands}, arrays


def _noise(image: SkyImage, index: int) -> float:
    """Standard deviation of the noise of a band: median RMS, else from the median absolute deviation."""
    step = block_step(math.prod(image.shape), MAX_SAMPLES)
    sample = np.s_[::step, ::step, index]
    valid = image.valid[sample]
    if image.rms is not None:
        rms = image.rms[sample][valid]
        if (rms > 0).any():
            return float(np.median(rms[rms > 0]))
    values = image.data[sample][valid]
    if not values.size:
        return 1.0
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values)))) or float(np.std(values))
    return spread if np.isfinite(spread) and spread > 0 else 1.0


WANTED_ERROR = 0.02
"""Grid nodes are added until the interpolation is this good, in pixels."""

_ARCSEC = 206264.806
_NODES = (5, 9, 17, 33, 65, 129, 257)


def sky_grid(wcs: WCS | None, shape: tuple[int, int]) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Directions on the sky on the coarsest grid over an image that gives positions to 0.02 px, or the finest there is.

    Parameters
    ----------
    wcs : astropy.wcs.WCS or None
        WCS of the image.
    shape : (int, int)
        Height and width of the image in pixels.

    Returns
    -------
    layout : dict
        ``max_error``, the largest error of linear interpolation between the nodes at test positions, in pixels, and
        ``pixel_scale``, arcseconds per pixel at the centre of the image. Nothing is returned without a celestial WCS.
    arrays : dict of str to numpy.ndarray
        ``vectors``: float64, shape ``(n, n, 3)``, ICRS unit vectors at the nodes, axes (y, x). The nodes span the image
        from edge to edge: pixel coordinates -0.5 to ``size - 0.5`` on both axes. NaN off the sky.

    Notes
    -----
    Unit vectors have neither a pole nor a jump at 24 h, so linear interpolation followed by normalisation works
    everywhere. Its error is measured, at the centres of the cells and at random positions, against the WCS itself.
    """
    if wcs is None or not wcs.has_celestial:
        return None
    wcs = wcs.celestial
    scale = math.sqrt(pixel_area(wcs, shape)) * _ARCSEC
    if not np.isfinite(scale) or scale <= 0:
        return None
    for n in _NODES:
        vectors = pixel_unit_vectors(wcs, *np.meshgrid(_nodes(n, shape[1]), _nodes(n, shape[0])))
        error = _interpolation_error(wcs, vectors, shape) * _ARCSEC / scale
        if error < WANTED_ERROR:
            break
    return ({"max_error": error, "pixel_scale": scale}, {"vectors": vectors}) if np.isfinite(error) else None


def pixel_unit_vectors(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """ICRS unit vectors of 0-based pixel positions: float64, shape ``x.shape + (3,)``; NaN off the sky."""
    return np.moveaxis(wcs.pixel_to_world(x, y).icrs.cartesian.xyz.value, 0, -1)


def interpolate(vectors: np.ndarray, shape: tuple[int, int], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Unit vectors at pixel positions, as the page computes them: bilinear, then normalised."""
    mixed = RegularGridInterpolator([_nodes(len(vectors), size) for size in shape], vectors)(np.stack([y, x], axis=-1))
    return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)


def _nodes(n: int, size: int) -> np.ndarray:
    return np.linspace(-0.5, size - 0.5, n)


def _interpolation_error(wcs: WCS, vectors: np.ndarray, shape: tuple[int, int]) -> float:
    """Largest distance between interpolated and true directions, in radians."""
    n = len(vectors)
    x, y = (0.5 * (_nodes(n, size)[1:] + _nodes(n, size)[:-1]) for size in (shape[1], shape[0]))
    rng = np.random.default_rng(0)
    x, y = (grid.ravel() for grid in np.meshgrid(x, y))
    x = np.append(x, rng.uniform(-0.5, shape[1] - 0.5, 500))
    y = np.append(y, rng.uniform(-0.5, shape[0] - 0.5, 500))
    distance = np.linalg.norm(interpolate(vectors, shape, x, y) - pixel_unit_vectors(wcs, x, y), axis=-1)
    return float(np.nanmax(distance)) if np.isfinite(distance).any() else np.inf
