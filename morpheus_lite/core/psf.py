"""Psf: the point spread function of one band, as a Moffat profile."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

GAUSSIAN = 100.0
"""Index from which a Moffat profile is as good as a Gaussian."""


@dataclass(frozen=True)
class Psf:
    """Point spread function of one band.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum in pixels, before the light is summed over the pixels; NaN where unknown.
    beta : float
        Index of the Moffat profile: 1.7 has wide wings, 5 hardly any, `GAUSSIAN` none; NaN where unknown.
    n_stars : int
        Stars that it was measured on; 0 where it was given, or is unknown.
    origin : str
        ``"given"``, ``"stars"``; ``"sources"`` where there are too few stars, and ``fwhm`` is that of the sharpest
        sources, which is an upper limit; ``"unknown"``.
    """

    fwhm: float = float("nan")
    beta: float = float("nan")
    n_stars: int = 0
    origin: str = "unknown"

    @property
    def is_known(self) -> bool:
        """True if the width is that of point sources."""
        return self.origin in ("given", "stars")

    def enclosed(self, radius: np.ndarray | float) -> np.ndarray:
        """Share of the light within a radius in pixels: float64; NaN where width or index are unknown."""
        return 1 - (1 + (np.asarray(radius, np.float64) / moffat_radius(self.fwhm, self.beta)) ** 2) ** (1 - self.beta)

    def record(self) -> dict[str, Any]:
        """Make the plain values that headers and catalogues keep."""
        return {
            "fwhm": _plain(self.fwhm),
            "beta": _plain(self.beta),
            "n_stars": self.n_stars,
            "origin": self.origin,
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Psf":
        """The PSF that `record` kept."""
        fwhm, beta = (float("nan") if record[name] is None else float(record[name]) for name in ("fwhm", "beta"))
        return cls(fwhm, beta, int(record["n_stars"]), str(record["origin"]))


def moffat_radius(fwhm: float, beta: float) -> float:
    """The scale radius of a Moffat profile ``(1 + (r / radius)^2)^-beta``."""
    return float(fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1))


def _plain(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None
