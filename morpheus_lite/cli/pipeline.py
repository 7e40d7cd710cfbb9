"""The commands of the pipeline: ``classify``, ``catalog`` and ``batch``."""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
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
    common,
    complete_file,
    gc_paused,
    grouped_option,
    options_of,
    progress_bar,
)
from morpheus_lite.config.classify import NOT_IN_SURVEYS, SURVEY_OPTIONS, CatalogOptions, ClassifyOptions, ReadOptions
from morpheus_lite.config.schema import chosen, named_values
from morpheus_lite.config.survey import ClusterOptions, RunOptions
from morpheus_lite.errors import InputError, ModelError, MorpheusError, OptionError
from morpheus_lite.models.engines import choose_engine
from morpheus_lite.runtime.resources import counted, format_memory

_EXPLAINED = {error.__name__ for error in (InputError, ModelError, OptionError)}
_PLANES = ("rms", "weight", "dq")


@click.command("classify", cls=Command)
@click.argument("images", nargs=-1, metavar="[IMAGE.fits[EXT]]...", shell_complete=complete_file)
@band_option
@options_of(ReadOptions(), "reading")
@grouped_option(
    "-o", "--output", type=DIRECTORY, default=".", metavar="DIRECTORY", group="Products",
    help="Where the products go.  [default: here]",
)  # fmt: skip
@grouped_option(
    "--name", help="First part of the products' names.  [default: the image's]", metavar="NAME", group="Products"
)
@grouped_option("--report", is_flag=True, help="The same as report in --products: an HTML page.", group="Products")
@options_of(ClassifyOptions(), "options", short={"model": "-m"})
@common
def classify_command(
    images: tuple[str, ...],
    bands: tuple[str, ...],
    output: Path,
    name: str | None,
    reading: ReadOptions,
    options: ClassifyOptions,
    *,
    report: bool,
    quiet: bool,
    as_json: bool,
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
    options = with_report(options, report=report)
    settings = {"options": options, "name": name, "read_options": chosen(reading)}
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
@options_of(ReadOptions(), "reading")
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
@options_of(CatalogOptions(), "options")
@common
def catalog_command(
    image: str | None,
    bands: tuple[str, ...],
    maps: Path,
    labels: str | None,
    parents: str | None,
    output: Path,
    reading: ReadOptions,
    options: CatalogOptions,
    *,
    as_json: bool,
) -> None:
    """Measure the sources of a segmentation map on IMAGE, without running the network again.

    \b
    morpheus catalog goods.fits --maps goods_morpheus.fits --labels sextractor_seg.fits -o goods.fits
    """
    if bool(image) == bool(bands):
        raise click.UsageError("give IMAGE.fits, or one --band NAME=FILE for each band")
    from morpheus_lite.pipeline.catalog import catalog_file

    source = image or named_values("--band", bands)
    table = catalog_file(source, maps, output, options, labels=labels, parents=parents, read_options=chosen(reading))
    if as_json:
        click.echo(json.dumps({"catalog": str(output), "n_sources": len(table), "columns": table.colnames}))
    else:
        click.echo(f"{output}: {counted(len(table), 'source')}, {len(table.colnames)} columns")


def without_planes(command: Callable) -> Callable:
    """Add ``--rms none`` and the like: files of planes belong to one tile each, and are listed in a manifest."""
    for plane in _PLANES[::-1]:
        about = f"Do without {plane} planes; files of planes are listed in a manifest."
        command = grouped_option(f"--{plane}", type=click.Choice(["none"]), help=about, group="Image")(command)
    return command


@click.command("batch", cls=Command)
@click.argument(
    "sources", nargs=-1, required=True, metavar="IMAGE|DIRECTORY|GLOB|MANIFEST...", shell_complete=complete_file
)
@options_of(ReadOptions(), "reading", without=_PLANES)
@without_planes
@grouped_option(
    "-o", "--output", type=DIRECTORY, required=True, metavar="DIRECTORY", group="Products",
    help="Where the products go: on storage that all workers see.",
)  # fmt: skip
@grouped_option("--report", is_flag=True, help="An HTML page for each tile, as report in --products.", group="Products")
@options_of(SURVEY_OPTIONS, "options", without=NOT_IN_SURVEYS, short={"model": "-m"})
@options_of(ClusterOptions(), "cluster", short={"workers": "-w"})
@options_of(RunOptions(), "run")
@grouped_option(
    "--dry-run", is_flag=True, help="Say what would be done and what it would take, and do nothing.", group="Run"
)
@common
def batch_command(
    sources: tuple[str, ...],
    output: Path,
    reading: ReadOptions,
    options: ClassifyOptions,
    cluster: ClusterOptions,
    run: RunOptions,
    *,
    report: bool,
    dry_run: bool,
    verbose: int,
    quiet: bool,
    as_json: bool,
    **planes: str | None,
) -> int:
    """Classify the tiles of a survey, on this machine or on a Dask cluster.

    \b
    All images of a directory:   morpheus batch images/ -o survey
    Listed in a manifest:        morpheus batch tiles.csv -o survey --workers 8
    On a running cluster:        morpheus batch tiles.csv -o survey --scheduler tcp://host:8786

    Each tile's products appear in OUTPUT/tiles/NAME when they are whole. Stop a run whenever you like: the same command
    goes on with what is missing, or has changed. Exit code 4: some tiles failed; the others are done.
    """
    from morpheus_lite.survey import classify_survey, read_tiles
    from morpheus_lite.survey.plan import estimate, make_plan, survey_options

    options = with_report(options, report=report)
    read_options = {plane: False for plane, none in planes.items() if none} | chosen(reading)
    tiles = read_tiles(sources)
    if read_options:
        tiles = [replace(tile, read_options={**read_options, **tile.read_options}) for tile in tiles]
    if dry_run:
        plan = make_plan(tiles, output.absolute(), survey_options(options), noise=run.noise, verify=run.verify)
        values = estimate(plan)
        click.echo(json.dumps(values, indent=2) if as_json else "\n".join(plan_lines(values)))
        return 0
    quiet_dask(verbose)
    tell = None if quiet else _tell
    with progress_bar("tiles", quiet=quiet) as progress:
        result = classify_survey(tiles, output, options, cluster=cluster, run=run, progress=progress, announce=tell)
    record = summary(result)
    click.echo(json.dumps(record, indent=2) if as_json else "\n".join(lines(record)))
    return 4 if result.failed else 0


def _tell(line: str) -> None:
    click.echo(f"morpheus: {line}", err=True)


def quiet_dask(verbose: int) -> None:
    """Leave out what Dask says of every connection, unless everything is asked for."""
    with suppress(ImportError):
        import_module("distributed")  # which sets the levels of its loggers
    level = logging.DEBUG if verbose > 1 else logging.CRITICAL
    for name in [name for name in logging.root.manager.loggerDict if name.startswith(("distributed", "bokeh"))]:
        logging.getLogger(name).setLevel(level)


def plan_lines(values: dict[str, Any]) -> list[str]:
    """Describe what a run would do, for a person."""
    strangers = values["unrecognized_tiles"][:10]
    text = [
        f"{counted(values['tiles'], 'tile')}: {values['done']} done, {values['missing']} to do, "
        f"{values['stale']} to do again, {values['check']} to look at (files renamed or written again)",
        *(f"  {number} x {reason}" for reason, number in list(values["reasons"].items())[:10]),
        *(f"  {name} is done, but no tile of this survey; it is left alone" for name in strangers),
        *(f"  {problem}" for problem in values["problems"]),
    ]
    if values["n_pixels"]:
        text.append(
            f"{values['n_pixels'] / 1e6:,.1f} million pixels: about {_duration(values['core_seconds'])} of one core, "
            f"{format_memory(values['disk'])} of products, {format_memory(values['memory_per_worker'])} of memory per "
            f"worker ({values['based_on']})"
        )
    return text


def _duration(seconds: float) -> str:
    """Seconds for people: ``"40 s"``, ``"12 min"``, ``"3,400 h"``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.0f} h"


def summary(result: Any) -> dict[str, Any]:
    """Summarise a survey as plain values."""
    worked = [outcome for outcome in result.outcomes if outcome.status != "failed"]
    return {
        "output": str(result.directory),
        "tiles": len(result.plan.tiles),
        "done_before": len(result.plan.tiles) - len(result.plan.to_do),
        "done_now": len(worked),
        "n_sources": sum(outcome.n_sources for outcome in worked),
        "n_pixels": sum(outcome.n_pixels for outcome in worked),
        "seconds": round(result.seconds, 3),
        "failed": [
            {"tile": one.name, "error": one.error, "kind": one.kind, "log": one.tail.splitlines()}
            for one in result.failed
        ],
        "merged": None if result.merged is None else result.merged.n_rows,
        "duplicates": None if result.merged is None else result.merged.n_duplicates,
        "larger_than_overlap": 0 if result.merged is None else len(result.merged.cut),
        "products": {name: str(path) for name, path in result.products.items()},
    }


def lines(record: dict[str, Any]) -> list[str]:
    """A summary for a person."""
    text = [
        f"{record['output']}: {record['done_before'] + record['done_now']} of {counted(record['tiles'], 'tile')} "
        f"are done, {record['done_now']} of them now, in {record['seconds']:.1f} s"
    ]
    if record["merged"] is not None:
        text.append(f"{record['merged']:,} sources, each once; {record['duplicates']:,} rows of overlaps left out")
    if record["larger_than_overlap"]:
        text.append(
            f"{counted(record['larger_than_overlap'], 'source')} larger than the overlap of the tiles: see the report"
        )
    for failed in record["failed"]:
        text.append(f"{failed['tile']} failed: {failed['error']}")
        # What is wrong with an input or an option is said by now; of anything else, where it happened.
        if failed["kind"] not in _EXPLAINED:
            text += [f"    {line}" for line in failed["log"]]
    return text + [f"  {name:<8} {path}" for name, path in record["products"].items()]
