"""Parts shared by the commands: verbosity, progress with the time left, options from a TOML file."""

import gc
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from morpheus_lite.errors import InputError, OptionError
from morpheus_lite.models.engines import first_choice
from morpheus_lite.runtime.resources import parse_memory

_Progress = Callable[[int, int], None]


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
def progress_bar(label: str, *, quiet: bool) -> Iterator[_Progress | None]:
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
def gc_paused() -> Iterator[None]:
    """Imports made in this block are not searched for garbage, over and over: a fifth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_tensorflow_quietly(engine: str = "tensorflow", device: str = "auto", precision: str = "float32") -> None:
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
        known = {
            name.removeprefix("--"): one
            for one in context.command.params
            if isinstance(one, click.Option) and one.expose_value
            for name in (*one.opts, *one.secondary_opts)
            if name.startswith("--") and not name.startswith("--no-")
        }
        unknown = sorted(set(table) - set(known))
        if unknown:
            raise click.BadParameter(
                f"{value} sets {', '.join(unknown)}, which this command does not have; its options: "
                f"{', '.join(sorted(known))}"
            )
        for key, item in table.items():
            if not _is_value_of(known[key], item):
                raise click.BadParameter(f"{value} sets {key} = {item!r:.60}: expected {_wanted(known[key])}")
        given = {known[key].name: item for key, item in table.items()}
        context.default_map = {**(context.default_map or {}), **given}

    return click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        callback=load,
        is_eager=True,
        expose_value=False,
        help="TOML file with options by their long names; the command line wins.",
    )(command)


def _is_value_of(option: click.Option, value: Any) -> bool:
    """Check that a value of TOML has the type of an option; click checks the bounds."""
    if option.multiple or option.nargs > 1:
        items = value if isinstance(value, list) else [value] if option.multiple else []
        return all(_is_scalar_of(option, one) for one in items) and (option.multiple or len(items) == option.nargs)
    return _is_scalar_of(option, value)


def _is_scalar_of(option: click.Option, value: Any) -> bool:
    if option.is_flag:
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if option.count or isinstance(option.type, click.types.IntParamType):
        return isinstance(value, int)
    if isinstance(option.type, click.types.FloatParamType):
        return isinstance(value, int | float)
    return isinstance(value, str)


def _wanted(option: click.Option) -> str:
    """The type of an option, in words."""
    if option.is_flag:
        return "true or false"
    if option.nargs > 1:
        return f"a list of {option.nargs} numbers"
    if option.count or isinstance(option.type, click.types.IntParamType):
        return "a whole number"
    if isinstance(option.type, click.types.FloatParamType):
        return "a number"
    return "a text, or a list of texts" if option.multiple else "a text"


class Number(click.FloatRange):
    """A finite number within bounds; nan is within all bounds of click."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class Count(click.IntRange):
    """A whole number within bounds, small enough for every array and library."""

    name = "integer"

    def __init__(self, least: int, most: int = 2**31 - 1) -> None:
        super().__init__(least, most)

    def _describe_range(self) -> str:
        return f"x>={self.min}"


class Size(click.ParamType):
    """An amount of memory such as 2GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parse_memory(value)
        except OptionError as error:
            self.fail(str(error), param, ctx)
        return value
