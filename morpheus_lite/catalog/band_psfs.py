"""PSF of every band, as photometry needs it."""

from dataclasses import replace

from morpheus_lite.config.classify import MeasureOptions
from morpheus_lite.core.image import SkyImage
from morpheus_lite.core.psf import MoffatPsf, usual_psf
from morpheus_lite.noise.background_mesh import BackgroundMesh


def known_psfs(image: SkyImage, options: MeasureOptions, mesh: BackgroundMesh | None) -> tuple[MoffatPsf, ...]:
    """PSF of each band as it is given or measured on stars; `MoffatPsf.is_known` tells where it is neither."""
    if mesh is not None and mesh.psf:
        return mesh.psf
    return tuple(one or MoffatPsf() for one in options.given_psfs(image.bands, image.pixel_scale))


def psfs_of_totals(image: SkyImage, options: MeasureOptions, mesh: BackgroundMesh | None) -> tuple[MoffatPsf, ...]:
    """PSF behind the profiles of total fluxes in each band.

    Returns
    -------
    tuple of MoffatPsf
        ``psf_fwhm`` for all bands, if it is given; else the PSF that is given or measured on stars; else what is usual
        for the filter. A band without any takes the mean width of those that have one; NaN where none has.
    """
    if options.psf_fwhm is not None:
        width = options.psf_fwhm_in_pixels(image.pixel_scale)
        return (MoffatPsf(float(width or "nan"), origin="given"),) * image.n_bands
    found = [
        psf if psf.is_known else usual_psf(band, image.pixel_scale)
        for band, psf in zip(image.bands, known_psfs(image, options, mesh), strict=True)
    ]
    widths = [psf.fwhm for psf in found if psf.origin != "unknown"]
    mean = sum(widths) / len(widths) if widths else float("nan")
    return tuple(replace(psf, fwhm=mean) if psf.origin == "unknown" else psf for psf in found)
