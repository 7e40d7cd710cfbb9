"""Footprint: which part of the sky a tile covers, and how far inside of it a position lies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from scipy import ndimage

from morpheus_lite.core.windows import Window
from morpheus_lite.io.image_reader import ImageSource
from morpheus_lite.io.wcs import celestial_wcs, header_of_wcs

NODES = 33
"""Rows, and columns, at which it is looked up whether a tile has valid pixels."""

_AT_ONCE = 1 << 20
"""Pixels of the largest image that is read as a whole for them."""

QUANTUM = 1 / 64
"""Distances are whole multiples of this many pixels, so that a position half-way between two tiles is a tie whichever
of the two it is computed from."""


@dataclass(frozen=True, eq=False)
class Footprint:
    """Footprint of a tile on the sky.

    Parameters
    ----------
    shape : (int, int)
        Height and width in pixels.
    header : str
        Its celestial WCS as FITS cards; empty without one.
    valid : numpy.ndarray or None
        bool, shape ``(NODES, NODES)``: whether there are valid pixels at evenly spaced places from the first to the
        last row and column; None where there are everywhere.
    valid_share : float
        Share of valid pixels, in [0, 1], from `NODES` rows.
    """

    shape: tuple[int, int]
    header: str
    valid: np.ndarray | None = None
    valid_share: float = 1.0

    @cached_property
    def wcs(self) -> WCS | None:
        """Celestial WCS of the tile."""
        wcs = celestial_wcs(fits.Header.fromstring(self.header), self.shape, "tile") if self.header else None
        return None if wcs is None else wcs.celestial

    @cached_property
    def pixel_scale(self) -> float:
        """Side of a pixel in arcseconds (geometric mean)."""
        assert self.wcs is not None
        return float(np.sqrt(self.wcs.proj_plane_pixel_area().to_value("arcsec2")))

    @cached_property
    def circle(self) -> tuple[np.ndarray, float]:
        """Unit vector of the middle, shape ``(3,)``, and the largest distance from it to a corner in radians."""
        assert self.wcs is not None
        height, width = self.shape
        x = np.array([(width - 1) / 2, -0.5, width - 0.5, -0.5, width - 0.5])
        y = np.array([(height - 1) / 2, -0.5, -0.5, height - 0.5, height - 0.5])
        vectors = unit_vectors(*self.sky(x, y))
        middle = vectors[0]
        return middle, float(np.max(2 * np.arcsin(np.linalg.norm(vectors[1:] - middle, axis=1) / 2)))

    def sky(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ICRS right ascension and declination in degrees of pixel positions."""
        assert self.wcs is not None
        if not len(x):
            return np.zeros(0), np.zeros(0)
        place = self.wcs.pixel_to_world(x, y).icrs
        return place.ra.deg, place.dec.deg

    def edge_distance(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Distance of positions from the edge of the tile.

        Parameters
        ----------
        ra, dec : numpy.ndarray
            ICRS in degrees, shape ``(n,)``.

        Returns
        -------
        numpy.ndarray
            float64, shape ``(n,)``: distance in arcseconds to the nearest edge of the valid area, along rows
            or columns; -inf outside of the tile.
        """
        if not len(ra):
            return np.zeros(0)
        assert self.wcs is not None
        x, y = (np.nan_to_num(one, nan=-1e9) for one in self.wcs.world_to_pixel(SkyCoord(ra, dec, unit="deg")))
        height, width = self.shape
        inside = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y)) + 0.5
        if self._depth is not None:
            places = [y / max(height - 1, 1) * (NODES - 1), x / max(width - 1, 1) * (NODES - 1)]
            depth = np.minimum(inside, ndimage.map_coordinates(self._depth, places, order=1))
            inside = np.where(inside > 0, depth, inside)
        steps = np.round(inside / QUANTUM)
        with np.errstate(invalid="ignore"):
            return np.where(inside > 0, steps * QUANTUM * self.pixel_scale, -np.inf)

    @cached_property
    def _depth(self) -> np.ndarray | None:
        """Pixels from each node to the nearest one without valid pixels."""
        if self.valid is None:
            return None
        steps = [(length - 1) / (NODES - 1) for length in self.shape]
        return ndimage.distance_transform_edt(self.valid, sampling=steps)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        packed = None if self.valid is None else np.packbits(self.valid).tobytes().hex()
        circle = None if self.wcs is None else [*self.circle[0].tolist(), self.circle[1]]
        return {**asdict(self), "valid": packed, "circle": circle}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Footprint":
        """Make one from the values of `to_dict`."""
        valid, (height, width) = values["valid"], values["shape"]
        if valid is not None:
            bits = np.frombuffer(bytes.fromhex(valid), np.uint8)
            valid = np.unpackbits(bits, count=NODES * NODES).reshape(NODES, NODES).astype(bool)
        return cls((height, width), values["header"], valid, values["valid_share"])


@dataclass(frozen=True, eq=False)
class Footprints:
    """Footprint of several tiles that are one image.

    Parameters
    ----------
    tiles : tuple of Footprint
        Of each.
    """

    tiles: tuple[Footprint, ...]

    def edge_distance(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Distance of positions from the edge of the tile in which they lie deepest, as `Footprint.edge_distance`."""
        return np.max([tile.edge_distance(ra, dec) for tile in self.tiles], axis=0)


def footprint_of(source: ImageSource) -> Footprint:
    """The footprint of an image: reads `NODES` of its rows."""
    height, width = source.shape
    columns = np.round(np.linspace(0, width - 1, NODES)).astype(int)
    lines = np.round(np.linspace(0, height - 1, NODES)).astype(int)
    if height * width <= _AT_ONCE:
        rows = np.asarray(source.read().valid.any(axis=2))[lines]
    else:
        rows = np.stack([source.read(Window(y, 0, 1, width)).valid[0].any(axis=1) for y in lines.tolist()])
    valid, share = rows[:, columns], float(rows.mean(axis=1).mean())
    # A node may hit one bad pixel; only holes that are larger than the nodes are apart are holes of the footprint.
    closed = np.array(ndimage.binary_closing(np.pad(valid, 1, mode="edge"), np.ones((3, 3), bool)), dtype=bool)
    filled = closed[1:-1, 1:-1] | valid
    header = "" if source.wcs is None or not source.wcs.has_celestial else header_of_wcs(source.wcs).tostring()
    return Footprint(source.shape, header, None if filled.all() else filled, share)


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Directions of ICRS positions in degrees: float64, shape ``(n, 3)``."""
    ra, dec = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
