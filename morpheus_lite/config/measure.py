"""Options of `~morpheus_lite.catalog.measure`, checked when they are made."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from morpheus_lite.config.schema import check, option
from morpheus_lite.errors import OptionError

if TYPE_CHECKING:  # the commands' help needs the options, and no pixels
    from morpheus_lite.core.image import SkyImage

LARGEST_MARGIN = 256
"""Pixels around a source's bounding box beyond which nothing counts for its row."""

APERTURE_UNITS = ("arcsec", "pixel")

BACKGROUNDS = ("mesh", "none")
"""What is subtracted of each pixel, beside a level."""

_SMALLEST_MARGIN = 24
_RADII = {"arcsec": (0.25, 0.5, 1.0), "pixel": (3.0, 5.0, 10.0)}


@dataclass(frozen=True)
class MeasureOptions:
    """Options of `~morpheus_lite.catalog.measure`.

    Parameters
    ----------
    photometry : bool
        Kron and aperture fluxes, magnitudes, half-light radius and errors of positions, with the noise of the image.
    structure : bool
        Petrosian radius, concentration, asymmetry, Gini and M20; needs ``photometry``.
    aperture_radii : tuple of float, optional
        Radii of the circular apertures. None takes 0.25, 0.5 and 1 arcsec, or 3, 5 and 10 pixels without a WCS.
    aperture_unit : {"arcsec", "pixel"}
        Unit of ``aperture_radii``.
    kron_scale, kron_minimum : float
        The Kron ellipse has ``kron_scale`` times the first moment of the light as its semi-axes, the moment not below
        ``kron_minimum`` in units of the source's own (Kron 1980; SExtractor's ``PHOT_AUTOPARAMS``).
    psf_fwhm : float, optional
        FWHM of the PSF of the detection image, in the unit of the apertures (arcsec, or pixels without a WCS), which
        makes the correction to total light surer. None tries all widths that the source allows.
    gain : float or mapping of band to float, optional
        Electrons in one unit of data: the photon noise of the sources is added to the errors. None takes it from the
        header, unless the image has RMS planes, which are taken to hold it.
    share_blends : bool
        Add ``shared_flux_<band>``, in which the pieces of a source that was split share its pixels. Needs
        ``photometry``.
    local_background : bool
        Subtract the median of the sky around each source from Kron and aperture fluxes, after ``background``.
    background : {"mesh", "none"} or float, optional
        What is subtracted of each pixel before anything else: the local background, which a mesh of 128 pixels shows;
        nothing; or one level in data units. None takes the mesh, and nothing where sources are found by rank votes, as
        the published package does.
    saturation : float, optional
        Data value from which a pixel is saturated. None takes ``SATURATE`` of each band's header, if there.
    largest_side : int
        Sources whose bounding box is longer get NaN for everything beyond the segment, and the flag TOO_LARGE.
    outside_domain : bool
        Set the flag OUTSIDE_DOMAIN of every source: whoever ran the model knows. It is set too where the provenance
        of the class maps says that the image lies outside (``"domain"``).

    Raises
    ------
    OptionError
        A value out of range.

    Examples
    --------
    >>> MeasureOptions(aperture_radii=(2, 4), aperture_unit="pixel").aperture_names(None)
    ('2px', '4px')
    """

    photometry: bool = True
    structure: bool = True
    aperture_radii: tuple[float, ...] | None = option(None, above=0)
    aperture_unit: str = option("arcsec", choices=APERTURE_UNITS)
    kron_scale: float = option(2.5, above=0)
    kron_minimum: float = option(1.4, above=0)
    psf_fwhm: float | None = option(None, above=0)
    gain: float | Mapping[str, float] | None = option(None, above=0)
    share_blends: bool = False
    local_background: bool = False
    background: str | float | None = None
    saturation: float | None = None
    largest_side: int = option(1024, low=1)
    outside_domain: bool = False

    def __post_init__(self) -> None:
        check(self)
        if self.share_blends and not self.photometry:
            raise OptionError("share_blends: the fluxes need photometry=True")
        check_background(self.background)

    @classmethod
    def paper(cls) -> "MeasureOptions":
        """Options for the columns that need only the segments: those of Hausen & Robertson (2020), and fluxes."""
        return cls(photometry=False, structure=False)

    def background_of(self, *, by_votes: bool) -> str | float | None:
        """Choose what is subtracted, by whether rank votes find the sources; None leaves the image as it is."""
        return self.background if self.background is not None or by_votes else "mesh"

    @property
    def chosen(self) -> dict[str, Any]:
        """The fields that are not the defaults."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {one.name: values[one.name] for one in fields(self) if values[one.name] != one.default}

    def with_fields(self, changed: Mapping[str, Any]) -> "MeasureOptions":
        """The same options with some fields changed, as a file of options gives them.

        Raises
        ------
        OptionError
            A field is unknown, or its value impossible.

        Examples
        --------
        >>> MeasureOptions().with_fields({"psf_fwhm": 0.16, "aperture_radii": [0.3]}).aperture_names(0.06)
        ('0p3',)
        """
        known = [one.name for one in fields(self)]
        if not isinstance(changed, Mapping):
            raise OptionError(f"measuring = {changed!r}: expected a table, such as {{psf_fwhm = 0.16}}")
        strange = sorted(set(changed) - set(known))
        if strange:
            raise OptionError(f"measuring: {', '.join(strange)} is unknown; expected some of {', '.join(known)}")
        values: dict[str, Any] = dict(changed)
        return replace(self, **values)

    def check_image(self, name: str, bands: Sequence[str], pixel_scale: float | None) -> None:
        """Refuse an image that the options do not fit, before any of its pixels is read.

        Raises
        ------
        OptionError
            As `aperture_radii_in_pixels`, or a gain of a band that the image does not have.
        """
        self.aperture_radii_in_pixels(pixel_scale)
        strange = sorted(set(self.gain) - set(bands)) if isinstance(self.gain, Mapping) else []
        if strange:
            raise OptionError(f"gain of {', '.join(strange)}: {name} has the bands {', '.join(bands)}")

    def aperture_radii_in_pixels(self, pixel_scale: float | None) -> tuple[float, ...]:
        """Radii of the circular apertures in pixels.

        Raises
        ------
        OptionError
            Radii in arcseconds for an image whose pixel scale is not known, or radii beyond `LARGEST_MARGIN`.
        """
        unit, radii = self._apertures(pixel_scale)
        if unit == "arcsec" and pixel_scale is None:
            raise OptionError(
                f"aperture radii {self.aperture_radii} in arcsec: the image has no WCS; give them with "
                "aperture_unit='pixel'"
            )
        pixels = tuple(radius / pixel_scale if unit == "arcsec" and pixel_scale else radius for radius in radii)
        if pixels and max(pixels) > LARGEST_MARGIN - 2:
            raise OptionError(f"aperture radius of {max(pixels):.0f} pixels: expected at most {LARGEST_MARGIN - 2}")
        return pixels

    def psf_fwhm_in_pixels(self, pixel_scale: float | None) -> float | None:
        """FWHM of the PSF in pixels; None if unknown."""
        if self.psf_fwhm is None:
            return None
        in_arcsec = self.aperture_unit == "arcsec" and pixel_scale is not None
        return self.psf_fwhm / pixel_scale if in_arcsec and pixel_scale else self.psf_fwhm

    def aperture_names(self, pixel_scale: float | None) -> tuple[str, ...]:
        """Names of the apertures in column names: ``0p5`` is 0.5 arcsec, ``3px`` is 3 pixels."""
        unit, radii = self._apertures(pixel_scale)
        suffix = "px" if unit == "pixel" else ""
        return tuple(f"{radius:g}".replace(".", "p") + suffix for radius in radii)

    def _apertures(self, pixel_scale: float | None) -> tuple[str, tuple[float, ...]]:
        if self.aperture_radii is not None:
            return self.aperture_unit, self.aperture_radii
        unit = "pixel" if pixel_scale is None else self.aperture_unit
        return unit, _RADII[unit]

    def margin(self, height: int, width: int, pixel_scale: float | None) -> int:
        """Pixels around a bounding box of this size that count for a source's row.

        As wide as the box is long, at least wide enough for the apertures, and never above `LARGEST_MARGIN`: a piece
        of a mosaic that holds the box and this margin gives the row that the whole mosaic gives.
        """
        radii = self.aperture_radii_in_pixels(pixel_scale)
        needed = max(_SMALLEST_MARGIN, height, width, *(math.ceil(radius) + 2 for radius in radii))
        return min(needed, LARGEST_MARGIN)

    def saturation_levels(self, image: "SkyImage") -> list[float | None]:
        """Data value of each band from which a pixel is saturated, None where nothing says."""
        if self.saturation is not None:
            return [self.saturation] * image.n_bands
        headers = (image.meta.get("bands", {}).get(band, {}).get("header", {}) for band in image.bands)
        return [_positive(header.get("SATURATE")) for header in headers]


def check_background(background: str | float | None) -> None:
    """Refuse what is none of `BACKGROUNDS` and no level.

    Raises
    ------
    OptionError
        That.
    """
    is_level = isinstance(background, int | float) and not isinstance(background, bool) and math.isfinite(background)
    if background is not None and background not in BACKGROUNDS and not is_level:
        raise OptionError(f"background {background!r}: expected 'mesh', 'none', or a level in data units")


def _positive(level: object) -> float | None:
    usable = isinstance(level, int | float) and not isinstance(level, bool) and math.isfinite(level) and level > 0
    return float(level) if usable else None  # type: ignore[arg-type]
