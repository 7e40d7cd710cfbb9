"""Measurement options of all commands that make a catalogue."""

from collections.abc import Callable
from typing import Any

import click

from morpheus_lite.cli.reading import names, number, pairs
from morpheus_lite.config.measure import APERTURE_UNITS, BACKGROUNDS, MeasureOptions
from morpheus_lite.errors import OptionError

_OPTIONS = (
    click.option(
        "--detection-band",
        metavar="NAME",
        help="Band that gives positions and shapes (default: all bands, each over its noise).",
    ),
    click.option(
        "--apertures",
        metavar="R,R,...",
        help="Radii of circular apertures (default: 0.25,0.5,1 arcsec, or 3,5,10 pixels without a WCS).",
    ),
    click.option(
        "--aperture-unit",
        type=click.Choice(APERTURE_UNITS),
        default=APERTURE_UNITS[0],
        show_default=True,
        help="Unit of --apertures and --psf-fwhm.",
    ),
    click.option(
        "--psf-fwhm",
        type=float,
        help="FWHM of the PSF of the detection image (default: all widths are tried).",
    ),
    click.option(
        "--gain",
        multiple=True,
        metavar="[NAME=]E",
        help="Electrons in one data unit, for the photon noise of the sources (default: the header's).",
    ),
    click.option("--share-blends", is_flag=True, help="Add fluxes in which pieces of one source share its pixels."),
    click.option("--local-background", is_flag=True, help="Subtract the sky around each source."),
    click.option(
        "--background",
        metavar="mesh|none|VALUE",
        help="What is subtracted of each pixel (default: what a mesh of 128 px shows; nothing for hausen2020).",
    ),
    click.option("--saturation", type=float, help="Data value from which a pixel is saturated (default: SATURATE)."),
)


def measuring_options(command: Callable) -> Callable:
    """Add the options that tell what is measured."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def measuring_of(chosen: dict[str, Any]) -> MeasureOptions:
    """Collect the values of `measuring_options`, except the detection band."""
    return MeasureOptions(
        aperture_radii=None if chosen["apertures"] is None else radii(chosen["apertures"]),
        aperture_unit=chosen["aperture_unit"],
        psf_fwhm=chosen["psf_fwhm"],
        gain=gain_option(chosen["gain"]),
        share_blends=chosen["share_blends"],
        local_background=chosen["local_background"],
        background=background_option(chosen["background"]),
        saturation=chosen["saturation"],
    )


def radii(text: str) -> tuple[float, ...]:
    """``"0.25,0.5"`` as numbers."""
    found = tuple(number("--apertures", part) for part in names(text))
    if not found:
        raise OptionError(f"--apertures {text!r}: expected radii, such as --apertures 0.25,0.5")
    return found


def background_option(text: str | None) -> str | float | None:
    """``mesh``, ``none`` or a level."""
    if text is None or text in BACKGROUNDS:
        return text
    try:
        return float(text)
    except ValueError:
        raise OptionError(
            f"--background {text!r}: expected {', '.join(BACKGROUNDS)}, or a level in data units"
        ) from None


def gain_option(values: tuple[str, ...]) -> float | dict[str, float] | None:
    """One gain for all bands, or one for each."""
    from morpheus_lite.core.image import canonical_band

    if not values:
        return None
    if len(values) == 1 and "=" not in values[0]:
        return number("--gain", values[0])
    return {canonical_band(band): number(f"--gain {band}", text) for band, text in pairs("--gain", values).items()}
