"""The commands of the pipeline: ``classify`` and ``catalog``."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.options import (
    DIRECTORY,
    FILE,
    PATH,
    Command,
    band_option,
    collected,
    common,
    complete_file,
    gc_paused,
    grouped_option,
    options_of,
    progress_bar,
)
from morpheus_lite.config.classify import CatalogOptions, ClassifyOptions, ReadOptions
from morpheus_lite.config.schema import chosen, named_values
from morpheus_lite.errors import MorpheusError
from morpheus_lite.models.engines import choose_engine
from morpheus_lite.runtime.resources import counted


@click.command("classify", cls=Command)
@click.argument("images", nargs=-1, metavar="[IMAGE.fits[EXT]]...", shell_complete=complete_file)
@band_option
@options_of(ReadOptions())
@grouped_option(
    "-o", "--output", type=DIRECTORY, default=".", metavar="DIRECTORY", group="Products",
    help="Where the products go.  [default: here]",
)  # fmt: skip
@grouped_option(
    "--name", help="First part of the products' names.  [default: the image's]", metavar="NAME", group="Products"
)
@grouped_option("--report", is_flag=True, help="The same as report in --products: an HTML page.", group="Products")
@options_of(ClassifyOptions(), short={"model": "-m"})
@common
def classify_command(
    images: tuple[str, ...],
    bands: tuple[str, ...],
    output: Path,
    name: str | None,
    *,
    report: bool,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Classify every pixel of each IMAGE, and write class maps, catalogue and picture.

    \b
    One file with all bands:      morpheus classify goods.fits -o products
    One file for each band:       morpheus classify --band F160W=h.fits --band F125W=j.fits[SCI] ...

    Bands are matched by name (FILTER, EXTNAME, --band, --band-names). Noise, weight and flag planes in the
    same file are found by themselves (ERR, RMS, WHT, DQ, <FILTER>_RMS).
    """
    sources: list[Any] = list(images)
    if bands:
        sources.append(named_values("--band", bands))
    if not sources:
        raise click.UsageError("no image: give IMAGE.fits, or one --band NAME=FILE for each band")
    if name is not None and len(sources) > 1:
        raise click.UsageError(f"--name names one image, and {len(sources)} were given")
    options = with_report(collected(ClassifyOptions(), given), report=report)
    settings = {"options": options, "name": name, "read_options": chosen(collected(ReadOptions(), given))}
    with gc_paused():
        choose_engine(options.engine, options.device, options.precision)  # what imports TensorFlow, if anything
        import_module("morpheus_lite.pipeline.classify")
    failures: list[tuple[Any, MorpheusError]] = []
    records = []
    for source in sources:
        try:
            record = classify_one(source, output, settings, quiet=quiet)
        except MorpheusError as error:
            if len(sources) == 1:
                raise
            failures.append((source, error))
            where = "" if str(source) in str(error) else f"{source}: "
            click.echo(f"morpheus: {where}{error}", err=True)
            continue
        records.append(record)
        if not as_json:
            click.echo("\n".join(image_lines(record)))
    if as_json:
        failed = [{"image": str(source), "error": str(error)} for source, error in failures]
        click.echo(json.dumps({"images": records, "failed": failed}, indent=2))
    return 4 if failures else 0


def with_report(options: ClassifyOptions, *, report: bool) -> ClassifyOptions:
    """Options with the report among the products, if ``--report`` was given."""
    return replace(options, products=tuple(dict.fromkeys((*options.products, "report")))) if report else options


def classify_one(source: Any, output: Path, settings: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Run the pipeline on one image; what is worth printing, as plain values."""
    from morpheus_lite.pipeline.classify import classify_file

    label = source if isinstance(source, str) else ", ".join(source)
    with progress_bar(Path(label).name, quiet=quiet) as progress:
        products = classify_file(source, output, **settings, progress=progress)
    kinds = products.kinds
    return {
        "image": label,
        "shape": list(products.shape),
        "model": products.provenance.get("model"),
        "products": {name: str(path) for name, path in products.paths.items()},
        "n_sources": None if products.table is None else len(products.table),
        "classes": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "seconds": {stage: round(seconds, 3) for stage, seconds in products.seconds.items()},
    }


def image_lines(record: dict[str, Any]) -> list[str]:
    """Describe the products, for a person."""
    counts = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in record["classes"].items())
    height, width = record["shape"]
    sources = "" if record["n_sources"] is None else f", {counted(record['n_sources'], 'source')}"
    seconds = sum(record["seconds"].values())
    head = f"{record['image']}: {height} x {width} px{sources}{f' ({counts})' if counts else ''} in {seconds:.1f} s"
    return [head, *(f"  {name:<8} {path}" for name, path in record["products"].items())]


@click.command("catalog", cls=Command)
@click.argument("image", required=False, metavar="[IMAGE.fits[EXT]]", shell_complete=complete_file)
@band_option
@options_of(ReadOptions())
@grouped_option(
    "--maps", required=True, type=PATH, metavar="FILE", group="Detection",
    help="Class maps that morpheus classify wrote.",
)  # fmt: skip
@grouped_option(
    "--labels", metavar="FILE[EXT]", group="Detection",
    help="Segmentation map of any tool.  [default: the one in --maps]",
)  # fmt: skip
@grouped_option("--parents", metavar="FILE[EXT]", help="Segmentation map before deblending.", group="Detection")
@grouped_option(
    "-o", "--output", required=True, type=FILE, metavar="FILE", group="Products",
    help="The catalogue: .ecsv, .fits, .parquet, .csv or .vot.",
)  # fmt: skip
@options_of(CatalogOptions())
@common
def catalog_command(
    image: str | None,
    bands: tuple[str, ...],
    maps: Path,
    labels: str | None,
    parents: str | None,
    output: Path,
    *,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure the sources of a segmentation map on IMAGE, without running the network again.

    \b
    morpheus catalog goods.fits --maps goods_morpheus.fits --labels sextractor_seg.fits -o goods.fits
    """
    if bool(image) == bool(bands):
        raise click.UsageError("give IMAGE.fits, or one --band NAME=FILE for each band")
    options, reading = collected(CatalogOptions(), given), chosen(collected(ReadOptions(), given))
    from morpheus_lite.pipeline.catalog import catalog_file

    source = image or named_values("--band", bands)
    table = catalog_file(source, maps, output, options, labels=labels, parents=parents, read_options=reading)
    if as_json:
        click.echo(json.dumps({"catalog": str(output), "n_sources": len(table), "columns": table.colnames}))
    else:
        click.echo(f"{output}: {counted(len(table), 'source')}, {len(table.colnames)} columns")
