"""Background and noise of an image on a mesh, and the image seen through them: one view for all that comes after.

The mesh is fixed by the image's shape alone. It is measured once for the whole image (strip by strip if need be);
then any part of the image has its background subtracted, and is divided by its noise, with the same result, however
the image is cut. The network, detection, deblending and measurement all see the image through this mesh.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.large_objects import BLOCK_SIDE, LargeObjects
from morpheus_lite.core.loops import interpolate_rows, less_mesh
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.core.windows import Window
from morpheus_lite.errors import InputError
from morpheus_lite.noise.box_statistics import (
    ABSURD,
    BOX,
    REACHES,
    STATISTICS,
    STEEP,
    UNKNOWN_BOX,
    box_statistics,
    rms_plane,
    stands_alone,
)

_BORDER = ((1, 1), (1, 1), (0, 0))
_INCOHERENT = 0.8  # of the slopes: how much they may differ from box to box, where they are those of the sky
_COVERED = 0.1  # of a box, in the surroundings of large objects, whose background is not its own
_GENEROUS = 3.0  # times the photon noise that is measured: noise planes are made of the noisy light
_SURELY_LIGHT = 300.0
"""Times the noise of the sky, above which a pixel shows nothing but its source.

Noise planes also hold the error of the flat field, which grows with the light itself and not with its root: at 1 %, the
plane is 30 times the noise of the sky where the S/N is 3,000, and the photons account for a part of it.
"""


class SkyStep(NamedTuple):
    """Step of the sky of a band: ``height`` higher in data units from row (axis 0) or column ``place`` on."""

    band: int
    axis: int
    place: int
    height: float

    def told(self, bands: Sequence[str]) -> str:
        """The step in a sentence."""
        more = "higher" if self.height > 0 else "lower"
        return (
            f"band {bands[self.band]}: the sky is {abs(self.height):.3g} {more} from {'yx'[self.axis]} = {self.place} "
            "px on, and was measured on each side; where the gains differ too, classify both sides alone"
        )

    def take_from(self, light: np.ndarray, window: Window) -> None:
        """Subtract the step of the light of its band inside a window, in place."""
        first = max(self.place - (window.y, window.x)[self.axis], 0)
        light[(np.s_[first:], np.s_[:, first:])[self.axis]] -= np.float32(self.height)


@dataclass(frozen=True, eq=False)
class BackgroundMesh:
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
    psf : tuple of MoffatPsf
        PSF of each band; empty where none was measured.
    large : LargeObjects, optional
        Objects that the network sees in bins; None where there are none.
    steps : tuple of SkyStep
        Steps of the sky, to which the mesh adds up.
    doubts : tuple of str
        One sentence for each way in which the image is unlike light on a sky.
    uneven : numpy.ndarray, optional
        bool, shape ``(part y, part x, band)``: equal parts of the image in which the sky does not follow the mesh.
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
    psf: tuple[MoffatPsf, ...] = ()
    large: LargeObjects | None = None
    steps: tuple[SkyStep, ...] = ()
    doubts: tuple[str, ...] = ()
    uneven: np.ndarray | None = None

    def uneven_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """True for places in pixels around which the sky of any band is uneven: bool, shape ``(place,)``."""
        if self.uneven is None:
            return np.zeros(len(x), dtype=bool)
        y, x = (
            np.clip(np.nan_to_num(place) * n_parts // n, 0, n_parts - 1).astype(int)
            for place, n_parts, n in zip((y, x), self.uneven.shape, self.shape, strict=False)
        )
        return np.asarray(self.uneven[y, x].any(axis=1))

    @property
    def covered(self) -> np.ndarray:
        """bool, shape ``(mesh y, mesh x)``: boxes in the surroundings of large objects."""
        if self.large is None:
            return np.zeros([len(middle) for middle in self.centers], dtype=bool)
        sides = [
            np.clip(np.array([middle - BOX / 2, middle + BOX / 2]), 0, n)
            for middle, n in zip(self.centers, self.shape, strict=True)
        ]
        (top, bottom), (left, right) = ((side / BLOCK_SIDE).astype(int) for side in sides)
        sums = np.pad(np.cumsum(np.cumsum(self.large.labels > 0, axis=0), axis=1), ((1, 0), (1, 0)))
        tall = sums[bottom] - sums[top]
        inside = tall[:, right] - tall[:, left]
        return inside > _COVERED * (BOX / BLOCK_SIDE) ** 2

    def with_background(self, background: str | float) -> "BackgroundMesh":
        """The same noise on another background: ``"mesh"``, ``"none"``, or one level in data units."""
        if background == "mesh":
            return self
        level = 0.0 if background == "none" else float(background)
        return replace(self, background=np.full_like(self.background, level), steps=())

    def less_sources(self, sky: "BackgroundMesh") -> "BackgroundMesh":
        """The same on the background that was measured outside of the sources, in bands with enough of it.

        For `subtract`, without ``sky_noise``: it is not the noise that the network sees.
        """
        y, x = np.meshgrid(*sky.centers, indexing="ij")
        # The two meshes may have other centres: a steep background has two more at the edges of the image.
        own = self._at(self.background, x.ravel(), y.ravel()).reshape(sky.background.shape).astype(np.float32)
        # Under large objects there is hardly any sky to measure, and light of theirs in it.
        known = (sky.sigma > 0).any(axis=(0, 1)) & ~replace(self, centers=sky.centers).covered[:, :, None]
        background = np.where(known, sky.background, own)
        return replace(self, centers=sky.centers, background=background, sigma=sky.sigma, floor=None)

    def background_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Background at places in pixels: float64, shape ``(place, band)``."""
        level = self._at(self.background, x, y)
        for step in self.steps:
            level[:, step.band] += step.height * ((y, x)[step.axis] >= step.place)
        return level

    def sigma_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Noise of the sky at places in pixels: float64, shape ``(place, band)``, in the units of ``sigma``."""
        return self._at(self.sigma, x, y)

    def _at(self, mesh: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        places = zip((y, x), self.centers, strict=True)
        at = [np.interp(place, middle, np.arange(len(middle))) for place, middle in places]
        planes = [ndimage.map_coordinates(plane, at, order=1) for plane in np.moveaxis(mesh, 2, 0)]
        return np.stack(planes, axis=-1).astype(np.float64)

    def take(self, indices: Sequence[int | None]) -> "BackgroundMesh":
        """The bands at these positions; None stands for a band without noise."""
        known = [k is not None for k in indices]
        # A missing band takes the place of the first; its values are replaced below.
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
            uneven=None if self.uneven is None else planes(self.uneven) > 0,
            photons=values(self.photons, 0.0),
            largest=values(self.largest, np.inf),
            void=values(self.void, ()),
            steps=tuple(step._replace(band=k) for k, b in enumerate(indices) for step in self.steps if step.band == b),
            psf=values(self.psf, MoffatPsf()),
        )


def measure_background(image: SkyImage) -> BackgroundMesh:
    """Local background and noise of every band of an image.

    Parameters
    ----------
    image : SkyImage
        Any units; where it has an RMS plane, the plane gives the shape of the noise and only its level is measured
        (RMS planes of drizzled or PSF-matched images overstate the scatter of a pixel two to three times).

    Returns
    -------
    BackgroundMesh
        Identical to what `noise_from_rows` makes of `measure_row` for every strip of `strips`.

    Notes
    -----
    In every box the values are clipped repeatedly at 2.5 sigma about the median, sigma being the distance from the
    median down to the 15.87 % quantile: light of sources is positive and hardly reaches the lower half. Neighbouring
    boxes are then combined by a 3 x 3 median, so that a galaxy that fills one box does not raise it.

    Where the quantile and the median are one value, as in photon counts and coarse whole numbers, the background and
    the noise are those of sums over squares of pixels. One value that fills an area is no data.
    """
    has_rms = None if image.rms is None else image.has_rms
    rows = (measure_row(image.cutout(strip), image.shape, has_rms=has_rms) for strip in strips(image.shape))
    return noise_from_rows(image.shape, rows, has_rms=has_rms)


def near_sources(labels: np.ndarray, boxes: np.ndarray, window: Window) -> np.ndarray:
    """Grade pixels by their distance to sources, whose light goes on beyond their segments.

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
        `REACHES` of a source, in units of the longer side of its box; the largest number for the sources themselves.
    """
    near = np.zeros(window.shape, np.uint8)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    corner = np.array([window.y, window.x] * 2)
    for step, reach in enumerate(REACHES, start=1):
        margin = np.ceil(reach * sides).astype(np.int64)[:, None] * np.array([-1, -1, 1, 1])
        grown = np.clip(boxes + margin - corner, 0, [*window.shape] * 2)
        seen = (grown[:, :2] < grown[:, 2:]).all(axis=1)
        for top, left, bottom, right in grown[seen].tolist():
            near[top:bottom, left:right] = step
    near[labels > 0] = len(REACHES) + 1
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
        As in `BackgroundMesh`.
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
            row[i, band] = box_statistics(strip, np.s_[:, a:b, band], None if has_rms is None else has_rms[band], near)
    return row


def noise_from_rows(
    shape: tuple[int, int],
    rows: Iterable[np.ndarray],
    *,
    has_rms: tuple[bool, ...] | None = None,
    least_tilt: float = STEEP,
) -> BackgroundMesh:
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
        largest = tuple(ABSURD * np.nanmin(mesh["floor"][..., b], initial=np.inf) for b in range(n_bands))
        # A box that is full of marks (1e16 in Euclid's RMS planes) holds no noise.
        mesh[mesh["floor"] >= largest] = UNKNOWN_BOX
        floor = np.nan_to_num(_smoothed(mesh["floor"]))
    background, sigma = (np.nan_to_num(_smoothed(mesh[name])) for name in ("background", "sigma"))
    if any(steep):
        slopes = [_filled(mesh[name]) * np.array(steep) for name in ("slope_y", "slope_x")]
        background = np.where(steep, np.nan_to_num(_smoothed_slope(mesh["level"], slopes, centers)), background)
        background, centers = _extended(background, slopes, centers, shape)
        sigma, floor = (plane if plane is None else np.pad(plane, _BORDER, "edge") for plane in (sigma, floor))
    return BackgroundMesh(
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


def subtract(
    image: SkyImage, noise: BackgroundMesh, *, window: Window | None = None, sky_noise: bool = False
) -> SkyImage:
    """An image less its background, with its bad pixels known.

    Parameters
    ----------
    image : SkyImage
        The image, or the part of it inside ``window``.
    noise : BackgroundMesh
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
        sigma = _see(image, b, noise, window, (data[:, :, b], valid[:, :, b]), sky_noise=sky_noise)
        if rms is not None and sigma is not None:
            rms[:, :, b] = np.where(valid[:, :, b], sigma, 0)
    return replace(image, data=data, valid=valid, rms=rms)


def normalize(image: SkyImage, noise: BackgroundMesh, *, window: Window | None = None) -> tuple[np.ndarray, np.ndarray]:
    """An image in units of the noise of its sky.

    Parameters
    ----------
    image : SkyImage
        The image, or the part of it inside ``window``.
    noise : BackgroundMesh
        Noise of the whole image.
    window : Window, optional
        Where ``image`` lies in the whole image; the whole image if not given.

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
    snr, valid = np.empty_like(image.data, np.float32), np.empty_like(image.valid)
    for b in range(image.n_bands):  # one band at a time: a tile of all of them is large
        if not np.any(noise.sigma[:, :, b] > 0):
            snr[:, :, b], valid[:, :, b] = 0, False
            continue
        _see(image, b, noise, window, (snr[:, :, b], valid[:, :, b]), sky_noise=True, in_noise=True)
    return snr, valid


def _window_of(image: SkyImage, noise: BackgroundMesh, window: Window | None) -> Window:
    window = window or Window(0, 0, *noise.shape)
    if image.shape != window.shape:
        raise InputError(f"{image.name} is {image.shape} px, its window {window.shape}: expected the same")
    if image.n_bands != noise.sigma.shape[2]:
        raise InputError(f"{image.name} has {image.n_bands} bands, the noise map {noise.sigma.shape[2]}")
    return window


def _see(
    image: SkyImage,
    band: int,
    noise: BackgroundMesh,
    window: Window,
    out: tuple[np.ndarray, np.ndarray],
    *,
    sky_noise: bool,
    in_noise: bool = False,
) -> np.ndarray | None:
    """Write the light of one band, or its S/N, 0 where not valid, and where it is; its RMS where there is a plane."""
    sigma = rms_plane(image, np.s_[:, :, band], None if noise.has_rms is None else noise.has_rms[band])
    steps = [step for step in noise.steps if step.band == band]
    at_once = sigma is None and not steps
    factors = 1 / noise.sigma[:, :, band] if in_noise else None
    rows = [
        None if mesh is None else _rows(mesh, noise.centers, window)
        for mesh in (noise.background[:, :, band], factors if at_once else None)
    ]
    voids = noise.void[band] if noise.void else ()
    places = _positions(noise.centers[1], window.x, window.width)
    less_mesh(image.data[:, :, band], image.valid[:, :, band], rows, places, voids, out)
    if at_once:
        return None
    light = np.where(out[1], out[0], np.float32(np.nan))
    for step in steps:
        step.take_from(light, window)
    if sigma is not None:
        sigma = _noise_below(light, sigma, band, noise, window, sky_noise=sky_noise)
    if factors is not None:
        if sigma is not None:
            light /= sigma
        light *= interpolate_mesh(factors, noise.centers, window)
    out[1][...] = np.isfinite(light)
    out[0][...] = np.where(out[1], light, 0)
    return sigma


def _noise_below(
    light: np.ndarray, rms: np.ndarray, band: int, noise: BackgroundMesh, window: Window, *, sky_noise: bool
) -> np.ndarray:
    """RMS of a band with such light, which becomes NaN where the plane marks it as bad, or the RMS of its sky."""
    sigma = rms.copy()
    bad = ~((sigma > 0) & (sigma < (noise.largest[band] if noise.largest else np.inf)))
    sigma[bad], light[bad] = 1, np.nan
    if sky_noise and noise.floor is not None and noise.photons[band] > 0:
        floor = interpolate_mesh(noise.floor[:, :, band], noise.centers, window)
        # The result lies between the noise of the sky and the plane itself, however much is taken off.
        sources = np.float32(_GENEROUS * noise.photons[band]) * np.maximum(np.nan_to_num(light), 0)
        sky = np.sqrt(np.maximum(sigma * sigma - sources, floor * floor))
        sky = np.where(light > _SURELY_LIGHT * floor, floor, sky)
        sigma = np.minimum(sky, sigma)
    return sigma


def interpolate_mesh(mesh: np.ndarray, centers: tuple[np.ndarray, np.ndarray], window: Window) -> np.ndarray:
    """A mesh plane, bilinearly interpolated to the pixels of a window: float32, shape ``(y, x)``."""
    return interpolate_rows(_rows(mesh, centers, window), *_positions(centers[1], window.x, window.width))


def _rows(mesh: np.ndarray, centers: tuple[np.ndarray, np.ndarray], window: Window) -> np.ndarray:
    """A mesh plane, interpolated to the rows of a window: float32, shape ``(y, mesh x)``."""
    lower, fraction = _positions(centers[0], window.y, window.height)
    upper = np.minimum(lower + 1, mesh.shape[0] - 1)
    fraction = fraction[:, None]
    return mesh[lower] * (1 - fraction) + mesh[upper] * fraction


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


def _is_steep(boxes: np.ndarray, least: float) -> bool:
    """True if the background of a band rises by so many sigma across most of its boxes."""
    slopes = np.stack([boxes["slope_y"], boxes["slope_x"]])
    slope = np.hypot(*slopes)
    # ``spread`` is in units of the RMS plane where there is one; slopes are in data units.
    with np.errstate(over="ignore", invalid="ignore"):
        tilt = slope * BOX / (boxes["spread"] * np.where(np.isnan(boxes["floor"]), 1, boxes["floor"]))
    if not np.isfinite(tilt).any() or not np.nanmedian(tilt) > least:
        return False
    # The slope of a sky is alike in neighbouring boxes; slopes of galaxies and of noise are not.
    change = np.concatenate([np.hypot(*np.diff(slopes, axis=axis)).ravel() for axis in (1, 2)])
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
    wide, down, right = (np.pad(mesh, _BORDER, "edge") for mesh in (background, *slopes))
    beyond = [end - np.clip(end, middle[0], middle[-1]) for end, middle in zip(ends, centers, strict=True)]
    wide = wide + down * beyond[0][:, None, None] + right * beyond[1][:, None]
    return wide.astype(np.float32), tuple(ends)


def _void(boxes: np.ndarray) -> tuple[float, ...]:
    """Values that fill areas without data, of the statistics of all boxes in one band."""
    found = []
    for value in np.unique(boxes["repeated"][boxes["is_area"]]).tolist():
        same = boxes[boxes["repeated"] == value]
        if stands_alone(*(int(same[name].sum()) for name in ("n_repeated", "n_near", "n"))):
            found.append(value)
    return tuple(found)


def _photons(boxes: np.ndarray) -> float:
    """Photon noise of the band, from what `_photon_noise` found in its boxes."""
    return 0.0 if np.isnan(boxes).all() else max(float(np.nanmedian(boxes)), 0.0)


def _smoothed(mesh: np.ndarray) -> np.ndarray:
    """3 x 3 median of a mesh ``(y, x, band)`` over its finite values; holes filled from ever larger neighbourhoods."""
    result = mesh
    for _ in range(max(mesh.shape[:2]) + 1):
        padded = np.pad(result, _BORDER, constant_values=np.nan)
        around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
        around = around.reshape(*mesh.shape, 9)
        empty = np.isnan(around).all(axis=-1)
        median = np.full(mesh.shape, np.nan, np.float32)
        median[~empty] = np.nanmedian(around[~empty], axis=-1)
        result = median if result is mesh else np.where(np.isnan(result), median, result)
        holes = np.isnan(result)
        if (holes.any(axis=(0, 1)) == holes.all(axis=(0, 1))).all():  # only in bands that are nothing but holes
            break
    return result.astype(np.float32)


def _filled(mesh: np.ndarray) -> np.ndarray:
    """A mesh with its holes filled from their neighbours, 0 in a band that is nothing but holes."""
    return np.nan_to_num(np.where(np.isnan(mesh), _smoothed(mesh), mesh))
