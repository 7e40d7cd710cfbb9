"""Telescopes and filters that the simulator can draw."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Telescope:
    """Optics of a telescope, which shape its point spread function.

    Parameters
    ----------
    diameter : float
        Metres (corner to corner for a segmented mirror).
    obscuration : float
        Diameter of the secondary's shadow in units of the primary's.
    struts : int
        How many struts hold the secondary.
    strut : float
        Thickness of a strut in units of the diameter.
    aberration : float
        Standard deviation of each low Zernike coefficient, in waves at 0.6 micron.
    segmented : bool
        Eighteen hexagons instead of a disc.
    seeing : tuple of float or None
        Range of the FWHM in arcsec at 1 micron, for a telescope below the atmosphere.
    """

    diameter: float
    obscuration: float = 0.33
    struts: int = 4
    strut: float = 0.02
    aberration: float = 0.015
    segmented: bool = False
    seeing: tuple[float, float] | None = None


HUBBLE = Telescope(2.4)
WEBB = Telescope(6.6, strut=0.018, aberration=0.012, segmented=True)
EUCLID = Telescope(1.2, obscuration=0.37, struts=3, strut=0.025)
GROUND = Telescope(8.0, seeing=(0.45, 0.85))


@dataclass(frozen=True)
class Filter:
    """A filter on a camera.

    Parameters
    ----------
    name : str
        Canonical name.
    wavelength : float
        Pivot wavelength in micron.
    width : float
        Full width of the band in units of the wavelength.
    telescope : Telescope
        Which telescope.
    native_pixel : float
        Detector pixel in arcsec.
    blur : float
        Sigma in arcsec of the Gaussian that stands for charge diffusion, jitter and the drizzle kernel.
    halo : float
        Share of the light in a wide scattered halo.
    halo_radius : float
        Half-light radius in arcsec of that halo.
    """

    name: str
    wavelength: float
    width: float
    telescope: Telescope
    native_pixel: float
    blur: float
    halo: float = 0.01
    halo_radius: float = 0.8

    @property
    def camera(self) -> str:
        """Camera it belongs to: images of one camera share their roll angles."""
        if self.telescope.segmented:
            return "nircam"
        if self.telescope is not HUBBLE:
            return "other"
        return "acs" if self.native_pixel < 0.1 else "ir"


def _filters() -> dict[str, Filter]:
    """All filters by name."""
    rows = [
        ("F435W", 0.433, 0.20, HUBBLE, 0.05, 0.028, 0.01),
        ("F606W", 0.592, 0.38, HUBBLE, 0.05, 0.029, 0.01),
        ("F775W", 0.770, 0.20, HUBBLE, 0.05, 0.026, 0.01),
        ("F814W", 0.806, 0.28, HUBBLE, 0.05, 0.026, 0.012),
        ("F850LP", 0.904, 0.14, HUBBLE, 0.05, 0.026, 0.035),
        ("F105W", 1.055, 0.25, HUBBLE, 0.128, 0.046, 0.015),
        ("F125W", 1.249, 0.23, HUBBLE, 0.128, 0.046, 0.015),
        ("F140W", 1.392, 0.28, HUBBLE, 0.128, 0.046, 0.015),
        ("F160W", 1.537, 0.17, HUBBLE, 0.128, 0.046, 0.015),
        ("F090W", 0.902, 0.22, WEBB, 0.031, 0.010, 0.01),
        ("F115W", 1.154, 0.19, WEBB, 0.031, 0.010, 0.01),
        ("F150W", 1.501, 0.21, WEBB, 0.031, 0.010, 0.01),
        ("F200W", 1.990, 0.23, WEBB, 0.031, 0.010, 0.01),
        ("F277W", 2.786, 0.24, WEBB, 0.063, 0.016, 0.01),
        ("F356W", 3.563, 0.22, WEBB, 0.063, 0.016, 0.01),
        ("F444W", 4.421, 0.23, WEBB, 0.063, 0.016, 0.01),
        ("F560W", 5.6, 0.21, WEBB, 0.11, 0.02, 0.02),
        ("F770W", 7.7, 0.29, WEBB, 0.11, 0.02, 0.02),
        ("VIS", 0.715, 0.50, EUCLID, 0.1, 0.030, 0.01),
        ("NISP_Y", 1.08, 0.24, EUCLID, 0.3, 0.060, 0.01),
        ("NISP_J", 1.37, 0.29, EUCLID, 0.3, 0.060, 0.01),
        ("NISP_H", 1.77, 0.28, EUCLID, 0.3, 0.060, 0.01),
        ("LSST_U", 0.37, 0.17, GROUND, 0.2, 0.0, 0.0),
        ("LSST_G", 0.48, 0.25, GROUND, 0.2, 0.0, 0.0),
        ("LSST_R", 0.62, 0.22, GROUND, 0.2, 0.0, 0.0),
        ("LSST_I", 0.75, 0.18, GROUND, 0.2, 0.0, 0.0),
        ("LSST_Z", 0.87, 0.12, GROUND, 0.2, 0.0, 0.0),
        ("LSST_Y", 0.97, 0.09, GROUND, 0.2, 0.0, 0.0),
        ("VISTA_J", 1.25, 0.14, GROUND, 0.34, 0.0, 0.0),
        ("VISTA_H", 1.65, 0.18, GROUND, 0.34, 0.0, 0.0),
        ("VISTA_KS", 2.15, 0.15, GROUND, 0.34, 0.0, 0.0),
    ]
    return {row[0]: Filter(*row) for row in rows}


FILTERS = _filters()
"""Every filter the simulator knows, by name."""
