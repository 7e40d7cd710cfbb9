"""Models of sources, by which their light is taken out of the surroundings of others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

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


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Models of all sources of an image: their profiles, in ellipses.

    Parameters
    ----------
    labels : numpy.ndarray
        int, shape ``(source,)``, ascending.
    places : numpy.ndarray
        float64, shape ``(source, 2)``: row and column of the centre.
    axes : numpy.ndarray
        float64, shape ``(source, 2)``: semi-axes in pixels.
    angles : numpy.ndarray
        float64, shape ``(source,)``: major axis, counter-clockwise from the x axis, in radians.
    radii, growth : numpy.ndarray
        float64, shape ``(source, radius)``: as in `~morpheus_lite.catalog.total_flux.FittedProfile`.
    flux : numpy.ndarray
        float64, shape ``(source, band)``: 0 of sources without a model.
    of : dict
        Rows of the neighbours of each source that has some, by its label.
    """

    labels: np.ndarray
    places: np.ndarray
    axes: np.ndarray
    angles: np.ndarray
    radii: np.ndarray
    growth: np.ndarray
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
        own = int(np.searchsorted(self.labels, label))
        return self.brightness(own, y, x)[..., None] * self.flux[own], wings

    def brightness(self, row: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Share of the light of a source in one pixel at places."""
        dy, dx = y - self.places[row, 0], x - self.places[row, 1]
        cosine, sine = np.cos(self.angles[row]), np.sin(self.angles[row])
        along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
        ratio = self.axes[row, 1] / self.axes[row, 0]
        distance = 0.5 * np.log(np.maximum(along * along * ratio + across * across / ratio, 1e-3))
        return np.exp(np.interp(distance, self._at[row], self._log_brightness[row], right=-np.inf))

    @cached_property
    def _at(self) -> np.ndarray:
        """Logarithm of the radius in the middle of each ring."""
        inner = np.pad(self.radii[:, :-1], ((0, 0), (1, 0)))
        return 0.5 * np.log((inner**2 + self.radii**2) / 2)

    @cached_property
    def _log_brightness(self) -> np.ndarray:
        """Logarithm of the share of the light in a pixel of each ring."""
        light = np.diff(self.growth, prepend=0, axis=1)
        area = np.pi * np.diff(self.radii**2, prepend=0, axis=1)
        return np.log(np.maximum(light / area, 1e-300))

    @cached_property
    def reach(self) -> np.ndarray:
        """float64, shape ``(source, radius)``: radius of the middle of each ring."""
        return np.exp(self._at)


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
    axes = np.stack([rows["semimajor_axis"], rows["semiminor_axis"]], axis=1)
    known = np.isfinite(rows["growth"]).all(axis=1) & np.isfinite(axes).all(axis=1) & (axes[:, 1] > 0)
    models = Neighbors(
        labels=rows["label"],
        places=np.stack([rows["y_centroid"], rows["x_centroid"]], axis=1),
        axes=axes,
        angles=np.deg2rad(rows["orientation"]),
        radii=rows["growth_radii"],
        growth=rows["growth"],
        flux=np.where(known[:, None], flux, 0),
        of={},
    )
    rows_of_models = np.flatnonzero(known & (models.flux > 0).any(axis=1))
    if not len(rows_of_models):
        return models
    usual = np.where(np.array(noise) > 0, noise, np.inf)
    strength = np.max(models.flux / usual, axis=1)
    bright = np.exp(models._log_brightness) * strength[:, None] > _FAINT
    stretch = np.sqrt(axes[:, 0] / np.where(known, axes[:, 1], 1))
    reach = np.minimum(np.where(bright, models.reach, 0).max(axis=1) * stretch, _FURTHEST)
    size = rows["kron_scale_radius"]
    tree = cKDTree(models.places[rows_of_models])
    of: dict[int, np.ndarray] = {}
    for row in rows_of_models.tolist():
        near = rows_of_models[np.sort(tree.query_ball_point(models.places[row], size[row] + _FURTHEST))]
        apart = np.hypot(*(models.places[near] - models.places[row]).T)
        near = near[(near != row) & (apart < size[row] + reach[near])]
        if not len(near):
            continue
        here = np.array([models.brightness(other, *models.places[row]) for other in near.tolist()])
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
