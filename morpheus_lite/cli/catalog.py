"""``morpheus catalog``."""

import json
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.classify import number, pairs, plane_option
from morpheus_lite.cli.console import config_option, set_up_logging, verbosity
from morpheus_lite.options import COLUMN_NAMES


@click.command("catalog", short_help="Measure the sources of a segmentation map.")
@click.argument("image", required=False, metavar="[IMAGE.fits[EXT]]")
@click.option("--maps", required=True, type=click.Path(path_type=Path), help="Class maps that morpheus classify wrote.")
@click.option("--segmentation", metavar="FILE[EXT]", help="Segmentation map of any tool (default: the one in --maps).")
@click.option("--parents", metavar="FILE[EXT]", help="Segmentation map before deblending.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; its suffix says the format: .ecsv, .fits, .parquet, .csv, .vot.",
)
@click.option(
    "--band", "bands", multiple=True, metavar="NAME=FILE[EXT]", help="One band of an image kept in several files."
)
@click.option("--band-names", metavar="A,B,...", help="Names of the bands, in order, when the file has none.")
@click.option("--detection-band", help="Band that gives positions and shapes (default: F160W, or the first).")
@click.option("--rms", multiple=True, metavar="[NAME=]FILE", help="Noise (standard deviation) plane.")
@click.option("--weight", multiple=True, metavar="[NAME=]FILE", help="Inverse-variance plane.")
@click.option("--dq", multiple=True, metavar="[NAME=]FILE", help="Flag plane; anything but 0 is a bad pixel.")
@click.option("--zero-point", multiple=True, metavar="NAME=MAG", help="AB magnitude of one data unit.")
@click.option("--apertures", metavar="R,R,...", help="Radii of circular apertures (default: 0.25,0.5,1 arcsec).")
@click.option("--aperture-unit", type=click.Choice(("arcsec", "pixel")), default="arcsec", show_default=True)
@click.option("--psf-fwhm", type=float, help="FWHM of the PSF, in the unit of the apertures (default: fitted).")
@click.option("--gain", multiple=True, metavar="[NAME=]E", help="Electrons in one data unit (default: the header's).")
@click.option("--share-blends", is_flag=True, help="Add fluxes in which pieces of one source share its pixels.")
@click.option("--local-background", is_flag=True, help="Subtract the sky around each source.")
@click.option("--saturation", type=float, help="Data value from which a pixel is saturated (default: SATURATE).")
@click.option("--columns", type=click.Choice(COLUMN_NAMES), default=COLUMN_NAMES[0], show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace a catalogue that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@config_option
@verbosity
def command(image: str | None, bands: tuple[str, ...], verbose: int, quiet: bool, as_json: bool, **chosen: Any) -> int:
    """Measure the sources of a segmentation map on IMAGE, without running the network again.

    \b
    morpheus catalog goods.fits --maps goods_morpheus.fits --segmentation sextractor_seg.fits -o goods.fits
    """
    set_up_logging(verbose=verbose, quiet=quiet)
    if bool(image) == bool(bands):
        raise click.UsageError("give IMAGE.fits, or one --band NAME=FILE for each band")
    from morpheus_lite.cataloguing import catalog_file

    table = catalog_file(
        image or pairs("--band", bands),
        chosen["maps"],
        chosen["output"],
        segmentation=chosen["segmentation"],
        parents=chosen["parents"],
        band=chosen["detection_band"],
        columns=chosen["columns"],
        options=measure_options(chosen),
        reading=reading_options(chosen),
        overwrite=chosen["overwrite"],
    )
    if as_json:
        click.echo(json.dumps({"catalog": str(chosen["output"]), "n_sources": len(table), "columns": table.colnames}))
    else:
        click.echo(f"{chosen['output']}: {len(table)} sources, {len(table.colnames)} columns")
    return 0


def measure_options(chosen: dict[str, Any]) -> Any:
    """The command's options as those of `measure`."""
    from morpheus_lite.catalog import MeasureOptions

    radii = chosen["apertures"]
    return MeasureOptions(
        aperture_radii=None if radii is None else tuple(number("--apertures", text) for text in radii.split(",")),
        aperture_unit=chosen["aperture_unit"],
        psf_fwhm=chosen["psf_fwhm"],
        gain=gain_option(chosen["gain"]),
        share_blends=chosen["share_blends"],
        local_background=chosen["local_background"],
        saturation=chosen["saturation"],
    )


def gain_option(values: tuple[str, ...]) -> float | dict[str, float] | None:
    """One gain for all bands, or one for each."""
    from morpheus_lite.image import canonical_band

    if not values:
        return None
    if len(values) == 1 and "=" not in values[0]:
        return number("--gain", values[0])
    return {canonical_band(band): number(f"--gain {band}", text) for band, text in pairs("--gain", values).items()}


def reading_options(chosen: dict[str, Any]) -> dict[str, Any]:
    """The command's options as those of `read_image`."""
    reading: dict[str, Any] = {}
    if chosen["band_names"]:
        reading["bands"] = [name.strip() for name in chosen["band_names"].split(",")]
    reading |= {plane: plane_option(f"--{plane}", chosen[plane]) for plane in ("rms", "weight", "dq") if chosen[plane]}
    if chosen["zero_point"]:
        points = pairs("--zero-point", chosen["zero_point"])
        reading["zero_points"] = {band: number(f"--zero-point {band}", text) for band, text in points.items()}
    return reading
