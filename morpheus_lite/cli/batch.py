"""``morpheus batch``."""

import json
import logging
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from morpheus_lite.cli.console import (
    Count,
    Size,
    config_option,
    import_tensorflow_quietly,
    progress_bar,
    set_up_logging,
    verbosity,
)
from morpheus_lite.cli.measuring import measuring_of, measuring_options
from morpheus_lite.cli.reading import dq_bits_option
from morpheus_lite.config.classify import DEFAULT_MODEL, ENGINES, PRODUCTS, SEGMENTATION_METHODS, ClassifyOptions
from morpheus_lite.core.windows import EDGES
from morpheus_lite.errors import InputError, ModelError, OptionError
from morpheus_lite.runtime.resources import format_memory

_SIDE = 4096
_TILE_PRODUCTS = ("maps", "catalog")
_EXPLAINED = {error.__name__ for error in (InputError, ModelError, OptionError)}


@click.command("batch", short_help="Classify the tiles of a survey.")
@click.argument("sources", nargs=-1, required=True, metavar="IMAGE|DIRECTORY|GLOB|MANIFEST...")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory for products, on storage that all workers see.",
)
@click.option(
    "-w",
    "--workers",
    type=Count(0),
    metavar="N",
    help="Worker processes on this machine (default: one for every two cores; 0: this process).",
)
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler that runs, such as tcp://host:8786.")
@click.option(
    "--memory-limit",
    type=Size(),
    metavar="SIZE",
    help="Memory of each worker process, such as 4GB (default: its share).",
)
@click.option(
    "--tls-ca", type=click.Path(exists=True, dir_okay=False), help="Certificate authority, for a scheduler at tls://."
)
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="This client's certificate.")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="This client's key.")
@click.option(
    "--dashboard",
    default="127.0.0.1:0",
    show_default=True,
    metavar="HOST:PORT",
    help="Where Dask's dashboard listens (port 0: any that is free).",
)
@click.option("--retries", type=Count(0), metavar="N", default=2, show_default=True, help="Further tries of a tile.")
@click.option(
    "--tile-timeout",
    type=float,
    metavar="SECONDS",
    help="End a worker that is at one tile for longer.",
)
@click.option("--verify", is_flag=True, help="Compare the checksums of products that are there.")
@click.option(
    "--tile-size",
    type=Count(1),
    metavar="PIXELS",
    default=_SIDE,
    show_default=True,
    help="Images with a longer side are cut into squares of this side.",
)
@click.option("--merge/--no-merge", default=True, help="Whether to merge the tiles' catalogues to one.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and what it would take, and do nothing.")
@click.option("-m", "--model", default=DEFAULT_MODEL, show_default=True, help="Shipped model or model directory.")
@click.option("--dq", type=click.Choice(["none"]), help="Do without the masks in the images.")
@dq_bits_option
@click.option("--stride", type=Count(1), help="Pixels between windows (default: the model's).")
@click.option("--edges", type=click.Choice(EDGES), default=EDGES[0], show_default=True, help="Border pixels.")
@click.option("--segmentation", type=click.Choice(SEGMENTATION_METHODS), help="How sources are found.")
@click.option(
    "--products",
    default=",".join(_TILE_PRODUCTS),
    show_default=True,
    help=f"What to write for each tile beside the catalogue: any of {', '.join(PRODUCTS)}.",
)
@click.option("--compress", is_flag=True, help="Tile-compress the maps.")
@click.option(
    "--engine", type=click.Choice(ENGINES), default=ENGINES[0], show_default=True, help="What runs the network."
)
@measuring_options
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@config_option
@verbosity
def command(sources: tuple[str, ...], verbose: int, quiet: bool, as_json: bool, **chosen: Any) -> int:
    """Classify the tiles of a survey, on this machine or on a Dask cluster.

    \b
    All images of a directory:   morpheus batch images/ -o survey
    Listed in a manifest:        morpheus batch tiles.csv -o survey --workers 8
    On a cluster that runs:      morpheus batch tiles.csv -o survey --scheduler tcp://host:8786

    Each tile's products appear in OUTPUT/tiles/NAME when they are whole. Stop a run whenever you like: the same command
    goes on with what is missing, or has changed. Exit code 4: some tiles failed; the others are done.
    """
    set_up_logging(verbose=verbose, quiet=quiet)
    from morpheus_lite.survey.manifest import read_tiles
    from morpheus_lite.survey.plan import make_plan, survey_options

    options = ClassifyOptions(
        products=tuple(part.strip() for part in chosen["products"].split(",") if part.strip()),
        **{
            key: chosen[key]
            for key in ("model", "stride", "edges", "segmentation", "compress", "detection_band", "engine")
        },
        measuring=measuring_of(chosen),
    )
    reading: dict[str, Any] = {"dq": False} if chosen["dq"] else {}
    reading |= {"dq_bits": chosen["dq_bits"]} if chosen["dq_bits"] else {}
    tiles = [replace(tile, reading={**reading, **tile.reading}) for tile in read_tiles(sources)]
    if chosen["dry_run"]:
        plan = make_plan(tiles, chosen["output"].absolute(), survey_options(options), verify=chosen["verify"])
        show_plan(plan, as_json=as_json)
        return 0
    result = run(tiles, options, {**chosen, "verbose": verbose}, quiet=quiet)
    record = summary(result)
    click.echo(json.dumps(record, indent=2) if as_json else "\n".join(lines(record)))
    return 4 if result.failed else 0


def run(tiles: list, options: ClassifyOptions, chosen: dict[str, Any], *, quiet: bool) -> Any:
    """Run the survey, with progress on stderr."""
    quiet_dask(chosen["verbose"])
    from morpheus_lite.survey import ClusterOptions, RunOptions, classify_survey

    cluster = ClusterOptions(
        **{
            key: chosen[key]
            for key in ("workers", "scheduler", "memory_limit", "dashboard", "tls_ca", "tls_cert", "tls_key")
        }
    )
    if cluster.in_process:
        import_tensorflow_quietly(options.engine, options.device)
    how = RunOptions(**{key: chosen[key] for key in ("retries", "tile_timeout", "verify", "merge", "tile_size")})
    with progress_bar("tiles", quiet=quiet) as progress:

        def tell(line: str) -> None:
            if not quiet:
                click.echo(f"morpheus: {line}", err=True)

        return classify_survey(
            tiles, chosen["output"], options, cluster=cluster, run=how, progress=progress, announce=tell
        )


def quiet_dask(verbose: int) -> None:
    """Leave out what Dask says of every connection, unless everything is asked for."""
    with suppress(ImportError):
        import_module("distributed")  # which sets the levels of its loggers
    level = logging.DEBUG if verbose > 1 else logging.CRITICAL
    for name in [name for name in logging.root.manager.loggerDict if name.startswith(("distributed", "bokeh"))]:
        logging.getLogger(name).setLevel(level)


def show_plan(plan: Any, *, as_json: bool) -> None:
    """Print what a run would do."""
    from morpheus_lite.survey.plan import as_dict, estimate

    values = as_dict(plan, estimate(plan))
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    click.echo(
        f"{_counted(values['tiles'], 'tile')}: {values['done']} done, {values['missing']} to do, "
        f"{values['stale']} to do again, {values['check']} to look at (files renamed or written again)"
    )
    for reason, number in list(values["reasons"].items())[:10]:
        click.echo(f"  {number} x {reason}")
    for name in values["unrecognized_tiles"][:10]:
        click.echo(f"  {name} is done, but no tile of this survey; it is left alone")
    for problem in values["problems"]:
        click.echo(f"  {problem}")
    if not values["n_pixels"]:
        return
    click.echo(
        f"{values['n_pixels'] / 1e6:,.1f} million pixels: about {_duration(values['core_seconds'])} of one core, "
        f"{format_memory(values['disk'])} of products, {format_memory(values['memory_per_worker'])} of memory a worker "
        f"({values['based_on']})"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
        f"{record['output']}: {record['done_before'] + record['done_now']} of {_counted(record['tiles'], 'tile')} "
        f"are done, {record['done_now']} of them now, in {record['seconds']:.1f} s"
    ]
    if record["merged"] is not None:
        text.append(f"{record['merged']:,} sources, each once; {record['duplicates']:,} rows of overlaps left out")
    if record["larger_than_overlap"]:
        text.append(
            f"{_counted(record['larger_than_overlap'], 'source')} larger than the overlap of the tiles: see the report"
        )
    for failed in record["failed"]:
        text.append(f"{failed['tile']} failed: {failed['error']}")
        # What is wrong with an input or an option is said by now; of anything else, where it happened.
        if failed["kind"] not in _EXPLAINED:
            text += [f"    {line}" for line in failed["log"]]
    return text + [f"  {name:<8} {path}" for name, path in record["products"].items()]
