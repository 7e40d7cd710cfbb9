"""Stamps: the surroundings of one source, with its neighbours taken out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from morpheus_lite.catalog.kernels import distances, fill_stamp, open_stamp
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.labels import fill_gaps
from morpheus_lite.core.windows import Window
from morpheus_lite.noise.detection_image import DetectionImage, summed

_CLEAR = 3.0
"""Times the noise from which the light beside a gap tells how it goes on inside."""
_FAINT = 0.02
"""Brightness of a pixel, in units of the noise, below which a neighbour does not matter."""
_FURTHEST = 256.0
"""Pixels beyond which none does."""
_MATTERS = 0.01, 0.1
"""Light of neighbours in a Kron ellipse that matters: as a share of the flux, and of its error."""
# Total over isophotal flux of isolated sources is 1.05 + 9.4 / snr in simulated fields of GOODS-S depth; the flux of a
# model is no more than half as much again, because the ellipses of faint sources beside bright ones are full of light
# that is not theirs.
_WINGS, _GROWTH, _MOST = 1.05, 9.4, 1.0


_MODEL = "x_centroid", "y_centroid", "semimajor_axis", "semiminor_axis", "orientation"


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Models of all sources of an image: their profiles, in ellipses.

    Parameters
    ----------
    rows : mapping
        Columns ``label``, ascending, and those of places, ellipses, and the curve of growth, as in the catalogue.
    flux : numpy.ndarray
        float64, shape ``(source, band)``: 0 of sources without a model.
    of : dict
        Rows of the neighbours of each source that has some, by its label.
    """

    rows: Mapping[str, np.ndarray]
    flux: np.ndarray
    of: Mapping[int, np.ndarray]

    def light(self, label: int, shape: tuple[int, int], corner: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Light of a source and of its neighbours: float64, shape ``(y, x, band)`` each.

        Parameters
        ----------
        label : int
            The source.
        shape : (int, int)
            Height and width of its surroundings.
        corner : (int, int)
            Column and row that they begin at.
        """
        wings = np.zeros((*shape, self.flux.shape[1]))
        y, x = np.arange(shape[0])[:, None] + corner[1], np.arange(shape[1]) + corner[0]
        for row in self.of[label].tolist():
            wings += self.brightness(row, y, x)[..., None] * self.flux[row]
        own = int(np.searchsorted(self.rows["label"], label))
        return self.brightness(own, y, x)[..., None] * self.flux[own], wings

    def brightness(self, row: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Share of the light of a source in one pixel at places."""
        middle_x, middle_y, major, minor, angle = (self.rows[name][row] for name in _MODEL)
        dy, dx, angle = y - middle_y, x - middle_x, np.deg2rad(angle)
        cosine, sine = np.cos(angle), np.sin(angle)
        along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
        ratio = minor / major
        distance = 0.5 * np.log(np.maximum(along * along * ratio + across * across / ratio, 1e-3))
        return np.exp(np.interp(distance, self._at[row], self._log_brightness[row], right=-np.inf))

    @cached_property
    def _at(self) -> np.ndarray:
        """Logarithm of the radius in the middle of each ring."""
        radii = self.rows["growth_radii"]
        inner = np.pad(radii[:, :-1], ((0, 0), (1, 0)))
        return 0.5 * np.log((inner**2 + radii**2) / 2)

    @cached_property
    def _log_brightness(self) -> np.ndarray:
        """Logarithm of the share of the light in a pixel of each ring."""
        light = np.diff(self.rows["growth"], prepend=0, axis=1)
        area = np.pi * np.diff(self.rows["growth_radii"] ** 2, prepend=0, axis=1)
        return np.log(np.maximum(light / area, 1e-300))


def find_neighbors(rows: Mapping[str, np.ndarray], bands: Sequence[str], noise: Sequence[float]) -> Neighbors:
    """Models of all sources, and whose light reaches whom.

    Parameters
    ----------
    rows : mapping
        Rows of all sources, ordered by label.
    bands : sequence of str
        The bands.
    noise : sequence of float
        Noise of one pixel in each.
    """
    from scipy.spatial import cKDTree

    flux = np.stack([_flux(rows, band) for band in bands], axis=1)
    x, y, major, minor, _ = (rows[name] for name in _MODEL)
    known = np.isfinite(rows["growth"]).all(axis=1) & np.isfinite(major) & (minor > 0)
    own = {name: rows[name] for name in (*_MODEL, "label", "growth_radii", "growth")}
    models = Neighbors(own, np.where(known[:, None], flux, 0), {})
    rows_of_models = np.flatnonzero(known & (models.flux > 0).any(axis=1))
    if not len(rows_of_models):
        return models
    usual = np.where(np.array(noise) > 0, noise, np.inf)
    strength = np.max(models.flux / usual, axis=1)
    bright = np.exp(models._log_brightness) * strength[:, None] > _FAINT
    stretch = np.sqrt(major / np.where(known, minor, 1))
    reach = np.minimum(np.where(bright, np.exp(models._at), 0).max(axis=1) * stretch, _FURTHEST)
    size = rows["kron_scale_radius"]
    places = np.stack([y, x], axis=1)
    tree = cKDTree(places[rows_of_models])
    of: dict[int, np.ndarray] = {}
    for row in rows_of_models.tolist():
        near = rows_of_models[np.sort(tree.query_ball_point(places[row], size[row] + _FURTHEST))]
        apart = np.hypot(*(places[near] - places[row]).T)
        near = near[(near != row) & (apart < size[row] + reach[near])]
        if not len(near):
            continue
        here = np.array([models.brightness(other, *places[row]) for other in near.tolist()])
        light = (here @ models.flux[near]) * np.pi * size[row] ** 2
        errors = np.array([rows[f"kron_fluxerr_{band}"][row] for band in bands])
        if (light > _MATTERS[0] * models.flux[row] + _MATTERS[1] * np.nan_to_num(errors)).any():
            of[int(rows["label"][row])] = near
    return replace(models, of=of)


def _flux(rows: Mapping[str, np.ndarray], band: str) -> np.ndarray:
    """Flux of each model in one band."""
    with np.errstate(invalid="ignore", divide="ignore"):
        most = _MOST * rows[f"segment_flux_{band}"] * (_WINGS + _GROWTH / np.maximum(rows["snr"], 1))
    return np.maximum(np.nan_to_num(np.fmin(rows[f"total_flux_{band}"], most)), 0)


# Light of neighbours over that of their models: 68 % of sources in simulated fields have 0.5 to 1.3; what is left after
# it was fitted around a source.
_SPREAD_OF_WINGS, _MOST_WINGS, _WINGS_ERROR = 0.4, 2.0, 0.15


@dataclass(frozen=True, eq=False)
class Ellipse:
    """Position, size and orientation of a source.

    Parameters
    ----------
    y, x : float
        Centre in pixels.
    a, b : float
        Semi-axes in pixels: standard deviations of the light along them.
    theta : float
        Major axis, counter-clockwise from the x axis, in radians.
    """

    y: float
    x: float
    a: float
    b: float
    theta: float


@dataclass(frozen=True, eq=False)
class Stamp:
    """Light around one source.

    Parameters
    ----------
    light : numpy.ndarray
        float64, shape ``(y, x, band)``. Pixels of neighbours hold what lies opposite the centre, or 0 where that
        cannot be used; invalid ones hold 0.
    variance : numpy.ndarray
        float64, shape ``(y, x, band)``: of the noise of a pixel.
    covered : numpy.ndarray
        bool, shape ``(y, x, band)``: False where ``light`` is 0 for want of data.
    weights : numpy.ndarray
        float64, shape ``(y, x, band)``: of the bands in the detection image.
    detection, detection_variance : numpy.ndarray
        float64, shape ``(y, x)``: the detection image, and of its noise. Pixels of neighbours, and those that no band
        covers, hold what lies opposite the centre; where that cannot be used either, what lies between both sides
        in the source, or 0.
    source_mask, neighbor_mask : numpy.ndarray
        bool, shape ``(y, x)``: pixels of the source, and of other sources.
    usable : numpy.ndarray
        bool, shape ``(y, x, band)``: valid pixels.
    ellipse : Ellipse
        The source, its centre in pixels of the stamp.
    corner : (int, int)
        Column and row of the whole image that the stamp begins at.
    wings : numpy.ndarray or None
        float64, shape ``(y, x, band)``: light of neighbours that was subtracted; None where there was none.
    wings_error : float
        How far it may be off, as a share of the models.
    """

    light: np.ndarray
    variance: np.ndarray
    covered: np.ndarray
    weights: np.ndarray
    detection: np.ndarray
    detection_variance: np.ndarray
    source_mask: np.ndarray
    neighbor_mask: np.ndarray
    usable: np.ndarray
    ellipse: Ellipse
    corner: tuple[int, int]
    wings: np.ndarray | None = None
    wings_error: float = 0.0

    @cached_property
    def elliptical_radius(self) -> np.ndarray:
        """float64, shape ``(y, x)``: distance from the centre in units of the ellipse."""
        one = self.ellipse
        return distances(self.source_mask.shape, (one.y, one.x), one.theta, one.a / one.b, one.a)


def cut_stamp(
    labels: np.ndarray,
    image: SkyImage,
    sigmas: np.ndarray,
    detection: DetectionImage,
    label: int,
    window: Window,
    ellipse: Ellipse,
    *,
    origin: tuple[int, int] = (0, 0),
    neighbors: Neighbors | None = None,
) -> Stamp:
    """The stamp of one source.

    Parameters
    ----------
    labels : numpy.ndarray
        int32, shape ``(y, x)``.
    image : SkyImage
        The image.
    sigmas : numpy.ndarray
        float64, shape ``(band,)``: noise of the sky at the source, for bands whose RMS is not known there.
    detection : DetectionImage
        How the bands become one.
    label : int
        Which source.
    window : Window
        Its bounding box and what is taken around, in ``labels``.
    ellipse : Ellipse
        Its centre, in pixels of the whole image, and shape.
    origin : (int, int)
        Row and column of the whole image that ``labels`` and ``image`` begin at.
    neighbors : Neighbors, optional
        Models of the light of other sources, which are subtracted.
    """
    corner, part = (window.x + origin[1], window.y + origin[0]), window.slices
    here = Ellipse(ellipse.y - corner[1], ellipse.x - corner[0], ellipse.a, ellipse.b, ellipse.theta)
    near = labels[part]
    # Band beside band, however the image lies in memory: sums round by their order.
    usable, light = np.ascontiguousarray(image.valid[part]), image.data[part].astype(np.float64, order="C")
    rms = None if image.rms is None else image.rms[part]
    source_mask, neighbor_mask, variance, whole = open_stamp(near, label, usable, light, rms, sigmas)
    if whole:
        weights = np.broadcast_to(detection.everywhere, light.shape)
    else:
        weights = detection.weights(light, usable, source_mask)
    wings, wings_error = None, 0.0
    if neighbors is not None:
        own, wings = (plane * usable for plane in neighbors.light(label, near.shape, corner))
        planes = [summed(weights, one) for one in (light, own, wings)]
        scale, wings_error = _scale_of_wings(planes, near == 0, summed(weights**2, variance))
        wings *= scale
        light -= wings
    (filled, covered), (together, noisy, there) = fill_stamp(
        light, variance, usable, weights, neighbor_mask, (here.y, here.x)
    )
    if not whole and not (seen := np.asarray(usable.any(axis=2))).all():
        y, x = np.nonzero(source_mask)
        if not there[y.min() : y.max() + 1, x.min() : x.max() + 1].all():
            # What lies in the middle of a source has no opposite.
            sky = _CLEAR * float(np.sqrt(np.median(noisy)))
            _, lines = fill_gaps(source_mask.astype(np.int32), ~seen, together, floor=sky)
            together = np.where(there, together, lines)
        if seen.any():
            # Pixels that no band covers hold mirrored light, and are as noisy as the others.
            noisy = np.where(seen, noisy, noisy[seen].mean())
    light_and_noise = filled, variance, covered, weights, together, noisy
    masks = source_mask, neighbor_mask, usable
    return Stamp(*light_and_noise, *masks, here, corner, wings, wings_error)


def _scale_of_wings(planes: list[np.ndarray], sky: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """By how much the light of neighbours differs from their models, and the error of that.

    Parameters
    ----------
    planes : list of numpy.ndarray
        float64, shape ``(y, x)``: what is seen, the model of the source itself, and those of its neighbours.
    sky : numpy.ndarray
        bool, shape ``(y, x)``: pixels without a source, in which the models are fitted to the light.
    variance : numpy.ndarray
        float64, shape ``(y, x)``: noise of the light.
    """
    known = sky & (variance > 0)
    light, *models = (plane[known] for plane in planes)
    weighted = np.stack(models) / variance[known]
    matrix, seen = weighted @ np.stack(models).T, weighted @ light
    before = 1 / _SPREAD_OF_WINGS**2
    matrix[1, 1] += before
    matrix[0, 0] += 1e-12 * matrix[1, 1] + 1e-300
    inverse = np.linalg.inv(matrix)
    scale, error = float((inverse @ (seen + np.array([0, before])))[1]), float(np.sqrt(inverse[1, 1]))
    return min(max(scale, 0.0), _MOST_WINGS), float(np.hypot(error, _WINGS_ERROR))
