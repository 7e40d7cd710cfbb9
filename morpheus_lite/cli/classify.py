"""``morpheus classify``."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.console import (
    Count,
    Size,
    config_option,
    gc_paused,
    import_tensorflow_quietly,
    progress_bar,
    set_up_logging,
    verbosity,
)
from morpheus_lite.cli.measuring import measuring_of, measuring_options
from morpheus_lite.cli.reading import image_options, names, pairs, reading_of
from morpheus_lite.config.classify import (
    CATALOG_FORMATS,
    COLUMN_NAMES,
    DEFAULT_MEMORY,
    DEFAULT_MODEL,
    DEFAULT_PRODUCTS,
    DETECTION,
    ENGINES,
    PLANES,
    PRECISIONS,
    PRODUCTS,
    SEGMENTATION_METHODS,
    ClassifyOptions,
)
from morpheus_lite.core.windows import EDGES
from morpheus_lite.errors import MorpheusError


@click.command("classify", short_help="Classify images.")
@click.argument("images", nargs=-1, metavar="[IMAGE.fits[EXT]]...")
@image_options
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=".", help="Directory for products."
)
@click.option("--name", help="First part of the products' names (default: the image's).")
@click.option("-m", "--model", default=DEFAULT_MODEL, show_default=True, help="Shipped model or model directory.")
@click.option("--stride", type=Count(1), help="Pixels between windows (default: the model's).")
@click.option(
    "--edges",
    type=click.Choice(EDGES),
    default=EDGES[0],
    show_default=True,
    help="Classify the border pixels, or leave them as the published package does.",
)
@click.option(
    "--segmentation",
    type=click.Choice(SEGMENTATION_METHODS),
    help="How sources are found (default: the paper's way where the model votes, else by probability).",
)
@click.option(
    "--products",
    default=",".join(DEFAULT_PRODUCTS),
    show_default=True,
    help=f"What to write: any of {', '.join(PRODUCTS)}.",
)
@click.option(
    "--catalog-format",
    type=click.Choice(CATALOG_FORMATS),
    default=CATALOG_FORMATS[0],
    show_default=True,
    help="Format of the catalogue.",
)
@click.option(
    "--columns",
    type=click.Choice(COLUMN_NAMES),
    default=COLUMN_NAMES[0],
    show_default=True,
    help="Column naming convention of the catalogue.",
)
@click.option("--planes", metavar="A,B,...", help=f"What the maps hold: any of {', '.join(PLANES)} (default: all).")
@click.option("--compress", is_flag=True, help="Tile-compress the maps.")
@click.option(
    "--memory",
    type=Size(),
    default=DEFAULT_MEMORY,
    show_default=True,
    metavar="SIZE",
    help="Memory that the run may take. Any image fits; the result does not depend on it.",
)
@click.option(
    "--device", default="auto", show_default=True, metavar="NAME", help="Where the network runs: auto, cpu, gpu, gpu:N."
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help="What the network of a one-pass model calculates in; bfloat16 is for GPUs.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=ENGINES[0],
    show_default=True,
    help="What runs the network: OpenVINO on a CPU, TensorFlow on a GPU, or the one that is named.",
)
@click.option("--core", type=float, help="Source probability that a source reaches (default: the model's).")
@click.option(
    "--wings",
    type=float,
    help="Source probability down to which pixels belong to it (the model's).",
)
@click.option("--min-area", type=int, help="Smallest source in pixels (the model's).")
@click.option("--min-significance", type=float, help="Smallest signal-to-noise ratio of a source (the model's).")
@measuring_options
@click.option(
    "--uncertainty",
    is_flag=True,
    help="Mean class maps of 8 orientations, planes ENTROPY and TTA_DISAGREEMENT; 8 times the network's work.",
)
@click.option(
    "--domain-check/--no-domain-check",
    default=True,
    show_default=True,
    help="Compare the image with those that the model was trained on.",
)
@click.option("--overwrite", is_flag=True, help="Replace products that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@config_option
@verbosity
def command(
    images: tuple[str, ...], bands: tuple[str, ...], verbose: int, quiet: bool, as_json: bool, **chosen: Any
) -> int:
    """Classify every pixel of each IMAGE, and write class maps, catalogue and picture.

    \b
    One file with all bands:      morpheus classify goods.fits -o products
    One file for each band:       morpheus classify --band F160W=h.fits --band F125W=j.fits[SCI] ...

    Bands are matched by name (FILTER, EXTNAME, --band, --band-names). Noise, weight and flag planes in the
    same file are found by themselves (ERR, RMS, WHT, DQ, <FILTER>_RMS).
    """
    set_up_logging(verbose=verbose, quiet=quiet)
    sources: list[Any] = list(images)
    if bands:
        sources.append(pairs("--band", bands))
    if not sources:
        raise click.UsageError("no image: give IMAGE.fits, or one --band NAME=FILE for each band")
    if chosen["name"] is not None and len(sources) > 1:
        raise click.UsageError(f"--name names one image, and {len(sources)} were given")
    options, reading = split_options(chosen)
    with gc_paused():
        import_tensorflow_quietly(options.engine, options.device, options.precision)
        import_module("morpheus_lite.pipeline.classify")
    failures: list[tuple[Any, MorpheusError]] = []
    records = []
    for source in sources:
        try:
            record = classify_one(source, chosen, options, reading, quiet=quiet)
        except MorpheusError as error:
            if len(sources) == 1:
                raise
            failures.append((source, error))
            click.echo(f"morpheus: {source}: {error}", err=True)
            continue
        records.append(record)
        if not as_json:
            report(record)
    if as_json:
        failed = [{"image": str(source), "error": str(error)} for source, error in failures]
        click.echo(json.dumps({"images": records, "failed": failed}, indent=2))
    return 4 if failures else 0


def classify_one(source: Any, chosen: dict, options: ClassifyOptions, reading: dict, *, quiet: bool) -> dict[str, Any]:
    """Run the pipeline on one image; what is worth printing, as plain values."""
    from morpheus_lite.pipeline.classify import classify_file

    label = source if isinstance(source, str) else ", ".join(source)
    with progress_bar(Path(label).name, quiet=quiet) as progress:
        products = classify_file(
            source, chosen["output"], options, name=chosen["name"], reading=reading, progress=progress
        )
    kinds = [] if products.table is None else [str(kind) for kind in products.table["morphology"]]
    return {
        "image": label,
        "shape": list(products.shape),
        "model": products.provenance.get("model"),
        "products": {name: str(path) for name, path in products.paths.items()},
        "n_sources": None if products.table is None else len(products.table),
        "classes": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "seconds": {stage: round(seconds, 3) for stage, seconds in products.seconds.items()},
    }


def report(record: dict[str, Any]) -> None:
    """Print what was made, for a person."""
    counts = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in record["classes"].items())
    height, width = record["shape"]
    sources = "" if record["n_sources"] is None else f", {record['n_sources']} sources"
    click.echo(
        f"{record['image']}: {height} x {width} px{sources}{f' ({counts})' if counts else ''} in "
        f"{sum(record['seconds'].values()):.1f} s"
    )
    for name, path in record["products"].items():
        click.echo(f"  {name:<8} {path}")


def split_options(chosen: dict[str, Any]) -> tuple[ClassifyOptions, dict[str, Any]]:
    """The command's options as those of the pipeline and those of the reader."""
    options = ClassifyOptions(
        products=names(chosen["products"]),
        **{
            key: chosen[key]
            for key in (
                "model",
                "stride",
                "edges",
                "segmentation",
                "catalog_format",
                "columns",
                "compress",
                "overwrite",
                "memory",
                "device",
                "precision",
                "engine",
                "uncertainty",
                "domain_check",
                "detection_band",
            )
        },
        measuring=measuring_of(chosen),
        planes=None if chosen["planes"] is None else names(chosen["planes"]),
        detection={key: chosen[key] for key in DETECTION if chosen[key] is not None},
    )
    return options, reading_of(chosen)
