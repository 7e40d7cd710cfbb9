"""MoffatPsf: the point spread function of one band, as a Moffat profile."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from morpheus_lite.core.facts import FACTS
from morpheus_lite.errors import OptionError

WIDEST = 3.5
"""FWHM in pixels up to which a network sees an image as it is."""

_WANTED = 3.0  # FWHM of the widest band after binning, at most
_SHARPEST = 1.1  # FWHM of the sharpest band after binning, at least

GAUSSIAN = 100.0
"""Index from which a Moffat profile is as good as a Gaussian."""

FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
"""FWHM of a Gaussian of sigma 1."""


@dataclass(frozen=True)
class MoffatPsf:
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
        sources, which is an upper limit; ``"filter"``, what is usual for the filter; ``"unknown"``.
    spread : float
        Median of the stars' spread beside this profile, as `~morpheus_lite.noise.psf.excess_light` measures it: PSFs
        are no Moffat profiles. NaN where the stars do not tell.
    """

    fwhm: float = float("nan")
    beta: float = float("nan")
    n_stars: int = 0
    origin: str = "unknown"
    spread: float = 0.0

    @property
    def is_known(self) -> bool:
        """True if the width is that of point sources."""
        return self.origin in ("given", "stars")

    @property
    def is_star(self) -> bool:
        """True if width and spread are those of stars."""
        return self.is_known and math.isfinite(self.spread)

    def enclosed(self, radius: np.ndarray | float) -> np.ndarray:
        """Share of the light within a radius in pixels: float64; NaN where width or index are unknown."""
        return 1 - (1 + (np.asarray(radius, np.float64) / moffat_radius(self.fwhm, self.beta)) ** 2) ** (1 - self.beta)

    @classmethod
    def parse(cls, text: str | float, unit: str, pixel_scale: float | None) -> "MoffatPsf":
        """Read a PSF that the user gives.

        Parameters
        ----------
        text : str or float
            FWHM, or ``"FWHM,BETA"``. A FWHM that ends in ``px`` or ``arcsec`` is in this unit.
        unit : {"arcsec", "pixel"}
            Unit of a FWHM without; pixels where the pixel scale is not known.
        pixel_scale : float or None
            Side of a pixel in arcsec.

        Raises
        ------
        OptionError
            It is none, or in arcsec for an image without a pixel scale.
        """
        found = _GIVEN.match(str(text))
        if found is None:
            raise OptionError(f"psf {str(text)[:60]!r}: expected FWHM or FWHM,BETA, such as 0.18,2.5 or 3.1px")
        fwhm, beta = float(found["fwhm"]), float(found["beta"] or "nan")
        in_arcsec = found["unit"] == "arcsec" or (not found["unit"] and unit == "arcsec" and pixel_scale is not None)
        if in_arcsec and pixel_scale is None:
            raise OptionError(f"psf {text}: the image has no WCS; give the FWHM in pixels, such as 3.1px")
        fwhm = fwhm / pixel_scale if in_arcsec and pixel_scale else fwhm
        if not 0 < fwhm < math.inf or beta <= 1 or beta == math.inf:
            raise OptionError(f"psf {text}: expected a positive FWHM, and an index beta above 1")
        return cls(fwhm, beta, origin="given")

    def record(self) -> dict[str, Any]:
        """Make the plain values that headers and catalogues keep."""
        fwhm, beta = (round(value, 3) if np.isfinite(value) else None for value in (self.fwhm, self.beta))
        return {"fwhm": fwhm, "beta": beta, "n_stars": self.n_stars, "origin": self.origin}


_USUAL_FWHM = {name: fwhm for names, fwhm in FACTS["psf_fwhm"].items() for name in names.split()}


def usual_psf(band: str, pixel_scale: float | None) -> MoffatPsf:
    """The PSF that drizzled images in a filter of HST, JWST or Euclid VIS usually have, to 10 %; unknown for others.

    Examples
    --------
    >>> usual_psf("F160W", 0.06).fwhm, usual_psf("DECAM-Z", 0.26).is_known
    (3.0, False)
    """
    fwhm = _USUAL_FWHM.get(band)
    if fwhm is None or pixel_scale is None:
        return MoffatPsf()
    return MoffatPsf(fwhm / pixel_scale, origin="filter")


_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?"
_GIVEN = re.compile(rf"^(?P<fwhm>{_NUMBER})(?P<unit>px|arcsec)?(?:,(?P<beta>{_NUMBER}))?$")


def moffat_radius(fwhm: float, beta: float) -> float:
    """The scale radius of a Moffat profile ``(1 + (r / radius)^2)^-beta``."""
    return float(fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1))


def canonical_factor(psfs: Iterable[MoffatPsf]) -> int:
    """Choose how many pixels per side make one bin, for a network that was made for narrow PSFs.

    Parameters
    ----------
    psfs : iterable of MoffatPsf
        Of the bands that the network sees; those that are not known do not count.

    Returns
    -------
    int
        1 where the widest PSF has a FWHM of up to `WIDEST` pixels, or none is known. Else what brings it to 1.75 to 3
        pixels, but no more than what leaves the sharpest PSF 1.1 pixels.
    """
    widths = [psf.fwhm for psf in psfs if psf.is_known and np.isfinite(psf.fwhm)]
    if not widths or max(widths) <= WIDEST:
        return 1
    return max(1, min(math.ceil(max(widths) / _WANTED), math.floor(min(widths) / _SHARPEST)))
