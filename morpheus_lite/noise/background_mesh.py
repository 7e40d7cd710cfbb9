"""Background and noise of an image on a mesh, and the image seen through them: one view for all that comes after.

The mesh is fixed by the image's shape alone. It is measured once for the whole image (strip by strip if need be);
then any part of the image has its background subtracted, and is divided by its noise, with the same result, however
the image is cut. The network, detection, deblending and measurement all see the image through this mesh.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from astropy.stats import sigma_clipped_stats
from scipy import ndimage

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError

BOX = 128
"""Side of a mesh box in pixels: larger than nearly all galaxies, smaller than most steps in depth."""

_STEP = 2  # every second pixel of every second row: 4,096 values a box know its scatter to 1.5 %
_MIN_FRACTION = 0.2  # boxes with fewer valid pixels are filled from their neighbours
_CLIP = 2.5
_N_CLIPS = 6
_SIGMA_OF_CLIPPED = 0.982  # lower-half scatter of a Gaussian cut at +-2.5 sigma, in units of its sigma
STEEP = 2.0
"""Rise of the background across a box, in sigma, from which it is followed within the boxes: the noise of a box that is
less steep is right to 15 %."""
STEEP_SKY = 0.3
"""The same where the sources are left out."""

_BORDER = ((1, 1), (1, 1), (0, 0))
_N_PLANES = 6
_INCOHERENT = 0.8  # of the slopes: how much they may differ from box to box, where they are those of the sky
_SETTLED = 0.01  # sigma across a box
_LOWER = 0.1587  # the quantile one sigma below the median
_REACHES = (1.5, 0.75, 0.25)  # of the side of a source, around it: farther away there is little of its light
_ABSURD = 1e6  # times the noise of the sky: a mark, such as the 1e16 of Euclid, and no noise
_FEWEST_REPEATS = 32  # sampled pixels: an area of at least 128 px
_BRIGHT = 5.0  # S/N of the pixels that show whether a noise plane holds the photons of the sources
_CELL = 16  # side, in sampled pixels, of the cell that such pixels are compared with
_LEAST_RISE = 0.1  # of the variance under them, below which the plane is taken to be the sky's
_GENEROUS = 3.0  # times the photon noise that is measured: noise planes are made of the noisy light
_MOST_SATURATED = 0.25  # of a box: the largest value there is, repeated, is the top of a star
_ALONE = 0.1
_SIDES_OF_SUMS = (4, 8, 16, 32)
_QUANTA = 1.5  # scatter of sums, in steps of the data, from which they are nearly Gaussian

STATISTICS = np.dtype(
    [
        ("background", "f4"),
        ("sigma", "f4"),
        ("floor", "f4"),
        ("photons", "f4"),
        ("repeated", "f4"),
        ("n_repeated", "i4"),
        ("n_near", "i4"),
        ("n", "i4"),
        ("is_area", "?"),
        ("level", "f4"),
        ("spread", "f4"),
        ("slope_y", "f4"),
        ("slope_x", "f4"),
    ]
)
"""What is measured in a box of the mesh, in one band.

``background`` in data units; ``sigma`` in data units, or those of the RMS plane; ``floor`` of the RMS plane's values,
their quantile 15.87 %; ``photons``: what a unit of light adds to the variance of the RMS plane; ``repeated``: the value
that most of ``n`` sampled pixels have, ``n_repeated`` of them, ``n_near`` the next smaller or larger; ``is_area``:
whether these lie side by side, with hardly any value next to theirs. ``level`` and ``spread`` are background and sigma
about a plane that rises by ``slope_y`` and ``slope_x`` per pixel. NaN where unknown.
"""


@dataclass(frozen=True, eq=False)
class NoiseMap:
    """Background and noise of one pixel of an image on a coarse mesh.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image the mesh belongs to.
    centers : (numpy.ndarray, numpy.ndarray)
        float64: rows and columns of the boxes' centres, ascending, 0-based.
    background : numpy.ndarray
        float32, shape ``(mesh y, mesh x, band)``: background of one pixel in data units.
    sigma : numpy.ndarray
        float32, shape ``(mesh y, mesh x, band)``: standard deviation of the sky in one pixel, in data units, or in
        units of the RMS plane where the image has one. 0 in a band whose noise cannot be measured (constant, or
        without valid pixels); for the network such a band is missing.
    has_rms : tuple of bool, optional
        Whether each band has an RMS plane, in the whole image. Not given, a band has one in those parts of the image in
        which the plane is not 0 throughout.
    floor : numpy.ndarray, optional
        float32, shape ``(mesh y, mesh x, band)``: RMS of the sky, below which the photons of sources cannot lie.
    photons : tuple of float
        Variance that a unit of light adds to the RMS plane of each band; 0 where the plane is that of the sky.
    largest : tuple of float
        RMS of each band from which on it marks a bad pixel.
    void : tuple of tuple of float
        Values of each band that fill areas where there are no data.
    """

    shape: tuple[int, int]
    centers: tuple[np.ndarray, np.ndarray]
    background: np.ndarray
    sigma: np.ndarray
    has_rms: tuple[bool, ...] | None = None
    floor: np.ndarray | None = None
    photons: tuple[float, ...] = ()
    largest: tuple[float, ...] = ()
    void: tuple[tuple[float, ...], ...] = ()

    def with_background(self, background: str | float) -> "NoiseMap":
        """The same noise on another background: ``"mesh"``, ``"none"``, or one level in data units."""
        if background == "mesh":
            return self
        level = 0.0 if background == "none" else float(background)
        return replace(self, background=np.full_like(self.background, level))

    def less_sources(self, sky: "NoiseMap") -> "NoiseMap":
        """The same on the background that was measured outside of the sources, in bands with enough of it.

        For `subtract`, without ``sky_noise``: it is not the noise that the network sees.
        """
        y, x = np.meshgrid(*sky.centers, indexing="ij")
        own = self.background_at(x.ravel(), y.ravel()).reshape(sky.background.shape).astype(np.float32)
        known = (sky.sigma > 0).any(axis=(0, 1))
        background = np.where(known, sky.background, own)
        return replace(self, centers=sky.centers, background=background, sigma=sky.sigma, floor=None)

    def background_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Background at places in pixels: float64, shape ``(place, band)``."""
        at = [
            np.interp(place, middle, np.arange(len(middle))) for place, middle in zip((y, x), self.centers, strict=True)
        ]
        planes = [ndimage.map_coordinates(plane, at, order=1) for plane in np.moveaxis(self.background, 2, 0)]
        return np.stack(planes, axis=-1).astype(np.float64)

    def take(self, indices: Sequence[int | None]) -> "NoiseMap":
        """The bands at these positions; None stands for a band without noise."""
        known = [k is not None for k in indices]
        places = [k or 0 for k in indices]

        def planes(mesh: np.ndarray) -> np.ndarray:
            return np.where(known, mesh[:, :, places], np.float32(0))

        def values(of_band: tuple, missing: Any) -> tuple:
            return tuple(missing if k is None else of_band[k] for k in indices) if of_band else ()

        return replace(
            self,
            background=planes(self.background),
            sigma=planes(self.sigma),
            has_rms=None if self.has_rms is None else values(self.has_rms, False),
            floor=None if self.floor is None else planes(self.floor),
            photons=values(self.photons, 0.0),
            largest=values(self.largest, np.inf),
            void=values(self.void, ()),
        )


def measure_noise(image: SkyImage, labels: np.ndarray | None = None) -> NoiseMap:
    """Local background and noise of every band of an image.

    Parameters
    ----------
    image : SkyImage
        Any units; where it has an RMS plane, the plane gives the shape of the noise and only its level is measured
        (RMS planes of drizzled or PSF-matched images overstate the scatter of a pixel two to three times).
    labels : numpy.ndarray, optional
        int, shape ``(y, x)``: sources, which are left out.

    Returns
    -------
    NoiseMap
        Identical to what `noise_from_rows` makes of `measure_row` for every strip of `strips`.

    Notes
    -----
    In every box the values are clipped repeatedly at 2.5 sigma about the median, sigma being the distance from the
    median down to the 15.87 % quantile: light of sources is positive and hardly reaches the lower half. Neighbouring
    boxes are then combined by a 3 x 3 median, so that a galaxy that fills one box does not raise it.

    Where the quantile and the median are one value, as in photon counts and coarse whole numbers, the background and
    the noise are those of sums over squares of pixels. One value that fills an area is no data.
    """
    has_rms = None if image.rms is None else tuple(bool((image.rms[..., b] > 0).any()) for b in range(image.n_bands))
    near = None if labels is None else near_sources(labels, boxes_of(labels), Window(0, 0, *image.shape))
    rows = (
        measure_row(
            image.cutout(strip), image.shape, has_rms=has_rms, near=None if near is None else near[strip.slices]
        )
        for strip in strips(image.shape)
    )
    return noise_from_rows(image.shape, rows, has_rms=has_rms, least_tilt=STEEP if near is None else STEEP_SKY)


def boxes_of(labels: np.ndarray) -> np.ndarray:
    """Bounding boxes of the sources of a label map: int64, shape ``(source, 4)``; first and last + 1 row and column."""
    found = [box for box in ndimage.find_objects(labels) if box is not None]
    return np.array([(y.start, x.start, y.stop, x.stop) for y, x in found], dtype=np.int64).reshape(-1, 4)


def near_sources(labels: np.ndarray, boxes: np.ndarray, window: Window) -> np.ndarray:
    """How near pixels are to sources, whose light goes on beyond their segments.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape of the window.
    boxes : numpy.ndarray
        int64, shape ``(source, 4)``: first row and column, last row and column + 1, of all sources of the image.
    window : Window
        Where ``labels`` lie in the image.

    Returns
    -------
    numpy.ndarray
        uint8, shape of the window: 0 for pixels that lie far from all sources, then 1, 2, ... for those within
        `_REACHES` of a source, in units of the longer side of its box; the largest number for the sources themselves.
    """
    near = np.zeros(window.shape, np.uint8)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    corner = np.array([window.y, window.x] * 2)
    for step, reach in enumerate(_REACHES, start=1):
        margin = np.ceil(reach * sides).astype(np.int64)[:, None] * np.array([-1, -1, 1, 1])
        grown = np.clip(boxes + margin - corner, 0, [*window.shape] * 2)
        seen = (grown[:, :2] < grown[:, 2:]).all(axis=1)
        for top, left, bottom, right in grown[seen].tolist():
            near[top:bottom, left:right] = step
    near[labels > 0] = len(_REACHES) + 1
    return near


def strips(shape: tuple[int, int], *, width: int | None = None) -> tuple[Window, ...]:
    """The rows of mesh boxes of an image, as windows over its whole width, top to bottom.

    With a ``width`` in pixels every row is cut, left to right, into windows of whole boxes and about that width.
    """
    rows, columns = (_edges(length) for length in shape)
    step = len(columns) if width is None else max(1, width // BOX)
    cuts = [*columns[:-1:step].tolist(), shape[1]]
    return tuple(
        Window(int(a), left, int(b - a), right - left) for a, b in pairwise(rows) for left, right in pairwise(cuts)
    )


def measure_row(
    strip: SkyImage,
    shape: tuple[int, int],
    *,
    left: int = 0,
    has_rms: tuple[bool, ...] | None = None,
    near: np.ndarray | None = None,
) -> np.ndarray:
    """Background and noise in one row of boxes.

    Parameters
    ----------
    strip : SkyImage
        The image inside one window of `strips`.
    shape : (int, int)
        Height and width of the whole image.
    left : int
        First column of the strip in the image.
    has_rms : tuple of bool, optional
        As in `NoiseMap`.
    near : numpy.ndarray, optional
        uint8, shape of the strip, from `near_sources`: of each box only pixels far from the sources count, or as far as
        a fifth of them lies; sources never do.

    Returns
    -------
    numpy.ndarray
        `STATISTICS`, shape ``(mesh x, band)``.
    """
    columns, right = _edges(shape[1]), left + strip.shape[1]
    if left not in columns or right not in columns:
        raise InputError(f"a strip goes from column {left} to {right} of {shape[1]}: give strips as `strips` cuts them")
    columns = columns[(columns >= left) & (columns <= right)] - left
    row = np.empty((len(columns) - 1, strip.n_bands), STATISTICS)
    for i, (a, b) in enumerate(pairwise(columns.tolist())):
        for band in range(strip.n_bands):
            row[i, band] = _box_statistics(strip, np.s_[:, a:b, band], None if has_rms is None else has_rms[band], near)
    return row


def noise_from_rows(
    shape: tuple[int, int],
    rows: Iterable[np.ndarray],
    *,
    has_rms: tuple[bool, ...] | None = None,
    least_tilt: float = STEEP,
) -> NoiseMap:
    """The noise map from the statistics of its rows of boxes, top to bottom.

    Where the background of a band rises by more than ``least_tilt`` sigma across most boxes, it is followed within the
    boxes, and beyond the centres of the outermost to the edges of the image.
    """
    mesh = np.stack(list(rows))
    centers = tuple((edges[:-1] + edges[1:] - 1) / 2 for edges in map(_edges, shape))
    expected = (len(centers[0]), len(centers[1]))
    if mesh.shape[:2] != expected:
        raise InputError(f"rows of boxes have shape {mesh.shape[:2]}; an image of {shape} needs {expected}")
    n_bands = mesh.shape[2]
    steep = [_is_steep(mesh[..., b], least_tilt) for b in range(n_bands)]
    for name, flat in (("background", "level"), ("sigma", "spread")):
        mesh[name][..., steep] = mesh[flat][..., steep]
    floor, largest = None, (np.inf,) * n_bands
    if not np.isnan(mesh["floor"]).all():
        largest = tuple(_ABSURD * np.nanmin(mesh["floor"][..., b], initial=np.inf) for b in range(n_bands))
        mesh[mesh["floor"] >= largest] = _UNKNOWN
        floor = np.nan_to_num(_smoothed(mesh["floor"]))
    background, sigma = (np.nan_to_num(_smoothed(mesh[name])) for name in ("background", "sigma"))
    if any(steep):
        slopes = [_filled(mesh[name]) * np.array(steep) for name in ("slope_y", "slope_x")]
        background = np.where(steep, np.nan_to_num(_smoothed_slope(mesh["level"], slopes, centers)), background)
        background, centers = _extended(background, slopes, centers, shape)
        sigma, floor = (
            plane if plane is None else np.pad(plane, ((1, 1), (1, 1), (0, 0)), "edge") for plane in (sigma, floor)
        )
    return NoiseMap(
        shape,
        (centers[0], centers[1]),
        background,
        sigma,
        has_rms,
        floor=floor,
        photons=tuple(_photons(mesh["photons"][..., b]) for b in range(n_bands)),
        largest=largest,
        void=tuple(_void(mesh[..., b]) for b in range(n_bands)),
    )


def see_sky(image: SkyImage, background: str | float) -> SkyImage:
    """An image as networks and detection see it: less its background, and with the noise of the sky."""
    return subtract(image, measure_noise(image).with_background(background), sky_noise=True)


def subtract(image: SkyImage, noise: NoiseMap, *, window: Window | None = None, sky_noise: bool = False) -> SkyImage:
    """An image less its background, with its bad pixels known.

    Parameters
    ----------
    image : SkyImage
        The image, or the part of it inside ``window``.
    noise : NoiseMap
        Of the whole image.
    window : Window, optional
        Where ``image`` lies in the whole image; the whole image if not given.
    sky_noise : bool
        Whether the RMS planes are to be those of the sky, without the photon noise of the sources. Errors of fluxes
        need that noise; S/N as the networks and thresholds know it is that of the sky.

    Returns
    -------
    SkyImage
        Areas without data, and pixels whose RMS marks them as bad, are invalid and 0.
    """
    window = _window_of(image, noise, window)
    data, valid = np.empty_like(image.data), np.empty_like(image.valid)
    rms = None if image.rms is None else np.zeros_like(image.rms)
    for b in range(image.n_bands):
        light, sigma = _seen(image, b, noise, window, sky_noise=sky_noise)
        usable = np.isfinite(light)
        valid[:, :, b], data[:, :, b] = usable, np.where(usable, light, 0)
        if rms is not None and sigma is not None:
            rms[:, :, b] = np.where(usable, sigma, 0)
    return replace(image, data=data, valid=valid, rms=rms)


def normalize(
    image: SkyImage,
    noise: NoiseMap,
    *,
    window: Window | None = None,
    out: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """An image in units of the noise of its sky.

    Parameters
    ----------
    image : SkyImage
        The image, or the part of it inside ``window``.
    noise : NoiseMap
        Noise of the whole image.
    window : Window, optional
        Where ``image`` lies in the whole image; the whole image if not given.
    out : (numpy.ndarray, numpy.ndarray), optional
        Arrays to put S/N and validity in; new ones are made if not given.

    Returns
    -------
    snr : numpy.ndarray
        float32, shape ``(y, x, band)``: data minus background over noise; 0 where not valid.
    valid : numpy.ndarray
        bool, shape ``(y, x, band)``: valid, in a band whose noise is known there.

    Notes
    -----
    Bilinear between the centres of the boxes, constant beyond the outermost: a pixel's value depends on its position
    in the whole image and not on the window.
    """
    window = _window_of(image, noise, window)
    snr, valid = out or (np.empty(image.data.shape, np.float32), np.empty(image.data.shape, bool))
    for b in range(image.n_bands):  # one band at a time: a tile of all of them is large
        if not np.any(noise.sigma[:, :, b] > 0):
            snr[:, :, b], valid[:, :, b] = 0, False
            continue
        plane, sigma = _seen(image, b, noise, window, sky_noise=True)
        if sigma is not None:
            plane /= sigma
        plane *= interpolate_mesh(1 / noise.sigma[:, :, b], noise.centers, window)
        seen = np.isfinite(plane)
        plane[~seen] = 0
        snr[:, :, b], valid[:, :, b] = plane, seen
    return snr, valid


def _window_of(image: SkyImage, noise: NoiseMap, window: Window | None) -> Window:
    window = window or Window(0, 0, *noise.shape)
    if image.shape != window.shape:
        raise InputError(f"{image.name} is {image.shape} px, its window {window.shape}: expected the same")
    if image.n_bands != noise.sigma.shape[2]:
        raise InputError(f"{image.name} has {image.n_bands} bands, the noise map {noise.sigma.shape[2]}")
    return window


def _seen(
    image: SkyImage, band: int, noise: NoiseMap, window: Window, *, sky_noise: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Light of one band, NaN where not valid, and its RMS where there is a plane: float32, shape ``(y, x)``."""
    light = np.where(image.valid[:, :, band], image.data[:, :, band], np.float32(np.nan))
    for value in noise.void[band] if noise.void else ():
        light[light == np.float32(value)] = np.nan
    light -= interpolate_mesh(noise.background[:, :, band], noise.centers, window)
    sigma = _rms_plane(image, np.s_[:, :, band], None if noise.has_rms is None else noise.has_rms[band])
    if sigma is None:
        return light, None
    sigma = sigma.copy()
    bad = ~((sigma > 0) & (sigma < (noise.largest[band] if noise.largest else np.inf)))
    sigma[bad], light[bad] = 1, np.nan
    if sky_noise and noise.floor is not None and noise.photons[band] > 0:
        floor = interpolate_mesh(noise.floor[:, :, band], noise.centers, window)
        sources = np.float32(_GENEROUS * noise.photons[band]) * np.maximum(np.nan_to_num(light), 0)
        sky = np.sqrt(np.maximum(sigma * sigma - sources, floor * floor))
        sigma = np.minimum(sky, sigma)
    return light, sigma


def interpolate_mesh(mesh: np.ndarray, centers: tuple[np.ndarray, np.ndarray], window: Window) -> np.ndarray:
    """A mesh plane, bilinearly interpolated to the pixels of a window: float32, shape ``(y, x)``."""
    lower, fraction = _positions(centers[0], window.y, window.height)
    upper = np.minimum(lower + 1, mesh.shape[0] - 1)
    fraction = fraction[:, None]
    rows = mesh[lower] * (1 - fraction) + mesh[upper] * fraction
    lower, fraction = _positions(centers[1], window.x, window.width)
    upper = np.minimum(lower + 1, mesh.shape[1] - 1)
    plane = rows[:, lower]
    plane *= 1 - fraction
    other = rows[:, upper]
    other *= fraction
    plane += other
    return plane


def _edges(length: int) -> np.ndarray:
    """Edges of the boxes along one axis; a rest shorter than half a box joins the last one."""
    n_boxes = max(1, (length + BOX // 2) // BOX)
    edges = np.arange(n_boxes + 1) * BOX
    edges[-1] = length
    return edges


def _positions(centers: np.ndarray, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    pixel = np.clip(np.arange(start, start + count, dtype=np.float64), centers[0], centers[-1])
    lower = np.clip(np.searchsorted(centers, pixel, side="right") - 1, 0, max(len(centers) - 2, 0))
    if len(centers) == 1:
        return lower, np.zeros(count, np.float32)
    step = centers[lower + 1] - centers[lower]
    return lower, ((pixel - centers[lower]) / step).astype(np.float32)


def _rms_plane(image: SkyImage, part: tuple[slice | int, ...], has_rms: bool | None) -> np.ndarray | None:
    """Part of the RMS plane of a band, if it has one."""
    if image.rms is None or has_rms is False:
        return None
    rms = image.rms[part]
    return rms if has_rms or (rms > 0).any() else None


_UNKNOWN = np.array((np.nan,) * 5 + (0,) * 3 + (False,) + (np.nan,) * 4, STATISTICS)


def _box_statistics(
    strip: SkyImage, box: tuple[slice, slice, int], has_rms: bool | None, near: np.ndarray | None
) -> np.ndarray:
    """`STATISTICS` of one band in one box of a strip: a single value."""
    found = _UNKNOWN.copy()
    for step in (_STEP, 1):
        sampled = slice(0, None, step), slice(box[1].start, box[1].stop, step), box[2]
        values = np.where(strip.valid[sampled], strip.data[sampled], np.float32(np.nan))
        if near is None:
            break
        values[_too_near(near[sampled[:2]], np.isfinite(values))] = np.nan
        if np.count_nonzero(np.isfinite(values)) > values.size / 2:
            break  # where there is little sky, every pixel of it counts
    rms = _rms_plane(strip, sampled, has_rms)
    if rms is not None:
        known = (rms > 0) & np.isfinite(rms)
        if not known.any():
            return found
        found["floor"] = floor = _quantile(np.sort(rms[known]), _LOWER)
        values[~(known & (rms < _ABSURD * floor))] = np.nan
    column = np.sort(values, axis=None)  # NaN sorts last
    column = column[: len(column) - int(np.isnan(column).sum())]
    column = _without_repeated(column, values, found)
    if len(column) < max(_MIN_FRACTION * values.size, 16):
        return found
    found["background"], found["sigma"] = _clipped_statistics(column)
    if np.isnan(found["sigma"]) and not found["is_area"]:
        part = box[0], slice(box[1].start, box[1].stop), box[2]
        usable = strip.valid[part] if near is None else strip.valid[part] & (near[part[:2]] <= len(_REACHES))
        whole = np.where(usable, strip.data[part], np.float32(np.nan))
        found["background"], found["sigma"] = _statistics_of_sums(whole, found["background"])
        if rms is not None:
            found["sigma"] /= np.median(rms[np.isfinite(values)])
        return found
    if not found["sigma"] > 0:
        return found
    found["level"], found["spread"], found["slope_y"], found["slope_x"] = found["background"], found["sigma"], 0, 0
    # Half of a box lies as much above the other as half of the rise across the box.
    if _rise(values, found) > (STEEP if near is None else STEEP_SKY) / 2 / np.sqrt(1 + STEEP**2 / 12):
        _follow_slope(values, rms, step, found)
    if rms is not None:
        pulls = (values - found["background"]) / np.where(np.isfinite(values), rms, 1)
        found["photons"] = _photon_noise(values - found["background"], pulls, rms)
        found["sigma"] = _clipped_statistics(np.sort(pulls[np.isfinite(pulls)]))[1]
    return found


def _follow_slope(values: np.ndarray, rms: np.ndarray | None, step: int, found: np.ndarray) -> None:
    """Background and noise of a box about the plane that fits its sky, by least squares over the clipped values."""
    y, x = (step * np.arange(n) - (step * n - 1) / 2 for n in values.shape)
    middle, sigma = found["background"], found["sigma"]
    plane, slopes = np.zeros(values.shape, np.float32), np.zeros(2)
    for _ in range(_N_PLANES):
        residual = values - plane
        sky = np.abs(residual - middle) < _CLIP * sigma
        weights = sky.sum(axis=1), sky.sum(axis=0)
        if min(map(np.count_nonzero, weights)) < 2:
            return
        residual = np.where(sky, residual - middle, 0)
        sums = residual.sum(axis=1), residual.sum(axis=0)
        away = [place - (count @ place) / count.sum() for count, place in zip(weights, (y, x), strict=True)]
        change = np.array([(one @ a) / (count @ (a * a)) for one, a, count in zip(sums, away, weights, strict=True)])
        slopes += change
        plane = (slopes[0] * y[:, None] + slopes[1] * x).astype(np.float32)
        flat = (values - plane)[np.isfinite(values)]
        middle, sigma = _clipped_statistics(np.sort(flat))
        if not sigma > 0 or np.abs(change).max() * BOX < _SETTLED * sigma:
            break
    found["slope_y"], found["slope_x"], found["level"], found["spread"] = *slopes, middle, sigma
    if rms is not None and sigma > 0:
        pulls = ((values - plane - middle) / rms)[np.isfinite(values)]
        found["spread"] = _clipped_statistics(np.sort(pulls))[1]


def _rise(values: np.ndarray, found: np.ndarray) -> float:
    """Difference of the means of the clipped values between the halves of a box, the larger one, in sigma."""
    middle, sigma = found["background"], found["sigma"]
    light = np.clip(values, middle - _CLIP * sigma, middle + _CLIP * sigma) - middle
    known = np.isfinite(light)
    light[~known] = 0
    rises = []
    for axis in (0, 1):
        sums, counts = light.sum(axis=1 - axis, dtype=np.float64), known.sum(axis=1 - axis)
        half = len(sums) // 2
        if min(counts[:half].sum(), counts[half:].sum()) > 0:
            rises.append(sums[half:].sum() / counts[half:].sum() - sums[:half].sum() / counts[:half].sum())
    return float(np.abs(rises).max(initial=0) / sigma)


def _is_steep(boxes: np.ndarray, least: float) -> bool:
    """Whether the background of a band rises by so many sigma across most of its boxes."""
    slopes = np.stack([boxes["slope_y"], boxes["slope_x"]])
    slope = np.hypot(*slopes)
    tilt = slope * BOX / (boxes["spread"] * np.where(np.isnan(boxes["floor"]), 1, boxes["floor"]))
    if not np.isfinite(tilt).any() or not np.nanmedian(tilt) > least:
        return False
    changes = [np.hypot(*np.diff(slopes, axis=axis)).ravel() for axis in (1, 2)]
    change = np.concatenate(changes)
    change = change[np.isfinite(change)]
    return not len(change) or float(np.median(change)) < _INCOHERENT * float(np.nanmedian(slope))


def _smoothed_slope(level: np.ndarray, slopes: Sequence[np.ndarray], centers: Sequence[np.ndarray]) -> np.ndarray:
    """3 x 3 median of what each box and its neighbours say of its centre, along the slopes half-way between."""
    padded, down, right = (np.pad(mesh, _BORDER, constant_values=np.nan) for mesh in (level, *slopes))
    y, x = (np.pad(middle, 1) for middle in centers)
    height, width = level.shape[:2]
    said = []
    for dy, dx in np.ndindex(3, 3):
        there = np.s_[dy : dy + height, dx : dx + width]
        rise = (down[there] + slopes[0]) / 2 * (centers[0] - y[there[0]])[:, None, None]
        rise = rise + (right[there] + slopes[1]) / 2 * (centers[1] - x[there[1]])[:, None]
        said.append(padded[there] + rise)
    known = np.isfinite(said).any(axis=0)
    result = np.full(level.shape, np.nan, np.float32)
    result[known] = np.nanmedian(np.array(said)[:, known], axis=0)
    return np.where(known, result, _smoothed(result))


def _extended(
    background: np.ndarray, slopes: Sequence[np.ndarray], centers: Sequence[np.ndarray], shape: tuple[int, int]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The mesh with values at the edges of the image, as the slopes of the outermost boxes have it."""
    ends = [np.concatenate([[0.0], middle, [n - 1.0]]) for middle, n in zip(centers, shape, strict=True)]
    wide, (down, right) = (
        np.pad(background, _BORDER, "edge"),
        (np.pad(slope, _BORDER, "edge") for slope in slopes),
    )
    beyond = [end - np.clip(end, middle[0], middle[-1]) for end, middle in zip(ends, centers, strict=True)]
    wide = wide + down * beyond[0][:, None, None] + right * beyond[1][:, None]
    return wide.astype(np.float32), tuple(ends)


def _too_near(near: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Pixels that do not count where there are enough that lie farther from the sources."""
    enough = _MIN_FRACTION * near.size
    reached = (step for step in range(len(_REACHES)) if np.count_nonzero(usable & (near <= step)) >= enough)
    return near > next(reached, len(_REACHES))


def _quantile(column: np.ndarray, share: float) -> np.ndarray:
    return column[int(share * len(column))]


def _without_repeated(column: np.ndarray, values: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The ascending ``column`` of a box's ``values`` without the one that fills an area, which is noted."""
    if not len(column):
        return column
    starts = np.concatenate([[0], np.flatnonzero(column[1:] != column[:-1]) + 1])
    counts = np.diff(starts, append=len(column))
    most = int(counts.argmax())
    count = int(counts[most])
    near = int(counts[max(most - 1, 0) : most + 2].sum()) - count
    value = column[starts[most]]
    found["repeated"], found["n_repeated"], found["n_near"], found["n"] = value, count, near, len(column)
    share = count / column.size
    saturated = most == len(counts) - 1 and share < _MOST_SATURATED
    if count < _FEWEST_REPEATS or saturated or not _stands_alone(count, near, len(column)):
        return column
    same = values == value
    beside = same[1:, 1:] & same[:-1, 1:] & same[1:, :-1]
    together = np.count_nonzero(beside & same[:-1, :-1]) / max(int(np.count_nonzero(same[:-1, :-1])), 1)
    if share < 1 and together < (1 + share) / 2:
        return column
    found["is_area"] = True
    return np.concatenate([column[: starts[most]], column[starts[most] + count :]])


def _stands_alone(count: int, near: int, n: int) -> bool:
    """Whether fewer of the neighbouring values occur than Poisson's law, or any noise, would have beside so many."""
    return near < _ALONE * count * min(1.0, -np.log(count / n)) if count < n else True


def _void(boxes: np.ndarray) -> tuple[float, ...]:
    """Values that fill areas without data, of the statistics of all boxes in one band."""
    values = np.unique(boxes["repeated"][boxes["is_area"]])
    found = []
    for value in values.tolist():
        same = boxes[boxes["repeated"] == value]
        if _stands_alone(*(int(same[name].sum()) for name in ("n_repeated", "n_near", "n"))):
            found.append(value)
    return tuple(found)


def _statistics_of_sums(values: np.ndarray, background: np.ndarray) -> tuple[Any, Any]:
    """Background and noise of a pixel from sums over squares of pixels of a box ``(y, x)``, NaN where not valid.

    The smallest squares whose sums scatter by more than the steps of the data.
    """
    distinct = np.unique(values[np.isfinite(values)])
    if len(distinct) > 1:
        quantum = np.diff(distinct).min()
        for side in _SIDES_OF_SUMS:
            height, width = (length // side for length in values.shape)
            squares = values[: height * side, : width * side].reshape(height, side, width, side)
            sums = squares.sum(axis=(1, 3), dtype=np.float64)
            sums = sums[np.isfinite(sums)]
            if len(sums) < 16:
                break
            middle, _, scatter = sigma_clipped_stats(sums)
            if scatter >= _QUANTA * quantum:
                return middle / side**2, scatter / side
    return background, np.nan


def _photon_noise(light: np.ndarray, pulls: np.ndarray, rms: np.ndarray) -> float:
    """Variance that a unit of light adds to the RMS plane of a box; NaN where there is too little light.

    Bright pixels are compared with the sky in their own cell, so that depth does not count.
    """
    ratios, rises = [], []
    for y in range(0, light.shape[0], _CELL):
        for x in range(0, light.shape[1], _CELL):
            cell = np.s_[y : y + _CELL, x : x + _CELL]
            bright, sky = pulls[cell] > _BRIGHT, np.abs(pulls[cell]) < 2
            if not bright.any() or np.count_nonzero(sky) < 16:
                continue
            variance = rms[cell].astype(np.float64) ** 2
            level = np.median(variance[sky])
            rise = variance[bright] - level
            rises.append(rise / level)
            ratios.append(rise / light[cell][bright])
    if not ratios or np.median(np.concatenate(rises)) < _LEAST_RISE:
        return 0.0 if ratios else np.nan
    return float(np.median(np.concatenate(ratios)))


def _photons(boxes: np.ndarray) -> float:
    """What holds for the band, of what `_photon_noise` found in its boxes."""
    return 0.0 if np.isnan(boxes).all() else max(float(np.nanmedian(boxes)), 0.0)


def _clipped_statistics(column: np.ndarray) -> tuple[Any, Any]:
    """Median and lower-half scatter of ascending values after clipping; the scatter NaN where there is none."""
    first, last = 0, len(column)
    for clip in range(_N_CLIPS):
        n = last - first
        median = column[first + n // 2]
        sigma = median - column[first + int(_LOWER * n)]
        if clip:
            sigma /= _SIGMA_OF_CLIPPED
        window = np.searchsorted(column, (median - _CLIP * sigma, median + _CLIP * sigma), side="right")
        if tuple(window) == (first, last) or window[1] - window[0] < 16:
            break
        first, last = int(window[0]), int(window[1])
    return median, sigma if sigma > 0 else np.float32(np.nan)


def _smoothed(mesh: np.ndarray) -> np.ndarray:
    """3 x 3 median of a mesh ``(y, x, band)`` over its finite values; holes filled from ever larger neighbourhoods."""
    result = mesh
    for _ in range(max(mesh.shape[:2]) + 1):
        padded = np.pad(result, ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
        around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
        around = around.reshape(*mesh.shape, 9)
        empty = np.isnan(around).all(axis=-1)
        median = np.full(mesh.shape, np.nan, np.float32)
        median[~empty] = np.nanmedian(around[~empty], axis=-1)
        result = median if result is mesh else np.where(np.isnan(result), median, result)
        if _only_dead_bands(result):
            break
    return result.astype(np.float32)


def _filled(mesh: np.ndarray) -> np.ndarray:
    """A mesh with its holes filled from their neighbours, 0 in a band that is nothing but holes."""
    return np.nan_to_num(np.where(np.isnan(mesh), _smoothed(mesh), mesh))


def _only_dead_bands(mesh: np.ndarray) -> bool:
    """Whether every hole lies in a band that is nothing but holes."""
    holes = np.isnan(mesh)
    return bool((holes.any(axis=(0, 1)) == holes.all(axis=(0, 1))).all())
