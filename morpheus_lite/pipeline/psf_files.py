"""PSFs that are given as images: read once, before the work begins, so that the options of a run hold numbers."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from morpheus_lite.config.classify import CatalogOptions
from morpheus_lite.core.psf import MoffatPsf
from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.io import read_image
from morpheus_lite.noise.psf import psf_of_star

_Options = TypeVar("_Options", bound=CatalogOptions)


def read_psf_files(options: _Options) -> _Options:
    """The same options, with FWHM and index for each PSF that is the name of a file.

    Raises
    ------
    InputError
        A file cannot be read, or is no image of one star.
    """
    given = options.measuring.psf
    if given is None:
        return options
    read = {band: _read(one) for band, one in given.items()} if isinstance(given, Mapping) else _read(given)
    return replace(options, measuring=replace(options.measuring, psf=read))


def _read(given: str | float) -> str | float:
    with suppress(OptionError):
        MoffatPsf.parse(given, "pixel", 1.0)
        return given
    image = read_image(given)
    if image.n_bands != 1:
        raise InputError(f"{given}: expected the image of one star in one band, found {image.n_bands}")
    try:
        psf = psf_of_star(image.data[..., 0])
    except InputError as error:
        raise InputError(f"{given}: {error}") from error
    scale = image.pixel_scale
    width = f"{psf.fwhm:.4g}px" if scale is None else f"{psf.fwhm * scale:.4g}arcsec"
    return f"{width},{psf.beta:.4g}"
