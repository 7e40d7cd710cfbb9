"""Parts shared by the commands: log, progress with the time left, start of the network, bounded numbers."""

import gc
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from morpheus_lite.models.engines import first_choice

_Progress = Callable[[int, int], None]


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
