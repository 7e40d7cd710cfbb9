"""What the commands share: verbosity, progress with the time left, options from a TOML file."""

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import click

from morpheus_lite.errors import InputError
from morpheus_lite.models.engines import first_choice

Progress = Callable[[int, int], None]


def verbosity(command: Callable) -> Callable:
    """Add ``-v`` and ``-q``."""
    command = click.option("-q", "--quiet", is_flag=True, help="No progress, only errors.")(command)
    return click.option("-v", "--verbose", count=True, help="Say more (-vv: everything).")(command)


def set_up_logging(*, verbose: int, quiet: bool) -> None:
    """Send the library's log to stderr at the level asked for."""
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="morpheus: %(message)s", force=True)
    logging.getLogger("morpheus_lite").setLevel(level)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.DEBUG if verbose > 1 else logging.ERROR)


@contextmanager
def progress_bar(label: str, *, quiet: bool) -> Iterator[Progress | None]:
    """A progress callable drawn on stderr, or None when nobody would see it."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance


@contextmanager
def no_garbage() -> Iterator[None]:
    """Imports made in this block are not searched for garbage, over and over: a fifth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def start_network(engine: str = "tensorflow", device: str = "auto", precision: str = "float32") -> None:
    """Import TensorFlow if it may run the network, and let it look for devices, without its start-up notes.

    They are written straight to file descriptor 2 before any of its settings counts, and tell users of a machine
    without a GPU that it has none.
    """
    if first_choice(engine, device, precision) != "tensorflow":
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what it says later is not for our users either
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import_module("keras")
        import_module("tensorflow").config.list_physical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def config_option(command: Callable) -> Callable:
    """Add ``--config FILE.toml``: keys are the long options; the command line has the last word."""

    def load(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
        if value is None:
            return
        from morpheus_lite.io.untrusted import read_toml

        try:
            table = read_toml(value)
        except InputError as error:
            raise click.BadParameter(str(error)) from error
        known = {name.lstrip("-"): option.name for option in context.command.params for name in option.opts}
        unknown = sorted(set(table) - set(known))
        if unknown:
            raise click.BadParameter(
                f"{value} sets {', '.join(unknown)}, which this command does not have; its options: "
                f"{', '.join(sorted(name for name in known if len(name) > 1))}"
            )
        context.default_map = {**(context.default_map or {}), **{known[key]: item for key, item in table.items()}}

    return click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=load,
        is_eager=True,
        expose_value=False,
        help="TOML file with options by their long names; the command line wins.",
    )(command)
